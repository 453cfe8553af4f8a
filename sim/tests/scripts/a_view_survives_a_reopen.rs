//! What a replica promised about views outlives it: no view goes back, and no replica gives two different logs to one view.

use std::collections::BTreeMap;

use chronon::{
    types::{NodeId, View},
    wire::header::Command,
};
use chronon_sim::{disk::OperationKind, world::DiskMoment};

use crate::script::{PATIENCE_MS, Script};

fn durable_views(script: &Script) -> Vec<(View, View)> {
    let of = |replica| {
        let durable = script.vsr(replica).durable().expect("it has recovered").superblock();
        (durable.view, durable.log_view)
    };
    (0..script.setup.replicas).map(of).collect()
}

#[test]
fn no_view_goes_back_over_a_power_cut_of_all() {
    let mut script = Script::replicas(3);
    for _ in 0..3 {
        script.commit(5);
        let primary = script.primary();
        script.kill(primary).commit(5).restart(primary).converge_all();
    }
    let before = durable_views(&script);
    assert!(before.iter().all(|(view, _)| *view > View(2)));
    script.cut_power_of_all().restart_all();
    script.until("they have recovered", PATIENCE_MS, |script| {
        (0..3).all(|replica| script.is_up(replica) && script.vsr(replica).head_is_certain())
    });
    for (before, after) in before.iter().zip(durable_views(&script)) {
        assert!(after.0 >= before.0 && after.1 >= before.1, "{before:?} became {after:?}");
    }
    script.converge_all().commit(5).check();
    assert!(script.probe("view_left") > 6);
}

/// In the middle of each write and each barrier of a superblock on the way to another view, in turn.
#[test]
fn a_replica_that_dies_on_its_way_to_a_view_gives_that_view_one_log() {
    let moments = [DiskMoment::BeforeSubmission, DiskMoment::BeforeCompletion, DiskMoment::AfterCompletion];
    let mut differed = 0;
    for (kind, count) in [(OperationKind::Write, 8), (OperationKind::Barrier, 4)] {
        for (nth, moment) in (0..count).flat_map(|nth| moments.map(|moment| (nth, moment))) {
            let mut script = Script::replicas(3);
            script.commit(5).converge_all();
            let primary = script.primary();
            let victim = script.after(primary, 1);
            script.world.kill_at_disk_operation(NodeId(u32::from(victim)), Some(kind), nth, moment);
            script.kill(primary);
            script.until("it dies", PATIENCE_MS, |script| !script.is_up(victim));
            script.run_ms(20).recover(victim).commit(5).restart(primary).converge_all();
            gives_each_view_one_log(&script);
            differed += script.probe("superblock_copies_differ");
            script.check();
        }
    }
    assert!(differed > 10, "copies were found that differ");
}

fn gives_each_view_one_log(script: &Script) {
    let mut logs = BTreeMap::new();
    for said in script.minutes().said().iter().filter(|said| said.header.command == Command::DoViewChange) {
        let log = (said.header.request, said.header.op);
        let first = *logs.entry((said.from, said.header.view)).or_insert(log);
        assert_eq!(first, log, "{} gave two logs to {}", said.from, said.header.view);
    }
}
