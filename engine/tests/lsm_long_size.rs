//! The room that long values take, in blocks: a run of them is as large as half the log, whatever the memory, and a few of those must not
//! become many times the data, whether they come alone or in batches.

use esker::device::{Counted, Geometry, Ram};
use esker::lsm::{Frame, Lsm, Options};
use esker::store::{Batch, Store};
use esker::volume::{FormatOptions, Volume};

type Vol = Volume<Counted<Ram<Vec<u8>>>, Vec<u8>>;
type Kv = Store<Lsm<Vec<u8>, Vec<Frame>>, Vec<u8>>;

/// Bytes of all keys and values for each block: a little more than the log has.
const LIVE: u32 = 38;
const LOG: u32 = 32;

fn made(block: u32) -> (Vol, Kv) {
    let geometry = Geometry::blocks(u64::from(block) * 512, 512);
    let device = Counted::new(Ram::new(vec![0; geometry.capacity as usize], geometry));
    let options = FormatOptions {
        volume_id: 7,
        block_size: block,
        segment_size: block,
        pool_size: u64::from(block * LOG),
        ..FormatOptions::default()
    };
    let mut volume = Volume::format(device, vec![0; 4096], &options).unwrap();
    let memory = 16 * block as usize;
    let tree = Lsm::new(vec![0; memory], vec![Frame::BLANK; 100], Options::default());
    let store = Store::create(&mut volume, 0, tree, vec![0; 4096]).unwrap();
    (volume, store)
}

/// No two of them are alike, and they come in no order.
fn key(n: u32) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&u64::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    key
}

/// Overwrites as many pairs at random as there are, ten times, so many of them `together`: blocks in use at most, after the first two times, in
/// hundredths of those that the data fill, and bytes written, in hundredths of those put.
fn measure(block: u32, len: usize, together: u32) -> (u32, u64) {
    let (mut volume, mut store) = made(block);
    let pairs = LIVE * block / (len as u32 + 16);
    let mut batch = Batch::new(vec![0; together as usize * (len + 40)]);
    let (mut value, mut random, mut most) = (vec![0; len], 1_u32, 0);
    let mut newest = vec![0; pairs as usize];
    for n in 0..11 * pairs {
        if n == pairs {
            volume.device_mut().reset();
        }
        random = random.wrapping_mul(0x915F_77F5).wrapping_add(0x9E37_79B9);
        let number = if n < pairs { n } else { (random >> 8) % pairs };
        let key = key(number);
        value[..4].copy_from_slice(&n.to_le_bytes());
        if together == 1 {
            store.put(&mut volume, &key, &value).unwrap();
        } else {
            batch.put(&key, &value).unwrap();
            if batch.len() as u32 == together {
                store.write(&mut volume, &batch).unwrap();
                batch.clear();
            }
        }
        newest[number as usize] = n;
        if n > 3 * pairs {
            let info = store.info(&mut volume).unwrap();
            most = most.max(info.blocks - info.free_blocks);
        }
    }
    if !batch.is_empty() {
        store.write(&mut volume, &batch).unwrap();
    }
    for (number, n) in newest.iter().enumerate() {
        let found = store.get(&mut volume, &key(number as u32), &mut value).unwrap().unwrap();
        assert!(found.len == len && value[..4] == n.to_le_bytes());
    }
    // Batches may bring more at once than there is room for.
    assert!(together != 1 || store.waits() == 0, "{} puts of {len} bytes have waited", store.waits());
    let written = volume.device_mut().counts().written_bytes;
    (most * 100 / LIVE, written * 10 / u64::from(LIVE * block))
}

#[test]
fn overwrites_do_not_take_many_times_the_room() {
    for (block, len, together, most, most_written) in [
        // A put does half a block at most: where a value is a large part of that, the memtable is written before all is merged.
        (16 << 10, 2000, 1, 330, 290),
        (16 << 10, 500, 100, 310, 310),
        // Else it goes along with all runs.
        (128 << 10, 3000, 1, 270, 270),
        (128 << 10, 3000, 150, 300, 290),
    ] {
        let (blocks, written) = measure(block, len, together);
        println!("{len} bytes, {together} together: {blocks} % of the data, {written} % written");
        assert!(blocks <= most, "{len} bytes, {together} together: {blocks} % of the data");
        assert!(written <= most_written, "{len} bytes, {together} together: {written} % written");
    }
}
