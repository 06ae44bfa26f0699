//! Measurements. What costs device operations is counted in tests, exactly; here is what costs time.
//!
//! - [`sync`]: what it costs to make entries durable, by sync strategy and number of threads, as multiples of what the
//!   machine can do at all: the library behind `esker bench sync` ([`cli`] is its command line).
//! - `cargo bench -p esker-bench`: the log's own work, over a device in memory, with criterion.
#![deny(unsafe_code)]

pub mod cli;
mod priority;
pub mod statistics;
pub mod sync;

pub use priority::raise_priority;
