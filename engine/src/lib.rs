//! Esker: a storage engine that fits into firmware.
//!
//! One `no_std` crate without an allocator and without `unsafe`, over one small [`BlockDevice`](device::BlockDevice)
//! trait. All memory is lent by the caller. The rooms, lower floors first:
//!
//! - [`device`]: what a device is; windows, counters, a RAM device, adapters to the ecosystem's traits.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

#[cfg(any(test, doctest))]
extern crate std;

mod codec;
pub mod device;
mod space;
pub mod volume;
pub mod wal;
