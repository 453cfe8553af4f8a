//! Both backups are long in making a checkpoint durable, so that the ring fills up with what clients ask for. The last slots are not theirs:
//! what the services do meanwhile is logged, and the outbox is drained though no request has room. An operator is answered there too, and
//! though it asks for more and more, some slots stay for what the services do.

use chronon::{
    types::{NodeId, Op},
    vsr::Vsr,
};
use chronon_sim::disk::{DiskSettings, LatencyRange};

use crate::{
    branch::{Cluster, LAYOUT, OFTEN, POLITE, SOUND, letters},
    script::MS,
};

/// A primary whose backups take long over a checkpoint from here on, and services that answer nothing.
fn slow_backups() -> (Cluster, u8, [NodeId; 2]) {
    // Of what a replica writes, the log alone needs no barrier.
    let barrier = LatencyRange::new(20 * MS, 20 * MS);
    let disk = |_| DiskSettings { barrier, ..DiskSettings::default() };
    let mut cluster = Cluster::on_disks(3, letters(POLITE, OFTEN), SOUND, disk);
    cluster.outside().go_down(u64::MAX);
    let primary = cluster.until_primary();
    // Who is who is committed first, and in every superblock.
    cluster.run_ms(1_000);
    let backups = [1, 2].map(|other| NodeId(u32::from((primary + other) % 3)));
    for backup in backups {
        cluster.world.disk_mut(backup).slow(5_000, u64::MAX);
    }
    (cluster, primary, backups)
}

fn vsr(cluster: &Cluster, primary: u8) -> &Vsr {
    cluster.replica(primary).expect("it is up").vsr()
}

/// The last op whose slot is free.
fn last(vsr: &Vsr) -> Op {
    Op(vsr.checkpoints().vouched().op.0 + u64::from(LAYOUT.slot_count))
}

#[test]
fn requests_leave_room_for_what_ends_effects() {
    let (mut cluster, primary, backups) = slow_backups();
    let clients: Vec<_> = (0..3).map(|_| cluster.client(200)).collect();
    cluster.until("requests have no slot", 60_000, |cluster| cluster.world.probe_count("slot_not_free") > 0);
    let (full, letters) = (vsr(&cluster, primary).clone(), cluster.outbox().len());
    assert!(full.is_primary() && letters > 1 && full.log().head() < last(&full), "{letters} letters");
    cluster.outside().heal();
    cluster.until("what the services did is logged", 2_000, |cluster| cluster.outbox().len() < letters);
    let drained = vsr(&cluster, primary);
    assert_eq!(drained.checkpoints().vouched(), full.checkpoints().vouched(), "and no slot was freed for it");
    assert!(drained.log().head() > full.log().head() && cluster.world.probe_count("reserved_room_taken") > 0);
    for backup in backups {
        cluster.world.disk_mut(backup).clear_faults();
    }
    cluster.until("everybody is answered", 60_000, |cluster| {
        clients.iter().all(|client| cluster.caller(*client).is_finished())
    });
    cluster.until("all is acknowledged", 60_000, |cluster| cluster.outbox().is_empty());
    cluster.check();
}

#[test]
fn an_operator_is_answered_where_no_client_is_and_leaves_room_too() {
    let (mut cluster, primary, _) = slow_backups();
    for _ in 0..3 {
        cluster.client(200);
    }
    cluster.until("requests have no slot", 60_000, |cluster| cluster.world.probe_count("slot_not_free") > 0);
    let (full, letters) = (vsr(&cluster, primary).clone(), cluster.outbox().len());
    cluster.operator(1);
    cluster
        .until("the operator is answered", 2_000, |cluster| cluster.world.probe_count("operator_request_executed") > 1);
    assert_eq!(vsr(&cluster, primary).checkpoints().vouched(), full.checkpoints().vouched(), "and no slot was freed");
    let reserved = |cluster: &Cluster| last(vsr(cluster, primary)).0 - vsr(cluster, primary).log().head().0;
    cluster.until("it has no more slots", 2_000, |cluster| reserved(cluster) <= 4);
    cluster.run_ms(100);
    let left = reserved(&cluster);
    assert!(left > 0, "what it asks for does not take the system's, which ticks have begun to use");
    cluster.outside().heal();
    cluster.until("what the services did is logged", 2_000, |cluster| cluster.outbox().len() < letters);
    assert!(reserved(&cluster) < left, "in the system's own slots");
    assert_eq!(vsr(&cluster, primary).checkpoints().vouched(), full.checkpoints().vouched(), "and no slot was freed");
    cluster.check();
}
