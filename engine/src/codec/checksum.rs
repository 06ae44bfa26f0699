//! CRC-32C, as a value that is carried along.

use crc::{CRC_32_ISCSI, Crc};

#[cfg(not(feature = "fast-crc"))]
type Lanes = crc::Table<1>;
#[cfg(feature = "fast-crc")]
type Lanes = crc::Table<16>;

static CRC: Crc<u32, Lanes> = Crc::<u32, Lanes>::new(&CRC_32_ISCSI);

/// A running CRC-32C (Castagnoli). Its state is one word, so that a checksum over a common beginning (a segment's
/// identity) is computed once and continued many times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checksum(u32);

impl Checksum {
    pub(crate) const fn new() -> Self {
        Self(u32::MAX)
    }

    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        // The crate takes its initial value before reflection and hands out the complement of its register.
        let mut digest = CRC.digest_with_initial(self.0.reverse_bits());
        digest.update(bytes);
        Self(!digest.finalize())
    }

    pub(crate) fn word(self, value: u32) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) const fn finish(self) -> u32 {
        !self.0
    }

    /// The one word that, appended, makes the checksum come to `target`: four bytes of CRC are a permutation of the
    /// register, and this runs it backwards.
    pub(crate) fn word_for(self, target: u32) -> u32 {
        const POLYNOMIAL: u32 = 0x82F6_3B78;
        let mut register = !target;
        for _ in 0..32 {
            register = if register >> 31 == 1 { (register ^ POLYNOMIAL) << 1 | 1 } else { register << 1 };
        }
        register ^ self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_can_be_told_from_the_checksum() {
        for word in [0, 1, 77, u32::MAX, 0x8000_0000] {
            let sum = Checksum::new().bytes(b"whatever");
            assert_eq!(sum.word_for(sum.word(word).finish()), word);
        }
    }

    #[test]
    fn is_crc_32c_and_can_be_continued() {
        assert_eq!(Checksum::new().bytes(b"123456789").finish(), 0xE306_9283);
        assert_eq!(Checksum::new().bytes(b"1234").bytes(b"").bytes(b"56789").finish(), 0xE306_9283);
        assert_eq!(
            Checksum::new().word(0x3433_3231).bytes(b"56789").finish(),
            Checksum::new().bytes(b"123456789").finish()
        );
    }
}
