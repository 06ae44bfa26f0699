//! The blocks of a store, and the root by which it finds them.
//!
//! A block is read and written as a whole, in memory of the caller's; parts of it go through the scratch. What a block
//! means, and which ones are free, is the store's to know: its *root*, some bytes that mean nothing here, goes out with
//! every publish, so that it changes together with what the logs say of themselves.
//!
//! The root is kept at the end of the lent memory, its length first: a volume without blocks has none and pays nothing for
//! it.

use super::{Buffer, Fault, Volume};
use crate::codec::{Fields, align_up};
use crate::device::BlockDevice;
use crate::space::{BlockRegion, UNIT};

/// The longest root of a store, in bytes.
pub(crate) const STORE_ROOT: usize = 120;
/// Its length, and room for it.
type RootArea = [u8; STORE_ROOT + 1];

/// How a volume is divided: the pool of segments, of which every log has its own, and the blocks of the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Division {
    /// How many there are.
    pub segments: u32,
    /// Bytes of one.
    pub segment: u32,
    /// Those that appending leaves free.
    pub reserve: u32,
    /// Blocks beside them.
    pub blocks: u32,
}

impl<D: BlockDevice, B: Buffer, const LOGS: usize> Volume<D, B, LOGS> {
    /// Bytes of a block; 0: there are none.
    pub(crate) fn block_size(&self) -> u32 {
        self.format.block_size()
    }

    /// What its logs share.
    pub(crate) fn division(&self) -> Division {
        Division {
            segments: self.segments.count(),
            segment: self.format.segment,
            reserve: self.format.reserve.into(),
            blocks: self.format.block_count,
        }
    }

    /// At most `u32::MAX - 1`.
    pub(crate) fn block_count(&self) -> u32 {
        self.format.block_count
    }

    /// Where a place in a block is on the device. [`Fault::Damaged`]: `len` bytes from there on are not inside the block,
    /// so who asks has read something that can't be.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(crate) fn block_address(&mut self, block: u32, position: u32, len: usize) -> Result<u64, Fault> {
        let size = self.format.block_size();
        if block >= self.format.block_count || position > size || len > size.wrapping_sub(position) as usize {
            return Err(self.medium.fault(Fault::Damaged, block));
        }
        let before = u64::from(block).wrapping_mul(u64::from(size));
        Ok(self.format.blocks().wrapping_add(before).wrapping_add(u64::from(position)))
    }

    /// Fills `out`, whole read units, from the start of a block. One device read; a second one before it counts as a
    /// failure.
    pub(crate) fn read_block(&mut self, block: u32, out: &mut [u8]) -> Result<(), Fault> {
        let address = self.block_address(block, 0, out.len())?;
        self.medium.read_past(address, out)
    }

    /// Fills `out` from any place in a segment; past the scratch, where these are whole read units.
    pub(crate) fn read_segment(&mut self, segment: u32, position: u32, out: &mut [u8]) -> Result<(), Fault> {
        let address = self.address(segment, position);
        self.read_any(address, out)
    }

    fn read_any(&mut self, address: u64, out: &mut [u8]) -> Result<(), Fault> {
        let unit = self.medium.read_unit().max(1);
        if address.is_multiple_of(unit.into()) && (out.len() as u32).is_multiple_of(unit) {
            return self.medium.read_past(address, out);
        }
        self.medium.read(address, out, 0)
    }

    /// Fills `out` from any place in a block; through the scratch, unless these are whole read units.
    pub(crate) fn read_block_part(&mut self, block: u32, position: u32, out: &mut [u8]) -> Result<(), Fault> {
        let address = self.block_address(block, position, out.len())?;
        self.read_any(address, out)
    }

    /// Writes a block from its start on: all of it, or some whole write units. On flash what they reach is erased first.
    /// A failed erase does not poison the volume: another block may do. A failed write does.
    pub(crate) fn write_block(&mut self, block: u32, data: &[u8]) -> Result<(), Fault> {
        let address = self.block_address(block, 0, data.len())?;
        let unit = self.medium.erase_unit();
        if unit != 0 {
            self.medium.erase(address, align_up(data.len() as u32, unit))?;
        }
        self.medium.write(address, data)
    }

    /// Writes whole blocks that follow each other, in one call. Not on flash.
    pub(crate) fn write_blocks(&mut self, block: u32, data: &[&[u8]]) -> Result<(), Fault> {
        let last = block.wrapping_add(data.len().saturating_sub(1) as u32);
        self.block_address(last, 0, self.format.block_size() as usize)?;
        let address = self.block_address(block, 0, 0)?;
        self.medium.write_all(address, data)
    }

    /// Writes whole write units to any place in a block. On flash it must have been erased.
    pub(crate) fn write_block_at(&mut self, block: u32, position: u32, data: &[u8]) -> Result<(), Fault> {
        let address = self.block_address(block, position, data.len())?;
        self.medium.write(address, data)
    }

    /// Erases a part of a block where that is needed before it can be written. A failure does not poison the volume.
    pub(crate) fn erase_block_part(&mut self, block: u32, position: u32, len: u32) -> Result<(), Fault> {
        let address = self.block_address(block, position, len as usize)?;
        if !self.medium.must_erase() {
            return Ok(());
        }
        self.medium.erase(address, len)
    }

    /// Writes the first `len` bytes of the scratch, filled up to whole write units by what is behind them there, to a
    /// place in a block that is a multiple of the write unit. On flash it must have been erased.
    pub(crate) fn write_block_part(&mut self, block: u32, position: u32, len: u32) -> Result<(), Fault> {
        let address = self.block_address(block, position, len as usize)?;
        self.medium.write_scratch(address, len)
    }

    /// Erases a block where that is needed before it can be written in parts. A failure does not poison the volume.
    #[cfg(test)]
    pub(crate) fn erase_block(&mut self, block: u32) -> Result<(), Fault> {
        self.erase_block_part(block, 0, self.format.block_size())
    }

    /// The store's root as of the last publish, or as it was set since. Empty: there is no store.
    pub(crate) fn store_root(&self) -> &[u8] {
        let area = self.medium.behind_all().last_chunk().filter(|_| self.format.block_size() != 0);
        let Some([len, root @ ..]): Option<&RootArea> = area else { return &[] };
        root.get(..usize::from(*len)).unwrap_or_default()
    }

    /// Sets the store's root for the next publish, [`STORE_ROOT`] bytes at most. A volume without blocks keeps none.
    pub(crate) fn set_store_root(&mut self, root: &[u8]) {
        if self.format.block_size() != 0
            && let Some(area) = self.medium.behind().last_chunk_mut()
        {
            let [len, place @ ..]: &mut RootArea = area;
            *len = root.len().min(STORE_ROOT) as u8;
            for (place, byte) in place.iter_mut().zip(root) {
                *place = *byte;
            }
        }
    }

    /// Carries the store's root, its length first, into a publish that is built in the scratch, or out of one that was read:
    /// from byte `at` on. Returns where it ends.
    #[inline(never)]
    pub(super) fn carry_store_root(&mut self, at: usize, into: bool) -> usize {
        if self.format.block_size() == 0 {
            return at;
        }
        let (scratch, behind) = self.medium.split();
        let Some(area) = behind.last_chunk_mut() else { return at };
        let [len, root @ ..]: &mut RootArea = area;
        let place = scratch.get_mut(at..).unwrap_or_default();
        let mut fields = if into { Fields::write(place) } else { Fields::read(place) };
        fields.bytes(core::slice::from_mut(len));
        let len = usize::from(*len);
        fields.bytes(root.get_mut(..len).unwrap_or_default());
        at.wrapping_add(1).wrapping_add(len)
    }

    /// Makes both homes say the same, by one publish if they don't.
    pub(crate) fn settle(&mut self) -> Result<(), Fault> {
        if self.homes.differ { self.publish() } else { Ok(()) }
    }
}

/// What the list of free blocks does with the volume.
impl<D: BlockDevice, B: Buffer, const LOGS: usize> BlockRegion for Volume<D, B, LOGS> {
    fn volume_id(&self) -> u32 {
        self.format.volume_id
    }

    fn block_size(&self) -> u32 {
        self.format.block_size()
    }

    fn unit(&self) -> u32 {
        UNIT.max(self.medium.write_unit())
    }

    fn must_erase(&self) -> bool {
        self.medium.must_erase()
    }

    fn settle(&mut self) -> Result<(), Fault> {
        Volume::settle(self)
    }

    fn load(&mut self, block: u32, position: u32) -> Result<&[u8], Fault> {
        let address = self.block_address(block, position, UNIT as usize)?;
        self.medium.view(address, UNIT).map(|view| &*view).ok_or(Fault::Device)
    }

    fn scratch(&mut self) -> &mut [u8] {
        self.medium.scratch()
    }

    fn store(&mut self, block: u32, position: u32, len: u32) -> Result<(), Fault> {
        self.write_block_part(block, position, len)
    }

    fn erase(&mut self, block: u32, position: u32) -> Result<(), Fault> {
        let unit = self.medium.erase_unit();
        if unit == 0 || !position.is_multiple_of(unit) {
            return Ok(());
        }
        self.erase_block_part(block, position, unit)
    }

    fn is_poisoned(&self) -> bool {
        self.medium.is_poisoned()
    }

    fn forgive(&mut self) {
        self.medium.forgive();
    }
}

#[cfg(test)]
mod tests;
