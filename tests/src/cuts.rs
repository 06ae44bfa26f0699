//! Every crash state of a script is opened, compared with what its model allows, and used on.
//!
//! Of a sample of states the recovery itself is recorded and cut, and of a sample of those states again. What is opened
//! and compared is the [`Subject`]'s business.

use std::ops::ControlFlow;

use esker_sim::{CrashId, CrashState, Op, Policy, Repeats, Sim, Trace, count, enumerate, replay};

use crate::cli::{Beat, Found, Settings, guarded, mix};

/// How deep recoveries of recoveries go.
const DEPTH: usize = 2;
/// After so many violations a scenario is broken off.
const ENOUGH: usize = 4;

/// A recorded run with what it promised.
pub struct Recorded<M> {
    /// What was done to the device.
    pub trace: Trace,
    /// What may be there after each operation.
    pub model: M,
}

/// A script on a device.
pub trait Subject {
    /// What may be found.
    type Model;

    /// What it is called in state ids.
    fn name(&self) -> &str;

    /// A device for it.
    fn sim(&self) -> Sim;

    /// Ways to go on after a crash.
    fn kinds(&self) -> u64;

    /// Runs the script from the beginning.
    fn record(&self) -> Result<Recorded<Self::Model>, String>;

    /// A state was loaded: what of the device is broken all the time is broken there as well.
    fn loaded(&self, sim: &Sim);

    /// Opens what is on `sim` after `cut` operations, compares it with `model`, goes on in the way `kind` with more power
    /// cuts, and compares again.
    fn check(&self, sim: &Sim, model: &Self::Model, cut: usize, kind: u64) -> Result<(), String>;

    /// The same without power cuts, so that it can be recorded: what may be there after each of its operations.
    /// `None`: there is nothing to recover.
    fn recover(
        &self,
        sim: &Sim,
        model: &Self::Model,
        cut: usize,
        kind: u64,
    ) -> Result<Option<Self::Model>, String>;
}

/// How many states are visited.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Of each scenario at most, spread over all of them.
    pub states: u64,
    /// So many states of a scenario have their recovery cut, in so many ways each; of those one in so many again, in so
    /// many ways each.
    pub deeper: [(u64, u64); DEPTH],
}

/// A rule of the device that was broken.
pub fn broken_rules(sim: &Sim) -> Result<(), String> {
    match sim.violations().first() {
        None => Ok(()),
        Some(violation) => Err(violation.to_string()),
    }
}

fn policy(depth: usize, seed: u64) -> Policy {
    let policy = Policy::thorough().seed(seed).repeats(Repeats::OncePerMark);
    if depth == 0 { policy } else { policy.subset_limit(6).random_subsets(16) }
}

/// Visits the crash states of one subject.
pub struct Checker<'a, S: Subject> {
    subject: &'a S,
    effort: Effort,
    seed: u64,
    beat: &'a Beat,
    /// One device for each depth.
    sims: Vec<Sim>,
    found: Found,
}

impl<'a, S: Subject> Checker<'a, S> {
    /// Nothing visited yet.
    pub fn new(subject: &'a S, effort: Effort, settings: &Settings, beat: &'a Beat) -> Self {
        let sims = (0..=DEPTH).map(|_| subject.sim()).collect();
        Self { subject, effort, seed: settings.seed, beat, sims, found: Found::default() }
    }

    /// Visits as many as the effort says.
    pub fn run(mut self) -> Found {
        match guarded(|| self.subject.record()) {
            Ok(recorded) => self.visit_all(&recorded),
            Err(why) => {
                let why = format!("without any crash: {why}");
                self.found.violations.push((self.subject.name().to_owned(), why));
            }
        }
        self.found
    }

    fn visit_all(&mut self, recorded: &Recorded<S::Model>) {
        let mut policy = policy(0, self.seed);
        let planned = count(&recorded.trace, &policy);
        let visited = self.effort.states.min(planned).max(1);
        policy = policy.stride(planned.div_ceil(visited));
        let (sample, _) = self.effort.deeper[0];
        let name = self.subject.name().to_owned();
        let summary = enumerate(&recorded.trace, &policy, |state| {
            self.beat.at(state.cut() as u64, u64::from(state.id().variant));
            let id = format_args!("{name}:{}", state.id());
            if let Err(why) = guarded(|| self.check(state, 0, recorded)) {
                self.found.violations.push((id.to_string(), why));
            } else if mix(state.hash(), self.seed) % visited < sample {
                self.go_deeper(state, 0, recorded, &id.to_string());
            }
            self.go_on()
        });
        self.found.states += summary.distinct;
    }

    fn go_on(&self) -> ControlFlow<()> {
        if self.found.violations.len() < ENOUGH { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// Opens one state, compares, and goes on.
    fn check(
        &mut self,
        state: &CrashState<'_>,
        depth: usize,
        recorded: &Recorded<S::Model>,
    ) -> Result<(), String> {
        let kind = self.kind_of(state, depth);
        let sim = self.load(state, depth);
        self.subject.check(&sim, &recorded.model, state.cut(), kind)?;
        broken_rules(&sim)
    }

    fn kind_of(&self, state: &CrashState<'_>, depth: usize) -> u64 {
        mix(mix(state.cut() as u64, u64::from(state.id().variant)), self.seed ^ depth as u64)
            % self.subject.kinds()
    }

    fn load(&self, state: &CrashState<'_>, depth: usize) -> Sim {
        state.load_into(&self.sims[depth]);
        self.subject.loaded(&self.sims[depth]);
        self.sims[depth].clone()
    }

    /// Records the recovery of this state, and visits the states in which that can be cut.
    fn go_deeper(&mut self, state: &CrashState<'_>, depth: usize, recorded: &Recorded<S::Model>, id: &str) {
        let kind = self.kind_of(state, depth + 7);
        let inner = match guarded(|| self.record_recovery(state, depth, recorded, kind)) {
            Ok(Some(inner)) => inner,
            Ok(None) => return,
            Err(why) => return self.found.violations.push((format!("{id}>{kind}"), why)),
        };
        let (_, ways) = self.effort.deeper[depth];
        let policy = policy(depth + 1, self.seed);
        let planned = count(&inner.trace, &policy);
        let policy = policy.stride(planned.div_ceil(ways));
        let next = self.effort.deeper.get(depth + 1).map_or(0, |(one_in, _)| *one_in);
        let summary = enumerate(&inner.trace, &policy, |state| {
            self.beat.at(state.cut() as u64, u64::from(state.id().variant));
            let id = format_args!("{id}>{kind}/{}", state.id());
            if let Err(why) = guarded(|| self.check(state, depth + 1, &inner)) {
                self.found.violations.push((id.to_string(), why));
            } else if next != 0 && mix(state.hash(), self.seed).is_multiple_of(next) {
                self.go_deeper(state, depth + 1, &inner, &id.to_string());
            }
            self.go_on()
        });
        self.found.recovery_states += summary.distinct;
    }

    fn record_recovery(
        &mut self,
        state: &CrashState<'_>,
        depth: usize,
        recorded: &Recorded<S::Model>,
        kind: u64,
    ) -> Result<Option<Recorded<S::Model>>, String> {
        let sim = self.load(state, depth);
        sim.record();
        let Some(model) = self.subject.recover(&sim, &recorded.model, state.cut(), kind)? else {
            return Ok(None);
        };
        broken_rules(&sim)?;
        Ok(Some(Recorded { trace: sim.take_trace(), model }))
    }

    /// Follows a state id down to the state it names.
    fn follow(
        &mut self,
        state: &CrashState<'_>,
        depth: usize,
        recorded: &Recorded<S::Model>,
        rest: &[(u64, Option<CrashId>)],
    ) -> Result<(), String> {
        eprintln!("{state}");
        let Some(((kind, id), rest)) = rest.split_first() else {
            eprintln!("going on as {}", self.kind_of(state, depth));
            return self.check(state, depth, recorded);
        };
        let inner = self.record_recovery(state, depth, recorded, *kind)?.ok_or("nothing to recover")?;
        let Some(id) = id else { return Ok(()) };
        let policy = policy(depth + 1, self.seed);
        replay(&inner.trace, &policy, *id, |state| self.follow(state, depth + 1, &inner, rest))
            .unwrap_or_else(|| Err(format!("no state {id} in the recovery")))
    }

    /// Goes to the state that `id` names (`name:cut.variant>kind/cut.variant...`), and tells the way there.
    pub fn replay(mut self, id: &str) -> Result<(), String> {
        let recorded = guarded(|| self.subject.record())?;
        let Some((first, rest)) = parse_id(id) else {
            eprintln!("{}: nothing wrong without a crash", self.subject.name());
            return Ok(());
        };
        let ops = recorded.trace.ops().iter().enumerate();
        for (number, op) in ops.take(first.cut + 2).skip(first.cut.saturating_sub(12)) {
            eprintln!("{number}: {}", op_text(op));
        }
        replay(&recorded.trace, &policy(0, self.seed), first, |state| self.follow(state, 0, &recorded, &rest))
            .unwrap_or_else(|| Err("no such state".into()))
    }
}

/// A crash, and for each session that went on from it the way it did and the crash that ended it.
type Story = (CrashId, Vec<(u64, Option<CrashId>)>);

/// `name:cut.variant>kind/cut.variant>...`, taken apart. Of the last recovery the state may be missing.
fn parse_id(text: &str) -> Option<Story> {
    let (_, path) = text.split_once(':')?;
    let mut parts = path.split('>');
    let first = parts.next()?.parse().ok()?;
    let mut rest = Vec::new();
    for part in parts {
        let (kind, id) = part.split_once('/').map_or((part, None), |(kind, id)| (kind, Some(id)));
        rest.push((kind.parse().ok()?, id.map(str::parse).transpose().ok()?));
    }
    Some((first, rest))
}

fn op_text(op: &Op) -> String {
    match op {
        Op::Write { address, data } => {
            format!("write {address:#x}..{:#x}", address + data.len() as u64)
        }
        other => format!("{other:x?}").chars().take(80).collect(),
    }
}
