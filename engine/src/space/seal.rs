//! The seal at the end of a full segment.
//!
//! ```text
//!  ..  4n slots     the offset index: where every 2^stride-th entry begins, see `wal::index`
//!   0 56 header     a second copy of the segment's header
//!  56  8 end        offset after the segment's last entry
//!  64  8 next       segment, life: where the log goes on
//!  72  4 epoch      in force at the end
//!  76  2 slots      how many
//!  78  1 stride     logarithm of the entries between two slots
//!  79  1 window     commit window in which the seal was written
//!  80  4 crc        over volume id, segment number, the slots and bytes 0..80
//! ```
//! It ends where the segment ends, so the last 84 bytes are found without knowing the number of slots.

use super::segment::{Link, SEGMENT_HEADER, SegmentHeader};
use crate::codec::{Checksum, Put, Take};

/// Bytes of a seal without its slots.
pub(crate) const SEAL: usize = 84;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) header: SegmentHeader,
    pub(crate) end: u64,
    pub(crate) next: Link,
    pub(crate) epoch: u32,
    pub(crate) slots: u16,
    pub(crate) stride: u8,
    pub(crate) window: u8,
}

impl Seal {
    /// Continues the checksum of a seal over its slots.
    pub(crate) fn sum(volume_id: u32, segment: u32) -> Checksum {
        Checksum::new().word(volume_id).word(segment)
    }

    /// `slots` is [`Self::sum`] continued over the encoded slots.
    pub(crate) fn encode(&self, volume_id: u32, slots: Checksum) -> [u8; SEAL] {
        let mut bytes = [0; SEAL];
        Put::new(&mut bytes)
            .bytes(&self.header.encode(volume_id))
            .u64(self.end)
            .u32(self.next.segment)
            .u32(self.next.life)
            .u32(self.epoch)
            .u16(self.slots)
            .bytes(&[self.stride, self.window]);
        let crc = slots.bytes(bytes.get(..80).unwrap_or_default()).finish();
        Put::new(bytes.get_mut(80..).unwrap_or_default()).u32(crc);
        bytes
    }

    /// What the bytes say, with the checksum that they claim; the caller compares it after summing the slots. The
    /// header in it has a checksum of its own and is good by itself.
    pub(crate) fn decode(bytes: &[u8; SEAL], volume_id: u32, segment: u32) -> Option<Self> {
        let mut take = Take(bytes);
        let header = SegmentHeader::decode(&take.array::<SEGMENT_HEADER>(), volume_id, segment)?;
        let end = take.u64();
        let next = Link { segment: take.u32(), life: take.u32() };
        let epoch = take.u32();
        let slots = take.u16();
        let [stride, window] = take.array();
        Some(Self { header, end, next, epoch, slots, stride: stride & 31, window: window & 15 })
    }

    /// Whether `bytes` carry the checksum that `slots`, continued over them, comes to.
    pub(crate) fn verify(bytes: &[u8; SEAL], slots: Checksum) -> bool {
        let (body, crc) = bytes.split_at_checked(80).unwrap_or_default();
        slots.bytes(body).finish() == Take(crc).u32()
    }
}
