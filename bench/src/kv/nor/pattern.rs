//! Which pair comes next.

use clap::ValueEnum;
use serde::Serialize;

use crate::kv::pairs::{Pairs, mix};

/// In which order pairs are put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Pattern {
    /// Loaded in random order; each overwrite is of any pair
    Random,
    /// In ascending order of keys, again and again
    Sequential,
    /// In descending order of keys, again and again
    Reverse,
    /// Loaded in random order; nine of ten overwrites are of a tenth of the pairs, which follow each other
    HotSpot,
    /// Loaded in random order; then any pair: removed if it is there, put if it is not
    DeleteHeavy,
}

/// One of so many overwrites is of any pair, in [`Pattern::HotSpot`].
const COLD: u64 = 10;

impl Pattern {
    /// As on the command line and in the reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Sequential => "sequential",
            Self::Reverse => "reverse",
            Self::HotSpot => "hot-spot",
            Self::DeleteHeavy => "delete-heavy",
        }
    }

    /// The number of the pair that is loaded as the `nth`.
    pub fn load(self, nth: u32, pairs: &Pairs) -> u32 {
        match self {
            Self::Sequential => nth,
            Self::Reverse => pairs.count - 1 - nth,
            Self::Random | Self::HotSpot | Self::DeleteHeavy => pairs.shuffled(nth, 2),
        }
    }

    /// The number of the pair that is changed as the `nth`.
    pub fn overwrite(self, nth: u32, pairs: &Pairs) -> u32 {
        let count = pairs.count;
        let random = mix(u64::from(nth) ^ 0x6F76_6572_0000_0000);
        let any = (random % u64::from(count)) as u32;
        match self {
            Self::Sequential => nth % count,
            Self::Reverse => count - 1 - nth % count,
            Self::Random | Self::DeleteHeavy => any,
            Self::HotSpot if mix(random).is_multiple_of(COLD) => any,
            Self::HotSpot => count / 2 + any / COLD as u32,
        }
    }

    /// Whether what is there is removed.
    pub fn removes(self) -> bool {
        self == Self::DeleteHeavy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_loads_every_pair_once() {
        let pairs = Pairs::new(300, 16, 20);
        for pattern in Pattern::value_variants() {
            let mut loaded: Vec<_> = (0..300).map(|nth| pattern.load(nth, &pairs)).collect();
            loaded.sort_unstable();
            assert_eq!(loaded, (0..300).collect::<Vec<_>>(), "{}", pattern.name());
        }
    }

    #[test]
    fn a_tenth_of_the_pairs_is_hot() {
        let pairs = Pairs::new(1000, 16, 20);
        let changed = |pattern: Pattern| (0..5000).map(move |nth| pattern.overwrite(nth, &pairs));
        assert!(changed(Pattern::HotSpot).all(|number| number < 1000));
        let hot = changed(Pattern::HotSpot).filter(|number| (500..600).contains(number)).count();
        assert!((4450..4650).contains(&hot), "{hot}: nine of ten, and a tenth of the rest");
        let mut seen: Vec<_> = changed(Pattern::Random).collect();
        seen.sort_unstable();
        seen.dedup();
        assert!((985..1000).contains(&seen.len()), "{}: drawn, so some never come", seen.len());
    }
}
