//! The write-ahead log: entries in, entries out, and nothing acknowledged is ever lost.
//!
//! ```text
//!   log 0:  segment 4 ──> segment 7 ──> segment 8            offsets count entries, from 0
//!   log 1:  segment 5 ──> segment 6
//!
//!   segment:  ├ header ┤ record │ record │ record │ ... ┤ slots │ seal ┤     one epoch or several
//!   window:            └── written, then synced as one ──┘                    several to a segment, or the reverse
//! ```
//! An *entry* is bytes from the caller; a *record* is an entry, or a mark of the log's own, as it stands on the device
//! (module `record`); a *segment* is a stretch of the pool that many logs share; a *window* is what one commit makes durable.
//!
//! The rules that make recovery decidable, and where they are kept:
//! 1. Nothing of window n+1 is written before the sync of window n has returned (module `append`): so a bad record
//!    with a whole one of a later window behind it had been durable.
//! 2. Each record's checksum is seeded with volume, segment, life, epoch, position and offset: nothing of another place
//!    or time is ever taken for good.
//! 3. An epoch is durable before the first record under it (module `branch`), and begins behind whatever a cut left.
//! 4. A write unit is written once in a life of its segment; a commit begins a fresh one.
//! 5. What a publish dropped is reused only when both homes of the superblock say so.

mod append;
mod branch;
mod error;
mod index;
mod log;
mod read;
mod record;
mod recover;
mod release;
mod site;
mod snapshot;
mod store;
mod sync;
mod walk;

pub use append::Ticket;
pub use error::Error;
pub use log::{Info, Log, Report};
pub use read::{Cursor, Entry};
pub use recover::Recovery;
pub use release::Released;
pub(crate) use site::{Home, Site};
pub use snapshot::{Snapshot, SnapshotInfo};
pub use sync::{Durability, SyncStrategy};
