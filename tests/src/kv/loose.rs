//! What must hold even of a device that has lied or rotted: no wrong value, no mixture of two histories.

use std::ops::Bound;

use esker::store::Error;

use super::engine::{Index, KvError, TestStore};
use super::model::{Content, Digest, Key, Model, hash_of, show};
use crate::wal::loose;
use crate::wal::opened::Vol;

/// Whether an error names damage or a device that fails, and so is an honest answer.
pub fn is_honest(error: &KvError) -> bool {
    match error {
        Error::Corrupt { .. } | Error::Stuck { .. } => true,
        Error::Log(error) => loose::is_honest(error),
        _ => false,
    }
}

/// What can be read, and how many damaged places were passed over.
pub struct Readable {
    /// Keys and the hashes of their pairs.
    pub content: Content,
    /// Errors on the way.
    pub failed: u64,
}

/// Damaged places that a scan may meet; more is a scan that does not move on.
const MOST_FAILURES: u64 = 10_000;

/// Scans, passing over what is damaged.
pub fn readable<I: Index>(
    volume: &mut Vol,
    store: &mut TestStore<I>,
    backward: bool,
) -> Result<Readable, String> {
    let mut readable = Readable { content: Content::new(), failed: 0 };
    let mut value = vec![0; 1 << 16];
    let mut last: Option<Key> = None;
    let mut cursor = store.cursor(vec![0; volume.info().block_size as usize]);
    store.seek(&mut cursor, Bound::Unbounded).map_err(|error| format!("seek: {error:?}"))?;
    loop {
        let step = if backward {
            store.previous(volume, &mut cursor, &mut value)
        } else {
            store.next(volume, &mut cursor, &mut value)
        };
        match step {
            Ok(Some(len)) => {
                let key = cursor.key();
                let moved =
                    last.as_ref().is_none_or(|last| if backward { key < &**last } else { key > &**last });
                if !moved {
                    return Err(format!("{} comes out of order in a scan over damage", show(key)));
                }
                let key = Key::from(key);
                readable.content.insert(key.clone(), hash_of(&key, &value[..len]));
                last = Some(key);
            }
            Ok(None) => return Ok(readable),
            Err(error) if is_honest(&error) && readable.failed < MOST_FAILURES => {
                readable.failed += 1;
                match store.skip(volume, &mut cursor) {
                    Ok(()) => {}
                    Err(error) if is_honest(&error) => return Ok(readable),
                    Err(error) => return Err(format!("skip: {error:?}")),
                }
            }
            Err(error) => return Err(format!("a scan over damage: {error:?}")),
        }
    }
}

/// What can be read must be what one and the same moment of the store's history held.
pub fn one_history<I: Index>(
    volume: &mut Vol,
    store: &mut TestStore<I>,
    model: &Model,
) -> Result<(), String> {
    let found = readable(volume, store, false)?;
    if found.failed == 0 {
        let mut digest = Digest::default();
        found.content.values().for_each(|hash| digest.add(*hash));
        if model.ever(digest).is_none() {
            return Err(format!(
                "what is there fits no history: {}",
                model.explain(usize::MAX - 1, Some(&found.content))
            ));
        }
        return Ok(());
    }
    let within = |version: &Content| found.content.iter().all(|(key, hash)| version.get(key) == Some(hash));
    if model.histories().any(|content| within(&content)) {
        Ok(())
    } else {
        Err(format!("the {} pairs that can be read fit no history", found.content.len()))
    }
}
