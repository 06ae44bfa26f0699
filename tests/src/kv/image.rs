//! The images that `corrupt` damages: a store with long values, long keys and free blocks, closed and not.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use esker::device::{BlockDevice, Geometry};
use esker::store::Store;
use esker::volume::Volume;
use esker_sim::{Sim, SimError};

use super::engine::{Index, Run, Stop, stop};
use super::model::{Content, Key, Model};
use super::session::Session;
use super::shape::{Kind, Shape};
use crate::damage;
use crate::wal::opened::SLOTS;

/// A device's content with what is known of it.
pub struct Image {
    /// What it is called in state ids.
    pub name: String,
    /// The device and volume.
    pub shape: Shape,
    /// The device's content, now and earlier.
    pub content: damage::Content,
    /// What the store holds.
    pub model: Model,
    /// The store was closed in order.
    pub clean: bool,
    /// The version of the last checkpoint.
    pub checkpoint: usize,
    /// The oldest version that rot in the last commit window can bring back.
    pub least: usize,
    /// Where the log's records of the last commit window are.
    pub last: Vec<Range<usize>>,
    /// Where the pool of segments and, behind it, the blocks begin.
    pub pool: usize,
    /// Where the blocks begin.
    pub blocks: usize,
    /// What opening reads.
    pub opening: Vec<Range<usize>>,
    /// What a get reads after that, for each key.
    pub places: Vec<(Key, Vec<Range<usize>>)>,
}

/// All images: several kinds of devices, closed and not.
pub fn images<I: Index>() -> Result<Vec<Image>, String> {
    let mut images = Vec::new();
    for kind in [Kind::Blocks512, Kind::Small, Kind::Nor4] {
        for clean in [true, false] {
            images.push(make::<I>(kind, clean).map_err(|error| format!("making the image: {error:?}"))?);
        }
    }
    Ok(images)
}

fn make<I: Index>(kind: Kind, clean: bool) -> Run<Image> {
    let mut shape = Shape::of(kind);
    if shape.large() {
        shape.below.blocks = 56;
    }
    let shape = I::adapt(shape);
    let page = I::page(&shape.below);
    let sim = shape.sim();
    let mut session: Session<I> = Session::format(&sim, shape)?;
    session.create()?;
    let mut earlier = vec![sim.image()];
    let count = if shape.large() { 60 } else { 70 };
    for n in 0..count {
        let key = format!("key-{:04}", n * 619 % 1000);
        session.put(key.as_bytes(), 16 + n as usize * 37 % (page / 9))?;
        if n % 6 == 5 {
            session.commit()?;
        }
        if n % 20 == 19 {
            session.checkpoint()?;
            earlier.push(sim.image());
        }
    }
    for n in 0..4 {
        session.put(format!("long-{n}").as_bytes(), page + n * page / 3)?;
        let mut key = vec![b'l'; page / 12];
        key.push(b'0' + n as u8);
        session.put(&key, 30)?;
    }
    for n in 0..count / 3 {
        session.delete(format!("key-{:04}", n * 3 * 619 % 1000).as_bytes())?;
    }
    session.checkpoint()?;
    earlier.push(sim.image());
    session.put(b"long-1", page * 2)?;
    session.put(b"key-0500", 40)?;
    session.checkpoint()?;
    earlier.push(sim.image());
    session.reopen()?;
    let checkpoint = session.model.newest();
    // Behind the checkpoint: two commit windows.
    for n in 0..9 {
        session.put(format!("late-{n}").as_bytes(), 20 + n)?;
    }
    session.delete(b"long-2")?;
    session.commit()?;
    let least = session.model.newest();
    for n in 0..3 {
        session.put(format!("last-{n}").as_bytes(), 25)?;
    }
    session.commit()?;
    session.check()?;
    if clean {
        // A close may leave a short log for the next open: here all is to be in the index.
        session.checkpoint()?;
        session.close()?;
    }
    let volume = session.logs.opened.volume.info();
    let mut image = Image {
        name: format!("{}/{kind}", if clean { "clean" } else { "unclean" }),
        shape,
        content: damage::Content { geometry: shape.below.geometry(), bytes: sim.durable_image(), earlier },
        clean,
        checkpoint,
        last: Vec::new(),
        least,
        model: session.model,
        pool: volume.pool_address as usize,
        blocks: volume.block_address as usize,
        opening: Vec::new(),
        places: Vec::new(),
    };
    image.find_places::<I>()?;
    image.find_last_window()?;
    Ok(image)
}

/// A device that notes what is read of it.
struct Tap {
    sim: Sim,
    reads: Rc<RefCell<Vec<Range<usize>>>>,
}

impl BlockDevice for Tap {
    type Error = SimError;

    fn geometry(&self) -> Geometry {
        self.sim.geometry()
    }

    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), SimError> {
        self.reads.borrow_mut().push(address as usize..address as usize + buffer.len());
        self.sim.read(address, buffer)
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), SimError> {
        self.sim.write(address, data)
    }

    fn erase(&mut self, range: Range<u64>) -> Result<(), SimError> {
        self.sim.erase(range)
    }

    fn sync(&mut self) -> Result<(), SimError> {
        self.sim.sync()
    }
}

impl Image {
    /// What the store holds.
    pub fn expected(&self) -> &Content {
        self.model.now()
    }

    /// Looks for the last window's keys among the segments.
    fn find_last_window(&mut self) -> Run {
        for n in 0..3 {
            let key = format!("last-{n}").into_bytes();
            let pool = &self.content.bytes[self.pool..self.blocks];
            let Some(at) = pool.windows(key.len()).rposition(|bytes| bytes == key) else {
                return Err(Stop::Wrong("the last window is not in the log".into()));
            };
            // Before it the heads of record and operation, behind it the value.
            let at = self.pool + at;
            self.last.push(at - 10..at + key.len() + 25);
        }
        Ok(())
    }

    /// Looks which parts of the device an opening reads, and after a fresh one the get of each key.
    fn find_places<I: Index>(&mut self) -> Run {
        let keys: Vec<Key> = self.expected().keys().cloned().collect();
        let mut out = vec![0; 1 << 16];
        for key in keys {
            let reads = Rc::new(RefCell::new(Vec::new()));
            let tap = Tap { sim: self.content.device(), reads: reads.clone() };
            let memory = self.shape.below.memory();
            let mut volume: Volume<Tap, Vec<u8>, 4> =
                Volume::open(tap, vec![0; memory.volume]).map_err(|error| stop("open", error.into()))?;
            let index = I::lend(&volume.info(), self.shape.extra);
            let mut store: Store<I, Vec<u8>, SLOTS> =
                Store::open(&mut volume, index, vec![0; memory.log]).map_err(|error| stop("open", error))?;
            self.opening = reads.take();
            let found = store.get(&mut volume, &key, &mut out).map_err(|error| stop("get", error))?;
            if found.is_none() {
                return Err(Stop::Wrong(format!("{key:?} is not there")));
            }
            self.places.push((key, reads.take()));
        }
        let known = self.places.iter().filter(|(_, places)| !places.is_empty()).count();
        if self.clean && known * 10 < self.places.len() * 9 {
            return Err(Stop::Wrong(format!("only {known} gets read anything after an opening")));
        }
        Ok(())
    }
}
