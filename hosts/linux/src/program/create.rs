//! Making a device for what is to be stored on it.

use std::fs;
use std::path::{Path, PathBuf};

use esker::device::Geometry;
use esker::volume::{Error, FormatOptions};
use esker_linux::{Access, DeviceError, FileDevice};
use rustix::rand::{GetRandomFlags, getrandom};

use super::arguments::CreateArguments;
use super::failure::Failure;
use super::input::Survey;
use super::open::{FileVolume, LARGE_SEGMENT, volume_memory};

const MIB: u64 = 1 << 20;
const LEAST: u64 = 8 * MIB;
const FOR_A_STREAM: u64 = 64 * MIB;
const MAX_SEGMENT: u64 = 16 * MIB;

/// A file that is removed again unless it is [kept](Self::keep): so a command that fails leaves no half-made device.
#[derive(Debug)]
pub struct Fresh(Option<PathBuf>);

impl Fresh {
    pub fn keep(&mut self) {
        self.0 = None;
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

/// Opens the volume at `path` for writing, or makes one if there is no such file, or if it may be formatted.
pub fn open_or_create(
    path: &Path,
    arguments: &CreateArguments,
    survey: Option<&Survey>,
) -> Result<(FileVolume, Fresh), Failure> {
    let fail = |error: Error<DeviceError>| Failure::volume(path, &error);
    let missing = path.metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
    if missing {
        let plan = Plan::new(path, arguments, survey)?;
        let device = FileDevice::create(path, plan.geometry).map_err(|error| Failure::at(path, error))?;
        let fresh = Fresh(Some(path.to_owned()));
        return Ok((plan.format(device).map_err(fail)?, fresh));
    }
    match FileDevice::open(path, Access::ReadWrite) {
        // Only what holds no volume at all: one that is damaged, truncated or newer may still be saved.
        Err(Error::NotFormatted | Error::Device(DeviceError::Empty)) if arguments.force => {
            let plan = Plan::new(path, arguments, survey)?;
            let device =
                FileDevice::overwrite(path, plan.geometry).map_err(|error| Failure::at(path, error))?;
            Ok((plan.format(device).map_err(fail)?, Fresh(None)))
        }
        Err(Error::Device(DeviceError::Empty)) => {
            Err(Failure::at(path, "the file is empty, so it holds no esker volume; `--force` formats it"))
        }
        device => {
            let volume = device.and_then(|device| FileVolume::open(device, volume_memory()));
            Ok((volume.map_err(fail)?, Fresh(None)))
        }
    }
}

/// Geometry and layout of a new volume.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    geometry: Geometry,
    segment_size: u32,
}

impl Plan {
    fn new(path: &Path, arguments: &CreateArguments, survey: Option<&Survey>) -> Result<Self, Failure> {
        let geometry = match arguments.erase_unit {
            None | Some(0) => Geometry::blocks(0, arguments.write_unit),
            Some(unit) => Geometry::flash(0, arguments.write_unit, unit),
        };
        // The capacity is still to be found.
        let block = u64::from(geometry.block());
        Geometry { capacity: block, ..geometry }.check().map_err(|error| Failure::at(path, error))?;

        let longest = survey.map_or(0, |survey| survey.longest);
        let base = arguments.size.unwrap_or(match survey {
            Some(survey) => (survey.bytes.saturating_mul(2) / MIB * MIB + MIB).max(LEAST),
            None => FOR_A_STREAM,
        });
        let segment = match arguments.segment_size {
            Some(size) => u64::from(size),
            None => choose_segment(base, longest, arguments.size.is_some(), &geometry),
        };
        if longest >= segment {
            let line = survey.map_or(0, |survey| survey.longest_line);
            return Err(Failure::new(format!(
                "line {line} has {longest} bytes, and a line must fit into a segment, here of {segment} bytes and at \
                 most {MAX_SEGMENT}"
            )));
        }
        let size = match (arguments.size, survey) {
            (None, Some(survey)) => base.max(needed(survey, segment, &geometry).next_multiple_of(MIB)),
            _ => base,
        };
        let capacity = size.next_multiple_of(block);
        let segment_size = u32::try_from(segment).unwrap_or(u32::MAX);
        Ok(Self { geometry: Geometry { capacity, ..geometry }, segment_size })
    }

    fn format(&self, device: FileDevice) -> Result<FileVolume, Error<DeviceError>> {
        let mut id = [0; 4];
        getrandom(&mut id, GetRandomFlags::empty())
            .map_err(|error| Error::Device(DeviceError::Io { action: "number", error: error.into() }))?;
        let volume_id = u32::from_le_bytes(id);
        let options =
            FormatOptions { volume_id, segment_size: self.segment_size, ..FormatOptions::default() };
        FileVolume::format(device, volume_memory(), &options)
    }
}

/// About a 32nd of the device, and eight of the longest lines, so that little is lost at the ends of segments. Of a
/// size that the user has set, a fourth at most: a log needs three segments.
fn choose_segment(size: u64, longest: u64, fixed: bool, geometry: &Geometry) -> u64 {
    let unit = u64::from(geometry.block().max(geometry.erase_unit.saturating_mul(2)));
    let share = (size / 32).next_power_of_two();
    let lines = longest.saturating_mul(8).checked_next_power_of_two().unwrap_or(MAX_SEGMENT);
    let most = if fixed { (size / 4 + 1).next_power_of_two() / 2 } else { MAX_SEGMENT };
    share.max(lines).min(most).clamp(unit.max(4096), MAX_SEGMENT.max(unit))
}

/// Bytes of a device that surely holds these lines in segments of this size.
fn needed(survey: &Survey, segment: u64, geometry: &Geometry) -> u64 {
    let unit = u64::from(geometry.write_unit);
    let index = if segment >= u64::from(LARGE_SEGMENT) { 4096 } else { 64 };
    // Header, seal, and a commit's padding before each of them.
    let usable = segment.saturating_sub(index + 256 + 2 * unit).max(segment / 8);
    // An entry lies in one segment, so one is left when the next entry does not fit any more; and two neighbours
    // together hold more than one of them could.
    let held = usable.saturating_sub(survey.longest + 16).max(usable / 2).max(1);
    let commits = (survey.records >> 20) * (unit + 16);
    let bytes = survey.records + 4 * survey.lines + commits;
    // One is kept in reserve, the last one is not full, and one more to go on with.
    let segments = bytes / held + 4;
    let homes = 2 * u64::from(geometry.block()).max(8 * unit).max(2048);
    segments * segment + homes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments() -> CreateArguments {
        CreateArguments { force: false, size: None, segment_size: None, write_unit: 512, erase_unit: None }
    }

    fn plan(arguments: &CreateArguments, survey: Option<Survey>) -> Plan {
        Plan::new(Path::new("dev"), arguments, survey.as_ref()).unwrap()
    }

    fn survey(lines: u64, len: u64) -> Survey {
        let records = lines * (8 + len.next_multiple_of(4));
        Survey { bytes: lines * (len + 1), lines, longest: len, longest_line: 1, records }
    }

    #[test]
    fn sizes_leave_headroom() {
        assert_eq!(plan(&arguments(), None).geometry.capacity, 64 * MIB);
        assert_eq!(plan(&arguments(), Some(survey(10, 10))).geometry.capacity, 8 * MIB);
        let large = plan(&arguments(), Some(survey(1_000_000, 99)));
        assert_eq!(large.geometry.capacity, 200_000_000 / MIB * MIB + MIB);
        assert_eq!(large.segment_size, 8 << 20);
        let short = survey(10_000_000, 0);
        assert!(
            plan(&arguments(), Some(short)).geometry.capacity > 80_000_000,
            "records are longer than lines"
        );
    }

    #[test]
    fn long_lines_get_long_segments() {
        assert_eq!(plan(&arguments(), Some(survey(1, 1 << 20))).segment_size, 8 << 20);
        assert_eq!(plan(&arguments(), Some(survey(1, 15 << 20))).segment_size, 16 << 20);
        let error = Plan::new(Path::new("dev"), &arguments(), Some(&survey(1, 16 << 20))).unwrap_err();
        assert!(error.to_string().contains("16777216"), "{error}");
    }

    #[test]
    fn a_size_that_was_set_is_kept() {
        let arguments = CreateArguments { size: Some(MIB + 1), ..arguments() };
        let plan = plan(&arguments, Some(survey(1, 100_000)));
        assert_eq!((plan.geometry.capacity, plan.segment_size), (MIB + 512, 256 << 10));
    }

    #[test]
    fn units_that_cannot_be_are_refused() {
        let arguments = CreateArguments { write_unit: 500, ..arguments() };
        assert!(Plan::new(Path::new("dev"), &arguments, None).is_err());
    }
}
