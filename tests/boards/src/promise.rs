//! What a board has promised so far, and whether a medium keeps it.
//!
//! An entry that was said to be durable is there, at its offset, as it was written, and no offset is missing or there
//! twice; unless it was released before. The medium takes writes in order, so whatever one opening has found, the next
//! one finds, too.

use std::path::Path;

use esker::volume::{self, Volume};
use esker::wal::{self, Log};
use esker_linux::{Access, FileDevice};
use esker_qemu::logger::{EVENTS, SAMPLES, check_event, check_sample};

use crate::Failure;
use crate::board::Board;
use crate::message::Message;
use crate::settings::{Pairs, Settings};

type Disk = Volume<FileDevice, Vec<u8>, 16>;
type Journal = Log<Vec<u8>, 16>;

/// Of all logs and the settings, since the medium was new.
#[derive(Debug)]
pub struct Promise {
    logs: [Entries; 2],
    settings: Settings,
    /// The logger has opened the volume once: from then on it is there.
    made: bool,
}

#[derive(Debug, Default)]
struct Entries {
    /// Entries before this one were durable.
    durable: u64,
    /// Entries before this one may be gone.
    released: u64,
    /// From which offset on entries are of which start, ascending.
    starts: Vec<(u64, u32)>,
    /// The end when the log was opened last.
    opened: u64,
}

impl Entries {
    /// The start that the entry is of.
    fn start_of(&self, offset: u64) -> Option<u32> {
        self.starts.iter().rev().find(|(from, _)| *from <= offset).map(|(_, boot)| *boot)
    }

    fn keeps(&self, start: u64, end: u64) -> Result<(), String> {
        if end < self.durable {
            Err(format!("ends at {end}, but {} entries were durable", self.durable))
        } else if start > self.released {
            Err(format!("begins at {start}, but only those before {} were released", self.released))
        } else {
            Ok(())
        }
    }
}

impl Promise {
    /// Of a new medium for a board.
    pub fn of(board: &Board) -> Self {
        Self { logs: Default::default(), settings: Settings::new(board.settings), made: false }
    }

    /// Takes note of what was said in a run; an error if it contradicts what was promised before.
    pub fn hear(&mut self, messages: &[Message]) -> Result<(), Failure> {
        for message in messages {
            self.settings.hear(message)?;
            match message {
                Message::There { log, start, end } => {
                    let entries = self.entries(*log)?;
                    entries
                        .keeps(*start, *end)
                        .map_err(|why| format!("the board finds that log {log} {why}"))?;
                    (entries.durable, entries.opened) = (*end, *end);
                    self.made = true;
                }
                Message::Started { boot } => {
                    for entries in &mut self.logs {
                        let opened = entries.opened;
                        entries.starts.retain(|(from, _)| *from < opened);
                        entries.starts.push((opened, *boot));
                    }
                }
                Message::Durable { log, end } => {
                    let entries = self.entries(*log)?;
                    entries.durable = entries.durable.max(*end);
                }
                Message::Released { log, before } => {
                    let entries = self.entries(*log)?;
                    entries.released = entries.released.max(*before);
                }
                Message::Failed(why) => return Err(format!("the board says: {why}").into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the logger has opened the volume once: from then on it must be there.
    pub fn made(&self) -> bool {
        self.made
    }

    /// All settings, as they were at the last check.
    pub fn settings(&self) -> &Pairs {
        self.settings.pairs()
    }

    /// Entries appended by others, on Linux, as of `boot`: they are durable.
    pub fn add(&mut self, log: u16, from: u64, end: u64, boot: u32) -> Result<(), Failure> {
        let entries = self.entries(log)?;
        entries.starts.push((from, boot));
        entries.durable = end;
        Ok(())
    }

    fn entries(&mut self, log: u16) -> Result<&mut Entries, Failure> {
        self.logs.get_mut(usize::from(log)).ok_or_else(|| format!("the board speaks of a log {log}").into())
    }

    /// Reads the whole medium as Linux does; says where each log begins and ends.
    pub fn check(&mut self, path: &Path) -> Result<[(u64, u64); 2], Failure> {
        self.settings.check(path)?;
        let opened =
            FileDevice::open(path, Access::ReadOnly).and_then(|device| Disk::open(device, vec![0; 64 << 10]));
        let mut volume = match opened {
            Ok(volume) => volume,
            Err(volume::Error::NotFormatted) if !self.made => return Ok([(0, 0); 2]),
            Err(error) => return Err(format!("Linux can't open the volume: {error}").into()),
        };
        let mut ranges = [(0, 0); 2];
        for (id, range) in [SAMPLES, EVENTS].into_iter().zip(&mut ranges) {
            let log = match Journal::open(&mut volume, id, vec![0; 64 << 10]) {
                Ok(log) => log,
                Err(wal::Error::Volume(volume::Error::NoSuchLog)) if !self.made => continue,
                Err(error) => return Err(format!("Linux can't open log {id}: {error}").into()),
            };
            *range = (log.start(), log.end());
            self.check_log(&mut volume, &log, id)
                .map_err(|why| format!("Linux finds that log {id} {why}"))?;
        }
        Ok(ranges)
    }

    fn check_log(&self, volume: &mut Disk, log: &Journal, id: u16) -> Result<(), String> {
        let entries = &self.logs[usize::from(id)];
        entries.keeps(log.start(), log.end())?;
        if log.report().damaged > 0 || log.report().unreadable {
            return Err(format!("is damaged: {:?}", log.report()));
        }
        let (mut cursor, mut bytes, mut next) = (log.cursor(log.start()), [0; 128], log.start());
        while let Some(entry) =
            log.next(volume, &mut cursor, &mut bytes).map_err(|error| error.to_string())?
        {
            let payload = &bytes[..entry.len];
            let stamp = if id == SAMPLES {
                check_sample(payload, entry.offset)
            } else {
                check_event(payload, entry.offset)
            };
            let expected = entries.start_of(entry.offset);
            if entry.offset != next || stamp.map(|stamp| stamp.boot) != expected {
                let offset = entry.offset;
                return Err(format!("has {stamp:?} at offset {offset}, not {next} of start {expected:?}"));
            }
            next += 1;
        }
        if next == log.end() { Ok(()) } else { Err(format!("ends at {next}, not at {}", log.end())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::BOARDS;

    fn durable(log: u16, end: u64) -> Message {
        Message::Durable { log, end }
    }

    #[test]
    fn what_was_durable_must_be_there() {
        let mut promise = Promise::of(&BOARDS[0]);
        promise.hear(&[durable(0, 8)]).unwrap();
        let there = |start, end| Message::There { log: 0, start, end };
        assert!(promise.hear(&[there(0, 7)]).is_err());
        assert!(promise.hear(&[there(1, 8)]).is_err());
        promise.hear(&[there(0, 9)]).unwrap();
        assert!(promise.hear(&[there(0, 8)]).is_err(), "an opening had found it");
        promise.hear(&[Message::Released { log: 0, before: 4 }, there(4, 9)]).unwrap();
        assert!(promise.hear(&[Message::Failed("x".into())]).is_err());
    }

    #[test]
    fn entries_are_of_the_start_that_wrote_them() {
        let mut entries = Entries { starts: vec![(0, 1), (10, 2), (10, 3)], ..Entries::default() };
        assert_eq!((entries.start_of(9), entries.start_of(10)), (Some(1), Some(3)));
        entries.starts.clear();
        assert_eq!(entries.start_of(0), None);
    }
}
