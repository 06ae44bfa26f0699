//! Building for microcontrollers, with whatever compiler this machine has for them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Failure;
use crate::cargo::{cargo, first_line, forget, root, run, shown, succeeds, target_dir};
use crate::debian;

/// What there is to build, and how.
pub struct Job {
    /// Folder to call cargo in, from the root of the workspace.
    folder: &'static str,
    target: &'static str,
    arguments: &'static [&'static str],
    /// Folder of the profile that the arguments choose.
    profile: &'static str,
}

/// A Cortex-M3, the core of the boards.
const CORTEX_M3: &str = "thumbv7m-none-eabi";
/// A Cortex-M0: loads and stores are all it has of atomics.
const CORTEX_M0: &str = "thumbv6m-none-eabi";

/// An image of `tests/firmware`.
const fn probe(arguments: &'static [&'static str]) -> Job {
    Job { folder: "tests/firmware", target: CORTEX_M3, arguments, profile: "release" }
}

/// The images whose size is measured.
pub const PROBES: Job =
    probe(&["--release", "--bin", "empty", "--bin", "wal", "--bin", "kv", "--bin", "kv-lsm"]);

/// The images that measure instructions and stack.
pub const COST: Job = probe(&["--release", "--bin", "cost", "--bin", "cost-lsm", "--features", "fast-crc"]);

/// The image that links only if no panic is reachable.
pub const PANIC_FREE: Job = probe(&["--release", "--bin", "panic-free", "--features", "panic-free"]);

/// The same, with a panic in it that depends on what the device says: it must not link.
pub const PLANTED_PANIC: Job =
    probe(&["--release", "--bin", "panic-free", "--features", "panic-free,planted"]);

/// The data logger, for each board.
pub const LOGGER: Job = Job {
    folder: "",
    target: CORTEX_M3,
    arguments: &["--profile", "firmware", "-p", "esker-qemu", "--bins"],
    profile: "firmware",
};

/// The engine with all features that are for firmware, for the smallest core.
pub const SMALLEST: Job = Job {
    folder: "",
    target: CORTEX_M0,
    arguments: &[
        "--profile",
        "firmware",
        "-p",
        "esker",
        "--lib",
        "--features",
        "defmt,embedded-sdmmc,embedded-storage",
    ],
    profile: "firmware",
};

const PACKAGES: [&str; 4] = ["rustc-web", "rust-web-src", "libstd-rust-web-dev", "cargo-web"];
/// The oldest `rustc 1.x` that the engine compiles with.
const OLDEST: u32 = 95;

/// Images that were built.
pub struct Images {
    /// The compiler, as it calls itself.
    pub compiler: String,
    dir: PathBuf,
}

impl Images {
    /// The ELF file of an image.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The folder with the ELF files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// Builds what `job` names.
pub fn build(job: &Job) -> Result<Images, Failure> {
    let mut build = prepare(job)?;
    eprintln!("{}: {}", build.images.compiler, shown(&build.command));
    run(build.command.stdout(Stdio::from(std::io::stderr())))?;
    Ok(build.images)
}

/// Succeeds if what `job` names does not link for want of the function `missing`.
pub fn lacks(job: &Job, missing: &str) -> Result<(), Failure> {
    let mut build = prepare(job)?;
    eprintln!("{}: {}", build.images.compiler, shown(&build.command));
    let output = build.command.output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() && text.contains(&format!("undefined symbol: {missing}")) {
        Ok(())
    } else {
        Err(format!("this should not link for want of `{missing}`, but: {}\n{text}", output.status).into())
    }
}

/// A call of cargo that is ready to go.
struct Build {
    command: Command,
    images: Images,
}

/// Rustup's toolchain does it if it has the target; `rust-toolchain.toml` names the targets, so it has, unless this
/// machine can't fetch them. Then Debian's compiler does, with a `core` built from source.
fn prepare(job: &Job) -> Result<Build, Failure> {
    let sysroot = PathBuf::from(first_line(rustc().args(["--print", "sysroot"]))?);
    if sysroot.join("lib/rustlib").join(job.target).is_dir() {
        return prepare_with(job, cargo(), "rustup", first_line(rustc().arg("--version"))?);
    }
    let linker = install(job.target, &sysroot)?;
    let compiler = first_line(system("/usr/bin/rustc").arg("--version"))?;
    let mut command = system("/usr/bin/cargo");
    command.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
    let variable = format!("CARGO_TARGET_{}_LINKER", job.target.to_uppercase().replace('-', "_"));
    command.env(variable, linker);
    command.arg("-Zbuild-std=core");
    prepare_with(job, command, "debian", compiler)
}

/// The `rustc` that belongs to the cargo that runs this program.
fn rustc() -> Command {
    let mut command = Command::new("rustc");
    command.current_dir(root());
    command
}

/// A program of Debian's toolchain, for which nothing holds that the cargo around us said to its children.
fn system(program: &str) -> Command {
    let mut command = Command::new(program);
    forget(&mut command, |name| {
        name.starts_with("RUST")
            || name.starts_with("CARGO_BUILD_")
            || name.starts_with("CARGO_PKG_")
            || name.starts_with("CARGO_MANIFEST_")
            || matches!(name, "CARGO" | "LD_LIBRARY_PATH" | "OUT_DIR")
    });
    command
}

fn prepare_with(job: &Job, mut command: Command, kind: &str, compiler: String) -> Result<Build, Failure> {
    // Apart from the workspace, and apart from each other: they would undo each other's work.
    let target_dir = target_dir()?.join("firmware").join(kind);
    command.current_dir(root().join(job.folder));
    command.args(["build", "--target", job.target]).args(job.arguments).env("CARGO_TARGET_DIR", &target_dir);
    command.env("DEFMT_LOG", "info").env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    let dir = target_dir.join(job.target).join(job.profile);
    Ok(Build { command, images: Images { compiler, dir } })
}

/// The linker of rustup's toolchain, or else one of Debian's.
fn linker(sysroot: &Path) -> Option<PathBuf> {
    let hosts = std::fs::read_dir(sysroot.join("lib/rustlib")).into_iter().flatten().flatten();
    let rustups = hosts.map(|host| host.path().join("bin/rust-lld"));
    let debians = ["/usr/bin/rust-lld", "/usr/bin/ld.lld"].map(PathBuf::from);
    rustups.chain(debians).find(|path| path.is_file())
}

/// Sees to it that Debian's compiler, the source of its `core` and a linker are there; says which linker.
fn install(target: &str, sysroot: &Path) -> Result<PathBuf, Failure> {
    if is_installed()
        && let Some(linker) = linker(sysroot)
    {
        return Ok(linker);
    }
    let mut packages = PACKAGES.to_vec();
    if linker(sysroot).is_none() {
        packages.push("lld");
    }
    let names = packages.join(" ");
    let advice = format!(
        "nothing builds for {target} here: `rustup target add {target}`, or `apt-get install {names}`"
    );
    debian::install(&packages).map_err(|failure| format!("{advice} ({failure})"))?;
    linker(sysroot).filter(|_| is_installed()).ok_or_else(|| advice.into())
}

fn is_installed() -> bool {
    let recent = first_line(system("/usr/bin/rustc").arg("--version"))
        .is_ok_and(|version| minor(&version).is_some_and(|minor| minor >= OLDEST));
    let source = first_line(system("/usr/bin/rustc").args(["--print", "sysroot"]))
        .is_ok_and(|sysroot| Path::new(&sysroot).join("lib/rustlib/src/rust/library/core").is_dir());
    recent && source && succeeds(system("/usr/bin/cargo").arg("--version"))
}

/// The minor version in what `rustc --version` prints.
fn minor(version: &str) -> Option<u32> {
    version.strip_prefix("rustc 1.")?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minor_version_is_read() {
        assert_eq!(minor("rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)"), Some(96));
        assert_eq!(minor("rustc 1.63.0"), Some(63));
        assert_eq!(minor("clang 14"), None);
    }
}
