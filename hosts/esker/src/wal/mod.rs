//! The commands below `esker wal`, a file each, and what they share.

mod append;
mod cat;
mod create;
mod damage;
mod entries;
mod info;
mod release;
mod salvage;
mod snapshot;
mod verify;
mod volume;

use crate::arguments::{SnapshotCommand, WalCommand};
use crate::failure::Failure;

/// Does what the command line says.
pub fn run(command: &WalCommand) -> Result<(), Failure> {
    match command {
        WalCommand::Create(arguments) => create::run(arguments),
        WalCommand::Append(arguments) => append::run(arguments),
        WalCommand::Read(arguments) => cat::read(arguments),
        WalCommand::Cat(arguments) => cat::run(arguments),
        WalCommand::Info(arguments) => info::run(arguments),
        WalCommand::Verify(arguments) => verify::run(arguments),
        WalCommand::Release(arguments) => release::run(arguments),
        WalCommand::Snapshot { command: SnapshotCommand::Put(arguments) } => snapshot::put(arguments),
        WalCommand::Snapshot { command: SnapshotCommand::Get(arguments) } => snapshot::get(arguments),
        WalCommand::Salvage(arguments) => salvage::run(arguments),
    }
}
