//! Scenarios on devices, and the recording of one.

use std::marker::PhantomData;

use super::engine::{Index, Run};
use super::scenarios::{Scenario, scenarios};
use super::session::Session;
use super::shape::Shape;
use crate::cli::Settings;

/// A scenario on one kind of device.
pub struct Job<I> {
    /// The script.
    pub scenario: Scenario<I>,
    /// The device and volume.
    pub shape: Shape,
    /// What it is called in state ids.
    pub name: String,
    index: PhantomData<fn() -> I>,
}

/// Every scenario on every device that it is for.
pub fn jobs<I: Index>(settings: &Settings) -> Vec<Job<I>> {
    let mut jobs = Vec::new();
    for scenario in scenarios() {
        for kind in scenario.kinds {
            let shape = I::adapt((scenario.adjust)(Shape::of(*kind)));
            let name = format!("{}/{kind}", scenario.name);
            if settings.only.as_ref().is_none_or(|only| name.contains(only.as_str())) {
                jobs.push(Job { scenario, shape, name, index: PhantomData });
            }
        }
    }
    jobs
}

/// How many scenarios are among `jobs`.
pub fn scenarios_of<I>(jobs: &[Job<I>]) -> usize {
    let mut names: Vec<_> = jobs.iter().map(|job| job.scenario.name).collect();
    names.dedup();
    names.len()
}

/// Formats a device, makes the store, prepares the scenario, and runs its script, recording that. Calls `before` when the
/// recording has begun.
pub fn play<I: Index>(
    scenario: &Scenario<I>,
    shape: Shape,
    before: impl FnOnce(&mut Session<I>),
) -> (Option<Session<I>>, Run) {
    let sim = shape.sim();
    let mut session = match Session::format(&sim, shape) {
        Ok(session) => session,
        Err(error) => return (None, Err(error)),
    };
    let ready = if scenario.creates { Ok(()) } else { session.create() };
    let ready = ready.and_then(|()| (scenario.prepare)(&mut session));
    if let Err(error) = ready {
        return (None, Err(error));
    }
    sim.record();
    session.begin();
    if let Some(fault) = scenario.fault {
        sim.inject(fault(&shape));
    }
    before(&mut session);
    let run = (scenario.run)(&mut session);
    (Some(session), run)
}
