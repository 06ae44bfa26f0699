//! Building `tests/firmware` for a Cortex-M3, with whatever compiler this machine has for it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Failure;
use crate::cargo::{cargo, first_line, forget, root, run, shown, succeeds, target_dir};

const TARGET: &str = "thumbv7m-none-eabi";
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
}

/// Builds every image.
///
/// Rustup's toolchain does it if it has the target; `rust-toolchain.toml` names the target, so it has, unless this
/// machine can't fetch it. Then Debian's compiler does, with a `core` built from source.
pub fn build() -> Result<Images, Failure> {
    let sysroot = PathBuf::from(first_line(rustc().args(["--print", "sysroot"]))?);
    if sysroot.join("lib/rustlib").join(TARGET).is_dir() {
        build_with(cargo(), "rustup", &first_line(rustc().arg("--version"))?)
    } else {
        let linker = install(&sysroot)?;
        let compiler = first_line(debian("/usr/bin/rustc").arg("--version"))?;
        let mut command = debian("/usr/bin/cargo");
        command.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
        command.env("CARGO_TARGET_THUMBV7M_NONE_EABI_LINKER", linker);
        command.arg("-Zbuild-std=core");
        build_with(command, "debian", &compiler)
    }
}

/// The `rustc` that belongs to the cargo that runs this program.
fn rustc() -> Command {
    let mut command = Command::new("rustc");
    command.current_dir(root());
    command
}

/// A program of Debian's toolchain, for which nothing holds that the cargo around us said to its children.
fn debian(program: &str) -> Command {
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

fn build_with(mut command: Command, kind: &str, compiler: &str) -> Result<Images, Failure> {
    // Apart from the workspace, and apart from each other: they would undo each other's work.
    let target_dir = target_dir()?.join("firmware").join(kind);
    command.current_dir(root().join("tests/firmware"));
    command.args(["build", "--release", "--bins", "--target", TARGET]).env("CARGO_TARGET_DIR", &target_dir);
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    eprintln!("{compiler}: {}", shown(&command));
    run(command.stdout(Stdio::from(std::io::stderr())))?;
    Ok(Images { compiler: compiler.to_owned(), dir: target_dir.join(TARGET).join("release") })
}

/// The linker of rustup's toolchain, or else one of Debian's.
fn linker(sysroot: &Path) -> Option<PathBuf> {
    let hosts = std::fs::read_dir(sysroot.join("lib/rustlib")).into_iter().flatten().flatten();
    let rustups = hosts.map(|host| host.path().join("bin/rust-lld"));
    let debians = ["/usr/bin/rust-lld", "/usr/bin/ld.lld"].map(PathBuf::from);
    rustups.chain(debians).find(|path| path.is_file())
}

/// Sees to it that Debian's compiler, the source of its `core` and a linker are there; says which linker.
fn install(sysroot: &Path) -> Result<PathBuf, Failure> {
    if is_installed()
        && let Some(linker) = linker(sysroot)
    {
        return Ok(linker);
    }
    let mut packages = PACKAGES.to_vec();
    if linker(sysroot).is_none() {
        packages.push("lld");
    }
    let advice = format!(
        "nothing builds for {TARGET} here: `rustup target add {TARGET}`, or `apt-get install {}`",
        packages.join(" ")
    );
    if !is_root() || !succeeds(Command::new("apt-get").arg("--version")) {
        return Err(advice.into());
    }
    eprintln!("installing {} to build for {TARGET}", packages.join(" "));
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::from(std::io::stderr()));
        command
    };
    run(apt().args(["-qq", "update"]))?;
    run(apt().args(["-qq", "install", "-y", "--no-install-recommends"]).args(packages))?;
    linker(sysroot).filter(|_| is_installed()).ok_or_else(|| advice.into())
}

fn is_installed() -> bool {
    let recent = first_line(debian("/usr/bin/rustc").arg("--version"))
        .is_ok_and(|version| minor(&version).is_some_and(|minor| minor >= OLDEST));
    let source = first_line(debian("/usr/bin/rustc").args(["--print", "sysroot"]))
        .is_ok_and(|sysroot| Path::new(&sysroot).join("lib/rustlib/src/rust/library/core").is_dir());
    recent && source && succeeds(debian("/usr/bin/cargo").arg("--version"))
}

fn is_root() -> bool {
    first_line(Command::new("id").arg("-u")).is_ok_and(|id| id == "0")
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
