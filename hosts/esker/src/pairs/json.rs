//! JSON lines: `{"key":"...","value":"..."}` or `["key","value"]`, one on each line.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{Bad, Pair, decode};
use crate::arguments::Encoding;

/// Reads a line.
pub fn read(line: &[u8], encoding: Encoding, pair: &mut Pair) -> Result<(), Bad> {
    let Texts { key, value } = serde_json::from_slice(line).map_err(|error| {
        let all = error.to_string();
        // Its own "at line 1 column 7" would be of this line alone.
        let why = all.split(" at line ").next().unwrap_or(&all);
        Bad::new(error.column().saturating_sub(1), why)
    })?;
    decode(encoding, key.as_bytes(), &mut pair.key).map_err(|bad| bad.moved(place(line, &key)))?;
    decode(encoding, value.as_bytes(), &mut pair.value).map_err(|bad| bad.moved(place(line, &value)))
}

/// Where in the line a text stands. One with escapes does not stand there: the start of the line must do.
fn place(line: &[u8], text: &str) -> usize {
    let at = (text.as_ptr() as usize).wrapping_sub(line.as_ptr() as usize);
    if at < line.len() { at } else { 0 }
}

struct Texts<'a> {
    key: Cow<'a, str>,
    value: Cow<'a, str>,
}

impl<'a> Deserialize<'a> for Texts<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextsVisitor)
    }
}

struct TextsVisitor;

impl<'a> Visitor<'a> for TextsVisitor {
    type Value = Texts<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"{"key":"...","value":"..."} or ["key","value"]"#)
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<Texts<'a>, A::Error> {
        let key = seq.next_element::<Text<'a>>()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
        let value = seq.next_element::<Text<'a>>()?.ok_or_else(|| A::Error::invalid_length(1, &self))?;
        // What is left over, the deserializer refuses.
        Ok(Texts { key: key.0, value: value.0 })
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Texts<'a>, A::Error> {
        const NAMES: [&str; 2] = ["key", "value"];
        let mut found = [None, None];
        while let Some(name) = map.next_key::<Text<'a>>()? {
            let at = NAMES.iter().position(|known| *known == name.0);
            let at = at.ok_or_else(|| A::Error::unknown_field(&name.0, &NAMES))?;
            if found[at].replace(map.next_value::<Text<'a>>()?.0).is_some() {
                return Err(A::Error::duplicate_field(NAMES[at]));
            }
        }
        let [key, value] = found;
        Ok(Texts {
            key: key.ok_or_else(|| A::Error::missing_field(NAMES[0]))?,
            value: value.ok_or_else(|| A::Error::missing_field(NAMES[1]))?,
        })
    }
}

/// A string, copied only if it has escapes.
struct Text<'a>(Cow<'a, str>);

impl<'a> Deserialize<'a> for Text<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor).map(Self)
    }
}

struct TextVisitor;

impl<'a> Visitor<'a> for TextVisitor {
    type Value = Cow<'a, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'a str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// Writes a string.
pub fn write(text: &str, out: &mut String) {
    // A string always has JSON.
    out.push_str(&serde_json::Value::from(text).to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<(Vec<u8>, Vec<u8>), Bad> {
        let mut pair = Pair::default();
        read(line.as_bytes(), Encoding::Text, &mut pair).map(|()| (pair.key, pair.value))
    }

    #[track_caller]
    fn refuses(line: &str, at: usize, why: &str) {
        let bad = parsed(line).unwrap_err();
        assert!(bad.at == at && bad.why.contains(why) && !bad.why.contains("column"), "{bad:?}");
    }

    #[test]
    fn objects_and_arrays_are_pairs() {
        let pair = Ok((b"k".to_vec(), b"v\n\0".to_vec()));
        for line in [
            r#"{"key":"k","value":"v\n\u0000"}"#,
            r#" { "value" : "v\u000a\u0000", "key" : "\u006b" } "#,
            r#"["k","v\n\u0000"]"#,
            "[\"k\" ,\t\"v\\n\\u0000\"]\r",
        ] {
            assert_eq!(parsed(line), pair, "{line}");
        }
    }

    #[test]
    fn what_is_none_is_refused_where_it_is() {
        refuses(r#"{"key":"k"}"#, 10, "missing field `value`");
        refuses(r#"{"key":"k","key":"k"}"#, 20, "duplicate field `key`");
        refuses(r#"{"key":"k","val":"v"}"#, 15, "unknown field `val`");
        refuses(r#"{"key":"k","value":1}"#, 19, "expected a string");
        refuses(r#"["k"]"#, 4, r#"expected {"key":"...","value":"..."}"#);
        refuses(r#"["k","v","w"]"#, 9, "trailing characters");
        refuses(r#""k""#, 2, r#"expected {"key""#);
        refuses(r#"["k","v"] x"#, 10, "trailing characters");
        refuses(r#"["k","v"#, 6, "EOF");
        refuses(r#"["k","\ud800"]"#, 12, "escape");
        let bad = read(b"[\"k\",\"\xFF\"]", Encoding::Text, &mut Pair::default()).unwrap_err();
        assert!(bad.why.contains("unicode"), "{bad:?}");
        let bad = read(br#"["00","0x"]"#, Encoding::Hex, &mut Pair::default()).unwrap_err();
        assert_eq!(bad.at, 8);
    }
}
