//! Both backups are long in making a checkpoint durable, so that the ring fills up with what clients ask for. The last slots are not theirs:
//! what the services do meanwhile is logged, and the outbox is drained though no request has room.

use chronon::types::{NodeId, Op};
use chronon_sim::disk::{DiskSettings, LatencyRange};

use crate::{
    branch::{Cluster, LAYOUT, OFTEN, POLITE, SOUND, letters},
    script::MS,
};

#[test]
fn requests_leave_room_for_what_ends_effects() {
    // Of what a replica writes, the log alone needs no barrier.
    let barrier = LatencyRange::new(20 * MS, 20 * MS);
    let disk = |_| DiskSettings { barrier, ..DiskSettings::default() };
    let mut cluster = Cluster::on_disks(3, letters(POLITE, OFTEN), SOUND, disk);
    cluster.outside().go_down(u64::MAX);
    let primary = cluster.until_primary();
    // Who is who is committed first, and in every superblock.
    cluster.run_ms(1_000);
    let backups = (0..3).filter(|replica| *replica != primary).map(|replica| NodeId(u32::from(replica)));
    for backup in backups.clone() {
        cluster.world.disk_mut(backup).slow(5_000, u64::MAX);
    }
    let clients: Vec<_> = (0..3).map(|_| cluster.client(200)).collect();
    cluster.until("requests have no slot", 60_000, |cluster| cluster.world.probe_count("slot_not_free") > 0);
    let vsr = |cluster: &Cluster| cluster.replica(primary).expect("it is up").vsr().clone();
    let (full, letters) = (vsr(&cluster), cluster.outbox().len());
    let last = Op(full.checkpoints().vouched().op.0 + u64::from(LAYOUT.slot_count));
    assert!(full.is_primary() && letters > 1 && full.log().head() < last, "{letters} letters");
    cluster.outside().heal();
    cluster.until("what the services did is logged", 2_000, |cluster| cluster.outbox().len() < letters);
    let drained = vsr(&cluster);
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
