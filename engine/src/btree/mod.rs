//! SKELETON
#![allow(missing_docs, unused_variables, dead_code, clippy::todo, clippy::panic)]

pub use crate::pool::{Frame, PoolInfo};
use crate::volume::{Buffer, VolumeInfo};

/// Memory that a tree needs at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needed {
    pub pages: usize,
    pub frames: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct IndexInfo {
    pub pairs: u64,
    pub depth: u8,
    pub leaves: u32,
    pub inner: u32,
    /// Pages of values longer than fit into a leaf.
    pub overflow: u32,
}

pub struct BTree<P, F> {
    pages: P,
    frames: F,
}

impl<P: Buffer, F: AsRef<[Frame]> + AsMut<[Frame]>> BTree<P, F> {
    /// As many frames as both give room for. The pages must be aligned as the device wants it.
    pub fn new(pages: P, frames: F) -> Self {
        Self { pages, frames }
    }
    pub fn memory_needed(volume: &VolumeInfo) -> Needed {
        todo!()
    }
}
