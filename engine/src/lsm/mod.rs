//! An LSM tree over the log.

mod memtable;
