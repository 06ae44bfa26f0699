//! Operations that count as one, staged in memory that the caller lends, in the log's own encoding.

use super::op::{MAX_HEAD, head};
use crate::volume::Buffer;

/// Several operations of which after a cut all are there or none.
///
/// It is filled without any device operation, and dropping it changes nothing. [`Store::write`](super::Store::write) logs
/// and applies it.
pub struct Batch<B> {
    memory: B,
    used: usize,
    len: usize,
}

/// There is no more room in a batch; nothing was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BatchFull {
    /// Bytes of memory that would be enough for what the batch holds and this operation.
    pub needed: usize,
}

impl<E> From<BatchFull> for super::Error<E> {
    fn from(full: BatchFull) -> Self {
        Self::BatchFull { needed: full.needed }
    }
}

/// Bytes of the length before each operation.
pub(super) const LENGTH: usize = 4;

impl<B: Buffer> Batch<B> {
    /// An empty batch. Each operation takes its key, its value and at most 14 bytes more.
    pub fn new(memory: B) -> Self {
        Self { memory, used: 0, len: 0 }
    }

    /// Adds the operation that stores `value` under `key`.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), BatchFull> {
        self.add(key, Some(value))
    }

    /// Adds the operation that removes `key`.
    pub fn delete(&mut self, key: &[u8]) -> Result<(), BatchFull> {
        self.add(key, None)
    }

    fn add(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), BatchFull> {
        let mut bytes = [0; MAX_HEAD];
        let head = head(key.len(), value.is_none(), &mut bytes);
        let value = value.unwrap_or_default();
        let len = head.len().saturating_add(key.len()).saturating_add(value.len());
        let needed = self.used.saturating_add(LENGTH).saturating_add(len);
        let Some(mut room) = self.memory.as_mut().get_mut(self.used..needed) else {
            return Err(BatchFull { needed });
        };
        for part in [&(len as u32).to_le_bytes(), head, key, value] {
            let Some((now, rest)) = room.split_at_mut_checked(part.len()) else { break };
            now.copy_from_slice(part);
            room = rest;
        }
        self.used = needed;
        self.len = self.len.saturating_add(1);
        Ok(())
    }

    /// Operations in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of the memory in use.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Drops all operations; the memory can be filled again.
    pub fn clear(&mut self) {
        (self.used, self.len) = (0, 0);
    }

    /// Gives the memory back.
    pub fn into_memory(self) -> B {
        self.memory
    }

    pub(super) fn staged(&self) -> &[u8] {
        self.memory.as_ref().get(..self.used).unwrap_or_default()
    }
}
