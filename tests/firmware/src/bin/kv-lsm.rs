//! What the image `kv` does, with an LSM tree in place of the B-tree; its memtable is places in the log.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::ops::Bound;
use core::sync::atomic::AtomicU8;

use esker::lsm::{Frame, Lsm, Options, Places, Shape};
use esker::store::{Error, Store};
use esker::volume::Volume;
use esker_firmware::part::{Nor, NorError};

esker_firmware::entry!(main);

fn main() -> ! {
    loop {
        let _ = black_box(run());
    }
}

type Disk<'a> = Volume<Nor, &'a mut [u8], 1>;
type Tree<'a> = Lsm<&'a mut [u8], &'a mut [Frame], Places>;
type Settings<'a> = Store<Tree<'a>, &'a mut [u8]>;

const RAM_BYTES: usize = size_of::<Disk<'_>>() + size_of::<Settings<'_>>();

/// As many bytes as volume and store take beside the memory that is lent to them, so that they show as `.bss`.
#[used]
static RAM: [AtomicU8; RAM_BYTES] = [const { AtomicU8::new(0) }; RAM_BYTES];

/// What suits a small memory.
const OPTIONS: Options = Options { shape: Shape::Sweep, bits_per_key: 10 };

#[inline(never)]
fn run() -> Result<(), Error<NorError>> {
    let mut volume_memory = [0; 256];
    let (mut log_memory, mut pages, mut frames) = ([0; 256], [0; 512], [Frame::default(); 4]);
    let mut bytes = black_box([0; 48]);
    let mut volume = Disk::open(Nor, &mut volume_memory[..])?;
    let tree = Lsm::with_places(&mut pages[..], &mut frames[..], OPTIONS);
    let mut store: Settings<'_> = if black_box(false) {
        Store::create(&mut volume, 0, tree, &mut log_memory[..])?
    } else {
        Store::open(&mut volume, tree, &mut log_memory[..])?
    };
    black_box(store.put(&mut volume, &bytes[..8], &bytes[8..])?);
    store.commit(&mut volume)?;
    black_box(store.get(&mut volume, b"key", &mut bytes)?);
    black_box(store.delete(&mut volume, &bytes)?);
    let mut cursor = store.cursor([0; 48]);
    let _ = black_box(store.seek(&mut cursor, Bound::Unbounded));
    while black_box(store.next(&mut volume, &mut cursor, &mut bytes)?).is_some() {
        black_box(cursor.key());
    }
    store.checkpoint(&mut volume)?;
    store.close(&mut volume)?;
    Ok(())
}
