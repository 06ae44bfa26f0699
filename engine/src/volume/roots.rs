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

use heapless::Vec;

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
    /// The log's last segment when this was published: a second copy of its header, but for the jump.
    pub(crate) tail: SegmentHeader,
    pub(crate) snapshot: Option<SnapshotRoot>,
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

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Roots<const LOGS: usize> {
    /// No segment was ever given a life of this or more. So a life is never given twice, even if a cut leaves no trace
    /// of it but an old seal.
    pub(crate) lives: u32,
    pub(crate) logs: Vec<LogRoot, LOGS>,
    pub(crate) retired: Vec<u16, MAX_RETIRED>,
}

impl<const LOGS: usize> Roots<LOGS> {
    /// Writes the roots into `bytes`; returns how many bytes they take, or would.
    pub(crate) fn encode(&mut self, bytes: &mut [u8]) -> usize {
        let mut fields = Varints::write(bytes);
        let _ = self.fields(&mut fields);
        fields.at
    }

    /// Reads the roots; returns how many bytes they took. `None`: there are more logs than `LOGS`.
    pub(crate) fn decode(&mut self, bytes: &mut [u8]) -> Option<usize> {
        *self = Self::default();
        let mut fields = Varints::read(bytes);
        self.fields(&mut fields).map(|()| fields.at)
    }

    /// All the numbers in their order. Those that are read make room for what follows them.
    #[inline(never)]
    fn fields(&mut self, fields: &mut Varints<'_>) -> Option<()> {
        fields.u32(&mut self.lives);
        let mut retired = self.retired.len() as u32;
        fields.u32(&mut retired);
        while self.retired.len() < (retired as usize).min(MAX_RETIRED) {
            self.retired.push(0).ok()?;
        }
        for segment in &mut self.retired {
            let mut number = u32::from(*segment);
            fields.u32(&mut number);
            *segment = number as u16;
        }
        let mut logs = self.logs.len() as u32;
        fields.u32(&mut logs);
        while self.logs.len() < logs as usize {
            self.logs.push(LogRoot::default()).ok()?;
        }
        for log in &mut self.logs {
            log.fields(fields);
        }
        Some(())
    }
}

impl LogRoot {
    fn fields(&mut self, fields: &mut Varints<'_>) {
        let mut id = u32::from(self.id);
        let mut flags = u32::from(self.closed) | u32::from(self.snapshot.is_some()) << 1;
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
            let snapshot = self.snapshot.get_or_insert_default();
            fields.u64(&mut snapshot.offset);
            fields.u64(&mut snapshot.first);
            fields.u32(&mut snapshot.chunks);
        }
        (self.id, self.tail.log, self.closed) = (id as u16, id as u16, flags & 1 != 0);
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
        let tail = SegmentHeader {
            log: u16::MAX,
            at: big,
            epoch: u32::MAX,
            first: u64::MAX,
            ordinal: u32::MAX,
            previous: big,
            window: 15,
            trail: TRAIL,
            ..SegmentHeader::default()
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
        while roots.retired.push(u16::MAX).is_ok() {}
        for logs in 0..=3 {
            let mut bytes = [0; 512];
            let len = roots.encode(&mut bytes);
            assert!(len <= MAX_OTHER_ROOTS + logs * MAX_LOG_ROOT, "{len} bytes with {logs} logs");
            let mut back = Roots::<3>::default();
            assert_eq!(back.decode(&mut bytes[..len]), Some(len));
            assert_eq!(back, roots);
            if logs > 0 {
                assert_eq!(Roots::<0>::default().decode(&mut bytes[..len]), None, "no room");
            }
            let _ = roots.logs.push(log);
        }
    }
}
