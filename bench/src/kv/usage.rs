//! What this process has used so far, as the kernel counts it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::instructions::Instructions;
use super::store::Engine;

/// Time, processor time and instructions, up to some moment.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    wall: Instant,
    /// On a simulated device its time stands in for `wall`.
    busy: Option<Duration>,
    cpu: Duration,
    instructions: Option<u64>,
}

/// What was used between two moments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// Time, or simulated time.
    pub wall: Duration,
    /// Processor time of all threads.
    pub cpu: Duration,
    /// Instructions of all threads outside the kernel, where the processor can be asked.
    pub instructions: Option<u64>,
}

impl Spent {
    /// Both.
    pub fn and(self, more: Self) -> Self {
        Self {
            wall: self.wall + more.wall,
            cpu: self.cpu + more.cpu,
            instructions: self.instructions.zip(more.instructions).map(|(a, b)| a + b),
        }
    }
}

impl Moment {
    /// Now.
    pub fn now(engine: &dyn Engine, instructions: &Instructions) -> Self {
        let (instructions, cpu) = (instructions.count(), cpu_time());
        Self { wall: Instant::now(), busy: engine.busy(), cpu, instructions }
    }

    /// From then until `now`.
    pub fn until(self, now: Self) -> Spent {
        let real = now.wall - self.wall;
        let wall = self.busy.zip(now.busy).map_or(real, |(then, now)| now.saturating_sub(then));
        Spent {
            wall,
            cpu: now.cpu.saturating_sub(self.cpu),
            instructions: self.instructions.zip(now.instructions).map(|(then, now)| now - then),
        }
    }
}

/// Tells the time and nothing else, without a system call.
#[derive(Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Begins at 0.
    pub fn new() -> Self {
        Self(Instant::now())
    }

    /// So far: real time, or that of the engine's simulated device.
    pub fn time(&self, engine: &dyn Engine) -> Duration {
        engine.busy().unwrap_or_else(|| self.0.elapsed())
    }
}

/// What this process has used so far. (Not through rustix, which looks for the kernel's own code where callgrind has none.)
#[allow(unsafe_code)]
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live value of the type that the call writes.
    if unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) } != 0 {
        return Duration::ZERO;
    }
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

/// Bytes that this process has given to write calls. (`write_bytes`, the line for the disk, counts whole folios where the
/// page cache has large ones, and counts them at the wrong time.)
pub fn written_bytes() -> Option<u64> {
    field(&fs::read_to_string("/proc/self/io").ok()?, "wchar:")
}

/// Begins [`peak_memory`] anew.
pub fn reset_peak_memory() {
    // Without it the peak is that of the whole life of the process: more, not wrong.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// The most memory that was resident at once, in bytes.
pub fn peak_memory() -> Option<u64> {
    Some(field(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")? << 10)
}

/// The first number behind a word.
fn field(text: &str, word: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(word)?.split_whitespace().next()?.parse().ok())
}

/// Bytes and flushes that a disk has done so far: `stat` of its folder in `/sys/block`.
pub fn disk_counts(stat: &Path) -> Option<(u64, u64)> {
    let text = fs::read_to_string(stat).ok()?;
    let mut fields = text.split_whitespace().map(str::parse::<u64>);
    // The kernel's "Block layer statistics": field 7 is sectors of 512 bytes written, field 16 flushes.
    let sectors = fields.nth(6)?.ok()?;
    let flushes = fields.nth(8)?.ok()?;
    Some((sectors * 512, flushes))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn written_bytes_are_those_of_the_calls() {
        let mut file = tempfile::tempfile().unwrap();
        let before = written_bytes().unwrap();
        file.write_all(&[7; 12_345]).unwrap();
        // Other tests write meanwhile.
        assert!(written_bytes().unwrap() - before >= 12_345);
    }

    #[test]
    fn memory_that_was_used_counts_in_the_peak() {
        let before = peak_memory().unwrap();
        let bytes = std::hint::black_box(vec![1_u8; 64 << 20]);
        assert!(peak_memory().unwrap() >= (64 << 20) && bytes[1] == 1 && before > 0);
    }

    #[test]
    fn a_disks_counts_are_in_their_places() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "  1 2 3 4 5 6 70 8 9 10 11 12 13 14 15 160 17\n").unwrap();
        assert_eq!(disk_counts(file.path()), Some((70 * 512, 160)));
        fs::write(file.path(), "  1 2 3 4 5 6 70 8 9 10 11\n").unwrap();
        assert_eq!(disk_counts(file.path()), None, "an old kernel does not count flushes");
    }
}
