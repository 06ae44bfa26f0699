//! The list of free blocks on volumes of many shapes, with power cuts, against a model that knows every block.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::vec::Vec;
use std::{println, vec};

use super::*;
use crate::device::{BlockDevice, Geometry};
use crate::testing::{Part, Random};
use crate::volume::{FormatOptions, Volume};
use crate::wal::Log;

type Vol = Volume<Part, Vec<u8>, 2>;

/// What a block holds: block number to stamp.
type Contents = BTreeMap<u32, u64>;

/// A volume with exactly so many blocks.
fn shape(geometry: Geometry, block_size: u32, count: u32) -> (Geometry, FormatOptions) {
    let options = FormatOptions {
        volume_id: 77,
        segment_size: geometry.block().max(2048) * 2,
        pool_size: u64::from(geometry.block().max(2048)) * 16,
        block_size,
        ..FormatOptions::default()
    };
    let home = crate::volume::home_size(&geometry);
    let capacity = u64::from(home) * 2 + options.pool_size + u64::from(count) * u64::from(block_size);
    (Geometry { capacity: capacity.next_multiple_of(u64::from(geometry.block())), ..geometry }, options)
}

struct World {
    options: FormatOptions,
    volume: Vol,
    log: Log<Vec<u8>>,
    blocks: Blocks,
    /// Of each publish that may be the last one.
    published: BTreeMap<u64, Contents>,
    serial: u64,
    /// The one that the list goes by.
    current: u64,
    /// Now.
    used: Contents,
    /// Allocated since the last publish.
    fresh: BTreeSet<u32>,
    stamp: u64,
    /// So often there was no block.
    full: u32,
    random: Random,
}

fn memory(geometry: &Geometry, options: &FormatOptions) -> Vec<u8> {
    vec![0; Vol::memory_needed(geometry, options)]
}

impl World {
    fn new(geometry: Geometry, options: &FormatOptions, seed: u64) -> Self {
        let mut volume: Vol =
            Volume::format(Part::new(geometry), memory(&geometry, options), options).unwrap();
        volume.create_log(0).unwrap();
        let log = Log::open(&mut volume, 0, vec![0; 4096]).unwrap();
        let blocks = Blocks::new(volume.block_count());
        let mut world = Self {
            options: *options,
            volume,
            log,
            blocks,
            published: BTreeMap::new(),
            serial: 0,
            current: 0,
            used: Contents::new(),
            fresh: BTreeSet::new(),
            stamp: 0,
            full: 0,
            random: Random::new(seed),
        };
        world.publish().unwrap();
        world
    }

    fn content(&self, block: u32, stamp: u64) -> Vec<u8> {
        let mut bytes = vec![block as u8 ^ stamp as u8; self.volume.block_size() as usize];
        bytes[..4].copy_from_slice(&block.to_le_bytes());
        bytes[4..12].copy_from_slice(&stamp.to_le_bytes());
        bytes
    }

    fn allocate(&mut self) -> Result<u32, Fault> {
        let before = self.blocks.available();
        let allocated = self.blocks.allocate(&mut self.volume);
        if !self.volume.homes.differ {
            self.published.retain(|serial, _| *serial == self.current);
        }
        let block = match allocated {
            Ok(block) => block,
            Err(fault) => {
                assert!((before == 0) == (fault == Fault::Full), "{fault:?} with {before} available");
                return Err(fault);
            }
        };
        assert!(before > 0 && self.blocks.available() >= before - 1, "{before} were available");
        assert!(block < self.volume.block_count());
        assert!(!self.used.contains_key(&block), "{block} is in use");
        let durable = self.published.values().any(|contents| contents.contains_key(&block));
        assert!(!durable, "the last durable root names {block}");
        self.stamp += 1;
        let content = self.content(block, self.stamp);
        self.volume.write_block(block, &content)?;
        self.used.insert(block, self.stamp);
        self.fresh.insert(block);
        Ok(block)
    }

    fn free(&mut self, block: u32) -> Result<(), Fault> {
        let fresh = self.fresh.contains(&block) && self.random.below(4) != 0;
        match self.blocks.free(&mut self.volume, block, fresh) {
            Err(Fault::Full) => {
                self.publish()?;
                self.blocks.free(&mut self.volume, block, false).inspect_err(|fault| {
                    assert_ne!(*fault, Fault::Full, "there is room after a publish");
                })?;
            }
            freed => freed?,
        }
        self.used.remove(&block);
        Ok(())
    }

    fn publish(&mut self) -> Result<(), Fault> {
        self.blocks.before_publish(&mut self.volume)?;
        self.serial += 1;
        let mut bytes = [0; crate::volume::STORE_ROOT];
        let mut fields = Varints::write(&mut bytes);
        fields.u64(&mut self.serial);
        let at = fields.at;
        self.blocks.encode(&mut fields);
        assert!(fields.at - at <= BLOCKS_ROOT);
        let len = fields.at;
        self.published.insert(self.serial, self.used.clone());
        let syncs = self.volume.device().syncs;
        let generation = self.volume.info().generation;
        self.log.checkpoint(&mut self.volume, 0, &bytes[..len])?;
        assert_eq!(self.volume.info().generation, generation + 1);
        let homes = self.volume.info().homes;
        assert_eq!(self.volume.device().syncs, syncs + 1 + homes, "one for the blocks, one for each home");
        self.blocks.published();
        self.current = self.serial;
        self.published.retain(|serial, _| *serial == self.current);
        self.fresh.clear();
        Ok(())
    }

    /// Every block is used, free, of the list, or was never used; and no two of these.
    fn check_all(&mut self) {
        let mut seen: BTreeMap<u32, &str> = self.used.keys().map(|block| (*block, "used")).collect();
        let mut note = |block, what| {
            let before = seen.insert(block, what);
            assert_eq!(before, None, "block {block} is {what}, too");
        };
        let mut free = 0;
        self.blocks.each_free(&mut self.volume, &mut |block, what| match what {
            Use::Free => {
                free += 1;
                note(block, "free");
            }
            Use::List => note(block, "of the list"),
            Use::Damaged => panic!("nothing is damaged"),
        });
        let count = self.volume.block_count();
        (self.blocks.frontier()..count).for_each(|block| note(block, "never used"));
        assert_eq!(seen.len(), count as usize, "no block is lost");
        assert_eq!(self.blocks.free_blocks(), free + (count - self.blocks.frontier()));
        assert_eq!((self.blocks.lost(), self.blocks.retired()), (0, 0));
    }

    fn check_contents(&mut self) {
        let mut bytes = vec![0; self.volume.block_size() as usize];
        for (block, stamp) in self.used.clone() {
            self.volume.read_block(block, &mut bytes).unwrap();
            assert_eq!(bytes, self.content(block, stamp), "block {block}");
        }
    }

    /// The power was cut, or is now: what is there must be what one publish has said.
    fn reopen(mut self) -> Self {
        let mut device = self.volume.into_device();
        device.cut(&mut self.random);
        let memory = memory(&device.geometry(), &self.options);
        self.volume = Volume::open(device, memory).unwrap();
        self.log = Log::open(&mut self.volume, 0, vec![0; 4096]).unwrap();
        self.blocks = Blocks::new(self.volume.block_count());
        let mut root = self.volume.store_root().to_vec();
        let mut fields = Varints::read(&mut root);
        let mut serial = 0;
        fields.u64(&mut serial);
        assert!(self.blocks.decode(&mut fields));
        self.used = self.published.get(&serial).expect("one of the last two publishes").clone();
        self.current = serial;
        self.fresh.clear();
        self.check_all();
        self.check_contents();
        self
    }

    /// Some allocations and frees, `between` of them on average between two publishes; about `load` per cent of the blocks
    /// are used.
    fn steps(&mut self, steps: usize, load: usize, between: usize) -> Result<(), Fault> {
        for _ in 0..steps {
            let count = self.volume.block_count() as usize;
            let wanted = count * load / 100;
            if self.random.below(between) == 0 {
                self.publish()?;
                self.check_all();
            } else if self.random.below(count) + self.used.len() < wanted + count / 2 {
                match self.allocate() {
                    Err(Fault::Full) => self.full += 1,
                    allocated => drop(allocated?),
                }
            } else if !self.used.is_empty() {
                let nth = self.random.below(self.used.len());
                let block = *self.used.keys().nth(nth).unwrap();
                self.free(block)?;
            }
        }
        Ok(())
    }
}

const SHAPES: [(Geometry, u32); 5] = [
    (Geometry::blocks(0, 512), 512),
    (Geometry::blocks(0, 512), 4096),
    (Geometry::blocks(0, 4096), 4096),
    (Geometry::flash(0, 4, 4096), 4096),
    (Geometry::flash(0, 256, 512), 2048),
];

#[test]
fn no_block_is_given_out_twice_and_none_is_lost_whenever_the_power_is_cut() {
    for (number, (geometry, block_size)) in SHAPES.into_iter().enumerate() {
        let mut full = 0;
        for (count, rounds) in [(8, 40), (11, 40), (40, 24), (700, 6)] {
            for load in [20, 60, 95] {
                let (geometry, options) = shape(geometry, block_size, count);
                let mut world = World::new(geometry, &options, (number * 1000 + load) as u64);
                assert_eq!(world.volume.block_count(), count);
                let mut cut = 0;
                for round in 0..rounds {
                    let steps = 4 * count as usize;
                    if round % 2 == 1 {
                        let fuel = world.random.below(steps / 2) as u32;
                        world.volume.device_mut().fuel = Some(fuel);
                    }
                    let between = [10, 100, 700][world.random.below(3)];
                    if world.steps(steps, load, between).is_err() {
                        cut += 1;
                    }
                    if round % 2 == 1 {
                        world = world.reopen();
                    }
                }
                assert!(cut >= 1, "{cut} cuts");
                full += world.full;
            }
        }
        assert!(full > 100, "{full} times full");
    }
}

#[test]
fn a_full_device_gives_everything_back() {
    for (geometry, block_size) in SHAPES {
        for count in [8, 9, 10, 30, 1000] {
            let (geometry, options) = shape(geometry, block_size, count);
            let mut world = World::new(geometry, &options, 1);
            for round in 0..3 {
                let mut taken = 0;
                while world.allocate().is_ok() {
                    taken += 1;
                }
                // Publishing makes room for what the units stood in, but not for more.
                for _ in 0..3 {
                    world.publish().unwrap();
                    while world.allocate().is_ok() {
                        taken += 1;
                    }
                }
                world.publish().unwrap();
                world.check_all();
                // Two are kept for the list, and what it stands in.
                let least = count - 2 - if round == 0 { 0 } else { 3 + count / 60 };
                assert!(taken >= least.min(count - 2), "{taken} of {count} in round {round}");
                while let Some((block, _)) = world.used.pop_first() {
                    world.used.insert(block, 0);
                    world.free(block).unwrap();
                }
                world.publish().unwrap();
                world.check_all();
                world.publish().unwrap();
                if round == 1 {
                    world = world.reopen();
                }
            }
        }
    }
}

#[test]
fn wear_is_even() {
    for (geometry, block_size) in SHAPES {
        let count = 600;
        let (geometry, options) = shape(geometry, block_size, count);
        let mut world = World::new(geometry, &options, 5);
        let start = world.volume.info().block_address;
        while world.used.len() < count as usize / 2 {
            world.allocate().unwrap();
        }
        // Twenty blocks are written for each one that there is, in publishes of up to 40.
        for step in 0..20 * count {
            if step % 40 == 0 {
                world.publish().unwrap();
            }
            let nth = world.random.below(world.used.len());
            let block = *world.used.keys().nth(nth).unwrap();
            world.free(block).unwrap();
            world.allocate().unwrap();
        }
        world.publish().unwrap();
        world.check_all();
        let unit = geometry.erase_unit.max(geometry.write_unit);
        let wear = &world.volume.device().wear[(start / u64::from(unit)) as usize..];
        let per = (block_size / unit) as usize;
        let wear: Vec<u32> = wear.chunks(per).map(|block| block.iter().copied().max().unwrap()).collect();
        let wear = &wear[..world.blocks.frontier() as usize];
        let (least, most) = (*wear.iter().min().unwrap(), *wear.iter().max().unwrap());
        let mean = f64::from(wear.iter().sum::<u32>()) / wear.len() as f64;
        println!("{} blocks of {block_size}, {geometry:?}: {least} to {most} times, {mean:.1}", wear.len());
        assert!(f64::from(most) <= 2.0 * mean, "{most} times");
    }
}

/// The tables of a sweep: the oldest is always the next to be replaced. (With all of `fill` drained at once, a third of the blocks of
/// such a device would be used 12 times, the others 6 times.)
#[test]
fn wear_is_even_where_all_blocks_live_as_long_as_each_other() {
    for (geometry, block_size) in SHAPES.into_iter().filter(|(geometry, _)| geometry.must_erase()) {
        for (count, live, each) in
            [(200, 60, 4), (200, 80, 6), (200, 100, 8), (200, 150, 8), (49, 33, 3), (49, 20, 2), (49, 3, 1)]
        {
            let (geometry, options) = shape(geometry, block_size, count);
            let mut world = World::new(geometry, &options, 5);
            let start = world.volume.info().block_address;
            let mut tables = VecDeque::new();
            for step in 0..12 * count {
                if step % each == 0 {
                    world.publish().unwrap();
                }
                tables.push_back(world.allocate().unwrap());
                if tables.len() > live {
                    world.free(tables.pop_front().unwrap()).unwrap();
                }
            }
            world.check_all();
            let unit = geometry.erase_unit.max(geometry.write_unit);
            let wear = &world.volume.device().wear[(start / u64::from(unit)) as usize..];
            let per = (block_size / unit) as usize;
            // Of a block of the list, only what a few units take.
            let wear: Vec<u32> = wear.chunks(per).map(|block| *block.last().unwrap()).collect();
            let wear = &wear[..world.blocks.frontier() as usize];
            let most = *wear.iter().max().unwrap();
            let mean = f64::from(wear.iter().sum::<u32>()) / wear.len() as f64;
            println!("{count} blocks of {block_size}, {live} in use, {geometry:?}: {most} times, {mean:.1}");
            assert!(f64::from(most) <= 1.4 * mean, "{most} times, {mean}");
        }
    }
}

/// Gives out all there is after the units at some places of `fill` were damaged.
#[test]
fn a_damaged_unit_takes_those_below_it_along_and_nothing_else() {
    for (geometry, block_size) in SHAPES {
        let count = 900;
        let (geometry, options) = shape(geometry, block_size, count);
        let mut world = World::new(geometry, &options, 9);
        while world.used.len() < 880 {
            world.allocate().unwrap();
        }
        world.publish().unwrap();
        let all: Vec<u32> = world.used.keys().copied().take(600).collect();
        for block in all {
            world.free(block).unwrap();
        }
        world.publish().unwrap();
        // The lists of units from the top.
        let mut units = Vec::new();
        let mut at = world.blocks.fill.top;
        for _ in 0..world.blocks.fill.units {
            units.push(at);
            let mut below = UnitLink::default();
            assert!(load(&mut world.volume, &at, &mut below, &mut |_| {}));
            at = below;
        }
        assert!(units.len() >= 5);
        let bad = units[2];
        let position = bad.unit * BlockRegion::unit(&world.volume);
        let address = world.volume.block_address(bad.block, position + 20, 4).unwrap();
        world.volume.device_mut().damage(address, 1);
        let mut damaged = Vec::new();
        world.blocks.each_free(&mut world.volume, &mut |block, what| {
            if what == Use::Damaged {
                damaged.push(block);
            }
        });
        assert_eq!(damaged, [bad.block]);
        let available = world.blocks.available();
        let mut taken = 0;
        loop {
            match world.blocks.allocate(&mut world.volume) {
                Ok(block) => {
                    assert!(!world.used.contains_key(&block));
                    taken += 1;
                }
                Err(fault) => break assert_eq!(fault, Fault::Full),
            }
        }
        assert!(taken >= 112 && taken < available, "{taken} of {available}");
        assert!(world.blocks.lost() >= 300, "{}", world.blocks.lost());
        // The store goes on, and so does the list.
        world.publish().unwrap();
        for block in world.used.keys().copied().collect::<Vec<_>>() {
            world.free(block).unwrap();
        }
        world.publish().unwrap();
        let available = world.blocks.available();
        assert!(available > 200, "{available}, {geometry:?} {block_size}");
    }
}

#[test]
fn a_block_that_cannot_be_erased_is_left_out() {
    let (geometry, options) = shape(Geometry::flash(0, 4, 4096), 4096, 60);
    let mut world = World::new(geometry, &options, 3);
    let bad = [3, 10, 11];
    for block in bad {
        let address = world.volume.block_address(block, 0, 0).unwrap();
        world.volume.device_mut().broken.push(address);
    }
    for round in 0..40 {
        for _ in 0..10 {
            let Ok(block) = world.blocks.allocate(&mut world.volume) else { break };
            let content = world.content(block, 1);
            match world.volume.write_block(block, &content) {
                Ok(()) => drop(world.used.insert(block, 1)),
                Err(fault) => {
                    assert_eq!(fault, Fault::Device);
                    assert!(bad.contains(&block) && !world.volume.is_poisoned());
                    world.blocks.retire(block);
                }
            }
        }
        for _ in 0..if round < 6 { 3 } else { 9 } {
            let nth = world.random.below(world.used.len());
            let block = *world.used.keys().nth(nth).unwrap();
            world.free(block).unwrap();
        }
        world.publish().unwrap();
    }
    assert_eq!(world.blocks.retired(), 3, "some by the list, some by who writes pages");
    assert!(world.used.keys().all(|block| !bad.contains(block)));
    assert_eq!(world.blocks.lost(), 0);
}

#[test]
fn what_is_no_list_is_refused() {
    let mut blocks = Blocks::new(100);
    let mut bytes = [0; BLOCKS_ROOT];
    blocks.frontier = 101;
    blocks.encode(&mut Varints::write(&mut bytes));
    assert!(Blocks::new(101).decode(&mut Varints::read(&mut bytes)));
    assert!(!Blocks::new(100).decode(&mut Varints::read(&mut bytes)));
    let stack = Stack {
        top: UnitLink { block: u32::MAX, unit: 127, crc: u32::MAX },
        units: 1 << 31,
        numbers: u32::MAX,
    };
    let mut blocks = Blocks::new(u32::MAX - 1);
    (blocks.frontier, blocks.fill, blocks.drain) = (u32::MAX - 1, stack, stack);
    (blocks.left, blocks.shared, blocks.retired, blocks.lost) = (124, true, u32::MAX, u32::MAX);
    let mut fields = Varints::write(&mut bytes);
    blocks.encode(&mut fields);
    assert!(fields.at <= BLOCKS_ROOT, "{}", fields.at);
    println!("{} bytes of RAM, at most {} in a root", size_of::<Blocks>(), fields.at);
    assert!(size_of::<Blocks>() <= 800);
}
