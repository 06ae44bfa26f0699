//! What the device answers when it fails, and what the code under test must never do.

use std::error::Error;
use std::fmt;

/// What a simulated device answers when it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SimError {
    /// Nothing could be read: a bad unit, or an injected fault.
    Read {
        /// Where: the bad unit, or the start of the call.
        address: u64,
    },
    /// The write failed; what it left behind is unknown to the caller.
    Write {
        /// Where: the bad unit, or the start of the call.
        address: u64,
    },
    /// The erase failed; what it left behind is unknown to the caller.
    Erase {
        /// Where: the bad unit, or the start of the call.
        address: u64,
    },
    /// The sync failed; what is durable is unknown to the caller.
    Sync,
    /// The device is full; nothing was written.
    NoSpace,
    /// The device is write-protected; nothing was written.
    ReadOnly,
    /// The power is off: nothing works until [`Sim::power_cut`](crate::Sim::power_cut).
    PowerLost,
    /// The caller broke the rules of the device; nothing was done. It is also in
    /// [`Sim::violations`](crate::Sim::violations), so that code which swallows the error is caught as well.
    Violation(Violation),
}

impl fmt::Display for SimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { address } => write!(f, "can't read at {address:#x}"),
            Self::Write { address } => write!(f, "can't write at {address:#x}"),
            Self::Erase { address } => write!(f, "can't erase at {address:#x}"),
            Self::Sync => f.write_str("sync failed"),
            Self::NoSpace => f.write_str("no space left on the device"),
            Self::ReadOnly => f.write_str("the device is write-protected"),
            Self::PowerLost => f.write_str("the power is off"),
            Self::Violation(violation) => violation.fmt(f),
        }
    }
}

impl Error for SimError {}

/// A fault of the code under test: something that no storage code may do, whatever the device does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What was done.
    pub kind: ViolationKind,
    /// The first unit that it concerns.
    pub address: u64,
    /// How many calls (of any kind) the device had seen, this one included.
    pub call: u64,
}

/// The rules that can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ViolationKind {
    /// Flash programmed that was not erased since its last program.
    ProgrammedTwice,
    /// Flash programmed that an interrupted program had touched: it may read as blank and is not.
    ProgrammedBurnt,
    /// Flash programmed whose erase was interrupted: it may read as blank and is not reliably so.
    ProgrammedUnreliable,
    /// An address or a length that is not a multiple of the call's unit.
    Misaligned,
    /// Beyond the end of the device.
    OutOfBounds,
    /// A buffer that is not aligned in memory as the geometry asks.
    BufferAlignment,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            ViolationKind::ProgrammedTwice => "programmed twice without an erase",
            ViolationKind::ProgrammedBurnt => "programmed after an interrupted program, without an erase",
            ViolationKind::ProgrammedUnreliable => "programmed after an interrupted erase",
            ViolationKind::Misaligned => "address or length not a multiple of the unit",
            ViolationKind::OutOfBounds => "beyond the end of the device",
            ViolationKind::BufferAlignment => "buffer not aligned in memory",
        };
        write!(f, "violation: {what}, at {:#x} in call {}", self.address, self.call)
    }
}

impl Error for Violation {}

/// What the device does when the caller breaks its rules. It is recorded in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnViolation {
    /// Answer [`SimError::Violation`] and do nothing.
    #[default]
    Fail,
    /// Panic on the spot: the backtrace shows who did it.
    Panic,
    /// Do what a real part would do (program the AND of old and new) and say nothing. Calls outside the device or
    /// off its units fail even so.
    Allow,
}
