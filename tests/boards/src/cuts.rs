//! Power cuts, one after the other on the same medium.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::board::Board;
use crate::machine::{Machine, Outcome};
use crate::medium::Cut;
use crate::message::Message;
use crate::promise::Promise;
use crate::rng::Rng;
use crate::{Arguments, Failure};

/// The first writes after recovery: new epochs, the first commit.
const SHORT: u64 = 4;
/// The writes of formatting, and of making logs and a store, about.
const FORMAT: u64 = 24;

/// What was tried.
#[derive(Default)]
struct Tally {
    boots: u32,
    cuts: u32,
    /// Cuts before the first entry of that boot was durable: while formatting or recovering.
    early: u32,
    media: u32,
}

/// A medium with its history.
struct Chain<'a> {
    machine: Machine<'a>,
    medium: PathBuf,
    promise: Promise,
    tally: Tally,
}

pub fn run(arguments: &Arguments, board: &Board) -> Result<(), Failure> {
    let begin = Instant::now();
    let dir = tempfile::tempdir()?;
    let machine = Machine { board, image: arguments.images.join(board.name), verbose: arguments.verbose };
    let medium = dir.path().join("medium.img");
    let mut chain = Chain { machine, medium, promise: Promise::of(board), tally: Tally::default() };
    let wanted = arguments.cuts();
    let result = chain.run(wanted, &mut Rng::new(arguments.seed));
    if let Some(keep) = &arguments.keep {
        std::fs::create_dir_all(keep)?;
        std::fs::copy(&chain.medium, keep.join(format!("{}-cuts.img", board.name)))?;
    }
    let tally = &chain.tally;
    result.map_err(|failure| {
        format!(
            "cut {} of seed {}: {failure}\n  replay: cargo xtask qemu --board {} --part cuts --seed {} --cuts {} --verbose --keep DIR",
            tally.cuts, arguments.seed, board.name, arguments.seed, tally.cuts.max(1)
        )
    })?;
    println!(
        "{}: {} power cuts in {} boots, {} of them before anything was durable, on {} media; seed {}; {:.0} s",
        board.name,
        tally.cuts,
        tally.boots,
        tally.early,
        tally.media,
        arguments.seed,
        begin.elapsed().as_secs_f64()
    );
    Ok(())
}

impl Chain<'_> {
    fn run(&mut self, wanted: u32, rng: &mut Rng) -> Result<(), Failure> {
        self.renew()?;
        // A whole run says how many writes there are to choose from.
        let mut writes = self.boot(None)?;
        // Formatting is cut, too: a tenth of the cuts begin with a medium that is new, or nearly.
        let fresh = wanted / 10;
        while self.tally.cuts < wanted {
            if self.tally.cuts < fresh && self.promise.made() || self.tally.cuts == fresh {
                self.renew()?;
            }
            let last = match rng.up_to(2) {
                _ if self.tally.cuts < fresh => FORMAT,
                0 => SHORT,
                _ => writes,
            };
            let cut = Cut { at: 1 + rng.up_to(last - 1), tear: rng.clone() };
            // A run that has much to recover takes more.
            writes = writes.max(self.boot(Some(cut))?);
        }
        self.boot(None)?;
        Ok(())
    }

    /// A new medium, without any promise.
    fn renew(&mut self) -> Result<(), Failure> {
        blank(&self.medium, self.machine.board)?;
        self.promise = Promise::of(self.machine.board);
        self.tally.media += 1;
        Ok(())
    }

    /// Switches the board on until it ends or the power goes; then looks at the medium as Linux does. Returns how many
    /// writes there were.
    fn boot(&mut self, cut: Option<Cut>) -> Result<u64, Failure> {
        let before = self.promise.check(&self.medium)?;
        let outcome = self.machine.run(&self.medium, cut)?;
        self.tally.boots += 1;
        self.tally.cuts += u32::from(outcome.cut);
        let durable = outcome.messages.iter().any(|message| matches!(message, Message::Durable { .. }));
        self.tally.early += u32::from(outcome.cut && !durable);
        self.judge(&outcome, before).map_err(|failure| format!("{failure}; {}", outcome.story()))?;
        self.promise.check(&self.medium)?;
        Ok(outcome.writes)
    }

    fn judge(&mut self, outcome: &Outcome, before: [(u64, u64); 2]) -> Result<(), Failure> {
        // The board must find in each log what Linux has found.
        for message in &outcome.messages {
            if let Message::There { log, start, end } = message
                && before.get(usize::from(*log)) != Some(&(*start, *end))
            {
                return Err(format!("Linux had found {before:?}, the board finds {message:?}").into());
            }
        }
        self.promise.hear(&outcome.messages)?;
        if !outcome.cut {
            outcome.finished(self.machine.board)?;
        }
        Ok(())
    }
}

/// Makes the file at `path` a new medium of this board.
pub fn blank(path: &Path, board: &Board) -> Result<(), Failure> {
    let mut file = File::create(path)?;
    if board.blank() == 0 {
        file.set_len(board.size)?;
    } else {
        let chunk = vec![board.blank(); 1 << 20];
        for _ in 0..board.size >> 20 {
            file.write_all(&chunk)?;
        }
    }
    Ok(())
}
