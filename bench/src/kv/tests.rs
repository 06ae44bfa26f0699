//! Tiny runs: the shape of the report, the counts in it, and that whoever answers wrong is caught. No times.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::counters::Counters;
use super::instructions::Instructions;
use super::pairs::Pairs;
use super::report::Row;
use super::session::Session;
use super::store::{Commit, Engine, KvStore, ReadBody, Reader, WriteBody, Writer};
use super::workload::{Amounts, Workload};
use super::{ESKER, ESKER_LSM, FLOOR, Options, STORES, Simulated, run};
use crate::Failure;

const TINY: Amounts = Amounts {
    bulk: 100,
    batch: 20,
    batches: 5,
    singles: 7,
    nosyncs: 30,
    reads: 50,
    scans: 20,
    scan_length: 10,
    reopens: 3,
};

fn tiny() -> Options {
    Options {
        stores: STORES.iter().map(|(name, _)| (*name).into()).collect(),
        pairs: vec![300],
        cache: 4 << 20,
        amounts: TINY,
        rounds: 2,
        capacity: Some(8 << 20),
        ..Options::default()
    }
}

fn row<'a>(rows: &'a [Row], store: &str, workload: Workload) -> &'a Row {
    let mut found = rows.iter().filter(|row| (&*row.store, &*row.workload) == (store, workload.name()));
    let row = found.next().unwrap();
    assert!(found.next().is_none(), "twice");
    row
}

/// With `--features peers` these are all of them.
#[test]
fn every_store_does_every_workload() {
    let report = run(&tiny()).unwrap();
    let floors = Workload::ALL.iter().filter(|workload| workload.has_floor()).count();
    assert_eq!(report.rows.len(), STORES.len() * Workload::ALL.len() + floors);
    let operations = [
        (Workload::LoadSorted, 300),
        (Workload::LoadBatches, 300),
        (Workload::LoadRandom, 300),
        (Workload::Reopen, 3),
        (Workload::Get, 50),
        (Workload::Absent, 50),
        (Workload::Scan, 20),
        (Workload::Single, 7),
        (Workload::Batches, 100),
        (Workload::Nosync, 30),
        (Workload::Remove, 150),
        (Workload::Compact, 1),
    ];
    for (store, _) in STORES {
        for (workload, operations) in operations {
            let row = row(&report.rows, store, workload);
            assert_eq!(row.operations, operations, "{store} {}", row.workload);
            assert_eq!(row.rounds_ops_per_s.len(), 2);
            assert!(row.user_bytes > 0 && row.device_bytes.is_some());
            assert_eq!(row.ratio_to_floor.is_some(), workload.has_floor());
            let has_size = workload.has_floor() || workload >= Workload::Remove;
            assert_eq!(row.size_x_live.is_some_and(|size| size >= 1.0), has_size, "{store} {}", row.workload);
        }
        let loaded = row(&report.rows, store, Workload::LoadRandom);
        assert_eq!(loaded.user_bytes, 300 * 174);
        assert!(loaded.device_bytes.unwrap() >= loaded.user_bytes, "{store}: all of it has to go somewhere");
    }
    let text = report.to_string();
    assert!(STORES.iter().all(|(store, _)| text.contains(store)) && text.contains("load-sorted"));
}

#[test]
fn the_floor_writes_and_syncs_once_for_each_transaction() {
    let report = run(&Options { stores: vec![], ..tiny() }).unwrap();
    // The last flush of each is that of its close.
    for (workload, bytes, flushes) in [
        (Workload::LoadSorted, 300 * 174, 3 + 1),
        (Workload::LoadBatches, 300 * 174, 15 + 1),
        (Workload::Single, 7 * 174, 7 + 1),
        (Workload::Batches, 100 * 174, 5 + 1),
        (Workload::Nosync, 30 * 174, 1),
    ] {
        let row = row(&report.rows, FLOOR, workload);
        let counts = (row.device_bytes, row.device_flushes, row.ratio_to_floor);
        assert_eq!(counts, (Some(bytes), Some(flushes), Some(1.0)), "{}", row.workload);
    }
}

#[test]
fn what_esker_costs_on_a_simulated_device_is_the_same_each_time() {
    for device in [Simulated::Nor, Simulated::Sd, Simulated::Nvme] {
        let options = Options { pairs: vec![200], amounts: Amounts { batch: 5, ..TINY }, ..device.options() };
        let stores = vec![ESKER.into(), ESKER_LSM.into()];
        let options = Options {
            stores,
            cache: options.cache.clamp(64 << 10, 1 << 20),
            capacity: Some(4 << 20),
            ..options
        };
        let exact = |row: &Row| {
            let counts = (row.device_bytes, row.device_flushes, row.device_read_bytes, row.device_erases);
            (row.workload.clone(), row.ops_per_s.to_bits(), row.p50_us.map(f64::to_bits), counts)
        };
        let (first, second) = (run(&options).unwrap(), run(&options).unwrap());
        assert_eq!(first.rows.len(), 2 * Workload::ALL.len());
        for (first, second) in first.rows.iter().zip(&second.rows) {
            assert_eq!(exact(first), exact(second), "{device:?}");
        }
        for store in [ESKER, ESKER_LSM] {
            let single = row(&first.rows, store, Workload::Single);
            assert!(single.device_bytes >= Some(single.user_bytes) && single.peak_rss_bytes.is_none());
        }
    }
}

#[test]
fn the_rows_in_json_have_the_fields_that_scripts_read() {
    let options = Options { workloads: vec!["single".into()], ..tiny() };
    let json = serde_json::to_value(run(&options).unwrap()).unwrap();
    let rows = json["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 1 + STORES.len());
    for row in rows {
        for field in ["store", "workload", "counted_by"] {
            assert!(row[field].is_string(), "{field}");
        }
        for field in ["pairs", "operations", "user_bytes", "device_bytes", "peak_rss_bytes"] {
            assert!(row[field].is_u64(), "{field}");
        }
        for field in ["ops_per_s", "ratio_to_floor", "cpu_us_per_op", "p50_us", "p99_us"] {
            assert!(row[field].is_f64(), "{field}");
        }
        for field in ["instructions_per_op", "device_flushes", "size_x_live"] {
            assert!(row[field].is_null() || row[field].is_number(), "{field}");
        }
    }
}

#[test]
fn what_can_not_be_is_refused_in_one_line() {
    let refused = [
        (Options { stores: vec!["nobody".into()], ..tiny() }, "nobody"),
        (Options { stores: vec!["nobody".into()], ..Simulated::Nor.options() }, "nobody"),
        (Options { workloads: vec!["dance".into()], ..tiny() }, "dance"),
        (Options { rounds: 0, ..tiny() }, "--rounds"),
        (Options { pairs: vec![10, 1], ..tiny() }, "--pairs"),
        (Options { pairs: vec![], ..tiny() }, "--pairs"),
        (Options { key_size: 7, ..tiny() }, "--key-size"),
        (Options { value_size: 0, ..tiny() }, "--value-size"),
        (Options { cache: 100, ..tiny() }, "--cache"),
        (Options { cache: 8 << 10, stores: vec![ESKER.into()], ..tiny() }, "--cache"),
        (Options { cache: 8 << 10, stores: vec![ESKER_LSM.into()], ..tiny() }, "--cache"),
        (Options { amounts: Amounts { batch: 0, ..TINY }, ..tiny() }, "--batch"),
        (Options { directory: Some("/no/such/folder".into()), ..tiny() }, "/no/such/folder"),
    ];
    for (options, expected) in refused {
        let line = run(&options).unwrap_err().to_string();
        assert!(line.contains(expected) && !line.contains('\n'), "{line}");
    }
}

#[test]
fn a_signal_ends_it_and_leaves_no_files() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { directory: Some(directory.path().into()), ..tiny() };
    options.signal.store(2, std::sync::atomic::Ordering::Relaxed);
    let failure = run(&options).unwrap_err();
    assert_eq!(failure.signal(), Some(2));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

/// What a store may do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    Nothing,
    AnotherValue,
    AShorterValue,
    ForgetsAPut,
    KeepsTheFirstValue,
    KeepsWhatIsRemoved,
    FindsWhatIsNot,
    SkipsInAScan,
    AnotherValueInAScan,
    EndsAScanTooSoon,
    LosesUnsyncedAtClose,
    LosesAPairWhenCompacted,
}

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// A map in memory, that may lie. How often it was asked decides when.
#[derive(Clone)]
struct Liar {
    lie: Lie,
    map: Rc<RefCell<Map>>,
    durable: Rc<RefCell<Map>>,
    asked: u32,
}

impl Liar {
    fn lies(&mut self, lie: Lie) -> bool {
        self.asked += u32::from(self.lie == lie);
        self.lie == lie && self.asked == 3
    }
}

impl Engine for Liar {
    fn create(&mut self) -> Result<Box<dyn KvStore>, Failure> {
        self.map.borrow_mut().clear();
        self.open()
    }

    fn open(&mut self) -> Result<Box<dyn KvStore>, Failure> {
        Ok(Box::new(self.clone()))
    }

    fn size(&mut self) -> Result<u64, Failure> {
        Ok(self.map.borrow().iter().map(|(key, value)| (key.len() + value.len()) as u64).sum())
    }

    fn compact(&mut self) -> Result<(), Failure> {
        if self.lie == Lie::LosesAPairWhenCompacted {
            self.map.borrow_mut().pop_last();
        }
        Ok(())
    }
}

impl KvStore for Liar {
    fn write(&mut self, commit: Commit, body: &mut WriteBody<'_>) -> Result<(), Failure> {
        body(self)?;
        if commit != Commit::NoSync {
            self.durable.borrow_mut().clone_from(&self.map.borrow());
        }
        Ok(())
    }

    fn read(&mut self, body: &mut ReadBody<'_>) -> Result<(), Failure> {
        body(self)
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        if self.lie == Lie::LosesUnsyncedAtClose {
            self.map.borrow_mut().clone_from(&self.durable.borrow());
        }
        Ok(())
    }
}

impl Writer for Liar {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        let known = self.map.borrow().contains_key(key);
        let forgotten = self.lies(Lie::ForgetsAPut) || known && self.lies(Lie::KeepsTheFirstValue);
        if !forgotten {
            self.map.borrow_mut().insert(key.to_vec(), value.to_vec());
        }
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), Failure> {
        if !self.lies(Lie::KeepsWhatIsRemoved) {
            self.map.borrow_mut().remove(key);
        }
        Ok(())
    }
}

impl Reader for Liar {
    fn get(&mut self, key: &[u8], show: &mut dyn FnMut(&[u8])) -> Result<bool, Failure> {
        let mut found = self.map.borrow().get(key).cloned();
        if found.is_none() && self.lies(Lie::FindsWhatIsNot) {
            found = Some(vec![0; 20]);
        }
        let Some(mut value) = found else { return Ok(false) };
        if self.lies(Lie::AnotherValue) {
            value[10] ^= 1;
        }
        if self.lies(Lie::AShorterValue) {
            value.pop();
        }
        show(&value);
        Ok(true)
    }

    fn scan(&mut self, from: &[u8], show: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), Failure> {
        let map = Rc::clone(&self.map);
        // Whoever reads everything begins at the least key there can be; that would notice these as well.
        let all = from == [0];
        for (key, value) in map.borrow().range(from.to_vec()..) {
            let mut value = value.clone();
            if !all && self.lies(Lie::AnotherValueInAScan) {
                value[19] ^= 0x80;
            }
            if !all && self.lies(Lie::EndsAScanTooSoon) {
                break;
            }
            let skipped = !all && self.lies(Lie::SkipsInAScan);
            if !skipped && !show(key, &value) {
                break;
            }
        }
        Ok(())
    }
}

/// Everything in order, like a round.
fn all_of_it(lie: Lie) -> Result<(), Failure> {
    let engine = Liar { lie, map: Rc::default(), durable: Rc::default(), asked: 0 };
    let mut session = Session::new(
        Box::new(engine),
        Pairs::new(300, 16, 20),
        TINY,
        Counters::new(None),
        Instructions::Unknown,
    );
    Workload::ALL.into_iter().try_for_each(|workload| session.run(workload).map(drop))
}

#[test]
fn a_store_that_answers_wrong_is_caught() {
    all_of_it(Lie::Nothing).unwrap();
    let lies = [
        Lie::AnotherValue,
        Lie::AShorterValue,
        Lie::ForgetsAPut,
        Lie::KeepsTheFirstValue,
        Lie::KeepsWhatIsRemoved,
        Lie::FindsWhatIsNot,
        Lie::SkipsInAScan,
        Lie::AnotherValueInAScan,
        Lie::EndsAScanTooSoon,
        Lie::LosesUnsyncedAtClose,
        Lie::LosesAPairWhenCompacted,
    ];
    for lie in lies {
        let caught = all_of_it(lie);
        assert!(caught.is_err(), "{lie:?} was not noticed");
    }
}

/// Also where no load was asked for, and where `get` alone would not be enough to see it.
#[test]
fn a_workload_alone_loads_what_it_needs() {
    for workload in Workload::ALL {
        let engine = Liar { lie: Lie::Nothing, map: Rc::default(), durable: Rc::default(), asked: 0 };
        let mut session = Session::new(
            Box::new(engine),
            Pairs::new(300, 16, 20),
            TINY,
            Counters::new(None),
            Instructions::Unknown,
        );
        let measured = session.run(workload).unwrap();
        assert!(measured.operations > 0, "{}", workload.name());
    }
}
