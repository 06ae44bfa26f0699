//! Ways to damage an image, each with a name.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use esker_sim::{Reading, Sim};

use super::image::Image;

/// What is done to a unit, or to two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// One bit flipped; the unit is a bit.
    Bit,
    /// Zeroed.
    Zero,
    /// All ones.
    Ones,
    /// As it was when the image with this number was taken.
    Stale,
    /// Exchanged with the unit of this number.
    Swap,
    /// Can't be read.
    Unreadable,
}

const NAMES: [(&str, How); 6] = [
    ("bit", How::Bit),
    ("zero", How::Zero),
    ("ones", How::Ones),
    ("stale", How::Stale),
    ("swap", How::Swap),
    ("unreadable", How::Unreadable),
];

/// One damage: `zero-512@7`, `stale-4@99.2`, `swap-512@3.8`, `bit-1@12345`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// What is done.
    pub how: How,
    /// Bytes of a unit.
    pub size: usize,
    /// Number of the unit (or of the bit).
    pub unit: usize,
    /// Number of the other unit, or of the earlier image.
    pub other: usize,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(_, how)| *how == self.how).map_or("", |(name, _)| name);
        write!(f, "{name}-{}@{}.{}", self.size, self.unit, self.other)
    }
}

impl FromStr for Damage {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "a damage is named like zero-512@7.0";
        let (name, rest) = text.split_once('-').ok_or(WRONG)?;
        let (size, rest) = rest.split_once('@').ok_or(WRONG)?;
        let (unit, other) = rest.split_once('.').ok_or(WRONG)?;
        let how = NAMES.iter().find(|(known, _)| *known == name).ok_or(WRONG)?.1;
        let number = |text: &str| text.parse::<usize>().map_err(|_| WRONG);
        Ok(Self { how, size: number(size)?, unit: number(unit)?, other: number(other)? })
    }
}

impl Damage {
    /// The bytes that are hit.
    pub fn ranges(&self) -> Vec<Range<usize>> {
        let unit = |number: usize| number * self.size..(number + 1) * self.size;
        match self.how {
            How::Bit => std::iter::once(self.unit / 8..self.unit / 8 + 1).collect(),
            How::Swap => vec![unit(self.unit), unit(self.other)],
            _ => std::iter::once(unit(self.unit)).collect(),
        }
    }

    /// Whether anything changes at all.
    pub fn matters(&self, image: &Image) -> bool {
        let ranges = self.ranges();
        let here = &image.bytes[ranges[0].clone()];
        match self.how {
            How::Bit | How::Unreadable => true,
            How::Zero => here.iter().any(|byte| *byte != 0),
            How::Ones => here.iter().any(|byte| *byte != 0xFF),
            How::Stale => {
                let old = &image.earlier[self.other][ranges[0].clone()];
                // The same content as in an image that comes later is visited there.
                old != here
                    && image.earlier[self.other + 1..].iter().all(|later| later[ranges[0].clone()] != *old)
            }
            How::Swap => *here != image.bytes[ranges[1].clone()],
        }
    }

    /// Does it.
    pub fn apply(&self, image: &Image, sim: &Sim) {
        let ranges = self.ranges();
        let at = ranges[0].start as u64;
        match self.how {
            How::Bit => sim.flip_bit(at, (self.unit % 8) as u8),
            How::Zero => sim.poke(at, &vec![0; self.size]),
            How::Ones => sim.poke(at, &vec![0xFF; self.size]),
            How::Stale => sim.poke(at, &image.earlier[self.other][ranges[0].clone()]),
            How::Swap => {
                sim.poke(at, &image.bytes[ranges[1].clone()]);
                sim.poke(ranges[1].start as u64, &image.bytes[ranges[0].clone()]);
            }
            How::Unreadable => {
                sim.set_reading(at..ranges[0].end as u64, Reading::Unreadable);
            }
        }
    }

    /// Takes it back.
    pub fn mend(&self, image: &Image, sim: &Sim) {
        for range in self.ranges() {
            if self.how == How::Unreadable {
                sim.set_reading(range.start as u64..range.end as u64, Reading::Good);
            }
            sim.poke(range.start as u64, &image.bytes[range]);
        }
    }
}
