//! A new primary drops an op that so many never had that it cannot have committed, and keeps any other.

use chronon::{
    storage::journal::ring_entry,
    types::{NodeId, Op, Timestamp, View},
    vsr::{Held, Status},
    wire::{
        header::{Command, HEADER_SIZE, Header},
        message::Claim,
    },
};
use chronon_sim::disk::{DiskSettings, LatencyRange};

use crate::script::{CLUSTER, MS, Script, Setup, puts};

/// Prepares take long to write, superblocks do not: a view changes while prepares are on their way to the disk.
fn slow_journal() -> Script {
    let disk = |_| DiskSettings { durable_write: LatencyRange::new(700 * MS, 700 * MS), ..DiskSettings::default() };
    Script::new(Setup { disk, ..Setup::default() })
}

#[test]
fn an_op_that_a_quorum_never_had_is_dropped() {
    let mut script = slow_journal();
    let primary = script.primary();
    let client = script.client(puts(1, 256));
    script.until("its register is on its way to all disks", 1_000, |script| {
        (0..3).all(|replica| script.head(replica) == Op(1))
    });
    let proposed = *script.vsr(primary).log().head_header();
    script.kill(primary);
    script.until("another serves", 5_000, |script| script.serving().is_some_and(|next| next != primary));
    let backups = [script.after(primary, 1), script.after(primary, 2)];
    assert!(backups.iter().filter_map(|backup| script.minutes().claim(*backup, Op(1))).all(|it| it == Claim::NeverHad));
    assert_eq!((script.probe("op_dropped"), script.probe("op_undecided")), (1, 0));
    script.until_finished(&[client]).recover(primary).converge_all();
    assert_ne!(script.vsr(primary).log().get_tied(Op(1)).map(|header| header.checksum), Some(proposed.checksum));
    assert!(!acknowledged(&script, &proposed));
    script.check();
}

/// Between two views a write completes: what it wrote is here from then on, and acknowledged to nobody.
#[test]
fn a_write_that_completes_after_its_view_was_left_is_acknowledged_to_nobody() {
    let mut script = slow_journal();
    let primary = script.primary();
    let client = script.client(puts(1, 256));
    script.until("its register is on its way to all disks", 1_000, |script| {
        (0..3).all(|replica| script.head(replica) == Op(1))
    });
    let proposed = *script.vsr(primary).log().head_header();
    script.kill(primary);
    let (next, other) = (script.after(primary, 1), script.after(primary, 2));
    script.until("it has left", 5_000, |script| script.vsr(other).status() == Status::ViewChange);
    script.kill(next).run_ms(2_000);
    assert_eq!(script.probe("write_completed_after_leaving_its_view"), 1);
    assert!(!acknowledged(&script, &proposed));
    // Now that it is present, it is kept.
    script.recover(next).until_finished(&[client]).recover(primary).converge_all();
    assert_eq!(script.vsr(primary).log().get_tied(Op(1)), Some(&proposed));
    assert!(acknowledged(&script, &proposed) && script.probe("op_dropped") == 0);
    script.check();
}

fn acknowledged(script: &Script, prepare: &Header) -> bool {
    let mut said = script.minutes().said().iter().filter(|said| said.header.command == Command::PrepareOk);
    said.any(|said| said.header.context == prepare.checksum.0)
}

#[test]
fn an_op_that_one_of_three_holds_is_kept() {
    let mut script = Script::replicas(3);
    script.commit(5).converge_all();
    let primary = script.primary();
    let (holder, other) = (script.after(primary, 1), script.after(primary, 2));
    // One backup has what the primary proposes, and nobody knows whether it committed.
    script.cut_one_way(primary, other).cut_one_way(holder, primary);
    let client = script.client(puts(1, 256));
    script.until("the backup holds it", 200, |script| {
        let header = script.vsr(holder).log().head_header();
        header.op == Op(7) && script.vsr(holder).journal().holds(header)
    });
    let kept = *script.vsr(holder).log().head_header();
    script.kill(primary).heal().until_finished(&[client]).converge(&[holder, other]);
    assert_eq!(script.vsr(other).log().get_tied(Op(7)), Some(&kept));
    assert!(script.probe("op_dropped") == 0 && script.probe("view_started") > 1);
    script.recover(primary).converge_all().check();
}

/// A power cut, while the second was being written over the first, leaves the entry of one view over the prepare of the next. Neither was
/// acknowledged in the log that there is now, and neither keeps the replica from saying that it never had what a later view puts there.
#[test]
fn what_two_views_before_left_in_one_slot_is_nothing_that_it_had() {
    let mut script = Script::replicas(3);
    script.commit(10).converge_all();
    for _ in 0..2 {
        let primary = script.primary();
        script.kill(primary).until("another serves", 5_000, |script| script.serving().is_some());
        script.commit(2).recover(primary).converge_all();
    }
    let primary = script.primary();
    let victim = script.after(primary, 1);
    assert!(script.vsr(victim).log_view() > View(1));
    let (op, layout, node) = (script.head(victim).next(), script.setup.layout, NodeId(victim.into()));
    script.cut_power(victim);
    let left = |view: u64| {
        let mut header = Header::new(CLUSTER, Command::Prepare, View(view).primary(3).0, View(view));
        (header.op, header.timestamp, header.context) = (op, Timestamp(1), 7);
        header.sealed(&[]).encode()
    };
    let slot = layout.slot(op);
    let entry = layout.header_ring_offset() + u64::from(slot) * HEADER_SIZE as u64;
    script.world.disk_mut(node).preload(entry, &ring_entry(&left(0)));
    script.world.disk_mut(node).preload(layout.prepare_offset(slot), &left(1));
    let missing = script.probe("recovery_header_missing");
    script.recover(victim);
    assert_eq!(
        script.probe("recovery_header_missing"),
        missing + 1,
        "the prepare is whole, and the ring names another"
    );
    assert_eq!((script.vsr(victim).head_is_certain(), script.vsr(victim).journal().held(op)), (true, Held::Nothing));
    script.commit(10).converge_all();
    script.check();
}
