//! What the program says when it can't go on: what is wrong, and what would be right.

use std::fmt;
use std::io;
use std::path::Path;

use esker::store;
use esker::volume;
use esker::wal;

use esker_linux::DeviceError;

/// One line for the user, and the exit status that goes with it.
#[derive(Debug)]
pub struct Failure {
    words: String,
    status: u8,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A path may hold anything, a newline as well; this stays one line.
        for c in self.words.chars() {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
        }
        Ok(())
    }
}

impl Failure {
    pub fn new(message: impl Into<String>) -> Self {
        Self { words: message.into(), status: 1 }
    }

    /// The command line is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { words: message.into(), status: 2 }
    }

    /// There is no such key: no failure of anything, and told apart from all of them.
    pub fn absent(device: &Path) -> Self {
        Self { status: 3, ..Self::at(device, "no such key") }
    }

    /// A signal has ended it: the exit status is what a shell would report.
    pub fn interrupted(signal: u8) -> Self {
        Self::signalled(signal, "interrupted")
    }

    /// The same in other words.
    pub fn signalled(signal: u8, message: impl Into<String>) -> Self {
        Self { words: message.into(), status: 128_u8.saturating_add(signal) }
    }

    /// The same with more words behind it.
    pub fn and(self, more: impl fmt::Display) -> Self {
        Self { words: format!("{}; {more}", self.words), ..self }
    }

    /// The exit status.
    pub fn status(&self) -> u8 {
        self.status
    }

    /// About a file or a device.
    pub fn at(path: &Path, why: impl fmt::Display) -> Self {
        Self::new(format!("{}: {why}", path.display()))
    }

    pub fn io(path: &Path, action: &str, error: &io::Error) -> Self {
        Self::at(path, format_args!("cannot {action} it: {error}"))
    }

    /// What a volume answered.
    pub fn volume(device: &Path, error: &volume::Error<DeviceError>) -> Self {
        use volume::Error;
        match error {
            // The file's own words, not their `Debug` form.
            Error::Device(error) => Self::at(device, error),
            Error::NotFormatted => Self::at(
                device,
                "no esker volume here; name another DEV, or have `esker wal create --force` format this one",
            ),
            Error::Version { found, supported } => Self::at(
                device,
                format_args!(
                    "written by another esker (format version {found}, this one reads 2 to {supported}); use that one"
                ),
            ),
            Error::Geometry { recorded, device: found } if found.capacity < recorded.capacity => Self::at(
                device,
                format_args!(
                    "truncated: the volume was made for {} bytes, there are {}; restore all of it",
                    recorded.capacity, found.capacity
                ),
            ),
            Error::TooManyLogs { max } => Self::at(
                device,
                format_args!("the volume holds as many logs as this program can serve ({max})"),
            ),
            error => Self::at(device, error),
        }
    }

    /// What a log answered.
    pub fn log(device: &Path, error: &wal::Error<DeviceError>) -> Self {
        match error {
            wal::Error::Volume(error) => Self::volume(device, error),
            error => Self::at(device, error),
        }
    }

    /// What a key-value store answered.
    pub fn store(device: &Path, error: &store::Error<DeviceError>) -> Self {
        use store::Error;
        match error {
            Error::Log(wal::Error::Full { .. }) => Self::at(
                device,
                "the store's log is full and nothing of it can be given back; make one with more room (`--log-size`, \
                 `--size`), and `dump` this one into it",
            ),
            Error::Log(wal::Error::Corrupt { address, .. }) => Self::at(
                device,
                format_args!(
                    "the store's log is damaged, see address {address}; `esker kv salvage` drops what can't be read"
                ),
            ),
            Error::Log(error) => Self::log(device, error),
            Error::NoStore => Self::at(
                device,
                "a volume with logs and no key-value store; name another DEV, or make a store with `esker kv create`",
            ),
            Error::OtherKind { found } => Self::at(
                device,
                format_args!(
                    "the store here is of a kind that this esker does not know ({found}); use a newer one"
                ),
            ),
            Error::MemoryTooSmall { pages, .. } => Self::at(
                device,
                format_args!(
                    "the cache is too small: this store needs {pages} bytes at least (`--cache {pages}`)"
                ),
            ),
            Error::Full => Self::at(
                device,
                "the store is full; delete pairs, or `dump` it and `load` that into a larger one",
            ),
            Error::Corrupt { address } => Self::at(
                device,
                format_args!("the page at address {address} is damaged; `esker kv verify` lists all that is"),
            ),
            Error::Stuck { address } => Self::at(
                device,
                format_args!(
                    "the page at address {address} is damaged, so nothing can be changed until `esker kv salvage` has \
                     dropped it; reading works"
                ),
            ),
            error => Self::at(device, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line() {
        let failure = Failure::at(Path::new("a\nb\u{1b}"), "not\tthis");
        assert_eq!(failure.to_string(), "a\\nb\\u{1b}: not\\tthis");
    }
}
