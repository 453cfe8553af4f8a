//! A replica that is ahead of the others with its checkpoints keeps the one that a majority has, and is started again with what its
//! blocks claim alone: which of them are needed it knows when the tables are read, and not before.

use chronon::{
    storage::layout::Layout,
    types::{NodeId, Op},
};
use chronon_sim::disk::{DiskSettings, LatencyRange};

use crate::{
    chunks,
    script::{MS, PATIENCE_MS, Script, Setup, puts},
};

/// A checkpoint at every 24th op.
const LAYOUT: Layout = Layout { slot_count: 64, message_size_max: 32 * 1024, block_count: 128, block_size: 4096 };

/// The one that is ahead of the others.
const AHEAD: u8 = 0;

/// The replicas but one take a third of a second for a checkpoint, and no time for an op: that one has come to the checkpoint at `op`, with no
/// majority beyond the one at 24, and dies.
fn ahead(op: Op) -> (Script, NodeId) {
    let disk = |replica| {
        let barrier_ns = if replica == AHEAD { MS } else { 100 * MS };
        DiskSettings { barrier: LatencyRange::new(barrier_ns, barrier_ns), ..DiskSettings::default() }
    };
    let mut script = Script::new(Setup { layout: LAYOUT, disk, ..Setup::default() });
    let client = script.client(puts(110, 1_500));
    let is_there = |script: &Script| {
        let checkpoints = script.vsr(AHEAD).checkpoints();
        (checkpoints.op(), checkpoints.vouched().op) == (op, Op(24))
    };
    script.until("it has the checkpoint", PATIENCE_MS, is_there).kill(AHEAD);
    (script, client)
}

/// Whether it has the checkpoint that a majority has, which is the one at `op`.
fn has_vouched(script: &Script, op: Op) -> bool {
    let vsr = script.vsr(AHEAD);
    let vouched = vsr.checkpoints().vouched();
    vouched.op == op && chunks::is_whole(vsr, script.world.disk(NodeId(AHEAD.into())), vouched.root)
}

#[test]
fn what_a_majority_has_is_kept() {
    let (mut script, client) = ahead(Op(48));
    script.recover(AHEAD).until("it has what others may need", 200, |script| has_vouched(script, Op(24)));
    assert_eq!(script.vsr(AHEAD).checkpoints().op(), Op(48));
    script.until_finished(&[client]).converge_all();
    script.check();
}

/// At the start it was not known that others would come to need it.
#[test]
fn what_a_majority_comes_to_have_is_kept_from_then_on() {
    let (mut script, client) = ahead(Op(72));
    let before = script.vsr(1).checkpoints().vouched().root;
    script.recover(AHEAD);
    let is_vouched = |script: &Script| script.vsr(AHEAD).checkpoints().vouched().op == Op(48);
    script.until("a majority has the next", PATIENCE_MS, is_vouched);
    assert_eq!(script.vsr(AHEAD).checkpoints().op(), Op(72));
    script.until("it has that one still", 200, |script| has_vouched(script, Op(48)));
    script.until("it lets the one before go", 1_000, |script| {
        assert!(is_vouched(script), "not as soon as it is known for good that nobody needs it");
        script.vsr(AHEAD).checkpoints().blocks_of(before).next().is_none()
    });
    script.until_finished(&[client]).converge_all();
    script.check();
}

/// That a majority has a later one is heard, and would be forgotten by a crash: then this is the one that is looked for, here as well.
#[test]
fn what_a_start_would_find_to_be_vouched_for_is_kept_until_it_would_find_a_later_one() {
    let disk = |_| DiskSettings { barrier: LatencyRange::new(50 * MS, 50 * MS), ..DiskSettings::default() };
    let mut script = Script::new(Setup { layout: LAYOUT, disk, ..Setup::default() });
    let client = script.client(puts(72, 1_500));
    script.until_finished(&[client]).converge_all().run_ms(1_000);
    let is_whole = |script: &Script, replica: u8, root| {
        chunks::is_whole(script.vsr(replica), script.world.disk(NodeId(replica.into())), root)
    };
    let remembered = [0, 1, 2].map(|replica| {
        let vsr = script.vsr(replica);
        let vouched = vsr.durable().expect("it has started").superblock().vouched;
        assert_eq!((vouched.op, vsr.checkpoints().op(), vsr.checkpoints().vouched().op), (Op(48), Op(72), Op(72)));
        assert!(is_whole(&script, replica, vouched.root), "r{replica} has it");
        vouched.root
    });
    // Prepares name the later one.
    script.commit(2).converge_all();
    for (replica, root) in (0..).zip(remembered) {
        assert!(!is_whole(&script, replica, root), "r{replica} lets it go");
    }
    script.check();
}
