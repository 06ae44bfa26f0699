//! The device's settings: a store of keys and values, on the volume of the logger's logs.
//!
//! A run looks at all of them, changes some while samples are taken, and reads back what it has changed. What it says to be
//! *durable* must be there after a power cut at any later moment; and of a step, all changes or none.

mod memory;
mod step;

use esker::device::BlockDevice;
use esker::store::{Batch, Index, Store};

use crate::logger::{Disk, Failure, Stamp};
pub use memory::{OnBTree, OnLsm, PAGE};
pub use step::{BOOT, CHANGES, Change, KEY, VALUE, check, step};

/// Log of the store.
pub const SETTINGS: u16 = 2;
/// Steps in a run.
pub const STEPS: u32 = 50;
/// Steps that become durable together.
const TOGETHER: u32 = 2;
/// Bytes of the longest key that such a page can hold: a cursor wants so many.
const CURSOR: usize = 48;

/// What an application asks of its settings. The logger calls these in the course of a run.
pub trait Settings {
    /// At the start.
    fn open<D: BlockDevice>(&mut self, volume: &mut Disk<'_, D>) -> Result<(), Failure>;
    /// Now and then.
    fn change<D: BlockDevice>(&mut self, volume: &mut Disk<'_, D>) -> Result<(), Failure>;
    /// At the end.
    fn close<D: BlockDevice>(&mut self, volume: &mut Disk<'_, D>) -> Result<(), Failure>;
}

/// For a board that has none.
#[derive(Debug)]
pub struct NoSettings;

impl Settings for NoSettings {
    fn open<D: BlockDevice>(&mut self, _: &mut Disk<'_, D>) -> Result<(), Failure> {
        Ok(())
    }

    fn change<D: BlockDevice>(&mut self, _: &mut Disk<'_, D>) -> Result<(), Failure> {
        Ok(())
    }

    fn close<D: BlockDevice>(&mut self, _: &mut Disk<'_, D>) -> Result<(), Failure> {
        Ok(())
    }
}

type Opened<'m, I> = Store<I, &'m mut [u8], 8>;

/// What depends on the tree.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Each time so many steps are done it is quiet for a moment. (More often than in a product, so that power cuts meet merges.)
    pub quiet: u32,
    /// In which so many parts of a checkpoint are done.
    pub parts: u32,
}

/// Settings in a store on an index of any kind.
pub struct StoredSettings<'m, I> {
    store: State<'m, I>,
    plan: Plan,
    boot: u32,
    /// Steps done.
    done: u32,
}

/// A store is large for a small stack: it is moved as seldom as can be, and what it was opened with is not kept beside it.
#[allow(clippy::large_enum_variant, reason = "there is nothing but this memory to put it")]
enum State<'m, I> {
    /// What it takes along when it is opened.
    Lent(I, &'m mut [u8]),
    Open(Opened<'m, I>),
    /// There is none, or not any more.
    Closed,
}

impl<'m, I: Index> StoredSettings<'m, I> {
    /// With memory for the index, and for the store's log.
    pub fn new(index: I, log: &'m mut [u8], plan: Plan) -> Self {
        Self { store: State::Lent(index, log), plan, boot: 0, done: 0 }
    }

    // These are not inlined: each one's stack is free again when the next is called.

    /// Opens the store, or makes it.
    #[inline(never)]
    fn start<D: BlockDevice>(&mut self, volume: &mut Disk<'_, D>) -> Result<(), Failure> {
        let State::Lent(index, log) = core::mem::replace(&mut self.store, State::Closed) else {
            return Ok(());
        };
        let opened = if Opened::<I>::root(volume).is_none() {
            Store::create(volume, SETTINGS, index, log)
        } else {
            Store::open(volume, index, log)
        };
        // In this form it is moved once.
        self.store = match opened {
            Ok(store) => State::Open(store),
            Err(error) => return Err(error.into()),
        };
        Ok(())
    }

    /// Looks at all settings, and finds out which start this is.
    #[inline(never)]
    fn look<D: BlockDevice>(&mut self, volume: &mut Disk<'_, D>) -> Result<(), Failure> {
        let State::Open(store) = &mut self.store else { return Ok(()) };
        let mut value = [0; 8];
        let last = match store.get(volume, BOOT, &mut value)? {
            Some(_) => check(BOOT, &value).ok_or(Failure::WrongSetting)?.boot,
            None => 0,
        };
        self.boot = last.wrapping_add(1);
        let _pairs = check_all(store, volume)?;
        info!("settings hold {=u32} pairs", _pairs);
        info!("settings start {=u32}", self.boot);
        // Where power often goes, no run gets to its end, and each start would have to replay what all of them have logged.
        let info = store.info(volume)?;
        if info.log.end.saturating_sub(info.checkpoint) > u64::from(STEPS) {
            store.checkpoint(volume)?;
        }
        Ok(())
    }

    /// Says what the settings have become.
    #[inline(never)]
    fn sum_up<D: BlockDevice>(&mut self, volume: &mut Disk<'_, D>) -> Result<(), Failure> {
        let State::Open(store) = &mut self.store else { return Ok(()) };
        check_all(store, volume)?;
        let _info = store.info(volume)?;
        info!(
            "settings: {=u64} pairs in {=u32} leaves, depth {=u8}, {=u32} of {=u32} blocks free",
            _info.index.pairs, _info.index.leaves, _info.index.depth, _info.free_blocks, _info.blocks
        );
        info!(
            "pool: {=u64} hits, {=u64} misses, {=u64} evictions, {=u64} pages written",
            _info.pool.hits, _info.pool.misses, _info.pool.evictions, _info.pool.written
        );
        Ok(())
    }
}

impl<I: Index> Settings for StoredSettings<'_, I> {
    fn open<D: BlockDevice>(&mut self, volume: &mut Disk<'_, D>) -> Result<(), Failure> {
        if volume.info().blocks == 0 {
            info!("settings have no room on this volume");
            return Ok(());
        }
        self.start(volume)?;
        self.look(volume)
    }

    #[inline(never)]
    fn change<D: BlockDevice>(&mut self, volume: &mut Disk<'_, D>) -> Result<(), Failure> {
        let State::Open(store) = &mut self.store else { return Ok(()) };
        if self.done >= STEPS {
            return Ok(());
        }
        let steps = self.done..self.done.saturating_add(TOGETHER);
        for number in steps.clone() {
            let stamp = Stamp { boot: self.boot, number };
            let changes = step(stamp);
            take_step(store, volume, stamp, &changes)?;
            check_step(store, volume, stamp, &changes)?;
        }
        store.commit(volume)?;
        self.done = steps.end;
        info!("settings durable to step {=u32}", self.done);
        if self.done.is_multiple_of(self.plan.quiet) {
            for _ in 0..self.plan.parts {
                if store.checkpoint_step(volume)? {
                    break;
                }
            }
        }
        Ok(())
    }

    #[inline(never)]
    fn close<D: BlockDevice>(&mut self, volume: &mut Disk<'_, D>) -> Result<(), Failure> {
        self.sum_up(volume)?;
        match core::mem::replace(&mut self.store, State::Closed) {
            State::Open(store) => match store.close(volume) {
                Ok(_memory) => Ok(()),
                Err(error) => Err(error.into()),
            },
            _ => Ok(()),
        }
    }
}

/// Changes what a step changes. Several changes go into a batch: after a power cut all of them are there, or none.
#[inline(never)]
fn take_step<D: BlockDevice, I: Index>(
    store: &mut Opened<'_, I>,
    volume: &mut Disk<'_, D>,
    stamp: Stamp,
    changes: &[Option<Change>; CHANGES],
) -> Result<(), Failure> {
    if let [Some(change), None, None] = changes {
        let mut value = [0; VALUE];
        match change.value(stamp, &mut value) {
            Some(value) => store.put(volume, change.key(), value)?,
            None => store.delete(volume, change.key())?,
        };
        return Ok(());
    }
    let mut batch = Batch::new([0; CHANGES * (KEY + step::PART + 14)]);
    for change in changes.iter().flatten() {
        let mut value = [0; step::PART];
        match change.value(stamp, &mut value) {
            Some(value) => batch.put(change.key(), value)?,
            None => batch.delete(change.key())?,
        }
    }
    store.write(volume, &batch)?;
    Ok(())
}

/// Whether the settings of a step are as it has just left them.
#[inline(never)]
fn check_step<D: BlockDevice, I: Index>(
    store: &mut Opened<'_, I>,
    volume: &mut Disk<'_, D>,
    stamp: Stamp,
    changes: &[Option<Change>; CHANGES],
) -> Result<(), Failure> {
    for change in changes.iter().flatten() {
        let mut value = [0; VALUE];
        let found = store.get(volume, change.key(), &mut value)?;
        let is = found.map(|found| value.get(..found.len).is_some_and(|value| change.is(stamp, value)));
        if found.is_some() != change.value.is_some() || is == Some(false) {
            return Err(Failure::WrongSetting);
        }
    }
    Ok(())
}

/// Whether every setting is one that was written; how many there are.
#[inline(never)]
fn check_all<D: BlockDevice, I: Index>(
    store: &mut Opened<'_, I>,
    volume: &mut Disk<'_, D>,
) -> Result<u32, Failure> {
    let (mut cursor, mut value, mut pairs) = (store.cursor([0; CURSOR]), [0; VALUE], 0_u32);
    while let Some(len) = store.next(volume, &mut cursor, &mut value)? {
        value.get(..len).and_then(|value| check(cursor.key(), value)).ok_or(Failure::WrongSetting)?;
        pairs = pairs.wrapping_add(1);
    }
    Ok(pairs)
}
