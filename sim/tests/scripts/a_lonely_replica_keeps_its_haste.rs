//! Two of five wait in a view that did not start until a third is there: they have not lost their haste by then. What makes a replica
//! more patient is a view that a majority entered in vain.

use crate::script::Script;

#[test]
fn a_lonely_replica_keeps_its_haste() {
    let mut script = Script::replicas(5);
    script.commit(10).converge_all();
    let primary = script.primary();
    let (next, third) = (script.after(primary, 1), script.after(primary, 2));
    let (view, left) = (script.vsr(primary).view(), script.probe("view_left"));
    script.kill(next).kill(primary);
    script.until("three have left", 2_000, |script| script.probe("view_left") == left + 3);
    script.kill(third).run_ms(10_000);
    assert_eq!(script.probe("view_left"), left + 3, "two leave for no other view");
    // The view after that is the third's, which is not there either. So they agree on another twice.
    script.recover(primary);
    script.until("the fourth serves", 4_000, |script| script.serving() == Some(script.after(primary, 3)));
    assert!(script.vsr(script.after(primary, 3)).view().0 >= view.0 + 3);
    script.recover(next).recover(third).converge_all().check();
}
