//! A counter that must survive power cuts, tested in every crash state: first a wrong one, then a right one.
//!
//! The wrong one has a checksum, but overwrites its only copy: a torn write destroys the old count with the new. The
//! right one has two copies and writes to them in turn, so that the last acknowledged count is never being
//! written. Both run unchanged on blocks; for flash the same test would add an erase before each write.

use std::ops::ControlFlow;

use esker::device::BlockDevice;
use esker_sim::{CrashId, Policy, Sim, SimError, enumerate, replay};

const BLOCK: u64 = 512;

/// A count kept in one or more copies, one block each; count n lies in copy n % copies.
struct Counter {
    device: Sim,
    copies: u64,
    count: u64,
}

impl Counter {
    /// Takes the greatest count whose checksum is right; 0 on a device that never had one.
    fn open(mut device: Sim, copies: u64) -> Self {
        let mut count = 0;
        for copy in 0..copies {
            let mut block = [0; BLOCK as usize];
            // A copy that can't be read is a torn one: the other is good, or there never was an acknowledgement.
            if device.read(copy * BLOCK, &mut block).is_ok() {
                count = count.max(decode(&block).unwrap_or(0));
            }
        }
        Self { device, copies, count }
    }

    /// Acknowledged when it returns `Ok`.
    fn increment(&mut self) -> Result<(), SimError> {
        let next = self.count + 1;
        self.device.write(next % self.copies * BLOCK, &encode(next))?;
        self.device.sync()?;
        self.count = next;
        Ok(())
    }
}

fn encode(count: u64) -> [u8; BLOCK as usize] {
    let mut block = [0; BLOCK as usize];
    block[..8].copy_from_slice(&count.to_le_bytes());
    block[8..16].copy_from_slice(&checksum(count).to_le_bytes());
    block
}

fn decode(block: &[u8]) -> Option<u64> {
    let word = |at| block.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
    let count = word(0)?;
    (word(8)? == checksum(count)).then_some(count)
}

/// Enough for an example; use a CRC.
fn checksum(count: u64) -> u64 {
    (count ^ 0x5EED).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Counts to five, then boots from every crash state of that run. Returns how many states there were, or the first
/// that lost a count, and in words what had happened to the device.
fn check(copies: u64) -> Result<u64, (CrashId, String)> {
    let device = Sim::blocks(copies * BLOCK, BLOCK as u32);
    device.record();
    let mut counter = Counter::open(device.clone(), copies);
    // acknowledged[n] is the operation count at which count n had been acknowledged.
    let mut acknowledged = vec![device.op_count()];
    for _ in 0..5 {
        counter.increment().expect("nothing fails while recording");
        acknowledged.push(device.op_count());
    }
    let trace = device.take_trace();

    // One device for all states: only what differs is copied.
    let booted = Sim::blocks(copies * BLOCK, BLOCK as u32);
    let policy = Policy::thorough();
    let mut failure = None;
    let summary = enumerate(&trace, &policy, |state| {
        state.load_into(&booted);
        let counter = Counter::open(booted.clone(), copies);
        let least = acknowledged.iter().rposition(|at| *at <= state.cut()).unwrap_or(0) as u64;
        // The one being counted may be there or not; anything else is wrong.
        if counter.count == least || counter.count == least + 1 {
            return ControlFlow::Continue(());
        }
        failure = Some(format!("found {}, promised {least}; {state}", counter.count));
        ControlFlow::Break(())
    });
    match (summary.stopped, failure) {
        (Some(id), Some(failure)) => {
            // The same state again, from its name alone: this is how to get there in a debugger.
            let again = replay(&trace, &policy, id, |state| Counter::open(state.device(), copies).count);
            assert!(again.is_some(), "an id that was visited can be replayed");
            Err((id, failure))
        }
        _ => Ok(summary.visited),
    }
}

fn main() {
    match check(1) {
        Err((id, failure)) => println!("one copy:   WRONG at {id}: {failure}"),
        Ok(_) => unreachable!("one copy can't survive a torn write"),
    }
    match check(2) {
        Ok(states) => println!("two copies: right in all of {states} crash states"),
        Err((id, failure)) => unreachable!("at {id}: {failure}"),
    }
}
