//! Several reads or writes handed to the kernel at once, by io_uring.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::os::fd::AsRawFd;
use std::time::Duration;
use std::{fmt, thread};

use io_uring::{IoUring, opcode, squeue, types};
use rustix::io::Errno;

use super::whole;

/// So many requests are under way at most.
const DEPTH: u32 = 32;

/// Bytes of one request: about what a disk takes at once.
const REQUEST: usize = 1 << 20;

/// A submission queue of its own for one device.
///
/// `None` where the kernel has no io_uring or it is forbidden (a container's filter, `kernel.io_uring_disabled`), or once
/// it has failed: then the same is done by plain system calls, one after the other.
pub(super) struct Ring(Option<IoUring>);

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ring({})", if self.is_there() { "io_uring" } else { "none" })
    }
}

/// What became of one read or write: bytes, or an error number.
type Outcome = Result<usize, i32>;

const PUT_OFF: Outcome = Err(Errno::AGAIN.raw_os_error());

impl Ring {
    pub(super) fn new() -> Self {
        Self(IoUring::new(DEPTH).ok())
    }

    pub(super) fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// Writes the slices one after the other from `address` on, in groups that are all under way at once: they may reach
    /// the disk in any order, as writes between two syncs may.
    pub(super) fn write(
        &mut self,
        file: &File,
        address: u64,
        slices: &mut [IoSlice<'_>],
        unit: usize,
    ) -> io::Result<()> {
        let fd = types::Fd(file.as_raw_fd());
        let lens: Vec<usize> = slices.iter().map(|slice| slice.len()).collect();
        for batch in groups(&lens).chunks(DEPTH as usize) {
            let entries = batch.iter().map(|group| {
                let iovecs = slices[group.start..group.end].as_ptr().cast();
                opcode::Writev::new(fd, iovecs, group.count()).offset(address + group.at).build()
            });
            // SAFETY: an `IoSlice` has the layout of an `iovec`. The slices, and the memory that they borrow, are not
            // touched until `run` has returned, when the kernel is done with them; the file is open as long.
            let outcomes = unsafe { self.run(entries) };
            for (group, outcome) in batch.iter().zip(outcomes) {
                let mut slices = &mut slices[group.start..group.end];
                let done = finished(outcome, unit)?.min(group.len);
                IoSlice::advance_slices(&mut slices, done);
                whole::write_slices(file, address + group.at + done as u64, slices, unit)?;
            }
        }
        Ok(())
    }

    /// Fills the slices one after the other from `address` on.
    pub(super) fn read(
        &mut self,
        file: &File,
        address: u64,
        slices: &mut [IoSliceMut<'_>],
        unit: usize,
    ) -> io::Result<()> {
        let fd = types::Fd(file.as_raw_fd());
        let lens: Vec<usize> = slices.iter().map(|slice| slice.len()).collect();
        for batch in groups(&lens).chunks(DEPTH as usize) {
            let entries = batch.iter().map(|group| {
                let iovecs = slices[group.start..group.end].as_mut_ptr().cast_const().cast();
                opcode::Readv::new(fd, iovecs, group.count()).offset(address + group.at).build()
            });
            // SAFETY: as in `write`; and nobody looks at the memory, which is borrowed for us alone, before that.
            let outcomes = unsafe { self.run(entries) };
            for (group, outcome) in batch.iter().zip(outcomes) {
                let mut slices = &mut slices[group.start..group.end];
                let done = finished(outcome, unit)?.min(group.len);
                IoSliceMut::advance_slices(&mut slices, done);
                whole::read_slices(file, address + group.at + done as u64, slices, unit)?;
            }
        }
        Ok(())
    }

    /// Submits the entries, [`DEPTH`] at most, and waits for all that were taken. What was not counts as put off.
    ///
    /// # Safety
    /// The memory and the file that the entries name stay as they are until this returns.
    unsafe fn run(&mut self, entries: impl Iterator<Item = squeue::Entry>) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let Some(ring) = &mut self.0 else {
            outcomes.extend(entries.map(|_| PUT_OFF));
            return outcomes;
        };
        for entry in entries {
            // The queue is empty, since it was submitted or dropped each time, and has room for so many.
            // SAFETY: what the entry names stays, by the promise of the caller.
            let _ = unsafe { ring.submission().push(&entry.user_data(outcomes.len() as u64)) };
            outcomes.push(PUT_OFF);
        }
        let (mut taken, mut back, mut broken) = (0, 0, false);
        loop {
            for completion in ring.completion() {
                if let Some(outcome) = outcomes.get_mut(completion.user_data() as usize) {
                    *outcome = usize::try_from(completion.result()).map_err(|_| -completion.result());
                }
                back += 1;
            }
            if back == taken && (broken || taken == outcomes.len()) {
                break;
            }
            if broken {
                // The kernel won't let us wait for it, and yet it still has the memory.
                thread::sleep(Duration::from_millis(1));
                continue;
            }
            match ring.submit_and_wait(outcomes.len() - back) {
                Ok(count) => taken += count,
                Err(error) => broken = error.kind() != ErrorKind::Interrupted,
            }
        }
        if broken {
            // What was not taken is still in its queue, and must never be.
            self.0 = None;
        }
        outcomes
    }
}

/// Slices that go as one read or write.
struct Group {
    start: usize,
    end: usize,
    /// Bytes before them.
    at: u64,
    /// Bytes of them.
    len: usize,
}

impl Group {
    fn count(&self) -> u32 {
        (self.end - self.start) as u32
    }
}

/// Puts slices of these lengths together: few large requests cost less than many small ones.
fn groups(lens: &[usize]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut at = 0;
    for (number, len) in lens.iter().enumerate() {
        match groups.last_mut() {
            Some(group) if group.len + len <= REQUEST && number - group.start < whole::SLICES => {
                group.end = number + 1;
                group.len += len;
            }
            _ => groups.push(Group { start: number, end: number + 1, at, len: *len }),
        }
        at += *len as u64;
    }
    groups
}

/// Bytes that are done, in whole units. What was interrupted or put off is not an error but not done.
fn finished(outcome: Outcome, unit: usize) -> io::Result<usize> {
    match outcome {
        Ok(done) => Ok(done - done % unit),
        Err(number) => match io::Error::from_raw_os_error(number) {
            error if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => Ok(0),
            error => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_large_and_leave_nothing_out() {
        let lens: Vec<usize> = (0..500).map(|number| [0, 512, 4096, 700_000, 3 << 20][number % 5]).collect();
        let groups = groups(&lens);
        let (mut next, mut at) = (0, 0);
        for group in &groups {
            let lens = &lens[group.start..group.end];
            assert_eq!((group.start, group.at, group.len), (next, at, lens.iter().sum()));
            assert!(group.count() == 1 || group.len <= REQUEST && lens.len() <= whole::SLICES);
            next = group.end;
            at += group.len as u64;
        }
        assert_eq!(next, lens.len());
        assert_eq!(super::groups(&[512; 200]).len(), 200_usize.div_ceil(whole::SLICES));
    }

    #[test]
    fn what_is_done_counts_in_units() {
        assert_eq!(finished(Ok(1000), 512).unwrap(), 512);
        assert_eq!(finished(Err(Errno::INTR.raw_os_error()), 512).unwrap(), 0);
        assert!(finished(Err(Errno::IO.raw_os_error()), 512).is_err());
    }
}
