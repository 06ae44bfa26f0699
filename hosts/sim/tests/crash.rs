//! The enumerator: that it visits what it says, and that a state is what it is called.

use std::collections::HashSet;
use std::ops::ControlFlow;

use esker::device::BlockDevice;
use esker_sim::{
    Applied, CrashId, CrashState, Fault, OnViolation, Policy, PowerCut, Programming, Recorder, Repeats, Sim,
    Summary, Trace, enumerate, replay,
};

const BLOCK: usize = 512;

fn disk() -> Sim {
    Sim::blocks(16 * BLOCK as u64, BLOCK as u32)
}

fn go(trace: &Trace, policy: &Policy, mut visit: impl FnMut(&CrashState<'_>)) -> Summary {
    enumerate(trace, policy, |state| {
        visit(state);
        ControlFlow::Continue(())
    })
}

/// The first byte of each of the first blocks, at one cut.
fn blocks_at(trace: &Trace, policy: &Policy, cut: usize, blocks: usize) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    go(trace, policy, |state| {
        if state.cut() == cut {
            let image = state.device().image();
            found.push((0..blocks).map(|block| image[block * BLOCK]).collect());
        }
    });
    found
}

fn three_writes() -> Trace {
    let mut sim = disk();
    sim.record();
    for block in 0..3u8 {
        sim.write(u64::from(block) * BLOCK as u64, &[block + 1; BLOCK]).unwrap();
    }
    sim.sync().unwrap();
    sim.take_trace()
}

/// A run with everything in it, on flash and on blocks.
fn mixed(sim: &mut Sim) -> Trace {
    let unit = sim.geometry().write_unit as usize;
    let sector = u64::from(sim.geometry().erase_unit.max(sim.geometry().write_unit));
    sim.record();
    for round in 0..3u8 {
        sim.erase(0..2 * sector).unwrap();
        sim.write(0, &vec![0x11 + round; 2 * unit]).unwrap();
        sim.sync().unwrap();
        sim.mark();
        sim.write(sector, &vec![0x55 + round; unit]).unwrap();
    }
    sim.take_trace()
}

#[test]
fn three_pending_writes_give_eight_subsets() {
    let trace = three_writes();
    let policy = Policy::thorough().tears(false);
    for (cut, expected) in [(0, 2), (1, 4), (2, 8), (3, 8)] {
        let found: HashSet<_> = blocks_at(&trace, &policy, cut, 3).into_iter().collect();
        assert_eq!(found.len(), expected, "cut {cut}");
    }
    assert_eq!(blocks_at(&trace, &policy, 4, 3), [[1, 2, 3]], "after the sync nothing is uncertain");
}

#[test]
fn a_later_write_to_the_same_block_may_be_lost_or_overtake() {
    let mut sim = disk();
    sim.record();
    sim.write(0, &[1; BLOCK]).unwrap();
    sim.write(0, &[2; BLOCK]).unwrap();
    let trace = sim.take_trace();
    let mut found: Vec<_> = blocks_at(&trace, &Policy::thorough().tears(false), 2, 1).concat();
    found.sort_unstable();
    assert_eq!(found, [0, 1, 2], "either, or none; the image with the second alone is the one with both");
}

#[test]
fn many_pending_writes_give_prefixes_omissions_and_random_subsets() {
    let mut sim = disk();
    sim.record();
    for block in 0..15u8 {
        sim.write(u64::from(block) * BLOCK as u64, &[1; BLOCK]).unwrap();
    }
    let trace = sim.take_trace();
    let policy = Policy::thorough().tears(false).random_subsets(0);
    let found: HashSet<Vec<u8>> = blocks_at(&trace, &policy, 15, 15).into_iter().collect();
    // 16 prefixes, 15 + 105 omissions, of which those of the last and the last two are prefixes.
    assert_eq!(found.len(), 16 + 14 + 104);
    for lost in 0..15 {
        let kept: Vec<u8> = (0..15).map(|block| u8::from(block != lost)).collect();
        assert!(found.contains(&kept), "without {lost}");
    }
    let random = blocks_at(&trace, &policy.random_subsets(256), 15, 15);
    assert!(random.len() > found.len() + 200);
}

#[test]
fn tears_leave_old_and_new_and_sick_units() {
    let mut sim = disk();
    sim.write(0, &[0xAA; 3 * BLOCK]).unwrap();
    sim.sync().unwrap();
    sim.record();
    sim.write(0, &[0xBB; 3 * BLOCK]).unwrap();
    let trace = sim.take_trace();
    let (mut images, mut unstable, mut unreadable) = (HashSet::new(), 0, 0);
    go(&trace, &Policy::thorough(), |state| {
        let mut device = state.device();
        for block in 0..3 {
            let (_, reading) = device.unit((block * BLOCK) as u64);
            let mut buffer = [0; BLOCK];
            match reading {
                esker_sim::Reading::Good => device.read((block * BLOCK) as u64, &mut buffer).unwrap(),
                esker_sim::Reading::Unstable => unstable += 1,
                esker_sim::Reading::Unreadable => {
                    unreadable += 1;
                    assert!(device.read((block * BLOCK) as u64, &mut buffer).is_err());
                }
            }
        }
        images.insert(device.image());
    });
    let whole = |kept: [u8; 3]| kept.map(|byte| vec![byte; BLOCK]).concat();
    for mask in 0..8u8 {
        let kept = [0, 1, 2].map(|unit| if mask >> unit & 1 == 1 { 0xBB } else { 0xAA });
        assert!(images.iter().any(|image| image[..3 * BLOCK] == whole(kept)), "units {mask:03b}");
    }
    assert!(images.iter().any(|image| image[..4] == [0xBB, 0xAA, 0xAA, 0xAA]), "one byte");
    assert!(images.iter().any(|image| image[..4] == [0xBB, 0xAA, 0xBB, 0xAA]), "every second byte");
    assert!(images.iter().any(|image| image[510..514] == [0xAA, 0xBB, 0xAA, 0xAA]), "the last byte");
    assert!(unstable > 0 && unreadable > 0);
    assert!(images.iter().all(|image| image[3 * BLOCK..].iter().all(|byte| *byte == 0)), "nothing else");
}

#[test]
fn each_id_replays_to_the_same_image() {
    for mut sim in [disk(), Sim::nor(4 * 4096, 4, 4096)] {
        let trace = mixed(&mut sim);
        let mut states = Vec::new();
        let booted = Sim::blocks(512, 512);
        go(&trace, &Policy::thorough().repeats(Repeats::All), |state| {
            state.load_into(&booted);
            states.push((state.id(), state.hash(), booted.image(), state.to_string()));
        });
        assert!(states.len() > 150, "{}", states.len());
        let ids: HashSet<_> = states.iter().map(|state| state.0).collect();
        assert_eq!(ids.len(), states.len());
        for (id, hash, image, text) in states.iter().step_by(7) {
            let parsed: CrashId = id.to_string().parse().unwrap();
            let policy = Policy::thorough().stride(1000);
            let again = replay(&trace, &policy, parsed, |state| {
                (state.hash(), state.device().image(), state.to_string())
            });
            assert_eq!(again, Some((*hash, image.clone(), text.clone())), "{id}");
        }
        assert_eq!(replay(&trace, &Policy::thorough(), CrashId { cut: 3, variant: 1 << 30 }, |_| ()), None);
        assert_eq!(replay(&trace, &Policy::thorough(), CrashId { cut: 999, variant: 0 }, |_| ()), None);
    }
    assert!("17".parse::<CrashId>().is_err() && "a.b".parse::<CrashId>().is_err());
}

#[test]
fn equal_hashes_mean_equal_images_and_conditions() {
    for mut sim in [disk(), Sim::nor(2 * 4096, 16, 4096)] {
        let trace = mixed(&mut sim);
        let mut known = std::collections::HashMap::new();
        let booted = sim.clone();
        let summary = go(&trace, &Policy::thorough().repeats(Repeats::All), |state| {
            state.load_into(&booted);
            let unit = booted.geometry().write_unit;
            let units: Vec<_> =
                (0..booted.geometry().capacity).step_by(unit as usize).map(|at| booted.unit(at)).collect();
            let content = (booted.image(), units);
            let before = known.entry(state.hash()).or_insert_with(|| content.clone());
            assert!(*before == content, "{state}");
        });
        let images: Vec<_> = known.into_values().collect();
        assert_eq!(images.len() as u64, summary.distinct);
        for (number, image) in images.iter().enumerate() {
            assert!(!images[..number].contains(image), "the same image with two hashes");
        }
    }
}

#[test]
fn a_device_that_is_used_again_holds_nothing_of_the_state_before() {
    for mut sim in [disk(), Sim::nor(4 * 4096, 1, 4096)] {
        let trace = mixed(&mut sim);
        let mut booted = sim.clone();
        let last = booted.geometry().capacity - 4096;
        go(&trace, &Policy::thorough().stride(3), |state| {
            state.load_into(&booted);
            booted.read(last, &mut [0; BLOCK]).expect("no faults are left");
            assert_eq!(booted.counts().calls(), 1);
            booted.power_cut(PowerCut::LoseAll);
            assert!(booted.image() == state.device().image(), "{state}");
            let _ = booted.erase(last..last + 4096);
            let _ = booted.write(last, &[7; BLOCK]);
            booted.inject(Fault::read_error().for_ever());
        });
    }
}

#[test]
fn a_device_that_is_used_again_follows_what_became_certain_meanwhile() {
    for mut sim in [disk(), Sim::nor(8192, 1, 4096)] {
        sim.record();
        for block in 0..14 {
            sim.write(block * BLOCK as u64, &[0x11; BLOCK]).unwrap();
            sim.sync().unwrap();
        }
        let trace = sim.take_trace();
        let booted = sim.clone();
        let mut last = 0;
        // Only every few blocks is a state loaded, so most of them were never touched in the device.
        go(&trace, &Policy::thorough().tears(false), |state| {
            if state.cut() % 10 == 0 && state.cut() >= last {
                last = state.cut() + 1;
                state.load_into(&booted);
                assert!(booted.image() == state.device().image(), "{state}");
            }
        });
        assert!(last > 20);
    }
}

#[test]
fn cut_programs_burn_and_cut_erases_are_unreliable() {
    let mut sim = Sim::nor(2 * 4096, 4, 4096);
    sim.write(0, &[0x5A; 4096]).unwrap();
    sim.record();
    sim.erase(0..4096).unwrap();
    sim.write(0, &[0; 16]).unwrap();
    let trace = sim.take_trace();
    let (mut blank_unreliable, mut blank_burnt, mut whole) = (0, 0, 0);
    go(&trace, &Policy::thorough(), |state| {
        let device = state.device();
        let image = device.image();
        assert!(image[4096..].iter().all(|byte| *byte == 0xFF), "nobody touched it");
        assert_eq!(device.unit(4096).0, Programming::Blank);
        match (state.cut(), device.unit(0).0, device.unit(12).0) {
            (0, Programming::Unreliable, last) => {
                assert_eq!(last, Programming::Unreliable);
                blank_unreliable += usize::from(image[..4096].iter().all(|byte| *byte == 0xFF));
            }
            (0, first, _) => assert!(first == Programming::Blank || image[0] == 0x5A),
            (1, Programming::Blank, last) => assert_eq!(last, Programming::Blank, "not begun"),
            (1, first, Programming::Burnt) => {
                blank_burnt += usize::from(image[12] == 0xFF);
                assert!(image[16..4096].iter().all(|byte| *byte == 0xFF));
                if first == Programming::Programmed {
                    assert_eq!(image[..4], [0; 4]);
                }
            }
            (1, first, last) => {
                assert_eq!((first, last), (Programming::Programmed, Programming::Programmed));
                assert_eq!(image[..16], [0; 16]);
                whole += 1;
            }
            _ => assert_eq!(image[..17], [[0; 16].as_slice(), &[0xFF]].concat()),
        }
        let mut device = device;
        let programmable = (0..16).step_by(4).all(|at| device.unit(at).0 == Programming::Blank);
        assert_eq!(device.write(0, &[0; 16]).is_ok(), programmable, "{state}");
    });
    assert!(blank_unreliable > 0 && blank_burnt > 0);
    assert_eq!(whole, 1);
}

#[test]
fn a_multi_sector_erase_is_cut_in_order() {
    let mut sim = Sim::nor(4 * 4096, 256, 4096);
    sim.write(0, &vec![0; 4 * 4096]).unwrap();
    sim.record();
    sim.erase(0..3 * 4096).unwrap();
    let trace = sim.take_trace();
    let mut reached = HashSet::new();
    go(&trace, &Policy::thorough(), |state| {
        let device = state.device();
        let sectors = [0, 1, 2, 3].map(|sector| device.unit(sector * 4096).0);
        assert_eq!(sectors[3], Programming::Programmed);
        if state.cut() == 0 {
            reached.insert(sectors.map(|sector| sector as u8));
        }
    });
    let [old, blank, torn] = [0, Programming::Blank as u8, Programming::Unreliable as u8];
    let expected = [
        [old, old, old, old],
        [torn, old, old, old],
        [blank, torn, old, old],
        [blank, blank, torn, old],
        [blank, blank, blank, old],
    ];
    assert_eq!(reached, HashSet::from(expected));
}

#[test]
fn a_forgotten_sync_is_caught() {
    for early in [true, false] {
        let mut sim = disk();
        sim.record();
        sim.write(0, &[1; BLOCK]).unwrap();
        if early {
            sim.mark();
        }
        sim.sync().unwrap();
        if !early {
            sim.mark();
        }
        sim.write(BLOCK as u64, &[1; BLOCK]).unwrap();
        let trace = sim.take_trace();
        let acknowledged = trace.marks()[0];
        for repeats in [Repeats::All, Repeats::OncePerCut, Repeats::OncePerMark] {
            let summary = enumerate(&trace, &Policy::thorough().repeats(repeats), |state| {
                if state.cut() >= acknowledged && state.device().image()[0] != 1 {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            });
            assert_eq!(summary.stopped.is_some(), early, "{repeats:?}");
        }
    }
}

#[test]
fn while_one_of_few_writes_is_torn_the_others_are_there_or_not() {
    let trace = three_writes();
    for torn in 0..3 {
        let mut found = HashSet::new();
        go(&trace, &Policy::thorough(), |state| {
            let image = state.device().image();
            let block = |block: usize| &image[block * BLOCK..(block + 1) * BLOCK];
            let new = |number: usize| number as u8 + 1;
            let halves = [vec![new(torn); BLOCK / 2], vec![0; BLOCK / 2]].concat();
            if state.cut() == 3 && block(torn) == halves {
                found.insert(
                    (0..3).filter(|number| block(*number) == [new(*number); BLOCK]).collect::<Vec<_>>(),
                );
            }
        });
        assert_eq!(found.len(), 4, "write {torn}: {found:?}");
    }
}

#[test]
fn marks_save_repeats_and_lose_no_image() {
    let mut sim = disk();
    let trace = mixed(&mut sim);
    let per_cut = go(&trace, &Policy::thorough(), |_| {});
    let per_mark = go(&trace, &Policy::thorough().repeats(Repeats::OncePerMark), |_| {});
    let all = go(&trace, &Policy::thorough().repeats(Repeats::All), |_| {});
    assert!(per_mark.visited < per_cut.visited && per_cut.visited < all.visited);
    assert_eq!((per_mark.distinct, per_cut.distinct), (all.distinct, all.distinct));
    assert_eq!(all.visited, all.generated);
}

#[test]
fn shares_add_up_and_limits_hold() {
    for mut sim in [disk(), Sim::nor(4 * 4096, 4, 4096)] {
        let trace = mixed(&mut sim);
        let whole = go(&trace, &Policy::thorough(), |_| {});
        let shares: Vec<_> =
            (0..3).map(|share| go(&trace, &Policy::thorough().shard(share, 3), |_| {})).collect();
        assert_eq!(shares.iter().map(|share| share.visited).sum::<u64>(), whole.visited);
        let some = go(&trace, &Policy::thorough().max_states(100), |_| {});
        assert!((30..=200).contains(&some.visited), "{some:?}");
        let tenth = go(&trace, &Policy::thorough().stride(10), |_| {});
        assert!((4..=20).contains(&(whole.visited / tenth.visited)), "{tenth:?} of {whole:?}");
    }
}

#[test]
fn traces_go_to_other_threads() {
    let trace = mixed(&mut disk());
    let (one, other) = std::thread::scope(|scope| {
        let visit = |share| {
            let trace = &trace;
            scope.spawn(move || go(trace, &Policy::thorough().shard(share, 2), |state| drop(state.device())))
        };
        let (one, other) = (visit(0), visit(1));
        (one.join().unwrap(), other.join().unwrap())
    });
    assert!(one.visited > 0 && other.visited > 0);
}

#[test]
fn writes_from_before_the_recording_may_be_lost_in_it() {
    let mut sim = disk();
    sim.write(0, &[1; BLOCK]).unwrap();
    sim.record();
    assert_eq!(sim.op_count(), 1);
    sim.write(BLOCK as u64, &[1; BLOCK]).unwrap();
    let trace = sim.take_trace();
    assert_eq!((trace.first_cut(), trace.image()[0]), (1, 0));
    let found: HashSet<_> = blocks_at(&trace, &Policy::thorough().tears(false), 2, 2).into_iter().collect();
    assert_eq!(found.len(), 4);
    assert!(blocks_at(&trace, &Policy::thorough(), 0, 2).is_empty(), "that was before");
}

#[test]
fn failed_syncs_and_lies_are_in_the_trace() {
    let durable = |fault: Fault| {
        let mut sim = disk();
        sim.inject(fault);
        sim.record();
        sim.write(0, &[1; BLOCK]).unwrap();
        let _ = sim.sync();
        sim.write(BLOCK as u64, &[1; BLOCK]).unwrap();
        let _ = sim.sync();
        let trace = sim.take_trace();
        let found = blocks_at(&trace, &Policy::thorough().tears(false), trace.ops().len(), 2);
        let image = sim.durable_image();
        assert!(found.contains(&vec![image[0], image[BLOCK]]));
        found
    };
    assert_eq!(durable(Fault::sync_drops_dirty()), [[0, 1]], "dropped for good");
    assert_eq!(durable(Fault::lying_sync()), [[1, 1]], "the second sync was honest");
    assert_eq!(durable(Fault::lying_sync().times(2)).len(), 4);
    assert_eq!(durable(Fault::sync_error(Applied::Nothing).times(2)).len(), 4);
}

#[test]
fn failed_programs_stay_burnt_in_the_trace() {
    let mut sim = Sim::nor(2 * 4096, 4, 4096);
    sim.inject(Fault::write_error(Applied::Part));
    sim.record();
    assert!(sim.write(0, &[0; 16]).is_err());
    sim.write(16, &[0; 4]).unwrap();
    let trace = sim.take_trace();
    let last = trace.ops().len();
    let image = sim.image();
    go(&trace, &Policy::thorough(), |state| {
        if state.cut() == last {
            let device = state.device();
            assert!(device.image() == image);
            assert_eq!(device.unit(12).0, Programming::Burnt);
        }
    });
}

#[test]
fn damaged_neighbours_are_marked_and_off_by_default() {
    for mut sim in [disk(), Sim::nor(4 * 4096, 4, 4096)] {
        let trace = mixed(&mut sim);
        let count = |policy: Policy| {
            let mut damaged = 0;
            go(&trace, &policy, |state| damaged += usize::from(state.damages_neighbours()));
            damaged
        };
        assert_eq!(count(Policy::thorough()), 0);
        assert!(count(Policy::thorough().neighbours(2048)) > 0);
    }
}

#[test]
fn a_violation_of_the_recovery_is_seen_in_the_state_it_happened_in() {
    let mut sim = Sim::nor(4096, 4, 4096);
    sim.record();
    sim.write(0, &[0; 8]).unwrap();
    let trace = sim.take_trace();
    let mut booted = Sim::nor(4096, 4, 4096).with_on_violation(OnViolation::Allow);
    let (mut clean, mut wrong) = (0, 0);
    go(&trace, &Policy::thorough(), |state| {
        state.load_into(&booted);
        // Trusts blankness: what reads as 0xFF is programmed.
        let mut unit = [0; 4];
        if booted.read(4, &mut unit).is_ok() && unit == [0xFF; 4] {
            booted.write(4, &[1; 4]).unwrap();
        }
        if booted.violations().is_empty() { clean += 1 } else { wrong += 1 }
    });
    assert!(clean > 0 && wrong > 0);
}

#[test]
fn a_cut_in_the_recovery_can_be_enumerated_in_turn() {
    let trace = three_writes();
    let booted = disk();
    let mut states = 0;
    go(&trace, &Policy::thorough().stride(20), |state| {
        state.load_into(&booted);
        booted.record();
        let mut recovering = booted.clone();
        recovering.write(0, &[9; BLOCK]).unwrap();
        recovering.sync().unwrap();
        let again = booted.take_trace();
        go(&again, &Policy::thorough(), |second| {
            states += 1;
            let image = second.device().image();
            assert!(second.cut() < 2 || image[..BLOCK] == [9; BLOCK], "{state} then {second}");
        });
    });
    assert!(states > 100);
}

#[test]
fn a_recorder_sees_what_the_device_itself_would_record() {
    for mut sim in [disk(), Sim::nor(8192, 4, 4096)] {
        sim.write(512, &[1; 512]).unwrap();
        sim.sync().unwrap();
        sim.record();
        let recorder = Recorder::new(sim.clone()).unwrap();
        let mut device = recorder.clone();
        device.write(1024, &[2; 512]).unwrap();
        device.write_vectored(2048, &[&[3; 512], &[4; 512]]).unwrap();
        device.sync().unwrap();
        recorder.mark();
        device.erase(4096..8192).unwrap();
        sim.inject(Fault::write_error(Applied::Nothing));
        device.write(0, &[5; 512]).unwrap_err();
        assert_eq!(recorder.op_count(), 5);
        let (seen, own) = (recorder.take_trace(), sim.take_trace());
        assert_eq!((seen.geometry(), seen.image()), (own.geometry(), own.image()));
        assert_eq!((seen.ops(), seen.marks()), (own.ops(), &[4][..]));
        let states = |trace: &Trace| go(trace, &Policy::thorough().repeats(Repeats::All), |_| {}).distinct;
        assert_eq!(states(&seen), states(&own));
    }
}
