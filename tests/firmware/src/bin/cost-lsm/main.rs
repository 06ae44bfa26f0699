//! What a store on an LSM tree costs whose memtable is places in the log: flash with sectors of 4 KiB, tables of 16 KiB, 8 KiB
//! lent. In an image of its own: together with the B-tree's, the compiler would share code that a product has once.
#![no_std]
#![no_main]

use core::convert::Infallible;
use core::hint::black_box;

use esker::device::Geometry;
use esker::lsm::{Frame, Lsm, Options, Places, Shape};
use esker::store::{Error, Store};
use esker::volume::{FormatOptions, Volume};

use esker_firmware::measure::{calibrate, each, key, once};
use esker_firmware::memory::{self, Memory};
use esker_firmware::semihosting::{exit, print};

esker_firmware::entry!(main);

type Disk<'a> = Volume<&'a mut Memory, &'a mut [u8], 2>;
type Tree<'a> = Lsm<&'a mut [u8], &'a mut [Frame], Places>;
type Keys<'a> = Store<Tree<'a>, &'a mut [u8], 8>;

/// For tree, frames and log.
const LENT: usize = 8 * 1024;
const FRAMES: usize = 4;
const LOG: usize = 128;
const OPTIONS: Options = Options { shape: Shape::Sweep, bits_per_key: 10 };

/// Pairs of 8 and 32 bytes: all of them are in the log.
const FEW: u32 = 128;
/// So many are in tables, but for what was changed last.
const MANY: u32 = 1024;

/// The memory that is lent.
struct Lent {
    bytes: [u8; LENT - LOG - FRAMES * size_of::<Frame>()],
    frames: [Frame; FRAMES],
    log: [u8; LOG],
}

impl Lent {
    fn tree(&mut self) -> (Tree<'_>, &mut [u8]) {
        (Lsm::with_places(&mut self.bytes, &mut self.frames, OPTIONS), &mut self.log)
    }
}

fn main() -> ! {
    // SAFETY: only here, and only once.
    let memory = &mut unsafe { Memory::new() };
    memory.geometry = Geometry::flash(memory::SIZE as u64, 4, 4096);
    calibrate();
    if run(memory).is_err() {
        print("failed\n");
    }
    exit()
}

#[inline(never)]
fn run(memory: &mut Memory) -> Result<(), Error<Infallible>> {
    let mut volume_memory = [0; 640];
    let lent = &mut Lent { bytes: [0; _], frames: [Frame::BLANK; FRAMES], log: [0; LOG] };
    let layout = FormatOptions {
        segment_size: 16 * 1024,
        pool_size: 256 * 1024,
        block_size: 16 * 1024,
        ..FormatOptions::default()
    };
    let value = black_box([7; 32]);
    let mut out = [0; 32];
    {
        let mut volume = Disk::format(memory, &mut volume_memory, &layout)?;
        let (tree, log) = lent.tree();
        let mut store = Keys::create(&mut volume, 0, tree, log)?;
        for number in 0..FEW {
            store.put(&mut volume, &key(number), &value)?;
        }
        let some = |number: u32| key(number.wrapping_mul(37) % FEW);
        each("lsm-put-32", &mut |number| store.put(&mut volume, &some(number), &value).map(|_| ()));
        each("lsm-get-32", &mut |number| store.get(&mut volume, &some(number), &mut out).map(|_| ()));
        each("lsm-absent", &mut |number| store.get(&mut volume, &key(FEW + number), &mut out).map(|_| ()));
        each("lsm-insert-32", &mut |number| store.put(&mut volume, &key(FEW + number), &value).map(|_| ()));
        each("lsm-delete", &mut |number| store.delete(&mut volume, &key(FEW + number)).map(|_| ()));
        store.commit(&mut volume)?;
        once("lsm-checkpoint", &mut || store.checkpoint(&mut volume));
        for number in FEW..MANY {
            store.put(&mut volume, &key(number), &value)?;
        }
        store.checkpoint(&mut volume)?;
        let some = |number: u32| key(number.wrapping_mul(397) % MANY);
        each("lsm-get-cold", &mut |number| store.get(&mut volume, &some(number), &mut out).map(|_| ()));
        each("lsm-no-cold", &mut |number| store.get(&mut volume, &key(MANY + number), &mut out).map(|_| ()));
        let mut cursor = store.cursor([0; 48]);
        each("lsm-scan-32", &mut |_| store.next(&mut volume, &mut cursor, &mut out).map(|_| ()));
        for number in 0..100 {
            store.put(&mut volume, &some(number), &value)?;
        }
        store.commit(&mut volume)?;
    }
    // It was not closed: the places of a hundred operations are looked up again.
    once("lsm-recover", &mut || open(memory, &mut volume_memory, lent));
    Ok(())
}

/// Opens the volume and the store on it, which must have what was put last.
#[inline(never)]
fn open(memory: &mut Memory, volume: &mut [u8], lent: &mut Lent) -> Result<(), Error<Infallible>> {
    let mut volume = Disk::open(memory, volume)?;
    let (tree, log) = lent.tree();
    // In this form the store is not moved: it has 2 KiB.
    match Keys::open(&mut volume, tree, log) {
        Ok(ref store) => {
            if store.info(&mut volume)?.index.pairs != u64::from(MANY) + 100 {
                print("pairs are missing\n");
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}
