//! What the engine takes in firmware, held against ceilings that only a commit can raise.

use std::fmt::Write as _;
use std::path::Path;

use object::read::elf::{ElfFile32, FileHeader, SectionHeader};
use object::{Endianness, elf};

use crate::Failure;
use crate::cargo::root;
use crate::firmware;

/// Sections by name, in the order of the table.
const SECTIONS: [&str; 4] = ["text", "rodata", "data", "bss"];

/// Bytes by section, in the order of [`SECTIONS`].
type Sizes = [u64; SECTIONS.len()];

/// An image and what it may take.
struct Image {
    name: String,
    sizes: Sizes,
    ceilings: Sizes,
}

impl Image {
    fn over(&self) -> impl Iterator<Item = (&'static str, u64, u64)> {
        SECTIONS
            .into_iter()
            .zip(self.sizes.into_iter().zip(self.ceilings))
            .filter(|(_, (size, ceiling))| size > ceiling)
            .map(|(section, (size, ceiling))| (section, size, ceiling))
    }
}

/// Builds, measures and prints; an error if anything is over its ceiling.
pub fn run(json: bool) -> Result<(), Failure> {
    let file = root().join("tests/firmware/ceilings.toml");
    let ceilings = read_ceilings(&std::fs::read_to_string(file)?)?;
    let probes = firmware::build(&firmware::PROBES)?;
    let logger = firmware::build(&firmware::LOGGER)?;
    let mut images = Vec::new();
    for (name, ceilings) in ceilings {
        let built = [&probes, &logger].into_iter().find(|built| built.path(&name).is_file());
        let path = built.ok_or_else(|| format!("ceilings: there is no image {name}"))?.path(&name);
        let sizes = measure_file(&path).map_err(|error| format!("image {name}: {error}"))?;
        images.push(Image { name, sizes, ceilings });
    }
    print!("{}", if json { as_json(&probes.compiler, &images) } else { as_table(&probes.compiler, &images) });

    let over: Vec<String> = images
        .iter()
        .flat_map(|image| {
            image.over().map(|(section, size, ceiling)| {
                format!("image {}: .{section} takes {size} bytes, its ceiling is {ceiling}", image.name)
            })
        })
        .collect();
    if over.is_empty() { Ok(()) } else { Err(over.join("; ").into()) }
}

/// The images and their ceilings, by name.
fn read_ceilings(text: &str) -> Result<Vec<(String, Sizes)>, Failure> {
    let mut images = Vec::new();
    for (name, value) in text.parse::<toml::Table>()? {
        let table = value.as_table().ok_or_else(|| format!("ceilings: {name} is not an image's table"))?;
        if let Some(unknown) = table.keys().find(|key| !SECTIONS.contains(&key.as_str())) {
            return Err(format!("ceilings of {name}: {unknown} is no section").into());
        }
        let mut sizes = Sizes::default();
        for (size, section) in sizes.iter_mut().zip(SECTIONS) {
            let ceiling = table.get(section).and_then(toml::Value::as_integer);
            *size = ceiling
                .and_then(|ceiling| ceiling.try_into().ok())
                .ok_or_else(|| format!("ceilings of {name}: {section} must be a number of bytes"))?;
        }
        images.push((name, sizes));
    }
    Ok(images)
}

fn measure_file(path: &Path) -> Result<Sizes, Failure> {
    measure(&std::fs::read(path)?)
}

/// What an ELF file takes once loaded. Sections go by what they are, not by their names, so that none is forgotten.
fn measure(bytes: &[u8]) -> Result<Sizes, Failure> {
    let file = ElfFile32::<Endianness>::parse(bytes)?;
    let endian = file.endian();
    let mut sizes = Sizes::default();
    for header in file.elf_header().section_headers(endian, bytes)? {
        if let Some(section) = class(header.sh_flags(endian), header.sh_type(endian)) {
            sizes[section] += u64::from(header.sh_size(endian));
        }
    }
    Ok(sizes)
}

/// The index in [`SECTIONS`] of a section with these flags and this type; `None` if it isn't loaded.
fn class(flags: elf::SectionFlags, kind: elf::SectionType) -> Option<usize> {
    if !flags.contains(elf::SHF_ALLOC) {
        None
    } else if kind == elf::SHT_NOBITS {
        Some(3)
    } else if flags.contains(elf::SHF_EXECINSTR) {
        Some(0)
    } else if flags.contains(elf::SHF_WRITE) {
        Some(2)
    } else {
        Some(1)
    }
}

fn as_table(compiler: &str, images: &[Image]) -> String {
    let mut text = format!("bytes / ceiling, thumbv7m-none-eabi, {compiler}\n{:16}", "image");
    for section in SECTIONS {
        let _ = write!(text, " {:>15}", format!(".{section}"));
    }
    text.push('\n');
    for image in images {
        let _ = write!(text, "{:16}", image.name);
        for (size, ceiling) in image.sizes.iter().zip(image.ceilings) {
            let mark = if *size > ceiling { "!" } else { "" };
            let _ = write!(text, " {:>15}", format!("{mark}{size} / {ceiling}"));
        }
        text.push('\n');
    }
    text
}

fn as_json(compiler: &str, images: &[Image]) -> String {
    let ok = images.iter().all(|image| image.over().next().is_none());
    let mut text = format!("{{\"compiler\":{},\"ok\":{ok},\"images\":[", quoted(compiler));
    for (index, image) in images.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(text, "{comma}\n  {{\"image\":{}", quoted(&image.name));
        for (section, (size, ceiling)) in SECTIONS.iter().zip(image.sizes.iter().zip(image.ceilings)) {
            let _ = write!(text, ",\"{section}\":{{\"bytes\":{size},\"ceiling\":{ceiling}}}");
        }
        text.push('}');
    }
    text.push_str("\n]}\n");
    text
}

/// `text` as a JSON string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if u32::from(control) < 0x20 => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(sizes: Sizes) -> Image {
        Image { name: "wal".into(), sizes, ceilings: [100, 10, 0, 8] }
    }

    #[test]
    fn ceilings_are_read_and_must_be_whole() {
        let good = "[b]\ntext=1\nrodata=2\ndata=3\nbss=4\n[a]\ntext=0\nrodata=0\ndata=0\nbss=0\n";
        let ceilings = read_ceilings(good).unwrap();
        assert_eq!(ceilings, [("a".into(), [0; 4]), ("b".into(), [1, 2, 3, 4])]);
        for (bad, why) in [
            ("[a]\ntext=1\nrodata=2\ndata=3\n", "bss must be"),
            ("[a]\ntext=-1\nrodata=2\ndata=3\nbss=4", "text must be"),
            ("[a]\ntext=1\nrodata=2\ndata=3\nbss=4\nstack=5", "stack is no section"),
            ("a=1", "not an image"),
        ] {
            assert!(read_ceilings(bad).unwrap_err().to_string().contains(why), "{bad}");
        }
    }

    #[test]
    fn only_more_than_the_ceiling_is_over() {
        assert_eq!(image([100, 10, 0, 8]).over().count(), 0);
        let over: Vec<_> = image([101, 0, 4, 8]).over().collect();
        assert_eq!(over, [("text", 101, 100), ("data", 4, 0)]);
    }

    #[test]
    fn sections_go_by_what_they_are() {
        let (alloc, write, exec) = (elf::SHF_ALLOC, elf::SHF_WRITE, elf::SHF_EXECINSTR);
        assert_eq!(class(alloc | exec, elf::SHT_PROGBITS), Some(0));
        assert_eq!(class(alloc, elf::SHT_PROGBITS), Some(1));
        assert_eq!(class(alloc, elf::SHT_ARM_EXIDX), Some(1));
        assert_eq!(class(alloc | write, elf::SHT_PROGBITS), Some(2));
        assert_eq!(class(alloc | write, elf::SHT_NOBITS), Some(3));
        assert_eq!(class(exec, elf::SHT_PROGBITS), None);
    }

    #[test]
    fn both_forms_say_the_same() {
        let images = [image([101, 9, 0, 8])];
        let table = as_table("rustc", &images);
        assert!(table.contains("!101 / 100") && table.contains(" 9 / 10"), "{table}");
        let json = as_json("rustc \"x\"", &images);
        let expected = "{\"compiler\":\"rustc \\\"x\\\"\",\"ok\":false,\"images\":[\n  \
                        {\"image\":\"wal\",\"text\":{\"bytes\":101,\"ceiling\":100},\
                        \"rodata\":{\"bytes\":9,\"ceiling\":10},\"data\":{\"bytes\":0,\"ceiling\":0},\
                        \"bss\":{\"bytes\":8,\"ceiling\":8}}\n]}\n";
        assert_eq!(json, expected);
    }
}
