//! Keys and values, durable: an index whose truth is the log.
//!
//! ```text
//!   put, delete ──> log ──────────────────────────┐ commit: one sync
//!        └────────> index, in memory              │
//!                     └─ checkpoint: new pages into free blocks, sync, publish (root, L), release the log before L
//!   open: the published root, then the log from L on
//! ```
//! The index is never written over: what the last publish names stays whole until the next one is durable in both homes.
//! So no page is ever torn, no page goes through the log, and flash and disks are served alike.

mod batch;
mod error;
mod op;
mod shell;

pub use batch::{Batch, BatchFull};
pub use error::Error;
pub use shell::{Cursor, Damage, Effect, Found, Info, Kind, Load, Root, Store, Verified};
