//! A walk over everything: to find what is damaged, and to drop it.

use super::tree::{Path, Tree, Turn};
use crate::index::{Damage, Ground, IndexInfo, Verified};
use crate::node::{self, Cell, Pointer, Value};
use crate::pool::{NO_BLOCK, NONE};
use crate::volume::Fault;

/// What a walk takes along.
struct Walk<'a> {
    claim: &'a mut dyn FnMut(u32) -> bool,
    report: &'a mut dyn FnMut(Damage),
    found: Verified,
    counts: IndexInfo,
    /// Drop what is damaged.
    prune: bool,
}

impl Walk<'_> {
    fn report(&mut self, damage: Damage) {
        self.found.damages = self.found.damages.wrapping_add(1);
        (self.report)(damage);
    }
}

impl Tree<'_> {
    /// See [`Index::verify`](crate::index::Index::verify). Reads every page from the device, but those that are dirty; the pages
    /// on the way also into the pool.
    pub(super) fn verify<G: Ground>(
        &mut self,
        ground: &mut G,
        claim: &mut dyn FnMut(u32) -> bool,
        report: &mut dyn FnMut(Damage),
    ) -> Result<Verified, Fault> {
        let (found, counts) = (Verified::default(), IndexInfo::default());
        let mut walk = Walk { claim, report, found, counts, prune: false };
        self.walk(ground, &mut walk)?;
        let counts = IndexInfo { depth: self.root.counts.depth, ..walk.counts };
        if walk.found.damages == 0 && counts != self.root.counts {
            let address = ground.address(self.root.page.block);
            walk.report(Damage::Structure { address });
        }
        Ok(walk.found)
    }

    /// See [`Index::prune`](crate::index::Index::prune).
    pub(super) fn prune<G: Ground>(
        &mut self,
        ground: &mut G,
        report: &mut dyn FnMut(Damage),
    ) -> Result<(), Fault> {
        let (found, counts) = (Verified::default(), IndexInfo::default());
        let mut walk = Walk { claim: &mut |_| true, report, found, counts, prune: true };
        self.root.changes = self.root.changes.wrapping_add(1);
        self.walk(ground, &mut walk)?;
        self.root.counts = IndexInfo { depth: self.root.counts.depth, ..walk.counts };
        if walk.counts.leaves == 0 {
            self.root.page.block = NO_BLOCK;
            self.root.height = 0;
        }
        Ok(())
    }

    fn walk<G: Ground>(&mut self, ground: &mut G, walk: &mut Walk<'_>) -> Result<(), Fault> {
        let mut path = Path::new();
        let done = self.walk_on(ground, walk, &mut path);
        self.release(&path);
        done
    }

    fn walk_on<G: Ground>(
        &mut self,
        ground: &mut G,
        walk: &mut Walk<'_>,
        path: &mut Path,
    ) -> Result<(), Fault> {
        if self.is_empty() {
            return Ok(());
        }
        let top = self.root.height.saturating_sub(1);
        self.make_free(ground)?;
        if !self.enter(ground, walk, path, self.root.page, top)? {
            return Ok(());
        }
        while let Some(Turn { frame, index }) = path.last().copied() {
            let page = self.pool.page(frame);
            let level = node::level(page);
            if level == 0 {
                self.check_values(ground, walk, path, frame)?;
            }
            self.make_free(ground)?;
            match node::child(self.pool.page(frame), index as usize) {
                Some(child) if level > 0 => {
                    if self.enter(ground, walk, path, child, level.wrapping_sub(1))? {
                        continue;
                    }
                    if walk.prune {
                        self.replace_child(ground, path, level.wrapping_sub(1))?;
                        continue;
                    }
                }
                _ => {
                    // Done with this one.
                    self.pool.unpin(frame);
                    path.pop();
                    let counts = &mut walk.counts;
                    let count = if level == 0 { &mut counts.leaves } else { &mut counts.inner };
                    *count = count.wrapping_add(1);
                }
            }
            if let Some(above) = path.last_mut() {
                above.index = above.index.wrapping_add(1);
            }
        }
        Ok(())
    }

    /// Makes a frame free. What goes wrong when a page is written to that end must not look like damage of the next one.
    fn make_free<G: Ground>(&mut self, ground: &mut G) -> Result<(), Fault> {
        let free = self.take_frame(ground)?;
        self.pool.give_free(free);
        Ok(())
    }

    /// Goes to a page, if it is good.
    fn enter<G: Ground>(
        &mut self,
        ground: &mut G,
        walk: &mut Walk<'_>,
        path: &mut Path,
        pointer: Pointer,
        level: u8,
    ) -> Result<bool, Fault> {
        let address = ground.address(pointer.block);
        if !(walk.claim)(pointer.block) {
            walk.report(Damage::Twice { address });
            return Ok(false);
        }
        let frame = self.pool.peek(pointer.block);
        let good = if frame != NONE && self.pool.is_dirty(frame) {
            Ok(frame)
        } else {
            self.good_on_device(ground, pointer).and_then(|()| self.fetch(ground, pointer, level))
        };
        let frame = match good {
            Ok(frame) => frame,
            Err(Fault::Damaged | Fault::Device) if !ground.is_poisoned() => {
                walk.report(Damage::Page { address, level });
                return Ok(false);
            }
            Err(fault) => return Err(fault),
        };
        let mut low: &[u8] = &[];
        let mut high = None;
        let mut at_edge = true;
        for turn in path.iter() {
            let page = self.pool.page(turn.frame);
            let index = turn.index as usize;
            low = node::key(page, index);
            if index.saturating_add(1) < node::count(page) {
                high = Some(node::key(page, index.saturating_add(1)));
                at_edge = false;
            }
        }
        let page = self.pool.page(frame);
        // At the right edge a leaf may be empty for a while; is_ordered says so.
        if !node::is_ordered(page, low, high) {
            walk.report(Damage::Structure { address });
            return Ok(false);
        }
        walk.found.pages = walk.found.pages.wrapping_add(1);
        walk.found.tree_pages = walk.found.tree_pages.wrapping_add(1);
        let used = page.len().saturating_sub(node::room(page)) as u64;
        walk.found.used = walk.found.used.wrapping_add(used);
        if !at_edge && node::used(page) < node::min_used(page.len()) {
            walk.found.sparse = walk.found.sparse.wrapping_add(1);
        }
        self.pool.pin(frame);
        if path.push(Turn { frame, index: 0 }).is_err() {
            self.pool.unpin(frame);
            walk.report(Damage::Structure { address });
            return Ok(false);
        }
        Ok(true)
    }

    /// Whether the device has the page that the pointer names, whatever the pool has.
    fn good_on_device<G: Ground>(&mut self, ground: &mut G, pointer: Pointer) -> Result<(), Fault> {
        let page = self.pool.scratch();
        ground.read_block(pointer.block, page)?;
        if node::is_sound(page, ground.volume_id(), pointer.block, pointer.crc) {
            Ok(())
        } else {
            Err(ground.damaged(pointer.block))
        }
    }

    /// Counts the pairs of a leaf, and reads its long values.
    fn check_values<G: Ground>(
        &mut self,
        ground: &mut G,
        walk: &mut Walk<'_>,
        path: &Path,
        leaf: u32,
    ) -> Result<(), Fault> {
        let mut i = 0_usize;
        while i < node::count(self.pool.page(leaf)) {
            if let Some(Value::Overflow { len, first }) = node::value(self.pool.page(leaf), i)
                && !self.check_chain(ground, walk, first, len as usize)?
                && walk.prune
            {
                self.dirty_path(ground, path)?;
                node::remove(self.pool.page_mut(leaf), i);
                continue;
            }
            walk.found.pairs = walk.found.pairs.wrapping_add(1);
            walk.counts.pairs = walk.counts.pairs.wrapping_add(1);
            i = i.saturating_add(1);
        }
        Ok(())
    }

    fn check_chain<G: Ground>(
        &mut self,
        ground: &mut G,
        walk: &mut Walk<'_>,
        first: Pointer,
        len: usize,
    ) -> Result<bool, Fault> {
        let mut link = first;
        let blocks = super::overflow::blocks(self.pool.state.page_size(), usize::MAX / 4, len);
        for done in 0..blocks {
            let address = ground.address(link.block);
            if !(walk.claim)(link.block) {
                walk.report(Damage::Twice { address });
                return Ok(false);
            }
            match self.read_link(ground, link) {
                Ok(next) => link = next,
                Err(Fault::Damaged | Fault::Device) if !ground.is_poisoned() => {
                    walk.report(Damage::Value { address });
                    // Not counted, as its cell goes.
                    let counted = if walk.prune { 0 } else { blocks };
                    walk.counts.overflow = walk.counts.overflow.wrapping_add(counted.min(done));
                    return Ok(false);
                }
                Err(fault) => return Err(fault),
            }
        }
        walk.found.pages = walk.found.pages.wrapping_add(u64::from(blocks));
        walk.counts.overflow = walk.counts.overflow.wrapping_add(blocks);
        Ok(true)
    }

    /// Puts an empty page in the place of the child that the way leads to, or above leaves a chain of pages to an empty leaf: so
    /// the keys that lead there stay right. The next changes nearby merge it away.
    fn replace_child<G: Ground>(&mut self, ground: &mut G, path: &Path, level: u8) -> Result<(), Fault> {
        self.dirty_path(ground, path)?;
        let Some(Turn { frame, index }) = path.last().copied() else { return Ok(()) };
        let mut top = self.new_page(ground, 0)?;
        for above in 1..=level {
            let at = match self.new_page(ground, above) {
                Ok(at) => at,
                Err(fault) => {
                    self.pool.unpin(top);
                    return Err(fault);
                }
            };
            let child = Pointer { block: self.pool.frame(top).block, crc: 0 };
            let (page, parent, scratch) = self.pool.pages_and_scratch(at, frame);
            node::insert(page, scratch, 0, &Cell::Child { key: node::key(parent, index as usize), child });
            self.pool.set_parent(top, at);
            self.pool.unpin(top);
            top = at;
        }
        let child = Pointer { block: self.pool.frame(top).block, crc: 0 };
        node::set_child(self.pool.page_mut(frame), index as usize, child);
        self.pool.set_parent(top, frame);
        self.pool.unpin(top);
        Ok(())
    }
}
