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

use super::segment::{Link, SegmentHeader};
use crate::codec::{Checksum, Fields, put_word, word_at};

/// Bytes of a seal without its slots.
pub(crate) const SEAL: usize = 84;
const CRC_AT: usize = 80;

/// See the module; the header apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Seal {
    pub(crate) end: u64,
    pub(crate) next: Link,
    pub(crate) epoch: u32,
    pub(crate) slots: u16,
    pub(crate) stride: u8,
    pub(crate) window: u8,
}

impl Seal {
    pub(crate) const NONE: Self = Self { end: 0, next: Link::NONE, epoch: 0, slots: 0, stride: 0, window: 0 };

    /// Continues the checksum of a seal over its slots.
    pub(crate) fn sum(volume_id: u32, segment: u32) -> Checksum {
        Checksum::new().word(volume_id).word(segment)
    }

    /// The fields behind the header.
    fn fields(&mut self, fields: &mut Fields<'_>) {
        let mut last = [self.stride, self.window];
        fields.u64(&mut self.end);
        fields.u32(&mut self.next.segment);
        fields.u32(&mut self.next.life);
        fields.u32(&mut self.epoch);
        fields.u16(&mut self.slots);
        fields.bytes(&mut last);
        let [stride, window] = last;
        (self.stride, self.window) = (stride & 31, window & 15);
    }

    /// The seal in bytes; `slots` is [`Self::sum`] continued over the encoded slots.
    pub(crate) fn encode(
        &mut self,
        header: &mut SegmentHeader,
        volume_id: u32,
        slots: Checksum,
    ) -> [u8; SEAL] {
        let mut bytes = [0; SEAL];
        if let Some((first, rest)) = bytes.split_first_chunk_mut() {
            header.encode(volume_id, first);
            self.fields(&mut Fields::write(rest));
        }
        let (body, crc) = bytes.split_at_mut(CRC_AT);
        put_word(crc, slots.bytes(body).finish());
        bytes
    }

    /// Takes itself and `header` from `bytes`. What they claim of the slots is proved by [`verify`](Self::verify), after summing
    /// them; the header has a checksum of its own and is good by itself.
    pub(crate) fn decode(
        &mut self,
        header: &mut SegmentHeader,
        bytes: &mut [u8; SEAL],
        volume_id: u32,
        segment: u32,
    ) -> bool {
        let Some((first, rest)) = bytes.split_first_chunk_mut() else { return false };
        self.fields(&mut Fields::read(rest));
        header.decode(first, volume_id, segment)
    }

    /// Whether `bytes` carry the checksum that `slots`, continued over them, comes to.
    pub(crate) fn verify(bytes: &[u8; SEAL], slots: Checksum) -> bool {
        slots.bytes(bytes.get(..CRC_AT).unwrap_or_default()).finish() == word_at(bytes, CRC_AT)
    }
}
