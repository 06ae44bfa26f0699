//! Several reads or writes handed to the kernel at once, by io_uring.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::time::Duration;
use std::{fmt, thread};

use io_uring::{IoUring, opcode, squeue, types};
use rustix::io::Errno;

use super::whole;

/// So many are under way at most.
const DEPTH: u32 = 32;

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

    /// Writes the parts one after the other from `address` on. All are under way at once, so they may reach the device in
    /// any order, as writes between two syncs may.
    pub(super) fn write(
        &mut self,
        file: &File,
        mut address: u64,
        parts: &[&[u8]],
        unit: usize,
    ) -> io::Result<()> {
        let fd = types::Fd(file.as_raw_fd());
        for batch in parts.chunks(DEPTH as usize) {
            let start = address;
            let entries = batch.iter().map(|part| {
                let entry = opcode::Write::new(fd, part.as_ptr(), len(part)).offset(address).build();
                address += part.len() as u64;
                entry
            });
            // SAFETY: `batch` borrows the memory until `run` has returned, which it does only when the kernel is done
            // with it; the file is open as long.
            let outcomes = unsafe { self.run(entries) };
            let mut at = start;
            for (part, outcome) in batch.iter().zip(outcomes) {
                let done = finished(outcome, unit)?;
                whole::write(file, at + done as u64, &part[done.min(part.len())..], unit)?;
                at += part.len() as u64;
            }
        }
        Ok(())
    }

    /// Fills the buffers one after the other from `address` on.
    pub(super) fn read(
        &mut self,
        file: &File,
        mut address: u64,
        buffers: &mut [&mut [u8]],
        unit: usize,
    ) -> io::Result<()> {
        let fd = types::Fd(file.as_raw_fd());
        for batch in buffers.chunks_mut(DEPTH as usize) {
            let start = address;
            let entries = batch.iter_mut().map(|buffer| {
                let entry = opcode::Read::new(fd, buffer.as_mut_ptr(), len(buffer)).offset(address).build();
                address += buffer.len() as u64;
                entry
            });
            // SAFETY: as in `write`; and nobody looks at the buffers, which are borrowed for us alone, before that.
            let outcomes = unsafe { self.run(entries) };
            let mut at = start;
            for (buffer, outcome) in batch.iter_mut().zip(outcomes) {
                let done = finished(outcome, unit)?.min(buffer.len());
                let rest = &mut buffer[done..];
                let needed = rest.len();
                whole::read(file, at + done as u64, rest, needed, unit)?;
                at += buffer.len() as u64;
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
            // The queue is empty and has room for so many.
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

/// The length of one part: longer ones are finished by plain calls.
fn len(part: &[u8]) -> u32 {
    u32::try_from(part.len()).unwrap_or(1 << 30)
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
    fn what_is_done_counts_in_units() {
        assert_eq!(finished(Ok(1000), 512).unwrap(), 512);
        assert_eq!(finished(Err(Errno::INTR.raw_os_error()), 512).unwrap(), 0);
        assert!(finished(Err(Errno::IO.raw_os_error()), 512).is_err());
    }
}
