//! Pages between the pool and the device: in, proved; changed, under a new block; and out, from the leaves up.

use super::tree::{Path, Tree};
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
        let (old, parent) = (self.pool.frame(at).block, self.pool.frame(at).parent);
        let mut block = old;
        let crc = write_anywhere(ground, self.pool.page_mut(at), &mut block)?;
        if block != old {
            self.pool.rename(at, block);
        }
        self.pool.state.info.written = self.pool.state.info.written.wrapping_add(1);
        self.pool.set_clean(at);
        let pointer = Pointer { block, crc };
        if parent == NONE {
            self.root.page = pointer;
            return Ok(());
        }
        let page = self.pool.page_mut(parent);
        for i in 0..node::count(page) {
            if node::child(page, i).is_some_and(|child| child.block == old) {
                node::set_child(page, i, pointer);
                break;
            }
        }
        Ok(())
    }

    /// Writes at most so many dirty pages; whether none is left.
    pub(super) fn write_dirty<G: Ground>(&mut self, ground: &mut G, pages: u32) -> Result<bool, Fault> {
        for _ in 0..pages {
            let Some(at) = self.pool.next_dirty() else { break };
            self.write_page(ground, at)?;
        }
        Ok(self.pool.state.info.dirty == 0)
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
