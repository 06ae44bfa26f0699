//! The file whose lines are appended, and what can be known of it beforehand.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::failure::Failure;

/// An open input.
#[derive(Debug)]
pub struct Input {
    pub file: File,
    /// To be named in messages.
    pub name: PathBuf,
    /// `None`: a stream, of which nothing is known.
    pub survey: Option<Survey>,
}

/// What a regular file holds, found out by reading it once: so a line that is too long, or a log that is too full, is
/// refused before anything is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Survey {
    pub bytes: u64,
    pub lines: u64,
    /// Bytes of the longest line, and its number, from 1.
    pub longest: u64,
    pub longest_line: u64,
    /// Bytes that the payloads take as records, without what commits and segments add.
    pub records: u64,
}

/// A record's head, without a user word. What a long entry needs more is left out: this is a lower bound.
const RECORD: u64 = 8;

impl Input {
    /// Opens `path`, `-` for standard input. `device` is where the lines are to go: it must not be the same file.
    pub fn open(path: &Path, device: &Path) -> Result<Self, Failure> {
        let stdin = path == Path::new("-");
        let name = if stdin { PathBuf::from("standard input") } else { path.to_owned() };
        let fail = |error: io::Error| Failure::io(&name, "read", &error);
        let mut file = if stdin {
            File::from(io::stdin().as_fd().try_clone_to_owned().map_err(fail)?)
        } else {
            File::open(path).map_err(fail)?
        };
        let metadata = file.metadata().map_err(fail)?;
        if metadata.is_dir() {
            return Err(Failure::at(&name, "a directory; name a file with lines"));
        }
        let same = |other: &std::fs::Metadata| {
            (other.dev(), other.ino()) == (metadata.dev(), metadata.ino()) && other.is_file()
        };
        if device.metadata().as_ref().is_ok_and(same) {
            return Err(Failure::at(&name, "is DEV itself; name another file"));
        }
        let survey = if metadata.is_file() { Some(survey(&mut file).map_err(fail)?) } else { None };
        Ok(Self { file, name, survey })
    }
}

/// Reads from here to the end, and comes back here.
fn survey(file: &mut File) -> io::Result<Survey> {
    let start = file.stream_position()?;
    let mut survey = Survey::default();
    let mut line = 0;
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = match file.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            break;
        }
        survey.bytes += read as u64;
        let mut from = 0;
        for newline in memchr::memchr_iter(b'\n', &buffer[..read]) {
            survey.add(line + (newline - from) as u64);
            (line, from) = (0, newline + 1);
        }
        line += (read - from) as u64;
    }
    if line > 0 {
        survey.add(line);
    }
    file.seek(SeekFrom::Start(start))?;
    Ok(survey)
}

impl Survey {
    fn add(&mut self, len: u64) {
        self.lines += 1;
        if len > self.longest || self.lines == 1 {
            (self.longest, self.longest_line) = (len, self.lines);
        }
        self.records += RECORD + len.next_multiple_of(4);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_survey_knows_lines_and_sizes() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"ab\n\nabcde\nx").unwrap();
        file.rewind().unwrap();
        let expected =
            Survey { bytes: 11, lines: 4, longest: 5, longest_line: 3, records: 4 * 8 + 4 + 8 + 4 };
        assert_eq!(survey(&mut file).unwrap(), expected);
        assert_eq!(file.stream_position().unwrap(), 0);
        file.seek(SeekFrom::Start(3)).unwrap();
        assert_eq!(survey(&mut file).unwrap().lines, 3);
        assert_eq!(file.stream_position().unwrap(), 3);
    }

    #[test]
    fn lines_longer_than_the_buffer_count_once() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![b'x'; 700_000]).unwrap();
        file.write_all(b"\n\n").unwrap();
        file.rewind().unwrap();
        let survey = survey(&mut file).unwrap();
        assert_eq!((survey.lines, survey.longest, survey.longest_line), (2, 700_000, 1));
    }
}
