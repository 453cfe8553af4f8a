//! Three replicas, one cut off: the others commit and apply, it has nothing of that; healed, it catches up, in the same view
//! or in a later one.

use chronon::types::Op;

use crate::script::Script;

#[test]
fn a_replica_that_was_cut_off_catches_up_in_its_view() {
    let mut script = Script::replicas(3);
    script.commit(10).converge_all();
    let primary = script.primary();
    let (away, view) = (script.after(primary, 2), script.vsr(primary).view());
    script.isolate(away).commit(200);
    assert_eq!((script.head(away), script.vsr(away).applied()), (Op(12), Op(12)), "it has nothing of that");
    assert_eq!(script.vsr(primary).applied(), Op(213));
    // While others go on.
    script.heal().commit(50).converge_all();
    assert!(script.probe("prepare_ahead_of_its_predecessors") > 0);
    assert_eq!((script.vsr(away).view(), script.head(away)), (view, Op(264)));
    script.check();
}

#[test]
fn a_replica_that_was_cut_off_catches_up_in_a_later_view() {
    let mut script = Script::replicas(3);
    script.commit(10).converge_all();
    let primary = script.primary();
    let (away, view) = (script.after(primary, 2), script.vsr(primary).view());
    script.isolate(away).commit(200).cut_power(primary).recover(primary).commit(200);
    assert_eq!((script.vsr(away).view(), script.head(away)), (view, Op(12)));
    script.heal().converge_all();
    assert!(script.vsr(away).view() > view && script.head(away) == Op(414));
    assert!(script.probe("header_repaired") >= 300 && script.probe("prepare_repaired") >= 300);
    script.check();
}
