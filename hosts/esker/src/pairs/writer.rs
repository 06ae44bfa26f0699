//! Pairs as text.

use std::io::{self, Write};

use data_encoding::HEXLOWER;

use super::{csv, encode, json, tsv};
use crate::arguments::{Encoding, PairFormat};

/// Why a pair was not written.
#[derive(Debug)]
pub enum Unwritten {
    /// It has no text in this format and encoding; what would be right is said.
    Refused(String),
    Output(io::Error),
}

impl From<io::Error> for Unwritten {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Writes pairs, each with one call of the output.
pub struct Writer {
    format: PairFormat,
    encoding: Encoding,
    key: String,
    value: String,
    line: String,
}

impl Writer {
    pub fn new(format: PairFormat, encoding: Encoding) -> Self {
        Self { format, encoding, key: String::new(), value: String::new(), line: String::new() }
    }

    /// The names of the columns.
    pub fn header(&self, out: &mut impl Write) -> io::Result<()> {
        match self.format {
            PairFormat::Csv => out.write_all(b"key,value\n"),
            PairFormat::Tsv => out.write_all(b"key\tvalue\n"),
            PairFormat::Jsonl => Ok(()),
        }
    }

    /// One pair. Nothing of it goes out if it is refused.
    pub fn pair(&mut self, out: &mut impl Write, key: &[u8], value: &[u8]) -> Result<(), Unwritten> {
        self.texts(key, value)?;
        let Self { format, key, value, line, .. } = self;
        line.clear();
        match format {
            PairFormat::Csv => {
                csv::write(key, line);
                line.push(',');
                csv::write(value, line);
            }
            PairFormat::Jsonl => {
                line.push_str("{\"key\":");
                json::write(key, line);
                line.push_str(",\"value\":");
                json::write(value, line);
                line.push('}');
            }
            PairFormat::Tsv => {
                line.push_str(key);
                line.push('\t');
                line.push_str(value);
            }
        }
        line.push('\n');
        out.write_all(line.as_bytes())?;
        Ok(())
    }

    /// A key alone, on a line of its own.
    pub fn key(&mut self, out: &mut impl Write, key: &[u8]) -> Result<(), Unwritten> {
        self.texts(key, b"")?;
        let Self { format, key, line, .. } = self;
        line.clear();
        match format {
            PairFormat::Csv => csv::write(key, line),
            PairFormat::Jsonl => json::write(key, line),
            PairFormat::Tsv => line.push_str(key),
        }
        line.push('\n');
        out.write_all(line.as_bytes())?;
        Ok(())
    }

    fn texts(&mut self, key: &[u8], value: &[u8]) -> Result<(), Unwritten> {
        self.key.clear();
        self.value.clear();
        let why = if encode(self.encoding, key, &mut self.key).is_err() {
            "the key is not UTF-8; say `--encoding hex` or `base64`".to_owned()
        } else if encode(self.encoding, value, &mut self.value).is_err() {
            "the value is not UTF-8; say `--encoding hex` or `base64`".to_owned()
        } else {
            match tsv::refuses(&self.key, &self.value) {
                Some(why) if self.format == PairFormat::Tsv => {
                    format!("{why}, which tsv can't have; say `--format csv` or `jsonl`, or `--encoding hex`")
                }
                _ => return Ok(()),
            }
        };
        Err(Unwritten::Refused(format!("key {}: {why}", shown(key))))
    }
}

/// A key as a message shows it: as text where it is one, else in hex; the beginning of a long one.
pub fn shown(key: &[u8]) -> String {
    const MOST: usize = 48;
    match std::str::from_utf8(key) {
        Ok(text) if text.chars().count() <= MOST => format!("{text:?}"),
        Ok(text) => format!("{:?}...", text.chars().take(MOST).collect::<String>()),
        Err(_) if key.len() <= MOST => format!("{} (hex)", HEXLOWER.encode(key)),
        Err(_) => format!("{}... (hex)", HEXLOWER.encode(&key[..MOST])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: PairFormat, encoding: Encoding, key: &[u8], value: &[u8]) -> Result<String, String> {
        let (mut out, mut writer) = (Vec::new(), Writer::new(format, encoding));
        match writer.pair(&mut out, key, value) {
            Ok(()) => Ok(String::from_utf8(out).unwrap()),
            Err(Unwritten::Refused(why)) => {
                assert!(out.is_empty());
                Err(why)
            }
            Err(Unwritten::Output(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn each_format_is_as_documented() {
        use Encoding::{Base64, Hex, Text};
        use PairFormat::{Csv, Jsonl, Tsv};
        for (format, encoding, line) in [
            (Csv, Text, "a,\"b \"\"c\"\"\"\n"),
            (Csv, Hex, "61,6220226322\n"),
            (Jsonl, Text, "{\"key\":\"a\",\"value\":\"b \\\"c\\\"\"}\n"),
            (Jsonl, Base64, "{\"key\":\"YQ==\",\"value\":\"YiAiYyI=\"}\n"),
            (Tsv, Text, "a\tb \"c\"\n"),
        ] {
            assert_eq!(written(format, encoding, b"a", b"b \"c\"").unwrap(), line);
        }
        for (format, line) in [(Csv, "\"a,\"\n"), (Jsonl, "\"a,\"\n"), (Tsv, "a,\n")] {
            let mut out = Vec::new();
            Writer::new(format, Text).key(&mut out, b"a,").unwrap();
            assert_eq!(out, line.as_bytes());
        }
    }

    #[test]
    fn what_has_no_text_is_refused_and_the_way_out_named() {
        for format in [PairFormat::Csv, PairFormat::Jsonl, PairFormat::Tsv] {
            let why = written(format, Encoding::Text, b"a", b"\xFF").unwrap_err();
            assert!(
                why.starts_with("key \"a\": the value is not UTF-8") && why.contains("--encoding hex"),
                "{why}"
            );
            let why = written(format, Encoding::Text, b"\xFFa", b"").unwrap_err();
            assert!(why.starts_with("key ff61 (hex): the key is not UTF-8"), "{why}");
        }
        let why = written(PairFormat::Tsv, Encoding::Text, b"a\tb", b"").unwrap_err();
        assert!(why.contains("has a TAB") && why.contains("--format csv"), "{why}");
        let why = written(PairFormat::Tsv, Encoding::Text, b"a", b"b\nc").unwrap_err();
        assert!(why.contains("the value has a newline"), "{why}");
    }
}
