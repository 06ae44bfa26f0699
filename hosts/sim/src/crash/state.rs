//! One crash state, as the checker sees it.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use crate::counts::Counts;
use crate::crash::draft::Draft;
use crate::crash::walk::{Step, What};
use crate::medium::Medium;
use crate::rng::Rng;
use crate::sim::Sim;
use crate::trace::Trace;

/// Names a crash state of a trace: the cut and the number of the state within it, written as `17.203`. Stable as
/// long as trace and policy are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CrashId {
    /// How many operations had returned.
    pub cut: usize,
    /// Which of the states at that moment.
    pub variant: u32,
}

impl fmt::Display for CrashId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.cut, self.variant)
    }
}

/// Not of the form `17.203`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseCrashIdError;

impl fmt::Display for ParseCrashIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a crash state is named by two numbers and a dot between them, as in 17.203")
    }
}

impl Error for ParseCrashIdError {}

impl FromStr for CrashId {
    type Err = ParseCrashIdError;

    fn from_str(text: &str) -> Result<Self, ParseCrashIdError> {
        let (cut, variant) = text.trim().split_once('.').ok_or(ParseCrashIdError)?;
        let cut = cut.parse().map_err(|_| ParseCrashIdError)?;
        let variant = variant.parse().map_err(|_| ParseCrashIdError)?;
        Ok(Self { cut, variant })
    }
}

/// What the medium holds after one possible power cut. Its `Display` says in words what was kept and torn.
pub struct CrashState<'a> {
    pub(crate) trace: &'a Trace,
    pub(crate) steps: &'a [Step<'a>],
    pub(crate) base: &'a Medium,
    /// Which base this is: the enumeration, and how often its base changed.
    pub(crate) stamp: (u64, u64),
    pub(crate) draft: &'a Draft,
    pub(crate) pending: &'a [usize],
    pub(crate) what: &'a What,
    pub(crate) id: CrashId,
    pub(crate) hash: u64,
}

impl CrashState<'_> {
    /// Its name, for [`replay`](crate::replay).
    pub fn id(&self) -> CrashId {
        self.id
    }

    /// How many operations of the trace had returned. What had been acknowledged by then must have survived; of what
    /// began later there may be nothing.
    pub fn cut(&self) -> usize {
        self.id.cut
    }

    /// A hash of the content and of the units' special conditions. Equal images have equal hashes, in other traces
    /// and other runs too, so a set of hashes counts distinct images.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Whether units that nobody was writing are damaged (see [`Policy::neighbours`](crate::Policy::neighbours)):
    /// then durable data may be reported as corrupt.
    pub fn damages_neighbours(&self) -> bool {
        matches!(self.what, What::Neighbours { .. })
    }

    /// A new device in this state, switched on, with no faults planned and all counters at 0.
    pub fn device(&self) -> Sim {
        let sim = Sim::from_medium(self.base.clone());
        self.load_into(&sim);
        sim
    }

    /// Puts `sim` into this state: as [`device`](Self::device), but it keeps the memory, its page size and what it
    /// does on a violation. Handles to it that the code under test still has see the new state. A device of another
    /// geometry is replaced.
    pub fn load_into(&self, sim: &Sim) {
        let mut device = sim.device.borrow_mut();
        if device.geometry != self.base.geometry() {
            let on_violation = device.on_violation;
            *device = crate::device::Device::new(self.base.clone());
            device.on_violation = on_violation;
            device.page = self.trace.page;
        }
        let device = &mut *device;
        let known = device.loaded == Some(self.stamp);
        device.medium.become_copy_of(self.base, known);
        device.loaded = Some(self.stamp);
        self.draft.apply(self.steps, &mut device.medium);
        device.cache.clear();
        device.plan.clear();
        device.discard = self.trace.discard;
        device.write_protected = false;
        device.powered = true;
        device.in_flight = None;
        device.trace = None;
        device.counts = Counts::default();
        device.wear.fill(0);
        device.violations.clear();
        device.rng = Rng::new(self.hash);
    }
}

impl fmt::Display for CrashState<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ops = self.trace.ops.len();
        write!(f, "crash state {}: {} of {ops} operations had returned", self.id, self.id.cut)?;
        if let Some(step) = self.steps.get(self.id.cut) {
            write!(f, ", in flight: {step}")?;
        }
        match self.what {
            What::Subset { kept, torn } => {
                write!(f, "; not synced: {}", self.pending.len())?;
                let lost = self.pending.iter().zip(kept).filter(|(_, kept)| !**kept).map(|(step, _)| step);
                let torn_step = torn.as_ref().map(|torn| self.pending[torn.write]);
                let mut separator = ", lost: ";
                for step in lost.filter(|step| Some(**step) != torn_step) {
                    write!(f, "{separator}op {step} ({})", self.steps[*step])?;
                    separator = ", ";
                }
                if let (Some(torn), Some(step)) = (torn, torn_step) {
                    write!(f, ", torn: op {step} ({}): {torn}", self.steps[step])?;
                }
                Ok(())
            }
            What::NotBegun => f.write_str(", not begun"),
            What::Complete => f.write_str(", complete"),
            What::Program { unit, tear } => write!(f, ", cut in unit {unit}: {tear}; later units burnt"),
            What::Erase { sector, tear } => write!(f, ", cut in erase unit {sector}: {tear}"),
            What::Neighbours { group } => {
                write!(f, ", neighbours damaged in {:#x}..{:#x}", group.start, group.end)
            }
        }
    }
}

impl fmt::Debug for CrashState<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
