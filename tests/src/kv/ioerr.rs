//! Every operation of the device fails while a scenario runs, which stops at the first error.
//!
//! After a failed write or sync nothing may be acknowledged any more; after a failed read the store must be as it was, or
//! refuse. And after a power cut everything acknowledged before must be there.

use esker::store::{Batch, Error};
use esker::volume;
use esker::wal;
use esker_sim::{Counts, Fault, PowerCut, Sim, SimError};

use super::engine::{Index, KvError, Stop, wrong};
use super::goon::{self, KINDS};
use super::loose::{is_honest, one_history};
use super::opened::{Opened, Scratch, scan};
use super::play::{Job, jobs, play, scenarios_of};
use super::session::Session;
use crate::cli::{Found, Settings, mix};
use crate::cuts::broken_rules;
use crate::failures::{self, Call, Script, Way};
use crate::wal::session::tell_all;

/// The checker's entry.
pub fn run<I: Index>(settings: &Settings) -> (usize, Found) {
    let jobs = jobs::<I>(settings);
    if settings.replay.is_some() {
        tell_all();
    }
    (scenarios_of(&jobs), failures::run(&jobs, settings))
}

impl<I: Index> Script for Job<I> {
    fn name(&self) -> &str {
        &self.name
    }

    fn baseline(&self) -> Result<Counts, String> {
        let (session, run) = play(&self.scenario, self.shape, |session| session.sim().reset_counts());
        match (session, run) {
            (_, Err(error)) => Err(format!("without any fault: {error:?}")),
            (Some(session), Ok(())) => Ok(session.sim().counts()),
            (None, Ok(())) => Ok(Counts::default()),
        }
    }

    fn run(&self, way: &Way, nth: u64, seed: u64) -> Result<bool, String> {
        run_one(self, way, nth, seed)
    }
}

fn run_one<I: Index>(job: &Job<I>, way: &Way, nth: u64, seed: u64) -> Result<bool, String> {
    let draw = mix(nth, mix(seed, way.name.len() as u64));
    let flash = job.shape.below.geometry().must_erase();
    let (mut id, mut cut) = (None, None);
    let (session, run) = play(&job.scenario, job.shape, |session: &mut Session<I>| {
        // What a failed call leaves without a trace cannot be known after reopening; the crash states leave it out, too.
        session.logs.forgets_burns = way.name.starts_with("write-nothing") && flash;
        session.logs.strictness.whole = way.call != Call::Read;
        session.scratch.reads_fail = way.call == Call::Read;
        let sim = session.sim();
        id = Some(sim.inject(way.fault(nth)));
        if way.lies && draw.is_multiple_of(2) {
            // Cut in the middle, as after the end all may have been saved by a later sync that did not lie.
            cut = Some(sim.inject(Fault::power_loss().nth(nth * 2 + draw % 23)));
        }
    });
    let Some(mut session) = session else { return Ok(false) };
    let sim = session.logs.device.clone();
    let struck = id.is_some_and(|id| sim.struck(id) > 0);
    let was_cut = cut.is_some_and(|cut| sim.struck(cut) > 0);
    match run {
        Err(Stop::Wrong(why)) if (struck && way.call != Call::Sync || was_cut) && is_full(&why) => {}
        Err(Stop::Wrong(why)) if !(way.lies && struck) => return Err(why),
        Err(Stop::Device(error)) if !struck && !was_cut => {
            return Err(format!("nothing has failed, and yet {error:?}"));
        }
        Err(Stop::Device(error)) => {
            for sim in [&sim, session.sim()] {
                broken_rules(sim)?;
            }
            refuses(&mut session, &error, &sim)?;
        }
        _ => {}
    }
    for sim in [&sim, session.sim()] {
        broken_rules(sim)?;
        sim.clear_faults();
    }
    let sim = session.sim().clone();
    sim.power_cut(match draw % 3 {
        0 => PowerCut::LoseAll,
        1 => PowerCut::KeepAll,
        _ => PowerCut::Random(draw),
    });
    sim.reopen();
    let sim = if session.logs.forgets_burns { session.logs.without_burns()? } else { sim };
    if let Some(fault) = job.scenario.fault {
        sim.inject(fault(&job.shape));
    }
    if way.lies {
        after_lie(job, &session, &sim)?;
    } else {
        afterwards(job, &session, &sim, (draw, way.call == Call::Read))?;
    }
    Ok(struck)
}

/// Whether a script has stopped because there was no room: a part of the device was retired, or a segment whose header
/// can't be read is not freed before the next opening.
fn is_full(why: &str) -> bool {
    ["full", "Full", "no room"].iter().any(|word| why.contains(word)) || why.starts_with("the pool has ")
}

/// After a failed write or sync nothing is acknowledged any more.
fn refuses<I: Index>(session: &mut Session<I>, error: &KvError, sim: &Sim) -> Result<(), String> {
    let Some(store) = &mut session.store else { return Ok(()) };
    let volume = &mut session.logs.opened.volume;
    if !volume.is_poisoned() {
        let sync = matches!(error, Error::Log(wal::Error::Volume(volume::Error::Device(SimError::Sync))));
        if sync {
            return Err(format!("{error:?}, and the volume is not poisoned"));
        }
        // Reads, erases, and writes before which this session has acknowledged nothing.
        return goes_on(session, sim);
    }
    let mut batch = Batch::new([0; 64]);
    batch.put(b"too", b"late").map_err(|full| format!("{full:?}"))?;
    let answers = [
        ("put", store.put(volume, b"too", b"late").map(|_| ())),
        ("delete", store.delete(volume, b"too").map(|_| ())),
        ("write", store.write(volume, &batch)),
        ("commit", store.commit(volume)),
        ("checkpoint", store.checkpoint(volume)),
        ("flush", store.flush(volume).map(|_| ())),
    ];
    match answers.iter().find(|(_, answer)| answer.is_ok()) {
        Some((name, _)) => Err(format!("poisoned by {error:?}, and yet {name} succeeds")),
        None => Ok(()),
    }
}

/// Something has failed and the volume goes on: so must the store, or refuse, but never show anything wrong.
fn goes_on<I: Index>(session: &mut Session<I>, sim: &Sim) -> Result<(), String> {
    sim.clear_faults();
    let Some(store) = &mut session.store else { return Ok(()) };
    let volume = &mut session.logs.opened.volume;
    let mut scratch = Scratch::default();
    match scan(volume, store, &mut scratch) {
        Ok(digest) if session.model.identify(usize::MAX - 1, Some(digest)).is_some() => {}
        Ok(_) => {
            let content = scratch.take_pairs();
            let why = session.model.explain(usize::MAX - 1, Some(&content));
            return Err(format!("after the failure: {why}"));
        }
        Err(Stop::Device(_)) => return Ok(()),
        Err(Stop::Wrong(why)) => return Err(format!("after the failure: {why}")),
    }
    // The operation that failed may be there or not, but from now on it is one or the other.
    let content = scratch.take_pairs();
    let at = session.sim().op_count();
    let mut digest = super::model::Digest::default();
    content.values().for_each(|hash| digest.add(*hash));
    if let Some(version) = session.model.identify(usize::MAX - 1, Some(digest)) {
        session.model.reopened(at, version, content);
    }
    match session.try_put(b"after the failure", 9).and_then(|_| session.commit()) {
        Ok(()) | Err(Stop::Device(_)) => Ok(()),
        Err(Stop::Wrong(why)) => Err(format!("after the failure: {why}")),
    }
}

/// The device works again: everything acknowledged is there, nothing else, and the store goes on.
fn afterwards<I: Index>(
    job: &Job<I>,
    session: &Session<I>,
    sim: &Sim,
    (draw, leaks): (u64, bool),
) -> Result<(), String> {
    let ids = session.logs.model.logs.iter().map(|log| log.id);
    let mut opened = Opened::<I>::open(sim, &job.shape, ids).map_err(|error| format!("open: {error:?}"))?;
    let mut scratch = Scratch::default();
    scratch.leaks = leaks;
    let cut = usize::MAX - 1;
    let found = wrong(opened.examine(&session.model, &session.logs.model, cut, &mut scratch))?;
    let model = session.model.found(found.version, found.content);
    let logs = session.logs.model.found(&found.logs);
    let mut again = Session::over(sim, job.shape, model, logs, opened);
    again.scratch.leaks = leaks;
    let kind = (draw >> 8) % KINDS;
    match wrong(goon::run(&mut again, kind, true)) {
        // On a full device whose list of free blocks could not be read, there may be none left to merge with.
        Err(why)
            if !I::EXACT && why.contains("checkpoint") && why.ends_with(": Full") && has_lost(&mut again) => {
        }
        done => done.map_err(|why| format!("going on ({kind}): {why}"))?,
    }
    broken_rules(sim)
}

fn has_lost<I: Index>(session: &mut Session<I>) -> bool {
    session.info().is_ok_and(|info| info.lost_blocks != 0)
}

/// The device has lied about what is durable: what is there may be old, but must be one history or say `Corrupt`.
fn after_lie<I: Index>(job: &Job<I>, session: &Session<I>, sim: &Sim) -> Result<(), String> {
    let ids = session.logs.model.logs.iter().map(|log| log.id);
    match Opened::<I>::open(sim, &job.shape, ids) {
        Ok(mut opened) => match &mut opened.store {
            Some(store) => one_history(&mut opened.logs.volume, store, &session.model),
            None if session.model.is_absent(0) => Ok(()),
            None => Err("the store is gone".into()),
        },
        Err(error) if is_honest(&error) => Ok(()),
        Err(error) => Err(format!("open: {error:?}")),
    }
}
