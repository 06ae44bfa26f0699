//! `esker kv verify`

use std::fmt::Write as _;

use esker::store::{Damage, Kind, Store, Verified};
use esker_linux::AlignedBuffer;
use serde_json::{Value, json};

use super::damage::Shown;
use super::index::{Indexed, kind_of, with_index};
use super::opened::{self, Opened};
use crate::arguments::KvVerifyArguments;
use crate::failure::Failure;
use crate::output::count;
use crate::{output, progress};

pub fn run(arguments: &KvVerifyArguments) -> Result<(), Failure> {
    let KvVerifyArguments { store, json } = arguments;
    let volume = opened::to_read(store)?;
    let findings = with_index!(kind_of(&volume), I => {
        let (mut opened, damaged) = Opened::<I>::past_damage(store, volume)?;
        Findings::of(&mut opened, damaged)?
    });
    output::print(&if *json { findings.as_json() } else { findings.as_words("damaged") })?;
    if findings.damages.is_empty() {
        return Ok(());
    }
    let places = count(findings.damages.len() as u64, "place");
    Err(Failure::at(
        &store.device,
        format_args!(
            "damaged in {places}; `esker kv dump` writes what can be read, `esker kv salvage` drops the rest"
        ),
    ))
}

/// What was found in a store.
pub struct Findings {
    kind: Kind,
    verified: Verified,
    pub damages: Vec<Damage>,
    /// Bytes of a page.
    page: u64,
}

impl Findings {
    /// Reads everything. `damages`: what was found when the store was opened.
    pub fn of<I: Indexed>(opened: &mut Opened<I>, mut damages: Vec<Damage>) -> Result<Self, Failure> {
        let busy = progress::busy("reading everything");
        let mut bitmap = vec![0; Store::<I, AlignedBuffer>::bitmap_needed(&opened.volume)];
        let report = &mut |damage| damages.push(damage);
        let verified = opened.store.verify(&mut opened.volume, Some(&mut bitmap), report);
        busy.finish_and_clear();
        let verified = verified.map_err(|error| opened.fail(&error))?;
        Ok(Self::new(opened, verified, damages))
    }

    pub fn new<I: Indexed>(opened: &Opened<I>, verified: Verified, damages: Vec<Damage>) -> Self {
        Self { kind: I::KIND, verified, damages, page: I::page_size(&opened.volume.info()) }
    }

    /// `what` became of the damages.
    pub fn as_words(&self, what: &str) -> String {
        let Verified { pages, pairs, .. } = self.verified;
        // The same key may be in several runs of an LSM tree.
        let most = if self.kind == Kind::Lsm { "at most " } else { "" };
        let mut text = format!("{most}{} on {} can be read\n", count(pairs, "pair"), count(pages, "page"));
        if let Some(fill) = self.fill() {
            let _ = writeln!(text, "pages of the tree are filled to {fill:.0} %");
        }
        for damage in &self.damages {
            // A `String` takes everything.
            let _ = writeln!(text, "{what}: {}", Shown(*damage));
        }
        text
    }

    /// Of the pages of the tree, in percent.
    fn fill(&self) -> Option<f64> {
        let bytes = self.verified.tree_pages.checked_mul(self.page)?;
        (bytes > 0).then(|| self.verified.used as f64 * 100.0 / bytes as f64)
    }

    pub fn as_json(&self) -> String {
        let damages: Vec<Value> = self.damages.iter().map(|damage| Shown(*damage).as_json()).collect();
        let Verified { pages, pairs, sparse, .. } = self.verified;
        let value = json!({
            "good": self.damages.is_empty(),
            "pairs": pairs,
            "pages": pages,
            "sparse_pages": sparse,
            "fill_percent": self.fill(),
            "damaged": damages,
        });
        format!("{value:#}\n")
    }
}
