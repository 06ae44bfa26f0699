//! The walk along a trace: the base image moves on from cut to cut, and at each cut the states are generated.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::condition::Condition;
use crate::crash::blocks::Torn;
use crate::crash::draft::Draft;
use crate::crash::policy::{Policy, Repeats};
use crate::crash::state::{CrashId, CrashState};
use crate::device::discarded_content;
use crate::medium::{Medium, index};
use crate::rng::mix;
use crate::tear::{EraseTear, ProgramTear};
use crate::trace::{Op, Trace};

/// What an enumeration did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Moments at which the power went.
    pub cuts: u64,
    /// States that the policy names, repeated images and those left out by the stride included.
    pub generated: u64,
    /// States handed to the caller.
    pub visited: u64,
    /// Different images among these: bytes and units' conditions.
    pub distinct: u64,
    /// Where the caller broke off.
    pub stopped: Option<CrashId>,
}

/// An operation as the device sees it: a discard on a block device is a write of what it leaves behind.
#[derive(Debug)]
pub(crate) enum Step<'t> {
    Write { at: usize, data: Cow<'t, [u8]>, unit_hashes: Vec<u64> },
    Erase { range: Range<usize> },
    Sync,
    Spoilt { at: usize, data: &'t [u8] },
    CacheDropped,
    Nothing,
}

impl Step<'_> {
    pub(crate) fn data(&self) -> &[u8] {
        if let Self::Write { data, .. } = self { data } else { &[] }
    }
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { at, data, .. } => write!(f, "write {:#x}..{:#x}", at, at + data.len()),
            Self::Erase { range } => write!(f, "erase {:#x}..{:#x}", range.start, range.end),
            Self::Sync => f.write_str("sync"),
            Self::Spoilt { .. } => f.write_str("failed call"),
            Self::CacheDropped => f.write_str("failed sync"),
            Self::Nothing => f.write_str("discard"),
        }
    }
}

/// What became of the operations that are not certain.
#[derive(Debug)]
pub(crate) enum What {
    /// Blocks: which of the pending writes are there, and the torn one.
    Subset {
        kept: Vec<bool>,
        torn: Option<Torn>,
    },
    /// Flash: the operation in flight was not begun, or there is none.
    NotBegun,
    Complete,
    Program {
        unit: usize,
        tear: ProgramTear,
    },
    Erase {
        sector: usize,
        tear: EraseTear,
    },
    Neighbours {
        group: Range<usize>,
    },
}

/// Hashes are hashed already.
#[derive(Default)]
pub(crate) struct Unhashed(u64);

impl Hasher for Unhashed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = mix(self.0, u64::from(*byte));
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

type Hashes = HashSet<u64, BuildHasherDefault<Unhashed>>;

/// Tells the bases of different enumerations apart, so that a device knows what it was loaded from. Never shown.
static ENUMERATIONS: AtomicU64 = AtomicU64::new(0);

pub(crate) struct Walk<'t, V> {
    trace: &'t Trace,
    pub(crate) policy: &'t Policy,
    pub(crate) steps: Vec<Step<'t>>,
    pub(crate) base: Medium,
    pub(crate) unit_hashes: Vec<u64>,
    base_hash: u64,
    stamp: (u64, u64),
    /// Blocks: the writes since the last sync that returned, and the one in flight. Indexes of steps.
    pub(crate) pending: Vec<usize>,
    pub(crate) draft: Draft,
    pub(crate) what: What,
    cut: usize,
    variant: u32,
    only: Option<u32>,
    seen: Hashes,
    distinct: Hashes,
    summary: Summary,
    visit: V,
}

impl<'t, V: FnMut(&CrashState<'_>) -> ControlFlow<()>> Walk<'t, V> {
    pub(crate) fn new(trace: &'t Trace, policy: &'t Policy, visit: V) -> Self {
        let base = trace.initial.clone();
        let unit_hashes: Vec<u64> = (0..base.units()).map(|unit| base.unit_hash(unit)).collect();
        Self {
            steps: trace.ops.iter().map(|op| step(trace, op)).collect(),
            base_hash: unit_hashes.iter().fold(0, |hash, unit| hash ^ unit),
            draft: Draft::new(base.units()),
            base,
            unit_hashes,
            stamp: (ENUMERATIONS.fetch_add(1, Ordering::Relaxed), 0),
            pending: Vec::new(),
            what: What::NotBegun,
            cut: 0,
            variant: 0,
            only: None,
            seen: Hashes::default(),
            distinct: Hashes::default(),
            summary: Summary::default(),
            trace,
            policy,
            visit,
        }
    }

    /// Visits what the policy names.
    pub(crate) fn run(mut self) -> Summary {
        let mut marks = self.trace.marks.iter().copied().peekable();
        for cut in 0..=self.steps.len() {
            let mut promised = self.policy.repeats == Repeats::OncePerCut;
            while marks.next_if(|mark| *mark <= cut).is_some() {
                promised = true;
            }
            if promised {
                self.seen.clear();
            }
            let (share, of) = self.policy.shard;
            if cut >= self.trace.first_cut && cut % of == share {
                self.summary.cuts += 1;
                if self.visit_cut(cut).is_break() {
                    break;
                }
            }
            self.advance(cut);
        }
        self.summary.distinct = self.distinct.len() as u64;
        self.summary
    }

    /// Visits one state, whether or not the policy would leave it out.
    pub(crate) fn run_only(mut self, id: CrashId) {
        if id.cut > self.steps.len() {
            return;
        }
        for cut in 0..id.cut {
            self.advance(cut);
        }
        self.only = Some(id.variant);
        let _ = self.visit_cut(id.cut);
    }

    fn visit_cut(&mut self, cut: usize) -> ControlFlow<()> {
        self.cut = cut;
        self.variant = 0;
        if self.base.geometry().must_erase() {
            self.visit_flash(cut)
        } else {
            let in_flight = matches!(self.steps.get(cut), Some(Step::Write { .. }));
            if in_flight {
                self.pending.push(cut);
            }
            let flow = self.visit_blocks(in_flight);
            if in_flight {
                self.pending.pop();
            }
            flow
        }
    }

    /// Whether the next state is left out, so that it need not even be drafted. For flash, where images are seldom alike
    /// and drafting one costs more than all else.
    pub(crate) fn passes(&mut self) -> bool {
        let left_out = match self.only {
            Some(variant) => variant != self.variant,
            None => !self.is_drawn(),
        };
        if left_out {
            self.variant += 1;
            self.summary.generated += 1;
        }
        left_out
    }

    /// Whether the stride chooses the next state.
    fn is_drawn(&self) -> bool {
        let drawn = mix(mix(self.policy.seed, self.cut as u64), u64::from(self.variant));
        drawn.is_multiple_of(self.policy.stride)
    }

    /// The draft is complete: hands it to the caller, if it is to be visited.
    pub(crate) fn emit(&mut self) -> ControlFlow<()> {
        let id = CrashId { cut: self.cut, variant: self.variant };
        let drawn = self.is_drawn();
        self.variant += 1;
        self.summary.generated += 1;
        let hash = self.base_hash ^ self.draft.change();
        match self.only {
            Some(variant) if variant != id.variant => return ControlFlow::Continue(()),
            Some(_) => {}
            None => {
                if self.policy.repeats != Repeats::All && !self.seen.insert(hash) {
                    return ControlFlow::Continue(());
                }
                if !drawn {
                    return ControlFlow::Continue(());
                }
            }
        }
        self.summary.visited += 1;
        self.distinct.insert(hash);
        let state = CrashState {
            trace: self.trace,
            steps: &self.steps,
            base: &self.base,
            stamp: self.stamp,
            draft: &self.draft,
            pending: &self.pending,
            what: &self.what,
            id,
            hash,
        };
        let flow = (self.visit)(&state);
        if flow.is_break() {
            self.summary.stopped = Some(id);
        }
        flow
    }

    /// Operation `at` returns: what is certain now goes into the base.
    fn advance(&mut self, at: usize) {
        let Some(step) = self.steps.get(at) else { return };
        let flash = self.base.geometry().must_erase();
        let changed = match step {
            Step::Write { at, data, .. } if flash => {
                self.base.program(*at, data);
                *at..*at + data.len()
            }
            Step::Erase { range } => {
                self.base.erase(range);
                range.clone()
            }
            Step::Spoilt { at, data } => {
                self.base.store(*at, data, Condition::BURNT);
                *at..*at + data.len()
            }
            Step::Write { .. } => {
                self.pending.push(at);
                return;
            }
            Step::Sync => {
                self.advance_sync();
                return;
            }
            Step::CacheDropped => {
                self.pending.clear();
                return;
            }
            Step::Nothing => return,
        };
        self.stamp.1 += 1;
        self.rehash(self.base.units_of(&changed));
    }

    fn advance_sync(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        self.stamp.1 += 1;
        for step in std::mem::take(&mut self.pending) {
            let Step::Write { at, data, .. } = &self.steps[step] else { continue };
            self.base.store(*at, data, Condition::PROGRAMMED);
            let units = self.base.units_of(&(*at..*at + data.len()));
            self.rehash(units);
        }
    }

    fn rehash(&mut self, units: Range<usize>) {
        for unit in units {
            let hash = self.base.unit_hash(unit);
            self.base_hash ^= self.unit_hashes[unit] ^ hash;
            self.unit_hashes[unit] = hash;
        }
    }
}

fn step<'t>(trace: &Trace, op: &'t Op) -> Step<'t> {
    let flash = trace.geometry().must_erase();
    let unit = trace.initial.unit();
    let write = |at: usize, data: Cow<'t, [u8]>| {
        let hash = |(number, bytes)| Medium::hash_of(at / unit + number, bytes, Condition::PROGRAMMED);
        // Flash mixes old and new in most states, so there a hash in advance would seldom be of use.
        let unit_hashes = if flash { Vec::new() } else { data.chunks(unit).enumerate().map(hash).collect() };
        Step::Write { at, data, unit_hashes }
    };
    let bytes = |range: &Range<u64>| index(range.start)..index(range.end);
    match op {
        Op::Write { address, data } => write(index(*address), Cow::Borrowed(data)),
        Op::Erase { range } if flash => Step::Erase { range: bytes(range) },
        Op::Erase { range } => discarded_content(trace.discard, unit, &bytes(range))
            .map_or(Step::Nothing, |content| write(index(range.start), Cow::Owned(content))),
        Op::Sync => Step::Sync,
        Op::Spoilt { address, data } => Step::Spoilt { at: index(*address), data },
        Op::CacheDropped => Step::CacheDropped,
    }
}

/// `count` places of `0..total`: all, or the first and last and some between, chosen by seed. In order.
pub(crate) fn sample(total: usize, first: usize, last: usize, between: usize, seed: u64) -> Vec<usize> {
    if total <= first + last + between {
        return (0..total).collect();
    }
    let mut rng = crate::rng::Rng::new(seed);
    let room = total - first - last;
    let mut places: Vec<usize> = (0..first).chain(total - last..total).collect();
    places.extend((0..between).map(|_| first + rng.below(room)));
    places.sort_unstable();
    places.dedup();
    places
}
