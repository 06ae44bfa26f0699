//! What can go wrong with a store, and what to do about it.

use core::fmt;

use crate::{volume, wal};

/// Why a store could not do what it was asked. Unless it says otherwise, nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Error<E> {
    /// The log, the volume, or the device below. After a failed write or sync, open the volume and the store again.
    Log(wal::Error<E>),
    /// A key has one byte at least.
    EmptyKey,
    /// The key is longer than a page of this size lets be.
    KeyTooLong {
        /// The longest key.
        max: usize,
    },
    /// The value is longer than an entry of the log.
    ValueTooLong {
        /// The longest value for this key.
        max: usize,
    },
    /// The batch's memory is full. The batch is as it was.
    BatchFull {
        /// Bytes that would be enough for what it holds and this operation.
        needed: usize,
    },
    /// The value is longer than the buffer that was passed in.
    BufferTooSmall {
        /// Its length.
        needed: usize,
    },
    /// The lent memory is too little for this volume.
    MemoryTooSmall {
        /// Bytes for pages that would be enough.
        pages: usize,
        /// Frame records that would be enough.
        frames: usize,
    },
    /// A page, and with it the keys that belong there, is damaged. Other keys can be read; `salvage` drops these.
    Corrupt {
        /// Where on the device.
        address: u64,
    },
    /// An operation of the log could not be applied because of damage: what is stored can be read, but not changed, until
    /// `salvage` has dropped what is damaged.
    Stuck {
        /// Where the damage is on the device.
        address: u64,
    },
    /// No free block is left. Reading and deleting still work.
    Full,
    /// The volume has no room for blocks, or no store in it. Format it with a block size, and create one.
    NoStore,
    /// The volume holds a store already.
    StoreExists,
    /// The volume's store is of another kind.
    OtherKind {
        /// As it is written in the volume's root.
        found: u8,
    },
    /// The volume's block size is none that this index can use.
    BlockSize(&'static str),
    /// Sorted pairs were promised, and this one is not greater than the one before.
    Unsorted {
        /// Its number, from 0.
        at: u64,
    },
    /// Only an empty store can be loaded in bulk.
    NotEmpty,
    /// The store was opened for reading only.
    ReadOnly,
    /// A typed key or value does not fit into the buffer, or what is stored is not of this type.
    Encoding,
}

impl<E> From<wal::Error<E>> for Error<E> {
    fn from(error: wal::Error<E>) -> Self {
        Self::Log(error)
    }
}

impl<E> From<volume::Error<E>> for Error<E> {
    fn from(error: volume::Error<E>) -> Self {
        Self::Log(wal::Error::Volume(error))
    }
}

impl<E: fmt::Debug> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(error) => error.fmt(f),
            Self::EmptyKey => f.write_str("a key must have at least one byte"),
            Self::KeyTooLong { max } => write!(f, "the key is too long: at most {max} bytes"),
            Self::ValueTooLong { max } => write!(f, "the value is too long: at most {max} bytes"),
            Self::BatchFull { needed } => write!(f, "the batch is full: it would need {needed} bytes"),
            Self::BufferTooSmall { needed } => {
                write!(f, "the value has {needed} bytes, more than the buffer")
            }
            Self::MemoryTooSmall { pages, frames } => {
                write!(
                    f,
                    "the lent memory is too small: {pages} bytes of pages and {frames} frames are needed"
                )
            }
            Self::Corrupt { address } => write!(f, "a page is damaged, see address {address}"),
            Self::Stuck { address } => write!(
                f,
                "the page at address {address} is damaged and changes to it can't be applied; salvage drops it"
            ),
            Self::Full => f.write_str("no free block is left; deleting still works"),
            Self::NoStore => f.write_str("there is no store on this volume"),
            Self::StoreExists => f.write_str("there is a store on this volume already"),
            Self::OtherKind { found } => write!(f, "the store on this volume is of another kind ({found})"),
            Self::BlockSize(why) => f.write_str(why),
            Self::Unsorted { at } => write!(f, "pair {at} is not greater than the one before it"),
            Self::NotEmpty => f.write_str("only an empty store can be loaded in bulk"),
            Self::ReadOnly => f.write_str("the store was opened for reading only"),
            Self::Encoding => {
                f.write_str("a typed key or value does not fit the buffer, or is not of this type")
            }
        }
    }
}

impl<E: fmt::Debug> core::error::Error for Error<E> {}
