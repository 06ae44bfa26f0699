//! Drivers for parts that many boards have, over addresses and buses that a board gives them.

pub mod mss_spi;
pub mod pl022;
pub mod register;
pub mod s25fl;
