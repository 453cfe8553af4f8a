//! After a failed write or barrier nobody knows what the disk holds. The process stops, says why, tries nothing again and
//! believes nothing, and recovers from its disk as after any crash.

use chronon::types::NodeId;

use crate::script::{PATIENCE_MS, Script, puts};

fn halted(script: &Script, replica: u8) -> Option<String> {
    script.world.halted(NodeId(u32::from(replica))).map(str::to_owned)
}

/// The victim is a backup or the primary. It stops within a second of what was done to its disk.
fn stops(script: &mut Script, victim: u8, error: &str) {
    script.until("it stops", PATIENCE_MS, |script| halted(script, victim).is_some());
    let reason = halted(script, victim).expect("it was waited for");
    assert!(reason.contains(error) && reason.contains("recover by restarting"), "{reason}");
}

#[test]
fn a_failed_write_of_a_prepare_stops_a_backup_and_a_primary() {
    for which in [0, 1] {
        let mut script = Script::replicas(3);
        script.commit(10).converge_all();
        let primary = script.primary();
        let victim = script.after(primary, which);
        let client = script.client(puts(300, 256));
        script.run_ms(50).world.disk_mut(NodeId(u32::from(victim))).fail_next_write();
        stops(&mut script, victim, "Write");
        script.until_finished(&[client]);
        script.recover(victim).commit(10).converge_all().check();
    }
}

#[test]
fn a_failed_barrier_stops_a_replica_on_its_way_to_a_view() {
    // Of the first and of the second pair of copies, on leaving a view and on entering one.
    for nth in 0..4 {
        let mut script = Script::replicas(3);
        script.commit(10).converge_all();
        let primary = script.primary();
        let victim = NodeId(u32::from(script.after(primary, 1)));
        let passed = script.world.disk(victim).counters().barriers + nth;
        script.kill(primary);
        script.until("the barrier", PATIENCE_MS, |script| script.world.disk(victim).counters().barriers > passed);
        script.world.disk_mut(victim).fail_next_barrier();
        stops(&mut script, victim.0 as u8, "Barrier");
        let barriers = script.world.disk(victim).counters().barriers;
        script.run_ms(100);
        assert_eq!(script.world.disk(victim).counters().barriers, barriers, "it is not tried again");
        script.recover(victim.0 as u8).commit(10).recover(primary).converge_all().check();
    }
}

#[test]
fn a_full_disk_stops_a_replica_until_there_is_room() {
    let mut script = Script::replicas(3);
    script.commit(10).converge_all();
    let primary = script.primary();
    script.world.disk_mut(NodeId(u32::from(primary))).no_space(true);
    let client = script.client(puts(100, 256));
    stops(&mut script, primary, "NoSpace");
    script.until_finished(&[client]);
    // Without room it can not even make its superblock good, and stops again.
    script.restart(primary);
    stops(&mut script, primary, "NoSpace");
    script.world.disk_mut(NodeId(u32::from(primary))).no_space(false);
    script.recover(primary).converge_all().check();
}
