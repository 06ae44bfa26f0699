//! Why there is no measurement.

use std::fmt;
use std::path::Path;

/// Why there is no measurement: one line.
#[derive(Debug)]
pub struct Failure {
    words: String,
    signal: Option<u8>,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { words: message.into(), signal: None }
    }

    pub(crate) fn at(path: &Path, why: &dyn fmt::Display) -> Self {
        Self::new(format!("{}: {why}", path.display()))
    }

    pub(crate) fn interrupted(signal: usize) -> Self {
        Self { words: "interrupted; nothing was measured".into(), signal: signal.try_into().ok() }
    }

    /// The signal that has ended it, if one has.
    pub fn signal(&self) -> Option<u8> {
        self.signal
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A path may hold anything, a newline as well; this stays one line.
        self.words.chars().try_for_each(|c| {
            if c.is_control() { write!(f, "{}", c.escape_default()) } else { write!(f, "{c}") }
        })
    }
}

impl std::error::Error for Failure {}
