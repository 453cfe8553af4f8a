//! What is taken over is what would have been written.

use std::{format, vec::Vec};

use super::*;
use crate::{
    app::{
        application::ApplyContext,
        executor::Executor,
        kv::{Kv, Request},
    },
    storage::{
        chunk::{ChunkKind, seal_chunk},
        snapshot::SnapshotWriter,
    },
    types::{ClusterId, Op, Timestamp},
};

const SECTION: u8 = 2;

fn ask(executor: &mut Executor<Kv>, request: &Request<'_>) {
    let mut payload = Vec::new();
    request.encode(&mut payload);
    executor.apply(&payload, &ApplyContext::new(Op(1), Timestamp(1), Checksum(0), 0));
}

/// Writes what was frozen, as a checkpoint does: all leaves, how many of them were taken over, and what is known then.
fn written(executor: &Executor<Kv>, mut known: Runs) -> (Vec<Checksum>, usize, Runs) {
    let (mut writer, mut tracing) = (SnapshotWriter::new(4096, 4), Tracing::default());
    let (mut leaves, mut taken_over, mut is_done) = (Vec::new(), 0, false);
    loop {
        if let Some(mut leaf) = writer.take() {
            leaves.push(seal_chunk(ChunkKind::Leaf, &mut leaf));
            continue;
        }
        if is_done {
            return (leaves, taken_over, tracing.finish());
        }
        if let Some(position) = writer.boundary(SECTION)
            && tracing.reach(position, &leaves)
            && let Some(run) = known.take(position)
            && executor.is_unchanged(position, &run.through)
        {
            taken_over += run.leaves.len();
            leaves.extend(&run.leaves);
            writer.skip_to(&run.through);
            continue;
        }
        is_done = writer.write(SECTION, |writer| executor.snapshot(writer));
        if is_done {
            writer.finish();
        }
    }
}

#[test]
fn leaves_that_are_taken_over_are_those_that_would_have_been_written() {
    let mut executor = Executor::new(Kv, ClusterId(1));
    let mut numbers = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |end: u64| {
        numbers ^= numbers << 13;
        numbers ^= numbers >> 7;
        numbers ^= numbers << 17;
        numbers % end
    };
    let (mut known, mut all_taken_over) = (Runs::default(), 0);
    for round in 0..120u64 {
        // Now many, now few, and now none at all.
        let changes = [400, 30, 3, 1, 0][(round % 5) as usize];
        for change in 0..changes {
            let key = format!("{} and so on", draw(600));
            let value = [round as u8, change as u8].repeat(draw(400) as usize);
            match draw(4) {
                0 => ask(&mut executor, &Request::Delete { key: key.as_bytes() }),
                1 => ask(&mut executor, &Request::Append { key: key.as_bytes(), value: b"more" }),
                _ => ask(&mut executor, &Request::Put { key: key.as_bytes(), value: &value }),
            }
        }
        executor.freeze();
        // Nothing of this may be in the checkpoint.
        ask(&mut executor, &Request::Put { key: b"0 later", value: &[round as u8; 100] });
        let (whole, none, _) = written(&executor, Runs::default());
        let (leaves, taken_over, next) = written(&executor, core::mem::take(&mut known));
        assert_eq!((leaves == whole, none), (true, 0), "round {round}");
        if changes == 0 {
            assert!(taken_over + 8 >= leaves.len(), "{taken_over} of {}", leaves.len());
        }
        all_taken_over += taken_over;
        executor.keep();
        known = next;
        while !executor.release() {}
    }
    assert!(all_taken_over > 500, "{all_taken_over}");
}

#[test]
fn what_was_written_of_another_state_than_the_kept_one_is_taken_over_by_nobody() {
    let mut executor = Executor::new(Kv, ClusterId(1));
    for key in 0..500 {
        ask(&mut executor, &Request::Put { key: format!("{key}").as_bytes(), value: &[7; 100] });
    }
    executor.freeze();
    let (_, _, known) = written(&executor, Runs::default());
    executor.thaw();
    executor.freeze();
    let (_, taken_over, _) = written(&executor, known);
    assert_eq!(taken_over, 0, "nothing was kept");
}
