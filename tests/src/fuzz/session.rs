//! Everything that can be done with a volume, done with one that may be anything.

use std::ops::Range;

use esker::device::{BlockDevice, Geometry, Ram, RamError};
use esker::volume::Volume;
use esker::wal::{Error, Log, Snapshot};

use super::base::{Base, LOGS, SLOTS};

/// One call of the engine may ask the device so often at most.
const CALLS: u32 = 60_000;
/// So many entries of a log are read at most.
const READS: u64 = 200;
const COMPANION: u16 = 0x8000;

/// A device that gives up on an engine that asks without end, or outside.
pub struct Bounded {
    ram: Ram<Vec<u8>>,
    left: u32,
}

impl Bounded {
    fn ask(&mut self) {
        assert!(self.left > 0, "more than {CALLS} device operations in one call: a hang");
        self.left -= 1;
    }
}

fn inside<T>(what: &str, result: Result<T, RamError>) -> Result<T, RamError> {
    assert!(result.is_ok(), "{what} outside the device or off its units");
    result
}

impl BlockDevice for Bounded {
    type Error = RamError;

    fn geometry(&self) -> Geometry {
        self.ram.geometry()
    }

    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), RamError> {
        self.ask();
        inside("a read", self.ram.read(address, buffer))
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), RamError> {
        self.ask();
        inside("a write", self.ram.write(address, data))
    }

    fn erase(&mut self, range: Range<u64>) -> Result<(), RamError> {
        self.ask();
        inside("an erase", self.ram.erase(range))
    }

    fn sync(&mut self) -> Result<(), RamError> {
        self.ask();
        Ok(())
    }
}

type Vol = Volume<Bounded, Vec<u8>, LOGS>;
type TestLog = Log<Vec<u8>, SLOTS>;
type TestSnapshot = Snapshot<Vec<u8>, SLOTS>;

/// Gives the next call its allowance.
fn next(volume: &mut Vol) -> &mut Vol {
    volume.device_mut().left = CALLS;
    volume
}

struct User<'a> {
    base: &'a Base,
    /// The checksums are the engine's own: what is read must have been appended.
    honest: bool,
    out: Vec<u8>,
    /// What this session has appended and committed: log, offset, payload.
    new: Vec<(u16, u64, Vec<u8>)>,
}

/// Opens the image and uses it, `way` says how; then opens it again. With `honest`, what is read is compared.
pub fn run(base: &Base, image: Vec<u8>, way: u8, honest: bool) -> Result<(), String> {
    let mut user = User { base, honest, out: vec![0; 8192], new: Vec::new() };
    let mut image = image;
    for round in 0..3 {
        let left = CALLS;
        let device = Bounded { ram: Ram::new(image, base.kind.geometry()), left };
        // Sometimes as little memory as there can be.
        let memory = if way & 1 == 0 { 2048 } else { 1024 };
        let Ok(mut volume) = Vol::open(device, vec![0; memory]) else { return Ok(()) };
        let _ = volume.info();
        let ids: Vec<u16> = volume.logs().collect();
        for (n, id) in ids.iter().enumerate() {
            user.visit(&mut volume, *id, way.wrapping_add(round).wrapping_add(n as u8 * 3), round)?;
        }
        image = volume.into_device().ram.into_inner();
    }
    Ok(())
}

impl User<'_> {
    fn visit(&mut self, volume: &mut Vol, id: u16, way: u8, round: u8) -> Result<(), String> {
        let memory = if way & 2 == 0 { 1024 } else { 4096 };
        let Ok(mut log) = TestLog::open(next(volume), id, vec![0; memory]) else { return Ok(()) };
        let _ = log.info(next(volume));
        self.read_all(volume, &log, id)?;
        self.read_new(volume, &log, id)?;
        if id & COMPANION != 0 {
            return Ok(());
        }
        if round == 2 {
            let _ = log.close(next(volume));
            return Ok(());
        }
        self.append(volume, &mut log, id, way)?;
        let (start, end) = (log.start(), log.end());
        let middle = start + (end.saturating_sub(start)) / 2;
        match way >> 2 & 7 {
            0 => {
                let _ = log.truncate_after(next(volume), middle);
                self.new.retain(|(log, offset, _)| *log != id || *offset <= middle);
                self.append(volume, &mut log, id, way)?;
            }
            1 => {
                let _ = log.release_before(next(volume), middle);
                self.append(volume, &mut log, id, way)?;
            }
            2 => {
                let _ = log.reset(next(volume), end.wrapping_add(7));
                self.new.retain(|(log, ..)| *log != id);
                self.append(volume, &mut log, id, way)?;
            }
            3 => self.snapshot(volume, &mut log, id, middle)?,
            4 => {
                // Until it is full, and then some more.
                for _ in 0..40 {
                    let full = matches!(log.append(next(volume), &[7; 700]), Err(Error::Full { .. }));
                    let _ = log.commit(next(volume));
                    if full {
                        let _ = log.release_before(next(volume), log.end());
                    }
                }
                self.new.retain(|(log, ..)| *log != id);
            }
            5 => {
                let _ = next(volume).create_log(id ^ 0x55);
            }
            _ => {}
        }
        self.read_all(volume, &log, id)?;
        if way & 0x80 != 0 {
            let _ = log.close(next(volume));
        }
        Ok(())
    }

    fn append(&mut self, volume: &mut Vol, log: &mut TestLog, id: u16, way: u8) -> Result<(), String> {
        let mut waiting = Vec::new();
        for len in [0, 33, 400 + usize::from(way)] {
            let payload = vec![way ^ len as u8; len];
            if let Ok(offset) = log.append(next(volume), &payload) {
                waiting.push((id, offset, payload));
            }
        }
        let batch: [&[u8]; 3] = [&[1; 90], &[], &[way; 21]];
        if let Ok(first) = log.append_batch(next(volume), &batch) {
            waiting.extend(batch.iter().zip(first..).map(|(payload, offset)| (id, offset, payload.to_vec())));
        }
        let _ = log.append_with(next(volume), 77, b"with a word");
        if log.commit(next(volume)).is_ok() {
            self.new.retain(|(log, offset, _)| *log != id || waiting.iter().all(|new| new.1 != *offset));
            self.new.extend(waiting);
        }
        self.read_new(volume, log, id)
    }

    fn snapshot(&mut self, volume: &mut Vol, log: &mut TestLog, id: u16, offset: u64) -> Result<(), String> {
        let Ok(mut snapshot) = TestSnapshot::open(next(volume), id, vec![0; 1024]) else { return Ok(()) };
        if let Some(info) = snapshot.info(volume) {
            for nth in 0..info.chunks.min(READS as u32) {
                let Ok(Some(len)) = snapshot.read(next(volume), nth, &mut self.out) else { continue };
                if self.honest && !self.base.chunks.contains(&self.out[..len]) && self.out[..len] != [3; 150]
                {
                    return Err(format!("log {id}: chunk {nth} of its snapshot was never written"));
                }
            }
        }
        for _ in 0..3 {
            let _ = snapshot.write(next(volume), &[3; 150]);
        }
        let _ = snapshot.publish(next(volume), log, offset);
        let _ = snapshot.close(next(volume));
        Ok(())
    }

    /// Reads a log from its start, and some at its end.
    fn read_all(&mut self, volume: &mut Vol, log: &TestLog, id: u16) -> Result<(), String> {
        let (start, end) = (log.start(), log.end());
        if self.honest && start > end {
            return Err(format!("log {id} is {start}..{end}"));
        }
        for from in [start, end.saturating_sub(READS / 4).max(start)] {
            let mut cursor = log.cursor(from);
            for _ in 0..READS {
                let at = cursor.offset();
                match log.next(next(volume), &mut cursor, &mut self.out) {
                    Ok(Some(entry)) => {
                        let len = entry.len;
                        self.compare(id, at, entry.offset, len)?;
                    }
                    Ok(None) => break,
                    Err(_) => cursor.skip(),
                }
            }
        }
        for offset in [start.wrapping_sub(1), start, end.wrapping_sub(1), end, u64::MAX] {
            if let Ok(entry) = log.read(next(volume), offset, &mut self.out) {
                self.compare(id, offset, entry.offset, entry.len)?;
            }
        }
        Ok(())
    }

    fn compare(&self, id: u16, asked: u64, offset: u64, len: usize) -> Result<(), String> {
        if asked != offset {
            return Err(format!("log {id}: asked for entry {asked}, got {offset}"));
        }
        // Companions of snapshots hold chunks; what was appended here is compared elsewhere.
        if !self.honest || id & COMPANION != 0 || self.own(&self.out[..len]) {
            return Ok(());
        }
        let known = self.base.entries.get(&(id, offset));
        if known.is_none_or(|known| known.iter().all(|payload| payload[..] != self.out[..len])) {
            return Err(format!(
                "log {id}: entry {offset} reads as {len} bytes that were never appended there"
            ));
        }
        Ok(())
    }

    /// Whether a payload is one that this session appends.
    fn own(&self, payload: &[u8]) -> bool {
        payload == b"with a word"
            || payload.first().is_none_or(|first| payload.iter().all(|byte| byte == first))
    }

    /// What was committed after the damage must be there, or be known to be damaged.
    fn read_new(&mut self, volume: &mut Vol, log: &TestLog, id: u16) -> Result<(), String> {
        if !self.honest {
            return Ok(());
        }
        for (of, offset, payload) in &self.new {
            if *of != id || *offset < log.start() {
                continue;
            }
            match log.read(next(volume), *offset, &mut self.out) {
                Ok(entry) if self.out[..entry.len] == payload[..] => {}
                Err(Error::Corrupt { .. }) => {}
                Ok(_) => return Err(format!("log {id}: the new entry {offset} reads as something else")),
                Err(error) => {
                    return Err(format!("log {id}: the new entry {offset} is not there: {error:?}"));
                }
            }
        }
        Ok(())
    }
}
