//! Zeros in the middle of what was acknowledged are a hole, to be repaired. A torn batch at the end, which nobody was told
//! is durable, is cut, and neither stops the start nor is asked for.

use chronon::{
    types::{NodeId, Op},
    wire::header::{Command, Header},
};

use crate::script::{CLUSTER, Script, Setup, puts};

#[test]
fn zeros_followed_by_data_are_a_hole_that_is_repaired() {
    let mut script = Script::replicas(3);
    script.commit(40).converge_all();
    let primary = script.primary();
    let backup = script.after(primary, 1);
    let layout = script.setup.layout;
    script.cut_power(backup);
    script
        .world
        .disk_mut(NodeId(u32::from(backup)))
        .zero(layout.prepare_offset(20), u64::from(layout.message_size_max));
    script.recover(backup);
    assert_eq!(script.head(backup), Op(42), "what lies behind the hole is still there");
    assert_eq!(script.probe("recovery_possibly_acknowledged_damage"), 1);
    script.converge_all();
    assert_eq!(script.probe("prepare_repaired"), 1);
    script.check();
}

/// A replica whose disk stands still in the middle of large writes, and then loses its power.
fn torn(replicas: u8, seed: u64) -> (Script, u8, Op) {
    let mut script = Script::new(Setup { replicas, seed, pipeline: 8, company: 0, ..Setup::default() });
    let primary = script.primary();
    let victim = script.after(primary, u8::from(replicas > 1));
    script.clients(8, &puts(1_000, 16 * 1024));
    script.until("it is busy", 1_000, |script| script.head(victim) >= Op(51));
    let durable = script.vsr(victim).applied();
    script.stall_disk(victim, 60_000);
    script.until("writes are under way", 1_000, |script| script.vsr(victim).journal().writes_in_flight() >= 3);
    script.cut_power(victim);
    script.world.clear_disk_faults(NodeId(u32::from(victim)));
    script.recover(victim);
    (script, victim, durable)
}

#[test]
fn a_torn_batch_that_nobody_acknowledged_is_cut() {
    let mut cut = 0;
    for seed in 1..=8 {
        let (mut script, victim, durable) = torn(3, seed);
        assert!(script.head(victim) >= durable && script.vsr(victim).head_is_certain());
        assert_eq!(script.probe("recovery_possibly_acknowledged_damage"), 0);
        cut += script.probe("recovery_torn_tail");
        script.commit(5).check();
    }
    assert!(cut >= 2, "tails were torn, and not {cut}");
}

#[test]
fn a_torn_batch_does_not_stop_a_replica_that_is_alone() {
    let mut cut = 0;
    for seed in 1..=8 {
        let (mut script, _, durable) = torn(1, seed);
        assert!(script.head(0) >= durable);
        cut += script.probe("recovery_torn_tail");
        // The space is used again, and the next append is valid.
        script.commit(10);
        let applied = script.vsr(0).applied();
        script.cut_power(0).recover(0).commit(1);
        assert!(script.vsr(0).applied() > applied);
        script.check();
    }
    assert!(cut >= 2, "tails were torn, and not {cut}");
}

/// A prepare above one that is torn, durable with its entry torn: nobody was told. When the head comes to lie right below it,
/// after another power cut, that must still be known.
#[test]
fn a_torn_entry_above_the_head_is_settled_at_the_first_start() {
    let mut script = Script::replicas(1);
    script.commit(20);
    assert_eq!(script.head(0), Op(22));
    let (layout, view, op) = (script.setup.layout, script.vsr(0).view(), Op(25));
    let header = Header { op, ..Header::new(CLUSTER, Command::Prepare, 0, view) }.sealed(b"torn");
    script.cut_power(0);
    let disk = script.world.disk_mut(NodeId(0));
    disk.preload(layout.prepare_offset(25), &[&header.encode()[..], b"torn"].concat());
    script.corrupt_header(0, op).recover(0).commit(1);
    assert_eq!(script.head(0), Op(24));
    script.cut_power(0).recover(0).commit(1).check();
}
