//! One session more than there may be evicts the one that was used least recently, and its client is told: the outcome of
//! what it asked is unknown. A replica that only does not know of a session, because a later view has registered it, says
//! nothing.

use chronon::types::NodeId;
use chronon_sim::workload::{CallOutcome, KvConfig};

use crate::script::{MS, Script, Setup, puts};

#[test]
fn an_evicted_client_is_told() {
    let mut script = Script::new(Setup { clients_max: 2, ..Setup::default() });
    let slow = KvConfig { think_ns_max: 500 * MS, ..puts(5, 256) };
    let clients = script.clients(3, &slow);
    script.until_finished(&clients).converge_all();
    let outcomes: Vec<_> =
        clients.iter().flat_map(|client| script.ended(*client)).map(|call| call.end.clone()).collect();
    let unknown = outcomes.iter().flatten().filter(|end| end.outcome == CallOutcome::Unknown).count() as u64;
    assert!(unknown >= 1 && unknown == script.probe("client_evicted"));
    assert!(script.probe("session_evicted") >= unknown);
    script.check();
}

#[test]
fn a_primary_whose_time_is_over_evicts_nobody() {
    let mut script = Script::replicas(3);
    script.commit(10).converge_all();
    let old = script.primary();
    script.isolate(old);
    let other = script.after(old, 1);
    script.until("there is another", 5_000, |script| script.serving() != Some(old));
    assert!(script.vsr(old).is_primary(), "it knows nothing of that");
    // Registered with the new primary, and then driven to the old one.
    let client = script.client(puts(1_000, 256));
    script.until("it has a session", 5_000, |script| !script.ended(client).is_empty());
    for replica in [other, script.after(old, 2)] {
        script.world.cut(client, NodeId(u32::from(replica)));
    }
    let retried = script.probe("client_retried");
    script.run_ms(3_000);
    assert!(script.probe("client_retried") > retried + 2, "it asked all of them in turn");
    assert!(script.vsr(old).is_primary());
    assert_eq!(script.probe("session_evicted"), 0);
    script.heal().until_finished(&[client]).converge_all().check();
}
