//! A primary that hears no majority, or whose own disk blocks what clients ask, stops its heartbeats, so that the others
//! choose another.

use chronon::{
    app::branch::Branch,
    types::{NodeId, Op},
    wire::header::Command,
};

use crate::{
    branch::{Cluster, OFTEN, POLITE, SOUND, letters},
    script::{MS, Script, puts},
};

#[test]
fn a_primary_that_hears_no_majority_stands_down() {
    let mut script = Script::replicas(3);
    script.commit(10).converge_all();
    let deaf = script.primary();
    let view = script.vsr(deaf).view();
    // It can be heard. If it went on, nobody would choose another and nothing would ever commit.
    script.deafen(deaf);
    let client = script.client(puts(20, 256));
    script.until("it notices", 1_000, |script| script.probe("primary_isolated") > 0);
    let since_ns = script.world.now_ns() + 1;
    script.until("another serves", 5_000, |script| script.serving() != Some(deaf));
    assert_eq!(script.minutes().of(deaf, Command::Commit, since_ns).count(), 0, "it keeps silent");
    script.until_finished(&[client]);
    assert_eq!(script.vsr(deaf).view(), view, "it still does not know");
    script.heal().converge_all().check();
}

/// It hears all of them, and so does another one. The others hear everybody but it: there is a majority that could go on, and must.
#[test]
fn a_primary_that_no_majority_hears_stands_down() {
    for (replicas, down) in [(4, 0), (5, 1), (6, 0)] {
        let mut script = Script::replicas(replicas);
        script.commit(10).converge_all();
        let primary = script.primary();
        let others: Vec<u8> = (1..replicas).map(|which| script.after(primary, which)).collect();
        let (gone, there) = others.split_at(down);
        for replica in gone {
            script.kill(*replica);
        }
        let client = script.client(puts(20, 256));
        for deaf in &there[..usize::from(replicas / 2)] {
            script.cut_one_way(primary, *deaf);
        }
        script.until("another serves", 5_000, |script| script.serving() != Some(primary));
        script.until_finished(&[client]);
        script.heal();
        for replica in gone {
            script.recover(*replica);
        }
        script.converge_all().check();
    }
}

/// One of those that do not hear it lacks a voice for another view: it does not know where its log ends, and keeps asking. Without it those
/// that want another view are one too few, and those that do not are no majority.
#[test]
fn a_primary_that_is_asked_in_vain_where_a_log_ends_stands_down() {
    for (replicas, deaf) in [(4, 1), (5, 2), (6, 2)] {
        let mut script = Script::replicas(replicas);
        script.commit(20).converge_all();
        let primary = script.primary();
        let uncertain = script.after(primary, replicas - 1);
        script.cut_power(uncertain).corrupt_prepare(uncertain, Op(22)).corrupt_header(uncertain, Op(22));
        script.cut_one_way(primary, uncertain).recover(uncertain);
        assert!(!script.vsr(uncertain).head_is_certain());
        for which in 1..=deaf {
            script.cut_one_way(primary, script.after(primary, which));
        }
        let client = script.client(puts(20, 256));
        script.until("another serves", 5_000, |script| script.serving() != Some(primary));
        script.until_finished(&[client]).heal().converge_all().check();
    }
}

#[test]
fn a_primary_that_hears_a_majority_again_goes_on() {
    let mut script = Script::replicas(3);
    script.commit(10).converge_all();
    let primary = script.primary();
    let view = script.vsr(primary).view();
    for replica in 0..3 {
        script.isolate(replica);
    }
    script.until("it notices", 1_000, |script| script.probe("primary_isolated") > 0);
    script.heal().commit(10).converge_all();
    assert_eq!(script.vsr(primary).view(), view);
    script.check();
}

#[test]
fn a_primary_whose_disk_stands_still_while_the_others_commit_stands_down() {
    let mut script = Script::replicas(3);
    script.commit(10).converge_all();
    let stalled = script.primary();
    let clients = script.clients(4, &puts(100, 256));
    script.run_ms(20).stall_disk(stalled, 60_000);
    let head = script.vsr(stalled).commit_max();
    script.until("another serves", 8_000, |script| script.serving() != Some(stalled));
    assert!(script.probe("primary_disk_blocked") > 0);
    assert!(script.vsr(stalled).commit_max().0 >= head.0 + 12, "the others went on for as long as they were let");
    script.until_finished(&clients);
    script.world.clear_disk_faults(NodeId(u32::from(stalled)));
    script.converge_all().check();
}

#[test]
fn a_primary_whose_disk_stands_still_before_anything_commits_stands_down() {
    let mut script = Script::replicas(3);
    script.commit(10).converge_all();
    let stalled = script.primary();
    // One backup holds what is proposed, the other hears nothing of it: the primary's own copy is what is missing.
    let backup = script.after(stalled, 2);
    script.cut_one_way(stalled, backup).stall_disk(stalled, 60_000);
    let client = script.client(puts(10, 256));
    let since_ns = script.world.now_ns();
    script.until("another serves", 8_000, |script| script.serving() != Some(stalled));
    assert!(script.probe("primary_disk_blocked") > 0 && script.world.now_ns() - since_ns > 1_000 * MS);
    script.until_finished(&[client]).heal();
    script.world.clear_disk_faults(NodeId(u32::from(stalled)));
    script.converge_all().check();
}

#[test]
fn a_primary_whose_disk_stands_still_while_only_timers_are_due_stands_down() {
    let paying = Branch { rate: OFTEN, period_ns: 20 * MS, periods: 1_000, ..letters(POLITE, OFTEN) };
    let mut cluster = Cluster::new(3, paying, SOUND);
    let client = cluster.client(30);
    cluster.until("the client is answered", 5_000, |cluster| cluster.caller(client).is_finished());
    let stalled = cluster.until_primary();
    let until_ns = cluster.world.now_ns() + 60_000 * MS;
    cluster.world.disk_mut(NodeId(u32::from(stalled))).stall_until(until_ns);
    let before = cluster.ahead().state().periods();
    cluster.until("another serves", 8_000, |cluster| cluster.ahead().state().periods() > before + 100);
    assert!(cluster.world.probe_count("primary_disk_blocked") > 0);
    assert_ne!(cluster.until_primary(), stalled);
    cluster.world.clear_disk_faults(NodeId(u32::from(stalled)));
    cluster.run_ms(500).check();
}
