//! An operation as an entry of the log.
//!
//! ```text
//!   LEB128  key length << 1 | delete
//!   key
//!   value   all that is left; nothing for a delete
//! ```
//! Operations say whole values, so applying one twice is the same as once: recovery may begin too early.

use crate::codec::Varints;

/// The longest head, in bytes.
pub(super) const MAX_HEAD: usize = 5;

/// What stands before the key.
pub(super) fn head(key: usize, delete: bool, bytes: &mut [u8; MAX_HEAD]) -> &[u8] {
    let mut number = (key as u32) << 1 | u32::from(delete);
    let mut fields = Varints::write(bytes);
    fields.u32(&mut number);
    let len = fields.at;
    bytes.get(..len).unwrap_or_default()
}

/// Takes a head apart: its own length, that of the key, and whether it is a delete.
pub(super) fn read_head(bytes: &[u8]) -> (usize, usize, bool) {
    let mut copy = [0; MAX_HEAD];
    let len = bytes.len().min(MAX_HEAD);
    if let (Some(copy), Some(bytes)) = (copy.get_mut(..len), bytes.get(..len)) {
        copy.copy_from_slice(bytes);
    }
    let mut number = 0;
    let mut fields = Varints::read(&mut copy);
    fields.u32(&mut number);
    (fields.at, (number >> 1) as usize, number & 1 != 0)
}
