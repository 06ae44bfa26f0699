//! What is wrong is said in one line, and the device stays as it was.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::process::CommandExt;

use esker_linux::{Access, FileDevice};

use super::{Place, said, skipped, succeeded};

const COMMANDS: [&str; 9] = [
    "wal append dev in",
    "wal read dev 0",
    "wal cat dev",
    "wal info dev",
    "wal verify dev",
    "wal release dev --before 1",
    "wal snapshot put dev in --at 1",
    "wal snapshot get dev",
    "wal salvage dev out",
];

/// A place with a device of three lines and a file of one.
fn place() -> Place {
    let place = Place::new();
    place.write("in", "a\nb\nc\n");
    place.ok("wal append dev in");
    place.write("in", "d\n");
    place
}

/// Every command says all of `words`.
#[track_caller]
fn all_refused(place: &Place, words: &[&str]) {
    for command in COMMANDS {
        place.refused(command, words);
    }
}

fn patch(place: &Place, address: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(place.path("dev")).unwrap();
    file.write_all_at(bytes, address).unwrap();
}

/// CRC-32C, bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0x82F6_3B78 } else { 0 })
    })
}

/// Writes into both format records (bytes `at` of each), with or without a right checksum.
fn patch_format(place: &Place, at: usize, bytes: &[u8], right: bool) {
    let mut record = place.bytes("dev")[..128].to_vec();
    let home = u32::from_le_bytes(record[32..36].try_into().unwrap());
    record[at..at + bytes.len()].copy_from_slice(bytes);
    let sum = crc(&record[..124]) ^ u32::from(!right);
    record[124..].copy_from_slice(&sum.to_le_bytes());
    patch(place, 0, &record);
    patch(place, home.into(), &record);
}

#[test]
fn a_file_that_is_no_volume() {
    for content in [&b"my thesis\n"[..], b"x", &[0; 100_000], &[0xFF; 8192]] {
        let place = Place::new();
        place.write("dev", content);
        place.write("in", "a\n");
        all_refused(&place, &["dev: no esker volume here", "--force"]);
        // Not a byte of it is used when it is formatted.
        place.ok("wal append --force dev in");
        assert_eq!(place.ok("wal cat dev"), b"a\n");
    }
}

#[test]
fn a_wrong_magic() {
    let place = place();
    patch_format(&place, 0, b"ESKERVOX", true);
    all_refused(&place, &["dev: no esker volume here"]);
}

#[test]
fn another_version() {
    let place = place();
    patch_format(&place, 8, &[99, 0], true);
    all_refused(&place, &["dev: written by another esker", "99"]);
    place.refused("wal append --force dev in", &["another esker"]);
}

#[test]
fn a_damaged_superblock() {
    let place = place();
    patch_format(&place, 20, &[1], false);
    all_refused(&place, &["dev: the superblock is damaged"]);
    place.refused("wal append --force dev in", &["damaged"]);
}

#[test]
fn a_device_of_another_geometry() {
    let place = place();
    // Ten times the file, as if the file had been copied onto something smaller.
    patch_format(&place, 16, &(80_u64 << 20).to_le_bytes(), true);
    all_refused(&place, &["dev: truncated", "83886080 bytes", "8388608"]);
}

#[test]
fn a_truncated_device() {
    let place = place();
    for len in [(8 << 20) - 1, 4 << 20, 5000, 200] {
        OpenOptions::new().write(true).open(place.path("dev")).unwrap().set_len(len).unwrap();
        all_refused(&place, &["dev: truncated", "8388608 bytes", &len.to_string()]);
        place.refused("wal append --force dev in", &["truncated"]);
    }
}

#[test]
fn a_device_of_no_bytes() {
    let place = Place::new();
    place.write("dev", "");
    place.write("in", "a\n");
    all_refused(&place, &["dev: the file is empty"]);
    place.ok("wal append --force dev in");
    assert_eq!(place.ok("wal cat dev"), b"a\n");
}

#[test]
fn what_can_be_no_device() {
    let place = Place::new();
    place.write("in", "a\n");
    fs::create_dir(place.path("dir")).unwrap();
    for device in ["dir", "/dev/null"] {
        let words = [device, "neither a regular file nor a disk"];
        place.refused(&format!("wal append {device} in"), &words);
        place.refused(&format!("wal append --force {device} in"), &words);
        place.refused(&format!("wal cat {device}"), &words);
        place.refused(&format!("wal info {device}"), &words);
    }
}

/// Nobody: a user to whom nothing belongs.
const NOBODY: u32 = 65_534;

#[test]
fn no_permission() {
    let place = place();
    let allow = |name, mode| fs::set_permissions(place.path(name), fs::Permissions::from_mode(mode)).unwrap();
    allow("", 0o755);
    // For root nothing is forbidden, so somebody else has to try.
    let root = rustix::process::geteuid().is_root();
    let run = |arguments: &str| {
        let mut command = place.command(arguments);
        if root {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.output()
    };
    if !run("--version").is_ok_and(|output| output.status.success()) {
        return skipped("no_permission", "another user can't run the program where it was built");
    }
    allow("dev", 0o444);
    let before = place.bytes("dev");
    said("append", &run("wal append dev in").unwrap(), &["dev: cannot open it: Permission denied"]);
    succeeded("cat", &run("wal cat dev").unwrap());
    allow("dev", 0);
    for command in COMMANDS {
        said(command, &run(command).unwrap(), &["dev: cannot open it: Permission denied"]);
    }
    if root {
        said("create", &run("wal create new").unwrap(), &["new: cannot create it: Permission denied"]);
    }
    allow("dev", 0o666);
    allow("in", 0);
    said("append", &run("wal append dev in").unwrap(), &["in: cannot read it: Permission denied"]);
    assert!(place.bytes("dev") == before);
}

#[test]
fn missing_files() {
    let place = place();
    place.refused("wal cat nothing", &["nothing: cannot open it: No such file"]);
    place.refused("wal info nothing", &["nothing: cannot open it: No such file"]);
    place.refused("wal append dev nothing", &["nothing: cannot read it: No such file"]);
    place.refused("wal append new nothing", &["nothing: cannot read it: No such file"]);
    place.refused("wal append no/where in", &["no/where: cannot create it: No such file"]);
}

#[test]
fn an_input_that_cannot_be_one() {
    let place = place();
    place.refused("wal append new .", &[".: a directory"]);
    place.refused("wal append dev dev", &["dev: is DEV itself"]);
}

#[test]
fn an_offset_outside_the_log() {
    let place = place();
    place.refused("wal cat dev --from 4", &["no offset 4", "0 to 2"]);
    place.refused("wal cat dev --from 18446744073709551615", &["0 to 2"]);
    place.write("empty", "");
    place.ok("wal append dev empty --log 1");
    place.refused("wal cat dev --log 1 --from 1", &["no offset 1", "empty", "next offset is 0"]);
}

#[test]
fn a_log_that_is_not_there() {
    let place = place();
    place.refused("wal cat dev --log 5", &["there is no log 5", "holds log 0"]);
    place.refused("wal info dev --log 5", &["there is no log 5"]);
    place.ok("wal append dev in --log 2");
    place.refused("wal cat dev --log 5", &["holds the logs 0, 2"]);
}

#[test]
fn too_many_logs() {
    let place = place();
    for log in 1..16 {
        place.ok(&format!("wal append dev in --log {log}"));
    }
    place.refused("wal append dev in --log 16", &["as many logs as this program can serve (16)"]);
    assert_eq!(place.ok("wal cat dev --log 15"), b"d\n");
}

#[test]
fn an_entry_that_is_too_large() {
    let place = place();
    let mut text = b"short\n".to_vec();
    text.extend(vec![b'x'; 300_000]);
    text.extend(b"\nshort\n");
    place.write("in", &text);
    place.refused("wal append dev in", &["in: line 2 has 300000 bytes", "takes at most 2"]);
    place.refused("wal append dev in --log 9", &["line 2 has 300000 bytes", "takes at most 2"]);
    place.refused("wal append new in --segment-size 64K", &["line 2 has 300000 bytes", "65536"]);

    // Of a stream this is known too late: what came before stays, and that is said.
    let output = place.feed("wal append dev -", &text);
    said(
        "append -",
        &output,
        &[
            "line 2 is too long",
            "takes at most 2",
            "the first line was appended, as offset 3; go on with `--skip 1`",
        ],
    );
    assert_eq!(place.ok("wal cat dev"), b"a\nb\nc\nshort\n");

    place.write("in", vec![b'x'; 20 << 20]);
    place.refused("wal append new in", &["line 1 has 20971520 bytes", "at most 16777216"]);
}

#[test]
fn a_full_log() {
    let place = Place::new();
    let line = format!("{}\n", "x".repeat(999));
    place.write("in", line.repeat(400));
    place.ok("wal append dev in --size 1M");
    place.ok("wal append dev in");
    place.refused("wal append dev in", &["dev: the log is full", "releasing the entries before offset 800"]);
    place.refused("wal append new in --size 256K", &["the log is full", "larger device"]);

    let text = line.repeat(400);
    let output = place.feed("wal append dev -", text.as_bytes());
    said("append -", &output, &["the log is full", "releasing the entries before", "lines were appended"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    let kept: usize = stderr.split("the first ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(place.ok("wal cat dev") == line.repeat(800 + kept).as_bytes());
    // Reading a full log works, and so does opening it again to append.
    place.write("in", "");
    place.ok("wal append dev in");
}

#[test]
fn a_device_in_use() {
    let place = place();
    let device = FileDevice::open(place.path("dev"), Access::ReadWrite).unwrap();
    all_refused(&place, &["dev: in use by process "]);
    place.refused("wal append --force dev in", &["in use"]);
    drop(device);
    let device = FileDevice::open(place.path("dev"), Access::ReadOnly).unwrap();
    place.refused("wal append dev in", &["in use"]);
    place.ok("wal cat dev");
    drop(device);
    place.ok("wal append dev in");
}

#[test]
fn a_device_that_cannot_be_made() {
    let place = place();
    place.refused("wal append new in --size 0", &["new: ", "capacity"]);
    place.refused("wal append new in --size 4K", &["new: ", "larger device"]);
    place.refused("wal append new in --write-unit 500", &["new: ", "powers of two"]);
    place.refused("wal append new in --write-unit 4K --erase-unit 512", &["new: ", "erase unit"]);
    place.refused("wal append new in --segment-size 3000", &["new: ", "segment size"]);
    place.refused("wal append new in --size 1000000000G", &["new: cannot allocate space"]);
}

#[test]
fn a_volume_is_never_formatted_anew() {
    let place = place();
    place.ok("wal append --force dev in --size 1M");
    assert_eq!(place.ok("wal cat dev"), b"a\nb\nc\nd\n");
}

#[test]
fn damage_is_named_and_what_is_good_comes_out() {
    let place = Place::new();
    place.write("in", "first entry\nsecond entry\nthird entry\n");
    place.ok("wal append dev in");
    let at = place.bytes("dev").windows(6).position(|bytes| bytes == b"second").unwrap();
    patch(&place, at as u64, b"S");
    let output = place.run("wal cat dev");
    said("cat", &output, &["dev: entry 1 is damaged", "address"]);
    assert_eq!(output.stdout, b"first entry\n");
    assert_eq!(place.ok("wal cat dev --from 2"), b"third entry\n");
}

#[test]
fn a_log_is_not_made_for_what_does_not_fit() {
    let place = Place::new();
    place.ok("wal create dev --size 1M --segment-size 128K");
    place.write("long", [vec![b'x'; 127 << 10], b"\n".to_vec()].concat());
    place.refused("wal append dev long", &["line 1 has 130048 bytes", "takes at most"]);
    place.write("much", vec![b'\n'; 200_000]);
    place.refused("wal append --log 3 dev much", &["the log is full", "nothing was appended"]);
    assert!(String::from_utf8(place.ok("wal info dev")).unwrap().contains("no logs"));
}
