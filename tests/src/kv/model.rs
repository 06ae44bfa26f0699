//! What may be found after a crash.
//!
//! Each operation (a batch counts as one) makes the next version of the whole content. At each moment the newest versions
//! are allowed, back to the last one that was acknowledged. A version is known by a hash of its pairs, to which each pair
//! contributes alone (Zobrist hashing): so what a scan finds is compared with all allowed versions at once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use crate::cli::mix;

/// A key.
pub type Key = Arc<[u8]>;

/// What a pair contributes to the hash of a content.
pub fn hash_of(key: &[u8], value: &[u8]) -> u64 {
    let mut hash = mix(key.len() as u64, value.len() as u64);
    for bytes in [key, value] {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
        }
    }
    mix(hash, 0)
}

/// Fills `out` with the value that has this number: the number first, then noise that depends on it.
pub fn fill_value(serial: u32, out: &mut [u8]) {
    let mut noise = mix(u64::from(serial), 0x5EED);
    for chunk in out.chunks_mut(8) {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        chunk.copy_from_slice(&(noise ^ noise >> 32).to_le_bytes()[..chunk.len()]);
    }
    for (byte, head) in out.iter_mut().zip(serial.to_le_bytes()) {
        *byte = head;
    }
}

/// What a content is known by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// XOR of what the pairs contribute.
    pub hash: u64,
    /// Pairs.
    pub pairs: u64,
}

impl Digest {
    /// Adds a pair.
    pub fn add(&mut self, hash: u64) {
        self.hash ^= hash;
        self.pairs += 1;
    }
}

/// What is stored: keys, and the hash of each pair.
pub type Content = BTreeMap<Key, u64>;

#[derive(Clone, Copy, Debug)]
struct Version {
    digest: Digest,
    /// From so many operations of the device on it can't be there: it was refused, or not found at an opening.
    gone: usize,
    /// Where its changes begin.
    changes: usize,
    /// The version that it was made of.
    parent: usize,
}

/// The history of a store.
#[derive(Clone, Debug)]
pub struct Model {
    /// Version 0 is no store at all.
    absent: bool,
    base: Content,
    /// What the engine shows while it runs.
    now: Content,
    versions: Vec<Version>,
    /// Key and hash of the pair, if it is there afterwards.
    changes: Vec<(Key, Option<u64>)>,
    /// From how many operations on the oldest and the newest version that are allowed.
    moments: Vec<(usize, usize, usize)>,
    serial: u32,
}

impl Model {
    /// No store yet.
    pub fn absent() -> Self {
        Self { absent: true, ..Self::beginning(Content::new(), 0) }
    }

    fn beginning(content: Content, serial: u32) -> Self {
        let mut digest = Digest::default();
        content.values().for_each(|hash| digest.add(*hash));
        Self {
            absent: false,
            now: content.clone(),
            base: content,
            versions: vec![Version { digest, gone: usize::MAX, changes: 0, parent: 0 }],
            changes: Vec::new(),
            moments: vec![(0, 0, 0)],
            serial,
        }
    }

    /// A history that begins with what was found.
    pub fn found(&self, version: usize, content: Content) -> Self {
        Self { absent: self.is_absent(version), ..Self::beginning(content, self.serial) }
    }

    /// Whether in this version there is no store.
    pub fn is_absent(&self, version: usize) -> bool {
        self.absent && version == 0
    }

    /// What the engine shows while it runs.
    pub fn now(&self) -> &Content {
        &self.now
    }

    /// What the newest version is known by.
    pub fn digest(&self) -> Digest {
        self.versions[self.newest()].digest
    }

    /// The newest version.
    pub fn newest(&self) -> usize {
        self.moments.last().map_or(0, |moment| moment.2)
    }

    /// The oldest version that is still allowed.
    pub fn oldest(&self) -> usize {
        self.moments.last().map_or(0, |moment| moment.1)
    }

    /// A number for the next value.
    pub fn next_serial(&mut self) -> u32 {
        self.serial += 1;
        self.serial
    }

    fn note(&mut self, at: usize, oldest: usize, newest: usize) {
        match self.moments.last_mut() {
            Some(last) if last.0 == at => (last.1, last.2) = (oldest, newest),
            _ => self.moments.push((at, oldest, newest)),
        }
    }

    /// A call begins, after `at` operations of the device, that changes these keys (`None`: removes them).
    pub fn begin<'k>(
        &mut self,
        at: usize,
        changes: impl IntoIterator<Item = (&'k [u8], Option<u64>)>,
    ) -> usize {
        let (first, parent) = (self.changes.len(), self.newest());
        let mut digest = self.digest();
        for (key, hash) in changes {
            let known = self.now.get_key_value(key).map(|(key, hash)| (key.clone(), *hash));
            if let Some((_, old)) = known {
                digest.hash ^= old;
                digest.pairs -= 1;
            }
            let key = known.map_or_else(|| Key::from(key), |(key, _)| key);
            match hash {
                Some(hash) => {
                    digest.add(hash);
                    self.now.insert(key.clone(), hash);
                }
                None => {
                    self.now.remove(&key);
                }
            }
            self.changes.push((key, hash));
        }
        self.versions.push(Version { digest, gone: usize::MAX, changes: first, parent });
        let newest = self.versions.len() - 1;
        self.note(at, self.oldest(), newest);
        newest
    }

    /// The newest version was refused by a call that has changed nothing.
    pub fn undo(&mut self, at: usize) {
        let refused = self.newest();
        self.versions[refused].gone = at;
        let newest = self.versions[refused].parent;
        self.now = self.content(newest);
        self.note(at, self.oldest(), newest);
    }

    /// Everything up to this version is durable.
    pub fn acknowledge(&mut self, at: usize, version: usize) {
        self.note(at, self.oldest().max(version), self.newest());
    }

    /// The store was opened again on the device as it is, and holds this version: what is newer will never come back. It
    /// is not durable yet.
    pub fn reopened(&mut self, at: usize, version: usize, content: Content) {
        for lost in &mut self.versions[version + 1..] {
            lost.gone = lost.gone.min(at);
        }
        self.now = content;
        self.note(at, self.oldest().min(version), version);
    }

    /// The versions allowed after `cut` operations, newest first.
    pub fn allowed(&self, cut: usize) -> impl Iterator<Item = usize> + '_ {
        let number = self.moments.partition_point(|moment| moment.0 <= cut);
        let (_, oldest, newest) = number.checked_sub(1).map_or((0, 0, 0), |number| self.moments[number]);
        (oldest..=newest).rev().filter(move |version| self.versions[*version].gone > cut)
    }

    /// Which allowed version is known by this; `None` for the digest: there is no store.
    pub fn identify(&self, cut: usize, found: Option<Digest>) -> Option<usize> {
        self.allowed(cut).find(|version| {
            let there = (!self.is_absent(*version)).then(|| self.versions[*version].digest);
            there == found
        })
    }

    /// Whether any version at all, allowed or not, is known by this.
    pub fn ever(&self, found: Digest) -> Option<usize> {
        (0..self.versions.len()).rev().find(|version| self.versions[*version].digest == found)
    }

    /// What a version holds.
    pub fn content(&self, version: usize) -> Content {
        let mut made_of = vec![version];
        while let Some(last) = made_of.last().copied().filter(|last| *last != 0) {
            made_of.push(self.versions[last].parent);
        }
        let mut content = self.base.clone();
        for number in made_of.into_iter().rev() {
            let to = self.versions.get(number + 1).map_or(self.changes.len(), |next| next.changes);
            for (key, hash) in &self.changes[self.versions[number].changes..to] {
                match hash {
                    Some(hash) => content.insert(key.clone(), *hash),
                    None => content.remove(key),
                };
            }
        }
        content
    }

    /// What every version holds, newest first.
    pub fn histories(&self) -> impl Iterator<Item = Content> + '_ {
        (0..self.versions.len()).rev().map(|version| self.content(version))
    }

    /// What of `found` differs from the newest and the oldest allowed version, in words.
    pub fn explain(&self, cut: usize, found: Option<&Content>) -> String {
        let allowed: Vec<usize> = self.allowed(cut).collect();
        let (Some(newest), Some(oldest)) = (allowed.first(), allowed.last()) else {
            return "nothing allowed".into();
        };
        let mut text = format!("versions {oldest}..={newest} are allowed");
        let Some(found) = found else { return text + ", found no store" };
        for version in if newest == oldest { vec![*newest] } else { vec![*newest, *oldest] } {
            if self.is_absent(version) {
                let _ = write!(text, "; {version} is no store");
                continue;
            }
            let _ = write!(text, "; unlike {version}: {}", differences(&self.content(version), found));
        }
        let mut digest = Digest::default();
        found.values().for_each(|hash| digest.add(*hash));
        if let Some(version) = self.ever(digest) {
            let _ = write!(text, "; it is version {version}");
        }
        text
    }
}

/// A key in words.
pub fn show(key: &[u8]) -> String {
    let mut text = key[..key.len().min(24)].escape_ascii().to_string();
    if key.len() > 24 {
        let _ = write!(text, "..({})", key.len());
    }
    text
}

/// In what two contents differ, in words.
pub fn differences(expected: &Content, found: &Content) -> String {
    let mut told = Vec::new();
    for (key, hash) in expected {
        match found.get(key) {
            None => told.push(format!("{} is missing", show(key))),
            Some(other) if other != hash => told.push(format!("{} has another value", show(key))),
            Some(_) => {}
        }
    }
    let extra = found.keys().filter(|key| !expected.contains_key(*key));
    told.extend(extra.map(|key| format!("{} should not be there", show(key))));
    let count = told.len();
    told.truncate(4);
    if count > 4 {
        told.push(format!("and {} more", count - 4));
    }
    told.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(pairs: &[(&str, &str)]) -> Option<Digest> {
        let mut digest = Digest::default();
        for (key, value) in pairs {
            digest.add(hash_of(key.as_bytes(), value.as_bytes()));
        }
        Some(digest)
    }

    fn put<'k>(key: &'k str, value: &str) -> (&'k [u8], Option<u64>) {
        (key.as_bytes(), Some(hash_of(key.as_bytes(), value.as_bytes())))
    }

    fn store() -> Model {
        let mut model = Model::absent();
        let version = model.begin(0, []);
        model.acknowledge(2, version);
        model
    }

    #[test]
    fn what_is_not_acknowledged_may_vanish_from_the_end() {
        let mut model = store();
        let one = model.begin(3, [put("a", "1")]);
        model.begin(3, [put("b", "1")]);
        model.begin(3, [(&b"a"[..], None)]);
        model.acknowledge(5, one);
        assert_eq!(model.identify(3, digest(&[])), Some(4 - 3));
        assert!(model.identify(5, digest(&[])).is_none());
        assert!(model.identify(5, digest(&[("a", "1")])).is_some());
        assert!(model.identify(5, digest(&[("a", "1"), ("b", "1")])).is_some());
        assert!(model.identify(5, digest(&[("b", "1")])).is_some());
        assert!(model.identify(5, digest(&[("a", "2")])).is_none());
        assert!(model.identify(2, digest(&[("a", "1")])).is_none(), "not begun");
    }

    #[test]
    fn before_the_store_is_created_there_may_be_none() {
        let model = store();
        assert_eq!(model.identify(0, None), Some(0));
        assert_eq!(model.identify(1, digest(&[])), Some(1));
        assert_eq!(model.identify(2, None), None);
    }

    #[test]
    fn what_was_refused_may_be_there_only_while_it_was_tried() {
        let mut model = store();
        model.begin(3, [put("a", "1"), put("b", "2")]);
        model.undo(6);
        assert!(model.now().is_empty());
        assert!(model.identify(5, digest(&[("a", "1"), ("b", "2")])).is_some());
        assert!(model.identify(6, digest(&[("a", "1"), ("b", "2")])).is_none());
        assert!(model.identify(5, digest(&[("a", "1")])).is_none(), "half a batch");
        model.begin(6, [put("c", "1")]);
        assert!(model.identify(7, digest(&[("c", "1")])).is_some());
        assert_eq!(model.content(model.newest()).len(), 1);
    }

    #[test]
    fn what_was_not_found_never_comes_back() {
        let mut model = store();
        let one = model.begin(3, [put("a", "1")]);
        let two = model.begin(3, [put("b", "1")]);
        let content = model.content(one);
        model.reopened(6, one, content);
        assert!(model.identify(5, digest(&[("a", "1"), ("b", "1")])).is_some());
        assert!(model.identify(6, digest(&[("a", "1"), ("b", "1")])).is_none());
        assert!(model.identify(6, digest(&[])).is_some(), "it is not durable yet");
        let three = model.begin(6, [put("c", "1")]);
        assert_eq!(model.content(three).len(), 2);
        assert_eq!(model.content(two).len(), 2);
        assert!(model.content(two).contains_key(&b"b"[..]));
        assert!(!model.content(three).contains_key(&b"b"[..]));
    }

    #[test]
    fn values_and_pairs_differ() {
        let (mut one, mut two) = ([0; 40], [0; 40]);
        fill_value(1, &mut one);
        fill_value(2, &mut two);
        assert_ne!(one[..4], two[..4]);
        assert_ne!(one[4..], two[4..]);
        assert_ne!(hash_of(b"a", b"bc"), hash_of(b"ab", b"c"));
        assert_ne!(hash_of(b"a", b"b"), hash_of(b"a", b"b\0"));
    }
}
