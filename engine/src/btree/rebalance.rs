//! Where little is left in a page, it takes from a neighbour, or both become one.

use super::change::Outcome;
use super::insert::Item;
use super::tree::{Path, Tree, Turn};
use crate::index::Ground;
use crate::node;
use crate::pool::{NO_BLOCK, NONE};
use crate::volume::Fault;

impl Tree<'_> {
    /// Sees to it that the last page of the way, and those above it that this changes, are filled as they must be. The way is
    /// dirty. A neighbour that can't be read is left alone: then the page stays as empty as it is.
    pub(super) fn rebalance<G: Ground>(
        &mut self,
        ground: &mut G,
        path: &mut Path,
        outcome: &mut Outcome<'_>,
    ) -> Result<(), Fault> {
        loop {
            let depth = path.len().wrapping_sub(1);
            let Some(Turn { frame, .. }) = path.last().copied() else { return Ok(()) };
            if depth == 0 {
                return self.lower_root(ground, path, outcome);
            }
            let page = self.pool.page(frame);
            let (level, size) = (node::level(page), page.len());
            if node::used(page) >= node::min_used(size) {
                return Ok(());
            }
            let above = Self::above(path, depth);
            if node::count(self.pool.page(above.frame)) < 2 {
                // An only child, at the right edge. Its parent needs a neighbour more than it does itself.
                self.pool.unpin(frame);
                path.pop();
                continue;
            }
            // The one to the left; the first has only one to the right.
            let right_index = above.index.max(1);
            let beside = if above.index == 0 { 1 } else { above.index.wrapping_sub(1) };
            let sibling = self.sibling(ground, above.frame, beside, level)?;
            if sibling == NONE {
                return Ok(());
            }
            self.dirty_page(ground, sibling, above.frame, beside)?;
            let (left, right) = if beside < above.index { (sibling, frame) } else { (frame, sibling) };
            self.pool.unpin(frame);
            path.pop();
            let (first, second) = (self.pool.page(left), self.pool.page(right));
            if node::used(first).wrapping_add(node::used(second)) <= node::usable(size) {
                let all = node::count(first).wrapping_add(node::count(second));
                self.divide(left, right, all);
                node::remove(self.pool.page_mut(above.frame), right_index as usize);
                self.drop_page(ground, right)?;
                outcome.effect.merged = outcome.effect.merged.wrapping_add(1);
                continue;
            }
            let even = node::even_point(first, second, 0, 0);
            self.divide(left, right, even);
            outcome.effect.borrowed = outcome.effect.borrowed.wrapping_add(1);
            let len = self.separator_len(left, right);
            node::remove(self.pool.page_mut(above.frame), right_index as usize);
            // Until it has its place again, under its new key, nothing points to the right one.
            self.pool.pin(right);
            self.place(ground, path, right_index as usize, Item::Page(right, len), outcome)?;
        }
    }

    /// A root with one child gives its place to it; a root without a pair goes.
    fn lower_root<G: Ground>(
        &mut self,
        ground: &mut G,
        path: &mut Path,
        outcome: &mut Outcome<'_>,
    ) -> Result<(), Fault> {
        let Some(Turn { frame, .. }) = path.pop() else { return Ok(()) };
        self.pool.unpin(frame);
        let mut frame = frame;
        loop {
            let page = self.pool.page(frame);
            if node::level(page) == 0 {
                if node::count(page) == 0 {
                    self.root.page.block = NO_BLOCK;
                    self.root.height = 0;
                    self.drop_page(ground, frame)?;
                }
                return Ok(());
            }
            if node::count(page) > 1 {
                return Ok(());
            }
            let child = self.child_of(ground, frame, 0)?;
            self.root.page = child;
            self.root.height = self.root.height.wrapping_sub(1);
            outcome.effect.collapsed = true;
            let below = self.pool.peek(child.block);
            self.pool.set_parent(below, NONE);
            self.drop_page(ground, frame)?;
            if below == NONE {
                return Ok(());
            }
            frame = below;
        }
    }
}
