//! Counting what passes to a device.

use core::ops::{Range, Sub};

use super::{BlockDevice, Geometry};

/// A device that counts the calls to the one below and the bytes they name.
///
/// A vectored call counts as one, because a host may submit it as one. A call that fails is counted as well: the
/// device was asked.
///
/// ```
/// use esker::device::{BlockDevice, Counted, Geometry, Ram};
///
/// let mut device = Counted::new(Ram::new([0; 1024], Geometry::blocks(0, 512)));
/// let before = device.counts();
/// device.write(512, &[1; 512])?;
/// device.sync()?;
/// let cost = device.counts() - before;
/// assert_eq!((cost.writes, cost.written_bytes, cost.syncs), (1, 512, 1));
/// # Ok::<(), esker::device::RamError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Counted<D> {
    device: D,
    counts: Counts,
}

/// Calls and bytes by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Counts {
    /// Calls of `read` and `read_vectored`.
    pub reads: u64,
    /// Bytes asked of them.
    pub read_bytes: u64,
    /// Calls of `write` and `write_vectored`.
    pub writes: u64,
    /// Bytes given to them.
    pub written_bytes: u64,
    /// Calls of `erase`.
    pub erases: u64,
    /// Bytes of their ranges.
    pub erased_bytes: u64,
    /// Calls of `sync`.
    pub syncs: u64,
}

impl Counts {
    /// What was counted after `earlier`. A count that is smaller than it was (after [`Counted::reset`]) gives 0.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            reads: self.reads.saturating_sub(earlier.reads),
            read_bytes: self.read_bytes.saturating_sub(earlier.read_bytes),
            writes: self.writes.saturating_sub(earlier.writes),
            written_bytes: self.written_bytes.saturating_sub(earlier.written_bytes),
            erases: self.erases.saturating_sub(earlier.erases),
            erased_bytes: self.erased_bytes.saturating_sub(earlier.erased_bytes),
            syncs: self.syncs.saturating_sub(earlier.syncs),
        }
    }

    fn add_read(&mut self, bytes: u64) {
        self.reads = self.reads.saturating_add(1);
        self.read_bytes = self.read_bytes.saturating_add(bytes);
    }

    fn add_write(&mut self, bytes: u64) {
        self.writes = self.writes.saturating_add(1);
        self.written_bytes = self.written_bytes.saturating_add(bytes);
    }

    fn add_erase(&mut self, bytes: u64) {
        self.erases = self.erases.saturating_add(1);
        self.erased_bytes = self.erased_bytes.saturating_add(bytes);
    }
}

/// The same as [`Counts::since`].
impl Sub for Counts {
    type Output = Self;
    fn sub(self, earlier: Self) -> Self {
        self.since(earlier)
    }
}

impl<D> Counted<D> {
    /// Counts what passes to `device`, from 0.
    pub fn new(device: D) -> Self {
        Self { device, counts: Counts::default() }
    }

    /// What was counted since [`new`](Self::new) or [`reset`](Self::reset).
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Begins again from 0.
    pub fn reset(&mut self) {
        self.counts = Counts::default();
    }

    /// The device below.
    pub fn get_ref(&self) -> &D {
        &self.device
    }

    /// The device below; what is done through it is not counted.
    pub fn get_mut(&mut self) -> &mut D {
        &mut self.device
    }

    /// Gives the device below back.
    pub fn into_inner(self) -> D {
        self.device
    }
}

impl<D: BlockDevice> BlockDevice for Counted<D> {
    type Error = D::Error;

    fn geometry(&self) -> Geometry {
        self.device.geometry()
    }

    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), Self::Error> {
        self.counts.add_read(buffer.len() as u64);
        self.device.read(address, buffer)
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), Self::Error> {
        self.counts.add_write(data.len() as u64);
        self.device.write(address, data)
    }

    fn erase(&mut self, range: Range<u64>) -> Result<(), Self::Error> {
        self.counts.add_erase(range.end.saturating_sub(range.start));
        self.device.erase(range)
    }

    fn sync(&mut self) -> Result<(), Self::Error> {
        self.counts.syncs = self.counts.syncs.saturating_add(1);
        self.device.sync()
    }

    fn read_vectored(&mut self, address: u64, buffers: &mut [&mut [u8]]) -> Result<(), Self::Error> {
        let bytes = buffers.iter().map(|buffer| buffer.len() as u64).fold(0, u64::saturating_add);
        self.counts.add_read(bytes);
        self.device.read_vectored(address, buffers)
    }

    fn write_vectored(&mut self, address: u64, data: &[&[u8]]) -> Result<(), Self::Error> {
        let bytes = data.iter().map(|part| part.len() as u64).fold(0, u64::saturating_add);
        self.counts.add_write(bytes);
        self.device.write_vectored(address, data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Ram, RamError};

    fn device() -> Counted<Ram<[u8; 1024]>> {
        Counted::new(Ram::new([0; 1024], Geometry::flash(0, 16, 256)))
    }

    #[test]
    fn counts_calls_and_bytes_by_kind() {
        let mut device = device();
        assert_eq!(device.counts(), Counts::default());
        device.read(0, &mut [0; 10]).unwrap();
        device.read(0, &mut [0; 20]).unwrap();
        device.write(0, &[0; 16]).unwrap();
        device.erase(256..1024).unwrap();
        device.sync().unwrap();
        device.sync().unwrap();
        let expected = Counts {
            reads: 2,
            read_bytes: 30,
            writes: 1,
            written_bytes: 16,
            erases: 1,
            erased_bytes: 768,
            syncs: 2,
        };
        assert_eq!(device.counts(), expected);

        device.write(16, &[0; 32]).unwrap();
        assert_eq!(device.counts() - expected, Counts { writes: 1, written_bytes: 32, ..Counts::default() });
        device.reset();
        assert_eq!(device.counts(), Counts::default());
        assert_eq!(device.counts().since(expected), Counts::default());
    }

    #[test]
    fn a_vectored_call_is_one_and_passes_through_as_one() {
        let mut outer = Counted::new(device());
        outer.write_vectored(0, &[&[1; 16], &[2; 32]]).unwrap();
        let (mut a, mut b) = ([0; 16], [0; 32]);
        outer.read_vectored(0, &mut [&mut a, &mut b]).unwrap();
        assert_eq!((a, b), ([1; 16], [2; 32]));
        let expected = Counts { reads: 1, read_bytes: 48, writes: 1, written_bytes: 48, ..Counts::default() };
        assert_eq!(outer.counts(), expected);
        assert_eq!(outer.get_ref().counts(), expected);
    }

    #[test]
    fn failed_calls_count_and_fail_with_the_devices_own_error() {
        let mut device = device();
        assert_eq!(device.write(8, &[0; 16]), Err(RamError::OutOfBounds));
        assert_eq!(device.counts().writes, 1);
        device.get_mut().write(0, &[0; 16]).unwrap();
        assert_eq!(device.counts().writes, 1);
        assert_eq!(device.geometry(), Geometry::flash(1024, 16, 256));
    }
}
