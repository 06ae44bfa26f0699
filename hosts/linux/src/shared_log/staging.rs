//! Entries that wait, in order, to be handed to the log: bytes in one piece, so that staging allocates nothing.

/// What stands before each entry: its length, and whether a user word follows.
const HEAD: usize = 4;
const USER: usize = 8;
const HAS_USER: u32 = 1 << 31;

/// Entries in the order of their offsets.
#[derive(Debug, Default)]
pub struct Staging {
    bytes: Vec<u8>,
    taken: usize,
    limit: usize,
}

impl Staging {
    /// Room for so many bytes, heads of 4 or 12 bytes included.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), taken: 0, limit: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    /// Bytes that an entry takes here.
    pub fn size(user: Option<u64>, payload: &[u8]) -> usize {
        HEAD + if user.is_some() { USER } else { 0 } + payload.len()
    }

    /// `false`: there is no room for it.
    pub fn push(&mut self, user: Option<u64>, payload: &[u8]) -> bool {
        if Self::size(user, payload) > self.limit - self.bytes.len() {
            return false;
        }
        let Some(len) = u32::try_from(payload.len()).ok().filter(|len| len & HAS_USER == 0) else {
            return false;
        };
        let flag = if user.is_some() { HAS_USER } else { 0 };
        self.bytes.extend_from_slice(&(len | flag).to_le_bytes());
        if let Some(user) = user {
            self.bytes.extend_from_slice(&user.to_le_bytes());
        }
        self.bytes.extend_from_slice(payload);
        true
    }

    /// The first entry that was not taken.
    pub fn front(&self) -> Option<(Option<u64>, &[u8])> {
        let (head, rest) = self.bytes.get(self.taken..)?.split_first_chunk::<HEAD>()?;
        let head = u32::from_le_bytes(*head);
        let (user, rest) = if head & HAS_USER != 0 {
            let (user, rest) = rest.split_first_chunk::<USER>()?;
            (Some(u64::from_le_bytes(*user)), rest)
        } else {
            (None, rest)
        };
        Some((user, rest.get(..(head & !HAS_USER) as usize)?))
    }

    /// Takes the first entry away; behind the last one the room is free again.
    pub fn pop(&mut self) {
        let Some(size) = self.front().map(|(user, payload)| Self::size(user, payload)) else { return };
        self.taken += size;
        if self.is_empty() {
            self.clear();
        }
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.taken = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_out_in_order_and_room_comes_back() {
        let mut staging = Staging::with_capacity(40);
        assert!(staging.is_empty() && staging.front().is_none());
        assert!(staging.push(None, b"first"));
        assert!(staging.push(Some(u64::MAX), b""));
        assert!(staging.push(Some(7), b"third"));
        assert!(!staging.push(None, b""), "38 of 40 bytes are taken");
        for expected in [(None, &b"first"[..]), (Some(u64::MAX), b""), (Some(7), b"third")] {
            assert_eq!(staging.front(), Some(expected));
            staging.pop();
        }
        assert!(staging.is_empty() && staging.front().is_none());
        staging.pop();
        assert!(staging.push(None, &[1; 36]));
        assert!(!staging.push(None, b""));
    }
}
