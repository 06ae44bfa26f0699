//! Images damaged at rest, in every way, each with a name. What must hold then is the [`Image`]'s business.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use esker::device::Geometry;
use esker_sim::{Reading, Sim};

use crate::cli::{self, Found, Settings, guarded, mix};

/// A device's content, now and earlier.
#[derive(Clone, Debug)]
pub struct Content {
    /// The device.
    pub geometry: Geometry,
    /// What it holds.
    pub bytes: Vec<u8>,
    /// What it held earlier.
    pub earlier: Vec<Vec<u8>>,
}

impl Content {
    /// A device that holds it.
    pub fn device(&self) -> Sim {
        Sim::from_image(self.geometry, &self.bytes).expect("the geometry it was made with")
    }
}

/// Something on a device, and what is known of it.
pub trait Image: Sync {
    /// What it is called in state ids.
    fn name(&self) -> &str;

    /// Where it is.
    fn content(&self) -> &Content;

    /// In each way, about so many damages of each size are done at most.
    fn most(&self, full: bool) -> usize;

    /// Whether all of it is there when nothing is damaged.
    fn whole(&self) -> Result<(), String>;

    /// Looks at it on `sim`, which is damaged.
    fn check(&self, damage: &Damage, sim: &Sim) -> Result<(), String>;

    /// The same, and all that is done only to a sample otherwise.
    fn check_all(&self, damage: &Damage, sim: &Sim) -> Result<(), String>;
}

/// Shares into which each way of damaging is split, so that two threads are kept busy.
const SHARES: usize = 4;
/// After so many violations a job is broken off.
const ENOUGH: usize = 6;
/// Of small units there are too many pairs; so many are drawn.
const DRAWN: usize = 40_000;

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
    /// Garbage.
    Garbage,
    /// Exchanged with the unit of this number.
    Swap,
    /// What the unit of this number holds: a write that went astray.
    Copy,
    /// Can't be read.
    Unreadable,
}

const NAMES: [(&str, How); 8] = [
    ("bit", How::Bit),
    ("zero", How::Zero),
    ("ones", How::Ones),
    ("garbage", How::Garbage),
    ("stale", How::Stale),
    ("copy", How::Copy),
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
    /// Number of the other unit, or of the earlier content.
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
    fn source(&self) -> Range<usize> {
        self.other * self.size..(self.other + 1) * self.size
    }

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
    pub fn matters(&self, content: &Content) -> bool {
        let ranges = self.ranges();
        let here = &content.bytes[ranges[0].clone()];
        match self.how {
            How::Bit | How::Unreadable | How::Garbage => true,
            How::Zero => here.iter().any(|byte| *byte != 0),
            How::Ones => here.iter().any(|byte| *byte != 0xFF),
            How::Stale => {
                let old = &content.earlier[self.other][ranges[0].clone()];
                // The same content as in an image that comes later is visited there.
                old != here
                    && content.earlier[self.other + 1..].iter().all(|later| later[ranges[0].clone()] != *old)
            }
            // A swap is the same from both ends.
            How::Swap => self.unit < self.other && *here != content.bytes[ranges[1].clone()],
            How::Copy => *here != content.bytes[self.source()],
        }
    }

    /// Does it.
    pub fn apply(&self, content: &Content, sim: &Sim) {
        let ranges = self.ranges();
        let at = ranges[0].start as u64;
        match self.how {
            How::Bit => sim.flip_bit(at, (self.unit % 8) as u8),
            How::Zero => sim.poke(at, &vec![0; self.size]),
            How::Ones => sim.poke(at, &vec![0xFF; self.size]),
            How::Garbage => sim.scramble(at..at + self.size as u64, mix(at, self.size as u64)),
            How::Copy => sim.poke(at, &content.bytes[self.source()]),
            How::Stale => sim.poke(at, &content.earlier[self.other][ranges[0].clone()]),
            How::Swap => {
                sim.poke(at, &content.bytes[ranges[1].clone()]);
                sim.poke(ranges[1].start as u64, &content.bytes[ranges[0].clone()]);
            }
            How::Unreadable => {
                sim.set_reading(at..ranges[0].end as u64, Reading::Unreadable);
            }
        }
    }

    /// Takes it back.
    pub fn mend(&self, content: &Content, sim: &Sim) {
        for range in self.ranges() {
            if self.how == How::Unreadable {
                sim.set_reading(range.start as u64..range.end as u64, Reading::Good);
            }
            sim.poke(range.start as u64, &content.bytes[range]);
        }
    }
}

struct Job {
    image: usize,
    how: How,
    size: usize,
    share: usize,
    name: String,
}

fn jobs(images: &[impl Image], settings: &Settings) -> Vec<Job> {
    let mut jobs = Vec::new();
    for (number, image) in images.iter().enumerate() {
        let flash = image.content().geometry.must_erase();
        let sizes: &[usize] = if flash { &[4, 512, 4096] } else { &[512, 4096] };
        for (_, how) in NAMES {
            for size in if how == How::Bit { &[1] } else { sizes } {
                for share in 0..SHARES {
                    let name = format!("{}:{how:?}-{size}", image.name());
                    if settings.only.as_ref().is_none_or(|only| name.contains(only.as_str())) {
                        jobs.push(Job { image: number, how, size: *size, share, name });
                    }
                }
            }
        }
    }
    jobs
}

/// Damages every image in every way.
pub fn run(images: &[impl Image], settings: &Settings) -> Found {
    let mut found = Found::default();
    for image in images {
        if let Err(why) = guarded(|| image.whole()) {
            found.violations.push((image.name().to_owned(), format!("undamaged: {why}")));
        }
    }
    if let Some(id) = &settings.replay {
        found.states = 1;
        if let Err(why) = replay(images, id) {
            found.violations.push((id.to_owned(), why));
        }
        return found;
    }
    std::panic::set_hook(Box::new(|_| {}));
    let jobs = jobs(images, settings);
    let names: Vec<String> = jobs.iter().map(|job| format!("{} {}/{SHARES}", job.name, job.share)).collect();
    found.add(cli::work("corrupt", settings, &names, |number, beat| {
        run_job(&images[jobs[number].image], &jobs[number], settings, beat)
    }));
    found
}

/// How many damages of this kind there are.
fn total(content: &Content, job: &Job) -> usize {
    let Job { how, size, .. } = *job;
    let units = content.bytes.len() / size;
    match how {
        How::Bit => content.bytes.len() * 8,
        How::Zero | How::Ones | How::Garbage | How::Unreadable => units,
        How::Stale => units * content.earlier.len(),
        How::Swap | How::Copy => {
            if units > 256 {
                DRAWN
            } else {
                units * units
            }
        }
    }
}

/// All damages of a job, by number; `None`: there is no such number.
fn damage(content: &Content, job: &Job, number: usize) -> Option<Damage> {
    let Job { how, size, .. } = *job;
    let units = if how == How::Bit { content.bytes.len() * 8 } else { content.bytes.len() / size };
    let (unit, other, most) = match how {
        How::Bit | How::Zero | How::Ones | How::Garbage | How::Unreadable => (number, 0, 1),
        How::Stale => (number % units, number / units, content.earlier.len()),
        How::Swap | How::Copy if units > 256 => {
            let draw = mix(number as u64, 0);
            let pair =
                Damage { how, size, unit: draw as usize % units, other: (draw >> 32) as usize % units };
            return (number < DRAWN).then_some(pair);
        }
        How::Swap | How::Copy => (number % units, number / units, units),
    };
    (unit < units && other < most).then_some(Damage { how, size, unit, other })
}

/// Of how many damages a quick run does one.
fn step(how: How, size: usize) -> usize {
    match (how, size) {
        (How::Bit, _) => 61,
        (How::Swap | How::Copy, 4..=512) => 17,
        (_, 4) => 23,
        (How::Stale, _) => 3,
        _ => 1,
    }
}

fn run_job(image: &impl Image, job: &Job, settings: &Settings, beat: &cli::Beat) -> Found {
    let content = image.content();
    let mut sim = content.device();
    let mut found = Found::default();
    let step = if settings.full { 1 } else { step(job.how, job.size) };
    let step = step.max(total(content, job).div_ceil(image.most(settings.full)));
    let mut number = job.share + SHARES * (mix(job.size as u64, settings.seed) as usize % step);
    while let Some(damage) = damage(content, job, number) {
        number += SHARES * step;
        if !damage.matters(content) {
            continue;
        }
        beat.at(damage.unit as u64, damage.other as u64);
        found.states += 1;
        damage.apply(content, &sim);
        sim.reset_counts();
        if let Err(why) = guarded(|| image.check(&damage, &sim)) {
            found.violations.push((format!("{}:{damage}", image.name()), why));
            if found.violations.len() >= ENOUGH {
                break;
            }
        }
        let counts = sim.counts();
        if counts.writes + counts.erases == 0 {
            damage.mend(content, &sim);
        } else {
            sim = content.device();
        }
    }
    found
}

fn replay(images: &[impl Image], id: &str) -> Result<(), String> {
    let (name, damage) = id.split_once(':').ok_or("an id is image:damage")?;
    let image = images.iter().find(|image| image.name() == name).ok_or("no such image")?;
    let damage: Damage = damage.parse()?;
    let sim = image.content().device();
    damage.apply(image.content(), &sim);
    sim.reset_counts();
    eprintln!("bytes {:x?} of {name}", damage.ranges());
    image.check_all(&damage, &sim)
}
