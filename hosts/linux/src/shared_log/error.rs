//! What can go wrong with a log that is shared.

use std::sync::Arc;
use std::{error, fmt};

/// Why a [`SharedLog`](super::SharedLog) could not do what it was asked. `E` is [`wal::Error`](esker::wal::Error) over
/// the device's error.
#[derive(Debug)]
#[non_exhaustive]
pub enum SharedLogError<E> {
    /// This call failed and nothing has changed: the entry is too large, the log is full, there is no such offset. The
    /// log goes on.
    Log(E),
    /// A write or a sync has failed, now or earlier, for this thread or another: which of the entries that were not
    /// acknowledged are on the medium, nobody knows. All who wait are told, and nothing is tried again. Drop the log and
    /// open it anew.
    Failed(Arc<E>),
    /// A thread has panicked in the middle of a write or a sync. As with [`Failed`](Self::Failed), open the log anew.
    Panicked,
}

impl<E> Clone for SharedLogError<E>
where
    E: Clone,
{
    fn clone(&self) -> Self {
        match self {
            Self::Log(error) => Self::Log(error.clone()),
            Self::Failed(error) => Self::Failed(Arc::clone(error)),
            Self::Panicked => Self::Panicked,
        }
    }
}

impl<E: fmt::Display> fmt::Display for SharedLogError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(error) => error.fmt(f),
            Self::Failed(error) => {
                write!(f, "a write or sync of the log has failed, open it anew: {error}")
            }
            Self::Panicked => f.write_str("a thread panicked while it wrote to the log; open it anew"),
        }
    }
}

impl<E: error::Error + 'static> error::Error for SharedLogError<E> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Log(error) => Some(error),
            Self::Failed(error) => Some(&**error),
            Self::Panicked => None,
        }
    }
}
