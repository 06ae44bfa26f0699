//! From pair to pair, over the memtable and all runs.

use core::ops::Bound;

use super::find::{At, Spot, Tables, value_of};
use super::list::Run;
use super::tree::{Tree, copy};
use crate::index::{Ground, Place};
use crate::node;
use crate::volume::Fault;

/// Where the next pair is.
enum Next {
    Memtable(super::memtable::At),
    Run(Spot),
}

impl Tree<'_> {
    /// See [`Index::step`](crate::index::Index::step). A search in the memtable and in each run, for each tombstone on the way
    /// once more.
    pub(super) fn next_pair<G: Ground>(
        &mut self,
        ground: &mut G,
        place: &mut Place,
        memory: &mut [u8],
        forward: bool,
        out: &mut [u8],
    ) -> Result<Option<usize>, Fault> {
        while !place.ended {
            let mut pinned = None;
            let found = self.nearest(ground, place, memory, forward, &mut pinned);
            let read = found.and_then(|next| self.read(ground, next, place, memory, out));
            if let Some(frame) = pinned {
                self.tables.pool.unpin(frame);
            }
            match read? {
                Some(Some(len)) => return Ok(Some(len)),
                Some(None) => {}
                None => place.ended = true,
            }
        }
        Ok(None)
    }

    /// The nearest key, at its newest.
    fn nearest<G: Ground>(
        &mut self,
        ground: &mut G,
        place: &Place,
        memory: &[u8],
        forward: bool,
        pinned: &mut Option<u32>,
    ) -> Result<Option<Next>, Fault> {
        let key = memory.get(..place.len).unwrap_or_default();
        let bound = place.bound.map(|()| key);
        let (key, or_equal) = match bound {
            Bound::Included(key) => (Some(key), true),
            Bound::Excluded(key) => (Some(key), false),
            Bound::Unbounded => (None, true),
        };
        let mut nearest = self.memtable.seek(bound, forward).map(Next::Memtable);
        for number in 0..self.tables.list.runs.len() {
            let run = self.tables.list.run(number);
            let Some(at) = self.tables.seek(ground, run, key, or_equal, forward)? else { continue };
            let spot = self.tables.spot(ground, at)?;
            let found = self.tables.key(spot);
            let is_nearer = match &nearest {
                None => true,
                Some(nearest) => {
                    let other = self.key_of(nearest);
                    if forward { found < other } else { found > other }
                }
            };
            if is_nearer {
                if let Some(frame) = pinned.replace(spot.frame) {
                    self.tables.pool.unpin(frame);
                }
                self.tables.pool.pin(spot.frame);
                nearest = Some(Next::Run(spot));
            }
        }
        Ok(nearest)
    }

    fn key_of(&self, next: &Next) -> &[u8] {
        match next {
            Next::Memtable(at) => self.memtable.record(*at).map(|record| record.key).unwrap_or_default(),
            Next::Run(spot) => self.tables.key(*spot),
        }
    }

    /// Moves to the pair, and copies it out; `Some(None)`: it is a tombstone.
    fn read<G: Ground>(
        &mut self,
        ground: &mut G,
        next: Option<Next>,
        place: &mut Place,
        memory: &mut [u8],
        out: &mut [u8],
    ) -> Result<Option<Option<usize>>, Fault> {
        let Some(next) = next else { return Ok(None) };
        let value = match &next {
            Next::Memtable(at) => self.memtable.record(*at).map(|record| record.value),
            Next::Run(spot) => value_of(self.tables.pool.page(spot.frame), spot.cell),
        };
        let len = match value {
            Some(Some(value)) => Some(copy(ground, value, out, 0, 0)?.len),
            Some(None) => None,
            None => return Err(ground.damaged(0)),
        };
        place.go_to(Bound::Excluded(()), self.key_of(&next), memory);
        Ok(Some(len))
    }

    /// See [`Index::skip`](crate::index::Index::skip). What is damaged ends, in each run, where its next page begins; what other
    /// runs have up to there is passed as well.
    pub(super) fn skip<G: Ground>(
        &mut self,
        ground: &mut G,
        place: &mut Place,
        memory: &mut [u8],
        forward: bool,
    ) -> Result<(), Fault> {
        let mut old = *place;
        for number in 0..self.tables.list.runs.len() {
            let run = self.tables.list.run(number);
            let key = memory.get(..old.len).unwrap_or_default();
            let (key, or_equal) = match old.bound {
                Bound::Included(()) => (Some(key), true),
                Bound::Excluded(()) => (Some(key), false),
                Bound::Unbounded => (None, true),
            };
            let found = self.tables.seek(ground, run, key, or_equal, forward);
            let found = found.and_then(|at| at.map(|at| self.tables.spot(ground, at)).transpose());
            match found {
                Ok(_) => continue,
                Err(Fault::Damaged | Fault::Device) => {}
                Err(fault) => return Err(fault),
            }
            // One piece of damage at a time: those of other runs are met again behind it.
            let mut end = [0; 64];
            let border = self.tables.border(ground, run, key, forward, &mut end)?;
            match border {
                Border::Key(len, bound) => place.go_to(bound, end.get(..len).unwrap_or_default(), memory),
                Border::Long(spot, bound) => place.go_to(bound, self.tables.key(spot), memory),
                Border::None => place.ended = true,
            }
            old = *place;
            if old.ended {
                break;
            }
        }
        Ok(())
    }
}

/// Where what is damaged ends.
enum Border {
    /// At a key of this length, in the buffer.
    Key(usize, Bound<()>),
    /// At this one.
    Long(Spot, Bound<()>),
    /// Nothing is behind it.
    None,
}

impl Tables<'_> {
    /// The cell of a pair, in the pool.
    pub(super) fn spot<G: Ground>(&mut self, ground: &mut G, at: At) -> Result<Spot, Fault> {
        let table = self.list.get(at.table);
        Ok(Spot { frame: self.leaf(ground, &table, at.page)?, cell: at.cell })
    }

    /// Where the damage ends that a search from this key on has met in a run.
    fn border<G: Ground>(
        &mut self,
        ground: &mut G,
        run: Run,
        key: Option<&[u8]>,
        forward: bool,
        memory: &mut [u8],
    ) -> Result<Border, Fault> {
        // By what is in memory: even a first key may be out of reach.
        let wanted = key.map_or(if forward { 0 } else { u64::MAX }, super::list::prefix);
        let mut number = 0;
        while number < run.len && self.list.prefix(run.start.wrapping_add(number)) < wanted {
            number = number.wrapping_add(1);
        }
        // Tables that begin with the same bytes as the key are asked for their first keys.
        while let Some(key) = key
            && number < run.len
            && self.list.prefix(run.start.wrapping_add(number)) == wanted
        {
            let table = self.list.get(run.start.wrapping_add(number));
            let Ok(spot) = self.first_key(ground, &table) else { break };
            if self.key(spot) > key || !forward && self.key(spot) == key {
                break;
            }
            number = number.wrapping_add(1);
        }
        let mut at = number.saturating_sub(1);
        if !forward && key.is_none() {
            at = run.len.saturating_sub(1);
        }
        // The pages that the search may have met: of this table from the key's on, and then those of the next.
        let step = if forward { 1 } else { u32::MAX };
        while at < run.len {
            let table = self.list.get(run.start.wrapping_add(at));
            let Ok(index) = self.index(ground, &table) else {
                return self.beyond(ground, run, at, forward, memory);
            };
            let mut page = match key {
                Some(key) => (node::child_index(self.pool.page(index), key) as u32).max(table.page),
                None if forward => table.page,
                None => table.pages.wrapping_sub(1),
            };
            while page < table.pages && page >= table.page {
                if self.leaf(ground, &table, page).is_err() {
                    let behind = if forward { page.wrapping_add(1) } else { page };
                    if behind >= table.pages
                        || !forward && behind == table.page && table.page == 0 && behind == 0
                    {
                        if !forward {
                            let spot = Spot { frame: self.index(ground, &table)?, cell: 0 };
                            return Ok(Border::Long(spot, Bound::Excluded(())));
                        }
                        return self.beyond(ground, run, at, forward, memory);
                    }
                    let spot = Spot { frame: self.index(ground, &table)?, cell: behind };
                    let bound = if forward { Bound::Included(()) } else { Bound::Excluded(()) };
                    return Ok(Border::Long(spot, bound));
                }
                page = page.wrapping_add(step);
            }
            at = at.wrapping_add(step);
        }
        Ok(Border::None)
    }

    /// The border of a table that can't be read.
    fn beyond<G: Ground>(
        &mut self,
        ground: &mut G,
        run: Run,
        at: u32,
        forward: bool,
        memory: &mut [u8],
    ) -> Result<Border, Fault> {
        let next = if forward { at.wrapping_add(1) } else { at };
        if next >= run.len {
            return Ok(Border::None);
        }
        let table = self.list.get(run.start.wrapping_add(next));
        if forward && let Ok(spot) = self.first_key(ground, &table) {
            return Ok(Border::Long(spot, Bound::Included(())));
        }
        // The first bytes of its first key must do; backwards without the zeros that may only fill them up.
        let prefix = table.prefix.to_be_bytes();
        let zeros = prefix.iter().rev().take_while(|byte| **byte == 0).count();
        let len = prefix.len().saturating_sub(zeros);
        if let (Some(place), Some(prefix)) = (memory.get_mut(..len), prefix.get(..len)) {
            place.copy_from_slice(prefix);
        }
        Ok(Border::Key(len, if forward { Bound::Included(()) } else { Bound::Excluded(()) }))
    }
}
