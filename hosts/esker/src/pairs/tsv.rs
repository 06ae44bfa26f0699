//! `key<TAB>value`, a pair on each line. Nothing is quoted: what can't stand there as it is, can't stand there.

use super::{Bad, Pair, decode};
use crate::arguments::Encoding;

/// Reads a line, without its newline.
pub fn read(line: &[u8], encoding: Encoding, pair: &mut Pair) -> Result<(), Bad> {
    let tab =
        memchr::memchr(b'\t', line).ok_or_else(|| Bad::new(line.len(), "no TAB between key and value"))?;
    decode(encoding, &line[..tab], &mut pair.key)?;
    decode(encoding, &line[tab + 1..], &mut pair.value).map_err(|bad| bad.moved(tab + 1))
}

/// Why a text can't stand as a key or a value, if it can't.
pub fn refuses(key: &str, value: &str) -> Option<&'static str> {
    if memchr::memchr2(b'\t', b'\n', key.as_bytes()).is_some() {
        Some("the key has a TAB or a newline")
    } else if memchr::memchr(b'\n', value.as_bytes()).is_some() {
        Some("the value has a newline")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_tab_ends_the_key() {
        let mut pair = Pair::default();
        read(b"k\tv\tw\r", Encoding::Text, &mut pair).unwrap();
        assert_eq!((&pair.key[..], &pair.value[..]), (&b"k"[..], &b"v\tw\r"[..]));
        let bad = |line: &[u8], encoding| read(line, encoding, &mut Pair::default()).unwrap_err().at;
        assert_eq!(bad(b"key", Encoding::Text), 3);
        assert_eq!(bad(b"key\tv\xFF", Encoding::Text), 5);
        assert_eq!(bad(b"00\tax", Encoding::Hex), 4);
    }
}
