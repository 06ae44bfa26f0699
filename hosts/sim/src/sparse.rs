//! A device far larger than memory, of which only what was written is held.

use std::collections::HashMap;
use std::ops::Range;

use esker::device::{BlockDevice, Geometry};

use crate::error::SimError;

/// Bytes that are held or not as one.
const CHUNK: usize = 4096;

/// A block device of any capacity that holds what was written, and nothing else: for whatever must not take memory or time in
/// proportion to the device. Nothing ever fails but what breaks the geometry's rules.
///
/// ```
/// use esker::device::BlockDevice;
/// use esker_sim::Sparse;
///
/// let mut device = Sparse::blocks(1 << 40, 4096);
/// device.write((1 << 40) - 4096, &[7; 4096])?;
/// let mut back = [0; 4096];
/// device.read((1 << 40) - 4096, &mut back)?;
/// assert_eq!((back[0], device.held()), (7, 4096));
/// # Ok::<(), esker_sim::SimError>(())
/// ```
#[derive(Debug)]
pub struct Sparse {
    geometry: Geometry,
    chunks: HashMap<u64, Box<[u8]>>,
    reads: u64,
}

impl Sparse {
    /// A device of `capacity` bytes in blocks of this many, all zeros.
    ///
    /// # Panics
    /// If the geometry isn't a possible one.
    pub fn blocks(capacity: u64, block: u32) -> Self {
        let geometry = Geometry::blocks(capacity, block);
        geometry.check().expect("a possible geometry");
        Self { geometry, chunks: HashMap::new(), reads: 0 }
    }

    /// Bytes held in memory.
    pub fn held(&self) -> u64 {
        self.chunks.len() as u64 * CHUNK as u64
    }

    /// Calls of `read` so far.
    pub fn reads(&self) -> u64 {
        self.reads
    }
}

/// The parts of a range that lie in one chunk each: its number, where in it, and how long.
fn parts(address: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = address + done as u64;
        let within = usize::try_from(at % CHUNK as u64).unwrap_or(0);
        let part = (CHUNK - within).min(len - done);
        done += part;
        (part > 0).then_some((at / CHUNK as u64, within, part))
    })
}

impl BlockDevice for Sparse {
    type Error = SimError;

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), SimError> {
        if !self.geometry.allows_read(address, buffer.len()) {
            return Err(SimError::Read { address });
        }
        self.reads += 1;
        let mut left = &mut *buffer;
        for (chunk, within, len) in parts(address, left.len()) {
            let (part, rest) = left.split_at_mut(len);
            match self.chunks.get(&chunk) {
                Some(bytes) => part.copy_from_slice(&bytes[within..within + len]),
                None => part.fill(0),
            }
            left = rest;
        }
        Ok(())
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), SimError> {
        if !self.geometry.allows_write(address, data.len()) {
            return Err(SimError::Write { address });
        }
        let mut left = data;
        for (chunk, within, len) in parts(address, data.len()) {
            let (part, rest) = left.split_at(len);
            let bytes = self.chunks.entry(chunk).or_insert_with(|| vec![0; CHUNK].into());
            bytes[within..within + len].copy_from_slice(part);
            left = rest;
        }
        Ok(())
    }

    fn erase(&mut self, range: Range<u64>) -> Result<(), SimError> {
        if self.geometry.allows_erase(&range) {
            Ok(())
        } else {
            Err(SimError::Erase { address: range.start })
        }
    }

    fn sync(&mut self) -> Result<(), SimError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_back_across_chunks() {
        let mut device = Sparse::blocks(1 << 40, 512);
        let data: Vec<u8> = (0..9 * 512).map(|n| (n % 251) as u8).collect();
        let at = (1 << 39) + 7 * 512;
        device.write(at, &data).unwrap();
        let mut back = vec![1; 11 * 512];
        device.read(at - 512, &mut back).unwrap();
        assert_eq!(
            (&back[..512], &back[512..10 * 512], &back[10 * 512..]),
            (&[0; 512][..], &data[..], &[0; 512][..])
        );
        assert_eq!(device.held(), 2 * CHUNK as u64);
    }

    #[test]
    fn the_geometry_is_kept() {
        let mut device = Sparse::blocks(8192, 512);
        assert!(device.write(256, &[0; 512]).is_err());
        assert!(device.write(8192, &[0; 512]).is_err());
        assert!(device.read(0, &mut [0; 100]).is_err());
        assert_eq!(device.held(), 0);
    }
}
