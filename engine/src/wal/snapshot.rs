//! The state of what the log drives, at one offset; and the log without what came before, as one publish.
//!
//! The chunks of a snapshot are the entries of a companion log on the same volume. A new snapshot is appended behind the
//! old one, which stays whole until one publish names the new one, releases the old one's segments, and releases the
//! log's entries before the offset. So there is always one whole snapshot, of any size, in any number of chunks, with no
//! more memory than one write buffer.

use super::branch::Chain;
use super::release::Released;
use super::{Error, Log};
use crate::device::BlockDevice;
use crate::space::SegmentHeader;
use crate::volume::{Buffer, Fault, LogRoot, SnapshotRoot, Volume};

/// Bit 15 of a log's id tells its companion.
const COMPANION: u16 = 0x8000;

/// The snapshot of one log: the one that is published, and the next one while it is written.
pub struct Snapshot<B, const SLOTS: usize = 16> {
    chunks: Log<B, SLOTS>,
    /// First chunk of the one that is being written.
    first: u64,
    /// When it was opened, there were chunks of one that was never published.
    abandoned: bool,
}

/// The published snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SnapshotInfo {
    /// It says all that the entries before this offset had said.
    pub offset: u64,
    /// Chunks that it was written in.
    pub chunks: u32,
}

impl<B: Buffer, const SLOTS: usize> Snapshot<B, SLOTS> {
    /// Opens the snapshot of log `id`. The first time one publish makes room for it among the volume's logs; otherwise
    /// costs what [`Log::open`] does.
    pub fn open<D: BlockDevice, V: Buffer, const N: usize>(
        volume: &mut Volume<D, V, N>,
        id: u16,
        buffer: B,
    ) -> Result<Self, Error<D::Error>> {
        if volume.root_index(id | COMPANION).is_none() {
            volume.add_log(id | COMPANION).map_err(|fault| Error::Volume(volume.explain(fault)))?;
        }
        let chunks = Log::open(volume, id | COMPANION, buffer)?;
        let mut snapshot = Self { chunks, first: 0, abandoned: false };
        snapshot.first = snapshot.published_end(volume);
        snapshot.abandoned = snapshot.first != snapshot.chunks.end();
        Ok(snapshot)
    }

    /// Where the chunks of the published snapshot end.
    fn published_end<D: BlockDevice, V: Buffer, const N: usize>(&self, volume: &Volume<D, V, N>) -> u64 {
        self.root(volume).map_or(self.chunks.start(), |root| root.first.wrapping_add(u64::from(root.chunks)))
    }

    fn root<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &Volume<D, V, N>,
    ) -> Option<SnapshotRoot> {
        volume.root(self.chunks.id & !COMPANION).and_then(LogRoot::snapshot)
    }

    /// The published snapshot, if there is one.
    pub fn info<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &Volume<D, V, N>,
    ) -> Option<SnapshotInfo> {
        self.root(volume).map(|root| SnapshotInfo { offset: root.offset, chunks: root.chunks })
    }

    /// Reads chunk `nth` (from 0) of the published snapshot into the start of `out`; `None` behind the last one.
    pub fn read<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
        nth: u32,
        out: &mut [u8],
    ) -> Result<Option<usize>, Error<D::Error>> {
        let Some(root) = self.root(volume).filter(|root| nth < root.chunks) else { return Ok(None) };
        Ok(Some(self.chunks.read(volume, root.first.wrapping_add(u64::from(nth)), out)?.len))
    }

    /// Appends a chunk to the next snapshot. A chunk is at most [`Log::max_entry`] long. The first one drops what an
    /// earlier session left of a snapshot that it never published, see [`discard`](Self::discard).
    pub fn write<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        chunk: &[u8],
    ) -> Result<(), Error<D::Error>> {
        if self.abandoned {
            self.discard(volume)?;
        }
        self.chunks.append(volume, chunk).map(|_| ())
    }

    /// Drops the chunks of the next snapshot, durably: their segments are free when this returns. Where there is not even
    /// the one segment that this takes, they are forgotten, and free after the next publish. One commit and one publish;
    /// nothing if there are none.
    pub fn discard<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Error<D::Error>> {
        let end = self.published_end(volume);
        if end < self.chunks.end() {
            let dropped = if end > self.chunks.start() {
                self.chunks.truncate_after(volume, end.wrapping_sub(1))
            } else {
                self.chunks.reset(volume, end)
            };
            match dropped {
                Ok(()) | Err(Error::Full { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        (self.first, self.abandoned) = (self.chunks.end(), false);
        Ok(())
    }

    /// Publishes the next snapshot as that of `log` before `offset`, and releases the log's entries before `offset`
    /// and the snapshot before this one: all of that or nothing. One commit, one publish.
    pub fn publish<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        log: &mut Log<B, SLOTS>,
        offset: u64,
    ) -> Result<Released, Error<D::Error>> {
        if self.abandoned {
            // The publish frees them, and takes no segment for that.
            (self.first, self.abandoned) = (self.chunks.end(), false);
        }
        let done = self.try_publish(volume, log, offset);
        done.map_err(|fault| log.explain(volume, fault))
    }

    fn try_publish<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        log: &mut Log<B, SLOTS>,
        offset: u64,
    ) -> Result<Released, Fault> {
        volume.medium.check()?;
        if offset < log.start() || log.id != self.chunks.id & !COMPANION {
            return Err(Fault::OutOfRange);
        }
        let (mut log_head, mut chunk_head) = (SegmentHeader::default(), SegmentHeader::default());
        log.plan_release(volume, offset, &mut log_head)?;
        self.chunks.plan_release(volume, self.first, &mut chunk_head)?;
        self.chunks.try_commit(volume)?;
        log.note(volume)?;
        self.chunks.note(volume)?;
        let chunks = self.chunks.end().saturating_sub(self.first) as u32;
        if let Some(root) = volume.root_mut(log.id) {
            root.set_snapshot(SnapshotRoot { offset, first: self.first, chunks });
        }
        let entries = log_head.first.saturating_sub(log.start());
        let dropped = log.is_behind_start(&log_head).then(|| log.drop_before(volume, &log_head));
        let chunks =
            self.chunks.is_behind_start(&chunk_head).then(|| self.chunks.drop_before(volume, &chunk_head));
        volume.publish()?;
        if let Some(Chain { at, kept, .. }) = chunks {
            self.chunks.free_chain(volume, at, kept);
        }
        self.first = self.chunks.end();
        Ok(dropped.map_or(Released::default(), |dropped| log.free_released(volume, dropped, entries)))
    }

    /// Closes it like a log: see [`Log::close`].
    pub fn close<D: BlockDevice, V: Buffer, const N: usize>(
        self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<B, Error<D::Error>> {
        self.chunks.close(volume)
    }
}
