//! The application without a board: over memory, run after run, until the log has come around several times.

use esker::device::{Geometry, Ram};
use esker::volume::Volume;
use esker::wal::Log;
use esker_qemu::boards::{emcraft_sf2, lm3s6965evb};
use esker_qemu::logger::{EVENTS, Memory, RUN, SAMPLE, SAMPLES, Stamp, check_sample, run, sample};
use esker_qemu::settings::{NoSettings, OnBTree};

#[test]
fn runs_follow_each_other_while_old_samples_go() {
    let parts = [
        (Geometry::blocks(0, 512), lm3s6965evb::LAYOUT, 0),
        (Geometry::flash(0, 4, 65_536), emcraft_sf2::LOGS_LAYOUT, 0xFF),
    ];
    for (geometry, layout, blank) in parts {
        let mut part = Ram::new(vec![blank; 1 << 20], geometry);
        let (mut memory, mut settings) = (Memory::new(), OnBTree::new());
        for _ in 0..100 {
            let done = if layout.block_size == 0 {
                run(&mut part, &layout, &mut memory, &mut NoSettings)
            } else {
                run(&mut part, &layout, &mut memory, &mut settings.lend())
            };
            assert!(done, "{geometry:?}");
        }
        let mut volume = Volume::<_, _>::open(&mut part, vec![0; 4096]).unwrap();
        let log: Log<_> = Log::open(&mut volume, SAMPLES, vec![0; 4096]).unwrap();
        assert_eq!(log.end(), u64::from(100 * RUN), "none is missing, none is there twice");
        assert!(log.start() > 0, "the oldest made room");
        let mut bytes = [0; SAMPLE];
        log.read(&mut volume, log.start(), &mut bytes).unwrap();
        assert!(check_sample(&bytes, log.start()).is_some());
        let events: Log<_> = Log::open(&mut volume, EVENTS, vec![0; 4096]).unwrap();
        assert_eq!(events.end(), 500, "started, three of progress, stopped");
    }
}

#[test]
fn a_wrong_sample_is_noticed() {
    let mut part = Ram::new(vec![0; 1 << 20], Geometry::blocks(0, 512));
    let mut memory = Memory::new();
    assert!(run(&mut part, &lm3s6965evb::LAYOUT, &mut memory, &mut NoSettings));
    {
        let mut volume = Volume::<_, _>::open(&mut part, vec![0; 4096]).unwrap();
        let mut log: Log<_> = Log::open(&mut volume, SAMPLES, vec![0; 4096]).unwrap();
        log.append(&mut volume, &sample(Stamp { boot: 1, number: 0 })).unwrap();
        log.close(&mut volume).unwrap();
    }
    assert!(!run(&mut part, &lm3s6965evb::LAYOUT, &mut memory, &mut NoSettings));
}
