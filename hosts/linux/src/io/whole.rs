//! System calls repeated until all is done.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::os::unix::fs::FileExt;

use rustix::io::{preadv, pwritev};

/// Slices for one system call; the kernel takes 1024 at most.
pub(super) const SLICES: usize = 64;

/// Calls in a row that may come to nothing, before that is an error.
const IDLE: u32 = 8;

/// Writes all of `data` at `address`. What a short write left is begun again at a multiple of `unit`, because a direct
/// write from anywhere else would be refused.
pub(super) fn write(file: &File, address: u64, data: &[u8], unit: usize) -> io::Result<()> {
    let zero = ErrorKind::WriteZero;
    all(data.len(), data.len(), unit, zero, |done| file.write_at(&data[done..], address + done as u64))
}

/// Reads from `address` until at least `needed` bytes of the buffer are filled; there may be no more than that.
pub(super) fn read(
    file: &File,
    address: u64,
    buffer: &mut [u8],
    needed: usize,
    unit: usize,
) -> io::Result<()> {
    let (len, zero) = (buffer.len(), ErrorKind::UnexpectedEof);
    all(needed, len, unit, zero, |done| file.read_at(&mut buffer[done..], address + done as u64))
}

/// Writes the slices one after the other, without a copy.
pub(super) fn write_slices(
    file: &File,
    address: u64,
    slices: &mut [IoSlice<'_>],
    unit: usize,
) -> io::Result<()> {
    let len = slices.iter().map(|slice| slice.len()).sum();
    let (mut slices, mut at) = (slices, 0);
    all(len, len, unit, ErrorKind::WriteZero, |done| {
        IoSlice::advance_slices(&mut slices, done - at);
        at = done;
        Ok(pwritev(file, &slices[..slices.len().min(SLICES)], address + done as u64)?)
    })
}

/// Fills the slices one after the other.
pub(super) fn read_slices(
    file: &File,
    address: u64,
    slices: &mut [IoSliceMut<'_>],
    unit: usize,
) -> io::Result<()> {
    let len = slices.iter().map(|slice| slice.len()).sum();
    let (mut slices, mut at) = (slices, 0);
    all(len, len, unit, ErrorKind::UnexpectedEof, |done| {
        IoSliceMut::advance_slices(&mut slices, done - at);
        at = done;
        let count = slices.len().min(SLICES);
        Ok(preadv(file, &mut slices[..count], address + done as u64)?)
    })
}

/// Makes a call that does the rest of `len` bytes, or less, from a place on, until `needed` are done.
fn all(
    needed: usize,
    len: usize,
    unit: usize,
    zero: ErrorKind,
    mut call: impl FnMut(usize) -> io::Result<usize>,
) -> io::Result<()> {
    let (mut done, mut idle) = (0, 0);
    while done < needed {
        let n = retry(|| call(done))?;
        let now = done.saturating_add(n).min(len);
        if now >= needed {
            break;
        }
        let now = now - now % unit;
        idle = if now == done { idle + 1 } else { 0 };
        // The end of a file does not go away; what is less than a unit may have been bad luck.
        if n == 0 || idle == IDLE {
            return Err(zero.into());
        }
        done = now;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is copied when each call does at most so many bytes, in units; and where the calls began.
    fn copied(len: usize, unit: usize, at_most: &[usize]) -> (io::Result<()>, Vec<usize>, bool) {
        let mut calls = Vec::new();
        let mut reached = 0;
        let result = all(len, len, unit, ErrorKind::WriteZero, |done| {
            assert!(done <= reached, "a gap");
            let n = at_most.get(calls.len()).copied().unwrap_or(len).min(len - done);
            calls.push(done);
            reached = reached.max(done + n);
            Ok(n)
        });
        (result, calls, reached == len)
    }

    #[test]
    fn a_short_call_goes_on_at_a_unit() {
        let (result, calls, whole) = copied(4096, 512, &[1000, 100, 100, 3000]);
        assert_eq!((result.is_ok(), calls, whole), (true, vec![0, 512, 512, 512, 3072], true));
        let (result, calls, whole) = copied(10, 1, &[3, 4]);
        assert_eq!((result.is_ok(), calls, whole), (true, vec![0, 3, 7], true));
    }

    #[test]
    fn calls_that_come_to_nothing_end() {
        assert_eq!(copied(4096, 512, &[100; 20]).0.unwrap_err().kind(), ErrorKind::WriteZero);
        assert_eq!(copied(4096, 512, &[0]).0.unwrap_err().kind(), ErrorKind::WriteZero);
        assert!(copied(4096, 512, &[100; IDLE as usize - 1]).0.is_ok());
        assert!(copied(0, 512, &[0]).1.is_empty());
    }

    #[test]
    fn a_little_more_than_needed_is_enough() {
        let mut calls = 0;
        let enough = |n| move |_| Ok(n);
        assert!(all(700, 1024, 512, ErrorKind::UnexpectedEof, enough(700)).is_ok(), "the file ends there");
        let result = all(700, 1024, 512, ErrorKind::UnexpectedEof, |done| {
            calls += 1;
            Ok(if done == 0 { 600 } else { 0 })
        });
        assert_eq!((result.unwrap_err().kind(), calls), (ErrorKind::UnexpectedEof, 2));
    }

    #[test]
    fn slices_are_cut_where_a_call_ended() {
        let mut file = tempfile::tempfile().unwrap();
        let parts: Vec<Vec<u8>> = (0..200).map(|number| vec![number as u8; number % 7]).collect();
        let mut slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        write_slices(&file, 5, &mut slices, 1).unwrap();
        let mut back = parts.clone();
        back.iter_mut().for_each(|part| part.fill(0xFF));
        let mut slices: Vec<_> = back.iter_mut().map(|part| IoSliceMut::new(part)).collect();
        read_slices(&file, 5, &mut slices, 1).unwrap();
        assert_eq!(back, parts);
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut file, &mut bytes).unwrap();
        assert_eq!(bytes[5..], parts.concat());
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
