//! Esker in firmware: a data logger, for two boards that QEMU emulates.
//!
//! - [`logger`] is the application, with [`settings`] beside. It knows the engine and nothing about hardware, so it runs on a
//!   host as well.
//! - `drivers` are for parts that many boards have; [`boards`] says which of them stand where on one. A board of your
//!   own is one more folder there and ten lines in `src/bin`.
//! - `platform` is what QEMU is to these images: where their messages go, and how they end.
#![no_std]

#[macro_use]
mod report;

pub mod boards;
pub mod drivers;
pub mod logger;
#[cfg(target_os = "none")]
pub mod platform;
pub mod settings;

/// The example of the project's README, which must compile and run.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct Readme;
