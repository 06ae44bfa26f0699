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

use crate::codec::{Checksum, Put, Take, align_up};

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Entry,
    UserEntry,
    Control,
}

/// The head of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    word: u32,
    len: u32,
}

impl Head {
    /// `offset`: of the entry, or, for a control record, of the next one.
    pub(crate) fn new(kind: Kind, len: u32, window: u8, more: bool, offset: u64) -> Self {
        let kind = match kind {
            Kind::Entry => 1_u32,
            Kind::UserEntry => 2,
            Kind::Control => 3,
        };
        let more = if more { MORE } else { 0 };
        let offset = offset as u32 & OFFSETS.wrapping_sub(1);
        Self { word: kind << 30 | more | u32::from(window & 15) << 24 | offset << 16 | len.min(LONG), len }
    }

    pub(crate) fn with_commit(self) -> Self {
        Self { word: self.word | COMMIT, ..self }
    }

    /// How many bytes behind the first 8 belong to the head of what could be a record, or are its epoch. `None`: it can't
    /// be one.
    pub(crate) fn more_to_read(bytes: &[u8; MAX_HEAD]) -> Option<u32> {
        let word = word_at(bytes, 4);
        let head = Self { word, len: word & LONG };
        match word >> 30 {
            0 => None,
            3 => Some(word & (LONG | MORE)).filter(|len| *len & !4 == 0),
            _ => Some(head.head_len().wrapping_sub(RECORD)),
        }
    }

    /// The head of what could be a record; what it claims is not yet proved.
    pub(crate) fn decode(bytes: &[u8; MAX_HEAD]) -> Option<Self> {
        Self::more_to_read(bytes)?;
        let word = word_at(bytes, 4);
        let short = word & LONG;
        let len = if short == LONG { word_at(bytes, 8) } else { short };
        (len >= short && len < 1 << 24).then_some(Self { word, len })
    }

    pub(crate) fn kind(self) -> Kind {
        match self.word >> 30 {
            1 => Kind::Entry,
            2 => Kind::UserEntry,
            _ => Kind::Control,
        }
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
        self.kind() != Kind::Control
    }

    pub(crate) fn is_epoch(self) -> bool {
        self.kind() == Kind::Control && self.len() == 4
    }

    const fn checked(self) -> bool {
        self.len >= CHECKED
    }

    /// Bytes of the length where it is apart.
    fn apart(self) -> u32 {
        if self.len >= LONG { 4 } else { 0 }
    }

    fn user(self) -> u32 {
        if self.kind() == Kind::UserEntry { 8 } else { 0 }
    }

    /// Bytes before the payload.
    pub(crate) fn head_len(self) -> u32 {
        let check = if self.checked() { 4 } else { 0 };
        RECORD.wrapping_add(self.apart()).wrapping_add(check).wrapping_add(self.user())
    }

    /// The bytes behind the payload up to the end of the record. The checksum covers them, so that no unit of the device
    /// holds so little of a record that reading garbage there could go unnoticed.
    pub(crate) fn padding(self) -> &'static [u8] {
        let len = self.size().wrapping_sub(self.head_len()).wrapping_sub(self.len());
        PADDING.get(..len as usize).unwrap_or_default()
    }

    /// Bytes of the whole record, padding included.
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

    /// Whether `bytes`, the beginning of a record, don't belie this head before the payload is even read.
    pub(crate) fn passes(self, seed: Checksum, bytes: &[u8; MAX_HEAD]) -> bool {
        !self.checked() || word_at(bytes, RECORD.wrapping_add(self.apart()) as usize) == self.check(seed)
    }

    /// The user word among the first bytes of a record; 0 where there is none.
    pub(crate) fn user_word(self, bytes: &[u8; MAX_HEAD]) -> &[u8] {
        let end = self.head_len() as usize;
        bytes.get(end.wrapping_sub(self.user() as usize)..end).unwrap_or_default()
    }

    /// The record's checksum, given that over seed, user word and payload.
    pub(crate) fn seal(self, body: Checksum, offset: u64) -> u32 {
        body.word(self.word).word(offset as u32).finish()
    }

    /// The low half of the offset that `crc` was made with, if this record is whole.
    pub(crate) fn claimed_offset(self, body: Checksum, crc: u32) -> u32 {
        body.word(self.word).word_for(crc)
    }

    /// Writes the beginning of the record.
    pub(crate) fn encode(self, crc: u32, check: u32, user: &[u8]) -> [u8; MAX_HEAD] {
        let mut bytes = [0xFF; MAX_HEAD];
        let mut put = Put::new(&mut bytes);
        put.u32(crc).u32(self.word);
        if self.len >= LONG {
            put.u32(self.len);
        }
        if self.checked() {
            put.u32(check);
        }
        put.bytes(user);
        bytes
    }
}

fn word_at(bytes: &[u8; MAX_HEAD], at: usize) -> u32 {
    Take(bytes.get(at..).unwrap_or_default()).u32()
}

/// The checksum that every record of one epoch in one life of one segment begins with.
pub(crate) fn segment_seed(volume_id: u32, segment: u32, life: u32, epoch: u32) -> Checksum {
    Checksum::new().word(volume_id).word(segment).word(life).word(epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(head: Head) -> Option<Head> {
        Head::decode(&head.encode(1, 2, &[]))
    }

    #[test]
    fn blank_and_zero_are_no_records() {
        assert_eq!(Head::decode(&[0; MAX_HEAD]), None);
        assert_eq!(Head::decode(&[0xFF; MAX_HEAD]), None);
    }

    #[test]
    fn fields_do_not_touch_each_other() {
        for kind in [Kind::Entry, Kind::UserEntry] {
            for len in [0, 1, 3, 4, 1023, 1024, 4096, 65_534, 65_535, (1 << 24) - 1] {
                for window in 0..16 {
                    for (more, offset) in [(false, 0), (true, 255), (false, 77), (true, 1 << 40)] {
                        let head = Head::new(kind, len, window, more, offset).with_commit();
                        let back = back(head).unwrap();
                        assert_eq!(
                            (back.kind(), back.len(), back.window(), back.more()),
                            (kind, len, window, more)
                        );
                        assert_eq!(u64::from(back.offset()), offset % 256);
                        assert!(back.commit() && !Head::new(kind, len, window, more, offset).commit());
                        let user = if kind == Kind::UserEntry { 8 } else { 0 };
                        let apart = if len >= 65_535 { 4 } else { 0 };
                        let check = if len >= 1024 { 4 } else { 0 };
                        assert_eq!(back.size(), (8 + apart + check + user + len).next_multiple_of(4));
                        assert!(Head::longest(back.size() - user) >= len);
                    }
                }
            }
        }
    }

    #[test]
    fn the_longest_payload_fits_and_no_longer_one() {
        for room in (8..3000).chain(65_000..66_000) {
            let fits = |len| Head::new(Kind::Entry, len, 0, false, 0).size() <= room;
            let longest = Head::longest(room / 4 * 4);
            assert!(fits(longest) && !fits(longest + 1 + 8), "{room}: {longest}");
        }
    }

    #[test]
    fn the_check_does_not_depend_on_the_commit_bit() {
        let seed = segment_seed(1, 2, 3, 4);
        let head = Head::new(Kind::Entry, 5000, 3, false, 9);
        assert_eq!(head.check(seed), head.with_commit().check(seed));
        assert_ne!(head.check(seed), head.check(segment_seed(1, 2, 3, 5)));
        assert_ne!(head.check(seed), Head::new(Kind::Entry, 5001, 3, false, 9).check(seed));
    }
}
