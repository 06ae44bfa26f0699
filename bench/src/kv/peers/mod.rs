//! Other stores, each set up as its own documentation advises for one process that wants to lose nothing.

mod lmdb;
mod redb;
mod sqlite;

pub use lmdb::Lmdb;
pub use redb::Redb;
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
