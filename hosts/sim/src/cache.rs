//! The volatile write cache of a block device.
//!
//! The medium of a [`Sim`](crate::Sim) holds what reads see. Beside it this keeps the writes since the last sync, in
//! order, and what each unit they cover held on the medium before: so a sync is free, and a power cut first puts the
//! old content back and then applies whichever of the writes it likes.

use crate::condition::Condition;
use crate::medium::Medium;

/// A write that is not durable yet.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) at: usize,
    pub(crate) data: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Durable {
    unit: usize,
    bytes: Vec<u8>,
    condition: Condition,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Cache {
    pending: Vec<Pending>,
    durable: Vec<Durable>,
    /// For each unit, 1 + its index in `durable`, or 0. Empty until the first write.
    slots: Vec<u32>,
}

impl Cache {
    pub(crate) fn pending(&self) -> &[Pending] {
        &self.pending
    }

    pub(crate) fn clear(&mut self) {
        self.pending.clear();
        for durable in self.durable.drain(..) {
            self.slots[durable.unit] = 0;
        }
    }

    /// Writes to the cache.
    pub(crate) fn write(&mut self, medium: &mut Medium, at: usize, data: &[u8]) {
        if self.slots.len() != medium.units() {
            self.slots = vec![0; medium.units()];
        }
        for unit in medium.units_of(&(at..at + data.len())) {
            if self.slots[unit] == 0 {
                self.durable.push(Durable {
                    unit,
                    bytes: medium.unit_bytes(unit).to_vec(),
                    condition: medium.condition(unit),
                });
                self.slots[unit] = u32::try_from(self.durable.len()).expect("fewer than 2^32 units");
            }
        }
        medium.store(at, data, Condition::PROGRAMMED);
        self.pending.push(Pending { at, data: data.to_vec() });
    }

    /// Makes every pending write durable. What an earlier failed sync dropped stays dropped.
    pub(crate) fn sync(&mut self, medium: &Medium) {
        if self.durable.is_empty() {
            return;
        }
        let pending = std::mem::take(&mut self.pending);
        for write in &pending {
            for unit in medium.units_of(&(write.at..write.at + write.data.len())) {
                self.forget(unit);
            }
        }
    }

    /// Makes the first `count` pending writes durable and leaves the others dirty.
    pub(crate) fn sync_first(&mut self, medium: &mut Medium, count: usize) {
        let mut pending = std::mem::take(&mut self.pending);
        let later = pending.split_off(count);
        self.put_back(medium);
        for write in &pending {
            medium.store(write.at, &write.data, Condition::PROGRAMMED);
        }
        for write in later {
            self.write(medium, write.at, &write.data);
        }
    }

    /// The pending writes never become durable. Reads go on returning them with `stale_reads`, until [`Self::reopen`].
    pub(crate) fn drop_dirty(&mut self, medium: &mut Medium, stale_reads: bool) {
        self.pending.clear();
        if !stale_reads {
            self.put_back(medium);
        }
    }

    /// Reads see the medium and the pending writes again, and nothing that was dropped.
    pub(crate) fn reopen(&mut self, medium: &mut Medium) {
        let pending = std::mem::take(&mut self.pending);
        self.put_back(medium);
        for write in pending {
            self.write(medium, write.at, &write.data);
        }
    }

    /// Leaves the durable content on the medium and hands out what was pending.
    pub(crate) fn take_pending(&mut self, medium: &mut Medium) -> Vec<Pending> {
        self.put_back(medium);
        std::mem::take(&mut self.pending)
    }

    fn put_back(&mut self, medium: &mut Medium) {
        for durable in self.durable.drain(..) {
            self.slots[durable.unit] = 0;
            medium.store(durable.unit * medium.unit(), &durable.bytes, durable.condition);
        }
    }

    fn forget(&mut self, unit: usize) {
        let Some(at) = (self.slots[unit] as usize).checked_sub(1) else { return };
        self.slots[unit] = 0;
        self.durable.swap_remove(at);
        if let Some(moved) = self.durable.get(at) {
            self.slots[moved.unit] = u32::try_from(at + 1).expect("fewer than 2^32 units");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use esker::device::Geometry;

    fn blocks() -> Medium {
        Medium::new(Geometry::blocks(4096, 512))
    }

    #[test]
    fn a_sync_keeps_what_was_dropped_before_apart() {
        let (mut medium, mut cache) = (blocks(), Cache::default());
        cache.write(&mut medium, 0, &[1; 512]);
        cache.write(&mut medium, 512, &[1; 512]);
        cache.drop_dirty(&mut medium, true);
        assert_eq!(medium.unit_bytes(0), [1; 512], "reads still see it");
        cache.write(&mut medium, 512, &[2; 512]);
        cache.sync(&medium);
        cache.reopen(&mut medium);
        assert_eq!(medium.unit_bytes(0), [0; 512], "dropped for good");
        assert_eq!(medium.unit_bytes(1), [2; 512], "written again and synced");
    }

    #[test]
    fn a_partial_sync_leaves_the_rest_dirty() {
        let (mut medium, mut cache) = (blocks(), Cache::default());
        cache.write(&mut medium, 0, &[1; 512]);
        cache.write(&mut medium, 0, &[2; 512]);
        cache.sync_first(&mut medium, 1);
        assert_eq!(medium.unit_bytes(0), [2; 512]);
        assert_eq!(cache.take_pending(&mut medium).len(), 1);
        assert_eq!(medium.unit_bytes(0), [1; 512]);
    }
}
