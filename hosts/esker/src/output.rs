//! Standard output: where nobody may be listening any more.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::fd::AsFd;

use crate::failure::Failure;

const BUFFER: usize = 256 << 10;

/// Standard output as a file. Not `Stdout`, which would look for newlines in what it is given.
pub fn stdout() -> io::Result<BufWriter<File>> {
    Ok(BufWriter::with_capacity(BUFFER, File::from(io::stdout().as_fd().try_clone_to_owned()?)))
}

/// What a failure to write to standard output means to the user: nothing, if the reader has just gone.
pub fn outcome(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::new(format!("standard output: cannot write it: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// Prints a text, which has its newlines.
pub fn print(text: &str) -> Result<(), Failure> {
    outcome(io::stdout().write_all(text.as_bytes()))
}

/// Prints one thing as a line: the JSON value where that is wanted, else the words.
pub fn line(json: bool, value: &serde_json::Value, words: &str) -> Result<(), Failure> {
    print(&if json { format!("{value}\n") } else { format!("{words}\n") })
}

/// So many things, in words.
pub fn count(number: u64, one: &str) -> String {
    match (number, one) {
        (1, one) => format!("1 {one}"),
        (_, "entry") => format!("{number} entries"),
        (_, one) => format!("{number} {one}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        assert_eq!(count(1, "entry") + " in " + &count(1, "place"), "1 entry in 1 place");
        assert_eq!(count(0, "entry") + " in " + &count(2, "place"), "0 entries in 2 places");
    }
}
