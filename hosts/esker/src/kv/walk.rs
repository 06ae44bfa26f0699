//! Pairs in the order of their keys, on past damage.

use std::ops::Bound;

use esker::store::{Cursor, Error};

use super::index::Indexed;
use super::opened::Opened;
use crate::arguments::{Encoding, Given, RangeArguments};
use crate::failure::Failure;

/// The keys from one on, and those before another.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// Nothing is before the empty key.
    from: Vec<u8>,
    to: Option<Vec<u8>>,
}

impl Range {
    pub fn new(arguments: &RangeArguments, encoding: Encoding) -> Result<Self, Failure> {
        let key = |given: &Option<Given>, name: &str| {
            given.as_ref().map(|given| given.decode(name, encoding)).transpose()
        };
        let from = key(&arguments.from, "--from")?.unwrap_or_default();
        let to = key(&arguments.to, "--to")?;
        let prefix = key(&arguments.prefix, "--prefix")?.unwrap_or_default();
        let end = behind(&prefix);
        let to = match (to, end) {
            (Some(to), Some(end)) => Some(to.min(end)),
            (to, end) => to.or(end),
        };
        Ok(Self { from: from.max(prefix), to })
    }
}

/// The first key behind all that begin with `prefix`; `None`: there is none.
fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xFF)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// Goes through a range of keys.
pub struct Walk {
    cursor: Cursor<Vec<u8>>,
    range: Range,
    reverse: bool,
    value: Vec<u8>,
    len: usize,
    /// Where pages were damaged and passed over.
    pub damaged: Vec<u64>,
}

impl Walk {
    pub fn new<I: Indexed>(opened: &mut Opened<I>, range: Range, reverse: bool) -> Result<Self, Failure> {
        let max_key = opened.info()?.max_key;
        let mut cursor = opened.store.cursor(vec![0; max_key]);
        let bound = match (&range, reverse) {
            (Range { to: Some(to), .. }, true) => Bound::Excluded(&to[..]),
            (Range { from, .. }, false) if !from.is_empty() => Bound::Included(&from[..]),
            _ => Bound::Unbounded,
        };
        opened.seek(&mut cursor, bound)?;
        Ok(Self { cursor, range, reverse, value: vec![0; 4096], len: 0, damaged: Vec::new() })
    }

    /// Goes on to the next pair, if there is one.
    pub fn next<I: Indexed>(&mut self, opened: &mut Opened<I>) -> Result<bool, Failure> {
        let Opened { path, volume, store } = opened;
        loop {
            let found = if self.reverse {
                store.previous(volume, &mut self.cursor, &mut self.value)
            } else {
                store.next(volume, &mut self.cursor, &mut self.value)
            };
            match found {
                Ok(Some(len)) => {
                    self.len = len;
                    return Ok(self.is_inside());
                }
                Ok(None) => return Ok(false),
                Err(Error::BufferTooSmall { needed }) if needed > self.value.len() => {
                    self.value.resize(needed, 0);
                }
                Err(Error::Corrupt { address }) => {
                    self.damaged.push(address);
                    let skipped = store.skip(volume, &mut self.cursor);
                    skipped.map_err(|error| Failure::store(path, &error))?;
                }
                Err(error) => return Err(Failure::store(path, &error)),
            }
        }
    }

    fn is_inside(&self) -> bool {
        let key = self.cursor.key();
        if self.reverse {
            *key >= *self.range.from
        } else {
            self.range.to.as_ref().is_none_or(|to| key < &to[..])
        }
    }

    /// The pair it stands at.
    pub fn pair(&self) -> (&[u8], &[u8]) {
        (self.cursor.key(), &self.value[..self.len])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(prefix: &str, from: &str, to: &str) -> (Vec<u8>, Option<Vec<u8>>) {
        let given = |text: &str| (!text.is_empty()).then(|| Given::from(std::ffi::OsString::from(text)));
        let arguments = RangeArguments { prefix: given(prefix), from: given(from), to: given(to) };
        let Range { from, to } = Range::new(&arguments, Encoding::Hex).unwrap();
        (from, to)
    }

    #[test]
    fn prefix_and_bounds_are_one_range() {
        assert_eq!(range("", "", ""), (vec![], None));
        assert_eq!(range("61", "", ""), (b"a".to_vec(), Some(b"b".to_vec())));
        assert_eq!(range("61ffff", "", ""), (b"a\xFF\xFF".to_vec(), Some(b"b".to_vec())));
        assert_eq!(range("ff", "", ""), (b"\xFF".to_vec(), None));
        assert_eq!(range("61", "6162", "63"), (b"ab".to_vec(), Some(b"b".to_vec())));
        assert_eq!(range("61", "00", "6163"), (b"a".to_vec(), Some(b"ac".to_vec())));
    }
}
