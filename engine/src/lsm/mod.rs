//! The LSM tree: an index that writes only sorted tables, each once and in one go.
//!
//! ```text
//!   memtable   what the log has and no table yet, sorted, in lent memory
//!   run 0      ├ table ┤├ table ┤ ...              newer
//!   run 1      ├ table ┤├ table ┤├ table ┤ ...     older: the same key may be in several runs, the newest counts
//!
//!   a table, in a block of its own:
//!              ├ pairs ┤ pairs ┤ ... ┤ filter ┤ index ┤ free ┤ long values ┤
//!                                      pages; the index has the first key of each page of pairs
//! ```
//! The list of tables is in memory; on the device it is the manifest, which the root names. A table's record in it has the
//! checksum of the table's index page, and that has those of the pages of pairs; so what a cut, a lost write or a flipped bit
//! has left is never taken for a table.
//!
//! Merges (modules `merge` and `policy`) turn the memtable and runs into new runs, some pages at a time, paid for by the
//! changes. What they write counts after the next publish, and what they have replaced is free then.
//!
//! O'Neil, Cheng, Gawlick and O'Neil, "The Log-Structured Merge-Tree" (1996); the shapes are those of Dayan, Athanassoulis and
//! Idreos, "Monkey" (2017) and "Dostoevsky" (2018).

mod builder;
mod chain;
mod compaction;
mod cursor;
mod figures;
mod filter;
mod find;
mod index;
mod list;
mod manifest;
mod memory;
mod memtable;
mod merge;
mod pace;
mod page;
mod policy;
mod scan;
mod tree;
mod value;
mod verify;

pub use crate::pool::{Frame, Frames, PoolInfo};
pub use figures::{Level, Merges};
pub use memtable::{Entries, Places};
pub use policy::Shape;
pub use tree::{Lsm, Options};
