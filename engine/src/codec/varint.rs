//! Numbers in as few bytes as they need: LEB128, seven bits a byte, least first.

/// Where a list of numbers is written to, or read from: see [`Fields`](super::Fields), of which this is the short form.
pub struct Varints<'a> {
    bytes: &'a mut [u8],
    /// Bytes that the numbers took so far; those that did not fit are counted, too.
    pub(crate) at: usize,
    writes: bool,
}

impl<'a> Varints<'a> {
    /// Numbers go into `bytes`, one after the other.
    pub(crate) fn write(bytes: &'a mut [u8]) -> Self {
        Self { bytes, at: 0, writes: true }
    }

    /// Numbers come out of `bytes`; what is not there reads as 0.
    pub(crate) fn read(bytes: &'a mut [u8]) -> Self {
        Self { bytes, at: 0, writes: false }
    }

    #[inline(never)]
    pub(crate) fn u64(&mut self, value: &mut u64) {
        let (mut left, mut read, mut shift) = (*value, 0, 0_u32);
        loop {
            let mut byte = (left & 0x7F) as u8;
            left >>= 7;
            if left != 0 {
                byte |= 0x80;
            }
            match self.bytes.get_mut(self.at) {
                Some(place) if self.writes => *place = byte,
                Some(place) => byte = *place,
                None if self.writes => {}
                None => byte = 0,
            }
            self.at = self.at.wrapping_add(1);
            read |= u64::from(byte & 0x7F).wrapping_shl(shift);
            shift = shift.wrapping_add(7);
            if byte & 0x80 == 0 || shift > 63 {
                break;
            }
        }
        *value = read;
    }

    #[inline(never)]
    pub(crate) fn u32(&mut self, value: &mut u32) {
        let mut wide = u64::from(*value);
        self.u64(&mut wide);
        *value = wide as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_in_the_bytes_they_need() {
        let mut bytes = [0; 64];
        let mut put = Varints::write(&mut bytes);
        let numbers =
            [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (u64::from(u32::MAX), 5), (u64::MAX, 10)];
        let mut at = 0;
        for (mut number, len) in numbers {
            put.u64(&mut number);
            at += len;
            assert_eq!(put.at, at, "{number}");
        }
        let next = |take: &mut Varints<'_>| {
            let mut number = 77;
            take.u64(&mut number);
            number
        };
        let mut take = Varints::read(&mut bytes[..at]);
        for (number, _) in numbers {
            assert_eq!(next(&mut take), number);
        }
        assert_eq!(next(&mut take), 0, "behind the end");
        assert_eq!(next(&mut Varints::read(&mut [0xFF; 32])), u64::MAX, "no number is longer");
    }
}
