//! What the settings of a board must be, by its own words.
//!
//! Steps follow from their numbers, so the harness makes the same changes to a map. A run may have been cut after any step
//! from the last one that was said to be durable: the settings must be those after some whole number of steps, exactly. What
//! one opening has found, the next one finds, too.

use std::collections::BTreeMap;
use std::path::Path;

use esker::btree::{BTree, Frame, Needed};
use esker::lsm::Lsm;
use esker::store::{self, Index, Kind, Store};
use esker::volume::{self, Volume};
use esker_linux::{Access, DeviceError, FileDevice};
use esker_qemu::logger::Stamp;
use esker_qemu::settings::{BOOT, KEY, OnLsm, PAGE, SETTINGS, STEPS, VALUE, step};

use crate::Failure;
use crate::board::Board;
use crate::message::Message;

/// Keys and values.
pub type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;
type Disk = Volume<FileDevice, Vec<u8>, 16>;
type Keys<I> = Store<I, Vec<u8>>;

/// Does the same with either tree: `$index` is one with memory, in `$body`.
macro_rules! with_index {
    ($tree:expr, $volume:expr, $index:ident => $body:expr) => {
        match $tree {
            Kind::BTree => {
                let $index = btree($volume);
                $body
            }
            Kind::Lsm => {
                let $index = lsm($volume);
                $body
            }
        }
    };
}

/// Settings since the medium was new.
#[derive(Debug)]
pub struct Settings {
    /// What they are on; `None`: the board has none.
    tree: Option<Kind>,
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
    /// Of a new medium.
    pub fn new(tree: Option<Kind>) -> Self {
        Self { tree, pairs: Pairs::new(), run: None, made: false }
    }

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
        let Some(tree) = self.tree else { return Ok(None) };
        // Opening replays the log, which may write; what the board does with the same medium is up to the board.
        let copy = tempfile::NamedTempFile::new()?;
        std::fs::copy(path, copy.path())?;
        let there = open(copy.path()).and_then(|volume| {
            volume.map(|mut volume| with_index!(tree, &volume, index => look(&mut volume, index))).transpose()
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

/// Makes a medium for a board, with a volume as the board would make it, and settings of which there are none yet.
pub fn make(path: &Path, board: &Board, tree: Kind) -> Result<(), Failure> {
    let device = FileDevice::create(path, board.geometry())?;
    let mut volume = Disk::format(device, vec![0; 64 << 10], board.layout)?;
    with_index!(tree, &volume, index => create(&mut volume, index))?;
    Ok(())
}

/// Does on Linux what a board does in a run, and says what a board would say.
pub fn run_on_linux(path: &Path, tree: Kind) -> Result<Vec<Message>, Failure> {
    let mut volume = open(path)?.ok_or("there are no settings to change on Linux")?;
    Ok(with_index!(tree, &volume, index => change(&mut volume, index))?)
}

type Outcome<T> = Result<T, store::Error<DeviceError>>;

/// The volume on a medium, if there are settings on it.
fn open(path: &Path) -> Outcome<Option<Disk>> {
    let device = FileDevice::open(path, Access::ReadWrite);
    let volume = match device.and_then(|device| Disk::open(device, vec![0; 64 << 10])) {
        Err(volume::Error::NotFormatted) => return Ok(None),
        opened => opened?,
    };
    Ok(Keys::<BTree<Vec<u8>, Vec<Frame>>>::root(&volume).map(|_| volume))
}

/// A tree with more memory than a board has, so that the same store is read in another way.
fn btree(volume: &Disk) -> BTree<Vec<u8>, Vec<Frame>> {
    let memory = Needed::for_height(volume.info().block_size, 60);
    BTree::new(vec![0; memory.pages], vec![Frame::BLANK; memory.frames])
}

/// The same, with a memtable that holds the settings themselves.
fn lsm(_: &Disk) -> Lsm<Vec<u8>, Vec<Frame>> {
    Lsm::new(vec![0; 256 << 10], vec![Frame::BLANK; 24], OnLsm::OPTIONS).with_page_size(PAGE as u32)
}

fn create<I: Index>(volume: &mut Disk, index: I) -> Outcome<()> {
    Keys::create(volume, SETTINGS, index, vec![0; 4096])?.close(volume)?;
    Ok(())
}

/// All settings, and everything that is wrong with the store: damage, blocks claimed twice or by nothing.
fn look<I: Index>(volume: &mut Disk, index: I) -> Outcome<(Pairs, Vec<String>)> {
    let mut keys = Keys::open(volume, index, vec![0; 4096])?;
    let mut bits = vec![0; Keys::<I>::bitmap_needed(volume)];
    let mut damages = Vec::new();
    keys.verify(volume, Some(&mut bits), &mut |damage| damages.push(format!("{damage:?}")))?;
    Ok((read_all(volume, &mut keys)?, damages))
}

fn read_all<I: Index>(volume: &mut Disk, keys: &mut Keys<I>) -> Outcome<Pairs> {
    let (mut cursor, mut value) = (keys.cursor(vec![0; keys.max_key().max(KEY)]), [0; VALUE]);
    let mut pairs = Pairs::new();
    while let Some(len) = keys.next(volume, &mut cursor, &mut value)? {
        pairs.insert(cursor.key().to_vec(), value[..len].to_vec());
    }
    Ok(pairs)
}

/// What a board does in a run, but for its commits.
fn change<I: Index>(volume: &mut Disk, index: I) -> Outcome<Vec<Message>> {
    let mut keys = Keys::open(volume, index, vec![0; 4096])?;
    let (pairs, mut value) = (read_all(volume, &mut keys)?.len() as u64, [0; VALUE]);
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new() -> Settings {
        Settings::new(Some(Kind::Lsm))
    }

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
            let mut settings = new();
            let start = [Message::SettingsThere { pairs: 0 }, Message::SettingsStarted { boot: 1 }];
            said(&mut settings, &start).unwrap();
            said(&mut settings, &[Message::SettingsDurable { step: 6 }]).unwrap();
            assert_eq!(settings.judge(after(steps)).is_ok(), right, "{steps}");
        }
        let mut settings = new();
        assert!(settings.judge(after(1)).is_err(), "nothing was started");
        settings.judge(after(0)).unwrap();
    }

    #[test]
    fn a_setting_that_is_missing_or_another_is_noticed() {
        let mut pairs = after(20);
        let key = pairs.keys().next().unwrap().clone();
        for wrong in [None, Some(b"other".to_vec())] {
            let mut settings = Settings { run: Some(Run { boot: 1, durable: 20 }), ..new() };
            match wrong {
                Some(value) => pairs.insert(key.clone(), value),
                None => pairs.remove(&key),
            };
            assert!(settings.judge(pairs.clone()).is_err());
        }
    }

    #[test]
    fn the_board_must_find_what_linux_has_found() {
        let mut settings = Settings { pairs: after(9), ..new() };
        let pairs = settings.pairs.len() as u64;
        assert!(settings.hear(&Message::SettingsThere { pairs: pairs - 1 }).is_err());
        settings.hear(&Message::SettingsThere { pairs }).unwrap();
        assert!(settings.hear(&Message::SettingsStarted { boot: 1 }).is_err());
        settings.hear(&Message::SettingsStarted { boot: 2 }).unwrap();
    }
}
