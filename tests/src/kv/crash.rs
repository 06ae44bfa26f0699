//! The power goes, everywhere: each crash state of each scenario is opened, compared with the model, and used on.

use esker_sim::Sim;

use super::engine::{Index, wrong};
use super::goon::{self, KINDS};
use super::model::Model;
use super::opened::{Opened, Scratch};
use super::play::{Job, jobs, play, scenarios_of};
use super::session::Session;
use crate::cli::{self, Beat, Found, Settings};
use crate::cuts::{Checker, Effort, Recorded, Subject, broken_rules};
use crate::wal::model::Model as Logs;
use crate::wal::session::tell_all;

/// Of a store of many tables, each state takes a hundred times as long.
const MANY: u32 = 150;

fn effort<I: Index>(settings: &Settings, job: &Job<I>) -> Effort {
    if settings.full {
        Effort { states: 24_000, deeper: [(40, 50), (30, 10)] }
    } else if job.shape.below.blocks > MANY {
        Effort { states: 250, deeper: [(2, 15), (2, 5)] }
    } else {
        Effort { states: 1_100, deeper: [(5, 20), (6, 5)] }
    }
}

/// The checker's entry.
pub fn run<I: Index>(settings: &Settings) -> (usize, Found) {
    let jobs = jobs::<I>(settings);
    if let Some(id) = &settings.replay {
        return (1, replay_one(&jobs, settings, id));
    }
    std::panic::set_hook(Box::new(|_| {}));
    let names: Vec<String> = jobs.iter().map(|job| job.name.clone()).collect();
    let found = cli::work("crash", settings, &names, |number, beat| {
        Checker::new(&jobs[number], effort(settings, &jobs[number]), settings, beat).run()
    });
    (scenarios_of(&jobs), found)
}

fn replay_one<I: Index>(jobs: &[Job<I>], settings: &Settings, id: &str) -> Found {
    tell_all();
    let mut found = Found { states: 1, ..Found::default() };
    let beat = Beat::default();
    let name = id.split(':').next().unwrap_or(id);
    let result = match jobs.iter().find(|job| job.name == name) {
        Some(job) => Checker::new(job, effort(settings, job), settings, &beat).replay(id),
        None => Err("no such scenario".into()),
    };
    if let Err(why) = result {
        found.violations.push((id.to_owned(), why));
    }
    found
}

/// What may be there: in the store, and in the logs beside it.
pub struct Expected {
    store: Model,
    logs: Logs,
}

/// Opening a store this small may take so many device reads at most.
const READS: u64 = 40_000;

impl<I: Index> Job<I> {
    /// What is on the device, opened and compared.
    fn open(&self, sim: &Sim, expected: &Expected, cut: usize) -> Result<Session<I>, String> {
        let ids = expected.logs.logs.iter().map(|log| log.id);
        let mut opened = Opened::open(sim, &self.shape, ids).map_err(|error| format!("open: {error:?}"))?;
        let reads = sim.counts().reads;
        if reads > READS {
            return Err(format!("opening took {reads} reads"));
        }
        let mut scratch = Scratch::default();
        let found = wrong(opened.examine(&expected.store, &expected.logs, cut, &mut scratch))?;
        let store = expected.store.found(found.version, found.content);
        Ok(Session::over(sim, self.shape, store, expected.logs.found(&found.logs), opened))
    }
}

impl<I: Index> Subject for Job<I> {
    type Model = Expected;

    fn name(&self) -> &str {
        &self.name
    }

    fn sim(&self) -> Sim {
        self.shape.sim()
    }

    fn kinds(&self) -> u64 {
        KINDS
    }

    fn record(&self) -> Result<Recorded<Expected>, String> {
        let (session, run) = play(&self.scenario, self.shape, |_| {});
        wrong(run)?;
        let session = session.ok_or("no session")?;
        broken_rules(session.sim())?;
        let trace = session.sim().take_trace();
        Ok(Recorded { trace, model: Expected { store: session.model, logs: session.logs.model } })
    }

    fn loaded(&self, sim: &Sim) {
        if let Some(fault) = self.scenario.fault {
            sim.inject(fault(&self.shape));
        }
    }

    fn check(&self, sim: &Sim, expected: &Expected, cut: usize, kind: u64) -> Result<(), String> {
        let mut session = self.open(sim, expected, cut)?;
        wrong(goon::run(&mut session, kind, true)).map_err(|why| format!("going on ({kind}): {why}"))
    }

    fn recover(
        &self,
        sim: &Sim,
        expected: &Expected,
        cut: usize,
        kind: u64,
    ) -> Result<Option<Expected>, String> {
        let mut session = self.open(sim, expected, cut)?;
        wrong(goon::run(&mut session, kind, false))
            .map_err(|why| format!("recovery session ({kind}): {why}"))?;
        Ok(Some(Expected { store: session.model, logs: session.logs.model }))
    }
}
