//! Each reason to stop, with and without what gives it.

use chronon::{
    process::{Now, Token},
    storage::layout::SUPERBLOCK_COPY_SIZE,
    types::{ClusterId, Instant, Op, Timestamp, View},
    wire::{
        batch,
        header::{Command, Header},
        members::Members,
    },
};

use super::*;
use crate::oracle::script::{CLUSTER, LAYOUT, R0, R1, disk};

const DISK_FAILED: &str = "the disk failed (Barrier); recover by restarting";
const BLANK: &str = "all copies of the superblock are zeros: unless the file was never formatted it is lost";
const LOST: &str = "no two copies of the superblock agree, so this replica does not know what it promised";
const FOREIGN: &str = "the data file belongs to replica 1 of 3 in cluster 8, not to replica 1 of 3 in cluster 77";
const LIMITS: &str = "the data file was formatted with other limits";
const SUPERSEDED: &str = "this data file was superseded: r1 has the incarnation 8 now";
const JOURNAL: &str = "the journal is damaged at op7, and a single replica has nobody to repair it from";
const CHECKPOINT: &str = "the checkpoint is damaged, and a single replica has nobody to repair it from";

fn halts(replicas: u8) -> Halts {
    Halts::new(&Config::new(CLUSTER, R0, replicas, LAYOUT))
}

fn completes(halts: &mut Halts, result: Result<u32, DiskError>) -> Result<(), String> {
    let event = EventView::Completion { token: Token(1), result, data: None };
    let step = StepView { number: 1, now: Now { monotonic: Instant(0), realtime: Timestamp(0) }, event, actions: &[] };
    halts.took(R1, &step).map_err(|broken| broken.sentence)
}

/// Whether replica 1 may stop for this reason, when nobody was replaced.
fn may(halts: &Halts, reason: &str, disk: &SimDisk) -> bool {
    halts.stops(R1, reason, 0, disk, &Amnesia::new(3)).is_ok()
}

/// A disk of replica 1 that is formatted by this configuration.
fn formatted(config: &Config) -> SimDisk {
    let mut disk = disk(R1).another(1, 1, 0);
    for (offset, bytes) in config.format(5) {
        disk.preload(offset, &bytes);
    }
    disk
}

#[test]
fn with_nothing_amiss_no_reason_is_one() {
    let reasons = [DISK_FAILED, BLANK, LOST, FOREIGN, LIMITS, SUPERSEDED, JOURNAL, CHECKPOINT];
    assert!(reasons.iter().all(|reason| !may(&halts(3), reason, &disk(R1))));
    let violation = halts(3).stops(R1, DISK_FAILED, 0, &disk(R1), &Amnesia::new(3)).unwrap_err();
    assert_eq!(
        violation.sentence,
        "r1 stopped by itself without a write or barrier of its disk that failed in that step: \
         the disk failed (Barrier); recover by restarting"
    );
    let violation = halts(3).stops(R1, "two superblocks follow", 0, &disk(R1), &Amnesia::new(3)).unwrap_err();
    assert_eq!(violation.place, "stopped for a reason that there never is");
}

#[test]
fn a_replica_stops_when_a_write_or_a_barrier_has_failed_and_only_then() {
    for error in [DiskError::Write, DiskError::Barrier, DiskError::NoSpace] {
        let mut halts = halts(3);
        completes(&mut halts, Ok(4096)).unwrap();
        completes(&mut halts, Err(DiskError::Read)).unwrap();
        assert!(!may(&halts, DISK_FAILED, &disk(R1)), "a read is tried again");
        completes(&mut halts, Err(error)).unwrap();
        assert!(may(&halts, DISK_FAILED, &disk(R1)));
        let went_on = completes(&mut halts.clone(), Ok(4096)).unwrap_err();
        assert!(went_on.starts_with("r1 went on after its disk had failed"), "{went_on}");
        halts.crashed(R1);
        completes(&mut halts, Ok(4096)).unwrap();
        assert!(!may(&halts, DISK_FAILED, &disk(R1)), "that was in another life");
    }
}

#[test]
fn a_superblock_is_missing_only_where_it_is_or_cannot_be_read() {
    let mut halts = halts(3);
    let blank = disk(R1).another(1, 1, 0);
    assert!(may(&halts, BLANK, &blank) && !may(&halts, LOST, &blank));
    let mut damaged = disk(R1);
    damaged.corrupt(u64::from(SUPERBLOCK_COPY_SIZE) + 100, &[1]);
    assert!(may(&halts, LOST, &damaged) && !may(&halts, BLANK, &damaged));
    let mut elsewhere = disk(R1);
    elsewhere.corrupt(LAYOUT.header_ring_offset(), &[1]);
    assert!(!may(&halts, LOST, &elsewhere));
    for _ in 1..READS_TRIED {
        completes(&mut halts, Err(DiskError::Read)).unwrap();
    }
    assert!(!may(&halts, LOST, &disk(R1)), "it may be tried once more");
    completes(&mut halts, Err(DiskError::Read)).unwrap();
    assert!(may(&halts, LOST, &disk(R1)) && !may(&halts, JOURNAL, &disk(R1)));
}

#[test]
fn two_checkpoints_do_not_fit_a_grid_that_is_nearly_full() {
    let crowded = "a checkpoint of the others and this replica's own do not fit the 16 blocks";
    let may = |used| halts(3).stops(R1, crowded, used, &disk(R1), &Amnesia::new(3)).is_ok();
    let blocks = LAYOUT.block_count as usize;
    assert!(may(blocks) && may(blocks * 3 / 4) && !may(blocks / 2));
}

#[test]
fn a_data_file_is_refused_when_it_is_another_s() {
    let config = Config::new(CLUSTER, R1, 3, LAYOUT);
    let refused = |config: &Config| may(&halts(3), FOREIGN, &formatted(config));
    assert!(!refused(&config));
    assert!(refused(&Config { cluster: ClusterId(8), ..config.clone() }));
    assert!(refused(&Config { replica: R0, ..config.clone() }));
    assert!(refused(&Config { clients_max: config.clients_max + 1, ..config }));
}

#[test]
fn damage_stops_a_single_replica_that_has_it_there() {
    let single = |reason, offset| {
        let mut disk = disk(R1);
        disk.corrupt(offset, &[1]);
        let alone = Halts { lives: vec![Life::default(); 2], ..halts(1) };
        assert!(!may(&halts(3), reason, &disk), "others can repair it");
        may(&alone, reason, &disk)
    };
    let (ring, prepares, grid) = (LAYOUT.header_ring_offset(), LAYOUT.prepare_offset(3), LAYOUT.grid_offset());
    assert!(single(JOURNAL, ring) && single(JOURNAL, prepares) && !single(JOURNAL, grid) && !single(JOURNAL, 0));
    assert!(!single(CHECKPOINT, ring) && !single(CHECKPOINT, prepares) && single(CHECKPOINT, grid));
}

/// What the log did with replica 1's place, whose disk has incarnation 5: these had it, one after the other.
fn superseded(incarnations: &[u128], is_pending: bool) -> bool {
    let mut amnesia = Amnesia::new(3);
    for (op, incarnation) in (1..).zip(incarnations) {
        let (mut payload, mut body) = (Vec::new(), Vec::new());
        Members { version: op, incarnations: vec![4, *incarnation, 6] }.encode(&mut payload);
        batch::push_members(&mut body, &payload);
        let header = Header::new(CLUSTER, Command::Prepare, 1, View(1)).sealed(&body);
        amnesia.executed(Op(op), View(1), &chronon::frame::Frame::new([&header.encode()[..], &body].concat()));
    }
    let config = Config::new(CLUSTER, R1, 3, LAYOUT);
    let mut disk = formatted(&config);
    if is_pending {
        for (offset, bytes) in config.format_lost(5).expect("others are a majority") {
            disk.preload(offset, &bytes);
        }
    }
    halts(3).stops(R1, SUPERSEDED, 0, &disk, &amnesia).is_ok()
}

#[test]
fn a_replica_is_superseded_when_the_log_gave_its_place_to_another() {
    assert!(!superseded(&[], false) && !superseded(&[0], false) && !superseded(&[5], false));
    assert!(!superseded(&[4, 5], false), "it is itself the later one");
    assert!(superseded(&[5, 8], false) && superseded(&[4, 5, 8], true));
    assert!(superseded(&[4], false), "formatted as if it were new, in a place that is taken");
    assert!(
        !superseded(&[4], true) && !superseded(&[4, 8], true),
        "who recovers was never a member: those are former ones"
    );
}
