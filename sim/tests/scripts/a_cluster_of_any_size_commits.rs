//! One replica commits by itself; two to six commit by a majority. All of them come back from their disks alone.

use chronon::{
    storage::layout::Layout,
    types::{NodeId, Op, View},
};
use chronon_sim::disk::{DiskSettings, LatencyRange};

use crate::script::{MS, Script, Setup, puts};

#[test]
fn one_to_six_replicas_commit_and_come_back() {
    for replicas in 1..=6 {
        let mut script = Script::replicas(replicas);
        script.commit(20).converge_all();
        let state = script.replica(0).state().digest();
        script.cut_power_of_all().restart_all().commit(1);
        script.converge_all();
        assert!(script.vsr(0).view() > View(1), "nobody serves in a view that it served in before");
        assert_ne!(script.replica(0).state().digest(), state);
        assert!(
            script.probe("primary_restarted") >= 1,
            "it is noticed, and at a first start there is nothing to notice"
        );
        script.check();
    }
}

#[test]
fn one_replica_alone_recovers_to_the_same_state() {
    let mut script = Script::replicas(1);
    script.commit(50);
    let (head, state) = (script.head(0), script.replica(0).state().digest());
    script.cut_power(0).recover(0).converge_all();
    assert_eq!((script.head(0), script.replica(0).state().digest()), (head, state));
    script.check();
}

#[test]
fn a_minority_of_replicas_commits_nothing() {
    for (replicas, alive) in [(2, 1), (3, 1), (4, 2), (5, 2), (6, 3)] {
        let mut script = Script::replicas(replicas);
        script.commit(5).converge_all();
        for dead in alive..replicas {
            script.kill(dead);
        }
        let before = script.vsr(0).commit_max();
        let client = script.client(crate::script::puts(1, 256));
        script.run_ms(3_000);
        assert!((0..alive).all(|replica| script.vsr(replica).commit_max() == before), "{alive} of {replicas}");
        script.restart(alive).until_finished(&[client]).check();
    }
}

/// Its log ends right above its checkpoint, and its view begins before the state is loaded: what it has acknowledged to itself by then is
/// committed when the state is there.
#[test]
fn one_replica_alone_goes_on_however_long_its_state_is_loaded() {
    // A checkpoint at every 24th op.
    let layout = Layout { slot_count: 64, message_size_max: 32 * 1024, block_count: 128, block_size: 4096 };
    let disk = |_| DiskSettings { read: LatencyRange::new(200 * MS, 200 * MS), ..DiskSettings::default() };
    let mut script = Script::new(Setup { replicas: 1, layout, disk, ..Setup::default() });
    let client = script.client(puts(23, 256));
    script.until("it has come to the checkpoint", 5_000, |script| script.head(0) == Op(24));
    script.world.cut_one_way(client, NodeId(0));
    script.run_ms(500);
    assert_eq!((script.head(0), script.vsr(0).checkpoints().op()), (Op(24), Op(24)));
    script.world.heal_one_way(client, NodeId(0));
    script.until_finished(&[client]);
    assert_eq!(script.head(0), Op(25));
    script.cut_power(0).restart(0).until("its view has begun, and it has no state", 10_000, |script| {
        script.is_up(0) && script.vsr(0).is_primary() && script.vsr(0).checkpoints().is_restoring()
    });
    script.until("it serves", 5_000, |script| script.vsr(0).is_serving());
    script.commit(1).converge_all();
    script.check();
}
