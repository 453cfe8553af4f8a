//! A new primary has the log with which its view began, committed under an earlier view, and may not have executed it: until it has,
//! it answers no query.

use chronon::types::NodeId;
use chronon_sim::network::LinkSettings;

use crate::script::{MS, Script, puts, queries};

#[test]
fn a_primary_whose_view_s_starting_log_is_not_executed_answers_no_query() {
    let mut script = Script::replicas(3);
    script.commit(10).converge_all();
    let first = script.primary();
    let next = script.after(first, 1);
    // The next primary misses so much that repair takes many times as long as a round.
    script.cut_one_way(first, next);
    let client = script.client(puts(300, 64));
    script.until_finished(&[client]);
    let head = script.vsr(first).applied();
    assert!(script.vsr(next).applied().0 + 290 < head.0);
    script.kill(first);
    script.until("it serves", 5_000, |script| script.serving() == Some(next));
    let third = script.after(first, 2);
    script.until("it is followed", 500, |script| {
        script.vsr(third).is_backup() && script.vsr(third).view() == script.vsr(next).view()
    });
    // A way that takes as long as the reader needs to find the primary, and more.
    let slow = LinkSettings { latency_min_ns: 20 * MS, latency_max_ns: 20 * MS, ..LinkSettings::default() };
    script.world.set_link(NodeId(u32::from(third)), NodeId(u32::from(next)), slow);
    let reader = script.reader(queries(4));
    script.until("a round is confirmed too early", 500, |script| script.probe("query_waited_for_the_log") > 0);
    assert!(script.vsr(next).applied() < head && script.reads(reader).answered() == 0);
    script.until_read(&[reader]);
    let first_answer = script.reads(reader).history()[0].answer.as_ref();
    assert!(first_answer.is_some_and(|(op, _)| *op >= head));
    script.heal().recover(first).converge_all().check();
}
