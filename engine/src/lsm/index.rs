//! What the shell asks of the tree.

use core::ops::Range;

use super::list::{TABLE, tables};
use super::manifest::Manifest;
use super::memory::Layout;
use super::memtable;
use super::pace::{LOG_DUE, PAGE, RESERVE, blocks_for_long, room_for_flush};
use super::policy::Shape;
use super::tree::{Inner, Lsm};
use super::value::{Long, Value, is_long, longest_short};
use crate::codec::{Checksum, SMALL, Varints};
use crate::device::Geometry;
use crate::index::{
    Damage, Effect, Found, Ground, Index, IndexInfo, Input, Kind, Op, Place, Promoted, Unfit, Verified,
};
use crate::node;
use crate::pool::{Frames, PoolInfo};
use crate::volume::{Buffer, Division, Fault};

/// With less free blocks than so many more than are needed, a put looks whether its key is there already. By measurement, on flash of
/// 1 MiB: with 4, overwrites of 8,750 pairs write 7.2 bytes for one, with 8 they write 4.9.
const LOOKED_UP: u32 = 8;

impl<P: Buffer, F: Frames, M: memtable::Kind> Index for Lsm<P, F, M> {
    const KIND: Kind = Kind::Lsm;
    const GOES_BY_LOG: bool = true;

    fn begin(&mut self, geometry: &Geometry, block: u32, division: &Division) -> Result<(), Unfit> {
        let pages = self.state.layout.pages;
        let size = pages.size(geometry, block).map_err(Unfit::Block)?;
        let start = self.pages.as_ref().as_ptr().addr();
        if start & geometry.alignment.saturating_sub(1) as usize != 0 {
            return Err(Unfit::Misaligned(geometry.alignment));
        }
        let (bytes, frames) = (self.pages.as_ref().len(), self.least_frames());
        let fixed = Layout::fixed(geometry, size, block, division, frames.max(M::FRAMES));
        let Some(layout) = fixed.divide::<M>(division, bytes, frames) else {
            return Err(Unfit::Memory(fixed.needed::<M>(division), frames.max(M::FRAMES)));
        };
        let least = self.state.layout.least;
        (self.state.layout, self.state.block) = (Layout { pages, least, ..layout }, block);
        let segments = division.segments.saturating_sub(division.reserve);
        self.state.log_bytes = u64::from(segments).saturating_mul(u64::from(division.segment / 16 * 15));
        self.runs.clear();
        self.memtable.lend(0);
        let mut tree = self.view();
        M::divide(&mut tree.memtable, layout.size, division).map_err(Unfit::Block)?;
        tree.reset();
        Ok(())
    }

    fn begin_empty(&mut self) {
        let state = &mut self.state;
        (state.manifest, state.published) = (Manifest::default(), Manifest::default());
        (state.pairs, state.sweep) = (0, 0);
    }

    fn read_root(&mut self, fields: &mut Varints<'_>) {
        let state = &mut self.state;
        state.manifest = Manifest::default();
        root_fields(state, fields);
        fields.u32(&mut state.layout.pages.shift);
        state.manifest = state.manifest.unread();
        state.published = state.manifest;
    }

    fn write_root(&mut self, fields: &mut Varints<'_>) {
        root_fields(&mut self.state, fields);
        // What is not there reads as 0.
        if self.state.layout.pages.shift != 0 {
            fields.u32(&mut self.state.layout.pages.shift);
        }
    }

    fn open<G: Ground>(&mut self, ground: &mut G) -> Result<(), Fault> {
        let mut tree = self.view();
        let read = tree.tables.read_manifest(ground, &mut tree.state.manifest);
        tree.state.published = tree.state.manifest;
        if read.is_err() {
            tree.tables.list.clear();
        }
        tree.drop_empty();
        read
    }

    fn max_key(&self) -> usize {
        node::max_key(self.state.layout.size)
    }

    fn reads_later(&self, key: usize, value: usize) -> bool {
        M::IN_LOG || is_long(self.state.layout.size, key, value)
    }

    fn max_value(&self, key: usize) -> usize {
        // Beside the pages that a table has at least, and one more.
        let pages = self.state.layout.size.saturating_mul(4);
        (self.state.block as usize).saturating_sub(pages).max(longest_short(self.state.layout.size, key))
    }

    fn replay_buffer(&mut self) -> &mut [u8] {
        let size = self.state.layout.size;
        let from = (self.pool.info.frames as usize).wrapping_mul(size);
        let tree = self.view();
        tree.tables.pool.pages.get_mut(from..from.wrapping_add(size)).unwrap_or_default()
    }

    fn replay<G: Ground>(
        &mut self,
        ground: &mut G,
        key: Range<usize>,
        value: Option<Range<usize>>,
    ) -> Result<(), Fault> {
        let most = self.max_value(key.len());
        let mut tree = self.view();
        let size = tree.state.layout.size;
        let from = (tree.tables.pool.state.info.frames as usize).wrapping_mul(size);
        let (pages, buffer) = tree.tables.pool.pages.split_at_mut_checked(from).unwrap_or_default();
        tree.tables.pool.pages = pages;
        let key_len = key.len();
        let (before, rest) = buffer.split_at_mut_checked(key.end).unwrap_or_default();
        let key = before.get(key.start..).unwrap_or_default();
        let value = match value {
            // What no store of this kind has written.
            Some(place) if place.len() > most => return Err(ground.damaged(0)),
            Some(place) if is_long(size, key_len, place.len()) => {
                let sum = if M::IN_LOG { 0 } else { logged_sum(ground, place.clone(), rest)? };
                let (unit, at) = ground.value_site(key_len, place.len());
                Some(Value::Long(Long { len: place.len() as u32, crc: sum, in_log: true, unit, at }))
            }
            Some(place) => Some(Value::Short(rest.get(..place.len()).ok_or_else(|| ground.damaged(0))?)),
            None => None,
        };
        let offset = ground.offset();
        if tree.is_merged(ground, key, offset)? {
            tree.state.seen = offset.wrapping_add(1);
            return Ok(());
        }
        tree.insert(ground, key, value)
    }

    fn replayed(&mut self) {
        let mut tree = self.view();
        tree.tables.pool.complete();
        // What sessions before have left to do.
        if tree.state.job.is_none() {
            tree.state.owes = tree.choose(false, true, u32::MAX).is_some();
            tree.drop_empty();
        }
        self.lend();
    }

    fn has_room(&self) -> bool {
        self.memtable.has_room()
    }

    fn blocks_for_replay(&self, _: usize, _: usize) -> u32 {
        if self.fills_up() { 0 } else { self.blocks_for_memtable() }
    }

    fn blocks_for_change(&self) -> u32 {
        // A change by which tables don't grow makes nothing worse. New pairs leave room for such, and for tables that are not full.
        match self.state.known {
            true => self.least_free().wrapping_sub(1),
            false => self.blocks_for_memtable(),
        }
    }

    fn reserve(&self) -> u32 {
        if self.fills_up() { 1 } else { RESERVE }
    }

    fn blocks_for_batch(&self, _: u32, bytes: usize) -> u32 {
        let tables = (bytes as u32).checked_div(self.state.block / 2).unwrap_or(0);
        self.blocks_for_memtable().saturating_add(tables).saturating_add(1)
    }

    fn blocks_for_value(&self, key: usize, value: usize, alone: bool) -> u32 {
        // What the memtable has is rounded up, and of a batch its bytes count already.
        let size = self.state.layout.size;
        let is_large = alone && is_long(size, key, value) && value > self.state.block as usize / 8;
        if is_large { blocks_for_long(value, self.state.block, size) } else { 0 }
    }

    fn spare(&self) -> u32 {
        let capacity = (self.state.layout.list / TABLE) as u32;
        capacity.saturating_sub(tables(&self.runs))
    }

    fn prepare<G: Ground>(&mut self, ground: &mut G, op: &Op<'_>) -> Result<bool, Fault> {
        // Where a sweep merges everything into one run, that run is all that there will be.
        let sweeps = self.fills_up();
        self.state.known = sweeps && op.value.is_none();
        let needed = self.blocks_for_memtable().saturating_add(self.reserve());
        let available = ground.available().min(self.spare());
        // More than a table's worth of pairs that may be new, and hardly room for them.
        let grows = self.blocks_for_memtable() > self.least_free().wrapping_add(1);
        self.state.tight = sweeps && grows && available <= needed.wrapping_add(3);
        // Looked up early, a value that makes nothing grow is never counted as growth: then a sweep does not hurry for want of blocks.
        if op.value.is_some() && (!sweeps || available >= needed.saturating_add(LOOKED_UP)) {
            // What can't be read there must be known before the change is in the log.
            if M::IN_LOG {
                M::find(&mut self.view().memtable, ground, op.key)?;
            }
            return Ok(true);
        }
        // There may be too little room for another pair, but not for a new value.
        let found = match self.view().get(ground, op.key, &mut []) {
            Ok(found) => found.map(|found| found.len),
            Err(Fault::Short) => Some(ground.detail() as usize),
            Err(fault) => return Err(fault),
        };
        if let Some(value) = op.value {
            self.state.known = found.is_some_and(|len| len >= value.len());
        }
        Ok(found.is_some())
    }

    fn apply<G: Ground>(&mut self, ground: &mut G, op: &Op<'_>, _: Promoted<'_>) -> Result<Effect, Fault> {
        self.take_back();
        let mut tree = self.view();
        let value = match op.value {
            Some(Input::Bytes(bytes)) => Some(tree.logged(ground, op.key, bytes)),
            Some(Input::Logged { .. }) => return Err(ground.damaged(0)),
            None => None,
        };
        let written = tree.builder.progress.written;
        tree.insert(ground, op.key, value)?;
        let writes = tree.builder.progress.written.wrapping_sub(written) as u32;
        let depth = tree.tables.list.runs.len() as u8;
        Ok(Effect { found: op.value.is_none(), depth, writes, ..Effect::default() })
    }

    fn append<G: Ground>(&mut self, ground: &mut G, key: &[u8], value: &[u8]) -> Result<bool, Fault> {
        self.view().append(ground, key, value)
    }

    fn clear(&mut self) {
        self.view().tables.list.clear();
        self.state.pairs = 0;
        // What was appended since is still there.
        let is_as_published = self.state.manifest.end == self.state.published.end;
        self.state.manifest = self.state.published;
        if !is_as_published {
            self.state.manifest.end = 0;
        }
        (self.state.unwritten, self.state.unpublished) = (false, false);
        self.memtable.lend(0);
        let mut tree = self.view();
        tree.reset();
        tree.tables.pool.complete();
        self.lend();
    }

    fn begin_replay<G: Ground>(&mut self, ground: &mut G) -> Result<(), Fault> {
        self.view().give_up(ground)?;
        self.memtable.lend(0);
        self.view().reset();
        Ok(())
    }

    fn get<G: Ground>(&mut self, ground: &mut G, key: &[u8], out: &mut [u8]) -> Result<Option<Found>, Fault> {
        self.view().get(ground, key, out)
    }

    fn step<G: Ground>(
        &mut self,
        ground: &mut G,
        place: &mut Place,
        key: &mut [u8],
        forward: bool,
        out: &mut [u8],
    ) -> Result<Option<usize>, Fault> {
        self.view().next_pair(ground, place, key, forward, out)
    }

    fn skip<G: Ground>(
        &mut self,
        ground: &mut G,
        place: &mut Place,
        key: &mut [u8],
        forward: bool,
    ) -> Result<(), Fault> {
        self.view().skip(ground, place, key, forward)
    }

    fn is_due(&self, log: u32, _: impl FnOnce() -> u32, _: bool) -> bool {
        let is_full = match self.state.options.shape {
            Shape::Sweep => self.sweep_is_due(log),
            Shape::Levels { .. } => {
                let (used, total) = self.memtable.room();
                used > total.saturating_sub(room_for_flush(total)) || log > LOG_DUE
            }
        };
        is_full || self.state.owes || self.state.job.is_some() || self.state.unwritten
    }

    fn is_ready(&self) -> bool {
        self.state.ready
    }

    fn checkpoint_step<G: Ground>(&mut self, ground: &mut G, pages: u32) -> Result<bool, Fault> {
        let done = self.view().step(ground, pages);
        if !SMALL && self.memtable.len() == 0 && self.pool.is_complete() {
            self.lend();
        }
        done
    }

    fn dirty(&self) -> u32 {
        let unpublished = self.state.unpublished || self.state.bulk && self.progress.active;
        self.memtable.len().saturating_add(u32::from(unpublished))
    }

    fn position(&mut self, end: u64) -> u64 {
        M::lowest(&mut self.view().memtable).unwrap_or(end).min(end)
    }

    fn reclaim(&mut self, available: u32) -> bool {
        self.state.scan.forget();
        let sweeps = self.state.options.shape == Shape::Sweep;
        let mut tree = self.view();
        // With the last block for a table, the manifest might find none, and then nothing would be possible any more.
        let least = tree.blocks_beyond().saturating_add(1);
        if tree.state.job.is_none() && tree.tables.list.runs.len() == 1 && sweeps && available > least {
            tree.state.job = tree.pack_tables();
        }
        if tree.state.job.is_none() && tree.tables.list.runs.len() > 1 {
            let outlook = tree.outlook(false, available);
            let mut list = tree.tables.list;
            let end = list.runs.len();
            tree.state.job = outlook.merge(&mut list, 0, end, outlook.last());
            if let Some(job) = &mut tree.state.job {
                job.for_room = true;
            }
        }
        self.state.job.is_some()
    }

    fn compact<G: Ground>(&mut self, ground: &mut G) -> Result<bool, Fault> {
        self.view().compact(ground)
    }

    fn is_compacting(&self) -> bool {
        self.state.compacting
    }

    fn published(&mut self) {
        self.state.published = self.state.manifest;
        (self.state.unpublished, self.state.bulk) = (false, false);
        self.state.scan.forget();
        (self.state.pending, self.state.ready) = (0, false);
    }

    fn begin_close<G: Ground>(&mut self, ground: &mut G, entries: u64) -> Result<bool, Fault> {
        self.view().begin_close(ground, entries)
    }

    fn pace(&mut self, changes: u32, log: u32) -> u32 {
        self.state.log = log;
        self.keep_schedule(log, changes);
        let each = match self.state.options.shape {
            Shape::Sweep => self.sweep_pace(log),
            Shape::Levels { .. } => self.merge_pace(log).saturating_mul(PAGE),
        };
        // What was not needed is not saved up.
        let most = each.saturating_add(PAGE.saturating_mul(8));
        self.state.credit = self.state.credit.min(most).saturating_add(each.saturating_mul(changes));
        // A little at a time, whatever is outstanding.
        let pages =
            (self.state.credit / PAGE).min((each.saturating_mul(changes).saturating_mul(2) / PAGE).max(1));
        pages.min(self.state.most_pages_each().saturating_mul(changes))
    }

    fn most_moved(&self, geometry: &Geometry) -> u64 {
        Lsm::most_moved(self, geometry)
    }

    fn info(&self) -> IndexInfo {
        IndexInfo {
            pairs: self.state.pairs.saturating_add(u64::from(self.memtable.len())),
            depth: self.runs.len() as u8,
            leaves: tables(&self.runs),
            inner: 0,
            overflow: 0,
        }
    }

    fn pool(&self) -> PoolInfo {
        PoolInfo { written: self.progress.written, ..self.pool.info }
    }

    fn verify<G: Ground>(
        &mut self,
        ground: &mut G,
        claim: &mut dyn FnMut(u32) -> bool,
        report: &mut dyn FnMut(Damage),
    ) -> Result<Verified, Fault> {
        if self.progress.active {
            claim(self.progress.table.block);
        }
        self.view().verify(ground, claim, report)
    }

    fn prune<G: Ground>(&mut self, ground: &mut G, report: &mut dyn FnMut(Damage)) -> Result<(), Fault> {
        self.view().prune(ground, report)
    }
}

/// The checksum of a value of the entry that is being replayed, read by way of `buffer`.
fn logged_sum<G: Ground>(ground: &mut G, value: Range<usize>, buffer: &mut [u8]) -> Result<u32, Fault> {
    let (mut from, mut sum) = (value.start, Checksum::new());
    while from < value.end {
        let len = buffer.len().min(value.end.wrapping_sub(from));
        let piece = buffer.get_mut(..len).filter(|piece| !piece.is_empty()).ok_or(Fault::OutOfRange)?;
        ground.logged(from as u32, piece)?;
        sum = sum.bytes(piece);
        from = from.wrapping_add(len);
    }
    Ok(sum.finish())
}

fn root_fields(state: &mut Inner, fields: &mut Varints<'_>) {
    state.manifest.fields(fields);
    fields.u64(&mut state.pairs);
    fields.u32(&mut state.sweep);
}
