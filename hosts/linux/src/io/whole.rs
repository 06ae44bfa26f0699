//! System calls repeated until all is done.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::os::unix::fs::FileExt;

use rustix::io::{preadv, pwritev};

/// Slices for one system call; the kernel takes 1024 at most.
pub(super) const SLICES: usize = 64;

/// Writes all of `data` at `address`. What a short write left is begun again at a multiple of `unit`, because a direct
/// write from anywhere else would be refused.
pub(super) fn write(file: &File, address: u64, data: &[u8], unit: usize) -> io::Result<()> {
    let mut done = 0;
    while done < data.len() {
        let n = retry(|| file.write_at(&data[done..], address + done as u64))?;
        done = progress(done, n, unit, data.len()).ok_or(ErrorKind::WriteZero)?;
    }
    Ok(())
}

/// Reads from `address` until at least `needed` bytes of the buffer are filled; there may be no more than that.
pub(super) fn read(
    file: &File,
    address: u64,
    buffer: &mut [u8],
    needed: usize,
    unit: usize,
) -> io::Result<()> {
    let mut done = 0;
    while done < needed {
        let n = retry(|| file.read_at(&mut buffer[done..], address + done as u64))?;
        if done + n >= needed {
            break;
        }
        done = progress(done, n, unit, buffer.len()).ok_or(ErrorKind::UnexpectedEof)?;
    }
    Ok(())
}

/// Writes the slices one after the other, without a copy.
pub(super) fn write_slices(
    file: &File,
    mut address: u64,
    slices: &mut [IoSlice<'_>],
    unit: usize,
) -> io::Result<()> {
    let mut slices = slices;
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        let n = retry(|| Ok(pwritev(file, &slices[..slices.len().min(SLICES)], address)?))?;
        let n = progress(0, n, unit, slices.iter().map(|slice| slice.len()).sum());
        let n = n.ok_or(ErrorKind::WriteZero)?;
        IoSlice::advance_slices(&mut slices, n);
        address += n as u64;
    }
    Ok(())
}

/// Fills the slices one after the other.
pub(super) fn read_slices(
    file: &File,
    mut address: u64,
    slices: &mut [IoSliceMut<'_>],
    unit: usize,
) -> io::Result<()> {
    let mut slices = slices;
    IoSliceMut::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        let count = slices.len().min(SLICES);
        let n = retry(|| Ok(preadv(file, &mut slices[..count], address)?))?;
        let n = progress(0, n, unit, slices.iter().map(|slice| slice.len()).sum());
        let n = n.ok_or(ErrorKind::UnexpectedEof)?;
        IoSliceMut::advance_slices(&mut slices, n);
        address += n as u64;
    }
    Ok(())
}

/// Repeats what a signal interrupted.
pub(super) fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Where to go on after `n` more bytes: at `total`, or at a multiple of `unit`. `None`: nothing was gained.
fn progress(done: usize, n: usize, unit: usize, total: usize) -> Option<usize> {
    let now = done.saturating_add(n).min(total);
    let now = if now == total { now } else { now - now % unit };
    (now > done).then_some(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_call_goes_on_at_a_unit() {
        assert_eq!(progress(0, 1000, 512, 4096), Some(512));
        assert_eq!(progress(512, 3584, 512, 4096), Some(4096));
        assert_eq!(progress(512, 100, 512, 4096), None, "else it would never end");
        assert_eq!(progress(0, 0, 1, 10), None);
        assert_eq!(progress(3, 4, 1, 10), Some(7));
        assert_eq!(progress(0, 700, 512, 700), Some(700));
    }

    #[test]
    fn an_interrupted_call_is_made_again() {
        let mut calls = 0;
        let done = retry(|| {
            calls += 1;
            if calls < 3 { Err(ErrorKind::Interrupted.into()) } else { Ok(calls) }
        });
        assert_eq!(done.unwrap(), 3);
    }
}
