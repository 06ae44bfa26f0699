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
    let from = (at as usize).wrapping_mul(size);
    (pages.get_mut(from..from.wrapping_add(size)).unwrap_or_default(), scratch)
}

/// Two different pages, and the scratch page.
pub(crate) fn pages_and_scratch(
    bytes: &mut [u8],
    size: usize,
    one: u32,
    other: u32,
) -> (&mut [u8], &mut [u8], &mut [u8]) {
    let (scratch, pages) = bytes.split_at_mut_checked(size).unwrap_or_default();
    let (low, high) = (one.min(other) as usize, one.max(other) as usize);
    let (before, behind) = pages.split_at_mut_checked(high.wrapping_mul(size)).unwrap_or_default();
    let from = low.wrapping_mul(size);
    let low_page = before.get_mut(from..from.wrapping_add(size)).unwrap_or_default();
    let high_page = behind.get_mut(..size).unwrap_or_default();
    if one < other { (low_page, high_page, scratch) } else { (high_page, low_page, scratch) }
}
