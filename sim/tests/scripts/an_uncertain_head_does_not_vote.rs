//! A replica that cannot read how far its log went acknowledges nothing and takes no part in choosing a log, until the
//! primary of a view no earlier than its own has told it where the log ends.

use chronon::{
    types::{NodeId, Op},
    vsr::Status,
    wire::header::Command,
};

use crate::script::{Script, puts};

/// A backup without power, the last op that it acknowledged unreadable in both rings; the primary and the other backup.
fn with_an_unreadable_head() -> (Script, u8, u8, u8) {
    let mut script = Script::replicas(3);
    script.commit(20).converge_all();
    let primary = script.primary();
    let (uncertain, other) = (script.after(primary, 1), script.after(primary, 2));
    script.cut_power(uncertain);
    script.corrupt_prepare(uncertain, Op(22)).corrupt_header(uncertain, Op(22));
    (script, primary, uncertain, other)
}

#[test]
fn an_uncertain_head_does_not_vote_until_a_start_view() {
    let (mut script, primary, uncertain, other) = with_an_unreadable_head();
    let since_ns = script.world.now_ns();
    script.kill(primary).recover(uncertain);
    assert_eq!((script.head(uncertain), script.vsr(uncertain).head_is_certain()), (Op(21), false));
    let started = script.minutes().views_started();
    script.run_ms(5_000);
    // Two of three are there, and one of them must not help.
    for command in [Command::DoViewChange, Command::PrepareOk, Command::StartView, Command::StartViewChange] {
        assert_eq!(script.minutes().of(uncertain, command, since_ns).count(), 0, "{command}");
    }
    assert!(script.minutes().of(uncertain, Command::RequestStartView, since_ns).count() > 10, "it asks");
    assert_eq!(script.minutes().views_started(), started);
    assert!(script.minutes().of(other, Command::StartViewChange, since_ns).count() > 10, "the other would help");
    assert_eq!(script.probe("recovery_uncertain_head"), 1);
    script.recover(primary).converge_all();
    assert!(script.vsr(uncertain).head_is_certain() && script.head(uncertain) == Op(22));
    script.commit(5).converge_all();
    let said = |command| script.minutes().of(uncertain, command, since_ns).count();
    assert!(said(Command::PrepareOk) + said(Command::Prepare) > 0, "it is one of them again");
    script.check();
}

/// It goes to a view that another has left for, and is alone there when that one is lost and the primary goes on.
#[test]
fn an_uncertain_head_comes_back_from_a_view_that_never_began() {
    let (mut script, primary, uncertain, other) = with_an_unreadable_head();
    let view = script.vsr(primary).view();
    script.cut_one_way(primary, other).cut_one_way(other, primary);
    script.cut_one_way(primary, uncertain).cut_one_way(uncertain, primary).recover(uncertain);
    let isolated = script.probe("primary_isolated");
    script.until("the primary stands down", 5_000, |script| script.probe("primary_isolated") > isolated);
    // The other hears that and leaves, which only the uncertain one is told.
    script.heal().cut_one_way(other, primary).cut_one_way(uncertain, primary).cut_one_way(primary, uncertain);
    script.until("it goes on", 5_000, |script| script.vsr(uncertain).view() > view);
    script.kill(other);
    assert_eq!(script.vsr(primary).view(), view);
    script.heal().converge(&[primary, uncertain]);
    assert_eq!((script.vsr(uncertain).view(), script.head(uncertain)), (view, Op(22)));
    script.commit(5).recover(other).converge_all().check();
}

/// Its primary is not heard for a while. Without its voice the view goes on, and the primary tells it where its log ends; with it the view
/// would end, and no other could begin: those that are certain of theirs are no majority.
#[test]
fn an_uncertain_head_helps_to_end_no_view() {
    let (mut script, primary, uncertain, other) = with_an_unreadable_head();
    let view = script.vsr(primary).view();
    script.kill(other).cut_one_way(primary, uncertain).recover(uncertain).run_ms(2_000);
    script.heal().converge(&[primary, uncertain]);
    assert_eq!(script.vsr(primary).view(), view);
    script.commit(3).recover(other).converge_all().check();

    let mut script = Script::replicas(5);
    script.commit(20).converge_all();
    let primary = script.primary();
    let [uncertain, other, ..] = [1, 2, 3, 4].map(|which| script.after(primary, which));
    let view = script.vsr(primary).view();
    script.cut_power(uncertain).corrupt_prepare(uncertain, Op(22)).corrupt_header(uncertain, Op(22));
    for dead in [3, 4].map(|which| script.after(primary, which)) {
        script.kill(dead);
    }
    script.cut_one_way(primary, uncertain).recover(uncertain).run_ms(2_000);
    script.heal().converge(&[primary, uncertain, other]);
    assert_eq!(script.vsr(primary).view(), view);
    script.commit(3).check();
}

/// Nobody hears its primary. That one's voice for another view would be heard by nobody either, and if it left, those that are certain of
/// their heads could be too few when it is heard again.
#[test]
fn an_uncertain_head_is_waited_for_by_a_primary_that_nobody_hears() {
    let (mut script, primary, uncertain, other) = with_an_unreadable_head();
    let view = script.vsr(primary).view();
    script.cut_one_way(primary, uncertain).cut_one_way(primary, other).recover(uncertain).run_ms(2_000);
    script.kill(other).heal().converge(&[primary, uncertain]);
    assert_eq!(script.vsr(primary).view(), view);
    script.commit(3).recover(other).converge_all().check();
}

#[test]
fn an_uncertain_head_is_learned_in_the_same_view_from_its_primary() {
    let (mut script, primary, uncertain, _) = with_an_unreadable_head();
    let view = script.vsr(primary).view();
    script.commit(5).recover(uncertain).converge_all();
    assert_eq!((script.vsr(uncertain).view(), script.head(uncertain)), (view, Op(28)));
    assert!(script.probe("prepare_repaired") > 0);
    script.check();
}

/// What the primary said when its view began comes once more, and tells less than was acknowledged since.
#[test]
fn an_uncertain_head_is_not_learned_from_an_older_start_view() {
    let mut script = Script::replicas(3);
    script.commit(20).converge_all();
    script.world.remember_frames(256);
    let former = script.primary();
    script.kill(former).recover(former).converge_all();
    let primary = script.primary();
    let (uncertain, view, began) = (script.after(primary, 1), script.vsr(primary).view(), script.head(primary));
    script.commit(1).converge_all();
    let head = script.head(uncertain);
    assert_eq!((script.vsr(primary).view(), head.0), (view, began.0 + 2));
    script.cut_power(uncertain).corrupt_prepare(uncertain, head).corrupt_header(uncertain, head).recover(uncertain);
    assert!(!script.vsr(uncertain).head_is_certain());
    let joined = script.probe("view_joined");
    script.world.echo(NodeId(u32::from(primary)), NodeId(u32::from(uncertain)));
    script.until("it is in the view again", 1_000, |script| script.probe("view_joined") > joined);
    assert_eq!((script.vsr(uncertain).view(), script.head(uncertain)), (view, head));
    script.check();
}

/// What an earlier view left in the next slot says nothing of what this one put over it, where the entry cannot be read.
#[test]
fn a_leftover_under_an_unreadable_entry_leaves_the_head_uncertain() {
    let mut script = Script::replicas(5);
    script.commit(10).converge_all();
    let former = script.primary();
    let victim = script.after(former, 4);
    let others = [1, 2, 3].map(|which| script.after(former, which));
    for other in others {
        for replica in [former, victim] {
            script.cut_one_way(other, replica).cut_one_way(replica, other);
        }
    }
    // The two make an op durable that nobody else has, and that the view of the three is without.
    let client = script.client(puts(1, 256));
    script.until("the victim holds what will be left over", 1_000, |script| {
        script.head(victim) == Op(13) && script.vsr(victim).journal().holds(script.vsr(victim).log().head_header())
    });
    script.world.kill(client);
    script.until("the three go on", 5_000, |script| script.serving().is_some_and(|serving| others.contains(&serving)));
    script.cut_power(former).heal();
    let primary = script.serving().expect("it was waited for");
    script.until("the victim follows", 5_000, |script| {
        let (victim, primary) = (script.vsr(victim), script.vsr(primary));
        victim.status() == Status::Normal && victim.view() == primary.view()
    });
    script.run_ms(200);
    assert_eq!(script.head(victim), Op(12));
    // The next op is acknowledged without its prepare; then the entry that says so goes bad.
    let client = script.client(puts(1, 256));
    script.until("the victim is about to write", 1_000, |script| script.head(victim) == Op(13));
    script.world.disk_mut(NodeId(u32::from(victim))).lose_next_write();
    script.until_finished(&[client]);
    script.run_ms(50).cut_power(victim).corrupt_header(victim, Op(13)).recover(victim);
    assert_eq!((script.head(victim), script.vsr(victim).head_is_certain()), (Op(12), false));
    script.kill(primary).run_ms(3_000).check();
}

/// An answer to what an earlier life asked may take back what was acknowledged since: no two lives ask the same, and be it at
/// the same time by both clocks.
#[test]
fn no_two_lives_ask_for_a_start_view_alike() {
    let (script, primary, uncertain, _) = with_an_unreadable_head();
    let asks = |lives: u32| {
        let mut script = script.fork();
        script.kill(primary);
        for _ in 1..lives {
            script.restart(uncertain).kill(uncertain);
        }
        script.recover(uncertain).run_ms(500);
        let asked = script.minutes().of(uncertain, Command::RequestStartView, 0).next().expect("it asks").clone();
        (asked.at_ns, asked.header.context)
    };
    let (one, other) = (asks(1), asks(2));
    assert_eq!(one.0, other.0, "at the same time");
    assert_ne!(one.1, other.1);
}
