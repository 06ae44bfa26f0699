//! What a publish says: the roots of everything on the volume. Encoded by postcard, as it is typed and rare.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::space::{Link, SegmentHeader};

/// So many segments can be retired at most; one more is simply tried again each time round.
pub(crate) const MAX_RETIRED: usize = 8;

/// Where a log's snapshot is: entries of the log's companion, and the offset up to which they say it all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotRoot {
    /// The state is that before this entry of the log.
    pub(crate) offset: u64,
    /// First chunk, as an offset in the companion log.
    pub(crate) first: u64,
    pub(crate) chunks: u32,
}

/// The root of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
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
    /// The newest epoch when this was published.
    pub(crate) epoch: u32,
    /// Entries before this one were durable when this was published.
    pub(crate) end: u64,
    /// The log's last segment when this was published: a second copy of its header.
    pub(crate) tail: TailRoot,
    pub(crate) snapshot: Option<SnapshotRoot>,
    /// Found by the scan of the pool: the last segment and how many there are.
    #[serde(skip)]
    pub(crate) newest: Link,
    #[serde(skip)]
    pub(crate) count: u32,
}

/// A segment's header without what the log's root says already, and without its jump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct TailRoot {
    pub(crate) at: Link,
    pub(crate) epoch: u32,
    pub(crate) first: u64,
    pub(crate) ordinal: u32,
    pub(crate) previous: Link,
    pub(crate) window: u8,
}

impl TailRoot {
    pub(crate) fn new(header: &SegmentHeader) -> Self {
        let SegmentHeader { at, epoch, first, ordinal, previous, window, .. } = *header;
        Self { at, epoch, first, ordinal, previous, window }
    }

    pub(crate) fn header(&self, log: u16) -> SegmentHeader {
        let Self { at, epoch, first, ordinal, previous, window } = *self;
        SegmentHeader { log, at, epoch, first, ordinal, previous, window, jump: Link::NONE, jump_first: 0 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Roots<const LOGS: usize> {
    /// No segment was ever given a life of this or more.
    pub(crate) next_life: u32,
    pub(crate) logs: Vec<LogRoot, LOGS>,
    pub(crate) retired: Vec<u32, MAX_RETIRED>,
}
