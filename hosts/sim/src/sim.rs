//! The handle: construction, the device trait, and everything a test may look at.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use esker::device::{BlockDevice, Geometry, GeometryError};

use crate::condition::{Programming, Reading};
use crate::counts::{CostModel, Counts};
use crate::device::Device;
use crate::error::{OnViolation, SimError, Violation};
use crate::fault::{Fault, FaultId};
use crate::medium::{Medium, index};
use crate::rng::Rng;
use crate::trace::{Discard, Op, Trace};

/// A simulated device. A clone is another handle to the same device: give one to the code under test and keep one.
///
/// Everything is deterministic; where something is random it comes from a seed.
///
/// - A **block device** ([`Sim::blocks`]) has a volatile write cache. Reads see it; only a sync empties it onto the
///   medium; [`Sim::power_cut`] loses what it likes of it.
/// - A **flash part** ([`Sim::nor`]) has none: programs and erases take effect at once and in order. A program can
///   only clear bits, and a unit may be programmed once between two erases: anything else is a [`Violation`].
#[derive(Clone)]
pub struct Sim {
    pub(crate) device: Rc<RefCell<Device>>,
}

impl Sim {
    /// A block device of `capacity` bytes in blocks of 512 or 4096 (or another power of two), all zeros.
    ///
    /// # Panics
    /// If the geometry isn't a possible one.
    pub fn blocks(capacity: u64, block: u32) -> Self {
        Self::new(Geometry::blocks(capacity, block)).expect("a possible geometry")
    }

    /// A blank flash part of `capacity` bytes that is programmed in `write_unit` and erased in `erase_unit`, with
    /// pages of 256 bytes ([`Sim::with_page`] changes that).
    ///
    /// # Panics
    /// If the geometry isn't a possible one.
    pub fn nor(capacity: u64, write_unit: u32, erase_unit: u32) -> Self {
        Self::new(Geometry::flash(capacity, write_unit, erase_unit)).expect("a possible geometry")
    }

    /// A device of any geometry: flash if it has an erase unit, else blocks.
    pub fn new(geometry: Geometry) -> Result<Self, GeometryError> {
        geometry.check()?;
        Ok(Self::from_medium(Medium::new(geometry)))
    }

    /// A device that holds `image`; its length replaces the capacity in `geometry`. On flash, units of `0xFF` count
    /// as blank.
    pub fn from_image(geometry: Geometry, image: &[u8]) -> Result<Self, GeometryError> {
        let geometry = Geometry { capacity: image.len() as u64, ..geometry };
        geometry.check()?;
        Ok(Self::from_medium(Medium::from_image(geometry, image)))
    }

    pub(crate) fn from_medium(medium: Medium) -> Self {
        Self { device: Rc::new(RefCell::new(Device::new(medium))) }
    }

    /// Sets the page at which a program call is split when it is counted; 0 for none.
    #[must_use]
    pub fn with_page(self, page: u32) -> Self {
        self.device.borrow_mut().page = page;
        self
    }

    /// Sets the seed of everything random (unstable reads, damage). The default is 0.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        self.device.borrow_mut().rng = Rng::new(seed);
        self
    }

    /// Sets what happens when the code under test breaks the device's rules.
    #[must_use]
    pub fn with_on_violation(self, on_violation: OnViolation) -> Self {
        self.device.borrow_mut().on_violation = on_violation;
        self
    }

    /// Sets what a discard (an `erase` on a block device) leaves behind.
    #[must_use]
    pub fn with_discard(self, discard: Discard) -> Self {
        self.device.borrow_mut().discard = discard;
        self
    }

    /// Plans a fault. Faults are asked in the order in which they were injected, and the first that matches strikes.
    pub fn inject(&self, fault: Fault) -> FaultId {
        self.device.borrow_mut().plan.add(fault)
    }

    /// How often an injected fault has struck: a test whose fault never struck has tested nothing.
    pub fn struck(&self, fault: FaultId) -> u64 {
        self.device.borrow().plan.struck(fault)
    }

    /// Takes one planned fault back.
    pub fn withdraw(&self, fault: FaultId) {
        self.device.borrow_mut().plan.remove(fault);
    }

    /// Takes all planned faults back; damage that was done stays.
    pub fn clear_faults(&self) {
        self.device.borrow_mut().plan.clear();
    }

    /// Sets or lifts write protection: writes and erases answer [`SimError::ReadOnly`].
    pub fn write_protect(&self, on: bool) {
        self.device.borrow_mut().write_protected = on;
    }

    /// Every rule that was broken so far, also where the code under test swallowed the error.
    pub fn violations(&self) -> Vec<Violation> {
        self.device.borrow().violations.clone()
    }

    /// What the device was asked to do so far.
    pub fn counts(&self) -> Counts {
        self.device.borrow().counts
    }

    /// Starts counting, wear and violations anew.
    pub fn reset_counts(&self) {
        let mut device = self.device.borrow_mut();
        device.counts = Counts::default();
        device.wear.fill(0);
        device.violations.clear();
    }

    /// How long a real device would have been busy so far.
    pub fn elapsed(&self, model: &CostModel) -> Duration {
        model.time(&self.counts())
    }

    /// How often each erase unit was erased; empty on block devices.
    pub fn wear(&self) -> Vec<u32> {
        self.device.borrow().wear.clone()
    }

    /// Starts recording; a recording under way is dropped. Costs a copy of the image.
    pub fn record(&self) {
        let mut device = self.device.borrow_mut();
        let device = &mut *device;
        // Not yet durable writes are carried into the trace, so its image is what the medium holds without them. Stale
        // reads of dropped data end here, as a trace can't tell them.
        let pending = device.cache.take_pending(&mut device.medium);
        let mut trace = Trace::new(device.medium.clone(), device.discard, device.page);
        for write in pending {
            device.cache.write(&mut device.medium, write.at, &write.data);
            trace.ops.push(Op::Write { address: write.at as u64, data: write.data });
        }
        trace.first_cut = trace.ops.len();
        device.trace = Some(trace);
    }

    /// Ends recording.
    ///
    /// # Panics
    /// If nothing was being recorded.
    pub fn take_trace(&self) -> Trace {
        self.device.borrow_mut().trace.take().expect("`record` comes before `take_trace`")
    }

    /// How many operations (writes, erases, syncs) the recording holds; 0 without one. Note it before and after each
    /// call into the code under test: what had been acknowledged when a count was reached must survive each crash
    /// state with a [`cut`](crate::CrashState::cut) of at least that count.
    pub fn op_count(&self) -> usize {
        self.device.borrow().trace.as_ref().map_or(0, |trace| trace.ops.len())
    }

    /// Notes in the recording that what the code under test promises has changed here (it acknowledged something).
    /// [`Repeats::OncePerMark`](crate::Repeats::OncePerMark) uses it.
    pub fn mark(&self) {
        if let Some(trace) = &mut self.device.borrow_mut().trace {
            trace.marks.push(trace.ops.len());
        }
    }

    /// The content as reads see it when nothing is wrong: the medium, and the write cache over it.
    pub fn image(&self) -> Vec<u8> {
        self.device.borrow().medium.image().to_vec()
    }

    /// The content that a power cut would leave if it lost everything that is not durable.
    pub fn durable_image(&self) -> Vec<u8> {
        let device = self.device.borrow();
        let mut medium = device.medium.clone();
        device.cache.clone().take_pending(&mut medium);
        medium.image().to_vec()
    }

    /// What is known of the write unit at `address`.
    ///
    /// # Panics
    /// If `address` is beyond the end.
    pub fn unit(&self, address: u64) -> (Programming, Reading) {
        let device = self.device.borrow();
        let condition = device.medium.condition(index(address) / device.medium.unit());
        (condition.programming(), condition.reading())
    }
}

impl BlockDevice for Sim {
    type Error = SimError;

    fn geometry(&self) -> Geometry {
        self.device.borrow().geometry
    }

    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), SimError> {
        self.device.borrow_mut().read(address, buffer)
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), SimError> {
        self.device.borrow_mut().write(address, data)
    }

    fn erase(&mut self, range: Range<u64>) -> Result<(), SimError> {
        self.device.borrow_mut().erase(&range)
    }

    fn sync(&mut self) -> Result<(), SimError> {
        self.device.borrow_mut().sync()
    }
}

impl fmt::Debug for Sim {
    /// Sizes and counters; not the image.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let device = self.device.borrow();
        f.debug_struct("Sim")
            .field("geometry", &device.geometry)
            .field("counts", &device.counts)
            .field("violations", &device.violations)
            .finish_non_exhaustive()
    }
}
