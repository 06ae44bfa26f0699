//! `esker kv put` and `esker kv del`

use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;

use esker::store::{Effect, Error};
use esker_linux::DeviceError;

use super::effect;
use super::opened::Opened;
use crate::arguments::{KvDelArguments, KvPutArguments};
use crate::failure::Failure;
use crate::input::Input;
use crate::output;
use crate::pairs::shown;

pub fn put(arguments: &KvPutArguments) -> Result<(), Failure> {
    let KvPutArguments { store, key, value, value_file, explain, encoding, json } = arguments;
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
    let mut opened = Opened::to_write(store)?;
    let value = match value {
        Ok(value) => value,
        Err(mut input) => {
            let max = opened.info()?.max_value as u64;
            let mut value = Vec::new();
            // One byte more tells that it is too long.
            let read = input.file.by_ref().take(max.saturating_add(1)).read_to_end(&mut value);
            read.map_err(|error| Failure::io(&input.name, "read", &error))?;
            value
        }
    };
    let mut promoted = Vec::new();
    let effect = opened.store.put_and_tell(&mut opened.volume, &key, &value, &mut |level, key| {
        promoted.push((level, shown(key)));
    });
    let effect = effect.map_err(|error| match too_long(&key, &value, &error) {
        Some(why) => Failure::new(why),
        None => opened.fail(&error),
    })?;
    let words = if effect.found { "replaced the value" } else { "stored a new pair" };
    finish(opened, &effect, &promoted, words, *explain, *json)
}

pub fn del(arguments: &KvDelArguments) -> Result<(), Failure> {
    let KvDelArguments { store, key, explain, encoding, json } = arguments;
    let key = key.decode("KEY", encoding.encoding)?;
    let mut opened = Opened::to_write(store)?;
    let effect = opened.store.delete(&mut opened.volume, &key);
    let effect = effect.map_err(|error| match too_long(&key, b"", &error) {
        Some(why) => Failure::new(why),
        None => opened.fail(&error),
    })?;
    let words = if effect.found { "deleted" } else { "there was no such key" };
    finish(opened, &effect, &[], words, *explain, *json)
}

/// Makes it durable and tells what was done.
fn finish(
    mut opened: Opened,
    effect: &Effect,
    promoted: &[(u8, String)],
    words: &str,
    explain: bool,
    json: bool,
) -> Result<(), Failure> {
    opened.commit()?;
    opened.close()?;
    let words =
        if explain { format!("{words}: {}", effect::words(effect, promoted)) } else { words.to_owned() };
    output::line(json, &effect::as_json(effect, promoted), &words)
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
