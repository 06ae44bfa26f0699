//! Where cells are divided between two pages. That it can be done is argued in the module above.

use super::search::extent;
use super::{SLOT, count, used};

/// Where to split a page that has no room for a new cell of `size` bytes (its slot included) before cell `at`. The answer
/// counts the cells with the new one among them: if it is greater than `at`, then the new one goes to the left, behind
/// `at` cells, and `answer - 1` cells of the page stay; else `answer` of them stay, and the new one is cell `at - answer` of the right
/// page.
///
/// The halves are as even as cells allow. But with `ascending`, a cell behind the last goes alone to the right: so pages
/// are full after a load in order. Only the last page of a level may be that empty.
pub(crate) fn split_point(page: &[u8], at: usize, size: usize, ascending: bool) -> usize {
    let count = count(page);
    if ascending && at >= count {
        return count;
    }
    let total = used(page).wrapping_add(size);
    middle(count.wrapping_add(1), total, &|i| {
        if i == at { size } else { size_of(page, if i < at { i } else { i.wrapping_sub(1) }) }
    })
}

/// How many of the cells of two neighbours, which have no room on one page, the left one is to have.
pub(crate) fn even_point(left: &[u8], right: &[u8]) -> usize {
    let (first, second) = (count(left), count(right));
    let total = used(left).wrapping_add(used(right));
    middle(first.wrapping_add(second), total, &|i| match i.checked_sub(first) {
        None => size_of(left, i),
        Some(i) => size_of(right, i),
    })
}

fn size_of(page: &[u8], i: usize) -> usize {
    extent(page, i).len().wrapping_add(SLOT)
}

/// How many of `count` cells, `total` bytes of them, come closest to one half. At least one, and not all of them.
#[inline(never)]
fn middle(count: usize, total: usize, size: &dyn Fn(usize) -> usize) -> usize {
    let mut before = 0_usize;
    for i in 0..count {
        let behind = before.wrapping_add(size(i));
        // The cell reaches over the middle, and lies more to the right of it than to the left.
        if before.wrapping_add(behind) >= total {
            return i.clamp(1, count.saturating_sub(1).max(1));
        }
        before = behind;
    }
    count.saturating_sub(1)
}

/// The shortest key that is greater than `left_last` and not greater than `right_first`, which is greater.
pub(crate) fn separator<'a>(left_last: &[u8], right_first: &'a [u8]) -> &'a [u8] {
    let common = left_last.iter().zip(right_first).take_while(|(left, right)| left == right).count();
    right_first.get(..common.wrapping_add(1)).unwrap_or(right_first)
}
