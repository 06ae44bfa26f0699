//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use esker_linux::FileDevice;

/// Esker, a storage engine: logs on files
#[derive(Debug, Parser)]
#[command(name = "esker", version, arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Work with write-ahead logs
    #[command(arg_required_else_help = true)]
    Wal {
        #[command(subcommand)]
        command: WalCommand,
    },
}

#[derive(Debug, Subcommand)]
pub enum WalCommand {
    /// Append each line of a file to a log, as one entry
    Append(AppendArguments),
    /// Write the entries of a log to standard output, as lines
    Cat(CatArguments),
    /// Show a volume, its logs, and what recovery found
    Info(InfoArguments),
}

#[derive(Debug, Args)]
#[command(
    long_about = "Append each line of a file to a log, as one entry.\n\n\
        DEV is created if it does not exist. If it does, it must hold an esker volume, and the log goes on where it \
        ended. Entries become durable within 10 ms or 4 MiB, all of them when the command returns.\n\n\
        A line is what stands between two newlines, any bytes. `esker wal cat` gives back exactly what was \
        appended: a last line without a newline comes back without one (its entry carries a user word that says so).",
    after_help = "Examples:\n  \
        esker wal append events.esker events.txt\n  \
        journalctl --follow | esker wal append --size 4G journal.esker -\n  \
        esker wal append --write-unit 4 --erase-unit 4K --size 1M nor.img settings.txt"
)]
pub struct AppendArguments {
    /// File that serves as the device
    #[arg(value_name = "DEV")]
    pub device: PathBuf,
    /// File with the lines; `-` is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Number of the log on the volume, made if there is none
    #[arg(long, value_name = "ID", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..0x8000))]
    pub log: u16,
    #[command(flatten)]
    pub create: CreateArguments,
}

/// How to make a device that does not exist yet; without effect on one that does.
#[derive(Debug, Args)]
#[command(next_help_heading = "Where DEV is created")]
pub struct CreateArguments {
    /// Format an existing DEV that holds no esker volume: all it holds is lost
    #[arg(long)]
    pub force: bool,
    /// Size of the device [default: twice FILE and at least 8M; 64M for a stream]
    #[arg(long, value_parser = parse_size)]
    pub size: Option<u64>,
    /// Size of a segment, a power of two up to 16M; the longest line must fit into one [default: by sizes of DEV and
    /// lines]
    #[arg(long, value_name = "SIZE", value_parser = parse_unit)]
    pub segment_size: Option<u32>,
    /// The least that the device can write
    #[arg(long, value_name = "SIZE", default_value_t = FileDevice::BLOCK, value_parser = parse_unit)]
    pub write_unit: u32,
    /// Emulate flash that is erased in this unit before it is written again
    #[arg(long, value_name = "SIZE", value_parser = parse_unit)]
    pub erase_unit: Option<u32>,
}

#[derive(Debug, Args)]
#[command(
    long_about = "Write the entries of a log to standard output, as lines.\n\n\
        The device is opened for reading and not changed. Gives back byte for byte what `esker wal append` took.",
    after_help = "Examples:\n  \
        esker wal cat events.esker > events.txt\n  \
        esker wal cat --from 1000 --limit 10 events.esker"
)]
pub struct CatArguments {
    /// File that serves as the device
    #[arg(value_name = "DEV")]
    pub device: PathBuf,
    /// Number of the log on the volume
    #[arg(long, value_name = "ID", default_value_t = 0)]
    pub log: u16,
    /// Offset of the first entry to write [default: the first one that is kept]
    #[arg(long, value_name = "OFFSET")]
    pub from: Option<u64>,
    /// Write so many entries at most
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

#[derive(Debug, Args)]
#[command(
    long_about = "Show a volume, its logs, and what recovery found.\n\n\
        The device is opened for reading and not changed.",
    after_help = "Examples:\n  \
        esker wal info events.esker\n  \
        esker wal info --json events.esker | jq '.logs[0].end'"
)]
pub struct InfoArguments {
    /// File that serves as the device
    #[arg(value_name = "DEV")]
    pub device: PathBuf,
    /// Show this log only [default: all]
    #[arg(long, value_name = "ID")]
    pub log: Option<u16>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Bytes, or with a suffix in powers of 1024: `4096`, `64K`, `64KiB`.
fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let shift = match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return Err("write bytes, or a number with K, M, G or T (powers of 1024)".into()),
    };
    let number = number.parse::<u64>().map_err(|_| "begin with a number, such as in 64M")?;
    let bytes = number.checked_mul(1 << shift).filter(|bytes| *bytes <= i64::MAX as u64);
    bytes.ok_or_else(|| "no file can be that large".into())
}

fn parse_unit(text: &str) -> Result<u32, String> {
    u32::try_from(parse_size(text)?).map_err(|_| "at most 2G".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn sizes_have_binary_suffixes() {
        assert_eq!(parse_size("0"), Ok(0));
        assert_eq!(parse_size("4096"), Ok(4096));
        assert_eq!(parse_size("64k"), Ok(65_536));
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("3G"), Ok(3 << 30));
        assert_eq!(parse_size("1T"), Ok(1 << 40));
        for bad in ["", "M", "-1", "1.5G", "64MB", "1 M", "9999999999999999999999", "99999999T"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        assert!(parse_unit("4G").is_err());
    }
}
