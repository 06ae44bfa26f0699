//! The B-tree: an index of pages in a buffer pool.
//!
//! ```text
//!   root        ├ "" │ "k" ┤               inner pages: the least key of each child, and the child's block and checksum
//!               ╱        ╲
//!   inner  ├ "" │ "f" ┤  ├ "k" │ "q" ┤
//!           ╱      ╲       ╱      ╲
//!   leaf  a c d   f h i   k l m   q x z    pairs; a long value is in a chain of blocks of its own
//! ```
//! All leaves are equally deep. A page but the root and those at the right edge is filled to a third at least (module
//! `node` shows why that can always be kept), and inserts in ascending order fill pages whole.
//!
//! No page is written over: a page that changes is given a new block the first time after a publish, and its parent, which
//! then names that block, changes with it, up to the root. So dirty pages form a tree at the root. A page is written only
//! when no dirty page is below it, because its parent holds its checksum (module `pages`); so the parents of dirty pages
//! stay in the pool, which needs as many frames as the tree is deep, and three.
//!
//! The algorithms are those of Bayer and McCreight (1972) in the B+ form, with occupancy counted in bytes and separators cut
//! short (Bayer and Unterauer, "Prefix B-trees", 1977).

mod change;
mod cursor;
mod descend;
mod insert;
mod overflow;
mod pages;
mod rebalance;
mod tree;
mod verify;

pub use crate::pool::{Frame, Frames, PoolInfo};
pub use tree::{BTree, Needed};
