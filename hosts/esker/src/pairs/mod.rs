//! Pairs of a key and a value as they stand in files: CSV, JSON lines, and `key<TAB>value`.
//!
//! What is written here is read back the same, byte for byte; what can't be written so is refused and not changed.

mod csv;
mod encoding;
mod json;
mod records;
mod tsv;
mod writer;

use std::fmt;

pub use encoding::{decode, encode};
pub use records::{Next, Reading, Records, Tip};
pub use writer::{Unwritten, Writer, shown};

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// Bytes of the text before it.
    pub at: usize,
    pub why: String,
}

impl Bad {
    fn new(at: usize, why: impl Into<String>) -> Self {
        Self { at, why: why.into() }
    }

    /// The same, seen from where the text itself stands `by` bytes on.
    fn moved(self, by: usize) -> Self {
        Self { at: self.at + by, ..self }
    }
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// A pair that is read into the same memory again and again.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pair {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

/// The same properties of the same bytes in every run.
#[cfg(test)]
fn property_config() -> proptest::test_runner::Config {
    use proptest::test_runner::{Config, RngSeed};
    Config { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..Config::default() }
}
