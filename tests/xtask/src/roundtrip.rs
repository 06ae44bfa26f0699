//! End to end: a text file into a log and back, byte by byte, through the program as a user runs it.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;
use crate::cargo::{cargo, run as call, shown};
use crate::test::Scale;

pub fn run(scale: Scale) -> Result<(), Failure> {
    let dir = TempDir::new()?;
    let (text, device, back) = (dir.file("text"), dir.file("device.img"), dir.file("back"));

    let mut file = BufWriter::new(File::create(&text)?);
    write_lines(&mut file, scale.lines)?;
    file.into_inner()?.sync_all()?;
    println!("{} lines, {} bytes", scale.lines, text.metadata()?.len());

    let append = &mut esker(scale);
    append.args(["wal", "append"]).arg(&device).arg(&text);
    println!("{}", shown(append));
    call(append)?;

    let cat = &mut esker(scale);
    cat.args(["wal", "cat"]).arg(&device).stdout(File::create(&back)?);
    println!("{}", shown(cat));
    call(cat)?;

    match first_difference(BufReader::new(File::open(&text)?), BufReader::new(File::open(&back)?))? {
        None => Ok(()),
        Some(at) => Err(format!("what came back differs from byte {at} on").into()),
    }
}

fn esker(scale: Scale) -> Command {
    let mut command = cargo();
    command.args([
        "run",
        "--quiet",
        "--profile",
        scale.profile,
        "-p",
        "esker-program",
        "--bin",
        "esker",
        "--",
    ]);
    command
}

/// Lines of 0 to 119 characters, some of them more than a byte long: the same in every run.
fn write_lines(out: &mut impl Write, lines: u64) -> std::io::Result<()> {
    const LETTERS: [char; 16] =
        ['a', 'e', 'i', 'o', 'u', 'k', 's', 't', 'Z', '0', '7', ' ', '\t', 'é', '山', '🜂'];
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        // Marsaglia's xorshift64.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut line = String::new();
    for number in 0..lines {
        line.clear();
        let length = next() % 120;
        if length > 20 {
            line = format!("{number} ");
        }
        let mut bits = 0;
        for index in 0..length {
            if index % 16 == 0 {
                bits = next();
            }
            line.push(LETTERS[(bits & 15) as usize]);
            bits >>= 4;
        }
        line.push('\n');
        out.write_all(line.as_bytes())?;
    }
    Ok(())
}

/// Where two streams first differ, a shorter one at its end.
fn first_difference(mut left: impl BufRead, mut right: impl BufRead) -> std::io::Result<Option<u64>> {
    let mut at = 0;
    loop {
        let (a, b) = (left.fill_buf()?, right.fill_buf()?);
        let len = a.len().min(b.len());
        if let Some(index) = a.iter().zip(b).position(|(a, b)| a != b) {
            return Ok(Some(at + index as u64));
        }
        if len == 0 {
            return Ok(if a.is_empty() && b.is_empty() { None } else { Some(at) });
        }
        left.consume(len);
        right.consume(len);
        at += len as u64;
    }
}

/// A directory of this process, removed at the end.
struct TempDir(PathBuf);

impl TempDir {
    fn new() -> std::io::Result<Self> {
        let dir = std::env::temp_dir().join(format!("esker-roundtrip-{}", std::process::id()));
        std::fs::create_dir(&dir)?;
        Ok(Self(dir))
    }

    fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_the_same_in_every_run_and_of_many_kinds() {
        let (mut once, mut again) = (Vec::new(), Vec::new());
        write_lines(&mut once, 5000).unwrap();
        write_lines(&mut again, 5000).unwrap();
        assert_eq!(once, again);
        let text = String::from_utf8(once).unwrap();
        assert_eq!(text.lines().count(), 5000);
        assert!(text.lines().any(str::is_empty));
        assert!(text.lines().any(|line| line.chars().count() >= 119));
        assert!(text.contains('🜂'));
    }

    #[test]
    fn differences_are_found_wherever_they_are() {
        let find = |a: &str, b: &str, size| {
            let reader = |text: &str| BufReader::with_capacity(size, std::io::Cursor::new(text.to_owned()));
            first_difference(reader(a), reader(b)).unwrap()
        };
        for size in [1, 2, 3, 100] {
            assert_eq!(find("", "", size), None);
            assert_eq!(find("abcdefg", "abcdefg", size), None);
            assert_eq!(find("abcdefg", "abcdeXg", size), Some(5));
            assert_eq!(find("abc", "abcd", size), Some(3));
            assert_eq!(find("abcd", "abc", size), Some(3));
            assert_eq!(find("", "a", size), Some(0));
        }
    }
}
