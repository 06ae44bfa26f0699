//! The manifest: which tables there are, in a block of its own, of which the root names the newest state.
//!
//! ```text
//!   block   ├ state ┤ state ┤ state ┤ (free) ...          each one whole, beginning at a multiple of the write unit
//!   state   ├ part ┤ part ┤ part ┤                        a part is no longer than a page
//!   part     0  2 length of the part
//!            2  . tables, each as varints: mark, block, crc, generation, pages, lines, page, cell, merged, prefix
//! ```
//! The mark is 0, or for the first table of a run the level of that, plus 1. The root has the block, the place in it, the
//! number of tables, its length, and the checksum over all parts. A state is only ever appended to a block that this session has begun:
//! behind what a cut has left nothing is programmed.

use super::find::Tables;
use super::list::{Run, Table};
use crate::codec::{Checksum, Varints, align_up};
use crate::index::Ground;
use crate::volume::Fault;

/// Bytes of a table's record at most.
const LONGEST: usize = 2 + 8 * 5 + 10;
const HEAD: usize = 2;
/// So many blocks are tried.
const TRIES: u32 = 4;

/// Where the newest state is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Manifest {
    /// The block's number plus 1; 0: there are no tables.
    pub(super) block: u32,
    pub(super) at: u32,
    pub(super) crc: u32,
    pub(super) tables: u32,
    /// Bytes of it.
    pub(super) len: u32,
    /// Where the next state goes, if this session has begun the block.
    pub(super) end: u32,
    /// The publish that the block was begun for.
    generation: u32,
}

impl Manifest {
    pub(super) fn fields(&mut self, fields: &mut Varints<'_>) {
        fields.u32(&mut self.block);
        fields.u32(&mut self.at);
        fields.u32(&mut self.crc);
        fields.u32(&mut self.tables);
        fields.u32(&mut self.len);
    }
}

fn record(table: &mut Table, mark: &mut u32, fields: &mut Varints<'_>) {
    fields.u32(mark);
    for word in [
        &mut table.block,
        &mut table.crc,
        &mut table.generation,
        &mut table.pages,
        &mut table.lines,
        &mut table.page,
        &mut table.cell,
        &mut table.merged,
    ] {
        fields.u32(word);
    }
    fields.u64(&mut table.prefix);
}

impl Tables<'_> {
    /// The part that begins with table `next`, in the scratch page: its length, and the table behind it.
    fn part(&mut self, next: u32) -> (usize, u32) {
        let (mut at, mut table) = (HEAD, next);
        let size = self.pool.state.page_size();
        while table < self.list.len() && at.saturating_add(LONGEST) <= size {
            let first = self.list.runs.iter().find(|run| run.start == table && run.len != 0);
            let mut mark = first.map_or(0, |run| u32::from(run.level).saturating_add(1));
            let mut entry = self.list.get(table);
            let mut fields = Varints::write(self.pool.scratch().get_mut(at..).unwrap_or_default());
            record(&mut entry, &mut mark, &mut fields);
            at = at.saturating_add(fields.at);
            table = table.saturating_add(1);
        }
        if let Some(head) = self.pool.scratch().first_chunk_mut() {
            *head = (at as u16).to_le_bytes();
        }
        (at, table)
    }

    /// Writes the tables as they are, for the next publish: to another block where one can't be erased or written.
    pub(super) fn write_manifest<G: Ground>(
        &mut self,
        ground: &mut G,
        manifest: &mut Manifest,
    ) -> Result<(), Fault> {
        for _ in 0..TRIES {
            match self.try_write_manifest(ground, manifest) {
                Err(Fault::Device) if !ground.is_poisoned() => manifest.end = 0,
                done => return done,
            }
        }
        self.try_write_manifest(ground, manifest)
    }

    fn try_write_manifest<G: Ground>(
        &mut self,
        ground: &mut G,
        manifest: &mut Manifest,
    ) -> Result<(), Fault> {
        let unit = ground.write_unit();
        let (mut next, mut size) = (0, 0_u32);
        while next < self.list.len() {
            let (len, behind) = self.part(next);
            size = size.saturating_add(align_up(len as u32, unit));
            next = behind;
        }
        if size > ground.block_size() {
            return Err(Fault::Full);
        }
        let erase = ground.erase_unit();
        if manifest.end == 0 || manifest.end.saturating_add(size) > ground.block_size() {
            let old = *manifest;
            *manifest = Manifest { generation: ground.generation(), ..Manifest::default() };
            if size != 0 {
                manifest.block = ground.allocate()?.wrapping_add(1);
            }
            if let Some(block) = old.block.checked_sub(1) {
                ground.free(block, old.generation == ground.generation() && old.end != 0)?;
            }
        }
        let Some(block) = manifest.block.checked_sub(1) else { return Ok(()) };
        manifest.at = manifest.end;
        (manifest.tables, manifest.len) = (self.list.len(), size);
        let (mut next, mut at, mut sum) = (0, manifest.at, Checksum::new().word(ground.volume_id()));
        while next < self.list.len() {
            let (len, behind) = self.part(next);
            sum = sum.bytes(self.pool.scratch().get(..len).unwrap_or_default());
            let whole = align_up(len as u32, unit);
            if let Some(rest) = self.pool.scratch().get_mut(len..whole as usize) {
                rest.fill(0xFF);
            }
            // Each erase unit when the first byte of it is to be written.
            let (from, to) = (align_up(at, erase.max(1)), align_up(at.saturating_add(whole), erase.max(1)));
            if erase != 0 && from < to {
                ground.erase_part(block, from, to.wrapping_sub(from))?;
            }
            let bytes = self.pool.scratch().get(..whole as usize).unwrap_or_default();
            ground.write_part(block, at, bytes)?;
            at = at.saturating_add(whole);
            next = behind;
        }
        (manifest.end, manifest.crc) = (at, sum.word(block).finish());
        Ok(())
    }

    /// Reads the tables that the root names.
    pub(super) fn read_manifest<G: Ground>(
        &mut self,
        ground: &mut G,
        manifest: &Manifest,
    ) -> Result<(), Fault> {
        self.list.runs.clear();
        let Some(block) = manifest.block.checked_sub(1) else { return Ok(()) };
        let size = self.pool.state.page_size() as u32;
        let (mut at, mut sum, mut count) = (manifest.at, Checksum::new().word(ground.volume_id()), 0_u32);
        while count < manifest.tables {
            // No more than was written: what is behind it, a cut may have made unreadable.
            let len = size.min(manifest.at.saturating_add(manifest.len).saturating_sub(at));
            let page = self.pool.scratch().get_mut(..len as usize).unwrap_or_default();
            ground.read_part(block, at, page)?;
            let len = page.first_chunk().map_or(0, |head| usize::from(u16::from_le_bytes(*head)));
            let Some(part) = page.get(..len).filter(|_| len > HEAD) else {
                return Err(ground.damaged(block));
            };
            sum = sum.bytes(part);
            let mut place = HEAD;
            while place < len && count < manifest.tables {
                let (mut table, mut mark) = (Table::default(), 0);
                let page = self.pool.scratch().get_mut(place..len).unwrap_or_default();
                let mut fields = Varints::read(page);
                record(&mut table, &mut mark, &mut fields);
                place = place.saturating_add(fields.at);
                if count >= self.list.capacity() {
                    return Err(ground.too_few_frames(self.pool.state.info.frames.saturating_add(1)));
                }
                if let Some(level) = mark.checked_sub(1) {
                    let run = Run { level: level as u8, start: count, len: 0 };
                    if self.list.runs.push(run).is_err() {
                        return Err(ground.damaged(block));
                    }
                }
                self.list.set(count, table);
                if let Some(run) = self.list.runs.last_mut() {
                    run.len = run.len.wrapping_add(1);
                }
                count = count.wrapping_add(1);
            }
            at = at.saturating_add(align_up(len as u32, ground.write_unit()));
        }
        if sum.word(block).finish() == manifest.crc { Ok(()) } else { Err(ground.damaged(block)) }
    }
}
