//! A load that is killed at any moment: what was told to be durable is there, in a store that is whole.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::thread::sleep;
use std::time::Duration;

use super::super::loops::Loop;
use super::super::{Place, Random, skipped};
use super::{csv, pairs};

const PAIRS: usize = 4000;

/// How many kills: few by default, many with `ESKER_FULL=1`.
fn kills() -> usize {
    if std::env::var("ESKER_FULL").is_ok_and(|full| full == "1") { 200 } else { 10 }
}

/// What a store holds, and how far the mark in it says that the load is.
#[derive(Clone, Default, PartialEq, Eq)]
struct State {
    pairs: BTreeMap<String, String>,
    mark: usize,
}

impl State {
    fn of(dump: &str) -> Self {
        let mut state = Self::default();
        for line in dump.lines() {
            let (key, value) = line.split_once(',').unwrap();
            if key == "esker:load" {
                // `"{""esker_load"":1,""lines"":5,...`: as CSV has it.
                let lines = value.split("\"\"lines\"\":").nth(1).unwrap().split(',').next().unwrap();
                state.mark = lines.parse().unwrap();
            } else {
                state.pairs.insert(key.to_owned(), value.to_owned());
            }
        }
        state
    }

    /// The line up to which the file must have been loaded, from the mark in `self` on, to come to `found`: behind
    /// `durable` lines or more. (What lies between the mark and what was there already is stored once more, so a key that
    /// comes twice there has its older value for a while. None of that was ever acknowledged.)
    fn lines_to(&self, found: &Self, pairs: &[(&str, &str)], durable: usize) -> Option<usize> {
        let mut state = self.pairs.clone();
        for line in self.mark..=pairs.len() {
            if line >= durable.max(found.mark) && state == found.pairs {
                return Some(line);
            }
            if let Some((key, value)) = pairs.get(line) {
                state.insert((*key).to_owned(), (*value).to_owned());
            }
        }
        None
    }
}

/// Loads the same file again and again, each time until it is killed or done; goes on with the mark that the killed one
/// left.
fn load_is_killed(place: &Place, device: &str, layout: &str, seed: u64) {
    let (text, held) = pairs(PAIRS, seed);
    let pairs: Vec<(&str, &str)> = text.lines().map(|line| line.split_once(',').unwrap()).collect();
    place.write("in.csv", &text);
    let create = || {
        place.ok(&format!("kv create --force {layout} {device}"));
    };
    create();
    let mut random = Random(seed);
    let (mut kills_left, mut in_the_middle, mut before) = (kills(), 0, State::default());
    while kills_left > 0 {
        let sync = ["always", "batch:7", "batch:2ms", "batch:16K,10ms"][random.below(4) as usize];
        let cache = ["64K", "1M"][random.below(2) as usize];
        let acknowledgements = random.below(if sync == "always" { 90 } else { 15 });
        let pause = Duration::from_micros(random.below(3000));
        let load = format!("kv load --acknowledge --resume --sync {sync} --cache {cache} {device} in.csv");
        let mut child = place.command(&load).spawn().unwrap();
        let mut told = BufReader::new(child.stdout.take().unwrap());
        let (mut line, mut durable) = (String::new(), before.mark);
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

        place.ok(&format!("kv verify {device}"));
        let back = String::from_utf8(place.ok(&format!("kv dump {device}"))).unwrap();
        let done = back == csv(&held);
        assert!(killed || done, "seed {seed}: done, and not all pairs came back");
        let after = State::of(&back);
        if !done {
            let lines = before.lines_to(&after, &pairs, durable);
            assert!(
                lines.is_some(),
                "seed {seed}, {sync}: {durable} lines were acknowledged, and nothing that was loaded from line {} on \
                 makes of {} pairs {}, with a mark at line {}",
                before.mark,
                before.pairs.len(),
                after.pairs.len(),
                after.mark
            );
            // The mark goes with the commit that was acknowledged.
            assert!(
                after.mark >= durable,
                "seed {seed}, {sync}: {durable} acknowledged, marked {}",
                after.mark
            );
        }
        kills_left -= usize::from(killed);
        in_the_middle += usize::from(killed && !done && after.mark > before.mark);
        before = if done { State::default() } else { after };
        if done {
            create();
        }
    }
    assert!(
        in_the_middle * 3 > kills(),
        "seed {seed}: only {in_the_middle} kills were in the middle of a load"
    );
}

fn acknowledged(line: &str) -> Option<usize> {
    line.trim_end().strip_prefix("durable ").map(|line| line.parse().unwrap())
}

#[test]
fn on_a_file() {
    load_is_killed(&Place::new(), "dev", "--size 4M", 1);
}

#[test]
fn of_an_lsm_tree_on_a_file() {
    load_is_killed(&Place::new(), "dev", "--engine lsm --size 4M", 4);
}

#[test]
fn on_flash_in_a_file() {
    load_is_killed(&Place::new(), "dev", "--size 4M --write-unit 256 --erase-unit 4K", 2);
}

#[test]
fn on_a_disk_with_sectors_of_4096() {
    let place = Place::new();
    place.write("disk", vec![0; 8 << 20]);
    match Loop::new(&place.path("disk"), 4096) {
        Ok(disk) => load_is_killed(&place, disk.name(), "", 3),
        Err(why) => skipped("a load on a disk with sectors of 4096 bytes", &why),
    }
}
