//! A tiny run: the shape of the report and the counts in it. No times.

use std::time::Duration;

use super::{Options, Row, run};

const ENTRIES: u64 = 20;
const ROUNDS: usize = 2;

fn tiny() -> Options {
    Options {
        contestants: vec!["esker".into()],
        threads: vec![1, 4],
        entry_bytes: vec![100, 1024],
        rounds: ROUNDS,
        phase: Duration::from_secs(60),
        entries: Some(ENTRIES),
        capacity: 64 << 20,
        ..Options::default()
    }
}

fn row<'a>(rows: &'a [Row], contestant: &str, strategy: &str, threads: usize, len: usize) -> &'a Row {
    let mut found = rows.iter().filter(|row| {
        (&*row.contestant, &*row.strategy, row.threads, row.entry_bytes)
            == (contestant, strategy, threads, len)
    });
    let row = found.next().unwrap();
    assert!(found.next().is_none(), "twice");
    row
}

#[test]
fn a_tiny_run_counts_what_reached_the_device() {
    let report = run(&tiny()).unwrap();
    // The floor by size, the bare loop; and esker: always with one and four threads, batch, none.
    assert_eq!(report.rows.len(), 2 + 1 + 4 + 2 + 2);
    let rows = &report.rows;
    for (len, bytes) in [(100, 512.0), (1024, 1536.0)] {
        let floor = row(rows, "floor", "always", 1, len);
        assert_eq!((floor.device_writes, floor.device_syncs), (Some(1.0), Some(1.0)));
        assert_eq!((floor.device_bytes, floor.ratio_to_floor), (Some(len as f64), Some(1.0)));
        let alone = row(rows, "esker", "always", 1, len);
        assert_eq!(alone.entries, ENTRIES * ROUNDS as u64);
        assert_eq!(alone.device_syncs, Some(1.0), "one sync per entry, exactly");
        assert_eq!((alone.device_writes, alone.device_bytes), (Some(1.0), Some(bytes)));
        let together = row(rows, "esker", "always", 4, len);
        assert_eq!(together.entries, 4 * ENTRIES * ROUNDS as u64);
        assert!(together.device_syncs.unwrap() <= 1.0 && together.device_syncs.unwrap() >= 0.25);
        let none = row(rows, "esker", "none", 1, len);
        assert_eq!((none.device_syncs, none.loss_window.as_str()), (Some(0.0), "all since the last sync"));
        assert!(none.ratio_to_bare.is_some() && alone.ratio_to_bare.is_none());
    }
    let bare = row(rows, "bare-1m", "none", 1, 1 << 20);
    assert_eq!((bare.device_bytes, bare.device_syncs), (Some(1_048_576.0), Some(0.0)));
}

#[test]
fn the_rows_in_json_have_the_fields_that_scripts_read() {
    let options =
        Options { strategies: vec!["always".into()], threads: vec![1], entry_bytes: vec![100], ..tiny() };
    let json = serde_json::to_value(run(&options).unwrap()).unwrap();
    let rows = json["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    for row in rows {
        for field in ["contestant", "strategy", "loss_window"] {
            assert!(row[field].is_string(), "{field}");
        }
        for field in ["threads", "entry_bytes", "entries"] {
            assert!(row[field].is_u64(), "{field}");
        }
        let numbers = [
            "ops_per_s",
            "ratio_to_floor",
            "ratio_low",
            "ratio_high",
            "cpu_us_per_op",
            "p50_us",
            "p99_us",
            "p999_us",
            "device_writes",
            "device_syncs",
            "device_bytes",
        ];
        for field in numbers {
            assert!(row[field].is_f64(), "{field}");
        }
        let (low, ratio, high) = (&row["ratio_low"], &row["ratio_to_floor"], &row["ratio_high"]);
        assert!(low.as_f64() <= ratio.as_f64() && ratio.as_f64() <= high.as_f64());
        assert_eq!(row["rounds_ops_per_s"].as_array().unwrap().len(), ROUNDS);
    }
}

#[test]
fn what_can_not_be_is_refused_in_one_line() {
    let refused = [
        (Options { contestants: vec!["nobody".into()], ..tiny() }, "nobody"),
        (Options { strategies: vec!["often".into()], ..tiny() }, "often"),
        (Options { rounds: 0, ..tiny() }, "--rounds"),
        (Options { threads: vec![1, 0], ..tiny() }, "--threads"),
        (Options { entry_bytes: vec![], ..tiny() }, "--sizes"),
        (Options { capacity: 1 << 20, ..tiny() }, "--capacity"),
        (Options { write_unit: 1000, ..tiny() }, "--write-unit"),
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
    assert_eq!(
        (failure.signal(), failure.to_string().as_str()),
        (Some(2), "interrupted; nothing was measured")
    );
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}
