//! Pair after pair of a file or a stream, and how far that is.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use super::{Bad, Pair, csv, json, tsv};
use crate::arguments::{Encoding, Format, PairFormat};
use crate::input::{Input, Reader, Step};

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// A pair, in [`Records::pair`].
    Pair,
    /// The deadline has passed, or somebody wants attention, and no pair is complete yet.
    Idle,
    /// What stands here is no pair.
    Malformed(Malformed),
    End,
}

/// What is wrong with a file, and where: lines and columns from 1, columns in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    pub line: u64,
    pub column: usize,
    pub why: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.why)
    }
}

/// How far a file is read: what came before, and a checksum that tells it from the beginning of another file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tip {
    pub lines: u64,
    pub bytes: u64,
    /// CRC-32, if it was asked for.
    pub crc: u32,
}

/// What to read, and how.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    pub format: PairFormat,
    pub encoding: Encoding,
    /// The first record names the columns.
    pub header: bool,
    /// Bytes that a record can have at most.
    pub max: usize,
    /// [`Tip::crc`] is wanted.
    pub sum: bool,
}

/// Reads pairs. One that is too long is found out without reading it whole into memory.
pub struct Records {
    reader: Reader,
    how: Reading,
    sum: crc32fast::Hasher,
    tip: Tip,
    /// The line on which the last pair begins.
    line: u64,
    /// The record that is being read, without the newline that ends it.
    text: Vec<u8>,
    /// One of its quotes is open: it goes on in the next line.
    open: bool,
    pair: Pair,
}

impl Records {
    pub fn new(input: &Input, how: Reading) -> io::Result<Self> {
        Ok(Self {
            reader: Reader::new(input, Format::Lines, how.max)?,
            how,
            sum: crc32fast::Hasher::new(),
            tip: Tip::default(),
            line: 0,
            text: Vec::new(),
            open: false,
            pair: Pair::default(),
        })
    }

    /// The pair that was read last.
    pub fn pair(&self) -> &Pair {
        &self.pair
    }

    /// The line on which it begins, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// What was read until now, whole records of it.
    pub fn tip(&self) -> Tip {
        if self.how.sum { Tip { crc: self.sum.clone().finalize(), ..self.tip } } else { self.tip }
    }

    /// Lines of it.
    pub fn tip_lines(&self) -> u64 {
        self.tip.lines
    }

    /// Bytes of it.
    pub fn tip_bytes(&self) -> u64 {
        self.tip.bytes
    }

    /// Whether a stream was waited for since this was last asked.
    pub fn paused(&mut self) -> bool {
        self.reader.paused()
    }

    /// Passes over one line, whatever it holds. [`Next::Pair`] stands for it.
    pub fn pass(&mut self, wake: BorrowedFd<'_>) -> io::Result<Next> {
        Ok(match self.reader.next(None, wake)? {
            Step::Entry(line, newline) => {
                self.text.clear();
                self.text.extend_from_slice(line);
                self.take(newline);
                Next::Pair
            }
            Step::Idle => Next::Idle,
            Step::TooLong(_) => self.too_long(),
            Step::Torn | Step::End => Next::End,
        })
    }

    /// The next pair. Does not wait for a stream beyond the deadline, nor when `wake` is readable.
    pub fn next(&mut self, deadline: Option<Instant>, wake: BorrowedFd<'_>) -> io::Result<Next> {
        loop {
            let newline = match self.reader.next(deadline, wake)? {
                Step::Entry(line, newline) => {
                    if self.open {
                        self.text.push(b'\n');
                    } else {
                        self.text.clear();
                    }
                    self.text.extend_from_slice(line);
                    newline
                }
                Step::Idle => return Ok(Next::Idle),
                Step::TooLong(_) => return Ok(self.too_long()),
                // A file that ends with a newline inside quotes.
                Step::Torn | Step::End if self.open => return Ok(self.malformed(&self.never_closed())),
                Step::Torn | Step::End => return Ok(Next::End),
            };
            self.pair.key.clear();
            self.pair.value.clear();
            let first = self.tip.lines == 0;
            let marked = first && self.how.format != PairFormat::Tsv;
            let mark =
                if marked && self.text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
            let Reading { format, encoding, header, max, .. } = self.how;
            let found = read(format, encoding, &self.text[mark..], &mut self.pair);
            self.open = matches!(found, Ok(csv::Record::Open(_)));
            match found {
                Ok(csv::Record::Open(_)) if !newline || self.text.len() > max => {
                    return Ok(self.malformed(&self.never_closed()));
                }
                Ok(csv::Record::Open(_)) => {}
                // Whatever the columns are called.
                _ if first && header => self.take(newline),
                Ok(csv::Record::Blank) => self.take(newline),
                Ok(csv::Record::Pair) => {
                    self.line = self.tip.lines + 1;
                    self.take(newline);
                    return Ok(Next::Pair);
                }
                Err(bad) => return Ok(self.malformed(&bad.moved(mark))),
            }
        }
    }

    /// The record is read.
    fn take(&mut self, newline: bool) {
        self.tip.lines += 1 + memchr::memchr_iter(b'\n', &self.text).count() as u64;
        self.tip.bytes += self.text.len() as u64 + u64::from(newline);
        if self.how.sum {
            self.sum.update(&self.text);
            self.sum.update(if newline { b"\n" } else { b"" });
        }
    }

    fn malformed(&self, bad: &Bad) -> Next {
        let before = &self.text[..bad.at.min(self.text.len())];
        let line = self.tip.lines + 1 + memchr::memchr_iter(b'\n', before).count() as u64;
        let column = before.len() - memchr::memrchr(b'\n', before).map_or(0, |at| at + 1) + 1;
        Next::Malformed(Malformed { line, column, why: bad.why.clone() })
    }

    fn never_closed(&self) -> Bad {
        let at = match csv::read(&self.text, self.how.encoding, &mut Pair::default()) {
            Ok(csv::Record::Open(at)) => at,
            _ => 0,
        };
        Bad { at, why: "a quote that is opened here and never closed".to_owned() }
    }

    fn too_long(&self) -> Next {
        let inside = if self.open { 1 + memchr::memchr_iter(b'\n', &self.text).count() as u64 } else { 0 };
        let why =
            format!("the line is too long: a pair of this store takes at most {} bytes here", self.how.max);
        Next::Malformed(Malformed { line: self.tip.lines + 1 + inside, column: 1, why })
    }
}

fn read(format: PairFormat, encoding: Encoding, text: &[u8], pair: &mut Pair) -> Result<csv::Record, Bad> {
    match format {
        PairFormat::Csv => csv::read(text, encoding, pair),
        // What has no key is no pair, and nothing is lost with it.
        _ if text.is_empty() => Ok(csv::Record::Blank),
        PairFormat::Tsv => tsv::read(text, encoding, pair).map(|()| csv::Record::Pair),
        PairFormat::Jsonl if text.trim_ascii().is_empty() => Ok(csv::Record::Blank),
        PairFormat::Jsonl => json::read(text, encoding, pair).map(|()| csv::Record::Pair),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Seek, Write};
    use std::os::fd::AsFd;
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::super::{Unwritten, Writer};
    use super::*;

    const READING: Reading =
        Reading { format: PairFormat::Csv, encoding: Encoding::Text, header: false, max: 10_000, sum: true };

    fn records(content: &[u8], how: Reading) -> Records {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file.rewind().unwrap();
        Records::new(&Input { file, name: PathBuf::from("test"), regular: true }, how).unwrap()
    }

    fn null() -> File {
        File::open("/dev/null").unwrap()
    }

    /// A line, and the key and the value there.
    type Found = (u64, Vec<u8>, Vec<u8>);

    /// All pairs with their lines, and what ended them.
    fn all(content: &[u8], how: Reading) -> (Vec<Found>, Next) {
        let mut records = records(content, how);
        let mut pairs = Vec::new();
        loop {
            match records.next(None, null().as_fd()).unwrap() {
                Next::Pair => {
                    let Pair { key, value } = records.pair();
                    pairs.push((records.line(), key.clone(), value.clone()));
                }
                end => {
                    if end == Next::End {
                        let sum = crc32fast::hash(content);
                        let lines = content.split_inclusive(|byte| *byte == b'\n').count() as u64;
                        assert_eq!(records.tip(), Tip { lines, bytes: content.len() as u64, crc: sum });
                    }
                    return (pairs, end);
                }
            }
        }
    }

    fn pair(line: u64, key: &str, value: &str) -> Found {
        (line, key.into(), value.into())
    }

    #[test]
    fn records_may_go_over_lines() {
        let (pairs, end) = all(b"\xEF\xBB\xBFa,1\n\"b\nb\",\"2\n\n\"\r\n\nc,3", READING);
        assert_eq!(pairs, [pair(1, "a", "1"), pair(2, "b\nb", "2\n\n"), pair(7, "c", "3")]);
        assert_eq!(end, Next::End);
    }

    #[test]
    fn a_header_is_no_pair() {
        let how = Reading { header: true, ..READING };
        assert_eq!(all(b"key,value,more\na,1\n", how).0, [pair(2, "a", "1")]);
        assert_eq!(all(b"\"the\nkey\",value\na,1\n", how).0, [pair(3, "a", "1")]);
        assert_eq!(all(b"", how), (vec![], Next::End));
        let how = Reading { format: PairFormat::Tsv, ..how };
        assert_eq!(all(b"anything\na\t1\n", how).0, [pair(2, "a", "1")]);
    }

    #[track_caller]
    fn malformed(content: &[u8], how: Reading, line: u64, column: usize, why: &str) {
        let (pairs, end) = all(content, how);
        let Next::Malformed(found) = end else { panic!("{end:?} behind {pairs:?}") };
        assert!((found.line, found.column) == (line, column) && found.why.contains(why), "{found:?}");
    }

    #[test]
    fn what_is_malformed_is_named_by_line_and_column() {
        malformed(b"a,1\n\"b\nc\"d,2\n", READING, 3, 3, "behind a closing quote");
        malformed(b"a,1\n\nb,\"2\nc,3\n", READING, 3, 3, "never closed");
        malformed(b"a,\"1", READING, 1, 3, "never closed");
        malformed(b"a,1\nb\n", READING, 2, 2, "one field");
        let json = Reading { format: PairFormat::Jsonl, ..READING };
        malformed(b"[\"a\",\"1\"]\n  \n{\"key\":\"b\"}\n", json, 3, 11, "missing field");
        let tsv = Reading { format: PairFormat::Tsv, ..READING };
        malformed(b"a\t1\nb 2\n", tsv, 2, 4, "no TAB");
        malformed(b"a\t1\nb\t\xFF2\n", tsv, 2, 3, "--encoding hex");
        malformed(b"aa\t1\nb\t2\n", Reading { encoding: Encoding::Hex, ..tsv }, 1, 4, "too few");
    }

    #[test]
    fn what_is_too_long_is_found_out() {
        let how = Reading { max: 20, ..READING };
        let long = "x".repeat(30);
        malformed(format!("a,1\nb,{long}\n").as_bytes(), how, 2, 1, "too long");
        malformed(format!("a,1\nb,\"2\n{long}\n").as_bytes(), how, 3, 1, "too long");
        malformed(b"a,1\nb,\"12345678\n12345678\n12345678\n", how, 2, 3, "never closed");
    }

    #[test]
    fn lines_are_passed_over_whatever_they_hold() {
        let content = b"a\n\"\nc,3\n";
        let mut records = records(content, READING);
        let null = null();
        assert_eq!(records.pass(null.as_fd()).unwrap(), Next::Pair);
        assert_eq!(records.pass(null.as_fd()).unwrap(), Next::Pair);
        assert_eq!(records.tip(), Tip { lines: 2, bytes: 4, crc: crc32fast::hash(b"a\n\"\n") });
        assert_eq!(records.next(None, null.as_fd()).unwrap(), Next::Pair);
        assert_eq!((records.line(), &records.pair().key[..]), (3, &b"c"[..]));
        assert_eq!(records.pass(null.as_fd()).unwrap(), Next::End);
    }

    const FORMATS: [PairFormat; 3] = [PairFormat::Csv, PairFormat::Jsonl, PairFormat::Tsv];
    const ENCODINGS: [Encoding; 3] = [Encoding::Text, Encoding::Hex, Encoding::Base64];

    /// What is written is read back the same; what is not written is not UTF-8, or has no place in the format.
    fn round_trip(pairs: &[(Vec<u8>, Vec<u8>)]) -> Result<(), TestCaseError> {
        for format in FORMATS {
            for encoding in ENCODINGS {
                for header in [false, format != PairFormat::Jsonl] {
                    let mut content = Vec::new();
                    let mut writer = Writer::new(format, encoding);
                    if header {
                        writer.header(&mut content).unwrap();
                    }
                    let mut written = Vec::new();
                    for (key, value) in pairs {
                        match writer.pair(&mut content, key, value) {
                            Ok(()) => written.push((key.clone(), value.clone())),
                            Err(Unwritten::Refused(_)) => {
                                let texts = [key, value].map(|bytes| std::str::from_utf8(bytes));
                                let cut =
                                    key.contains(&b'\t') || key.contains(&b'\n') || value.contains(&b'\n');
                                prop_assert!(encoding == Encoding::Text);
                                prop_assert!(
                                    texts.iter().any(Result::is_err) || cut && format == PairFormat::Tsv
                                );
                            }
                            Err(Unwritten::Output(error)) => panic!("{error}"),
                        }
                    }
                    let (back, end) = all(&content, Reading { format, encoding, header, ..READING });
                    let back: Vec<_> = back.into_iter().map(|(_, key, value)| (key, value)).collect();
                    prop_assert_eq!(&end, &Next::End);
                    prop_assert_eq!(&back, &written);
                }
            }
        }
        Ok(())
    }

    /// Bytes that mean something somewhere, and any others.
    fn bytes(least: usize) -> impl Strategy<Value = Vec<u8>> {
        let special = prop::sample::select(b",\"\r\n\t\\ =[]{}:ab\0\x7F\xEF\xBB\xBF".to_vec());
        let mixed = prop::collection::vec(prop_oneof![4 => special, 1 => any::<u8>()], least..12);
        let text = "\\PC{1,12}".prop_map(String::into_bytes);
        prop_oneof![3 => mixed, 1 => text]
    }

    proptest! {
        #![proptest_config(crate::pairs::property_config())]

        #[test]
        fn every_format_gives_back_any_bytes(
            pairs in prop::collection::vec((bytes(1), bytes(0)), 0..6),
        ) {
            round_trip(&pairs)?;
        }

        #[test]
        fn any_file_is_read_to_an_end(content in bytes(0), more in bytes(0)) {
            let content = [content, more].concat();
            for format in FORMATS {
                for encoding in ENCODINGS {
                    let (pairs, end) = all(&content, Reading { format, encoding, ..READING });
                    prop_assert!(end != Next::Idle);
                    let ordered = pairs.windows(2).all(|two| two[0].0 < two[1].0);
                    prop_assert!(ordered);
                }
            }
        }
    }
}
