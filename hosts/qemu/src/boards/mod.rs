//! The boards: each folder gives a device to the logger, and says how a volume on it is best laid out and which tree its settings are on.

pub mod emcraft_sf2;
pub mod lm3s6965evb;
