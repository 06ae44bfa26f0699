//! Instructions outside the kernel: from the processor, where it counts them and the kernel lets us ask; or from callgrind
//! (`--callgrind`), which runs the process on a processor of its own making: everything is fifty times slower there, and the
//! count is the same each time.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{FromRawFd, RawFd};
use std::path::{Path, PathBuf};

/// A counter of the instructions of this process.
#[derive(Debug)]
pub enum Instructions {
    /// They can't be counted here; virtual machines often have no counters.
    Unknown,
    /// The processor's.
    Processor(File),
    /// Callgrind's, which writes a file at each [`mark`].
    Callgrind {
        /// The files are called this, a dot and a number from 1.
        files: PathBuf,
        /// The number of the last one.
        last: Cell<u32>,
        /// The instructions of all of them.
        sum: Cell<u64>,
    },
}

impl Instructions {
    /// Begins to count. `callgrind`: the process was started by [`under_callgrind`] with this.
    pub fn new(callgrind: Option<&Path>) -> Self {
        match callgrind {
            Some(files) => Self::Callgrind { files: files.into(), last: Cell::new(0), sum: Cell::new(0) },
            None => open(HARDWARE, INSTRUCTIONS).map_or(Self::Unknown, Self::Processor),
        }
    }

    /// How many there were so far.
    pub fn count(&self) -> Option<u64> {
        match self {
            Self::Unknown => None,
            Self::Processor(file) => {
                let mut bytes = [0; 8];
                (&*file).read_exact(&mut bytes).ok()?;
                Some(u64::from_ne_bytes(bytes))
            }
            Self::Callgrind { files, last, sum } => {
                mark();
                last.set(last.get() + 1);
                let file = files.with_extension(last.get().to_string());
                let text = fs::read_to_string(&file).ok()?;
                let _ = fs::remove_file(file);
                let totals = text.lines().rev().find_map(|line| line.strip_prefix("totals: "))?;
                sum.set(sum.get() + totals.trim().parse::<u64>().ok()?);
                Some(sum.get())
            }
        }
    }
}

/// Callgrind is told to look for the name.
#[inline(never)]
fn mark() {
    std::hint::black_box(());
}

/// The program and arguments that run a program under callgrind, which then writes its counts to `files`.
pub fn under_callgrind(files: &Path, program: &OsStr, arguments: &[OsString]) -> (PathBuf, Vec<OsString>) {
    let mut out = OsString::from("--callgrind-out-file=");
    out.push(files);
    let options =
        ["-q", "--tool=callgrind", "--log-file=/dev/null", "--dump-before=*esker_bench*instructions*mark*"];
    let own = options.iter().map(OsString::from).chain([out, program.into()]);
    ("valgrind".into(), own.chain(arguments.iter().cloned()).collect())
}

/// `PERF_TYPE_HARDWARE`
const HARDWARE: u32 = 0;
/// `PERF_COUNT_HW_INSTRUCTIONS`
const INSTRUCTIONS: u64 = 1;

/// `struct perf_event_attr` in its first version (`PERF_ATTR_SIZE_VER0`).
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint: u32,
    config1: u64,
}

#[allow(unsafe_code)]
fn open(kind: u32, config: u64) -> Option<File> {
    // Threads that are started later as well; not the kernel, not the hypervisor.
    const INHERIT: u64 = 1 << 1;
    const EXCLUDE_KERNEL: u64 = 1 << 5;
    const EXCLUDE_HYPERVISOR: u64 = 1 << 6;
    let attributes = Attributes {
        kind,
        size: size_of::<Attributes>() as u32,
        config,
        flags: INHERIT | EXCLUDE_KERNEL | EXCLUDE_HYPERVISOR,
        ..Attributes::default()
    };
    let (this_process, any_processor, no_group, close_on_exec) = (0, -1, -1, 8_u64);
    // SAFETY: the pointer is to a live `perf_event_attr` of the size that it tells; the call keeps nothing of it.
    let descriptor = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            this_process,
            any_processor,
            no_group,
            close_on_exec,
        )
    };
    let descriptor = RawFd::try_from(descriptor).ok().filter(|descriptor| *descriptor >= 0)?;
    // SAFETY: the call has just made it, and nobody else knows of it.
    Some(unsafe { File::from_raw_fd(descriptor) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `PERF_TYPE_SOFTWARE`, `PERF_COUNT_SW_TASK_CLOCK`: nanoseconds, which every kernel can count for itself.
    #[test]
    fn a_counter_counts_on() {
        // A container may forbid all of it.
        let Some(file) = open(1, 1) else { return };
        let counter = Instructions::Processor(file);
        let before = counter.count().unwrap();
        let sum: u64 = (0..1_000_000).map(std::hint::black_box).sum();
        assert!(sum > 0 && counter.count().unwrap() > before);
    }

    #[test]
    fn files_of_callgrind_are_added_up() {
        let folder = tempfile::tempdir().unwrap();
        let counter = Instructions::new(Some(&folder.path().join("counts")));
        fs::write(folder.path().join("counts.1"), "fn=(1) main\n1 100\n\ntotals: 100\n").unwrap();
        fs::write(folder.path().join("counts.2"), "fn=(1) main\n1 23\n\ntotals: 23\n").unwrap();
        assert_eq!((counter.count(), counter.count(), counter.count()), (Some(100), Some(123), None));
    }

    #[test]
    fn more_work_is_more_instructions_or_nothing_is_told() {
        let counter = Instructions::new(None);
        let before = counter.count();
        let sum: u64 = (0..1_000_000).map(std::hint::black_box).sum();
        assert!(sum > 0 && counter.count().zip(before).is_none_or(|(now, then)| now - then >= 1_000_000));
    }
}
