//! `esker wal append`

use std::fmt;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use esker::wal::{Durability, Error, SyncStrategy};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::arguments::AppendArguments;
use super::create::{Fresh, open_or_create};
use super::failure::Failure;
use super::input::{Input, Survey};
use super::lines::{Lines, Step};
use super::open::{FEW_SLOTS, FileLog, FileVolume, LARGE_SEGMENT, MANY_SLOTS, NO_NEWLINE, log_ids, open_log};

/// The loss window, as `--help` promises it.
const WINDOW: Duration = Duration::from_millis(10);
const WINDOW_BYTES: u32 = 4 << 20;

pub fn run(arguments: &AppendArguments) -> Result<(), Failure> {
    let input = Input::open(&arguments.file, &arguments.device)?;
    let (volume, fresh) = open_or_create(&arguments.device, &arguments.create, input.survey.as_ref())?;
    if volume.info().segment_size >= LARGE_SEGMENT {
        append::<MANY_SLOTS>(arguments, input, volume, fresh)
    } else {
        append::<FEW_SLOTS>(arguments, input, volume, fresh)
    }
}

fn append<const SLOTS: usize>(
    arguments: &AppendArguments,
    input: Input,
    mut volume: FileVolume,
    mut fresh: Fresh,
) -> Result<(), Failure> {
    let device = &arguments.device;
    let segment_size = u64::from(volume.info().segment_size);
    if !log_ids(&volume).contains(&arguments.log) {
        // A log can't be asked yet; the exact limit is a little less.
        check_lines(&input, segment_size)?;
        volume.create_log(arguments.log).map_err(|error| Failure::volume(device, &error))?;
    }
    let mut log: FileLog<SLOTS> = open_log(device, &mut volume, arguments.log)?;
    // The last line may come with a user word, which takes 8 bytes.
    let max = log.max_entry(&volume).saturating_sub(8);
    check_lines(&input, max.into())?;
    if let Some(survey) = &input.survey {
        check_room(arguments, survey, &log, &mut volume)?;
    }
    fresh.keep();

    let first = log.end();
    log.set_sync(SyncStrategy::Batch { entries: 0, bytes: WINDOW_BYTES, millis: WINDOW.as_millis() as u32 });
    let mut job = Job {
        arguments,
        lines: Lines::new(input.file, max as usize),
        volume,
        log,
        progress: progress(input.survey.as_ref()),
        tally: Tally { log: arguments.log, first, lines: 0, bytes: 0 },
    };
    let outcome = job.copy(max);
    job.progress.finish_and_clear();
    let Job { mut volume, log, tally, .. } = job;

    // What was appended before a failure stays, unless the device is to blame: then only what is durable counts.
    let durable = log.durable().saturating_sub(first);
    let (closed, kept) = if volume.is_poisoned() {
        (Ok(()), durable)
    } else {
        match log.close(&mut volume) {
            Ok(_) => (Ok(()), tally.lines),
            Err(error) => (Err(Failure::log(device, &error)), durable),
        }
    };
    match outcome.and(closed) {
        Ok(()) => {
            // Nobody may be listening any more; the lines are safe all the same.
            let _ = writeln!(io::stdout(), "{tally}");
            Ok(())
        }
        Err(failure) if kept == 0 => Err(Failure::new(format!("{failure}; nothing was appended"))),
        Err(failure) => Err(Failure::new(format!(
            "{failure}; the first {kept} lines were appended, as offsets {first} to {}",
            first + kept - 1
        ))),
    }
}

fn check_lines(input: &Input, max: u64) -> Result<(), Failure> {
    match &input.survey {
        Some(survey) if survey.longest > max => Err(Failure::at(
            &input.name,
            TooLong { line: survey.longest_line, len: Some(survey.longest), max },
        )),
        _ => Ok(()),
    }
}

/// Refuses what surely doesn't fit. What is close is left to the engine.
fn check_room<const SLOTS: usize>(
    arguments: &AppendArguments,
    survey: &Survey,
    log: &FileLog<SLOTS>,
    volume: &mut FileVolume,
) -> Result<(), Failure> {
    let info = log.info(volume).map_err(|error| Failure::log(&arguments.device, &error))?;
    let space = volume.info();
    let free = u64::from(space.free_segments.saturating_sub(space.reserve.into()));
    let room = free * u64::from(space.segment_size) + u64::from(info.left);
    if survey.records <= room {
        return Ok(());
    }
    let held = u64::from(info.segments.saturating_sub(1)) * u64::from(space.segment_size);
    let way_out = if held == 0 {
        "no entries can be released to make room, use a larger device".to_owned()
    } else {
        format!("releasing the entries before offset {} would free {held} bytes at most", info.end)
    };
    Err(Failure::at(
        &arguments.device,
        format_args!(
            "the log is full: the lines take {} bytes at least and {room} are free; {way_out}; nothing was appended",
            survey.records
        ),
    ))
}

struct TooLong {
    line: u64,
    /// Not known of a stream.
    len: Option<u64>,
    max: u64,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} ", self.line)?;
        match self.len {
            Some(len) => write!(f, "has {len} bytes")?,
            None => f.write_str("is too long")?,
        }
        write!(f, "; an entry of this log takes at most {}", self.max)
    }
}

/// What was appended.
struct Tally {
    log: u16,
    first: u64,
    lines: u64,
    bytes: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { log, first, lines, bytes } = self;
        match lines {
            0 => write!(f, "appended no lines to log {log}; its next offset is {first}"),
            1 => write!(f, "appended 1 line ({bytes} bytes) to log {log}: offset {first}"),
            _ => {
                let last = first + lines - 1;
                write!(f, "appended {lines} lines ({bytes} bytes) to log {log}: offsets {first} to {last}")
            }
        }
    }
}

struct Job<'a, const SLOTS: usize> {
    arguments: &'a AppendArguments,
    lines: Lines,
    volume: FileVolume,
    log: FileLog<SLOTS>,
    progress: ProgressBar,
    tally: Tally,
}

impl<const SLOTS: usize> Job<'_, SLOTS> {
    /// Appends line after line; commits on the way, not at the end.
    fn copy(&mut self, max: u32) -> Result<(), Failure> {
        let Self { arguments, lines, volume, log, progress, tally } = self;
        let fail = |error: Error<_>| Failure::log(&arguments.device, &error);
        let start = Instant::now();
        let mut deadline = None;
        loop {
            let step = lines
                .next(deadline)
                .map_err(|error| Failure::at(&arguments.file, format_args!("cannot read it: {error}")))?;
            match step {
                Step::Line(line, true) => {
                    log.append(volume, line).map_err(fail)?;
                    tally.add(line.len() + 1);
                }
                Step::Line(line, false) => {
                    log.append_with(volume, NO_NEWLINE, line).map_err(fail)?;
                    tally.add(line.len());
                }
                Step::Idle => {
                    log.commit(volume).map_err(fail)?;
                    progress.set_position(tally.bytes);
                    deadline = None;
                    continue;
                }
                Step::TooLong => {
                    let too_long = TooLong { line: tally.lines + 1, len: None, max: max.into() };
                    return Err(Failure::at(&arguments.file, too_long));
                }
                Step::End => return Ok(()),
            }
            let now = start.elapsed();
            deadline = match log.commit_if_due(volume, now.as_millis() as u64).map_err(fail)? {
                Durability::Durable => None,
                Durability::Waiting => deadline.or_else(|| Some(start + now + WINDOW)),
            };
            if tally.lines % 1024 == 0 {
                progress.set_position(tally.bytes);
            }
        }
    }
}

impl Tally {
    fn add(&mut self, bytes: usize) {
        self.lines += 1;
        self.bytes += bytes as u64;
    }
}

/// A bar for a file, a counter for a stream; nothing unless standard error is a terminal.
fn progress(survey: Option<&Survey>) -> ProgressBar {
    let bytes = survey.map(|survey| survey.bytes);
    let template = match bytes {
        Some(_) => "{wide_bar} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left",
        None => "{spinner} {binary_bytes}, {binary_bytes_per_sec}",
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    // Such a target draws nothing where there is no terminal.
    ProgressBar::with_draw_target(bytes, ProgressDrawTarget::stderr()).with_style(style)
}
