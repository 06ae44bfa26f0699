//! What the image `kv` does, with an LSM tree in place of the B-tree; its memtable is places in the log.
#![no_std]
#![no_main]

use esker::lsm::{Frame, Lsm, Options, Places, Shape};

type Tree<'a> = Lsm<&'a mut [u8], &'a mut [Frame], Places>;

/// What suits a small memory.
const OPTIONS: Options = Options { shape: Shape::Sweep, bits_per_key: 10 };

esker_firmware::store_program!(Tree, |pages, frames| Lsm::with_places(pages, frames, OPTIONS));
