//! Sorted pairs into an empty store, past the log.

use super::{Error, Index, Store};
use crate::device::BlockDevice;
use crate::space::Blocks;
use crate::volume::{Buffer, Volume};

/// A load in bulk. Dropped before [`finish`](Self::finish), it leaves the store empty, as it was.
pub struct Load<'a, I: Index, W: Buffer, const SLOTS: usize> {
    store: &'a mut Store<I, W, SLOTS>,
    /// The free blocks before.
    blocks: Option<Blocks>,
    pairs: u64,
}

impl<I: Index, W: Buffer, const SLOTS: usize> Store<I, W, SLOTS> {
    /// Begins to load pairs in ascending order of their keys. They are not logged: none is there until
    /// [`Load::finish`] publishes all of them. [`Error::NotEmpty`] if the store has pairs.
    pub fn bulk_load<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<Load<'_, I, W, SLOTS>, Error<D::Error>> {
        self.check_writable(volume).map_err(|fault| self.explain(volume, fault))?;
        self.checkpoint(volume)?;
        if self.index.info().pairs != 0 {
            return Err(Error::NotEmpty);
        }
        volume.settle().map_err(|fault| self.explain(volume, fault))?;
        let blocks = Some(self.blocks.clone());
        self.unlogged = true;
        Ok(Load { store: self, blocks, pairs: 0 })
    }
}

impl<I: Index, W: Buffer, const SLOTS: usize> Load<'_, I, W, SLOTS> {
    /// Adds a pair. After an error nothing was added, and the load may go on; but where the device has not written a page of an LSM tree,
    /// all that follows is an error, too, and the load is to be dropped. Writes a page when the pool is full.
    pub fn push<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), Error<D::Error>> {
        let store = &mut *self.store;
        store.check_op(volume, key, Some(value.len())).map_err(|fault| store.explain(volume, fault))?;
        let change = store.index.blocks_for_change();
        let blocks = store.index.blocks_for_value(key.len(), value.len(), true);
        let needed = change.saturating_mul(2).saturating_add(blocks);
        if store.blocks.available() < needed {
            return Err(Error::Full);
        }
        let added = store.with_index(volume, None, |index, base| index.append(base, key, value));
        match added {
            Ok(true) => {
                self.pairs = self.pairs.wrapping_add(1);
                Ok(())
            }
            Ok(false) => Err(Error::Unsorted { at: self.pairs }),
            Err(fault) => Err(self.store.explain(volume, fault)),
        }
    }

    /// Publishes what was loaded. Writes what is left in the pool, then one publish.
    pub fn finish<D: BlockDevice, V: Buffer, const N: usize>(
        mut self,
        volume: &mut Volume<D, V, N>,
    ) -> Result<(), Error<D::Error>> {
        let done = self.store.checkpoint(volume);
        if done.is_ok() {
            self.blocks = None;
        }
        done
    }
}

impl<I: Index, W: Buffer, const SLOTS: usize> Drop for Load<'_, I, W, SLOTS> {
    fn drop(&mut self) {
        if let Some(blocks) = self.blocks.take() {
            self.store.blocks = blocks.restored();
            self.store.index.clear();
            self.store.unlogged = false;
        }
    }
}
