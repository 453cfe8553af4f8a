//! A grid without a free block is searched for what nothing needs any more, which takes long in a large one: once for whatever was let
//! go, and not in every step until there is room.

use chronon::{storage::layout::Layout, types::Op};
use chronon_sim::disk::{DiskSettings, LatencyRange};

use crate::script::{MS, PATIENCE_MS, Script, Setup, puts};

/// A checkpoint at every 24th op, and room for two and a part of a third of them.
const LAYOUT: Layout = Layout { slot_count: 64, message_size_max: 32 * 1024, block_count: 20, block_size: 4096 };

/// The one that is ahead of the others.
const AHEAD: u8 = 0;

fn searches(script: &Script) -> u64 {
    script.vsr(AHEAD).checkpoints().searches()
}

/// The others take a third of a second for a checkpoint: this one may part with none that they may have to be asked for, and its next
/// waits for a block.
#[test]
fn a_checkpoint_waits_for_a_block() {
    let disk = |replica| {
        let barrier_ns = if replica == AHEAD { MS } else { 100 * MS };
        DiskSettings { barrier: LatencyRange::new(barrier_ns, barrier_ns), ..DiskSettings::default() }
    };
    let mut script = Script::new(Setup { layout: LAYOUT, disk, ..Setup::default() });
    let client = script.client(puts(110, 1_500));
    let waits = |script: &Script| {
        let checkpoints = script.vsr(AHEAD).checkpoints();
        let is_full = checkpoints.blocks_used() == LAYOUT.block_count as usize;
        is_full && checkpoints.is_taking() && checkpoints.vouched().op < checkpoints.op()
    };
    script.until("it waits for a block", PATIENCE_MS, waits);
    let (searched, steps) = (searches(&script), script.world.steps());
    script.until("it waits no longer", PATIENCE_MS, |script| !waits(script));
    let (searched, steps) = (searches(&script) - searched, script.world.steps() - steps);
    assert!(steps > 20 && searched <= 1, "searched {searched} times in {steps} steps");
    script.until_finished(&[client]).converge_all();
    let searched = searches(&script);
    assert!((1..10).contains(&searched), "searched {searched} times for a few checkpoints");
    assert!(script.vsr(AHEAD).checkpoints().op() >= Op(96) && !script.vsr(AHEAD).checkpoints().is_full());
    script.check();
}
