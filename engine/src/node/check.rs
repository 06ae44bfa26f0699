//! Whether a page is what it should be.

use super::search::{extent, key, value};
use super::{FLAGS, GARBAGE, HEADER, HEAP, SLOT, count, half_at, heap, level, max_cell, max_key, slot};
use crate::codec::{Checksum, put_word, word_at};

fn checksum(page: &[u8], volume_id: u32, block: u32) -> u32 {
    Checksum::new().word(volume_id).word(block).bytes(page.get(4..).unwrap_or_default()).finish()
}

/// Writes the checksum of a page that goes to `block`, and hands it out for the pointer to it.
pub(crate) fn seal(page: &mut [u8], volume_id: u32, block: u32) -> u32 {
    let crc = checksum(page, volume_id, block);
    put_word(page, crc);
    crc
}

/// Whether these are the bytes that a pointer with this checksum was made for.
pub(crate) fn is_sound(page: &[u8], volume_id: u32, block: u32, crc: u32) -> bool {
    word_at(page, 0) == crc && checksum(page, volume_id, block) == crc
}

/// Whether the page is in order: all cells whole, of lawful sizes and, with the holes, as many bytes as there are; keys
/// ascending, the first at least `low`, the last less than `high`. The first key of an inner page may be empty as well.
pub(crate) fn is_ordered(page: &[u8], low: &[u8], high: Option<&[u8]>) -> bool {
    let (count, inner) = (count(page), level(page) != 0);
    let mut bytes = half_at(page, GARBAGE);
    let mut last = None;
    for i in 0..count {
        let (cell, key) = (extent(page, i), key(page, i));
        let lawful = cell.start >= heap(page)
            && cell.len().wrapping_add(SLOT) <= max_cell(page.len())
            && key.len() <= max_key(page.len())
            && (inner || !key.is_empty() && value(page, i).is_some());
        let first = inner && i == 0 && key.is_empty();
        let ascends = match last {
            None => key >= low || first,
            Some(last) => key > last,
        };
        if !lawful || !ascends || high.is_some_and(|high| key >= high) {
            return false;
        }
        bytes = bytes.wrapping_add(cell.len());
        last = Some(if first { low } else { key });
    }
    page.get(FLAGS) == Some(&0)
        && (count > 0 || !inner)
        && page.len() > HEADER
        && half_at(page, HEAP) == heap(page) & 0xFFFF
        && heap(page) >= slot(count)
        && heap(page).wrapping_add(bytes) == page.len()
}
