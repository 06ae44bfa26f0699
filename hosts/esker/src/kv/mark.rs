//! How far a load is, kept in the store itself.
//!
//! The mark goes through the same log as the pairs, behind those it stands for. What a cut leaves of a log is its
//! beginning: where the mark is, they are. It may be behind what is stored, and then a few pairs are stored once more.

use serde::{Deserialize, Serialize};

use super::index::Indexed;
use super::opened::Opened;
use crate::failure::Failure;
use crate::pairs::{Tip, shown};

/// A mark, under its key.
pub struct Mark {
    pub key: Vec<u8>,
    /// There is one in the store.
    kept: bool,
}

/// As it is stored: for people to recognise, should they meet it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    esker_load: u8,
    lines: u64,
    bytes: u64,
    crc32: u32,
}

const VERSION: u8 = 1;

impl Mark {
    /// The mark under this key, and how far the load was that left it; nothing at all if there is none.
    pub fn find<I: Indexed>(key: Vec<u8>, opened: &mut Opened<I>) -> Result<(Self, Tip), Failure> {
        let Some((_, value)) = opened.get(&key)? else {
            return Ok((Self { key, kept: false }, Tip::default()));
        };
        match serde_json::from_slice::<Stored>(&value) {
            Ok(Stored { esker_load: VERSION, lines, bytes, crc32 }) => {
                Ok((Self { key, kept: true }, Tip { lines, bytes, crc: crc32 }))
            }
            _ => Err(Failure::at(
                &opened.path,
                format_args!(
                    "key {} has a value that is no mark; name another with `--resume=KEY`",
                    shown(&key)
                ),
            )),
        }
    }

    /// Puts it behind what is stored.
    pub fn put<I: Indexed>(&mut self, opened: &mut Opened<I>, tip: Tip) -> Result<(), Failure> {
        let stored = Stored { esker_load: VERSION, lines: tip.lines, bytes: tip.bytes, crc32: tip.crc };
        let value = serde_json::to_vec(&stored).unwrap_or_default();
        let put = opened.store.put(&mut opened.volume, &self.key, &value);
        put.map_err(|error| opened.fail(&error))?;
        self.kept = true;
        Ok(())
    }

    /// The load is done.
    pub fn remove<I: Indexed>(&mut self, opened: &mut Opened<I>) -> Result<(), Failure> {
        if self.kept {
            let done = opened.store.delete(&mut opened.volume, &self.key);
            done.map_err(|error| opened.fail(&error))?;
            self.kept = false;
        }
        Ok(())
    }
}
