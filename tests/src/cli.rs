//! Arguments, the line of JSON, and the workers: what the checkers have in common.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How a checker was called.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What is looked at: the first argument.
    pub suite: String,
    /// Every state that counts, not a sample.
    pub full: bool,
    /// Seeds every choice.
    pub seed: u64,
    /// Only this state, with all that can be said of it.
    pub replay: Option<String>,
    /// Only scenarios whose name contains this.
    pub only: Option<String>,
}

/// Bytes that puts and deletes have read and written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moved {
    /// The most of one of them, as far as they did not wait.
    pub most: u64,
    /// What the engine says is the most; of several stores that in which the most is nearest to it.
    pub bound: u64,
    /// How often changes waited for room.
    pub waits: u64,
}

impl Moved {
    /// So many, of so many at most.
    pub fn note(&mut self, most: u64, bound: u64) {
        if u128::from(most) * u128::from(self.bound) >= u128::from(self.most) * u128::from(bound) {
            (self.most, self.bound) = (most, bound);
        }
    }
}

/// What a checker's job found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Distinct images, or runs.
    pub states: u64,
    /// States of recoveries that were cut themselves.
    pub recovery_states: u64,
    /// State id and what was wrong.
    pub violations: Vec<(String, String)>,
    /// What changes have moved, where that is looked at.
    pub moved: Moved,
}

impl Found {
    /// Adds what another job found.
    pub fn add(&mut self, other: Self) {
        self.states += other.states;
        self.recovery_states += other.recovery_states;
        self.violations.extend(other.violations);
        self.moved.note(other.moved.most, other.moved.bound);
        self.moved.waits += other.moved.waits;
    }
}

/// Where a worker is: looked at from outside when it makes no progress.
#[derive(Debug, Default)]
pub struct Beat {
    count: AtomicU64,
    job: AtomicUsize,
    place: [AtomicU64; 2],
    idle: AtomicBool,
}

impl Beat {
    /// A state is begun.
    pub fn at(&self, cut: u64, variant: u64) {
        self.place[0].store(cut, Ordering::Relaxed);
        self.place[1].store(variant, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

/// A state that takes longer than this hangs.
const HANG: Duration = Duration::from_secs(20);
const THREADS: usize = 2;
/// So many violations are told in full.
const TOLD: usize = 40;

/// A suite's name, and what a checker does for it: returns how many scenarios there were and what was found.
pub type Suite<'a> = (&'a str, fn(&Settings) -> (usize, Found));

fn names(suites: &[Suite<'_>], between: &str) -> String {
    suites.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(between)
}

/// Parses the arguments: `SUITE [--full] [--seed N] [--replay ID] [--only NAME]`.
fn parse(mut args: impl Iterator<Item = String>) -> Result<Settings, String> {
    let mut settings = Settings::default();
    while let Some(arg) = args.next() {
        let mut value = |name: &str| args.next().ok_or(format!("{name} wants a value"));
        match arg.as_str() {
            "--full" => settings.full = true,
            "--seed" => settings.seed = value("--seed")?.parse().map_err(|_| "--seed wants a number")?,
            "--replay" => settings.replay = Some(value("--replay")?),
            "--only" => settings.only = Some(value("--only")?),
            name if settings.suite.is_empty() && !name.starts_with('-') => {
                name.clone_into(&mut settings.suite);
            }
            other => return Err(format!("unknown argument {other}")),
        }
    }
    Ok(settings)
}

/// The `main` of a checker.
pub fn main(checker: &str, suites: &[Suite<'_>]) -> ExitCode {
    let called = parse(std::env::args().skip(1)).and_then(|settings| {
        let known = suites.iter().find(|(name, _)| *name == settings.suite);
        match known {
            Some((_, run)) => Ok((settings, run)),
            None if settings.suite.is_empty() => Err(format!("name a suite: {}", names(suites, " or "))),
            None => Err(format!("unknown suite {}: there is {}", settings.suite, names(suites, " and "))),
        }
    });
    let (settings, run) = match called {
        Ok(called) => called,
        Err(why) => {
            let suites = names(suites, "|");
            eprintln!("{why}\nusage: {checker} {suites} [--full] [--seed N] [--replay ID] [--only NAME]");
            return ExitCode::from(2);
        }
    };
    let begun = Instant::now();
    let (scenarios, found) = run(&settings);
    conclude(checker, &settings, scenarios, &found, begun.elapsed())
}

fn conclude(checker: &str, settings: &Settings, scenarios: usize, found: &Found, took: Duration) -> ExitCode {
    for (id, why) in found.violations.iter().take(TOLD) {
        let seed = if settings.seed == 0 { String::new() } else { format!(" --seed {}", settings.seed) };
        eprintln!("VIOLATION {id}: {why}");
        eprintln!(
            "  cargo run --profile checked -p esker-tests --bin {checker} -- {}{seed} --replay '{id}'",
            settings.suite
        );
    }
    if found.violations.len() > TOLD {
        eprintln!("... and {} more", found.violations.len() - TOLD);
    }
    let mut moved = String::new();
    if found.moved.bound != 0 {
        let Moved { most, bound, waits } = found.moved;
        let _ =
            write!(moved, ",\"worst_change_bytes\":{most},\"change_bytes_bound\":{bound},\"waits\":{waits}");
    }
    let mut line = String::new();
    let _ = write!(
        line,
        "{{\"suite\":\"{}\",\"checker\":\"{checker}\",\"scenarios\":{scenarios},\"states\":{},\"recovery_states\":{},\
         \"violations\":{},\"seconds\":{:.1},\"seed\":{}{moved}}}",
        settings.suite,
        found.states,
        found.recovery_states,
        found.violations.len(),
        took.as_secs_f64(),
        settings.seed
    );
    println!("{line}");
    if found.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs `jobs` jobs on two threads, each from the front of the queue, and tells the progress.
pub fn work(
    checker: &str,
    settings: &Settings,
    jobs: &[String],
    job: impl Fn(usize, &Beat) -> Found + Sync,
) -> Found {
    let begun = Instant::now();
    let next = AtomicUsize::new(0);
    let total = Mutex::new(Found::default());
    let beats: [Beat; THREADS] = Default::default();
    let running = AtomicUsize::new(THREADS);
    std::thread::scope(|scope| {
        for beat in &beats {
            let (next, total, running, job) = (&next, &total, &running, &job);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(name) = jobs.get(number) else { break };
                    beat.job.store(number, Ordering::Relaxed);
                    beat.at(0, 0);
                    let from = Instant::now();
                    let found = job(number, beat);
                    eprintln!(
                        "{name}: {} states, {} recovery states, {} violations, {:.1} s",
                        found.states,
                        found.recovery_states,
                        found.violations.len(),
                        from.elapsed().as_secs_f64()
                    );
                    total.lock().expect("no worker panics while it adds").add(found);
                }
                beat.idle.store(true, Ordering::Relaxed);
                running.fetch_sub(1, Ordering::Relaxed);
            });
        }
        let mut seen = [(0, Instant::now()); THREADS];
        while running.load(Ordering::Relaxed) != 0 {
            std::thread::sleep(Duration::from_millis(20));
            for (beat, (count, since)) in beats.iter().zip(&mut seen) {
                let now = beat.count.load(Ordering::Relaxed);
                if now != *count || beat.idle.load(Ordering::Relaxed) {
                    (*count, *since) = (now, Instant::now());
                } else if since.elapsed() > HANG {
                    let name = jobs.get(beat.job.load(Ordering::Relaxed)).map_or("", |name| name.as_str());
                    let [cut, variant] = [0, 1].map(|at: usize| beat.place[at].load(Ordering::Relaxed));
                    let mut found = total.lock().expect("no worker panics while it adds").clone();
                    let why = format!("no answer within {} s: a hang", HANG.as_secs());
                    found.violations.push((format!("{name}:{cut}.{variant}"), why));
                    conclude(checker, settings, jobs.len(), &found, begun.elapsed());
                    std::process::exit(1);
                }
            }
        }
    });
    total.into_inner().expect("no worker panics while it adds")
}

/// Runs a check of one state; a panic in it is a violation like any other.
pub fn guarded<T>(check: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(check)) {
        Ok(result) => result,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(format!("panic: {}", text.unwrap_or_default()))
        }
    }
}

/// Mixes two numbers into one that looks random.
pub fn mix(a: u64, b: u64) -> u64 {
    let mut value = (a ^ b.rotate_left(32)).wrapping_add(0x9E37_79B9_7F4A_7C15);
    value = (value ^ value >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ value >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ value >> 31
}
