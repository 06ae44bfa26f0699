//! What a regular file holds: so an entry that is too long, or a log that is too full, is refused before anything is
//! written.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use crate::arguments::Format;

/// What a regular file holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Survey {
    pub format: Format,
    /// Bytes of the file that the entries take.
    pub bytes: u64,
    pub entries: u64,
    /// Entries before them that were to be passed over.
    pub skipped: u64,
    /// Bytes of the longest entry, and its number in the file, from 1.
    pub longest: u64,
    pub longest_entry: u64,
    /// Bytes that the payloads take as records, without what commits and segments add.
    pub records: u64,
}

/// A record's head, without a user word. What a long entry needs more is left out: this is a lower bound.
const RECORD: u64 = 8;

impl Survey {
    /// `len` bytes of payload, `taken` bytes of the file.
    fn add(&mut self, skip: u64, len: u64, taken: u64) {
        if self.skipped < skip {
            self.skipped += 1;
            return;
        }
        self.entries += 1;
        self.bytes += taken;
        if len > self.longest || self.entries == 1 {
            (self.longest, self.longest_entry) = (len, self.skipped + self.entries);
        }
        self.records += RECORD + len.next_multiple_of(4);
    }
}

/// Reads from here to the end, and comes back here. `true`: the last entry is not whole.
pub fn survey(file: &mut File, format: Format, skip: u64) -> io::Result<(Survey, bool)> {
    let start = file.stream_position()?;
    let mut survey = Survey { format, ..Survey::default() };
    let torn = match format {
        Format::Lines => lines(file, &mut survey, skip).map(|()| false),
        Format::Binary => binary(file, &mut survey, skip),
    }?;
    file.seek(SeekFrom::Start(start))?;
    Ok((survey, torn))
}

/// Hands out the file piece by piece.
fn pieces(file: &mut File, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(0) => return Ok(()),
            Ok(read) => take(&buffer[..read]),
        }
    }
}

fn lines(file: &mut File, survey: &mut Survey, skip: u64) -> io::Result<()> {
    let mut line = 0;
    pieces(file, |bytes| {
        let mut from = 0;
        for newline in memchr::memchr_iter(b'\n', bytes) {
            let len = line + (newline - from) as u64;
            survey.add(skip, len, len + 1);
            (line, from) = (0, newline + 1);
        }
        line += (bytes.len() - from) as u64;
    })?;
    if line > 0 {
        survey.add(skip, line, line);
    }
    Ok(())
}

fn binary(file: &mut File, survey: &mut Survey, skip: u64) -> io::Result<bool> {
    let mut prefix: Vec<u8> = Vec::with_capacity(4);
    // Of the payload that comes next: its length, and how much of it is still to come.
    let (mut len, mut left) = (0, 0);
    pieces(file, |mut bytes| {
        while !bytes.is_empty() {
            if left == 0 {
                let now = bytes.len().min(4 - prefix.len());
                prefix.extend(&bytes[..now]);
                bytes = &bytes[now..];
                let Ok(word) = <[u8; 4]>::try_from(&prefix[..]) else { continue };
                len = u64::from(u32::from_le_bytes(word));
                left = len;
            } else {
                let now = left.min(bytes.len() as u64);
                left -= now;
                bytes = &bytes[now as usize..];
            }
            if left == 0 {
                survey.add(skip, len, 4 + len);
                prefix.clear();
            }
        }
    })?;
    Ok(!prefix.is_empty())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file.rewind().unwrap();
        file
    }

    #[test]
    fn a_survey_knows_lines_and_sizes() {
        let mut file = file(b"ab\n\nabcde\nx");
        let expected = Survey {
            format: Format::Lines,
            bytes: 11,
            entries: 4,
            skipped: 0,
            longest: 5,
            longest_entry: 3,
            records: 4 * 8 + 4 + 8 + 4,
        };
        assert_eq!(survey(&mut file, Format::Lines, 0).unwrap(), (expected, false));
        assert_eq!(file.stream_position().unwrap(), 0);
        file.seek(SeekFrom::Start(3)).unwrap();
        assert_eq!(survey(&mut file, Format::Lines, 0).unwrap().0.entries, 3);
        assert_eq!(file.stream_position().unwrap(), 3);
    }

    #[test]
    fn what_is_passed_over_does_not_count() {
        let mut file = file(b"abcdef\n\nx");
        let survey = |skip| survey(&mut file.try_clone().unwrap(), Format::Lines, skip).unwrap().0;
        let one = Survey {
            bytes: 1,
            entries: 1,
            skipped: 2,
            longest: 1,
            longest_entry: 3,
            records: 12,
            ..Survey::default()
        };
        assert_eq!(survey(2), one);
        assert_eq!(survey(3), Survey { skipped: 3, ..Survey::default() });
        assert_eq!(survey(9), Survey { skipped: 3, ..Survey::default() });
        file.rewind().unwrap();
    }

    #[test]
    fn lines_longer_than_the_buffer_count_once() {
        let mut file = file(&[&vec![b'x'; 700_000][..], b"\n\n"].concat());
        let survey = survey(&mut file, Format::Lines, 0).unwrap().0;
        assert_eq!((survey.entries, survey.longest, survey.longest_entry), (2, 700_000, 1));
    }

    #[test]
    fn binary_entries_are_counted_and_torn_ones_seen() {
        let entry = |len: usize| [&(len as u32).to_le_bytes()[..], &vec![0xA5; len]].concat();
        let all = [entry(3), entry(0), entry(600_000), entry(1)].concat();
        let (found, torn) = survey(&mut file(&all), Format::Binary, 0).unwrap();
        assert_eq!((found.entries, found.longest, found.longest_entry), (4, 600_000, 3));
        assert_eq!((found.bytes, torn), (all.len() as u64, false));
        for cut in [1, 2, 4, 5, 1000] {
            assert!(
                survey(&mut file(&all[..all.len() - cut]), Format::Binary, 0).unwrap().1 ^ (cut == 5),
                "{cut}"
            );
        }
        assert_eq!(
            survey(&mut file(b""), Format::Binary, 0).unwrap(),
            (Survey { format: Format::Binary, ..Survey::default() }, false)
        );
    }
}
