//! Which segments of the pool are free and what stands at their two ends, and which blocks of a store are free:
//! bookkeeping, without a device.
//!
//! A [`Segments`] holds one bit per segment: set while something durable, or something about to be, may lie there.
//! Segments are taken in a ring, so that wear is even. A segment that was released becomes free only when the publish
//! that dropped it is durable in both homes of the superblock; a segment that can't be erased is retired for good.
//!
//! [`Blocks`] keeps its list on the device, in free blocks: there may be too many of them for a bitmap. It reaches them through
//! [`BlockRegion`], which the volume implements.

mod blocks;
mod seal;
mod segment;
mod segments;
mod unit;

pub(crate) use blocks::BlockRegion;
#[allow(unused_imports)]
pub(crate) use blocks::{BLOCKS_ROOT, Blocks, Use};
pub(crate) use seal::{SEAL, Seal};
pub(crate) use segment::{Link, SEGMENT_HEADER, SegmentHeader, TRAIL};
pub(crate) use segments::Segments;
pub(crate) use unit::UNIT;
