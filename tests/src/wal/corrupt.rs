//! Images damaged at rest: the answer is right or it is an error, and what was not hit stays readable.

use std::ops::Range;

use esker::wal::Error;
use esker_sim::Sim;

use super::image::{Image, images};
use super::loose::{is_honest, one_history};
use super::opened::{Handle, Opened, Vol};
use crate::cli::{Found, Settings, guarded, mix};
use crate::damage::{self, Content, Damage, How};

/// The checker's entry.
pub fn run(settings: &Settings) -> (usize, Found) {
    match guarded(images) {
        Ok(images) => (images.len(), damage::run(&images, settings)),
        Err(why) => (0, Found { violations: vec![("images".into(), why)], ..Found::default() }),
    }
}

impl damage::Image for Image {
    fn name(&self) -> &str {
        &self.name
    }

    fn content(&self) -> &Content {
        &self.content
    }

    fn most(&self, _: bool) -> usize {
        usize::MAX
    }

    fn whole(&self) -> Result<(), String> {
        self.check().map_err(|why| format!("{why:?}"))?;
        examine(self, &self.content.device(), &[], Measure::of(self, &[], How::Bit)).map(|_| ())
    }

    fn check(&self, damage: &Damage, sim: &Sim) -> Result<(), String> {
        let homeless = look(self, damage, sim)?;
        if mix(damage.unit as u64, damage.other as u64).is_multiple_of(32) && !homeless {
            go_on(self, damage)?;
        }
        Ok(())
    }

    fn check_all(&self, damage: &Damage, sim: &Sim) -> Result<(), String> {
        look(self, damage, sim)?;
        go_on(self, damage)
    }
}

/// How much of the image must still be readable.
#[derive(Clone, Copy, Debug)]
struct Measure {
    /// Both homes of the superblock are hit: it may be gone.
    homeless: bool,
    /// Whatever was not hit must be readable.
    strict: bool,
}

impl Measure {
    fn of(image: &Image, ranges: &[Range<usize>], how: How) -> Self {
        let pool = image.shape.segment_address(0) as usize;
        let home = pool / 2;
        let hit = |bytes: Range<usize>| {
            ranges.iter().any(|range| range.start < bytes.end && bytes.start < range.end)
        };
        let homeless = hit(0..home) && hit(home..pool);
        let segment = |range: &Range<usize>| range.start / image.shape.segment as usize;
        // Each segment is described twice, at both ends; a larger damage can hit both.
        let small = ranges.iter().all(|range| range.len() <= 512);
        let apart =
            how != How::Swap || image.clean && ranges.first().map(segment) != ranges.last().map(segment);
        Self { homeless, strict: small && apart && !homeless }
    }
}

/// Opens and reads. Whether both homes of the superblock are hit.
fn look(image: &Image, damage: &Damage, sim: &Sim) -> Result<bool, String> {
    let ranges = damage.ranges();
    let measure = Measure::of(image, &ranges, damage.how);
    let lost = examine(image, sim, &ranges, measure)?;
    if damage.how == How::Bit && lost > 1 {
        return Err(format!("one flipped bit took {lost} entries"));
    }
    let counts = sim.counts();
    if counts.writes + counts.erases != 0 {
        return Err("opening and reading has written".into());
    }
    Ok(measure.homeless)
}

/// Opens a damaged image and reads everything. Returns how many entries could not be read.
fn examine(image: &Image, sim: &Sim, ranges: &[Range<usize>], measure: Measure) -> Result<u64, String> {
    let ids = image.model.logs.iter().map(|log| log.id);
    let mut opened = match Opened::open(sim, image.shape.memory(), ids) {
        Ok(opened) => opened,
        Err(error) if !measure.strict && is_honest(&error) => return Ok(0),
        Err(error) => return Err(format!("open: {error:?}")),
    };
    if measure.homeless {
        return one_history(&mut opened, &image.model);
    }
    let mut lost = 0;
    let Opened { volume, logs } = &mut opened;
    for (n, handle) in logs.iter().enumerate() {
        let missing = examine_log(image, n, (volume, handle), ranges, measure);
        lost += missing.map_err(|why| format!("log {}: {why}", image.model.logs[n].id))?;
    }
    Ok(lost)
}

fn examine_log(
    image: &Image,
    n: usize,
    (volume, handle): (&mut Vol, &Handle),
    ranges: &[Range<usize>],
    measure: Measure,
) -> Result<u64, String> {
    let model = &image.model.logs[n];
    let (data, root) = (model.newest(), model.newest_root());
    let Some(log) = &handle.log else { return Err("is gone".into()) };
    let (start, end, report) = (log.start(), log.end(), log.report());
    let first = *root.start.start();
    let whole = end == data.end();
    // With something whole left of the last window, nothing before it may go; with nothing left, nobody can know that
    // there was such a window.
    let mut last_window = (image.last_window[n]..data.end()).filter_map(|offset| data.at(offset));
    let least =
        if last_window.all(|serial| image.is_hit(serial, ranges)) { first } else { image.last_window[n] };
    let cut = !image.clean && (least..data.end()).contains(&end);
    if start != first || !whole && !cut {
        return Err(format!("{start}..{end}, not {first}..{}; {report:?}", data.end()));
    }
    if cut && report.clean {
        return Err(format!("cut at {end}, and called clean: {report:?}"));
    }
    let mut out = vec![0; image.shape.segment as usize];
    let mut lost = Vec::new();
    let mut cursor = log.cursor(start);
    for offset in start..end {
        let Some(serial) = data.at(offset) else { return Err(format!("entry {offset} never was")) };
        match log.next(volume, &mut cursor, &mut out) {
            Ok(Some(entry)) if image.model.items.get(serial) == (&out[..entry.len], entry.user) => {}
            Err(error) if is_honest(&error) => {
                if measure.strict && !image.is_hit(serial, ranges) {
                    return Err(format!("entry {offset} was not hit, and reads as {error:?}"));
                }
                lost.push(offset);
                cursor.skip();
            }
            other => return Err(format!("entry {offset} (serial {serial}) reads as {other:?}")),
        }
    }
    let step = ((end - start) / 7).max(1);
    for offset in (start..end).step_by(step as usize).chain(lost.iter().copied()) {
        let serial = data.at(offset).unwrap_or(0);
        match log.read(volume, offset, &mut out) {
            Ok(entry) if image.model.items.get(serial) == (&out[..entry.len], entry.user) => {}
            Err(error) if is_honest(&error) && lost.contains(&offset) => {}
            other => return Err(format!("entry {offset}, read alone, is {other:?}")),
        }
    }
    if !matches!(log.read(volume, end, &mut out), Err(Error::OutOfRange { .. })) {
        return Err("the entry behind the last one is not out of range".into());
    }
    let chunks = examine_snapshot(image, n, (volume, handle), ranges, measure)?;
    Ok(lost.len() as u64 + chunks)
}

fn examine_snapshot(
    image: &Image,
    n: usize,
    (volume, handle): (&mut Vol, &Handle),
    ranges: &[Range<usize>],
    measure: Measure,
) -> Result<u64, String> {
    let info = handle.snapshot.as_ref().and_then(|snapshot| snapshot.info(volume));
    let state = image.model.logs[n].newest_root().snapshot.as_ref();
    let expected = state.map(|state| (state.offset, state.chunks.len() as u32));
    if info.map(|info| (info.offset, info.chunks)) != expected {
        return Err(format!("snapshot {info:?}, not {expected:?}"));
    }
    let (Some(snapshot), Some(state)) = (&handle.snapshot, state) else { return Ok(0) };
    let mut out = vec![0; image.shape.segment as usize];
    let mut lost = 0;
    for (nth, serial) in state.chunks.iter().enumerate() {
        match snapshot.read(volume, nth as u32, &mut out) {
            Ok(Some(len)) if image.model.items.get(*serial).0 == &out[..len] => {}
            Err(error) if is_honest(&error) && (!measure.strict || image.is_hit(*serial, ranges)) => {
                lost += 1;
            }
            other => return Err(format!("chunk {nth} reads as {other:?}")),
        }
    }
    Ok(lost)
}

/// Uses the damaged image on: what could be read before can be read afterwards, and what is acknowledged is there.
fn go_on(image: &Image, damage: &Damage) -> Result<(), String> {
    let mut sim = image.content.device();
    damage.apply(&image.content, &sim);
    if damage.how != How::Unreadable {
        // A unit that now reads as blank may be programmed: nobody can know that it must not.
        sim = Sim::from_image(image.shape.geometry(), &sim.image()).expect("the geometry it was made with");
    }
    let ids: Vec<u16> = image.model.logs.iter().map(|log| log.id).collect();
    let memory = image.shape.memory();
    let Ok(mut opened) = Opened::open(&sim, memory, ids.iter().copied()) else { return Ok(()) };
    let before = readable(&mut opened);
    let mut added = Vec::new();
    for handle in &mut opened.logs {
        let Some(log) = &mut handle.log else { continue };
        let appended = log.append(&mut opened.volume, b"written after the damage");
        let answer = appended.and_then(|offset| log.commit(&mut opened.volume).map(|()| offset));
        match answer {
            Ok(offset) => added.push(Some(offset)),
            Err(error) if is_honest(&error) => added.push(None),
            Err(Error::Volume(esker::volume::Error::Poisoned)) => added.push(None),
            Err(error) => return Err(format!("going on: {error:?}")),
        }
    }
    sim.power_cut(esker_sim::PowerCut::LoseAll);
    let mut opened = Opened::open(&sim, memory, ids.iter().copied())
        .map_err(|error| format!("going on, open again: {error:?}"))?;
    let after = readable(&mut opened);
    for (n, (before, after)) in before.iter().zip(&after).enumerate() {
        if let Some(entry) = before.iter().find(|entry| !after.contains(entry)) {
            return Err(format!("going on: entry {} of log {} could be read before", entry.0, ids[n]));
        }
        if let Some(Some(offset)) = added.get(n)
            && !after.iter().any(|(at, bytes)| at == offset && bytes == b"written after the damage")
        {
            return Err(format!("going on: the new entry {offset} of log {} is not there", ids[n]));
        }
    }
    match sim.violations().first() {
        Some(violation) => Err(format!("going on: {violation}")),
        None => Ok(()),
    }
}

/// Every entry of every log that can be read.
fn readable(opened: &mut Opened) -> Vec<Vec<(u64, Vec<u8>)>> {
    let mut out = vec![0; 1 << 14];
    let Opened { volume, logs } = opened;
    let mut all = Vec::new();
    for handle in logs.iter() {
        let mut entries = Vec::new();
        if let Some(log) = &handle.log {
            for offset in log.start()..log.end() {
                if let Ok(entry) = log.read(volume, offset, &mut out) {
                    entries.push((offset, out[..entry.len].to_vec()));
                }
            }
        }
        all.push(entries);
    }
    all
}
