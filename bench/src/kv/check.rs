//! What a store should hold, and the comparison with what it answers.

use super::pairs::Pairs;
use super::store::Reader;
use crate::Failure;

/// The pairs, and how often each was changed.
#[derive(Debug)]
pub struct Expected {
    /// All there can be.
    pub pairs: Pairs,
    /// 0: it is not there.
    versions: Vec<u8>,
    present: u32,
}

impl Expected {
    /// Nothing is stored.
    pub fn new(pairs: Pairs) -> Self {
        Self { pairs, versions: vec![0; pairs.count as usize], present: 0 }
    }

    /// Everything was removed.
    pub fn clear(&mut self) {
        self.versions.fill(0);
        self.present = 0;
    }

    /// Bytes of all keys and values that are there.
    pub fn live(&self) -> u64 {
        u64::from(self.present) * self.pairs.pair_size()
    }

    /// The pair gets a new value: of this version.
    pub fn change(&mut self, number: u32) -> u8 {
        let version = &mut self.versions[number as usize];
        self.present += u32::from(*version == 0);
        *version = version.checked_add(1).unwrap_or(1);
        *version
    }

    /// The pair is removed.
    pub fn remove(&mut self, number: u32) {
        let version = &mut self.versions[number as usize];
        self.present -= u32::from(*version != 0);
        *version = 0;
    }

    /// Whether the pair is there.
    pub fn is_there(&self, number: u32) -> bool {
        self.version(number) != 0
    }

    fn version(&self, number: u32) -> u8 {
        self.versions[number as usize]
    }

    /// Gets a pair that is there; returns its bytes.
    ///
    /// # Errors
    /// The value is another, or there is none.
    pub fn get<R: Reader + ?Sized>(
        &self,
        reader: &mut R,
        number: u32,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<u64, Failure> {
        self.pairs.key(number, key);
        self.pairs.value(number, self.version(number), value);
        let mut same = false;
        match reader.get(key, &mut |found| same = found == value.as_slice())? {
            true if same => Ok(self.pairs.pair_size()),
            true => Err(Failure::new(format!("the value of pair {number} is not what was stored"))),
            false => Err(Failure::new(format!("pair {number} was stored and is not there"))),
        }
    }

    /// Gets what is not there; returns the bytes of the key.
    ///
    /// # Errors
    /// It is there.
    pub fn absent<R: Reader + ?Sized>(
        &self,
        reader: &mut R,
        number: u32,
        key: &mut Vec<u8>,
    ) -> Result<u64, Failure> {
        self.pairs.absent_key(number, key);
        match reader.get(key, &mut |_| ())? {
            false => Ok(key.len() as u64),
            true => Err(Failure::new(format!("the key behind pair {number} was never stored and is there"))),
        }
    }

    /// Scans so many pairs from one on; returns their bytes.
    ///
    /// # Errors
    /// They are not those that follow each other.
    pub fn scan(
        &self,
        reader: &mut dyn Reader,
        number: u32,
        length: u32,
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<u64, Failure> {
        let mut next =
            (number..self.pairs.count).filter(|number| self.version(*number) != 0).take(length as usize);
        let mut due = next.next();
        let (mut pairs, mut wrong) = (0, None);
        self.pairs.key(number, key);
        let from = key.clone();
        reader.scan(&from, &mut |found_key, found_value| {
            let Some(number) = due else { return false };
            self.pairs.key(number, key);
            self.pairs.value(number, self.version(number), value);
            if found_key != key.as_slice() || found_value != value.as_slice() {
                wrong = Some(number);
                return false;
            }
            pairs += 1;
            due = next.next();
            due.is_some()
        })?;
        match wrong.or(due) {
            None => Ok(pairs * self.pairs.pair_size()),
            Some(due) => Err(Failure::new(format!(
                "a scan from pair {number} does not show pair {due} where it belongs"
            ))),
        }
    }
}

/// Reads all there is, in order.
///
/// # Errors
/// It is not exactly what was stored.
pub fn check_all(expected: &Expected, reader: &mut dyn Reader) -> Result<(), Failure> {
    let (mut key, mut value) = (Vec::new(), Vec::new());
    let mut stored = (0..expected.pairs.count).filter(|number| expected.version(*number) != 0);
    let mut wrong = None;
    reader.scan(&[0], &mut |found_key, found_value| {
        let Some(number) = stored.next() else {
            wrong = Some("a pair is there that should not be".to_owned());
            return false;
        };
        expected.pairs.key(number, &mut key);
        expected.pairs.value(number, expected.version(number), &mut value);
        if found_key != key.as_slice() {
            wrong = Some(format!("pair {number} is not the next one in order"));
        } else if found_value != value.as_slice() {
            wrong = Some(format!("the value of pair {number} is not what was stored last"));
        }
        wrong.is_none()
    })?;
    let missing = || stored.next().map(|number| format!("the pairs from {number} on are not there"));
    match wrong.or_else(missing) {
        None => Ok(()),
        Some(wrong) => Err(Failure::new(format!("everything was read back, and {wrong}"))),
    }
}
