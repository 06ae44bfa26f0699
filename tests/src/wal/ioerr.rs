//! Every operation of the device fails: once, and from then on for ever, with nothing, part or all of it done.
//!
//! Each scenario is run once for each operation that it does and each way in which that can fail. It stops at the first
//! error. Then nothing may be acknowledged any more; and after a power cut everything acknowledged before must be there.

use esker::volume;
use esker::wal::Error;
use esker_sim::{Applied, Counts, Fault, PowerCut, Sim, SimError};

use super::goon::{self, KINDS};
use super::loose::{is_honest, one_history};
use super::opened::{Opened, Run, Scratch, Stop, Strictness};
use super::play::{Job, jobs, play, scenarios_of};
use super::session::{Session, tell_all};
use crate::cli::{self, Beat, Found, Settings, guarded, mix};

/// The calls of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Read,
    Write,
    Erase,
    Sync,
}

/// A way to fail, from the call with the given number on.
#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    call: Call,
    fault: fn() -> Fault,
    ever: bool,
    /// The device says it did what it did not: acknowledged entries may be lost.
    lies: bool,
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

/// The checker's entry.
pub fn run(settings: &Settings) -> (usize, Found) {
    let jobs = jobs(settings);
    if let Some(id) = &settings.replay {
        return (1, replay_one(&jobs, settings, id));
    }
    std::panic::set_hook(Box::new(|_| {}));
    let names: Vec<String> = jobs.iter().map(|job| job.name.clone()).collect();
    let found = cli::work("ioerr", settings, &names, |number, beat| run_job(&jobs[number], settings, beat));
    (scenarios_of(&jobs), found)
}

/// How many calls of each kind a script makes when nothing fails.
fn baseline(job: &Job) -> Result<Counts, String> {
    let mut counts = Counts::default();
    let (session, run) = play(&job.scenario, job.shape, |session| session.sim.reset_counts());
    if let Err(error) = run {
        return Err(format!("without any fault: {error:?}"));
    }
    if let Some(session) = session {
        counts = session.sim.counts();
    }
    Ok(counts)
}

fn run_job(job: &Job, settings: &Settings, beat: &Beat) -> Found {
    let mut found = Found::default();
    let counts = match guarded(|| baseline(job)) {
        Ok(counts) => counts,
        Err(why) => {
            found.violations.push((job.name.clone(), why));
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
            match guarded(|| run_one(job, way, nth, settings.seed)) {
                Ok(struck) => found.states += u64::from(struck),
                Err(why) => found.violations.push((format!("{}:{}@{nth}", job.name, way.name), why)),
            }
            if found.violations.len() >= 6 {
                return found;
            }
        }
    }
    found
}

/// One run with one fault. Whether the fault struck at all.
fn run_one(job: &Job, way: &Way, nth: u64, seed: u64) -> Result<bool, String> {
    let draw = mix(nth, mix(seed, way.name.len() as u64));
    let (mut id, mut cut) = (None, None);
    let (session, run) = play(&job.scenario, job.shape, |session| {
        // What a failed call leaves without a trace cannot be known after reopening; the crash states leave it out, too.
        session.forgets_burns = way.name.starts_with("write-nothing") && job.shape.geometry().must_erase();
        // While reads fail, a log may say that entries are damaged.
        session.strictness.whole = way.call != Call::Read;
        let sim = &session.sim;
        let fault = (way.fault)().nth(nth);
        id = Some(sim.inject(if way.ever { fault.for_ever() } else { fault }));
        if way.lies && draw.is_multiple_of(2) {
            // Cut in the middle, as after the end all may have been saved by a later sync that did not lie.
            cut = Some(sim.inject(Fault::power_loss().nth(nth * 2 + draw % 23)));
        }
    });
    let Some(mut session) = session else { return Ok(false) };
    let sim = session.device.clone();
    let struck = id.is_some_and(|id| sim.struck(id) > 0);
    let was_cut = cut.is_some_and(|cut| sim.struck(cut) > 0);
    match run {
        // A segment that was retired is missing, or one whose header can't be read is not freed before the next open; so
        // the pool may be full before the script expects it.
        Err(Stop::Wrong(why))
            if is_full(&why)
                && (session.opened.volume.info().retired_segments != 0
                    || way.call == Call::Read && struck) => {}
        Err(Stop::Wrong(why)) if !(way.lies && struck) => return Err(why),
        Err(Stop::Device(error)) if !struck && !was_cut => {
            return Err(format!("nothing has failed, and yet {error:?}"));
        }
        Err(Stop::Device(error)) => refuses(&mut session, &error)?,
        _ => {}
    }
    for sim in [&sim, &session.sim] {
        if let Some(violation) = sim.violations().first() {
            return Err(violation.to_string());
        }
        sim.clear_faults();
    }
    let sim = session.sim.clone();
    sim.power_cut(match draw % 3 {
        0 => PowerCut::LoseAll,
        1 => PowerCut::KeepAll,
        _ => PowerCut::Random(draw),
    });
    sim.reopen();
    let sim = if session.forgets_burns { session.without_burns()? } else { sim };
    if let Some(fault) = job.scenario.fault {
        sim.inject(fault(&job.shape));
    }
    if way.lies {
        after_lie(job, &session, &sim)?;
    } else {
        afterwards(job, &session, &sim, draw)?;
    }
    Ok(struck)
}

/// Whether a script has stopped because there was no room.
fn is_full(why: &str) -> bool {
    why.contains("answered Full") || why.contains("full again") || why.starts_with("full,")
}

/// After a failed write or sync nothing is acknowledged any more.
fn refuses(session: &mut Session, error: &super::opened::LogError) -> Result<(), String> {
    let failed = matches!(
        error,
        Error::Volume(volume::Error::Device(SimError::Write { .. } | SimError::Sync | SimError::NoSpace))
    );
    let Opened { volume, logs } = &mut session.opened;
    if failed && !volume.is_poisoned() {
        return Err(format!("{error:?}, and the volume is not poisoned"));
    }
    if !volume.is_poisoned() {
        return Ok(());
    }
    for log in logs.iter_mut().filter_map(|handle| handle.log.as_mut()) {
        let durable = log.durable();
        let answers = (
            log.append(volume, b"too late"),
            log.commit(volume),
            log.flush(volume).map(|_| ()),
            log.release_before(volume, durable).map(|_| ()),
        );
        if answers.0.is_ok() || answers.1.is_ok() || answers.2.is_ok() || answers.3.is_ok() {
            return Err(format!("poisoned by {error:?}, and yet {answers:?}"));
        }
        if log.durable() != durable {
            return Err("poisoned, and yet something became durable".into());
        }
    }
    Ok(())
}

fn wrong<T>(run: Run<T>) -> Result<T, String> {
    match run {
        Ok(result) => Ok(result),
        Err(Stop::Wrong(why)) => Err(why),
        Err(Stop::Device(error)) => Err(format!("nothing fails any more, and yet: {error:?}")),
    }
}

/// The device works again: everything acknowledged is there, nothing else, and the log goes on.
fn afterwards(job: &Job, session: &Session, sim: &Sim, draw: u64) -> Result<(), String> {
    let ids = session.model.logs.iter().map(|log| log.id);
    let mut opened =
        Opened::open(sim, job.shape.memory(), ids).map_err(|error| format!("open: {error:?}"))?;
    let mut scratch = Scratch::default();
    let found = wrong(opened.examine(&session.model, usize::MAX, Strictness::CRASH, &mut scratch))?;
    let model = session.model.found(&found);
    let mut again = Session::over(sim, job.shape, model, opened);
    let kind = (draw >> 8) % KINDS;
    wrong(goon::run(&mut again, kind, true)).map_err(|why| format!("going on ({kind}): {why}"))?;
    match sim.violations().first() {
        Some(violation) => Err(violation.to_string()),
        None => Ok(()),
    }
}

/// The device has lied about what is durable: what is there may be old, but must be one history or say `Corrupt`.
fn after_lie(job: &Job, session: &Session, sim: &Sim) -> Result<(), String> {
    let ids = session.model.logs.iter().map(|log| log.id);
    match Opened::open(sim, job.shape.memory(), ids) {
        Ok(mut opened) => one_history(&mut opened, &session.model).map(|_| ()),
        Err(error) if is_honest(&error) => Ok(()),
        Err(error) => Err(format!("open: {error:?}")),
    }
}

fn replay_one(jobs: &[Job], settings: &Settings, id: &str) -> Found {
    tell_all();
    let mut found = Found { states: 1, ..Found::default() };
    let result = (|| {
        let (name, rest) = id.split_once(':').unwrap_or((id, ""));
        let job = jobs.iter().find(|job| job.name == name).ok_or("no such scenario")?;
        let Some((way, nth)) = rest.split_once('@') else { return baseline(job).map(|_| ()) };
        let way = WAYS.iter().find(|known| known.name == way).ok_or("no such fault")?;
        let nth = nth.parse().map_err(|_| "no number behind the @")?;
        run_one(job, way, nth, settings.seed).map(|_| ())
    })();
    if let Err(why) = result {
        found.violations.push((id.to_owned(), why));
    }
    found
}
