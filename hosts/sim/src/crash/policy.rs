//! Which of the possible states are visited.

/// Whether an image is visited again that was visited before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repeats {
    /// Each state is visited, be its image new or not.
    All,
    /// Within a cut each image is visited once. Right for any checker whose verdict depends on image and cut only.
    #[default]
    OncePerCut,
    /// Between two marks ([`Sim::mark`](crate::Sim::mark)) each image is visited once, at its earliest cut. Right when
    /// every moment at which the code under test *acknowledged* something is marked: what it merely began can only
    /// widen what is allowed. Saves more than half on block devices.
    OncePerMark,
}

/// Which crash states are visited.
///
/// ```
/// use esker_sim::{Policy, Repeats};
///
/// let nightly = Policy::thorough().repeats(Repeats::OncePerMark);
/// let before_each_commit = Policy::thorough().max_states(20_000);
/// # let _ = (nightly, before_each_commit);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Policy {
    pub(crate) seed: u64,
    pub(crate) subset_limit: u32,
    pub(crate) random_subsets: u32,
    pub(crate) pair_limit: usize,
    pub(crate) tears: bool,
    pub(crate) neighbours: Option<u32>,
    pub(crate) repeats: Repeats,
    pub(crate) stride: u64,
    pub(crate) max_states: Option<u64>,
    pub(crate) shard: (usize, usize),
}

impl Default for Policy {
    fn default() -> Self {
        Self::thorough()
    }
}

impl Policy {
    /// Every state that [`enumerate`](crate::enumerate) describes.
    pub fn thorough() -> Self {
        Self {
            seed: 0,
            subset_limit: 12,
            random_subsets: 256,
            pair_limit: 10_000,
            tears: true,
            neighbours: None,
            repeats: Repeats::default(),
            stride: 1,
            max_states: None,
            shard: (0, 1),
        }
    }

    /// At most 8 pending writes in every subset, and about 5,000 states in all: some seconds for most checkers.
    pub fn quick() -> Self {
        Self::thorough().subset_limit(8).random_subsets(32).max_states(5_000)
    }

    /// Seeds the random subsets, garbage and samples.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Up to how many pending writes every subset is visited; at most 20.
    pub fn subset_limit(mut self, writes: u32) -> Self {
        self.subset_limit = writes.min(20);
        self
    }

    /// How many random subsets are visited when there are more pending writes than that.
    pub fn random_subsets(mut self, count: u32) -> Self {
        self.random_subsets = count;
        self
    }

    /// Up to how many two-write omissions a cut has all of them visited; of more, this many are drawn by seed. The
    /// default of 10,000 covers 141 pending writes.
    pub fn pair_limit(mut self, pairs: usize) -> Self {
        self.pair_limit = pairs;
        self
    }

    /// Whether operations are torn, or only there or not.
    pub fn tears(mut self, on: bool) -> Self {
        self.tears = on;
        self
    }

    /// Adds states in which an unfinished write has damaged its neighbours in the same hidden erase unit of `group`
    /// bytes (on flash: in its erase unit, whatever `group` says). Durable data may be lost in them, see
    /// [`CrashState::damages_neighbours`](crate::CrashState::damages_neighbours), so they are off by default.
    pub fn neighbours(mut self, group: u32) -> Self {
        self.neighbours = Some(group);
        self
    }

    /// Whether images are visited again.
    pub fn repeats(mut self, repeats: Repeats) -> Self {
        self.repeats = repeats;
        self
    }

    /// Visits one state in `n`, chosen by seed and not by order, so that no kind of state is left out by rhythm.
    pub fn stride(mut self, n: u64) -> Self {
        self.stride = n.max(1);
        self
    }

    /// Visits about `n` states, spread over the whole trace. Costs a dry run to count them.
    pub fn max_states(mut self, n: u64) -> Self {
        self.max_states = Some(n);
        self
    }

    /// Visits only the cuts of one share of `of`, to spread one trace over threads.
    ///
    /// # Panics
    /// If `index` is not below `of`.
    pub fn shard(mut self, index: usize, of: usize) -> Self {
        assert!(index < of, "share {index} of {of}");
        self.shard = (index, of);
        self
    }
}
