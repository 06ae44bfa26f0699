//! `esker wal append`

use std::fmt;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use esker::wal::{Error, Info};
use indicatif::ProgressBar;
use serde_json::json;

use super::create::open_or_create;
use super::volume::{Log, NO_NEWLINE, log_ids, open_log, refuse_log_of_store, with_slots};
use crate::arguments::{AppendArguments, Format};
use crate::failure::Failure;
use crate::input::{Input, Reader, Step, Survey};
use crate::making::Fresh;
use crate::progress;
use crate::signals::Interrupt;
use crate::volume::Volume;
use esker_linux::DeviceError;

pub fn run(arguments: &AppendArguments) -> Result<(), Failure> {
    let mut input = Input::open(&arguments.file, &arguments.device)?;
    let survey = input.survey(arguments.format, arguments.skip)?;
    let (volume, fresh) = open_or_create(arguments, survey.as_ref())?;
    refuse_log_of_store(&arguments.device, &volume, arguments.log)?;
    // Not before: until here there is nothing to bring to an end, and a large device is long in the making.
    let interrupt = Interrupt::watch()?;
    with_slots!(volume, append(arguments, &interrupt, &input, survey, volume, fresh))
}

fn append<const SLOTS: usize>(
    arguments: &AppendArguments,
    interrupt: &Interrupt,
    input: &Input,
    survey: Option<Survey>,
    mut volume: Volume,
    mut fresh: Fresh,
) -> Result<(), Failure> {
    let device = &arguments.device;
    if !log_ids(&volume).contains(&arguments.log) {
        // To make the log changes the volume, so what surely can't be is refused before. A log can't be asked yet: what
        // an entry may be long at most is a little less than a segment without its index.
        let bound = u64::from(volume.info().segment_size).saturating_sub(4 * SLOTS as u64);
        check_entries(arguments, input, survey.as_ref(), bound)?;
        if let Some(survey) = &survey {
            check_room(arguments, survey, None, &volume)?;
        }
        volume.create_log(arguments.log).map_err(|error| Failure::volume(device, &error))?;
    }
    let mut log: Log<SLOTS> = open_log(device, &mut volume, arguments.log)?;
    // The last line may come with a user word, which takes 8 bytes.
    let max = log.max_entry(&volume).saturating_sub(8);
    check_entries(arguments, input, survey.as_ref(), max.into())?;
    if let Some(survey) = &survey {
        let held = log.info(&mut volume).map_err(|error| Failure::log(device, &error))?;
        check_room(arguments, survey, Some(&held), &volume)?;
    }
    fresh.keep();

    let first = log.end();
    log.set_sync(arguments.sync.0);
    let reader = Reader::new(input, arguments.format, max as usize);
    let mut job = Job {
        arguments,
        interrupt,
        input,
        reader: reader.map_err(|error| Failure::io(&input.name, "read", &error))?,
        volume,
        log,
        progress: progress::bytes(survey.map(|survey| survey.bytes)),
        max,
        told: first,
        tally: Tally { format: arguments.format, log: arguments.log, first, entries: 0, bytes: 0 },
    };
    let outcome = job.copy();
    job.progress.finish_and_clear();
    let (tally, outcome) = job.finish(outcome);
    let entries = tally.entries;
    match outcome {
        Ok(()) => {
            // Nobody may be listening any more; the entries are safe all the same.
            let _ = if arguments.json {
                writeln!(io::stdout(), "{}", tally.as_json())
            } else {
                writeln!(io::stdout(), "{tally}")
            };
            Ok(())
        }
        Err(failure) if entries == 0 => Err(failure.and("nothing was appended")),
        Err(failure) => {
            let (last, skip) = (first + entries - 1, arguments.skip + entries);
            let kept = match entries {
                1 => format!("the first {} was appended, as offset {first}", arguments.format.entry()),
                _ => format!(
                    "the first {entries} {} were appended, as offsets {first} to {last}",
                    arguments.format.entries()
                ),
            };
            Err(failure.and(format_args!("{kept}; go on with `--skip {skip}`")))
        }
    }
}

fn check_entries(
    arguments: &AppendArguments,
    input: &Input,
    survey: Option<&Survey>,
    max: u64,
) -> Result<(), Failure> {
    match survey {
        Some(survey) if survey.longest > max => Err(Failure::at(
            &input.name,
            TooLong { format: arguments.format, entry: survey.longest_entry, len: Some(survey.longest), max },
        )),
        _ => Ok(()),
    }
}

/// Refuses what surely doesn't fit. What is close is left to the engine.
fn check_room(
    arguments: &AppendArguments,
    survey: &Survey,
    log: Option<&Info>,
    volume: &Volume,
) -> Result<(), Failure> {
    let (left, segments, end) = log.map_or((0, 0, 0), |log| (log.left, log.segments, log.end));
    let space = volume.info();
    let free = u64::from(space.free_segments.saturating_sub(space.reserve.into()));
    let room = free * u64::from(space.segment_size) + u64::from(left);
    if survey.records <= room {
        return Ok(());
    }
    let held = u64::from(segments.saturating_sub(1)) * u64::from(space.segment_size);
    let way_out = if held == 0 {
        "no entries can be released to make room, use a larger device".to_owned()
    } else {
        format!("releasing the entries before offset {end} would free {held} bytes at most")
    };
    Err(Failure::at(
        &arguments.device,
        format_args!(
            "the log is full: the {} take {} bytes at least and {room} are free; {way_out}; nothing was appended",
            arguments.format.entries(),
            survey.records
        ),
    ))
}

struct TooLong {
    format: Format,
    entry: u64,
    /// Not always known of a stream.
    len: Option<u64>,
    max: u64,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.format.entry(), self.entry)?;
        match self.len {
            Some(len) => write!(f, "has {len} bytes")?,
            None => f.write_str("is too long")?,
        }
        write!(f, "; an entry of this log takes at most {}", self.max)
    }
}

/// What was appended.
#[derive(Clone, Copy)]
struct Tally {
    format: Format,
    log: u16,
    first: u64,
    entries: u64,
    /// Of the input.
    bytes: u64,
}

impl Tally {
    fn add(&mut self, bytes: usize) {
        self.entries += 1;
        self.bytes += bytes as u64;
    }

    fn as_json(&self) -> serde_json::Value {
        json!({
            "log": self.log,
            "first": self.first,
            "end": self.first + self.entries,
            "entries": self.entries,
            "bytes": self.bytes,
        })
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { format, log, first, entries, bytes } = self;
        let (one, many) = (format.entry(), format.entries());
        match entries {
            0 => write!(f, "appended no {many} to log {log}; its next offset is {first}"),
            1 => write!(f, "appended 1 {one} ({bytes} bytes) to log {log}: offset {first}"),
            _ => {
                let last = first + entries - 1;
                write!(f, "appended {entries} {many} ({bytes} bytes) to log {log}: offsets {first} to {last}")
            }
        }
    }
}

/// A clock that is looked at now and then: a look takes as long as a short entry does.
struct Clock {
    start: Instant,
    /// Since then.
    now: Duration,
    /// Entries since the last look, and the bytes that had come by then.
    entries: u32,
    bytes: u64,
}

impl Clock {
    fn new() -> Self {
        Self { start: Instant::now(), now: Duration::ZERO, entries: 0, bytes: 0 }
    }

    /// One more entry has come, `bytes` in all. So much takes well below a millisecond.
    fn is_stale(&mut self, bytes: u64) -> bool {
        self.entries += 1;
        self.entries >= 64 || bytes - self.bytes >= 64 << 10
    }

    fn look(&mut self, bytes: u64) {
        *self = Self { now: self.start.elapsed(), entries: 0, bytes, ..*self };
    }
}

struct Job<'a, const SLOTS: usize> {
    arguments: &'a AppendArguments,
    interrupt: &'a Interrupt,
    input: &'a Input,
    reader: Reader,
    volume: Volume,
    log: Log<SLOTS>,
    progress: ProgressBar,
    /// The longest entry.
    max: u32,
    /// The durable offset that was told last.
    told: u64,
    tally: Tally,
}

impl<const SLOTS: usize> Job<'_, SLOTS> {
    /// Appends entry after entry; commits on the way, not at the end.
    fn copy(&mut self) -> Result<(), Failure> {
        let mut clock = Clock::new();
        let patience =
            self.arguments.sync.patience_millis().map(|millis| Duration::from_millis(millis.into()));
        let mut skip = self.arguments.skip;
        let mut deadline = None;
        loop {
            if let Some(signal) = self.interrupt.signal() {
                return Err(Failure::interrupted(signal));
            }
            let step = self.reader.next(deadline, self.interrupt.as_fd());
            let step = step.map_err(|error| Failure::io(&self.input.name, "read", &error))?;
            let appended = match step {
                Step::Entry(..) if skip > 0 => {
                    skip -= 1;
                    continue;
                }
                Step::Entry(entry, true) => {
                    self.tally.add(entry.len() + self.arguments.format.frame());
                    self.log.append(&mut self.volume, entry)
                }
                Step::Entry(entry, false) => {
                    self.tally.add(entry.len());
                    self.log.append_with(&mut self.volume, NO_NEWLINE, entry)
                }
                Step::Idle => {
                    self.log.commit(&mut self.volume).map_err(|error| self.fail(&error))?;
                    self.tell();
                    self.progress.set_position(self.tally.bytes);
                    deadline = None;
                    continue;
                }
                Step::TooLong(len) => {
                    let (format, entry) = (self.arguments.format, self.position());
                    let too_long = TooLong { format, entry, len, max: self.max.into() };
                    return Err(Failure::at(&self.input.name, too_long));
                }
                Step::Torn => return Err(self.input.torn(self.position())),
                Step::End if skip > 0 => {
                    let wanted = self.arguments.skip;
                    return Err(self.input.too_few(self.arguments.format, wanted, wanted - skip));
                }
                Step::End => return Ok(()),
            };
            if let Err(error) = appended {
                self.tally.entries -= 1;
                return Err(self.fail(&error));
            }
            if clock.is_stale(self.tally.bytes) || self.reader.paused() {
                clock.look(self.tally.bytes);
                self.progress.set_position(self.tally.bytes);
            }
            let committed = self.log.commit_if_due(&mut self.volume, clock.now.as_millis() as u64);
            committed.map_err(|error| self.fail(&error))?;
            if self.log.durable() == self.log.end() {
                deadline = None;
                self.tell();
            } else {
                deadline = deadline.or_else(|| patience.map(|patience| clock.start + clock.now + patience));
            }
        }
    }

    /// Number of the next entry in the input, from 1.
    fn position(&self) -> u64 {
        self.arguments.skip + self.tally.entries + 1
    }

    /// Tells how far the log is durable, if that was asked for and is news.
    fn tell(&mut self) {
        let durable = self.log.durable();
        if !self.arguments.acknowledge || durable <= self.told {
            return;
        }
        self.told = durable;
        // One write, so that nobody ever reads half a number. Nobody may be listening any more; that changes nothing.
        let line = if self.arguments.json {
            format!("{}\n", json!({ "durable": durable }))
        } else {
            format!("durable {durable}\n")
        };
        let mut stdout = io::stdout();
        let _ = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
    }

    /// Makes durable what was appended, also after a failure, and closes the log. If the device is to blame, only what
    /// was durable before counts.
    fn finish(mut self, mut outcome: Result<(), Failure>) -> (Tally, Result<(), Failure>) {
        if !self.volume.is_poisoned() {
            match self.log.commit(&mut self.volume) {
                Ok(()) => self.tell(),
                Err(error) => outcome = outcome.and(Err(self.fail(&error))),
            }
        }
        let Self { arguments, mut volume, log, mut tally, .. } = self;
        tally.entries = log.durable().saturating_sub(tally.first);
        if !volume.is_poisoned()
            && let Err(error) = log.close(&mut volume)
        {
            outcome = outcome.and(Err(Failure::log(&arguments.device, &error)));
        }
        (tally, outcome)
    }

    fn fail(&self, error: &Error<DeviceError>) -> Failure {
        match error {
            Error::Full { release_before: Some(offset) } => {
                let segment = self.volume.info().segment_size;
                Failure::at(
                    &self.arguments.device,
                    format_args!(
                        "the log is full; releasing the entries before offset {offset} would free {segment} bytes \
                         (`esker wal release --before {offset}`)"
                    ),
                )
            }
            error => Failure::log(&self.arguments.device, error),
        }
    }
}
