//! A change: a pair in, or out.

use super::overflow;
use super::tree::{Path, SPARE_FRAMES, Tree};
use crate::index::{Effect, Ground, Input, Op, Promoted, untold};
use crate::node::{self, Cell, Value};
use crate::volume::Fault;

/// What a change did, as it goes along.
pub(super) struct Outcome<'a> {
    pub(super) effect: Effect,
    pub(super) promoted: Promoted<'a>,
}

impl Tree<'_> {
    /// See [`Index::apply`](crate::index::Index::apply).
    pub(super) fn apply<G: Ground>(
        &mut self,
        ground: &mut G,
        op: &Op<'_>,
        promoted: Promoted<'_>,
    ) -> Result<Effect, Fault> {
        let before = self.pool.state.info;
        self.check_frames(ground)?;
        self.root.changes = self.root.changes.wrapping_add(1);
        let mut outcome = Outcome { effect: Effect::default(), promoted };
        match op.value {
            Some(value) => self.put(ground, op.key, value, &mut outcome)?,
            None => self.change(ground, op.key, None, &mut outcome)?,
        }
        let after = self.pool.state.info;
        outcome.effect.depth = self.root.height;
        outcome.effect.reads = after.misses.wrapping_sub(before.misses) as u32;
        outcome.effect.writes = after.written.wrapping_sub(before.written) as u32;
        Ok(outcome.effect)
    }

    /// Whether there are frames enough for a change.
    pub(super) fn check_frames<G: Ground>(&self, ground: &mut G) -> Result<(), Fault> {
        let needed = u32::from(self.root.height).wrapping_add(SPARE_FRAMES);
        if self.pool.state.info.frames < needed { Err(ground.too_few_frames(needed)) } else { Ok(()) }
    }

    /// See [`Index::append`](crate::index::Index::append).
    pub(super) fn append<G: Ground>(
        &mut self,
        ground: &mut G,
        key: &[u8],
        value: &[u8],
    ) -> Result<bool, Fault> {
        self.check_frames(ground)?;
        let mut path = Path::new();
        if !self.is_empty() {
            let done = self.descend(ground, &mut path, &|page| node::count(page).saturating_sub(1));
            let leaf = path.last().map_or(crate::pool::NONE, |turn| turn.frame);
            let page = self.pool.page(leaf);
            let last = node::key(page, node::count(page).saturating_sub(1));
            let ascends = key > last;
            self.release(&path);
            done?;
            if !ascends {
                return Ok(false);
            }
        }
        self.root.changes = self.root.changes.wrapping_add(1);
        let mut outcome = Outcome { effect: Effect::default(), promoted: &mut untold };
        self.put(ground, key, Input::Bytes(value), &mut outcome)?;
        Ok(true)
    }

    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn put<G: Ground>(
        &mut self,
        ground: &mut G,
        key: &[u8],
        input: Input<'_>,
        outcome: &mut Outcome<'_>,
    ) -> Result<(), Fault> {
        let size = self.pool.state.page_size();
        let value = match input {
            Input::Bytes(bytes) if overflow::is_inline(size, key.len(), bytes.len()) => Value::Inline(bytes),
            input => {
                let first = self.write_chain(ground, input)?;
                Value::Overflow { len: input.len() as u32, first }
            }
        };
        let done = self.change(ground, key, Some(&Cell::Leaf { key, value }), outcome);
        if let (Err(_), Value::Overflow { first, .. }) = (done, value) {
            self.free_chain(ground, first, input.len())?;
        }
        done
    }

    /// Puts a pair in instead of the one with its key, or, without one, only takes that out.
    fn change<G: Ground>(
        &mut self,
        ground: &mut G,
        key: &[u8],
        cell: Option<&Cell<'_>>,
        outcome: &mut Outcome<'_>,
    ) -> Result<(), Fault> {
        let mut path = Path::new();
        if self.is_empty() {
            if cell.is_none() {
                return Ok(());
            }
            let at = self.new_page(ground, 0)?;
            self.root.page.block = self.pool.frame(at).block;
            self.root.height = 1;
            self.pool.unpin(at);
        }
        let done = self
            .descend(ground, &mut path, &|page| node::child_index(page, key))
            .and_then(|()| self.change_at(ground, &mut path, key, cell, outcome));
        self.release(&path);
        done
    }

    /// The same in the leaf that the way leads to.
    fn change_at<G: Ground>(
        &mut self,
        ground: &mut G,
        path: &mut Path,
        key: &[u8],
        cell: Option<&Cell<'_>>,
        outcome: &mut Outcome<'_>,
    ) -> Result<(), Fault> {
        let Some(leaf) = path.last().map(|turn| turn.frame) else { return Ok(()) };
        let found = node::search(self.pool.page(leaf), key);
        if cell.is_none() && found.is_err() {
            return Ok(());
        }
        self.dirty_path(ground, path)?;
        let counts = &mut self.root.counts;
        let mut old = None;
        let at = match found {
            Ok(at) => {
                outcome.effect.found = true;
                let page = self.pool.page_mut(leaf);
                if let Some(Cell::Leaf { value: Value::Inline(bytes), .. }) = cell
                    && node::replace_inline(page, at, bytes)
                {
                    return Ok(());
                }
                if let Some(Value::Overflow { len, first }) = node::value(page, at) {
                    old = Some((first, len));
                }
                node::remove(page, at);
                counts.pairs = counts.pairs.wrapping_sub(1);
                at
            }
            Err(at) => at,
        };
        if let Some(cell) = cell {
            counts.pairs = counts.pairs.wrapping_add(1);
            self.place(ground, path, at, super::insert::Item::Pair(cell), outcome)?;
        }
        if found.is_ok() {
            self.rebalance(ground, path, outcome)?;
        }
        match old {
            Some((first, len)) => self.free_chain(ground, first, len as usize),
            None => Ok(()),
        }
    }
}
