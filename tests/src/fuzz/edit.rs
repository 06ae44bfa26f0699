//! Edits to a valid image, eight bytes each.

use super::base::Base;

/// Numbers that something may break on.
const VALUES: [u64; 14] = [
    0,
    1,
    2,
    4,
    0x7F,
    0x80,
    0xFF,
    0xFFFF,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    0xFFFF_FFFE,
    1 << 63,
    u64::MAX,
];

/// Does what `edits` say, then, with `repair`, makes the checksums right.
pub fn apply(base: &Base, edits: &[u8], repair: bool) -> Vec<u8> {
    let mut image = base.image.clone();
    for edit in edits.chunks_exact(8).take(64) {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(edit);
        one(base, &mut image, bytes);
    }
    if repair {
        base.structures.repair(base, &mut image);
    }
    image
}

/// Bytes 0 what, 1 which number, 2 to 4 where, 5 how many bytes, 6 and 7 more.
fn one(base: &Base, image: &mut [u8], [what, which, a, b, width, c, d, e]: [u8; 8]) {
    let len = image.len();
    let pick = u16::from_le_bytes([a, b]);
    let other = u16::from_le_bytes([c, d]);
    let at = usize::from(pick) % len;
    match what % 12 {
        0 => image[at] ^= 1 << (which & 7),
        1 => put(image, at, width, value(which, e, 0)),
        2 => {
            let unit = if which & 1 == 0 { 512 } else { 4096 };
            let start = at / unit * unit;
            let end = (start + unit).min(len);
            image[start..end].fill([0, 0xFF, e][usize::from(which >> 1) % 3]);
        }
        3 => {
            let unit = [64, 256, 512, 4096][usize::from(which & 3)];
            let (from, to) = (at / unit * unit, usize::from(other) % len / unit * unit);
            let size = unit.min(len - from.max(to));
            image.copy_within(from..from + size, to);
        }
        // One field of one structure.
        4..=9 => {
            for (start, size) in targets(base, what % 12, pick) {
                let at = start + usize::from(c) % size;
                let at = if d & 3 == 0 { at } else { at & !3 };
                let old = image
                    .get(at..at + 4)
                    .map_or(0, |old| u32::from_le_bytes([old[0], old[1], old[2], old[3]]));
                put(image, at, width, value(which, e, old));
            }
        }
        // One structure in the place of another.
        10 => {
            let kind = 5 + which % 4;
            let from = targets(base, kind, pick);
            let to = targets(base, kind, other);
            if let (Some((from, size)), Some((to, _))) = (from.first(), to.first()) {
                let size = (*size).min(len - from.max(to));
                image.copy_within(*from..*from + size, *to);
            }
        }
        // The numbers in both newest publishes: a varint grows or shrinks.
        _ => {
            for (start, size) in targets(base, 9, 0) {
                let at = start + 16 + usize::from(c) % (size - 16);
                image[at] = match which % 4 {
                    0 => e,
                    1 => image[at] ^ 0x80,
                    2 => image[at].wrapping_add(1),
                    _ => image[at].wrapping_sub(1),
                };
            }
        }
    }
}

fn value(which: u8, random: u8, old: u32) -> u64 {
    let old = u64::from(old);
    match usize::from(which) % (VALUES.len() + 6) {
        n if n < VALUES.len() => VALUES[n],
        14 => old.wrapping_add(1),
        15 => old.wrapping_sub(1),
        16 => old.wrapping_add(u64::from(random)),
        17 => old ^ 1 << (random & 31),
        18 => old << 1,
        _ => u64::from(random).wrapping_mul(0x0101_0101_0101_0101),
    }
}

fn put(image: &mut [u8], at: usize, width: u8, value: u64) {
    let width = [1, 2, 4, 8, 4, 4][usize::from(width) % 6];
    if let Some(place) = image.get_mut(at..at + width) {
        place.copy_from_slice(&value.to_le_bytes()[..width]);
    }
}

/// Where a structure of a kind is, with its size: 4 format, 5 header, 6 seal, 7 record, 8 publish, 9 both newest publishes.
fn targets(base: &Base, kind: u8, pick: u16) -> Vec<(usize, usize)> {
    let pick = usize::from(pick);
    let structures = &base.structures;
    let nth = |list: &[usize], size: usize| -> Vec<(usize, usize)> {
        // The newest ones matter most.
        let back = if pick & 1 == 0 { pick >> 1 & 3 } else { pick >> 1 };
        let at = list.len().checked_sub(1 + back % list.len().max(1)).and_then(|n| list.get(n));
        at.map(|at| (*at, size)).into_iter().collect()
    };
    match kind {
        // Both copies, so that neither stands in for the other.
        4 => {
            let both = [(0, 124), (4096, 124)];
            if pick & 3 == 0 { vec![both[pick >> 2 & 1]] } else { both.to_vec() }
        }
        5 => nth(&structures.headers, 56),
        6 => nth(&structures.seals, 84),
        7 => {
            let count = structures.records.len().max(1);
            let record = structures.records.get(pick % count);
            record.map(|at| (structures.record_address(base.kind, at), 24)).into_iter().collect()
        }
        8 => nth(&structures.publishes, 96),
        _ => structures.publishes.iter().rev().take(2).map(|at| (*at, 96)).collect(),
    }
}
