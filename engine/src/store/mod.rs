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
//!
//! A checkpoint begins when half of the free blocks is used up, or of the log's room; where the store has that to itself, when
//! what is left lasts until the checkpoint is done, at seven eighths the latest. It is paid for by the operations that follow,
//! a few pages each (module `checkpoint`). Recovery applies the log to the published index again (module `recover`).

mod batch;
mod bulk;
mod change;
mod checkpoint;
mod error;
mod ground;
mod op;
mod read;
mod recover;
mod shell;
#[cfg(feature = "postcard")]
mod typed;
mod verify;

pub use crate::index::{Damage, Effect, Found, Index, IndexInfo, Kind, Verified};
pub use batch::{Batch, BatchFull};
pub use bulk::Load;
pub use error::Error;
pub use read::Cursor;
pub use shell::{Info, Root, Store};
#[cfg(feature = "postcard")]
pub use typed::Typed;
