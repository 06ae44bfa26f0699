//! Every state in which a power cut can leave the device, one after the other.
//!
//! A run is recorded once ([`Sim::record`](crate::Sim::record)), and then [`enumerate`] goes through the moments at
//! which the power may have gone, and at each moment through what the medium may hold. The caller boots its code from
//! each state and compares with what had been promised by then.

mod blocks;
mod draft;
mod flash;
mod policy;
mod state;
mod walk;

use std::ops::ControlFlow;

pub use policy::{Policy, Repeats};
pub use state::{CrashId, CrashState, ParseCrashIdError};
pub use walk::Summary;

use crate::trace::Trace;
use walk::Walk;

/// Visits the crash states of `trace` in order of their cut, until `visit` breaks.
///
/// # Moments
/// At cut *i* the operations `0..i` have returned and operation *i* is in flight; at the last cut nothing is.
///
/// # States of a block device
/// The *pending* writes are those since the last sync that returned, and the one in flight. A sync in flight may have
/// applied any of them. With up to 12 pending writes every subset is visited; with more, every prefix, every one- and
/// two-write omission (of more than 141 writes, 10,000 pairs chosen by seed) and 256 random subsets. Then each pending write is torn (of more than 24: the first 4, the
/// last 12 and 8 chosen by seed). While one is torn, the others are there in every combination if there are at most
/// 3 others; with more: none, those before it, all. The tears:
/// - *between units*: of up to 4 units any subset is new; of more: prefixes, suffixes, one-unit omissions, every
///   second unit (cut at up to 24 places);
/// - *inside a unit*: its first or last 1, 4, 8, half, or all but 1 bytes are new; every second byte is; it is
///   garbage; it is garbage that differs at each read; it can't be read until rewritten. The units before it are new
///   and those after it old, or all others are new. Of a write of more than 8 units, 8 are torn.
///
/// # States of a flash part
/// What has returned is there. The operation in flight has not begun, is complete, or is torn:
/// - a *program* stops in each unit (of more than 64: the first and last 16 and 32 chosen by seed). That unit is
///   untouched, programmed up to a byte, has some of the bits cleared, has random bits cleared, reads differently each
///   time, or can't be read. It and the units after it are burnt, though they may read as blank.
/// - an *erase* stops in each erase unit (of more than 16, in 16). That unit is unreliable, and is old, partly `0xFF`
///   in several patterns, wholly `0xFF`, unstable or unreadable.
///
/// # Cost
/// A state is held as what it differs in from the last one that is certain, so going from state to state costs what
/// changes. A [`Sim`](crate::Sim) that is used again for each state ([`CrashState::load_into`]) is only mended where
/// the recovery wrote. With images of 64 KiB that is a few microseconds for each state, beside what the code under
/// test takes.
///
/// # Example
/// ```
/// use std::ops::ControlFlow;
/// use esker::device::BlockDevice;
/// use esker_sim::{Policy, Sim, enumerate};
///
/// let mut sim = Sim::blocks(8 * 512, 512);
/// sim.record();
/// for block in 0..3 {
///     sim.write(block * 512, &[1; 512])?;
/// }
/// let trace = sim.take_trace();
///
/// // At the end, each of three writes may be there or not.
/// let mut last = 0;
/// enumerate(&trace, &Policy::thorough().tears(false), |state| {
///     last += usize::from(state.cut() == 3);
///     ControlFlow::Continue(())
/// });
/// assert_eq!(last, 8);
/// # Ok::<(), esker_sim::SimError>(())
/// ```
pub fn enumerate(
    trace: &Trace,
    policy: &Policy,
    visit: impl FnMut(&CrashState<'_>) -> ControlFlow<()>,
) -> Summary {
    let sampled;
    let mut policy = policy;
    if let Some(limit) = policy.max_states {
        // How many there are is only known after a dry run, which is cheap beside any recovery.
        let unlimited = Policy { max_states: None, ..policy.clone() };
        let found = count(trace, &unlimited);
        let stride = policy.stride.saturating_mul(found.div_ceil(limit.max(1)).max(1));
        sampled = Policy { stride, ..unlimited };
        policy = &sampled;
    }
    Walk::new(trace, policy, visit).run()
}

/// Of more states than this nobody needs to know how many images are repeated.
const MANY: u64 = 20_000;

/// How many states [`enumerate`] would visit. Of many states of a flash part a few too many, as repeated images count:
/// there they are rare, and without them no image need be made.
pub fn count(trace: &Trace, policy: &Policy) -> u64 {
    let visit = |_: &CrashState<'_>| ControlFlow::Continue(());
    if trace.geometry().must_erase() {
        let none = Policy { stride: u64::MAX, ..policy.clone() };
        let generated = Walk::new(trace, &none, visit).run().generated;
        if generated > MANY {
            return generated / policy.stride;
        }
    }
    Walk::new(trace, policy, visit).run().visited
}

/// Visits one state again, and hands out what `visit` returned; `None` if there is no such state. The policy must be
/// the one under which the id was found, but for [`Policy::stride`], [`Policy::max_states`], [`Policy::shard`] and
/// [`Policy::repeats`], which don't matter.
pub fn replay<R>(
    trace: &Trace,
    policy: &Policy,
    id: CrashId,
    visit: impl FnOnce(&CrashState<'_>) -> R,
) -> Option<R> {
    let mut visit = Some(visit);
    let mut result = None;
    Walk::new(trace, policy, |state| {
        result = visit.take().map(|visit| visit(state));
        ControlFlow::Break(())
    })
    .run_only(id);
    result
}
