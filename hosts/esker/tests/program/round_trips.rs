//! What goes in comes out.

use std::fs::File;
use std::io::{Read, Write};
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use super::{Place, numbered, succeeded};

#[track_caller]
fn comes_back(content: &[u8]) {
    let place = Place::new();
    place.write("in", content);
    place.ok("wal append dev in");
    assert!(place.ok("wal cat dev") == content, "from a file");
    succeeded("append -", &place.feed("wal append stream - --size 16M", content));
    assert!(place.ok("wal cat stream") == content, "from a stream");
}

#[test]
fn thousands_of_lines() {
    comes_back(&numbered(20_000));
}

#[test]
fn empty_lines() {
    comes_back(b"\n\n\na\n\n");
    comes_back(b"\n");
    comes_back(&[b'\n'; 50_000]);
}

#[test]
fn no_newline_at_the_end() {
    comes_back(b"a\nb");
    comes_back(b"a");
    comes_back(b"\n\nb");
}

#[test]
fn binary_bytes() {
    let all: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    comes_back(&all);
    comes_back(b"\r\n\0\n\xFF\xFE\n");
    comes_back(&[0; 10_000]);
}

#[test]
fn an_empty_file() {
    comes_back(b"");
}

#[test]
fn long_lines() {
    let mut text = vec![b'a'; 200_000];
    text.push(b'\n');
    text.extend(vec![b'b'; 65_536]);
    text.extend(b"\n\n");
    text.extend(vec![b'c'; 100_001]);
    comes_back(&text);

    let place = Place::new();
    let text = [vec![b'x'; 10 << 20], vec![b'\n'], vec![b'y'; 10 << 20]].concat();
    place.write("in", &text);
    place.ok("wal append dev in");
    assert!(place.ok("wal cat dev") == text);
}

#[test]
fn any_geometry() {
    let text = numbered(3000);
    for options in [
        "--write-unit 4096",
        "--write-unit 64K --size 16M",
        "--write-unit 1",
        "--write-unit 4 --erase-unit 4K",
        "--write-unit 256 --erase-unit 64K",
        "--size 1M --segment-size 4K",
        "--size 1000001",
        "--segment-size 1M",
    ] {
        let place = Place::new();
        place.write("in", &text);
        place.ok(&format!("wal append dev in {options}"));
        assert!(place.ok("wal cat dev") == text, "{options}");
        place.ok(&format!("wal append dev in {options}"));
        assert!(place.ok("wal cat dev") == [&text[..], &text].concat(), "{options}");
        assert!(place.ok("wal cat dev --from 3000") == text, "{options}");
    }
}

#[test]
fn appending_goes_on_where_it_ended() {
    let place = Place::new();
    let mut all: Vec<u8> = Vec::new();
    let mut size = None;
    for part in [&b"a\nb\n"[..], b"c", b"\n", b"", b"d\n", &numbered(5000)] {
        place.write("in", part);
        let said = String::from_utf8(place.ok("wal append dev in")).unwrap();
        assert!(said.starts_with("appended") && said.lines().count() == 1, "{said}");
        all.extend(part);
        assert!(place.ok("wal cat dev") == all);
        let len = place.bytes("dev").len();
        assert_eq!(*size.get_or_insert(len), len, "the device keeps its size");
    }
}

#[test]
fn the_summary_counts() {
    let place = Place::new();
    place.write("in", "one\ntwo");
    assert_eq!(place.ok("wal append dev in"), b"appended 2 lines (7 bytes) to log 0: offsets 0 to 1\n");
    place.write("in", "x\n");
    assert_eq!(place.ok("wal append dev in"), b"appended 1 line (2 bytes) to log 0: offset 2\n");
    place.write("in", "");
    assert_eq!(place.ok("wal append dev in"), b"appended no lines to log 0; its next offset is 3\n");
}

#[test]
fn logs_of_one_volume_keep_apart() {
    let place = Place::new();
    for log in [0, 7, 32_767] {
        place.write("in", format!("log {log}\n"));
        place.ok(&format!("wal append dev in --log {log}"));
    }
    place.ok("wal append dev in --log 7");
    assert_eq!(place.ok("wal cat dev"), b"log 0\n");
    assert_eq!(place.ok("wal cat dev --log 7"), b"log 7\nlog 32767\n");
    assert_eq!(place.ok("wal cat --log 32767 dev"), b"log 32767\n");
    let info = String::from_utf8(place.ok("wal info dev")).unwrap();
    assert!(info.contains("log 0\n") && info.contains("log 7\n"), "{info}");
    let info = String::from_utf8(place.ok("wal info dev --log 7")).unwrap();
    assert!(!info.contains("log 0\n") && info.contains("0 to 1, 2 entries"), "{info}");
}

#[test]
fn a_part_of_a_log() {
    let place = Place::new();
    let text = numbered(10_000);
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    place.write("in", &text);
    place.ok("wal append dev in");
    for (from, limit) in [(0, 1), (0, 0), (1, 3), (5000, 10), (9999, 1), (9998, 100), (10_000, 5)] {
        let part = place.ok(&format!("wal cat dev --from {from} --limit {limit}"));
        assert_eq!(part, lines[from..(from + limit).min(10_000)].concat(), "{limit} from {from}");
    }
    assert_eq!(place.ok("wal cat dev --from 9990"), lines[9990..].concat());
    assert_eq!(place.ok("wal cat dev --limit 2"), lines[..2].concat());
}

#[test]
fn reading_changes_nothing_and_is_shared() {
    let place = Place::new();
    place.write("in", numbered(1000));
    place.ok("wal append dev in");
    let before = place.bytes("dev");
    let device = File::open(place.path("dev")).unwrap();
    let modified = || device.metadata().unwrap().modified().unwrap();
    let at = modified();
    device.lock_shared().unwrap();
    place.ok("wal cat dev");
    place.ok("wal info dev");
    place.ok("wal info --json dev");
    assert!(place.bytes("dev") == before && modified() == at);
}

#[test]
fn info_is_json_on_demand() {
    let place = Place::new();
    place.write("in", "a\nb\nc\n");
    place.ok("wal append dev in --log 3");
    let info: serde_json::Value = serde_json::from_slice(&place.ok("wal info dev --json")).unwrap();
    assert_eq!(info["volume"]["capacity"], 8 << 20);
    assert_eq!(info["volume"]["write_unit"], 512);
    let logs = info["logs"].as_array().unwrap();
    assert_eq!(logs.len(), 1);
    assert_eq!((&logs[0]["id"], &logs[0]["start"], &logs[0]["end"]), (&3.into(), &0.into(), &3.into()));
    assert_eq!(logs[0]["recovery"]["clean"], true);
    assert_eq!(logs[0]["recovery"]["damaged"], 0);
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let place = Place::new();
    place.write("in", numbered(50_000));
    place.ok("wal append dev in");
    let mut child = place.command("wal cat dev").spawn().unwrap();
    let mut pipe = child.stdout.take().unwrap();
    pipe.read_exact(&mut [0; 10]).unwrap();
    drop(pipe);
    succeeded("wal cat dev", &child.wait_with_output().unwrap());
}

#[test]
fn what_a_slow_stream_brought_survives_a_kill() {
    let place = Place::new();
    place.write("in", "first\n");
    place.ok("wal append dev in");
    let mut child = place.command("wal append dev -").stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"second\nthird\nhalf").unwrap();
    // The loss window is 10 ms; the rest is for a busy machine.
    sleep(Duration::from_millis(1500));
    child.kill().unwrap();
    child.wait().unwrap();

    assert_eq!(place.ok("wal cat dev"), b"first\nsecond\nthird\n");
    let info: serde_json::Value = serde_json::from_slice(&place.ok("wal info dev --json")).unwrap();
    assert_eq!(info["logs"][0]["recovery"]["clean"], false);
    place.ok("wal append dev in");
    assert_eq!(place.ok("wal cat dev"), b"first\nsecond\nthird\nfirst\n");
}
