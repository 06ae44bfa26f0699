//! The program as a user runs it: what goes in comes out, and what is wrong is said in one line.

mod commands;
mod damage;
mod disks;
mod kills;
mod kv;
mod limits;
mod loops;
mod measures;
mod refusals;
mod round_trips;
mod signals;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A directory to work in, removed at the end; the program runs there, so that names are short.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_esker"));
        command.args(arguments.split_whitespace()).current_dir(self.0.path()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs with `input` on standard input.
    fn feed(&self, arguments: &str, input: &[u8]) -> Output {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // A program that has failed reads no further.
                let _ = stdin.write_all(input);
            });
            child.wait_with_output().unwrap()
        })
    }

    /// Runs what must succeed, in silence on standard error; returns what it printed.
    #[track_caller]
    fn ok(&self, arguments: &str) -> Vec<u8> {
        succeeded(arguments, &self.run(arguments))
    }

    /// Runs what must fail with one line that says all of `words`, and changes neither `dev` nor any name.
    #[track_caller]
    fn refused(&self, arguments: &str, words: &[&str]) {
        self.refused_fed(arguments, b"", words);
    }

    #[track_caller]
    fn refused_fed(&self, arguments: &str, input: &[u8], words: &[&str]) {
        let state = || (self.names(), fs::read(self.path("dev")).ok());
        let before = state();
        let output = self.feed(arguments, input);
        assert!(before == state(), "`{arguments}` has changed the device");
        assert!(output.stdout.is_empty(), "`{arguments}` has written to standard output");
        said(arguments, &output, words);
    }

    fn names(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        names.sort();
        names
    }
}

#[track_caller]
fn succeeded(arguments: &str, output: &Output) -> Vec<u8> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "`{arguments}`: {} {stderr}", output.status);
    output.stdout.clone()
}

/// It failed with one line that says all of `words`.
#[track_caller]
fn said(arguments: &str, output: &Output, words: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "`{arguments}`: {stderr}");
    assert!(stderr.starts_with("esker: ") && stderr.ends_with('\n'), "`{arguments}`: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "`{arguments}`: {stderr}");
    for word in words {
        assert!(stderr.contains(word), "`{arguments}` does not say {word:?}: {stderr}");
    }
}

/// Says that a test could not run: on standard error, past what captures the output of tests that pass.
fn skipped(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}

/// Lines of many lengths, each with its number, so that no two are the same.
fn numbered(count: usize) -> Vec<u8> {
    let mut text = Vec::new();
    for n in 0..count {
        writeln!(text, "{n} {}", "x".repeat(n * 7 % 150)).unwrap();
    }
    text
}

/// Marsaglia's xorshift64: the same moments in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
