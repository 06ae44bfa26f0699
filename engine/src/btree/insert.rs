//! Something new into a page; where there is no room, the page is split, and its parent gets something new.

use super::change::Outcome;
use super::tree::{Path, Tree, Turn};
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
            if let Item::Pair(cell) = item
                && self.shift(ground, path, &mut at, cell)?
            {
                outcome.effect.borrowed = outcome.effect.borrowed.wrapping_add(1);
                item = Item::Shifted(cell);
                continue;
            }
            split = true;
            let right = self.split(ground, path, frame, at, &item)?;
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

    /// Before a leaf is split: evens it out with a neighbour that is in the pool and has room. So random inserts fill leaves to
    /// four fifths instead of two thirds, and no device operation is spent on it. The way then leads to the leaf that the
    /// new pair belongs to, and `at` is its place there. Whether that was done.
    fn shift<G: Ground>(
        &mut self,
        ground: &mut G,
        path: &mut Path,
        at: &mut usize,
        cell: &Cell<'_>,
    ) -> Result<bool, Fault> {
        let depth = path.len().wrapping_sub(1);
        let Some(Turn { frame, .. }) = path.last().copied() else { return Ok(false) };
        let above = Self::above(path, depth);
        let parent = self.pool.page(above.frame);
        let size = parent.len();
        let last = above.index as usize >= node::count(parent).wrapping_sub(1);
        let ascends = last && *at >= node::count(self.pool.page(frame));
        // The neighbour's new key must have room above it, whatever it is.
        if above.frame == NONE || ascends || node::room(parent) < node::max_cell(size) / 2 {
            return Ok(false);
        }
        let mut found = None;
        let mut least = node::usable(size).wrapping_mul(2).wrapping_sub(node::usable(size) / 8);
        for beside in [above.index.wrapping_sub(1), above.index.wrapping_add(1)] {
            let Some(child) = node::child(self.pool.page(above.frame), beside as usize) else { continue };
            let sibling = self.pool.peek(child.block);
            let used = node::used(self.pool.page(sibling)).wrapping_add(node::used(self.pool.page(frame)));
            let used = used.wrapping_add(cell.size().wrapping_mul(2));
            if sibling != NONE && used < least {
                (found, least) = (Some((beside, sibling)), used);
            }
        }
        let Some((beside, sibling)) = found else { return Ok(false) };
        self.dirty_page(ground, sibling, above.frame, beside)?;
        let to_left = beside < above.index;
        let (left, right) = if to_left { (sibling, frame) } else { (frame, sibling) };
        let right_index = above.index.max(beside) as usize;
        self.even_out(left, right);
        self.pool.pin(right);
        let len = self.separator_len(left, right);
        node::remove(self.pool.page_mut(above.frame), right_index);
        self.insert_item(above.frame, right_index, &Item::Page(right, len));
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

    /// Moves cells between two neighbours that don't fit on one page, so that both are filled alike.
    pub(super) fn even_out(&mut self, left: u32, right: u32) {
        let (first, second, scratch) = self.pool.pages_and_scratch(left, right);
        let before = node::count(first);
        let even = node::even_point(first, second);
        if even > before {
            node::move_cells(second, 0, even.wrapping_sub(before), first, scratch);
            self.adopt_children(left);
        } else {
            node::move_cells(first, even, before, second, scratch);
            self.adopt_children(right);
        }
    }

    /// Splits a page and puts the item into one of the halves. Returns the right one, pinned.
    fn split<G: Ground>(
        &mut self,
        ground: &mut G,
        path: &Path,
        frame: u32,
        at: usize,
        item: &Item<'_>,
    ) -> Result<u32, Fault> {
        let level = node::level(self.pool.page(frame));
        let right = self.new_page(ground, level)?;
        // At the right edge of the tree keys that ascend fill pages whole.
        let above = path.len().wrapping_sub(1);
        let at_edge = path
            .iter()
            .take(above)
            .all(|turn| turn.index as usize >= node::count(self.pool.page(turn.frame)).wrapping_sub(1));
        let size = self.item_size(item);
        let page = self.pool.page(frame);
        let cut = node::split_point(page, at, size, at_edge);
        let stay = if cut > at { cut.wrapping_sub(1) } else { cut };
        let count = node::count(page);
        let (page, other, scratch) = self.pool.pages_and_scratch(frame, right);
        node::move_cells(page, stay, count, other, scratch);
        self.adopt_children(right);
        if cut > at {
            self.insert_item(frame, at, item);
        } else {
            self.insert_item(right, at.wrapping_sub(cut), item);
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

    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn item_size(&self, item: &Item<'_>) -> usize {
        match *item {
            Item::Pair(cell) | Item::Shifted(cell) => cell.size(),
            Item::Page(child, len) => {
                let key = node::key(self.pool.page(child), 0);
                let key = key.get(..len).unwrap_or(key);
                Cell::Child { key, child: Pointer::default() }.size()
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
