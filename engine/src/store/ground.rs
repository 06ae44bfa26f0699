//! What the shell gives its index to stand on: the blocks of the volume, and the free ones among them.

use super::op::{MAX_HEAD, head, read_head};
use crate::device::BlockDevice;
use crate::index::{Ground, Logged};
use crate::space::Blocks;
use crate::volume::{Buffer, Fault, Volume};
use crate::wal::{Cursor, Log, Site};

/// See the module.
pub(super) struct Base<'a, D: BlockDevice, V, W, const N: usize, const SLOTS: usize> {
    pub(super) volume: &'a mut Volume<D, V, N>,
    pub(super) blocks: &'a mut Blocks,
    pub(super) log: &'a Log<W, SLOTS>,
    /// Behind the entry that is being replayed.
    pub(super) replayed: Option<&'a Cursor>,
    pub(super) generation: u32,
    /// Offset of the operation that is being applied.
    pub(super) offset: u64,
    /// See [`Ground::site`].
    pub(super) site: &'a Site,
    /// See [`Store::forgiving`](super::Store).
    pub(super) forgiving: bool,
    /// Set if nothing may be written: the block number that is next to stand for a page in memory only. No device has it.
    pub(super) overlay: Option<&'a mut u32>,
}

impl<D: BlockDevice, V: Buffer, W: Buffer, const N: usize, const SLOTS: usize> Ground
    for Base<'_, D, V, W, N, SLOTS>
{
    fn volume_id(&self) -> u32 {
        self.volume.format.volume_id
    }

    fn generation(&self) -> u32 {
        self.generation
    }

    fn is_read_only(&self) -> bool {
        self.overlay.is_some()
    }

    fn is_poisoned(&self) -> bool {
        self.volume.is_poisoned()
    }

    fn address(&self, block: u32) -> u64 {
        address(self.volume, block)
    }

    fn offset(&self) -> u64 {
        self.offset
    }

    fn site(&self) -> Site {
        *self.site
    }

    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn read_entry(&mut self, site: &Site, likely: u32, out: &mut [u8]) -> Result<Logged, Fault> {
        let value = |entry: &[u8]| {
            let (head, key, _) = read_head(entry);
            head.saturating_add(key)
        };
        let read = self.log.read_site(self.volume, site, likely, out, value)?;
        let (head, key, delete) = read_head(out);
        let behind = head.wrapping_add(key);
        // It was an operation when it was applied.
        if behind > read.kept {
            return Err(self.damaged(u32::MAX));
        }
        let value = (!delete).then_some(behind..read.len);
        let crc = (read.kept < read.len).then_some(read.sum);
        Ok(Logged { key: head..behind, value, at: read.at.wrapping_add(behind as u32), crc })
    }

    fn value_site(&self, key: usize, value: usize) -> (u32, u32) {
        let from = head(key, false, &mut [0; MAX_HEAD]).len().wrapping_add(key);
        (self.site.segment, self.site.payload(from.wrapping_add(value), from))
    }

    fn read_log(&mut self, segment: u32, at: u32, out: &mut [u8]) -> Result<(), Fault> {
        self.log.read_raw(self.volume, segment, at, out)
    }

    fn read_part(&mut self, block: u32, at: u32, out: &mut [u8]) -> Result<(), Fault> {
        self.volume.read_block_part(block, at, out)
    }

    fn write_part(&mut self, block: u32, at: u32, data: &[u8]) -> Result<(), Fault> {
        if self.overlay.is_some() {
            return Err(Fault::ReadOnly);
        }
        let done = self.volume.write_block_at(block, at, data);
        if done.is_err() && self.forgiving {
            self.volume.medium.forgive();
        }
        done
    }

    fn erase_part(&mut self, block: u32, at: u32, len: u32) -> Result<(), Fault> {
        if self.overlay.is_some() {
            return Err(Fault::ReadOnly);
        }
        self.volume.erase_block_part(block, at, len)
    }

    fn block_size(&self) -> u32 {
        self.volume.block_size()
    }

    fn erase_unit(&self) -> u32 {
        self.volume.medium.erase_unit()
    }

    fn erases(&self) -> u32 {
        self.volume.medium.erases()
    }

    fn write_unit(&self) -> u32 {
        self.volume.medium.write_unit()
    }

    fn read_block(&mut self, block: u32, out: &mut [u8]) -> Result<(), Fault> {
        self.volume.read_block(block, out)
    }

    fn write_block(&mut self, block: u32, data: &[u8]) -> Result<(), Fault> {
        if self.overlay.is_some() {
            return Err(Fault::ReadOnly);
        }
        let done = self.volume.write_block(block, data);
        if done.is_err() && self.forgiving {
            self.volume.medium.forgive();
        }
        done
    }

    fn write_blocks(&mut self, block: u32, data: &[&[u8]]) -> Result<(), Fault> {
        if self.overlay.is_some() {
            return Err(Fault::ReadOnly);
        }
        let done = self.volume.write_blocks(block, data);
        if done.is_err() && self.forgiving {
            self.volume.medium.forgive();
        }
        done
    }

    fn available(&self) -> u32 {
        if self.overlay.is_some() { u32::MAX } else { self.blocks.available() }
    }

    fn allocate(&mut self) -> Result<u32, Fault> {
        match &mut self.overlay {
            Some(next) => {
                **next = next.wrapping_sub(1);
                Ok(**next)
            }
            None => self.blocks.allocate(self.volume),
        }
    }

    fn retire(&mut self, block: u32) {
        self.blocks.retire(block);
    }

    fn free(&mut self, block: u32, fresh: bool) -> Result<(), Fault> {
        if self.overlay.is_some() { Ok(()) } else { self.blocks.free(self.volume, block, fresh) }
    }

    fn logged(&mut self, from: u32, out: &mut [u8]) -> Result<(), Fault> {
        match self.replayed {
            Some(cursor) => self.log.passed_part(self.volume, cursor, from, out),
            None => Err(Fault::OutOfRange),
        }
    }

    fn damaged(&mut self, block: u32) -> Fault {
        self.volume.medium.fault(Fault::Damaged, block)
    }

    fn short(&mut self, len: usize) -> Fault {
        self.volume.medium.fault(Fault::Short, len as u32)
    }

    fn detail(&self) -> u32 {
        self.volume.medium.detail
    }

    fn too_few_frames(&mut self, frames: u32) -> Fault {
        self.volume.medium.fault(Fault::Memory, frames)
    }
}

/// Where a block is on the device.
#[cfg_attr(target_pointer_width = "32", inline(never))]
pub(super) fn address<D: BlockDevice, V: Buffer, const N: usize>(
    volume: &Volume<D, V, N>,
    block: u32,
) -> u64 {
    let before = u64::from(block).wrapping_mul(u64::from(volume.format.block_size()));
    volume.format.blocks().wrapping_add(before)
}
