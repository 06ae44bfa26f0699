//! The manifest: which tables there are, in a block of its own, of which the root names the newest state.
//!
//! ```text
//!   block   ├ state ┤ edits ┤ edits ┤ edits ┤ state ┤ edits ┤ (free) ...     each begins at a multiple of the write unit
//!   state   ├ part ┤ part ┤ part ┤                                           a part is no longer than a page, edits are one part
//!   part     0  2 length of the part
//!            2  . of a state: records, each as varints: mark, and unless it is of an empty run, the table's numbers
//!            2  . of edits: each as varints: kind, two numbers, and the table's numbers if there is a table
//! ```
//! The mark is 0, or for the first table of a run its level plus 1; for a run without tables its level plus [`EMPTY`]. The root has the
//! block, the place of the last state in it, how many records that has, its length with all edits behind it, and the checksum over
//! all parts. Anything is only ever appended to a block that this session has begun: behind what a cut has left nothing is programmed.

use core::ops::Range;

use super::find::Tables;
use super::list::{Edit, LONGEST, Run, Table};
use crate::codec::{Checksum, Varints, align_up};
use crate::index::Ground;
use crate::volume::Fault;

/// A mark from here on: a run without tables.
const EMPTY: u32 = 64;
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
    pub(super) records: u32,
    /// Bytes of it, with all edits.
    pub(super) len: u32,
    /// Bytes of it without them.
    state: u32,
    /// Checksum over all of it but the block.
    sum: Checksum,
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
        fields.u32(&mut self.records);
        fields.u32(&mut self.len);
    }
}

impl Tables<'_> {
    /// The part that begins with record `next`, in the scratch page: its length, and the record behind it. Records are the tables, each
    /// empty run among them.
    fn part(&mut self, next: u32) -> (usize, u32) {
        let (mut at, mut record) = (HEAD, next);
        let size = self.pool.state.page_size();
        while at.saturating_add(LONGEST) <= size
            && let Some((mut mark, table)) = self.record(record)
        {
            let mut entry = table.map(|table| self.list.get(table));
            let mut fields = Varints::write(self.pool.scratch().get_mut(at..).unwrap_or_default());
            fields.u32(&mut mark);
            if let Some(entry) = &mut entry {
                entry.numbers(&mut fields);
            }
            at = at.saturating_add(fields.at);
            record = record.saturating_add(1);
        }
        if let Some(head) = self.pool.scratch().first_chunk_mut() {
            *head = (at as u16).to_le_bytes();
        }
        (at, record)
    }

    /// Mark and table of a record.
    fn record(&self, record: u32) -> Option<(u32, Option<u32>)> {
        let mut before = 0_u32;
        for run in self.list.runs.iter() {
            let records = run.len.max(1);
            let at = record.wrapping_sub(before);
            if at < records {
                let level = u32::from(run.level);
                let mark = if at == 0 { level.wrapping_add(1) } else { 0 };
                return Some(match run.len {
                    0 => (level.wrapping_add(EMPTY), None),
                    _ => (mark, Some(run.start.wrapping_add(at))),
                });
            }
            before = before.wrapping_add(records);
        }
        None
    }

    /// Records in all.
    fn records(&self) -> u32 {
        self.list.runs.iter().map(|run| run.len.max(1)).sum()
    }

    /// Writes the tables as they are, for the next publish: to another block where one can't be erased or written.
    pub(super) fn write_manifest<G: Ground>(
        &mut self,
        ground: &mut G,
        manifest: &mut Manifest,
    ) -> Result<(), Fault> {
        for _ in 0..TRIES {
            match self.try_write_manifest(ground, manifest) {
                // Of what was written there, a part may be missing: the next try writes all of it, elsewhere.
                Err(Fault::Device) if !ground.is_poisoned() => manifest.end = 0,
                done => return done.inspect_err(|_| manifest.end = 0),
            }
        }
        self.try_write_manifest(ground, manifest).inspect_err(|_| manifest.end = 0)
    }

    fn try_write_manifest<G: Ground>(
        &mut self,
        ground: &mut G,
        manifest: &mut Manifest,
    ) -> Result<(), Fault> {
        if self.write_edits(ground, manifest)? {
            return Ok(());
        }
        let unit = ground.write_unit();
        let (records, mut next, mut size) = (self.records(), 0, 0_u32);
        while next < records {
            let (len, behind) = self.part(next);
            size = size.saturating_add(align_up(len as u32, unit));
            next = behind;
        }
        if size > ground.block_size() {
            return Err(Fault::Full);
        }
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
        (manifest.at, manifest.records, manifest.len) = (manifest.end, records, 0);
        manifest.sum = Checksum::new().word(ground.volume_id());
        let mut next = 0;
        while next < records {
            let (len, behind) = self.part(next);
            self.write_part(ground, manifest, len)?;
            next = behind;
        }
        manifest.state = manifest.len;
        *self.list.edits.len = 0;
        Ok(())
    }

    /// Writes what has changed since, behind the state of this session that has the rest; whether there is one, and room.
    fn write_edits<G: Ground>(&mut self, ground: &mut G, manifest: &mut Manifest) -> Result<bool, Fault> {
        let Some(edits) = self.list.edits.all() else { return Ok(false) };
        if edits.is_empty() {
            return Ok(true);
        }
        let len = edits.len().wrapping_add(HEAD);
        let room = ground.block_size().saturating_sub(manifest.end);
        let whole = align_up(len as u32, ground.write_unit());
        // What has to be read at an open is three times the state at most.
        let short = manifest.len.saturating_add(whole) <= manifest.state.saturating_mul(3);
        let fits = manifest.end != 0 && short && whole <= room;
        if !fits {
            return Ok(false);
        }
        let Some((head, rest)) = self.pool.scratch().split_first_chunk_mut() else { return Ok(false) };
        let Some(place) = rest.get_mut(..edits.len()) else { return Ok(false) };
        *head = (len as u16).to_le_bytes();
        place.copy_from_slice(edits);
        self.write_part(ground, manifest, len)?;
        *self.list.edits.len = 0;
        Ok(true)
    }

    /// Writes the part in the scratch page behind what there is, and counts it in.
    fn write_part<G: Ground>(
        &mut self,
        ground: &mut G,
        manifest: &mut Manifest,
        len: usize,
    ) -> Result<(), Fault> {
        let Some(block) = manifest.block.checked_sub(1) else { return Ok(()) };
        let sum = manifest.sum.bytes(self.pool.scratch().get(..len).unwrap_or_default());
        let whole = align_up(len as u32, ground.write_unit());
        if let Some(rest) = self.pool.scratch().get_mut(len..whole as usize) {
            rest.fill(0xFF);
        }
        // Each erase unit when the first byte of it is to be written.
        let erase = ground.erase_unit();
        let end = manifest.end.saturating_add(whole);
        let (from, to) = (align_up(manifest.end, erase.max(1)), align_up(end, erase.max(1)));
        if erase != 0 && from < to {
            ground.erase_part(block, from, to.wrapping_sub(from))?;
        }
        let bytes = self.pool.scratch().get(..whole as usize).unwrap_or_default();
        ground.write_part(block, manifest.end, bytes)?;
        (manifest.end, manifest.sum) = (end, sum);
        manifest.len = manifest.len.saturating_add(whole);
        manifest.crc = sum.word(block).finish();
        Ok(())
    }

    /// Reads the tables that the root names.
    pub(super) fn read_manifest<G: Ground>(
        &mut self,
        ground: &mut G,
        manifest: &Manifest,
    ) -> Result<(), Fault> {
        self.list.clear();
        let Some(block) = manifest.block.checked_sub(1) else { return Ok(()) };
        let size = self.pool.state.page_size() as u32;
        let end = manifest.at.saturating_add(manifest.len);
        let (mut at, mut sum, mut count) = (manifest.at, Checksum::new().word(ground.volume_id()), 0_u32);
        let unit = ground.write_unit();
        // What was read of it into the scratch page, and how much of that was taken.
        let (mut held, mut from) = (0_usize, 0_usize);
        while at < end {
            let mut part = self.part_at(from, held);
            if part.is_none() {
                // No more than was written: what is behind it, a cut may have made unreadable.
                held = size.min(end.wrapping_sub(at)) as usize;
                let page = self.pool.scratch().get_mut(..held).unwrap_or_default();
                ground.read_part(block, at, page)?;
                part = self.part_at(0, held);
            }
            let Some(part) = part else { return Err(ground.damaged(block)) };
            sum = sum.bytes(self.pool.scratch().get(part.clone()).unwrap_or_default());
            let mut place = part.start.wrapping_add(HEAD);
            while place < part.end {
                let is_state = count < manifest.records;
                let done = if is_state {
                    self.take_record(place, part.end)
                } else {
                    self.take_edit(place, part.end)
                };
                let Some(taken) = done else {
                    // Whatever is wrong with it: were it as it was written, there would be memory for it.
                    if self.list.len() >= self.list.capacity() {
                        return Err(ground.too_few_frames(self.pool.state.info.frames.saturating_add(1)));
                    }
                    return Err(ground.damaged(block));
                };
                place = place.saturating_add(taken);
                count = count.wrapping_add(u32::from(is_state));
            }
            let whole = align_up((part.end.wrapping_sub(part.start)) as u32, unit);
            from = part.start.wrapping_add(whole as usize);
            at = at.saturating_add(whole);
        }
        if sum.word(block).finish() == manifest.crc && count == manifest.records {
            Ok(())
        } else {
            Err(ground.damaged(block))
        }
    }

    /// The part that begins at a place in the scratch page, if all of it is there.
    fn part_at(&mut self, from: usize, held: usize) -> Option<Range<usize>> {
        let part = self.pool.scratch().get(from..held)?;
        let len = usize::from(u16::from_le_bytes(*part.first_chunk()?));
        (len > HEAD && len <= part.len()).then(|| from..from.wrapping_add(len))
    }

    /// Takes the record at a place in the scratch page; returns its length. `None`: it can't be.
    fn take_record(&mut self, place: usize, len: usize) -> Option<usize> {
        let (mut table, mut mark) = (Table::default(), 0);
        let mut fields = Varints::read(self.pool.scratch().get_mut(place..len)?);
        fields.u32(&mut mark);
        if mark < EMPTY {
            table.numbers(&mut fields);
        }
        let taken = fields.at;
        let count = self.list.len();
        let level = mark.checked_sub(EMPTY).or(mark.checked_sub(1));
        if let Some(level) = level {
            self.list.runs.push(Run { level: level as u8, start: count, len: 0 }).ok()?;
        }
        if mark < EMPTY {
            if count >= self.list.capacity() {
                return None;
            }
            self.list.set(count, table);
            let run = self.list.runs.last_mut()?;
            run.len = run.len.wrapping_add(1);
        }
        Some(taken)
    }

    /// Makes the change at a place in the scratch page once more; returns its length. `None`: it can't be.
    fn take_edit(&mut self, place: usize, len: usize) -> Option<usize> {
        let (mut table, mut kind, mut first, mut second) = (Table::default(), 0, 0, 0);
        let mut fields = Varints::read(self.pool.scratch().get_mut(place..len)?);
        for number in [&mut kind, &mut first, &mut second] {
            fields.u32(number);
        }
        let edit = Edit::of(kind)?;
        if matches!(edit, Edit::Insert | Edit::Set) {
            table.numbers(&mut fields);
        }
        let taken = fields.at;
        let run = first as usize;
        let is_done = match edit {
            Edit::Insert => second <= self.list.run(run).len && self.list.insert(run, second, table),
            Edit::Remove => {
                let is_there = second < self.list.run(run).len;
                self.list.remove(run, second);
                is_there
            }
            Edit::Set => {
                self.list.set(first, table);
                first < self.list.len()
            }
            Edit::InsertRun => self.list.insert_run(run, second as u8),
            Edit::RemoveRun => {
                let is_empty = self.list.runs.get(run).is_some_and(|run| run.len == 0);
                self.list.remove_run(run);
                is_empty
            }
        };
        is_done.then_some(taken)
    }
}
