//! A service refuses every letter until the outbox is full of dead letters and clients are told that it is busy. An operator is let in
//! all the same, has them run again, and is answered once though the primary dies meanwhile.

use chronon::app::{effect::Cause, operator::OperatorRequest, outbox::Stage, room::Limits};
use chronon_sim::outside::{Came, ServicesPlan};

use crate::branch::{Cluster, OFTEN, POLITE, SOUND, letters};

#[test]
fn an_operator_drains_a_full_outbox() {
    let branch =
        chronon::app::branch::Branch { room: Limits { entries_max: 16, ..Limits::DEFAULT }, ..letters(POLITE, OFTEN) };
    let mut cluster = Cluster::new(3, branch, ServicesPlan { refused_ppm: 1_000_000, ..SOUND });
    let client = cluster.client(200);
    cluster.until("the outbox is full of dead letters", 20_000, |cluster| {
        let dead = |stage| matches!(stage, Stage::Dead(Cause::Refused));
        let held = cluster.outbox().iter().filter(|(_, entry)| dead(entry.standing.stage)).count();
        cluster.ahead().executor().is_high() && held == cluster.outbox().len()
    });
    cluster.run_ms(500);
    assert!(cluster.world.probe_count("request_refused_machine_full") > 0);
    assert!(cluster.calls(Came::Ran).is_empty());
    cluster.outside().set_plan(SOUND);
    let operator = cluster.operator(20);
    cluster.until("it has decided of some", 20_000, |cluster| cluster.decided(operator).len() > 3);
    let primary = cluster.until_primary();
    cluster.kill(primary);
    cluster.until("the client is answered", 60_000, |cluster| cluster.caller(client).is_finished());
    cluster.restart(primary);
    cluster.until("all has ended", 60_000, |cluster| cluster.outbox().is_empty());
    let decided = cluster.decided(operator);
    assert!(decided.iter().all(|(_, told)| told.is_ok()), "each was decided once: {decided:?}");
    let dropped = decided.iter().filter(|(asked, _)| matches!(asked, OperatorRequest::Drop { .. })).count() as u64;
    let counts = cluster.ahead().state().counts();
    assert_eq!((counts.failed, counts.unexpected), (dropped, 0));
    assert_eq!(counts.acknowledged, cluster.calls(Came::Ran).len() as u64);
    assert!(cluster.world.probe_count("operator_request_executed") > 0);
    cluster.run_ms(1_000).check();
}
