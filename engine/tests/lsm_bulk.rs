//! A load in bulk on a device that fails once: what is published is whole, or it is not published.

use std::ops::Range;

use esker::device::{BlockDevice, Geometry, Ram, RamError};
use esker::lsm::{Frame, Lsm, Options};
use esker::store::Store;
use esker::volume::{FormatOptions, Volume};

type Tree = Lsm<Vec<u8>, Vec<Frame>>;
type Vol = Volume<Once, Vec<u8>>;

/// Memory of which one write fails.
struct Once {
    ram: Ram<Vec<u8>>,
    /// Writes until then.
    left: u32,
}

impl BlockDevice for Once {
    type Error = RamError;

    fn geometry(&self) -> Geometry {
        self.ram.geometry()
    }

    fn read(&mut self, address: u64, out: &mut [u8]) -> Result<(), RamError> {
        self.ram.read(address, out)
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), RamError> {
        self.left = self.left.wrapping_sub(1);
        if self.left == 0 {
            return Err(RamError::OutOfBounds);
        }
        self.ram.write(address, data)
    }

    fn erase(&mut self, range: Range<u64>) -> Result<(), RamError> {
        self.ram.erase(range)
    }

    fn sync(&mut self) -> Result<(), RamError> {
        self.ram.sync()
    }
}

fn tree() -> Tree {
    Lsm::new(vec![0; 1 << 20], vec![Frame::default(); 40], Options::default())
}

fn opened(ram: Ram<Vec<u8>>, left: u32) -> (Vol, Store<Tree, Vec<u8>>) {
    let mut volume = Volume::open(Once { ram, left: 0 }, vec![0; 8192]).unwrap();
    let store = Store::open(&mut volume, tree(), vec![0; 4096]).unwrap();
    volume.device_mut().left = left;
    (volume, store)
}

/// The load goes on after the error, as its documentation allows, and asks for the publish. Whatever write it was that failed.
#[test]
fn a_load_that_missed_a_write_is_not_published() {
    let ram = Ram::new(vec![0; 4 << 20], Geometry::blocks(0, 512));
    let options = FormatOptions { block_size: 32 << 10, ..FormatOptions::default() };
    let mut volume = Volume::<_, _>::format(Once { ram, left: 0 }, vec![0; 8192], &options).unwrap();
    let store = Store::<Tree, _>::create(&mut volume, 0, tree(), vec![0; 4096]).unwrap();
    store.close(&mut volume).unwrap();
    let empty = volume.into_device().ram.into_inner();
    let (mut published, mut refused) = (0, 0);
    for left in 1..60 {
        let (mut volume, mut store) = opened(Ram::new(empty.clone(), Geometry::blocks(0, 512)), left);
        let mut taken = Vec::new();
        let done = store.bulk_load(&mut volume).and_then(|mut load| {
            for n in 0..3000_u32 {
                if load.push(&mut volume, &n.to_be_bytes(), &[n as u8; 60]).is_ok() {
                    taken.push(n);
                }
            }
            load.finish(&mut volume)
        });
        drop(store);
        let (mut volume, mut store) = opened(volume.into_device().ram, 0);
        if done.is_err() {
            taken.clear();
            refused += 1;
        } else {
            published += 1;
        }
        let mut out = [0; 60];
        for n in &taken {
            let found = store.get(&mut volume, &n.to_be_bytes(), &mut out).unwrap();
            assert!(found.is_some() && out == [*n as u8; 60], "write {left}: {n}");
        }
        let mut bits = vec![0; Store::<Tree, Vec<u8>>::bitmap_needed(&volume)];
        store.verify(&mut volume, Some(&mut bits), &mut |damage| panic!("write {left}: {damage:?}")).unwrap();
    }
    println!("{published} loads were published, {refused} were refused");
    assert!(published > 0 && refused > 0);
}
