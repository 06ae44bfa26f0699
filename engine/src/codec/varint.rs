//! Numbers in as few bytes as they need: LEB128, seven bits a byte, least first.

/// Writes numbers and counts what they take; what does not fit is counted all the same.
pub(crate) struct PutVarint<'a> {
    pub(crate) bytes: &'a mut [u8],
    pub(crate) at: usize,
}

impl PutVarint<'_> {
    #[inline(never)]
    pub(crate) fn u64(&mut self, mut value: u64) {
        loop {
            let low = (value & 0x7F) as u8;
            value >>= 7;
            if let Some(place) = self.bytes.get_mut(self.at) {
                *place = if value == 0 { low } else { low | 0x80 };
            }
            self.at = self.at.wrapping_add(1);
            if value == 0 {
                return;
            }
        }
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.u64(u64::from(value));
    }
}

/// Reads numbers; what is not there reads as 0.
pub(crate) struct TakeVarint<'a>(pub(crate) &'a [u8]);

impl TakeVarint<'_> {
    #[inline(never)]
    pub(crate) fn u64(&mut self) -> u64 {
        let (mut value, mut shift) = (0, 0);
        while let Some((byte, rest)) = self.0.split_first() {
            self.0 = rest;
            value |= u64::from(byte & 0x7F).wrapping_shl(shift);
            shift = shift.wrapping_add(7);
            if byte & 0x80 == 0 || shift > 63 {
                break;
            }
        }
        value
    }

    pub(crate) fn u32(&mut self) -> u32 {
        self.u64() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_in_the_bytes_they_need() {
        let mut bytes = [0; 64];
        let mut put = PutVarint { bytes: &mut bytes, at: 0 };
        let numbers =
            [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (u64::from(u32::MAX), 5), (u64::MAX, 10)];
        let mut at = 0;
        for (number, len) in numbers {
            put.u64(number);
            at += len;
            assert_eq!(put.at, at, "{number}");
        }
        let mut take = TakeVarint(&bytes[..at]);
        for (number, _) in numbers {
            assert_eq!(take.u64(), number);
        }
        assert_eq!(take.u64(), 0, "behind the end");
        assert_eq!(TakeVarint(&[0xFF; 32]).u64(), u64::MAX, "no number is longer");
    }
}
