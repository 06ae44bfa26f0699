//! The B-tree: ordered keys in pages.
mod node;
