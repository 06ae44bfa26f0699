//! Measurements. What costs device operations is counted in tests, exactly; here is what costs time.
//!
//! - [`sync`]: what it costs to make entries durable, by sync strategy and number of threads, as multiples of what the
//!   machine can do at all: the library behind `esker bench sync` ([`cli`] is its command line).
//! - [`kv`]: what it costs to keep pairs of keys and values, beside other stores, on this machine's disk or on a simulated
//!   device: the library behind `esker bench kv`.
//! - `cargo bench -p esker-bench`: the log's own work, over a device in memory, with criterion.
#![deny(unsafe_code)]

pub mod cli;
mod failure;
mod folder;
pub mod kv;
mod priority;
mod progress;
pub mod statistics;
pub mod sync;

pub use failure::Failure;
pub use priority::raise_priority;
