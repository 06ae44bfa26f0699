#![doc = include_str!("../README.md")]
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod cache;
mod condition;
mod counts;
mod crash;
mod damage;
mod device;
mod error;
mod fault;
mod medium;
mod power;
mod recorder;
mod rng;
mod sim;
mod sparse;
mod tear;
mod trace;

pub use condition::{Programming, Reading};
pub use counts::{CostModel, Counts};
pub use crash::{CrashId, CrashState, ParseCrashIdError, Policy, Repeats, Summary, count, enumerate, replay};
pub use damage::HalfErased;
pub use error::{OnViolation, SimError, Violation, ViolationKind};
pub use fault::{Applied, Fault, FaultId};
pub use power::PowerCut;
pub use recorder::Recorder;
pub use sim::Sim;
pub use sparse::Sparse;
pub use trace::{Discard, Op, Trace};
