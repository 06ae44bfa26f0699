//! What a store on a B-tree costs: pages of 512 bytes, 23 of them in memory, as on the board of `hosts/qemu`.

use core::convert::Infallible;
use core::hint::black_box;

use esker::btree::{BTree, Frame};
use esker::store::{Error, Store};
use esker::volume::{FormatOptions, Volume};
use esker_firmware::measure::{each, key, once};
use esker_firmware::memory::Memory;
use esker_firmware::semihosting::print;

type Disk<'a> = Volume<&'a mut Memory, &'a mut [u8], 2>;
type Tree<'a> = BTree<&'a mut [u8], &'a mut [Frame]>;
type Keys<'a> = Store<Tree<'a>, &'a mut [u8], 8>;

const PAGE: usize = 512;
const FRAMES: usize = 23;

/// Pairs of 8 and 32 bytes: all of them are in memory.
const FEW: u32 = 128;
/// So many are not.
const MANY: u32 = 1024;

#[inline(never)]
pub fn run(memory: &mut Memory) -> Result<(), Error<Infallible>> {
    let (mut volume_memory, mut log) = ([0; 1024], [0; PAGE]);
    let (mut pages, mut frames) = ([0; (FRAMES + 1) * PAGE], [Frame::BLANK; FRAMES]);
    let layout = FormatOptions {
        segment_size: 64 * 1024,
        pool_size: 512 * 1024,
        block_size: PAGE as u32,
        ..FormatOptions::default()
    };
    let value = black_box([7; 32]);
    let mut out = [0; 32];
    {
        let mut volume = Disk::format(memory, &mut volume_memory, &layout)?;
        let mut store = Keys::create(&mut volume, 0, Tree::new(&mut pages, &mut frames), &mut log)?;
        for number in 0..FEW {
            store.put(&mut volume, &key(number), &value)?;
        }
        store.checkpoint(&mut volume)?;
        let some = |number: u32| key(number.wrapping_mul(37) % FEW);
        for number in 0..FEW {
            store.put(&mut volume, &some(number), &value)?;
        }
        each("put-32", &mut |number| store.put(&mut volume, &some(number), &value).map(|_| ()));
        each("get-32", &mut |number| store.get(&mut volume, &some(number), &mut out).map(|_| ()));
        each("get-absent", &mut |number| store.get(&mut volume, &key(FEW + number), &mut out).map(|_| ()));
        let mut cursor = store.cursor([0; 48]);
        each("scan-32", &mut |_| store.next(&mut volume, &mut cursor, &mut out).map(|_| ()));
        each("insert-32", &mut |number| store.put(&mut volume, &key(FEW + number), &value).map(|_| ()));
        each("delete", &mut |number| store.delete(&mut volume, &key(FEW + number)).map(|_| ()));
        once("commit-keys", &mut || store.commit(&mut volume));
        once("checkpoint", &mut || store.checkpoint(&mut volume));
        store.close(&mut volume)?;
    }
    once("open-keys", &mut || open(memory, &mut volume_memory, &mut pages, &mut frames, &mut log, FEW));
    {
        let mut volume = Disk::open(&mut *memory, &mut volume_memory)?;
        let mut store = Keys::open(&mut volume, Tree::new(&mut pages, &mut frames), &mut log)?;
        for number in FEW..MANY {
            store.put(&mut volume, &key(number), &value)?;
        }
        store.checkpoint(&mut volume)?;
        let some = |number: u32| key(number.wrapping_mul(397) % MANY);
        each("get-cold", &mut |number| store.get(&mut volume, &some(number), &mut out).map(|_| ()));
        each("put-cold", &mut |number| store.put(&mut volume, &some(number), &value).map(|_| ()));
        store.checkpoint(&mut volume)?;
        for number in 0..100 {
            store.put(&mut volume, &some(number), &value)?;
        }
        store.commit(&mut volume)?;
    }
    // It was not closed: a hundred operations are applied again.
    once("recover-100", &mut || open(memory, &mut volume_memory, &mut pages, &mut frames, &mut log, MANY));
    Ok(())
}

/// Opens the volume and the store on it, which must have so many pairs.
#[inline(never)]
fn open(
    memory: &mut Memory,
    volume: &mut [u8],
    pages: &mut [u8],
    frames: &mut [Frame],
    log: &mut [u8],
    pairs: u32,
) -> Result<(), Error<Infallible>> {
    let mut volume = Disk::open(memory, volume)?;
    let store = Keys::open(&mut volume, Tree::new(pages, frames), log)?;
    if store.info(&mut volume)?.index.pairs != u64::from(pairs) {
        print("pairs are missing\n");
    }
    Ok(())
}
