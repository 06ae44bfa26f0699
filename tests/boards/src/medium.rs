//! What stands behind a board: a file, and a power supply that fails at a chosen write.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::rng::Rng;

/// Where the power goes.
#[derive(Clone, Debug)]
pub struct Cut {
    /// At this write, counted from 1 since the board was switched on.
    pub at: u64,
    /// Chooses what of that write is left.
    pub tear: Rng,
}

/// What came of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrote {
    /// It is on the medium.
    All,
    /// The power went while it was under way.
    Torn,
    /// There is no power any more.
    Nothing,
}

/// A file as a medium.
#[derive(Debug)]
pub struct Medium {
    file: File,
    size: u64,
    cut: Option<Cut>,
    /// Writes that arrived whole.
    whole: u64,
    dark: bool,
}

impl Medium {
    /// The medium in the file at `path`; with power until `cut`, if there is one.
    pub fn open(path: &Path, cut: Option<Cut>) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { file, size, cut, whole: 0, dark: false })
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// Writes that arrived whole since the board was switched on.
    pub fn whole(&self) -> u64 {
        self.whole
    }

    pub fn read(&self, address: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, address)
    }

    pub fn write(&mut self, address: u64, data: &[u8]) -> io::Result<Wrote> {
        if self.dark {
            return Ok(Wrote::Nothing);
        }
        match &mut self.cut {
            Some(cut) if cut.at == self.whole + 1 => {
                let mut left = vec![0; data.len()];
                self.file.read_exact_at(&mut left, address)?;
                tear(&mut left, data, &mut cut.tear);
                self.file.write_all_at(&left, address)?;
                self.dark = true;
                Ok(Wrote::Torn)
            }
            _ => {
                self.file.write_all_at(data, address)?;
                self.whole += 1;
                Ok(Wrote::All)
            }
        }
    }
}

/// What a write of `new` over `old` leaves when it is cut: the first of the bytes that it changes, and some bits of the
/// next one. Nothing at all and everything, only not acknowledged, are as likely as all that lies between.
fn tear(old: &mut [u8], new: &[u8], rng: &mut Rng) {
    let changed: Vec<usize> = (0..new.len()).filter(|at| old[*at] != new[*at]).collect();
    let count = changed.len() as u64;
    let kept = match rng.up_to(3) {
        0 => 0,
        1 => count,
        _ => rng.up_to(count),
    } as usize;
    let bits = rng.next() as u8;
    for at in &changed[..kept] {
        old[*at] = new[*at];
    }
    if kept > 0
        && let Some(at) = changed.get(kept)
    {
        old[*at] = old[*at] & !bits | new[*at] & bits;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_write_is_a_prefix_of_what_it_changes() {
        let (mut none, mut all, mut part) = (0, 0, 0);
        for seed in 0..200 {
            let mut bytes = [0xFF; 64];
            let new: [u8; 64] = std::array::from_fn(|at| if at < 32 { 0xFF } else { at as u8 });
            tear(&mut bytes, &new, &mut Rng::new(seed));
            let same = (32..64).take_while(|at| bytes[*at] == new[*at]).count();
            match same {
                0 => none += 1,
                32 => all += 1,
                _ => part += 1,
            }
            assert_eq!(bytes[..32], [0xFF; 32]);
            // Programming clears bits; of the byte behind the prefix it clears none that it was not told to.
            if let Some(next) = bytes.get(32 + same) {
                assert_eq!(next | new[32 + same], *next);
            }
            assert!(bytes.iter().skip(33 + same).all(|byte| *byte == 0xFF));
        }
        assert!(none > 20 && all > 20 && part > 20, "{none} {all} {part}");
    }

    #[test]
    fn after_the_cut_nothing_arrives() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1024).unwrap();
        let mut medium = Medium::open(file.path(), Some(Cut { at: 2, tear: Rng::new(5) })).unwrap();
        assert_eq!(medium.write(0, &[1; 512]).unwrap(), Wrote::All);
        assert_eq!(medium.write(512, &[2; 512]).unwrap(), Wrote::Torn);
        let mut before = [0; 1024];
        medium.read(0, &mut before).unwrap();
        assert_eq!(medium.write(0, &[3; 512]).unwrap(), Wrote::Nothing);
        let mut after = [0; 1024];
        medium.read(0, &mut after).unwrap();
        assert_eq!(before, after);
        assert_eq!((medium.whole(), before[0]), (1, 1));
    }
}
