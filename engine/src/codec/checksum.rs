//! CRC-32C, as a value that is carried along.
//!
//! One step over bytes in three forms, chosen by features: half a byte at a time over a table of 64 bytes, for firmware,
//! where flash is dear and the device far slower than that; with `fast-crc` the crate `crc` and a table of 1 KiB; with
//! `host-crc` 16 KiB of tables, and `crc-fast` (the processor's own instructions) for what is long enough to be worth the call.

/// The polynomial, reflected.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// Moves the register on over `bytes`.
#[cfg(not(feature = "fast-crc"))]
#[inline(never)]
fn advance(mut register: u32, bytes: &[u8]) -> u32 {
    /// What four zero bits make of a register that holds the half byte.
    static STEPS: [u32; 16] = [
        0x0000_0000,
        0x105E_C76F,
        0x20BD_8EDE,
        0x30E3_49B1,
        0x417B_1DBC,
        0x5125_DAD3,
        0x61C6_9362,
        0x7198_540D,
        0x82F6_3B78,
        0x92A8_FC17,
        0xA24B_B5A6,
        0xB215_72C9,
        0xC38D_26C4,
        0xD3D3_E1AB,
        0xE330_A81A,
        0xF36E_6F75,
    ];
    let step = |register: u32| {
        // Always there: the index has four bits.
        register >> 4 ^ STEPS.get(register as usize & 15).copied().unwrap_or(0)
    };
    for byte in bytes {
        register = step(step(register ^ u32::from(*byte)));
    }
    register
}

/// Moves the register on over `bytes`.
#[cfg(feature = "fast-crc")]
fn advance(register: u32, bytes: &[u8]) -> u32 {
    use crc::{CRC_32_ISCSI, Crc, Table};
    const LANES: usize = if cfg!(feature = "host-crc") { 16 } else { 1 };
    static CRC: Crc<u32, Table<LANES>> = Crc::<u32, Table<LANES>>::new(&CRC_32_ISCSI);
    #[cfg(feature = "host-crc")]
    if bytes.len() >= 64 {
        use crc_fast::{CrcAlgorithm, Digest};
        let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, u64::from(register));
        digest.update(bytes);
        return !(digest.finalize() as u32);
    }
    // The crate takes its initial value before reflection and hands out the complement of its register.
    let mut digest = CRC.digest_with_initial(register.reverse_bits());
    digest.update(bytes);
    !digest.finalize()
}

/// A running CRC-32C (Castagnoli). Its state is one word, so that a checksum over a common beginning (a segment's
/// identity) is computed once and continued many times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Checksum(u32);

impl Checksum {
    pub(crate) const fn new() -> Self {
        Self(u32::MAX)
    }

    /// Its state, to be kept elsewhere.
    pub(crate) const fn state(self) -> u32 {
        self.0
    }

    pub(crate) const fn of_state(state: u32) -> Self {
        Self(state)
    }

    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        Self(advance(self.0, bytes))
    }

    #[cfg_attr(not(feature = "fast-crc"), inline(never))]
    pub(crate) fn word(self, value: u32) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) const fn finish(self) -> u32 {
        !self.0
    }

    /// The one word that, appended, makes the checksum come to `target`: four bytes of CRC are a permutation of the
    /// register, and this runs it backwards.
    pub(crate) fn word_for(self, target: u32) -> u32 {
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

    /// Of the bytes 0, 7, 14, ... 1000 of them, modulo 256; computed bit by bit elsewhere.
    const LONG: u32 = 0x79A1_6AE6;

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
        let long: std::vec::Vec<u8> = (0..1000).map(|n| (n * 7) as u8).collect();
        for at in [0, 1, 63, 64, 500, 936, 937] {
            let (first, second) = long.split_at(at);
            assert_eq!(Checksum::new().bytes(first).bytes(second).finish(), LONG, "cut at {at}");
        }
        assert_eq!(
            Checksum::new().word(0x3433_3231).bytes(b"56789").finish(),
            Checksum::new().bytes(b"123456789").finish()
        );
    }
}
