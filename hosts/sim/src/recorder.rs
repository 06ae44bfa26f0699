//! Records what is done to a device that is not simulated.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use esker::device::{BlockDevice, Geometry};

use crate::medium::{Medium, index};
use crate::trace::{Discard, Op, Trace};

/// Any device, a file or a disk for instance, and a record of all that is done to it, for
/// [`enumerate`](crate::enumerate): so the crash states are those of what really reached the device, in the order and
/// the pieces in which it did. A clone is another handle to the same device.
///
/// Reads are handed on. Of a call that failed nothing is recorded, since nobody knows what it has left: a run with
/// errors tells only as much as the device did.
///
/// ```
/// use esker::device::{BlockDevice, Geometry, Ram};
/// use esker_sim::Recorder;
///
/// let mut device = Recorder::new(Ram::new([0; 4096], Geometry::blocks(4096, 512)))?;
/// device.write(512, &[1; 512])?;
/// device.sync()?;
/// assert_eq!(device.take_trace().ops().len(), 2);
/// # Ok::<(), esker::device::RamError>(())
/// ```
#[derive(Debug)]
pub struct Recorder<D>(Rc<RefCell<Inner<D>>>);

#[derive(Debug)]
struct Inner<D> {
    device: D,
    trace: Option<Trace>,
}

impl<D> Clone for Recorder<D> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<D: BlockDevice> Recorder<D> {
    /// Reads the whole device, which must fit into memory, and records from here on.
    ///
    /// # Errors
    /// Those of the device.
    ///
    /// # Panics
    /// If its geometry isn't a possible one.
    pub fn new(mut device: D) -> Result<Self, D::Error> {
        let geometry = device.geometry();
        geometry.check().expect("a possible geometry");
        let mut image = vec![0; index(geometry.capacity)];
        device.read(0, &mut image)?;
        let page = if geometry.must_erase() { geometry.write_unit.max(256) } else { 0 };
        let trace = Trace::new(Medium::from_image(geometry, &image), Discard::default(), page);
        Ok(Self(Rc::new(RefCell::new(Inner { device, trace: Some(trace) }))))
    }

    /// How many operations have returned; 0 once the record was taken.
    pub fn op_count(&self) -> usize {
        self.0.borrow().trace.as_ref().map_or(0, |trace| trace.ops.len())
    }

    /// Marks this moment: the code under test has acknowledged something (see
    /// [`Repeats::OncePerMark`](crate::Repeats::OncePerMark)).
    pub fn mark(&self) {
        if let Some(trace) = &mut self.0.borrow_mut().trace {
            trace.marks.push(trace.ops.len());
        }
    }

    /// Ends recording.
    ///
    /// # Panics
    /// If it had ended.
    pub fn take_trace(&self) -> Trace {
        self.0.borrow_mut().trace.take().expect("it can be taken once")
    }
}

impl<D> Inner<D> {
    fn note(&mut self, op: Op) {
        if let Some(trace) = &mut self.trace {
            trace.ops.push(op);
        }
    }
}

impl<D: BlockDevice> BlockDevice for Recorder<D> {
    type Error = D::Error;

    fn geometry(&self) -> Geometry {
        self.0.borrow().device.geometry()
    }

    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), D::Error> {
        self.0.borrow_mut().device.read(address, buffer)
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), D::Error> {
        let inner = &mut *self.0.borrow_mut();
        inner.device.write(address, data)?;
        inner.note(Op::Write { address, data: data.to_vec() });
        Ok(())
    }

    fn erase(&mut self, range: Range<u64>) -> Result<(), D::Error> {
        let inner = &mut *self.0.borrow_mut();
        inner.device.erase(range.clone())?;
        inner.note(Op::Erase { range });
        Ok(())
    }

    fn sync(&mut self) -> Result<(), D::Error> {
        let inner = &mut *self.0.borrow_mut();
        inner.device.sync()?;
        inner.note(Op::Sync);
        Ok(())
    }

    fn read_vectored(&mut self, address: u64, buffers: &mut [&mut [u8]]) -> Result<(), D::Error> {
        self.0.borrow_mut().device.read_vectored(address, buffers)
    }

    /// One call to the device; one write for each slice in the record, since they may reach the medium in any order.
    fn write_vectored(&mut self, mut address: u64, data: &[&[u8]]) -> Result<(), D::Error> {
        let inner = &mut *self.0.borrow_mut();
        inner.device.write_vectored(address, data)?;
        for part in data {
            inner.note(Op::Write { address, data: part.to_vec() });
            address += part.len() as u64;
        }
        Ok(())
    }
}
