//! From the root down to a leaf.

use super::tree::{Path, Tree, Turn};
use crate::index::{Found, Ground};
use crate::node::{self, Pointer, Value};
use crate::volume::Fault;

impl Tree<'_> {
    /// Goes to the leaf that a key belongs to, without holding on to pages on the way. As many page reads as the tree is
    /// high on a cold pool, none on a warm one. The tree is not empty.
    fn leaf_of<G: Ground>(&mut self, ground: &mut G, key: &[u8]) -> Result<u32, Fault> {
        let mut pointer = self.root.page;
        let mut level = self.root.height.wrapping_sub(1);
        loop {
            let at = self.fetch(ground, pointer, level)?;
            if level == 0 {
                return Ok(at);
            }
            pointer = self.child_of(ground, at, node::child_index(self.pool.page(at), key))?;
            level = level.wrapping_sub(1);
        }
    }

    /// Child `index` of a page.
    pub(super) fn child_of<G: Ground>(
        &self,
        ground: &mut G,
        at: u32,
        index: usize,
    ) -> Result<Pointer, Fault> {
        match node::child(self.pool.page(at), index) {
            Some(pointer) => Ok(pointer),
            None => Err(ground.damaged(self.pool.frame(at).block)),
        }
    }

    /// Leaf and place of a key; `None`: it has no value.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(super) fn find<G: Ground>(
        &mut self,
        ground: &mut G,
        key: &[u8],
    ) -> Result<Option<(u32, usize)>, Fault> {
        if self.is_empty() {
            return Ok(None);
        }
        let leaf = self.leaf_of(ground, key)?;
        Ok(node::search(self.pool.page(leaf), key).ok().map(|i| (leaf, i)))
    }

    /// See [`Index::get`](crate::index::Index::get).
    pub(super) fn get<G: Ground>(
        &mut self,
        ground: &mut G,
        key: &[u8],
        out: &mut [u8],
    ) -> Result<Option<Found>, Fault> {
        let before = self.pool.state.info.misses;
        let Some((leaf, i)) = self.find(ground, key)? else { return Ok(None) };
        let (len, more) = self.copy_value(ground, leaf, i, out)?;
        let reads = self.pool.state.info.misses.wrapping_sub(before) as u32;
        Ok(Some(Found { len, depth: self.root.height, reads: reads.wrapping_add(more) }))
    }

    /// Copies the value of pair `i` of a leaf to the start of `out`; returns its length and the blocks that were read for it.
    pub(super) fn copy_value<G: Ground>(
        &mut self,
        ground: &mut G,
        leaf: u32,
        i: usize,
        out: &mut [u8],
    ) -> Result<(usize, u32), Fault> {
        match node::value(self.pool.page(leaf), i) {
            Some(Value::Inline(bytes)) => match out.get_mut(..bytes.len()) {
                Some(out) => {
                    out.copy_from_slice(bytes);
                    Ok((bytes.len(), 0))
                }
                None => Err(ground.short(bytes.len())),
            },
            Some(Value::Overflow { len, first }) => match out.get_mut(..len as usize) {
                Some(out) => Ok((len as usize, self.read_chain(ground, first, out)?)),
                None => Err(ground.short(len as usize)),
            },
            None => Err(ground.damaged(self.pool.frame(leaf).block)),
        }
    }

    /// Goes to a leaf, and pins the pages on the way. At each page `choose` says which child; at the leaf it is not asked.
    /// What was pinned is in `path` also after a fault.
    pub(super) fn descend<G: Ground>(
        &mut self,
        ground: &mut G,
        path: &mut Path,
        choose: &dyn Fn(&[u8]) -> usize,
    ) -> Result<(), Fault> {
        let mut pointer = self.root.page;
        let mut level = self.root.height.wrapping_sub(1);
        loop {
            let frame = self.fetch(ground, pointer, level)?;
            self.pool.pin(frame);
            if path.push(Turn { frame, index: 0 }).is_err() {
                self.pool.unpin(frame);
                return Err(ground.damaged(pointer.block));
            }
            if level == 0 {
                return Ok(());
            }
            let index = choose(self.pool.page(frame));
            if let Some(turn) = path.last_mut() {
                turn.index = index as u32;
            }
            pointer = self.child_of(ground, frame, index)?;
            level = level.wrapping_sub(1);
        }
    }

    /// Lets go of the pages on a way.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(super) fn release(&mut self, path: &Path) {
        for turn in path {
            self.pool.unpin(turn.frame);
        }
    }
}
