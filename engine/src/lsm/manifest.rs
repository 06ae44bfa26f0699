//! The manifest: which tables there are, in a block of its own, of which the root names the newest state; or in a chain of blocks, if a
//! state takes more than one.
//!
//! ```text
//!   block   ├ state ┤ edits ┤ edits ┤ edits ┤ state ┤ edits ┤ (free) ...     each begins at a multiple of the write unit
//!   chain   ├ state ............. ┤link┤─>├ ... state ┤ edits ... ┤link┤─>├ edits ┤ (free) ...  ┤    ┤
//!   state   ├ part ┤ part ┤ part ┤                                           a part is no longer than a page, edits are one part
//!   part     0  2 length of the part
//!            2  . of a state: records, each as varints: mark, and unless it is of an empty run, the table's numbers
//!            2  . of edits: each as varints: kind, two numbers, and the table's numbers if there is a table
//! ```
//! The mark is 0, or for the first table of a run its level plus 1; for a run without tables its level plus [`EMPTY`]. The root has the
//! block, the place of the last state in it, how many records that has, its length with all edits behind it, and the checksum over
//! all parts and links. Anything is only ever appended to a block that this session has begun: behind what a cut has left nothing is programmed.
//!
//! A chain is written in steps, as a *draft*: until it is whole, and the blocks of the one before are given back, that one is the manifest.

use core::ops::Range;

use super::chain;
use super::find::Tables;
use super::list::{Edit, LONGEST, Run, Table};
use crate::codec::{Checksum, Varints, align_up, word_at};
use crate::index::Ground;
use crate::volume::Fault;

/// A mark from here on: a run without tables.
const EMPTY: u32 = 64;
pub(super) const HEAD: usize = 2;
/// So many parts of a state that fits into a block are written at once.
pub(super) const AT_ONCE: u32 = 16;
/// So many blocks are tried.
const TRIES: u32 = 4;
/// With so many free blocks more than two states would take, edits go on in another block.
const FEW: u32 = 16;
/// By what a few edits of the manifest may make it longer.
const ROOM_FOR_EDITS: u32 = 256;

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
    pub(super) sum: Checksum,
    /// Where the next state goes in the last block, if this session has begun it.
    pub(super) end: u32,
    /// The publish that it was begun for.
    pub(super) generation: u32,
    /// Its last block, and where parts end at the latest in each.
    pub(super) last: u32,
    pub(super) room: u32,
    /// Records of the state that are written.
    next: u32,
}

impl Manifest {
    pub(super) fn fields(&mut self, fields: &mut Varints<'_>) {
        fields.u32(&mut self.block);
        fields.u32(&mut self.at);
        fields.u32(&mut self.crc);
        fields.u32(&mut self.records);
        fields.u32(&mut self.len);
    }

    /// The same, when the root has said no more than these.
    pub(super) fn unread(self) -> Self {
        Self { last: self.block.wrapping_sub(1), ..self }
    }

    /// What is written next, be it a state, needs no other block, or there is none yet. A block that has no room for two states does not count: there each
    /// goes to another.
    pub(super) fn has_room(&self, block: u32) -> bool {
        let next = self.state.saturating_add(ROOM_FOR_EDITS);
        let is_own = self.end != 0 || self.block == 0;
        is_own && (self.end.saturating_add(next) <= block || self.state.saturating_add(next) > block)
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

    /// Writes the tables as they are, for the next publish: to other blocks where one can't be erased or written. Of a chain as many parts as
    /// `pages`, or until something was erased; of a manifest that fits into a block no less than [`AT_ONCE`]. Whether it is whole.
    pub(super) fn write_manifest<G: Ground>(
        &mut self,
        ground: &mut G,
        manifest: &mut Manifest,
        draft: &mut Option<Manifest>,
        pages: u32,
    ) -> Result<bool, Fault> {
        for tries in 0.. {
            match self.write_draft(ground, manifest, draft, pages) {
                Ok(true) => break,
                Ok(false) => return Ok(false),
                Err(fault) => {
                    // Of what was written there, a part may be missing: the next try writes all of it, elsewhere.
                    let dropped = self.drop_draft(ground, manifest, draft);
                    if fault != Fault::Device || ground.is_poisoned() || tries >= TRIES {
                        return Err(fault);
                    }
                    dropped?;
                }
            }
        }
        let Some(whole) = *draft else { return Ok(true) };
        let mut work = 0_u32;
        while manifest.block != 0 && manifest.block != whole.block {
            if work >= pages {
                return Ok(false);
            }
            self.free_first(ground, manifest)?;
            work = work.wrapping_add(1);
        }
        (*manifest, *draft) = (whole, None);
        Ok(true)
    }

    /// As much as a step may of a state, or edits, which are at once what the manifest says. Whether all of it is there.
    fn write_draft<G: Ground>(
        &mut self,
        ground: &mut G,
        manifest: &mut Manifest,
        draft: &mut Option<Manifest>,
        pages: u32,
    ) -> Result<bool, Fault> {
        // Of other tables than it was begun with, nothing can be said in it.
        if draft.is_some() && *self.list.edits.len != 0 {
            self.drop_draft(ground, manifest, draft)?;
        }
        if draft.is_none() {
            if self.write_edits(ground, manifest, false)? {
                return Ok(true);
            }
            *draft = self.begin_state(ground, manifest)?;
            *self.list.edits.len = 0;
        }
        let Some(draft) = draft else { return Ok(true) };
        let (erases, mut work) = (ground.erases(), 0_u32);
        while draft.next < draft.records {
            let is_chain = draft.room != ground.block_size();
            let has_done = is_chain && (work >= pages || ground.erases() != erases);
            if pages != u32::MAX && (has_done || work >= pages.max(AT_ONCE)) {
                return Ok(false);
            }
            let (len, behind) = self.part(draft.next);
            if draft.end.saturating_add(align_up(len as u32, ground.write_unit())) > draft.room {
                self.write_link(ground, draft)?;
                continue;
            }
            self.write_part(ground, draft, len)?;
            (draft.next, work) = (behind, work.wrapping_add(1));
        }
        draft.state = draft.len;
        Ok(true)
    }

    /// Where a state of all tables is to go: behind the one before, or into blocks of its own. `None`: there was no room, and edits have
    /// gone where they should not.
    fn begin_state<G: Ground>(
        &mut self,
        ground: &mut G,
        manifest: &mut Manifest,
    ) -> Result<Option<Manifest>, Fault> {
        let (unit, all) = (ground.write_unit(), ground.block_size());
        let (records, mut next, mut size) = (self.records(), 0, 0_u32);
        let (mut blocks, mut end) = (1_u32, 0_u32);
        while next < records {
            let (len, behind) = self.part(next);
            let whole = align_up(len as u32, unit);
            size = size.saturating_add(whole);
            end = end.saturating_add(whole);
            if end > chain::room(ground) {
                (blocks, end) = (blocks.wrapping_add(1), whole);
            }
            next = behind;
        }
        let mut draft = Manifest { records, room: all, generation: ground.generation(), ..*manifest };
        (draft.len, draft.next) = (0, 0);
        if size > all {
            // Not begun in vain: what it had taken would be free again only after a publish, for which it is needed.
            if ground.available() < blocks {
                return if self.write_edits(ground, manifest, true)? { Ok(None) } else { Err(Fault::Full) };
            }
            draft.room = chain::room(ground);
        }
        let fits = size != 0
            && manifest.end != 0
            && manifest.room == all
            && manifest.end.saturating_add(size) <= all;
        if fits {
            draft.generation = manifest.generation;
        } else {
            (draft.block, draft.end, draft.last) = (0, 0, 0);
            if size != 0 {
                draft.last = ground.allocate()?;
                draft.block = draft.last.wrapping_add(1);
            }
        }
        draft.at = draft.end;
        draft.crc = 0;
        draft.sum = Checksum::new().word(ground.volume_id());
        Ok(Some(draft))
    }

    /// Gives the blocks of a draft back. What can't be written is not to be met again before the next publish.
    fn drop_draft<G: Ground>(
        &mut self,
        ground: &mut G,
        manifest: &mut Manifest,
        draft: &mut Option<Manifest>,
    ) -> Result<(), Fault> {
        let Some(mut draft) = draft.take() else { return Ok(()) };
        self.list.edits.forget();
        draft.end = 0;
        if draft.block == manifest.block {
            manifest.end = 0;
            return Ok(());
        }
        while draft.block != 0 {
            self.free_first(ground, &mut draft)?;
        }
        Ok(())
    }

    /// Writes what has changed since, behind the state of this session that has the rest; whether there is one, and room. `must`: there is no
    /// room for a state.
    fn write_edits<G: Ground>(
        &mut self,
        ground: &mut G,
        manifest: &mut Manifest,
        must: bool,
    ) -> Result<bool, Fault> {
        let Some(edits) = self.list.edits.all() else { return Ok(false) };
        if edits.is_empty() {
            return Ok(true);
        }
        let len = edits.len().wrapping_add(HEAD);
        let whole = align_up(len as u32, ground.write_unit());
        // What has to be read at an open is three times the state at most.
        let short = manifest.len.saturating_add(whole) <= manifest.state.saturating_mul(3);
        if manifest.end == 0 || !short && !must {
            return Ok(false);
        }
        if manifest.end.saturating_add(whole) > manifest.room {
            // Only behind a state that is a chain itself; and where blocks are few, a new state has to give some back.
            let most = (manifest.state / manifest.room.max(1)).saturating_mul(2).saturating_add(FEW);
            if manifest.room == ground.block_size() || ground.available() < most && !must {
                return Ok(false);
            }
            self.write_link(ground, manifest)?;
        }
        let Some(edits) = self.list.edits.all() else { return Ok(false) };
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
        let from = manifest.end;
        self.program(ground, manifest, from, len)?;
        manifest.sum = sum;
        manifest.len = manifest.len.saturating_add(manifest.end.wrapping_sub(from));
        manifest.crc = sum.word(block).finish();
        Ok(())
    }

    /// Reads the tables that the root names.
    pub(super) fn read_manifest<G: Ground>(
        &mut self,
        ground: &mut G,
        manifest: &mut Manifest,
    ) -> Result<(), Fault> {
        self.list.clear();
        let Some(first) = manifest.block.checked_sub(1) else { return Ok(()) };
        let (mut block, mut at, mut left) = (first, manifest.at, manifest.len);
        let (mut sum, mut count) = (Checksum::new().word(ground.volume_id()), 0_u32);
        let mut room_here = ground.block_size();
        // Of a chain, each block but the last is as full as its parts could make it.
        while at.saturating_add(left) > room_here {
            let link = self.read_link(ground, block)?;
            let [next, end, generation] = [4, 8, 12].map(|place| word_at(&link, place));
            room_here = chain::room(ground);
            let is_full = end.saturating_add(self.pool.state.page_size() as u32) > room_here;
            if !is_full || end <= at || end > room_here || block != first && generation != manifest.generation
            {
                return Err(ground.damaged(block));
            }
            sum = self.read_parts(ground, block, at..end, manifest.records, sum, &mut count)?.bytes(&link);
            left = left.saturating_sub(end.wrapping_sub(at));
            (block, at) = (next, 0);
            (manifest.last, manifest.generation) = (next, generation);
        }
        let end = at.saturating_add(left);
        sum = self.read_parts(ground, block, at..end, manifest.records, sum, &mut count)?;
        if sum.word(first).finish() == manifest.crc && count == manifest.records {
            Ok(())
        } else {
            Err(ground.damaged(block))
        }
    }

    /// Reads the parts in a piece of a block, of which so many `records` are the state.
    fn read_parts<G: Ground>(
        &mut self,
        ground: &mut G,
        block: u32,
        piece: Range<u32>,
        records: u32,
        mut sum: Checksum,
        count: &mut u32,
    ) -> Result<Checksum, Fault> {
        let size = self.pool.state.page_size() as u32;
        let (mut at, end, unit) = (piece.start, piece.end, ground.write_unit());
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
                let is_state = *count < records;
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
                *count = count.wrapping_add(u32::from(is_state));
            }
            let whole = align_up((part.end.wrapping_sub(part.start)) as u32, unit);
            from = part.start.wrapping_add(whole as usize);
            at = at.saturating_add(whole);
        }
        Ok(sum)
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
