//! What is played under all these schedules, and the bugs that must not go unnoticed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner, thread};

use super::error::SharedLogError;
use super::group::Group;
use super::pace::Pace;
use super::primitives::{PLANTED, Planted};
use super::sink::Refused;
use super::{Medium, ModelError, ModelLog, ModelSync};

/// Schedules of each kind for each scenario, unless the environment variable `ESKER_SCHEDULES` says otherwise.
const SCHEDULES: usize = 500;
/// Seeds are fixed: a test must not fail only now and then.
const SEED: u64 = 0xE5CE;

type ModelGroup = Group<ModelLog, ModelSync>;

/// Plays the scenario under random schedules, and under those of PCT, which finds a bug that needs few switches
/// at the wrong places with a known probability.
fn explore(scenario: fn()) {
    let schedules = std::env::var("ESKER_SCHEDULES").ok().and_then(|number| number.parse().ok());
    let schedules = schedules.unwrap_or(SCHEDULES);
    let mut config = Config::new();
    config.failure_persistence = shuttle::FailurePersistence::None;
    Runner::new(RandomScheduler::new_from_seed(SEED, schedules), config.clone()).run(scenario);
    Runner::new(PctScheduler::new_from_seed(SEED, 3, schedules), config).run(scenario);
}

struct World {
    medium: Arc<Mutex<Medium>>,
    group: Arc<ModelGroup>,
}

impl World {
    /// `staging` bytes, a log that buffers `limit` entries, and a sync of which the nth fails.
    fn new(staging: usize, limit: usize, fails: u32, early: bool) -> Self {
        let medium = Arc::new(Mutex::new(Medium::default()));
        let sync = ModelSync { medium: Arc::clone(&medium), fails, early };
        let group = Group::new(ModelLog::new(&medium, limit), sync, staging, 8);
        Self { medium, group: Arc::new(group) }
    }

    /// Runs the threads to their ends.
    fn play(&self, threads: Vec<Run>) {
        let threads: Vec<_> = threads
            .into_iter()
            .map(|run| {
                let player = Player { medium: Arc::clone(&self.medium), group: Arc::clone(&self.group) };
                thread::spawn(move || run(&player))
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }
}

/// What a thread does.
type Run = Box<dyn FnOnce(&Player) + Send>;

/// What a thread does it with.
struct Player {
    medium: Arc<Mutex<Medium>>,
    group: Arc<ModelGroup>,
}

impl Player {
    /// Appends, waits, and checks what it was told.
    fn append_durable(&self, payload: &[u8]) -> Result<(), SharedLogError<ModelError>> {
        let place = self.group.append(None, payload)?;
        self.group.wait(place)?;
        self.assert_safe(place.offset, payload);
        Ok(())
    }

    fn assert_safe(&self, offset: u64, payload: &[u8]) {
        let medium = self.medium.lock().unwrap();
        assert!(offset < medium.safe as u64, "acknowledged and not durable: {offset} of {}", medium.safe);
        assert_eq!(medium.written[offset as usize], payload, "another's offset");
    }
}

/// Three threads that wait for each entry.
fn all_wait() {
    let world = World::new(64, 8, 0, false);
    world.play(
        (0..3_u8)
            .map(|id| -> Run {
                Box::new(move |player| {
                    for n in 0..2 {
                        player.append_durable(&[id, n]).unwrap();
                    }
                })
            })
            .collect(),
    );
    assert_eq!(world.group.durable(), 6);
}

/// A staging area for one entry, a log that buffers one, entries too long to be staged, some that nobody waits for, and
/// a reader who wants to see all.
fn little_room() {
    let world = World::new(8, 1, 0, false);
    world.play(vec![
        Box::new(|player| player.append_durable(&[1; 9]).unwrap()),
        Box::new(|player| {
            for n in 0..3 {
                player.group.append(None, &[2, n]).unwrap();
            }
            player.append_durable(&[2, 3]).unwrap();
        }),
        Box::new(|player| {
            player.append_durable(&[3]).unwrap();
            let end =
                player.group.with_all(|log, group| Ok::<_, Refused<_>>((log.end, group.next()))).unwrap();
            assert_eq!(end.0, end.1, "appended and not in the log");
        }),
    ]);
    assert_eq!(world.group.next(), 6);
}

/// The second sync fails: nobody may wait for ever, and nobody may be told that all is well.
fn one_sync_fails() {
    let world = World::new(16, 2, 2, false);
    world.play(
        (0..3_u8)
            .map(|id| -> Run {
                Box::new(move |player| {
                    for n in 0..3 {
                        match player.append_durable(&[id, n]) {
                            Ok(()) => {}
                            Err(SharedLogError::Failed(cause)) => {
                                assert_eq!(*cause, ModelError::SyncFailed, "not the first cause");
                                assert!(player.group.append(None, &[id]).is_err());
                                return;
                            }
                            Err(other) => panic!("{other:?}"),
                        }
                    }
                })
            })
            .collect(),
    );
    let medium = world.medium.lock().unwrap();
    assert!(medium.syncs <= 2 && world.group.durable() <= medium.safe as u64);
}

/// Two threads that don't wait, one that waits for what others appended, and the thread that syncs.
fn paced() {
    let world = World::new(16, 2, 0, false);
    let pace = Arc::new(Pace::new(2, Duration::from_millis(1)));
    let syncing = {
        let (pace, group) = (Arc::clone(&pace), Arc::clone(&world.group));
        thread::spawn(move || pace.run(&group))
    };
    let appender = |id: u8, pace: &Arc<Pace>| -> Run {
        let pace = Arc::clone(pace);
        Box::new(move |player| {
            for n in 0..3 {
                let place = player.group.append(None, &[id, n]).unwrap();
                if let Some(behind) = pace.appended(&player.group, place.offset) {
                    let place = player.group.place(behind).unwrap();
                    player.group.wait(place).unwrap();
                    assert!(player.medium.lock().unwrap().safe as u64 > behind);
                }
                // The loss window: twice two entries.
                assert!(place.offset < player.medium.lock().unwrap().safe as u64 + 4, "too much at risk");
            }
        })
    };
    world.play(vec![appender(1, &pace), appender(2, &pace)]);
    pace.stop();
    syncing.join().unwrap();
    assert_eq!((world.group.durable(), world.group.next()), (6, 6), "stopped before all was durable");
}

/// Nothing waits but the thread that syncs: it must wake by itself.
fn paced_alone() {
    let world = World::new(64, 8, 0, false);
    let pace = Arc::new(Pace::new(u64::MAX, Duration::from_millis(1)));
    let syncing = {
        let (pace, group) = (Arc::clone(&pace), Arc::clone(&world.group));
        thread::spawn(move || pace.run(&group))
    };
    let place = world.group.append(None, &[1]).unwrap();
    pace.appended(&world.group, place.offset);
    while world.group.durable() == 0 {
        thread::yield_now();
    }
    pace.stop();
    syncing.join().unwrap();
}

#[test]
fn all_who_wait_are_woken_and_told_the_truth() {
    explore(all_wait);
}

#[test]
fn back_pressure_ends_when_the_sync_does() {
    explore(little_room);
}

#[test]
fn a_failure_reaches_everybody() {
    explore(one_sync_fails);
}

#[test]
fn who_does_not_wait_is_served_by_the_thread_that_syncs() {
    explore(paced);
}

#[test]
fn the_thread_that_syncs_wakes_by_itself() {
    explore(paced_alone);
}

#[test]
#[should_panic(expected = "acknowledged and not durable")]
fn an_acknowledgement_before_the_sync_is_noticed() {
    explore(|| {
        let world = World::new(64, 8, 0, true);
        world.play(vec![Box::new(|player| player.append_durable(&[1]).unwrap())]);
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_lost_wake_up_is_noticed() {
    PLANTED.set(Planted::SleepsBlindly);
    explore(all_wait);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_waiter_that_is_forgotten_after_a_failure_is_noticed() {
    PLANTED.set(Planted::WakesOne);
    explore(one_sync_fails);
}
