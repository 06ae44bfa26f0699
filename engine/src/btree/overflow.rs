//! Values too long for a leaf: chains of blocks.
//!
//! ```text
//!    0  4 crc         over volume id, number of the block, bytes 4..page size
//!    4  4 generation
//!    8  1 level       255
//!    9  3             0
//!   12  8 next        block, crc; block 0xFFFFFFFF: this is the last one
//!   20  . value       as much as there is room for; 0 behind its end
//! ```
//! A chain is written from its end, because each block holds the checksum of the next. Its blocks don't go through the pool.

use super::pages::write_anywhere;
use super::tree::Tree;
use crate::codec::{put_word, word_at};
use crate::index::{Ground, Input};
use crate::node::{self, Pointer};
use crate::pool::NO_BLOCK;
use crate::volume::Fault;

const HEADER: usize = 20;
const NEXT: usize = 12;
const LEVEL: u8 = 255;

/// Bytes of a value in one block.
#[cfg_attr(target_pointer_width = "32", inline(never))]
fn capacity(page_size: usize) -> usize {
    page_size.saturating_sub(HEADER).max(1)
}

/// Whether a value of this length stands in its leaf.
pub(super) fn is_inline(page_size: usize, key: usize, value: usize) -> bool {
    node::pair_size(key, value) <= node::max_cell(page_size)
}

/// Blocks of a value of this length.
#[cfg_attr(target_pointer_width = "32", inline(never))]
pub(super) fn blocks(page_size: usize, key: usize, value: usize) -> u32 {
    if is_inline(page_size, key, value) { 0 } else { value.div_ceil(capacity(page_size)) as u32 }
}

impl Tree<'_> {
    /// Writes a value to blocks of its own. One write for each.
    pub(super) fn write_chain<G: Ground>(
        &mut self,
        ground: &mut G,
        input: Input<'_>,
    ) -> Result<Pointer, Fault> {
        let capacity = capacity(self.pool.state.page_size());
        let mut next = Pointer { block: NO_BLOCK, crc: 0 };
        let mut left = input.len();
        while left > 0 {
            let from = left.wrapping_sub(1).checked_div(capacity).unwrap_or(0).wrapping_mul(capacity);
            let mut block = match ground.allocate() {
                Ok(block) => block,
                Err(fault) => {
                    self.free_chain(ground, next, input.len().wrapping_sub(left))?;
                    return Err(fault);
                }
            };
            let page = self.pool.scratch();
            node::init(page, LEVEL, ground.generation());
            put_word(page.get_mut(NEXT..).unwrap_or_default(), next.block);
            put_word(page.get_mut(NEXT + 4..).unwrap_or_default(), next.crc);
            let part = page.get_mut(HEADER..).unwrap_or_default();
            let part = part.get_mut(..left.wrapping_sub(from)).unwrap_or_default();
            match input {
                Input::Bytes(bytes) => {
                    if let Some(bytes) = bytes.get(from..).unwrap_or_default().get(..part.len()) {
                        part.copy_from_slice(bytes);
                    }
                }
                Input::Logged { from: start, .. } => {
                    ground.logged(start.wrapping_add(from as u32), part)?;
                }
            }
            let crc = write_anywhere(ground, page, &mut block)?;
            self.pool.state.info.written = self.pool.state.info.written.wrapping_add(1);
            self.root.counts.overflow = self.root.counts.overflow.wrapping_add(1);
            next = Pointer { block, crc };
            left = from;
        }
        Ok(next)
    }

    /// Reads one block of a chain into the scratch page; returns what comes next. One device read.
    pub(super) fn read_link<G: Ground>(&mut self, ground: &mut G, link: Pointer) -> Result<Pointer, Fault> {
        let page = self.pool.scratch();
        ground.read_block(link.block, page)?;
        if !node::is_sound(page, ground.volume_id(), link.block, link.crc) || node::level(page) != LEVEL {
            return Err(ground.damaged(link.block));
        }
        Ok(Pointer { block: word_at(page, NEXT), crc: word_at(page, NEXT + 4) })
    }

    /// Reads a value; returns the number of its blocks. One device read for each.
    pub(super) fn read_chain<G: Ground>(
        &mut self,
        ground: &mut G,
        first: Pointer,
        out: &mut [u8],
    ) -> Result<u32, Fault> {
        let mut link = first;
        let mut blocks = 0_u32;
        let capacity = capacity(self.pool.state.page_size());
        for part in out.chunks_mut(capacity) {
            let next = self.read_link(ground, link)?;
            let bytes = self.pool.scratch().get(HEADER..).unwrap_or_default();
            match bytes.get(..part.len()) {
                Some(bytes) => part.copy_from_slice(bytes),
                None => return Err(ground.damaged(link.block)),
            }
            link = next;
            blocks = blocks.wrapping_add(1);
        }
        Ok(blocks)
    }

    /// Gives back the blocks of a value of this length, or of the end of one that was being written. One device read for each. Where one is damaged, those behind it can't be
    /// found: they are lost until `salvage`.
    pub(super) fn free_chain<G: Ground>(
        &mut self,
        ground: &mut G,
        first: Pointer,
        len: usize,
    ) -> Result<(), Fault> {
        let mut link = first;
        let mut left = len.div_ceil(capacity(self.pool.state.page_size()));
        while left > 0 && link.block != NO_BLOCK {
            let next = self.read_link(ground, link);
            if !matches!(next, Ok(_) | Err(Fault::Damaged | Fault::Device)) {
                return next.map(|_| ());
            }
            let fresh = next.is_ok() && node::generation(self.pool.scratch()) == ground.generation();
            ground.free(link.block, fresh)?;
            // What can't be found any more is no part of the tree either.
            let gone = if next.is_ok() { 1 } else { left };
            let counts = &mut self.root.counts;
            counts.overflow = counts.overflow.wrapping_sub(gone as u32);
            left = left.wrapping_sub(gone);
            link = next.unwrap_or_default();
        }
        Ok(())
    }
}
