//! `esker kv put` and `esker kv del`

use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;

use esker::store::{Effect, Error, Kind};
use esker_linux::DeviceError;

use super::effect;
use super::index::{Indexed, kind_of, with_index};
use super::opened::{self, Opened};
use crate::arguments::{KvDelArguments, KvPutArguments};
use crate::failure::Failure;
use crate::input::Input;
use crate::output;
use crate::pairs::shown;

pub fn put(arguments: &KvPutArguments) -> Result<(), Failure> {
    let KvPutArguments { store, key, value, value_file, encoding, .. } = arguments;
    let key = key.decode("KEY", encoding.encoding)?;
    let from = match (value, value_file) {
        (_, Some(file)) => Some(file.as_path()),
        (Some(value), None) if value.is_stdin() => Some(Path::new(OsStr::new("-"))),
        _ => None,
    };
    let value = match (from, value) {
        (Some(path), _) => Err(Input::open(path, &store.device)?),
        (None, Some(value)) => Ok(value.decode("VALUE", encoding.encoding)?),
        (None, None) => Ok(Vec::new()),
    };
    let volume = opened::to_write(store)?;
    with_index!(kind_of(&volume), I => put_into(Opened::<I>::on(store, volume)?, arguments, &key, value))
}

/// `value`: or where it is to be read from.
fn put_into<I: Indexed>(
    mut opened: Opened<I>,
    arguments: &KvPutArguments,
    key: &[u8],
    value: Result<Vec<u8>, Input>,
) -> Result<(), Failure> {
    let value = match value {
        Ok(value) => value,
        Err(mut input) => {
            let max = opened.info()?.max_value as u64;
            let mut value = Vec::new();
            // One byte more tells that it is too long.
            let read = input.file.by_ref().take(max.saturating_add(1)).read_to_end(&mut value);
            read.map_err(|error| Failure::io(&input.name, "read", &error))?;
            if value.len() as u64 > max {
                return Err(Failure::new(format!(
                    "{}: more than the {max} bytes that a value can have at most",
                    input.name.display()
                )));
            }
            value
        }
    };
    let mut promoted = Vec::new();
    let effect = opened.store.put_and_tell(&mut opened.volume, key, &value, &mut |level, key| {
        promoted.push((level, shown(key)));
    });
    let effect = effect.map_err(|error| match too_long(key, &value, &error) {
        Some(why) => Failure::new(why),
        None => opened.fail(&error),
    })?;
    // An LSM tree does not look for what it replaces.
    let found = (I::KIND != Kind::Lsm).then_some(effect.found);
    let words = match found {
        Some(true) => "replaced the value",
        Some(false) => "stored a new pair",
        None => "stored",
    };
    finish(opened, &effect, found, &promoted, words, (arguments.explain, arguments.json))
}

pub fn del(arguments: &KvDelArguments) -> Result<(), Failure> {
    let KvDelArguments { store, key, encoding, .. } = arguments;
    let key = key.decode("KEY", encoding.encoding)?;
    let volume = opened::to_write(store)?;
    with_index!(kind_of(&volume), I => del_from(Opened::<I>::on(store, volume)?, arguments, &key))
}

fn del_from<I: Indexed>(
    mut opened: Opened<I>,
    arguments: &KvDelArguments,
    key: &[u8],
) -> Result<(), Failure> {
    let effect = opened.store.delete(&mut opened.volume, key);
    let effect = effect.map_err(|error| match too_long(key, b"", &error) {
        Some(why) => Failure::new(why),
        None => opened.fail(&error),
    })?;
    let words = if effect.found { "deleted" } else { "there was no such key" };
    finish(opened, &effect, Some(effect.found), &[], words, (arguments.explain, arguments.json))
}

/// Makes it durable and tells what was done.
fn finish<I: Indexed>(
    mut opened: Opened<I>,
    effect: &Effect,
    found: Option<bool>,
    promoted: &[(u8, String)],
    words: &str,
    (explain, json): (bool, bool),
) -> Result<(), Failure> {
    opened.commit()?;
    opened.close()?;
    let words = if explain {
        format!("{words}: {}", effect::words(I::KIND, effect, promoted))
    } else {
        words.to_owned()
    };
    output::line(json, &effect::as_json(I::KIND, effect, found, promoted), &words)
}

/// What is wrong with a pair, if it is the pair's fault.
pub fn too_long(key: &[u8], value: &[u8], error: &Error<DeviceError>) -> Option<String> {
    match error {
        Error::EmptyKey => Some("the key is empty; it must have one byte at least".to_owned()),
        Error::KeyTooLong { max } => {
            Some(format!("the key has {} bytes; in this store a key has at most {max}", key.len()))
        }
        Error::ValueTooLong { max } => {
            Some(format!("the value has {} bytes; with this key it can have at most {max}", value.len()))
        }
        _ => None,
    }
}
