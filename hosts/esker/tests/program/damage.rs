//! What is damaged is mapped, left behind, and never changes by being looked at.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use serde_json::Value;

use super::{Place, Random, numbered, said, succeeded};

const LINES: usize = 3000;

/// A device with a log, closed in order, in small segments.
fn place() -> (Place, Vec<Vec<u8>>) {
    let place = Place::new();
    let text = numbered(LINES);
    place.write("in", &text);
    place.ok("wal create dev --size 1M --segment-size 16K");
    place.ok("wal append dev in --sync batch:50");
    (place, text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect())
}

fn overwrite(place: &Place, address: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(place.path("dev")).unwrap();
    file.write_all_at(bytes, address).unwrap();
}

/// Where a line stands on the device.
fn address(place: &Place, line: &[u8]) -> u64 {
    let line = line.strip_suffix(b"\n").unwrap();
    place.bytes("dev").windows(line.len()).position(|bytes| bytes == line).unwrap() as u64
}

/// Runs a command that finds damage; returns what it printed, as JSON.
#[track_caller]
fn finds(place: &Place, arguments: &str, words: &[&str]) -> Value {
    let before = place.bytes("dev");
    let output = place.run(arguments);
    said(arguments, &output, words);
    assert!(place.bytes("dev") == before, "{arguments} has changed the device");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn ranges(damaged: &Value) -> Vec<u64> {
    let range = |damage: &Value| damage["first"].as_u64().unwrap()..=damage["last"].as_u64().unwrap();
    damaged.as_array().unwrap().iter().flat_map(range).collect()
}

#[test]
fn what_is_whole_is_called_good() {
    let (place, _) = place();
    let found: Value = serde_json::from_slice(&place.ok("wal verify dev --json")).unwrap();
    assert_eq!((&found["good"], &found["logs"][0]["readable"]), (&true.into(), &LINES.into()));
    assert_eq!(
        place.ok("wal verify dev"),
        format!("log 0: {LINES} of {LINES} entries can be read\n").as_bytes()
    );
    place.refused("wal verify dev --log 3", &["there is no log 3"]);
}

#[test]
fn each_damaged_range_is_found_and_the_rest_is_saved() {
    let (place, lines) = place();
    // Long lines, so that what is written over lies inside one of them.
    for line in [5, 999, 1020] {
        overwrite(&place, address(&place, &lines[line]) + 6, b"!");
    }
    let found =
        finds(&place, "wal verify dev --json", &["dev: 3 entries in 3 places are damaged", "salvage"]);
    assert_eq!(ranges(&found["logs"][0]["damaged"]), [5, 999, 1020]);
    assert_eq!((&found["good"], &found["logs"][0]["readable"]), (&false.into(), &(LINES - 3).into()));
    let words = place.run("wal verify dev").stdout;
    assert!(String::from_utf8(words).unwrap().contains("log 0: entry 999 is damaged, see address "));
    said("cat", &place.run("wal cat dev"), &["entry 5 is damaged"]);

    let before = place.bytes("dev");
    let said = String::from_utf8(place.ok("wal salvage dev out")).unwrap();
    assert!(
        said.starts_with("log 0: copied 2997 entries, dropped 3\nlog 0: dropped entry 5, see address "),
        "{said}"
    );
    let kept: Vec<&[u8]> = lines
        .iter()
        .enumerate()
        .filter(|(n, _)| ![5, 999, 1020].contains(n))
        .map(|(_, line)| &line[..])
        .collect();
    assert!(place.ok("wal cat out") == kept.concat());
    place.ok("wal verify out");

    let said: Value =
        serde_json::from_slice(&place.ok("wal salvage dev same --keep-offsets --json")).unwrap();
    assert_eq!(ranges(&said["logs"][0]["dropped"]), [5, 999, 1020]);
    assert_eq!(place.ok("wal read same 1021"), lines[1021]);
    let gap: Value = serde_json::from_slice(&place.ok("wal read same 999 --json")).unwrap();
    assert_eq!((&gap["text"], &gap["user"]), (&"".into(), &u64::from_le_bytes(*b"lost\0\0\0\0").into()));
    assert!(place.bytes("dev") == before);

    place.refused("wal salvage dev dev", &["DEV itself"]);
    place.refused("wal salvage dev out", &["out: it holds an esker volume", "--force"]);
    place.refused("wal salvage dev tiny --size 64K", &["tiny: what can be read does not fit", "--size"]);
    assert!(!place.path("tiny").exists());
}

#[test]
fn wherever_the_damage_is_what_is_saved_is_what_verify_called_readable() {
    let (place, lines) = place();
    let good = place.bytes("dev");
    let info: Value = serde_json::from_slice(&place.ok("wal info dev --json")).unwrap();
    let pool = info["volume"]["pool_address"].as_u64().unwrap();
    let used = info["logs"][0]["segments"].as_u64().unwrap() * (16 << 10);
    let mut random = Random(11);
    let mut lost_most = 0;
    for round in 0..10 {
        place.write("dev", &good);
        for _ in 0..1 + random.below(4) {
            let len = [1, 30, 600, 20_000][random.below(4) as usize];
            overwrite(&place, pool + random.below(used), &vec![random.below(256) as u8; len]);
        }
        let output = place.run("wal verify dev --json");
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let log = &found["logs"][0];
        assert_eq!(output.status.success(), found["good"] == true, "round {round}");
        let lost = ranges(&log["damaged"]);
        assert_eq!(log["readable"], LINES - lost.len(), "round {round}");
        lost_most = lost_most.max(lost.len());
        let kept: Vec<&[u8]> = lines
            .iter()
            .enumerate()
            .filter(|(n, _)| !lost.contains(&(*n as u64)))
            .map(|(_, line)| &line[..])
            .collect();
        place.ok("wal salvage dev out --force");
        assert!(place.ok("wal cat out") == kept.concat(), "round {round}");
        for n in lost.iter().take(3) {
            said("read", &place.run(&format!("wal read dev {n}")), &[&format!("entry {n} is damaged")]);
        }
    }
    assert!(lost_most > 100);
}

#[test]
fn a_damaged_snapshot_is_named_and_not_half_saved() {
    let (place, lines) = place();
    place.write("state", vec![b's'; 50_000]);
    place.ok("wal snapshot put dev state --at 0");
    place.ok("wal salvage dev saved");
    assert!(place.ok("wal snapshot get saved") == place.bytes("state"));

    let at = place.bytes("dev").windows(100).position(|bytes| bytes == [b's'; 100]).unwrap();
    overwrite(&place, at as u64 + 500, b"!");
    let found = finds(&place, "wal verify dev --json", &["dev: the snapshot of log 0 is damaged"]);
    assert_eq!(found["logs"][0]["snapshot"]["damaged"][0]["chunk"], 0);
    assert_eq!(found["logs"][0]["readable"], LINES);
    said("get", &place.run("wal snapshot get dev"), &["dev: chunk 0 of", "damaged"]);
    let said = String::from_utf8(place.ok("wal salvage dev out")).unwrap();
    assert!(said.contains("log 0: dropped its snapshot, see address"), "{said}");
    place.refused("wal snapshot get out", &["no snapshot"]);
    assert!(place.ok("wal cat out") == lines.concat());
}

#[test]
fn salvage_keeps_ids_offsets_and_user_words() {
    let place = Place::new();
    place.ok("wal create dev --size 1M --segment-size 16K");
    place.write("in", numbered(2000));
    place.ok("wal append dev in");
    place.ok("wal release dev --before 1500");
    succeeded("append", &place.feed("wal append dev - --log 7", b"no newline"));
    let info = |device: &str| -> Value {
        serde_json::from_slice(&place.ok(&format!("wal info {device} --json"))).unwrap()
    };
    place.ok("wal salvage dev out --size 2M");
    let (old, new) = (info("dev"), info("out"));
    assert_eq!(new["volume"]["capacity"], 2 << 20);
    for log in [0, 1] {
        for name in ["id", "start", "end"] {
            assert_eq!(old["logs"][log][name], new["logs"][log][name]);
        }
    }
    assert!(place.ok("wal cat out") == place.ok("wal cat dev"));
    assert_eq!(place.ok("wal cat out --log 7"), b"no newline");
}
