//! Every operation of the device fails while a scenario runs, which stops at the first error.
//!
//! Then nothing may be acknowledged any more; and after a power cut everything acknowledged before must be there.

use esker::volume;
use esker::wal::Error;
use esker_sim::{Counts, Fault, PowerCut, Sim, SimError};

use super::goon::{self, KINDS};
use super::loose::{is_honest, one_history};
use super::opened::{Opened, Run, Scratch, Stop, Strictness};
use super::play::{Job, jobs, play, scenarios_of};
use super::session::{Session, tell_all};
use crate::cli::{Found, Settings, mix};
use crate::failures::{self, Call, Script, Way};

/// The checker's entry.
pub fn run(settings: &Settings) -> (usize, Found) {
    let jobs = jobs(settings);
    if settings.replay.is_some() {
        tell_all();
    }
    (scenarios_of(&jobs), failures::run(&jobs, settings))
}

impl Script for Job {
    fn name(&self) -> &str {
        &self.name
    }

    fn baseline(&self) -> Result<Counts, String> {
        let (session, run) = play(&self.scenario, self.shape, |session| session.sim.reset_counts());
        match (session, run) {
            (_, Err(error)) => Err(format!("without any fault: {error:?}")),
            (Some(session), Ok(())) => Ok(session.sim.counts()),
            (None, Ok(())) => Ok(Counts::default()),
        }
    }

    fn run(&self, way: &Way, nth: u64, seed: u64) -> Result<bool, String> {
        run_one(self, way, nth, seed)
    }
}

fn run_one(job: &Job, way: &Way, nth: u64, seed: u64) -> Result<bool, String> {
    let draw = mix(nth, mix(seed, way.name.len() as u64));
    let (mut id, mut cut) = (None, None);
    let (session, run) = play(&job.scenario, job.shape, |session| {
        // What a failed call leaves without a trace cannot be known after reopening; the crash states leave it out, too.
        session.forgets_burns = way.name.starts_with("write-nothing") && job.shape.geometry().must_erase();
        // While reads fail, a log may say that entries are damaged.
        session.strictness.whole = way.call != Call::Read;
        let sim = &session.sim;
        id = Some(sim.inject(way.fault(nth)));
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
