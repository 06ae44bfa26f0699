//! The record of one frame, and lists of frames.

/// No frame.
pub(crate) const NONE: u32 = u32::MAX;
/// No block.
pub(crate) const NO_BLOCK: u32 = u32::MAX;

/// The record of one frame of a buffer pool. What is in it is the engine's: lend one for each page there is memory for.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// What the page is a copy of.
    pub(crate) block: u32,
    /// Page table: the first frame of this number's bucket, and the next one in the bucket that this frame is in.
    pub(super) bucket: u32,
    pub(super) next: u32,
    /// Neighbours in the list of use; `older` also chains free frames.
    pub(super) newer: u32,
    pub(super) older: u32,
    /// Neighbours in the queue of dirty pages.
    pub(super) dirty_newer: u32,
    pub(super) dirty_older: u32,
    /// Loads that there had been when this page was last moved in its list.
    pub(super) stamp: u32,
    /// Of a dirty page: the frame of the page that points to it.
    pub(crate) parent: u32,
    /// How many dirty pages this one points to.
    pub(crate) dirty_children: u16,
    pub(super) pins: u8,
    pub(super) place: Place,
    pub(super) dirty: bool,
}

/// Where a frame is at home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Place {
    Free = 0,
    Old,
    Young,
}

impl Frame {
    /// What lent memory begins with. All zeros, byte for byte: an image with static memory does not have to carry it, and
    /// zeroed memory is made of it.
    pub const BLANK: Self = Self {
        block: 0,
        bucket: 0,
        next: 0,
        newer: 0,
        older: 0,
        dirty_newer: 0,
        dirty_older: 0,
        parent: 0,
        ..Self::EMPTY
    };

    /// It holds nothing.
    pub(super) const EMPTY: Self = Self {
        block: NO_BLOCK,
        bucket: NONE,
        next: NONE,
        newer: NONE,
        older: NONE,
        dirty_newer: NONE,
        dirty_older: NONE,
        stamp: 0,
        parent: NONE,
        dirty_children: 0,
        pins: 0,
        place: Place::Free,
        dirty: false,
    };
}

impl Default for Frame {
    fn default() -> Self {
        Self::BLANK
    }
}

/// Frames in the order of their use.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    pub(super) newest: u32,
    pub(super) oldest: u32,
    pub(super) len: u32,
}

impl List {
    pub(super) const EMPTY: Self = Self { newest: NONE, oldest: NONE, len: 0 };
}
