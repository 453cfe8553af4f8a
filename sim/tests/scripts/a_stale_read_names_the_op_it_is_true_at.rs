//! A stale read is answered by any replica, also one that is cut off, from what it has executed, with the op that this is.

use chronon::{client::Freshness, types::NodeId};
use chronon_sim::reader::ReaderConfig;

use crate::script::{Script, queries};

#[test]
fn a_replica_that_is_behind_answers_from_what_it_has_executed_and_says_so() {
    let mut script = Script::replicas(3);
    script.commit(10).converge_all();
    let primary = script.primary();
    let behind = script.after(primary, 1);
    script.isolate(behind);
    let applied = script.vsr(behind).applied();
    script.commit(10);
    let reader = script.reader(ReaderConfig { stale_ppm: 1_000_000, ..queries(5) });
    for other in (0..3).filter(|other| *other != behind) {
        script.world.cut(NodeId(u32::from(other)), reader);
    }
    script.until_read(&[reader]);
    let reads = script.reads(reader).history();
    assert!(reads.iter().all(|read| read.freshness == Freshness::Stale));
    assert!(reads.iter().all(|read| read.answer.as_ref().is_some_and(|(op, _)| *op == applied)));
    assert!(script.vsr(primary).applied() > applied && script.probe("read_round") == 0);
    script.heal().converge_all().check();
}
