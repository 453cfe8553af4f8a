//! One round serves all that waited when it began, nothing of it is in the log or on a disk, and what there is no room for is refused.

use chronon::types::NodeId;

use crate::script::{Script, Setup, queries};

#[test]
fn queries_that_come_while_a_round_is_in_flight_share_the_next() {
    let mut script = Script::replicas(3);
    script.commit(10).converge_all();
    let primary = script.primary();
    let head = script.head(primary);
    script.deafen(primary);
    let readers: Vec<NodeId> = (0..40).map(|_| script.reader(queries(1))).collect();
    script.run_ms(50);
    script.heal().until_read(&readers);
    assert!(script.probe("queries_batched") > 0);
    assert_eq!(script.probe("read_round"), 2, "the first query's, and one for the other 39");
    assert_eq!(script.probe("query_answered"), 40);
    assert!((0..3).all(|replica| script.head(replica) == head), "nothing of them is in the log");
    assert_eq!(script.vsr(primary).sessions().len(), 1, "and no session is theirs");
    script.converge_all().check();
}

#[test]
fn a_primary_that_holds_all_the_queries_it_may_refuses_more_and_answers_them_later() {
    let mut script = Script::new(Setup { queries_max: 4, ..Setup::default() });
    script.commit(10).converge_all();
    let primary = script.primary();
    script.deafen(primary);
    let readers: Vec<NodeId> = (0..10).map(|_| script.reader(queries(2))).collect();
    script.run_ms(50);
    assert!(script.probe("query_refused_busy") >= 6);
    script.heal().until_read(&readers).converge_all().check();
}

#[test]
fn a_single_replica_needs_no_round() {
    let mut script = Script::replicas(1);
    script.commit(10);
    let reader = script.reader(queries(10));
    script.until_read(&[reader]);
    assert_eq!(script.probe("query_answered"), 10);
    script.converge_all().check();
}
