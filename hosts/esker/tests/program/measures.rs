//! Measurements of stores: each in a process of its own.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::Place;

const TINY: &str = "--pairs 200 --bulk 100 --batch 20 --batches 2 --singles 3 --nosyncs 10 --reads 20 --scans 5 --reopens 1 \
                    --cache 4194304 --capacity 8388608 --rounds 1 --no-realtime";

#[test]
fn processes_of_their_own_answer_for_each_store_and_workload() {
    let place = Place::new();
    let report = place.ok(&format!("bench kv --directory . {TINY} --json"));
    let report: Value = serde_json::from_slice(&report).unwrap();
    let rows = report["rows"].as_array().unwrap();
    for workload in ["load-sorted", "load-batches", "load-random", "single", "batches", "nosync"] {
        let both = rows.iter().filter(|row| row["workload"] == workload);
        let stores: Vec<_> = both.map(|row| row["store"].as_str().unwrap()).collect();
        assert!(stores.starts_with(&["floor", "esker"]), "{workload}: {stores:?}");
    }
    for row in rows {
        // The process that asks has other things in memory than the one that answers; neither is nothing.
        assert!(
            row["peak_rss_bytes"].as_u64() > Some(1 << 20) && row["ops_per_s"].as_f64() > Some(0.0),
            "{row}"
        );
    }
    assert!(place.names().is_empty(), "what it made is gone again");
    let lsm = String::from_utf8(place.ok(&format!("bench kv --engine lsm --directory . {TINY}"))).unwrap();
    assert!(lsm.contains(" esker-lsm "), "{lsm}");
    let table =
        String::from_utf8(place.ok(&format!("bench kv --sim nor --workloads load-sorted {TINY}"))).unwrap();
    assert!(table.contains("load-sorted") && table.contains("erases"), "{table}");
}

#[test]
fn small_devices_are_measured_phase_by_phase() {
    let place = Place::new();
    let report = place.ok("bench kv --sim nor --stores esker-lsm --pairs 200 --pattern reverse --json");
    let report: Value = serde_json::from_slice(&report).unwrap();
    let rows = report["rows"].as_array().unwrap();
    let phases: Vec<_> = rows.iter().map(|row| row["phase"].as_str().unwrap()).collect();
    assert_eq!(phases, ["load", "overwrite", "get-hit", "get-miss", "open"]);
    assert!(rows.iter().all(|row| row["pattern"] == "reverse" && row["error"].is_null()));
}

#[test]
fn what_can_not_be_measured_is_told_in_one_line() {
    let place = Place::new();
    place.refused("bench kv --stores nobody", &["nobody", "esker"]);
    place.refused("bench kv --workloads nothing", &["nothing", "load-sorted"]);
    place.refused("bench kv --directory nowhere", &["nowhere: "]);
    // It fails in the process of the store, and is told by the one that asked.
    let little = "bench kv --directory . --cache 100000 --stores esker";
    place.refused(little, &["100000 bytes of memory are too little", "--cache"]);
    place.refused_fed("bench kv --worker", b"nonsense\n", &["--worker"]);
    place.refused("bench kv --worker", &["no orders"]);
    place.refused("bench kv --sim sd --lent 20000", &["--lent", "--sim nor"]);
    place.refused("bench kv --sim nor --cache 20000", &["--cache", "--workloads"]);
    assert_eq!(place.run("bench kv --sim floppy").status.code(), Some(2));
}

#[test]
fn an_interrupt_ends_all_of_them_and_leaves_no_files() {
    let place = Place::new();
    let mut child = place.command("bench kv --directory . --stores esker --no-realtime").spawn().unwrap();
    // The stores have files: a signal is for somebody from here on.
    while place.names().is_empty() {
        assert!(child.try_wait().unwrap().is_none());
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "esker: interrupted; nothing was measured\n");
    assert!(place.names().is_empty());
}
