//! Lines of a file or a stream, without waiting longer than is good for what was read before.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

const BUFFER: usize = 256 << 10;

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A line, without its newline; `false`: there was none, the file ends here.
    Line(&'a [u8], bool),
    /// The deadline has passed, and no line is complete yet.
    Idle,
    /// The line is longer than it may be.
    TooLong,
    /// The end.
    End,
}

/// Reads lines of at most so many bytes. A longer one is found out without reading it whole into memory.
pub struct Lines {
    file: File,
    max: usize,
    buffer: Vec<u8>,
    /// What of the buffer is not handed out yet, and up to where it is known to hold no newline.
    start: usize,
    searched: usize,
    end: usize,
    ended: bool,
}

impl Lines {
    pub fn new(file: File, max: usize) -> Self {
        Self { file, max, buffer: vec![0; BUFFER], start: 0, searched: 0, end: 0, ended: false }
    }

    /// The next line. With a deadline, does not wait for the stream beyond it.
    pub fn next(&mut self, deadline: Option<Instant>) -> io::Result<Step<'_>> {
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[self.searched..self.end]) {
                let line = self.start..self.searched + at;
                self.start = line.end + 1;
                self.searched = self.start;
                return Ok(if line.len() > self.max {
                    Step::TooLong
                } else {
                    Step::Line(&self.buffer[line], true)
                });
            }
            self.searched = self.end;
            if self.end - self.start > self.max {
                return Ok(Step::TooLong);
            }
            if self.ended {
                let line = self.start..self.end;
                self.start = self.end;
                return Ok(if line.is_empty() { Step::End } else { Step::Line(&self.buffer[line], false) });
            }
            if let Some(deadline) = deadline
                && !self.readable_before(deadline)?
            {
                return Ok(Step::Idle);
            }
            self.fill()?;
        }
    }

    /// Reads once, behind what is there.
    fn fill(&mut self) -> io::Result<()> {
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

    fn readable_before(&self, deadline: Instant) -> io::Result<bool> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() };
            let mut stream = [PollFd::from_borrowed_fd(self.file.as_fd(), PollFlags::IN)];
            match poll(&mut stream, Some(&timeout)) {
                Ok(ready) => return Ok(ready > 0),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};
    use std::time::Duration;

    use super::*;

    fn lines(content: &[u8], max: usize) -> Lines {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file.rewind().unwrap();
        Lines::new(file, max)
    }

    #[test]
    fn lines_are_cut_at_newlines_only() {
        let mut lines = lines(b"one\n\n\r\n\0\xFF\nlast", 100);
        for line in [&b"one"[..], b"", b"\r", b"\0\xFF"] {
            assert_eq!(lines.next(None).unwrap(), Step::Line(line, true));
        }
        assert_eq!(lines.next(None).unwrap(), Step::Line(b"last", false));
        assert_eq!(lines.next(None).unwrap(), Step::End);
        assert_eq!(lines.next(None).unwrap(), Step::End);
    }

    #[test]
    fn an_empty_file_has_no_line() {
        assert_eq!(lines(b"", 0).next(None).unwrap(), Step::End);
        assert_eq!(lines(b"\n", 0).next(None).unwrap(), Step::Line(b"", true));
    }

    #[test]
    fn lines_around_the_size_of_the_buffer() {
        for len in [BUFFER - 1, BUFFER, BUFFER + 1, 2 * BUFFER, 3 * BUFFER + 7] {
            let mut content = vec![b'a'; len];
            content.extend(b"\nb\n");
            content.extend(vec![b'c'; len]);
            let mut lines = lines(&content, len);
            assert_eq!(lines.next(None).unwrap(), Step::Line(&content[..len], true));
            assert_eq!(lines.next(None).unwrap(), Step::Line(b"b", true));
            assert_eq!(lines.next(None).unwrap(), Step::Line(&content[len + 3..], false));
            assert_eq!(lines.next(None).unwrap(), Step::End);
        }
    }

    #[test]
    fn too_long_is_found_out() {
        assert_eq!(lines(b"abc\n", 2).next(None).unwrap(), Step::TooLong);
        assert_eq!(lines(b"abc", 2).next(None).unwrap(), Step::TooLong);
        assert_eq!(lines(b"ab", 2).next(None).unwrap(), Step::Line(b"ab", false));
        let mut endless = Lines::new(File::open("/dev/zero").unwrap(), 1 << 20);
        assert_eq!(endless.next(None).unwrap(), Step::TooLong);
        assert!(endless.buffer.len() <= 4 << 20);
    }

    #[test]
    fn a_slow_stream_does_not_hold_up() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut lines = Lines::new(File::from(std::os::fd::OwnedFd::from(reader)), 100);
        let soon = || Some(Instant::now() + Duration::from_millis(2));
        writer.write_all(b"a\nb").unwrap();
        assert_eq!(lines.next(soon()).unwrap(), Step::Line(b"a", true));
        assert_eq!(lines.next(soon()).unwrap(), Step::Idle);
        writer.write_all(b"c\n").unwrap();
        assert_eq!(lines.next(soon()).unwrap(), Step::Line(b"bc", true));
        drop(writer);
        assert_eq!(lines.next(soon()).unwrap(), Step::End);
    }
}
