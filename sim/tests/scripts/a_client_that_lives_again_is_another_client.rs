//! A client that dies is told nothing any more, and one that comes back begins anew: what it asks then is executed for it, whatever
//! its clocks read.

use chronon::types::Op;
use chronon_sim::workload::{KvConfig, KvWeights};

use crate::script::{NOTHING, Script, puts};

/// One append, always the same.
fn one_append() -> KvConfig {
    KvConfig { calls: 1, keys: 1, weights: KvWeights { append: 1, ..NOTHING }, ..KvConfig::default() }
}

#[test]
fn a_life_that_begins_at_the_realtime_of_another_is_answered_for_itself() {
    let mut script = Script::replicas(3);
    script.commit(5).converge_all();
    let began_ns = script.world.now_ns();
    let client = script.client(one_append());
    script.until_finished(&[client]);
    let first = script.converge_all().head(0);
    script.run_ms(100).world.kill(client);
    let passed_ns = (script.world.now_ns() - began_ns) as i64;
    script.world.step_clock(client, -passed_ns);
    script.world.restart(client);
    script.until_finished(&[client]).converge_all();
    assert_eq!(script.head(0), Op(first.0 + 2), "another register and another append");
    script.check();
}

#[test]
fn a_client_that_died_waiting_asks_anew_and_hears_nothing_of_before() {
    let mut script = Script::replicas(3);
    script.commit(5).converge_all();
    let client = script.client(puts(20, 256));
    script
        .until("it waits", 1_000, |script| script.ended(client).len() == 7 && script.workload(client).is_outstanding());
    script.world.kill(client);
    script.run_ms(50).world.restart(client);
    script.until("it begins anew", 1_000, |script| script.ended(client).is_empty()).until_finished(&[client]);
    assert_eq!(script.ended(client).len(), 20);
    script.converge_all().check();
}
