//! `esker wal create`, and how large a device and its segments are to be.

use std::path::Path;

use esker::device::Geometry;
use esker::volume::{Error, FormatOptions, VolumeInfo};
use esker_linux::{Access, Device, DeviceError, Place, contents};
use serde_json::json;

use super::volume::LARGE_SEGMENT;
use crate::arguments::{AppendArguments, CreateArguments, Layout};
use crate::failure::Failure;
use crate::input::Survey;
use crate::making::{Fresh, Make, make, units};
use crate::output;
use crate::volume::{Volume, volume_memory};

const MIB: u64 = 1 << 20;
const LEAST: u64 = 8 * MIB;
const FOR_A_STREAM: u64 = 64 * MIB;
const MAX_SEGMENT: u64 = 16 * MIB;

pub fn run(arguments: &CreateArguments) -> Result<(), Failure> {
    let CreateArguments { device: path, layout, force, direct, json } = arguments;
    let place = Device::survey(path).map_err(|error| Failure::at(path, error))?;
    let plan = Plan::new(path, &place, layout, None)?;
    let (volume, mut fresh) = plan.make(path, &place, Make { force: *force, direct: *direct })?;
    fresh.keep();
    let VolumeInfo { geometry, segment_size, segments, volume_id, .. } = volume.info();
    let value = json!({
        "volume_id": volume_id,
        "capacity": geometry.capacity,
        "write_unit": geometry.write_unit,
        "erase_unit": geometry.erase_unit,
        "segment_size": segment_size,
        "segments": segments,
    });
    let words = format!(
        "created a volume of {} bytes in {segments} segments of {segment_size}, write unit {}{}",
        geometry.capacity,
        geometry.write_unit,
        if geometry.must_erase() { format!(", erase unit {}", geometry.erase_unit) } else { String::new() }
    );
    output::line(*json, &value, &words)
}

/// Opens the volume to append to, or makes one if there is no such file, or if it may be formatted.
pub fn open_or_create(
    arguments: &AppendArguments,
    survey: Option<&Survey>,
) -> Result<(Volume, Fresh), Failure> {
    let AppendArguments { device: path, layout, direct, .. } = arguments;
    let place = Device::survey(path).map_err(|error| Failure::at(path, error))?;
    let make = |force| {
        let plan = Plan::new(path, &place, layout, survey)?;
        plan.make(path, &place, Make { force, direct: *direct })
    };
    if matches!(place, Place::Nothing) {
        return make(false);
    }
    match Device::open(path, Access::ReadWrite) {
        // Only what holds no volume at all: one that is damaged, truncated or newer may still be saved.
        Err(Error::NotFormatted | Error::Device(DeviceError::Empty)) if arguments.force => make(true),
        Err(Error::NotFormatted) => {
            let found = contents(path).map_err(|error| Failure::at(path, error))?;
            let held = found.map_or_else(|| "nothing".to_owned(), |found| found.to_string());
            Err(Failure::at(
                path,
                format_args!("no esker volume here, it holds {held}; `--force` formats it"),
            ))
        }
        Err(Error::Device(DeviceError::Empty)) => {
            Err(Failure::at(path, "the file is empty, so it holds no esker volume; `--force` formats it"))
        }
        device => {
            let device = device
                .and_then(|device| if *direct { device.direct().map_err(Error::Device) } else { Ok(device) });
            let volume = device.and_then(|device| Volume::open(device, volume_memory()));
            Ok((volume.map_err(|error| Failure::volume(path, &error))?, Fresh::nothing()))
        }
    }
}

/// Geometry and layout of a new volume.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    pub geometry: Geometry,
    pub segment_size: u32,
}

impl Plan {
    /// Makes the device and formats it.
    pub fn make(&self, path: &Path, place: &Place, how: Make) -> Result<(Volume, Fresh), Failure> {
        let options = FormatOptions { segment_size: self.segment_size, ..FormatOptions::default() };
        make(path, place, self.geometry, &options, how)
    }

    /// For what is known of the place and of what is to be stored. What the user has set is kept.
    fn new(path: &Path, place: &Place, layout: &Layout, survey: Option<&Survey>) -> Result<Self, Failure> {
        let (geometry, held) = units(path, place, layout.write_unit, layout.erase_unit)?;
        // A file that is overwritten with a known input becomes as large as that needs.
        let held = held.filter(|_| survey.is_none() || matches!(place, Place::Disk(_)));
        let block = u64::from(geometry.block());

        let longest = survey.map_or(0, |survey| survey.longest);
        let given = layout.size.or(held.map(|held| held / block * block));
        let base = given.unwrap_or(match survey {
            Some(survey) => (survey.bytes.saturating_mul(2) / MIB * MIB + MIB).max(LEAST),
            None => FOR_A_STREAM,
        });
        let segment = match layout.segment_size {
            Some(size) => u64::from(size),
            None => choose_segment(base, longest, given.is_some(), &geometry),
        };
        // Whether a segment can be that small is for the engine to say.
        if let Some(survey) = survey
            && longest >= segment
            && longest > 0
        {
            let (entry, format) = (survey.longest_entry, survey.format);
            return Err(Failure::new(format!(
                "{} {entry} has {longest} bytes, and an entry must fit into a segment, here of {segment} bytes and at \
                 most {MAX_SEGMENT}",
                format.entry()
            )));
        }
        let size = match (given, survey) {
            (None, Some(survey)) => base.max(needed(survey, segment, &geometry).next_multiple_of(MIB)),
            _ => base,
        };
        let capacity = size.next_multiple_of(block);
        let segment_size = u32::try_from(segment).unwrap_or(u32::MAX);
        Ok(Self { geometry: Geometry { capacity, ..geometry }, segment_size })
    }
}

/// About a 32nd of the device, and eight of the longest entries, so that little is lost at the ends of segments. Of a
/// size that the user has set, a fourth at most: a log needs three segments.
fn choose_segment(size: u64, longest: u64, fixed: bool, geometry: &Geometry) -> u64 {
    let unit = u64::from(geometry.block().max(geometry.erase_unit.saturating_mul(2)));
    let share = (size / 32).next_power_of_two();
    let entries = longest.saturating_mul(8).checked_next_power_of_two().unwrap_or(MAX_SEGMENT);
    let most = if fixed { (size / 4 + 1).next_power_of_two() / 2 } else { MAX_SEGMENT };
    share.max(entries).min(most).clamp(unit.max(4096), MAX_SEGMENT.max(unit))
}

/// Bytes of a device that surely holds these entries in segments of this size.
fn needed(survey: &Survey, segment: u64, geometry: &Geometry) -> u64 {
    let unit = u64::from(geometry.write_unit);
    let index = if segment >= u64::from(LARGE_SEGMENT) { 4096 } else { 64 };
    // Header, seal, and a commit's padding before each of them.
    let usable = segment.saturating_sub(index + 256 + 2 * unit).max(segment / 8);
    // An entry lies in one segment, so one is left when the next entry does not fit any more; and two neighbours
    // together hold more than one of them could.
    let held = usable.saturating_sub(survey.longest + 16).max(usable / 2).max(1);
    let commits = (survey.records >> 20) * (unit + 16);
    let bytes = survey.records + 4 * survey.entries + commits;
    // One is kept in reserve, the last one is not full, and one more to go on with.
    let segments = bytes / held + 4;
    let homes = 2 * u64::from(geometry.block()).max(8 * unit).max(2048);
    segments * segment + homes
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout { size: None, segment_size: None, write_unit: None, erase_unit: None };

    fn plan_at(place: &Place, layout: &Layout, survey: Option<Survey>) -> Plan {
        Plan::new(Path::new("dev"), place, layout, survey.as_ref()).unwrap()
    }

    fn plan(layout: &Layout, survey: Option<Survey>) -> Plan {
        plan_at(&Place::Nothing, layout, survey)
    }

    fn survey(entries: u64, len: u64) -> Survey {
        let records = entries * (8 + len.next_multiple_of(4));
        Survey {
            bytes: entries * (len + 1),
            entries,
            longest: len,
            longest_entry: 1,
            records,
            ..Survey::default()
        }
    }

    #[test]
    fn sizes_leave_headroom() {
        assert_eq!(plan(&LAYOUT, None).geometry.capacity, 64 * MIB);
        assert_eq!(plan(&LAYOUT, Some(survey(10, 10))).geometry.capacity, 8 * MIB);
        let large = plan(&LAYOUT, Some(survey(1_000_000, 99)));
        assert_eq!(large.geometry.capacity, 200_000_000 / MIB * MIB + MIB);
        assert_eq!(large.segment_size, 8 << 20);
        let short = plan(&LAYOUT, Some(survey(10_000_000, 0)));
        assert!(short.geometry.capacity > 80_000_000, "records are longer than lines");
    }

    #[test]
    fn long_lines_get_long_segments() {
        assert_eq!(plan(&LAYOUT, Some(survey(1, 1 << 20))).segment_size, 8 << 20);
        assert_eq!(plan(&LAYOUT, Some(survey(1, 15 << 20))).segment_size, 16 << 20);
        let survey = survey(1, 16 << 20);
        let error = Plan::new(Path::new("dev"), &Place::Nothing, &LAYOUT, Some(&survey)).unwrap_err();
        assert!(error.to_string().contains("16777216"), "{error}");
    }

    #[test]
    fn a_size_that_was_set_is_kept() {
        let layout = Layout { size: Some(MIB + 1), ..LAYOUT };
        let plan = plan(&layout, Some(survey(1, 100_000)));
        assert_eq!((plan.geometry.capacity, plan.segment_size), (MIB + 512, 256 << 10));
    }

    #[test]
    fn a_file_that_is_there_keeps_its_size() {
        let file = Place::File { len: 5 * MIB + 100 };
        assert_eq!(plan_at(&file, &LAYOUT, None).geometry.capacity, 5 * MIB);
        assert_eq!(plan_at(&file, &Layout { size: Some(MIB), ..LAYOUT }, None).geometry.capacity, MIB);
        assert_eq!(plan_at(&Place::File { len: 0 }, &LAYOUT, None).geometry.capacity, 64 * MIB);
    }

    #[test]
    fn units_that_cannot_be_are_refused() {
        let layout = Layout { write_unit: Some(500), ..LAYOUT };
        assert!(Plan::new(Path::new("dev"), &Place::Nothing, &layout, None).is_err());
    }
}
