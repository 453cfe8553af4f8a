//! The journal comes round many times: a replica that was away for longer takes a checkpoint of the others, under load; so does one whose
//! file was lost; and chunks and superblock copies that rot are mended from the others and from each other.

use std::{fs, os::unix::fs::FileExt};

use chronon::storage::layout::{Layout, SUPERBLOCK_COPY_SIZE};
use chronon_production::status::State;

use crate::{
    SOME,
    cluster::{Cluster, chronon, until},
    load::Load,
};

/// A checkpoint at every 56th op.
const LAYOUT: Layout =
    Layout { slot_count: 128, message_size_max: 16 * 1024 + 4096, block_count: 256, block_size: 8 * 1024 };

/// Waits until the others have gone on from `op` for so many journals.
fn until_beyond(cluster: &Cluster, op: u64, laps: u64) {
    let aim = op + laps * u64::from(LAYOUT.slot_count);
    until("the journals come round", || (cluster.status(cluster.primary()).commit > aim).then_some(()));
}

/// Waits until a replica is where the others are.
fn until_there(cluster: &Cluster, replica: u8) {
    let aim = cluster.status(cluster.primary()).commit;
    until("it is there again", || {
        let status = cluster.status(replica);
        (matches!(status.state, State::Primary | State::Backup) && status.applied >= aim).then_some(())
    });
}

#[test]
fn a_replica_that_was_away_for_longer_than_the_journal_goes_takes_a_checkpoint() {
    let mut cluster = Cluster::start_laid_out("laps-away", 3, LAYOUT);
    let load = Load::begin(&cluster);
    load.wait_for(SOME);
    for behind in 0..3 {
        let left_at = cluster.status(behind).op;
        cluster.kill(behind);
        until_beyond(&cluster, left_at, 2);
        cluster.restart(behind);
        // In the middle of it, or when it is over: it goes on where it was.
        load.wait_for(SOME / 2);
        cluster.kill(behind);
        cluster.restart(behind);
        until_there(&cluster, behind);
        assert!(cluster.status(behind).checkpoint > left_at, "it has a later checkpoint");
    }
    load.wait_for(SOME);
    cluster.ends_well(load);
}

#[test]
fn a_replica_whose_file_was_lost_recovers_beyond_the_journals() {
    let mut cluster = Cluster::start_laid_out("laps-lost", 3, LAYOUT);
    let load = Load::begin(&cluster);
    until_beyond(&cluster, 0, 2);
    let lost = (cluster.primary() + 1) % 3;
    cluster.kill(lost);
    fs::remove_file(cluster.data_file(lost)).unwrap();
    let (made, said) = cluster.recover(lost);
    assert!(made, "{said}");
    cluster.restart(lost);
    until_there(&cluster, lost);
    let other = (lost + 1) % 3;
    cluster.kill(other);
    load.wait_for(SOME);
    cluster.restart(other);
    until_there(&cluster, other);
    cluster.ends_well(load);
}

#[test]
fn chunks_and_a_superblock_copy_that_rot_are_mended() {
    let mut cluster = Cluster::start_laid_out("laps-rot", 3, LAYOUT);
    let load = Load::begin(&cluster);
    until_beyond(&cluster, 0, 1);
    let rotten = (cluster.primary() + 1) % 3;
    until("it has a checkpoint", || (cluster.status(rotten).checkpoint > 0).then_some(()));
    cluster.kill(rotten);
    let path = cluster.data_file(rotten);
    let file = fs::File::options().read(true).write(true).open(&path).unwrap();
    let flip = |offset: u64| {
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
    };
    flip(u64::from(SUPERBLOCK_COPY_SIZE) + 130);
    (0..LAYOUT.block_count).for_each(|block| flip(LAYOUT.block_offset(block) + 100));
    let inspected = |what: &str| chronon().args(["inspect", what]).arg(&path).output().unwrap();
    assert_eq!((inspected("superblock").status.code(), inspected("checkpoint").status.code()), (Some(1), Some(1)));
    cluster.restart(rotten);
    until_there(&cluster, rotten);
    load.wait_for(SOME);
    cluster.kill(rotten);
    for what in ["superblock", "checkpoint"] {
        let said = inspected(what);
        assert_eq!(said.status.code(), Some(0), "{}", String::from_utf8_lossy(&said.stdout));
    }
    cluster.restart(rotten);
    cluster.ends_well(load);
}
