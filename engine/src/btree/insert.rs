//! Something new into a page; where there is no room, the page is split, and its parent gets something new.

use super::change::Outcome;
use super::tree::{MAX_PAGE, Path, Tree, Turn};
use crate::codec::SMALL;
use crate::index::Ground;
use crate::node::{self, Cell, Pointer};
use crate::pool::NONE;
use crate::volume::Fault;

/// What is put into a page.
#[derive(Clone, Copy)]
pub(super) enum Item<'a> {
    /// A pair, into a leaf.
    Pair(&'a Cell<'a>),
    /// The same, after a neighbour has made room.
    Shifted(&'a Cell<'a>),
    /// A pinned page that nothing points to, into one above it, under so many bytes of its first key.
    Page(u32, usize),
}

impl Item<'_> {
    /// Bytes that it takes in a page.
    fn size(&self) -> usize {
        match *self {
            Self::Pair(cell) | Self::Shifted(cell) => cell.size(),
            Self::Page(_, len) => node::child_size(len),
        }
    }
}

impl Tree<'_> {
    /// Puts an item before cell `at` of the last page of the way, and splits what must be split from there up. If anything
    /// was, then the way is no longer one, and ends before it begins. The way is dirty.
    pub(super) fn place<G: Ground>(
        &mut self,
        ground: &mut G,
        path: &mut Path,
        mut at: usize,
        mut item: Item<'_>,
        outcome: &mut Outcome<'_>,
    ) -> Result<(), Fault> {
        let mut split = false;
        while let Some(Turn { frame, .. }) = path.last().copied() {
            if self.insert_item(frame, at, &item) {
                if split {
                    self.release(path);
                    path.clear();
                }
                break;
            }
            // Small images do without: this is a kilobyte of code. Their leaves are filled to two thirds.
            let mut beside = [NONE; 2];
            if !SMALL && let Item::Pair(cell) = item {
                beside = self.siblings(ground, path, at)?;
                if self.shift(ground, path, &mut at, cell, beside)? {
                    outcome.effect.borrowed = outcome.effect.borrowed.wrapping_add(1);
                    item = Item::Shifted(cell);
                    continue;
                }
            }
            split = true;
            let right = self.split(ground, path, frame, at, &item, beside)?;
            outcome.effect.splits = outcome.effect.splits.wrapping_add(1);
            let len = self.separator_len(frame, right);
            let page = self.pool.page(right);
            (outcome.promoted)(node::level(page), node::key(page, 0).get(..len).unwrap_or_default());
            self.pool.unpin(frame);
            path.pop();
            match path.last() {
                Some(above) => at = (above.index as usize).wrapping_add(1),
                None => {
                    outcome.effect.grown = true;
                    self.grow(ground, frame, right, len)?;
                }
            }
            item = Item::Page(right, len);
        }
        Ok(())
    }

    /// The neighbours of the leaf at the end of the way, left and right; none, if cells must not be moved over: at the right edge,
    /// when keys ascend. Two reads at most.
    fn siblings<G: Ground>(&mut self, ground: &mut G, path: &Path, at: usize) -> Result<[u32; 2], Fault> {
        let Some(Turn { frame, .. }) = path.last().copied() else { return Ok([NONE; 2]) };
        let above = Self::above(path, path.len().wrapping_sub(1));
        if self.is_last(&above) && at >= node::count(self.pool.page(frame)) {
            return Ok([NONE; 2]);
        }
        let left = self.sibling(ground, above.frame, above.index.wrapping_sub(1), 0)?;
        self.pool.pin(left);
        let right = self.sibling(ground, above.frame, above.index.wrapping_add(1), 0);
        self.pool.unpin(left);
        Ok([left, right?])
    }

    /// Whether a way goes on with the last child of a page.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn is_last(&self, turn: &Turn) -> bool {
        (turn.index as usize).wrapping_add(1) >= node::count(self.pool.page(turn.frame))
    }

    /// Child `index` of a page, if there is one and it can be read.
    pub(super) fn sibling<G: Ground>(
        &mut self,
        ground: &mut G,
        above: u32,
        index: u32,
        level: u8,
    ) -> Result<u32, Fault> {
        let Some(pointer) = node::child(self.pool.page(above), index as usize) else { return Ok(NONE) };
        match self.fetch(ground, pointer, level) {
            // Where nothing may be written, memory must do for all that changes.
            Err(Fault::Memory) if ground.is_read_only() => Ok(NONE),
            Err(Fault::Damaged | Fault::Device) if !ground.is_poisoned() => Ok(NONE),
            fetched => fetched,
        }
    }

    /// Evens two neighbours out, if both are there, don't fit on one page, and the right one, which is child `index` of `above`,
    /// has room there for its new key. Whether that was done. One is the neighbour of a dirty page, and becomes dirty.
    /// `new`: place and size of a cell that will come, as in [`even_point`](node::even_point).
    fn level_out<G: Ground>(
        &mut self,
        ground: &mut G,
        above: u32,
        index: u32,
        left: u32,
        right: u32,
        new: (usize, usize),
    ) -> Result<bool, Fault> {
        if left == NONE || right == NONE {
            return Ok(false);
        }
        let (first, second, parent) = (self.pool.page(left), self.pool.page(right), self.pool.page(above));
        let used = node::used(first).wrapping_add(node::used(second));
        let even = node::even_point(first, second, new.0, new.1);
        let key = match even.checked_sub(node::count(first)) {
            None => node::key(first, even),
            Some(even) => node::key(second, even),
        };
        if used <= node::usable(parent.len()) || node::child_size(key.len()) > node::room(parent) {
            return Ok(false);
        }
        self.dirty_page(ground, left, above, index.wrapping_sub(1))?;
        self.dirty_page(ground, right, above, index)?;
        if !self.divide(left, right, even) {
            return Ok(false);
        }
        let len = self.separator_len(left, right);
        node::remove(self.pool.page_mut(above), index as usize);
        self.pool.pin(right);
        self.insert_item(above, index as usize, &Item::Page(right, len));
        Ok(true)
    }

    /// Before a leaf is split: evens it out with the neighbour that has more room, if that has enough for both to have some once
    /// the new pair is in. The way then leads to the leaf that this belongs to, and `at` is its place there. Whether that was
    /// done.
    fn shift<G: Ground>(
        &mut self,
        ground: &mut G,
        path: &mut Path,
        at: &mut usize,
        cell: &Cell<'_>,
        beside: [u32; 2],
    ) -> Result<bool, Fault> {
        let Some(Turn { frame, .. }) = path.last().copied() else { return Ok(false) };
        let above = Self::above(path, path.len().wrapping_sub(1));
        let used_in = |sibling| match sibling {
            NONE => MAX_PAGE as usize,
            sibling => node::used(self.pool.page(sibling)),
        };
        let page = self.pool.page(frame);
        let [left, right] = beside;
        let (used_left, used_right) = (used_in(left), used_in(right));
        let to_left = used_left < used_right;
        // With room for two more of this size, because halves may differ by one.
        let size = cell.size();
        let own = node::used(page).wrapping_add(size.wrapping_mul(2));
        if used_left.min(used_right).wrapping_add(own) >= node::usable(page.len()).wrapping_mul(2) {
            return Ok(false);
        }
        let (left, right) = if to_left { (left, frame) } else { (frame, right) };
        let right_index = above.index.wrapping_add(u32::from(!to_left));
        let at_both = if to_left { node::count(self.pool.page(left)).wrapping_add(*at) } else { *at };
        if !self.level_out(ground, above.frame, right_index, left, right, (at_both, size))? {
            return Ok(false);
        }
        let right_index = right_index as usize;
        let goes_right = node::key(self.pool.page(above.frame), right_index) <= cell.key();
        let target = if goes_right { right } else { left };
        self.pool.pin(target);
        self.pool.unpin(frame);
        path.pop();
        if let Some(turn) = path.last_mut() {
            turn.index = right_index.wrapping_sub(usize::from(!goes_right)) as u32;
        }
        // There was one more on this way.
        let _ = path.push(Turn { frame: target, index: 0 });
        *at = node::search(self.pool.page(target), cell.key()).unwrap_or_else(|at| at);
        Ok(true)
    }

    /// Moves cells between two neighbours, so that the left one has the first `point` of them. Whether they had room there.
    pub(super) fn divide(&mut self, left: u32, right: u32, point: usize) -> bool {
        let (first, second, scratch) = self.pool.pages_and_scratch(left, right);
        let before = node::count(first);
        if point > before {
            let moved = node::move_cells(second, 0, point.wrapping_sub(before), first, scratch);
            self.adopt_children(left);
            moved
        } else {
            let moved = node::move_cells(first, point, before, second, scratch);
            self.adopt_children(right);
            moved
        }
    }

    /// Splits a page and puts the item into one of the halves. Neighbours that are full, too, then share what they have with
    /// the half beside them: so three pages come of two, or four of three, and all are well filled (Knuth's B*-tree).
    /// Returns the right half, pinned.
    fn split<G: Ground>(
        &mut self,
        ground: &mut G,
        path: &Path,
        frame: u32,
        at: usize,
        item: &Item<'_>,
        beside: [u32; 2],
    ) -> Result<u32, Fault> {
        let level = node::level(self.pool.page(frame));
        for sibling in beside.into_iter().filter(|_| !SMALL) {
            self.pool.pin(sibling);
        }
        let right = self.new_page(ground, level);
        for sibling in beside.into_iter().filter(|_| !SMALL) {
            self.pool.unpin(sibling);
        }
        let right = right?;
        // At the right edge of the tree keys that ascend fill pages whole.
        let above = path.len().wrapping_sub(1);
        let at_edge = path.iter().take(above).all(|turn| self.is_last(turn));
        let size = item.size();
        let page = self.pool.page(frame);
        let cut = node::split_point(page, at, size, at_edge);
        let stay = if cut > at { cut.wrapping_sub(1) } else { cut };
        self.divide(frame, right, stay);
        if cut > at {
            self.insert_item(frame, at, item);
        } else {
            self.insert_item(right, at.wrapping_sub(cut), item);
        }
        if !SMALL {
            let [before, behind] = beside;
            let parent = Self::above(path, above);
            self.level_out(ground, parent.frame, parent.index.wrapping_add(1), right, behind, (0, 0))?;
            self.level_out(ground, parent.frame, parent.index, before, frame, (0, 0))?;
        }
        Ok(right)
    }

    /// A new root above the old one and what was split off it.
    fn grow<G: Ground>(&mut self, ground: &mut G, left: u32, right: u32, len: usize) -> Result<(), Fault> {
        self.pool.pin(left);
        let root = self.new_page(ground, self.root.height);
        self.pool.unpin(left);
        let root = root?;
        let child = Pointer { block: self.pool.frame(left).block, crc: 0 };
        let (page, scratch) = self.pool.page_and_scratch(root);
        node::insert(page, scratch, 0, &Cell::Child { key: &[], child });
        self.pool.set_parent(left, root);
        self.insert_item(root, 1, &Item::Page(right, len));
        self.root.page = Pointer { block: self.pool.frame(root).block, crc: 0 };
        self.root.height = self.root.height.wrapping_add(1);
        self.pool.unpin(root);
        Ok(())
    }

    /// Puts an item into a page, if there is room. A page is then pointed to, and pinned no more.
    fn insert_item(&mut self, frame: u32, at: usize, item: &Item<'_>) -> bool {
        match *item {
            Item::Pair(cell) | Item::Shifted(cell) => {
                let (page, scratch) = self.pool.page_and_scratch(frame);
                node::insert(page, scratch, at, cell)
            }
            Item::Page(child, len) => {
                let pointer = Pointer { block: self.pool.frame(child).block, crc: 0 };
                let (page, below, scratch) = self.pool.pages_and_scratch(frame, child);
                let key = node::key(below, 0);
                let cell = Cell::Child { key: key.get(..len).unwrap_or(key), child: pointer };
                let done = node::insert(page, scratch, at, &cell);
                if done {
                    self.pool.set_parent(child, frame);
                    self.pool.unpin(child);
                }
                done
            }
        }
    }

    /// So many bytes of the first key of the right one of two neighbours tell them apart.
    pub(super) fn separator_len(&self, left: u32, right: u32) -> usize {
        let (left, right) = (self.pool.page(left), self.pool.page(right));
        let first = node::key(right, 0);
        if node::level(right) != 0 {
            return first.len();
        }
        let last = node::key(left, node::count(left).wrapping_sub(1));
        node::separator(last, first).len()
    }
}
