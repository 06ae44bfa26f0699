//! What can go wrong with a log, and what to do about it.

use core::fmt;

use super::Log;
use super::read::Way;
use crate::device::BlockDevice;
use crate::space::SegmentHeader;
use crate::volume::{self, Buffer, Fault, Volume};

/// Why a log could not do what it was asked. Unless it says otherwise, nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Error<E> {
    /// The volume, or the device below it. After a failed write or sync, open the volume and its logs again.
    Volume(volume::Error<E>),
    /// No such entry. The log holds `start..end`.
    OutOfRange {
        /// First offset that is kept.
        start: u64,
        /// Offset after the last entry.
        end: u64,
    },
    /// The entry is longer than a segment holds.
    TooLarge {
        /// The longest entry that fits.
        max: u32,
    },
    /// No free segment is left. Reading and releasing still work.
    Full {
        /// Releasing the entries before this one would free at least one segment; `None`: nothing in this log would. Then release
        /// in the other logs of the volume, or, where a store's log shares the segments, make its checkpoint.
        release_before: Option<u64>,
    },
    /// The entry is there and longer than the buffer that was passed in.
    BufferTooSmall {
        /// Its length.
        needed: usize,
    },
    /// A sync is under way and the buffer can't take this entry. Acknowledge the ticket, then try again.
    SyncPending,
    /// This entry, or the place where it must be, is damaged. Entries before and behind may be read.
    Corrupt {
        /// Where on the device.
        address: u64,
        /// The entry, if it is known which one.
        offset: Option<u64>,
    },
}

impl<E> From<volume::Error<E>> for Error<E> {
    fn from(error: volume::Error<E>) -> Self {
        Self::Volume(error)
    }
}

impl<E: fmt::Debug> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Volume(error) => error.fmt(f),
            Self::OutOfRange { start, end } if start == end => {
                write!(f, "the log is empty; its next offset is {end}")
            }
            Self::OutOfRange { start, end } => {
                write!(f, "the log holds the offsets {start} to {}", end.saturating_sub(1))
            }
            Self::TooLarge { max } => write!(f, "the entry is too large: at most {max} bytes fit"),
            Self::Full { release_before: Some(offset) } => {
                write!(f, "the log is full; releasing the entries before {offset} would free a segment")
            }
            Self::Full { release_before: None } => {
                f.write_str("the volume is full and this log holds nothing to release")
            }
            Self::BufferTooSmall { needed } => {
                write!(f, "the entry has {needed} bytes, more than the buffer")
            }
            Self::SyncPending => f.write_str("a sync is under way; acknowledge it first"),
            Self::Corrupt { address, offset: Some(offset) } => {
                write!(f, "entry {offset} is damaged, see address {address}")
            }
            Self::Corrupt { address, offset: None } => write!(f, "the log is damaged at address {address}"),
        }
    }
}

impl<E: fmt::Debug> core::error::Error for Error<E> {}

impl<B: Buffer, const SLOTS: usize> Log<B, SLOTS> {
    /// The public error for what went wrong inside, with all that its reader wants to know.
    #[cold]
    pub(crate) fn explain<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        fault: Fault,
    ) -> Error<D::Error> {
        match fault {
            Fault::OutOfRange => Error::OutOfRange { start: self.start, end: self.end },
            Fault::TooLarge => Error::TooLarge { max: self.max_entry(volume) },
            Fault::SyncPending => Error::SyncPending,
            Fault::Short => Error::BufferTooSmall { needed: volume.medium.detail as usize },
            Fault::Damaged => {
                Error::Corrupt { address: volume.address(volume.medium.detail, 0), offset: None }
            }
            Fault::Full => {
                // Releasing helps as soon as the first segment holds nothing that is kept.
                let mut header = SegmentHeader::default();
                let mut way = Way::NONE;
                match self.locate(volume, self.start, &mut header, &mut way) {
                    Ok(()) => Error::Full { release_before: (way.bound < self.end).then_some(way.bound) },
                    Err(fault) => self.explain(volume, fault),
                }
            }
            fault => Error::Volume(volume.explain(fault)),
        }
    }
}
