//! What is measured: something that pairs can be given to.

use std::time::Duration;

use crate::Failure;

/// A kind of store with a place for one of its kind: makes, opens and measures it.
pub trait Engine {
    /// An empty store, durable. What was at its place is lost.
    ///
    /// # Errors
    /// What failed. The measurement ends.
    fn create(&mut self) -> Result<Box<dyn KvStore>, Failure>;

    /// The store that was created and closed.
    ///
    /// # Errors
    /// What failed.
    fn open(&mut self) -> Result<Box<dyn KvStore>, Failure>;

    /// Bytes that the closed store takes on the device.
    ///
    /// # Errors
    /// What failed.
    fn size(&mut self) -> Result<u64, Failure>;

    /// Before [`compact`](Self::compact), not measured: makes the files for it, as those of the store were made before it was
    /// loaded.
    ///
    /// # Errors
    /// What failed.
    fn prepare_compact(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// Makes the closed store as small as its kind can.
    ///
    /// # Errors
    /// What failed.
    fn compact(&mut self) -> Result<(), Failure>;

    /// What has reached the device so far in all sessions, where the engine knows it exactly.
    fn counts(&self) -> Option<DeviceCounts> {
        None
    }

    /// How long a simulated device has been busy so far. `None`: real time counts.
    fn busy(&self) -> Option<Duration> {
        None
    }

    /// [`KvStore::load_sorted`] takes all pairs in one call, however many there are.
    fn loads_sorted_at_once(&self) -> bool {
        false
    }

    /// Nothing but writes can be asked of it: it is the floor.
    fn is_floor(&self) -> bool {
        false
    }
}

/// An open store.
pub trait KvStore {
    /// Runs `body` over one transaction, and commits it. With [`Commit::Bulk`] a store may make several of it.
    ///
    /// # Errors
    /// What failed, in the store or in `body`.
    fn write(&mut self, commit: Commit, body: &mut WriteBody<'_>) -> Result<(), Failure>;

    /// The same with keys that are greater than all in the store and ascend; durable.
    ///
    /// # Errors
    /// What failed, in the store or in `body`.
    fn load_sorted(&mut self, body: &mut WriteBody<'_>) -> Result<(), Failure> {
        self.write(Commit::Bulk, body)
    }

    /// Runs `body` over what is stored.
    ///
    /// # Errors
    /// What failed, in the store or in `body`.
    fn read(&mut self, body: &mut ReadBody<'_>) -> Result<(), Failure>;

    /// Writes what is owed for the transactions so far, so that those that follow are counted alone.
    ///
    /// # Errors
    /// What failed.
    fn settle(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// What it says that one put reads and writes at most, as it is now. `None`: nothing.
    fn promised(&self) -> Option<Promised> {
        None
    }

    /// Makes everything durable and ends the session.
    ///
    /// # Errors
    /// What failed.
    fn close(self: Box<Self>) -> Result<(), Failure>;
}

/// What a store says that one put costs at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promised {
    /// Bytes read and written on the device, those of the pair itself aside, as long as it need not wait.
    pub bytes: u64,
    /// How often one had to wait for room, since the store was opened.
    pub waits: u64,
}

/// What is done in a transaction.
pub type WriteBody<'a> = dyn FnMut(&mut dyn Writer) -> Result<(), Failure> + 'a;

/// What is done while reading.
pub type ReadBody<'a> = dyn FnMut(&mut dyn Reader) -> Result<(), Failure> + 'a;

/// What a transaction promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// Durable when it returns; after a cut a part of it may be there.
    Bulk,
    /// Durable when it returns, and as a whole.
    Durable,
    /// Durable with the next one that is, or at the close.
    NoSync,
}

/// A transaction under way.
pub trait Writer {
    /// Stores a value, and replaces the one that was there.
    ///
    /// # Errors
    /// What failed.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure>;

    /// Removes a key that is there.
    ///
    /// # Errors
    /// What failed.
    fn remove(&mut self, key: &[u8]) -> Result<(), Failure>;
}

/// What is stored.
pub trait Reader {
    /// Shows the value of a key. `false`: there is none.
    ///
    /// # Errors
    /// What failed.
    fn get(&mut self, key: &[u8], show: &mut dyn FnMut(&[u8])) -> Result<bool, Failure>;

    /// Shows pairs in ascending order, from the first one that is not before `from`, as long as `show` answers `true` and
    /// there are any.
    ///
    /// # Errors
    /// What failed.
    fn scan(&mut self, from: &[u8], show: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), Failure>;
}

/// Calls and bytes that reached a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceCounts {
    /// Read calls.
    pub reads: u64,
    /// Their bytes.
    pub read_bytes: u64,
    /// Write calls.
    pub writes: u64,
    /// Their bytes.
    pub written_bytes: u64,
    /// Erase units erased.
    pub erases: u64,
    /// Syncs.
    pub flushes: u64,
}
