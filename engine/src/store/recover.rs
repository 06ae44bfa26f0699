//! The log, applied to the published index again.

use super::op::read_head;
use super::{Damage, Index, Store};
use crate::device::BlockDevice;
use crate::volume::{Buffer, Fault, Volume};
use crate::wal::Cursor;

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
            let len = match self.log.next_part(volume, cursor, self.index.replay_buffer()) {
                Ok(Some(len)) => len,
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
            let (head, key, delete) = read_head(self.index.replay_buffer());
            let behind = head.wrapping_add(key);
            let fits = if delete { behind == len } else { behind <= len };
            if key == 0 || key > self.index.max_key() || !fits {
                // Whole, and nothing that a store has written.
                if pass(Damage::Entry { offset: at }) {
                    continue;
                }
                cursor.go_to(at);
                return Err(volume.medium.fault(Fault::Entry, 0));
            }
            let done = self.make_room_to_replay(volume, key, len.wrapping_sub(behind), at).and_then(|()| {
                let value = (!delete).then_some(behind..len);
                self.offset = at;
                if self.index.reads_later(key, len.wrapping_sub(behind)) {
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

    /// Before a full device ends the replay, what was replayed is published: that frees what it has replaced.
    fn make_room_to_replay<D: BlockDevice, V: Buffer, const N: usize>(
        &mut self,
        volume: &mut Volume<D, V, N>,
        key: usize,
        value: usize,
        at: u64,
    ) -> Result<(), Fault> {
        let needed = self.index.blocks_for_replay(key, value);
        if self.read_only || self.stuck.is_some() {
            return Ok(());
        }
        if self.blocks.available() < needed {
            let done = self.complete_step(volume).and_then(|()| self.publish_at(volume, at));
            // Perhaps it goes without.
            if done != Err(Fault::Full) {
                done?;
            }
        }
        self.make_index_room(volume, at)
    }
}
