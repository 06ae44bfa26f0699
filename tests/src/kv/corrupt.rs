//! Images damaged at rest: the answer is right or it is an error, and what was not hit stays readable.

use std::collections::BTreeSet;
use std::ops::Range;

use esker::store::{Damage as Reported, Error};
use esker::{volume, wal};
use esker_sim::{PowerCut, Sim};

use super::engine::{Index, TestStore};
use super::image::{Image, images};
use super::loose::{Readable, is_honest, one_history, readable};
use super::model::{Content, Key, hash_of, show};
use super::opened::{Opened, open_store};
use crate::cli::{Found, Settings, guarded, mix};
use crate::cuts::broken_rules;
use crate::damage::{self, Damage, How};
use crate::wal::opened::Vol;

/// One damage in so many is lived with, and then salvaged.
const SAMPLE: u64 = 16;

struct Subject<I> {
    image: Image,
    index: std::marker::PhantomData<fn() -> I>,
}

/// The checker's entry.
pub fn run<I: Index>(settings: &Settings) -> (usize, Found) {
    match guarded(images::<I>) {
        Ok(images) => {
            let index = std::marker::PhantomData;
            let subjects: Vec<_> = images.into_iter().map(|image| Subject::<I> { image, index }).collect();
            (subjects.len(), damage::run(&subjects, settings))
        }
        Err(why) => (0, Found { violations: vec![("images".into(), why)], ..Found::default() }),
    }
}

impl<I: Index> damage::Image for Subject<I> {
    fn name(&self) -> &str {
        &self.image.name
    }

    fn content(&self) -> &damage::Content {
        &self.image.content
    }

    fn most(&self, full: bool) -> usize {
        if full { 60_000 } else { 700 }
    }

    fn whole(&self) -> Result<(), String> {
        look::<I>(&self.image, &[], &self.image.content.device()).map(|_| ())
    }

    fn check(&self, damage: &Damage, sim: &Sim) -> Result<(), String> {
        let lives = look::<I>(&self.image, &damage.ranges(), sim)?;
        if lives && mix(damage.unit as u64, damage.other as u64).is_multiple_of(SAMPLE) {
            live_on::<I>(&self.image, damage)?;
            salvage::<I>(&self.image, damage)?;
        }
        Ok(())
    }

    fn check_all(&self, damage: &Damage, sim: &Sim) -> Result<(), String> {
        look::<I>(&self.image, &damage.ranges(), sim)?;
        live_on::<I>(&self.image, damage)?;
        salvage::<I>(&self.image, damage)
    }
}

fn overlap(range: &Range<usize>, other: &Range<usize>) -> bool {
    range.start < other.end && other.start < range.end
}

fn hits(ranges: &[Range<usize>], places: &[Range<usize>]) -> bool {
    ranges.iter().any(|range| places.iter().any(|place| overlap(range, place)))
}

/// How much of an image must still be there.
struct Measure<'a> {
    image: &'a Image,
    ranges: &'a [Range<usize>],
    /// Both homes of the superblock are hit: it may be gone, or old.
    homeless: bool,
    /// What recovery needs of the log is hit.
    log: bool,
    /// A page that recovery reads is hit: changes to it may be left out.
    replayed: bool,
}

impl<'a> Measure<'a> {
    fn of(image: &'a Image, ranges: &'a [Range<usize>]) -> Self {
        let home = image.pool / 2;
        let hit = |range: Range<usize>| hits(ranges, std::slice::from_ref(&range));
        let read = |range: &Range<usize>| hits(ranges, &within(&image.opening, range));
        Self {
            image,
            ranges,
            homeless: hit(0..home) && hit(home..image.pool),
            log: !image.clean && read(&(image.pool..image.blocks)),
            replayed: read(&(image.blocks..usize::MAX)),
        }
    }

    /// Whether a key may be out of reach.
    fn may_miss(&self, key: &Key) -> bool {
        self.log || self.replayed || {
            let place = self.image.places.binary_search_by(|(other, _)| other.cmp(key));
            place.is_ok_and(|place| hits(self.ranges, &self.image.places[place].1))
        }
    }
}

/// The parts of `reads` that lie in `range`.
fn within(reads: &[Range<usize>], range: &Range<usize>) -> Vec<Range<usize>> {
    let part = |read: &Range<usize>| read.start.max(range.start)..read.end.min(range.end);
    reads.iter().filter(|read| overlap(read, range)).map(part).collect()
}

fn open<I: Index>(image: &Image, sim: &Sim) -> Result<Opened<I>, Error<esker_sim::SimError>> {
    Opened::open(sim, &image.shape, std::iter::empty())
}

/// Opens a damaged image and reads everything in every way. Whether it can be lived with.
fn look<I: Index>(image: &Image, ranges: &[Range<usize>], sim: &Sim) -> Result<bool, String> {
    let measure = Measure::of(image, ranges);
    let mut opened = match open::<I>(image, sim) {
        Ok(opened) => opened,
        Err(error) if measure.homeless && is_honest(&error) => return Ok(false),
        // What the log says is damaged: then nobody knows what the newest values are, until they are given up.
        Err(error) if (measure.log || measure.replayed) && is_honest(&error) => return Ok(true),
        Err(error) => return Err(format!("open: {error:?}")),
    };
    let Opened { logs, store } = &mut opened;
    let Some(store) = store else {
        return if measure.homeless { Ok(false) } else { Err("the store is gone".into()) };
    };
    if measure.homeless {
        return one_history(&mut logs.volume, store, &image.model).map(|()| false);
    }
    let expected = version(image, &measure, &mut logs.volume, store)?;
    let missing = gets(&measure, &expected, &mut logs.volume, store)?;
    for backward in [false, true] {
        let found = readable(&mut logs.volume, store, backward)?;
        scanned(&measure, &expected, &missing, &found, I::EXACT)
            .map_err(|why| format!("a scan (backward: {backward}): {why}"))?;
    }
    reported(&measure, !missing.is_empty(), &mut logs.volume, store)?;
    let counts = sim.counts();
    if image.clean && counts.writes + counts.erases != 0 {
        return Err("opening and reading has written".into());
    }
    Ok(true)
}

/// What should be there. Of a store that was not closed, damage in the log may have cut off the last commit window.
fn version<I: Index>(
    image: &Image,
    measure: &Measure<'_>,
    volume: &mut Vol,
    store: &mut TestStore<I>,
) -> Result<Content, String> {
    if !measure.log {
        return Ok(image.expected().clone());
    }
    let found = readable(volume, store, false)?;
    // With nothing left of the last window, nobody can know that there was one.
    let least = if image.last.iter().all(|place| hits(measure.ranges, std::slice::from_ref(place))) {
        image.checkpoint
    } else {
        image.least
    };
    let mut out = vec![0; 1 << 14];
    let version = (least..=image.model.newest()).rev().find(|version| {
        let content = image.model.content(*version);
        let missing = content.keys().filter(|key| !found.content.contains_key(*key));
        found.content.iter().all(|(key, hash)| content.get(key) == Some(hash))
            && missing.into_iter().all(|key| store.get(volume, key, &mut out).is_err())
    });
    version.map(|version| image.model.content(version)).ok_or_else(|| {
        format!("with its log damaged: {}", image.model.explain(usize::MAX - 1, Some(&found.content)))
    })
}

/// Every key, and some that are not there. Returns the keys that can't be read.
fn gets<I: Index>(
    measure: &Measure<'_>,
    expected: &Content,
    volume: &mut Vol,
    store: &mut TestStore<I>,
) -> Result<BTreeSet<Key>, String> {
    let mut out = vec![0; 1 << 14];
    let mut missing = BTreeSet::new();
    for (key, hash) in expected {
        match store.get(volume, key, &mut out) {
            Ok(Some(found)) if hash_of(key, &out[..found.len]) == *hash => {}
            Err(error) if is_honest(&error) => {
                if !measure.may_miss(key) {
                    return Err(format!("{} was not hit, and reads as {error:?}", show(key)));
                }
                missing.insert(key.clone());
            }
            other => return Err(format!("{} reads as {other:?}", show(key))),
        }
        let mut absent = key.to_vec();
        absent.extend(b"?");
        match store.get(volume, &absent, &mut out) {
            Ok(None) => {}
            Err(error) if is_honest(&error) && (!I::EXACT || measure.may_miss(key)) => {}
            other => return Err(format!("{}, which is not there, reads as {other:?}", show(&absent))),
        }
    }
    Ok(missing)
}

fn scanned(
    measure: &Measure<'_>,
    expected: &Content,
    missing: &BTreeSet<Key>,
    found: &Readable,
    exact: bool,
) -> Result<(), String> {
    for (key, hash) in &found.content {
        if expected.get(key) != Some(hash) {
            return Err(format!("{} is wrong", show(key)));
        }
    }
    let mut lost = 0;
    for key in expected.keys().filter(|key| !found.content.contains_key(*key)) {
        if !measure.may_miss(key) {
            return Err(format!("{} was not hit, and is left out", show(key)));
        }
        if !missing.contains(key) && !measure.replayed {
            return Err(format!("{} can be read, and is left out", show(key)));
        }
        lost += 1;
    }
    // Where runs lie over each other, all keys of a damaged page may have newer versions elsewhere.
    if (lost == 0) != (found.failed == 0) && (exact || lost != 0) {
        return Err(format!("{lost} keys are left out, and {} errors were told", found.failed));
    }
    Ok(())
}

/// What `verify` says must be where the damage is, and must be said if anything is missing.
fn reported<I: Index>(
    measure: &Measure<'_>,
    missing: bool,
    volume: &mut Vol,
    store: &mut TestStore<I>,
) -> Result<(), String> {
    let mut bitmap = vec![0; TestStore::<I>::bitmap_needed(volume)];
    let mut told = Vec::new();
    let verified = store
        .verify(volume, Some(&mut bitmap), &mut |damage| told.push(damage))
        .map_err(|error| format!("verify: {error:?}"))?;
    if verified.damages != told.len() as u64 {
        return Err(format!("verify counts {} damages and tells {told:?}", verified.damages));
    }
    if missing && told.is_empty() {
        return Err("keys are missing, and verify finds nothing".into());
    }
    let size = measure.image.shape.below.block as usize;
    for damage in &told {
        let address = match damage {
            Reported::Page { address, .. } | Reported::Value { address } | Reported::FreeList { address } => {
                *address as usize
            }
            // The rest of a chain that replay should have freed.
            Reported::Leaked { .. } if measure.replayed => continue,
            other => return Err(format!("verify tells {other:?}, among {told:?}")),
        };
        let block = address..address + size;
        if !hits(measure.ranges, std::slice::from_ref(&block)) {
            return Err(format!("verify tells {damage:?}, where nothing was damaged"));
        }
    }
    Ok(())
}

fn damaged(image: &Image, damage: &Damage) -> Sim {
    let sim = image.content.device();
    damage.apply(&image.content, &sim);
    if damage.how == How::Unreadable {
        return sim;
    }
    // A unit that now reads as blank may be programmed: nobody can know that it must not.
    Sim::from_image(image.content.geometry, &sim.image()).expect("the geometry it was made with")
}

fn refused(error: &Error<esker_sim::SimError>) -> bool {
    is_honest(error) || matches!(error, Error::Full | Error::Log(wal::Error::Volume(volume::Error::Poisoned)))
}

/// Uses the damaged image on: what could be read before can be read afterwards, and what is acknowledged is there.
fn live_on<I: Index>(image: &Image, damage: &Damage) -> Result<(), String> {
    let sim = damaged(image, damage);
    let Ok(mut opened) = open::<I>(image, &sim) else { return Ok(()) };
    let Opened { logs, store: Some(store) } = &mut opened else { return Ok(()) };
    let before = readable(&mut logs.volume, store, false).map_err(|why| format!("going on: {why}"))?;
    let mut expected = before.content;
    // New keys in several places, and known ones replaced and removed.
    let keys: Vec<Key> = expected.keys().step_by(9).cloned().collect();
    for (number, key) in keys.iter().enumerate() {
        let mut new = key.to_vec();
        new.push(b'+');
        let (key, value) = if number % 3 == 0 { (&**key, None) } else { (&*new, Some(&b"new"[..])) };
        let answer = match value {
            Some(value) => store.put(&mut logs.volume, key, value),
            None => store.delete(&mut logs.volume, key),
        };
        match answer {
            Ok(_) => {
                match value {
                    Some(value) => expected.insert(key.into(), hash_of(key, value)),
                    None => expected.remove(key),
                };
            }
            // It may be logged; whether it is there is open from now on.
            Err(error) if refused(&error) => {
                expected.remove(key);
                break;
            }
            Err(error) => return Err(format!("going on, {}: {error:?}", show(key))),
        }
    }
    let committed = store.commit(&mut logs.volume);
    match &committed {
        Ok(()) => {}
        Err(error) if refused(error) => return Ok(()),
        Err(error) => return Err(format!("going on, commit: {error:?}")),
    }
    match store.checkpoint(&mut logs.volume) {
        Ok(()) => {}
        Err(error) if refused(&error) => {}
        Err(error) => return Err(format!("going on, checkpoint: {error:?}")),
    }
    drop(opened);
    sim.power_cut(PowerCut::LoseAll);
    let mut opened = open::<I>(image, &sim).map_err(|error| format!("going on, open: {error:?}"))?;
    let Some(store) = &mut opened.store else { return Err("going on: the store is gone".into()) };
    let after = readable(&mut opened.logs.volume, store, false).map_err(|why| format!("going on: {why}"))?;
    for (key, hash) in &expected {
        if after.content.get(key) != Some(hash) {
            return Err(format!("going on: {} could be read before", show(key)));
        }
    }
    broken_rules(&sim).map_err(|why| format!("going on: {why}"))
}

/// Drops what is damaged: then the store is whole, with all that could be read.
fn salvage<I: Index>(image: &Image, damage: &Damage) -> Result<(), String> {
    let ranges = damage.ranges();
    let measure = Measure::of(image, &ranges);
    let sim = damaged(image, damage);
    let mut told = Vec::new();
    let (mut volume, mut store) = match open::<I>(image, &sim) {
        Ok(Opened { logs, store: Some(store) }) => (logs.volume, store),
        Ok(_) => return Ok(()),
        Err(_) => {
            let memory = image.shape.below.memory();
            let Ok(mut volume) = Vol::open(sim.clone(), vec![0; memory.volume]) else { return Ok(()) };
            let index = I::lend(&volume.info(), image.shape.extra);
            let opened =
                TestStore::<I>::open_damaged(&mut volume, index, vec![0; memory.log], &mut |damage| {
                    told.push(damage);
                });
            match opened {
                Ok(store) => (volume, store),
                Err(error) if is_honest(&error) => return Ok(()),
                Err(error) => return Err(format!("open_damaged: {error:?}")),
            }
        }
    };
    let before = readable(&mut volume, &mut store, false).map_err(|why| format!("before salvage: {why}"))?;
    let mut bitmap = vec![0; TestStore::<I>::bitmap_needed(&volume)];
    let salvaged = store.salvage(&mut volume, Some(&mut bitmap), &mut |damage| told.push(damage));
    match salvaged {
        Ok(verified) if verified.damages == 0 => {}
        Err(error) if damage.how == How::Unreadable && is_honest(&error) => return Ok(()),
        other => return Err(format!("salvage: {other:?}")),
    }
    // Replay after the pruning may bring back newer values, never lose one.
    let mut whole = false;
    for round in 0..2 {
        let after = readable(&mut volume, &mut store, false).map_err(|why| format!("salvaged: {why}"))?;
        if after.failed != 0 {
            return Err(format!("salvaged, and {} places can't be read", after.failed));
        }
        for key in before.content.keys().filter(|key| !measure.log && image.expected().contains_key(*key)) {
            if after.content.get(key) != image.expected().get(key) {
                return Err(format!("salvaged: {} could be read before", show(key)));
            }
        }
        whole = after.content.len() >= image.expected().len();
        if !whole && told.is_empty() && !measure.log {
            return Err("salvage has dropped something and told nothing".into());
        }
        let mut damages = Vec::new();
        store
            .verify(&mut volume, Some(&mut bitmap), &mut |damage| damages.push(damage))
            .map_err(|error| format!("salvaged, verify: {error:?}"))?;
        if !damages.is_empty() {
            return Err(format!("salvaged, and verify finds {damages:?}"));
        }
        if round == 0 {
            let put = store.put(&mut volume, b"salvaged", b"yes").map(|_| ());
            put.and_then(|()| store.commit(&mut volume))
                .map_err(|error| format!("salvaged, put: {error:?}"))?;
            drop(store);
            sim.power_cut(PowerCut::LoseAll);
            let memory = image.shape.below.memory();
            volume = Vol::open(sim.clone(), vec![0; memory.volume])
                .map_err(|error| format!("salvaged, open: {error:?}"))?;
            let again = open_store(&mut volume, &image.shape)
                .map_err(|error| format!("salvaged, open the store: {error:?}"))?;
            store = again.ok_or("salvaged: the store is gone")?;
        }
    }
    let mut out = [0; 8];
    match store.get(&mut volume, b"salvaged", &mut out) {
        Ok(Some(_)) => broken_rules(&sim).map_err(|why| format!("salvaged ({whole}): {why}")),
        other => Err(format!("salvaged: what was put then reads as {other:?}")),
    }
}
