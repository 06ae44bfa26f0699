//! Entries of a file or a stream, without waiting longer than is good for what was read before.

use std::fs::File;
use std::io::{self, Read};
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::Input;
use crate::arguments::Format;

const BUFFER: usize = 256 << 10;
const PREFIX: usize = 4;

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// An entry; `false`: a line without a newline, the file ends here.
    Entry(&'a [u8], bool),
    /// The deadline has passed, or somebody wants attention, and no entry is complete yet.
    Idle,
    /// The entry is longer than it may be; how long, where that is known.
    TooLong(Option<u64>),
    /// The file ends in the middle of a binary entry.
    Torn,
    /// The end.
    End,
}

/// Reads entries of at most so many bytes. A longer one is found out without reading it whole into memory.
pub struct Reader {
    file: File,
    /// Reading it never waits.
    regular: bool,
    format: Format,
    max: usize,
    buffer: Vec<u8>,
    /// What of the buffer is not handed out yet, and up to where it is known to hold no newline.
    start: usize,
    searched: usize,
    end: usize,
    ended: bool,
    /// The file was read since somebody asked, so time may have passed.
    paused: bool,
}

impl Reader {
    pub fn new(input: &Input, format: Format, max: usize) -> io::Result<Self> {
        Ok(Self {
            file: input.file.try_clone()?,
            regular: input.regular,
            format,
            max,
            buffer: vec![0; BUFFER],
            start: 0,
            searched: 0,
            end: 0,
            ended: false,
            paused: false,
        })
    }

    /// Whether entries were waited for since this was last asked.
    pub fn paused(&mut self) -> bool {
        mem::take(&mut self.paused)
    }

    /// The next entry. Does not wait for the stream beyond the deadline, nor when `wake` is readable.
    pub fn next(&mut self, deadline: Option<Instant>, wake: BorrowedFd<'_>) -> io::Result<Step<'_>> {
        loop {
            let found = match self.format {
                Format::Lines => self.line(),
                Format::Binary => self.binary(),
            };
            match found {
                Found::Entry { from, to, newline } => {
                    return Ok(Step::Entry(&self.buffer[from..to], newline));
                }
                Found::TooLong(len) => return Ok(Step::TooLong(len)),
                Found::More if self.ended && self.start == self.end => return Ok(Step::End),
                Found::More if self.ended => return Ok(Step::Torn),
                Found::More => {}
            }
            if !self.regular && !self.readable(deadline, wake)? {
                return Ok(Step::Idle);
            }
            self.fill()?;
        }
    }

    fn line(&mut self) -> Found {
        if let Some(at) = memchr::memchr(b'\n', &self.buffer[self.searched..self.end]) {
            let (from, to) = (self.start, self.searched + at);
            self.start = to + 1;
            self.searched = self.start;
            return if to - from > self.max {
                Found::TooLong(Some((to - from) as u64))
            } else {
                Found::Entry { from, to, newline: true }
            };
        }
        self.searched = self.end;
        if self.end - self.start > self.max {
            return Found::TooLong(None);
        }
        if self.ended && self.start < self.end {
            let from = self.start;
            self.start = self.end;
            return Found::Entry { from, to: self.end, newline: false };
        }
        Found::More
    }

    fn binary(&mut self) -> Found {
        let held = &self.buffer[self.start..self.end];
        let Some(prefix) = held.first_chunk::<PREFIX>() else { return Found::More };
        let len = u32::from_le_bytes(*prefix);
        if len as usize > self.max {
            return Found::TooLong(Some(len.into()));
        }
        let (from, to) = (self.start + PREFIX, self.start + PREFIX + len as usize);
        if to > self.end {
            return Found::More;
        }
        self.start = to;
        Found::Entry { from, to, newline: true }
    }

    /// Reads once, behind what is there.
    fn fill(&mut self) -> io::Result<()> {
        self.paused = true;
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.searched = self.end;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let read = loop {
            match self.file.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.end += read;
        self.ended = read == 0;
        Ok(())
    }

    /// Waits until the stream can be read; `false`: the deadline or `wake` came first.
    fn readable(&self, deadline: Option<Instant>, wake: BorrowedFd<'_>) -> io::Result<bool> {
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let timeout = left
                .map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
            let mut streams = [
                PollFd::from_borrowed_fd(self.file.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(wake, PollFlags::IN),
            ];
            match poll(&mut streams, timeout.as_ref()) {
                Ok(_) => return Ok(streams[1].revents().is_empty() && !streams[0].revents().is_empty()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// What the buffer holds at its start.
enum Found {
    Entry {
        from: usize,
        to: usize,
        newline: bool,
    },
    TooLong(Option<u64>),
    /// More must be read to know.
    More,
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;

    fn input(content: &[u8]) -> Input {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file.rewind().unwrap();
        Input { file, name: PathBuf::from("test"), regular: true }
    }

    /// Something that never wakes.
    struct Quiet(io::PipeReader, #[allow(dead_code)] io::PipeWriter);

    impl Quiet {
        fn new() -> Self {
            let (reader, writer) = io::pipe().unwrap();
            Self(reader, writer)
        }
    }

    #[track_caller]
    fn gives(content: &[u8], format: Format, max: usize, steps: &[Step<'_>]) {
        let quiet = Quiet::new();
        let mut reader = Reader::new(&input(content), format, max).unwrap();
        for step in steps {
            assert!(
                reader.next(None, quiet.0.as_fd()).unwrap() == *step,
                "{:?}…",
                &content[..content.len().min(40)]
            );
        }
    }

    #[test]
    fn lines_are_cut_at_newlines_only() {
        let line = |line| Step::Entry(line, true);
        gives(
            b"one\n\n\r\n\0\xFF\nlast",
            Format::Lines,
            100,
            &[
                line(b"one"),
                line(b""),
                line(b"\r"),
                line(b"\0\xFF"),
                Step::Entry(b"last", false),
                Step::End,
                Step::End,
            ],
        );
    }

    #[test]
    fn an_empty_file_has_no_entry() {
        gives(b"", Format::Lines, 0, &[Step::End]);
        gives(b"\n", Format::Lines, 0, &[Step::Entry(b"", true), Step::End]);
        gives(b"", Format::Binary, 0, &[Step::End]);
        gives(&[0; 4], Format::Binary, 0, &[Step::Entry(b"", true), Step::End]);
    }

    #[test]
    fn binary_entries_hold_any_bytes() {
        gives(
            b"\x02\0\0\0\n\n\0\0\0\0\x01\0\0\0x",
            Format::Binary,
            2,
            &[Step::Entry(b"\n\n", true), Step::Entry(b"", true), Step::Entry(b"x", true), Step::End],
        );
        for torn in [&b"\x01"[..], b"\0\0\0", b"\x02\0\0\0x"] {
            gives(torn, Format::Binary, 2, &[Step::Torn, Step::Torn]);
        }
        gives(b"\xFF\xFF\xFF\xFF", Format::Binary, 2, &[Step::TooLong(Some(u32::MAX.into()))]);
    }

    #[test]
    fn entries_around_the_size_of_the_buffer() {
        for len in [BUFFER - 5, BUFFER - 4, BUFFER - 1, BUFFER, BUFFER + 1, 2 * BUFFER, 3 * BUFFER + 7] {
            let (a, c) = (vec![b'a'; len], vec![b'c'; len]);
            let lines = [&a[..], b"\nb\n", &c].concat();
            let steps = [Step::Entry(&a, true), Step::Entry(b"b", true), Step::Entry(&c, false), Step::End];
            gives(&lines, Format::Lines, len, &steps);
            let prefix = (len as u32).to_le_bytes();
            let binary = [&prefix[..], &a, b"\x01\0\0\0b", &prefix, &c].concat();
            let steps = [Step::Entry(&a, true), Step::Entry(b"b", true), Step::Entry(&c, true), Step::End];
            gives(&binary, Format::Binary, len, &steps);
        }
    }

    #[test]
    fn too_long_is_found_out() {
        gives(b"abc\n", Format::Lines, 2, &[Step::TooLong(Some(3))]);
        gives(b"abc", Format::Lines, 2, &[Step::TooLong(None)]);
        gives(b"ab", Format::Lines, 2, &[Step::Entry(b"ab", false)]);
        let zeros = File::open("/dev/zero").unwrap();
        let endless = Input { file: zeros, name: PathBuf::from("zero"), regular: false };
        let mut endless = Reader::new(&endless, Format::Lines, 1 << 20).unwrap();
        assert_eq!(endless.next(None, Quiet::new().0.as_fd()).unwrap(), Step::TooLong(None));
        assert!(endless.buffer.len() <= 4 << 20);
    }

    #[test]
    fn a_slow_stream_does_not_hold_up() {
        let (stream, mut writer) = io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(stream));
        let input = Input { file, name: PathBuf::from("pipe"), regular: false };
        let mut lines = Reader::new(&input, Format::Lines, 100).unwrap();
        let quiet = Quiet::new();
        let soon = || Some(Instant::now() + Duration::from_millis(2));
        writer.write_all(b"a\nb").unwrap();
        assert_eq!(lines.next(soon(), quiet.0.as_fd()).unwrap(), Step::Entry(b"a", true));
        assert_eq!(lines.next(soon(), quiet.0.as_fd()).unwrap(), Step::Idle);
        writer.write_all(b"c\n").unwrap();
        assert_eq!(lines.next(soon(), quiet.0.as_fd()).unwrap(), Step::Entry(b"bc", true));

        let (wake, mut waker) = io::pipe().unwrap();
        waker.write_all(b"!").unwrap();
        assert_eq!(lines.next(None, wake.as_fd()).unwrap(), Step::Idle);
        drop(writer);
        assert_eq!(lines.next(soon(), quiet.0.as_fd()).unwrap(), Step::End);
    }
}
