//! Everything that the engine can do, over a device of which the compiler knows nothing. Built with the feature
//! `panic-free`, this links only if the engine contains no reachable panic: no index, no division, no arithmetic, no
//! `unwrap` that data from a device could make fail.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::ops::Bound;

use esker::btree::{BTree, Frame, Needed};
use esker::store::{self, Batch, Damage, Store};
use esker::volume::{FormatOptions, Volume};
use esker::wal::{Error, Log, Snapshot, SyncStrategy};
use esker_firmware::part::{Nor, NorError};

esker_firmware::entry!(main);

fn main() -> ! {
    loop {
        let _ = black_box(run());
        let _ = black_box(keys_and_values());
    }
}

type Disk<'a> = Volume<Nor, &'a mut [u8], 4>;
type Journal<'a> = Log<&'a mut [u8], 16>;

fn run() -> Result<(), Error<NorError>> {
    let (mut a, mut b, mut c) = ([0; 1024], [0; 512], [0; 512]);
    let mut bytes = black_box([0; 64]);
    let size = |len: usize| black_box(len) & 511;
    let _ = black_box(Disk::probe(Nor, &mut a[..size(512)])?);
    let options = black_box(FormatOptions::default());
    let _ = black_box(Disk::memory_needed(&esker::device::BlockDevice::geometry(&Nor), &options));
    let mut volume = Disk::format(Nor, &mut a[..size(511)], &options)?;
    volume.create_log(black_box(0))?;
    volume.sync()?;
    black_box(volume.info());
    volume.logs().for_each(|id| _ = black_box(id));
    let _ = black_box(volume.into_device());

    let mut volume = Disk::mount(Nor, &mut a[..])?;
    while !volume.scan(black_box(1))? {}
    let mut recovery = Journal::recover(&mut volume, black_box(0), &mut b[..size(500)])?;
    while !recovery.step(&mut volume, black_box(1))? {}
    let mut log = recovery.finish(&mut volume)?;
    log.set_sync(black_box(SyncStrategy::Always));
    black_box(log.report());
    black_box(log.info(&mut volume)?);

    black_box(log.append(&mut volume, &bytes[..black_box(9) & 63])?);
    black_box(log.append_with(&mut volume, black_box(7), &bytes)?);
    black_box(log.append_batch(&mut volume, black_box(&[&bytes, &bytes]))?);
    black_box(log.commit_if_due(&mut volume, black_box(5))?);
    let ticket = black_box(log.flush(&mut volume)?);
    volume.sync()?;
    log.acknowledge(ticket);
    log.commit(&mut volume)?;
    black_box(log.read(&mut volume, black_box(3), &mut bytes)?);
    #[cfg(feature = "planted")]
    black_box(bytes.first().filter(|byte| **byte != 0).unwrap());
    let mut cursor = log.cursor(black_box(4));
    while let Ok(Some(entry)) = log.next(&mut volume, &mut cursor, &mut bytes) {
        black_box(entry);
        cursor.skip();
    }
    black_box(log.release_before(&mut volume, black_box(5))?);
    log.truncate_after(&mut volume, black_box(6))?;

    let mut snapshot: Snapshot<&mut [u8]> = Snapshot::open(&mut volume, black_box(0), &mut c[..size(490)])?;
    black_box(snapshot.info(&mut volume));
    snapshot.write(&mut volume, &bytes)?;
    snapshot.publish(&mut volume, &mut log, black_box(1))?;
    black_box(snapshot.read(&mut volume, black_box(0), &mut bytes)?);
    snapshot.discard(&mut volume)?;
    snapshot.close(&mut volume)?;
    log.reset(&mut volume, black_box(9))?;
    log.close(&mut volume)?;
    Ok(())
}

type Tree<'a> = BTree<&'a mut [u8], &'a mut [Frame]>;
type Keys<'a> = Store<Tree<'a>, &'a mut [u8]>;

fn keys_and_values() -> Result<(), store::Error<NorError>> {
    let (mut a, mut b, mut c, mut d) = ([0; 1024], [0; 512], [0; 2048], [0; 256]);
    let mut frames = [Frame::default(); 8];
    let mut bytes = black_box([0; 64]);
    let size = |len: usize| black_box(len) & 511;
    let report = &mut |damage: Damage| _ = black_box(damage);

    let mut volume = Disk::mount(Nor, &mut a[..])?;
    black_box(Keys::root(&volume));
    black_box(Tree::memory_needed(&volume.info()));
    black_box(Needed::for_height(black_box(512), black_box(3)));
    let tree = Tree::new(&mut c[..size(500)], &mut frames[..black_box(7) & 7]);
    let mut store = Keys::create(&mut volume, black_box(0), tree, &mut b[..size(400)])?;
    let mut load = store.bulk_load(&mut volume)?;
    load.push(&mut volume, &bytes[..size(9) & 63], &bytes)?;
    load.finish(&mut volume)?;
    drop(store.bulk_load(&mut volume)?);
    let (tree, buffer) = store.close(&mut volume)?;
    let (pages, frames) = tree.into_memory();

    let store = Keys::open_read_only(&mut volume, Tree::new(pages, frames), buffer)?;
    let (tree, buffer) = store.close(&mut volume)?;
    let store = Keys::open_damaged(&mut volume, tree, buffer, report)?;
    let (tree, buffer) = store.close(&mut volume)?;
    let mut store = Keys::open(&mut volume, tree, buffer)?;
    store.set_sync(black_box(SyncStrategy::Always));
    black_box(store.report());
    black_box((store.max_key(), store.max_value(&volume, black_box(3))));
    black_box(store.put(&mut volume, &bytes[..size(9) & 63], &bytes)?);
    let told = &mut |level: u8, key: &[u8]| _ = black_box((level, key.len()));
    black_box(store.put_and_tell(&mut volume, &bytes, &bytes[..size(9) & 63], told)?);
    black_box(store.delete(&mut volume, &bytes[..size(8) & 63])?);
    black_box(store.commit_if_due(&mut volume, black_box(5))?);
    let ticket = black_box(store.flush(&mut volume)?);
    volume.sync()?;
    store.acknowledge(ticket);
    let mut batch = Batch::new(&mut d[..]);
    batch.put(&bytes, &bytes[..size(9) & 63])?;
    batch.delete(&bytes)?;
    black_box((batch.len(), batch.is_empty(), batch.used()));
    store.write(&mut volume, &batch)?;
    batch.clear();
    black_box(batch.into_memory());
    store.commit(&mut volume)?;

    black_box(store.get(&mut volume, b"key", &mut bytes)?);
    let mut cursor = store.cursor([0; 64]);
    for bound in black_box([Bound::Included(&b"a"[..]), Bound::Excluded(b"b"), Bound::Unbounded]) {
        let _ = black_box(store.seek(&mut cursor, bound));
        black_box(store.next(&mut volume, &mut cursor, &mut bytes)?);
        black_box(cursor.key());
        black_box(store.previous(&mut volume, &mut cursor, &mut bytes)?);
        store.skip(&mut volume, &mut cursor)?;
    }
    black_box(cursor.into_memory());
    black_box(store.info(&mut volume)?);
    while !store.checkpoint_step(&mut volume)? {}
    store.checkpoint(&mut volume)?;
    black_box(Keys::bitmap_needed(&volume));
    black_box(store.verify(&mut volume, Some(&mut bytes), report)?);
    black_box(store.salvage(&mut volume, black_box(None), report)?);
    store.close(&mut volume)?;
    Ok(())
}
