//! A checkpoint that does not fit the grid is given up, and leaves nothing behind that the next one would lack: where the state has become
//! smaller before the journal is full, the cluster goes on as if nothing had been.

use chronon::{storage::layout::Layout, types::Op};
use chronon_sim::workload::KvConfig;

use crate::script::{PATIENCE_MS, Script, Setup, puts};

/// A checkpoint at every 24th op.
const LAYOUT: Layout = Layout { slot_count: 64, message_size_max: 32 * 1024, block_count: 12, block_size: 4096 };

/// Puts of up to so many bytes, under the same few keys.
fn few_keys(calls: u64, size: u32) -> KvConfig {
    KvConfig { keys: 4, ..puts(calls, size) }
}

#[test]
fn what_did_not_fit_leaves_its_room_to_what_does() {
    let mut script = Script::new(Setup { layout: LAYOUT, ..Setup::default() });
    let all_have = |script: &Script, op: Op, is_full: bool| {
        let all = (0..3).map(|replica| script.vsr(replica).checkpoints());
        all.into_iter().all(|checkpoints| (checkpoints.op(), checkpoints.is_full()) == (op, is_full))
    };
    let client = script.client(few_keys(28, 16));
    script.until_finished(&[client]).converge_all();
    assert!(all_have(&script, Op(24), false));
    let client = script.client(few_keys(20, 16 * 1024));
    script.until_finished(&[client]).converge_all();
    script.until("none has room for it", PATIENCE_MS, |script| all_have(script, Op(24), true));
    let client = script.client(few_keys(20, 16));
    script.until_finished(&[client]).converge_all();
    let primary = script.primary();
    assert!((Op(72)..Op(80)).contains(&script.head(primary)), "at the next one: {}", script.head(primary));
    script.until("all have the next one", PATIENCE_MS, |script| all_have(script, Op(72), false));
    assert_eq!(script.probe("client_told_busy"), 0);
    let client = script.client(few_keys(100, 16));
    script.until_finished(&[client]).converge_all();
    script.check();
}
