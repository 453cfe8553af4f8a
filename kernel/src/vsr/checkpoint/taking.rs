//! A checkpoint that is being written: the frozen state goes to the grid, chunk by chunk, between events.
//!
//! What did not change since the checkpoint before is taken over or found there; the rest is written, a bounded number at a time. When all
//! of it is in the grid, a barrier makes it durable, and the superblock is told: see checkpoint.rs.

use alloc::{collections::VecDeque, vec::Vec};

use super::{CHUNK_WRITES_MAX, Checkpoints, SLICE_MAX, interval, is_checkpoint};
use crate::{
    frame::Frame,
    process::Actions,
    storage::{
        checkpoint::{Checkpoint, Root, SECTION_APPLICATION, SECTION_MEMBERS, SECTION_SESSIONS, encode_tables},
        chunk::{ChunkKind, seal_chunk},
        snapshot::SnapshotWriter,
    },
    types::{Checksum, Instant},
    vsr::{Vsr, commit::StateMachine, probe::Probe, runs::Tracing, sessions::Sessions, timer::Timer},
    wire::{header::Header, members::Members},
};

/// How many bytes of them, at about which a step is a tenth of a millisecond, when nothing calls for more.
const SLICE_SIZE: u32 = 64 << 10;

/// How many runs of leaves that did not change are looked at in one step.
const LOOKED_MAX: u64 = 32;

/// How long a checkpoint rests after each such step: the others of this machine are to have their turn.
const REST_NS: u64 = 500_000;

/// A checkpoint that is being written.
#[derive(Clone)]
pub(super) struct Taking {
    header: Header,
    members: Members,
    sessions: Sessions,
    writer: SnapshotWriter,
    stage: Stage,
    leaves: Vec<Checksum>,
    tables: Vec<Checksum>,
    /// Tables that are still to be written.
    unmade: VecDeque<Vec<u8>>,
    tracing: Tracing,
    /// How many leaves were made, so far.
    made: u64,
    /// Before then, only what the ops' pace asks for is made.
    rests: Instant,
    /// A chunk for which there was no room when it was made.
    waiting: Option<Sealed>,
    root: Checksum,
}

/// A chunk on its way to the grid.
#[derive(Clone)]
struct Sealed {
    kind: ChunkKind,
    address: Checksum,
    bytes: Frame,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Members,
    Sessions,
    Application,
    /// The last of the leaves.
    Leaves,
    /// The tables, and then the root.
    Tables,
    /// All chunks are made; some are being written.
    Made,
    /// The barrier of this number over them.
    Barrier(u64),
}

impl Vsr {
    /// An op was executed: freezes the state if there is a checkpoint at it.
    pub(in crate::vsr) fn freeze<M: StateMachine>(&mut self, header: &Header, machine: &mut M, actions: &mut Actions) {
        let layout = self.config.layout;
        if !is_checkpoint(header.op, &layout) || header.op <= self.checkpoints.latest().header.op {
            return;
        }
        assert!(!self.checkpoints.is_taking(), "one checkpoint is written at a time");
        actions.probe(Probe::CheckpointBegun.into());
        self.thaw_dropped(machine);
        machine.freeze();
        self.checkpoints.taking = Some(Taking {
            header: *header,
            members: self.roster.executed.clone(),
            sessions: self.sessions.clone(),
            writer: SnapshotWriter::new(layout.chunk_size_max(), SLICE_MAX),
            stage: Stage::Members,
            leaves: Vec::new(),
            tables: Vec::new(),
            unmade: VecDeque::new(),
            tracing: Tracing::default(),
            made: 0,
            rests: self.now.monotonic,
            waiting: None,
            root: Checksum(0),
        });
    }

    /// Goes on with the checkpoint that is being written, by one slice.
    pub(in crate::vsr) fn take_checkpoint<M: StateMachine>(&mut self, machine: &mut M, actions: &mut Actions) {
        self.thaw_dropped(machine);
        if !machine.release() {
            let due = self.after(REST_NS);
            self.timers.ensure(Timer::Checkpoint, due);
        }
        let Some(mut taking) = self.checkpoints.taking.take() else { return };
        if self.go_on_taking(&mut taking, machine, actions) {
            self.checkpoints.taking = Some(taking);
        } else {
            self.checkpoints.full = true;
            self.abandon_taking(machine);
            self.free_unreached();
        }
    }

    /// Gives up the checkpoint that is being written: a later one takes its place.
    pub(in crate::vsr) fn abandon_taking<M: StateMachine>(&mut self, machine: &mut M) {
        self.checkpoints.taking = None;
        self.stop_making();
        machine.thaw();
    }

    /// The same where the machine is not at hand: it lets its frozen state go when it is.
    pub(in crate::vsr) fn drop_taking(&mut self) {
        self.checkpoints.is_dropped |= self.checkpoints.taking.take().is_some();
        self.stop_making();
        self.let_go();
    }

    fn thaw_dropped<M: StateMachine>(&mut self, machine: &mut M) {
        if core::mem::take(&mut self.checkpoints.is_dropped) {
            machine.thaw();
        }
    }

    fn stop_making(&mut self) {
        let made = core::mem::take(&mut self.checkpoints.making);
        self.checkpoints.let_go.push(made);
    }

    /// How many chunks may be made in this step. What there is to make is spread over the time when nothing else is to be done, a little
    /// at a time, and over the ops as they are executed, so that it is done when half of those up to the next checkpoint are; and
    /// when the next one waits for it, over every step.
    fn pace(&self, taking: &Taking) -> u64 {
        let layout = &self.config.layout;
        if is_checkpoint(self.applied.next(), layout) {
            return SLICE_MAX as u64;
        }
        let for_each_op = (2 * self.checkpoints.made.max(taking.made)).div_ceil(interval(layout));
        let rested = if self.now.monotonic >= taking.rests {
            u64::from(SLICE_SIZE / layout.block_size).max(1)
        } else {
            // One that waits is made: it is written as soon as there is a block.
            taking.waiting.is_some().into()
        };
        (self.executed.len() as u64 * for_each_op).max(rested).min(SLICE_MAX as u64)
    }

    /// Takes over the leaves of the checkpoint before up to where the next of them may have changed, if that is where the writing
    /// stands. Whether there were any.
    fn take_over<M: StateMachine>(&mut self, taking: &mut Taking, machine: &M, actions: &mut Actions) -> bool {
        let Taking { writer, stage: Stage::Application, leaves, tracing, waiting: None, .. } = taking else {
            return false;
        };
        let Some(position) = writer.boundary(SECTION_APPLICATION) else { return false };
        if !tracing.reach(position, leaves) {
            return false;
        }
        let Checkpoints { runs, grid, making, .. } = &mut self.checkpoints;
        let Some(run) = runs.take(position) else { return false };
        let is_here = run.leaves.iter().all(|address| grid.find(*address).is_some());
        if !is_here || !machine.is_unchanged(position, &run.through) {
            return false;
        }
        for address in &run.leaves {
            actions.probe(Probe::ChunkTakenOver.into());
            making.insert(*address);
            leaves.push(*address);
        }
        writer.skip_to(&run.through);
        true
    }

    /// Whether there was room in the grid.
    fn go_on_taking<M: StateMachine>(&mut self, taking: &mut Taking, machine: &mut M, actions: &mut Actions) -> bool {
        let (mut made, mut looked, pace) = (0, 0, self.pace(taking));
        while !matches!(taking.stage, Stage::Made | Stage::Barrier(_))
            && made < pace
            && looked < LOOKED_MAX
            && self.checkpoints.writing.len() < CHUNK_WRITES_MAX
        {
            if self.take_over(taking, machine, actions) {
                looked += 1;
                continue;
            }
            let sealed = match taking.waiting.take() {
                Some(sealed) => sealed,
                None => {
                    let Some((kind, bytes)) = self.make_chunk(taking, machine) else { continue };
                    let Some(mut bytes) = bytes else { return false };
                    let address = seal_chunk(kind, &mut bytes);
                    self.checkpoints.making.insert(address);
                    Sealed { kind, address, bytes: Frame::new(bytes) }
                }
            };
            if !self.put_chunk(&sealed, actions) {
                let Checkpoints { kept, writing, .. } = &self.checkpoints;
                // What is being written, checkpoints that are not vouched for yet, or one that is fetched, take up the room: they may
                // give it back.
                if kept.is_empty() && writing.is_empty() && !self.checkpoints.is_syncing() {
                    return false;
                }
                self.want_room(actions);
                taking.waiting = Some(sealed);
                break;
            }
            made += 1;
            let Sealed { kind, address, .. } = sealed;
            match kind {
                ChunkKind::Leaf => {
                    taking.leaves.push(address);
                    taking.made += 1;
                }
                ChunkKind::Table => taking.tables.push(address),
                ChunkKind::Root => {
                    (taking.root, taking.stage) = (address, Stage::Made);
                    self.checkpoints.made = taking.made;
                    self.checkpoints.runs = taking.tracing.finish();
                    machine.keep();
                }
            }
        }
        if made > 0 || looked > 0 {
            taking.rests = self.after(REST_NS);
        }
        match taking.stage {
            Stage::Made if self.checkpoints.writing.is_empty() => {
                taking.stage = Stage::Barrier(self.grid_barrier(actions));
            }
            Stage::Made | Stage::Barrier(_) => {}
            _ if taking.waiting.is_none() && self.checkpoints.writing.len() < CHUNK_WRITES_MAX => {
                self.timers.ensure(Timer::Checkpoint, taking.rests)
            }
            // What makes room, be it that a write ends, is an event of its own.
            _ => {}
        }
        true
    }

    /// The next chunk of a checkpoint, if this step came to one; without bytes if there can be none.
    fn make_chunk<M: StateMachine>(
        &self,
        taking: &mut Taking,
        machine: &mut M,
    ) -> Option<(ChunkKind, Option<Vec<u8>>)> {
        let size_max = self.config.layout.chunk_size_max();
        let Taking { header, members, sessions, writer, stage, leaves, tables, unmade, .. } = taking;
        if let Some(leaf) = writer.take() {
            return Some((ChunkKind::Leaf, Some(leaf)));
        }
        match stage {
            Stage::Members => {
                let mut record = Vec::new();
                members.encode(&mut record);
                if writer.write(SECTION_MEMBERS, |writer| writer.record(&record)) {
                    *stage = Stage::Sessions;
                }
            }
            Stage::Sessions => {
                if writer.write(SECTION_SESSIONS, |writer| sessions.snapshot(writer)) {
                    *stage = Stage::Application;
                }
            }
            Stage::Application => {
                if writer.write(SECTION_APPLICATION, |writer| machine.snapshot(writer)) {
                    writer.finish();
                    *stage = Stage::Leaves;
                }
            }
            Stage::Leaves => {
                *unmade = encode_tables(leaves, size_max).into();
                *stage = Stage::Tables;
            }
            _ => {
                return Some(match unmade.pop_front() {
                    Some(table) => (ChunkKind::Table, Some(table)),
                    None => (ChunkKind::Root, Root::encode(header, tables, size_max)),
                });
            }
        }
        None
    }

    /// Sees to it that the grid holds a chunk. Whether there is room.
    fn put_chunk(&mut self, chunk: &Sealed, actions: &mut Actions) -> bool {
        if self.checkpoints.grid.find(chunk.address).is_some() {
            actions.probe(Probe::ChunkKept.into());
            return true;
        }
        let is_written = self.write_chunk(chunk.address, chunk.bytes.clone(), actions);
        if is_written {
            actions.probe(Probe::ChunkWritten.into());
        }
        is_written
    }

    /// The barrier of this number, over all chunks of a checkpoint, this replica's own or one that it fetched, has succeeded.
    pub(in crate::vsr) fn on_grid_barrier(&mut self, number: u64) {
        let taken = self.checkpoints.taking.take_if(|taking| taking.stage == Stage::Barrier(number));
        let Some(Taking { header, root, .. }) = taken else { return self.on_gathered(number) };
        assert!(self.checkpoints.next.is_none(), "checkpoints become durable one after the other");
        self.checkpoints.full = false;
        self.checkpoints.next = Some((Checkpoint { header, root }, core::mem::take(&mut self.checkpoints.making)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        storage::{grid::Grid, layout::Layout},
        types::{ClusterId, Op, ReplicaId, View},
        vsr::{Config, testing::Machine},
        wire::header::Command,
    };

    /// A replica with a grid of so many blocks.
    fn replica(blocks: u32) -> Vsr {
        let layout = Layout { slot_count: 64, message_size_max: 8192, block_count: 8, block_size: 4096 };
        let mut vsr = Vsr::new(Config::new(ClusterId(1), ReplicaId(0), 3, layout));
        vsr.checkpoints.is_surveyed = true;
        vsr.checkpoints.grid = Grid::new(blocks);
        vsr
    }

    fn freeze(vsr: &mut Vsr, op: Op, machine: &mut Machine, actions: &mut Actions) {
        let header = Header::new(ClusterId(1), Command::Prepare, 0, View(0));
        vsr.freeze(&Header { op, ..header }, machine, actions);
        assert!(vsr.checkpoints.is_taking() && machine.is_frozen);
    }

    #[test]
    fn one_that_does_not_fit_keeps_neither_blocks_nor_the_state() {
        // Room for a leaf, and none for the table or the root.
        let mut vsr = replica(1);
        let (mut machine, mut actions) = (Machine::default(), Actions::new());
        freeze(&mut vsr, Op(24), &mut machine, &mut actions);
        while vsr.checkpoints.is_taking() {
            vsr.take_checkpoint(&mut machine, &mut actions);
            if let Some(block) = vsr.checkpoints.writing.keys().next().copied() {
                vsr.on_chunk_written(block);
            }
        }
        assert!(vsr.checkpoints.is_full() && !machine.is_frozen);
        assert_eq!(vsr.checkpoints.blocks_used(), 0);
    }

    /// Freed at once, a large state would hold everybody up.
    #[test]
    fn the_state_of_one_that_was_dropped_is_let_go_before_that_of_the_next_is_kept() {
        let mut vsr = replica(8);
        let (mut machine, mut actions) = (Machine::default(), Actions::new());
        freeze(&mut vsr, Op(24), &mut machine, &mut actions);
        vsr.drop_taking();
        freeze(&mut vsr, Op(48), &mut machine, &mut actions);
        for _ in 0..10 {
            vsr.take_checkpoint(&mut machine, &mut actions);
        }
        assert!(machine.is_kept, "all of the next one's was written");
    }
}
