//! The one call to the kernel about disks that has no safe form yet.
#![allow(unsafe_code)]

use std::fs::File;
use std::ops::Range;

use rustix::io::{Result, retry_on_intr};
use rustix::ioctl::{Opcode, Setter, ioctl, opcode};

/// `BLKDISCARD` of `linux/fs.h`. It takes two numbers, address and length in bytes.
const BLKDISCARD: Opcode = opcode::none(0x12, 119);

/// Tells the disk that a range of whole sectors holds nothing of worth. What it reads as afterwards is not known.
pub(super) fn discard(disk: &File, range: Range<u64>) -> Result<()> {
    retry_on_intr(|| {
        // SAFETY: the kernel reads two `u64`s through the pointer, writes nothing there, and refuses what is outside of
        // the disk or no disk at all.
        unsafe { ioctl(disk, Setter::<BLKDISCARD, [u64; 2]>::new([range.start, range.end - range.start])) }
    })
}
