//! The store as a whole: made, opened, closed, and in figures.

use super::ground::{Base, address};
use super::op::MAX_HEAD;
use super::{Damage, Error, Index, IndexInfo, Kind};
use crate::codec::{SMALL, Varints};
use crate::device::BlockDevice;
use crate::index::Unfit;
use crate::pool::PoolInfo;
use crate::space::{BLOCKS_ROOT, Blocks};
use crate::volume::{self, Buffer, Fault, STORE_ROOT, Volume};
use crate::wal::{self, Cursor, Durability, Log, Site, SyncStrategy, Ticket};

/// A store, open: pairs of keys and values in the order of the keys' bytes.
///
/// `I` is the index, with the memory that was lent to it; `W` the write buffer of the log, of which `SLOTS` is the size of the
/// offset index. The volume is lent to each call; its other logs may be used in between.
///
/// ```
/// # use esker::{btree::{BTree, Frame}, device::{Geometry, Ram}, store::Store, volume::{FormatOptions, Volume}};
/// # fn main() -> Result<(), esker::store::Error<esker::device::RamError>> {
/// let mut card = Ram::new(vec![0; 256 * 1024], Geometry::blocks(0, 512));
/// let options = FormatOptions { block_size: 512, ..FormatOptions::default() };
/// let mut volume = Volume::<_, _>::format(&mut card, vec![0; 2048], &options)?;
///
/// let tree = BTree::new(vec![0; 16 * 512], [Frame::default(); 15]);
/// let mut store = Store::<_, _>::create(&mut volume, 0, tree, vec![0; 512])?;
/// store.put(&mut volume, b"colour", b"blue")?;
/// store.commit(&mut volume)?; // durable from here on
///
/// let mut value = [0; 16];
/// let found = store.get(&mut volume, b"colour", &mut value)?;
/// assert_eq!(found.map(|found| &value[..found.len]), Some(&b"blue"[..]));
/// # Ok(())
/// # }
/// ```
pub struct Store<I, W, const SLOTS: usize = 16> {
    pub(super) index: I,
    pub(super) log: Log<W, SLOTS>,
    pub(super) blocks: Blocks,
    /// Number of the publish that is being prepared; pages that were made for it carry it.
    pub(super) generation: u32,
    /// Entries of the log before this offset are in the published index.
    pub(super) position: u64,
    /// A checkpoint is under way.
    pub(super) writing: bool,
    /// Blocks that were available after the last publish.
    pub(super) room: u32,
    /// See [`Base::overlay`].
    pub(super) overlay: u32,
    pub(super) read_only: bool,
    /// The block that keeps an operation of the log from being applied.
    pub(super) stuck: Option<u32>,
    /// See [`Info::waits`].
    pub(super) waits: [u32; if SMALL { 0 } else { 1 }],
    /// This session has published nothing yet: a page that can't be written goes elsewhere instead of ending it.
    pub(super) forgiving: bool,
    /// Something was changed that is in no log: a salvage, or a load.
    pub(super) unlogged: bool,
    /// Offset in the log of the operation that is being applied.
    pub(super) offset: u64,
    /// Where it is there, for an index that [wants to know](Index::reads_later).
    pub(super) site: Site,
    /// The log is being recovered or closed: what goes wrong is for it to explain.
    in_log: bool,
}

/// What a volume says of its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Root {
    /// The kind of its index; `None`: one that this engine does not know.
    pub kind: Option<Kind>,
    /// Its log.
    pub log: u16,
    /// Entries of the log before this offset are in the index.
    pub checkpoint: u64,
}

/// A store in figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Info {
    /// Of what kind its index is.
    pub kind: Kind,
    /// The index.
    pub index: IndexInfo,
    /// Its buffer pool.
    pub pool: PoolInfo,
    /// Bytes of a block, which is a page.
    pub block_size: u32,
    /// Blocks of the volume.
    pub blocks: u32,
    /// Of these, blocks that are free, or will be after the next checkpoint.
    pub free_blocks: u32,
    /// Blocks that can be used before the next checkpoint.
    pub available_blocks: u32,
    /// Blocks that can't be erased any more.
    pub retired_blocks: u32,
    /// Free blocks that damage has made unknown; `salvage` finds them.
    pub lost_blocks: u32,
    /// The longest key.
    pub max_key: usize,
    /// The longest value of the shortest key.
    pub max_value: usize,
    /// Entries of the log before this offset are in the published index.
    pub checkpoint: u64,
    /// A checkpoint is under way.
    pub writing: bool,
    /// Changes wait for `salvage`, see [`Error::Stuck`].
    pub stuck: bool,
    /// How often changes had to wait until something was written, since the store was opened, because there was no room: in memory, in the
    /// log, or of free blocks. Each time is a whole checkpoint of a B-tree, a table of an LSM tree. Else a put moves no more than
    /// [`Store::most_moved`]. Not counted on 32 bits.
    pub waits: u32,
    /// The log.
    pub log: wal::Info,
}

/// What the shell says in the root, before its blocks and its index do.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Head {
    kind: u32,
    log: u32,
    pub(super) position: u64,
    pub(super) generation: u32,
}

impl Head {
    /// What the volume's root says of its store; `None`: there is none.
    fn of<D: BlockDevice, V: Buffer, const N: usize>(volume: &Volume<D, V, N>) -> Option<Self> {
        if volume.store_root().is_empty() {
            return None;
        }
        let mut head = Self::default();
        head.fields(&mut Varints::read(&mut root_bytes(volume)));
        Some(head)
    }

    fn fields(&mut self, fields: &mut Varints<'_>) {
        fields.u32(&mut self.kind);
        fields.u32(&mut self.log);
        fields.u64(&mut self.position);
        fields.u32(&mut self.generation);
    }
}

/// The longest root.
const ROOT: usize = STORE_ROOT;
/// What the shell and an index say of it at most.
const HEAD: usize = 1 + 3 + 10 + 5;
const INDEX_ROOT: usize = 41;
const _: () = assert!(HEAD + BLOCKS_ROOT + INDEX_ROOT <= ROOT);

impl<I: Index, W: Buffer, const SLOTS: usize> Store<I, W, SLOTS> {
    /// What the volume says of the store on it; `None`: there is none.
    pub fn root<D: BlockDevice, V: Buffer, const N: usize>(volume: &Volume<D, V, N>) -> Option<Root> {
        let head = Head::of(volume)?;
        Some(Root { kind: Kind::of(head.kind), log: head.log as u16, checkpoint: head.position })
    }

    /// Makes an empty store, durable on return, on a volume that was formatted with a block size; and the log with this id
    /// for it, unless there is one that is empty and was never used. Two publishes.
    #[inline(never)]
    pub fn create<D: BlockDevice, V: Buffer, const N: usize>(
        volume: &mut Volume<D, V, N>,
        log: u16,
        index: I,
        buffer: W,
    ) -> Result<Self, Error<D::Error>> {
        if volume.block_count() == 0 {
            return Err(Error::NoStore);
        }
        if !volume.store_root().is_empty() {
            return Err(Error::StoreExists);
        }
        volume::check_log_id(log)?;
        let mut store = Self::new(index, log, buffer, volume);
        match store.start_empty(volume) {
            Ok(()) => Ok(store),
            Err(fault) => Err(store.explain(volume, fault)),
        }
    }

    fn start_empty<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault> {
        self.index.begin_empty();
        self.begin(volume)?;
        match volume.add_log(self.log.id()) {
            // A cut may have come between the two publishes: then the log is there, and empty.
            Ok(()) | Err(Fault::LogExists) => {}
            fault => return fault,
        }
        self.recover(volume)?;
        if self.log.end() != 0 {
            return Err(Fault::LogExists);
        }
        self.index.replayed();
        self.publish(volume)
    }

    /// Opens the store: applies what the log says since the last checkpoint. Writes only if that needs more room than the
    /// pool has; what it writes counts only after the next checkpoint.
    ///
    /// Costs what [`Log::open`] does, and reads the entries since the last checkpoint and the pages that they change. After
    /// [`close`](Self::close) that is nothing.
    pub fn open<D: BlockDevice, V: Buffer, const N: usize>(
        volume: &mut Volume<D, V, N>,
        index: I,
        buffer: W,
    ) -> Result<Self, Error<D::Error>> {
        Self::load(volume, index, buffer, false, &mut |_| false)
    }

    /// Opens the store and never writes anything. What the log says since the last checkpoint must fit into the pool, and have
    /// no values too long for a leaf: else [`Error::MemoryTooSmall`] or [`Error::ReadOnly`].
    pub fn open_read_only<D: BlockDevice, V: Buffer, const N: usize>(
        volume: &mut Volume<D, V, N>,
        index: I,
        buffer: W,
    ) -> Result<Self, Error<D::Error>> {
        Self::load(volume, index, buffer, true, &mut |_| false)
    }

    /// The published store, and what the log says of it. `pass`: see [`replay`](Self::replay).
    ///
    /// The store is put together once, in the place where it is handed out from: it is too large to be moved about on a
    /// small stack.
    #[inline(never)]
    pub(super) fn load<D: BlockDevice, V: Buffer, const N: usize>(
        volume: &mut Volume<D, V, N>,
        index: I,
        buffer: W,
        read_only: bool,
        pass: &mut dyn FnMut(Damage) -> bool,
    ) -> Result<Self, Error<D::Error>> {
        let mut store = Self::new(index, 0, buffer, volume);
        store.read_only = read_only;
        let mut cursor = store.log.cursor(0);
        match store.start(volume, &mut cursor, pass) {
            Ok(()) => Ok(store),
            Err(fault) => Err(store.explain_at(volume, &mut cursor, fault)),
        }
    }

    /// Of a store that was put together just now: takes the blocks and the index as they were published, and what the log says.
    fn start<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        cursor: &mut Cursor,
        pass: &mut dyn FnMut(Damage) -> bool,
    ) -> Result<(), Fault> {
        if volume.store_root().is_empty() {
            return Err(Fault::NoStore);
        }
        let (mut head, mut bytes) = (Head::default(), root_bytes(volume));
        let mut fields = Varints::read(&mut bytes);
        head.fields(&mut fields);
        if Kind::of(head.kind) != Some(I::KIND) {
            return Err(volume.medium.fault(Fault::OtherKind, head.kind));
        }
        let blocks_are_whole = self.blocks.decode(&mut fields);
        self.index.read_root(&mut fields);
        self.begin(volume)?;
        self.log.set_id(head.log as u16);
        self.recover(volume)?;
        if !blocks_are_whole {
            return Err(volume.medium.fault(Fault::Damaged, 0));
        }
        (self.position, self.room) = (head.position, self.blocks.available());
        self.generation = head.generation.wrapping_add(1);
        if self.position > self.log.end() {
            // It ended there at least when this was published.
            cursor.go_to(self.position);
            return Err(volume.medium.fault(Fault::Entry, 0));
        }
        self.with_index(volume, None, |index, base| index.open(base))?;
        self.replay(volume, cursor, pass)
    }

    fn recover<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault> {
        self.in_log = true;
        self.log.recover_all(volume)?;
        self.in_log = false;
        Ok(())
    }

    /// Makes the index ready for the volume's blocks.
    fn begin<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &Volume<D, V, N>,
    ) -> Result<(), Fault> {
        let done = self.index.begin(&volume.medium.geometry(), volume.block_size(), &volume.division());
        done.map_err(|_| Fault::Unfit)
    }

    /// An empty store.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn new<D: BlockDevice, V: Buffer, const N: usize>(
        index: I,
        log: u16,
        buffer: W,
        volume: &Volume<D, V, N>,
    ) -> Self {
        Self {
            index,
            log: Log::new(log, buffer),
            blocks: Blocks::new(volume.block_count()),
            generation: 1,
            position: 0,
            writing: false,
            room: 0,
            overlay: u32::MAX,
            read_only: false,
            stuck: None,
            waits: [0; _],
            forgiving: true,
            unlogged: false,
            offset: 0,
            site: Site::default(),
            in_log: false,
        }
    }

    /// Checkpoints what has changed and empties the log, by one publish, and gives the memory back. The next open then reads
    /// neither log nor pages. Nothing is written if nothing has changed since, or if the store was opened for reading.
    ///
    /// An LSM tree writes its memtable as one run, by a publish for each of its tables, and merges nothing else; or where that
    /// is less than a sixteenth of a table, or the shape is a sweep, it closes the log as it is, and the next open replays it.
    pub fn close<D: BlockDevice, V: Buffer, const N: usize>(
        mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(I, W), Error<D::Error>> {
        match self.try_close(volume) {
            Ok(()) => Ok((self.index, self.log.into_buffer())),
            Err(fault) => Err(self.explain(volume, fault)),
        }
    }

    fn try_close<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Fault> {
        if self.read_only {
            return Ok(());
        }
        if self.stuck.is_none() {
            if !self.is_ahead() && self.log.start() == self.log.end() {
                return Ok(());
            }
            volume.medium.check()?;
            // What is not in the log must be published.
            let entries = if self.unlogged { u64::MAX } else { self.log.end().wrapping_sub(self.position) };
            if self.with_index(volume, None, |index, base| index.begin_close(base, entries))? {
                match self.finish(volume) {
                    // Then the log says it, as far as there was no room for it elsewhere.
                    Err(Fault::Full) if !self.unlogged => {}
                    done => return done,
                }
            }
        }
        self.in_log = true;
        self.log.try_close(volume)
    }

    /// The published index does not say all that this one does.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(super) fn is_ahead(&self) -> bool {
        self.index.dirty() != 0 || self.position != self.log.end() || self.unlogged
    }

    /// The root, in bytes.
    pub(super) fn encode_root(&mut self, position: u64, bytes: &mut [u8; ROOT]) -> usize {
        let mut head = Head {
            kind: I::KIND.number().into(),
            log: self.log.id().into(),
            position,
            generation: self.generation,
        };
        let mut fields = Varints::write(bytes);
        head.fields(&mut fields);
        self.blocks.encode(&mut fields);
        self.index.write_root(&mut fields);
        fields.at
    }

    /// Calls the index with what it stands on.
    pub(super) fn with_index<D: BlockDevice, V: Buffer, R, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        replayed: Option<&Cursor>,
        call: impl FnOnce(&mut I, &mut Base<'_, D, V, W, N, SLOTS>) -> R,
    ) -> R {
        let mut both = self.split(volume, replayed);
        call(both.0, &mut both.1)
    }

    /// The index, and what it stands on. (Where code must be small, it is there once.)
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    fn split<'a, D: BlockDevice, V: Buffer, const N: usize>(
        &'a mut self,
        volume: &'a mut Volume<D, V, N>,
        replayed: Option<&'a Cursor>,
    ) -> (&'a mut I, Base<'a, D, V, W, N, SLOTS>) {
        let base = Base {
            volume,
            blocks: &mut self.blocks,
            log: &self.log,
            replayed,
            generation: self.generation,
            offset: self.offset,
            site: &self.site,
            forgiving: self.forgiving,
            overlay: self.read_only.then_some(&mut self.overlay),
        };
        (&mut self.index, base)
    }

    /// The public error for what went wrong while a cursor read the log.
    #[cold]
    pub(super) fn explain_at<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        cursor: &mut Cursor,
        fault: Fault,
    ) -> Error<D::Error> {
        if fault == Fault::Entry {
            return self.log.explain_at(volume, cursor, Fault::Damaged).into();
        }
        self.explain(volume, fault)
    }

    /// The public error for a fault of the index or its blocks.
    #[cold]
    pub(super) fn explain<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        fault: Fault,
    ) -> Error<D::Error> {
        let detail = volume.medium.detail;
        match fault {
            fault if self.in_log => Error::Log(self.log.explain(volume, fault)),
            Fault::Damaged => Error::Corrupt { address: address(volume, detail) },
            Fault::Short => Error::BufferTooSmall { needed: detail as usize },
            Fault::Full => Error::Full,
            Fault::ReadOnly => Error::ReadOnly,
            Fault::Stuck => Error::Stuck { address: address(volume, self.stuck.unwrap_or(0)) },
            Fault::EmptyKey => Error::EmptyKey,
            Fault::KeyTooLong => Error::KeyTooLong { max: self.max_key() },
            Fault::ValueTooLong => Error::ValueTooLong { max: self.max_value(volume, detail as usize) },
            Fault::NoStore => Error::NoStore,
            Fault::OtherKind => Error::OtherKind { found: detail as u8 },
            Fault::Unfit => {
                match self.index.begin(&volume.medium.geometry(), volume.block_size(), &volume.division()) {
                    Err(Unfit::Memory(pages, frames)) => Error::MemoryTooSmall { pages, frames },
                    Err(Unfit::Misaligned(alignment)) => volume::Error::Misaligned { alignment }.into(),
                    Err(Unfit::Block(why)) => Error::BlockSize(why),
                    Ok(()) => Error::NoStore,
                }
            }
            Fault::Memory => {
                let frames = detail as usize;
                let pages = frames.saturating_add(1).saturating_mul(volume.block_size() as usize);
                Error::MemoryTooSmall { pages, frames }
            }
            fault => Error::Log(self.log.explain(volume, fault)),
        }
    }

    /// Makes all changes durable. One write and one sync; nothing if nothing was changed since the last one. The first one after
    /// a cut in the middle of a publish publishes that again, so that from here on one damaged home of the superblock loses
    /// nothing.
    pub fn commit<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Error<D::Error>> {
        if self.read_only {
            return Ok(());
        }
        volume.settle().map_err(|fault| self.explain(volume, fault))?;
        Ok(self.log.commit(volume)?)
    }

    /// The first part of a commit, see [`Log::flush`].
    pub fn flush<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<Ticket, Error<D::Error>> {
        Ok(self.log.flush(volume)?)
    }

    /// The last part of a commit, after the device has synced.
    pub fn acknowledge(&mut self, ticket: Ticket) {
        self.log.acknowledge(ticket);
    }

    /// Chooses when [`commit_if_due`](Self::commit_if_due) commits.
    pub fn set_sync(&mut self, strategy: SyncStrategy) {
        self.log.set_sync(strategy);
    }

    /// Commits if the strategy says so, see [`Log::commit_if_due`].
    pub fn commit_if_due<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        now_millis: u64,
    ) -> Result<Durability, Error<D::Error>> {
        Ok(self.log.commit_if_due(volume, now_millis)?)
    }

    /// What recovery found in the log when the store was opened.
    pub fn report(&self) -> wal::Report {
        self.log.report()
    }

    /// The index, for its own figures.
    pub fn index(&self) -> &I {
        &self.index
    }

    /// See [`Info::waits`].
    pub fn waits(&self) -> u32 {
        self.waits.first().copied().unwrap_or(0)
    }

    /// The longest key.
    pub fn max_key(&self) -> usize {
        self.index.max_key()
    }

    /// The longest value of a key of this length: the two are one entry of the log. Of an LSM tree a table less four pages at most.
    pub fn max_value<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &Volume<D, V, N>,
        key: usize,
    ) -> usize {
        let entry = self.log.max_entry(volume) as usize;
        entry.saturating_sub(MAX_HEAD).saturating_sub(key).min(self.index.max_value(key))
    }

    /// The store in figures. Costs nothing.
    pub fn info<D: BlockDevice, V: Buffer, const N: usize>(
        &self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<Info, Error<D::Error>> {
        Ok(Info {
            kind: I::KIND,
            index: self.index.info(),
            pool: self.index.pool(),
            block_size: volume.block_size(),
            blocks: volume.block_count(),
            free_blocks: self.blocks.free_blocks(),
            available_blocks: self.blocks.available(),
            retired_blocks: self.blocks.retired(),
            lost_blocks: self.blocks.lost(),
            max_key: self.max_key(),
            max_value: self.max_value(volume, 1),
            checkpoint: self.position,
            writing: self.writing,
            stuck: self.stuck.is_some(),
            waits: self.waits(),
            log: self.log.info(volume)?,
        })
    }
}

/// The store's root, and zeros behind it.
fn root_bytes<D: BlockDevice, V: Buffer, const N: usize>(volume: &Volume<D, V, N>) -> [u8; ROOT] {
    let mut bytes = [0; ROOT];
    let root = volume.store_root();
    if let Some(place) = bytes.get_mut(..root.len()) {
        place.copy_from_slice(root);
    }
    bytes
}
