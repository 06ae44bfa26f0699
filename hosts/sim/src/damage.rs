//! Damage at rest: things that happen to the medium while nobody looks.

use std::ops::Range;

use esker::device::{BlockDevice, Geometry, GeometryError};

use crate::condition::{Condition, Programming, Reading};
use crate::device::Device;
use crate::medium::{Medium, index};
use crate::rng::Rng;
use crate::sim::Sim;
use crate::tear::EraseTear;

/// What an interrupted erase leaves behind; unreliable in each case (see [`Sim::interrupt_erase`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HalfErased {
    /// The old content, weakened.
    Unchanged,
    /// The first half is `0xFF`.
    FrontBlank,
    /// The last half is `0xFF`.
    BackBlank,
    /// Random bits are set.
    MixedBits,
    /// All of it is `0xFF`: it looks erased and is not.
    Blank,
}

/// Damage is done to the medium, behind the back of everything: it is not counted, not recorded, and ignores write
/// protection. Where a write is pending, reads see the cache and not the damage below: sync first. Ranges and
/// addresses are bytes. All of these panic beyond the end of the device.
impl Sim {
    /// Overwrites bytes.
    pub fn poke(&self, address: u64, bytes: &[u8]) {
        self.at_rest(|device| device.medium.overwrite(index(address), bytes));
    }

    /// Flips one bit, 0 being the lowest of the byte.
    pub fn flip_bit(&self, address: u64, bit: u8) {
        self.at_rest(|device| {
            let at = index(address);
            let byte = device.medium.image()[at] ^ (1 << (bit & 7));
            device.medium.overwrite(at, &[byte]);
        });
    }

    /// Flips `count` bits of `range`, chosen by `seed`, and says where: address and bit. The same bit may be chosen
    /// twice, which leaves it as it was.
    pub fn flip_bits(&self, range: Range<u64>, count: usize, seed: u64) -> Vec<(u64, u8)> {
        let mut rng = Rng::new(seed);
        let len = index(range.end - range.start);
        let places: Vec<_> = (0..count)
            .map(|_| (range.start + rng.below(len) as u64, u8::try_from(rng.below(8)).unwrap_or(0)))
            .collect();
        for (address, bit) in &places {
            self.flip_bit(*address, *bit);
        }
        places
    }

    /// Fills `range` with garbage from `seed`.
    pub fn scramble(&self, range: Range<u64>, seed: u64) {
        let mut bytes = vec![0; index(range.end - range.start)];
        Rng::new(seed).fill(&mut bytes);
        self.poke(range.start, &bytes);
    }

    /// Scrambles what shares an erase unit with the write unit at `address`, but not that unit itself: what an
    /// unfinished write can do inside an SD card. `group` is the size of the card's hidden erase unit; on flash the
    /// geometry's own is used. Returns the group that was hit.
    pub fn damage_neighbours(&self, address: u64, group: u32, seed: u64) -> Range<u64> {
        let geometry = self.geometry();
        let group = u64::from(if geometry.must_erase() { geometry.erase_unit } else { group });
        let unit = u64::from(geometry.write_unit);
        let first = address - address % group;
        let hit = first..(first + group).min(geometry.capacity);
        let spared = address - address % unit;
        self.scramble(hit.start..spared, seed);
        self.scramble(spared + unit..hit.end.max(spared + unit), !seed);
        hit
    }

    /// Sets how the units of `range` read, until they are rewritten or erased.
    pub fn set_reading(&self, range: Range<u64>, reading: Reading) {
        self.at_rest(|device| device.medium.set_reading(&(index(range.start)..index(range.end)), reading));
    }

    /// Leaves the erase units of `range` as a cut erase would.
    ///
    /// # Panics
    /// On a block device, which has no erase units, or if `range` is not made of them.
    pub fn interrupt_erase(&self, range: Range<u64>, how: HalfErased) {
        let geometry = self.geometry();
        assert!(geometry.must_erase() && geometry.allows_erase(&range), "not erase units: {range:?}");
        self.at_rest(|device| {
            let sector = geometry.erase_unit as usize;
            let tear = match how {
                HalfErased::Unchanged => EraseTear::Unchanged,
                HalfErased::FrontBlank => EraseTear::Front(sector / 2),
                HalfErased::BackBlank => EraseTear::Back(sector / 2),
                HalfErased::MixedBits => EraseTear::Bits,
                HalfErased::Blank => EraseTear::Blank,
            };
            for at in (index(range.start)..index(range.end)).step_by(sector) {
                let mut bytes = device.medium.bytes(at..at + sector).to_vec();
                tear.apply(&mut bytes, at as u64);
                device.medium.store(at, &bytes, Condition::new(Programming::Unreliable, Reading::Good));
            }
        });
    }

    /// Gives the device another capacity, as if the image had been copied to a smaller or larger one. What is cut off
    /// is lost, what is added is blank. Pending writes count as synced; a recording ends.
    ///
    /// # Errors
    /// If the geometry isn't a possible one with this capacity; then nothing is changed.
    pub fn resize(&self, capacity: u64) -> Result<(), GeometryError> {
        let geometry = Geometry { capacity, ..self.geometry() };
        geometry.check()?;
        let mut device = self.device.borrow_mut();
        let mut medium = Medium::new(geometry);
        let kept = device.medium.image().len().min(index(capacity));
        let unit = medium.unit();
        for at in (0..kept).step_by(unit) {
            medium.store(at, device.medium.bytes(at..at + unit), device.medium.condition(at / unit));
        }
        let fresh = Device::new(medium);
        device.geometry = geometry;
        device.medium = fresh.medium;
        device.cache = fresh.cache;
        let mut wear = std::mem::take(&mut device.wear);
        wear.resize(fresh.wear.len(), 0);
        device.wear = wear;
        device.trace = None;
        device.loaded = None;
        Ok(())
    }

    /// The damage must outlive a power cut, so it has to reach the durable content below the cache.
    fn at_rest(&self, damage: impl Fn(&mut Device)) {
        let mut device = self.device.borrow_mut();
        let device = &mut *device;
        let pending = device.cache.take_pending(&mut device.medium);
        damage(device);
        for write in pending {
            device.cache.write(&mut device.medium, write.at, &write.data);
        }
    }
}
