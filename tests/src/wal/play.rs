//! Scenarios on devices, and the recording of one.

use super::opened::Run;
use super::scenarios::{SCENARIOS, Scenario};
use super::session::Session;
use super::shape::Shape;
use crate::cli::Settings;

/// A scenario on one kind of device.
pub struct Job {
    /// The script.
    pub scenario: Scenario,
    /// The device and volume.
    pub shape: Shape,
    /// What it is called in state ids.
    pub name: String,
}

/// Every scenario on every device that it is for.
pub fn jobs(settings: &Settings) -> Vec<Job> {
    let mut jobs = Vec::new();
    for scenario in SCENARIOS {
        for kind in scenario.kinds {
            let shape = (scenario.adjust)(Shape::of(*kind));
            let name = format!("{}/{kind}", scenario.name);
            if settings.only.as_ref().is_none_or(|only| name.contains(only.as_str())) {
                jobs.push(Job { scenario: *scenario, shape, name });
            }
        }
    }
    jobs
}

/// How many scenarios are among `jobs`.
pub fn scenarios_of(jobs: &[Job]) -> usize {
    let mut names: Vec<_> = jobs.iter().map(|job| job.scenario.name).collect();
    names.dedup();
    names.len()
}

/// Formats a device, adds log 3 and runs the script on it, recording from where the scenario begins. Calls `before` when
/// the recording has begun.
pub fn play(scenario: &Scenario, shape: Shape, before: impl FnOnce(&mut Session)) -> (Option<Session>, Run) {
    let sim = shape.sim();
    if scenario.formats {
        sim.record();
    }
    let mut session = match Session::format(&sim, shape) {
        Ok(session) => session,
        Err(error) => return (None, Err(error)),
    };
    if !scenario.formats {
        if let Err(error) = session.create(3) {
            return (None, Err(error));
        }
        sim.record();
    } else {
        session.formatted_at = sim.op_count();
    }
    if let Some(fault) = scenario.fault {
        sim.inject(fault(&shape));
    }
    before(&mut session);
    let run = (scenario.run)(&mut session);
    (Some(session), run)
}
