//! Pages of tables: into the pool, proved; and where in a run a key is.

use core::cmp::Ordering;

use super::builder::page_id;
use super::filter::{self, Hash, LINE, Owner};
use super::list::{List, Run, Table, prefix};
use super::page::{self, Key, Position};
use super::scan::Stand;
use super::value::{Long, Value};
use crate::index::Ground;
use crate::node;
use crate::pool::{NONE, Pool};
use crate::volume::Fault;

/// With less frames than this, a filter's line is read alone instead of its page.
pub(super) const MANY_FRAMES: u32 = 64;

/// The tables at work: what they are, and the pool that their pages go through.
pub(super) struct Tables<'a> {
    pub(super) pool: Pool<'a>,
    pub(super) list: List<'a>,
}

/// A pair of a page in the pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub(super) frame: u32,
    pub(super) position: Position,
}

/// A pair of a run: the table by its number in the list, and the page and the cell in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) table: u32,
    pub(super) page: u32,
    pub(super) cell: u32,
}

impl Tables<'_> {
    fn size(&self) -> usize {
        self.pool.state.page_size()
    }

    /// A frame for another page. All pages here are clean.
    fn take_frame<G: Ground>(&mut self, ground: &mut G) -> Result<u32, Fault> {
        if let Some(at) = self.pool.take_free() {
            return Ok(at);
        }
        let Some(at) = self.pool.victim(true) else {
            return Err(ground.too_few_frames(self.pool.state.info.frames.saturating_add(1)));
        };
        self.pool.state.info.evictions = self.pool.state.info.evictions.wrapping_add(1);
        self.pool.leave(at);
        self.pool.take_free().ok_or(Fault::Full)
    }

    /// Reads a page into the pool. `prove`: its checksum and level; without, any bytes will do.
    fn fetch<G: Ground>(
        &mut self,
        ground: &mut G,
        table: &Table,
        page: u32,
        prove: Option<(u32, u8)>,
    ) -> Result<u32, Fault> {
        let size = self.size();
        let id = page_id(ground, size, table.block, page);
        if let Some(at) = self.pool.find(id) {
            return Ok(at);
        }
        let at = self.take_frame(ground)?;
        let place = page.wrapping_mul(size as u32);
        let read = ground.read_part(table.block, place, self.pool.page_mut(at));
        self.pool.enter(at, id);
        self.pool.state.info.misses = self.pool.state.info.misses.wrapping_add(1);
        let bytes = self.pool.page(at);
        let sound = match prove {
            Some((crc, level)) => {
                node::is_sound(bytes, ground.volume_id(), id, crc) && node::level(bytes) == level
            }
            None => true,
        };
        if read.is_ok() && sound {
            return Ok(at);
        }
        self.pool.leave(at);
        read?;
        Err(ground.damaged(table.block))
    }

    /// The frame with the index page of a table.
    pub(super) fn index<G: Ground>(&mut self, ground: &mut G, table: &Table) -> Result<u32, Fault> {
        self.fetch(ground, table, table.index(), Some((table.crc, 1)))
    }

    /// The frame with a page of pairs.
    pub(super) fn leaf<G: Ground>(&mut self, ground: &mut G, table: &Table, page: u32) -> Result<u32, Fault> {
        let index = self.index(ground, table)?;
        self.leaf_below(ground, table, index, page)
    }

    /// The same, where the frame with the index page is known.
    fn leaf_below<G: Ground>(
        &mut self,
        ground: &mut G,
        table: &Table,
        index: u32,
        page: u32,
    ) -> Result<u32, Fault> {
        match node::child(self.pool.page(index), page as usize) {
            Some(child) if child.block == page => self.fetch(ground, table, page, Some((child.crc, 0))),
            _ => Err(ground.damaged(table.block)),
        }
    }

    /// The number of the page that a pair is on, among all pages.
    pub(super) fn id_of<G: Ground>(&self, ground: &G, at: At) -> u32 {
        let size = self.size();
        page_id(ground, size, self.list.block(at.table), at.page)
    }

    /// Where the first key of a table is that no merge has taken.
    pub(super) fn first_key<G: Ground>(&mut self, ground: &mut G, table: &Table) -> Result<Spot, Fault> {
        if (table.page, table.cell) == (0, 0) {
            let frame = self.index(ground, table)?;
            return Ok(self.in_frame(frame, 0));
        }
        let frame = self.leaf(ground, table, table.page)?;
        Ok(self.in_frame(frame, table.cell))
    }

    /// Where the last key of a table is.
    pub(super) fn last_key<G: Ground>(&mut self, ground: &mut G, table: &Table) -> Result<Spot, Fault> {
        let frame = self.leaf(ground, table, table.pages.wrapping_sub(1))?;
        let last = (page::count(self.pool.page(frame)) as u32).wrapping_sub(1);
        Ok(self.in_frame(frame, last))
    }

    /// A pair of the page in this frame.
    pub(super) fn in_frame(&self, frame: u32, cell: u32) -> Spot {
        Spot { frame, position: page::position(self.pool.page(frame), cell as usize) }
    }

    pub(super) fn key(&self, spot: Spot) -> Key<'_> {
        page::key(self.pool.page(spot.frame), spot.position)
    }

    /// What the pair says: a value, or that the key was deleted.
    pub(super) fn value<G: Ground>(&self, ground: &G, spot: Spot) -> Option<Option<Value<'_>>> {
        match page::value(self.pool.page(spot.frame), spot.position)? {
            Some(Value::Long(long)) => {
                let unit = self.block_of(ground, spot);
                Some(Some(Value::Long(Long { unit, ..long })))
            }
            value => Some(value),
        }
    }

    /// The block that the page of a pair is in.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(super) fn block_of<G: Ground>(&self, ground: &G, spot: Spot) -> u32 {
        let pages = (ground.block_size() as usize).checked_div(self.size()).unwrap_or(1) as u32;
        self.pool.frame(spot.frame).block / pages.max(1)
    }

    /// How many tables of a run begin with this key or a smaller one; with `strictly`, only with a smaller one.
    pub(super) fn begun<G: Ground>(
        &mut self,
        ground: &mut G,
        run: Run,
        key: &[u8],
        strictly: bool,
    ) -> Result<u32, Fault> {
        let wanted = prefix(key);
        let (mut first, mut behind) = (0_u32, run.len);
        while first < behind {
            let middle = first.wrapping_add(behind) / 2;
            let at = run.start.wrapping_add(middle);
            let found = self.list.prefix(at);
            // A short key that does not end in zeros is the least one with these first bytes.
            let least = key.len() <= 8 && key.last() != Some(&0);
            let is_begun = if found == wanted && strictly && least {
                false
            } else if found == wanted {
                let table = self.list.get(at);
                let spot = self.first_key(ground, &table)?;
                match self.key(spot).cmp(key.into()) {
                    Ordering::Equal => !strictly,
                    order => order == Ordering::Less,
                }
            } else {
                found < wanted
            };
            if is_begun {
                first = middle.wrapping_add(1);
            } else {
                behind = middle;
            }
        }
        Ok(first)
    }

    /// Whether the filter of a table lets this key pass.
    pub(super) fn may_have<G: Ground>(
        &mut self,
        ground: &mut G,
        table: &Table,
        hash: Hash,
    ) -> Result<bool, Fault> {
        if table.lines == 0 {
            return Ok(true);
        }
        let number = hash.line(table.lines);
        let owner = Owner { volume_id: ground.volume_id(), block: table.block, generation: table.generation };
        let at = (number as usize).wrapping_mul(LINE);
        let size = self.size();
        let id = page_id(ground, size, table.block, table.pages);
        let mut frame = self.pool.find(id);
        if frame.is_none() && self.pool.state.info.frames >= MANY_FRAMES {
            // A page that can't be read denies nothing.
            let Ok(at) = self.fetch(ground, table, table.pages, None) else { return Ok(true) };
            let lines = self.pool.page_mut(at).get_mut(..(table.lines as usize).wrapping_mul(LINE));
            filter::prove(lines.unwrap_or_default(), owner);
            frame = Some(at);
        }
        if let Some(frame) = frame {
            let line = self.pool.page(frame).get(at..).unwrap_or_default();
            return Ok(filter::may_have_proved(line, hash));
        }
        let mut line = [0; LINE];
        let place = table.pages.wrapping_mul(size as u32).wrapping_add(at as u32);
        if ground.read_part(table.block, place, &mut line).is_err() {
            return Ok(true);
        }
        Ok(filter::may_have(&line, number, owner, hash))
    }

    /// The cell that has this key, in a run.
    pub(super) fn find<G: Ground>(
        &mut self,
        ground: &mut G,
        run: Run,
        key: &[u8],
        hash: Hash,
    ) -> Result<Option<Spot>, Fault> {
        let Some(number) = self.begun(ground, run, key, false)?.checked_sub(1) else { return Ok(None) };
        let table = self.list.get(run.start.wrapping_add(number));
        if !self.may_have(ground, &table, hash)? {
            return Ok(None);
        }
        let index = self.index(ground, &table)?;
        let page = node::child_index(self.pool.page(index), key) as u32;
        let frame = self.leaf_below(ground, &table, index, page)?;
        let (_, position, is_there) = page::search(self.pool.page(frame), key);
        Ok(is_there.then_some(Spot { frame, position }))
    }

    /// The first pair of a run with a key greater than this one, or not less with `or_equal`; backwards, the last one with a
    /// key that is less, or not greater. No key: the first pair, or the last.
    pub(super) fn seek<G: Ground>(
        &mut self,
        ground: &mut G,
        run: Run,
        key: Option<&[u8]>,
        or_equal: bool,
        forward: bool,
    ) -> Result<Option<Stand>, Fault> {
        let Some(key) = key else {
            if run.len == 0 {
                return Ok(None);
            }
            let at = if forward { run.start } else { run.end().wrapping_sub(1) };
            let table = self.list.get(at);
            if forward {
                return Ok(Some(Stand::unread(At { table: at, page: table.page, cell: table.cell })));
            }
            let page = table.pages.wrapping_sub(1);
            let frame = self.leaf(ground, &table, page)?;
            let cell = (page::count(self.pool.page(frame)) as u32).wrapping_sub(1);
            return Ok(Some(Stand { at: At { table: at, page, cell }, spot: self.in_frame(frame, cell) }));
        };
        // Cells up to here are before the place: those with smaller keys, and the one with this key if it is passed, too.
        let strictly = forward == or_equal;
        let Some(near) = self.approach(ground, run, key, strictly)? else {
            // All of the run is behind the place.
            let table = self.list.get(run.start);
            let first = At { table: run.start, page: table.page, cell: table.cell };
            return Ok((forward && run.len != 0).then_some(Stand::unread(first)));
        };
        self.land(ground, run, near, key, strictly, forward)
    }

    /// The page for [`land`](Self::land), in the pool if it is needed. `None`: all of the run is behind the key.
    #[cfg_attr(target_pointer_width = "32", inline(always))]
    pub(super) fn approach<G: Ground>(
        &mut self,
        ground: &mut G,
        run: Run,
        key: &[u8],
        strictly: bool,
    ) -> Result<Option<Stand>, Fault> {
        let Some(number) = self.begun(ground, run, key, strictly)?.checked_sub(1) else { return Ok(None) };
        let at = run.start.wrapping_add(number);
        let table = self.list.get(at);
        let index = self.index(ground, &table)?;
        let page = node::child_index(self.pool.page(index), key) as u32;
        // Where a page begins with the key, it need not be read to know that all before is before.
        let at_border =
            strictly && page > table.page && node::key(self.pool.page(index), page as usize) == key;
        let mut near = Stand::unread(At { table: at, page, cell: 0 });
        if !at_border {
            near.spot.frame = self.leaf_below(ground, &table, index, page)?;
        }
        Ok(Some(near))
    }

    /// The rest of a [search](Self::seek), on its page.
    #[cfg_attr(target_pointer_width = "32", inline(always))]
    pub(super) fn land<G: Ground>(
        &mut self,
        ground: &mut G,
        run: Run,
        near: Stand,
        key: &[u8],
        strictly: bool,
        forward: bool,
    ) -> Result<Option<Stand>, Fault> {
        let (mut place, frame) = (near.at, near.spot.frame);
        if frame != NONE {
            let (cell, position, is_there) = page::search(self.pool.page(frame), key);
            let before = cell.wrapping_add(usize::from(is_there && !strictly));
            place.cell = before as u32;
            if forward && before < page::count(self.pool.page(frame)) {
                let page = self.pool.page(frame);
                let position = if before == cell { position } else { page::next(page, position, before) };
                return Ok(Some(Stand { at: place, spot: Spot { frame, position } }));
            }
        }
        let found = if forward { self.settle(ground, run, place)? } else { self.back(ground, run, place)? };
        Ok(found.map(Stand::unread))
    }

    /// This place, or if it is behind the last pair of a page, the first one of the next.
    pub(super) fn settle<G: Ground>(
        &mut self,
        ground: &mut G,
        run: Run,
        place: At,
    ) -> Result<Option<At>, Fault> {
        let table = self.list.get(place.table);
        let frame = self.leaf(ground, &table, place.page)?;
        if (place.cell as usize) < page::count(self.pool.page(frame)) {
            return Ok(Some(place));
        }
        let page = place.page.wrapping_add(1);
        if page < table.pages {
            return Ok(Some(At { page, cell: 0, ..place }));
        }
        let next = place.table.wrapping_add(1);
        if next >= run.end() {
            return Ok(None);
        }
        let table = self.list.get(next);
        Ok(Some(At { table: next, page: table.page, cell: table.cell }))
    }

    /// The pair before this place.
    pub(super) fn back<G: Ground>(
        &mut self,
        ground: &mut G,
        run: Run,
        place: At,
    ) -> Result<Option<At>, Fault> {
        let mut place = place;
        let mut table = self.list.get(place.table);
        if (place.page, place.cell) <= (table.page, table.cell) {
            if place.table == run.start {
                return Ok(None);
            }
            place.table = place.table.wrapping_sub(1);
            table = self.list.get(place.table);
            place.page = table.pages;
            place.cell = 0;
        }
        if place.cell == 0 {
            place.page = place.page.wrapping_sub(1);
            let frame = self.leaf(ground, &table, place.page)?;
            place.cell = page::count(self.pool.page(frame)) as u32;
        }
        Ok(Some(At { cell: place.cell.wrapping_sub(1), ..place }))
    }
}
