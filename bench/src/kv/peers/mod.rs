//! Other stores, each set up as its own documentation advises for one process that wants to lose nothing.

mod fjall;
mod lmdb;
mod redb;
#[cfg(feature = "peers-rocksdb")]
mod rocksdb;
mod sqlite;

pub use fjall::Fjall;
pub use lmdb::Lmdb;
pub use redb::Redb;
#[cfg(feature = "peers-rocksdb")]
pub use rocksdb::RocksDb;
pub use sqlite::Sqlite;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::Failure;

/// Bytes that a file takes on the disk: what it holds, and not how far it reaches. Logs and locks beside it are not counted.
fn allocated(path: &Path) -> Result<u64, Failure> {
    // What was written lately has no place yet.
    let synced = fs::File::open(path).and_then(|file| file.sync_all().and_then(|()| file.metadata()));
    synced.map(|found| found.blocks() * 512).map_err(|error| Failure::at(path, &error))
}

/// The same of the files in a folder, and in those below it, whose names count.
fn allocated_in(folder: &Path, counts: &dyn Fn(&str) -> bool) -> Result<u64, Failure> {
    let failed = |error| Failure::at(folder, &error);
    let mut sum = 0;
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            sum += allocated_in(&entry.path(), counts)?;
        } else if counts(&entry.file_name().to_string_lossy()) {
            sum += allocated(&entry.path())?;
        }
    }
    Ok(sum)
}

/// Makes the folder, empty.
fn emptied(folder: &Path) -> Result<(), Failure> {
    let empty = || -> std::io::Result<()> {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir(folder)
    };
    empty().map_err(|error| Failure::at(folder, &error))
}
