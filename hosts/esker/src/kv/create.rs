//! `esker kv create`

use esker::device::Geometry;
use esker::store::Kind;
use esker::volume::{FormatOptions, VolumeInfo};
use esker_linux::{Device, contents};
use serde_json::json;

use super::index::{Indexed, name, with_index, words};
use super::layered::Layered;
use super::opened::Opened;
use crate::arguments::KvCreateArguments;
use crate::failure::Failure;
use crate::making::{Make, make_device, occupied, random_id, units};
use crate::output;

/// Bytes of a new file.
const SIZE: u64 = 256 << 20;

pub fn run(arguments: &KvCreateArguments) -> Result<(), Failure> {
    with_index!(arguments.engine.kind(), I => create::<I>(arguments))
}

fn create<I: Indexed>(arguments: &KvCreateArguments) -> Result<(), Failure> {
    let KvCreateArguments { store, force, layout, json, .. } = arguments;
    let path = &store.device;
    let place = Device::survey(path).map_err(|error| Failure::at(path, error))?;
    let (geometry, held) = units(path, &place, layout.write_unit, layout.erase_unit)?;
    let unit = u64::from(geometry.block());
    let size = layout.size.or(held.map(|held| held / unit * unit)).unwrap_or(SIZE);
    let geometry = Geometry { capacity: size.next_multiple_of(unit), ..geometry };
    let options = FormatOptions {
        block_size: layout.block_size.unwrap_or(I::block_size(&geometry)),
        pool_size: layout.log_size.unwrap_or(0),
        segment_size: layout.segment_size.unwrap_or(0),
        volume_id: random_id()?,
        ..FormatOptions::default()
    };
    if !force && let Some(found) = contents(path).map_err(|error| Failure::at(path, error))? {
        return Err(occupied(path, &found));
    }
    geometry.check().map_err(|error| Failure::at(path, error))?;
    // In memory first, so that what can't be is refused before anything is lost for it.
    Opened::<I>::create(store, Layered::nowhere(geometry), &options)?;
    let (device, mut fresh) =
        make_device(path, &place, geometry, Make { force: *force, direct: store.direct })?;
    let mut opened = Opened::<I>::create(store, Layered::plain(device), &options)?;
    let info = opened.info()?;
    let VolumeInfo { geometry, segment_size, segments, volume_id, .. } = opened.volume.info();
    opened.close()?;
    fresh.keep();
    let value = json!({
        "volume_id": volume_id,
        "engine": name(I::KIND),
        "capacity": geometry.capacity,
        "write_unit": geometry.write_unit,
        "erase_unit": geometry.erase_unit,
        "block_size": info.block_size,
        "blocks": info.blocks,
        "segment_size": segment_size,
        "segments": segments,
        "max_key": info.max_key,
        "max_value": info.max_value,
    });
    let article = if I::KIND == Kind::Lsm { "an" } else { "a" };
    let words = format!(
        "created {article} {} of {} blocks of {} bytes, and {segments} segments of {segment_size} for its log; keys up \
         to {} bytes, values up to {}",
        words(I::KIND),
        info.blocks,
        info.block_size,
        info.max_key,
        info.max_value
    );
    output::line(*json, &value, &words)
}
