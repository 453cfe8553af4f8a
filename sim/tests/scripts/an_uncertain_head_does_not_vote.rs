//! A replica that cannot read how far its log went acknowledges nothing and takes no part in choosing a log, until the
//! primary of a view no earlier than its own has told it where the log ends.

use chronon::{types::Op, wire::header::Command};

use crate::script::Script;

/// A backup without power, the last op that it acknowledged unreadable in both rings; the primary and the other backup.
fn with_an_unreadable_head() -> (Script, u8, u8, u8) {
    let mut script = Script::replicas(3);
    script.commit(20).converge_all();
    let primary = script.primary();
    let (uncertain, other) = (script.after(primary, 1), script.after(primary, 2));
    script.cut_power(uncertain);
    script.corrupt_prepare(uncertain, Op(21)).corrupt_header(uncertain, Op(21));
    (script, primary, uncertain, other)
}

#[test]
fn an_uncertain_head_does_not_vote_until_a_start_view() {
    let (mut script, primary, uncertain, other) = with_an_unreadable_head();
    let since_ns = script.world.now_ns();
    script.kill(primary).recover(uncertain);
    assert_eq!((script.head(uncertain), script.vsr(uncertain).head_is_certain()), (Op(20), false));
    let started = script.minutes().views_started();
    script.run_ms(5_000);
    // Two of three are there, and one of them must not help.
    for command in [Command::DoViewChange, Command::PrepareOk, Command::StartView] {
        assert_eq!(script.minutes().of(uncertain, command, since_ns).count(), 0, "{command}");
    }
    assert!(script.minutes().of(uncertain, Command::RequestStartView, since_ns).count() > 10, "it asks");
    assert_eq!(script.minutes().views_started(), started);
    assert!(script.minutes().of(other, Command::DoViewChange, since_ns).count() > 0, "the other does help");
    assert_eq!(script.probe("recovery_uncertain_head"), 1);
    script.recover(primary).converge_all();
    assert!(script.vsr(uncertain).head_is_certain() && script.head(uncertain) == Op(21));
    script.commit(5).converge_all();
    assert!(script.minutes().of(uncertain, Command::PrepareOk, since_ns).count() > 0, "it is one of them again");
    script.check();
}

/// It goes to a view that another only proposed, and is alone there when that one hears its primary again.
#[test]
fn an_uncertain_head_comes_back_from_a_view_that_never_began() {
    let (mut script, primary, uncertain, other) = with_an_unreadable_head();
    let view = script.vsr(primary).view();
    script.cut_one_way(primary, uncertain).cut_one_way(primary, other);
    script.cut_one_way(uncertain, other).cut_one_way(uncertain, primary);
    script.recover(uncertain).until("it goes on", 5_000, |script| script.vsr(uncertain).view() > view);
    assert_eq!((script.vsr(other).view(), script.vsr(primary).view()), (view, view));
    script.heal().converge_all();
    assert_eq!((script.vsr(uncertain).view(), script.head(uncertain)), (view, Op(21)));
    script.commit(5).converge_all().check();
}

#[test]
fn an_uncertain_head_is_learned_in_the_same_view_from_its_primary() {
    let (mut script, primary, uncertain, _) = with_an_unreadable_head();
    let view = script.vsr(primary).view();
    script.commit(5).recover(uncertain).converge_all();
    assert_eq!((script.vsr(uncertain).view(), script.head(uncertain)), (view, Op(27)));
    assert!(script.probe("prepare_repaired") > 0);
    script.check();
}
