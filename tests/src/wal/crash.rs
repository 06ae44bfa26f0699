//! The power goes, everywhere: each crash state of each scenario is opened, compared with the model, and used on.
//!
//! Of a sample of states the recovery itself is recorded and cut, and of a sample of those states again.

use std::ops::ControlFlow;

use esker::device::BlockDevice;
use esker::volume;
use esker::wal::Error;
use esker_sim::{CrashId, CrashState, Policy, Repeats, Sim, Trace, enumerate, replay};

use super::goon::{self, KINDS};
use super::model::Model;
use super::opened::{Opened, Run, Scratch, Stop, Strictness};
use super::play::{Job, jobs, play, scenarios_of};
use super::session::{Session, tell_all};
use super::shape::Shape;
use crate::cli::{self, Beat, Found, Settings, guarded, mix};

/// How deep recoveries of recoveries go.
const DEPTH: usize = 2;
/// After so many violations a scenario is broken off.
const ENOUGH: usize = 4;

/// How many states are visited.
#[derive(Clone, Copy, Debug)]
struct Effort {
    /// Of each scenario at most, spread over all of them.
    states: u64,
    /// So many states of a scenario have their recovery cut, in so many ways each; then the same one level down.
    deeper: [(u64, u64); DEPTH],
}

impl Effort {
    fn of(settings: &Settings) -> Self {
        if settings.full {
            Self { states: 60_000, deeper: [(40, 45), (30, 10)] }
        } else {
            Self { states: 5000, deeper: [(12, 20), (6, 5)] }
        }
    }
}

/// A recorded run with what it promised.
struct Recorded {
    trace: Trace,
    model: Model,
    /// Before so many operations there need not be a volume at all.
    formatted_at: usize,
}

struct Checker<'a> {
    job: &'a Job,
    effort: Effort,
    seed: u64,
    beat: &'a Beat,
    /// One device for each depth.
    sims: Vec<Sim>,
    scratch: Scratch,
    found: Found,
}

fn policy(depth: usize, seed: u64) -> Policy {
    let policy = Policy::thorough().seed(seed).repeats(Repeats::OncePerMark);
    if depth == 0 { policy } else { policy.subset_limit(6).random_subsets(16) }
}

/// The checker's entry.
pub fn run(settings: &Settings) -> (usize, Found) {
    let jobs = jobs(settings);
    if let Some(id) = &settings.replay {
        return (1, replay_one(&jobs, settings, id));
    }
    std::panic::set_hook(Box::new(|_| {}));
    let names: Vec<String> = jobs.iter().map(|job| job.name.clone()).collect();
    let found = cli::work("crash", settings, &names, |number, beat| {
        Checker::new(&jobs[number], settings, beat).run()
    });
    (scenarios_of(&jobs), found)
}

fn wrong<T>(run: Run<T>) -> Result<T, String> {
    match run {
        Ok(result) => Ok(result),
        Err(Stop::Wrong(why)) => Err(why),
        Err(Stop::Device(error)) => Err(format!("the device did nothing wrong, and yet: {error:?}")),
    }
}

fn broken_rules(sim: &Sim) -> Result<(), String> {
    match sim.violations().first() {
        None => Ok(()),
        Some(violation) => Err(violation.to_string()),
    }
}

impl<'a> Checker<'a> {
    fn new(job: &'a Job, settings: &Settings, beat: &'a Beat) -> Self {
        Self {
            job,
            effort: Effort::of(settings),
            seed: settings.seed,
            beat,
            sims: (0..=DEPTH).map(|_| job.shape.sim()).collect(),
            scratch: Scratch::default(),
            found: Found::default(),
        }
    }

    fn record(&self) -> Result<Recorded, String> {
        let (session, run) = play(&self.job.scenario, self.job.shape, |_| {});
        wrong(run)?;
        let session = session.ok_or("no session")?;
        broken_rules(&session.sim)?;
        let trace = session.sim.take_trace();
        Ok(Recorded { trace, formatted_at: session.formatted_at, model: session.model })
    }

    fn run(mut self) -> Found {
        match guarded(|| self.record()) {
            Ok(recorded) => self.visit_all(&recorded),
            Err(why) => {
                let why = format!("without any crash: {why}");
                self.found.violations.push((self.job.name.clone(), why));
            }
        }
        self.found
    }

    fn visit_all(&mut self, recorded: &Recorded) {
        let mut policy = policy(0, self.seed);
        let planned = enumerate(&recorded.trace, &policy, |_| ControlFlow::Continue(())).visited;
        let visited = self.effort.states.min(planned).max(1);
        policy = policy.stride(planned.div_ceil(visited));
        let (sample, _) = self.effort.deeper[0];
        let name = self.job.name.clone();
        let summary = enumerate(&recorded.trace, &policy, |state| {
            self.beat.at(state.cut() as u64, u64::from(state.id().variant));
            let id = format_args!("{name}:{}", state.id());
            if let Err(why) = guarded(|| self.check(state, 0, recorded)) {
                self.found.violations.push((id.to_string(), why));
            } else if mix(state.hash(), self.seed) % visited < sample {
                self.go_deeper(state, 0, recorded, &id.to_string());
            }
            if self.found.violations.len() < ENOUGH {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        self.found.states += summary.distinct;
    }

    /// Opens one state, compares, and uses the log on.
    fn check(&mut self, state: &CrashState<'_>, depth: usize, recorded: &Recorded) -> Result<(), String> {
        let kind = self.kind_of(state, depth);
        self.load(state, depth);
        let Some((opened, model)) = self.open(depth, recorded, state.cut())? else { return Ok(()) };
        let mut session = Session::over(&self.sims[depth], self.job.shape, model, opened);
        wrong(goon::run(&mut session, kind, true)).map_err(|why| format!("going on ({kind}): {why}"))?;
        broken_rules(&self.sims[depth])
    }

    fn kind_of(&self, state: &CrashState<'_>, depth: usize) -> u64 {
        mix(mix(state.cut() as u64, u64::from(state.id().variant)), self.seed ^ depth as u64) % KINDS
    }

    fn load(&self, state: &CrashState<'_>, depth: usize) {
        state.load_into(&self.sims[depth]);
        if let Some(fault) = self.job.scenario.fault {
            self.sims[depth].inject(fault(&self.job.shape));
        }
    }

    /// What is on the device of `depth`, opened and compared; `None`: no volume, and none need be there.
    fn open(
        &mut self,
        depth: usize,
        recorded: &Recorded,
        cut: usize,
    ) -> Result<Option<(Opened, Model)>, String> {
        let ids = recorded.model.logs.iter().map(|log| log.id);
        let mut opened = match Opened::open(&self.sims[depth], self.job.shape.memory(), ids) {
            Ok(opened) => opened,
            Err(error) if cut < recorded.formatted_at => {
                // To be formatted again without a question: it held nothing, and nothing is damaged, unless the device
                // says so.
                let shape = self.job.shape;
                let honest = matches!(error, Error::Volume(volume::Error::NotFormatted));
                return if honest || unreadable(&self.sims[depth], shape) {
                    Ok(None)
                } else {
                    Err(format!("open, cut while it was formatted: {error:?}"))
                };
            }
            Err(error) => return Err(format!("open: {error:?}")),
        };
        let reads = self.sims[depth].counts().reads;
        if reads > 40_000 {
            return Err(format!("opening took {reads} reads"));
        }
        let found = wrong(opened.examine(&recorded.model, cut, Strictness::CRASH, &mut self.scratch))?;
        Ok(Some((opened, recorded.model.found(&found))))
    }

    /// Records the recovery of this state, and visits the states in which that can be cut.
    fn go_deeper(&mut self, state: &CrashState<'_>, depth: usize, recorded: &Recorded, id: &str) {
        let kind = self.kind_of(state, depth + 7);
        let inner = match guarded(|| self.record_recovery(state, depth, recorded, kind)) {
            Ok(Some(inner)) => inner,
            Ok(None) => return,
            Err(why) => return self.found.violations.push((format!("{id}>{kind}"), why)),
        };
        let (_, count) = self.effort.deeper[depth];
        let policy = policy(depth + 1, self.seed);
        let planned = enumerate(&inner.trace, &policy, |_| ControlFlow::Continue(())).visited;
        let policy = policy.stride(planned.div_ceil(count));
        let next = self.effort.deeper.get(depth + 1).map_or(0, |(one_in, _)| *one_in);
        let summary = enumerate(&inner.trace, &policy, |state| {
            self.beat.at(state.cut() as u64, u64::from(state.id().variant));
            let id = format_args!("{id}>{kind}/{}", state.id());
            if let Err(why) = guarded(|| self.check(state, depth + 1, &inner)) {
                self.found.violations.push((id.to_string(), why));
            } else if next != 0 && mix(state.hash(), self.seed).is_multiple_of(next) {
                self.go_deeper(state, depth + 1, &inner, &id.to_string());
            }
            if self.found.violations.len() < ENOUGH {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        self.found.recovery_states += summary.distinct;
    }

    fn record_recovery(
        &mut self,
        state: &CrashState<'_>,
        depth: usize,
        recorded: &Recorded,
        kind: u64,
    ) -> Result<Option<Recorded>, String> {
        self.load(state, depth);
        let sim = self.sims[depth].clone();
        sim.record();
        let Some((opened, model)) = self.open(depth, recorded, state.cut())? else { return Ok(None) };
        let mut session = Session::over(&sim, self.job.shape, model, opened);
        wrong(goon::run(&mut session, kind, false))
            .map_err(|why| format!("recovery session ({kind}): {why}"))?;
        broken_rules(&sim)?;
        Ok(Some(Recorded { trace: sim.take_trace(), model: session.model, formatted_at: 0 }))
    }

    /// Follows a state id down to the state it names.
    fn follow(
        &mut self,
        state: &CrashState<'_>,
        depth: usize,
        recorded: &Recorded,
        rest: &[(u64, CrashId)],
    ) -> Result<(), String> {
        eprintln!("{state}");
        let Some(((kind, id), rest)) = rest.split_first() else {
            eprintln!("going on as {}", self.kind_of(state, depth));
            return self.check(state, depth, recorded);
        };
        let inner = self.record_recovery(state, depth, recorded, *kind)?.ok_or("no volume")?;
        let policy = policy(depth + 1, self.seed);
        replay(&inner.trace, &policy, *id, |state| self.follow(state, depth + 1, &inner, rest))
            .unwrap_or_else(|| Err(format!("no state {id} in the recovery")))
    }
}

/// `name/kind:cut.variant>session/cut.variant>...`, taken apart.
fn parse_id(text: &str) -> Option<(CrashId, Vec<(u64, CrashId)>)> {
    let (_, path) = text.split_once(':')?;
    let mut parts = path.split('>');
    let first = parts.next()?.parse().ok()?;
    let mut rest = Vec::new();
    for part in parts {
        let (kind, id) = part.split_once('/')?;
        rest.push((kind.parse().ok()?, id.parse().ok()?));
    }
    Some((first, rest))
}

fn replay_one(jobs: &[Job], settings: &Settings, id: &str) -> Found {
    tell_all();
    let mut found = Found { states: 1, ..Found::default() };
    let beat = Beat::default();
    let result = (|| {
        let name = id.split(':').next().unwrap_or(id);
        let job = jobs.iter().find(|job| job.name == name).ok_or("no such scenario")?;
        let mut checker = Checker::new(job, settings, &beat);
        let recorded = guarded(|| checker.record())?;
        let Some((first, rest)) = parse_id(id) else {
            eprintln!("{name}: nothing wrong without a crash");
            return Ok(());
        };
        for (number, op) in
            recorded.trace.ops().iter().enumerate().take(first.cut + 2).skip(first.cut.saturating_sub(12))
        {
            eprintln!("{number}: {}", op_text(op));
        }
        replay(&recorded.trace, &policy(0, settings.seed), first, |state| {
            checker.follow(state, 0, &recorded, &rest)
        })
        .unwrap_or_else(|| Err("no such state".into()))
    })();
    if let Err(why) = result {
        found.violations.push((id.to_owned(), why));
    }
    found
}

fn op_text(op: &esker_sim::Op) -> String {
    match op {
        esker_sim::Op::Write { address, data } => {
            format!("write {address:#x}..{:#x}", address + data.len() as u64)
        }
        other => format!("{other:x?}").chars().take(80).collect(),
    }
}

/// Whether a unit of the superblock can't be read.
fn unreadable(sim: &Sim, shape: Shape) -> bool {
    let mut device = sim.clone();
    let unit = shape.geometry().read_unit.max(4) as usize;
    let mut bytes = vec![0; unit];
    (0..shape.segment_address(0)).step_by(unit).any(|address| device.read(address, &mut bytes).is_err())
}
