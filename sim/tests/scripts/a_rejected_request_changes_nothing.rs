//! What the application refuses leaves its state as it was, is answered like anything else, once, and is refused again by
//! every replica that recovers.

use chronon_sim::workload::{CallOutcome, KvConfig, KvWeights, Told};

use crate::script::{NOTHING, Script};

#[test]
fn a_rejected_request_changes_nothing() {
    let mut script = Script::replicas(3);
    script.commit(20).converge_all();
    let (state, sessions) = (script.replica(0).state().digest(), script.vsr(0).sessions().digest());
    let refused = KvConfig { calls: 50, weights: KvWeights { refused: 1, ..NOTHING }, ..KvConfig::default() };
    let client = script.client(refused);
    script.until_finished(&[client]).converge_all();
    let is_refusal = |outcome: &CallOutcome| matches!(outcome, CallOutcome::Answered { told: Told::Rejected(_), .. });
    let ends = script.ended(client);
    assert_eq!(ends.iter().filter_map(|call| call.end.as_ref()).filter(|end| is_refusal(&end.outcome)).count(), 50);
    for replica in 0..3 {
        assert_eq!(script.replica(replica).state().digest(), state);
        assert_ne!(script.vsr(replica).sessions().digest(), sessions, "the refusal is on record");
    }
    let sessions = script.vsr(0).sessions().digest();
    script.cut_power_of_all().restart_all().primary();
    script.converge_all();
    for replica in 0..3 {
        let after = (script.replica(replica).state().digest(), script.vsr(replica).sessions().digest());
        assert_eq!(after, (state, sessions));
    }
    assert!(script.probe("op_applied") >= 6 * 70, "everything was executed twice, by everybody");
    script.check();
}
