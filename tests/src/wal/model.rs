//! What may be found after a crash.
//!
//! The model follows a log along two lines. *Data* versions say which entries there are: each append (a batch counts as
//! one), truncation and reset makes the next one. *Root* versions say what a publish says: the first offset that is kept
//! and the snapshot. At each moment some of the newest versions of both lines are allowed; an acknowledgement strikes
//! out all that came before it. A found state must be one allowed version of either line, together possible.

use std::ops::RangeInclusive;
use std::sync::Arc;

/// Number of an entry (or chunk), never used twice within a lineage of models: so each entry is known by its content.
pub type Serial = u32;

/// One payload as it was handed to the engine.
#[derive(Clone, Copy, Debug)]
struct Item {
    at: usize,
    len: usize,
    user: Option<u64>,
}

/// All payloads that were ever made. Models of later sessions build on those of earlier ones.
#[derive(Debug, Default)]
pub struct Items {
    base: Option<Arc<Items>>,
    first: Serial,
    list: Vec<Item>,
    bytes: Vec<u8>,
}

impl Items {
    /// An empty table that counts on behind `base`.
    pub fn after(base: Arc<Self>) -> Self {
        let first = base.first + base.list.len() as Serial;
        Self { base: Some(base), first, list: Vec::new(), bytes: Vec::new() }
    }

    /// Makes the next payload: its serial number first, then noise that depends on it.
    pub fn make(&mut self, len: usize, user: Option<u64>) -> Serial {
        let serial = self.first + self.list.len() as Serial;
        let at = self.bytes.len();
        let head = serial.to_le_bytes();
        self.bytes.extend((0..len).map(|n| {
            head.get(n).copied().unwrap_or_else(|| {
                let noise = (serial ^ 0x5EED)
                    .wrapping_mul(0x9E37_79B1)
                    .wrapping_add((n as u32).wrapping_mul(0x85EB_CA6B));
                (noise >> 13) as u8
            })
        }));
        self.list.push(Item { at, len, user });
        serial
    }

    /// The payload and user word of `serial`, if it was made here.
    pub fn try_get(&self, serial: Serial) -> Option<(&[u8], Option<u64>)> {
        let own = serial.checked_sub(self.first)? as usize;
        let item = self.list.get(own)?;
        Some((&self.bytes[item.at..item.at + item.len], item.user))
    }

    /// The payload and user word of `serial`.
    ///
    /// # Panics
    /// If it was never made.
    pub fn get(&self, serial: Serial) -> (&[u8], Option<u64>) {
        match serial.checked_sub(self.first) {
            Some(own) => {
                let item = &self.list[own as usize];
                (&self.bytes[item.at..item.at + item.len], item.user)
            }
            None => self.base.as_ref().expect("made by an earlier model").get(serial),
        }
    }
}

/// Which entries there are, released ones included.
#[derive(Clone, Debug, Default)]
pub struct Data {
    /// Offset of the first of `items`.
    pub first: u64,
    /// The entries from there on.
    pub items: Vec<Serial>,
    /// The oldest root that can stand beside it.
    needs_root: usize,
}

impl Data {
    /// Offset of the next entry.
    pub fn end(&self) -> u64 {
        self.first + self.items.len() as u64
    }

    /// The entry at `offset`.
    pub fn at(&self, offset: u64) -> Option<Serial> {
        self.items.get(usize::try_from(offset.checked_sub(self.first)?).ok()?).copied()
    }
}

/// A published snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotState {
    /// It stands for all entries before this one.
    pub offset: u64,
    /// Its chunks.
    pub chunks: Vec<Serial>,
}

/// What a publish says of a log.
#[derive(Clone, Debug)]
pub struct Root {
    /// The log was created.
    pub exists: bool,
    /// The first offset that is kept. A range where a release failed half way: only the engine knows its segments.
    pub start: RangeInclusive<u64>,
    /// The published snapshot.
    pub snapshot: Option<SnapshotState>,
    /// The oldest data version that can stand beside it.
    needs_data: usize,
}

/// What is allowed from `at` operations of the device on.
#[derive(Clone, Debug)]
struct Moment {
    at: usize,
    data: Vec<usize>,
    roots: Vec<usize>,
}

/// A version of each line: a log as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Index of the data version.
    pub data: usize,
    /// Index of the root version.
    pub root: usize,
}

/// The history of one log.
#[derive(Clone, Debug)]
pub struct LogModel {
    /// Its id on the volume.
    pub id: u16,
    data: Vec<Data>,
    roots: Vec<Root>,
    allowed_data: Vec<usize>,
    allowed_roots: Vec<usize>,
    moments: Vec<Moment>,
}

impl LogModel {
    /// A log that does not exist yet.
    pub fn absent(id: u16) -> Self {
        let root = Root { exists: false, start: 0..=0, snapshot: None, needs_data: 0 };
        Self::beginning(id, Data::default(), root)
    }

    fn beginning(id: u16, data: Data, root: Root) -> Self {
        let data = Data { needs_root: 0, ..data };
        let root = Root { needs_data: 0, ..root };
        let moment = Moment { at: 0, data: vec![0], roots: vec![0] };
        Self {
            id,
            data: vec![data],
            roots: vec![root],
            allowed_data: vec![0],
            allowed_roots: vec![0],
            moments: vec![moment],
        }
    }

    /// A history that begins with what was found, and the first offset that the engine said is kept.
    pub fn found(&self, pair: Pair, start: u64) -> Self {
        let root = Root { start: start..=start, ..self.roots[pair.root].clone() };
        Self::beginning(self.id, self.data[pair.data].clone(), root)
    }

    fn note(&mut self, at: usize) {
        let (data, roots) = (self.allowed_data.clone(), self.allowed_roots.clone());
        match self.moments.last_mut() {
            Some(last) if last.at == at => (last.data, last.roots) = (data, roots),
            _ => self.moments.push(Moment { at, data, roots }),
        }
    }

    /// The newest versions: what the engine shows while it runs.
    pub fn now(&self) -> Pair {
        let last = |allowed: &[usize]| *allowed.last().expect("something is always allowed");
        Pair { data: last(&self.allowed_data), root: last(&self.allowed_roots) }
    }

    /// A data version.
    pub fn data(&self, pair: Pair) -> &Data {
        &self.data[pair.data]
    }

    /// A root version.
    pub fn root(&self, pair: Pair) -> &Root {
        &self.roots[pair.root]
    }

    /// Every data version that there ever was.
    pub fn versions(&self) -> &[Data] {
        &self.data
    }

    /// Every snapshot that there ever was.
    pub fn snapshots(&self) -> impl Iterator<Item = &SnapshotState> {
        self.roots.iter().filter_map(|root| root.snapshot.as_ref())
    }

    /// The newest entries.
    pub fn newest(&self) -> &Data {
        self.data(self.now())
    }

    /// The newest root.
    pub fn newest_root(&self) -> &Root {
        self.root(self.now())
    }

    /// A call begins, after `at` operations, that may make `items` the entries from `first` on.
    pub fn begin_data(&mut self, at: usize, first: u64, items: Vec<Serial>) -> usize {
        let needs_root = self.newest().needs_root;
        self.data.push(Data { first, items, needs_root });
        self.allowed_data.push(self.data.len() - 1);
        self.note(at);
        self.data.len() - 1
    }

    /// The call that would have made `version` returned without having done anything.
    pub fn undo_data(&mut self, at: usize, version: usize) {
        self.allowed_data.retain(|allowed| *allowed != version);
        self.note(at);
    }

    /// Everything up to data version `version` was acknowledged.
    pub fn acknowledge(&mut self, at: usize, version: usize) {
        self.allowed_data.retain(|allowed| *allowed >= version);
        self.note(at);
    }

    /// A publish was begun after `from` operations.
    pub fn begin_root(&mut self, from: usize, root: Root) -> usize {
        let before = self.newest_root().needs_data;
        self.roots.push(Root { needs_data: root.needs_data.max(before), ..root });
        self.allowed_roots.push(self.roots.len() - 1);
        self.note(from);
        self.roots.len() - 1
    }

    /// The newest root with another start and snapshot. `with_data`: its call has made data up to here durable first.
    pub fn next_root(
        &self,
        start: RangeInclusive<u64>,
        snapshot: Option<SnapshotState>,
        with_data: usize,
    ) -> Root {
        Root { exists: true, start, snapshot, needs_data: with_data }
    }

    /// A reset begins: entries and root change in one.
    pub fn begin_reset(&mut self, at: usize, next: u64) -> (usize, usize) {
        let snapshot = self.newest_root().snapshot.clone();
        let data = self.begin_data(at, next, Vec::new());
        let root = self.begin_root(at, self.next_root(next..=next, snapshot, data));
        self.data[data].needs_root = root;
        (data, root)
    }

    /// The publish of `version` is durable.
    pub fn acknowledge_root(&mut self, at: usize, version: usize) {
        self.allowed_roots.retain(|allowed| *allowed >= version);
        self.note(at);
    }

    /// The call that would have published `version` returned without having done anything.
    pub fn undo_root(&mut self, at: usize, version: usize) {
        self.allowed_roots.retain(|allowed| *allowed != version);
        self.note(at);
    }

    /// The log was opened again on the device as it is, and holds `pair`: what is newer will never come back. It is not
    /// durable yet.
    pub fn reopened(&mut self, at: usize, pair: Pair) {
        self.allowed_data.retain(|allowed| *allowed <= pair.data);
        self.allowed_roots.retain(|allowed| *allowed <= pair.root);
        self.note(at);
    }

    /// The oldest data version that is still allowed.
    pub fn least_data(&self) -> usize {
        self.allowed_data.first().copied().unwrap_or(0)
    }

    /// The pairs allowed after `cut` operations have returned (`usize::MAX`: now), newest first.
    pub fn allowed(&self, cut: usize, out: &mut Vec<Pair>) {
        out.clear();
        let number = self.moments.partition_point(|moment| moment.at <= cut);
        let Some(moment) = number.checked_sub(1).and_then(|number| self.moments.get(number)) else { return };
        for data in moment.data.iter().rev() {
            for root in moment.roots.iter().rev() {
                if self.data[*data].needs_root <= *root && self.roots[*root].needs_data <= *data {
                    out.push(Pair { data: *data, root: *root });
                }
            }
        }
    }
}

/// All logs of a volume.
#[derive(Debug, Default)]
pub struct Model {
    /// Every payload.
    pub items: Arc<Items>,
    /// The logs that were or may be created.
    pub logs: Vec<LogModel>,
}

impl Model {
    /// The next payload.
    pub fn make(&mut self, len: usize, user: Option<u64>) -> Serial {
        if Arc::get_mut(&mut self.items).is_none() {
            self.items = Arc::new(Items::after(self.items.clone()));
        }
        Arc::get_mut(&mut self.items).expect("just made").make(len, user)
    }

    /// A model that begins with what was found.
    pub fn found(&self, found: &[(Pair, u64)]) -> Self {
        let logs = self.logs.iter().zip(found).map(|(log, (pair, start))| log.found(*pair, *start)).collect();
        Self { items: self.items.clone(), logs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(log: &LogModel, cut: usize) -> Vec<(usize, usize)> {
        let mut out = Vec::new();
        log.allowed(cut, &mut out);
        out.iter().map(|pair| (pair.data, pair.root)).collect()
    }

    #[test]
    fn an_acknowledgement_strikes_out_what_came_before() {
        let mut log = LogModel::absent(1);
        let one = log.begin_data(0, 0, vec![0]);
        let two = log.begin_data(0, 0, vec![0, 1]);
        log.acknowledge(5, two);
        assert_eq!((one, two), (1, 2));
        assert_eq!(pairs(&log, 0), [(2, 0), (1, 0), (0, 0)]);
        assert_eq!(pairs(&log, 4).len(), 3);
        assert_eq!(pairs(&log, 5), [(2, 0)]);
    }

    #[test]
    fn a_reset_changes_both_lines_at_once() {
        let mut log = LogModel::absent(1);
        let entry = log.begin_data(0, 0, vec![0]);
        log.acknowledge(1, entry);
        let (data, root) = log.begin_reset(1, 100);
        assert_eq!(pairs(&log, 3), [(data, root), (entry, 0)]);
        log.acknowledge(4, data);
        log.acknowledge_root(4, root);
        let next = log.begin_data(4, 100, vec![1]);
        assert_eq!(pairs(&log, 9), [(next, root), (data, root)]);
    }

    #[test]
    fn a_release_is_independent_of_what_waits_for_a_commit() {
        let mut log = LogModel::absent(1);
        let durable = log.begin_data(0, 0, vec![0, 1, 2]);
        log.acknowledge(2, durable);
        let waiting = log.begin_data(2, 0, vec![0, 1, 2, 3]);
        let root = log.begin_root(2, log.next_root(2..=2, None, durable));
        log.acknowledge_root(4, root);
        assert_eq!(pairs(&log, 4), [(waiting, root), (durable, root)]);
        assert_eq!(pairs(&log, 3).len(), 4);
    }

    #[test]
    fn reopening_forbids_what_was_not_found() {
        let mut log = LogModel::absent(1);
        log.begin_data(0, 0, vec![0]);
        log.begin_data(0, 0, vec![0, 1]);
        log.reopened(3, Pair { data: 1, root: 0 });
        assert_eq!(pairs(&log, 2).len(), 3);
        assert_eq!(pairs(&log, 3), [(1, 0), (0, 0)]);
    }

    #[test]
    fn payloads_differ_and_are_found_through_generations() {
        let mut model = Model::default();
        let one = model.make(40, None);
        let mut later = model.found(&[]);
        let two = later.make(40, Some(7));
        assert_ne!(one, two);
        assert_ne!(later.items.get(one).0, later.items.get(two).0);
        assert_eq!(later.items.get(two).1, Some(7));
        assert_eq!(later.items.get(one).0, model.items.get(one).0);
    }
}
