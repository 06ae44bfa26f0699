//! The format record: what never changes after a volume was made. It stands at the start of both homes.
//!
//! ```text
//!   0  8 magic      "ESKERVOL"
//!   8  2 version    2; 3 with a region of blocks
//!  10  2 reserve    segments that only snapshots, truncation and reset may take
//!  12  4 volume id  mixed into every checksum
//!  16  8 capacity   bytes of the device that the volume knows
//!  24  4 write unit
//!  28  4 erase unit 0: the device may be overwritten
//!  32  4 home       bytes of one home
//!  36  4 segment    bytes of one segment
//!  40 80 regions    4 times { kind u32, start u64, length u64 }; kind 0: none, 1: the pool of segments, 2 and above
//!                  bit 8 the logarithm of their size: blocks
//! 120  4 read unit  of the device at format
//! 124  4 crc        CRC-32C over bytes 0..124
//! ```

use super::medium::{Buffer, Medium, PAGE};
use super::{Error, Fault};
use crate::codec::{Checksum, Fields, align_up, put_word, word_at};
use crate::device::{BlockDevice, Geometry};

pub(crate) const FORMAT_RECORD: usize = 128;
/// The newest format version that this engine writes and reads: that of a volume with blocks.
pub const FORMAT_VERSION: u16 = 3;
/// Without blocks it writes this one, and it reads nothing older.
pub const OLDEST_VERSION: u16 = 2;
const MAGIC: [u8; 8] = *b"ESKERVOL";
const CRC_AT: usize = 124;
/// Where a second home may begin, as logarithms.
pub(super) const MIN_HOME: u32 = 11;
pub(super) const MAX_HOME: u32 = 27;
const REGIONS: usize = 4;
const REGION_POOL: u32 = 1;
const REGION_BLOCKS: u32 = 2;
const MIN_BLOCK: u32 = 512;
const MAX_BLOCK: u32 = 1 << 20;
/// With fewer blocks no tree is worth its pages.
const MIN_BLOCKS: u32 = 8;
/// The pool of a volume with blocks, if nobody says how long it is to be.
const MAX_POOL: u64 = 256 << 20;
/// So many segments at most: their bitmap stays below 8 KiB of RAM.
const MAX_SEGMENTS: u32 = 65_536;
/// A position in a segment has 22 bits, in words of 4 bytes.
const MAX_SEGMENT: u32 = 1 << 24;

/// How to lay out a volume. `FormatOptions::default()` chooses from the device's geometry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FormatOptions {
    /// Tells this volume from every other one, also from earlier ones on the same device: take a random number. It is
    /// mixed into every checksum, so nothing left over from another volume is ever taken for good.
    pub volume_id: u32,
    /// Bytes of a segment: a power of two, a multiple of the device's units, at most 16 MiB. 0 chooses: about a 64th
    /// of the device, from 4 KiB (or two erase units) to 16 MiB; with blocks a 512th, to 1 MiB. It bounds an entry of a
    /// log, and with it a value of a store.
    pub segment_size: u32,
    /// Bytes of the pool of segments. 0: all there is; with blocks an eighth of it, at least 8 segments (on flash 4 more
    /// than the reserve) and at most 256 MiB. What is left over stays free for other uses of the volume.
    pub pool_size: u64,
    /// Segments that appending to a log leaves free, so that on a full volume a snapshot can still be taken and a log
    /// be truncated or reset. 0 chooses: 1, or 2 where there are 8 segments or more. With 2, a snapshot that was begun and
    /// never published can be dropped even after it took all the room there was.
    pub reserve: u16,
    /// Bytes of a block, the page of a B-tree and the table of an LSM tree: a power of two from 512 to 1,048,576, no less than the device's units. The
    /// blocks take all that the pool leaves. 0: no blocks, the volume holds logs alone.
    pub block_size: u32,
}

/// What of the record is kept in memory. The geometry is the medium's, but for the read unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    pub(crate) volume_id: u32,
    pub(crate) home: u32,
    pub(crate) segment: u32,
    /// Segments in the pool.
    pub(crate) segments: u32,
    /// Blocks behind the pool, at most `u32::MAX - 1`.
    pub(crate) block_count: u32,
    pub(crate) reserve: u16,
    /// Logarithm of the size of a block; 0: there are none.
    block: u8,
    /// Logarithm of the read unit at format.
    read_unit: u8,
}

impl Format {
    /// Before a volume is known.
    pub(crate) const NONE: Self = Self {
        volume_id: 0,
        home: 0,
        segment: 0,
        segments: 0,
        block_count: 0,
        reserve: 0,
        block: 0,
        read_unit: 0,
    };

    /// The record again, given the geometry of the medium.
    pub(crate) fn record(&self, geometry: &Geometry) -> FormatRecord {
        FormatRecord {
            volume_id: self.volume_id,
            geometry: Geometry {
                read_unit: 1_u32.wrapping_shl(self.read_unit.into()),
                alignment: 1,
                ..*geometry
            },
            home: self.home,
            segment: self.segment,
            reserve: self.reserve,
            pool: self.pool(),
            pool_len: self.pool_len(),
            block_size: self.block_size(),
            block_count: self.block_count,
        }
    }

    /// Address of the first segment.
    pub(crate) fn pool(&self) -> u64 {
        u64::from(self.home) << 1
    }

    fn pool_len(&self) -> u64 {
        u64::from(self.segments).wrapping_mul(self.segment.into())
    }

    /// Bytes of a block, 512 at least; 0: there are none.
    pub(crate) fn block_size(&self) -> u32 {
        1_u32.wrapping_shl(self.block.into()) & !1
    }

    /// Address of the first block.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(crate) fn blocks(&self) -> u64 {
        self.pool().wrapping_add(self.pool_len())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FormatRecord {
    pub(crate) volume_id: u32,
    pub(crate) geometry: Geometry,
    pub(crate) home: u32,
    pub(crate) segment: u32,
    pub(crate) reserve: u16,
    pub(crate) pool: u64,
    pub(crate) pool_len: u64,
    /// 0: there are none.
    pub(crate) block_size: u32,
    /// Blocks behind the pool, at most `u32::MAX - 1`.
    pub(crate) block_count: u32,
}

impl FormatRecord {
    pub(crate) fn plan<E>(geometry: Geometry, options: &FormatOptions) -> Result<Self, Error<E>> {
        geometry.check().map_err(|_| Error::Options("the device reports a geometry that can't be"))?;
        let block = geometry.block();
        let home = home_size(&geometry);
        let pool = u64::from(home).saturating_mul(2);
        let room = geometry.capacity.saturating_sub(pool);
        let segment = if options.segment_size == 0 {
            let least = block
                .max(4096)
                .max(geometry.write_unit.saturating_mul(4))
                .max(geometry.erase_unit.saturating_mul(2))
                .min(MAX_SEGMENT);
            // A store's log is an eighth of the device, and what is left of it after a checkpoint is one segment.
            let (parts, most) = if options.block_size == 0 { (64, MAX_SEGMENT) } else { (512, 1 << 20) };
            let wanted = (room / parts).min(u64::from(most)) as u32;
            wanted.checked_next_power_of_two().unwrap_or(MAX_SEGMENT).clamp(least, MAX_SEGMENT)
        } else {
            options.segment_size
        };
        let least = block.max(geometry.write_unit.saturating_mul(2));
        if !segment.is_power_of_two() || segment < least || !(1024..=MAX_SEGMENT).contains(&segment) {
            return Err(Error::Options(
                "the segment size must be a power of two from 1 KiB to 16 MiB, no less than the device's units and two write units",
            ));
        }
        let shift = segment.trailing_zeros();
        let wanted = match options.pool_size {
            0 if options.block_size != 0 => {
                let few = if geometry.must_erase() { 4 } else { 8 };
                let least = few.max(u64::from(options.reserve.max(1)).saturating_add(4));
                (room / 8).min(MAX_POOL).max(least << shift)
            }
            0 => room,
            wanted => wanted,
        };
        let count = (wanted >> shift).min(u64::from(MAX_SEGMENTS));
        let pool_len = count << shift;
        let reserve = match options.reserve {
            0 if count >= 8 => 2,
            reserve => reserve.max(1),
        };
        if pool_len > room || count < u64::from(reserve).saturating_add(2) {
            return Err(Error::Options(
                "the pool must fit the device and hold at least two segments more than the reserve: \
                 use a larger device or smaller segments",
            ));
        }
        let mut format = Self {
            volume_id: options.volume_id,
            geometry,
            home,
            segment,
            reserve,
            pool,
            pool_len,
            ..Self::none()
        };
        if options.block_size != 0 {
            format.plan_blocks(options.block_size).map_err(Error::Options)?;
        }
        Ok(format)
    }

    /// Makes blocks of all that is behind the pool.
    fn plan_blocks(&mut self, size: u32) -> Result<(), &'static str> {
        if !is_block_size(size, &self.geometry) {
            return Err(
                "the block size must be a power of two from 512 to 1048576, no less than the device's read, write and erase units",
            );
        }
        self.block_size = size;
        let count = self.geometry.capacity.saturating_sub(self.blocks()) >> size.trailing_zeros();
        self.block_count = count.min(u64::from(u32::MAX - 1)) as u32;
        if self.block_count < MIN_BLOCKS {
            return Err(
                "behind the pool of segments there must be room for 8 blocks: use a larger device, a smaller pool or smaller blocks",
            );
        }
        Ok(())
    }

    /// What of it is to be kept.
    pub(crate) fn format(&self) -> Format {
        let Self { volume_id, home, segment, block_count, reserve, .. } = *self;
        let block = if self.block_size == 0 { 0 } else { self.block_size.trailing_zeros() as u8 };
        let read_unit = self.geometry.read_unit.trailing_zeros() as u8;
        Format { volume_id, home, segment, segments: self.segments(), block_count, reserve, block, read_unit }
    }

    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(crate) fn segments(&self) -> u32 {
        // A segment has 1 KiB at least, and then 32 bits do: what is too long is too long by far.
        let kib = u32::try_from(self.pool_len >> 10).unwrap_or(u32::MAX);
        kib >> (self.segment.trailing_zeros().saturating_sub(10) & 31)
    }

    /// Nothing, before a volume is known.
    #[cfg_attr(target_pointer_width = "32", inline(never))]
    pub(crate) const fn none() -> Self {
        let geometry = Geometry::blocks(0, 1);
        Self {
            volume_id: 0,
            geometry,
            home: 0,
            segment: 1,
            reserve: 0,
            pool: 0,
            pool_len: 0,
            block_size: 0,
            block_count: 0,
        }
    }

    /// All but the checksum; magic and version as they are there.
    fn fields(&mut self, fields: &mut Fields<'_>) -> ([u8; 8], u16) {
        let (mut magic, mut version) =
            (MAGIC, if self.block_size == 0 { OLDEST_VERSION } else { FORMAT_VERSION });
        fields.bytes(&mut magic);
        fields.u16(&mut version);
        fields.u16(&mut self.reserve);
        fields.u32(&mut self.volume_id);
        fields.u64(&mut self.geometry.capacity);
        fields.u32(&mut self.geometry.write_unit);
        fields.u32(&mut self.geometry.erase_unit);
        fields.u32(&mut self.home);
        fields.u32(&mut self.segment);
        let mut pool = Region { kind: REGION_POOL, start: self.pool, len: self.pool_len };
        pool.fields(fields);
        (self.pool, self.pool_len) = (pool.start, if pool.kind == REGION_POOL { pool.len } else { 0 });
        let mut blocks = Region::default();
        if self.block_size != 0 {
            let kind = self.block_size.trailing_zeros() << 8 | REGION_BLOCKS;
            blocks = Region { kind, start: self.blocks(), len: self.blocks_len() };
        }
        blocks.fields(fields);
        let shift = blocks.kind >> 8 & 31;
        let there = version == FORMAT_VERSION && blocks.kind & 0xFF == REGION_BLOCKS;
        self.block_size = u32::from(there) << shift;
        // Blocks are half a KiB long at least, so 32 bits do; what an image says beyond is not used.
        self.block_count = (blocks.len >> 9) as u32 >> (shift.wrapping_sub(9) & 31);
        for _ in 2..REGIONS {
            Region::default().fields(fields);
        }
        fields.u32(&mut self.geometry.read_unit);
        (magic, version)
    }

    pub(crate) fn encode(mut self, bytes: &mut [u8; FORMAT_RECORD]) {
        let (body, crc) = bytes.split_at_mut(CRC_AT);
        self.fields(&mut Fields::write(body));
        put_word(crc, Checksum::new().bytes(body).finish());
    }

    /// Takes itself from `bytes`, and returns the version. `None`: nothing of ours there, or damaged.
    fn decode(&mut self, bytes: &mut [u8; FORMAT_RECORD]) -> Option<u16> {
        let (body, crc) = bytes.split_at_mut(CRC_AT);
        let (magic, version) = self.fields(&mut Fields::read(body));
        if magic != MAGIC || word_at(crc, 0) != Checksum::new().bytes(body).finish() {
            return None;
        }
        Some(version)
    }

    /// The checksum is no signature: an image may be made by anyone. What is built on a format divides by nothing and
    /// loops over nothing that was not checked here.
    fn is_possible(&self) -> bool {
        let Self { geometry, home, segment, pool, pool_len, .. } = *self;
        geometry.check().is_ok()
            && home == home_size(&geometry)
            && segment.is_power_of_two()
            && (1024..=MAX_SEGMENT).contains(&segment)
            && segment >= geometry.block()
            && pool == u64::from(home).saturating_mul(2)
            && pool_len & u64::from(segment.saturating_sub(1)) == 0
            && pool.checked_add(pool_len).is_some_and(|end| end <= geometry.capacity)
            && (1..=MAX_SEGMENTS).contains(&self.segments())
            && (self.block_size == 0
                || is_block_size(self.block_size, &geometry)
                    && self.block_count < u32::MAX
                    && self.blocks_len() <= geometry.capacity.saturating_sub(self.blocks()))
    }

    /// Address of the first block.
    fn blocks(&self) -> u64 {
        self.pool.saturating_add(self.pool_len)
    }

    fn blocks_len(&self) -> u64 {
        u64::from(self.block_count).wrapping_mul(u64::from(self.block_size))
    }

    /// Whether a volume of this format can live on `device`.
    pub(crate) fn fits(&self, device: &Geometry) -> bool {
        let multiple = |of: u32, unit: u32| unit <= of;
        self.geometry.capacity <= device.capacity
            && multiple(self.geometry.write_unit, device.write_unit)
            && multiple(self.geometry.block(), device.read_unit)
            && (self.geometry.erase_unit == 0) == (device.erase_unit == 0)
            && multiple(self.geometry.erase_unit, device.erase_unit)
    }
}

/// Who owns a stretch of the device.
#[derive(Default)]
struct Region {
    kind: u32,
    start: u64,
    len: u64,
}

impl Region {
    #[inline(never)]
    fn fields(&mut self, fields: &mut Fields<'_>) {
        fields.u32(&mut self.kind);
        fields.u64(&mut self.start);
        fields.u64(&mut self.len);
    }
}

fn is_block_size(size: u32, geometry: &Geometry) -> bool {
    size.is_power_of_two() && (MIN_BLOCK..=MAX_BLOCK).contains(&size) && size >= geometry.block()
}

/// A home is one erase unit or several, and holds a few publishes at least.
#[inline(never)]
pub(crate) fn home_size(geometry: &Geometry) -> u32 {
    let least = geometry.block().max(geometry.write_unit.saturating_mul(8)).max(2048);
    align_up(least, geometry.block())
}

/// Reads the format record at `address`. [`Fault::NotFormatted`]: there is none that is whole.
#[inline(never)]
pub(crate) fn read_format<D: BlockDevice, B: Buffer>(
    medium: &mut Medium<D, B>,
    address: u32,
    format: &mut FormatRecord,
) -> Result<(), Fault> {
    let address = u64::from(address);
    if address.saturating_add(FORMAT_RECORD as u64) > medium.capacity() {
        return Err(Fault::NotFormatted);
    }
    // Fewer bytes: a unit behind the first can't be read.
    let view = medium.view(address, FORMAT_RECORD as u32);
    let bytes = view.and_then(|view| view.first_chunk_mut()).ok_or(Fault::Device)?;
    match format.decode(bytes) {
        Some(OLDEST_VERSION..=FORMAT_VERSION) if format.is_possible() => Ok(()),
        Some(OLDEST_VERSION..=FORMAT_VERSION) | None => Err(Fault::NotFormatted),
        Some(version) => Err(medium.fault(Fault::Version, u32::from(version))),
    }
}

/// The format record of the volume on this device, from either home.
pub(crate) fn find_format<D: BlockDevice, B: Buffer>(
    medium: &mut Medium<D, B>,
    format: &mut FormatRecord,
) -> Result<(), Fault> {
    let first = read_format(medium, 0, format);
    if matches!(first, Ok(()) | Err(Fault::Version)) {
        return first;
    }
    let home = home_size(&medium.geometry());
    let second = read_format(medium, home, format);
    if second != Err(Fault::NotFormatted) {
        return second;
    }
    if first != second {
        return first;
    }
    // The magic tells damage from something else. But if a cut has ended the formatting, then there is no second home
    // yet; on flash, where that one may also be erased just now, there is not even a publish in the first.
    let page = PAGE.max(medium.write_unit());
    let begun = !medium.must_erase() || medium.is_blank(u64::from(page), home.saturating_sub(page), false);
    let second = (MIN_HOME..=MAX_HOME).any(|shift| has_magic(medium, 1 << shift));
    if !has_magic(medium, 0) || begun && !second {
        return Err(Fault::NotFormatted);
    }
    Err(medium.fault(Fault::Damaged, 0))
}

/// What can't be read has none.
fn has_magic<D: BlockDevice, B: Buffer>(medium: &mut Medium<D, B>, address: u32) -> bool {
    let address = u64::from(address);
    let mut magic = [0; MAGIC.len()];
    address < medium.capacity() && medium.read(address, &mut magic, 0).is_ok() && magic == MAGIC
}
