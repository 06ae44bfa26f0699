//! What the logger writes: samples of an (invented) sensor, and events. Both have a size that never changes and say
//! which start of the logger they are of and which number they have, so that a reader can tell that none is missing.

/// Bytes of a sample.
pub const SAMPLE: usize = 32;
/// Bytes of an event.
pub const EVENT: usize = 13;

const READINGS: usize = SAMPLE - 8;

/// What stands in front of every entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Which start of the logger, from 1.
    pub boot: u32,
    /// The offset in its log, modulo 2^32.
    pub number: u32,
}

impl Stamp {
    fn put(self, bytes: &mut [u8]) {
        for (to, from) in
            bytes.iter_mut().zip(self.boot.to_le_bytes().into_iter().chain(self.number.to_le_bytes()))
        {
            *to = from;
        }
    }

    /// What stands in front of these bytes.
    pub fn take(bytes: &[u8]) -> Option<Self> {
        let (boot, rest) = bytes.split_first_chunk()?;
        let (number, _) = rest.split_first_chunk()?;
        Some(Self { boot: u32::from_le_bytes(*boot), number: u32::from_le_bytes(*number) })
    }
}

/// The sample with this stamp. The readings follow from it, so that what was stored can be checked.
pub fn sample(stamp: Stamp) -> [u8; SAMPLE] {
    let mut bytes = [0; SAMPLE];
    stamp.put(&mut bytes);
    let mut noise = stamp.boot.wrapping_mul(0x9E37_79B1) ^ stamp.number.wrapping_mul(0x85EB_CA6B);
    for reading in bytes.iter_mut().skip(SAMPLE - READINGS) {
        // Xorshift (Marsaglia, 2003).
        noise ^= noise << 13;
        noise ^= noise >> 17;
        noise ^= noise << 5;
        *reading = noise as u8;
    }
    bytes
}

/// The stamp of a sample, if it is one: of this number, with the readings that go with it.
pub fn check_sample(bytes: &[u8], offset: u64) -> Option<Stamp> {
    let stamp = Stamp::take(bytes).filter(|stamp| stamp.number == offset as u32)?;
    (sample(stamp) == *bytes).then_some(stamp)
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The logger was started; with it, how many samples there are.
    Started,
    /// So many samples are there.
    Progress,
    /// The logger has ended in order.
    Stopped,
}

/// The event with this stamp.
pub fn event(stamp: Stamp, what: What, samples: u32) -> [u8; EVENT] {
    let mut bytes = [0; EVENT];
    stamp.put(&mut bytes);
    let [.., a, b, c, d, e] = &mut bytes;
    *a = what as u8;
    [*b, *c, *d, *e] = samples.to_le_bytes();
    bytes
}

/// The stamp of an event, if it is one of this number.
pub fn check_event(bytes: &[u8], offset: u64) -> Option<Stamp> {
    let known = bytes.len() == EVENT && bytes.get(8).is_some_and(|what| *what <= What::Stopped as u8);
    Stamp::take(bytes).filter(|stamp| known && stamp.number == offset as u32)
}
