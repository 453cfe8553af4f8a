//! Crashes: what is kept, lost or torn, and what a durable write and a barrier promise.

use std::collections::BTreeSet;

use chronon::env::DiskOperation;
use chronon_sim::disk::{Completed, CrashKind, Durable};

use crate::hand::{
    Hand, SEEDS,
    Seen::{Mix, Whole},
    every, set,
};

#[test]
fn a_power_cut_keeps_loses_or_tears_each_unbarriered_sector_in_any_subset() {
    let left = every(|hand| {
        for sector in 0..2 {
            hand.write_durable(sector, 1).unwrap();
            hand.write(sector, 2).unwrap();
        }
        hand.disk.cut_power();
        (hand.seen(0), hand.seen(1))
    });
    let each = [Whole(1), Whole(2), Mix(vec![1, 2])];
    let all: BTreeSet<_> = each.iter().flat_map(|a| each.iter().map(|b| (a.clone(), b.clone()))).collect();
    assert_eq!(left, all);
}

#[test]
fn the_sectors_of_one_write_are_kept_and_lost_apart() {
    for completed in [true, false] {
        let left = every(|hand| {
            let id = hand.begin_write(0, &[1, 2, 3], !completed);
            if completed {
                hand.end(id).unwrap();
            }
            hand.disk.cut_power();
            [0, 1, 2].map(|sector| hand.seen(sector) == Whole(sector as u8 + 1))
        });
        assert_eq!(left.len(), 8, "each sector alone: {left:?}");
    }
}

#[test]
fn what_a_power_cut_left_no_later_one_changes() {
    for seed in 0..SEEDS {
        let mut hand = Hand::new(seed);
        hand.write(0, 1).unwrap();
        hand.write(1, 1).unwrap();
        hand.begin_write(2, &[1, 1], true);
        hand.disk.cut_power();
        let left: Vec<_> = (0..4).map(|sector| hand.read(sector).unwrap()).collect();
        for _ in 0..5 {
            hand.disk.cut_power();
            assert_eq!(left, (0..4).map(|sector| hand.read(sector).unwrap()).collect::<Vec<_>>());
        }
    }
}

#[test]
fn of_two_unbarriered_writes_a_power_cut_leaves_either_neither_or_a_mix() {
    let left = every(|hand| {
        hand.write_durable(0, 1).unwrap();
        hand.write(0, 2).unwrap();
        hand.write(0, 3).unwrap();
        hand.disk.cut_power();
        hand.seen(0)
    });
    assert!(left.is_superset(&set([Whole(1), Whole(2), Whole(3), Mix(vec![1, 2, 3])])), "{left:?}");
    assert!(left.contains(&Mix(vec![1, 3])) || left.contains(&Mix(vec![2, 3])), "{left:?}");
}

#[test]
fn a_write_in_flight_at_a_crash_is_kept_lost_or_torn_and_never_completes() {
    for durable in [false, true] {
        let left = every(|hand| {
            hand.write_durable(0, 1).unwrap();
            let write = hand.begin_write(0, &[2], durable);
            let barrier = hand.begin(DiskOperation::Barrier);
            hand.disk.crash();
            assert_eq!(hand.disk.in_flight(), 0);
            assert_eq!(hand.disk.complete(1 << 40, write), Completed::Gone);
            assert_eq!(hand.disk.complete(1 << 40, barrier), Completed::Gone);
            hand.seen(0)
        });
        assert_eq!(left, set([Whole(1), Whole(2), Mix(vec![1, 2])]));
    }
}

#[test]
fn a_durable_write_survives_every_crash_once_it_completed() {
    let left = every(|hand| {
        hand.write(0, 1).unwrap();
        hand.write_durable(0, 2).unwrap();
        hand.disk.crash();
        hand.disk.cut_power();
        hand.seen(0)
    });
    assert_eq!(left, set([Whole(2)]));
}

#[test]
fn a_durable_write_covers_itself_alone() {
    let left = every(|hand| {
        hand.write(1, 1).unwrap();
        hand.write_durable(0, 2).unwrap();
        hand.disk.cut_power();
        hand.seen(1)
    });
    assert_eq!(left, set([Whole(0), Whole(1), Mix(vec![0, 1])]));
}

#[test]
fn a_barrier_covers_every_write_that_completed_before_it_was_submitted() {
    let left = every(|hand| {
        hand.write(0, 1).unwrap();
        hand.write(1, 1).unwrap();
        hand.write(1, 2).unwrap();
        hand.barrier().unwrap();
        hand.disk.crash();
        hand.disk.cut_power();
        (hand.seen(0), hand.seen(1))
    });
    assert_eq!(left, set([(Whole(1), Whole(2))]));
}

#[test]
fn a_barrier_covers_no_write_that_was_in_flight_when_it_was_submitted() {
    let left = every(|hand| {
        let write = hand.begin_write(0, &[1], false);
        let barrier = hand.begin(DiskOperation::Barrier);
        hand.end(write).unwrap();
        hand.end(barrier).unwrap();
        hand.disk.cut_power();
        hand.seen(0)
    });
    assert_eq!(left, set([Whole(0), Whole(1), Mix(vec![0, 1])]));
}

#[test]
fn a_barrier_in_flight_covers_the_older_write_of_a_sector_and_not_the_newer() {
    let left = every(|hand| {
        hand.write(0, 1).unwrap();
        let barrier = hand.begin(DiskOperation::Barrier);
        hand.write(0, 2).unwrap();
        hand.end(barrier).unwrap();
        assert_eq!(hand.seen(0), Whole(2));
        hand.disk.cut_power();
        hand.seen(0)
    });
    assert_eq!(left, set([Whole(1), Whole(2), Mix(vec![1, 2])]));
}

#[test]
fn a_barrier_that_never_completed_promises_nothing() {
    let left = every(|hand| {
        hand.write(0, 1).unwrap();
        hand.begin(DiskOperation::Barrier);
        hand.disk.cut_power();
        hand.seen(0)
    });
    assert_eq!(left, set([Whole(0), Whole(1), Mix(vec![0, 1])]));
}

#[test]
fn a_crash_is_mostly_a_power_cut_and_sometimes_the_process_alone() {
    let kinds: Vec<_> = (0..SEEDS).map(|seed| Hand::new(seed).disk.crash()).collect();
    let kills = kinds.iter().filter(|kind| **kind == CrashKind::ProcessKill).count();
    assert!((40..120).contains(&kills), "{kills}");
}

#[test]
fn when_the_process_alone_dies_completed_writes_stay_readable_and_speculative() {
    let left = every(|hand| {
        hand.write_durable(0, 1).unwrap();
        hand.write(0, 2).unwrap();
        hand.disk.kill_process();
        assert_eq!(hand.seen(0), Whole(2));
        assert_eq!(hand.disk.durable_sector(0), Durable::Uncertain);
        hand.disk.cut_power();
        hand.seen(0)
    });
    assert_eq!(left, set([Whole(1), Whole(2), Mix(vec![1, 2])]));
}

#[test]
fn a_barrier_of_the_next_life_makes_durable_what_it_reads() {
    let settled = every(|hand| {
        hand.write_durable(0, 1).unwrap();
        hand.begin_write(0, &[2], true);
        hand.disk.kill_process();
        let read = hand.seen(0);
        hand.barrier().unwrap();
        hand.disk.cut_power();
        assert_eq!(read, hand.seen(0));
        read
    });
    assert_eq!(settled, set([Whole(1), Whole(2), Mix(vec![1, 2])]));
}

#[test]
fn a_failed_barrier_is_not_forgotten_with_the_process() {
    let left = every(|hand| {
        hand.write_durable(0, 1).unwrap();
        hand.write(0, 2).unwrap();
        hand.disk.fail_next_barrier();
        hand.barrier().unwrap_err();
        hand.disk.kill_process();
        let read = hand.seen(0);
        hand.barrier().unwrap();
        hand.disk.cut_power();
        (read, hand.seen(0))
    });
    assert!(left.contains(&(Whole(2), Whole(1))), "what the next life reads, and flushes, may still be lost");
    assert!(left.contains(&(Whole(1), Whole(2))), "and what it does not see may come back");
}
