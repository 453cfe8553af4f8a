//! A fetched chunk for which there is no block: what gives way to it, and what does not.

use std::vec;

use super::*;
use crate::{
    process::Action,
    storage::{chunk, chunk::ChunkKind, grid::Grid, layout::Layout, superblock::Vouched},
    types::{ClusterId, Op, View},
    vsr::{Config, testing::Machine},
};

const LAYOUT: Layout = Layout { slot_count: 64, message_size_max: 8192, block_count: 8, block_size: 4096 };

fn chunk(payload: u8) -> (Checksum, Frame) {
    let mut bytes = chunk::unsealed();
    bytes.push(payload);
    (chunk::seal_chunk(ChunkKind::Leaf, &mut bytes), Frame::new(bytes))
}

/// A replica with a grid of two blocks, one of which the durable checkpoint has. A chunk of a checkpoint of the others, which it fetches,
/// waits for a block.
fn one_that_waits() -> (Vsr, Checksum) {
    let mut vsr = Vsr::new(Config::new(ClusterId(1), ReplicaId(0), 3, LAYOUT));
    let (own, _) = chunk(1);
    let (fetched, bytes) = chunk(2);
    vsr.checkpoints.is_surveyed = true;
    vsr.checkpoints.grid = Grid::new(2);
    vsr.checkpoints.grid.allocate(own).expect("it is free");
    vsr.checkpoints.reached.insert(own);
    let target = Vouched { op: Op(48), root: fetched };
    vsr.checkpoints.fetching.walk = Some(Walk::new(Purpose::Gather, target, 1));
    vsr.checkpoints.fetching.unwritten = vec![(fetched, bytes)];
    (vsr, fetched)
}

fn freeze(vsr: &mut Vsr, machine: &mut Machine, actions: &mut Actions) {
    let header = Header::new(ClusterId(1), Command::Prepare, 0, View(0));
    vsr.freeze(&Header { op: Op(24), ..header }, machine, actions);
    assert!(vsr.checkpoints.is_taking() && machine.is_frozen);
}

fn is_halted(actions: &Actions) -> bool {
    actions.as_slice().iter().any(|action| matches!(action, Action::Halt { .. }))
}

/// It was begun while the chunk waited, and took the last block.
#[test]
fn a_checkpoint_of_its_own_gives_way_to_one_that_is_fetched() {
    let (mut vsr, fetched) = one_that_waits();
    let (mut machine, mut actions) = (Machine::default(), Actions::new());
    freeze(&mut vsr, &mut machine, &mut actions);
    let (made, bytes) = chunk(3);
    vsr.checkpoints.making.insert(made);
    assert!(vsr.write_chunk(made, bytes, &mut actions));
    vsr.write_unwritten(&mut actions);
    assert!(vsr.checkpoints.is_taking() && !vsr.checkpoints.fetching.is_written(), "the block may come free");
    vsr.on_chunk_written(vsr.checkpoints.grid.find(made).expect("it was written"));

    vsr.write_unwritten(&mut actions);
    assert!(!is_halted(&actions) && vsr.checkpoints.fetching.is_written());
    assert_eq!((vsr.checkpoints.grid.find(fetched), vsr.checkpoints.grid.find(made)), (Some(1), None));
    vsr.take_checkpoint(&mut machine, &mut actions);
    assert!(!vsr.checkpoints.is_taking() && !machine.is_frozen);
}

#[test]
fn the_durable_one_gives_way_to_nothing_and_the_replica_says_that_there_is_no_room() {
    let (mut vsr, fetched) = one_that_waits();
    let (other, _) = chunk(3);
    vsr.checkpoints.reached.insert(other);
    vsr.checkpoints.grid.allocate(other).expect("it is free");
    let (mut machine, mut actions) = (Machine::default(), Actions::new());
    freeze(&mut vsr, &mut machine, &mut actions);
    vsr.write_unwritten(&mut actions);
    assert!(is_halted(&actions) && vsr.checkpoints.grid.find(fetched).is_none());
    assert_eq!(vsr.checkpoints.blocks_used(), 2);
}
