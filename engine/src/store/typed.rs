//! Keys and values of types, through postcard: a thin layer on top of bytes.
//!
//! Keys sort by their encoded bytes, which for postcard's numbers is not the order of the numbers: where ranges matter, take
//! `[u8; N]` from `to_be_bytes` as a part of the key. The first byte of every key can tell apart several maps in one store.

use core::marker::PhantomData;

use serde::{Serialize, de::DeserializeOwned};

use super::{Effect, Error, Index, Store};
use crate::device::BlockDevice;
use crate::volume::{Buffer, Volume};

/// A store seen as a map from `K` to `V`. It holds nothing; several may see one store.
#[derive(Clone, Copy, Debug)]
pub struct Typed<K, V> {
    prefix: u8,
    types: PhantomData<fn(K) -> V>,
}

impl<K: Serialize, V: Serialize + DeserializeOwned> Typed<K, V> {
    /// The map of which each key begins with this byte.
    pub const fn new(prefix: u8) -> Self {
        Self { prefix, types: PhantomData }
    }

    /// Stores a value under a key. `buffer` must hold both, encoded, and one byte: else [`Error::Encoding`].
    pub fn put<I: Index, D: BlockDevice, B: Buffer, W: Buffer, const N: usize, const SLOTS: usize>(
        &self,
        store: &mut Store<I, W, SLOTS>,
        volume: &mut Volume<D, B, N>,
        key: &K,
        value: &V,
        buffer: &mut [u8],
    ) -> Result<Effect, Error<D::Error>> {
        let (key, rest) = self.key(key, buffer).ok_or(Error::Encoding)?;
        let value = postcard::to_slice(value, rest).map_err(|_| Error::Encoding)?;
        store.put(volume, key, value)
    }

    /// The value of a key. `buffer` must hold both, encoded, and one byte.
    pub fn get<I: Index, D: BlockDevice, B: Buffer, W: Buffer, const N: usize, const SLOTS: usize>(
        &self,
        store: &mut Store<I, W, SLOTS>,
        volume: &mut Volume<D, B, N>,
        key: &K,
        buffer: &mut [u8],
    ) -> Result<Option<V>, Error<D::Error>> {
        let (key, rest) = self.key(key, buffer).ok_or(Error::Encoding)?;
        match store.get(volume, key, rest)? {
            Some(found) => {
                let value = rest.get(..found.len).unwrap_or_default();
                match postcard::take_from_bytes(value) {
                    Ok((value, [])) => Ok(Some(value)),
                    _ => Err(Error::Encoding),
                }
            }
            None => Ok(None),
        }
    }

    /// Removes a key and its value. `buffer` must hold the key, encoded, and one byte.
    pub fn delete<I: Index, D: BlockDevice, B: Buffer, W: Buffer, const N: usize, const SLOTS: usize>(
        &self,
        store: &mut Store<I, W, SLOTS>,
        volume: &mut Volume<D, B, N>,
        key: &K,
        buffer: &mut [u8],
    ) -> Result<Effect, Error<D::Error>> {
        let (key, _) = self.key(key, buffer).ok_or(Error::Encoding)?;
        store.delete(volume, key)
    }

    fn key<'a>(&self, key: &K, buffer: &'a mut [u8]) -> Option<(&'a [u8], &'a mut [u8])> {
        let (first, rest) = buffer.split_first_mut()?;
        *first = self.prefix;
        let len = postcard::to_slice(key, rest).ok()?.len().checked_add(1)?;
        let (key, rest) = buffer.split_at_mut_checked(len)?;
        Some((key, rest))
    }
}
