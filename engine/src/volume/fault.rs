//! What goes wrong inside the engine, in one word: every function hands it on, and on a Cortex-M a larger error costs
//! more code than the work itself. (One byte would be more as well: a result of a number or a word goes in two registers.)
//! What belongs to it (the device's error, a place, a size) waits in the [`Medium`](super::medium::Medium) until the
//! public error is made of both, at the surface.

/// See the module; each variant means what its namesake in [`volume::Error`](super::Error) or
/// [`wal::Error`](crate::wal::Error) does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Fault {
    Device,
    Poisoned,
    Full,
    SyncPending,
    TooLarge,
    OutOfRange,
    /// The caller's buffer is too small for the entry; the detail says how many bytes are needed.
    Short,
    /// The lent memory is too small; the detail says how many bytes are needed.
    Memory,
    /// In the segment that the detail says.
    Damaged,
    NotFormatted,
    /// The detail says which.
    Version,
    TooManyLogs,
    TooManySlots,
    /// The device's geometry can't be.
    Impossible,
    /// The device's geometry is not the one of the volume.
    Geometry,
    /// The detail says what the buffer must be aligned to.
    Misaligned,
    LogExists,
    NoSuchLog,
    /// The store was opened for reading only.
    ReadOnly,
    /// A damaged block keeps an operation of the log from being applied.
    Stuck,
    EmptyKey,
    KeyTooLong,
    /// For a key of as many bytes as the detail says.
    ValueTooLong,
    NoStore,
    /// The store's index is of the kind that the detail says.
    OtherKind,
    /// The index can't live in what it was given; asked again, it says why.
    Unfit,
    /// An entry of the log that a store must read is damaged: a cursor stands before it.
    Entry,
}
