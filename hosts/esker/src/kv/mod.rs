//! The commands below `esker kv`, a file each, and what they share.

mod create;
mod damage;
mod effect;
mod get;
mod index;
mod info;
mod layered;
mod load;
mod maintain;
mod mark;
mod opened;
mod put;
mod scan;
mod verify;
mod walk;

pub use opened::log_of_store;

use crate::arguments::KvCommand;
use crate::failure::Failure;

/// Does what the command line says.
pub fn run(command: &KvCommand) -> Result<(), Failure> {
    match command {
        KvCommand::Create(arguments) => create::run(arguments),
        KvCommand::Put(arguments) => put::put(arguments),
        KvCommand::Get(arguments) => get::run(arguments),
        KvCommand::Del(arguments) => put::del(arguments),
        KvCommand::Scan(arguments) => scan::scan(arguments),
        KvCommand::Load(arguments) => load::run(arguments),
        KvCommand::Dump(arguments) => scan::dump(arguments),
        KvCommand::Info(arguments) => info::run(arguments),
        KvCommand::Verify(arguments) => verify::run(arguments),
        KvCommand::Checkpoint(arguments) => maintain::checkpoint(arguments),
        KvCommand::Compact(arguments) => maintain::compact(arguments),
        KvCommand::Salvage(arguments) => maintain::salvage(arguments),
    }
}
