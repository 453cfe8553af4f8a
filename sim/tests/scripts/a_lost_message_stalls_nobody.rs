//! One lost message, of whatever kind and at whatever moment it first matters, neither stalls nor crashes the cluster.

use chronon::{types::NodeId, wire::header::Command};
use chronon_sim::reader::ReaderConfig;

use crate::script::{MS, Script, puts, queries};

/// The first of each kind is lost in a course of events that has them all: a backup falls behind, the primary dies, the one
/// that fell behind must help to replace it, and the dead one comes back without knowing where its log ended.
#[test]
fn the_first_message_of_each_kind_is_lost() {
    for command in Command::ALL {
        // Clocks are compared again soon, refusals and answers repeated; queries are not in these minutes; chunks, and a lost replica's
        // question, have scripts of their own.
        let apart = [Command::Ping, Command::Pong, Command::Reject, Command::Query, Command::QueryReply];
        let elsewhere = [Command::RequestChunk, Command::Chunk, Command::Entry, Command::Recover];
        if !apart.contains(&command) && !elsewhere.contains(&command) {
            loses(command);
        }
    }
}

fn loses(command: Command) {
    let mut script = Script::replicas(3);
    let mut lost = false;
    script.commit(5).converge_all();
    let primary = script.primary();
    let behind = script.after(primary, 1);
    let client = script.client(puts(150, 256));
    let reader = script.reader(ReaderConfig { think_ns_max: 5 * MS, ..queries(200) });
    let since_ns = script.world.now_ns();
    let mut until = |script: &mut Script, answered: usize| {
        script.until("it goes on", 10_000, |script| {
            script.ended(client).len() >= answered || !lost && said(script, command, since_ns).is_some()
        });
        if let Some((from, to)) = said(script, command, since_ns).filter(|_| !lost) {
            lose(script, from, to);
            lost = true;
        }
        script.until("it goes on", 10_000, |script| script.ended(client).len() >= answered);
    };
    until(&mut script, 20);
    script.isolate(behind);
    until(&mut script, 60);
    script.kill(primary).heal();
    until(&mut script, 100);
    let head = script.head(behind);
    let last = (1..=head.0).rev().map(chronon::types::Op).find(|op| is_written(&script, primary, *op));
    let last = last.expect("it had written something");
    script.corrupt_prepare(primary, last).corrupt_header(primary, last).recover(primary);
    until(&mut script, 150);
    script.until_read(&[reader]).converge_all();
    assert!(script.probe("recovery_uncertain_head") == 1 && script.probe("header_repaired") > 0);
    if !lost {
        assert!(said(&script, command, since_ns).is_some(), "{command} was never said");
    }
    script.check();
}

/// Who first said this to whom.
fn said(script: &Script, command: Command, since_ns: u64) -> Option<(NodeId, NodeId)> {
    let mut said = script.minutes().said().iter().filter(|said| said.at_ns >= since_ns);
    said.find(|said| said.header.command == command).map(|said| (said.from, said.to))
}

/// Loses what was just sent, and whatever else is under way between the two.
fn lose(script: &mut Script, from: NodeId, to: NodeId) {
    script.world.cut_one_way(from, to);
    script.world.run_for(3 * MS);
    script.world.heal_one_way(from, to);
}

fn is_written(script: &Script, replica: u8, op: chronon::types::Op) -> bool {
    let offset = script.setup.layout.prepare_offset(script.setup.layout.slot(op));
    let mut bytes = Vec::new();
    script.world.disk(NodeId(replica.into())).durable_read(offset, 128, &mut bytes)
        && bytes.iter().any(|byte| *byte != 0)
}

/// After a restart the primary has what is uncommitted on its disk only. It gives it again to those whose acknowledgement
/// was lost.
#[test]
fn an_acknowledgement_of_what_is_only_on_disk_is_asked_for_again() {
    let mut script = Script::replicas(3);
    script.commit(10).converge_all();
    let primary = script.primary();
    let backups = [script.after(primary, 1), script.after(primary, 2)];
    for backup in backups {
        script.cut_one_way(backup, primary);
    }
    let client = script.client(puts(1, 256));
    let held = |script: &Script| {
        let header = script.vsr(primary).log().head_header();
        header.op.0 > script.vsr(primary).commit_max().0
            && (0..3).all(|replica| script.vsr(replica).journal().holds(header))
    };
    script.until("everybody holds what is not committed", 200, held);
    script.cut_power_of_all().heal().restart_all();
    // In the next view no acknowledgement arrives at first.
    let views = script.probe("view_started");
    script.until("a view begins", 5_000, |script| script.probe("view_started") > views);
    let next = script.serving().expect("its primary began it");
    let view = script.vsr(next).view();
    assert!(script.head(next) > script.vsr(next).commit_max().op());
    for other in (0..3).filter(|other| *other != next) {
        script.cut_one_way(other, next);
    }
    script.until("all are in it", 5_000, |script| (0..3).all(|other| script.vsr(other).log_view() == view));
    script.run_ms(10);
    assert!(script.head(next) > script.vsr(next).commit_max().op());
    script.heal().run_ms(400);
    assert!(script.head(next) == script.vsr(next).commit_max().op(), "within a few repetitions");
    script.until_finished(&[client]).converge_all();
    assert_eq!(script.vsr(next).view(), view);
    script.check();
}
