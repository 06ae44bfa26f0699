//! `esker kv scan` and `esker kv dump`

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use indicatif::ProgressBar;

use super::index::{Indexed, kind_of, with_index};
use super::opened::{self, Opened};
use super::walk::{Range, Walk};
use crate::arguments::{DumpArguments, PairFormat, ScanArguments, format_for};
use crate::failure::Failure;
use crate::making::Fresh;
use crate::output::count;
use crate::pairs::{Unwritten, Writer};
use crate::signals::Interrupt;
use crate::{output, progress};

pub fn scan(arguments: &ScanArguments) -> Result<(), Failure> {
    let ScanArguments { store, range, encoding, .. } = arguments;
    let range = Range::new(range, encoding.encoding)?;
    let volume = opened::to_read(store)?;
    with_index!(kind_of(&volume), I => scan_of(Opened::<I>::on(store, volume)?, arguments, range))
}

fn scan_of<I: Indexed>(
    mut opened: Opened<I>,
    arguments: &ScanArguments,
    range: Range,
) -> Result<(), Failure> {
    let ScanArguments { reverse, limit, keys, format, encoding, json, .. } = arguments;
    let mut walk = Walk::new(&mut opened, range, *reverse)?;
    let format = if *json { PairFormat::Jsonl } else { *format };
    let job =
        Job { limit: limit.unwrap_or(u64::MAX), keys: *keys, bar: ProgressBar::hidden(), interrupt: None };
    let mut writer = Writer::new(format, encoding.encoding);
    let mut out =
        output::stdout().map_err(|error| Failure::io(Path::new("standard output"), "write", &error))?;
    let copied = job.copy(&mut opened, &mut walk, &mut writer, &mut out);
    finish(&opened, &walk, copied, out.flush())
}

pub fn dump(arguments: &DumpArguments) -> Result<(), Failure> {
    let DumpArguments { store, file, format, header, .. } = arguments;
    let to_stdout = file == Path::new("-");
    let format = if to_stdout { format.unwrap_or(PairFormat::Csv) } else { format_for(*format, file)? };
    if *header && format == PairFormat::Jsonl {
        return Err(Failure::usage("--header: jsonl names key and value in each line"));
    }
    let volume = opened::to_read(store)?;
    with_index!(kind_of(&volume), I => dump_of(Opened::<I>::on(store, volume)?, arguments, format))
}

fn dump_of<I: Indexed>(
    mut opened: Opened<I>,
    arguments: &DumpArguments,
    format: PairFormat,
) -> Result<(), Failure> {
    let DumpArguments { file, encoding, header, .. } = arguments;
    let to_stdout = file == Path::new("-");
    let pairs = opened.info()?.index.pairs;
    let mut walk = Walk::new(&mut opened, Range::default(), false)?;
    let mut writer = Writer::new(format, encoding.encoding);
    let (mut out, mut fresh) = if to_stdout {
        let out =
            output::stdout().map_err(|error| Failure::io(Path::new("standard output"), "write", &error))?;
        (out, Fresh::nothing())
    } else {
        create(file)?
    };
    // Half a file is of no use, and is removed.
    let interrupt = if to_stdout { None } else { Some(Interrupt::watch()?) };
    let job = Job { limit: u64::MAX, keys: false, bar: progress::pairs(pairs), interrupt };
    let copied = match if *header { writer.header(&mut out) } else { Ok(()) } {
        Ok(()) => job.copy(&mut opened, &mut walk, &mut writer, &mut out),
        Err(error) => Err(Stop::Output(error)),
    };
    job.bar.finish_and_clear();
    let flushed = out.flush();
    if to_stdout {
        return finish(&opened, &walk, copied, flushed);
    }
    let synced = flushed.and_then(|()| out.get_ref().sync_all());
    let write_fails = |error: &io::Error| Failure::io(file, "write", error);
    match copied {
        Err(Stop::Output(error)) => Err(write_fails(&error)),
        copied => {
            synced.map_err(|error| write_fails(&error))?;
            let outcome = finish(&opened, &walk, copied, Ok(()));
            // Of a damaged store it holds what can be had.
            if outcome.is_ok() || !walk.damaged.is_empty() {
                fresh.keep();
            }
            outcome
        }
    }
}

fn create(file: &Path) -> Result<(BufWriter<File>, Fresh), Failure> {
    let mut options = OpenOptions::new();
    let created = options.write(true).create_new(true).open(file).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::at(file, "there is such a file already; name another, or remove it")
        }
        _ => Failure::io(file, "create", &error),
    })?;
    Ok((BufWriter::with_capacity(256 << 10, created), Fresh::file(file)))
}

struct Job {
    limit: u64,
    keys: bool,
    bar: ProgressBar,
    interrupt: Option<Interrupt>,
}

enum Stop {
    Output(io::Error),
    Failed(Failure),
}

impl Job {
    /// Writes pair after pair; returns how many.
    fn copy<I: Indexed>(
        &self,
        opened: &mut Opened<I>,
        walk: &mut Walk,
        writer: &mut Writer,
        out: &mut impl Write,
    ) -> Result<u64, Stop> {
        let mut pairs = 0;
        while pairs < self.limit && walk.next(opened).map_err(Stop::Failed)? {
            if let Some(signal) = self.interrupt.as_ref().and_then(Interrupt::signal) {
                return Err(Stop::Failed(Failure::interrupted(signal).and("nothing was kept")));
            }
            let (key, value) = walk.pair();
            let written = if self.keys { writer.key(out, key) } else { writer.pair(out, key, value) };
            written.map_err(|unwritten| match unwritten {
                Unwritten::Refused(why) => Stop::Failed(Failure::at(&opened.path, why)),
                Unwritten::Output(error) => Stop::Output(error),
            })?;
            pairs += 1;
            if pairs % 1024 == 0 {
                self.bar.set_position(pairs);
            }
        }
        Ok(pairs)
    }
}

/// What it all means to the user. What is good was written in any case.
fn finish<I: Indexed>(
    opened: &Opened<I>,
    walk: &Walk,
    copied: Result<u64, Stop>,
    flushed: io::Result<()>,
) -> Result<(), Failure> {
    let pairs = match copied {
        Err(Stop::Output(error)) => return output::outcome(Err(error)),
        Err(Stop::Failed(failure)) => return output::outcome(flushed).and(Err(failure)),
        Ok(pairs) => pairs,
    };
    output::outcome(flushed)?;
    let Some(first) = walk.damaged.first() else { return Ok(()) };
    let (places, written) = (count(walk.damaged.len() as u64, "place"), count(pairs, "pair"));
    Err(Failure::at(
        &opened.path,
        format_args!(
            "{places} damaged, the first at address {first}, and passed over with all keys there; {written} could be \
             read; `esker kv verify` lists what is damaged"
        ),
    ))
}
