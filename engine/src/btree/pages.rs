//! Pages between the pool and the device: in, proved; changed, under a new block; and out, from the leaves up.

use super::tree::{Path, Tree};
use crate::codec::SMALL;
use crate::index::Ground;
use crate::node::{self, Pointer};
use crate::pool::NONE;
use crate::volume::Fault;

impl Tree<'_> {
    /// The frame with the page that a pointer names; read if it is not there. One device read, and one write if a dirty page
    /// has to make room.
    pub(super) fn fetch<G: Ground>(
        &mut self,
        ground: &mut G,
        pointer: Pointer,
        level: u8,
    ) -> Result<u32, Fault> {
        if let Some(at) = self.pool.find(pointer.block) {
            return if node::level(self.pool.page(at)) == level {
                Ok(at)
            } else {
                Err(ground.damaged(pointer.block))
            };
        }
        let at = self.take_frame(ground)?;
        let read = ground.read_block(pointer.block, self.pool.page_mut(at));
        self.pool.enter(at, pointer.block);
        self.pool.state.info.misses = self.pool.state.info.misses.wrapping_add(1);
        let page = self.pool.page(at);
        let sound = read.is_ok()
            && node::is_sound(page, ground.volume_id(), pointer.block, pointer.crc)
            && node::level(page) == level;
        if sound {
            return Ok(at);
        }
        self.pool.leave(at);
        read?;
        Err(ground.damaged(pointer.block))
    }

    /// A frame for another page. Which page makes room, the pool knows.
    pub(super) fn take_frame<G: Ground>(&mut self, ground: &mut G) -> Result<u32, Fault> {
        if let Some(at) = self.pool.take_free() {
            return Ok(at);
        }
        let Some(at) = self.pool.victim(ground.is_read_only()) else {
            let frames = self.pool.state.info.frames.saturating_add(self.pool.state.info.dirty);
            return Err(ground.too_few_frames(frames.saturating_add(1)));
        };
        if self.pool.is_dirty(at) {
            self.write_page(ground, at)?;
        }
        self.pool.state.info.evictions = self.pool.state.info.evictions.wrapping_add(1);
        self.pool.leave(at);
        self.pool.take_free().ok_or(Fault::Full)
    }

    /// Writes a dirty page that points to no dirty one, and tells the page above its checksum.
    pub(super) fn write_page<G: Ground>(&mut self, ground: &mut G, at: u32) -> Result<(), Fault> {
        let mut block = self.pool.frame(at).block;
        let crc = write_anywhere(ground, self.pool.page_mut(at), &mut block)?;
        self.written(at, Pointer { block, crc });
        Ok(())
    }

    /// A page is on the device: in this block, and with this checksum.
    fn written(&mut self, at: u32, pointer: Pointer) {
        let (old, parent) = (self.pool.frame(at).block, self.pool.frame(at).parent);
        if pointer.block != old {
            self.pool.rename(at, pointer.block);
        }
        self.pool.state.info.written = self.pool.state.info.written.wrapping_add(1);
        self.pool.set_clean(at);
        if parent == NONE {
            self.root.page = pointer;
            return;
        }
        let (page, above) = (self.pool.page(at), self.pool.page(parent));
        // Mostly it is where its first key leads to; small pages are soon looked through.
        let is_it = |i: &usize| node::child(above, *i).is_some_and(|child| child.block == old);
        let likely = (!SMALL).then(|| node::child_index(above, node::key(page, 0)));
        if let Some(i) = likely.filter(is_it).or_else(|| (0..node::count(above)).find(is_it)) {
            node::set_child(self.pool.page_mut(parent), i, pointer);
        }
    }

    /// Writes at most so many dirty pages; whether none is left.
    pub(super) fn write_dirty<G: Ground>(&mut self, ground: &mut G, pages: u32) -> Result<bool, Fault> {
        let mut left = pages;
        while left != 0 {
            let Some(at) = self.pool.next_dirty() else { break };
            // Small images do without.
            let run = if SMALL || ground.erase_unit() != 0 { 0 } else { self.write_run(ground, at, left)? };
            if run == 0 {
                self.write_page(ground, at)?;
            }
            left = left.saturating_sub(run.max(1));
        }
        Ok(self.pool.state.info.dirty == 0)
    }

    /// Writes a dirty page that points to no dirty one and, in one call, those in the blocks behind it of which this is true as
    /// well: what became dirty together stands together. Returns how many, at most `most`; none if it stands alone, or the call
    /// has failed and perhaps one page alone can be written.
    fn write_run<G: Ground>(&mut self, ground: &mut G, at: u32, most: u32) -> Result<u32, Fault> {
        let first = self.pool.frame(at).block;
        let mut run = [(at, 0); RUN];
        let mut len = 0_u32;
        for (slot, block) in run.iter_mut().take(most as usize).zip(first..) {
            slot.0 = self.pool.peek(block);
            if !self.pool.can_write(slot.0) {
                break;
            }
            len = len.wrapping_add(1);
        }
        let run = run.get_mut(..len as usize).unwrap_or_default();
        if run.len() < 2 {
            return Ok(0);
        }
        for ((at, crc), block) in run.iter_mut().zip(first..) {
            *crc = node::seal(self.pool.page_mut(*at), ground.volume_id(), block);
        }
        let mut pages: [&[u8]; RUN] = [&[]; RUN];
        for (page, (at, _)) in pages.iter_mut().zip(&*run) {
            *page = self.pool.page(*at);
        }
        match ground.write_blocks(first, pages.get(..run.len()).unwrap_or_default()) {
            Ok(()) => {}
            // Where that is the end of all writing, it is told as what it is.
            Err(Fault::Device) if !ground.is_poisoned() => return Ok(0),
            Err(fault) => return Err(fault),
        }
        for ((at, crc), block) in run.iter().zip(first..) {
            self.written(*at, Pointer { block, crc: *crc });
        }
        Ok(len)
    }

    /// Makes all pages on the way dirty, from the root on.
    pub(super) fn dirty_path<G: Ground>(&mut self, ground: &mut G, path: &Path) -> Result<(), Fault> {
        let (mut parent, mut index) = (NONE, 0);
        for turn in path {
            self.dirty_page(ground, turn.frame, parent, index)?;
            (parent, index) = (turn.frame, turn.index);
        }
        Ok(())
    }

    /// Makes a page dirty: child `index` of `parent`, which is dirty. If what the device has of it is published, it will be
    /// written to another block.
    pub(super) fn dirty_page<G: Ground>(
        &mut self,
        ground: &mut G,
        at: u32,
        parent: u32,
        index: u32,
    ) -> Result<(), Fault> {
        if self.pool.is_dirty(at) {
            return Ok(());
        }
        let generation = ground.generation();
        if node::generation(self.pool.page(at)) != generation {
            let block = ground.allocate()?;
            let old = self.pool.frame(at).block;
            self.pool.rename(at, block);
            node::set_generation(self.pool.page_mut(at), generation);
            let pointer = Pointer { block, crc: 0 };
            if parent == NONE {
                self.root.page = pointer;
            } else {
                node::set_child(self.pool.page_mut(parent), index as usize, pointer);
            }
            ground.free(old, false)?;
        }
        self.pool.set_dirty(at, parent);
        Ok(())
    }

    /// A new page, empty, dirty, pinned and not yet pointed to.
    pub(super) fn new_page<G: Ground>(&mut self, ground: &mut G, level: u8) -> Result<u32, Fault> {
        let block = ground.allocate()?;
        let at = match self.take_frame(ground) {
            Ok(at) => at,
            Err(fault) => {
                ground.free(block, true)?;
                return Err(fault);
            }
        };
        node::init(self.pool.page_mut(at), level, ground.generation());
        self.pool.enter(at, block);
        self.pool.set_dirty(at, NONE);
        self.pool.pin(at);
        self.count_page(level, true);
        Ok(at)
    }

    /// A page that nothing points to any more, and its block, are free.
    pub(super) fn drop_page<G: Ground>(&mut self, ground: &mut G, at: u32) -> Result<(), Fault> {
        let page = self.pool.page(at);
        let (level, fresh) = (node::level(page), node::generation(page) == ground.generation());
        let block = self.pool.frame(at).block;
        self.pool.set_clean(at);
        self.pool.leave(at);
        self.count_page(level, false);
        ground.free(block, fresh)
    }

    /// What this page points to has it as its parent from now on.
    pub(super) fn adopt_children(&mut self, at: u32) {
        if node::level(self.pool.page(at)) == 0 {
            return;
        }
        for i in 0..node::count(self.pool.page(at)) {
            let child = node::child(self.pool.page(at), i).unwrap_or_default();
            let child = self.pool.peek(child.block);
            self.pool.set_parent(child, at);
        }
    }
}

/// So many pages are written in one call, at most.
const RUN: usize = 32;

/// So many blocks are tried for one page.
const TRIES: u32 = 4;

/// Writes a page to its block or, if that can't be erased or written any more, to another one, which is then `block`. Returns
/// the checksum.
pub(super) fn write_anywhere<G: Ground>(
    ground: &mut G,
    page: &mut [u8],
    block: &mut u32,
) -> Result<u32, Fault> {
    let mut tries = TRIES;
    loop {
        let crc = node::seal(page, ground.volume_id(), *block);
        let done = ground.write_block(*block, page);
        tries = tries.wrapping_sub(1);
        match done {
            Ok(()) => return Ok(crc),
            Err(Fault::Device) if tries != 0 => {}
            Err(fault) => return Err(fault),
        }
        match ground.allocate() {
            Ok(other) => ground.retire(core::mem::replace(block, other)),
            Err(_) => return Err(Fault::Device),
        }
    }
}
