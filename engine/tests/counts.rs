//! What the log costs, counted: writes, erases, reads and wear. Ceilings, not wishes; they are the promises of the docs.
use esker::device::{Counted, Counts, Geometry, Ram};
use esker::volume::{FormatOptions, Volume};
use esker::wal::{Error, Log};

/// A device that counts, and per erase unit how often it was erased.
type Device = Counted<Worn>;

struct Worn {
    ram: Ram<Vec<u8>>,
    wear: Vec<u32>,
}

impl esker::device::BlockDevice for Worn {
    type Error = esker::device::RamError;
    fn geometry(&self) -> Geometry {
        self.ram.geometry()
    }
    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), Self::Error> {
        self.ram.read(address, buffer)
    }
    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), Self::Error> {
        let old = &self.ram.bytes()[address as usize..][..data.len()];
        if self.ram.geometry().must_erase() {
            assert!(old.iter().all(|byte| *byte == 0xFF), "programmed twice at {address}");
        }
        self.ram.write(address, data)
    }
    fn erase(&mut self, range: std::ops::Range<u64>) -> Result<(), Self::Error> {
        let unit = u64::from(self.ram.geometry().erase_unit);
        for at in range.start / unit..range.end / unit {
            self.wear[at as usize] += 1;
        }
        self.ram.erase(range)
    }
    fn sync(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

fn nor(capacity: usize) -> Device {
    let ram = Ram::new(vec![0xFF; capacity], Geometry::flash(0, 4, 4096));
    Counted::new(Worn { ram, wear: vec![0; capacity / 4096] })
}

/// Appends entries of `len` bytes, each its own commit, until the pool has gone round `laps` times; returns counts since
/// the format, entries, and the greatest and least wear of the pool's units.
fn laps(len: usize, laps: u64) -> (Counts, u64, u32, u32) {
    let mut volume: Volume<Device, _> = Volume::format(
        nor(1 << 20),
        vec![0; 512],
        &FormatOptions { volume_id: 1, segment_size: 65_536, ..FormatOptions::default() },
    )
    .unwrap();
    volume.create_log(0).unwrap();
    let mut log: Log<_> = Log::open(&mut volume, 0, vec![0; 512]).unwrap();
    volume.device_mut().reset();
    let pool = volume.info().pool_address;
    let info = volume.info();
    let total = laps * u64::from(info.segments) * u64::from(info.segment_size);
    let payload = vec![0xA5; len];
    let mut entries = 0;
    while volume.device().counts().written_bytes < total {
        match log.append(&mut volume, &payload) {
            Ok(_) => {}
            Err(Error::Full { release_before: Some(offset) }) => {
                log.release_before(&mut volume, offset).unwrap();
                continue;
            }
            Err(error) => panic!("{error}"),
        }
        log.commit(&mut volume).unwrap();
        entries += 1;
    }
    let counts = volume.device().counts();
    let wear = &volume.device().get_ref().wear[pool as usize / 4096..]
        [..(u64::from(info.segments) * u64::from(info.segment_size) / 4096) as usize];
    (counts, entries, *wear.iter().max().unwrap(), *wear.iter().min().unwrap())
}

#[test]
fn on_flash_appending_writes_little_more_than_the_entries_and_wears_evenly() {
    for (len, most) in [(32, 1.26), (100, 1.09)] {
        let (counts, entries, worn, fresh) = laps(len, 20);
        let amplification = counts.written_bytes as f64 / (entries * len as u64) as f64;
        let erases = counts.erased_bytes as f64 / 4096.0;
        let fair = counts.written_bytes as f64 / 4096.0;
        println!(
            "{len} B: {entries} entries, {amplification:.4} bytes programmed per byte, {:.4} erases per 4 KiB \
             programmed, wear {fresh} to {worn}",
            erases / fair
        );
        assert!(amplification <= most, "{len} B: {amplification}");
        assert!(erases <= 1.02 * fair, "{len} B: {erases} erases, {fair} would be fair");
        assert!(worn - fresh <= 2, "wear {fresh} to {worn}");
    }
}

#[test]
fn a_commit_is_one_write_and_one_sync() {
    for geometry in
        [Geometry::blocks(1 << 20, 512), Geometry::blocks(1 << 22, 4096), Geometry::flash(1 << 20, 4, 4096)]
    {
        let ram = Ram::new(vec![0; geometry.capacity as usize], geometry);
        let mut volume: Volume<_, _> =
            Volume::format(Counted::new(ram), vec![0; 4096], &FormatOptions::default()).unwrap();
        volume.create_log(0).unwrap();
        let mut log: Log<_> = Log::open(&mut volume, 0, vec![0; 8192]).unwrap();
        for _ in 0..20 {
            log.append(&mut volume, &[7; 100]).unwrap();
            log.commit(&mut volume).unwrap();
        }
        let before = volume.device().counts();
        log.append(&mut volume, &[7; 100]).unwrap();
        assert_eq!(volume.device().counts(), before, "an append is free until the buffer is full");
        log.commit(&mut volume).unwrap();
        log.commit(&mut volume).unwrap();
        let cost = volume.device().counts().since(before);
        let unit = u64::from(geometry.write_unit);
        assert!(cost.writes <= 1 + u64::from(geometry.must_erase()), "{cost:?}");
        assert_eq!(
            (cost.written_bytes, cost.syncs, cost.reads),
            (108_u64.next_multiple_of(unit), 1, 0),
            "{cost:?}"
        );
    }
}

#[test]
fn nothing_of_the_next_window_is_written_while_a_sync_is_under_way() {
    for geometry in [Geometry::blocks(1 << 20, 512), Geometry::flash(1 << 20, 4, 4096)] {
        let ram = Ram::new(vec![0; geometry.capacity as usize], geometry);
        let mut volume: Volume<_, _> =
            Volume::format(Counted::new(ram), vec![0; 4096], &FormatOptions::default()).unwrap();
        volume.create_log(0).unwrap();
        let mut log: Log<_> = Log::open(&mut volume, 0, vec![0; 1024]).unwrap();
        let mut total = 0;
        for round in 0..100 {
            log.append(&mut volume, &[7; 100]).unwrap();
            let ticket = log.flush(&mut volume).unwrap();
            let before = volume.device().counts();
            let mut appended = 0;
            let refused = loop {
                match log.append(&mut volume, &[8; 100]) {
                    Ok(_) => appended += 1,
                    Err(error) => break error,
                }
            };
            assert_eq!(refused, Error::SyncPending, "round {round}");
            total += appended;
            assert_eq!(log.flush(&mut volume), Err(Error::SyncPending));
            assert_eq!(volume.device().counts(), before, "the buffer has to do");
            volume.sync().unwrap();
            log.acknowledge(ticket);
            assert_eq!(log.durable(), log.end() - appended);
            log.commit(&mut volume).unwrap();
            assert_eq!(log.durable(), log.end());
        }
        assert!(total > 700, "a kibibyte takes nine entries, but for the end of a segment: {total}");
    }
}

#[test]
fn opening_reads_one_header_a_segment_and_one_segment() {
    for geometry in [Geometry::flash(8 << 20, 4, 4096), Geometry::blocks(8 << 20, 512)] {
        let segment = 8192_u64;
        let options =
            FormatOptions { volume_id: 1, segment_size: segment as u32, ..FormatOptions::default() };
        let memory = Volume::<Device, Vec<u8>>::memory_needed(&geometry, &options);
        let ram = Ram::new(vec![0xFF; geometry.capacity as usize], geometry);
        let mut volume: Volume<_, _> = Volume::format(Counted::new(ram), vec![0; memory], &options).unwrap();
        volume.create_log(0).unwrap();
        let mut log: Log<_> = Log::open(&mut volume, 0, vec![0; 4096]).unwrap();
        while log.info(&mut volume).unwrap().segments < 1000 {
            log.append(&mut volume, &[3; 500]).unwrap();
            if log.end() % 5 == 0 {
                log.commit(&mut volume).unwrap();
            }
        }
        log.append(&mut volume, &[3; 500]).unwrap();
        log.commit(&mut volume).unwrap();
        let info = volume.info();
        let unit = u64::from(geometry.read_unit).max(64);
        for clean in [false, true] {
            if clean {
                let log: Log<_> = Log::open(&mut volume, 0, vec![0; 4096]).unwrap();
                log.close(&mut volume).unwrap();
            }
            let mut device = volume.into_device();
            device.reset();
            let mounted = Volume::<_, _>::mount(device, vec![0; memory]).unwrap();
            let superblock = mounted.device().counts().read_bytes;
            device = mounted.into_device();
            device.reset();
            volume = Volume::open(device, vec![0; memory]).unwrap();
            let log: Log<_> = Log::open(&mut volume, 0, vec![0; 4096]).unwrap();
            assert_eq!(log.report().clean, clean);
            let counts = volume.device().counts();
            let bytes = counts.read_bytes - superblock;
            // After a cut the last commit may have begun in the segment before.
            let most = u64::from(info.segments) * unit + segment * if clean { 1 } else { 2 };
            println!(
                "{geometry:?} clean {clean}: {} reads, {bytes} bytes beside the superblock's {superblock}, at most {most}",
                counts.reads
            );
            assert!(bytes <= most, "{bytes} bytes read, at most {most}");
            assert_eq!((counts.writes, counts.erases, counts.syncs), (0, 0, 0), "opening writes nothing");
        }
    }
}

/// A header is 56 bytes, and on flash read as such; what is longer are entries.
#[test]
fn reading_on_takes_few_headers_a_segment() {
    for (segments, most) in [(27, 2.9), (1000, 4.7)] {
        let geometry = Geometry::flash(8 << 20, 4, 4096);
        let options = FormatOptions { volume_id: 1, segment_size: 8192, ..FormatOptions::default() };
        let ram = Ram::new(vec![0xFF; geometry.capacity as usize], geometry);
        let headers = Headers { ram, read: 0 };
        let mut volume: Volume<_, _> = Volume::format(headers, vec![0; 1024], &options).unwrap();
        volume.create_log(0).unwrap();
        let mut log: Log<_> = Log::open(&mut volume, 0, vec![0; 4096]).unwrap();
        while log.info(&mut volume).unwrap().segments < segments {
            log.append(&mut volume, &[3; 500]).unwrap();
        }
        log.commit(&mut volume).unwrap();
        let mut out = [0; 500];
        let mut cursor = log.cursor(0);
        volume.device_mut().read = 0;
        let mut entries = 0;
        while let Some(entry) = log.next(&mut volume, &mut cursor, &mut out).unwrap() {
            assert_eq!((entry.offset, entry.len), (entries, 500));
            entries += 1;
        }
        assert_eq!(entries, log.end());
        let each = f64::from(volume.device().read) / f64::from(segments);
        println!("{segments} segments: {each:.2} headers read for each");
        assert!(each <= most, "{segments} segments: {each} headers read for each");
    }
}

/// Counts reads of a segment's first bytes alone.
struct Headers {
    ram: Ram<Vec<u8>>,
    read: u32,
}

impl esker::device::BlockDevice for Headers {
    type Error = esker::device::RamError;
    fn geometry(&self) -> Geometry {
        self.ram.geometry()
    }
    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), Self::Error> {
        self.read += u32::from(address.is_multiple_of(8192) && buffer.len() == 56);
        self.ram.read(address, buffer)
    }
    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), Self::Error> {
        self.ram.write(address, data)
    }
    fn erase(&mut self, range: std::ops::Range<u64>) -> Result<(), Self::Error> {
        self.ram.erase(range)
    }
    fn sync(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

#[test]
fn a_volume_and_a_log_take_little_memory_of_their_own() {
    let volume = size_of::<Volume<&mut Device, &mut [u8], 1>>();
    let log = size_of::<Log<&mut [u8]>>();
    println!("volume {volume} + log {log} bytes on this machine");
    #[cfg(target_pointer_width = "32")]
    assert!(volume + log <= 512);
}

/// Of a record that is partly in the buffer, only the rest is read. Beside the entries there are the headers.
#[test]
fn reading_on_reads_each_byte_once() {
    let geometry = Geometry::flash(1 << 20, 4, 4096);
    let options = FormatOptions { volume_id: 1, segment_size: 8192, ..FormatOptions::default() };
    let mut worst = 0_f64;
    for len in (1..64).step_by(3).chain([100, 200]) {
        let ram = Ram::new(vec![0xFF; geometry.capacity as usize], geometry);
        let mut volume: Volume<_, _> = Volume::format(Counted::new(ram), vec![0; 768], &options).unwrap();
        volume.create_log(0).unwrap();
        let mut log: Log<_> = Log::open(&mut volume, 0, vec![0; 4096]).unwrap();
        while log.info(&mut volume).unwrap().segments < 28 {
            log.append(&mut volume, &[3; 200][..len]).unwrap();
        }
        log.commit(&mut volume).unwrap();
        let (mut out, mut cursor) = ([0; 200], log.cursor(0));
        volume.device_mut().reset();
        while log.next(&mut volume, &mut cursor, &mut out).unwrap().is_some() {}
        let counts = volume.device().counts();
        let each = counts.read_bytes as f64 / (27. * 8192.);
        assert!(each <= 1.017, "entries of {len} bytes: {each:.3} bytes read for each");
        worst = worst.max(each);
    }
    println!("at most {worst:.4} bytes read for each");
}
