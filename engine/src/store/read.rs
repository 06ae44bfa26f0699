//! Pairs out: by key, and one after the other.

use core::ops::Bound;

use super::{Error, Found, Index, Store};
use crate::device::BlockDevice;
use crate::index::Place;
use crate::volume::{Buffer, Fault, Volume};

/// A place among the keys, to read on from in both directions. It borrows nothing and survives changes. Its memory holds the
/// key that it stands at.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<K> {
    key: K,
    place: Place,
    forward: bool,
}

impl<K: Buffer> Cursor<K> {
    /// The key of the pair that was read last; after an error, the key at which what is damaged begins.
    pub fn key(&self) -> &[u8] {
        self.key.as_ref().get(..self.place.len).unwrap_or_default()
    }

    /// Gives the memory back.
    pub fn into_memory(self) -> K {
        self.key
    }
}

impl<I: Index, W: Buffer, const SLOTS: usize> Store<I, W, SLOTS> {
    /// Finds the value of a key and copies it to the start of `out`. `None`: the key has none.
    ///
    /// Reads at most as many pages as the tree is deep, and none that is in the pool; and for a value too long for a leaf,
    /// its own blocks, or of an LSM tree just its bytes, at once.
    pub fn get<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        key: &[u8],
        out: &mut [u8],
    ) -> Result<Option<Found>, Error<D::Error>> {
        if key.is_empty() || key.len() > self.max_key() {
            return Ok(None);
        }
        let found = self.with_index(volume, None, |index, base| index.get(base, key, out));
        found.map_err(|fault| self.explain(volume, fault))
    }

    /// A cursor before the first key, and behind the last. `key` is memory for the longest key.
    pub fn cursor<K: Buffer>(&self, key: K) -> Cursor<K> {
        Cursor { key, place: Place::START, forward: true }
    }

    /// Goes to a bound. [`next`](Self::next) then begins with the first key that is greater, or with [`Bound::Included`] equal;
    /// [`previous`](Self::previous) with the last one that is less, or equal. Unbounded: before the first, and behind the last.
    /// Costs nothing.
    pub fn seek<K: Buffer>(&self, cursor: &mut Cursor<K>, to: Bound<&[u8]>) -> Result<(), Error<()>> {
        let (bound, key) = match to {
            Bound::Included(key) => (Bound::Included(()), key),
            Bound::Excluded(key) => (Bound::Excluded(()), key),
            Bound::Unbounded => (Bound::Unbounded, &[][..]),
        };
        let max = cursor.key.as_ref().len();
        if key.len() > max {
            return Err(Error::KeyTooLong { max });
        }
        cursor.place.go_to(bound, key, cursor.key.as_mut());
        Ok(())
    }

    /// Reads the next pair: its key is then in the cursor, its value at the start of `out`. Returns the length of the value;
    /// `None` at the end. After [`Error::Corrupt`] the cursor stands before what is damaged: [`skip`](Self::skip) passes it.
    /// [`Error::BufferTooSmall`]: `out` or the cursor's memory; the cursor has not moved.
    ///
    /// Inside a leaf that is in the pool, no device operation; at its end, what a [`get`](Self::get) costs.
    pub fn next<D: BlockDevice, V: Buffer, const N: usize, K: Buffer>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        cursor: &mut Cursor<K>,
        out: &mut [u8],
    ) -> Result<Option<usize>, Error<D::Error>> {
        self.step(volume, cursor, true, out)
    }

    /// Reads the pair before, otherwise like [`next`](Self::next).
    pub fn previous<D: BlockDevice, V: Buffer, const N: usize, K: Buffer>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        cursor: &mut Cursor<K>,
        out: &mut [u8],
    ) -> Result<Option<usize>, Error<D::Error>> {
        self.step(volume, cursor, false, out)
    }

    fn step<D: BlockDevice, V: Buffer, const N: usize, K: Buffer>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        cursor: &mut Cursor<K>,
        forward: bool,
        out: &mut [u8],
    ) -> Result<Option<usize>, Error<D::Error>> {
        let needed = self.max_key();
        if cursor.key.as_ref().len() < needed {
            return Err(Error::BufferTooSmall { needed });
        }
        if cursor.forward != forward {
            (cursor.forward, cursor.place.ended) = (forward, false);
        }
        let Cursor { key, place, .. } = cursor;
        let done =
            self.with_index(volume, None, |index, base| index.step(base, place, key.as_mut(), forward, out));
        done.map_err(|fault| self.explain(volume, fault))
    }

    /// After [`Error::Corrupt`] from [`next`](Self::next) or [`previous`](Self::previous): passes, in the same direction, the
    /// keys of the page that is damaged, or the key of the value that is. Those keys may have had values.
    pub fn skip<D: BlockDevice, V: Buffer, const N: usize, K: Buffer>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        cursor: &mut Cursor<K>,
    ) -> Result<(), Error<D::Error>> {
        let Cursor { key, place, forward } = cursor;
        let forward = *forward;
        let done =
            self.with_index(volume, None, |index, base| index.skip(base, place, key.as_mut(), forward));
        match done {
            Ok(()) | Err(Fault::Damaged) => Ok(()),
            Err(fault) => Err(self.explain(volume, fault)),
        }
    }
}
