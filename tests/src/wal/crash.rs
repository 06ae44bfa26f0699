//! The power goes, everywhere: each crash state of each scenario is opened, compared with the model, and used on.

use esker::device::BlockDevice;
use esker::volume;
use esker::wal::Error;
use esker_sim::Sim;

use super::goon::{self, KINDS};
use super::model::Model;
use super::opened::{Opened, Run, Scratch, Stop, Strictness};
use super::play::{Job, jobs, play, scenarios_of};
use super::session::{Session, tell_all};
use super::shape::Shape;
use crate::cli::{self, Beat, Found, Settings};
use crate::cuts::{Checker, Effort, Recorded, Subject, broken_rules};

fn effort(settings: &Settings) -> Effort {
    if settings.full {
        Effort { states: 60_000, deeper: [(40, 45), (30, 10)] }
    } else {
        Effort { states: 5000, deeper: [(12, 20), (6, 5)] }
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
    let found = cli::work("crash", settings, &names, |number, beat| {
        Checker::new(&jobs[number], effort(settings), settings, beat).run()
    });
    (scenarios_of(&jobs), found)
}

fn replay_one(jobs: &[Job], settings: &Settings, id: &str) -> Found {
    tell_all();
    let mut found = Found { states: 1, ..Found::default() };
    let beat = Beat::default();
    let name = id.split(':').next().unwrap_or(id);
    let result = match jobs.iter().find(|job| job.name == name) {
        Some(job) => Checker::new(job, effort(settings), settings, &beat).replay(id),
        None => Err("no such scenario".into()),
    };
    if let Err(why) = result {
        found.violations.push((id.to_owned(), why));
    }
    found
}

fn wrong<T>(run: Run<T>) -> Result<T, String> {
    match run {
        Ok(result) => Ok(result),
        Err(Stop::Wrong(why)) => Err(why),
        Err(Stop::Device(error)) => Err(format!("the device did nothing wrong, and yet: {error:?}")),
    }
}

/// What may be there, and after how many operations there must be a volume at all.
pub struct Expected {
    model: Model,
    formatted_at: usize,
}

impl Job {
    /// What is on the device, opened and compared; `None`: no volume, and none need be there.
    fn open(&self, sim: &Sim, expected: &Expected, cut: usize) -> Result<Option<(Opened, Model)>, String> {
        let ids = expected.model.logs.iter().map(|log| log.id);
        let mut opened = match Opened::open(sim, self.shape.memory(), ids) {
            Ok(opened) => opened,
            Err(error) if cut < expected.formatted_at => {
                // To be formatted again without a question: it held nothing, and nothing is damaged, unless the device
                // says so.
                let honest = matches!(error, Error::Volume(volume::Error::NotFormatted));
                return if honest || unreadable(sim, self.shape) {
                    Ok(None)
                } else {
                    Err(format!("open, cut while it was formatted: {error:?}"))
                };
            }
            Err(error) => return Err(format!("open: {error:?}")),
        };
        let reads = sim.counts().reads;
        if reads > 40_000 {
            return Err(format!("opening took {reads} reads"));
        }
        let mut scratch = Scratch::default();
        let found = wrong(opened.examine(&expected.model, cut, Strictness::CRASH, &mut scratch))?;
        Ok(Some((opened, expected.model.found(&found))))
    }
}

impl Subject for Job {
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
        broken_rules(&session.sim)?;
        let trace = session.sim.take_trace();
        let model = Expected { formatted_at: session.formatted_at, model: session.model };
        Ok(Recorded { trace, model })
    }

    fn loaded(&self, sim: &Sim) {
        if let Some(fault) = self.scenario.fault {
            sim.inject(fault(&self.shape));
        }
    }

    fn check(&self, sim: &Sim, expected: &Expected, cut: usize, kind: u64) -> Result<(), String> {
        let Some((opened, model)) = self.open(sim, expected, cut)? else { return Ok(()) };
        let mut session = Session::over(sim, self.shape, model, opened);
        wrong(goon::run(&mut session, kind, true)).map_err(|why| format!("going on ({kind}): {why}"))
    }

    fn recover(
        &self,
        sim: &Sim,
        expected: &Expected,
        cut: usize,
        kind: u64,
    ) -> Result<Option<Expected>, String> {
        let Some((opened, model)) = self.open(sim, expected, cut)? else { return Ok(None) };
        let mut session = Session::over(sim, self.shape, model, opened);
        wrong(goon::run(&mut session, kind, false))
            .map_err(|why| format!("recovery session ({kind}): {why}"))?;
        Ok(Some(Expected { model: session.model, formatted_at: 0 }))
    }
}

/// Whether a unit of the superblock can't be read.
fn unreadable(sim: &Sim, shape: Shape) -> bool {
    let mut device = sim.clone();
    let unit = shape.geometry().read_unit.max(4) as usize;
    let mut bytes = vec![0; unit];
    (0..shape.segment_address(0)).step_by(unit).any(|address| device.read(address, &mut bytes).is_err())
}
