//! One device for several users.

use core::cell::RefCell;
use core::fmt;
use core::ops::Range;

use super::{BlockDevice, Geometry};

/// A cell around a device: every `&Shared<D>` is a device, so that several structures live on one.
///
/// It is also where a device is *poisoned*. After a failed `write` or `sync` nobody knows what the medium holds, and
/// a second `sync` that succeeds proves nothing about the writes that the first one lost. So after the first such
/// failure every `write`, `erase` and `sync` of every user answers [`SharedError::Poisoned`] and is not passed on,
/// until the device is taken out with [`into_inner`](Self::into_inner) and what lives on it is opened anew. Reads go
/// on. A failed `erase` poisons nothing: the range held nothing of worth.
///
/// For users on one core and in one thread of execution; it is not `Sync`.
///
/// ```
/// use esker::device::{BlockDevice, Geometry, Ram, Shared};
///
/// let shared = Shared::new(Ram::new([0; 1024], Geometry::blocks(0, 512)));
/// let (mut a, mut b) = (&shared, &shared);
/// a.write(0, &[1; 512])?;
/// b.write(512, &[2; 512])?;
/// a.sync()?;
/// # Ok::<(), esker::device::SharedError<esker::device::RamError>>(())
/// ```
#[derive(Debug)]
pub struct Shared<D> {
    cell: RefCell<Cell<D>>,
    geometry: Geometry,
}

#[derive(Debug)]
struct Cell<D> {
    device: D,
    poisoned: bool,
}

/// Why a call to a [`Shared`] device failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SharedError<E> {
    /// The device failed. If it was a `write` or a `sync`, the shared device is poisoned from now on.
    Device(E),
    /// An earlier `write` or `sync` failed, so nothing more is written: take the device out with
    /// [`Shared::into_inner`] and open what lives on it anew. Reads still work.
    Poisoned,
    /// Another call to the device has not returned yet: a driver calls back into its own user. A fault of the
    /// program; nothing was done.
    Busy,
}

impl<E> fmt::Display for SharedError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Device(_) => "the shared device failed",
            Self::Poisoned => "an earlier write or sync of the shared device failed; it must be reopened",
            Self::Busy => "the shared device is in the middle of another call",
        })
    }
}

impl<E: core::error::Error + 'static> core::error::Error for SharedError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Device(error) => Some(error),
            Self::Poisoned | Self::Busy => None,
        }
    }
}

impl<D: BlockDevice> Shared<D> {
    /// Shares `device`, whose geometry is asked once, here.
    pub fn new(device: D) -> Self {
        let geometry = device.geometry();
        Self { cell: RefCell::new(Cell { device, poisoned: false }), geometry }
    }

    fn read_with(
        &self,
        call: impl FnOnce(&mut D) -> Result<(), D::Error>,
    ) -> Result<(), SharedError<D::Error>> {
        let mut cell = self.cell.try_borrow_mut().map_err(|_| SharedError::Busy)?;
        call(&mut cell.device).map_err(SharedError::Device)
    }

    fn change_with(
        &self,
        poisons: bool,
        call: impl FnOnce(&mut D) -> Result<(), D::Error>,
    ) -> Result<(), SharedError<D::Error>> {
        let mut cell = self.cell.try_borrow_mut().map_err(|_| SharedError::Busy)?;
        if cell.poisoned {
            return Err(SharedError::Poisoned);
        }
        let result = call(&mut cell.device);
        cell.poisoned = poisons && result.is_err();
        result.map_err(SharedError::Device)
    }
}

impl<D> Shared<D> {
    /// Whether an earlier `write` or `sync` failed. `true` also from within a call to the device.
    pub fn is_poisoned(&self) -> bool {
        self.cell.try_borrow().map_or(true, |cell| cell.poisoned)
    }

    /// The device itself, past the poisoning: what is written through it is the caller's own affair.
    pub fn get_mut(&mut self) -> &mut D {
        &mut self.cell.get_mut().device
    }

    /// Takes the device out, poisoned or not, to be opened anew.
    pub fn into_inner(self) -> D {
        self.cell.into_inner().device
    }
}

impl<D: BlockDevice> BlockDevice for &Shared<D> {
    type Error = SharedError<D::Error>;

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), Self::Error> {
        self.read_with(|device| device.read(address, buffer))
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), Self::Error> {
        self.change_with(true, |device| device.write(address, data))
    }

    fn erase(&mut self, range: Range<u64>) -> Result<(), Self::Error> {
        self.change_with(false, |device| device.erase(range))
    }

    fn sync(&mut self) -> Result<(), Self::Error> {
        self.change_with(true, |device| device.sync())
    }

    fn read_vectored(&mut self, address: u64, buffers: &mut [&mut [u8]]) -> Result<(), Self::Error> {
        self.read_with(|device| device.read_vectored(address, buffers))
    }

    fn write_vectored(&mut self, address: u64, data: &[&[u8]]) -> Result<(), Self::Error> {
        self.change_with(true, |device| device.write_vectored(address, data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Counted;
    use crate::device::Ram;

    /// Fails where told, and counts what reaches it through the [`Counted`] around it.
    #[derive(Debug)]
    struct Failing {
        ram: Ram<[u8; 1024]>,
        write: bool,
        erase: bool,
        sync: bool,
        read: bool,
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Failed;

    impl Failing {
        fn new() -> Self {
            let ram = Ram::new([0; 1024], Geometry::flash(0, 16, 256));
            Self { ram, write: false, erase: false, sync: false, read: false }
        }
    }

    impl BlockDevice for Failing {
        type Error = Failed;
        fn geometry(&self) -> Geometry {
            self.ram.geometry()
        }
        fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), Failed> {
            if self.read { Err(Failed) } else { self.ram.read(address, buffer).map_err(|_| Failed) }
        }
        fn write(&mut self, address: u64, data: &[u8]) -> Result<(), Failed> {
            if self.write { Err(Failed) } else { self.ram.write(address, data).map_err(|_| Failed) }
        }
        fn erase(&mut self, range: Range<u64>) -> Result<(), Failed> {
            if self.erase { Err(Failed) } else { self.ram.erase(range).map_err(|_| Failed) }
        }
        fn sync(&mut self) -> Result<(), Failed> {
            if self.sync { Err(Failed) } else { Ok(()) }
        }
    }

    fn shared(prepare: impl FnOnce(&mut Failing)) -> Shared<Counted<Failing>> {
        let mut device = Failing::new();
        prepare(&mut device);
        Shared::new(Counted::new(device))
    }

    /// Every changing call of every user is refused, without a call to the device; reads are served.
    fn assert_poisoned(mut shared: Shared<Counted<Failing>>) {
        assert!(shared.is_poisoned());
        let device = shared.get_mut().get_mut();
        (device.write, device.sync, device.erase) = (false, false, false);
        let before = shared.get_mut().counts();
        let mut other = &shared;
        let poisoned = Err(SharedError::Poisoned);
        assert_eq!(other.write(0, &[1; 16]), poisoned);
        assert_eq!(other.write_vectored(0, &[&[1; 16]]), poisoned);
        assert_eq!(other.erase(0..256), poisoned);
        assert_eq!(other.sync(), poisoned);
        assert_eq!(other.sync(), poisoned);
        assert_eq!(other.read(0, &mut [0; 16]), Ok(()));
        assert_eq!(other.read_vectored(0, &mut [&mut [0; 16]]), Ok(()));
        assert!(shared.is_poisoned());

        let device = shared.into_inner();
        let passed = device.counts().since(before);
        assert_eq!((passed.writes, passed.erases, passed.syncs, passed.reads), (0, 0, 0, 2));

        let reopened = Shared::new(device);
        assert_eq!((&reopened).write(0, &[1; 16]), Ok(()));
        assert_eq!((&reopened).sync(), Ok(()));
        assert!(!reopened.is_poisoned());
    }

    #[test]
    fn two_users_see_one_device() {
        let shared = shared(|_| ());
        let (mut a, mut b) = (&shared, &shared);
        assert_eq!(a.geometry(), Geometry::flash(1024, 16, 256));
        a.write(0, &[5; 16]).unwrap();
        let mut buffer = [0; 16];
        b.read(0, &mut buffer).unwrap();
        assert_eq!(buffer, [5; 16]);
        b.erase(0..256).unwrap();
        a.sync().unwrap();
        a.read(0, &mut buffer).unwrap();
        assert_eq!(buffer, [0xFF; 16]);
    }

    #[test]
    fn a_failed_write_poisons() {
        let shared = shared(|device| device.write = true);
        assert_eq!((&shared).write(0, &[1; 16]), Err(SharedError::Device(Failed)));
        assert_poisoned(shared);
    }

    #[test]
    fn a_failed_vectored_write_poisons() {
        let shared = shared(|device| device.write = true);
        assert_eq!((&shared).write_vectored(0, &[&[1; 16]]), Err(SharedError::Device(Failed)));
        assert_poisoned(shared);
    }

    #[test]
    fn a_failed_sync_poisons_and_is_never_retried() {
        let shared = shared(|device| device.sync = true);
        assert_eq!((&shared).sync(), Err(SharedError::Device(Failed)));
        assert_poisoned(shared);
    }

    #[test]
    fn failed_erases_and_reads_do_not_poison() {
        let shared = shared(|device| (device.erase, device.read) = (true, true));
        assert_eq!((&shared).erase(0..256), Err(SharedError::Device(Failed)));
        assert_eq!((&shared).read(0, &mut [0; 16]), Err(SharedError::Device(Failed)));
        assert!(!shared.is_poisoned());
        assert_eq!((&shared).write(0, &[1; 16]), Ok(()));
        assert_eq!((&shared).sync(), Ok(()));
    }

    #[test]
    fn a_call_from_within_a_call_is_busy() {
        let shared = shared(|_| ());
        let inside = shared.cell.borrow_mut();
        assert_eq!((&shared).read(0, &mut [0; 16]), Err(SharedError::Busy));
        assert_eq!((&shared).write(0, &[0; 16]), Err(SharedError::Busy));
        assert_eq!((&shared).sync(), Err(SharedError::Busy));
        assert_eq!((&shared).geometry().capacity, 1024);
        drop(inside);
        assert!(!shared.is_poisoned());
        assert_eq!((&shared).sync(), Ok(()));
    }
}
