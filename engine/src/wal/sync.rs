//! When to commit: the sync strategies.

use core::num::NonZeroU32;

use super::{Error, Log};
use crate::device::BlockDevice;
use crate::volume::{Buffer, Volume};

/// When [`Log::commit_if_due`] makes entries durable. The loss window is what a power cut may take although it was
/// appended: never more than what the strategy allows, and never a part of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SyncStrategy {
    /// Every time. Loss window: nothing that `commit_if_due` has returned for.
    #[default]
    Always,
    /// When so many entries, or so many bytes, are waiting, or when the oldest has waited so long; 0 leaves a condition
    /// out. Loss window: fewer entries and bytes than that, or those of the last milliseconds, given that
    /// `commit_if_due` is called as often.
    Batch {
        /// Entries.
        entries: u32,
        /// Bytes of payload.
        bytes: u32,
        /// Milliseconds.
        millis: u32,
    },
    /// Only when [`Log::commit`] is called. Loss window: everything since then.
    Never,
}

/// What [`Log::commit_if_due`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Durability {
    /// All entries survive a power cut.
    Durable,
    /// Entries are waiting for a commit.
    Waiting,
}

/// A strategy as the limits of a [batch](SyncStrategy::Batch), and what is waiting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// So many entries may wait: none, if it is always.
    entries: u32,
    bytes: u32,
    millis: u32,
    /// Bytes that are waiting.
    waiting: u32,
    /// The milliseconds since which entries are waiting, as far as somebody has asked, modulo 2^32.
    since: Option<NonZeroU32>,
}

impl Pace {
    pub(super) const NEW: Self = Self { entries: 0, bytes: 0, millis: 0, waiting: 0, since: None };

    pub(super) fn set(&mut self, strategy: SyncStrategy) {
        (self.entries, self.bytes, self.millis) = match strategy {
            SyncStrategy::Always => (0, 0, 0),
            // Where that leaves it out, any number may wait.
            SyncStrategy::Batch { entries, bytes, millis } => (entries.wrapping_sub(1), bytes, millis),
            SyncStrategy::Never => (u32::MAX, 0, 0),
        };
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.waiting = self.waiting.saturating_add(bytes as u32);
    }

    pub(super) fn committed(&mut self) {
        (self.waiting, self.since) = (0, None);
    }

    /// Whether so many entries, one at least, have waited enough.
    fn due(&mut self, entries: u64, now_millis: u64) -> bool {
        let now = NonZeroU32::new(now_millis as u32).unwrap_or(NonZeroU32::MIN);
        let waited = now.get().wrapping_sub(self.since.get_or_insert(now).get());
        entries > u64::from(self.entries) && self.entries != u32::MAX
            || self.bytes != 0 && self.waiting >= self.bytes
            || self.millis != 0 && waited >= self.millis
    }
}

impl<B: Buffer, const SLOTS: usize> Log<B, SLOTS> {
    /// Commits if the strategy of [`set_sync`](Self::set_sync) says so. `now_millis` is any clock that does not go
    /// backwards; call this after appending, and from a timer.
    pub fn commit_if_due<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        now_millis: u64,
    ) -> Result<Durability, Error<D::Error>> {
        if self.durable == self.end {
            return Ok(Durability::Durable);
        }
        let entries = self.end.saturating_sub(self.durable);
        if !self.pace.due(entries, now_millis) {
            return Ok(Durability::Waiting);
        }
        self.commit(volume)?;
        Ok(Durability::Durable)
    }
}
