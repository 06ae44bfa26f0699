//! The write-ahead log under test: what it must show, and the runs that are cut, damaged and made to fail.

pub mod corrupt;
pub mod crash;
pub mod goon;
pub mod image;
pub mod ioerr;
pub mod loose;
pub mod model;
pub mod opened;
pub mod play;
pub mod scenarios;
pub mod session;
pub mod shape;
