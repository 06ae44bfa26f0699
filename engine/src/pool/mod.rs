//! SKELETON
#![allow(missing_docs, dead_code)]
/// The record of one frame. Its content is the engine's; lend as many as there is memory for pages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Frame {
    block: u32,
}

/// The buffer pool in figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PoolInfo {
    pub frames: u32,
    pub dirty: u32,
    pub hits: u64,
    pub misses: u64,
    pub evictions: u64,
    /// Pages written.
    pub written: u64,
}
