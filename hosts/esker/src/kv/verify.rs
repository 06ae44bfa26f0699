//! `esker kv verify`

use std::fmt::Write as _;

use esker::store::{Damage, Verified};
use esker_linux::Access;
use serde_json::{Value, json};

use super::damage::Shown;
use super::opened::{Opened, Store};
use crate::arguments::KvVerifyArguments;
use crate::failure::Failure;
use crate::output::count;
use crate::{output, progress};

pub fn run(arguments: &KvVerifyArguments) -> Result<(), Failure> {
    let KvVerifyArguments { store, json } = arguments;
    let (mut opened, damaged) = Opened::past_damage(store, Access::ReadOnly)?;
    let findings = Findings::of(&mut opened, damaged)?;
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
    pub verified: Verified,
    pub damages: Vec<Damage>,
    /// Bytes of a page.
    pub page: u64,
}

impl Findings {
    /// Reads everything. `damages`: what was found when the store was opened.
    pub fn of(opened: &mut Opened, mut damages: Vec<Damage>) -> Result<Self, Failure> {
        let busy = progress::busy("reading everything");
        let mut bitmap = vec![0; Store::bitmap_needed(&opened.volume)];
        let report = &mut |damage| damages.push(damage);
        let verified = opened.store.verify(&mut opened.volume, Some(&mut bitmap), report);
        busy.finish_and_clear();
        let verified = verified.map_err(|error| opened.fail(&error))?;
        let page = opened.volume.info().block_size.into();
        Ok(Self { verified, damages, page })
    }

    /// `what` became of the damages.
    pub fn as_words(&self, what: &str) -> String {
        let Verified { pages, pairs, .. } = self.verified;
        let mut text = format!("{} on {} can be read\n", count(pairs, "pair"), count(pages, "page"));
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
