//! Fields of values, and their bytes. A value lists its fields once, in a function over [`Fields`], and is encoded or
//! decoded by it, as the direction says: so the two can't disagree, and the list is paid for once.
//!
//! Nothing here can panic: what does not fit is dropped, what is not there reads as 0; the checksum over the whole tells
//! the difference.

/// Where a list of fields is written to, or read from.
pub(crate) struct Fields<'a> {
    bytes: &'a mut [u8],
    at: usize,
    writes: bool,
}

impl<'a> Fields<'a> {
    /// Fields go into `bytes`, one after the other.
    pub(crate) fn write(bytes: &'a mut [u8]) -> Self {
        Self { bytes, at: 0, writes: true }
    }

    /// Fields come out of `bytes`.
    pub(crate) fn read(bytes: &'a mut [u8]) -> Self {
        Self { bytes, at: 0, writes: false }
    }

    #[inline(never)]
    pub(crate) fn bytes(&mut self, value: &mut [u8]) {
        // In this form the compiler sees that the lengths are equal, so that no copy can panic.
        let rest = self.bytes.get_mut(self.at..).unwrap_or_default();
        match rest.get_mut(..value.len()) {
            Some(place) if self.writes => place.copy_from_slice(value),
            Some(place) => value.copy_from_slice(place),
            None if self.writes => {}
            None => value.fill(0),
        }
        self.at = self.at.saturating_add(value.len());
    }

    #[inline(never)]
    pub(crate) fn u16(&mut self, value: &mut u16) {
        let mut bytes = value.to_le_bytes();
        self.bytes(&mut bytes);
        *value = u16::from_le_bytes(bytes);
    }

    #[inline(never)]
    pub(crate) fn u32(&mut self, value: &mut u32) {
        let mut bytes = value.to_le_bytes();
        self.bytes(&mut bytes);
        *value = u32::from_le_bytes(bytes);
    }

    #[inline(never)]
    pub(crate) fn u64(&mut self, value: &mut u64) {
        let mut bytes = value.to_le_bytes();
        self.bytes(&mut bytes);
        *value = u64::from_le_bytes(bytes);
    }
}

/// Writes `value` at the start of `bytes`.
pub(crate) fn put_word(bytes: &mut [u8], value: u32) {
    if let Some(place) = bytes.first_chunk_mut() {
        *place = value.to_le_bytes();
    }
}

/// The word at `at`; 0 if it is not there.
pub(crate) fn word_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u32::from_le_bytes(*word))
}
