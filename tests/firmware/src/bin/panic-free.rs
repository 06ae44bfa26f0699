//! Everything that the engine can do, over a device of which the compiler knows nothing. Built with the feature
//! `panic-free`, this links only if the engine contains no reachable panic: no index, no division, no arithmetic, no
//! `unwrap` that data from a device could make fail.
#![no_std]
#![no_main]

use core::hint::black_box;

use esker::volume::{FormatOptions, Volume};
use esker::wal::{Error, Log, Snapshot, SyncStrategy};
use esker_firmware::part::{Nor, NorError};

esker_firmware::entry!(main);

fn main() -> ! {
    loop {
        let _ = black_box(run());
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
    snapshot.discard();
    snapshot.close(&mut volume)?;
    log.reset(&mut volume, black_box(9))?;
    log.close(&mut volume)?;
    Ok(())
}
