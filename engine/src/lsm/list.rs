//! The tables there are, run by run: in lent memory, a record each.

use heapless::Vec;

use crate::codec::{Varints, word_at};

/// No more runs than this at a time.
pub(super) const MAX_RUNS: usize = 16;
/// Bytes of a table's record in memory.
pub(super) const TABLE: usize = 32;

/// A table: a sorted part of a run, in a block of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Table {
    pub(super) block: u32,
    /// Of its index page.
    pub(super) crc: u32,
    /// Of the publish that it was written for: seeds the checksums of its filter.
    pub(super) generation: u32,
    /// Pages of pairs, 255 at most. The page of the filter, if it has one, is behind them, then that of the index.
    pub(super) pages: u32,
    /// Lines of its filter, 255 at most; 0: none.
    pub(super) lines: u32,
    /// What a merge has taken: pages before this one, and on it the cells before that one.
    pub(super) page: u32,
    pub(super) cell: u32,
    /// Operations of the log before this offset, of which these are the low bits, on the keys from its first to its last, are
    /// in it or below it. 0: not known.
    pub(super) merged: u32,
    /// The first two bytes of its last key.
    pub(super) last: u32,
    /// Behind its pages are long values.
    pub(super) has_long: bool,
    /// The first bytes of the first key that is left.
    pub(super) prefix: u64,
}

impl Table {
    /// The number of its index page.
    pub(super) fn index(&self) -> u32 {
        self.pages.wrapping_add(u32::from(self.lines != 0))
    }

    /// Pages of pairs that no merge has taken; where long values are behind them, `most`, as many as there can be.
    pub(super) fn left(&self, most: u32) -> u32 {
        if self.has_long { most } else { self.pages.saturating_sub(self.page) }
    }

    /// Its record. It is read for every step, so no list of fields does both.
    fn write(&self, record: &mut [u8; TABLE]) {
        let (words, prefix) = record.split_at_mut(TABLE - 8);
        let halves = |low: u32, high: u32| low & 0xFFFF | high << 16;
        let values = [
            self.block,
            self.crc,
            self.generation,
            self.merged,
            halves(self.pages | self.lines << 8, self.page | u32::from(self.has_long) << 15),
            halves(self.cell, self.last),
        ];
        for (place, value) in words.as_chunks_mut().0.iter_mut().zip(values) {
            *place = u32::to_le_bytes(value);
        }
        prefix.copy_from_slice(&self.prefix.to_le_bytes());
    }

    /// As the manifest has it.
    pub(super) fn numbers(&mut self, fields: &mut Varints<'_>) {
        let mut pages = self.pages | u32::from(self.has_long) << 8;
        for word in [
            &mut self.block,
            &mut self.crc,
            &mut self.generation,
            &mut pages,
            &mut self.lines,
            &mut self.page,
            &mut self.cell,
            &mut self.merged,
            &mut self.last,
        ] {
            fields.u32(word);
        }
        fields.u64(&mut self.prefix);
        (self.pages, self.has_long) = (pages & 0xFF, pages >> 8 & 1 != 0);
    }

    #[cfg_attr(not(target_pointer_width = "32"), inline)]
    fn read(record: &[u8; TABLE]) -> Self {
        let (counts, cell) = (word_at(record, 16), word_at(record, 20));
        Self {
            block: word_at(record, 0),
            crc: word_at(record, 4),
            generation: word_at(record, 8),
            merged: word_at(record, 12),
            pages: counts & 0xFF,
            lines: counts >> 8 & 0xFF,
            page: counts >> 16 & 0x7FFF,
            has_long: counts >> 31 != 0,
            cell: cell & 0xFFFF,
            last: cell >> 16,
            prefix: record.last_chunk().map_or(0, |prefix| u64::from_le_bytes(*prefix)),
        }
    }
}

/// The first eight bytes of a key, as a number of the same order. Of equal ones the keys themselves decide.
#[inline]
pub(super) fn prefix(key: &[u8]) -> u64 {
    match key.first_chunk() {
        Some(head) => u64::from_be_bytes(*head),
        None => {
            let mut head = [0; 8];
            for (place, byte) in head.iter_mut().zip(key) {
                *place = *byte;
            }
            u64::from_be_bytes(head)
        }
    }
}

/// Tables in the order of their keys, none of which is in two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Run {
    pub(super) level: u8,
    /// Where its tables begin in the list.
    pub(super) start: u32,
    pub(super) len: u32,
}

impl Run {
    pub(super) fn end(&self) -> u32 {
        self.start.wrapping_add(self.len)
    }
}

/// All runs, the newest first.
pub(super) type Runs = Vec<Run, MAX_RUNS>;

/// Tables of all runs.
#[cfg_attr(target_pointer_width = "32", inline(never))]
pub(super) fn tables(runs: &Runs) -> u32 {
    runs.last().map_or(0, Run::end)
}

/// Bytes of a table's numbers, and of an edit, at most.
pub(super) const LONGEST: usize = 2 + 9 * 5 + 10;
/// Bytes of the edits that are remembered at most.
pub(super) const EDITS: usize = 192;

/// A change of the list, as the manifest has it: its kind, and two numbers more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Edit {
    /// A table at a place of a run; the table follows.
    Insert,
    /// No table there any more.
    Remove,
    /// Another table at a place of the whole list; it follows.
    Set,
    /// An empty run, and its level.
    InsertRun,
    /// No such run any more.
    RemoveRun,
}

impl Edit {
    pub(super) fn of(number: u32) -> Option<Self> {
        [Self::Insert, Self::Remove, Self::Set, Self::InsertRun, Self::RemoveRun]
            .get(number as usize)
            .copied()
    }
}

/// What has changed since the manifest was written, in lent memory. 0 bytes of memory: nobody wants to know.
pub(super) struct Edits<'a> {
    pub(super) bytes: &'a mut [u8],
    /// Bytes of them; more than there are: too many changes to remember.
    pub(super) len: &'a mut usize,
}

impl Edits<'_> {
    fn note(&mut self, edit: Edit, first: u32, second: u32, table: Option<Table>) {
        let place = self.bytes.get_mut(*self.len..).filter(|place| place.len() >= LONGEST);
        let Some(place) = place else { return self.forget() };
        let mut fields = Varints::write(place);
        for mut number in [edit as u32, first, second] {
            fields.u32(&mut number);
        }
        if let Some(mut table) = table {
            table.numbers(&mut fields);
        }
        *self.len = self.len.wrapping_add(fields.at);
    }

    /// They are too many.
    pub(super) fn forget(&mut self) {
        *self.len = usize::MAX;
    }

    /// What is remembered, if that is all.
    pub(super) fn all(&self) -> Option<&[u8]> {
        self.bytes.get(..*self.len)
    }
}

/// See the module.
pub(super) struct List<'a> {
    pub(super) bytes: &'a mut [u8],
    pub(super) runs: &'a mut Runs,
    pub(super) edits: Edits<'a>,
}

impl List<'_> {
    /// Tables in all.
    pub(super) fn len(&self) -> u32 {
        tables(self.runs)
    }

    /// Tables that there is memory for.
    pub(super) fn capacity(&self) -> u32 {
        (self.bytes.len() / TABLE) as u32
    }

    /// A run; an empty one if there is none.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(super) fn run(&self, run: usize) -> Run {
        self.runs.get(run).copied().unwrap_or_default()
    }

    #[inline]
    fn record(&self, at: u32) -> Option<&[u8; TABLE]> {
        self.bytes.as_chunks().0.get(at as usize)
    }

    /// The first bytes of the first key of a table.
    #[inline]
    pub(super) fn prefix(&self, at: u32) -> u64 {
        let prefix = self.record(at).and_then(|record| record.last_chunk());
        prefix.map_or(0, |prefix| u64::from_le_bytes(*prefix))
    }

    /// The block of a table.
    #[inline]
    pub(super) fn block(&self, at: u32) -> u32 {
        self.record(at).map_or(0, |record| word_at(record, 0))
    }

    /// Forgets all tables.
    pub(super) fn clear(&mut self) {
        self.runs.clear();
        self.edits.forget();
    }

    /// Another table in place of one.
    pub(super) fn replace(&mut self, at: u32, table: Table) {
        self.edits.note(Edit::Set, at, 0, Some(table));
        self.set(at, table);
    }

    #[cfg_attr(not(target_pointer_width = "32"), inline)]
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(super) fn get(&self, at: u32) -> Table {
        self.record(at).map(Table::read).unwrap_or_default()
    }

    pub(super) fn set(&mut self, at: u32, table: Table) {
        if let Some(record) = self.bytes.as_chunks_mut().0.get_mut(at as usize) {
            table.write(record);
        }
    }

    /// Makes an empty run, newer than what was `run` so far; whether there was room.
    pub(super) fn insert_run(&mut self, run: usize, level: u8) -> bool {
        let start = match self.runs.get(run) {
            Some(run) => run.start,
            None => self.len(),
        };
        let at = run.min(self.runs.len());
        if self.runs.is_full() {
            return false;
        }
        self.edits.note(Edit::InsertRun, at as u32, level.into(), None);
        self.runs.insert(at, Run { level, start, len: 0 }).is_ok()
    }

    pub(super) fn remove_run(&mut self, run: usize) {
        if run < self.runs.len() {
            self.edits.note(Edit::RemoveRun, run as u32, 0, None);
            self.runs.remove(run);
        }
    }

    /// Makes a table number `at` of a run; whether there was room.
    pub(super) fn insert(&mut self, run: usize, at: u32, table: Table) -> bool {
        if self.len() >= self.capacity() || run >= self.runs.len() {
            return false;
        }
        self.edits.note(Edit::Insert, run as u32, at, Some(table));
        let place = self.run(run).start.wrapping_add(at);
        let (from, end) = ((place as usize).wrapping_mul(TABLE), (self.len() as usize).wrapping_mul(TABLE));
        self.shift(run, 1);
        if from <= end && end.wrapping_add(TABLE) <= self.bytes.len() {
            self.bytes.copy_within(from..end, from.wrapping_add(TABLE));
        }
        self.set(place, table);
        true
    }

    /// Takes table number `at` out of a run.
    pub(super) fn remove(&mut self, run: usize, at: u32) {
        if at >= self.run(run).len {
            return;
        }
        self.edits.note(Edit::Remove, run as u32, at, None);
        let place = self.run(run).start.wrapping_add(at) as usize;
        let (to, end) = (place.wrapping_mul(TABLE), (self.len() as usize).wrapping_mul(TABLE));
        let from = to.wrapping_add(TABLE);
        if from <= end && end <= self.bytes.len() {
            self.bytes.copy_within(from..end, to);
        }
        self.shift(run, u32::MAX);
    }

    /// A run becomes longer by so many tables.
    fn shift(&mut self, run: usize, by: u32) {
        for (at, entry) in self.runs.iter_mut().enumerate() {
            if at == run {
                entry.len = entry.len.wrapping_add(by);
            } else if at > run {
                entry.start = entry.start.wrapping_add(by);
            }
        }
    }
}
