//! What is wrong is said in one line, and the device stays as it was.

use std::fs::{self, OpenOptions};

use esker_linux::{Access, FileDevice};

use super::super::{Place, said};
use super::{ENGINES, place, places};

const READERS: [&str; 5] = ["kv get dev a", "kv scan dev", "kv dump dev", "kv info dev", "kv verify dev"];
const WRITERS: [&str; 5] =
    ["kv put dev a 1", "kv del dev a", "kv load dev in.csv", "kv checkpoint dev", "kv salvage dev --force"];

/// Every command says all of `words`.
#[track_caller]
fn all_refused(place: &Place, words: &[&str]) {
    place.write("in.csv", "a,1\n");
    for command in READERS.iter().chain(&WRITERS) {
        place.refused(command, words);
    }
}

#[test]
fn a_file_that_is_no_store() {
    for content in [&b"my thesis\n"[..], &[0; 100_000]] {
        let place = Place::new();
        place.write("dev", content);
        all_refused(&place, &["dev: no esker volume here", "esker kv create"]);
    }
    let place = Place::new();
    place.write("dev", "my thesis\n");
    place.refused("kv create dev --engine btree", &["dev: it holds data of an unknown kind", "--force"]);
    place.ok("kv create dev --engine btree --force --size 1M");
    place.ok("kv put dev a 1");
    place.refused("kv create dev --engine btree", &["dev: it holds an esker volume", "--force"]);

    let place = Place::new();
    place.write("dev", "");
    all_refused(&place, &["dev: the file is empty", "esker kv create"]);
    let place = Place::new();
    all_refused(&place, &["dev: cannot open it: No such file", "esker kv create"]);
}

#[test]
fn a_volume_of_another_kind() {
    let place = Place::new();
    place.write("in", "entry\n");
    place.ok("wal append dev in");
    all_refused(&place, &["dev: a volume with logs and no key-value store", "esker kv create"]);
    assert_eq!(place.ok("wal cat dev"), b"entry\n");
}

#[test]
fn a_truncated_store() {
    for place in places() {
        place.ok("kv put dev a 1");
        OpenOptions::new().write(true).open(place.path("dev")).unwrap().set_len(1 << 20).unwrap();
        all_refused(&place, &["dev: truncated", "4194304 bytes"]);
    }
}

#[test]
fn a_store_in_use() {
    for place in places() {
        place.ok("kv put dev a 1");
        place.write("in.csv", "a,1\n");
        let device = FileDevice::open(place.path("dev"), Access::ReadWrite).unwrap();
        all_refused(&place, &["dev: in use by process "]);
        drop(device);
        let _reader = FileDevice::open(place.path("dev"), Access::ReadOnly).unwrap();
        for command in WRITERS {
            place.refused(command, &["dev: in use"]);
        }
        for command in READERS {
            place.ok(command);
        }
    }
}

#[test]
fn a_store_that_cannot_be_made() {
    let place = Place::new();
    let output = place.run("kv create new --engine hash");
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("btree, lsm") && stderr.lines().count() == 1, "{stderr}");
    for (options, words) in [
        ("--size 64K", &["larger device"][..]),
        ("--size 0", &["new: ", "capacity"]),
        ("--block-size 3000", &["block size"]),
        ("--block-size 256", &["block size"]),
        ("--block-size 128K", &["a B-tree has pages of 64 KiB at most"]),
        ("--write-unit 8K --block-size 4K", &["block size"]),
        ("--write-unit 500", &["powers of two"]),
        ("--segment-size 3000", &["segment size"]),
        ("--size 1M --log-size 2M", &["new: ", "pool"]),
        ("--size 8M --write-unit 256 --erase-unit 64K", &["erase unit", "LSM tree"]),
        ("--size 2M --write-unit 256 --erase-unit 4K --block-size 512", &["block size"]),
        ("--cache 4K", &["the cache is too small", "--cache "]),
        ("--engine lsm --block-size 2K", &["LSM tree", "8 to 256 pages", "larger blocks"]),
        ("--engine lsm --block-size 2M", &["block size"]),
        ("--engine lsm --cache 4K", &["the cache is too small", "--cache "]),
        ("--engine lsm --size 64K", &["new: ", "larger device"]),
    ] {
        place.refused(&format!("kv create new {options}"), words);
        // Nor is anything lost for it.
        place.write("dev", "mine".repeat(1 << 18));
        place.refused(&format!("kv create dev --force {options}"), &[]);
        fs::remove_file(place.path("dev")).unwrap();
    }
    place.refused("kv create no/where", &["no/where: cannot create it: No such file"]);
    place.refused("kv create /dev/null", &["/dev/null: neither a regular file nor a disk"]);
}

#[test]
fn keys_and_values_that_do_not_fit() {
    for place in places() {
        let info: serde_json::Value = serde_json::from_slice(&place.ok("kv info dev --json")).unwrap();
        let (max_key, max_value) = (info["max_key"].as_u64().unwrap(), info["max_value"].as_u64().unwrap());
        let longest = "k".repeat(max_key as usize);
        place.ok(&format!("kv put dev {longest} 1"));
        place.refused(
            &format!("kv put dev {longest}x 1"),
            &[&format!("the key has {} bytes", max_key + 1), &max_key.to_string()],
        );
        place.refused(&format!("kv del dev {longest}x"), &["the key has "]);
        assert_eq!(place.run(&format!("kv get dev {longest}x")).status.code(), Some(3));
        assert_eq!(place.run("kv get dev --encoding hex --").status.code(), Some(2));
        place.write("empty.tsv", "\tvalue\n");
        place
            .refused("kv load dev empty.tsv", &["empty.tsv: line 1: the key is empty", "nothing was stored"]);
        place.write("value", vec![b'v'; max_value as usize]);
        place.ok("kv put dev a --value-file value");
        assert!(place.ok("kv get dev a --raw") == place.bytes("value"));
        place.write("value", vec![b'v'; max_value as usize + 1]);
        place.refused(
            "kv put dev a --value-file value",
            &[&format!("value: more than the {max_value} bytes")],
        );
        place.write("in.tsv", format!("ok\t1\na\t{}\n", "v".repeat(max_value as usize + 1)));
        let output = place.run("kv load dev in.tsv");
        said("load", &output, &["in.tsv: line 2: the value has ", "the pairs up to line 1 are stored"]);
        assert_eq!(place.ok("kv get dev ok"), b"1\n");
        place.write("in.tsv", format!("ok\t1\na\t{}\n", "v".repeat(100 << 20)));
        said("load", &place.run("kv load dev in.tsv"), &["in.tsv: line 2, column 1: the line is too long"]);
        place.ok("kv verify dev");
    }
}

#[test]
fn what_the_encoding_does_not_know() {
    let place = place();
    for (arguments, words) in [
        ("kv get dev --encoding hex 0", "KEY: hex has two digits"),
        ("kv put dev --encoding hex 00 xy", "VALUE: not a hexadecimal digit"),
        ("kv del dev --encoding base64 ???=", "KEY: not a letter of base64"),
        ("kv scan dev --encoding hex --prefix 6", "--prefix: hex has two digits"),
    ] {
        let output = place.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(words) && stderr.lines().count() == 1, "{arguments}: {stderr}");
    }
    place.ok("kv put dev --encoding hex 61 ff");
    said("get", &place.run("kv get dev a"), &["dev: the value is not UTF-8", "--raw", "--encoding hex"]);
    place.write("in.csv", b"a,\xFF\n");
    place.refused("kv load dev in.csv", &["in.csv: line 1, column 3: not UTF-8", "--encoding hex"]);
    place.refused("kv load dev in", &["in: no name that tells", "--format"]);
    place.refused("kv load dev dev --format csv", &["dev: is DEV itself"]);
    place.refused("kv put dev a --value-file nothing", &["nothing: cannot read it: No such file"]);
}

#[test]
fn a_full_store() {
    for engine in ENGINES {
        let place = Place::new();
        place.ok(&format!("kv create dev --engine {engine} --size 1M"));
        let lines: String = (0..6000).map(|n| format!("key{n:05},{}\n", "v".repeat(200))).collect();
        place.write("in.csv", lines);
        let output = place.run("kv load dev in.csv");
        said("load", &output, &["dev: the store is full", "delete pairs", "the pairs up to line "]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        let kept: usize =
            stderr.split("up to line ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        let back = place.ok("kv dump dev");
        assert_eq!(back.iter().filter(|byte| **byte == b'\n').count(), kept);
        place.ok("kv verify dev");
        // A few pages of them.
        for n in 0..kept.min(60) {
            place.ok(&format!("kv del dev key{n:05}"));
        }
        place.ok("kv put dev more room");
        place.ok("kv verify dev");
    }
}
