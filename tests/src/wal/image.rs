//! The images that `corrupt` damages: two logs, a snapshot, several segments, a truncation and reopenings behind them.

use std::ops::Range;

use super::model::{Model, Serial};
use super::opened::{Run, Stop};
use super::session::Session;
use super::shape::{Kind, Shape};
use crate::damage::Content;

/// A device's content with what is known of it.
pub struct Image {
    /// What it is called in state ids.
    pub name: String,
    /// The device and volume.
    pub shape: Shape,
    /// The device's content, now and earlier.
    pub content: Content,
    /// What the logs hold.
    pub model: Model,
    /// The logs were closed in order.
    pub clean: bool,
    /// For each log the first offset of its last commit window.
    pub last_window: Vec<u64>,
    places: Vec<Option<Range<usize>>>,
}

const KINDS: [Kind; 2] = [Kind::Blocks512, Kind::Nor4];

/// All images: both kinds of devices, closed and not.
pub fn images() -> Result<Vec<Image>, String> {
    let mut images = Vec::new();
    for kind in KINDS {
        for clean in [true, false] {
            images.push(make(kind, clean).map_err(|error| format!("making the image: {error:?}"))?);
        }
    }
    Ok(images)
}

fn make(kind: Kind, clean: bool) -> Run<Image> {
    let shape = Shape { segment: 4096, segments: 14, ..Shape::of(kind) };
    let sim = shape.sim();
    let mut session = Session::format(&sim, shape)?;
    let mut earlier = vec![sim.image()];
    session.create(3)?;
    session.create(7)?;
    for round in 0..4 {
        for n in 0..22 {
            session.put(0, 40 + n * 9)?;
            if n % 3 == 0 {
                session.append_user(1, 25 + n * 5, n as u64)?;
            }
            if n % 4 == 3 {
                session.commit(0)?;
            }
        }
        session.batch(1, &[30, 60, 90])?;
        session.commit(1)?;
        earlier.push(sim.image());
        match round {
            0 => {
                for n in 0..4 {
                    session.chunk(0, 90 + n * 31)?;
                }
                session.publish(0, 19)?;
            }
            1 => {
                let offset = session.end(0) - 7;
                session.truncate(0, offset)?;
                session.put(0, 33)?;
                session.reopen()?;
            }
            2 => {
                session.close(0)?;
                session.close(1)?;
                session.reopen()?;
                session.release(0, 30)?;
            }
            _ => {}
        }
        earlier.push(sim.image());
    }
    for log in 0..2 {
        session.commit(log)?;
    }
    earlier.push(sim.image());
    let last_window = (0..2).map(|log| session.end(log)).collect();
    for log in 0..2 {
        for n in 0..3 {
            session.put(log, 50 + n * 20)?;
        }
        session.commit(log)?;
    }
    session.check()?;
    if clean {
        session.close(0)?;
        session.close(1)?;
    }
    let name = format!("{}/{kind}", if clean { "clean" } else { "unclean" });
    let mut image = Image {
        name,
        shape,
        content: Content { geometry: shape.geometry(), bytes: sim.durable_image(), earlier },
        model: session.model,
        clean,
        last_window,
        places: Vec::new(),
    };
    image.find_places();
    Ok(image)
}

impl Image {
    /// Where each payload lies. One that is too short to be found is taken to be anywhere.
    fn find_places(&mut self) {
        let pool = self.shape.segment_address(0) as usize;
        let mut serial: Serial = 0;
        while let Some((payload, _)) = self.model.items.try_get(serial) {
            let found = (payload.len() >= 12).then(|| {
                let mut all = self.content.bytes.windows(payload.len()).enumerate().skip(pool);
                let one = all.find(|(_, bytes)| *bytes == payload).map(|(at, _)| at);
                // Before it stand at most 16 bytes of head, behind it padding up to a multiple of 4.
                one.map(|at| at - 16..(at + payload.len()).next_multiple_of(4))
            });
            self.places.push(found.flatten());
            serial += 1;
        }
    }

    /// Whether damage to `ranges` can have hit the record of `serial`.
    pub fn is_hit(&self, serial: Serial, ranges: &[Range<usize>]) -> bool {
        match self.places.get(serial as usize) {
            Some(Some(place)) => {
                ranges.iter().any(|range| range.start < place.end && place.start < range.end)
            }
            _ => true,
        }
    }

    /// Opens the undamaged image, which must hold everything.
    pub fn check(&self) -> Result<(), Stop> {
        let known = self.places.iter().filter(|place| place.is_some()).count();
        if known < 60 {
            return Err(Stop::Wrong(format!("only {known} payloads were found in the image")));
        }
        Ok(())
    }
}
