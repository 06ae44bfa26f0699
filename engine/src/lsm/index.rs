//! What the shell asks of the tree, and its root.

use core::ops::Range;

use super::manifest::Manifest;
use super::memory::{Layout, MIN_FRAMES, page_size};
use super::memtable;
use super::policy::{Shape, merge_runs};
use super::tree::Lsm;
use crate::codec::Varints;
use crate::device::Geometry;
use crate::index::{
    Damage, Effect, Found, Ground, Index, IndexInfo, Input, Kind, Op, Place, Promoted, Unfit, Verified,
};
use crate::node;
use crate::pool::{Frames, PoolInfo};
use crate::volume::{Buffer, Fault};

impl<P: Buffer, F: Frames> Index for Lsm<P, F> {
    const KIND: Kind = Kind::Lsm;

    fn begin(&mut self, geometry: &Geometry, block: u32) -> Result<(), Unfit> {
        if (block as usize) < page_size(geometry, block).saturating_mul(8) {
            return Err(Unfit::Block(
                "a table of an LSM tree, which is a block, has at least 8 pages, none smaller than the device's units: use larger blocks",
            ));
        }
        let start = self.pages.as_ref().as_ptr().addr();
        if start & geometry.alignment.saturating_sub(1) as usize != 0 {
            return Err(Unfit::Misaligned(geometry.alignment));
        }
        let (bytes, frames) = (self.pages.as_ref().len(), self.frames.as_ref().len());
        let Some(layout) = Layout::divide(geometry, block, bytes, frames) else {
            let frames = frames.max(MIN_FRAMES);
            return Err(Unfit::Memory(Layout::least(geometry, block, frames), frames));
        };
        (self.state.layout, self.state.block) = (layout, block);
        self.runs.clear();
        let mut tree = self.view();
        tree.memtable.divide(layout.size);
        tree.reset();
        Ok(())
    }

    fn read_root(&mut self, fields: &mut Varints<'_>) {
        let state = &mut self.state;
        state.manifest = Manifest::default();
        state.manifest.fields(fields);
        fields.u64(&mut state.pairs);
        fields.u32(&mut state.sweep);
        state.published = state.manifest;
    }

    fn write_root(&mut self, fields: &mut Varints<'_>) {
        let state = &mut self.state;
        state.manifest.fields(fields);
        fields.u64(&mut state.pairs);
        fields.u32(&mut state.sweep);
    }

    fn open<G: Ground>(&mut self, ground: &mut G) -> Result<(), Fault> {
        let tree = self.view();
        let (mut tables, manifest) = (tree.tables, tree.state.manifest);
        let read = tables.read_manifest(ground, &manifest);
        if read.is_err() {
            tables.list.runs.clear();
        }
        read
    }

    fn max_key(&self) -> usize {
        node::max_key(self.state.layout.size)
    }

    fn max_value(&self, key: usize) -> usize {
        let most = memtable::max_pair(self.state.layout.size);
        // The word before the value in the memtable, and lengths of two bytes.
        most.saturating_sub(node::pair_size(key, 0)).saturating_sub(5)
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
        let mut tree = self.view();
        let size = tree.state.layout.size;
        let from = (tree.tables.pool.state.info.frames as usize).wrapping_mul(size);
        let (pages, buffer) = tree.tables.pool.pages.split_at_mut_checked(from).unwrap_or_default();
        tree.tables.pool.pages = pages;
        let value = match value {
            // What no store of this kind has written.
            Some(place) if place.end > size || place.len() > memtable::max_pair(size) => {
                return Err(ground.damaged(0));
            }
            Some(place) => Some(buffer.get(place).unwrap_or_default()),
            None => None,
        };
        let key = buffer.get(key).unwrap_or_default();
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
            tree.state.owes = tree.choose(false).is_some();
            tree.drop_empty();
        }
    }

    fn has_room(&self) -> bool {
        self.memtable.has_room()
    }

    fn blocks_for_change(&self) -> u32 {
        // All that the memtable holds, in tables; the one that is being written, and the manifest's next block.
        let (used, _) = self.memtable.chunks();
        let pages = (self.state.block as usize).checked_div(self.state.layout.size).unwrap_or(1) as u32;
        used.div_ceil(pages.saturating_sub(4).max(1)).saturating_add(3)
    }

    fn reserve(&self) -> u32 {
        3
    }

    fn blocks_for_batch(&self, _: u32, bytes: usize) -> u32 {
        let tables = (bytes as u32).checked_div(self.state.block / 2).unwrap_or(0);
        self.blocks_for_change().saturating_add(tables).saturating_add(1)
    }

    fn blocks_for_value(&self, _: usize, _: usize) -> u32 {
        0
    }

    fn prepare<G: Ground>(&mut self, ground: &mut G, op: &Op<'_>) -> Result<bool, Fault> {
        if op.value.is_some() {
            return Ok(true);
        }
        match self.view().get(ground, op.key, &mut []) {
            Ok(found) => Ok(found.is_some()),
            Err(Fault::Short) => Ok(true),
            Err(fault) => Err(fault),
        }
    }

    fn apply<G: Ground>(&mut self, ground: &mut G, op: &Op<'_>, _: Promoted<'_>) -> Result<Effect, Fault> {
        let value = match op.value {
            Some(Input::Bytes(bytes)) => Some(bytes),
            Some(Input::Logged { .. }) => return Err(ground.damaged(0)),
            None => None,
        };
        let mut tree = self.view();
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
        self.runs.clear();
        self.state.pairs = 0;
        self.state.manifest = self.state.published;
        (self.state.unwritten, self.state.unpublished) = (false, false);
        let mut tree = self.view();
        tree.reset();
        tree.tables.pool.complete();
    }

    fn begin_replay<G: Ground>(&mut self, ground: &mut G) -> Result<(), Fault> {
        let mut tree = self.view();
        tree.give_up(ground)?;
        tree.reset();
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

    fn is_due(&self, log: bool, _: bool) -> bool {
        let (used, total) = self.memtable.chunks();
        let owes = self.state.owes || self.state.job.is_some() || self.state.unwritten;
        // What is written at once is a run: the later, the fewer there are. Small memory keeps a quarter to pay from.
        let spare = (total / 16).max((total / 4).min(64));
        log || owes || used > total.saturating_sub(spare)
    }

    fn checkpoint_step<G: Ground>(&mut self, ground: &mut G, pages: u32) -> Result<bool, Fault> {
        self.view().step(ground, pages)
    }

    fn dirty(&self) -> u32 {
        let unpublished = self.state.unpublished || self.state.bulk && self.progress.active;
        self.memtable.len().saturating_add(u32::from(unpublished))
    }

    fn position(&mut self, end: u64) -> u64 {
        self.view().memtable.lowest().unwrap_or(end).min(end)
    }

    fn reclaim(&mut self) -> bool {
        self.state.scan.forget();
        let tree = self.view();
        if tree.state.job.is_none() && tree.tables.list.runs.len() > 1 {
            let outlook = tree.outlook(false);
            let mut list = tree.tables.list;
            let end = list.runs.len();
            tree.state.job = Some(merge_runs(&mut list, 0, end, outlook.last(), outlook.sources));
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
        self.view().memtable.drop_merged();
    }

    fn begin_close<G: Ground>(&mut self, ground: &mut G, entries: u64) -> Result<bool, Fault> {
        self.view().begin_close(ground, entries)
    }

    fn pace(&self) -> u32 {
        // What is to be done, divided among the changes that there is room for until then.
        let (used, total) = self.memtable.chunks();
        let room = total.saturating_sub(used).saturating_mul(self.state.layout.size as u32);
        let changes = (room / self.state.pair.max(16)).max(1);
        let left = self.state.job.as_ref().map_or(0, |job| job.left.saturating_mul(2));
        let work = left.saturating_add(u64::from(used).saturating_mul(2)) as u32;
        let level = self.runs.first().map_or(0, |run| run.len);
        let sweep = match self.state.options.shape {
            Shape::Sweep => {
                let pages = (self.state.block as usize).checked_div(self.state.layout.size).unwrap_or(1);
                level.saturating_mul(pages as u32).saturating_mul(3) / self.memtable.len().max(1)
            }
            Shape::Levels { .. } => 0,
        };
        (work / changes).saturating_add(sweep).saturating_add(2)
    }

    fn info(&self) -> IndexInfo {
        IndexInfo {
            pairs: self.state.pairs.saturating_add(u64::from(self.memtable.len())),
            depth: self.runs.len() as u8,
            leaves: self.runs.last().map_or(0, |run| run.end()),
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
        let manifest = self.state.manifest.block;
        if self.progress.active {
            claim(self.progress.table.block);
        }
        self.view().verify(ground, manifest, claim, report)
    }

    fn prune<G: Ground>(&mut self, ground: &mut G, report: &mut dyn FnMut(Damage)) -> Result<(), Fault> {
        self.view().prune(ground, report)
    }
}
