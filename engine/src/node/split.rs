//! Where cells are divided between two pages. That it can be done is argued in the module above.

use super::search::extent;
use super::{SLOT, count, used};
use crate::codec::SMALL;

/// Where to split a page that has no room for a new cell of `size` bytes (its slot included) before cell `at`. The answer
/// counts the cells with the new one among them: if it is greater than `at`, then the new one goes to the left, behind
/// `at` cells, and `answer - 1` cells of the page stay; else `answer` of them stay, and the new one is cell `at - answer` of the right
/// page.
///
/// The halves are as even as cells allow. But with `ascending`, a cell behind the last goes alone to the right: so pages
/// are full after a load in order. Only the last page of a level may be that empty.
pub(crate) fn split_point(page: &[u8], at: usize, size: usize, ascending: bool) -> usize {
    if ascending && at >= count(page) { count(page) } else { cut(&[], page, at, size) }
}

/// How many of the cells of two neighbours, which have no room on one page, the left one is to have, so that both are even
/// once a new cell of `size` bytes is there before cell `at`, counted through both; or without one, if `size` is 0.
pub(crate) fn even_point(left: &[u8], right: &[u8], at: usize, size: usize) -> usize {
    let cut = cut(left, right, at, size);
    if size != 0 && cut > at { cut.wrapping_sub(1) } else { cut }
}

/// How many of the cells of two pages, a new one among them, come closest to one half. At least one, and not all of them.
/// The search begins where the pages meet: so little is looked at when they are almost even.
#[inline(never)]
fn cut(left: &[u8], right: &[u8], at: usize, new: usize) -> usize {
    let first = count(left);
    let is_new = new != 0;
    let size = |i: usize| match i {
        i if is_new && i == at => new,
        i => match i.wrapping_sub(usize::from(is_new && i > at)) {
            i if i < first => size_of(left, i),
            i => size_of(right, i.wrapping_sub(first)),
        },
    };
    let all = first.wrapping_add(count(right)).wrapping_add(usize::from(is_new));
    let total = used(left).wrapping_add(used(right)).wrapping_add(new);
    let (mut cut, mut before) = (0_usize, 0_usize);
    if !SMALL {
        let is_left = is_new && at < first;
        cut = first.wrapping_add(usize::from(is_left));
        before = used(left).wrapping_add(if is_left { new } else { 0 });
        while cut > 0 {
            let behind = before.wrapping_sub(size(cut.wrapping_sub(1)));
            if before.wrapping_add(behind) < total {
                break;
            }
            (cut, before) = (cut.wrapping_sub(1), behind);
        }
    }
    // A cell that reaches over the middle belongs to the side on which it has more.
    while cut < all {
        let behind = before.wrapping_add(size(cut));
        if before.wrapping_add(behind) >= total {
            break;
        }
        (cut, before) = (cut.wrapping_add(1), behind);
    }
    cut.clamp(1, all.saturating_sub(1).max(1))
}

fn size_of(page: &[u8], i: usize) -> usize {
    extent(page, i).len().wrapping_add(SLOT)
}

/// The shortest key that is greater than `left_last` and not greater than `right_first`, which is greater.
pub(crate) fn separator<'a>(left_last: &[u8], right_first: &'a [u8]) -> &'a [u8] {
    let common = left_last.iter().zip(right_first).take_while(|(left, right)| left == right).count();
    right_first.get(..common.wrapping_add(1)).unwrap_or(right_first)
}
