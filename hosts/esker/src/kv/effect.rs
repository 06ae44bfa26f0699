//! What an operation did to the tree, in words and as JSON.

use esker::store::{Effect, Found, Kind};
use serde_json::{Value, json};

use crate::output::count;

/// A put or a delete. `promoted`: the keys that splits have promoted, and the levels that these come from.
pub fn words(kind: Kind, effect: &Effect, promoted: &[(u8, String)]) -> String {
    let Effect { depth, reads, writes, .. } = *effect;
    let (read, written) = (count(reads.into(), "page"), count(writes.into(), "page"));
    match kind {
        Kind::BTree => format!("{}; depth {depth}; read {read}, wrote {written}", of_tree(effect, promoted)),
        Kind::Lsm => format!("{}; read {read}, wrote {written}", count(depth.into(), "run")),
    }
}

/// What became of the pages of a B-tree.
fn of_tree(effect: &Effect, promoted: &[(u8, String)]) -> String {
    let Effect { splits, borrowed, merged, grown, collapsed, .. } = *effect;
    let mut did = Vec::new();
    if splits > 0 {
        let (pages, keys) = (count(splits.into(), "page"), count(splits.into(), "key"));
        let names: Vec<_> = promoted.iter().map(|(_, key)| key.as_str()).collect();
        let names = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
        did.push(format!("split {pages} and promoted {keys}{names}"));
    }
    if borrowed > 0 {
        did.push(format!("{} borrowed from a sibling", count(borrowed.into(), "page")));
    }
    if merged > 0 {
        did.push(format!("{} merged with a sibling", count(merged.into(), "page")));
    }
    if grown {
        did.push("a new root above the old one".to_owned());
    }
    if collapsed {
        did.push("the root collapsed into its only child".to_owned());
    }
    if did.is_empty() {
        did.push("no page split, borrowed or merged".to_owned());
    }
    did.join(", ")
}

/// The same, for programs. `found` is `null` where nobody has looked.
pub fn as_json(kind: Kind, effect: &Effect, found: Option<bool>, promoted: &[(u8, String)]) -> Value {
    if kind == Kind::Lsm {
        let Effect { depth, reads, writes, .. } = effect;
        return json!({ "found": found, "runs": depth, "reads": reads, "writes": writes });
    }
    let keys: Vec<_> = promoted.iter().map(|(level, key)| json!({ "level": level, "key": key })).collect();
    json!({
        "found": found,
        "splits": effect.splits,
        "promoted": keys,
        "borrowed": effect.borrowed,
        "merged": effect.merged,
        "grown": effect.grown,
        "collapsed": effect.collapsed,
        "depth": effect.depth,
        "reads": effect.reads,
        "writes": effect.writes,
    })
}

/// What a get calls the place where it found the key: how deep the tree is, or which of the runs it was, 0 being those
/// that are in memory.
pub fn depth_name(kind: Kind) -> &'static str {
    match kind {
        Kind::BTree => "depth",
        Kind::Lsm => "run",
    }
}

/// A get.
pub fn get_words(kind: Kind, found: &Found) -> String {
    format!(
        "{} {}; read {} for {}",
        depth_name(kind),
        found.depth,
        count(found.reads.into(), "page"),
        count(found.len as u64, "byte")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_happened_and_nothing_else() {
        let effect = Effect { splits: 2, grown: true, depth: 3, reads: 1, ..Effect::default() };
        assert_eq!(
            words(Kind::BTree, &effect, &[(0, "b".to_owned()), (1, "m".to_owned())]),
            "split 2 pages and promoted 2 keys (b, m), a new root above the old one; depth 3; read 1 page, wrote 0 pages"
        );
        let effect = Effect { depth: 1, ..Effect::default() };
        assert_eq!(
            words(Kind::BTree, &effect, &[]),
            "no page split, borrowed or merged; depth 1; read 0 pages, wrote 0 pages"
        );
        let effect = Effect { merged: 1, collapsed: true, ..Effect::default() };
        assert!(
            words(Kind::BTree, &effect, &[]).starts_with("1 page merged with a sibling, the root collapsed")
        );
        let effect = Effect { depth: 2, writes: 3, ..Effect::default() };
        assert_eq!(words(Kind::Lsm, &effect, &[]), "2 runs; read 0 pages, wrote 3 pages");
    }
}
