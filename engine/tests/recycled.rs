//! What an earlier life of a segment left behind is never taken for the log's, however much of it there is.
use esker::device::{Geometry, Ram};
use esker::volume::{FormatOptions, Volume};
use esker::wal::Log;

const SEGMENT: u32 = 1 << 20;

/// Records of 250 lengths go round through three segments, and every 251 of them the log is opened again without having
/// been closed. `resets` shifts lives and epochs, and with them which checksums come about.
///
/// Some record of an earlier life then bears a checksum that would be right in this one, for some offset or other: with
/// these numbers one does. The bits of the offset in its head tell, and that no other one follows on it.
#[test]
fn records_of_an_earlier_life_are_nothing_at_all() {
    for resets in [7] {
        let geometry = Geometry::blocks(8192 + 3 * u64::from(SEGMENT), 512);
        let options = FormatOptions { volume_id: 7, segment_size: SEGMENT, ..FormatOptions::default() };
        let device = Ram::new(vec![0; geometry.capacity as usize], geometry);
        let mut volume: Volume<_, _> = Volume::format(device, vec![0; 1 << 16], &options).unwrap();
        volume.create_log(0).unwrap();
        let mut log: Log<_> = Log::open(&mut volume, 0, vec![0; 1 << 16]).unwrap();
        for _ in 0..resets {
            log.reset(&mut volume, 0).unwrap();
        }
        let text = [b'x'; 1024];
        while log.end() < 6500 {
            let end = log.end();
            if log.info(&mut volume).unwrap().segments > 1 {
                log.release_before(&mut volume, end).unwrap();
            }
            log.append(&mut volume, &text[..(end as usize * 4) % 1000]).unwrap();
            if end % 251 == 250 {
                log.commit(&mut volume).unwrap();
                volume = Volume::open(volume.into_device(), vec![0; 1 << 16]).unwrap();
                log = Log::open(&mut volume, 0, vec![0; 1 << 16]).unwrap();
                let report = log.report();
                assert_eq!((log.end(), report.damaged), (end + 1, 0), "{resets} resets: {report:?}");
            }
        }
    }
}
