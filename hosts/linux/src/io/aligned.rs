//! Memory that direct I/O takes as it is.

use std::fmt;

/// Zeroed bytes that begin at a multiple of [`ALIGNMENT`](Self::ALIGNMENT), which suits every disk and file system.
///
/// Lend these to a volume and its logs on a [`RawDisk`](crate::RawDisk) or a [direct](crate::FileDevice::direct) file,
/// and what is read and written isn't copied on the way. Any other memory works as well.
pub struct AlignedBuffer {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBuffer {
    /// What the first byte's address is a multiple of.
    pub const ALIGNMENT: usize = 4096;

    /// `len` zeros.
    pub fn new(len: usize) -> Self {
        let bytes = vec![0; len + Self::ALIGNMENT];
        // The vector never grows, so its bytes stay where they are.
        let start = bytes.as_ptr().align_offset(Self::ALIGNMENT).min(Self::ALIGNMENT);
        Self { bytes, start, len }
    }
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }
}

impl AsMut<[u8]> for AlignedBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }
}

impl fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuffer").field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_where_it_says() {
        for len in [0, 1, 511, 4096, 100_000] {
            let mut buffer = AlignedBuffer::new(len);
            assert_eq!(buffer.as_ref().len(), len);
            assert_eq!(buffer.as_mut().as_ptr() as usize % AlignedBuffer::ALIGNMENT, 0);
        }
    }
}
