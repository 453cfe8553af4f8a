//! Failed operations and what they leave, episodes, and damage to the medium.

use std::collections::BTreeSet;

use chronon::{
    env::DiskOperation,
    frame::{Frame, SECTOR_SIZE},
    process::{DiskError, Token},
};
use chronon_sim::disk::{Completed, DiskSettings, Durable, ErrorRates, LatencyRange, SimDisk};

use crate::hand::{
    Hand, SECTOR, SEEDS,
    Seen::{self, Mix, Whole},
    every, set, write,
};

#[test]
fn after_a_failed_barrier_reads_show_either_content_for_good_or_in_turns() {
    let runs = every(|hand| {
        hand.write_durable(0, 1).unwrap();
        hand.write(0, 2).unwrap();
        hand.disk.fail_next_barrier();
        assert_eq!(hand.barrier(), Err(DiskError::Barrier));
        (0..20).map(|_| hand.seen(0)).collect::<BTreeSet<_>>()
    });
    assert_eq!(runs, set([set([Whole(1)]), set([Whole(2)]), set([Whole(1), Whole(2)])]));
}

#[test]
fn a_second_barrier_after_a_failed_one_lies() {
    let left = every(|hand| {
        hand.write_durable(0, 1).unwrap();
        hand.write(0, 2).unwrap();
        hand.disk.fail_next_barrier();
        hand.barrier().unwrap_err();
        hand.barrier().unwrap();
        hand.barrier().unwrap();
        assert_eq!(hand.disk.durable_sector(0), Durable::Uncertain);
        hand.disk.cut_power();
        hand.seen(0)
    });
    assert_eq!(left, set([Whole(1), Whole(2), Mix(vec![1, 2])]));
}

#[test]
fn a_failed_barrier_harms_no_write_that_completed_after_it_was_submitted() {
    let left = every(|hand| {
        let failing = hand.begin(DiskOperation::Barrier);
        hand.write(0, 2).unwrap();
        hand.disk.fail_next_barrier();
        hand.end(failing).unwrap_err();
        hand.barrier().unwrap();
        hand.disk.cut_power();
        hand.seen(0)
    });
    assert_eq!(left, set([Whole(2)]));
}

#[test]
fn what_an_earlier_barrier_made_durable_no_failed_barrier_takes_back() {
    let left = every(|hand| {
        hand.write(0, 2).unwrap();
        let failing = hand.begin(DiskOperation::Barrier);
        hand.barrier().unwrap();
        hand.disk.fail_next_barrier();
        hand.end(failing).unwrap_err();
        hand.disk.cut_power();
        hand.seen(0)
    });
    assert_eq!(left, set([Whole(2)]));
}

#[test]
fn only_writing_again_ends_the_doubt_after_a_failed_barrier() {
    for durable in [false, true] {
        let left = every(|hand| {
            hand.write(0, 2).unwrap();
            hand.disk.fail_next_barrier();
            hand.barrier().unwrap_err();
            let again = hand.begin_write(0, &[3], durable);
            hand.end(again).unwrap();
            assert_eq!(hand.seen(0), Whole(3));
            if !durable {
                hand.barrier().unwrap();
            }
            hand.disk.cut_power();
            hand.seen(0)
        });
        assert_eq!(left, set([Whole(3)]));
    }
}

#[test]
fn a_failed_write_leaves_its_sectors_indeterminate_and_no_barrier_settles_them() {
    for durable in [false, true] {
        for full in [false, true] {
            let results = every(|hand| {
                hand.write_durable(0, 1).unwrap();
                if full {
                    hand.disk.no_space(true);
                } else {
                    hand.disk.fail_next_write();
                }
                let id = hand.begin_write(0, &[2], durable);
                let error = if full { DiskError::NoSpace } else { DiskError::Write };
                assert_eq!(hand.end(id), Err(error));
                hand.barrier().unwrap();
                let read = hand.seen(0);
                hand.disk.cut_power();
                (read, hand.seen(0))
            });
            let each = [Whole(1), Whole(2), Mix(vec![1, 2])];
            for one in &each {
                assert!(results.iter().any(|(read, _)| read == one), "a read may show {one:?}");
                assert!(results.iter().any(|(_, left)| left == one), "a power cut may leave {one:?}");
            }
        }
    }
}

#[test]
fn an_error_is_the_next_operations_alone() {
    let mut hand = Hand::new(1);
    hand.disk.fail_next_write();
    hand.disk.fail_next_read();
    hand.disk.fail_next_barrier();
    assert_eq!(hand.write(0, 1), Err(DiskError::Write));
    assert_eq!(hand.read(9), Err(DiskError::Read));
    assert_eq!(hand.barrier(), Err(DiskError::Barrier));
    assert!(hand.write(0, 1).is_ok() && hand.read(9).is_ok() && hand.barrier().is_ok());
    assert_eq!(hand.disk.counters().errors, 3);
}

#[test]
fn want_of_room_lasts_until_it_is_ended() {
    let mut hand = Hand::new(1);
    hand.disk.no_space(true);
    assert_eq!(hand.write(0, 1), Err(DiskError::NoSpace));
    assert_eq!(hand.write_durable(0, 1), Err(DiskError::NoSpace));
    assert!(hand.read(0).is_ok() && hand.barrier().is_ok());
    hand.disk.no_space(false);
    assert!(hand.write(0, 1).is_ok());
}

#[test]
fn an_unreadable_sector_stays_so_until_it_is_written_again() {
    let mut hand = Hand::new(1);
    hand.write_durable(1, 1).unwrap();
    hand.disk.make_unreadable(SECTOR, SECTOR);
    assert_eq!(hand.read(1), Err(DiskError::Read));
    assert_eq!(hand.read(1), Err(DiskError::Read));
    let id = hand.begin(DiskOperation::Read { offset: 0, length: 3 * SECTOR as u32 });
    assert_eq!(hand.end(id), Err(DiskError::Read));
    hand.disk.clear_faults();
    hand.disk.crash();
    assert_eq!(hand.read(1), Err(DiskError::Read));
    assert_eq!(hand.disk.durable_sector(1), Durable::Damaged);
    hand.write_durable(1, 2).unwrap();
    assert_eq!(hand.seen(1), Whole(2));
    assert_eq!(hand.disk.damaged_sectors(), 0);
}

#[test]
fn a_sector_whose_rewrite_is_lost_is_unreadable_again() {
    let mut results = BTreeSet::new();
    for seed in 0..SEEDS {
        let mut hand = Hand::new(seed);
        hand.write_durable(0, 1).unwrap();
        hand.disk.make_unreadable(0, SECTOR);
        hand.write(0, 2).unwrap();
        assert_eq!(hand.seen(0), Whole(2));
        hand.disk.cut_power();
        results.insert(hand.read(0).map(|frame| Seen::of(&frame)));
    }
    assert_eq!(results, set([Ok(Whole(2)), Err(DiskError::Read)]));
}

#[test]
fn repaired_media_read_as_before() {
    let mut hand = Hand::new(1);
    hand.write_durable(0, 1).unwrap();
    hand.disk.make_unreadable(0, SECTOR);
    hand.disk.repair_media();
    assert_eq!(hand.seen(0), Whole(1));
    assert_eq!(hand.disk.damaged_sectors(), 0);
}

#[test]
fn errors_come_as_often_as_their_rates_say() {
    let errors = ErrorRates { read_ppm: 100_000, latent_ppm: 0, write_ppm: 200_000, barrier_ppm: 300_000 };
    let mut hand = Hand { disk: SimDisk::new(1, 0, DiskSettings { errors, ..DiskSettings::default() }), now_ns: 0 };
    let failures = |results: Vec<Result<Frame, DiskError>>| results.iter().filter(|result| result.is_err()).count();
    let reads = failures((0..1000).map(|_| hand.read(0)).collect());
    let writes = failures((0..1000).map(|_| hand.write(0, 1)).collect());
    let barriers = failures((0..1000).map(|_| hand.barrier()).collect());
    assert!((60..140).contains(&reads) && (150..250).contains(&writes) && (240..360).contains(&barriers));
    hand.disk.clear_faults();
    assert_eq!(failures((0..1000).map(|_| hand.read(0)).collect()), 0);
    assert_eq!(failures((0..1000).map(|_| hand.write(0, 1)).collect()), 0);
}

#[test]
fn a_latent_error_leaves_one_sector_of_the_read_unreadable() {
    let mut hand = Hand::new(1);
    hand.disk.set_error_rates(ErrorRates { latent_ppm: 1_000_000, ..ErrorRates::default() });
    let id = hand.begin(DiskOperation::Read { offset: 0, length: 8 * SECTOR as u32 });
    assert_eq!(hand.end(id), Err(DiskError::Read));
    hand.disk.clear_faults();
    assert_eq!((0..8).filter(|sector| hand.read(*sector).is_err()).count(), 1);
}

#[test]
fn turning_a_fault_on_reshuffles_no_latency() {
    let due = |errors: ErrorRates| {
        let mut disk = SimDisk::new(1, 0, DiskSettings { errors, ..DiskSettings::default() });
        let mut due = Vec::new();
        for round in 0..200 {
            let (at_ns, id) = disk.submit(0, Token(0), write(round % 7, &[1], round % 2 == 0));
            due.push(at_ns);
            disk.complete(1, id);
            let (at_ns, id) = disk.submit(0, Token(0), DiskOperation::Barrier);
            due.push(at_ns);
            disk.complete(1, id);
            if round % 50 == 0 {
                disk.crash();
            }
        }
        due
    };
    let all = ErrorRates { read_ppm: 500_000, latent_ppm: 500_000, write_ppm: 500_000, barrier_ppm: 500_000 };
    assert_eq!(due(ErrorRates::default()), due(all));
}

#[test]
fn nothing_completes_during_a_stall_and_everything_after_it() {
    let mut disk = SimDisk::new(1, 0, DiskSettings::default());
    let before: Vec<_> = (0..50).map(|_| disk.submit(0, Token(0), DiskOperation::Barrier).1).collect();
    disk.stall_until(5_000_000);
    let (at_ns, during) = disk.submit(1_000_000, Token(7), write(0, &[1], true));
    assert!(at_ns >= 5_000_000);
    let mut put_off = Vec::new();
    for id in before {
        let Completed::Later(at_ns) = disk.complete(1_000_000, id) else { panic!("the disk is stalled") };
        assert!(at_ns >= 5_000_000);
        put_off.push((at_ns, id));
    }
    assert!(!put_off.is_sorted(), "operations come back from a stall in any order");
    assert_eq!(disk.complete(1_000_000, 12345), Completed::Gone);
    for (at_ns, id) in put_off {
        assert!(matches!(disk.complete(at_ns, id), Completed::Done(_)));
    }
    assert!(matches!(disk.complete(at_ns, during), Completed::Done(_)));
}

#[test]
fn a_stall_that_was_healed_is_over_at_once_for_a_world_that_reschedules() {
    let mut disk = SimDisk::new(1, 0, DiskSettings::default());
    disk.stall_until(1 << 50);
    let (at_ns, id) = disk.submit(0, Token(7), DiskOperation::Barrier);
    assert!(at_ns >= 1 << 50);
    disk.clear_faults();
    let mut due = Vec::new();
    disk.reschedule(10, &mut due);
    assert!(due.len() == 1 && due[0].1 == id && due[0].0 < 1_000_000);
    assert!(matches!(disk.complete(due[0].0, id), Completed::Done(_)));
    assert_eq!(disk.complete(at_ns, id), Completed::Gone);
}

#[test]
fn a_slow_disk_takes_its_factor_longer_while_it_is_slow() {
    let exact = LatencyRange::new(1000, 1000);
    let settings = DiskSettings { barrier: exact, ..DiskSettings::default() };
    let mut disk = SimDisk::new(1, 0, settings);
    disk.slow(2500, 10_000);
    assert_eq!(disk.submit(5000, Token(0), DiskOperation::Barrier).0, 30_000);
    assert_eq!(disk.submit(10_000, Token(0), DiskOperation::Barrier).0, 11_000);
    disk.slow(300, 20_000);
    disk.clear_faults();
    assert_eq!(disk.submit(10_000, Token(0), DiskOperation::Barrier).0, 11_000);
}

#[test]
fn corruption_flips_the_bits_it_names_until_the_sector_is_written_again() {
    let mut hand = Hand::new(1);
    hand.write_durable(0, 1).unwrap();
    hand.write_durable(1, 1).unwrap();
    hand.disk.corrupt(SECTOR - 1, &[0x80, 0xff]);
    let read = hand.read(0).unwrap();
    assert_eq!((read[SECTOR_SIZE - 1], read[SECTOR_SIZE - 2]), (0x81, 1));
    assert_eq!((hand.read(1).unwrap()[0], hand.read(1).unwrap()[1]), (0xfe, 1));
    assert_eq!(hand.disk.damaged_sectors(), 2);
    assert_eq!(hand.disk.durable_sector(0), Durable::Damaged);
    hand.write_durable(0, 1).unwrap();
    assert_eq!(hand.seen(0), Whole(1));
    assert_eq!(hand.disk.damaged_sectors(), 1);
}

#[test]
fn zeroed_and_misdirected_sectors_are_damage_where_they_land() {
    let mut hand = Hand::new(1);
    for sector in 0..4 {
        hand.write_durable(sector, 1 + sector as u8).unwrap();
    }
    hand.disk.zero(0, SECTOR);
    hand.disk.misdirect(SECTOR, 2 * SECTOR, 2 * SECTOR);
    assert_eq!([0, 1, 2, 3].map(|sector| hand.seen(sector)), [Whole(0), Whole(2), Whole(2), Whole(2)]);
    assert_eq!(hand.disk.durable_sector(1), Durable::Stable(vec![2; SECTOR_SIZE].into()));
    assert_eq!(hand.disk.damaged_sectors(), 3);
}

#[test]
fn a_write_that_was_misled_says_success_and_is_not_there() {
    let mut hand = Hand::new(1);
    hand.write_durable(0, 1).unwrap();
    hand.disk.lose_next_write();
    hand.write_durable(0, 2).unwrap();
    assert_eq!((hand.seen(0), hand.disk.durable_sector(0)), (Whole(1), Durable::Damaged));
    hand.disk.misdirect_next_write(9 * SECTOR);
    hand.write_durable(0, 3).unwrap();
    assert_eq!((hand.seen(0), hand.seen(9)), (Whole(1), Whole(3)));
    hand.write_durable(0, 4).unwrap();
    assert_eq!((hand.seen(0), hand.disk.damaged_sectors()), (Whole(4), 1));
}

#[test]
fn what_was_written_before_a_write_was_misled_does_not_end_the_damage_when_a_barrier_comes() {
    let mut hand = Hand::new(1);
    hand.write(0, 1).unwrap();
    hand.disk.lose_next_write();
    hand.write_durable(0, 2).unwrap();
    hand.barrier().unwrap();
    assert_eq!((hand.seen(0), hand.disk.durable_sector(0)), (Whole(1), Durable::Damaged));
    hand.write_durable(0, 3).unwrap();
    assert_eq!((hand.seen(0), hand.disk.damaged_sectors()), (Whole(3), 0));
}

#[test]
fn written_sectors_are_listed_and_no_others() {
    let mut hand = Hand::new(1);
    let sectors = [0, 15, 16, 1023, 1024, 5000, 200_000];
    for sector in sectors {
        hand.write_durable(sector, 1).unwrap();
    }
    hand.write_durable(17, 0).unwrap();
    hand.write(18, 1).unwrap();
    assert!(hand.disk.written_sectors(0, hand.disk.capacity() / SECTOR).eq(sectors));
    assert!(hand.disk.written_sectors(15, 1024).eq([15, 16, 1023]));
    assert_eq!(hand.disk.written_sectors(5001, 200_000).count(), 0);
}

#[test]
fn a_write_is_misled_and_a_read_spoiled_only_where_it_was_asked_for() {
    let mut hand = Hand::new(1);
    hand.disk.lose_next_write_in(8 * SECTOR, 2 * SECTOR);
    hand.disk.spoil_next_read_in(9 * SECTOR, SECTOR);
    for (sector, found) in [(7, 1), (8, 0), (8, 1), (10, 1)] {
        hand.write_durable(sector, 1).unwrap();
        assert_eq!(hand.seen(sector), Whole(found), "sector {sector}");
    }
    assert_eq!(hand.read(9), Err(DiskError::Read), "it has gone bad");
    assert_eq!(hand.read(9), Err(DiskError::Read), "until it is written again");
    hand.write_durable(9, 2).unwrap();
    assert_eq!(hand.seen(9), Whole(2));
}
