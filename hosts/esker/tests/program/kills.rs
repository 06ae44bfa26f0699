//! A program that is killed at any moment of an import: every acknowledged line is there, and nothing that is none.

use std::io::{BufRead, BufReader, Read};
use std::thread::sleep;
use std::time::Duration;

use super::loops::Loop;
use super::{Place, Random, numbered, skipped};

const LINES: usize = 6000;

/// How many kills: few by default, many with `ESKER_FULL=1`.
fn kills() -> usize {
    if std::env::var("ESKER_FULL").is_ok_and(|full| full == "1") { 200 } else { 10 }
}

/// Imports the same text again and again onto `device`, each time until it is killed or done; goes on behind what the
/// killed one left.
fn import_is_killed(place: &Place, device: &str, seed: u64) {
    let text = numbered(LINES);
    // Where each line ends.
    let ends: Vec<usize> = (0..text.len()).filter(|at| text[*at] == b'\n').map(|at| at + 1).collect();
    place.write("in", &text);
    place.write("nothing", "");
    let create = || {
        place.ok(&format!("wal create --force --size 4M {device}"));
        // The log itself is made by the first import, which may be killed before that.
        place.ok(&format!("wal append {device} nothing"));
    };
    create();
    let mut random = Random(seed);
    let (mut kills_left, mut kept, mut in_the_middle) = (kills(), 0, 0);
    while kills_left > 0 {
        let sync = ["always", "batch:7", "batch:1ms", "batch:4K,10ms"][random.below(4) as usize];
        let acknowledgements = random.below(if sync == "always" { 60 } else { 12 });
        let pause = Duration::from_micros(random.below(3000));
        let import = format!("wal append --acknowledge --sync {sync} --skip {kept} {device} in");
        let mut child = place.command(&import).spawn().unwrap();
        let mut told = BufReader::new(child.stdout.take().unwrap());
        let (mut line, mut durable) = (String::new(), kept);
        for _ in 0..acknowledgements {
            line.clear();
            told.read_line(&mut line).unwrap();
            durable = acknowledged(&line).unwrap_or(durable);
        }
        sleep(pause);
        // It may just have finished.
        let killed = child.kill().is_ok();
        let mut rest = String::new();
        told.read_to_string(&mut rest).unwrap();
        durable = rest.lines().filter_map(acknowledged).next_back().unwrap_or(durable);
        let killed = killed && !child.wait().unwrap().success();

        let back = place.ok(&format!("wal cat {device}"));
        assert!(text.starts_with(&back), "seed {seed}: what came back is not what went in");
        let lines = ends.iter().position(|end| *end == back.len()).map_or(0, |at| at + 1);
        assert!(back.is_empty() || lines > 0, "seed {seed}: half a line came back");
        assert!(
            lines >= durable,
            "seed {seed}, {sync}: {durable} lines were acknowledged, {lines} came back"
        );
        assert!(killed || lines == LINES, "seed {seed}: done, and {lines} lines came back");
        kills_left -= usize::from(killed);
        in_the_middle += usize::from(lines > kept && lines < LINES);
        kept = lines;
        if lines == LINES {
            create();
            kept = 0;
        }
    }
    assert!(
        in_the_middle * 3 > kills(),
        "seed {seed}: only {in_the_middle} kills were in the middle of an import"
    );
}

fn acknowledged(line: &str) -> Option<usize> {
    line.trim_end().strip_prefix("durable ").map(|offset| offset.parse().unwrap())
}

#[test]
fn on_a_file() {
    import_is_killed(&Place::new(), "dev", 1);
}

fn on_a_disk(sector: u32, seed: u64) {
    let place = Place::new();
    place.write("disk", vec![0; 8 << 20]);
    match Loop::new(&place.path("disk"), sector) {
        Ok(disk) => import_is_killed(&place, disk.name(), seed),
        Err(why) => skipped(&format!("kills on a disk with sectors of {sector} bytes"), &why),
    }
}

#[test]
fn on_a_disk_with_sectors_of_512() {
    on_a_disk(512, 2);
}

#[test]
fn on_a_disk_with_sectors_of_4096() {
    on_a_disk(4096, 3);
}
