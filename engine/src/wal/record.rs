//! One record: the hot codec, without a device.
//!
//! ```text
//!   0  4 crc     over volume id, segment, life, epoch, position (the seed), then the user word, the payload and
//!                its padding, then the head, then the low half of the offset
//!   4  4 head    bits 0..16 length of the payload, 16..24 the low bits of the offset, 24..28 commit window, 28 commit,
//!                29 more, 30..32 kind
//!   8  4 length  only where the head says 65535: the true one, which is 65535 or more
//!   .  4 check   only when the payload has 1024 bytes or more: over the seed, the head without its commit bit and the
//!                length
//!   .  8 user    only for kind 2
//!   .  n payload
//!   .    0xFF up to a multiple of 4
//! ```
//! Kinds: 1 an entry, 2 an entry with a user word, 3 control (no payload: a commit; 4 bytes: a new epoch), 0 never. So
//! neither an erased nor a zeroed place is a record. *commit* marks the last record of its window: the next record
//! begins at the next write unit. *more* marks the entries of a batch but the last.
//!
//! Offsets are counted from the segment's first, and the checksum proves the count. Behind damage the count is lost, and
//! what an earlier life left there is looked at as well: the bits in the head say which few offsets are worth trying.
//! Were every one tried, then among the records of a large segment one would fit by chance now and then.

use crate::codec::{Checksum, align_up, put_word};
use crate::space::Link;

/// Records begin at multiples of this.
pub(crate) const ALIGN: u32 = 4;
/// The least that a record takes.
pub(crate) const RECORD: u32 = 8;
/// The longest head: crc, head, length, check, user word.
pub(crate) const MAX_HEAD: usize = 24;
/// Payloads from this length on carry a check of their head, so that garbage is not read far.
const CHECKED: u32 = 1024;
/// Payloads from this length on have it in a word of its own.
const LONG: u32 = 0xFFFF;
/// A head tells the offset modulo this.
pub(crate) const OFFSETS: u32 = 1 << 8;
const PADDING: [u8; 3] = [0xFF; 3];
const COMMIT: u32 = 1 << 28;
const MORE: u32 = 1 << 29;
const ENTRY: u32 = 1 << 30;
const USER_ENTRY: u32 = 2 << 30;
const CONTROL: u32 = 3 << 30;
const KIND: u32 = 3 << 30;

/// The head of a record; 0 is never one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Head {
    word: u32,
    len: u32,
}

impl Head {
    pub(crate) const NONE: Self = Self { word: 0, len: 0 };

    /// The head of an entry, with or without a user word.
    pub(crate) fn entry(user: bool, len: u32, window: u8, more: bool, offset: u64) -> Self {
        let kind = if user { USER_ENTRY } else { ENTRY };
        Self::new(if more { kind | MORE } else { kind }, len, window, offset)
    }

    /// The head of a mark: of length 0 that a window ends, of length 4 that an epoch begins. `offset`: of the next entry.
    pub(crate) fn control(len: u32, window: u8, offset: u64) -> Self {
        Self::new(CONTROL, len, window, offset)
    }

    fn new(kind: u32, len: u32, window: u8, offset: u64) -> Self {
        let offset = offset as u32 & OFFSETS.wrapping_sub(1);
        Self { word: kind | u32::from(window & 15) << 24 | offset << 16 | len.min(LONG), len }
    }

    /// The head of a record that was made, but for its length: to be [marked](Self::mark) anew.
    pub(crate) fn of_word(word: u32) -> Self {
        Self { word, len: 0 }
    }

    pub(crate) fn with_commit(self) -> Self {
        Self { word: self.word | COMMIT, ..self }
    }

    /// How many bytes behind the first 8 belong to the head of what could be a record, or are its epoch. `None`: it can't
    /// be one.
    pub(crate) fn more_to_read(word: u32) -> Option<u32> {
        match word & KIND {
            0 => None,
            CONTROL => Some(word & (LONG | MORE)).filter(|len| *len & !4 == 0),
            _ => Some(Self { word, len: word & LONG }.head_len().wrapping_sub(RECORD)),
        }
    }

    /// The head of what could be a record, given the word behind it; what it claims is not yet proved.
    pub(crate) fn decode(word: u32, behind: u32) -> Option<Self> {
        let short = word & LONG;
        let len = if short == LONG { behind } else { short };
        (len >= short && len < 1 << 24).then_some(Self { word, len })
    }

    /// The longest payload that fits into `room` bytes.
    pub(crate) fn longest(room: u32) -> u32 {
        let room = room.saturating_sub(RECORD);
        let (checked, long) = (room.saturating_sub(4), room.saturating_sub(8));
        if long >= LONG {
            long
        } else if checked >= CHECKED {
            checked.min(LONG.wrapping_sub(1))
        } else {
            room.min(CHECKED.wrapping_sub(1))
        }
    }

    pub(crate) const fn len(self) -> u32 {
        self.len
    }

    /// The offset modulo [`OFFSETS`].
    pub(crate) const fn offset(self) -> u32 {
        self.word >> 16 & OFFSETS.wrapping_sub(1)
    }

    pub(crate) const fn window(self) -> u8 {
        (self.word >> 24 & 15) as u8
    }

    pub(crate) const fn commit(self) -> bool {
        self.word & COMMIT != 0
    }

    pub(crate) const fn more(self) -> bool {
        self.word & MORE != 0
    }

    pub(crate) fn is_entry(self) -> bool {
        self.word < CONTROL
    }

    pub(crate) fn is_epoch(self) -> bool {
        !self.is_entry() && self.len == 4
    }

    /// Whether a check of this head stands behind it.
    pub(crate) const fn is_checked(self) -> bool {
        self.len >= CHECKED
    }

    /// Where the check would stand.
    pub(crate) fn check_at(self) -> usize {
        if self.len >= LONG { 12 } else { 8 }
    }

    /// Where the user word would stand.
    pub(crate) fn user_at(self) -> usize {
        self.check_at().wrapping_add(if self.is_checked() { 4 } else { 0 })
    }

    pub(crate) fn user_len(self) -> u32 {
        if self.word & KIND == USER_ENTRY { 8 } else { 0 }
    }

    /// Bytes before the payload.
    pub(crate) fn head_len(self) -> u32 {
        (self.user_at() as u32).wrapping_add(self.user_len())
    }

    /// The bytes behind the payload up to the end of the record. The checksum covers them, so that no unit of the device
    /// holds so little of a record that reading garbage there could go unnoticed.
    pub(crate) fn padding(self) -> &'static [u8] {
        let len = self.size().wrapping_sub(self.head_len()).wrapping_sub(self.len());
        PADDING.get(..len as usize).unwrap_or_default()
    }

    /// Bytes of the whole record, padding included.
    #[inline(never)]
    pub(crate) fn size(self) -> u32 {
        align_up(self.head_len().wrapping_add(self.len()), ALIGN)
    }

    /// Where the next record begins after this one at `position`.
    pub(crate) fn end(self, position: u32, write_unit: u32) -> u32 {
        let end = position.saturating_add(self.size());
        if self.commit() { align_up(end, write_unit) } else { end }
    }

    /// The checksum of the head alone, as it stands in long records.
    pub(crate) fn check(self, seed: Checksum) -> u32 {
        seed.word(self.word & !COMMIT).word(self.len).finish()
    }

    /// The record's checksum, given that over seed, user word and payload.
    pub(crate) fn seal(self, body: Checksum, offset: u64) -> u32 {
        body.word(self.word).word(offset as u32).finish()
    }

    /// The low half of the offset that `crc` was made with, if this record is whole.
    pub(crate) fn claimed_offset(self, body: Checksum, crc: u32) -> u32 {
        body.word(self.word).word_for(crc)
    }

    /// The beginning of the record, up to the user word.
    pub(crate) fn encode(self, crc: u32, seed: Checksum) -> [u8; MAX_HEAD] {
        let mut bytes = [0xFF; MAX_HEAD];
        self.mark(crc, &mut bytes);
        if self.is_checked() {
            // A length that need not stand apart makes room for the check.
            put_word(bytes.get_mut(8..).unwrap_or_default(), self.len);
            put_word(bytes.get_mut(self.check_at()..).unwrap_or_default(), self.check(seed));
        }
        bytes
    }

    /// Writes crc and head anew over the beginning of the record: it has become the last of its window.
    pub(crate) fn mark(self, crc: u32, bytes: &mut [u8]) {
        let (first, second) = bytes.split_at_mut_checked(4).unwrap_or_default();
        put_word(first, crc);
        put_word(second, self.word);
    }
}

/// What the checksum of every record of one epoch in one life of one segment begins with.
pub(crate) fn epoch_seed(identity: Checksum, epoch: u32) -> Checksum {
    identity.word(epoch)
}

/// What that is made of beside the epoch.
pub(crate) fn segment_identity(volume_id: u32, at: Link) -> Checksum {
    Checksum::new().word(volume_id).word(at.segment).word(at.life)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::word_at;

    fn back(bytes: &[u8; MAX_HEAD]) -> Option<Head> {
        let word = word_at(bytes, 4);
        Head::more_to_read(word)?;
        Head::decode(word, word_at(bytes, 8))
    }

    #[test]
    fn blank_and_zero_are_no_records() {
        assert_eq!(back(&[0; MAX_HEAD]), None);
        assert_eq!(back(&[0xFF; MAX_HEAD]), None);
    }

    #[test]
    fn fields_do_not_touch_each_other() {
        for user in [false, true] {
            for len in [0, 1, 3, 4, 1023, 1024, 4096, 65_534, 65_535, (1 << 24) - 1] {
                for window in 0..16 {
                    for (more, offset) in [(false, 0), (true, 255), (false, 77), (true, 1 << 40)] {
                        let head = Head::entry(user, len, window, more, offset).with_commit();
                        let back = back(&head.encode(1, Checksum::new())).unwrap();
                        assert_eq!(back, head);
                        assert_eq!((back.len(), back.window(), back.more()), (len, window, more));
                        assert_eq!(u64::from(back.offset()), offset % 256);
                        assert!(back.is_entry() && !back.is_epoch());
                        assert!(back.commit() && !Head::entry(user, len, window, more, offset).commit());
                        let user = if user { 8 } else { 0 };
                        let apart = if len >= 65_535 { 4 } else { 0 };
                        let check = if len >= 1024 { 4 } else { 0 };
                        assert_eq!(back.size(), (8 + apart + check + user + len).next_multiple_of(4));
                        assert!(Head::longest(back.size() - user) >= len);
                    }
                }
            }
        }
        assert!(Head::control(4, 15, 7).is_epoch() && !Head::control(0, 15, 7).is_epoch());
        assert_eq!(back(&Head::control(8, 0, 7).encode(1, Checksum::new())), None);
    }

    #[test]
    fn the_longest_payload_fits_and_no_longer_one() {
        for room in (8..3000).chain(65_000..66_000) {
            let fits = |len| Head::entry(false, len, 0, false, 0).size() <= room;
            let longest = Head::longest(room / 4 * 4);
            assert!(fits(longest) && !fits(longest + 1 + 8), "{room}: {longest}");
        }
    }

    #[test]
    fn the_check_does_not_depend_on_the_commit_bit() {
        let seed = |epoch| epoch_seed(segment_identity(1, Link { segment: 2, life: 3 }), epoch);
        let head = Head::entry(false, 5000, 3, false, 9);
        assert_eq!(head.check(seed(4)), head.with_commit().check(seed(4)));
        assert_ne!(head.check(seed(4)), head.check(seed(5)));
        assert_ne!(head.check(seed(4)), Head::entry(false, 5001, 3, false, 9).check(seed(4)));
    }
}
