//! A data file that is another replica's, was never formatted or lost its superblock is refused, and the refusal says what
//! to do. Half of the copies are enough.

use chronon::{
    storage::superblock::SUPERBLOCK_COPY_SIZE,
    types::{ClusterId, NodeId, ReplicaId},
    vsr::Config,
};

use crate::script::{CLUSTER, PATIENCE_MS, Script};

/// Why replica 2 does not start after this was done to its disk. The others go on.
fn refusal(change: impl FnOnce(&mut Script)) -> String {
    let mut script = Script::replicas(3);
    script.commit(10).converge_all();
    script.cut_power(2);
    change(&mut script);
    script.restart(2);
    script.until("it refuses", PATIENCE_MS, |script| script.world.halted(NodeId(2)).is_some());
    let reason = script.world.halted(NodeId(2)).expect("it was waited for").to_owned();
    script.commit(10).converge(&[0, 1]).check();
    reason
}

fn format(script: &mut Script, cluster: ClusterId, replica: u8, replicas: u8) {
    overwrite(script, &Config::new(cluster, ReplicaId(replica), replicas, script.setup.layout));
}

fn overwrite(script: &mut Script, config: &Config) {
    for (offset, bytes) in config.format(1) {
        script.world.disk_mut(NodeId(2)).preload(offset, &bytes);
    }
}

fn damage(script: &mut Script, copies: &[u64]) {
    for copy in copies {
        script.world.disk_mut(NodeId(2)).corrupt(copy * u64::from(SUPERBLOCK_COPY_SIZE) + 100, &[0xff; 4]);
    }
}

#[test]
fn the_file_of_another_replica_cluster_or_size_of_cluster_is_refused() {
    let reason = refusal(|script| format(script, CLUSTER, 1, 3));
    assert!(reason.contains("belongs to replica 1 of 3") && reason.contains("check the path"), "{reason}");
    let reason = refusal(|script| format(script, ClusterId(7), 2, 3));
    assert!(reason.contains("in cluster 7, not to replica 2 of 3"), "{reason}");
    let reason = refusal(|script| format(script, CLUSTER, 2, 5));
    assert!(reason.contains("belongs to replica 2 of 5"), "{reason}");
}

#[test]
fn a_file_that_is_formatted_with_other_limits_than_the_configuration_says_is_refused() {
    let reason = refusal(|script| {
        let usual = Config::new(CLUSTER, ReplicaId(2), 3, script.setup.layout);
        overwrite(script, &Config { clients_max: usual.clients_max + 1, ..usual });
    });
    assert!(reason.contains("for 65 sessions") && reason.contains("and 64: use the former"), "{reason}");
}

#[test]
fn a_superblock_that_is_damaged_beyond_one_pair_is_refused() {
    for copies in [[0, 1, 2], [0, 2, 3], [1, 2, 3]] {
        let reason = refusal(|script| damage(script, &copies));
        assert!(reason.contains("no two copies") && reason.contains("recover it from the other replicas"), "{reason}");
    }
}

#[test]
fn a_file_that_was_never_formatted_is_refused() {
    let reason = refusal(|script| script.world.disk_mut(NodeId(2)).zero(0, 4 * u64::from(SUPERBLOCK_COPY_SIZE)));
    assert!(reason.contains("unless the file was never formatted it is lost"), "{reason}");
    assert!(reason.contains("recover it") && reason.contains("do not format it again"), "{reason}");
}

#[test]
fn one_pair_of_copies_is_enough_and_all_four_are_good_again_afterwards() {
    for copies in [[0, 1], [1, 2], [0, 3]] {
        let mut script = Script::replicas(3);
        script.commit(10).converge_all();
        script.cut_power(2);
        damage(&mut script, &copies);
        script.recover(2).commit(10).converge_all();
        assert_eq!(script.probe("superblock_copies_differ"), 1);
        script.cut_power(2).recover(2).converge_all();
        assert_eq!(script.probe("superblock_copies_differ"), 1, "they were made good");
        script.check();
    }
}
