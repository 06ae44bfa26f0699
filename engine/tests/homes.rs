//! The superblock's two homes on flash: in which order they are written and erased.
use esker::device::{BlockDevice, Geometry, Ram, RamError};
use esker::volume::{FormatOptions, Volume};
use esker::wal::Log;

const HOME: u64 = 4096;

/// What was done to the homes, in letters: `a` and `b` for writes, `A` and `B` for erases, a blank for the sync behind.
struct Watched {
    ram: Ram<Vec<u8>>,
    done: String,
    /// So many more writes of homes it takes, and then erases only.
    left: usize,
}

impl Watched {
    fn note(&mut self, address: u64, names: [char; 2]) {
        self.done.extend(names.get((address / HOME) as usize));
    }
}

impl BlockDevice for Watched {
    type Error = RamError;
    fn geometry(&self) -> Geometry {
        self.ram.geometry()
    }
    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), RamError> {
        self.ram.read(address, buffer)
    }
    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), RamError> {
        self.note(address, ['a', 'b']);
        if address < 2 * HOME {
            self.left = self.left.checked_sub(1).ok_or(RamError::OutOfBounds)?;
        }
        self.ram.write(address, data)
    }
    fn erase(&mut self, range: std::ops::Range<u64>) -> Result<(), RamError> {
        self.note(range.start, ['A', 'B']);
        self.ram.erase(range)
    }
    fn sync(&mut self) -> Result<(), RamError> {
        if !self.done.is_empty() && !self.done.ends_with(' ') {
            self.done.push(' ');
        }
        Ok(())
    }
}

/// An erase that a cut interrupts may leave a home that reads as before, and is not to be trusted. Only if the other one
/// holds a newer publish by then is that seen, and there is always one that can be trusted.
#[test]
fn a_home_is_erased_only_after_the_other_took_the_new_publish() {
    for publishes in [1, 2, 7, 1000] {
        let ram = Ram::new(vec![0xFF; 1 << 16], Geometry::flash(0, 4, 4096));
        let options = FormatOptions { volume_id: 1, segment_size: 4096, ..FormatOptions::default() };
        let mut device = Watched { ram, done: String::new(), left: usize::MAX };
        Volume::<_, _, 4>::format(&mut device, vec![0; 512], &options).unwrap().create_log(0).unwrap();
        device.done.clear();
        for _ in 0..600_usize.div_ceil(publishes) {
            let mut volume = Volume::<_, _, 4>::open(&mut device, vec![0; 512]).unwrap();
            let mut log: Log<_> = Log::open(&mut volume, 0, vec![0; 512]).unwrap();
            for _ in 0..publishes {
                // Each takes a segment, so each release is a publish.
                let offset = log.append(&mut volume, &[7; 3000]).unwrap();
                log.commit(&mut volume).unwrap();
                log.release_before(&mut volume, offset).unwrap();
            }
        }
        let homes: Vec<_> = device.done.split_whitespace().collect();
        for publish in homes.chunks(2) {
            assert!(!publish[0].contains(['A', 'B']), "{publish:?}, {publishes} in a session");
        }
        let erased = device.done.matches(['A', 'B']).count();
        assert!(
            homes.len() > 1000 && (20..40).contains(&erased),
            "{erased} erases for {} publishes",
            homes.len() / 2
        );
    }
}

/// Its last publish is in the home that had room, and the other one is erased for it, and then not written any more. Each session that
/// opens it finds that out anew, and must not make room for itself in the home that has the only publish.
#[test]
fn a_device_that_takes_no_writes_any_more_keeps_one_home() {
    let mut refused = 0;
    for publishes in 1..90 {
        let ram = Ram::new(vec![0xFF; 1 << 16], Geometry::flash(0, 4, 4096));
        let options = FormatOptions { volume_id: 1, segment_size: 4096, ..FormatOptions::default() };
        let mut device = Watched { ram, done: String::new(), left: usize::MAX };
        Volume::<_, _, 4>::format(&mut device, vec![0; 512], &options).unwrap().create_log(0).unwrap();
        let publish = |device: &mut Watched, times: usize| -> Option<u64> {
            let mut volume = Volume::<_, _, 4>::open(device, vec![0; 512]).unwrap();
            let mut log: Log<_> = Log::open(&mut volume, 0, vec![0; 512]).unwrap();
            let start = log.info(&mut volume).unwrap().start;
            for _ in 0..times {
                let offset = log.append(&mut volume, &[7; 3000]).ok()?;
                log.commit(&mut volume).ok()?;
                log.release_before(&mut volume, offset).ok()?;
            }
            Some(start)
        };
        assert!(publish(&mut device, publishes).is_some());
        for left in [1, 2] {
            device.left = left;
            publish(&mut device, 4);
            for _ in 0..3 {
                let mut volume = Volume::<_, _, 4>::open(&mut device, vec![0; 512]).unwrap();
                refused += u32::from(volume.create_log(1).is_err());
            }
            device.left = usize::MAX;
            let start = publish(&mut device, 0).unwrap() as usize;
            assert!((publishes - 1..publishes + 4).contains(&start), "{start} after {publishes} publishes");
        }
    }
    println!("{refused} publishes were refused");
    assert!(refused > 500);
}
