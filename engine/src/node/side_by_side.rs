//! Pages side by side in lent bytes, behind one that is there for work on the others:
//!
//! ```text
//!   ├ scratch ┤ page 0 ┤ page 1 ┤ ...
//! ```

/// Page `at`; none where the bytes end before it does.
#[cfg_attr(not(target_pointer_width = "32"), inline)]
#[cfg_attr(target_pointer_width = "32", inline(never))]
pub(crate) fn page(bytes: &[u8], size: usize, at: u32) -> &[u8] {
    let from = (at as usize).wrapping_add(1).wrapping_mul(size);
    bytes.get(from..from.wrapping_add(size)).unwrap_or_default()
}

/// The same, to be changed.
#[cfg_attr(not(target_pointer_width = "32"), inline)]
#[cfg_attr(target_pointer_width = "32", inline(never))]
pub(crate) fn page_mut(bytes: &mut [u8], size: usize, at: u32) -> &mut [u8] {
    let from = (at as usize).wrapping_add(1).wrapping_mul(size);
    bytes.get_mut(from..from.wrapping_add(size)).unwrap_or_default()
}

/// Page `at`, and the scratch page.
#[cfg_attr(target_pointer_width = "32", inline(never))]
pub(crate) fn page_and_scratch(bytes: &mut [u8], size: usize, at: u32) -> (&mut [u8], &mut [u8]) {
    let (scratch, pages) = bytes.split_at_mut_checked(size).unwrap_or_default();
    (nth(pages, at, size), scratch)
}

/// Two different pages, and the scratch page.
pub(crate) fn pages_and_scratch(
    bytes: &mut [u8],
    size: usize,
    one: u32,
    other: u32,
) -> (&mut [u8], &mut [u8], &mut [u8]) {
    let (scratch, pages) = bytes.split_at_mut_checked(size).unwrap_or_default();
    let high = (one.max(other) as usize).wrapping_mul(size);
    let (before, behind) = pages.split_at_mut_checked(high).unwrap_or_default();
    let (mut first, mut second) = (nth(before, one.min(other), size), nth(behind, 0, size));
    if one > other {
        core::mem::swap(&mut first, &mut second);
    }
    (first, second, scratch)
}

/// The `n`th of pages of this size.
#[cfg_attr(target_pointer_width = "32", inline(never))]
fn nth(pages: &mut [u8], n: u32, size: usize) -> &mut [u8] {
    let from = (n as usize).wrapping_mul(size);
    pages.get_mut(from..from.wrapping_add(size)).unwrap_or_default()
}
