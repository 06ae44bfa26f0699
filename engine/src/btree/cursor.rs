//! From pair to pair, in both directions.
//!
//! A cursor keeps the key it stands at, and where that was when it was last there. While nothing has changed, the next pair is
//! the next cell. Otherwise, and at the end of a leaf, it goes down from the root again: pages have no pointers to their
//! neighbours, which would have to be written anew with each of them.

use core::ops::Bound;

use super::tree::{Path, Tree};
use crate::codec::SMALL;
use crate::index::{Ground, Hint, Place};
use crate::node::{self, Value};
use crate::pool::NONE;
use crate::volume::Fault;

impl Tree<'_> {
    /// See [`Index::step`](crate::index::Index::step). At most two ways down, most often none.
    pub(super) fn step<G: Ground>(
        &mut self,
        ground: &mut G,
        place: &mut Place,
        key: &mut [u8],
        forward: bool,
        out: &mut [u8],
    ) -> Result<Option<usize>, Fault> {
        if place.changes == self.root.changes && !place.ended {
            if let Some((frame, next)) = self.beside(place.hint, forward) {
                let above = place.above;
                return self.read_pair(ground, place, key, (frame, next), above, out).map(Some);
            }
            // At its end the next leaf, if the page above is still there and has one: that is half of the way down from the
            // root. A leaf that has gone meanwhile says nothing of where its end was.
            if !SMALL
                && place.hint.frame != NONE
                && self.pool.frame(place.hint.frame).block == place.hint.block
                && let Some((frame, next)) = self.beside(place.above, forward)
                && let Some(child) = node::child(self.pool.page(frame), next)
                && let Ok(leaf) = self.fetch(ground, child, 0)
                && let Some(cell) =
                    if forward { Some(0) } else { node::count(self.pool.page(leaf)).checked_sub(1) }
                && cell < node::count(self.pool.page(leaf))
                && self.pool.frame(frame).block == place.above.block
            {
                let above = Hint { cell: next as u32, ..place.above };
                return self.read_pair(ground, place, key, (leaf, cell), above, out).map(Some);
            }
        }
        while !place.ended && !self.is_empty() {
            let mut path = Path::new();
            let found = self.seek(ground, &mut path, place, key, forward);
            let read = match found {
                Ok(Some(pair)) => {
                    let above = if SMALL { Hint::NONE } else { self.hint_above(&path) };
                    self.read_pair(ground, place, key, pair, above, out).map(Some)
                }
                Ok(None) => {
                    self.next_leaf(&path, place, key, forward);
                    Ok(None)
                }
                Err(fault) => Err(fault),
            };
            self.release(&path);
            if !matches!(read, Ok(None)) {
                return read;
            }
        }
        Ok(None)
    }

    /// The page above the leaf that a way ends at, and where that is in it.
    fn hint_above(&self, path: &Path) -> Hint {
        let above = Self::above(path, path.len().wrapping_sub(1));
        Hint { frame: above.frame, block: self.pool.frame(above.frame).block, cell: above.index }
    }

    /// See [`Index::skip`](crate::index::Index::skip).
    pub(super) fn skip<G: Ground>(
        &mut self,
        ground: &mut G,
        place: &mut Place,
        key: &mut [u8],
        forward: bool,
    ) -> Result<(), Fault> {
        if self.is_empty() {
            place.ended = true;
            return Ok(());
        }
        let mut path = Path::new();
        match self.seek(ground, &mut path, place, key, forward) {
            // The page is good: it is the value that is not.
            Ok(Some((leaf, i))) => {
                place.go_to(Bound::Excluded(()), node::key(self.pool.page(leaf), i), key);
            }
            _ => self.next_leaf(&path, place, key, forward),
        }
        self.release(&path);
        Ok(())
    }

    /// The pair that comes next from a place, if it is in the leaf that the place leads to.
    fn seek<G: Ground>(
        &mut self,
        ground: &mut G,
        path: &mut Path,
        place: &Place,
        key: &[u8],
        forward: bool,
    ) -> Result<Option<(u32, usize)>, Fault> {
        // Before the first key: the empty one is less than all.
        let key = key.get(..place.len).unwrap_or_default();
        self.descend(ground, path, &|page| match place.bound {
            Bound::Unbounded if !forward => node::count(page).saturating_sub(1),
            Bound::Excluded(()) if !forward => {
                let i = node::child_index(page, key);
                if node::key(page, i) == key { i.saturating_sub(1) } else { i }
            }
            _ => node::child_index(page, key),
        })?;
        let Some(leaf) = path.last().map(|turn| turn.frame) else { return Ok(None) };
        let page = self.pool.page(leaf);
        let count = node::count(page);
        let found = match place.bound {
            Bound::Unbounded if !forward => count.checked_sub(1),
            bound => match (node::search(page, key), bound == Bound::Included(()), forward) {
                (Ok(i), true, _) | (Err(i), _, true) => Some(i),
                (Ok(i), false, true) => i.checked_add(1),
                (Ok(i) | Err(i), _, false) => i.checked_sub(1),
            },
        };
        Ok(found.filter(|i| *i < count).map(|i| (leaf, i)))
    }

    /// Moves to the key at which the leaves beside this way begin, or end.
    fn next_leaf(&mut self, path: &Path, place: &mut Place, key: &mut [u8], forward: bool) {
        for turn in path.iter().rev() {
            let page = self.pool.page(turn.frame);
            let index = turn.index as usize;
            if node::level(page) == 0 {
                continue;
            }
            if forward && index.wrapping_add(1) < node::count(page) {
                return place.go_to(Bound::Included(()), node::key(page, index.wrapping_add(1)), key);
            }
            if !forward && index > 0 {
                return place.go_to(Bound::Excluded(()), node::key(page, index), key);
            }
        }
        place.ended = true;
    }

    /// The cell before or behind one, if the page of that is still in its frame and has one.
    #[cfg_attr(not(target_pointer_width = "32"), inline)]
    fn beside(&self, hint: Hint, forward: bool) -> Option<(u32, usize)> {
        let next = if forward { hint.cell.checked_add(1) } else { hint.cell.checked_sub(1) }? as usize;
        let there = self.pool.frame(hint.frame).block == hint.block;
        (there && next < node::count(self.pool.page(hint.frame))).then_some((hint.frame, next))
    }

    #[cfg_attr(not(target_pointer_width = "32"), inline)]
    fn read_pair<G: Ground>(
        &mut self,
        ground: &mut G,
        place: &mut Place,
        key: &mut [u8],
        (leaf, i): (u32, usize),
        above: Hint,
        out: &mut [u8],
    ) -> Result<usize, Fault> {
        let page = self.pool.page(leaf);
        // Mostly this, with one look at the cell.
        let inline = match node::pair(page, i) {
            Some((found, Value::Inline(bytes))) => out.get_mut(..bytes.len()).map(|out| (found, bytes, out)),
            _ => None,
        };
        let len = if let Some((found, bytes, out)) = inline {
            out.copy_from_slice(bytes);
            place.go_to(Bound::Excluded(()), found, key);
            bytes.len()
        } else {
            let (len, _) = self.copy_value(ground, leaf, i, out)?;
            place.go_to(Bound::Excluded(()), node::key(self.pool.page(leaf), i), key);
            len
        };
        place.hint = Hint { frame: leaf, block: self.pool.frame(leaf).block, cell: i as u32 };
        place.above = above;
        place.changes = self.root.changes;
        Ok(len)
    }
}
