//! From pair to pair, over the memtable and all runs.
//!
//! A page that can't be read is told once, to the step that meets it. [`skip`](Tree::skip) notes it in the place, and from then
//! on the run that it is in goes on behind it, while the memtable and the other runs show what they have. A key that an
//! older run shows there counts only if the filter, or the pages around, say that the damaged page does not have it.

use core::cmp::Ordering;
use core::ops::Bound;

use super::filter::Hash;
use super::find::{At, MANY_FRAMES, Spot, Tables};
use super::list::Run;
use super::memtable::Kind;
use super::page::{self, Key};
use super::scan::{MEMTABLE, Stand};
use super::tree::{Tree, copy};
use crate::codec::SMALL;
use crate::index::{Ground, Hint, Place};
use crate::node;
use crate::volume::Fault;

/// Where the next pair is.
enum Next {
    Memtable(super::memtable::At),
    /// In the run of this number.
    Run(usize, Spot),
}

/// A page that can't be read: the table by its number in the list, and the page in it; [`INDEX`]: its index, so all of it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Damage {
    table: u32,
    page: u32,
}

const INDEX: u32 = u32::MAX;
/// In place of a block: an entry that the log has.
const IN_LOG: u32 = u32::MAX.wrapping_sub(1);
/// Whether this damage was told: a place keeps two blocks, and the first and last page in them that were, where a B-tree keeps
/// its hints. Not 0: bit 0 for the one, bit 1 for the other.
fn is_known(place: &Place, block: u32, page: u32) -> u8 {
    let has = |hint: &Hint| u8::from(hint.frame == block && (hint.block..=hint.cell).contains(&page));
    has(&place.hint) | has(&place.above) << 1
}

fn remember(place: &mut Place, block: u32, page: u32) {
    let hint = &mut place.hint;
    if hint.frame == block && hint.block != INDEX && page != INDEX {
        (hint.block, hint.cell) = (hint.block.min(page), hint.cell.max(page));
        return;
    }
    place.above = place.hint;
    place.hint = Hint { frame: block, block: page, cell: page };
}

impl<M: Kind> Tree<'_, M> {
    /// See [`Index::step`](crate::index::Index::step). Where the [scan](super::scan) leads on, a comparison with the key at which
    /// each run stands; else a search in the memtable and in each run. For each tombstone on the way once more.
    pub(super) fn next_pair<G: Ground>(
        &mut self,
        ground: &mut G,
        place: &mut Place,
        memory: &mut [u8],
        forward: bool,
        out: &mut [u8],
    ) -> Result<Option<usize>, Fault> {
        while !place.ended {
            let (mut pinned, mut passed) = (None, 0);
            let found = self.nearest(ground, place, memory, forward, &mut pinned, &mut passed);
            let read = found.and_then(|next| self.read(ground, next, place, memory, out, passed));
            if let Some(frame) = pinned {
                self.tables.pool.unpin(frame);
            }
            let read = read?;
            self.state.scan.is_known = passed == 0;
            match read {
                Some(Some(len)) => return Ok(Some(len)),
                Some(None) => {}
                None => place.ended = true,
            }
        }
        Ok(None)
    }

    /// The nearest key, at its newest. `passed`: a bit for each run in which damage was passed.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn nearest<G: Ground>(
        &mut self,
        ground: &mut G,
        place: &Place,
        memory: &[u8],
        forward: bool,
        pinned: &mut Option<u32>,
        passed: &mut u32,
    ) -> Result<Option<Next>, Fault> {
        let key = memory.get(..place.len).unwrap_or_default();
        let bound = place.bound.map(|()| key);
        let scan = &mut self.state.scan;
        let leads_on = scan.leads_on(ground, &self.tables, &self.memtable, place, key, forward);
        let before = if leads_on { scan.here } else { 0 };
        // Then no page has gone since.
        let loads = self.tables.pool.loads();
        let is_still = leads_on && scan.loads.first() == Some(&loads);
        // Until this step is done.
        (scan.is_known, scan.forward) = (false, forward);
        scan.memtable = match scan.memtable {
            _ if !leads_on => M::seek(&mut self.memtable, ground, bound, forward)?,
            Some(at) if before & MEMTABLE != 0 => M::step(&self.memtable, at, forward),
            at => at,
        };
        while let Some(at) = scan.memtable
            && let Err(fault) = M::load(&mut self.memtable, ground, at)
        {
            // Behind what is known to be damaged it goes on.
            let is_damage = matches!(fault, Fault::Damaged | Fault::Device);
            if !is_damage || is_known(place, IN_LOG, at.number()) == 0 {
                return Err(fault);
            }
            *passed |= MEMTABLE;
            scan.memtable = M::step(&self.memtable, at, forward);
        }
        let mut nearest = scan.memtable.map(Next::Memtable);
        let mut nearest_head = match &nearest {
            Some(nearest) if !SMALL => self.key_of(nearest).prefix(),
            _ => 0,
        };
        let mut here = MEMTABLE;
        // Not where these pages would drive out each other.
        if !SMALL && !leads_on && self.tables.pool.state.info.frames >= MANY_FRAMES {
            self.approach(ground, bound, forward);
        }
        for number in 0..self.tables.list.runs.len() {
            let bit = 1_u32.wrapping_shl(number as u32);
            let waits = is_still && (before | *passed) & bit == 0;
            // Mostly the first bytes tell that another one is nearer.
            if waits
                && nearest.is_some()
                && let Some(head) = self.state.scan.heads.get(number)
                && if forward { *head > nearest_head } else { *head < nearest_head }
            {
                continue;
            }
            let last = self.state.scan.runs.get(number).copied().flatten();
            let stand = if waits && self.tables.pool.loads() == loads {
                last
            } else {
                let last = if leads_on { Some(last) } else { None };
                let moves = before & bit != 0;
                self.go_on(ground, place, bound, forward, (number, last, moves), passed)?
            };
            if let Some(place) = self.state.scan.runs.get_mut(number) {
                *place = stand;
            }
            let Some(Stand { spot, .. }) = stand else { continue };
            let head = match self.state.scan.heads.get_mut(number) {
                Some(head) if leads_on && (before | *passed) & bit == 0 => *head,
                Some(head) => {
                    *head = self.tables.key(spot).prefix();
                    *head
                }
                None => 0,
            };
            let order = nearest.as_ref().map(|nearest| {
                let order = head.cmp(&nearest_head);
                let order = order.then_with(|| self.tables.key(spot).cmp(self.key_of(nearest)));
                if forward { order } else { order.reverse() }
            });
            if order == Some(Ordering::Equal) {
                here |= bit;
            }
            if matches!(order, None | Some(Ordering::Less)) {
                here = bit;
                if let Some(frame) = pinned.replace(spot.frame) {
                    self.tables.pool.unpin(frame);
                }
                self.tables.pool.pin(spot.frame);
                (nearest, nearest_head) = (Some(Next::Run(number, spot)), head);
            }
        }
        self.state.scan.here = here;
        if let Some(still) = self.state.scan.loads.first_mut() {
            // If one has come in, another may have gone.
            *still = if loads == self.tables.pool.loads() { loads } else { loads.wrapping_sub(1) };
        }
        Ok(nearest)
    }

    /// Where a run of this number stands for this step, its page in the pool. `last`: where it did for the one before, if that is known;
    /// whether it moves on from there.
    #[cfg_attr(not(target_pointer_width = "32"), inline)]
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn go_on<G: Ground>(
        &mut self,
        ground: &mut G,
        place: &Place,
        bound: Bound<&[u8]>,
        forward: bool,
        (number, last, moves): (usize, Option<Option<Stand>>, bool),
        passed: &mut u32,
    ) -> Result<Option<Stand>, Fault> {
        let run = self.tables.list.run(number);
        let mut at = match last {
            None => self.seek_bound(ground, (run, number), bound, forward),
            Some(Some(last)) if moves => self.tables.beside(ground, run, last, forward),
            Some(last) => Ok(last),
        };
        let mut damage = None;
        loop {
            let stand = at.and_then(|at| at.map(|at| self.tables.stand(ground, at)).transpose());
            if !matches!(stand, Err(Fault::Damaged | Fault::Device)) {
                return stand;
            }
            // Behind what is known to be damaged the run goes on.
            damage = self.tables.damage(ground, run, bound, forward, damage);
            let Some(found) = damage else { return stand };
            let block = self.tables.list.get(found.table).block;
            if is_known(place, block, found.page) == 0 {
                return stand;
            }
            *passed |= 1_u32.wrapping_shl(number as u32);
            let next = self.tables.behind(ground, run, found, forward);
            at = Ok(next.map(Stand::unread));
        }
    }

    /// Goes to the page for the search in each run, and reads from all of them at once what each is going to need: a page that was
    /// not used for long is in memory, but not in the processor's caches. What can't be read is met again in the search.
    fn approach<G: Ground>(&mut self, ground: &mut G, bound: Bound<&[u8]>, forward: bool) {
        let (Some(key), or_equal) = key_of_bound(bound) else { return };
        let runs = self.tables.list.runs.len();
        for number in 0..runs {
            let run = self.tables.list.run(number);
            let near = self.tables.approach(ground, run, key, forward == or_equal).ok().flatten();
            if let Some(place) = self.state.scan.runs.get_mut(number) {
                *place = near;
            }
        }
        let near = self.state.scan.runs.iter().take(runs).flatten();
        page::touch_all(near.map(|near| self.tables.pool.page(near.spot.frame)));
    }

    /// See [`Tables::seek`]. Goes on from the page that [`approach`](Self::approach) has found, if it is still there.
    fn seek_bound<G: Ground>(
        &mut self,
        ground: &mut G,
        (run, number): (Run, usize),
        bound: Bound<&[u8]>,
        forward: bool,
    ) -> Result<Option<Stand>, Fault> {
        let (key, or_equal) = key_of_bound(bound);
        if !SMALL
            && self.tables.pool.state.info.frames >= MANY_FRAMES
            && let Some(key) = key
            && let Some(near) = self.state.scan.runs.get(number).copied().flatten()
            && self.tables.stands(ground, near).is_some()
        {
            return self.tables.land(ground, run, near, key, forward == or_equal, forward);
        }
        self.tables.seek(ground, run, key, or_equal, forward)
    }

    fn key_of(&self, next: &Next) -> Key<'_> {
        match next {
            Next::Memtable(at) => {
                self.memtable.record(*at).map(|record| record.key).unwrap_or_default().into()
            }
            Next::Run(_, spot) => self.tables.key(*spot),
        }
    }

    /// Moves to the pair, and copies it out; `Some(None)`: it is a tombstone, or nobody knows whether it counts.
    fn read<G: Ground>(
        &mut self,
        ground: &mut G,
        next: Option<Next>,
        place: &mut Place,
        memory: &mut [u8],
        out: &mut [u8],
        passed: u32,
    ) -> Result<Option<Option<usize>>, Fault> {
        let Some(next) = next else { return Ok(None) };
        let value = match &next {
            Next::Memtable(at) => self.memtable.record(*at).map(|record| record.value),
            Next::Run(_, spot) => self.tables.value(ground, *spot),
        };
        let mut len = match value {
            Some(Some(value)) => Some(copy(ground, value, out, 0, 0)?.len),
            Some(None) => None,
            None => return Err(ground.damaged(0)),
        };
        let (hint, above) = (place.hint, place.above);
        let kept = self.key_of(&next).copy(memory);
        *place = Place { bound: Bound::Excluded(()), len: kept, hint, above, ..Place::START };
        // A newer version may be where nothing can be read.
        if let Next::Run(newest, _) = next
            && passed != 0
        {
            let key = memory.get(..place.len).unwrap_or_default();
            if passed & MEMTABLE != 0 && M::find(&mut self.memtable, ground, key).is_err() {
                len = None;
            }
            for number in 0..newest {
                let run = self.tables.list.run(number);
                if self.tables.find(ground, run, key, Hash::of(key)).is_err() {
                    len = None;
                }
            }
        }
        Ok(Some(len))
    }

    /// See [`Index::skip`](crate::index::Index::skip).
    pub(super) fn skip<G: Ground>(
        &mut self,
        ground: &mut G,
        place: &mut Place,
        memory: &mut [u8],
        forward: bool,
    ) -> Result<(), Fault> {
        let key = memory.get(..place.len).unwrap_or_default();
        let bound = place.bound.map(|()| key);
        let mut fresh = M::seek(&mut self.memtable, ground, bound, forward)?;
        while let Some(at) = fresh
            && M::load(&mut self.memtable, ground, at).is_err()
        {
            if is_known(place, IN_LOG, at.number()) == 0 {
                remember(place, IN_LOG, at.number());
                return Ok(());
            }
            fresh = M::step(&self.memtable, at, forward);
        }
        // More damage in one place than can be remembered: the scan ends rather than to go round in it.
        let mut met = 0;
        for number in 0..self.tables.list.runs.len() {
            let run = self.tables.list.run(number);
            let mut damage = None;
            loop {
                let before = damage;
                damage = self.tables.damage(ground, run, bound, forward, damage);
                let Some(found) = damage.filter(|found| Some(*found) != before) else { break };
                let block = self.tables.list.get(found.table).block;
                let told = is_known(place, block, found.page);
                if told == 0 {
                    place.ended = met == 3 && place.hint.frame != block;
                    remember(place, block, found.page);
                    return Ok(());
                }
                met |= told;
                // Only what the next step would meet.
                let at = self.tables.behind(ground, run, found, forward);
                match at.map(|at| self.tables.spot(ground, at)) {
                    Some(Err(Fault::Damaged | Fault::Device)) => {}
                    _ => break,
                }
            }
        }
        // All pages are good: it is the value that is not.
        let (mut pinned, mut passed) = (None, 0);
        let next = self.nearest(ground, place, memory, forward, &mut pinned, &mut passed);
        if let Ok(Some(next)) = &next {
            let kept = self.key_of(next).copy(memory);
            let (hint, above) = (place.hint, place.above);
            *place = Place { bound: Bound::Excluded(()), len: kept, hint, above, ..Place::START };
        }
        if let Some(frame) = pinned {
            self.tables.pool.unpin(frame);
        }
        next.map(|_| ())
    }
}

/// The key, and whether it is not passed.
fn key_of_bound(bound: Bound<&[u8]>) -> (Option<&[u8]>, bool) {
    match bound {
        Bound::Included(key) => (Some(key), true),
        Bound::Excluded(key) => (Some(key), false),
        Bound::Unbounded => (None, true),
    }
}

impl Tables<'_> {
    /// The same pair, with its page in the pool.
    fn stand<G: Ground>(&mut self, ground: &mut G, stand: Stand) -> Result<Stand, Fault> {
        if let Some(spot) = self.stands(ground, stand) {
            // Or it would be evicted while other runs go on.
            self.pool.touch(spot.frame);
            return Ok(stand);
        }
        Ok(Stand { spot: self.spot(ground, stand.at)?, ..stand })
    }

    /// The cell of a pair, in the pool.
    pub(super) fn spot<G: Ground>(&mut self, ground: &mut G, at: At) -> Result<Spot, Fault> {
        let table = self.list.get(at.table);
        let frame = self.leaf(ground, &table, at.page)?;
        Ok(self.in_frame(frame, at.cell))
    }

    /// The first page from a bound on that can't be read, behind `last`, if that is one already.
    fn damage<G: Ground>(
        &mut self,
        ground: &mut G,
        run: Run,
        bound: Bound<&[u8]>,
        forward: bool,
        last: Option<Damage>,
    ) -> Option<Damage> {
        let (mut at, mut from) = match last {
            Some(Damage { table, page: INDEX }) if forward => (table.wrapping_add(1), None),
            Some(Damage { table, page: INDEX }) => (table.wrapping_sub(1), None),
            Some(Damage { table, page }) => {
                (table, Some(if forward { page.wrapping_add(1) } else { page.wrapping_sub(1) }))
            }
            None => (self.table_of(ground, run, bound, forward), None),
        };
        let mut bound = if last.is_none() { bound } else { Bound::Unbounded };
        while at >= run.start && at < run.end() {
            let table = self.list.get(at);
            let Ok(index) = self.index(ground, &table) else {
                return Some(Damage { table: at, page: INDEX });
            };
            let first = match (from.take(), bound) {
                (Some(page), _) => page,
                (None, Bound::Included(key) | Bound::Excluded(key)) => {
                    let page = (node::child_index(self.pool.page(index), key) as u32).max(table.page);
                    // Backwards, a page that begins with the key is not asked.
                    let begins = !forward
                        && matches!(bound, Bound::Excluded(_))
                        && node::key(self.pool.page(index), page as usize) >= key;
                    if begins { page.wrapping_sub(1) } else { page }
                }
                (None, Bound::Unbounded) if forward => table.page,
                (None, Bound::Unbounded) => table.pages.wrapping_sub(1),
            };
            let mut page = first;
            while page >= table.page && page < table.pages {
                if self.leaf(ground, &table, page).is_err() {
                    return Some(Damage { table: at, page });
                }
                page = if forward { page.wrapping_add(1) } else { page.wrapping_sub(1) };
            }
            bound = Bound::Unbounded;
            at = if forward { at.wrapping_add(1) } else { at.wrapping_sub(1) };
        }
        None
    }

    /// The table in which a search begins, by what can be read of where tables begin.
    fn table_of<G: Ground>(&mut self, ground: &mut G, run: Run, bound: Bound<&[u8]>, forward: bool) -> u32 {
        let key = match bound {
            Bound::Included(key) | Bound::Excluded(key) => key,
            Bound::Unbounded if forward => return run.start,
            Bound::Unbounded => return run.end().wrapping_sub(1),
        };
        let (wanted, mut begun) = (super::list::prefix(key), 0);
        for at in run.start..run.end() {
            let found = self.list.prefix(at);
            let is_begun = found < wanted
                || found == wanted && {
                    let table = self.list.get(at);
                    match self.first_key(ground, &table) {
                        Ok(spot) => self.key(spot).cmp(key.into()) != Ordering::Greater,
                        // Nobody knows: then this is the damage.
                        Err(_) => return at,
                    }
                };
            if !is_begun {
                break;
            }
            begun = at.wrapping_sub(run.start);
        }
        run.start.wrapping_add(begun)
    }

    /// The next place of a run behind a damaged page.
    fn behind<G: Ground>(&mut self, ground: &mut G, run: Run, damage: Damage, forward: bool) -> Option<At> {
        let table = self.list.get(damage.table);
        let next = damage.page.wrapping_add(1);
        if forward && damage.page != INDEX && next < table.pages {
            return Some(At { table: damage.table, page: next, cell: 0 });
        }
        if forward {
            let at = damage.table.wrapping_add(1);
            let table = self.list.get(at);
            return (at < run.end()).then_some(At { table: at, page: table.page, cell: table.cell });
        }
        let inside = damage.page != INDEX && damage.page > table.page;
        let (at, page) = if inside {
            (damage.table, damage.page.wrapping_sub(1))
        } else {
            let at = damage.table.wrapping_sub(1);
            if damage.table <= run.start {
                return None;
            }
            (at, self.list.get(at).pages.wrapping_sub(1))
        };
        let table = self.list.get(at);
        // If it can't be read either, that is found when it is.
        let cells =
            self.leaf(ground, &table, page).map_or(1, |frame| page::count(self.pool.page(frame)) as u32);
        Some(At { table: at, page, cell: cells.wrapping_sub(1) })
    }
}
