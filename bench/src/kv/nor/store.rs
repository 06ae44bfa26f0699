//! What is measured: a store on a flash part, every put durable.

use esker_sim::Sim;

use super::{Options, Setting};
use crate::Failure;
use crate::kv::store::{Promised, Reader, Writer};

/// An open store. What [`Writer`] changes is durable when it returns.
pub trait NorStore: Reader + Writer {
    /// Bytes of memory that it works with, handles and buffers. That of the caller's keys and values is not counted.
    fn memory(&self) -> usize;

    /// Bytes that the store says one put reads and writes at most, as it is now, and how often one had to wait for room. `None`: it says
    /// nothing of that.
    fn promised(&self) -> Option<Promised> {
        None
    }
}

/// On blank flash, or on what an earlier one has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// An empty store.
    Create,
    /// The one that is there.
    Open,
}

/// How a store is made or opened.
pub type Make = fn(Sim, Begin, &Options, &Setting) -> Result<Box<dyn NorStore>, Failure>;

/// Of a store that has no order, or is not asked for it here.
pub fn no_scan() -> Failure {
    Failure::new("nothing is scanned on small devices")
}
