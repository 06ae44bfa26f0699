//! What a simulated device does when it works, and when it is told not to.

use esker::device::{BlockDevice, Geometry};
use esker_sim::{
    Applied, CostModel, Discard, Fault, HalfErased, OnViolation, PowerCut, Programming, Reading, Sim,
    SimError, ViolationKind,
};

const BLOCK: usize = 512;

fn disk() -> Sim {
    Sim::blocks(16 * BLOCK as u64, BLOCK as u32)
}

fn flash() -> Sim {
    Sim::nor(4 * 4096, 4, 4096)
}

fn block(sim: &Sim, number: usize) -> u8 {
    let mut buffer = [0; BLOCK];
    sim.clone().read((number * BLOCK) as u64, &mut buffer).unwrap();
    assert!(buffer.iter().all(|byte| *byte == buffer[0]), "block {number} is torn");
    buffer[0]
}

fn kinds(sim: &Sim) -> Vec<ViolationKind> {
    sim.violations().iter().map(|violation| violation.kind).collect()
}

#[test]
fn unsynced_writes_are_read_but_do_not_survive() {
    let mut sim = disk();
    sim.write(0, &[1; BLOCK]).unwrap();
    sim.sync().unwrap();
    sim.write(0, &[2; BLOCK]).unwrap();
    sim.write(BLOCK as u64, &[2; BLOCK]).unwrap();
    assert_eq!((block(&sim, 0), block(&sim, 1)), (2, 2));
    assert_eq!(sim.durable_image()[0], 1);
    sim.power_cut(PowerCut::LoseAll);
    assert_eq!((block(&sim, 0), block(&sim, 1)), (1, 0));
}

#[test]
fn a_kind_power_cut_keeps_everything_and_a_random_one_repeats_itself() {
    let image = |cut| {
        let mut sim = disk();
        for number in 0..10u8 {
            sim.write(u64::from(number) * BLOCK as u64, &[number + 1; BLOCK]).unwrap();
        }
        sim.power_cut(cut);
        sim.image()
    };
    assert!(image(PowerCut::KeepAll).iter().take(10 * BLOCK).all(|byte| *byte != 0));
    let images: Vec<_> = (0..50).map(|seed| image(PowerCut::Random(seed))).collect();
    assert!((0..50).all(|seed| images[seed as usize] == image(PowerCut::Random(seed))));
    let distinct: std::collections::HashSet<_> = images.iter().collect();
    assert!(distinct.len() > 30, "only {} of 50 differ", distinct.len());
}

#[test]
fn flash_programmed_twice_is_caught_even_if_the_error_is_swallowed() {
    let mut sim = flash();
    sim.write(0, &[0xF0; 8]).unwrap();
    assert!(matches!(sim.write(4, &[0; 4]), Err(SimError::Violation(_))));
    assert_eq!(sim.image()[4], 0xF0, "nothing was done");
    assert_eq!(kinds(&sim), [ViolationKind::ProgrammedTwice]);
    assert_eq!((sim.violations()[0].address, sim.violations()[0].call), (4, 2));
    sim.erase(0..4096).unwrap();
    sim.write(4, &[0; 4]).unwrap();
    assert_eq!(sim.violations().len(), 1);
}

#[test]
fn programming_ones_counts_as_programming() {
    let mut sim = flash();
    sim.write(0, &[0xFF; 4]).unwrap();
    assert!(sim.write(0, &[0; 4]).is_err());
}

#[test]
#[should_panic(expected = "programmed twice")]
fn strict_flash_panics() {
    let mut sim = flash().with_on_violation(OnViolation::Panic);
    sim.write(0, &[0; 4]).unwrap();
    let _ = sim.write(0, &[0; 4]);
}

#[test]
fn a_lenient_flash_does_what_the_part_would_and_remembers() {
    let mut sim = flash().with_on_violation(OnViolation::Allow);
    sim.write(0, &[0xF0; 4]).unwrap();
    sim.write(0, &[0x3C; 4]).unwrap();
    assert_eq!(sim.image()[..4], [0x30; 4]);
    assert_eq!(sim.violations().len(), 1);
    assert!(sim.write(2, &[0; 4]).is_err(), "no part can do that");
}

#[test]
fn calls_off_the_units_or_the_device_do_nothing() {
    let mut sim = flash();
    assert!(sim.write(2, &[0; 4]).is_err());
    assert!(sim.erase(0..100).is_err());
    assert!(sim.erase(0..5 * 4096).is_err());
    assert!(sim.read(4 * 4096 - 1, &mut [0; 2]).is_err());
    use ViolationKind::{Misaligned, OutOfBounds};
    assert_eq!(kinds(&sim), [Misaligned, Misaligned, OutOfBounds, OutOfBounds]);
    assert!(sim.image().iter().all(|byte| *byte == 0xFF));
}

#[test]
fn buffers_must_be_aligned_where_the_geometry_asks() {
    let mut sim = Sim::new(Geometry { alignment: 64, ..Geometry::blocks(4096, 512) }).unwrap();
    let buffer = vec![0u8; 512 + 128];
    let off = 64 - buffer.as_ptr().addr() % 64;
    sim.write(0, &buffer[off..off + 512]).unwrap();
    assert!(sim.write(0, &buffer[off + 1..off + 513]).is_err());
    assert_eq!(kinds(&sim), [ViolationKind::BufferAlignment]);
}

#[test]
fn failed_programs_burn_and_failed_erases_leave_unreliable_blankness() {
    for applied in [Applied::Nothing, Applied::Part, Applied::All] {
        let mut sim = flash();
        sim.inject(Fault::write_error(applied));
        assert_eq!(sim.write(8, &[0; 16]), Err(SimError::Write { address: 8 }));
        let programmed = sim.image()[8..24].iter().take_while(|byte| **byte == 0).count();
        assert_eq!(programmed, [0, 10, 16][applied as usize], "half of four units and half of the third");
        if applied == Applied::Nothing {
            sim.write(8, &[0; 4]).expect("what was refused was not touched");
            sim.write(12, &[0; 4]).expect("nor what lies behind");
        }
        let again = if applied == Applied::Nothing { 8 } else { 20 };
        assert!(sim.write(again, &[0; 4]).is_err(), "it may read as blank");
        sim.inject(Fault::erase_error(applied));
        assert!(sim.erase(0..8192).is_err());
        assert_eq!(sim.unit(8).0, Programming::Unreliable);
        assert!(sim.write(8, &[0; 4]).is_err());
        let first = if applied == Applied::Nothing {
            ViolationKind::ProgrammedTwice
        } else {
            ViolationKind::ProgrammedBurnt
        };
        assert_eq!(kinds(&sim), [first, ViolationKind::ProgrammedUnreliable]);
        sim.erase(0..8192).unwrap();
        sim.write(8, &[0; 4]).unwrap();
    }
}

#[test]
fn faults_strike_the_call_they_name_as_often_as_they_say() {
    let mut sim = disk();
    let third = sim.inject(Fault::write_error(Applied::Nothing).nth(2).times(2));
    let results: Vec<_> = (0..5).map(|_| sim.write(0, &[1; BLOCK]).is_ok()).collect();
    assert_eq!(results, [true, true, false, false, true]);
    assert_eq!(sim.struck(third), 2);
    let place = sim.inject(Fault::write_error(Applied::Part).within(1024..1536).nth(1).for_ever());
    sim.write(1024, &[7; BLOCK]).unwrap();
    sim.write(0, &[7; BLOCK]).unwrap();
    assert_eq!(sim.write(0, &[9; 4 * BLOCK]), Err(SimError::Write { address: 1024 }));
    assert_eq!([0, 1, 2, 3].map(|number| block(&sim, number)), [9, 9, 7, 0], "what lies before is done");
    assert_eq!(sim.struck(place), 1);
    sim.withdraw(place);
    sim.write(0, &[9; 4 * BLOCK]).unwrap();
}

#[test]
fn bad_units_fail_for_ever_and_their_neighbours_do_not() {
    let mut sim = flash();
    sim.inject(Fault::bad_units(4096..8192));
    assert_eq!(sim.write(4092, &[0; 8]), Err(SimError::Write { address: 4096 }));
    assert_eq!(sim.image()[4092..4100], [0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
    for _ in 0..3 {
        assert_eq!(sim.read(4090, &mut [0; 10]), Err(SimError::Read { address: 4096 }));
        assert_eq!(sim.erase(0..8192), Err(SimError::Erase { address: 4096 }));
        sim.erase(0..4096).unwrap();
        sim.write(0, &[0; 4096]).unwrap();
        sim.read(0, &mut [0; 4096]).unwrap();
    }
    assert!(matches!(sim.write(4096, &[0; 4]), Err(SimError::Violation(_))), "its erase failed");
}

#[test]
fn a_failing_write_applies_what_it_says() {
    for (applied, expected) in
        [(Applied::Nothing, 0), (Applied::Part, BLOCK + BLOCK / 2), (Applied::All, 3 * BLOCK)]
    {
        let mut sim = disk();
        sim.inject(Fault::write_error(applied));
        assert!(sim.write(0, &[1; 3 * BLOCK]).is_err());
        assert_eq!(sim.image().iter().filter(|byte| **byte == 1).count(), expected);
    }
}

#[test]
fn full_and_write_protected_devices_say_so_and_change_nothing() {
    let mut sim = flash();
    sim.write(0, &[0; 4]).unwrap();
    sim.inject(Fault::no_space());
    assert_eq!(sim.write(4, &[0; 4]), Err(SimError::NoSpace));
    sim.inject(Fault::read_only());
    assert_eq!(sim.write(4, &[0; 4]), Err(SimError::ReadOnly));
    sim.write_protect(true);
    assert_eq!(sim.write(4, &[0; 4]), Err(SimError::ReadOnly));
    assert_eq!(sim.erase(0..4096), Err(SimError::ReadOnly));
    sim.read(0, &mut [0; 4]).unwrap();
    sim.sync().unwrap();
    sim.write_protect(false);
    sim.write(4, &[0; 4]).unwrap();
    assert_eq!(sim.image()[..9], [0, 0, 0, 0, 0, 0, 0, 0, 0xFF]);
    assert!(sim.violations().is_empty(), "refused calls don't burn");
}

#[test]
fn lost_and_misdirected_calls_return_ok() {
    let mut sim = disk();
    sim.inject(Fault::lost_write());
    sim.write(0, &[1; BLOCK]).unwrap();
    sim.sync().unwrap();
    assert_eq!(block(&sim, 0), 0);
    sim.inject(Fault::misdirected_write(5 * BLOCK as u64));
    sim.write(0, &[2; BLOCK]).unwrap();
    assert_eq!((block(&sim, 0), block(&sim, 5)), (0, 2));
    sim.inject(Fault::misdirected_read(5 * BLOCK as u64));
    assert_eq!(block(&sim, 1), 2);
    assert_eq!(block(&sim, 1), 0);
    sim.inject(Fault::misdirected_write(u64::MAX));
    sim.write(0, &[3; 16 * BLOCK]).unwrap();
    assert_eq!(block(&sim, 0), 3, "there is only one place for a write as large as the device");
}

#[test]
fn a_lying_sync_loses_and_the_next_honest_one_saves() {
    let mut sim = disk();
    sim.inject(Fault::lying_sync());
    sim.write(0, &[1; BLOCK]).unwrap();
    sim.sync().unwrap();
    assert_eq!(sim.durable_image()[0], 0);
    sim.sync().unwrap();
    assert_eq!(sim.durable_image()[0], 1);
    sim.inject(Fault::lying_sync());
    sim.write(0, &[2; BLOCK]).unwrap();
    sim.sync().unwrap();
    sim.power_cut(PowerCut::LoseAll);
    assert_eq!(block(&sim, 0), 1);
}

#[test]
fn a_failed_sync_may_drop_the_dirty_data_and_hide_it() {
    for (fault, seen) in [(Fault::sync_drops_dirty(), 0), (Fault::sync_drops_dirty_unseen(), 1)] {
        let mut sim = disk();
        sim.inject(fault);
        sim.write(0, &[1; BLOCK]).unwrap();
        assert_eq!(sim.sync(), Err(SimError::Sync));
        sim.sync().unwrap();
        assert_eq!(block(&sim, 0), seen);
        assert_eq!(sim.durable_image()[0], 0, "a sync that succeeds later does not bring it back");
        sim.reopen();
        assert_eq!(block(&sim, 0), 0);
    }
}

#[test]
fn a_failed_sync_may_apply_nothing_half_or_all() {
    for (applied, expected) in [(Applied::Nothing, 0), (Applied::Part, 2), (Applied::All, 4)] {
        let mut sim = disk();
        sim.inject(Fault::sync_error(applied));
        for number in 0..4 {
            sim.write(number * BLOCK as u64, &[1; BLOCK]).unwrap();
        }
        assert!(sim.sync().is_err());
        let durable = |sim: &Sim| sim.durable_image().iter().filter(|byte| **byte == 1).count() / BLOCK;
        assert_eq!(durable(&sim), expected);
        sim.sync().unwrap();
        assert_eq!(durable(&sim), 4, "the rest stayed dirty");
    }
}

#[test]
fn power_loss_stops_everything_and_tears_what_was_in_flight() {
    let mut sim = flash();
    sim.inject(Fault::power_loss().nth(1));
    sim.write(0, &[0; 8]).unwrap();
    assert_eq!(sim.write(8, &[0; 64]), Err(SimError::PowerLost));
    assert_eq!(sim.read(0, &mut [0; 4]), Err(SimError::PowerLost));
    sim.power_cut(PowerCut::LoseAll);
    let mut bytes = [0; 72];
    sim.read(0, &mut bytes).unwrap();
    assert!(bytes[..8] == [0; 8] && bytes[8..] == [0xFF; 64]);
    assert!(sim.write(68, &[0; 4]).is_err(), "blank, but burnt");
    sim.inject(Fault::power_loss());
    assert!(sim.erase(0..4096).is_err());
    sim.power_cut(PowerCut::Random(3));
    let kept = (0..1024).filter(|unit| sim.unit(unit * 4).0 == Programming::Unreliable).count();
    assert!(kept == 0 || kept == 1024);

    let mut sim = disk();
    sim.inject(Fault::power_loss());
    assert!(sim.write(0, &[1; BLOCK]).is_err());
    assert_eq!(sim.image()[0], 0, "not even in the cache");
    sim.power_cut(PowerCut::KeepAll);
    assert_eq!(block(&sim, 0), 1);
}

#[test]
fn damage_at_rest_is_seen_and_survives() {
    let mut sim = disk();
    sim.write(0, &[0; BLOCK]).unwrap();
    sim.sync().unwrap();
    sim.flip_bit(3, 7);
    assert_eq!(sim.image()[3], 0x80);
    let places = sim.flip_bits(512..1024, 1, 9);
    assert!(places.iter().all(|(address, _)| (512..1024).contains(address)));
    assert_eq!(sim.image()[512..1024].iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
    sim.power_cut(PowerCut::KeepAll);
    assert_eq!(sim.image()[3], 0x80);
    sim.write(0, &[9; BLOCK]).unwrap();
    sim.flip_bit(0, 0);
    assert_eq!(block(&sim, 0), 9, "the cache is not the medium");
    sim.power_cut(PowerCut::LoseAll);
    assert_eq!(sim.image()[..4], [1, 0, 0, 0x80]);
    let before = sim.image();
    assert_eq!(
        sim.damage_neighbours(5 * BLOCK as u64, 4 * BLOCK as u32, 1),
        4 * BLOCK as u64..8 * BLOCK as u64
    );
    let after = sim.image();
    let hit: Vec<_> =
        (0..16).filter(|n| before[n * BLOCK..][..BLOCK] != after[n * BLOCK..][..BLOCK]).collect();
    assert_eq!(hit, [4, 6, 7]);
}

#[test]
fn sick_units_get_well_when_rewritten() {
    let mut sim = disk();
    sim.set_reading(0..BLOCK as u64, Reading::Unreadable);
    sim.set_reading(BLOCK as u64..2 * BLOCK as u64, Reading::Unstable);
    assert_eq!(sim.read(0, &mut [0; 3 * BLOCK]), Err(SimError::Read { address: 0 }));
    let (mut once, mut twice) = ([0; BLOCK], [0; BLOCK]);
    sim.read(BLOCK as u64, &mut once).unwrap();
    sim.read(BLOCK as u64, &mut twice).unwrap();
    assert_ne!(once, twice);
    sim.write(0, &[5; 2 * BLOCK]).unwrap();
    assert_eq!((block(&sim, 0), block(&sim, 1)), (5, 5));
    sim.power_cut(PowerCut::LoseAll);
    assert!(sim.read(0, &mut once).is_err(), "the rewrite was never durable");

    let mut sim = flash();
    sim.set_reading(0..4, Reading::Unreadable);
    sim.erase(0..4096).unwrap();
    sim.read(0, &mut [0; 4]).unwrap();
}

#[test]
fn an_interrupted_erase_never_leaves_programmable_flash() {
    use HalfErased::{BackBlank, Blank, FrontBlank, MixedBits, Unchanged};
    for how in [Unchanged, FrontBlank, BackBlank, MixedBits, Blank] {
        let mut sim = flash();
        sim.write(0, &[0x5A; 4096]).unwrap();
        sim.interrupt_erase(0..4096, how);
        let ones = sim.image()[..4096].iter().filter(|byte| **byte == 0xFF).count();
        match how {
            Unchanged => assert_eq!(ones, 0),
            FrontBlank | BackBlank => assert_eq!(ones, 2048),
            MixedBits => assert!((1..4096).contains(&ones)),
            Blank => assert_eq!(ones, 4096),
        }
        assert!(sim.write(2048, &[0; 4]).is_err());
        sim.erase(0..4096).unwrap();
        sim.write(2048, &[0; 4]).unwrap();
    }
}

#[test]
fn a_resized_device_keeps_what_fits() {
    let mut sim = flash();
    sim.write(0, &[1; 8]).unwrap();
    sim.resize(4096).unwrap();
    assert_eq!(sim.geometry().capacity, 4096);
    assert!(sim.read(4096, &mut [0; 1]).is_err());
    sim.resize(8192).unwrap();
    assert_eq!(sim.image()[..9], [1, 1, 1, 1, 1, 1, 1, 1, 0xFF]);
    assert!(sim.write(0, &[0; 4]).is_err(), "still programmed");
    assert!(sim.resize(100).is_err());
}

#[test]
fn calls_bytes_wear_and_time_are_counted() {
    let mut sim = flash();
    sim.write(252, &[0; 8]).unwrap();
    sim.erase(4096..3 * 4096).unwrap();
    sim.erase(4096..8192).unwrap();
    sim.read(0, &mut [0; 100]).unwrap();
    sim.sync().unwrap();
    let counts = sim.counts();
    assert_eq!((counts.writes, counts.programs, counts.write_bytes), (1, 2, 8));
    assert_eq!((counts.erases, counts.erase_units, counts.erase_bytes), (2, 3, 3 * 4096));
    assert_eq!((counts.reads, counts.read_bytes, counts.syncs), (1, 100, 1));
    assert_eq!(sim.wear(), [0, 2, 1, 0]);
    let micros = 3 * 45_000 + 2 * 30 + 8 * 5 / 2 + 10;
    assert_eq!(sim.elapsed(&CostModel::spi_nor()).as_micros(), micros);
    sim.reset_counts();
    assert_eq!(sim.counts().calls(), 0);
}

#[test]
fn a_discard_leaves_what_was_asked_for() {
    for (discard, check) in [
        (Discard::Ignored, (|bytes| bytes == [1; BLOCK]) as fn(&[u8]) -> bool),
        (Discard::Zeros, |bytes| bytes == [0; BLOCK]),
        (Discard::Garbage, |bytes| bytes.iter().any(|byte| *byte > 1)),
    ] {
        let mut sim = disk().with_discard(discard);
        sim.write(0, &[1; BLOCK]).unwrap();
        sim.sync().unwrap();
        sim.erase(0..BLOCK as u64).unwrap();
        assert!(check(&sim.image()[..BLOCK]), "{discard:?}");
        sim.power_cut(PowerCut::LoseAll);
        assert_eq!(block(&sim, 0), 1, "a discard is not durable before a sync");
    }
}
