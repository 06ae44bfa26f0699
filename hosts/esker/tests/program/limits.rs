//! Where the file system ends: a disk that is full, a file that may not grow.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Place, numbered, said, skipped};

/// A file system of so many bytes, until this is dropped.
struct Small(PathBuf);

impl Small {
    fn new(at: &Path, bytes: u64) -> Result<Self, String> {
        std::fs::create_dir(at).unwrap();
        let size = format!("size={bytes}");
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(at).output();
        let output = output.map_err(|error| format!("mount: {error}"))?;
        if output.status.success() {
            Ok(Self(at.to_owned()))
        } else {
            Err(String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned())
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_disk_without_room_for_the_device() {
    let place = Place::new();
    let _small = match Small::new(&place.path("small"), 1 << 20) {
        Ok(small) => small,
        Err(why) => return skipped("a_disk_without_room_for_the_device", &why),
    };
    place.write("in", "a\n");
    let words = ["small/dev: cannot allocate space for it: No space left"];
    place.refused("wal create small/dev", &words);
    place.refused("wal append small/dev in", &words);
    place.ok("wal append dev in");
    place.refused("wal salvage dev small/dev", &words);
    assert!(!place.path("small/dev").exists());
}

#[test]
fn a_disk_without_room_for_another_device_in_place_of_one() {
    let place = Place::new();
    let _small = match Small::new(&place.path("small"), 1 << 20) {
        Ok(small) => small,
        Err(why) => return skipped("a_disk_without_room_for_another_device_in_place_of_one", &why),
    };
    place.write("in", "a\n");
    place.ok("wal append --size 256K small/dev in");
    place.write("small/text", "mine");
    for size in ["8M", "9223372036854775807"] {
        for name in ["dev", "text"] {
            let before = place.bytes(&format!("small/{name}"));
            place.refused(
                &format!("wal create --force --size {size} small/{name}"),
                &[&format!("small/{name}: cannot allocate space for it: ")],
            );
            assert!(before == place.bytes(&format!("small/{name}")), "{name} has changed");
        }
    }
    assert_eq!(place.ok("wal cat small/dev"), b"a\n");
}

#[test]
fn a_disk_that_is_full_in_the_middle() {
    let place = Place::new();
    let _small = match Small::new(&place.path("small"), 1 << 20) {
        Ok(small) => small,
        Err(why) => return skipped("a_disk_that_is_full_in_the_middle", &why),
    };
    // A device has all its space from the beginning, but a copy of one may not.
    place.ok("wal create dev --size 4M");
    let copied =
        Command::new("cp").arg("--sparse=always").args([place.path("dev"), place.path("small/dev")]).status();
    assert!(copied.unwrap().success());
    let text = numbered(20_000);
    place.write("in", &text);
    let output = place.run("wal append --acknowledge --sync batch:100 small/dev in");
    said("append", &output, &["small/dev: cannot write it: No space left on device", "lines were appended"]);
    let told = String::from_utf8(output.stdout).unwrap();
    let durable: usize = told.lines().last().unwrap().strip_prefix("durable ").unwrap().parse().unwrap();
    let back = place.ok("wal cat small/dev");
    assert!(text.starts_with(&back));
    let lines = back.iter().filter(|byte| **byte == b'\n').count();
    assert!(durable > 1000 && lines >= durable, "{durable} acknowledged, {lines} there");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains(&format!("the first {durable} lines were appended")), "{stderr}");
}

#[test]
fn a_file_that_may_not_grow() {
    let place = Place::new();
    place.write("in", "a\n");
    let program = env!("CARGO_BIN_EXE_esker");
    for arguments in ["wal create dev", "wal append dev in"] {
        let mut shell = Command::new("sh");
        // In blocks of 512 or 1024 bytes, as the shell likes.
        shell
            .arg("-c")
            .arg(format!("ulimit -f 1000; exec {program} {arguments}"))
            .current_dir(place.path(""));
        said(arguments, &shell.output().unwrap(), &["dev: cannot", "File too large"]);
        assert!(!place.path("dev").exists());
    }
}

#[test]
fn standard_output_on_a_full_disk() {
    let place = Place::new();
    place.write("in", numbered(1000));
    place.ok("wal append dev in");
    for arguments in ["wal cat dev", "wal cat --json dev", "wal read dev 5", "wal info dev", "wal verify dev"]
    {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = place.command(arguments).stdout(full).output().unwrap();
        said(arguments, &output, &["standard output: cannot write it: No space left on device"]);
    }
}
