//! What stands for a value on the command line: sizes, sync strategies, formats.

use std::fmt;

use clap::ValueEnum;
use esker::wal::SyncStrategy;

/// Bytes, or with a suffix in powers of 1024: `4096`, `64K`, `64KiB`.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let shift = match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return Err("write bytes, or a number with K, M, G or T (powers of 1024)".into()),
    };
    if number.is_empty() {
        return Err("begin with a number, such as in 64M".into());
    }
    // All digits, so what can't be parsed is too large.
    let number = number.parse::<u64>().ok();
    let bytes = number.and_then(|number| number.checked_mul(1 << shift));
    let bytes = bytes.filter(|bytes| *bytes <= i64::MAX as u64);
    bytes.ok_or_else(|| "no device can be that large".into())
}

/// A size that a unit or a segment can have.
pub fn parse_unit(text: &str) -> Result<u32, String> {
    u32::try_from(parse_size(text)?).map_err(|_| "at most 2G".into())
}

/// A size that a segment can have: without bytes it is none, and the engine would take its own choice for it.
pub fn parse_segment(text: &str) -> Result<u32, String> {
    match parse_unit(text)? {
        0 => Err("write a power of two from 1K to 16M".into()),
        bytes => Ok(bytes),
    }
}

/// When entries are made durable while more come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sync(pub SyncStrategy);

/// As `--help` shows it.
pub const SYNC_DEFAULT: &str = "batch:10ms";

impl Sync {
    /// How long entries may wait when no more come, in milliseconds.
    pub fn patience_millis(self) -> Option<u32> {
        match self.0 {
            SyncStrategy::Batch { millis, .. } if millis != 0 => Some(millis),
            _ => None,
        }
    }
}

/// `always`, `none`, or `batch:` and one or several of entries, bytes and time: `batch:100`, `batch:64K`,
/// `batch:10ms`, `batch:1000,10ms`.
pub fn parse_sync(text: &str) -> Result<Sync, String> {
    const USAGE: &str = "write `always`, `none`, or `batch:` with entries, bytes or time, such as batch:100, batch:64K, \
         batch:10ms or batch:100,10ms";
    let conditions = match text {
        "always" => return Ok(Sync(SyncStrategy::Always)),
        "none" => return Ok(Sync(SyncStrategy::Never)),
        _ => text.strip_prefix("batch:").ok_or(USAGE)?,
    };
    let (mut entries, mut bytes, mut millis) = (0, 0, 0);
    for condition in conditions.split(',') {
        let (place, value) = if let Some(number) = condition.strip_suffix("ms") {
            (&mut millis, number.parse().ok())
        } else if let Some(number) = condition.strip_suffix('s') {
            (&mut millis, number.parse::<u32>().ok().and_then(|seconds| seconds.checked_mul(1000)))
        } else if condition.bytes().all(|byte| byte.is_ascii_digit()) {
            (&mut entries, condition.parse().ok())
        } else {
            (&mut bytes, parse_unit(condition).ok())
        };
        // A condition that is 0 would mean none to the engine, and one given twice is a slip.
        let value = value.filter(|value| *value > 0 && *place == 0).ok_or(USAGE)?;
        *place = value;
    }
    Ok(Sync(SyncStrategy::Batch { entries, bytes, millis }))
}

/// How entries stand in a file or a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One entry a line, without its newline
    #[default]
    Lines,
    /// Each entry behind its length, 4 bytes, little-endian
    Binary,
}

impl Format {
    /// One entry in this format.
    pub fn entry(self) -> &'static str {
        match self {
            Self::Lines => "line",
            Self::Binary => "entry",
        }
    }

    /// Bytes that an entry takes beside its payload: a newline, or its length.
    pub fn frame(self) -> usize {
        match self {
            Self::Lines => 1,
            Self::Binary => 4,
        }
    }

    /// Several.
    pub fn entries(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::Binary => "entries",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lines => "lines",
            Self::Binary => "binary",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_suffixes() {
        assert_eq!(parse_size("0"), Ok(0));
        assert_eq!(parse_size("4096"), Ok(4096));
        assert_eq!(parse_size("64k"), Ok(65_536));
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("3G"), Ok(3 << 30));
        assert_eq!(parse_size("1T"), Ok(1 << 40));
        for bad in ["", "M", "-1", "1.5G", "64MB", "1 M", "9999999999999999999999", "99999999T"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        assert!(parse_size("9999999999999999999999").unwrap_err().contains("that large"));
        assert_eq!(parse_unit("2G"), Ok(1 << 31));
        assert!(parse_unit("4G").is_err());
        assert_eq!(parse_unit("0"), Ok(0), "no erase unit");
        assert_eq!(parse_segment("1K"), Ok(1024));
        assert!(parse_segment("0").is_err());
    }

    #[test]
    fn strategies_have_units() {
        let batch = |entries, bytes, millis| Ok(Sync(SyncStrategy::Batch { entries, bytes, millis }));
        assert_eq!(parse_sync("always"), Ok(Sync(SyncStrategy::Always)));
        assert_eq!(parse_sync("none"), Ok(Sync(SyncStrategy::Never)));
        assert_eq!(parse_sync("batch:10ms"), batch(0, 0, 10));
        assert_eq!(parse_sync("batch:2s"), batch(0, 0, 2000));
        assert_eq!(parse_sync("batch:100"), batch(100, 0, 0));
        assert_eq!(parse_sync("batch:64K"), batch(0, 65_536, 0));
        assert_eq!(parse_sync("batch:100,1M,10ms"), batch(100, 1 << 20, 10));
        assert_eq!(parse_sync(SYNC_DEFAULT), batch(0, 0, 10));
        for bad in [
            "",
            "batch",
            "batch:",
            "batch:0",
            "batch:10ms,",
            "batch:1,2",
            "batch:-1",
            "batch:5000000s",
            "never",
        ] {
            assert!(parse_sync(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_time_makes_a_silent_stream_durable() {
        assert_eq!(parse_sync("batch:100,10ms").unwrap().patience_millis(), Some(10));
        assert_eq!(parse_sync("batch:100").unwrap().patience_millis(), None);
        assert_eq!(parse_sync("none").unwrap().patience_millis(), None);
    }
}
