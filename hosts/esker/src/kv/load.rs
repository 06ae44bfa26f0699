//! `esker kv load`
//!
//! A load that was cut can be given again as it is: a pair that is stored twice is stored once. To go on behind what
//! is durable, `--from-line` takes the line that was told, and `--resume` keeps a [mark](super::mark).

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use esker::store::Error;
use esker::wal::SyncStrategy;
use indicatif::{HumanBytes, HumanCount, ProgressBar};
use serde_json::json;

use super::index::{Indexed, kind_of, with_index};
use super::mark::Mark;
use super::opened::{self, Opened};
use super::put::too_long;
use crate::arguments::{LoadArguments, PairFormat, format_for};
use crate::failure::Failure;
use crate::input::Input;
use crate::output::count;
use crate::pairs::{Next, Pair, Reading, Records, Tip, shown};
use crate::progress;
use crate::signals::Interrupt;

/// What a byte takes at most in a file: as an escape of JSON.
const WIDEST: usize = 6;

pub fn run(arguments: &LoadArguments) -> Result<(), Failure> {
    let LoadArguments { store, file, format, encoding, header, resume, sync, .. } = arguments;
    let format = format_for(*format, file)?;
    if *header && format == PairFormat::Jsonl {
        return Err(Failure::usage("--header: jsonl names key and value in each line"));
    }
    if resume.is_some() && sync.0 == SyncStrategy::Never {
        return Err(Failure::usage("--resume: with `--sync none` nothing is durable on the way"));
    }
    let mark = resume.as_ref().map(|key| key.decode("--resume", encoding.encoding)).transpose()?;
    let input = Input::open(file, &store.device)?;
    let volume = opened::to_write(store)?;
    with_index!(kind_of(&volume), I => load_into(Opened::<I>::on(store, volume)?, arguments, &input, format, mark))
}

/// `mark`: the key of it.
fn load_into<I: Indexed>(
    mut opened: Opened<I>,
    arguments: &LoadArguments,
    input: &Input,
    format: PairFormat,
    mark: Option<Vec<u8>>,
) -> Result<(), Failure> {
    let LoadArguments { encoding, header, sync, .. } = arguments;
    let info = opened.info()?;
    let reading = Reading {
        format,
        encoding: encoding.encoding,
        header: *header,
        max: info.max_key.saturating_add(info.max_value).saturating_mul(WIDEST).saturating_add(64),
        sum: mark.is_some(),
    };
    let (mark, left) = match mark {
        Some(key) => Mark::find(key, &mut opened).map(|(mark, left)| (Some(mark), left))?,
        None => (None, Tip::default()),
    };
    // Not before: until here there is nothing to bring to an end.
    let interrupt = Interrupt::watch()?;
    let records = Records::new(input, reading).map_err(|error| Failure::io(&input.name, "read", &error))?;
    let len = input.file.metadata().ok().filter(|_| input.regular).map(|metadata| metadata.len());
    let source = Source { arguments, input, records, interrupt, bar: progress::input(len), shown: 0 };
    if arguments.sorted {
        return sorted(source, opened);
    }
    let mut job = Job {
        pace: Pace::new(sync.0),
        tally: Tally::new(),
        source,
        opened,
        mark,
        stored: Tip::default(),
        begun: 0,
        durable: 0,
        told: 0,
    };
    let outcome = job.source.go_behind(left).and_then(|()| job.copy());
    job.finish(outcome)
}

/// The file, and whoever watches it being read.
struct Source<'a> {
    arguments: &'a LoadArguments,
    input: &'a Input,
    records: Records,
    interrupt: Interrupt,
    bar: ProgressBar,
    /// Pairs since the bar was moved.
    shown: u32,
}

impl Source<'_> {
    fn check_interrupt(&self) -> Result<(), Failure> {
        self.interrupt.signal().map_or(Ok(()), |signal| Err(Failure::interrupted(signal)))
    }

    fn read_fails(&self, error: &io::Error) -> Failure {
        Failure::io(&self.input.name, "read", error)
    }

    /// Passes over what an earlier run has stored.
    fn go_behind(&mut self, left: Tip) -> Result<(), Failure> {
        let from_line = self.arguments.from_line.unwrap_or(1);
        let lines = left.lines.max(from_line - 1);
        while self.records.tip_lines() < lines {
            self.check_interrupt()?;
            match self.records.pass(self.interrupt.as_fd()).map_err(|error| self.read_fails(&error))? {
                Next::Pair | Next::Idle => {}
                Next::Malformed(bad) => return Err(Failure::at(&self.input.name, bad)),
                Next::End if left == Tip::default() => {
                    let held = count(self.records.tip_lines(), "line");
                    let why = format!("has {held}, so it can't be gone on with at line {from_line}");
                    return Err(Failure::at(&self.input.name, why));
                }
                Next::End => return Err(self.another_file(left)),
            }
        }
        if left != Tip::default() && self.records.tip() != left {
            Err(self.another_file(left))
        } else {
            Ok(())
        }
    }

    fn another_file(&self, left: Tip) -> Failure {
        Failure::at(
            &self.input.name,
            format_args!(
                "not the file that was being loaded: its first {} are others; delete the mark to load it from its start",
                count(left.lines, "line")
            ),
        )
    }

    /// The next pair is there (`true`), or there is none. `false` for a silent stream as well, if `deadline` has passed.
    fn next(&mut self, deadline: Option<Instant>) -> Result<Step, Failure> {
        self.check_interrupt()?;
        let next = self.records.next(deadline, self.interrupt.as_fd());
        match next.map_err(|error| self.read_fails(&error))? {
            Next::Pair => Ok(Step::Pair),
            Next::Idle => Ok(Step::Idle),
            Next::End => Ok(Step::End),
            Next::Malformed(bad) => Err(Failure::at(&self.input.name, bad)),
        }
    }

    /// A failure that the pair is to blame for.
    fn pair_fails(&self, why: &str) -> Failure {
        Failure::at(&self.input.name, format_args!("line {}: {why}", self.records.line()))
    }

    fn show(&mut self, tally: &Tally) {
        self.shown += 1;
        if self.shown >= 1024 || self.records.paused() {
            self.shown = 0;
            self.bar.set_position(self.records.tip_bytes());
            self.bar.set_message(tally.rate());
        }
    }
}

enum Step {
    Pair,
    Idle,
    End,
}

/// What was stored.
struct Tally {
    start: Instant,
    pairs: u64,
    /// Of keys and values.
    bytes: u64,
}

impl Tally {
    fn new() -> Self {
        Self { start: Instant::now(), pairs: 0, bytes: 0 }
    }

    fn add(&mut self, pair: &Pair) {
        self.pairs += 1;
        self.bytes += (pair.key.len() + pair.value.len()) as u64;
    }

    fn per_second(&self, number: u64) -> u64 {
        (number as f64 / self.start.elapsed().as_secs_f64().max(1e-6)) as u64
    }

    fn rate(&self) -> String {
        format!("{} pairs/s", HumanCount(self.per_second(self.pairs)))
    }

    fn tell(&self, json: bool) {
        let seconds = self.start.elapsed().as_secs_f64();
        let line = if json {
            let per_second = self.per_second(self.pairs);
            json!({ "pairs": self.pairs, "bytes": self.bytes, "seconds": seconds, "pairs_per_second": per_second })
                .to_string()
        } else {
            let bytes = HumanBytes(self.per_second(self.bytes));
            format!(
                "loaded {} ({} bytes) in {seconds:.3} s: {}, {bytes}/s",
                count(self.pairs, "pair"),
                self.bytes,
                self.rate()
            )
        };
        // Nobody may be listening any more; the pairs are safe all the same.
        let _ = writeln!(io::stdout(), "{line}");
    }
}

/// When to commit, as `--sync` says.
struct Pace {
    strategy: SyncStrategy,
    pairs: u32,
    bytes: u64,
    /// When the first pair came that waits for a commit.
    since: Option<Instant>,
}

impl Pace {
    fn new(strategy: SyncStrategy) -> Self {
        Self { strategy, pairs: 0, bytes: 0, since: None }
    }

    fn add(&mut self, pair: &Pair) {
        self.pairs += 1;
        self.bytes += (pair.key.len() + pair.value.len()) as u64;
        self.since = self.since.or_else(|| Some(Instant::now()));
    }

    fn deadline(&self) -> Option<Instant> {
        match self.strategy {
            SyncStrategy::Batch { millis, .. } if millis > 0 => {
                self.since.map(|since| since + Duration::from_millis(millis.into()))
            }
            _ => None,
        }
    }

    fn is_due(&self) -> bool {
        match self.strategy {
            SyncStrategy::Always => true,
            SyncStrategy::Never => false,
            SyncStrategy::Batch { entries, bytes, .. } => {
                entries != 0 && self.pairs >= entries
                    || bytes != 0 && self.bytes >= bytes.into()
                    || self.deadline().is_some_and(|deadline| Instant::now() >= deadline)
            }
        }
    }
}

struct Job<'a, I: Indexed> {
    source: Source<'a>,
    opened: Opened<I>,
    mark: Option<Mark>,
    pace: Pace,
    tally: Tally,
    /// The input up to the last pair that was stored.
    stored: Tip,
    /// The lines that were passed over, those of which everything is durable, and those of which that was told.
    begun: u64,
    durable: u64,
    told: u64,
}

impl<I: Indexed> Job<'_, I> {
    /// Stores pair after pair; commits on the way, not at the end.
    fn copy(&mut self) -> Result<(), Failure> {
        self.stored = self.source.records.tip();
        let lines = self.stored.lines;
        (self.begun, self.durable, self.told) = (lines, lines, lines);
        loop {
            match self.source.next(self.pace.deadline())? {
                Step::Pair => {
                    self.store()?;
                    if self.pace.is_due() {
                        self.commit(false)?;
                    }
                    self.source.show(&self.tally);
                }
                Step::Idle => self.commit(false)?,
                Step::End => return Ok(()),
            }
        }
    }

    fn store(&mut self) -> Result<(), Failure> {
        let pair = self.source.records.pair();
        if self.mark.as_ref().is_some_and(|mark| mark.key == pair.key) {
            let why = "the key is that of the mark; name another for it with `--resume=KEY`";
            return Err(self.source.pair_fails(why));
        }
        let put = self.opened.store.put(&mut self.opened.volume, &pair.key, &pair.value);
        put.map_err(|error| match too_long(&pair.key, &pair.value, &error) {
            Some(why) => self.source.pair_fails(&why),
            None => self.opened.fail(&error),
        })?;
        self.pace.add(pair);
        self.tally.add(pair);
        self.stored = self.source.records.tip();
        Ok(())
    }

    /// Makes durable what was stored, with the mark of how far that is, or without it once all is `done`.
    fn commit(&mut self, done: bool) -> Result<(), Failure> {
        match &mut self.mark {
            Some(mark) if done => mark.remove(&mut self.opened)?,
            Some(mark) if self.pace.since.is_some() => mark.put(&mut self.opened, self.stored)?,
            _ => {}
        }
        self.opened.commit()?;
        self.pace = Pace::new(self.pace.strategy);
        self.durable = self.stored.lines;
        self.tell();
        Ok(())
    }

    /// Tells how far the input is durable, if that was asked for and is news.
    fn tell(&mut self) {
        let LoadArguments { acknowledge, json, .. } = self.source.arguments;
        let durable = self.durable;
        if !acknowledge || durable <= self.told {
            return;
        }
        self.told = durable;
        // One write, so that nobody ever reads half a number. Nobody may be listening any more; that changes nothing.
        let line = if *json {
            format!("{}\n", json!({ "durable": durable }))
        } else {
            format!("durable {durable}\n")
        };
        let mut stdout = io::stdout();
        let _ = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
    }

    /// Makes durable what was stored, also after a failure, and closes the store. If the device is to blame, only what
    /// was durable before counts.
    fn finish(mut self, outcome: Result<(), Failure>) -> Result<(), Failure> {
        self.source.bar.finish_and_clear();
        let mut outcome = outcome;
        if !self.opened.volume.is_poisoned() {
            let committed = self.commit(outcome.is_ok());
            outcome = outcome.and(committed);
        }
        let Self { opened, mark, tally, source, durable, begun, .. } = self;
        // A refusal changes nothing.
        let unchanged = outcome.is_err() && durable == begun;
        if !unchanged && !opened.volume.is_poisoned() {
            outcome = outcome.and(opened.close());
        }
        match outcome {
            Ok(()) => {
                tally.tell(source.arguments.json);
                Ok(())
            }
            Err(failure) if durable <= begun => Err(failure.and("nothing was stored")),
            Err(failure) => {
                let way_on = match mark {
                    Some(_) => "give the same command again to go on".to_owned(),
                    None => format!("go on with `--from-line {}`", durable + 1),
                };
                Err(failure.and(format_args!("the pairs up to line {durable} are stored; {way_on}")))
            }
        }
    }
}

/// Loads an empty store from the first leaf to the last. Nothing is there before everything is.
fn sorted<I: Indexed>(mut source: Source<'_>, mut opened: Opened<I>) -> Result<(), Failure> {
    let mut tally = Tally::new();
    let outcome =
        source.go_behind(Tip::default()).and_then(|()| push_all(&mut source, &mut opened, &mut tally));
    source.bar.finish_and_clear();
    outcome.map_err(|failure| failure.and("nothing was stored"))?;
    opened.close()?;
    tally.tell(source.arguments.json);
    Ok(())
}

fn push_all<I: Indexed>(
    source: &mut Source<'_>,
    opened: &mut Opened<I>,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let Opened { path, volume, store } = opened;
    let fail = |error: Error<_>| match error {
        Error::NotEmpty => Failure::at(path, "the store holds pairs already; load without `--sorted`"),
        error => Failure::store(path, &error),
    };
    let mut load = store.bulk_load(volume).map_err(fail)?;
    let (mut before, mut line) = (Vec::new(), 0);
    loop {
        match source.next(None)? {
            Step::Pair => {}
            Step::Idle => continue,
            Step::End => return load.finish(volume).map_err(fail),
        }
        let pair = source.records.pair();
        load.push(volume, &pair.key, &pair.value).map_err(|error| match error {
            Error::Unsorted { .. } => source.pair_fails(&format!(
                "key {} does not come behind {} of line {line}; sort by bytes (`LC_ALL=C sort`), each key once, or load \
                 without `--sorted`",
                shown(&pair.key),
                shown(&before)
            )),
            error => match too_long(&pair.key, &pair.value, &error) {
                Some(why) => source.pair_fails(&why),
                None => fail(error),
            },
        })?;
        before.clone_from(&pair.key);
        line = source.records.line();
        tally.add(pair);
        source.show(tally);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_due_when_the_strategy_says() {
        let pair = Pair { key: vec![0; 10], value: vec![0; 90] };
        let due = |strategy, pairs| {
            let mut pace = Pace::new(strategy);
            (0..pairs).for_each(|_| pace.add(&pair));
            pace.is_due()
        };
        let batch = |entries, bytes, millis| SyncStrategy::Batch { entries, bytes, millis };
        assert!(due(SyncStrategy::Always, 1) && !due(SyncStrategy::Never, 1000));
        assert!(!due(batch(3, 0, 0), 2) && due(batch(3, 0, 0), 3));
        assert!(!due(batch(0, 300, 0), 2) && due(batch(0, 300, 0), 3));
        assert!(!due(batch(0, 0, 1_000_000), 9));
        let mut pace = Pace::new(batch(0, 0, 5));
        assert_eq!(pace.deadline(), None, "nothing waits");
        pace.add(&pair);
        std::thread::sleep(Duration::from_millis(6));
        assert!(pace.is_due());
    }
}
