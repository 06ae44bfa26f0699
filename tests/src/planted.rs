//! Bugs, planted one at a time into a copy of the tree: the quick checkers must catch every one of them.
//!
//! Each `tests/planted/*.patch` says in its header which rule it breaks, and in a line `caught-by: CHECKER [SUITE] [--only NAME]`
//! what is likely to notice (suite `wal`, if none is named). That is run first, then the quick checkers as a whole. What has caught a bug must itself
//! find nothing in the engine as it is.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// What of the tree is copied.
const PARTS: &[&str] =
    &[".cargo", "Cargo.lock", "Cargo.toml", "bench", "engine", "hosts", "rust-toolchain.toml", "tests"];
const CHECKERS: &[&str] = &["crash", "corrupt", "ioerr", "model"];
/// What is run when no hint was right.
const CHECKS: &[[&str; 2]] = &[
    ["crash", "wal"],
    ["corrupt", "wal"],
    ["ioerr", "wal"],
    ["model", "btree"],
    ["crash", "btree"],
    ["corrupt", "btree"],
    ["ioerr", "btree"],
];
/// A checker that takes longer than this is stopped.
const PATIENCE: Duration = Duration::from_secs(240);
/// So long a checker may go on after its first violation, to tell it.
const GRACE: Duration = Duration::from_secs(3);

/// A checker, a suite, and more arguments.
type Check = Vec<String>;
/// The files of the tree, by path in it.
type Files = BTreeMap<PathBuf, Vec<u8>>;

struct Patch {
    name: String,
    path: PathBuf,
    hints: Vec<Check>,
}

/// What a checker came to.
enum Verdict {
    Clean,
    Violation(String),
}

struct Bench {
    tree: PathBuf,
    target: PathBuf,
    clean: PathBuf,
    files: Files,
    /// What each check said of the engine without any patch.
    controls: BTreeMap<Check, Result<(), String>>,
    skip_clean: bool,
}

/// The program.
pub fn main() -> ExitCode {
    let mut only = None;
    let mut skip_clean = false;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match (arg.as_str(), &mut only) {
            ("--skip-clean", _) => skip_clean = true,
            // The quick checkers are what must catch them.
            ("--full", _) => {}
            ("--only", only) => *only = args.next(),
            _ => {
                eprintln!("unknown argument {arg}\nusage: planted [--only NAME] [--skip-clean]");
                return ExitCode::from(2);
            }
        }
    }
    let begun = Instant::now();
    match run(only.as_deref(), skip_clean) {
        Ok((planted, caught)) => {
            println!(
                "{{\"suite\":\"planted\",\"planted\":{planted},\"caught\":{caught},\"violations\":{},\"seconds\":{:.1},\"seed\":0}}",
                planted - caught,
                begun.elapsed().as_secs_f64()
            );
            if planted == caught && planted > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

fn run(only: Option<&str>, skip_clean: bool) -> Result<(usize, usize), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let patches: Vec<Patch> = patches(&root.join("tests/planted"))?
        .into_iter()
        .filter(|patch| only.is_none_or(|only| patch.name.contains(only)))
        .collect();
    let mut bench = Bench::new(&root, skip_clean)?;
    bench.prepare(&patches)?;
    let mut rows = Vec::new();
    let mut caught = 0;
    for patch in &patches {
        let begun = Instant::now();
        let result = bench.plant(patch);
        let seconds = begun.elapsed().as_secs_f64();
        let (by, why) = match result {
            Ok(Some((check, why))) => {
                caught += 1;
                (check.join(" "), why)
            }
            Ok(None) => ("NOT CAUGHT".to_owned(), String::new()),
            Err(why) => ("ERROR".to_owned(), why),
        };
        eprintln!("{}: {by}, {seconds:.1} s: {why}", patch.name);
        rows.push((patch.name.as_str(), by, seconds));
    }
    let wide = rows.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
    println!("{:wide$}  {:36}  seconds", "patch", "caught by");
    for (name, by, seconds) in &rows {
        println!("{name:wide$}  {by:36}  {seconds:7.1}");
    }
    Ok((rows.len(), caught))
}

fn patches(folder: &Path) -> Result<Vec<Patch>, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut patches = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "patch") {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let hint = |line: &str| {
            let words = line.strip_prefix("caught-by: ")?.split_whitespace();
            let mut check: Check = words.map(str::to_owned).collect();
            if check.get(1).is_none_or(|word| word.starts_with('-')) {
                check.insert(1.min(check.len()), "wal".to_owned());
            }
            Some(check)
        };
        let hints = text.lines().take_while(|line| !line.starts_with("--- ")).filter_map(hint).collect();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        patches.push(Patch { name, path, hints });
    }
    patches.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(patches)
}

fn collect(root: &Path, part: &Path, files: &mut Files) -> std::io::Result<()> {
    let path = root.join(part);
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            let name = entry?.file_name();
            if name != "target" {
                collect(root, &part.join(name), files)?;
            }
        }
    } else if path.is_file() {
        files.insert(part.to_owned(), fs::read(path)?);
    }
    Ok(())
}

impl Bench {
    fn new(root: &Path, skip_clean: bool) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        // The program is in TARGET/PROFILE.
        let folder = program.ancestors().nth(2).ok_or("no target folder")?.join("planted");
        let mut files = Files::new();
        for part in PARTS {
            collect(root, Path::new(part), &mut files).map_err(|error| format!("{part}: {error}"))?;
        }
        let bench = Self {
            tree: folder.join("tree"),
            target: folder.join("target"),
            clean: folder.join("clean"),
            files,
            controls: BTreeMap::new(),
            skip_clean,
        };
        fs::create_dir_all(&bench.clean).map_err(|error| error.to_string())?;
        bench.lay().map_err(|error| format!("copying the tree: {error}"))?;
        Ok(bench)
    }

    /// Lays the tree out as it is; what has not changed is left alone, so that it is not built again.
    fn lay(&self) -> std::io::Result<()> {
        let mut there = Files::new();
        if self.tree.is_dir() {
            collect(&self.tree, Path::new(""), &mut there)?;
        }
        for path in there.keys().filter(|path| !self.files.contains_key(*path)) {
            fs::remove_file(self.tree.join(path))?;
        }
        for (path, bytes) in &self.files {
            if there.get(path) != Some(bytes) {
                let path = self.tree.join(path);
                fs::create_dir_all(path.parent().unwrap_or(&self.tree))?;
                fs::write(path, bytes)?;
            }
        }
        Ok(())
    }

    fn build(&self, checkers: &[&str]) -> Result<(), String> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.current_dir(&self.tree).args([
            "build",
            "--quiet",
            "--profile",
            "checked",
            "-p",
            "esker-tests",
        ]);
        for checker in checkers {
            command.args(["--bin", checker]);
        }
        // Built often, run shortly.
        let command = command
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_PROFILE_CHECKED_DEBUG", "0")
            .env("CARGO_PROFILE_CHECKED_OPT_LEVEL", "2")
            .env("CARGO_INCREMENTAL", "1")
            .env_remove("RUSTFLAGS");
        let output = command.output().map_err(|error| format!("cargo: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr);
        let errors: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("error")).take(12).collect();
        Err(format!("does not build:\n{}", errors.join("\n")))
    }

    fn program(&self, checker: &str) -> PathBuf {
        self.target.join("checked").join(checker)
    }

    /// Builds the tree without a patch, and holds what the patches hope to be caught by against it.
    fn prepare(&mut self, patches: &[Patch]) -> Result<(), String> {
        eprintln!("building the tree as it is");
        self.build(CHECKERS)?;
        for checker in CHECKERS {
            fs::copy(self.program(checker), self.clean.join(checker)).map_err(|error| error.to_string())?;
        }
        for hint in patches.iter().flat_map(|patch| &patch.hints) {
            if let Err(why) = self.control(hint) {
                eprintln!("{}: {why}", hint.join(" "));
            }
        }
        Ok(())
    }

    /// A checker that complains of the engine as it is proves nothing.
    fn control(&mut self, check: &Check) -> Result<(), String> {
        if self.skip_clean {
            return Ok(());
        }
        if let Some(known) = self.controls.get(check) {
            return known.clone();
        }
        let verdict = match examine(&self.clean, check)? {
            Verdict::Clean => Ok(()),
            Verdict::Violation(why) => Err(format!("finds a violation without any patch: {why}")),
        };
        self.controls.insert(check.clone(), verdict.clone());
        verdict
    }

    /// Plants one bug: what caught it, and with which words.
    fn plant(&mut self, patch: &Patch) -> Result<Option<(Check, String)>, String> {
        self.lay().map_err(|error| error.to_string())?;
        let result = self.look_for(patch);
        self.lay().map_err(|error| error.to_string())?;
        result
    }

    fn look_for(&mut self, patch: &Patch) -> Result<Option<(Check, String)>, String> {
        // The copy may lie inside a repository, which must not matter.
        let mut apply = Command::new("git");
        apply
            .current_dir(&self.tree)
            .env("GIT_CEILING_DIRECTORIES", self.tree.parent().unwrap_or(&self.tree));
        let output =
            apply.args(["apply", "-p1"]).arg(fs::canonicalize(&patch.path).unwrap_or_default()).output();
        let output = output.map_err(|error| format!("git: {error}"))?;
        if !output.status.success() {
            return Err(format!("no longer applies: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        let mut checks = patch.hints.clone();
        checks.extend(CHECKS.iter().map(|check| check.map(str::to_owned).to_vec()));
        let mut built = false;
        for (number, check) in checks.iter().enumerate() {
            let hinted = number < patch.hints.len();
            if !built {
                let first = check.first().map_or("", String::as_str);
                if hinted && patch.hints.len() == 1 {
                    self.build(&[first])?;
                } else {
                    self.build(CHECKERS)?;
                    built = true;
                }
            }
            if let Verdict::Violation(why) = examine(&self.target.join("checked"), check)? {
                self.control(check).map_err(|why| format!("{}: {why}", check.join(" ")))?;
                return Ok(Some((check.clone(), why)));
            }
            eprintln!("{}: {} sees nothing", patch.name, check.join(" "));
        }
        Ok(None)
    }
}

/// Whether a line tells of a violation: one by itself, or a scenario's summary.
fn tells(line: &str) -> bool {
    let count = line.split_once(" violations, ").and_then(|(before, _)| before.rsplit(' ').next());
    line.starts_with("VIOLATION ") || count.is_some_and(|count| count != "0")
}

/// Runs a checker, and stops it soon after it has found something.
fn examine(folder: &Path, check: &Check) -> Result<Verdict, String> {
    let (checker, args) = check.split_first().ok_or("an empty hint")?;
    let mut command = Command::new(folder.join(checker));
    let command = command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{checker}: {error}"))?;
    let (Some(mut stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err("no pipe".into());
    };
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let mut until = Instant::now() + PATIENCE;
    let mut found: Option<String> = None;
    let mut last = String::new();
    let stopped = loop {
        match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if tells(&line) {
                    if found.is_none() {
                        until = Instant::now() + GRACE;
                    }
                    let told = line.starts_with("VIOLATION ");
                    found = Some(line.chars().take(160).collect());
                    if told {
                        break true;
                    }
                }
                last = line;
            }
            Err(mpsc::RecvTimeoutError::Timeout) => break true,
            Err(mpsc::RecvTimeoutError::Disconnected) => break false,
        }
    };
    if stopped {
        let _ = child.kill();
    }
    let mut json = String::new();
    let _ = stdout.read_to_string(&mut json);
    let status = child.wait().map_err(|error| error.to_string())?;
    match found {
        Some(why) => Ok(Verdict::Violation(why)),
        None if stopped => Err(format!("{checker} takes more than {} s", PATIENCE.as_secs())),
        None if status.success() && json.contains("\"violations\":0,") => Ok(Verdict::Clean),
        None => Err(format!("{checker} ended with {status}: {last}")),
    }
}
