//! How keys and values stand on the command line, in a file and on standard output.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use clap::{Args, ValueEnum};

use crate::failure::Failure;

/// How the bytes of a key or a value are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Encoding {
    /// As they are; they must be UTF-8
    #[default]
    Text,
    /// Two digits a byte
    Hex,
    /// RFC 4648, section 4, with padding
    Base64,
}

/// How pairs stand in a file or a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PairFormat {
    /// `key,value`, quoted as RFC 4180 says
    Csv,
    /// A JSON object {"key":"...","value":"..."} or array ["key","value"] on each line
    #[value(alias = "json", alias = "ndjson")]
    Jsonl,
    /// The key up to the first TAB, the value up to the end of the line; nothing is quoted
    Tsv,
}

impl PairFormat {
    /// The format that the name of a file promises.
    pub fn of_name(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "csv" => Some(Self::Csv),
            "json" | "jsonl" | "ndjson" => Some(Self::Jsonl),
            "tsv" | "tab" => Some(Self::Tsv),
            _ => None,
        }
    }
}

/// The format to use for a file: what was said, or else what its name promises.
pub fn format_for(said: Option<PairFormat>, path: &Path) -> Result<PairFormat, Failure> {
    said.or_else(|| PairFormat::of_name(path)).ok_or_else(|| {
        let name = if path == Path::new("-") { Path::new("standard input") } else { path };
        Failure::at(name, "no name that tells how pairs stand in it; say `--format csv`, `jsonl` or `tsv`")
    })
}

/// The encoding of keys and values.
#[derive(Clone, Copy, Debug, Args)]
pub struct EncodingArgument {
    /// How keys and values are written: `text` takes and gives UTF-8 only
    #[arg(long, value_enum, default_value_t = Encoding::Text)]
    pub encoding: Encoding,
}

/// A key as it stands on the command line.
#[derive(Clone, Debug)]
pub struct Given(OsString);

impl Given {
    /// The bytes it stands for. `what` it is, in the words of a message.
    pub fn decode(&self, what: &str, encoding: Encoding) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        crate::pairs::decode(encoding, self.0.as_bytes(), &mut bytes)
            .map_err(|bad| Failure::usage(format!("{what}: {bad}")))?;
        Ok(bytes)
    }

    /// Whether it is `-`, which stands for standard input.
    pub fn is_stdin(&self) -> bool {
        self.0.as_bytes() == b"-"
    }
}

impl From<OsString> for Given {
    fn from(text: OsString) -> Self {
        Self(text)
    }
}

/// The part of a store that is read.
#[derive(Debug, Args)]
pub struct RangeArguments {
    /// Only keys that begin with this
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    pub prefix: Option<Given>,
    /// Only this key and those behind it
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    pub from: Option<Given>,
    /// Only keys before this one
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    pub to: Option<Given>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_tells_its_format() {
        for (name, format) in [
            ("a.csv", Some(PairFormat::Csv)),
            ("a.b.JSONL", Some(PairFormat::Jsonl)),
            ("a.json", Some(PairFormat::Jsonl)),
            ("dir/a.tsv", Some(PairFormat::Tsv)),
            ("csv", None),
            ("-", None),
            ("a.txt", None),
        ] {
            assert_eq!(PairFormat::of_name(Path::new(name)), format, "{name}");
        }
        assert_eq!(format_for(Some(PairFormat::Tsv), Path::new("a.csv")).unwrap(), PairFormat::Tsv);
        let why = format_for(None, Path::new("-")).unwrap_err().to_string();
        assert!(why.starts_with("standard input: ") && why.contains("--format"), "{why}");
    }
}
