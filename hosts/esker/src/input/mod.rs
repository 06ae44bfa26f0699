//! The file whose entries are appended, and what can be known of it beforehand.

mod reader;
mod survey;

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

pub use reader::{Reader, Step};
pub use survey::Survey;

use crate::arguments::Format;
use crate::failure::Failure;

/// An open input.
#[derive(Debug)]
pub struct Input {
    pub file: File,
    /// To be named in messages.
    pub name: PathBuf,
    /// It never keeps a reader waiting.
    pub regular: bool,
}

impl Input {
    /// Opens `path`, `-` for standard input. `device` is where the entries are to go: it must not be the same file.
    pub fn open(path: &Path, device: &Path) -> Result<Self, Failure> {
        let stdin = path == Path::new("-");
        let name = if stdin { PathBuf::from("standard input") } else { path.to_owned() };
        let fail = |error: io::Error| Failure::io(&name, "read", &error);
        let file = if stdin {
            File::from(io::stdin().as_fd().try_clone_to_owned().map_err(fail)?)
        } else {
            File::open(path).map_err(fail)?
        };
        let metadata = file.metadata().map_err(fail)?;
        if metadata.is_dir() {
            return Err(Failure::at(&name, "a directory; name a file"));
        }
        if device.metadata().is_ok_and(|device| same(&device, &metadata)) {
            return Err(Failure::at(&name, "is DEV itself; name another file"));
        }
        Ok(Self { file, name, regular: metadata.is_file() })
    }

    /// What it holds behind the first `skip` entries, found out by reading it once; `None`: it is a stream.
    pub fn survey(&mut self, format: Format, skip: u64) -> Result<Option<Survey>, Failure> {
        if !self.regular {
            return Ok(None);
        }
        let (survey, torn) = survey::survey(&mut self.file, format, skip)
            .map_err(|error| Failure::io(&self.name, "read", &error))?;
        if torn {
            return Err(self.torn(skip + survey.entries + 1));
        }
        if survey.skipped < skip {
            return Err(self.too_few(format, skip, survey.skipped));
        }
        Ok(Some(survey))
    }

    pub fn torn(&self, entry: u64) -> Failure {
        Failure::at(
            &self.name,
            format_args!("ends in the middle of entry {entry}, so it is cut off or not in this format"),
        )
    }

    pub fn too_few(&self, format: Format, skip: u64, held: u64) -> Failure {
        let entries = format.entries();
        Failure::at(
            &self.name,
            format_args!("has {held} {entries}, so it can't be gone on with behind {skip}"),
        )
    }
}

/// Whether both are of one file, or of one disk under two names.
pub fn same(one: &Metadata, other: &Metadata) -> bool {
    let disk = |of: &Metadata| of.file_type().is_block_device();
    (one.dev(), one.ino()) == (other.dev(), other.ino())
        || disk(one) && disk(other) && one.rdev() == other.rdev()
}
