//! The header of a segment: whose it is, in which life, and where the log goes on backwards.
//!
//! ```text
//!  0  4 crc        over volume id, segment number and bytes 4..56
//!  4  2 magic      "SG"
//!  6  2 log        id of the log
//!  8  4 life       counts the segments given out on this volume, from 1
//! 12  4 epoch      in force at the first record
//! 16  8 first      offset of the first entry
//! 24  4 ordinal    how many segments of this log came before
//! 28  8 previous   segment, life: the one before; life 0: none
//! 36  8 jump       segment, life: one further back (skew-binary), so that any offset is found in O(log n) reads
//! 44  8 jump first offset of the first entry of `jump`
//! 52  1 window     commit window in which this header was written
//! 53  3 trail      sum over all segments of this log before it: tells at open whether one is missing or too many
//! ```

use crate::codec::{Checksum, Fields, put_word, word_at};

/// Bytes of a segment's header.
pub(crate) const SEGMENT_HEADER: usize = 56;
/// A trail has 24 bits.
pub(crate) const TRAIL: u32 = 0xFF_FFFF;
const MAGIC: u16 = u16::from_le_bytes(*b"SG");

/// A segment in one of its lives. Life 0 is no segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Link {
    pub(crate) segment: u32,
    pub(crate) life: u32,
}

impl Link {
    pub(crate) const NONE: Self = Self { segment: 0, life: 0 };

    pub(crate) const fn is_none(self) -> bool {
        self.life == 0
    }

    /// The trail of the segment that follows this one, given that of this one.
    pub(crate) const fn trail_after(self, trail: u32) -> u32 {
        trail.wrapping_add(self.mark()) & TRAIL
    }

    /// What this segment adds to a trail.
    pub(crate) const fn mark(self) -> u32 {
        (self.segment.wrapping_mul(0x9E37_79B1) ^ self.life.wrapping_mul(0x85EB_CA6B)) >> 8
    }
}

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SegmentHeader {
    pub(crate) at: Link,
    pub(crate) first: u64,
    pub(crate) previous: Link,
    pub(crate) epoch: u32,
    pub(crate) ordinal: u32,
    pub(crate) trail: u32,
    pub(crate) log: u16,
    pub(crate) window: u8,
    pub(crate) jump: Link,
    pub(crate) jump_first: u64,
}

fn checksum(volume_id: u32, segment: u32, body: &[u8]) -> u32 {
    Checksum::new().word(volume_id).word(segment).bytes(body).finish()
}

impl SegmentHeader {
    /// Of no segment.
    pub(crate) const NONE: Self = Self {
        log: 0,
        at: Link::NONE,
        epoch: 0,
        first: 0,
        ordinal: 0,
        previous: Link::NONE,
        jump: Link::NONE,
        jump_first: 0,
        window: 0,
        trail: 0,
    };

    /// Becomes a copy of `other`: one copy of this code in the image instead of one wherever a header is kept.
    #[inline(never)]
    pub(crate) fn copy_from(&mut self, other: &Self) {
        *self = *other;
    }

    /// Which entry of the segment `offset` is, counted from 0.
    #[inline(never)]
    pub(crate) fn nth(&self, offset: u64) -> u32 {
        u32::try_from(offset.saturating_sub(self.first)).unwrap_or(u32::MAX)
    }

    /// The trail of the segment that follows this one.
    #[inline(never)]
    pub(crate) fn trail_after(&self) -> u32 {
        self.at.trail_after(self.trail)
    }

    /// The fields from byte 4 on; whether the magic was there.
    fn fields(&mut self, fields: &mut Fields<'_>) -> bool {
        let mut magic = MAGIC;
        let mut last = u32::from(self.window) | self.trail << 8;
        fields.u16(&mut magic);
        fields.u16(&mut self.log);
        fields.u32(&mut self.at.life);
        fields.u32(&mut self.epoch);
        fields.u64(&mut self.first);
        fields.u32(&mut self.ordinal);
        fields.u32(&mut self.previous.segment);
        fields.u32(&mut self.previous.life);
        fields.u32(&mut self.jump.segment);
        fields.u32(&mut self.jump.life);
        fields.u64(&mut self.jump_first);
        fields.u32(&mut last);
        (self.window, self.trail) = ((last & 15) as u8, last >> 8);
        magic == MAGIC
    }

    #[inline(never)]
    pub(crate) fn encode(&mut self, volume_id: u32, bytes: &mut [u8; SEGMENT_HEADER]) {
        let (crc, body) = bytes.split_at_mut(4);
        self.fields(&mut Fields::write(body));
        put_word(crc, checksum(volume_id, self.at.segment, body));
    }

    /// Takes itself from `bytes`; `false` if they are none that was written for `segment` of this volume.
    #[inline(never)]
    pub(crate) fn decode(&mut self, bytes: &mut [u8; SEGMENT_HEADER], volume_id: u32, segment: u32) -> bool {
        let (crc, body) = bytes.split_at_mut(4);
        self.at.segment = segment;
        // Chains go back in time; a header that says otherwise could send a walk in circles.
        self.fields(&mut Fields::read(body))
            && word_at(crc, 0) == checksum(volume_id, segment, body)
            && self.previous.life < self.at.life
            && self.jump.life < self.at.life
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_seen() {
        let mut header = SegmentHeader {
            log: 7,
            at: Link { segment: 3, life: 9 },
            epoch: 4,
            first: 1 << 40,
            ordinal: 5,
            previous: Link { segment: 2, life: 8 },
            jump: Link { segment: 1, life: 2 },
            jump_first: 1 << 33,
            window: 15,
            trail: 0xAB_CDEF,
        };
        let mut bytes = [0; SEGMENT_HEADER];
        header.encode(77, &mut bytes);
        let decode = |mut bytes: [u8; SEGMENT_HEADER], volume_id, segment| {
            let mut header = SegmentHeader::default();
            header.decode(&mut bytes, volume_id, segment).then_some(header)
        };
        assert_eq!(decode(bytes, 77, 3), Some(header));
        assert_eq!(decode(bytes, 78, 3), None, "another volume");
        assert_eq!(decode(bytes, 77, 4), None, "another place");
        for bit in 0..SEGMENT_HEADER * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(flipped, 77, 3), None, "bit {bit}");
        }
    }
}
