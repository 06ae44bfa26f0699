//! Every operation of the device fails: once, and from then on for ever, with nothing, part or all of it done.
//!
//! Each script is run once for each operation that it does and each way in which that can fail. What must hold then is
//! the [`Script`]'s business.

use esker_sim::{Applied, Counts, Fault};

use crate::cli::{self, Found, Settings, guarded, mix};

/// A run that can be repeated.
pub trait Script: Sync {
    /// What it is called in state ids.
    fn name(&self) -> &str;

    /// Runs it without any fault: the calls it makes.
    fn baseline(&self) -> Result<Counts, String>;

    /// Runs it with one fault. Whether that struck at all.
    fn run(&self, way: &Way, nth: u64, seed: u64) -> Result<bool, String>;
}

/// The calls of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `read`.
    Read,
    /// `write`.
    Write,
    /// `erase`.
    Erase,
    /// `sync`.
    Sync,
}

/// A way to fail, from the call with the given number on.
#[derive(Clone, Copy)]
pub struct Way {
    /// What it is called in state ids.
    pub name: &'static str,
    /// What fails.
    pub call: Call,
    fault: fn() -> Fault,
    ever: bool,
    /// The device says it did what it did not: what was acknowledged may be lost.
    pub lies: bool,
}

impl Way {
    /// The fault that strikes the call after `nth` others.
    pub fn fault(&self, nth: u64) -> Fault {
        let fault = (self.fault)().nth(nth);
        if self.ever { fault.for_ever() } else { fault }
    }
}

const fn way(name: &'static str, call: Call, fault: fn() -> Fault) -> Way {
    Way { name, call, fault, ever: false, lies: false }
}

const fn ever(way: Way, name: &'static str) -> Way {
    Way { name, ever: true, ..way }
}

const fn lie(way: Way) -> Way {
    Way { lies: true, ..way }
}

fn write_nothing() -> Fault {
    Fault::write_error(Applied::Nothing)
}
fn write_part() -> Fault {
    Fault::write_error(Applied::Part)
}
fn write_all() -> Fault {
    Fault::write_error(Applied::All)
}
fn erase_nothing() -> Fault {
    Fault::erase_error(Applied::Nothing)
}
fn erase_part() -> Fault {
    Fault::erase_error(Applied::Part)
}
fn erase_all() -> Fault {
    Fault::erase_error(Applied::All)
}
fn sync_nothing() -> Fault {
    Fault::sync_error(Applied::Nothing)
}
fn sync_part() -> Fault {
    Fault::sync_error(Applied::Part)
}
fn sync_all() -> Fault {
    Fault::sync_error(Applied::All)
}
fn read_thrice() -> Fault {
    Fault::read_error().times(3)
}

const WAYS: &[Way] = &[
    way("read", Call::Read, Fault::read_error),
    way("read-thrice", Call::Read, read_thrice),
    ever(way("", Call::Read, Fault::read_error), "read-ever"),
    way("write-nothing", Call::Write, write_nothing),
    way("write-part", Call::Write, write_part),
    way("write-all", Call::Write, write_all),
    ever(way("", Call::Write, write_nothing), "write-nothing-ever"),
    ever(way("", Call::Write, write_part), "write-part-ever"),
    ever(way("", Call::Write, write_all), "write-all-ever"),
    way("no-space", Call::Write, Fault::no_space),
    ever(way("", Call::Write, Fault::no_space), "no-space-ever"),
    way("read-only", Call::Write, Fault::read_only),
    ever(way("", Call::Write, Fault::read_only), "read-only-ever"),
    way("erase-nothing", Call::Erase, erase_nothing),
    way("erase-part", Call::Erase, erase_part),
    way("erase-all", Call::Erase, erase_all),
    ever(way("", Call::Erase, erase_nothing), "erase-ever"),
    way("sync-nothing", Call::Sync, sync_nothing),
    way("sync-part", Call::Sync, sync_part),
    way("sync-all", Call::Sync, sync_all),
    ever(way("", Call::Sync, sync_nothing), "sync-ever"),
    way("sync-drops", Call::Sync, Fault::sync_drops_dirty),
    way("sync-drops-unseen", Call::Sync, Fault::sync_drops_dirty_unseen),
    lie(way("sync-lies", Call::Sync, Fault::lying_sync)),
    lie(ever(way("", Call::Sync, Fault::lying_sync), "sync-lies-ever")),
];

fn calls(counts: &Counts, call: Call) -> u64 {
    match call {
        Call::Read => counts.reads,
        Call::Write => counts.writes,
        Call::Erase => counts.erases,
        Call::Sync => counts.syncs,
    }
}

/// After so many violations a script is broken off.
const ENOUGH: usize = 6;

/// Runs every script in every way.
pub fn run(scripts: &[impl Script], settings: &Settings) -> Found {
    if let Some(id) = &settings.replay {
        let mut found = Found { states: 1, ..Found::default() };
        if let Err(why) = replay(scripts, settings, id) {
            found.violations.push((id.to_owned(), why));
        }
        return found;
    }
    std::panic::set_hook(Box::new(|_| {}));
    let names: Vec<String> = scripts.iter().map(|script| script.name().to_owned()).collect();
    cli::work("ioerr", settings, &names, |number, beat| run_script(&scripts[number], settings, beat))
}

fn run_script(script: &impl Script, settings: &Settings, beat: &cli::Beat) -> Found {
    let mut found = Found::default();
    let name = script.name();
    let counts = match guarded(|| script.baseline()) {
        Ok(counts) => counts,
        Err(why) => {
            found.violations.push((name.to_owned(), why));
            return found;
        }
    };
    for (number, way) in WAYS.iter().enumerate() {
        let total = calls(&counts, way.call);
        let most = match (settings.full, way.call) {
            (true, Call::Read) => 400,
            (true, _) => u64::MAX,
            (false, Call::Read) => 12,
            (false, _) => 16,
        };
        let step = total.div_ceil(most).max(1);
        let from = mix(number as u64, settings.seed) % step;
        for nth in (from..total).step_by(step as usize) {
            beat.at(number as u64, nth);
            match guarded(|| script.run(way, nth, settings.seed)) {
                Ok(struck) => found.states += u64::from(struck),
                Err(why) => found.violations.push((format!("{name}:{}@{nth}", way.name), why)),
            }
            if found.violations.len() >= ENOUGH {
                return found;
            }
        }
    }
    found
}

fn replay(scripts: &[impl Script], settings: &Settings, id: &str) -> Result<(), String> {
    let (name, rest) = id.split_once(':').unwrap_or((id, ""));
    let script = scripts.iter().find(|script| script.name() == name).ok_or("no such scenario")?;
    let Some((way, nth)) = rest.split_once('@') else { return script.baseline().map(|_| ()) };
    let way = WAYS.iter().find(|known| known.name == way).ok_or("no such fault")?;
    let nth = nth.parse().map_err(|_| "no number behind the @")?;
    script.run(way, nth, settings.seed).map(|_| ())
}
