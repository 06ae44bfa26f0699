//! What can go wrong with a file that serves as a device.

use std::{error, fmt, io};

use esker::device::GeometryError;

/// Why a [`FileDevice`](crate::FileDevice) could not do what it was asked. Whatever is not [`Io`](Self::Io) was found
/// before anything was done.
#[derive(Debug)]
#[non_exhaustive]
pub enum FileError {
    /// The operating system refused or failed.
    Io {
        /// What was being done, as a verb: "open", "write".
        action: &'static str,
        /// Its answer.
        error: io::Error,
    },
    /// Another process, or another handle of this one, has the file open. Close that first.
    Locked,
    /// A directory, a pipe, a socket or a special file. Name a regular file.
    NotAFile,
    /// The file has no bytes. Remove it and create a device in its place.
    Empty,
    /// The file can't be a device of this geometry. Choose another size or other units.
    Geometry(GeometryError),
    /// Address or length is outside the device or not a multiple of its unit: a fault of the caller.
    OutOfBounds,
    /// The device was opened for reading only. Open it with [`Access::ReadWrite`](crate::Access::ReadWrite).
    ReadOnly,
}

impl FileError {
    pub(crate) fn io(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io { action, error }
    }
}

impl From<GeometryError> for FileError {
    fn from(error: GeometryError) -> Self {
        Self::Geometry(error)
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { action, error } => write!(f, "cannot {action} it: {error}"),
            Self::Locked => f.write_str("in use by another process; wait until that has closed it"),
            Self::NotAFile => f.write_str("not a regular file"),
            Self::Empty => f.write_str("the file is empty, so it holds no esker volume"),
            Self::Geometry(error) => error.fmt(f),
            Self::OutOfBounds => {
                f.write_str("address or length is outside the device or not a multiple of its unit")
            }
            Self::ReadOnly => f.write_str("the device was opened for reading only"),
        }
    }
}

impl error::Error for FileError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            Self::Geometry(error) => Some(error),
            _ => None,
        }
    }
}
