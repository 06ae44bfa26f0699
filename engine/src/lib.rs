//! Esker: a storage engine that fits into firmware.
//!
//! One `no_std` crate without an allocator and without `unsafe`, over one small [`BlockDevice`](device::BlockDevice)
//! trait. All memory is lent by the caller. The rooms, lower floors first:
//!
//! - [`device`]: what a device is; windows, counters, a RAM device, adapters to the ecosystem's traits.
//! - [`volume`]: a formatted device: the superblock in two homes, and the pool of segments.
//! - [`wal`]: the write-ahead log: entries in, entries out, and nothing acknowledged is ever lost.
//! - [`btree`]: an index of pages in a buffer pool.
//! - [`store`]: keys and values, durable: an index whose truth is the log.
//!
//! Begin with [`wal::Log`] or [`store::Store`], which have examples. `FORMAT.md` in the crate's folder is the format on the device, to the
//! byte.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

#[cfg(any(test, doctest))]
extern crate std;

#[macro_use]
mod trace;

pub mod btree;
mod codec;
pub mod device;
mod index;
#[allow(dead_code)]
mod lsm;
mod node;
mod pool;
mod space;
pub mod store;
#[cfg(test)]
mod testing;
pub mod volume;
pub mod wal;
