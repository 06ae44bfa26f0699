//! Memory to lend: pages of the kernel's own, zeros until they are touched.
#![allow(unsafe_code)]

use std::alloc::{Layout, handle_alloc_error};
use std::ptr::{NonNull, null_mut};
use std::{fmt, slice};

use esker::btree::Frame;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

/// Zeroed bytes that begin at a multiple of [`ALIGNMENT`](Self::ALIGNMENT), which suits every disk and file system.
///
/// Lend these to a volume and its logs on a [`RawDisk`](crate::RawDisk) or a [direct](crate::FileDevice::direct) file,
/// and what is read and written isn't copied on the way. Any other memory works as well.
///
/// The kernel gives a page only when it is first touched. So a store may be lent much and opens as fast as with little.
pub struct AlignedBuffer(Mapping);

impl AlignedBuffer {
    /// What the first byte's address is a multiple of.
    pub const ALIGNMENT: usize = 4096;

    /// `len` zeros.
    pub fn new(len: usize) -> Self {
        Self(Mapping::new(len))
    }
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the mapping is of so many bytes, which are there as long as it is, and borrowed with it.
        unsafe { slice::from_raw_parts(self.0.start.as_ptr(), self.0.len) }
    }
}

impl AsMut<[u8]> for AlignedBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; nobody else has the mapping.
        unsafe { slice::from_raw_parts_mut(self.0.start.as_ptr(), self.0.len) }
    }
}

impl fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuffer").field("len", &self.0.len).finish_non_exhaustive()
    }
}

/// Frame records for a [`BTree`](esker::btree::BTree), given by the kernel like an [`AlignedBuffer`]: those of pages that are
/// never needed take no memory and no time.
pub struct FrameBuffer {
    mapping: Mapping,
    count: usize,
}

impl FrameBuffer {
    /// So many records.
    pub fn new(count: usize) -> Self {
        Self { mapping: Mapping::new(count.saturating_mul(size_of::<Frame>())), count }
    }
}

impl AsRef<[Frame]> for FrameBuffer {
    fn as_ref(&self) -> &[Frame] {
        // SAFETY: the mapping is large enough for so many and begins at a page. All zeros are a `Frame`,
        // which `Frame::BLANK` promises.
        unsafe { slice::from_raw_parts(self.mapping.start.cast().as_ptr(), self.count) }
    }
}

impl AsMut<[Frame]> for FrameBuffer {
    fn as_mut(&mut self) -> &mut [Frame] {
        // SAFETY: as above; nobody else has the mapping.
        unsafe { slice::from_raw_parts_mut(self.mapping.start.cast().as_ptr(), self.count) }
    }
}

impl fmt::Debug for FrameBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameBuffer").field("count", &self.count).finish_non_exhaustive()
    }
}

/// What is behind so many bytes may be given in huge pages (2 MiB on most machines): whoever lends much is going to use it here
/// and there, and the processor finds its way in few pages faster than in many. The first bytes are given in small ones, as
/// it takes long to make a huge page zero, and who touches only the first few should not wait for it.
const SMALL: usize = 4 << 20;

/// Pages of this process alone.
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: it is memory that this value alone knows of, like a box.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(len: usize) -> Self {
        // SAFETY: a new mapping, at an address that nothing else has.
        let start = unsafe {
            mmap_anonymous(null_mut(), len.max(1), ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        };
        match start.ok().and_then(|start| NonNull::new(start.cast::<u8>())) {
            Some(start) => {
                if len > SMALL {
                    // SAFETY: these pages are our own, and advice changes nothing that they hold. Without it all is as right.
                    let _ = unsafe {
                        madvise(start.as_ptr().add(SMALL).cast(), len - SMALL, Advice::LinuxHugepage)
                    };
                }
                Self { start, len }
            }
            None => handle_alloc_error(Layout::array::<u8>(len).unwrap_or(Layout::new::<u8>())),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: whoever had borrowed a part of it has given it back.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len.max(1)) };
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
            buffer.as_mut().fill(7);
            assert!(AlignedBuffer::new(len).as_ref().iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn frames_are_blank() {
        for count in [0, 1, 1000] {
            let mut frames = FrameBuffer::new(count);
            assert_eq!(frames.as_mut().len(), count);
            let blank = format!("{:?}", Frame::BLANK);
            assert!(frames.as_ref().iter().all(|frame| format!("{frame:?}") == blank));
        }
    }
}
