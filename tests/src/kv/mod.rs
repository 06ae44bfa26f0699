//! The key-value store under test: what it must show, and the runs that are cut, damaged and made to fail.
//!
//! Everything here is generic over the index below the store, so that each index is held to the same promises.

pub mod chain;
pub mod corrupt;
pub mod crash;
pub mod engine;
pub mod goon;
pub mod image;
pub mod ioerr;
pub mod loose;
pub mod model;
pub mod opened;
pub mod play;
pub mod random;
pub mod scarce;
pub mod scenarios;
pub mod session;
pub mod shape;
