//! What a replica is missing comes no faster than its disk takes it: the rest waits with the others, and not in memory.

use chronon::{types::Op, vsr::Held};

use crate::script::{PATIENCE_MS, Script};

#[test]
fn a_long_repair_fills_the_room_for_writes_and_no_more() {
    let mut script = Script::replicas(3);
    script.commit(400).converge_all();
    let primary = script.primary();
    let backup = script.after(primary, 1);
    script.cut_power(backup);
    for op in (1..=300).map(Op) {
        script.corrupt_prepare(backup, op);
    }
    script.recover(backup).stall_disk(backup, 1_000);
    let writes = |script: &Script| {
        let queues = script.vsr(backup).queues();
        let (_, length, limit) =
            queues.into_iter().find(|(name, ..)| *name == "slots being written").expect("is watched");
        assert_eq!(length, script.vsr(backup).journal().writes_in_flight() as u64);
        (length, limit)
    };
    script.until("the room is full", 1_000, |script| writes(script).0 == writes(script).1);
    script.until("the disk goes on", PATIENCE_MS, |script| {
        let (length, limit) = writes(script);
        assert!(length <= limit, "{length} of at most {limit}");
        length < limit
    });
    script.converge_all();
    let held = |op: Op| matches!(script.vsr(backup).journal().held(op), Held::Prepare(_));
    assert!((1..=300).map(Op).all(held));
    // Those that came back when there was no room were asked for once more.
    assert!(script.probe("prepare_repaired") > 250);
    script.check();
}
