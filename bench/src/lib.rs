//! Measurements. What costs device operations is counted in tests, exactly; here is what costs time.
//!
//! `cargo bench -p esker-bench`: the log's own work, over a device in memory.
