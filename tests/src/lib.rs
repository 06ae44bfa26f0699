//! Checkers of the engine over simulated devices: programs that look for one wrong answer among millions of states.
//!
//! `crash` cuts the power everywhere, `corrupt` damages images at rest, `ioerr` makes every device operation fail.
//! Each is run as `cargo run --profile checked -p esker-tests --bin NAME -- wal [--full] [--seed N] [--replay ID]`, ends
//! with one line of JSON, and names for each violation the command that shows it again.

pub mod cli;
pub mod cuts;
pub mod damage;
pub mod failures;
pub mod fuzz;
pub mod kv;
pub mod planted;
pub mod wal;
