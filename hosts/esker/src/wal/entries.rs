//! Entries as they go to standard output.

use std::fmt::Write as _;
use std::io::{self, Write};

use esker::wal::Entry;
use serde_json::{Value, json};

use super::volume::NO_NEWLINE;
use crate::arguments::{Format, Output};

/// Writes one entry.
pub fn write(out: &mut impl Write, output: &Output, entry: &Entry, bytes: &[u8]) -> io::Result<()> {
    if output.json {
        return writeln!(out, "{}", as_json(entry, bytes));
    }
    match output.format {
        Format::Lines => {
            out.write_all(bytes)?;
            if entry.user == Some(NO_NEWLINE) { Ok(()) } else { out.write_all(b"\n") }
        }
        Format::Binary => {
            // An entry is at most a segment long, 16 MiB.
            out.write_all(&(bytes.len() as u32).to_le_bytes())?;
            out.write_all(bytes)
        }
    }
}

fn as_json(entry: &Entry, bytes: &[u8]) -> Value {
    let mut value = json!({ "offset": entry.offset });
    match std::str::from_utf8(bytes) {
        Ok(text) => value["text"] = text.into(),
        Err(_) => value["hex"] = hex(bytes).into(),
    }
    if let Some(user) = entry.user {
        value["user"] = user.into();
    }
    value
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // A `String` takes everything.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format, json: bool, user: Option<u64>, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let entry = Entry { offset: 7, len: bytes.len(), user };
        write(&mut out, &Output { format, json }, &entry, bytes).unwrap();
        out
    }

    #[test]
    fn each_format_is_as_documented() {
        assert_eq!(written(Format::Lines, false, None, b"a"), b"a\n");
        assert_eq!(written(Format::Lines, false, Some(NO_NEWLINE), b"a"), b"a");
        assert_eq!(written(Format::Lines, false, Some(1), b"a"), b"a\n");
        assert_eq!(written(Format::Binary, false, None, b"a\n"), b"\x02\0\0\0a\n");
        assert_eq!(written(Format::Lines, true, None, b"a\"b"), b"{\"offset\":7,\"text\":\"a\\\"b\"}\n");
        assert_eq!(
            written(Format::Lines, true, Some(5), b"\xFF\0"),
            b"{\"hex\":\"ff00\",\"offset\":7,\"user\":5}\n"
        );
    }
}
