//! Arbitrary images: opening and using one never panics, never hangs, never asks outside the device, and never returns
//! what was not appended.
//!
//! An input is a row of bytes ([`fuzz_image`]): it chooses a device, then either is the image itself or a list of edits
//! to a valid one. With *repair*, every checksum is made right again after the edits, so that they get past it; the
//! checksums are computed here from the format's description, not by the engine's own code.

mod base;
mod edit;
mod session;
mod structures;

use std::cell::RefCell;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use crate::cli::{guarded, mix};
use base::{Base, Kind};

thread_local! {
    /// Where the last panic of this thread was.
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

const QUICK: u64 = 40_000;
const FULL: u64 = 1_000_000;
const THREADS: usize = 2;
/// An input that takes longer than this hangs.
const HANG: Duration = Duration::from_secs(20);
/// So many violations of one kind are told.
const TOLD: usize = 3;

/// The valid images that edits begin with: two devices, each closed in order, stopped, and cut in mid-commit.
fn bases() -> &'static [Base] {
    static BASES: OnceLock<Vec<Base>> = OnceLock::new();
    BASES.get_or_init(|| {
        let ends = [base::End::Closed, base::End::Stopped, base::End::Torn];
        let kinds = [Kind::Blocks, Kind::Nor];
        kinds.iter().flat_map(|kind| ends.iter().map(|end| Base::build(*kind, *end))).collect()
    })
}

/// Opens and uses the image that `data` describes.
///
/// # Panics
/// When the engine does what it must not; that is how a fuzzer learns of it.
pub fn fuzz_image(data: &[u8]) {
    if let Err(why) = examine(data) {
        panic!("{why}");
    }
}

/// `data`: one byte of choices, one that says how the session goes, then the image or the edits.
fn examine(data: &[u8]) -> Result<(), String> {
    let Some(([choice, way], rest)) = data.split_first_chunk::<2>() else { return Ok(()) };
    let bases = bases();
    let base = &bases[usize::from(*choice & 0x0F) % bases.len()];
    let how = *choice >> 4;
    if how == 0 {
        let mut image = vec![0xFF; base.image.len()];
        let len = rest.len().min(image.len());
        image[..len].copy_from_slice(&rest[..len]);
        return session::run(base, image, *way, false);
    }
    let repair = how % 4 != 1;
    let image = edit::apply(base, rest, repair);
    session::run(base, image, *way, !repair)
}

/// The input of one iteration.
fn input(seed: u64, iteration: u64) -> Vec<u8> {
    let mut state = mix(seed, iteration);
    let mut next = || {
        state = mix(state, 1);
        state
    };
    let first = next();
    let mut choice = first as u8;
    if first >> 8 & 7 != 0 {
        choice |= 0x20;
    }
    let mut data = vec![choice, (first >> 16) as u8];
    if choice >> 4 == 0 {
        // A valid image with some bytes exchanged.
        let bases = bases();
        data.extend_from_slice(&bases[usize::from(choice & 0x0F) % bases.len()].image);
        for _ in 0..next() % 40 {
            let at = 2 + (next() as usize) % (data.len() - 2);
            data[at] = next() as u8;
        }
        return data;
    }
    for _ in 0..1 + next() % [3, 3, 8, 24][(first >> 24 & 3) as usize] {
        data.extend_from_slice(&next().to_le_bytes());
    }
    data
}

struct Settings {
    iterations: u64,
    seed: u64,
    replay: Option<u64>,
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Settings, String> {
    let mut settings = Settings { iterations: QUICK, seed: 0, replay: None };
    while let Some(arg) = args.next() {
        let mut number = || {
            let value = args.next().ok_or(format!("{arg} wants a value"))?;
            value.parse::<u64>().map_err(|_| format!("{arg} wants a number"))
        };
        match arg.as_str() {
            "--full" => settings.iterations = FULL,
            "--seed" => settings.seed = number()?,
            "--replay" => settings.replay = Some(number()?),
            other => return Err(format!("unknown argument {other}")),
        }
    }
    Ok(settings)
}

/// The program.
pub fn main() -> ExitCode {
    let settings = match parse(std::env::args().skip(1)) {
        Ok(settings) => settings,
        Err(why) => {
            eprintln!("{why}\nusage: fuzz [--full] [--seed N] [--replay ITERATION]");
            return ExitCode::from(2);
        }
    };
    let begun = Instant::now();
    if let Some(iteration) = settings.replay {
        // A panic is left to tell where it is.
        let result = examine(&input(settings.seed, iteration));
        let violations: Vec<_> = result.err().map(|why| (iteration, why)).into_iter().collect();
        return conclude(&settings, 1, &violations, begun);
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or(String::new(), |at| format!(" ({}:{})", at.file(), at.line()));
        PLACE.set(place);
    }));
    let (states, violations) = run(&settings, begun);
    conclude(&settings, states, &violations, begun)
}

fn run(settings: &Settings, begun: Instant) -> (u64, Vec<(u64, String)>) {
    let next = AtomicU64::new(0);
    let places: [AtomicU64; THREADS] = [const { AtomicU64::new(0) }; THREADS];
    let done: [AtomicBool; THREADS] = [const { AtomicBool::new(false) }; THREADS];
    let violations = Mutex::new(Vec::new());
    let _ = bases();
    std::thread::scope(|scope| {
        for (place, done) in places.iter().zip(&done) {
            let (next, violations) = (&next, &violations);
            scope.spawn(move || {
                loop {
                    let iteration = next.fetch_add(1, Ordering::Relaxed);
                    place.store(iteration, Ordering::Relaxed);
                    if iteration >= settings.iterations {
                        break;
                    }
                    if let Err(why) = guarded(|| examine(&input(settings.seed, iteration))) {
                        let mut violations = violations.lock().expect("nobody panics while adding");
                        violations.push((iteration, why + &PLACE.take()));
                    }
                }
                done.store(true, Ordering::Relaxed);
            });
        }
        let mut seen = [(u64::MAX, Instant::now()); THREADS];
        let mut told = Instant::now();
        while !done.iter().all(|done| done.load(Ordering::Relaxed)) {
            std::thread::sleep(Duration::from_millis(20));
            if told.elapsed() > Duration::from_secs(10) {
                told = Instant::now();
                eprintln!("{} of {}", next.load(Ordering::Relaxed), settings.iterations);
            }
            for ((place, done), (at, since)) in places.iter().zip(&done).zip(&mut seen) {
                let now = place.load(Ordering::Relaxed);
                if now != *at || done.load(Ordering::Relaxed) {
                    (*at, *since) = (now, Instant::now());
                } else if since.elapsed() > HANG {
                    let mut found = violations.lock().expect("nobody panics while adding").clone();
                    found.push((now, format!("no answer within {} s: a hang", HANG.as_secs())));
                    conclude(settings, now, &found, begun);
                    std::process::exit(1);
                }
            }
        }
    });
    let states = next.load(Ordering::Relaxed).min(settings.iterations);
    (states, violations.into_inner().expect("nobody panics while adding"))
}

fn conclude(settings: &Settings, states: u64, violations: &[(u64, String)], begun: Instant) -> ExitCode {
    let seed = if settings.seed == 0 { String::new() } else { format!(" --seed {}", settings.seed) };
    let mut kinds: Vec<(String, usize)> = Vec::new();
    for (iteration, why) in violations {
        // Numbers apart, it is the same.
        let kind: String = why.chars().filter(|letter| !letter.is_ascii_digit()).collect();
        let at = kinds.iter().position(|(other, _)| *other == kind).unwrap_or(kinds.len());
        if at == kinds.len() {
            kinds.push((kind, 0));
        }
        kinds[at].1 += 1;
        if kinds[at].1 > TOLD {
            continue;
        }
        eprintln!("VIOLATION {iteration}: {why}");
        eprintln!("  cargo run --profile checked -p esker-tests --bin fuzz --{seed} --replay {iteration}");
    }
    println!(
        "{{\"suite\":\"fuzz\",\"states\":{states},\"recovery_states\":0,\"violations\":{},\"seconds\":{:.1},\"seed\":{}}}",
        violations.len(),
        begun.elapsed().as_secs_f64(),
        settings.seed
    );
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repairing_a_valid_image_changes_nothing() {
        for base in bases() {
            assert!(base.structures.records.len() > 20 && base.structures.seals.len() > 1);
            let mut image = base.image.clone();
            base.structures.repair(base, &mut image);
            assert!(image == base.image);
        }
    }

    #[test]
    fn valid_images_pass() {
        for base in bases() {
            for way in (0..=255).step_by(5) {
                assert_eq!(session::run(base, base.image.clone(), way, true), Ok(()));
            }
        }
    }
}
