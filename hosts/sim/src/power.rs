//! One power cut at random: for long runs where enumerating every state would take too long.

use crate::cache::Pending;
use crate::condition::{Condition, Programming, Reading};
use crate::device::{Device, discarded_content};
use crate::medium::index;
use crate::rng::Rng;
use crate::sim::Sim;
use crate::tear::{BlockTear, EraseTear, ProgramTear};
use crate::trace::Op;

/// What survives a power cut of the writes that are not durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerCut {
    /// None of them. On flash the operation in flight did nothing, and its units are burnt or unreliable even so.
    LoseAll,
    /// All of them, the one in flight included.
    KeepAll,
    /// A subset chosen by the seed; often with a torn write among them.
    Random(u64),
}

impl Sim {
    /// Cuts the power and switches on again. On a block device the writes since the last honest sync are lost as
    /// `cut` says; on flash only an operation in flight is (see [`Fault::power_loss`](crate::Fault::power_loss)),
    /// since everything else took effect when it was called.
    ///
    /// A recording ends, because what follows starts from another image; planned faults, counters and violations
    /// stay.
    pub fn power_cut(&self, cut: PowerCut) {
        let mut device = self.device.borrow_mut();
        device.trace = None;
        device.powered = true;
        let in_flight = device.in_flight.take();
        if device.geometry.must_erase() {
            match in_flight {
                Some(Op::Write { address, data }) => device.cut_program(index(address), &data, cut),
                Some(Op::Erase { range }) => device.cut_erase(index(range.start), index(range.end), cut),
                _ => {}
            }
        } else {
            device.cut_cache(in_flight, cut);
        }
    }

    /// Closes and opens the device without a power cut: reads see the medium and the pending writes again, and no
    /// longer what a failed sync dropped.
    pub fn reopen(&self) {
        let mut device = self.device.borrow_mut();
        let device = &mut *device;
        device.cache.reopen(&mut device.medium);
    }
}

impl Device {
    fn cut_cache(&mut self, in_flight: Option<Op>, cut: PowerCut) {
        let mut pending = self.cache.take_pending(&mut self.medium);
        match in_flight {
            Some(Op::Write { address, data }) => pending.push(Pending { at: index(address), data }),
            Some(Op::Erase { range }) => {
                let range = index(range.start)..index(range.end);
                let at = range.start;
                let content = discarded_content(self.discard, self.medium.unit(), &range);
                pending.extend(content.map(|data| Pending { at, data }));
            }
            _ => {}
        }
        let seed = match cut {
            PowerCut::LoseAll => return,
            PowerCut::KeepAll => {
                for write in pending {
                    self.medium.store(write.at, &write.data, Condition::PROGRAMMED);
                }
                return;
            }
            PowerCut::Random(seed) => seed,
        };
        let mut rng = Rng::new(seed);
        let torn = (!pending.is_empty() && rng.one_in(2)).then(|| rng.below(pending.len()));
        // Half of the cuts keep a prefix: with many writes a fair subset would never come near one.
        let prefix = rng.one_in(2).then(|| rng.below(pending.len() + 1));
        for (number, write) in pending.iter().enumerate() {
            let kept = prefix.map_or_else(|| rng.one_in(2), |prefix| number < prefix);
            if torn == Some(number) {
                self.tear(write, &mut rng);
            } else if kept {
                self.medium.store(write.at, &write.data, Condition::PROGRAMMED);
            }
        }
    }

    fn tear(&mut self, write: &Pending, rng: &mut Rng) {
        let unit = self.medium.unit();
        let tears = BlockTear::all(unit);
        let torn = rng.below(write.data.len() / unit);
        for (number, new) in write.data.chunks(unit).enumerate() {
            let at = write.at + number * unit;
            if number == torn {
                let mut bytes = self.medium.unit_bytes(at / unit).to_vec();
                let reading = tears[rng.below(tears.len())].apply(&mut bytes, new, rng.next());
                self.medium.store(at, &bytes, Condition::new(Programming::Programmed, reading));
            } else if rng.one_in(2) {
                self.medium.store(at, new, Condition::PROGRAMMED);
            }
        }
    }

    fn cut_program(&mut self, at: usize, data: &[u8], cut: PowerCut) {
        let unit = self.medium.unit();
        let units = data.len() / unit;
        let (done, tear, seed) = match cut {
            PowerCut::LoseAll => (0, ProgramTear::Untouched, 0),
            PowerCut::KeepAll => (units, ProgramTear::Untouched, 0),
            PowerCut::Random(seed) => {
                let mut rng = Rng::new(seed);
                let tears = ProgramTear::all(unit);
                (rng.below(units + 1), tears[rng.below(tears.len())], rng.next())
            }
        };
        self.medium.program(at, &data[..done * unit]);
        if done == units {
            return;
        }
        let torn = at + done * unit;
        self.medium.set_condition(&(torn..at + data.len()), Condition::BURNT);
        let mut bytes = self.medium.unit_bytes(torn / unit).to_vec();
        let reading = tear.apply(&mut bytes, &data[done * unit..(done + 1) * unit], seed);
        self.medium.store(torn, &bytes, Condition::new(Programming::Burnt, reading));
    }

    fn cut_erase(&mut self, start: usize, end: usize, cut: PowerCut) {
        let sector = self.geometry.erase_unit as usize;
        let sectors = (end - start) / sector;
        let (done, tear, seed) = match cut {
            PowerCut::LoseAll => (0, EraseTear::Unchanged, 0),
            PowerCut::KeepAll => (sectors, EraseTear::Unchanged, 0),
            PowerCut::Random(seed) => {
                let mut rng = Rng::new(seed);
                let tears = EraseTear::all(sector);
                (rng.below(sectors + 1), tears[rng.below(tears.len())], rng.next())
            }
        };
        let torn = start + done * sector;
        self.medium.erase(&(start..torn));
        if torn < end {
            let mut bytes = self.medium.bytes(torn..torn + sector).to_vec();
            let reading: Reading = tear.apply(&mut bytes, seed);
            self.medium.store(torn, &bytes, Condition::new(Programming::Unreliable, reading));
        }
    }
}
