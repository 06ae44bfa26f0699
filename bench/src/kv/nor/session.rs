//! One store through its phases: everything that is read is checked against what was put.

use esker_sim::{CostModel, Counts, OnViolation, Sim};

use super::pattern::Pattern;
use super::report::{Phase, Row};
use super::store::{Begin, Make, NorStore};
use super::{KEY_SIZE, OVERWRITES, Options, Setting};
use crate::Failure;
use crate::kv::check::Expected;
use crate::kv::pairs::Pairs;

/// Bytes of an erase unit.
pub const SECTOR: u32 = 4096;

/// Bytes of a word.
const WORD: u32 = 4;

/// Gets of what is not there, where nothing else is asked for.
const MISSES: u32 = 1000;

/// Gets after the store was opened again, which are not counted.
const CHECKS: u32 = 500;

/// A signal is looked for after so many operations.
const OFTEN: u32 = 256;

/// See the module.
pub struct Session<'a> {
    name: &'a str,
    make: Make,
    options: &'a Options,
    setting: Setting,
    pattern: Pattern,
    device: Sim,
    expected: Expected,
    /// What was measured so far.
    pub rows: Vec<Row>,
    /// Bytes of memory, once it was made.
    pub memory: Option<usize>,
}

/// The worst of the operations of a phase.
#[derive(Default)]
struct Worst {
    erases: u64,
    read_bytes: u64,
    /// Read and written.
    bytes: u64,
    /// What the store said before.
    bound: Option<u64>,
}

impl<'a> Session<'a> {
    /// On blank flash.
    pub fn new(name: &'a str, make: Make, options: &'a Options, setting: Setting, pattern: Pattern) -> Self {
        let device = Sim::nor(setting.capacity, WORD, SECTOR);
        // Some mark what is removed by programming its header once more, which such parts allow.
        let device = match pattern.removes() && !name.starts_with(super::ESKER) {
            true => device.with_on_violation(OnViolation::Allow),
            false => device.with_on_violation(OnViolation::Fail),
        };
        let expected = Expected::new(Pairs::new(setting.pairs, KEY_SIZE, setting.value_size));
        Self { name, make, options, setting, pattern, device, expected, rows: Vec::new(), memory: None }
    }

    /// Runs all phases, up to one that fails.
    ///
    /// # Errors
    /// A signal came.
    pub fn run(&mut self) -> Result<(), Failure> {
        if let Err(failure) = self.phases() {
            if failure.signal().is_some() {
                return Err(failure);
            }
            let phase = self.rows.last().map_or(Phase::Load, |row| row.phase.next());
            let row = Row { error: Some(failure.to_string()), ..self.row(phase) };
            self.rows.push(row);
        }
        Ok(())
    }

    fn phases(&mut self) -> Result<(), Failure> {
        let mut store = self.begin(Begin::Create)?;
        self.memory = Some(store.memory());
        self.write(&mut *store, Phase::Load)?;
        self.write(&mut *store, Phase::Overwrite)?;
        self.get_hits(&mut *store)?;
        self.get_misses(&mut *store)?;
        drop(store);
        self.open()
    }

    fn begin(&self, begin: Begin) -> Result<Box<dyn NorStore>, Failure> {
        (self.make)(self.device.clone(), begin, self.options, &self.setting)
    }

    fn write(&mut self, store: &mut dyn NorStore, phase: Phase) -> Result<(), Failure> {
        let count = self.expected.pairs.count;
        let total = if phase == Phase::Load { count } else { count.saturating_mul(OVERWRITES) };
        let (mut key, mut value, mut user_bytes) = (Vec::new(), Vec::new(), 0);
        let (begun, mut worst) = (self.device.counts(), Worst::default());
        let mut last = begun;
        for nth in 0..total {
            if nth.is_multiple_of(OFTEN) {
                self.options.go_on()?;
            }
            let number = match phase {
                Phase::Load => self.pattern.load(nth, &self.expected.pairs),
                _ => self.pattern.overwrite(nth, &self.expected.pairs),
            };
            self.expected.pairs.key(number, &mut key);
            user_bytes += key.len() as u64;
            let said = store.promised();
            let told = |failure| Failure::new(format!("put {} of {total}: {failure}", nth + 1));
            if phase == Phase::Overwrite && self.pattern.removes() && self.expected.is_there(number) {
                self.expected.remove(number);
                store.remove(&key).map_err(told)?;
            } else {
                let version = self.expected.change(number);
                self.expected.pairs.value(number, version, &mut value);
                user_bytes += value.len() as u64;
                store.put(&key, &value).map_err(told)?;
            }
            let now = self.device.counts();
            worst.erases = worst.erases.max(now.erase_units - last.erase_units);
            let read = now.read_bytes - last.read_bytes;
            worst.read_bytes = worst.read_bytes.max(read);
            worst.bytes = worst.bytes.max(read + now.write_bytes - last.write_bytes);
            worst.bound = worst.bound.max(said.map(|said| said.bytes + (key.len() + value.len()) as u64));
            last = now;
        }
        let spent = last - begun;
        let each = |count: u64| count as f64 / f64::from(total);
        let row = Row {
            wa: Some(spent.write_bytes as f64 / user_bytes as f64),
            erases_per_put: Some(each(spent.erase_units)),
            worst_put_erases: Some(worst.erases),
            worst_put_read: Some(worst.read_bytes),
            worst_put_bytes: Some(worst.bytes),
            put_bytes_bound: worst.bound,
            waits: store.promised().map(|said| said.waits),
            model_ms_put: Some(model_ms(&spent) / f64::from(total)),
            ..self.row(phase)
        };
        self.rows.push(row);
        Ok(())
    }

    /// Those that were removed are asked for as well, but not counted.
    fn get_hits(&mut self, store: &mut dyn NorStore) -> Result<(), Failure> {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        let (mut spent, mut hits) = (Counts::default(), 0);
        let reads = self.options.reads.unwrap_or(self.expected.pairs.count);
        for nth in 0..reads {
            if nth.is_multiple_of(OFTEN) {
                self.options.go_on()?;
            }
            let number = self.expected.pairs.shuffled(nth % self.expected.pairs.count, 8);
            let before = self.device.counts();
            if self.expected.is_there(number) {
                self.expected.get(store, number, &mut key, &mut value)?;
                spent = sum(spent, self.device.counts() - before);
                hits += 1;
            } else {
                self.removed(store, number, &mut key)?;
            }
        }
        let hits = f64::from(hits.max(1));
        let row = Row {
            read_per_get_hit: Some(spent.read_bytes as f64 / hits),
            model_ms_get: Some(model_ms(&spent) / hits),
            ..self.row(Phase::GetHit)
        };
        self.rows.push(row);
        Ok(())
    }

    fn removed(&self, store: &mut dyn NorStore, number: u32, key: &mut Vec<u8>) -> Result<(), Failure> {
        self.expected.pairs.key(number, key);
        match store.get(key, &mut |_| ())? {
            true => Err(Failure::new(format!("pair {number} was removed and is there"))),
            false => Ok(()),
        }
    }

    fn get_misses(&mut self, store: &mut dyn NorStore) -> Result<(), Failure> {
        let mut key = Vec::new();
        let count = self.expected.pairs.count;
        let reads = self.options.reads.unwrap_or(MISSES.min(count));
        let begun = self.device.counts();
        for nth in 0..reads {
            if nth.is_multiple_of(OFTEN) {
                self.options.go_on()?;
            }
            let number = self.expected.pairs.shuffled(nth % count, 9);
            self.expected.absent(store, number, &mut key)?;
        }
        let spent = self.device.counts() - begun;
        let row = Row {
            read_per_get_miss: Some(spent.read_bytes as f64 / f64::from(reads)),
            model_ms_get: Some(model_ms(&spent) / f64::from(reads)),
            ..self.row(Phase::GetMiss)
        };
        self.rows.push(row);
        Ok(())
    }

    fn open(&mut self) -> Result<(), Failure> {
        let begun = self.device.counts();
        let mut store = self.begin(Begin::Open)?;
        let spent = self.device.counts() - begun;
        self.rows.push(Row { open_read: Some(spent.read_bytes), ..self.row(Phase::Open) });
        let (mut key, mut value) = (Vec::new(), Vec::new());
        let count = self.expected.pairs.count;
        for number in (0..CHECKS.min(count)).map(|nth| self.expected.pairs.shuffled(nth, 10)) {
            match self.expected.is_there(number) {
                true => self.expected.get(&mut *store, number, &mut key, &mut value).map(drop),
                false => self.removed(&mut *store, number, &mut key),
            }?;
        }
        Ok(())
    }

    /// What all rows of a phase have, and the wear until now.
    fn row(&self, phase: Phase) -> Row {
        let wear = self.device.wear();
        let sum: u64 = wear.iter().copied().map(u64::from).sum();
        Row {
            store: self.name.into(),
            device: device_name(self.setting.capacity),
            pattern: self.pattern,
            pairs: self.setting.pairs,
            value_bytes: self.setting.value_size,
            phase,
            wa: None,
            erases_per_put: None,
            worst_put_erases: None,
            worst_put_read: None,
            worst_put_bytes: None,
            put_bytes_bound: None,
            waits: None,
            read_per_get_hit: None,
            read_per_get_miss: None,
            open_read: None,
            model_ms_put: None,
            model_ms_get: None,
            max_wear: wear.iter().copied().max().unwrap_or(0),
            mean_wear: sum as f64 / wear.len().max(1) as f64,
            error: None,
        }
    }
}

fn device_name(capacity: u64) -> String {
    match capacity % (1 << 20) {
        0 => format!("nor-{}m", capacity >> 20),
        _ => format!("nor-{}k", capacity >> 10),
    }
}

fn model_ms(spent: &Counts) -> f64 {
    CostModel::spi_nor().time(spent).as_secs_f64() * 1000.0
}

fn sum(one: Counts, other: Counts) -> Counts {
    Counts {
        reads: one.reads + other.reads,
        read_bytes: one.read_bytes + other.read_bytes,
        writes: one.writes + other.writes,
        write_bytes: one.write_bytes + other.write_bytes,
        programs: one.programs + other.programs,
        erases: one.erases + other.erases,
        erase_bytes: one.erase_bytes + other.erase_bytes,
        erase_units: one.erase_units + other.erase_units,
        syncs: one.syncs + other.syncs,
    }
}
