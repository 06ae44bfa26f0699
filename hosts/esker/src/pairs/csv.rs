//! `key,value`, as RFC 4180 has it: a field in quotes may hold commas, newlines, and quotes written twice.
//!
//! The reader is strict. What a lenient one would guess at (a quote in the middle of a field, text behind a closing
//! quote, a quote that is never closed) is more often a damaged file than what somebody meant.

use super::{Bad, Pair, decode};
use crate::arguments::Encoding;

/// What a text is.
#[derive(Debug, PartialEq, Eq)]
pub enum Record {
    Pair,
    /// No record: one of no fields.
    Blank,
    /// A quote is still open, so the next line belongs to it. Where it is.
    Open(usize),
}

/// Reads a record, without the newline that ends it.
pub fn read(text: &[u8], encoding: Encoding, pair: &mut Pair) -> Result<Record, Bad> {
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    if text.is_empty() {
        return Ok(Record::Blank);
    }
    let mut unquoted = Vec::new();
    let Some((key, comma)) = field(text, 0, &mut unquoted)? else { return Ok(Record::Open(0)) };
    key.decode(encoding, &unquoted, text, &mut pair.key)?;
    if comma == text.len() {
        return Err(Bad::new(
            comma,
            "one field, and a key and a value are wanted, with a comma between them",
        ));
    }
    let start = comma + 1;
    let Some((value, end)) = field(text, start, &mut unquoted)? else { return Ok(Record::Open(start)) };
    value.decode(encoding, &unquoted, text, &mut pair.value)?;
    if end < text.len() {
        return Err(Bad::new(end, "more than two fields; write a value with a comma in quotes"));
    }
    Ok(Record::Pair)
}

/// Where the text of a field is.
enum Field {
    Plain {
        from: usize,
        to: usize,
    },
    /// It is unquoted, elsewhere.
    Quoted {
        from: usize,
    },
}

impl Field {
    fn decode(
        &self,
        encoding: Encoding,
        unquoted: &[u8],
        text: &[u8],
        bytes: &mut Vec<u8>,
    ) -> Result<(), Bad> {
        match *self {
            Self::Plain { from, to } => {
                decode(encoding, &text[from..to], bytes).map_err(|bad| bad.moved(from))
            }
            // Without the quotes that were written twice: not far off.
            Self::Quoted { from } => decode(encoding, unquoted, bytes).map_err(|bad| bad.moved(from + 1)),
        }
    }
}

/// The field that begins at `from`, and where it ends: at a comma or at the end of the text. `None`: a quote is open.
fn field(text: &[u8], from: usize, unquoted: &mut Vec<u8>) -> Result<Option<(Field, usize)>, Bad> {
    if text.get(from) != Some(&b'"') {
        let rest = &text[from..];
        let found = memchr::memchr2(b',', b'"', rest);
        let len = found.unwrap_or(rest.len());
        if let Some(at) = memchr::memchr2(b'\r', b'\n', &rest[..len]) {
            return Err(Bad::new(from + at, "the end of a line inside a field that is not in quotes"));
        }
        if rest.get(len) == Some(&b'"') {
            return Err(Bad::new(from + len, "a quote inside a field that does not begin with one"));
        }
        let to = from + len;
        return Ok(Some((Field::Plain { from, to }, to)));
    }
    unquoted.clear();
    let mut at = from + 1;
    loop {
        let Some(quote) = memchr::memchr(b'"', &text[at..]).map(|found| at + found) else { return Ok(None) };
        unquoted.extend_from_slice(&text[at..quote]);
        match text.get(quote + 1) {
            Some(b'"') => {
                unquoted.push(b'"');
                at = quote + 2;
            }
            None | Some(b',') => return Ok(Some((Field::Quoted { from }, quote + 1))),
            Some(_) => return Err(Bad::new(quote + 1, "text behind a closing quote")),
        }
    }
}

/// Writes a field.
pub fn write(field: &str, out: &mut String) {
    // A field that begins with a byte order mark would lose it at the start of a file.
    let plain = !field.is_empty()
        && !field.starts_with('\u{feff}')
        && !field.bytes().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r'));
    if plain {
        out.push_str(field);
        return;
    }
    out.push('"');
    for part in field.split_inclusive('"') {
        out.push_str(part);
        if part.ends_with('"') {
            out.push('"');
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &[u8]) -> Result<(Record, Pair), Bad> {
        let mut pair = Pair::default();
        read(text, Encoding::Text, &mut pair).map(|record| (record, pair))
    }

    #[track_caller]
    fn gives(text: &[u8], key: &[u8], value: &[u8]) {
        let pair = Pair { key: key.to_vec(), value: value.to_vec() };
        assert_eq!(parsed(text), Ok((Record::Pair, pair)));
    }

    #[track_caller]
    fn refuses(text: &[u8], at: usize, why: &str) {
        let bad = parsed(text).unwrap_err();
        assert!(bad.at == at && bad.why.contains(why), "{bad:?}");
    }

    #[test]
    fn fields_are_as_rfc_4180_says() {
        gives(b"k,v", b"k", b"v");
        gives(b"k,v\r", b"k", b"v");
        gives(b" k , v ", b" k ", b" v ");
        gives(b"k,", b"k", b"");
        gives(b"\"k,\n\"\"\",\"\"", b"k,\n\"", b"");
        gives(b"k,\"\"\"\"\"\"\r", b"k", b"\"\"");
        assert_eq!(parsed(b"").unwrap().0, Record::Blank);
        assert_eq!(parsed(b"\r").unwrap().0, Record::Blank);
        assert_eq!(parsed(b"k,\"v").unwrap().0, Record::Open(2));
        assert_eq!(parsed(b"\"k\"\"").unwrap().0, Record::Open(0));
    }

    #[test]
    fn what_is_malformed_is_refused_where_it_is() {
        refuses(b"k", 1, "one field");
        refuses(b"\"k\"", 3, "one field");
        refuses(b"k,v,w", 3, "two fields");
        refuses(b"k,\"v\",w", 5, "two fields");
        refuses(b"k,v\"w", 3, "a quote inside");
        refuses(b"k,\"v\"w", 5, "behind a closing quote");
        refuses(b"k,v\rw", 3, "the end of a line");
        refuses(b"k\n,v", 1, "the end of a line");
        refuses(b"k,v\xFF", 3, "UTF-8");
        refuses(b"k,\"v\xFF\"", 4, "UTF-8");
    }

    proptest! {
        #![proptest_config(crate::pairs::property_config())]

        #[test]
        fn another_reader_agrees(key: String, value: String) {
            let mut text = String::new();
            write(&key, &mut text);
            text.push(',');
            write(&value, &mut text);
            gives(text.as_bytes(), key.as_bytes(), value.as_bytes());
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
            let record = reader.records().next().unwrap().unwrap();
            prop_assert_eq!((&record[0], &record[1]), (&*key, &*value));
        }

        #[test]
        fn what_is_taken_means_the_same_to_another_reader(text in "[a,\"\r\n]{0,12}") {
            if let Ok((Record::Pair, pair)) = parsed(text.as_bytes()) {
                let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
                let records: Vec<_> = reader.records().map(Result::unwrap).collect();
                let [record] = &records[..] else { panic!("{records:?}") };
                prop_assert_eq!((record[0].as_bytes(), record[1].as_bytes()), (&pair.key[..], &pair.value[..]));
            }
        }
    }
}
