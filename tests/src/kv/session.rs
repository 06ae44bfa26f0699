//! A run of the store beside the model: every call goes to both.

use esker::store::{Batch, Effect, Error, Store};
use esker::wal::Ticket;
use esker_sim::{PowerCut, Sim};

use super::engine::{Index, KvError, Run, Stop, TestStore, stop};
use super::model::{Content, Model, fill_value, hash_of, show};
use super::opened::{Opened, Scratch, examine, open_store, verify};
use super::shape::Shape;
use crate::cli::mix;
use crate::wal::opened::Vol;
use crate::wal::session::Session as Logs;

/// The log that the store writes.
const LOG: u16 = 1;

/// A change of one key: the length of its new value, or `None` to remove it.
pub type Change = (Vec<u8>, Option<usize>);

/// The engine on a simulated device, and the models beside it.
pub struct Session<I> {
    /// The device, the volume, and the logs beside the store with their model.
    pub logs: Logs,
    /// The device, volume and memory.
    pub shape: Shape,
    /// What the store must hold.
    pub model: Model,
    /// The engine.
    pub store: Option<TestStore<I>>,
    /// Buffers, and how much is asked.
    pub scratch: Scratch,
    ticket: Option<(Ticket, usize)>,
    batch: Vec<u8>,
    out: Vec<u8>,
}

impl<I: Index> Session<I> {
    /// Formats `sim`; there is no store yet.
    pub fn format(sim: &Sim, shape: Shape) -> Run<Self> {
        let logs = Logs::format(sim, shape.below)?;
        Ok(Self::beside(logs, shape, Model::absent(), None))
    }

    /// Goes on with a volume that was opened, and whose content is known.
    pub fn over(
        sim: &Sim,
        shape: Shape,
        model: Model,
        logs: crate::wal::model::Model,
        opened: Opened<I>,
    ) -> Self {
        let logs = Logs::over(sim, shape.below, logs, opened.logs);
        Self::beside(logs, shape, model, opened.store)
    }

    fn beside(logs: Logs, shape: Shape, model: Model, store: Option<TestStore<I>>) -> Self {
        Self {
            logs,
            shape,
            model,
            store,
            scratch: Scratch::default(),
            ticket: None,
            batch: vec![0; 1 << 16],
            out: vec![0; 1 << 16],
        }
    }

    /// A recording begins: what was done so far is certain, and operations count from 0 again.
    pub fn begin(&mut self) {
        let content = self.model.now().clone();
        let version = self.model.newest();
        self.model = self.model.found(version, content);
    }

    /// The device.
    pub fn sim(&self) -> &Sim {
        &self.logs.sim
    }

    fn ops(&self) -> usize {
        self.logs.ops()
    }

    fn engine(&mut self) -> Run<(&mut Vol, &mut TestStore<I>)> {
        match &mut self.store {
            Some(store) => Ok((&mut self.logs.opened.volume, store)),
            None => Err(Stop::Wrong("no store is open".into())),
        }
    }

    /// Makes the store, empty.
    pub fn create(&mut self) -> Run {
        self.logs.tell(format_args!("create the store"));
        let version = self.model.begin(self.logs.ops(), []);
        let volume = &mut self.logs.opened.volume;
        let index = I::lend(&volume.info(), self.shape.extra);
        let store = Store::create(volume, LOG, index, vec![0; self.shape.below.memory().log]);
        self.store = Some(store.map_err(|error| stop("create", error))?);
        self.acknowledge_version(version);
        Ok(())
    }

    fn acknowledge_version(&mut self, version: usize) {
        self.model.acknowledge(self.logs.ops(), version);
        self.logs.mark();
    }

    fn acknowledge_all(&mut self) {
        let newest = self.model.newest();
        self.acknowledge_version(newest);
    }

    /// Where the bytes of the next value are: `out[..len]`.
    fn next_value(&mut self, len: usize) {
        let serial = self.model.next_serial();
        self.out.resize(self.out.len().max(len), 0);
        fill_value(serial, &mut self.out[..len]);
    }

    /// Stores a new value of `len` bytes; `None`: full.
    pub fn try_put(&mut self, key: &[u8], len: usize) -> Run<Option<Effect>> {
        let len = len.min(self.longest(key));
        self.logs.tell(format_args!("put {} of {len}", show(key)));
        self.next_value(len);
        let known = self.model.now().contains_key(key);
        let at = self.logs.ops();
        self.model.begin(at, [(key, Some(hash_of(key, &self.out[..len])))]);
        let Some(store) = &mut self.store else { return Err(Stop::Wrong("no store is open".into())) };
        let answer = store.put(&mut self.logs.opened.volume, key, &self.out[..len]);
        self.answered("put", answer, known)
    }

    fn answered(&mut self, what: &str, answer: Result<Effect, KvError>, known: bool) -> Run<Option<Effect>> {
        match answer {
            Ok(effect) if effect.found == known || !I::EXACT && what == "put" => Ok(Some(effect)),
            Ok(effect) => Err(Stop::Wrong(format!("{what} answers {effect:?}, known before: {known}"))),
            Err(Error::Full) => {
                self.refused();
                Ok(None)
            }
            Err(error) => Err(stop(what, error)),
        }
    }

    /// The longest value that the store takes.
    fn longest(&self, key: &[u8]) -> usize {
        self.store.as_ref().map_or(0, |store| store.max_value(&self.logs.opened.volume, key.len()))
    }

    fn refused(&mut self) {
        self.logs.tell(format_args!("  full"));
        self.model.undo(self.logs.ops());
        self.logs.mark();
    }

    /// Stores a new value of `len` bytes; there must be room.
    pub fn put(&mut self, key: &[u8], len: usize) -> Run<Effect> {
        match self.try_put(key, len)? {
            Some(effect) => Ok(effect),
            None => Err(Stop::Wrong(format!("put of {} with {len} bytes: full", show(key)))),
        }
    }

    /// Removes a key; `None`: full.
    pub fn try_delete(&mut self, key: &[u8]) -> Run<Option<Effect>> {
        self.logs.tell(format_args!("delete {}", show(key)));
        let known = self.model.now().contains_key(key);
        self.model.begin(self.logs.ops(), [(key, None)]);
        let (volume, store) = self.engine()?;
        let answer = store.delete(volume, key);
        self.answered("delete", answer, known)
    }

    /// Removes a key, for which there is always room.
    pub fn delete(&mut self, key: &[u8]) -> Run<Effect> {
        match self.try_delete(key)? {
            Some(effect) => Ok(effect),
            None => Err(Stop::Wrong(format!("delete of {}: full", show(key)))),
        }
    }

    /// Makes all changes as one; `false`: full.
    pub fn try_write(&mut self, changes: &[Change]) -> Run<bool> {
        self.logs.tell(format_args!(
            "write {}",
            changes.iter().map(|(key, len)| format!("{}={len:?} ", show(key))).collect::<String>()
        ));
        let changes: Vec<Change> = changes
            .iter()
            .map(|(key, len)| (key.clone(), len.map(|len| len.min(self.longest(key)))))
            .collect();
        let mut batch = Batch::new(std::mem::take(&mut self.batch));
        let mut hashes = Vec::with_capacity(changes.len());
        for (key, len) in &changes {
            let full = match len {
                Some(len) => {
                    self.next_value(*len);
                    hashes.push((&**key, Some(hash_of(key, &self.out[..*len]))));
                    batch.put(key, &self.out[..*len])
                }
                None => {
                    hashes.push((&**key, None));
                    batch.delete(key)
                }
            };
            full.map_err(|full| Stop::Wrong(format!("{full:?}")))?;
        }
        self.model.begin(self.logs.ops(), hashes);
        let (volume, store) = self.engine()?;
        let answer = store.write(volume, &batch);
        self.batch = batch.into_memory();
        match answer {
            Ok(()) => Ok(true),
            Err(Error::Full) => {
                self.refused();
                Ok(false)
            }
            Err(error) => Err(stop("write", error)),
        }
    }

    /// Makes all changes as one; there must be room.
    pub fn write(&mut self, changes: &[Change]) -> Run {
        if self.try_write(changes)? { Ok(()) } else { Err(Stop::Wrong("a batch found no room".into())) }
    }

    /// Makes everything durable.
    pub fn commit(&mut self) -> Run {
        self.logs.tell(format_args!("commit"));
        let (volume, store) = self.engine()?;
        store.commit(volume).map_err(|error| stop("commit", error))?;
        self.acknowledge_all();
        Ok(())
    }

    /// The first part of a commit.
    pub fn flush(&mut self) -> Run {
        self.logs.tell(format_args!("flush"));
        let version = self.model.newest();
        let (volume, store) = self.engine()?;
        let ticket = store.flush(volume).map_err(|error| stop("flush", error))?;
        self.ticket = Some((ticket, version));
        Ok(())
    }

    /// The third part of a commit, after the sync of `logs`.
    pub fn acknowledge(&mut self) -> Run {
        self.logs.tell(format_args!("acknowledge"));
        let Some((ticket, version)) = self.ticket.take() else { return Ok(()) };
        self.engine()?.1.acknowledge(ticket);
        self.acknowledge_version(version);
        Ok(())
    }

    /// A whole checkpoint: everything is durable afterwards, and the log short.
    pub fn checkpoint(&mut self) -> Run {
        self.logs.tell(format_args!("checkpoint"));
        let (volume, store) = self.engine()?;
        store.checkpoint(volume).map_err(|error| stop("checkpoint", error))?;
        self.acknowledge_all();
        Ok(())
    }

    /// A part of a checkpoint; whether that was the last one.
    pub fn step(&mut self) -> Run<bool> {
        self.logs.tell(format_args!("checkpoint step"));
        let (volume, store) = self.engine()?;
        store.checkpoint_step(volume).map_err(|error| stop("checkpoint step", error))
    }

    /// Loads pairs into the empty store, sorted by key.
    pub fn load(&mut self, pairs: &[(Vec<u8>, usize)]) -> Run {
        self.logs.tell(format_args!("load {} pairs", pairs.len()));
        let pairs: Vec<_> =
            pairs.iter().map(|(key, len)| (key.clone(), (*len).min(self.longest(key)))).collect();
        let mut values = Vec::with_capacity(pairs.len());
        for (_, len) in &pairs {
            self.next_value(*len);
            values.push(self.out[..*len].to_vec());
        }
        let changes = pairs.iter().zip(&values).map(|((key, _), value)| (&**key, Some(hash_of(key, value))));
        self.model.begin(self.logs.ops(), changes);
        let (volume, store) = self.engine()?;
        let mut load = store.bulk_load(volume).map_err(|error| stop("bulk_load", error))?;
        for ((key, _), value) in pairs.iter().zip(&values) {
            load.push(volume, key, value).map_err(|error| stop("push", error))?;
        }
        load.finish(volume).map_err(|error| stop("finish", error))?;
        self.acknowledge_all();
        Ok(())
    }

    /// Begins a load, and gives it up.
    pub fn abandon_load(&mut self, pairs: &[(Vec<u8>, usize)]) -> Run {
        self.logs.tell(format_args!("load {} pairs, and drop them", pairs.len()));
        let longest = pairs.first().map_or(0, |(key, _)| self.longest(key));
        let (volume, store) = self.engine()?;
        let mut load = store.bulk_load(volume).map_err(|error| stop("bulk_load", error))?;
        for (key, len) in pairs {
            let len = (*len).min(longest);
            load.push(volume, key, &vec![7; len]).map_err(|error| stop("push", error))?;
        }
        Ok(())
    }

    /// Closes the store in order. It can be used again after [`reopen`](Self::reopen).
    pub fn close(&mut self) -> Run {
        self.logs.tell(format_args!("close the store"));
        if let Some(store) = self.store.take() {
            store.close(&mut self.logs.opened.volume).map_err(|error| stop("close", error))?;
            self.acknowledge_all();
        }
        Ok(())
    }

    /// Cuts the power: what was never synced is lost.
    pub fn power_cut(&self) {
        self.logs.tell(format_args!("power cut"));
        self.logs.sim.power_cut(PowerCut::LoseAll);
    }

    /// Garbage in one of the homes of the superblock.
    pub fn lose_home(&self, first: bool) {
        self.logs.tell(format_args!("one home is lost, the first: {first}"));
        let behind = self.logs.opened.volume.info().pool_address;
        let home = if first { 0..behind / 2 } else { behind / 2..behind };
        self.logs.sim.scramble(home, behind);
    }

    /// Drops everything that is open and opens it again, on the device as it is. What is found must be allowed.
    pub fn reopen(&mut self) -> Run {
        self.store = None;
        self.ticket = None;
        self.logs.reopen()?;
        let at = self.ops();
        let volume = &mut self.logs.opened.volume;
        self.store = open_store(volume, &self.shape).map_err(|error| stop("open the store", error))?;
        let (version, content) =
            examine(volume, self.store.as_mut(), &self.model, usize::MAX - 1, &mut self.scratch)?;
        self.model.reopened(at, version, content);
        self.logs.mark();
        Ok(())
    }

    /// Whether the engine shows at this moment what was done so far, and its structure is in order.
    pub fn check(&mut self) -> Run {
        self.logs.check()?;
        let Some(store) = &mut self.store else { return Ok(()) };
        let volume = &mut self.logs.opened.volume;
        let digest = super::opened::scan(volume, store, &mut self.scratch)?;
        if digest != self.model.digest() {
            let found: Content = self.scratch.take_pairs();
            let why = super::model::differences(self.model.now(), &found);
            return Err(Stop::Wrong(format!("a scan while the store is open: {why}")));
        }
        verify(volume, store, digest.pairs, &mut self.scratch)
    }

    /// Whether the log's segments and the blocks are all accounted for.
    pub fn account(&mut self) -> Run {
        let mut held = 0;
        if let Some(store) = &self.store {
            let info = store.info(&mut self.logs.opened.volume).map_err(|error| stop("info", error))?;
            held = info.log.segments;
        }
        Ok(self.logs.account_with(held)?)
    }

    /// A number below `below`, the same in each run of a script.
    pub fn draw(&mut self, below: u64) -> u64 {
        self.logs.draw(below)
    }

    /// A key that the store holds, by number; `None` where it is empty.
    pub fn some_key(&self, number: u64) -> Option<Vec<u8>> {
        let count = self.model.now().len();
        let nth = mix(number, 0).checked_rem(count as u64)?;
        self.model.now().keys().nth(nth as usize).map(|key| key.to_vec())
    }

    /// Bytes that the engine says a put or a delete moves at most, and how often changes have waited for room.
    pub fn bound(&mut self) -> Run<(u64, u32)> {
        let (volume, store) = self.engine()?;
        Ok((store.most_moved(volume), store.waits()))
    }

    /// What the engine says of the store.
    pub fn info(&mut self) -> Run<esker::store::Info> {
        let (volume, store) = self.engine()?;
        store.info(volume).map_err(|error| stop("info", error))
    }
}
