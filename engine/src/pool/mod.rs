//! The buffer pool: fixed frames in lent memory, each with the copy of one block.
//!
//! ```text
//!   pages    ├ scratch ┤ frame 0 ┤ frame 1 ┤ ... ┤ frame n-1 ┤       as lent
//!   young    newest ─ ... ─ oldest        pages that were asked for again
//!   old      newest ─ ... ─ oldest        pages that came in, and those that young let go; evicted from its end
//! ```
//! Least recently used goes first, but in two lists, as in InnoDB: a page comes into the *old* one and reaches the *young*
//! one only when it is asked for again after others have come in meanwhile. So a scan, however long, and however often
//! it asks for one page in a row, passes through the old list and leaves the young one alone. While nothing has to be
//! loaded, nothing is moved: a hit costs one look into the page table. (A small processor has none: it looks through the few
//! frames that it has.)
//!
//! Which page may be written when is not known here but by the tree: see `btree::pages`. The pool keeps what that needs:
//! which pages are dirty, who points to them, and how many dirty ones each points to.

mod frame;

use crate::codec::SMALL;
use crate::node;
pub use frame::Frame;
use frame::{List, Place};
pub(crate) use frame::{NO_BLOCK, NONE};

/// Frame records, lent or given: `&mut [Frame]`, `[Frame; N]`, `Vec<Frame>`.
pub trait Frames: AsRef<[Frame]> + AsMut<[Frame]> {}
impl<F: AsRef<[Frame]> + AsMut<[Frame]>> Frames for F {}

/// The buffer pool in figures. Counters run from the time the store was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PoolInfo {
    /// Pages that fit.
    pub frames: u32,
    /// Pages that differ from what is on the device.
    pub dirty: u32,
    /// Pages asked for and there.
    pub hits: u64,
    /// Pages asked for and read from the device.
    pub misses: u64,
    /// Pages that had to go to make room.
    pub evictions: u64,
    /// Pages written to the device.
    pub written: u64,
}

impl PoolInfo {
    /// Pages found of pages asked for, from 0 to 1.
    pub fn hit_rate(&self) -> f32 {
        self.hits as f32 / self.hits.saturating_add(self.misses).max(1) as f32
    }
}

/// More would be more memory than there is.
const MAX_FRAMES: u32 = u32::MAX / 8;
/// So many frames are made ready at first, where there are more.
const FIRST: u32 = 64;

/// What a pool remembers beside its memory.
#[derive(Debug)]
pub(crate) struct State {
    size: usize,
    young: List,
    old: List,
    dirty: List,
    free: u32,
    /// This frame and those behind it were not in use yet.
    fresh: u32,
    /// Frames that were made ready so far, and those that may be in use.
    ready: u32,
    limit: u32,
    /// Loads, to tell time with.
    clock: u32,
    pub(crate) info: PoolInfo,
    /// Stands in for a frame that is none, so that nothing here needs to fail.
    nowhere: Frame,
}

impl State {
    pub(crate) fn page_size(&self) -> usize {
        self.size
    }

    /// All frames may be in use.
    pub(crate) fn is_complete(&self) -> bool {
        self.limit == self.info.frames
    }

    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(crate) const fn new() -> Self {
        Self {
            size: 0,
            young: List::EMPTY,
            old: List::EMPTY,
            dirty: List::EMPTY,
            free: NONE,
            fresh: 0,
            ready: 0,
            limit: 0,
            clock: 0,
            info: PoolInfo { frames: 0, dirty: 0, hits: 0, misses: 0, evictions: 0, written: 0 },
            nowhere: Frame::EMPTY,
        }
    }
}

/// See the module. It is put together for each operation, so that its code is there once, whoever owns the memory.
pub(crate) struct Pool<'a> {
    pub(crate) pages: &'a mut [u8],
    pub(crate) frames: &'a mut [Frame],
    pub(crate) state: &'a mut State,
}

impl Pool<'_> {
    /// Divides the memory into pages of this size, all frames free. The last one stays out of use until
    /// [`complete`](Self::complete): recovery reads into it. Returns how many frames there are.
    pub(crate) fn divide(&mut self, size: usize) -> u32 {
        let pages = self.pages.len().checked_div(size).unwrap_or(0).saturating_sub(1);
        let count = pages.min(self.frames.len()).min(MAX_FRAMES as usize) as u32;
        *self.state = State::new();
        self.state.size = size;
        self.state.info.frames = count;
        self.state.limit = count.saturating_sub(1);
        self.grow();
        count
    }

    /// Takes the last frame into use.
    pub(crate) fn complete(&mut self) {
        self.state.limit = self.state.info.frames;
    }

    /// There are so many frames from now on, as [`pages`](Self::pages) has room for. Those that go must be clean, and nobody may hold on to
    /// them. Their records stay in the page table.
    pub(crate) fn resize(&mut self, count: u32) {
        (self.state.info.frames, self.state.limit) = (count, count);
        if self.state.fresh <= count {
            return;
        }
        let (mut at, mut before) = (self.state.free, NONE);
        while at != NONE {
            let older = self.frame(at).older;
            if at < count {
                before = at;
            } else if before == NONE {
                self.state.free = older;
            } else {
                self.frame_mut(before).older = older;
            }
            at = older;
        }
        for at in count..self.state.fresh {
            if self.frame(at).place != Place::Free {
                self.forget_block(at);
                self.unlist(at);
                self.state.info.evictions = self.state.info.evictions.wrapping_add(1);
            }
            *self.frame_mut(at) = Frame { bucket: self.frame(at).bucket, ..Frame::EMPTY };
        }
        self.state.fresh = count;
        // As if another one had come in.
        self.state.clock = self.state.clock.wrapping_add(1);
        while self.is_young() {
            self.age();
        }
    }

    /// Makes more frames ready, and the page table larger, which they hold. A pool may be lent gigabytes: what is not needed
    /// yet is not touched, so that a store opens at once.
    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        let before = self.state.ready;
        // Small processors have little memory, and are to have little code.
        let more = if SMALL { u32::MAX } else { before.max(FIRST) };
        self.state.ready = before.saturating_add(more).min(self.state.limit);
        for at in before..self.state.ready {
            *self.frame_mut(at) = Frame::EMPTY;
        }
        if SMALL {
            return;
        }
        for at in 0..before {
            self.frame_mut(at).bucket = NONE;
        }
        for at in 0..before {
            let block = self.frame(at).block;
            if block != NO_BLOCK {
                self.set_block(at, block);
            }
        }
    }

    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(crate) fn frame(&self, at: u32) -> &Frame {
        self.frames.get(at as usize).unwrap_or(&self.state.nowhere)
    }

    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(crate) fn frame_mut(&mut self, at: u32) -> &mut Frame {
        self.frames.get_mut(at as usize).unwrap_or(&mut self.state.nowhere)
    }

    /// The page in a frame.
    #[cfg_attr(not(target_pointer_width = "32"), inline)]
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(crate) fn page(&self, at: u32) -> &[u8] {
        node::page(self.pages, self.state.size, at)
    }

    #[cfg_attr(not(target_pointer_width = "32"), inline)]
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(crate) fn page_mut(&mut self, at: u32) -> &mut [u8] {
        node::page_mut(self.pages, self.state.size, at)
    }

    /// The page that belongs to no frame.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(crate) fn scratch(&mut self) -> &mut [u8] {
        let size = self.state.size;
        self.pages.get_mut(..size).unwrap_or_default()
    }

    /// The page in a frame, and the scratch page.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(crate) fn page_and_scratch(&mut self, at: u32) -> (&mut [u8], &mut [u8]) {
        node::page_and_scratch(self.pages, self.state.size, at)
    }

    /// The pages in two frames, and the scratch page.
    pub(crate) fn pages_and_scratch(&mut self, one: u32, other: u32) -> (&mut [u8], &mut [u8], &mut [u8]) {
        node::pages_and_scratch(self.pages, self.state.size, one, other)
    }

    /// The bucket that a block belongs to.
    fn bucket(&self, block: u32) -> u32 {
        let spread = u64::from(block.wrapping_mul(0x9E37_79B1));
        (spread.wrapping_mul(u64::from(self.state.ready)) >> 32) as u32
    }

    /// The frame that holds a block, without counting this as a use.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(crate) fn peek(&self, block: u32) -> u32 {
        // A small pool is looked through: that takes no longer than to keep a table, and less code.
        if SMALL {
            let ready = self.frames.get(..self.state.ready as usize).unwrap_or_default();
            let holds = |frame: &Frame| frame.block == block && frame.place != Place::Free;
            return ready.iter().position(holds).map_or(NONE, |at| at as u32);
        }
        let mut at = self.frame(self.bucket(block)).bucket;
        while at != NONE {
            let frame = self.frame(at);
            if frame.block == block {
                break;
            }
            at = frame.next;
        }
        at
    }

    /// The frame that holds a block, if one does.
    pub(crate) fn find(&mut self, block: u32) -> Option<u32> {
        let at = self.peek(block);
        if at == NONE {
            return None;
        }
        self.touch(at);
        Some(at)
    }

    /// Counts a use of the page in a frame.
    pub(crate) fn touch(&mut self, at: u32) {
        self.state.info.hits = self.state.info.hits.wrapping_add(1);
        let Frame { place, stamp, .. } = *self.frame(at);
        let age = self.state.clock.wrapping_sub(stamp);
        let list = if place == Place::Young { self.state.young.len } else { self.state.old.len };
        if age > list / 4 {
            self.unlist(at);
            self.list(at, Place::Young);
            if self.is_young() {
                self.age();
            }
        }
    }

    /// Too many pages are young.
    fn is_young(&self) -> bool {
        self.state.young.len.wrapping_mul(8) > self.state.info.frames.wrapping_mul(5)
    }

    /// The young list lets one go.
    fn age(&mut self) {
        let last = self.state.young.oldest;
        self.unlist(last);
        self.list(last, Place::Old);
    }

    fn list(&mut self, at: u32, place: Place) {
        let list = if place == Place::Young { &mut self.state.young } else { &mut self.state.old };
        let second = list.newest;
        list.newest = at;
        if second == NONE {
            list.oldest = at;
        }
        list.len = list.len.wrapping_add(1);
        self.frame_mut(second).newer = at;
        let stamp = self.state.clock;
        let frame = self.frame_mut(at);
        (frame.newer, frame.older, frame.place, frame.stamp) = (NONE, second, place, stamp);
    }

    fn unlist(&mut self, at: u32) {
        let Frame { newer, older, place, .. } = *self.frame(at);
        let list = if place == Place::Young { &mut self.state.young } else { &mut self.state.old };
        if newer == NONE {
            list.newest = older;
        }
        if older == NONE {
            list.oldest = newer;
        }
        list.len = list.len.wrapping_sub(1);
        self.frame_mut(newer).older = older;
        self.frame_mut(older).newer = newer;
    }

    /// Takes a free frame, if there is one.
    pub(crate) fn take_free(&mut self) -> Option<u32> {
        let at = self.state.free;
        if at != NONE {
            self.state.free = self.frame(at).older;
            return Some(at);
        }
        if self.state.fresh == self.state.ready && self.state.ready < self.state.limit {
            self.grow();
        }
        let at = self.state.fresh;
        if at >= self.state.ready.min(self.state.limit) {
            return None;
        }
        self.state.fresh = at.wrapping_add(1);
        Some(at)
    }

    /// Gives back a frame that was taken and holds nothing.
    pub(crate) fn give_free(&mut self, at: u32) {
        let older = core::mem::replace(&mut self.state.free, at);
        self.frame_mut(at).older = older;
    }

    /// So many pages have come in. As long as that stays the same, none goes but by [`leave`](Self::leave).
    pub(crate) fn loads(&self) -> u32 {
        self.state.clock
    }

    /// The page that goes next: of those that nobody holds on to and that point to no dirty one, the one that was
    /// longest not asked for. With `clean`, only one that need not be written.
    pub(crate) fn victim(&self, clean: bool) -> Option<u32> {
        // What has just come in stays if possible, or a way down would lose its first pages to its last ones.
        let keep = self.state.info.frames.min(24) / 3;
        let mut newest = None;
        for list in [&self.state.old, &self.state.young] {
            let mut at = list.oldest;
            while at != NONE {
                let frame = self.frame(at);
                if frame.pins == 0 && frame.dirty_children == 0 && !(clean && frame.dirty) {
                    if self.state.clock.wrapping_sub(frame.stamp) >= keep {
                        return Some(at);
                    }
                    newest = newest.or(Some(at));
                }
                at = frame.newer;
            }
        }
        newest
    }

    /// Lets this frame hold a block, as if just loaded.
    pub(crate) fn enter(&mut self, at: u32, block: u32) {
        self.state.clock = self.state.clock.wrapping_add(1);
        self.set_block(at, block);
        self.list(at, Place::Old);
    }

    fn set_block(&mut self, at: u32, block: u32) {
        if SMALL {
            self.frame_mut(at).block = block;
            return;
        }
        let bucket = self.bucket(block);
        let next = core::mem::replace(&mut self.frame_mut(bucket).bucket, at);
        let frame = self.frame_mut(at);
        (frame.block, frame.next) = (block, next);
    }

    fn forget_block(&mut self, at: u32) {
        if SMALL {
            return;
        }
        let Frame { block, next, .. } = *self.frame(at);
        let bucket = self.bucket(block);
        let first = &mut self.frame_mut(bucket).bucket;
        if *first == at {
            *first = next;
            return;
        }
        let mut before = *first;
        while before != NONE {
            let frame = self.frame_mut(before);
            if frame.next == at {
                frame.next = next;
                return;
            }
            before = frame.next;
        }
    }

    /// The page stays and is a copy of another block from now on.
    pub(crate) fn rename(&mut self, at: u32, block: u32) {
        self.forget_block(at);
        self.set_block(at, block);
    }

    /// Lets go of a page. It must be clean.
    pub(crate) fn leave(&mut self, at: u32) {
        self.forget_block(at);
        self.unlist(at);
        let (older, bucket) = (self.state.free, self.frame(at).bucket);
        *self.frame_mut(at) = Frame { older, bucket, ..Frame::EMPTY };
        self.state.free = at;
    }

    /// Holds on to a page: it is not evicted until [`unpin`](Self::unpin).
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(crate) fn pin(&mut self, at: u32) {
        let frame = self.frame_mut(at);
        frame.pins = frame.pins.wrapping_add(1);
    }

    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(crate) fn unpin(&mut self, at: u32) {
        let frame = self.frame_mut(at);
        frame.pins = frame.pins.saturating_sub(1);
    }

    pub(crate) fn is_pinned(&self, at: u32) -> bool {
        self.frame(at).pins != 0
    }

    pub(crate) fn is_dirty(&self, at: u32) -> bool {
        self.frame(at).dirty
    }

    /// Whether there is a page that is dirty and may be written now: nobody holds on to it, and it points to no dirty one.
    pub(crate) fn can_write(&self, at: u32) -> bool {
        let frame = self.frame(at);
        at != NONE && frame.dirty && frame.pins == 0 && frame.dirty_children == 0
    }

    /// The page differs from what is on the device, and `parent` (dirty itself, or [`NONE`] for the root) points to it.
    pub(crate) fn set_dirty(&mut self, at: u32, parent: u32) {
        if !core::mem::replace(&mut self.frame_mut(at).dirty, true) {
            self.state.info.dirty = self.state.info.dirty.wrapping_add(1);
            self.queue(at);
            self.adopt(at, parent);
        }
    }

    /// The page is on the device as it is here, or not needed any more.
    pub(crate) fn set_clean(&mut self, at: u32) {
        if core::mem::replace(&mut self.frame_mut(at).dirty, false) {
            self.state.info.dirty = self.state.info.dirty.wrapping_sub(1);
            self.unqueue(at);
            self.orphan(at);
        }
    }

    /// Another page points to this one from now on, which may be dirty.
    pub(crate) fn set_parent(&mut self, at: u32, parent: u32) {
        if self.frame(at).dirty {
            self.orphan(at);
            self.adopt(at, parent);
        }
    }

    fn adopt(&mut self, at: u32, parent: u32) {
        self.frame_mut(at).parent = parent;
        if parent != NONE {
            let frame = self.frame_mut(parent);
            frame.dirty_children = frame.dirty_children.wrapping_add(1);
        }
    }

    fn orphan(&mut self, at: u32) {
        let parent = core::mem::replace(&mut self.frame_mut(at).parent, NONE);
        if parent != NONE {
            let frame = self.frame_mut(parent);
            frame.dirty_children = frame.dirty_children.saturating_sub(1);
        }
    }

    /// To the end of the queue of dirty pages.
    fn queue(&mut self, at: u32) {
        let second = core::mem::replace(&mut self.state.dirty.newest, at);
        if second == NONE {
            self.state.dirty.oldest = at;
        }
        self.frame_mut(second).dirty_newer = at;
        let frame = self.frame_mut(at);
        (frame.dirty_newer, frame.dirty_older) = (NONE, second);
    }

    fn unqueue(&mut self, at: u32) {
        let Frame { dirty_newer: newer, dirty_older: older, .. } = *self.frame(at);
        if newer == NONE {
            self.state.dirty.newest = older;
        }
        if older == NONE {
            self.state.dirty.oldest = newer;
        }
        self.frame_mut(newer).dirty_older = older;
        self.frame_mut(older).dirty_newer = newer;
    }

    /// The dirty page that a checkpoint writes next: the first one in the queue that points to no dirty one. Those before
    /// it go to the end of the queue.
    pub(crate) fn next_dirty(&mut self) -> Option<u32> {
        for _ in 0..self.state.info.dirty {
            let at = self.state.dirty.oldest;
            if self.frame(at).dirty_children == 0 {
                return Some(at);
            }
            self.unqueue(at);
            self.queue(at);
        }
        None
    }
}
