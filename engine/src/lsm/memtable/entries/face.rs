//! The face that the rest of the tree sees.

use core::ops::Bound;

use super::{Entries, MIN_CHUNKS};
use crate::index::Ground;
use crate::lsm::memtable::{At, Kind, Memtable, Record};
use crate::lsm::value::Value;
use crate::volume::{Division, Fault};

impl Kind for Entries {
    const IN_LOG: bool = false;
    const FRAMES: usize = 6;

    fn new() -> Self {
        Self::NEW
    }

    fn least(page: usize, _: &Division) -> usize {
        page.saturating_mul(MIN_CHUNKS)
    }

    fn divide(table: &mut Memtable<'_, Self>, page: usize, _: &Division) -> Result<(), &'static str> {
        table.divide(page);
        Ok(())
    }

    fn clear(table: &mut Memtable<'_, Self>) {
        *table.state = Self { size: table.state.size, total: table.state.total, ..Self::NEW };
    }

    fn len(&self) -> u32 {
        self.entries
    }

    fn room(&self) -> (u32, u32) {
        (self.used, self.total)
    }

    fn growth(&self) -> u32 {
        self.used
    }

    fn part(&self, _: u32) -> u32 {
        self.size as u32
    }

    fn long(&self) -> usize {
        self.long
    }

    fn unused(&self) -> u32 {
        self.total.wrapping_sub(self.fresh)
    }

    fn lent(&self) -> u32 {
        self.lent
    }

    fn lend(&mut self, chunks: u32) {
        self.lent = chunks;
    }

    fn has_room(&self) -> bool {
        self.has_chunk()
    }

    fn insert<G: Ground>(
        table: &mut Memtable<'_, Self>,
        _: &mut G,
        key: &[u8],
        value: Option<Value<'_>>,
        _: bool,
        offset: u64,
    ) -> Result<bool, Fault> {
        Ok(table.insert(key, value, offset))
    }

    fn find<G: Ground>(table: &mut Memtable<'_, Self>, _: &mut G, key: &[u8]) -> Result<Option<At>, Fault> {
        Ok(table.find(key))
    }

    fn seek<G: Ground>(
        table: &mut Memtable<'_, Self>,
        _: &mut G,
        bound: Bound<&[u8]>,
        forward: bool,
    ) -> Result<Option<At>, Fault> {
        Ok(table.seek(bound, forward))
    }

    fn step(table: &Memtable<'_, Self>, at: At, forward: bool) -> Option<At> {
        table.step(at, forward)
    }

    fn load<G: Ground>(_: &mut Memtable<'_, Self>, _: &mut G, _: At) -> Result<(), Fault> {
        Ok(())
    }

    fn record<'a>(table: &'a Memtable<'_, Self>, at: At) -> Option<Record<'a>> {
        table.entry(at)
    }

    fn mark(table: &mut Memtable<'_, Self>, at: At) {
        table.mark(at);
    }

    fn drop_merged(table: &mut Memtable<'_, Self>) {
        table.settle(true);
    }

    fn unmark(table: &mut Memtable<'_, Self>) {
        table.settle(false);
    }

    fn lowest(table: &mut Memtable<'_, Self>) -> Option<u64> {
        table.lowest()
    }
}
