//! Operations: what they see, in which order they take effect, and what no process may ask.

use std::collections::BTreeSet;

use chronon::{
    env::DiskOperation,
    frame::{Frame, SECTOR_SIZE},
    process::Token,
};
use chronon_sim::disk::{Completed, DiskSettings, Durable, ErrorRates, OperationKind, SimDisk};

use crate::hand::{
    Hand, SECTOR,
    Seen::{self, Mix, Whole},
    every, set, write,
};

#[test]
fn what_was_never_written_reads_as_zeros() {
    let mut hand = Hand::new(1);
    let id = hand.begin(DiskOperation::Read { offset: 12 * SECTOR, length: 16 * SECTOR as u32 });
    assert_eq!(&hand.end(id).unwrap()[..], &[0; 16 * SECTOR_SIZE]);
    let last = hand.disk.capacity() / SECTOR - 1;
    assert_eq!(hand.seen(last), Whole(0));
}

#[test]
fn a_read_brings_back_each_sector_from_its_own_write() {
    let mut hand = Hand::new(1);
    hand.write(5, 5).unwrap();
    hand.write_durable(7, 7).unwrap();
    let both = hand.begin_write(8, &[8, 9], false);
    hand.end(both).unwrap();
    let id = hand.begin(DiskOperation::Read { offset: 4 * SECTOR, length: 7 * SECTOR as u32 });
    let frame = hand.end(id).unwrap();
    let seen: Vec<_> = frame.chunks(SECTOR_SIZE).map(Seen::of).collect();
    assert_eq!(seen, [Whole(0), Whole(5), Whole(0), Whole(7), Whole(8), Whole(9), Whole(0)]);
}

#[test]
fn a_completed_write_is_visible_to_reads() {
    assert_eq!(every(|hand| (hand.write(3, 7).unwrap().len(), hand.seen(3))), set([(0, Whole(7))]));
    assert_eq!(every(|hand| (hand.write_durable(3, 7).unwrap().len(), hand.seen(3))), set([(0, Whole(7))]));
}

#[test]
fn a_read_during_a_write_sees_the_old_the_new_or_a_mix() {
    let seen = every(|hand| {
        hand.write(3, 1).unwrap();
        hand.begin_write(3, &[2], true);
        hand.seen(3)
    });
    assert_eq!(seen, set([Whole(1), Whole(2), Mix(vec![1, 2])]));
}

#[test]
fn a_completion_carries_its_token_whatever_the_order() {
    let mut disk = SimDisk::new(1, 0, DiskSettings::default());
    let ids: Vec<_> = (0..100).map(|token| disk.submit(0, Token(token), write(token, &[1], true)).1).collect();
    for token in (0..100u64).rev() {
        let Completed::Done(completion) = disk.complete(9, ids[token as usize]) else { panic!("it was in flight") };
        assert_eq!(completion.token, Token(token));
    }
    assert_eq!(disk.in_flight(), 0);
}

#[test]
fn operations_come_due_in_any_order_within_their_kinds_latency() {
    let mut disk = SimDisk::new(1, 0, DiskSettings::default());
    let range = disk.settings().durable_write;
    let due: Vec<_> = (0..100).map(|sector| disk.submit(1000, Token(0), write(sector, &[1], true)).0).collect();
    assert!(due.iter().all(|at_ns| (1000 + range.min_ns..=1000 + range.max_ns).contains(at_ns)));
    assert!(!due.is_sorted() && due.iter().collect::<BTreeSet<_>>().len() > 90);
    let other: Vec<_> = {
        let mut disk = SimDisk::new(1, 1, DiskSettings::default());
        (0..100).map(|sector| disk.submit(1000, Token(0), write(sector, &[1], true)).0).collect()
    };
    assert_ne!(due, other, "each node's disk has its own latencies");
}

#[test]
fn an_operation_number_is_never_given_twice() {
    let mut disk = SimDisk::new(1, 0, DiskSettings::default());
    let (_, stuck) = disk.submit(0, Token(99), DiskOperation::Barrier);
    let mut seen = set([stuck]);
    for round in 0..1000 {
        let (_, id) = disk.submit(0, Token(round), DiskOperation::Barrier);
        assert!(seen.insert(id));
        assert!(matches!(disk.complete(9, id), Completed::Done(_)));
        assert_eq!(disk.complete(9, id), Completed::Gone);
        assert_eq!(disk.kind(id), None);
    }
    assert_eq!(disk.kind(stuck), Some(OperationKind::Barrier));
    let many: Vec<_> = (0..1000).map(|_| disk.submit(0, Token(5), DiskOperation::Barrier).1).collect();
    assert!(many.iter().all(|id| seen.insert(*id)));
    assert_eq!(disk.in_flight(), 1001);
    let Completed::Done(completion) = disk.complete(9, stuck) else { panic!("it was in flight") };
    assert_eq!(completion.token, Token(99));
}

#[test]
fn overlapping_writes_in_flight_take_effect_in_either_order() {
    for (first_durable, second_durable) in [(false, false), (false, true), (true, false), (true, true)] {
        let seen = every(|hand| {
            let first = hand.begin_write(0, &[1], first_durable);
            let second = hand.begin_write(0, &[2], second_durable);
            hand.end(first).unwrap();
            hand.end(second).unwrap();
            let read = hand.seen(0);
            hand.barrier().unwrap();
            hand.disk.cut_power();
            assert_eq!(read, hand.seen(0), "the order is settled once both completed");
            read
        });
        assert_eq!(seen, set([Whole(1), Whole(2)]));
    }
}

#[test]
fn a_write_submitted_after_another_completed_follows_it() {
    let seen = every(|hand| {
        let long = hand.begin_write(0, &[1], false);
        hand.write(0, 2).unwrap();
        hand.write(0, 3).unwrap();
        hand.end(long).unwrap();
        hand.write(0, 4).unwrap();
        let read = hand.seen(0);
        hand.barrier().unwrap();
        hand.disk.cut_power();
        (read, hand.seen(0))
    });
    assert_eq!(seen, set([(Whole(4), Whole(4))]));
    let seen = every(|hand| {
        let long = hand.begin_write(0, &[1], false);
        hand.write(0, 2).unwrap();
        hand.write(0, 3).unwrap();
        hand.end(long).unwrap();
        hand.seen(0)
    });
    assert_eq!(seen, set([Whole(1), Whole(3)]), "3 follows 2; 1 was in flight beside both");
}

#[test]
fn overlapping_writes_interleave_sector_by_sector() {
    let seen = every(|hand| {
        let first = hand.begin_write(0, &[1, 1], false);
        let second = hand.begin_write(0, &[2, 2], false);
        hand.end(second).unwrap();
        hand.end(first).unwrap();
        (hand.seen(0), hand.seen(1))
    });
    assert_eq!(seen.len(), 4);
}

#[test]
fn an_initial_image_is_durable_from_the_start() {
    let mut hand = Hand::new(1);
    hand.disk.preload(SECTOR - 2, &[1, 2, 3, 4]);
    hand.disk.preload(SECTOR, &[9]);
    let image = Frame::new([[5; SECTOR_SIZE], [0; SECTOR_SIZE], [6; SECTOR_SIZE]].concat());
    hand.disk.preload_frame(4 * SECTOR, &image);
    hand.disk.cut_power();
    assert_eq!(hand.read(0).unwrap()[SECTOR_SIZE - 3..], [0, 1, 2]);
    assert_eq!(hand.read(1).unwrap()[..3], [9, 4, 0]);
    assert_eq!([4, 5, 6].map(|sector| hand.seen(sector)), [Whole(5), Whole(0), Whole(6)]);
    assert_eq!(hand.disk.counters().operations, 3 + 2, "an image is not an operation");
}

#[test]
fn the_durable_truth_is_told_byte_by_byte() {
    let mut hand = Hand::new(1);
    let mut sector = vec![1; SECTOR_SIZE];
    let id = hand.begin(DiskOperation::Write { offset: 0, data: Frame::new(sector.clone()), durable: true });
    hand.end(id).unwrap();
    sector[2000] = 2;
    let id = hand.begin(DiskOperation::Write { offset: 0, data: Frame::new(sector), durable: true });
    let mut out = Vec::new();
    assert_eq!(hand.disk.durable_sector(0), Durable::Uncertain, "a write is in flight");
    assert!(hand.disk.durable_read(0, 2000, &mut out) && out == [1; 2000]);
    assert!(hand.disk.durable_read(2001, 3000, &mut out), "into the next sector");
    assert!(!hand.disk.durable_read(1990, 20, &mut out));
    assert!(hand.disk.durable_holds(100, &[1; 500]) && !hand.disk.durable_holds(100, &[2]));
    assert!(!hand.disk.durable_holds(2000, &[2]));
    hand.end(id).unwrap();
    assert!(hand.disk.durable_holds(2000, &[2]));
    assert!(hand.disk.durable_read(SECTOR - 1, 2, &mut out) && out == [1, 0]);
    assert!(matches!(hand.disk.durable_sector(0), Durable::Stable(bytes) if bytes[2000] == 2));
}

#[test]
fn a_clone_goes_on_identically_and_apart() {
    let script = |hand: &mut Hand| {
        let mut results = Vec::new();
        for round in 0..60u8 {
            let (at_ns, id) =
                hand.disk.submit(hand.now_ns, Token(0), write(u64::from(round % 5), &[round, round], round % 3 == 0));
            results.push((at_ns, Ok(Frame::default())));
            if round % 4 > 0 {
                results.push((0, hand.end(id)));
            }
            if round % 7 == 0 {
                results.push((1, hand.barrier()));
            }
            if round % 20 == 19 {
                hand.disk.crash();
            }
            results.push((2, hand.read(u64::from(round % 6))));
        }
        results
    };
    for seed in 0..50 {
        let mut hand = Hand::new(seed);
        hand.disk.set_error_rates(ErrorRates { write_ppm: 100_000, barrier_ppm: 300_000, ..ErrorRates::default() });
        script(&mut hand);
        hand.begin_write(3, &[9], false);
        let mut copy = Hand { disk: hand.disk.clone(), now_ns: hand.now_ns };
        let before = hand.disk.durable_sector(0) == copy.disk.durable_sector(0);
        let first = script(&mut copy);
        assert!(before);
        assert_eq!(first, script(&mut hand));
    }
}

#[test]
fn what_was_asked_is_counted() {
    let mut hand = Hand::new(1);
    hand.write(0, 1).unwrap();
    hand.write_durable(0, 1).unwrap();
    hand.begin_write(0, &[1, 2], true);
    hand.barrier().unwrap();
    hand.read(0).unwrap();
    hand.disk.crash();
    let counters = *hand.disk.counters();
    assert_eq!((counters.operations, counters.reads, counters.writes), (5, 1, 1));
    assert_eq!((counters.durable_writes, counters.barriers, counters.crashes), (2, 1, 1));
    assert_eq!((counters.bytes_read, counters.bytes_written, counters.errors), (SECTOR, 4 * SECTOR, 0));
}

#[test]
#[should_panic(expected = "multiples of the sector")]
fn an_unaligned_read_is_a_bug_of_the_process() {
    Hand::new(1).begin(DiskOperation::Read { offset: 512, length: 4096 });
}

#[test]
#[should_panic(expected = "multiples of the sector")]
fn an_unaligned_write_is_a_bug_of_the_process() {
    Hand::new(1).begin(DiskOperation::Write { offset: 512, data: Frame::new(vec![1; 4096]), durable: true });
}

#[test]
#[should_panic(expected = "an operation covers a sector at least")]
fn a_write_of_nothing_is_a_bug_of_the_process() {
    Hand::new(1).begin(DiskOperation::Write { offset: 0, data: Frame::default(), durable: true });
}

#[test]
#[should_panic(expected = "lie behind the end of the disk")]
fn a_write_whose_last_sector_is_not_there_is_a_bug_of_the_process() {
    let settings = DiskSettings { capacity: SECTOR, ..DiskSettings::default() };
    let mut disk = SimDisk::new(1, 0, settings);
    disk.submit(0, Token(1), DiskOperation::Write { offset: 0, data: Frame::new(vec![1; 4097]), durable: true });
}

/// What a write does not fill of its last sector is zeros, whatever was there: on the medium, for oracles and in a crash.
#[test]
fn a_short_write_ends_in_zeros() {
    let mut hand = Hand::new(1);
    hand.write_durable(0, 7).unwrap();
    hand.write_durable(1, 7).unwrap();
    for (length, durable) in [(1, false), (5000, true)] {
        let id = hand.begin(DiskOperation::Write { offset: 0, data: Frame::new(vec![9; length]), durable });
        hand.end(id).unwrap();
        hand.barrier().unwrap();
        let mut expected = vec![9; length];
        expected.resize(length.next_multiple_of(SECTOR_SIZE), 0);
        let sectors = expected.len() as u64 / SECTOR;
        let read = hand.begin(DiskOperation::Read { offset: 0, length: expected.len() as u32 });
        assert_eq!(*hand.end(read).unwrap(), *expected);
        let last = &expected[expected.len() - SECTOR_SIZE..];
        assert_eq!(hand.disk.durable_sector(sectors - 1), Durable::Stable(last.into()));
        let mut out = Vec::new();
        assert!(hand.disk.durable_read(length as u64 - 1, 2, &mut out) && out == [9, 0]);
        assert!(hand.disk.durable_holds(0, &expected) && !hand.disk.durable_holds(length as u64, &[7]));
    }
    hand.disk.cut_power();
    assert_eq!(hand.read(0).unwrap()[..], [9; SECTOR_SIZE]);
}

#[test]
#[should_panic(expected = "lie behind the end of the disk")]
fn an_operation_behind_the_end_is_a_bug_of_the_process() {
    let capacity = DiskSettings::default().capacity;
    Hand::new(1).begin(DiskOperation::Read { offset: capacity - SECTOR, length: 2 * SECTOR as u32 });
}

#[test]
#[should_panic(expected = "wrote nothing")]
fn an_empty_write_is_a_bug_of_the_process() {
    Hand::new(1).begin(DiskOperation::Write { offset: 0, data: Frame::default(), durable: true });
}
