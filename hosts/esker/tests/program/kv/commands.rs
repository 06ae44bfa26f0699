//! What each command does when nothing is wrong.

use serde_json::Value;

use super::super::{Place, succeeded};
use super::{ENGINES, csv, half_loaded, pairs, place, places};

#[track_caller]
fn json(place: &Place, arguments: &str) -> Value {
    serde_json::from_slice(&place.ok(arguments)).unwrap()
}

#[track_caller]
fn text(place: &Place, arguments: &str) -> String {
    String::from_utf8(place.ok(arguments)).unwrap()
}

#[test]
fn create_lays_out_as_it_is_told() {
    let place = Place::new();
    let said = json(&place, "kv create dev --engine btree --size 4M --block-size 1K --log-size 512K --json");
    assert_eq!((&said["block_size"], &said["capacity"]), (&1024.into(), &(4 << 20).into()));
    let info = json(&place, "kv info dev --json");
    assert_eq!(info["volume"]["volume_id"], said["volume_id"]);
    assert_eq!((&info["pairs"], &info["blocks"]["count"]), (&0.into(), &said["blocks"]));
    assert_eq!(info["max_key"], said["max_key"]);
    let log = info["volume"]["segments"].as_u64().unwrap() * info["volume"]["segment_size"].as_u64().unwrap();
    assert_eq!(log, 512 << 10);
    place.ok("kv verify dev");
    assert!(text(&place, "kv create other").starts_with("created a B-tree of "));
    assert_eq!(place.bytes("other").len(), 256 << 20);
}

#[test]
fn put_get_del() {
    let place = place();
    assert_eq!(text(&place, "kv put dev a 1"), "stored a new pair\n");
    assert_eq!(text(&place, "kv put dev a -2"), "replaced the value\n");
    assert_eq!(text(&place, "kv get dev a"), "-2\n");
    assert_eq!(place.ok("kv get dev a --raw"), b"-2");
    let got = json(&place, "kv get dev a --json");
    assert_eq!((&got["key"], &got["value"], &got["depth"]), (&"a".into(), &"-2".into(), &1.into()));
    assert_eq!(got["reads"], 1, "one page from a cold pool");
    assert_eq!(text(&place, "kv del dev a"), "deleted\n");
    assert_eq!(text(&place, "kv del dev a"), "there was no such key\n");
    assert_eq!(json(&place, "kv del dev a --json")["found"], false);
    let output = place.run("kv get dev a");
    assert_eq!((output.status.code(), &output.stderr[..]), (Some(3), &b"esker: dev: no such key\n"[..]));
    let output = place.run("kv get dev a --json");
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(3), &b"{\"found\":false}\n"[..]));
}

#[test]
fn what_an_lsm_tree_does_is_told_in_its_words() {
    let place = Place::new();
    let said = text(&place, "kv create dev --engine lsm --size 4M");
    assert!(said.starts_with("created an LSM tree of ") && said.contains(" blocks of 32768 bytes"), "{said}");
    assert_eq!(text(&place, "kv put dev a 1"), "stored\n");
    assert_eq!(json(&place, "kv get dev a --json")["run"], 0, "it is in the log");
    place.ok("kv checkpoint dev");
    assert_eq!(json(&place, "kv put dev a 2 --json")["found"], Value::Null, "it has not looked");
    place.ok("kv checkpoint dev");
    let got = json(&place, "kv get dev a --json");
    assert_eq!((&got["value"], &got["run"], got["depth"].is_null()), (&"2".into(), &1.into(), true));
    let info = json(&place, "kv info dev --json");
    assert_eq!((&info["engine"], &info["pairs"]), (&"lsm".into(), &2.into()));
    assert_eq!((&info["tree"]["runs"], &info["tree"]["tables"]), (&2.into(), &2.into()));
    let table = text(&place, "kv info dev");
    let words = ["LSM tree", "at most 2\n", "2, of 32768 bytes"];
    assert!(words.iter().all(|word| table.contains(word)) && !table.contains("branching"), "{table}");
    assert!(text(&place, "kv verify dev").starts_with("at most 2 pairs on 4 pages can be read"));
    assert_eq!(text(&place, "kv del dev a"), "deleted\n");
    assert_eq!(text(&place, "kv del dev a"), "there was no such key\n");
    assert_eq!(place.run("kv get dev a").status.code(), Some(3));
    let put = text(&place, "kv put dev b 1 --explain");
    assert!(put.starts_with("stored: 2 runs; read 0 pages"), "{put}");
    place.ok("kv checkpoint dev");
    let output = place.run("kv get dev b --explain");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.starts_with("run 1; read ") && told.ends_with(" pages for 1 byte\n"), "{told}");
}

#[test]
fn values_may_come_from_files_and_be_anything() {
    let place = place();
    let value: Vec<u8> = (0..60_000_u64).map(|n| ((n * n) >> 7) as u8).collect();
    place.write("value", &value);
    place.ok("kv put dev file --value-file value");
    assert!(place.ok("kv get dev file --raw") == value);
    succeeded("put -", &place.feed("kv put dev stdin -", b"\xFF\n"));
    assert_eq!(place.ok("kv get dev stdin --raw"), b"\xFF\n");
    assert_eq!(place.ok("kv get dev --encoding hex 737464696e"), b"ff0a\n");
    place.ok("kv put dev --encoding hex 00ff cafe");
    assert_eq!(place.ok("kv get dev --encoding base64 AP8="), b"yv4=\n");
    place.ok("kv put dev empty --value-file /dev/null");
    assert_eq!(place.ok("kv get dev empty"), b"\n");
    let info = json(&place, "kv info dev --json");
    assert!(info["tree"]["overflow_pages"].as_u64().unwrap() >= 60_000 / 4096);
}

#[test]
fn what_the_tree_did_is_told() {
    let place = Place::new();
    place.ok("kv create dev --engine btree --size 2M --block-size 512");
    let (mut splits, mut grown) = (0, 0);
    for n in 0..40 {
        let effect = json(&place, &format!("kv put dev key{n:03} {} --json", "v".repeat(60)));
        splits += effect["splits"].as_u64().unwrap();
        grown += u64::from(effect["grown"] == true);
        assert_eq!(
            effect["promoted"].as_array().map(Vec::len),
            effect["splits"].as_u64().map(|n| n as usize)
        );
    }
    let tree = json(&place, "kv info dev --json")["tree"].clone();
    assert!(splits > 3 && grown >= 1, "{splits} {grown}");
    assert_eq!(tree["depth"], grown + 1, "each new root is one level");
    assert_eq!(tree["pages"].as_u64().unwrap(), splits + grown + 1);
    // A page is split for the next one at the right edge, where there is no room.
    let words = (40..60).map(|n| text(&place, &format!("kv put dev key{n:03} {} --explain", "v".repeat(60))));
    let words: Vec<String> = words.collect();
    assert!(words.iter().any(|words| words.contains("split 1 page and promoted 1 key (")), "{words:?}");
    let (mut merged, mut collapsed) = (0, 0);
    for n in 0..60 {
        let effect = json(&place, &format!("kv del dev key{n:03} --json"));
        assert_eq!(effect["found"], true);
        merged += effect["merged"].as_u64().unwrap();
        collapsed += u64::from(effect["collapsed"] == true);
    }
    assert!(merged > 3 && collapsed >= 1);
    place.ok("kv put dev a 1");
    let output = place.run("kv get dev a --explain");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "depth 1; read 1 page for 1 byte\n");
}

#[test]
fn scan_goes_through_a_range_in_both_directions() {
    for place in places() {
        let (text_csv, held) = pairs(2000, 3);
        place.write("in.csv", text_csv);
        place.ok("kv load dev in.csv");
        let keys: Vec<&String> = held.keys().collect();
        let scan = |arguments: &str| {
            let said = text(&place, &format!("kv scan dev --keys {arguments}"));
            said.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        assert!(scan("").iter().eq(keys.iter().copied()));
        assert!(scan("--reverse").iter().eq(keys.iter().rev().copied()));
        // Names in the tests have no spaces, so in hex.
        let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        let expected = |from: &str, to: &str| {
            keys.iter().filter(|key| (from..to).contains(&&key[..])).map(|key| hex(key)).collect::<Vec<_>>()
        };
        let (from, to) = (hex("key 001"), hex("key 0025"));
        let between = scan(&format!("--encoding hex --from {from} --to {to}"));
        assert!(between == expected("key 001", "key 0025") && between.len() > 100);
        // FROM itself is in it, TO is not.
        let exact = format!("--encoding hex --from {} --to {}", hex(keys[100]), hex(keys[103]));
        let mut three: Vec<String> = keys[100..103].iter().map(|key| hex(key)).collect();
        assert_eq!(scan(&exact), three);
        three.reverse();
        assert_eq!(scan(&format!("{exact} --reverse")), three);
        let prefix = hex("key 0031");
        let mut with_prefix = expected("key 0031", "key 0032");
        assert!(scan(&format!("--encoding hex --prefix {prefix}")) == with_prefix && with_prefix.len() > 10);
        with_prefix.reverse();
        let backwards = scan(&format!("--encoding hex --prefix {prefix} --reverse"));
        assert!(backwards == with_prefix);
        assert!(scan(&format!("--encoding hex --prefix {prefix} --reverse --limit 3")) == with_prefix[..3]);
        assert!(scan("--limit 0").is_empty() && scan("--from zzz").is_empty() && scan("--to a").is_empty());
        let first = keys[0];
        assert_eq!(text(&place, "kv scan dev --limit 1"), format!("{first}\t{}\n", held[first]));
        let line: Value = serde_json::from_str(&text(&place, "kv scan dev --limit 1 --json")).unwrap();
        assert_eq!(
            (line["key"].as_str(), line["value"].as_str()),
            (Some(&first[..]), Some(&held[first][..]))
        );
    }
}

#[test]
fn a_reader_goes_away() {
    for place in places() {
        let (text, _) = pairs(5000, 4);
        place.write("in.csv", text);
        place.ok("kv load dev in.csv");
        let mut child = place.command("kv dump dev").spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty());
    }
}

#[test]
fn checkpoint_leaves_nothing_to_replay() {
    for place in places() {
        let (text, held) = pairs(500, 5);
        // A load that is killed leaves its log as it is.
        let load = "kv load dev - --format csv --acknowledge --sync batch:500";
        let mut child = half_loaded(&place, load, text.as_bytes(), 500);
        child.kill().unwrap();
        child.wait().unwrap();
        let before = place.bytes("dev");
        let info = json(&place, "kv info dev --json");
        assert_eq!((&info["log"]["clean"], &info["log"]["end"]), (&false.into(), &500.into()));
        assert_eq!((&info["checkpoint"], &info["pairs"]), (&0.into(), &held.len().into()));
        assert!(place.ok("kv dump dev") == csv(&held).as_bytes());
        place.ok("kv verify dev");
        assert!(place.bytes("dev") == before, "readers change nothing");
        assert_eq!(json(&place, "kv checkpoint dev --json")["entries"], 500);
        let info = json(&place, "kv info dev --json");
        assert_eq!((&info["log"]["clean"], &info["checkpoint"]), (&true.into(), &500.into()));
        assert!(place.ok("kv dump dev") == csv(&held).as_bytes());
    }
}

#[test]
fn compact_drops_what_was_replaced() {
    for place in places() {
        let (input, held) = pairs(3000, 5);
        for _ in 0..3 {
            let load = "kv load dev - --format csv --cache 512K";
            succeeded(load, &place.feed(load, input.as_bytes()));
        }
        let before = json(&place, "kv info dev --json");
        let said = json(&place, "kv compact dev --json");
        let after = json(&place, "kv info dev --json");
        place.ok("kv verify dev");
        assert!(place.ok("kv dump dev") == csv(&held).as_bytes());
        assert_eq!((&after["engine"], &after["pairs"]), (&said["engine"], &held.len().into()));
        if said["engine"] == "btree" {
            assert_eq!(text_of(&place), "a B-tree has nothing to compact\n");
            continue;
        }
        let levels = after["tree"]["levels"].as_array().unwrap();
        assert_eq!(levels.iter().map(|level| level["runs"].as_u64().unwrap()).sum::<u64>(), 1);
        let dropped = said["pairs_dropped"].as_u64().unwrap();
        assert_eq!(before["pairs"].as_u64().unwrap() - dropped, held.len() as u64);
        assert!(said["bytes_after"].as_u64() < said["bytes_before"].as_u64());
        assert_eq!(text_of(&place), "there was nothing to merge\n");
        assert!(text(&place, "kv info dev").contains("1 of 1 runs"));
    }
}

fn text_of(place: &Place) -> String {
    text(place, "kv compact dev")
}

#[test]
fn a_little_cache_is_enough() {
    for place in places() {
        let (text, held) = pairs(3000, 6);
        place.write("in.csv", text);
        place.ok("kv load dev in.csv --cache 64K");
        assert!(place.ok("kv dump dev --cache 64K") == csv(&held).as_bytes());
        place.ok("kv verify dev --cache 64K");
        place.refused("kv verify dev --cache 8K", &["the cache is too small", "--cache "]);
    }
}

#[test]
fn flash_is_served_as_well() {
    for engine in ENGINES {
        let place = Place::new();
        place.ok(&format!("kv create dev --engine {engine} --size 2M --write-unit 256 --erase-unit 4K"));
        let (text, held) = pairs(3000, 7);
        place.write("in.csv", text);
        place.ok("kv load dev in.csv");
        place.ok("kv load dev in.csv --sync batch:100");
        assert!(place.ok("kv dump dev") == csv(&held).as_bytes());
        place.ok("kv verify dev");
    }
}

#[test]
fn logs_live_beside_a_store() {
    for place in places() {
        place.ok("kv put dev a 1");
        place.write("in", "entry\n");
        place.ok("wal append dev in --log 1");
        assert_eq!(place.ok("wal cat dev --log 1"), b"entry\n");
        assert_eq!(place.ok("kv get dev a"), b"1\n");
        place.ok("wal verify dev");
        let info = json(&place, "wal info dev --json");
        assert_eq!(
            (&info["logs"][0]["of_store"], &info["logs"][1]["of_store"]),
            (&true.into(), &false.into())
        );
        for command in ["wal append dev in", "wal release dev --before 1", "wal snapshot put dev in --at 0"] {
            place.refused(command, &["dev: log 0 is that of the key-value store"]);
        }
        place.refused("wal salvage dev out", &["dev: it holds a key-value store", "esker kv salvage"]);
    }
}
