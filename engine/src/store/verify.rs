//! What is damaged: found, and on demand dropped.

use super::ground::address;
use super::{Damage, Error, Index, Store, Verified};
use crate::device::BlockDevice;
use crate::space::{Blocks, Use};
use crate::volume::{Buffer, Fault, Volume};

/// A bit for each block, if there is memory for them; without, no block is seen twice.
struct Claims<'a> {
    bits: Option<&'a mut [u8]>,
}

impl Claims<'_> {
    /// Whether nobody has claimed this block.
    fn claim(&mut self, block: u32) -> bool {
        let Some(byte) = self.bits.as_mut().and_then(|bits| bits.get_mut((block / 8) as usize)) else {
            return true;
        };
        let bit = 1 << (block % 8);
        let free = *byte & bit == 0;
        *byte |= bit;
        free
    }

    fn has(&self, block: u32) -> bool {
        let byte = self.bits.as_ref().and_then(|bits| bits.get((block / 8) as usize));
        byte.is_none_or(|byte| *byte & 1 << (block % 8) != 0)
    }
}

impl<I: Index, W: Buffer, const SLOTS: usize> Store<I, W, SLOTS> {
    /// Bytes for a bit for each block.
    pub fn bitmap_needed<D: BlockDevice, V: Buffer, const N: usize>(volume: &Volume<D, V, N>) -> usize {
        volume.block_count().div_ceil(8) as usize
    }

    /// Reads everything that the store has and reports what is damaged. With [`bitmap_needed`](Self::bitmap_needed) bytes it also
    /// finds blocks that are claimed twice, or by nothing.
    ///
    /// Reads every page and long value once, those above the leaves twice; then the list of free blocks.
    pub fn verify<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        bitmap: Option<&mut [u8]>,
        report: &mut dyn FnMut(Damage),
    ) -> Result<Verified, Error<D::Error>> {
        self.try_verify(volume, bitmap, report).map_err(|fault| self.explain(volume, fault))
    }

    fn try_verify<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        bitmap: Option<&mut [u8]>,
        report: &mut dyn FnMut(Damage),
    ) -> Result<Verified, Fault> {
        let mut claims = Claims { bits: bitmap };
        if let Some(bits) = &mut claims.bits {
            bits.fill(0);
        }
        let mut found = self.with_index(volume, None, |index, base| {
            index.verify(base, &mut |block| claims.claim(block), report)
        })?;
        let whole = found.damages == 0;
        let mut damages = 0_u64;
        let (start, size) = (address(volume, 0), u64::from(volume.block_size()));
        let at = |block: u32| start.wrapping_add(size.wrapping_mul(u64::from(block)));
        let mut list_is_whole = true;
        self.blocks.each_free(volume, &mut |block, is| {
            let damage = match is {
                Use::Damaged => {
                    list_is_whole = false;
                    Damage::FreeList { address: at(block) }
                }
                _ if !claims.claim(block) => Damage::Twice { address: at(block) },
                _ => return,
            };
            damages = damages.wrapping_add(1);
            report(damage);
        });
        // What damage has taken along, and blocks that can't be erased, are claimed by nothing as well.
        let mut missing = self.blocks.retired().saturating_add(self.blocks.lost());
        if whole && list_is_whole && claims.bits.is_some() && !self.read_only {
            for block in 0..self.blocks.frontier() {
                if claims.has(block) {
                    continue;
                }
                if missing > 0 {
                    missing = missing.wrapping_sub(1);
                    continue;
                }
                damages = damages.wrapping_add(1);
                report(Damage::Leaked { address: at(block) });
            }
        }
        found.damages = found.damages.wrapping_add(damages);
        Ok(found)
    }

    /// Opens a store of which the log is damaged, so that [`open`](Self::open) refuses: entries that can't be read are left out
    /// and reported. **What they said is lost**, so older values may be what is found. The store can only be read until
    /// [`salvage`](Self::salvage) makes this its state.
    pub fn open_damaged<D: BlockDevice, V: Buffer, const N: usize>(
        volume: &mut Volume<D, V, N>,
        index: I,
        buffer: W,
        report: &mut dyn FnMut(Damage),
    ) -> Result<Self, Error<D::Error>> {
        let mut passed = false;
        let mut store = Self::load(volume, index, buffer, false, &mut |damage| {
            report(damage);
            passed = true;
            true
        })?;
        if passed {
            store.stuck = store.stuck.or(Some(0));
        }
        Ok(store)
    }

    /// Drops what is damaged, and says what: pages with all keys below them, pairs whose value can't be read, entries of the log.
    /// Then the store is whole, with what is left, and durable. With [`bitmap_needed`](Self::bitmap_needed) bytes it also wins
    /// back the blocks that nothing claims.
    ///
    /// Reads everything once or, with the bitmap, twice.
    pub fn salvage<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        bitmap: Option<&mut [u8]>,
        report: &mut dyn FnMut(Damage),
    ) -> Result<Verified, Error<D::Error>> {
        if self.read_only {
            return Err(Error::ReadOnly);
        }
        let pruned = self.with_index(volume, None, |index, base| {
            index.prune(base, report)?;
            index.begin_replay(base)
        });
        pruned.map_err(|fault| self.explain(volume, fault))?;
        self.stuck = None;
        self.unlogged = true;
        // What could not be applied before, and what was applied to pages that are gone.
        let mut cursor = self.log.cursor(0);
        let replayed = self.replay(volume, &mut cursor, &mut |damage| {
            report(damage);
            true
        });
        replayed.map_err(|fault| self.explain_at(volume, &mut cursor, fault))?;
        self.checkpoint(volume)?;
        if let Some(bits) = bitmap {
            self.sweep(volume, bits).map_err(|fault| self.explain(volume, fault))?;
        }
        self.verify(volume, None, &mut |_| {})
    }

    /// Frees every block that the index does not claim, and publishes that.
    fn sweep<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        bits: &mut [u8],
    ) -> Result<(), Fault> {
        bits.fill(0);
        let mut claims = Claims { bits: Some(bits) };
        self.with_index(volume, None, |index, base| {
            index.verify(base, &mut |block| claims.claim(block), &mut |_| {})
        })?;
        let frontier = self.blocks.frontier();
        self.blocks = Blocks::used_up_to(volume.block_count(), frontier);
        // The first few can be used at once, for the list itself.
        let mut fresh = 8_u32;
        for block in 0..frontier {
            if !claims.has(block) {
                self.blocks.free(volume, block, fresh > 0)?;
                fresh = fresh.saturating_sub(1);
            }
        }
        self.unlogged = true;
        self.publish(volume)
    }
}
