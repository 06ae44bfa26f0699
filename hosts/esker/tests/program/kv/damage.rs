//! What is damaged is listed, passed over, and dropped only when that is asked for.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use serde_json::Value;

use super::super::{Place, Random, said};
use super::{csv, half_loaded, pairs, place, places};

fn overwrite(place: &Place, address: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(place.path("dev")).unwrap();
    file.write_all_at(bytes, address).unwrap();
}

fn json(place: &Place, arguments: &str) -> Value {
    serde_json::from_slice(&place.run(arguments).stdout).unwrap()
}

#[test]
fn a_damaged_leaf_is_listed_passed_over_and_dropped() {
    let place = place();
    let (_, held) = pairs(3000, 21);
    place.write("in.csv", csv(&held));
    // Each page is written once, and no pair stands in the log.
    place.ok("kv load dev in.csv --sorted");
    let (key, value) = held.iter().nth(1500).unwrap();
    // With whatever stands between the two.
    let is_pair =
        |bytes: &[u8]| bytes.starts_with(key.as_bytes()) && bytes[key.len()..].ends_with(value.as_bytes());
    let bytes = place.bytes("dev");
    let at = (key.len() + value.len()..key.len() + value.len() + 4)
        .find_map(|len| bytes.windows(len).position(is_pair))
        .unwrap();
    overwrite(&place, at as u64 + 3, b"!");
    let before = place.bytes("dev");

    let output = place.run("kv verify dev --json");
    said("verify", &output, &["dev: damaged in 1 place", "esker kv salvage"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["good"], found["damaged"].as_array().unwrap().len()), (&false.into(), 1));
    let damage = &found["damaged"][0];
    let block = at as u64 / 4096 * 4096;
    assert_eq!((&damage["kind"], &damage["level"]), (&"page".into(), &0.into()));
    let address = damage["address"].as_u64().unwrap();
    assert!(address.abs_diff(block) < 4096, "{address} is where {at} is");
    let words = String::from_utf8(place.run("kv verify dev").stdout).unwrap();
    assert!(
        words.contains(&format!("damaged: a leaf with its pairs can't be read, see address {address}")),
        "{words}"
    );

    let hex: String = key.bytes().map(|byte| format!("{byte:02x}")).collect();
    said("get", &place.run(&format!("kv get dev --encoding hex {hex}")), &["address", "damaged"]);
    let first = held.keys().next().unwrap().bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    place.ok(&format!("kv get dev --encoding hex {first}"));

    // What is whole comes out, in both directions.
    let output = place.run("kv dump dev");
    said("dump", &output, &["1 place damaged", &address.to_string(), "could be read"]);
    let rest = String::from_utf8(output.stdout).unwrap();
    let whole = csv(&held);
    let lost = whole.lines().count() - rest.lines().count();
    assert!((1..200).contains(&lost) && rest.lines().all(|line| whole.contains(line)), "{lost}");
    assert!(!rest.contains(&format!("{key},")));
    let output = place.run("kv scan dev --reverse --format csv");
    said("scan", &output, &["1 place damaged"]);
    let mut backwards: Vec<&str> = std::str::from_utf8(&output.stdout).unwrap().lines().collect();
    backwards.reverse();
    assert!(backwards.iter().copied().eq(rest.lines()));
    said("dump", &place.run("kv dump dev out.csv"), &["1 place damaged"]);
    assert!(place.bytes("out.csv") == rest.as_bytes());

    let output = place.run("kv salvage dev --json");
    said("salvage", &output, &["dev: nothing was changed", "--force"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&found["damaged"][0]["address"], &found["pairs"]),
        (&address.into(), &(held.len() - lost).into())
    );
    assert!(place.bytes("dev") == before, "looking has changed the device");
    let words = String::from_utf8(place.ok("kv salvage dev --force")).unwrap();
    assert!(words.contains("dropped: a leaf"), "{words}");
    assert!(place.ok("kv dump dev") == rest.as_bytes());
    place.ok("kv verify dev");
    place.ok("kv load dev in.csv");
    assert!(place.ok("kv dump dev") == whole.as_bytes());
    place.ok("kv verify dev");
    assert_eq!(json(&place, "kv salvage dev --json")["good"], true);
}

#[test]
fn a_damaged_value_takes_nothing_else_along() {
    let place = place();
    place.write("value", vec![b'v'; 50_000]);
    place.ok("kv put dev long --value-file value");
    place.ok("kv put dev other 1");
    let at = place.bytes("dev").windows(1000).rposition(|bytes| bytes == [b'v'; 1000]).unwrap();
    overwrite(&place, at as u64, b"!");
    let found = json(&place, "kv verify dev --json");
    assert_eq!(found["damaged"][0]["kind"], "value");
    said("get", &place.run("kv get dev long"), &["damaged"]);
    assert_eq!(place.ok("kv get dev other"), b"1\n");
    let output = place.run("kv dump dev");
    said("dump", &output, &["1 place damaged"]);
    assert_eq!(output.stdout, b"other,1\n");
    place.ok("kv salvage dev --force");
    assert_eq!(place.ok("kv dump dev"), b"other,1\n");
    place.ok("kv verify dev");
}

#[test]
fn a_damaged_entry_of_the_log_stops_all_but_salvage() {
    let place = place();
    let lines: String = (0..60).map(|n| format!("key{n:02},the value of {n:02}\n")).collect();
    let load = "kv load dev - --format csv --acknowledge --sync batch:20";
    let mut child = half_loaded(&place, load, lines.as_bytes(), 60);
    child.kill().unwrap();
    child.wait().unwrap();
    let at = place.bytes("dev").windows(15).position(|bytes| bytes == b"the value of 10").unwrap();
    overwrite(&place, at as u64, b"!");
    let before = place.bytes("dev");
    for command in
        ["kv get dev key20", "kv dump dev", "kv put dev a 1", "kv info dev", "kv load dev - --format csv"]
    {
        place.refused(command, &["dev: the store's log is damaged, see address ", "esker kv salvage"]);
    }
    let output = place.run("kv verify dev --json");
    said("verify", &output, &["dev: damaged in 1 place"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["damaged"][0]["kind"], &found["damaged"][0]["offset"]), (&"entry".into(), &10.into()));
    let output = place.run("kv salvage dev");
    let words = "59 pairs on 1 page can be read\npages of the tree are filled to 35 %\nto be dropped: entry 10 of the store's log can't be read";
    assert!(output.stdout.starts_with(words.as_bytes()), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(place.bytes("dev") == before);
    place.ok("kv salvage dev --force");
    assert!(place.ok("kv dump dev") == lines.replace("key10,the value of 10\n", "").as_bytes());
    place.ok("kv verify dev");
    place.ok("kv put dev key10 back");
}

#[test]
fn wherever_the_damage_is_a_right_answer_or_none() {
    for place in places() {
        let (text, held) = pairs(2500, 22);
        place.write("in.csv", text);
        place.ok("kv load dev in.csv");
        let good = place.bytes("dev");
        let whole = csv(&held);
        let lines: HashSet<&str> = whole.lines().collect();
        let mut random = Random(23);
        let (mut worst, mut refused) = (0, 0);
        for round in 0..12 {
            place.write("dev", &good);
            for _ in 0..1 + random.below(3) {
                let len = [1, 60, 5000, 100_000][random.below(4) as usize];
                // Behind the superblock, which `wal` has its own tests of.
                overwrite(&place, (64 << 10) + random.below(3 << 20), &vec![random.below(256) as u8; len]);
            }
            let damaged = place.bytes("dev");
            let output = place.run("kv dump dev");
            let rest = String::from_utf8(output.stdout).unwrap();
            assert!(rest.lines().all(|line| lines.contains(line)), "round {round}");
            assert!(
                output.status.success() == (rest == whole),
                "round {round}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            let verified = place.run("kv verify dev");
            assert!(!verified.status.success() || rest == whole, "round {round}");
            assert!(place.bytes("dev") == damaged, "round {round}");
            let salvaged = place.run("kv salvage dev --force");
            if !salvaged.status.success() {
                // The log may be past opening.
                said("salvage", &salvaged, &["dev: "]);
                refused += 1;
                continue;
            }
            place.ok("kv verify dev");
            let left = String::from_utf8(place.ok("kv dump dev")).unwrap();
            let left: HashSet<&str> = left.lines().collect();
            assert!(rest.lines().all(|line| left.contains(line)), "round {round}");
            worst = worst.max(held.len() - left.len());
        }
        assert!(worst > 10 && refused < 4, "{worst} {refused}");
    }
}
