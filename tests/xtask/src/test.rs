//! The whole suite, in the order in which a mistake is cheapest to see.

use std::process::Command;

use crate::cargo::{self, cargo, shown, succeeds};
use crate::firmware::{self, Job};
use crate::qemu::{self, QemuArguments};
use crate::report::{self, Outcome, Step};
use crate::{Failure, cost, debian, roundtrip, size};

/// The checkers of package `esker-tests`, by binary, with their arguments. A full run adds `--full`.
const CHECKERS: &[(&str, &[&str])] = &[
    ("crash", &["wal"]),
    ("corrupt", &["wal"]),
    ("ioerr", &["wal"]),
    ("model", &["btree"]),
    ("crash", &["btree"]),
    ("corrupt", &["btree"]),
    ("ioerr", &["btree"]),
    ("model", &["lsm"]),
    ("crash", &["lsm"]),
    ("corrupt", &["lsm"]),
    ("ioerr", &["lsm"]),
    ("model", &["places"]),
    ("crash", &["places"]),
    ("corrupt", &["places"]),
    ("ioerr", &["places"]),
    ("fuzz", &[]),
    // Those above have found nothing in the tree as it is, which need not be found again.
    ("planted", &["--skip-clean"]),
];

/// How much is tried.
#[derive(Clone, Copy)]
pub struct Scale {
    pub full: bool,
    /// The profile of the checkers and of the program.
    pub profile: &'static str,
    /// Lines of the file that goes through the log and back.
    pub lines: u64,
}

/// All but what brings the peers of the benchmarks with all features: more than a hundred packages, for a full run only.
const LIBRARIES: &str = "--workspace --exclude esker-bench --exclude esker-program";
const PROGRAMS: &str = "-p esker-bench -p esker-program";

const QUICK: Scale = Scale { full: false, profile: "checked", lines: 20_000 };
const FULL: Scale = Scale { full: true, profile: "release", lines: 1_000_000 };

pub fn run(full: bool) -> Result<(), Failure> {
    report::run(steps(if full { FULL } else { QUICK }))
}

fn steps(scale: Scale) -> Vec<Step> {
    let mut steps = vec![
        Step::new("format", format),
        call("lints", format!("clippy {LIBRARIES} --all-targets --all-features -- -D warnings")),
        call("lints of programs", format!("clippy {PROGRAMS} --all-targets -- -D warnings")),
        Step::new("tools", tools),
        call("unit and doc tests", format!("test {LIBRARIES} --all-features")),
        call("tests of programs", format!("test {PROGRAMS}")),
        call("the engine as firmware has it", "test -p esker --lib".into()),
        Step::new("docs", docs),
        Step::new("firmware size", || size::run(false).map(|()| Outcome::Passed)),
        Step::new("cost on the core", || cost::run().map(|()| Outcome::Passed)),
        Step::new("no reachable panic", panic_free),
        Step::new("smallest core", || build(&firmware::SMALLEST)),
    ];
    for (name, arguments) in CHECKERS {
        let title = [&["checker", *name], *arguments].concat().join(" ");
        steps.push(Step::new(title, move || checker(scale, name, arguments)));
    }
    if scale.full {
        steps.push(call("peers", format!("clippy {PROGRAMS} --all-targets --all-features -- -D warnings")));
        steps.push(call("tests of the peers", "test -p esker-bench --features peers".into()));
        steps.push(Step::new("kills", kills));
    }
    let boards = QemuArguments { full: scale.full, ..QemuArguments::default() };
    steps.push(Step::new("boards", move || qemu::run(&boards).map(|()| Outcome::Passed)));
    steps.push(Step::new("roundtrip", move || roundtrip::run(scale).map(|()| Outcome::Passed)));
    steps
}

/// What the tests of real devices call, by Debian package.
const TOOLS: &[(&str, &str)] =
    &[("strace", "strace"), ("losetup", "mount"), ("blkid", "util-linux"), ("mkfs.ext4", "e2fsprogs")];

/// Without these the tests that need them skip, each with a line that says so.
fn tools() -> Result<Outcome, Failure> {
    let missing = |tool: &str| !succeeds(Command::new(tool).arg("-V"));
    let packages: Vec<_> =
        TOOLS.iter().filter(|(tool, _)| missing(tool)).map(|(_, package)| *package).collect();
    if packages.is_empty() {
        return Ok(Outcome::Passed);
    }
    if let Err(why) = debian::install(&packages) {
        println!("install {} yourself ({why}): tests that need them are skipped", packages.join(", "));
        return Ok(Outcome::Skipped);
    }
    Ok(Outcome::Passed)
}

/// A step that is one call of cargo.
fn call(name: &str, arguments: String) -> Step {
    Step::new(name, move || passes(cargo().args(arguments.split(' '))))
}

fn passes(command: &mut Command) -> Result<Outcome, Failure> {
    println!("{}", shown(command));
    cargo::run(command).map(|()| Outcome::Passed)
}

/// The check is checked first: one `unwrap` on what a device says must be noticed.
fn panic_free() -> Result<Outcome, Failure> {
    firmware::lacks(&firmware::PLANTED_PANIC, "a_panic_is_reachable")?;
    build(&firmware::PANIC_FREE)
}

fn build(job: &Job) -> Result<Outcome, Failure> {
    firmware::build(job).map(|_| Outcome::Passed)
}

fn format() -> Result<Outcome, Failure> {
    if !succeeds(cargo().args(["fmt", "--version"])) {
        println!("rustfmt is not installed (`rustup component add rustfmt`): skipped");
        return Ok(Outcome::Skipped);
    }
    passes(cargo().args(["fmt", "--all", "--check"]))?;
    passes(cargo().args(["fmt", "--check", "--manifest-path", "tests/firmware/Cargo.toml"]))
}

/// Libraries only: the program has the name of the engine, and its pages would take their place.
fn docs() -> Result<Outcome, Failure> {
    let mut command = cargo();
    command.args(["doc", "--workspace", "--lib", "--no-deps", "--features"]);
    command.arg("esker/defmt,esker/embedded-sdmmc,esker/embedded-storage");
    passes(command.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Two hundred kills of an import on each kind of device.
fn kills() -> Result<Outcome, Failure> {
    passes(cargo().env("ESKER_FULL", "1").args(["test", "-p", "esker-program", "--test", "program", "kills"]))
}

fn checker(scale: Scale, name: &str, arguments: &[&str]) -> Result<Outcome, Failure> {
    let mut command = cargo();
    command.args(["run", "--quiet", "--profile", scale.profile, "-p", "esker-tests", "--bin", name, "--"]);
    command.args(arguments);
    if scale.full {
        command.arg("--full");
    }
    passes(&mut command)
}
