//! `esker kv get`

use std::io::{self, Write};

use esker::store::{Error, Found};
use serde_json::json;

use super::effect;
use super::index::{Indexed, kind_of, with_index};
use super::opened::{self, Opened};
use crate::arguments::KvGetArguments;
use crate::failure::Failure;
use crate::output;
use crate::pairs::encode;

pub fn run(arguments: &KvGetArguments) -> Result<(), Failure> {
    let KvGetArguments { store, key, raw, explain, encoding, json } = arguments;
    let key_bytes = key.decode("KEY", encoding.encoding)?;
    let volume = opened::to_read(store)?;
    let kind = kind_of(&volume);
    let found = with_index!(kind, I => Opened::<I>::on(store, volume)?.get(&key_bytes)?);
    let Some((found, value)) = found else {
        if *json {
            output::print(&format!("{}\n", json!({ "found": false })))?;
        }
        return Err(Failure::absent(&store.device));
    };
    if *raw {
        output::outcome(io::stdout().write_all(&value))?;
    } else {
        let mut text = String::new();
        encode(encoding.encoding, &value, &mut text).map_err(|_| {
            Failure::at(
                &store.device,
                "the value is not UTF-8; say `--raw` to have it as it is, or `--encoding hex` or `base64`",
            )
        })?;
        let mut key = String::new();
        // It came in this encoding.
        let _ = encode(encoding.encoding, &key_bytes, &mut key);
        let Found { depth, reads, .. } = found;
        let place = effect::depth_name(kind);
        let value = json!({ "found": true, "key": key, "value": text, place: depth, "reads": reads });
        output::line(*json, &value, &text)?;
    }
    if *explain {
        eprintln!("{}", effect::get_words(kind, &found));
    }
    Ok(())
}

impl<I: Indexed> Opened<I> {
    /// The value of a key, however long it is.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<(Found, Vec<u8>)>, Failure> {
        let mut value = vec![0; 4096];
        loop {
            match self.store.get(&mut self.volume, key, &mut value) {
                Ok(found) => {
                    return Ok(found.map(|found| {
                        value.truncate(found.len);
                        (found, value)
                    }));
                }
                Err(Error::BufferTooSmall { needed }) if needed > value.len() => value.resize(needed, 0),
                // No store has such a key.
                Err(Error::EmptyKey | Error::KeyTooLong { .. }) => return Ok(None),
                Err(error) => return Err(self.fail(&error)),
            }
        }
    }
}
