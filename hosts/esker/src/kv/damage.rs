//! What is damaged in a store, in words and as JSON.

use std::fmt;

use esker::store::Damage;
use serde_json::{Value, json};

/// Damage as it is printed.
pub struct Shown(pub Damage);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Damage::Page { address, level: 0 } => {
                write!(f, "a leaf with its pairs can't be read, see address {address}")
            }
            Damage::Page { address, level } => {
                write!(
                    f,
                    "a page of level {level} and all pairs below it can't be read, see address {address}"
                )
            }
            Damage::Value { address } => {
                write!(f, "the value of one key can't be read, see address {address}")
            }
            Damage::Entry { offset } => {
                write!(f, "entry {offset} of the store's log can't be read: what it did is lost")
            }
            Damage::FreeList { address } => {
                write!(f, "a part of the list of free blocks can't be read, see address {address}")
            }
            Damage::Structure { address } => write!(f, "the page at address {address} is not in order"),
            Damage::Twice { address } => write!(f, "the block at address {address} is used twice"),
            Damage::Leaked { address } => {
                write!(f, "the block at address {address} is neither used nor free")
            }
        }
    }
}

impl Shown {
    pub fn as_json(&self) -> Value {
        match self.0 {
            Damage::Page { address, level } => json!({ "kind": "page", "address": address, "level": level }),
            Damage::Value { address } => json!({ "kind": "value", "address": address }),
            Damage::Entry { offset } => json!({ "kind": "entry", "offset": offset }),
            Damage::FreeList { address } => json!({ "kind": "free list", "address": address }),
            Damage::Structure { address } => json!({ "kind": "structure", "address": address }),
            Damage::Twice { address } => json!({ "kind": "twice", "address": address }),
            Damage::Leaked { address } => json!({ "kind": "leaked", "address": address }),
        }
    }
}
