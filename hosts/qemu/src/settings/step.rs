//! What a run changes, step by step. All of it follows from the number of the start and of the step, and a value says of
//! which step it is: so whoever reads a setting can tell whether it is one that was written.

use crate::logger::Stamp;

/// Bytes of the longest key.
pub const KEY: usize = 8;
/// Bytes of the longest value: longer than has room in a page.
pub const VALUE: usize = 600;
/// Changes of a step at most.
pub const CHANGES: usize = 3;
/// Bytes of the longest value of a step with several changes.
pub const PART: usize = 24;

/// The setting that says how often the device was started.
pub const BOOT: &[u8] = b"boot";

const NAMES: u32 = 250;
const CHANNELS: u32 = 16;
const PROFILES: u32 = 4;
/// Bytes of a profile at least.
const LONG: usize = 200;

/// A setting that is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    key: [u8; KEY],
    len: usize,
    /// Bytes of its new value; `None`: it is removed.
    pub value: Option<usize>,
}

impl Change {
    fn new(group: &[u8; 4], number: u32, value: Option<usize>) -> Self {
        let [a, b, c, d] = *group;
        let [hundreds, tens, ones] = [100, 10, 1].map(|unit| b'0' + (number / unit % 10) as u8);
        Self { key: [a, b, c, d, b'/', hundreds, tens, ones], len: KEY, value }
    }

    /// Its key.
    pub fn key(&self) -> &[u8] {
        self.key.get(..self.len).unwrap_or_default()
    }

    /// Its new value, written to the start of `out`.
    pub fn value<'a>(&self, stamp: Stamp, out: &'a mut [u8]) -> Option<&'a [u8]> {
        let out = out.get_mut(..self.value?)?;
        for (to, from) in out.iter_mut().zip(bytes(stamp)) {
            *to = from;
        }
        Some(out)
    }

    /// Whether this is its new value.
    pub fn is(&self, stamp: Stamp, value: &[u8]) -> bool {
        self.value == Some(value.len()) && bytes(stamp).zip(value).all(|(is, was)| is == *was)
    }
}

/// What a step changes, all of it or nothing.
pub fn step(stamp: Stamp) -> [Option<Change>; CHANGES] {
    if stamp.number == 0 {
        let [a, b, c, d] = *b"boot";
        return [Some(Change { key: [a, b, c, d, 0, 0, 0, 0], len: BOOT.len(), value: Some(8) }), None, None];
    }
    let random = noise(stamp);
    let (kind, which, size) = (random % 8, random >> 3, (random >> 16) as usize);
    match kind {
        // What belongs together: the calibration of a channel.
        0 => [b"gain", b"offs", b"date"]
            .map(|group| Some(Change::new(group, which % CHANNELS, Some(8 + size % (PART - 7))))),
        1 => {
            [Some(Change::new(b"prof", which % PROFILES, Some(LONG + size % (VALUE - LONG + 1)))), None, None]
        }
        2 | 3 => [Some(Change::new(b"name", which % NAMES, None)), None, None],
        _ => [Some(Change::new(b"name", which % NAMES, Some(8 + size % 93))), None, None],
    }
}

/// The step that a setting is of, if it is one that a step has written.
pub fn check(key: &[u8], value: &[u8]) -> Option<Stamp> {
    let stamp = Stamp::take(value)?;
    let change = step(stamp).into_iter().flatten().find(|change| change.key() == key)?;
    change.is(stamp, value).then_some(stamp)
}

/// The bytes of all values of a step, of which each takes as many as it is long.
fn bytes(stamp: Stamp) -> impl Iterator<Item = u8> {
    let mut state = noise(stamp);
    let head = stamp.boot.to_le_bytes().into_iter().chain(stamp.number.to_le_bytes());
    head.chain(core::iter::repeat_with(move || {
        state = xorshift(state);
        state as u8
    }))
}

fn noise(stamp: Stamp) -> u32 {
    let seed = stamp.boot.wrapping_mul(0x9E37_79B1) ^ stamp.number.wrapping_mul(0x85EB_CA6B);
    // One of the two numbers may be the only one that is not 0, and small.
    (0..4).fold(seed | 1, |state, _| xorshift(state))
}

/// Marsaglia, 2003.
fn xorshift(mut state: u32) -> u32 {
    state ^= state << 13;
    state ^= state >> 17;
    state ^ state << 5
}
