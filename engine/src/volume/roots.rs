//! What a publish says: the roots of everything on the volume, as a row of varints.
//!
//! ```text
//!   lives reserved, number of retired segments, each of them, number of logs, then each log:
//!     id, flags (1: closed, 2: has a snapshot), start, head life, head ordinal, head trail, epoch, end,
//!     the last segment: segment, life, epoch, first, ordinal, previous segment, previous life, window, trail,
//!     with a snapshot: offset, first, chunks
//! ```
//! By hand and not by serde: postcard's code for these few numbers was 3 KiB more on a Cortex-M.

use heapless::Vec;

use crate::codec::{PutVarint, TakeVarint};
use crate::space::{Link, SegmentHeader, TRAIL};

/// So many segments can be retired at most; one more is simply tried again each time round.
pub(crate) const MAX_RETIRED: usize = 8;

/// Where a log's snapshot is: entries of the log's companion, and the offset up to which they say it all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SnapshotRoot {
    /// The state is that before this entry of the log.
    pub(crate) offset: u64,
    /// First chunk, as an offset in the companion log.
    pub(crate) first: u64,
    pub(crate) chunks: u32,
}

/// The root of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LogRoot {
    pub(crate) id: u16,
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
    /// The log's last segment when this was published: a second copy of its header.
    pub(crate) tail: TailRoot,
    pub(crate) snapshot: Option<SnapshotRoot>,
    /// From here on found by the scan of the pool, not published: the last segment, the trail behind it, whether it is
    /// sealed, and the segment behind it if its header is missing.
    pub(crate) newest: Link,
    pub(crate) trail: u32,
    pub(crate) sealed: bool,
    pub(crate) next: Link,
    /// The sum over the headers that were found, and whether it is not what the trail says.
    pub(crate) sum: u32,
    pub(crate) odd: bool,
}

impl LogRoot {
    /// Whether `segment` was the log's last one when this was published.
    pub(crate) fn holds_tail(&self, segment: u32) -> bool {
        let at = self.tail.at;
        !at.is_none() && at.segment == segment && at.life >= self.head_life
    }
}

/// A segment's header without what the log's root says already, and without its jump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TailRoot {
    pub(crate) at: Link,
    pub(crate) epoch: u32,
    pub(crate) first: u64,
    pub(crate) ordinal: u32,
    pub(crate) previous: Link,
    pub(crate) window: u8,
    pub(crate) trail: u32,
}

impl TailRoot {
    pub(crate) fn new(header: &SegmentHeader) -> Self {
        let SegmentHeader { at, epoch, first, ordinal, previous, window, trail, .. } = *header;
        Self { at, epoch, first, ordinal, previous, window, trail }
    }

    pub(crate) fn header(&self, log: u16) -> SegmentHeader {
        let Self { at, epoch, first, ordinal, previous, window, trail } = *self;
        let (jump, jump_first) = (Link::NONE, 0);
        SegmentHeader { log, at, epoch, first, ordinal, previous, jump, jump_first, window, trail }
    }
}

/// The longest a root can be, in bytes: of a log, and of all the rest.
pub(crate) const MAX_LOG_ROOT: usize = 112;
pub(crate) const MAX_OTHER_ROOTS: usize = 5 + 1 + 5 * MAX_RETIRED + 2;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Roots<const LOGS: usize> {
    /// No segment was ever given a life of this or more. So a life is never given twice, even if a cut leaves no trace
    /// of it but an old seal.
    pub(crate) lives: u32,
    pub(crate) logs: Vec<LogRoot, LOGS>,
    pub(crate) retired: Vec<u32, MAX_RETIRED>,
}

impl<const LOGS: usize> Roots<LOGS> {
    /// Writes the roots into `bytes`; returns how many bytes they take, or would.
    pub(crate) fn encode(&self, bytes: &mut [u8]) -> usize {
        let mut put = PutVarint { bytes, at: 0 };
        put.u32(self.lives);
        put.u32(self.retired.len() as u32);
        for segment in &self.retired {
            put.u32(*segment);
        }
        put.u32(self.logs.len() as u32);
        for log in &self.logs {
            put.u32(u32::from(log.id));
            put.u32(u32::from(log.closed) | u32::from(log.snapshot.is_some()) << 1);
            put.u64(log.start);
            put.u32(log.head_life);
            put.u32(log.head_ordinal);
            put.u32(log.head_trail);
            put.u32(log.epoch);
            put.u64(log.end);
            put.u32(log.tail.at.segment);
            put.u32(log.tail.at.life);
            put.u32(log.tail.epoch);
            put.u64(log.tail.first);
            put.u32(log.tail.ordinal);
            put.u32(log.tail.previous.segment);
            put.u32(log.tail.previous.life);
            put.u32(u32::from(log.tail.window));
            put.u32(log.tail.trail);
            if let Some(snapshot) = log.snapshot {
                put.u64(snapshot.offset);
                put.u64(snapshot.first);
                put.u32(snapshot.chunks);
            }
        }
        put.at
    }

    /// Reads the roots; `None` if there are more logs than `LOGS`.
    pub(crate) fn decode(&mut self, bytes: &[u8]) -> Option<()> {
        let mut take = TakeVarint(bytes);
        self.lives = take.u32();
        for _ in 0..take.u32().min(MAX_RETIRED as u32) {
            self.retired.push(take.u32()).ok()?;
        }
        let logs = take.u32();
        for _ in 0..logs {
            let mut log = LogRoot { id: take.u32() as u16, ..LogRoot::default() };
            let flags = take.u32();
            log.closed = flags & 1 != 0;
            log.start = take.u64();
            log.head_life = take.u32();
            log.head_ordinal = take.u32();
            log.head_trail = take.u32() & TRAIL;
            log.epoch = take.u32();
            log.end = take.u64();
            log.tail.at = Link { segment: take.u32(), life: take.u32() };
            log.tail.epoch = take.u32();
            log.tail.first = take.u64();
            log.tail.ordinal = take.u32();
            log.tail.previous = Link { segment: take.u32(), life: take.u32() };
            log.tail.window = take.u32() as u8 & 15;
            log.tail.trail = take.u32() & TRAIL;
            if flags & 2 != 0 {
                log.snapshot =
                    Some(SnapshotRoot { offset: take.u64(), first: take.u64(), chunks: take.u32() });
            }
            self.logs.push(log).ok()?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_come_back_and_have_a_longest_form() {
        let big = Link { segment: 65_535, life: u32::MAX };
        let tail = TailRoot {
            at: big,
            epoch: u32::MAX,
            first: u64::MAX,
            ordinal: u32::MAX,
            previous: big,
            window: 15,
            trail: TRAIL,
        };
        let log = LogRoot {
            id: u16::MAX,
            closed: true,
            start: u64::MAX,
            head_life: u32::MAX,
            head_ordinal: u32::MAX,
            head_trail: TRAIL,
            epoch: u32::MAX,
            end: u64::MAX,
            tail,
            snapshot: Some(SnapshotRoot { offset: u64::MAX, first: u64::MAX, chunks: u32::MAX }),
            ..LogRoot::default()
        };
        let mut roots = Roots::<3> { lives: u32::MAX, ..Roots::default() };
        while roots.retired.push(u32::MAX).is_ok() {}
        for logs in 0..=3 {
            let mut bytes = [0; 512];
            let len = roots.encode(&mut bytes);
            assert!(len <= MAX_OTHER_ROOTS + logs * MAX_LOG_ROOT, "{len} bytes with {logs} logs");
            let mut back = Roots::<3>::default();
            assert_eq!(back.decode(&bytes[..len]), Some(()));
            assert_eq!(back, roots);
            if logs > 0 {
                assert_eq!(Roots::<0>::default().decode(&bytes[..len]), None, "no room");
            }
            let _ = roots.logs.push(log);
        }
    }
}
