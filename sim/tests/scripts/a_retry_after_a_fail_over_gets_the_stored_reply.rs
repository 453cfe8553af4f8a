//! A client whose reply was lost with the primary asks the next one, and gets the reply of the first time: what it asked is
//! executed once.

use chronon::{app::kv::Response, types::NodeId};
use chronon_sim::workload::{CallOutcome, KvConfig, KvWeights, Told};

use crate::script::{NOTHING, Script};

fn appends(calls: u64) -> KvConfig {
    KvConfig { calls, keys: 1, weights: KvWeights { append: 1, ..NOTHING }, ..KvConfig::default() }
}

#[test]
fn a_retry_after_a_fail_over_gets_the_stored_reply() {
    let mut script = Script::replicas(3);
    let client = script.client(appends(20));
    script.until("ten are answered", 5_000, |script| script.ended(client).len() == 10);
    // From here on it can ask the primary, and does not hear it.
    let primary = script.primary();
    script.world.cut_one_way(NodeId(u32::from(primary)), client);
    script.until("its request is executed", 5_000, |script| {
        let last = script.vsr(primary).sessions().iter().map(|(_, reply)| reply.request.0).max();
        last == Some(script.workload(client).history().len() as u64) && script.workload(client).is_outstanding()
    });
    let executed = script.vsr(primary).applied();
    script.until("the others have it", 1_000, |script| {
        (0..3).all(|replica| script.vsr(replica).commit_max().covers(executed))
    });
    assert!(script.workload(client).is_outstanding());
    let repeated = script.probe("reply_repeated");
    script.kill(primary).until_finished(&[client]);
    assert!(script.probe("reply_repeated") > repeated, "by another primary");
    script.heal().recover(primary).converge_all();
    // Twelve bytes each time: once each.
    let lengths: Vec<u32> =
        script.ended(client).iter().filter_map(|call| length(&call.end.as_ref()?.outcome)).collect();
    assert_eq!(lengths, (1..=20).map(|call| 12 * call).collect::<Vec<_>>());
    script.check();
}

fn length(outcome: &CallOutcome) -> Option<u32> {
    let CallOutcome::Answered { told: Told::Applied(response), .. } = outcome else { return None };
    match Response::decode(response) {
        Ok(Response::Appended { length }) => Some(length),
        _ => None,
    }
}
