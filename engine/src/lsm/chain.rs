//! The blocks of a manifest, where it takes more than one: each names the next, so that they can be given back one by one, with nothing
//! about them in memory but the first and the last.
//!
//! ```text
//!   block   ├ part ┤ part ┤ ... ┤ part ┤ (free) ┤ link ┤       the link in the last bytes, whole write units
//!   link     0  4 crc: volume id, this block, bytes 4..16
//!            4  4 the next block
//!            8  4 where the parts of this block end
//!           12  4 generation of the publish that the chain was begun for
//! ```
//! A link is written when the next part finds no room, and proves itself, as it is read again to free the chain: by then, what the root's
//! checksum over all of it says is long forgotten. The generation tells it from one of a chain that had the block before.

use super::find::Tables;
use super::list::LONGEST;
use super::manifest::{HEAD, Manifest};
use crate::codec::{Checksum, align_up, word_at};
use crate::index::Ground;
use crate::volume::Fault;

/// Bytes of a link.
const LINK: usize = 16;
/// As it is on the device.
type Link = [u8; LINK];
/// Bytes of a record at most, as far as blocks are planned, where most numbers take less than [`LONGEST`] allows: the mark; block, crc,
/// generation and merged offset; pages, lines and page, of a byte each; cell and last, of two; the prefix.
const RECORD: usize = 1 + 4 * 5 + 3 * 2 + 2 * 3 + 10;

/// Parts of a manifest of so many tables at most, with pages of this size.
pub(super) fn parts(tables: u32, page: usize) -> u32 {
    // In a part there is room for one more than this.
    let records = page.saturating_sub(HEAD.wrapping_add(LONGEST)) / RECORD;
    tables.div_ceil((records as u32).wrapping_add(1))
}

/// Blocks that a manifest of so many tables takes at most beside its first, with pages and blocks of these sizes.
pub(super) fn blocks_beyond(tables: u32, page: usize, block: u32) -> u32 {
    let parts = parts(tables, page);
    let pages = (block as usize).checked_div(page).unwrap_or(0) as u32;
    match parts > pages {
        true => parts.div_ceil(pages.saturating_sub(1).max(1)).saturating_sub(1),
        false => 0,
    }
}

fn link_crc<G: Ground>(ground: &G, block: u32, link: &Link) -> u32 {
    let [_, _, _, _, rest @ ..] = link;
    Checksum::new().word(ground.volume_id()).word(block).bytes(rest).finish()
}

/// Where parts end at the latest in a block of a chain: behind them is the link.
pub(super) fn room<G: Ground>(ground: &G) -> u32 {
    ground.block_size().saturating_sub(align_up(LINK as u32, ground.write_unit()))
}

impl Tables<'_> {
    /// Gives the first block of a manifest back. Of a chain of which a link is damaged, what is behind that is left to a salvage.
    pub(super) fn free_first<G: Ground>(
        &mut self,
        ground: &mut G,
        manifest: &mut Manifest,
    ) -> Result<(), Fault> {
        let Some(block) = manifest.block.checked_sub(1) else { return Ok(()) };
        let next = match self.next_block(ground, manifest) {
            Err(Fault::Damaged) => 0,
            next => next?,
        };
        ground.free(block, manifest.generation == ground.generation() && manifest.end != 0)?;
        manifest.block = next;
        Ok(())
    }

    /// The block behind the first one of a manifest, plus 1; 0: there is none.
    pub(super) fn next_block<G: Ground>(
        &mut self,
        ground: &mut G,
        manifest: &Manifest,
    ) -> Result<u32, Fault> {
        match manifest.block.checked_sub(1) {
            Some(block) if block != manifest.last => {
                let link = self.read_link(ground, block)?;
                // A block may have been one of another chain before.
                if word_at(&link, 12) != manifest.generation {
                    return Err(ground.damaged(block));
                }
                Ok(word_at(&link, 4).wrapping_add(1))
            }
            _ => Ok(0),
        }
    }

    pub(super) fn read_link<G: Ground>(&mut self, ground: &mut G, block: u32) -> Result<Link, Fault> {
        let mut link = [0; LINK];
        ground.read_part(block, room(ground), &mut link)?;
        let crc = link_crc(ground, block, &link);
        if word_at(&link, 0) == crc { Ok(link) } else { Err(ground.damaged(block)) }
    }

    /// Goes on in another block, which the end of this one names. Uses the scratch page.
    pub(super) fn write_link<G: Ground>(
        &mut self,
        ground: &mut G,
        manifest: &mut Manifest,
    ) -> Result<(), Fault> {
        let next = ground.allocate()?;
        let mut link = [0; LINK];
        let words = [next, manifest.end, manifest.generation];
        for (place, word) in link.as_chunks_mut().0.iter_mut().skip(1).zip(words) {
            *place = u32::to_le_bytes(word);
        }
        let crc = link_crc(ground, manifest.last, &link);
        if let Some(place) = link.first_chunk_mut() {
            *place = crc.to_le_bytes();
        }
        if let Some(place) = self.pool.scratch().first_chunk_mut() {
            *place = link;
        }
        if let Err(fault) = self.program(ground, manifest, manifest.room, LINK) {
            // Nothing names it. If it can't be given back, nothing can be published either.
            let _ = ground.free(next, true);
            return Err(fault);
        }
        manifest.sum = manifest.sum.bytes(&link);
        (manifest.last, manifest.end) = (next, 0);
        Ok(())
    }

    /// Writes so many bytes of the scratch page to a place in the last block, behind what is there. After an error nothing more goes
    /// into that block.
    pub(super) fn program<G: Ground>(
        &mut self,
        ground: &mut G,
        manifest: &mut Manifest,
        at: u32,
        len: usize,
    ) -> Result<(), Fault> {
        let whole = align_up(len as u32, ground.write_unit());
        if let Some(rest) = self.pool.scratch().get_mut(len..whole as usize) {
            rest.fill(0xFF);
        }
        // Each erase unit when the first byte of it is to be written.
        let erase = ground.erase_unit();
        let end = at.saturating_add(whole);
        let (from, to) = (align_up(manifest.end, erase.max(1)), align_up(end, erase.max(1)));
        manifest.end = 0;
        if erase != 0 && from < to {
            ground.erase_part(manifest.last, from, to.wrapping_sub(from))?;
        }
        let bytes = self.pool.scratch().get(..whole as usize).unwrap_or_default();
        ground.write_part(manifest.last, at, bytes)?;
        manifest.end = end;
        Ok(())
    }
}
