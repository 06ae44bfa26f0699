//! Files in, files out.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::super::{Random, said, succeeded};
use super::{ENGINES, csv, half_loaded, pairs, place, place_with, places};

/// Keys and values of all sorts of bytes, as a store holds them.
fn binary(count: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut random = Random(99);
    let mut bytes = |most: u64, least: u64| {
        let len = least + random.below(most);
        (0..len)
            .map(|_| {
                if random.below(3) == 0 {
                    b",\"\n\r\t\\"[random.below(6) as usize]
                } else {
                    random.below(256) as u8
                }
            })
            .collect()
    };
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = (0..count).map(|_| (bytes(30, 1), bytes(300, 0))).collect();
    pairs.sort();
    pairs.dedup_by(|one, other| one.0 == other.0);
    pairs
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn load_of_dump_is_the_same_store_in_every_format() {
    for place in places() {
        let pairs = binary(800);
        let lines: String =
            pairs.iter().map(|(key, value)| format!("{}\t{}\n", hex(key), hex(value))).collect();
        place.write("in.tsv", &lines);
        place.ok("kv load dev in.tsv --encoding hex");
        assert!(place.ok("kv dump dev --format tsv --encoding hex") == lines.as_bytes());
        let mut random = Random(5);
        for format in ["csv", "jsonl", "tsv"] {
            for encoding in ["hex", "base64"] {
                let header = if format != "jsonl" && random.below(2) == 0 { "--header" } else { "" };
                let name = format!("{encoding}.{format}");
                place.ok(&format!("kv dump dev {name} --encoding {encoding} {header}"));
                let engine = ENGINES[random.below(2) as usize];
                place.ok(&format!("kv create copy --engine {engine} --size 4M --force"));
                let sorted = if random.below(2) == 0 { "--sorted" } else { "" };
                place.ok(&format!("kv load copy {name} --encoding {encoding} {header} {sorted}"));
                place.ok("kv verify copy");
                assert!(place.ok("kv dump copy --format tsv --encoding hex") == lines.as_bytes(), "{name}");
            }
        }
        for format in ["csv", "jsonl", "tsv"] {
            let output = place.run(&format!("kv dump dev --format {format}"));
            said("dump", &output, &["dev: key ", "not UTF-8", "--encoding hex"]);
            let output = place.run(&format!("kv dump dev new.{format}"));
            said("dump", &output, &["not UTF-8"]);
            assert!(!place.path(&format!("new.{format}")).exists(), "half a file is of no use");
        }
    }
}

#[test]
fn any_text_goes_through_csv_and_json() {
    for place in places() {
        let mut pairs = vec![
            ("\u{feff}mark", "\u{feff}"),
            ("a,b", "c\"d"),
            ("line\r\n", "\n\n"),
            (" ", ""),
            ("tab\t", "\\n"),
            ("\u{0}\u{1F980}", "\u{7f}"),
        ];
        pairs.sort_unstable();
        for (key, value) in &pairs {
            let put = format!("kv put dev --encoding hex {} --value-file value", hex(key.as_bytes()));
            place.write("value", value);
            place.ok(&put);
        }
        for format in ["csv", "jsonl"] {
            place.ok(&format!("kv dump dev out.{format}"));
            place.ok("kv create copy --engine btree --size 4M --force");
            place.ok(&format!("kv load copy out.{format}"));
            assert_eq!(place.ok("kv dump copy --encoding hex"), place.ok("kv dump dev --encoding hex"));
        }
        let json: Vec<Value> = place
            .bytes("out.jsonl")
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect();
        let back: Vec<(&str, &str)> = json
            .iter()
            .map(|line| (line["key"].as_str().unwrap(), line["value"].as_str().unwrap()))
            .collect();
        assert_eq!(back, pairs);
        said("dump", &place.run("kv dump dev --format tsv"), &["newline", "--format csv"]);
    }
}

#[test]
fn later_values_win_and_loading_again_changes_nothing() {
    for place in places() {
        let (text, held) = pairs(3000, 1);
        place.write("in.csv", format!("key,value\n{text}"));
        let words = String::from_utf8(place.ok("kv load dev in.csv --header")).unwrap();
        assert!(words.starts_with("loaded 3000 pairs (") && words.contains(" pairs/s, "), "{words}");
        assert!(place.ok("kv dump dev") == csv(&held).as_bytes());
        let said: Value = serde_json::from_slice(&place.ok("kv load dev in.csv --header --json")).unwrap();
        assert_eq!(said["pairs"], 3000);
        assert!(place.ok("kv dump dev") == csv(&held).as_bytes());
        succeeded("load -", &place.feed("kv load dev - --format jsonl", b"[\"key 0\",\"new\"]\n"));
        assert_eq!(place.ok("kv scan dev --limit 1"), b"key 0\tnew\n");
        place.ok("kv verify dev");
    }
}

#[test]
fn sorted_pairs_fill_an_empty_store() {
    for engine in ENGINES {
        let place = place_with(engine);
        let (_, held) = pairs(5000, 2);
        place.write("in.csv", csv(&held));
        place.ok("kv load dev in.csv --sorted");
        assert!(place.ok("kv dump dev") == csv(&held).as_bytes());
        place.ok("kv verify dev");
        place.refused(
            "kv load dev in.csv --sorted",
            &["dev: the store holds pairs already", "without `--sorted`"],
        );

        place.ok(&format!("kv create dev --engine {engine} --size 4M --force"));
        place.write("bad.csv", "a,1\nb,2\n\nb,3\n");
        place.refused(
            "kv load dev bad.csv --sorted",
            &["bad.csv: line 4: key \"b\" does not come behind \"b\" of line 2", "nothing was stored"],
        );
        place.write("bad.csv", "b,1\na,2\n");
        place.refused("kv load dev bad.csv --sorted", &["line 2: key \"a\"", "LC_ALL=C sort"]);
        place.write("bad.csv", csv(&held) + "zz,\"\n");
        let output = place.run("kv load dev bad.csv --sorted");
        said("load", &output, &["never closed", "nothing was stored"]);
        assert!(place.ok("kv dump dev").is_empty());
        place.ok("kv verify dev");
        place.ok("kv load dev in.csv --sorted");
        assert!(place.ok("kv dump dev") == csv(&held).as_bytes());
    }
}

#[test]
fn what_was_loaded_before_a_bad_line_stays() {
    for (name, bad, words) in [
        ("in.csv", "x,\"y", &["in.csv: line 4, column 3: a quote that is opened"][..]),
        ("in.csv", "x", &["in.csv: line 4, column 2: one field"]),
        ("in.csv", ",y", &["in.csv: line 4: the key is empty"]),
        ("in.jsonl", "[\"x\",1]", &["in.jsonl: line 4, column ", "expected a string"]),
        ("in.jsonl", "{\"key\":\"x\"", &["in.jsonl: line 4, column "]),
        ("in.tsv", "x y", &["in.tsv: line 4, column 4: no TAB"]),
    ] {
        let place = place();
        let good = |n: u32| match name {
            "in.csv" => format!("k{n},v{n}\n"),
            "in.tsv" => format!("k{n}\tv{n}\n"),
            _ => format!("[\"k{n}\",\"v{n}\"]\n"),
        };
        let file = |bad: &str| format!("{}{}{}{bad}\n{}", good(1), good(2), good(3), good(5));
        place.write(name, file(bad));
        let output = place.run(&format!("kv load dev {name}"));
        said("load", &output, words);
        said("load", &output, &["the pairs up to line 3 are stored; go on with `--from-line 4`"]);
        assert_eq!(place.ok("kv dump dev"), b"k1,v1\nk2,v2\nk3,v3\n");
        place.refused(&format!("kv load dev {name} --from-line 4"), &["line 4", "nothing was stored"]);
        place.refused(&format!("kv load dev {name} --from-line 9"), &["has 5 lines"]);
        place.ok(&format!("kv load dev {name} --from-line 5"));
        assert_eq!(place.ok("kv dump dev"), b"k1,v1\nk2,v2\nk3,v3\nk5,v5\n");
        place.ok("kv verify dev");
    }
}

#[test]
fn acknowledgements_follow_the_strategy() {
    for place in places() {
        place.write("in.csv", "\"a\n\",1\nb,2\nc,3\n\nd,4\n");
        let durable = |sync: &str| -> Vec<u64> {
            let said =
                String::from_utf8(place.ok(&format!("kv load dev in.csv --acknowledge --sync {sync}")))
                    .unwrap();
            said.lines()
                .filter_map(|line| line.strip_prefix("durable "))
                .map(|line| line.parse().unwrap())
                .collect()
        };
        assert_eq!(durable("always"), [2, 3, 4, 6]);
        assert_eq!(durable("batch:3"), [4, 6]);
        assert_eq!(durable("none"), [6]);
    }
}

#[test]
fn an_interrupt_ends_a_load_in_order() {
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let place = place();
        let (text, held) = pairs(1000, 8);
        let load = "kv load dev - --format csv --acknowledge --sync batch:10ms";
        let input = [text.as_bytes(), b"half a"].concat();
        let mut child = half_loaded(&place, load, &input, 1000);
        kill_process(Pid::from_child(&child), signal).unwrap();
        let stdin = child.stdin.take();
        let output = child.wait_with_output().unwrap();
        drop(stdin);
        assert_eq!(output.status.code(), Some(status));
        assert_eq!(
            String::from_utf8(output.stderr).unwrap(),
            "esker: interrupted; the pairs up to line 1000 are stored; go on with `--from-line 1001`\n"
        );
        assert!(place.ok("kv dump dev") == csv(&held).as_bytes());
        let info: Value = serde_json::from_slice(&place.ok("kv info dev --json")).unwrap();
        assert_eq!(info["log"]["clean"], true);
    }
}

#[test]
fn with_resume_the_same_command_goes_on() {
    for place in places() {
        let (text, held) = pairs(2000, 9);
        place.write("in.csv", format!("name,what\n{text}"));
        let load = "kv load dev - --format csv --header --resume --acknowledge --sync batch:100";
        let cut = text.match_indices('\n').nth(700).unwrap().0;
        let input = format!("name,what\n{}", &text[..cut]);
        let mut child = half_loaded(&place, load, input.as_bytes(), 701);
        child.kill().unwrap();
        child.wait().unwrap();
        let mark = place.ok("kv get dev esker:load");
        assert!(mark.starts_with(b"{\"esker_load\":1,\"lines\":701,"), "{}", String::from_utf8_lossy(&mark));

        place.write("other.csv", format!("name,what\n{}", text.replacen('x', "y", 1)));
        let words =
            ["other.csv: not the file that was being loaded", "first 701 lines", "nothing was stored"];
        place.refused("kv load dev other.csv --header --resume", &words);
        place.write("short.csv", &text[..500]);
        place.refused("kv load dev short.csv --header --resume", &["short.csv: not the file"]);

        let said: Value =
            serde_json::from_slice(&place.ok("kv load dev in.csv --header --resume --json")).unwrap();
        assert_eq!(said["pairs"], 1300);
        assert!(place.ok("kv dump dev") == csv(&held).as_bytes(), "the mark is gone");
        // From the start again, as there is no mark.
        let said: Value =
            serde_json::from_slice(&place.ok("kv load dev in.csv --header --resume=my-mark --json")).unwrap();
        assert_eq!(said["pairs"], 2000);
        assert!(place.ok("kv dump dev") == csv(&held).as_bytes());
    }
}

#[test]
fn a_mark_is_not_mistaken() {
    for place in places() {
        place.ok("kv put dev taken value");
        place.write("in.csv", "a,1\nesker:load,2\nb,3\n");
        place.refused("kv load dev in.csv --resume=taken", &["key \"taken\" has a value that is no mark"]);
        let output = place.run("kv load dev in.csv --resume");
        said("load", &output, &["in.csv: line 2: the key is that of the mark", "up to line 1 are stored"]);
        place.ok("kv load dev in.csv --resume=other");
        assert_eq!(place.ok("kv dump dev"), b"a,1\nb,3\nesker:load,2\ntaken,value\n");
    }
}

#[test]
fn a_file_to_dump_to_is_not_overwritten() {
    let place = place();
    place.ok("kv put dev a 1");
    place.write("out.csv", "mine");
    place.refused("kv dump dev out.csv", &["out.csv: there is such a file already"]);
    assert_eq!(place.bytes("out.csv"), b"mine");
    place.refused("kv dump dev no/out.csv", &["no/out.csv: cannot create it: No such file"]);
    place.refused("kv dump dev out", &["out: no name that tells", "--format"]);
    for arguments in ["kv dump dev", "kv scan dev", "kv get dev a", "kv info dev", "kv verify dev"] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = place.command(arguments).stdout(full).output().unwrap();
        said(arguments, &output, &["standard output: cannot write it: No space left on device"]);
    }
    said("dump", &place.run("kv dump dev /dev/full --format csv"), &["/dev/full: there is such a file"]);
}
