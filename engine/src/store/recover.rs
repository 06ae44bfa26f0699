//! The log, applied to the published index again.

use super::op::{MAX_HEAD, read_head};
use super::{Damage, Index, Store};
use crate::device::BlockDevice;
use crate::volume::{Buffer, Fault, Volume};
use crate::wal::{Cursor, Entry};

impl<I: Index, W: Buffer, const SLOTS: usize> Store<I, W, SLOTS> {
    /// Applies the log from the checkpoint on. An operation on a damaged page is left out, and the store is stuck. An entry that
    /// is damaged itself ends the recovery, unless `pass` says to go on without it.
    pub(super) fn replay<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        cursor: &mut Cursor,
        pass: &mut dyn FnMut(Damage) -> bool,
    ) -> Result<(), Fault> {
        cursor.go_to(self.position);
        loop {
            let at = cursor.offset();
            let entry = match self.log.next_part(volume, cursor, self.index.replay_buffer()) {
                Ok(Some(entry)) if self.is_op(entry.len) => entry,
                Ok(Some(_)) => {
                    // Whole, and nothing that a store has written.
                    if pass(Damage::Entry { offset: at }) {
                        continue;
                    }
                    cursor.go_to(at);
                    return Err(volume.medium.fault(Fault::Entry, 0));
                }
                Ok(None) => break,
                Err(Fault::Damaged) => {
                    if pass(Damage::Entry { offset: at }) {
                        cursor.skip();
                        continue;
                    }
                    return Err(Fault::Entry);
                }
                Err(fault) => return Err(fault),
            };
            let done = self.make_room_to_replay(volume, &entry, at).and_then(|()| {
                let (head, key, delete) = read_head(self.index.replay_buffer());
                let behind = head.wrapping_add(key);
                let value = (!delete).then_some(behind..entry.len);
                self.offset = at;
                if I::IN_LOG {
                    self.site = self.log.passed_site(cursor);
                }
                self.with_index(volume, Some(cursor), |index, base| index.replay(base, head..behind, value))
            });
            match done {
                Err(Fault::Damaged) => self.stuck = self.stuck.or(Some(volume.medium.detail)),
                done => done?,
            }
        }
        self.index.replayed();
        Ok(())
    }

    /// Whether what was read into the replay buffer, of an entry of this length, is an operation.
    fn is_op(&mut self, len: usize) -> bool {
        let max = self.index.max_key();
        let (head, key, delete) = read_head(self.index.replay_buffer());
        let behind = head.wrapping_add(key);
        (1..=max).contains(&key) && if delete { behind == len } else { behind <= len }
    }

    /// Before a full device ends the replay, what was replayed is published: that frees what it has replaced.
    fn make_room_to_replay<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        entry: &Entry,
        at: u64,
    ) -> Result<(), Fault> {
        let value = entry.len.saturating_sub(MAX_HEAD);
        let needed = self.index.blocks_for_replay(value);
        if self.read_only || self.stuck.is_some() {
            return Ok(());
        }
        if self.blocks.available() < needed {
            self.complete_step(volume)?;
            self.publish_at(volume, at)?;
        }
        self.make_index_room(volume, at)
    }
}
