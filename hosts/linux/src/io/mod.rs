//! Bytes to and from an open file or block device: all of them, whatever the system call left undone.
//!
//! ```text
//!   FileDevice, RawDisk ── Handle ──┬── page cache            pread, pwrite, pwritev
//!                                   └── O_DIRECT (`Direct`)   the same, or a `Ring`; memory that does not suit goes
//!                                                             through an `AlignedBuffer`
//! ```
//!
//! A call that a signal interrupted is made again, and what a short one left is done by another. Any other error is
//! handed on, with one exception: after a failed sync, no later one is believed (see [`Flush::sync`]).

mod aligned;
mod direct;
mod flush;
mod handle;
mod ring;
mod whole;

pub use aligned::{AlignedBuffer, FrameBuffer};
pub(crate) use flush::Flush;
pub(crate) use handle::Handle;
