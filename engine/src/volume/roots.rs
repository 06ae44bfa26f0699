//! What a publish says: the roots of everything on the volume, as a row of varints.
//!
//! ```text
//!   lives reserved, number of retired segments, each of them, number of logs, then each log:
//!     id, flags (1: closed, 2: has a snapshot), start, head life, head ordinal, head trail, epoch, end,
//!     the last segment: segment, life, epoch, first, ordinal, previous segment, previous life, window, trail,
//!     with a snapshot: offset, first, chunks
//!   on a volume with blocks: length and bytes of the store's root, see `blocks`
//! ```
//! By hand and not by serde: postcard's code for these few numbers was 3 KiB more on a Cortex-M.

use crate::codec::Varints;
use crate::space::{Link, SegmentHeader, TRAIL};

/// So many segments can be retired at most; one more is simply tried again each time round.
pub(crate) const MAX_RETIRED: usize = 8;

/// Where a log's snapshot is: entries of the log's companion, and the offset up to which they say it all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SnapshotRoot {
    /// The state is that before this entry of the log.
    pub(crate) offset: u64,
    /// First chunk, as an offset in the companion log.
    pub(crate) first: u64,
    pub(crate) chunks: u32,
}

/// What the superblock keeps of the header of a log's last segment: all but the jump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tail {
    pub(crate) at: Link,
    pub(crate) first: u64,
    pub(crate) previous: Link,
    pub(crate) epoch: u32,
    pub(crate) ordinal: u32,
    pub(crate) trail: u32,
    pub(crate) log: u16,
    pub(crate) window: u8,
}

impl Tail {
    pub(crate) const NONE: Self = Self {
        at: Link::NONE,
        first: 0,
        previous: Link::NONE,
        epoch: 0,
        ordinal: 0,
        trail: 0,
        log: 0,
        window: 0,
    };

    #[inline(never)]
    pub(crate) fn copy_from(&mut self, header: &SegmentHeader) {
        let SegmentHeader { at, first, previous, epoch, ordinal, trail, log, window, .. } = *header;
        *self = Self { at, first, previous, epoch, ordinal, trail, log, window };
    }

    /// The header, as far as it is known.
    pub(crate) fn copy_to(&self, header: &mut SegmentHeader) {
        let Self { at, first, previous, epoch, ordinal, trail, log, window } = *self;
        let (jump, jump_first) = (Link::NONE, 0);
        *header = SegmentHeader { at, first, previous, epoch, ordinal, trail, log, window, jump, jump_first };
    }
}

/// The root of one log. What is not there is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LogRoot {
    /// The log was closed at `end`: nothing may be missing, and nothing follows until a new epoch begins.
    pub(crate) closed: bool,
    /// Offset of the first entry that is kept.
    pub(crate) start: u64,
    /// Segments of this log with a smaller life are free.
    pub(crate) head_life: u32,
    /// Ordinal of the first segment that is kept.
    pub(crate) head_ordinal: u32,
    /// Its trail.
    pub(crate) head_trail: u32,
    /// The newest epoch when this was published.
    pub(crate) epoch: u32,
    /// Entries before this one were durable when this was published.
    pub(crate) end: u64,
    /// The log's last segment when this was published: a second copy of its header. It also tells the log's id.
    pub(crate) tail: Tail,
    /// See [`snapshot`](Self::snapshot).
    has_snapshot: bool,
    snapshot_chunks: u32,
    snapshot_offset: u64,
    snapshot_first: u64,
    /// From here on found by the scan of the pool, not published: the last segment, the trail behind it, whether it is
    /// full, and the segment behind it if its header is missing.
    pub(crate) newest: Link,
    pub(crate) trail: u32,
    pub(crate) sealed: bool,
    pub(crate) next: Link,
    /// The sum over the headers that were found, and whether it is not what the trail says.
    pub(crate) sum: u32,
    pub(crate) odd: bool,
}

impl LogRoot {
    const NONE: Self = Self {
        closed: false,
        start: 0,
        head_life: 0,
        head_ordinal: 0,
        head_trail: 0,
        epoch: 0,
        end: 0,
        tail: Tail::NONE,
        has_snapshot: false,
        snapshot_chunks: 0,
        snapshot_offset: 0,
        snapshot_first: 0,
        newest: Link::NONE,
        trail: 0,
        sealed: false,
        next: Link::NONE,
        sum: 0,
        odd: false,
    };

    /// Of an empty log.
    pub(crate) fn empty(id: u16) -> Self {
        Self { closed: true, tail: Tail { log: id, ..Tail::NONE }, ..Self::NONE }
    }

    pub(crate) fn id(&self) -> u16 {
        self.tail.log
    }

    /// Where its snapshot is, if it has one.
    pub(crate) fn snapshot(&self) -> Option<SnapshotRoot> {
        self.has_snapshot.then_some(SnapshotRoot {
            offset: self.snapshot_offset,
            first: self.snapshot_first,
            chunks: self.snapshot_chunks,
        })
    }

    pub(crate) fn set_snapshot(&mut self, SnapshotRoot { offset, first, chunks }: SnapshotRoot) {
        self.has_snapshot = true;
        (self.snapshot_offset, self.snapshot_first, self.snapshot_chunks) = (offset, first, chunks);
    }

    /// The log begins with this segment from now on.
    #[inline(never)]
    pub(crate) fn begin_with(&mut self, head: &SegmentHeader) {
        (self.start, self.head_life) = (head.first, head.at.life);
        (self.head_ordinal, self.head_trail) = (head.ordinal, head.trail);
    }
}

/// The longest a root can be, in bytes: of a log, and of all the rest.
pub(crate) const MAX_LOG_ROOT: usize = 112;
pub(crate) const MAX_OTHER_ROOTS: usize = 5 + 1 + 5 * MAX_RETIRED + 2;

// Arrays and lengths apart: in pairs, each length would take as much as the alignment of what it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Roots<const LOGS: usize> {
    logs: [LogRoot; LOGS],
    retired: [u16; MAX_RETIRED],
    /// No segment was ever given a life of this or more. So a life is never given twice, even if a cut leaves no trace
    /// of it but an old seal.
    pub(crate) lives: u32,
    logs_len: u16,
    retired_len: u8,
    /// Not published: something could not be read when the pool was scanned.
    pub(crate) missed: bool,
}

impl<const LOGS: usize> Roots<LOGS> {
    pub(crate) const NONE: Self = Self {
        logs: [LogRoot::NONE; LOGS],
        retired: [0; MAX_RETIRED],
        lives: 0,
        logs_len: 0,
        retired_len: 0,
        missed: false,
    };

    pub(crate) fn logs(&self) -> &[LogRoot] {
        self.logs.get(..usize::from(self.logs_len)).unwrap_or_default()
    }

    pub(crate) fn logs_mut(&mut self) -> &mut [LogRoot] {
        self.logs.get_mut(..usize::from(self.logs_len)).unwrap_or_default()
    }

    /// Adds a log, if there is room.
    pub(crate) fn add_log(&mut self, root: LogRoot) -> bool {
        let place = self.logs.get_mut(usize::from(self.logs_len));
        self.logs_len = self.logs_len.wrapping_add(place.is_some().into());
        place.map(|place| *place = root).is_some()
    }

    /// Segments that are never to be given out again.
    pub(crate) fn retired(&self) -> &[u16] {
        self.retired.get(..usize::from(self.retired_len)).unwrap_or_default()
    }

    /// Adds one of those, if there is room.
    pub(crate) fn retire(&mut self, segment: u16) -> bool {
        let place = self.retired.get_mut(usize::from(self.retired_len));
        self.retired_len = self.retired_len.wrapping_add(place.is_some().into());
        place.map(|place| *place = segment).is_some()
    }

    /// Writes the roots into `bytes`; returns how many bytes they take, or would.
    pub(crate) fn encode(&mut self, bytes: &mut [u8]) -> usize {
        let mut fields = Varints::write(bytes);
        let _ = self.fields(&mut fields);
        fields.at
    }

    /// Reads the roots; returns how many bytes they took. `None`: there are more logs than `LOGS`.
    pub(crate) fn decode(&mut self, bytes: &mut [u8]) -> Option<usize> {
        *self = Self::NONE;
        let mut fields = Varints::read(bytes);
        self.fields(&mut fields).map(|()| fields.at)
    }

    /// All the numbers in their order. Those that are read make room for what follows them.
    #[inline(never)]
    fn fields(&mut self, fields: &mut Varints<'_>) -> Option<()> {
        fields.u32(&mut self.lives);
        let mut retired = u32::from(self.retired_len);
        fields.u32(&mut retired);
        self.retired_len = retired.min(MAX_RETIRED as u32) as u8;
        for segment in self.retired.iter_mut().take(self.retired_len.into()) {
            let mut number = u32::from(*segment);
            fields.u32(&mut number);
            *segment = number as u16;
        }
        let mut logs = u32::from(self.logs_len);
        fields.u32(&mut logs);
        let logs_len = u16::try_from(logs).ok().filter(|len| usize::from(*len) <= LOGS)?;
        self.logs_len = logs_len;
        for log in self.logs_mut() {
            log.fields(fields);
        }
        Some(())
    }
}

impl LogRoot {
    fn fields(&mut self, fields: &mut Varints<'_>) {
        let mut id = u32::from(self.tail.log);
        let mut flags = u32::from(self.closed) | u32::from(self.has_snapshot) << 1;
        let mut window = u32::from(self.tail.window);
        fields.u32(&mut id);
        fields.u32(&mut flags);
        fields.u64(&mut self.start);
        fields.u32(&mut self.head_life);
        fields.u32(&mut self.head_ordinal);
        fields.u32(&mut self.head_trail);
        fields.u32(&mut self.epoch);
        fields.u64(&mut self.end);
        fields.u32(&mut self.tail.at.segment);
        fields.u32(&mut self.tail.at.life);
        fields.u32(&mut self.tail.epoch);
        fields.u64(&mut self.tail.first);
        fields.u32(&mut self.tail.ordinal);
        fields.u32(&mut self.tail.previous.segment);
        fields.u32(&mut self.tail.previous.life);
        fields.u32(&mut window);
        fields.u32(&mut self.tail.trail);
        if flags & 2 != 0 {
            fields.u64(&mut self.snapshot_offset);
            fields.u64(&mut self.snapshot_first);
            fields.u32(&mut self.snapshot_chunks);
        }
        self.tail.log = id as u16;
        (self.closed, self.has_snapshot) = (flags & 1 != 0, flags & 2 != 0);
        // A checksum is no signature: no number is taken to be shorter than it was written.
        self.head_trail &= TRAIL;
        self.tail.trail &= TRAIL;
        self.tail.window = window as u8 & 15;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_come_back_and_have_a_longest_form() {
        let big = Link { segment: 65_535, life: u32::MAX };
        let tail = Tail {
            log: u16::MAX,
            at: big,
            epoch: u32::MAX,
            first: u64::MAX,
            ordinal: u32::MAX,
            previous: big,
            window: 15,
            trail: TRAIL,
        };
        let mut log = LogRoot {
            closed: true,
            start: u64::MAX,
            head_life: u32::MAX,
            head_ordinal: u32::MAX,
            head_trail: TRAIL,
            epoch: u32::MAX,
            end: u64::MAX,
            tail,
            ..LogRoot::default()
        };
        log.set_snapshot(SnapshotRoot { offset: u64::MAX, first: u64::MAX, chunks: u32::MAX });
        let mut roots = Roots::<3> { lives: u32::MAX, ..Roots::NONE };
        while roots.retire(u16::MAX) {}
        for logs in 0..=3 {
            let mut bytes = [0; 512];
            let len = roots.encode(&mut bytes);
            assert!(len <= MAX_OTHER_ROOTS + logs * MAX_LOG_ROOT, "{len} bytes with {logs} logs");
            let mut back = Roots::<3>::NONE;
            assert_eq!(back.decode(&mut bytes[..len]), Some(len));
            assert_eq!(back, roots);
            if logs > 0 {
                let mut none = Roots::<0>::NONE;
                assert_eq!(none.decode(&mut bytes[..len]), None, "no room");
            }
            roots.add_log(log);
        }
    }
}
