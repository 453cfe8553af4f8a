//! The primary dies: there is another in a later view, commits go on, all that was committed is there byte for byte, and the
//! old primary comes back as a backup.

use chronon::types::{NodeId, Op};

use crate::script::{Script, puts};

/// The bytes of these ops as they lie durably on a replica's disk.
fn prepares(script: &Script, replica: u8, last: Op) -> Vec<Vec<u8>> {
    let layout = script.setup.layout;
    (1..=last.0)
        .map(|op| {
            let header = script.vsr(replica).log().get_tied(Op(op)).expect("the log is known");
            let mut bytes = Vec::new();
            let (offset, disk) =
                (layout.prepare_offset(layout.slot(Op(op))), script.world.disk(NodeId(replica.into())));
            assert!(disk.durable_read(offset, u64::from(header.size), &mut bytes), "{op} is durable");
            bytes
        })
        .collect()
}

#[test]
fn a_killed_primary_is_replaced_and_comes_back_as_a_backup() {
    let mut script = Script::replicas(3);
    script.commit(50).converge_all();
    let old = script.primary();
    let (view, committed) = (script.vsr(old).view(), script.vsr(old).commit_max().op());
    let before = prepares(&script, old, committed);
    let (started, client) = (script.probe("view_started"), script.client(puts(100, 256)));
    script.run_ms(50).kill(old).until_finished(&[client]);
    let new = script.primary();
    assert!(new != old && script.vsr(new).view() > view && script.probe("view_started") > started);
    script.recover(old).converge_all();
    assert!(script.vsr(old).is_backup());
    for replica in 0..3 {
        assert!(prepares(&script, replica, committed) == before, "r{replica} has what was committed");
    }
    assert_eq!(script.ended(client).len(), 100);
    script.check();
}

#[test]
fn each_replica_in_turn_dies_and_nothing_is_lost() {
    let mut script = Script::replicas(3);
    let clients = script.clients(4, &puts(150, 256));
    for _ in 0..6 {
        script.run_ms(200);
        let primary = script.primary();
        script.kill(primary).run_ms(1_000).restart(primary);
    }
    script.until_finished(&clients).converge_all().check();
}
