//! Tiny runs: known counts of a store that is as simple as can be, and that whoever answers wrong is told. No times.

use std::collections::BTreeMap;

use clap::ValueEnum;
use esker::device::BlockDevice;
use esker_sim::Sim;

use super::pattern::Pattern;
use super::report::{Phase, Row};
use super::session::{SECTOR, Session};
use super::store::{Begin, Make, NorStore, no_scan};
use super::{KEY_SIZE, Options, STORES, Setting, run};
use crate::Failure;
use crate::kv::ESKER_LSM;
use crate::kv::store::{Reader, Writer};

const VALUE: usize = 32;

/// Bytes of a pair on the flash; a sector has 64 of them.
const SLOT: usize = 64;

/// What a store may do wrong.
const NOTHING: u8 = 0;
const ANOTHER_VALUE: u8 = 1;
const KEEPS_THE_FIRST_VALUE: u8 = 2;
const FINDS_WHAT_IS_NOT: u8 = 3;
const KEEPS_WHAT_IS_REMOVED: u8 = 4;
const LOSES_THE_LAST_SECTOR: u8 = 5;
const FULL: u8 = 6;

/// Pairs one after the other, each in a slot of its own; where they are is in memory.
struct Slots<const LIE: u8> {
    device: Sim,
    places: BTreeMap<Vec<u8>, u64>,
    end: u64,
}

fn slots<const LIE: u8>(
    device: Sim,
    begin: Begin,
    _: &Options,
    _: &Setting,
) -> Result<Box<dyn NorStore>, Failure> {
    let mut slots = Slots::<LIE> { device, places: BTreeMap::new(), end: 0 };
    if begin == Begin::Open {
        slots.recover();
    }
    Ok(Box::new(slots))
}

impl<const LIE: u8> Slots<LIE> {
    /// Reads up to the first slot that is blank.
    fn recover(&mut self) {
        loop {
            let slot = self.read(self.end);
            if slot.iter().all(|byte| *byte == 0xFF) {
                break;
            }
            let key = slot[..KEY_SIZE].to_vec();
            match slot[SLOT - 1] {
                0 => self.places.insert(key, self.end),
                _ => self.places.remove(&key),
            };
            self.end += SLOT as u64;
        }
        if LIE == LOSES_THE_LAST_SECTOR {
            self.places.retain(|_, place| *place + u64::from(SECTOR) < self.end);
        }
    }

    fn read(&mut self, at: u64) -> [u8; SLOT] {
        let mut slot = [0; SLOT];
        self.device.read(at, &mut slot).unwrap();
        slot
    }

    fn append(&mut self, key: &[u8], value: &[u8], removed: u8) -> u64 {
        let at = self.end;
        if at.is_multiple_of(u64::from(SECTOR)) {
            self.device.erase(at..at + u64::from(SECTOR)).unwrap();
        }
        let mut slot = [0; SLOT];
        slot[..KEY_SIZE].copy_from_slice(key);
        slot[KEY_SIZE..][..value.len()].copy_from_slice(value);
        slot[SLOT - 1] = removed;
        self.device.write(at, &slot).unwrap();
        self.end += SLOT as u64;
        at
    }
}

impl<const LIE: u8> NorStore for Slots<LIE> {
    fn memory(&self) -> usize {
        777
    }
}

impl<const LIE: u8> Writer for Slots<LIE> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        if LIE == FULL && self.end == 100 * SLOT as u64 {
            return Err(Failure::new("full"));
        }
        let at = self.append(key, value, 0);
        if LIE == KEEPS_THE_FIRST_VALUE {
            self.places.entry(key.to_vec()).or_insert(at);
        } else {
            self.places.insert(key.to_vec(), at);
        }
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), Failure> {
        self.append(key, &[], 1);
        if LIE != KEEPS_WHAT_IS_REMOVED {
            self.places.remove(key);
        }
        Ok(())
    }
}

impl<const LIE: u8> Reader for Slots<LIE> {
    fn get(&mut self, key: &[u8], show: &mut dyn FnMut(&[u8])) -> Result<bool, Failure> {
        let Some(place) = self.places.get(key).copied() else { return Ok(LIE == FINDS_WHAT_IS_NOT) };
        let mut slot = self.read(place);
        if LIE == ANOTHER_VALUE {
            slot[KEY_SIZE + VALUE - 1] ^= 1;
        }
        show(&slot[KEY_SIZE..][..VALUE]);
        Ok(true)
    }

    fn scan(&mut self, _from: &[u8], _show: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), Failure> {
        Err(no_scan())
    }
}

const PAIRS: u32 = 128;

fn rows(make: Make, pattern: Pattern) -> Vec<Row> {
    let setting = Setting { capacity: 64 << 10, pairs: PAIRS, value_size: VALUE };
    let options = Options::default();
    let mut session = Session::new("slots", make, &options, setting, pattern);
    session.run().unwrap();
    assert_eq!(session.memory, Some(777));
    session.rows
}

fn near(value: Option<f64>, expected: f64) {
    assert!(value.is_some_and(|value| (value - expected).abs() < 1e-9), "{value:?} is not {expected}");
}

#[test]
fn the_figures_are_those_of_the_calls() {
    for pattern in [Pattern::Random, Pattern::Sequential, Pattern::Reverse, Pattern::HotSpot] {
        let rows = rows(slots::<NOTHING>, pattern);
        let [load, overwrite, hit, miss, open] = &rows[..] else { panic!("{rows:?}") };
        for (row, puts, wear) in [(load, 128.0, 2.0 / 16.0), (overwrite, 640.0, 12.0 / 16.0)] {
            assert_eq!((row.error.as_deref(), &*row.device, row.pairs), (None, "nor-64k", PAIRS));
            near(row.wa, 64.0 / 48.0);
            near(row.erases_per_put, 1.0 / 64.0);
            assert_eq!((row.worst_put_erases, row.worst_put_read), (Some(1), Some(0)));
            // 30 us for a program, 2.5 us a byte, 45 ms for an erase.
            near(row.model_ms_put, 0.03 + 64.0 * 0.0025 + 45.0 * (puts / 64.0) / puts);
            assert_eq!(row.max_wear, 1);
            near(Some(row.mean_wear), wear);
        }
        near(hit.read_per_get_hit, 64.0);
        near(hit.model_ms_get, 64.0 * 0.0001);
        near(miss.read_per_get_miss, 0.0);
        // All slots, and the blank one behind them.
        assert_eq!(open.open_read, Some(64 * (128 + 640 + 1)));
        assert!(load.open_read.is_none() && hit.wa.is_none() && open.read_per_get_hit.is_none());
    }
}

/// Of a removal only the key is the user's.
#[test]
fn what_is_removed_counts_by_its_key() {
    let rows = rows(slots::<NOTHING>, Pattern::DeleteHeavy);
    assert_eq!(rows.len(), 5);
    let wa = rows[1].wa.unwrap();
    assert!(64.0 / 48.0 < wa && wa < 64.0 / 16.0, "{wa}: some are puts and some are not");
    near(rows[2].read_per_get_hit, 64.0);
}

#[test]
fn a_store_that_answers_wrong_is_told() {
    let liars: [(Make, Pattern, Phase, &str); 6] = [
        (slots::<ANOTHER_VALUE>, Pattern::Random, Phase::GetHit, "not what was stored"),
        (slots::<KEEPS_THE_FIRST_VALUE>, Pattern::Random, Phase::GetHit, "not what was stored"),
        (slots::<FINDS_WHAT_IS_NOT>, Pattern::Random, Phase::GetMiss, "never stored and is there"),
        (slots::<KEEPS_WHAT_IS_REMOVED>, Pattern::DeleteHeavy, Phase::GetHit, "removed and is there"),
        (slots::<LOSES_THE_LAST_SECTOR>, Pattern::Random, Phase::Open, "is not there"),
        (slots::<FULL>, Pattern::Random, Phase::Load, "put 101 of 128: full"),
    ];
    for (liar, pattern, phase, words) in liars {
        let rows = rows(liar, pattern);
        let last = rows.last().unwrap();
        assert_eq!(last.phase, phase, "{words}");
        assert!(last.error.as_ref().is_some_and(|error| error.contains(words)), "{words}: {last:?}");
        assert!(rows.iter().filter(|row| row.error.is_some()).count() == 1);
    }
}

fn small(stores: &[&str]) -> Options {
    Options {
        stores: stores.iter().map(|name| (*name).into()).collect(),
        settings: vec![Setting { capacity: 1 << 20, pairs: 100, value_size: VALUE }],
        // A B-tree needs a few pages.
        lent: 32 << 10,
        ..Options::default()
    }
}

/// With `--features peers` these are all of them.
#[test]
fn every_store_does_every_pattern() {
    let names: Vec<_> = STORES.iter().map(|(name, _)| *name).collect();
    let options = Options { patterns: Pattern::value_variants().to_vec(), ..small(&names) };
    let report = run(&options).unwrap();
    assert_eq!(report.rows.len(), STORES.len() * options.patterns.len() * 5);
    for row in &report.rows {
        assert_eq!(row.error, None, "{} {}", row.store, row.pattern.name());
        let puts = row.phase == Phase::Load || row.phase == Phase::Overwrite;
        // A removal may cost less than a key: a word that marks the pair.
        let least = if row.pattern.removes() { 0.9 } else { 1.0 };
        assert_eq!(row.wa.is_some_and(|wa| wa >= least), puts, "{row:?}");
        assert_eq!(row.worst_put_erases.is_some() && row.model_ms_put.is_some_and(|ms| ms > 0.1), puts);
    }
    assert_eq!(report.memory.len(), STORES.len());
    let text = report.to_string();
    assert!(names.iter().all(|name| text.contains(name)) && text.contains("nor-1m"), "{text}");
}

#[test]
fn what_esker_costs_is_the_same_each_time() {
    let rows = || serde_json::to_string(&run(&small(&[ESKER_LSM])).unwrap().rows).unwrap();
    assert_eq!(rows(), rows());
}

/// A header of 8 bytes, key and value; the page is marked once when it is begun, with a word.
#[cfg(feature = "peers")]
#[test]
fn a_peer_programs_what_its_format_says() {
    let mut options = small(&["sequential-storage"]);
    options.settings[0].pairs = 50;
    let report = run(&options).unwrap();
    near(report.rows[0].wa, f64::from(50 * (8 + 16 + 32) + 4) / f64::from(50 * 48));
}

#[test]
fn too_little_memory_is_told_and_the_others_go_on() {
    let report = run(&Options { lent: 4096, ..small(&[ESKER_LSM, ESKER_LSM]) }).unwrap();
    assert_eq!(report.rows.len(), 2);
    let error = report.rows[0].error.as_ref().unwrap();
    assert!(error.contains("4096 bytes of memory are too little") && error.contains("--lent"), "{error}");
    assert!(report.to_string().contains(error));
}

#[test]
fn the_rows_in_json_have_the_fields_that_scripts_read() {
    let json = serde_json::to_value(run(&small(&[ESKER_LSM])).unwrap()).unwrap();
    let row = &json["rows"][1];
    for field in ["store", "device", "pattern", "phase"] {
        assert!(row[field].is_string(), "{field}");
    }
    for field in ["pairs", "value_bytes", "worst_put_erases", "worst_put_read", "max_wear"] {
        assert!(row[field].is_u64(), "{field}");
    }
    for field in ["wa", "erases_per_put", "model_ms_put", "mean_wear"] {
        assert!(row[field].is_f64(), "{field}");
    }
    for field in ["read_per_get_hit", "read_per_get_miss", "open_read", "model_ms_get", "error"] {
        assert!(row.get(field).is_some_and(serde_json::Value::is_null), "{field}");
    }
    assert_eq!((row["phase"].as_str(), row["pattern"].as_str()), (Some("overwrite"), Some("random")));
}

#[test]
fn what_can_not_be_is_refused_in_one_line() {
    let setting = small(&[]).settings[0];
    let with = |setting| Options { settings: vec![setting], ..small(&[ESKER_LSM]) };
    let refused = [
        (small(&["nobody"]), "nobody"),
        (with(Setting { pairs: 1, ..setting }), "--pairs"),
        (with(Setting { value_size: 0, ..setting }), "--value-size"),
        (with(Setting { capacity: 4096, ..setting }), "--capacity"),
        (with(Setting { capacity: (1 << 20) + 1, ..setting }), "--capacity"),
        (Options { lent: 10, ..small(&[ESKER_LSM]) }, "--lent"),
        (Options { log_percent: 0, ..small(&[ESKER_LSM]) }, "--log-percent"),
        (Options { reads: Some(0), ..small(&[ESKER_LSM]) }, "--reads"),
    ];
    for (options, expected) in refused {
        let line = run(&options).unwrap_err().to_string();
        assert!(line.contains(expected) && !line.contains('\n'), "{line}");
    }
}
