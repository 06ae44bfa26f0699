//! What the settings of a board must be, by its own words.
//!
//! Steps follow from their numbers, so the harness makes the same changes to a map. A run may have been cut after any step
//! from the last one that was said to be durable: the settings must be those after some whole number of steps, exactly. What
//! one opening has found, the next one finds, too.

use std::collections::BTreeMap;
use std::path::Path;

use esker::btree::{BTree, Frame, Needed};
use esker::device::Geometry;
use esker::store::{self, Store};
use esker::volume::{self, Volume};
use esker_linux::{Access, DeviceError, FileDevice};
use esker_qemu::boards::lm3s6965evb::LAYOUT;
use esker_qemu::logger::Stamp;
use esker_qemu::settings::{BOOT, KEY, PAGE, SETTINGS, STEPS, VALUE, step};

use crate::Failure;
use crate::message::Message;

/// Keys and values.
pub type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;
type Disk = Volume<FileDevice, Vec<u8>, 16>;
type Keys = Store<BTree<Vec<u8>, Vec<Frame>>, Vec<u8>>;

/// Settings since the medium was new.
#[derive(Debug, Default)]
pub struct Settings {
    /// As they were when they were last opened.
    pairs: Pairs,
    /// What has been changed since.
    run: Option<Run>,
    /// A board has opened them, so they are there.
    made: bool,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    boot: u32,
    /// Steps before this one were durable.
    durable: u32,
}

impl Settings {
    /// Takes note of what was said in a run, in the order in which it was.
    pub fn hear(&mut self, message: &Message) -> Result<(), Failure> {
        match message {
            Message::SettingsThere { pairs } if *pairs != self.pairs.len() as u64 => {
                return Err(format!("Linux finds {} settings, the board {pairs}", self.pairs.len()).into());
            }
            Message::SettingsThere { .. } => self.made = true,
            Message::SettingsStarted { boot } => {
                let last = self.pairs.get(BOOT).and_then(|value| value.first_chunk());
                let last = last.map_or(0, |boot| u32::from_le_bytes(*boot));
                if *boot != last + 1 {
                    return Err(
                        format!("the settings say {last} starts, and the board starts as {boot}").into()
                    );
                }
                self.run = Some(Run { boot: *boot, durable: 0 });
            }
            Message::SettingsDurable { step } => match &mut self.run {
                Some(run) => run.durable = run.durable.max(*step),
                None => return Err("the board changes settings that it has not opened".into()),
            },
            _ => {}
        }
        Ok(())
    }

    /// As they were when they were last checked.
    pub fn pairs(&self) -> &Pairs {
        &self.pairs
    }

    /// Opens the settings on a copy of the medium as Linux does, reads all of them and holds them against what must be there.
    /// From then on it is that state that must be there. `None`: there are none.
    pub fn check(&mut self, path: &Path) -> Result<Option<u64>, Failure> {
        // Opening replays the log, which may write; what the board does with the same medium is up to the board.
        let copy = tempfile::NamedTempFile::new()?;
        std::fs::copy(path, copy.path())?;
        let there = open(copy.path(), |volume, keys| {
            let damages = verify(volume, keys)?;
            Ok((read_all(volume, keys)?, damages))
        });
        let there = there.map_err(|error| format!("Linux can't read the settings: {error}"))?;
        let Some((found, damages)) = there else {
            return if self.made { Err("the settings are gone".into()) } else { Ok(None) };
        };
        if !damages.is_empty() {
            return Err(format!("the settings' store is damaged: {}", damages.join(", ")).into());
        }
        self.judge(found)?;
        Ok(Some(self.pairs.len() as u64))
    }

    fn judge(&mut self, found: Pairs) -> Result<(), Failure> {
        let mut state = std::mem::take(&mut self.pairs);
        let steps = self.run.map_or(0, |_| STEPS);
        let Run { boot, durable } = self.run.take().unwrap_or(Run { boot: 0, durable: 0 });
        for number in 0..=steps {
            if number >= durable && state == found {
                self.pairs = found;
                return Ok(());
            }
            apply(&mut state, Stamp { boot, number });
        }
        Err(format!("the settings are not those after {durable} to {steps} steps of start {boot}").into())
    }
}

/// What a step does to a map.
fn apply(pairs: &mut Pairs, stamp: Stamp) {
    for change in step(stamp).into_iter().flatten() {
        match change.value(stamp, &mut [0; VALUE]) {
            Some(value) => pairs.insert(change.key().to_vec(), value.to_vec()),
            None => pairs.remove(change.key()),
        };
    }
}

/// Makes a medium of so many bytes, with a volume as the board would make it, and settings of which there are none yet.
pub fn make(path: &Path, size: u64) -> Result<(), Failure> {
    let device = FileDevice::create(path, Geometry::blocks(size, PAGE as u32))?;
    let mut volume = Disk::format(device, vec![0; 64 << 10], &LAYOUT)?;
    let tree = BTree::new(vec![0; 64 * PAGE], vec![Frame::BLANK; 63]);
    Keys::create(&mut volume, SETTINGS, tree, vec![0; 4096])?.close(&mut volume)?;
    Ok(())
}

/// Does on Linux what a board does in a run, and says what a board would say.
pub fn run_on_linux(path: &Path) -> Result<Vec<Message>, Failure> {
    let done = open(path, |volume, keys| {
        let (pairs, mut value) = (read_all(volume, keys)?.len() as u64, [0; VALUE]);
        let last = keys.get(volume, BOOT, &mut value)?.and(value.first_chunk()).copied();
        let boot = last.map_or(0, u32::from_le_bytes) + 1;
        for number in 0..STEPS {
            let stamp = Stamp { boot, number };
            for change in step(stamp).into_iter().flatten() {
                match change.value(stamp, &mut value) {
                    Some(value) => keys.put(volume, change.key(), value)?,
                    None => keys.delete(volume, change.key())?,
                };
            }
        }
        keys.checkpoint(volume)?;
        let said = [
            Message::SettingsThere { pairs },
            Message::SettingsStarted { boot },
            Message::SettingsDurable { step: STEPS },
        ];
        Ok(said.to_vec())
    })?;
    Ok(done.ok_or("there are no settings to change on Linux")?)
}

type Outcome<T> = Result<T, store::Error<DeviceError>>;

/// Calls `body` with the store on a medium, if there is one.
fn open<T>(path: &Path, body: impl FnOnce(&mut Disk, &mut Keys) -> Outcome<T>) -> Outcome<Option<T>> {
    let device = FileDevice::open(path, Access::ReadWrite);
    let mut volume = match device.and_then(|device| Disk::open(device, vec![0; 64 << 10])) {
        Err(volume::Error::NotFormatted) => return Ok(None),
        opened => opened?,
    };
    if Keys::root(&volume).is_none() {
        return Ok(None);
    }
    // More than a board has, so that the same store is read in another way.
    let memory = Needed::for_height(volume.info().block_size, 60);
    let tree = BTree::new(vec![0; memory.pages], vec![Frame::BLANK; memory.frames]);
    let mut keys = Keys::open(&mut volume, tree, vec![0; 4096])?;
    body(&mut volume, &mut keys).map(Some)
}

fn read_all(volume: &mut Disk, keys: &mut Keys) -> Outcome<Pairs> {
    let (mut cursor, mut value) = (keys.cursor(vec![0; keys.max_key().max(KEY)]), [0; VALUE]);
    let mut pairs = Pairs::new();
    while let Some(len) = keys.next(volume, &mut cursor, &mut value)? {
        pairs.insert(cursor.key().to_vec(), value[..len].to_vec());
    }
    Ok(pairs)
}

/// Everything that is wrong with the store: damage, blocks claimed twice or by nothing.
fn verify(volume: &mut Disk, keys: &mut Keys) -> Outcome<Vec<String>> {
    let mut bits = vec![0; Keys::bitmap_needed(volume)];
    let mut damages = Vec::new();
    keys.verify(volume, Some(&mut bits), &mut |damage| damages.push(format!("{damage:?}")))?;
    Ok(damages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(settings: &mut Settings, messages: &[Message]) -> Result<(), Failure> {
        messages.iter().try_for_each(|message| settings.hear(message))
    }

    fn after(steps: u32) -> Pairs {
        let mut pairs = Pairs::new();
        (0..steps).for_each(|number| apply(&mut pairs, Stamp { boot: 1, number }));
        pairs
    }

    #[test]
    fn a_prefix_of_the_steps_that_holds_what_was_durable_is_right() {
        for (steps, right) in [(5, false), (6, true), (7, true), (STEPS, true), (STEPS + 1, false)] {
            let mut settings = Settings::default();
            let start = [Message::SettingsThere { pairs: 0 }, Message::SettingsStarted { boot: 1 }];
            said(&mut settings, &start).unwrap();
            said(&mut settings, &[Message::SettingsDurable { step: 6 }]).unwrap();
            assert_eq!(settings.judge(after(steps)).is_ok(), right, "{steps}");
        }
        let mut settings = Settings::default();
        assert!(settings.judge(after(1)).is_err(), "nothing was started");
        settings.judge(after(0)).unwrap();
    }

    #[test]
    fn a_setting_that_is_missing_or_another_is_noticed() {
        let mut pairs = after(20);
        let key = pairs.keys().next().unwrap().clone();
        for wrong in [None, Some(b"other".to_vec())] {
            let mut settings = Settings { run: Some(Run { boot: 1, durable: 20 }), ..Settings::default() };
            match wrong {
                Some(value) => pairs.insert(key.clone(), value),
                None => pairs.remove(&key),
            };
            assert!(settings.judge(pairs.clone()).is_err());
        }
    }

    #[test]
    fn the_board_must_find_what_linux_has_found() {
        let mut settings = Settings { pairs: after(9), ..Settings::default() };
        let pairs = settings.pairs.len() as u64;
        assert!(settings.hear(&Message::SettingsThere { pairs: pairs - 1 }).is_err());
        settings.hear(&Message::SettingsThere { pairs }).unwrap();
        assert!(settings.hear(&Message::SettingsStarted { boot: 1 }).is_err());
        settings.hear(&Message::SettingsStarted { boot: 2 }).unwrap();
    }
}
