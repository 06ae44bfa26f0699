//! Golden images of volumes, and what all of them have, read by the words of `FORMAT.md` with nothing of the engine's.
use std::path::PathBuf;

use esker::device::{Geometry, Ram};
use esker::volume::{FormatOptions, Volume};

pub type Vol = Volume<Ram<Vec<u8>>, Vec<u8>>;

/// Of all images.
pub const VOLUME_ID: u32 = 0x1D0_5CA1E;

pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.bin"))
}

pub fn golden(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap()
}

/// A volume on an erased device.
pub fn formatted(geometry: Geometry, options: FormatOptions) -> Vol {
    let device = Ram::new(vec![0xFF; geometry.capacity as usize], geometry);
    Volume::format(device, vec![0; 4096], &FormatOptions { volume_id: VOLUME_ID, ..options }).unwrap()
}

pub fn opened(image: Vec<u8>, geometry: Geometry) -> Vol {
    Volume::open(Ram::new(image, geometry), vec![0; 4096]).unwrap()
}

pub fn crc(parts: &[&[u8]]) -> u32 {
    let algorithm = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);
    let mut digest = algorithm.digest();
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize()
}

pub fn u16_at(bytes: &[u8], at: usize) -> usize {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap()).into()
}

pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// Generation and place of each home's newest publish. All publishes are whole.
pub fn newest(image: &[u8], geometry: Geometry) -> [(u64, usize); 2] {
    let home = u32_at(image, 32) as usize;
    let granule = 64.max(geometry.write_unit.max(geometry.read_unit) as usize);
    [0, home].map(|start| {
        let places = (start + 128_usize.next_multiple_of(granule)..start + home).step_by(granule);
        let publishes = places.filter(|at| &image[at + 4..at + 6] == b"PB").map(|at| {
            let said = &image[at + 4..at + u16_at(image, at + 6)];
            assert_eq!(
                u32_at(image, at),
                crc(&[&image[12..16], &(at as u32).to_le_bytes(), said]),
                "at {at}"
            );
            (u64_at(image, at + 8), at)
        });
        publishes.max().unwrap()
    })
}
