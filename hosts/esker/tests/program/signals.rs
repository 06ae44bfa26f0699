//! Ctrl-C in the middle of an import.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use super::{Place, numbered};

#[test]
fn what_was_appended_before_it_is_there() {
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let place = Place::new();
        let text = numbered(1000);
        // With this strategy nothing but the end makes the last 100 lines durable.
        let import = "wal append --size 1M --acknowledge --sync batch:300 dev -";
        let mut child = place.command(import).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&text).unwrap();
        stdin.write_all(b"half a line").unwrap();
        let mut told = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        for durable in ["durable 300\n", "durable 600\n", "durable 900\n"] {
            line.clear();
            told.read_line(&mut line).unwrap();
            assert_eq!(line, durable);
        }
        // It has read the rest as well when it waits for more, or does so before it looks for the signal.
        std::thread::sleep(std::time::Duration::from_millis(300));
        kill_process(Pid::from_child(&child), signal).unwrap();
        line.clear();
        told.read_line(&mut line).unwrap();
        assert_eq!(line, "durable 1000\n");
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(status));
        assert_eq!(
            String::from_utf8(output.stderr).unwrap(),
            "esker: interrupted; the first 1000 lines were appended, as offsets 0 to 999; go on with `--skip 1000`\n"
        );
        drop(stdin);
        assert!(place.ok("wal cat dev") == text);
        let info: serde_json::Value = serde_json::from_slice(&place.ok("wal info dev --json")).unwrap();
        assert_eq!(info["logs"][0]["recovery"]["clean"], true);

        // And it does go on.
        place.write("in", [&text[..], b"half a line\nlast"].concat());
        place.ok("wal append --skip 1000 dev in");
        assert!(place.ok("wal cat dev") == place.bytes("in"));
    }
}

#[test]
fn before_the_first_line_there_is_nothing_to_keep() {
    let place = Place::new();
    let mut child = place.command("wal append --size 1M dev -").stdin(Stdio::piped()).spawn().unwrap();
    while !catches_interrupts(child.id()) {
        assert!(child.try_wait().unwrap().is_none());
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let _stdin = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "esker: interrupted; nothing was appended\n");
    assert!(place.ok("wal cat dev").is_empty());
}

/// Whether a process has a handler for SIGINT, signal 2, by now.
fn catches_interrupts(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() & 1 << (2 - 1) != 0
}

#[test]
fn a_half_saved_device_is_removed() {
    let place = Place::new();
    // Enough that saving it takes longer than a signal.
    place.write("in", numbered(60_000));
    place.ok("wal append dev in");
    let mut child = place.command("wal salvage dev out").spawn().unwrap();
    while !catches_interrupts(child.id()) {
        assert!(child.try_wait().unwrap().is_none());
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "esker: interrupted; OUT is not whole\n");
    assert!(!place.path("out").exists());
}
