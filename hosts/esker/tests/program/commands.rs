//! What each command does when nothing is wrong.

use serde_json::Value;

use super::{Place, numbered, said, succeeded};

#[track_caller]
fn json(place: &Place, arguments: &str) -> Value {
    serde_json::from_slice(&place.ok(arguments)).unwrap()
}

#[track_caller]
fn text(place: &Place, arguments: &str) -> String {
    String::from_utf8(place.ok(arguments)).unwrap()
}

fn binary(entries: &[&[u8]]) -> Vec<u8> {
    let framed = |entry: &&[u8]| [&(entry.len() as u32).to_le_bytes()[..], entry].concat();
    entries.iter().flat_map(framed).collect()
}

#[test]
fn create_lays_out_as_it_is_told() {
    let place = Place::new();
    let said =
        json(&place, "wal create dev --size 1M --write-unit 4 --erase-unit 4K --segment-size 16K --json");
    let expected = (1 << 20, 4, 4096, 16 << 10);
    let number = |value: &Value, name: &str| value[name].as_u64().unwrap();
    assert_eq!(
        (
            number(&said, "capacity"),
            number(&said, "write_unit"),
            number(&said, "erase_unit"),
            number(&said, "segment_size")
        ),
        expected
    );
    let info = json(&place, "wal info dev --json");
    assert_eq!(info["volume"]["volume_id"], said["volume_id"]);
    assert_eq!(info["volume"]["erase_unit"], 4096);
    assert_eq!(info["logs"].as_array().unwrap().len(), 0);
    assert_eq!(
        text(&place, "wal create plain"),
        "created a volume of 67108864 bytes in 31 segments of 2097152, write unit 512\n"
    );

    // A file that holds nothing keeps its size.
    place.write("blank", vec![0; 3 << 20]);
    assert_eq!(json(&place, "wal create blank --json")["capacity"], 3 << 20);
    assert_eq!(place.bytes("blank").len(), 3 << 20);
}

#[test]
fn create_says_what_it_found_and_obeys_force() {
    let place = Place::new();
    place.write("dev", "my thesis, version 7\n");
    place.refused("wal create dev", &["dev: it holds data of an unknown kind", "--force"]);
    place.ok("wal create dev --force --size 1M");
    place.refused("wal create dev", &["dev: it holds an esker volume", "--force"]);
    place.ok("wal verify dev");
}

#[test]
fn read_gives_single_entries() {
    let place = Place::new();
    let lines = numbered(500);
    let lines: Vec<&[u8]> = lines.split_inclusive(|byte| *byte == b'\n').collect();
    place.write("in", lines.concat());
    place.ok("wal append dev in");
    assert_eq!(place.ok("wal read dev 0"), lines[0]);
    assert_eq!(place.ok("wal read dev 499"), lines[499]);
    assert_eq!(place.ok("wal read dev 100 --count 3"), lines[100..103].concat());
    assert_eq!(place.ok("wal read dev 498 --count 9"), lines[498..].concat());
    assert_eq!(place.ok("wal read dev 5 --count 0"), b"");
    place.refused("wal read dev 500", &["dev: no offset 500: the log holds 0 to 499"]);
}

#[test]
fn entries_may_hold_anything_in_binary() {
    let place = Place::new();
    let content = binary(&[b"a\nb\n", b"", b"\0\xFF", &[b'x'; 100_000], b"last"]);
    place.write("in", &content);
    assert_eq!(
        text(&place, "wal append dev in --format binary"),
        "appended 5 entries (100030 bytes) to log 0: offsets 0 to 4\n"
    );
    assert!(place.ok("wal cat dev --format binary") == content);
    assert_eq!(place.ok("wal cat dev --limit 3"), b"a\nb\n\n\n\0\xFF\n");
    assert_eq!(place.ok("wal read dev 2 --json"), b"{\"hex\":\"00ff\",\"offset\":2}\n");
    let copied = place.ok("wal cat dev --format binary");
    succeeded("append", &place.feed("wal append copy - --format binary", &copied));
    assert!(place.ok("wal cat copy --format binary") == content);
}

#[test]
fn a_binary_file_that_is_cut_off_is_refused() {
    let place = Place::new();
    place.write("first", binary(&[b"one"]));
    place.ok("wal append dev first --format binary");
    let content = binary(&[b"two", b"three"]);
    for cut in [1, 5, 8] {
        let content = &content[..content.len() - cut];
        place.write("in", content);
        place.refused("wal append dev in --format binary", &["in: ends in the middle of entry 2"]);
    }
    // Of a stream this is known too late.
    let output = place.feed("wal append dev - --format binary", &content[..content.len() - 1]);
    said(
        "append -",
        &output,
        &["standard input: ends in the middle of entry 2", "the first entry was appended, as offset 1"],
    );
    assert_eq!(place.ok("wal cat dev"), b"one\ntwo\n");
    // A text is hardly ever a sequence of lengths.
    place.refused_fed(
        "wal append dev - --format binary",
        b"just a text\n",
        &["entry 1 has 1953723754 bytes"],
    );
}

#[test]
fn json_lines_tell_offset_and_text() {
    let place = Place::new();
    place.write("in", "one\ntwo \"2\"\nthree");
    let said = json(&place, "wal append dev in --json");
    assert_eq!(
        (&said["first"], &said["end"], &said["entries"], &said["bytes"]),
        (&0.into(), &3.into(), &3.into(), &17.into())
    );
    let cat = text(&place, "wal cat dev --json --from 1");
    let entries: Vec<Value> = cat.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&entries[0]["offset"], &entries[0]["text"]), (&1.into(), &"two \"2\"".into()));
    assert_eq!(entries[1]["text"], "three");
    assert_eq!(entries[1]["user"], u64::from_le_bytes(*b"no-eol\0\0"));
    assert!(entries[0]["user"].is_null());
}

#[test]
fn acknowledgements_follow_the_strategy() {
    let place = Place::new();
    place.write("in", numbered(10));
    let told = |sync: &str| {
        let said = text(&place, &format!("wal append {sync}.dev in --acknowledge --sync {sync}"));
        let durable = |line: &str| line.strip_prefix("durable ").map(|offset| offset.parse().unwrap());
        assert!(said.lines().last().unwrap().starts_with("appended 10 lines"), "{said}");
        said.lines().filter_map(durable).collect::<Vec<u64>>()
    };
    assert_eq!(told("always"), (1..=10).collect::<Vec<_>>());
    assert_eq!(told("batch:4"), [4, 8, 10]);
    assert_eq!(told("batch:1K"), [10]);
    assert_eq!(told("none"), [10]);
    let said = text(&place, "wal append json.dev in --acknowledge --sync batch:5 --json");
    let said: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&said[0]["durable"], &said[1]["durable"], &said[2]["end"]),
        (&5.into(), &10.into(), &10.into())
    );
}

#[test]
fn skip_goes_on_behind_what_an_earlier_run_appended() {
    let place = Place::new();
    place.write("in", "a\nb\nc\nd");
    assert_eq!(
        text(&place, "wal append dev in --skip 2"),
        "appended 2 lines (3 bytes) to log 0: offsets 0 to 1\n"
    );
    assert_eq!(place.ok("wal cat dev"), b"c\nd");
    assert_eq!(
        text(&place, "wal append dev in --skip 4"),
        "appended no lines to log 0; its next offset is 2\n"
    );
    place.refused("wal append dev in --skip 5", &["in: has 4 lines", "behind 5"]);
    place.refused_fed("wal append dev - --skip 3", b"x\ny\n", &["standard input: has 2 lines", "behind 3"]);
    succeeded("append", &place.feed("wal append dev - --skip 1", b"x\ny\n"));
    assert_eq!(place.ok("wal cat dev"), b"c\ndy\n");
}

#[test]
fn a_file_past_the_page_cache_is_the_same_file() {
    let place = Place::new();
    place.write("in", numbered(3000));
    let output = place.run("wal create dev --direct --write-unit 4K --size 8M");
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return super::skipped("a_file_past_the_page_cache_is_the_same_file", &why);
    }
    place.ok("wal append dev in --direct");
    place.ok("wal append dev in");
    let twice = [place.bytes("in"), place.bytes("in")].concat();
    assert!(place.ok("wal cat dev") == twice);
}

#[test]
fn release_gives_segments_back() {
    let place = Place::new();
    let lines = numbered(5000);
    place.write("in", &lines);
    place.ok("wal create dev --size 1M --segment-size 16K");
    place.ok("wal append dev in");
    let free =
        |place: &Place| json(place, "wal info dev --json")["volume"]["free_segments"].as_u64().unwrap();
    let before = free(&place);
    let released = json(&place, "wal release dev --before 3000 --json");
    let start = released["start"].as_u64().unwrap();
    let segments = released["segments"].as_u64().unwrap();
    assert!(start > 2500 && start <= 3000 && released["entries"] == start, "{released}");
    assert_eq!(released["bytes"].as_u64().unwrap(), segments * (16 << 10));
    assert_eq!(free(&place), before + segments);
    let lines: Vec<&[u8]> = lines.split_inclusive(|byte| *byte == b'\n').collect();
    assert!(place.ok("wal cat dev") == lines[start as usize..].concat());
    place.refused("wal read dev 0", &["no offset 0", &format!("{start} to 4999")]);
    assert_eq!(json(&place, "wal release dev --before 3000 --json")["segments"], 0);
    place.refused("wal release dev --before 5001", &["no offset 5001"]);
    place.ok("wal release dev --before 5000");
}

#[test]
fn a_snapshot_comes_back_and_releases() {
    let place = Place::new();
    place.ok("wal create dev --size 1M --segment-size 16K");
    place.write("in", numbered(5000));
    place.ok("wal append dev in");
    place.refused("wal snapshot get dev", &["dev: log 0 has no snapshot"]);
    place.refused("wal snapshot put dev in --at 5001", &["no offset 5001", "0 to 4999"]);
    let state: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    place.write("state", &state);
    let put = json(&place, "wal snapshot put dev state --at 4000 --json");
    assert_eq!((&put["bytes"], &put["offset"]), (&100_000.into(), &4000.into()));
    assert!(put["released"]["entries"].as_u64().unwrap() > 3500, "{put}");
    assert!(place.ok("wal snapshot get dev") == state);
    let info = json(&place, "wal info dev --json");
    assert_eq!(info["logs"].as_array().unwrap().len(), 1, "its chunks are no log of the user's");
    assert_eq!(info["logs"][0]["snapshot"]["offset"], 4000);
    place.refused("wal snapshot put dev state --at 1", &["no offset 1"]);

    // The next one takes its place, and both of them many times over do not fill the device.
    for round in 0..20 {
        succeeded(
            "put",
            &place.feed("wal snapshot put dev - --at 5000", format!("state {round}").as_bytes()),
        );
        succeeded("put", &place.feed("wal snapshot put dev - --at 5000", &state));
    }
    assert!(place.ok("wal snapshot get dev") == state);
    succeeded("put", &place.feed("wal snapshot put dev - --at 5000", b""));
    assert_eq!(place.ok("wal snapshot get dev"), b"");
    place.ok("wal verify dev");
}

#[test]
fn a_snapshot_that_does_not_fit_leaves_the_old_one() {
    let place = Place::new();
    place.ok("wal create dev --size 256K --segment-size 16K");
    succeeded("append", &place.feed("wal append dev -", b"a\nb\n"));
    succeeded("put", &place.feed("wal snapshot put dev - --at 1", b"old"));
    let output = place.feed("wal snapshot put dev - --at 2", &[7; 400_000]);
    said("put", &output, &["dev: no room for the snapshot; what was there before stays"]);
    assert_eq!(place.ok("wal snapshot get dev"), b"old");
    assert_eq!(place.ok("wal cat dev"), b"a\nb\n");
    place.ok("wal verify dev");
    succeeded("put", &place.feed("wal snapshot put dev - --at 2", b"new"));
    assert_eq!(place.ok("wal snapshot get dev"), b"new");
    // Of a file it is known beforehand.
    place.write("large", vec![9; 400_000]);
    place.refused("wal snapshot put dev large --at 2", &["no room for a snapshot of 400000 bytes"]);
    let most = vec![8; 80_000];
    succeeded("put", &place.feed("wal snapshot put dev - --at 2", &most));
    assert!(place.ok("wal snapshot get dev") == most);
}

#[test]
fn completions_and_pages_are_of_this_program() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let completions = text(&place, &format!("completions {shell}"));
        assert!(completions.contains("esker") && completions.contains("salvage"), "{shell}");
    }
    assert!(text(&place, "man").contains(".TH esker 1"));
    let page = text(&place, "man wal append");
    assert!(
        page.contains("esker wal append") && page.contains("loss windows") || page.contains("Loss windows"),
        "{page}"
    );
    place.refused("man wal nothing", &["`esker wal` has no command `nothing`"]);
    std::fs::create_dir(place.path("pages")).unwrap();
    place.ok("man --directory pages");
    for page in ["esker.1", "esker-wal.1", "esker-wal-snapshot-put.1", "esker-wal-verify.1"] {
        assert!(place.path("pages").join(page).exists(), "{page}");
    }
    place.refused("man --directory nowhere", &["nowhere: "]);
}

#[test]
fn the_measurements_are_a_command() {
    let place = Place::new();
    let report = json(
        &place,
        "bench sync --directory . --rounds 1 --phase 1 --entries 3 --sizes 100 --threads 1 --strategies always \
         --capacity 67108864 --no-realtime --json",
    );
    assert!(report.is_object(), "{report}");
    assert!(place.names().is_empty(), "what it made is gone again");
    place.refused("bench sync --strategies sometimes", &["sometimes"]);
}

#[test]
fn a_wrong_command_line_has_a_status_of_its_own() {
    let place = Place::new();
    for arguments in [
        "wal create dev --size 64Q",
        "wal create dev --size -1",
        "wal append dev in --sync sometimes",
        "wal append dev in --sync batch:0",
        "wal append dev in --log 32768",
        "wal release dev",
        "wal read dev",
        "wal cat dev --json --format binary",
    ] {
        let output = place.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments}");
        assert!(output.stdout.is_empty() && place.names().is_empty(), "{arguments}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.starts_with("esker: ") && stderr.lines().count() == 1, "{arguments}: {stderr}");
    }
}
