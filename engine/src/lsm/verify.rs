//! What is damaged: found, and on demand dropped.

use core::cmp::Ordering;

use super::filter::Hash;
use super::list::Table;
use super::manifest::Manifest;
use super::memtable::Kind;
use super::merge::{Job, Progress, Source};
use super::page;
use super::tree::Tree;
use super::value::Value;
use crate::index::{Damage, Ground, Verified};
use crate::node;
use crate::volume::Fault;

impl<M: Kind> Tree<'_, M> {
    /// Reads every page of every table.
    pub(super) fn verify<G: Ground>(
        &mut self,
        ground: &mut G,
        claim: &mut dyn FnMut(u32) -> bool,
        report: &mut dyn FnMut(Damage),
    ) -> Result<Verified, Fault> {
        let mut found = Verified::default();
        let mut damages = 0_u64;
        let mut tell = |damage| {
            damages = damages.saturating_add(1);
            report(damage);
        };
        for manifest in [Some(self.state.manifest), self.state.draft].into_iter().flatten() {
            self.verify_chain(ground, manifest, claim, &mut tell)?;
        }
        for number in 0..self.tables.list.runs.len() {
            let run = self.tables.list.run(number);
            for at in run.start..run.end() {
                let table = self.tables.list.get(at);
                let address = ground.address(table.block);
                if !claim(table.block) {
                    tell(Damage::Twice { address });
                }
                // The page before must end below this one's first key.
                let last =
                    if at == run.start { None } else { Some(self.tables.list.get(at.wrapping_sub(1))) };
                match self.verify_table(ground, &table, last.as_ref(), &mut found, &mut tell) {
                    Ok(true) => {}
                    Ok(false) => tell(Damage::Structure { address }),
                    Err(Fault::Damaged | Fault::Device) => tell(Damage::Page { address, level: 1 }),
                    Err(fault) => return Err(fault),
                }
            }
        }
        found.damages = damages;
        found.pairs = found.pairs.saturating_add(u64::from(self.memtable.state.len()));
        Ok(found)
    }

    /// Claims the blocks of a manifest. Whether all of them could be found.
    fn verify_chain<G: Ground>(
        &mut self,
        ground: &mut G,
        mut manifest: Manifest,
        claim: &mut dyn FnMut(u32) -> bool,
        tell: &mut dyn FnMut(Damage),
    ) -> Result<bool, Fault> {
        while let Some(block) = manifest.block.checked_sub(1) {
            let address = ground.address(block);
            if !claim(block) {
                tell(Damage::Twice { address });
            }
            match self.tables.next_block(ground, &manifest) {
                Ok(next) => manifest.block = next,
                Err(Fault::Damaged | Fault::Device) => {
                    tell(Damage::Page { address, level: 1 });
                    return Ok(false);
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(true)
    }

    /// Whether all is in order but what `tell` was told of.
    fn verify_table<G: Ground>(
        &mut self,
        ground: &mut G,
        table: &Table,
        before: Option<&Table>,
        found: &mut Verified,
        tell: &mut dyn FnMut(Damage),
    ) -> Result<bool, Fault> {
        let index = self.tables.index(ground, table)?;
        let size = self.tables.pool.state.page_size();
        found.pages = found.pages.saturating_add(1);
        found.tree_pages = found.tree_pages.saturating_add(1);
        let used = node::used(self.tables.pool.page(index)) as u64;
        found.used = found.used.saturating_add(used).saturating_add(16);
        let mut in_order = node::count(self.tables.pool.page(index)) == table.pages as usize;
        if let Some(before) = before {
            in_order &= before.prefix <= table.prefix;
        }
        for page in table.page..table.pages {
            let address =
                ground.address(table.block).saturating_add(u64::from(page).saturating_mul(size as u64));
            let frame = match self.tables.leaf(ground, table, page) {
                Ok(frame) => frame,
                Err(Fault::Damaged | Fault::Device) => {
                    tell(Damage::Page { address, level: 0 });
                    continue;
                }
                Err(fault) => return Err(fault),
            };
            self.tables.pool.pin(frame);
            let index = self.tables.index(ground, table);
            self.tables.pool.unpin(frame);
            let (index, leaf) = (index?, frame);
            let (low, high) = (page as usize, (page as usize).saturating_add(1));
            let bytes = self.tables.pool.page(leaf);
            let count = page::count(bytes);
            let first = if page == table.page { table.cell as usize } else { 0 };
            in_order &= first < count;
            let border = |page: usize| node::key(self.tables.pool.page(index), page).into();
            let key = |cell: usize| page::key(bytes, page::position(bytes, cell));
            in_order &= key(0).cmp(border(low)) != Ordering::Less;
            if high < table.pages as usize {
                in_order &= key(count.saturating_sub(1)).cmp(border(high)) == Ordering::Less;
            }
            for cell in 0..count {
                in_order &= page::value(bytes, page::position(bytes, cell)).is_some();
                in_order &= cell == 0 || key(cell.wrapping_sub(1)).cmp(key(cell)) == Ordering::Less;
                // As a search finds it, too.
                in_order &= page::search(bytes, self.builder.copy(key(cell)))
                    == (cell, page::position(bytes, cell), true);
            }
            found.pages = found.pages.saturating_add(1);
            found.tree_pages = found.tree_pages.saturating_add(1);
            found.used = found.used.saturating_add(page::used(bytes) as u64).saturating_add(16);
            found.pairs = found.pairs.saturating_add(count.saturating_sub(first) as u64);
            in_order &= self.verify_filter(ground, table, frame, first)?;
            for cell in first..count {
                if let Some(at) = self.damaged_value(ground, frame, cell)? {
                    let address = ground.address(table.block).saturating_add(at.into());
                    tell(Damage::Value { address });
                }
            }
        }
        Ok(in_order)
    }

    /// Where the value of a pair is in its block, if it is a long one that is not what was written.
    fn damaged_value<G: Ground>(
        &mut self,
        ground: &mut G,
        frame: u32,
        cell: usize,
    ) -> Result<Option<u32>, Fault> {
        let spot = self.tables.in_frame(frame, cell as u32);
        let Some(Some(Value::Long(long))) = self.tables.value(ground, spot) else { return Ok(None) };
        let is_sound = long.is_sound(ground, self.tables.pool.scratch())?;
        Ok((!is_sound).then_some(long.at))
    }

    /// Whether the filter lets all keys of a page pass.
    fn verify_filter<G: Ground>(
        &mut self,
        ground: &mut G,
        table: &Table,
        frame: u32,
        first: usize,
    ) -> Result<bool, Fault> {
        for cell in first..page::count(self.tables.pool.page(frame)) {
            let key = self.tables.key(self.tables.in_frame(frame, cell as u32));
            let hash = Hash::of(self.builder.copy(key));
            self.tables.pool.pin(frame);
            let passes = self.tables.may_have(ground, table, hash);
            self.tables.pool.unpin(frame);
            if !passes? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a page of pairs can be read, and all long values of it.
    fn is_whole<G: Ground>(&mut self, ground: &mut G, table: &Table, page: u32) -> Result<bool, Fault> {
        let Ok(frame) = self.tables.leaf(ground, table, page) else { return Ok(false) };
        for cell in 0..page::count(self.tables.pool.page(frame)) {
            if self.damaged_value(ground, frame, cell)?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes anew each table of which a page or a long value is damaged, without that; one that has lost its index goes as a whole.
    pub(super) fn prune<G: Ground>(
        &mut self,
        ground: &mut G,
        report: &mut dyn FnMut(Damage),
    ) -> Result<(), Fault> {
        self.give_up(ground)?;
        let manifest = self.state.manifest;
        if !self.verify_chain(ground, manifest, &mut |_| true, report)? {
            // It is written anew.
            self.tables.list.edits.forget();
            (self.state.unwritten, self.state.unpublished) = (true, true);
        }
        for number in 0..self.tables.list.runs.len() {
            let mut at = 0;
            while at < self.tables.list.run(number).len {
                let run = self.tables.list.run(number);
                let table = self.tables.list.get(run.start.wrapping_add(at));
                let mut whole = self.tables.index(ground, &table).is_ok();
                for page in table.page..table.pages {
                    whole = whole && self.is_whole(ground, &table, page)?;
                }
                if whole {
                    at = at.wrapping_add(1);
                    continue;
                }
                let bottom = number.wrapping_add(1) == self.tables.list.runs.len();
                let mut job = Job::new(number, at, bottom);
                (job.one, job.lenient) = (true, true);
                let _ = job.sources.push(Source::new(number, at));
                while self.merge(ground, &mut job, u32::MAX, report)? == Progress::Paused {}
                at = job.place;
            }
        }
        self.drop_empty();
        Ok(())
    }
}
