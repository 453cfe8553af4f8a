//! Checkpoints: the state at every so many ops, written aside while the log goes on.
//!
//! When the op of a checkpoint is executed, state and sessions are frozen. From then on they are written chunk by chunk between
//! events, a bounded number at a time; a chunk that the grid holds already is not written. When a barrier has made all of them durable
//! the superblock is told, and only when that is durable, are the chunks of the checkpoint before freed, and may the slots of the ops
//! that it covers be used again (design rules 10 and 11).
//!
//! What the others make of it is in vouching.rs; how a state comes back from a checkpoint, in sync.rs.

use alloc::{
    collections::{BTreeSet, VecDeque},
    vec::Vec,
};

use crate::{
    frame::Frame,
    process::Actions,
    storage::{
        checkpoint::{Checkpoint, Root, SECTION_APPLICATION, SECTION_MEMBERS, SECTION_SESSIONS, encode_tables},
        chunk::{ChunkKind, seal_chunk},
        grid::Grid,
        layout::Layout,
        snapshot::SnapshotWriter,
        superblock::{Superblock, Vouched},
    },
    types::{Checksum, ClusterId, Instant, Op},
    vsr::{
        Status, Vsr,
        commit::StateMachine,
        config::PIPELINE_MAX,
        probe::Probe,
        quorum::{REPLICAS_MAX, ReplicaSet},
        runs::{Runs, Tracing},
        sessions::Sessions,
        sync::Fetching,
        timer::Timer,
        token::Kind,
    },
    wire::{header::Header, members::Members},
};

/// Chunks that are being written at once.
pub(super) const CHUNK_WRITES_MAX: usize = 8;

/// Chunks that may be on their way to the grid at once: those of a checkpoint that is taken, and of one that is fetched.
pub(super) const CHUNK_WRITES_BOUND: usize = CHUNK_WRITES_MAX + SLICE_MAX + super::sync::WALK_WINDOW;

/// Chunks that are made in one step.
const SLICE_MAX: usize = 4;

/// How many bytes of them, at about which a step is a tenth of a millisecond, when nothing calls for more.
const SLICE_SIZE: u32 = 64 << 10;

/// How many runs of leaves that did not change are looked at in one step.
const LOOKED_MAX: u64 = 32;

/// How long a checkpoint rests after each such step: the others of this machine are to have their turn.
const REST_NS: u64 = 500_000;

/// How many of a replica's latest checkpoints are remembered, for comparison with the others'.
pub(super) const ROOTS_KEPT: usize = 2;

/// Whether there is a checkpoint at `op`: a function of its number alone, so that all replicas have the same. The ring holds two
/// intervals and a pipeline.
pub fn is_checkpoint(op: Op, layout: &Layout) -> bool {
    op > Op::ROOT && op.0.is_multiple_of(interval(layout))
}

/// The ops from one checkpoint to the next.
pub fn interval(layout: &Layout) -> u64 {
    u64::from((layout.slot_count - PIPELINE_MAX) / 2)
}

/// What a replica has of checkpoints, its own and the others'.
#[derive(Clone)]
pub struct Checkpoints {
    pub(super) grid: Grid,
    /// The superblock's: recovery begins here.
    pub(super) durable: Checkpoint,
    /// The chunks that it reaches.
    pub(super) reached: BTreeSet<Checksum>,
    /// One whose chunks are durable, and that the superblock is to name; with the chunks that it reaches.
    pub(super) next: Option<(Checkpoint, BTreeSet<Checksum>)>,
    taking: Option<Taking>,
    /// The chunks of the one that is being written, so far.
    pub(super) making: BTreeSet<Checksum>,
    /// The chunks of those before, down to the one that lastingly is vouched for: nobody can be asked to take a later one in its place.
    pub(super) kept: Vec<(Op, BTreeSet<Checksum>)>,
    /// The chunks of those that were let go, of which some may be needed by others still.
    pub(super) let_go: Vec<BTreeSet<Checksum>>,
    /// What the state machine keeps, as its leaves.
    pub(super) runs: Runs,
    /// How many leaves the last checkpoint had that were made, and not known.
    made: u64,
    /// The chunks of one that was vouched for, as long as another replica fetches them.
    pub(super) pinned: Pinned,
    /// Barriers over chunks so far: each has its number.
    pub(super) barriers: u64,
    /// Whether the state is still to be restored from the durable checkpoint.
    pub(super) is_restoring: bool,
    /// Whether it is known which blocks are needed; not so from a start until the checkpoints' tables are read.
    pub(super) is_surveyed: bool,
    /// The latest that a majority has.
    pub(super) vouched: Vouched,
    /// Up to which one this replica would know so after a crash: by its superblock, or by a prepare that is durable here.
    pub(super) lasting: Op,
    /// The roots of each replica's latest checkpoints.
    pub(super) roots: [[Vouched; ROOTS_KEPT]; REPLICAS_MAX as usize],
    /// The first op above the vouched one at which some of them differ.
    pub(super) contested: Option<Op>,
    /// The others that have said since the start which checkpoint they have, if any.
    pub(super) told: ReplicaSet,
    /// The checkpoint from before the start, as long as a majority has not done so.
    pub(super) unheard: Option<Op>,
    /// Blocks that are being written.
    pub(super) writing: BTreeSet<u32>,
    pub(super) fetching: Fetching,
    /// The last checkpoint did not fit the grid.
    full: bool,
    /// A checkpoint that was being written was given up, and the machine does not know yet.
    is_dropped: bool,
}

/// A checkpoint that is being written.
#[derive(Clone)]
struct Taking {
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
    waiting: Option<(ChunkKind, Vec<u8>)>,
    root: Checksum,
}

/// A former checkpoint that others may still fetch (design rule 12), within a bound.
#[derive(Clone, Default)]
pub(super) struct Pinned {
    pub(super) chunks: BTreeSet<Checksum>,
    /// When a chunk of the durable checkpoint, or of this one, was last asked for; and until when this one may be kept.
    pub(super) asked: Instant,
    pub(super) until: Instant,
}

/// How long a former checkpoint is kept after its last chunk was asked for, and how long at most.
pub(super) const PIN_NS: u64 = 500_000_000;
pub(super) const PIN_MAX_NS: u64 = 60_000_000_000;

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

impl Checkpoints {
    pub(super) fn new(cluster: ClusterId, layout: &Layout) -> Self {
        Self {
            grid: Grid::new(layout.block_count),
            durable: Checkpoint { header: Header::root(cluster), root: Checksum(0) },
            reached: BTreeSet::new(),
            next: None,
            taking: None,
            making: BTreeSet::new(),
            kept: Vec::new(),
            let_go: Vec::new(),
            runs: Runs::default(),
            made: u64::from(layout.block_count) / 3,
            pinned: Pinned::default(),
            barriers: 0,
            is_restoring: false,
            is_surveyed: false,
            vouched: Vouched::default(),
            lasting: Op::ROOT,
            roots: Default::default(),
            contested: None,
            told: ReplicaSet::default(),
            unheard: None,
            writing: BTreeSet::new(),
            fetching: Fetching::default(),
            full: false,
            is_dropped: false,
        }
    }

    /// Recovery has opened the superblock.
    pub(super) fn opened(&mut self, superblock: &Superblock) {
        self.durable = superblock.checkpoint;
        self.vouched = superblock.vouched;
        self.lasting = superblock.vouched.op;
        self.unheard = Some(superblock.checkpoint.header.op);
    }

    /// The checkpoint that the superblock names, or is to name next.
    pub(super) fn latest(&self) -> Checkpoint {
        self.next.as_ref().map_or(self.durable, |(next, _)| *next)
    }

    /// The op whose state is durable: everything up to it needs no journal.
    pub fn op(&self) -> Op {
        self.durable.header.op
    }

    /// The durable checkpoint.
    pub const fn durable(&self) -> &Checkpoint {
        &self.durable
    }

    /// The latest checkpoint that a majority is known to have.
    pub const fn vouched(&self) -> Vouched {
        self.vouched
    }

    /// Whether the last checkpoint did not fit the grid: then the journal is not freed any more.
    pub const fn is_full(&self) -> bool {
        self.full
    }

    /// Whether a checkpoint is being written.
    pub const fn is_taking(&self) -> bool {
        self.taking.is_some()
    }

    /// Whether a checkpoint of the others is being fetched.
    pub fn is_syncing(&self) -> bool {
        self.fetching.is_syncing()
    }

    /// Whether all chunks that are here lie in blocks.
    pub(super) fn is_written(&self) -> bool {
        self.writing.is_empty() && self.fetching.is_written()
    }

    /// Whether the state is still to be restored from the durable checkpoint.
    pub const fn is_restoring(&self) -> bool {
        self.is_restoring
    }

    /// The blocks that claim to hold a chunk that is needed: one of them does, durably.
    pub fn blocks_of(&self, address: Checksum) -> impl Iterator<Item = u32> {
        self.grid.all(address)
    }

    /// How many blocks of the grid hold a chunk that may be relied on.
    pub fn blocks_used(&self) -> usize {
        self.grid.len()
    }
}

impl Vsr {
    /// What this replica has of checkpoints.
    pub const fn checkpoints(&self) -> &Checkpoints {
        &self.checkpoints
    }

    /// Whether the slot of `op` may be written: what it held is covered by a checkpoint that is durable here (design rule 10).
    pub(super) fn slot_is_free(&self, op: Op) -> bool {
        op.0 <= self.checkpoints.op().0 + u64::from(self.config.layout.slot_count)
    }

    /// Whether a primary may propose `op`: the slot is free here, and on a majority, which has the same state there.
    pub(super) fn may_propose(&self, op: Op) -> bool {
        self.slot_is_free(op) && op.0 <= self.checkpoints.vouched.op.0 + u64::from(self.config.layout.slot_count)
    }

    /// Whether the next op may be executed: the state at a checkpoint can be kept only once the checkpoint before is durable, and one
    /// in doubt is gone on from by nobody.
    pub(super) fn may_execute(&self) -> bool {
        let Checkpoints { next, is_surveyed, .. } = &self.checkpoints;
        let under_way = self.checkpoints.is_taking() || next.is_some() || !is_surveyed;
        let held_up = under_way && is_checkpoint(self.applied.next(), &self.config.layout);
        !held_up && !self.checkpoints.is_restoring && !self.is_in_doubt()
    }

    /// An op was executed: freezes the state if there is a checkpoint at it.
    pub(super) fn freeze<M: StateMachine>(&mut self, header: &Header, machine: &mut M, actions: &mut Actions) {
        let layout = &self.config.layout;
        if !is_checkpoint(header.op, layout) || header.op <= self.checkpoints.latest().header.op {
            return;
        }
        assert!(!self.checkpoints.is_taking(), "one checkpoint is written at a time");
        actions.probe(Probe::CheckpointBegun.into());
        machine.freeze();
        // What was frozen for one that was dropped meanwhile has gone with it.
        self.checkpoints.is_dropped = false;
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
    pub(super) fn take_checkpoint<M: StateMachine>(&mut self, machine: &mut M, actions: &mut Actions) {
        if core::mem::take(&mut self.checkpoints.is_dropped) {
            machine.thaw();
        }
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

    /// The same where the machine is not at hand: it lets its frozen state go in the next step.
    pub(super) fn drop_taking(&mut self) {
        self.checkpoints.is_dropped |= self.checkpoints.taking.take().is_some();
        self.stop_making();
        self.let_go();
    }

    /// Gives up the checkpoint that is being written: a later one takes its place.
    pub(super) fn abandon_taking<M: StateMachine>(&mut self, machine: &mut M) {
        self.checkpoints.taking = None;
        self.stop_making();
        machine.thaw();
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
        let rested =
            if self.now.monotonic >= taking.rests { u64::from(SLICE_SIZE / layout.block_size).max(1) } else { 0 };
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
            let waiting = taking.waiting.take().map(|(kind, bytes)| (kind, Some(bytes)));
            let Some((kind, bytes)) = waiting.or_else(|| self.make_chunk(taking, machine)) else { continue };
            made += 1;
            let Some(bytes) = bytes else { return false };
            let address = match self.put_chunk(kind, bytes, actions) {
                Ok(address) => address,
                // What is being written, checkpoints that are not vouched for yet, or one that is fetched, take up the room: they may
                // give it back.
                Err(bytes)
                    if !self.checkpoints.kept.is_empty()
                        || self.checkpoints.is_syncing()
                        || !self.checkpoints.writing.is_empty() =>
                {
                    self.want_room(actions);
                    taking.waiting = Some((kind, bytes));
                    return true;
                }
                Err(_) => return false,
            };
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
            _ if self.checkpoints.writing.len() < CHUNK_WRITES_MAX => {
                self.timers.ensure(Timer::Checkpoint, taking.rests)
            }
            // A write that ends makes room.
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

    /// Sees to it that the grid holds a chunk. Its address, or the chunk again if there is no room.
    fn put_chunk(&mut self, kind: ChunkKind, mut bytes: Vec<u8>, actions: &mut Actions) -> Result<Checksum, Vec<u8>> {
        let address = seal_chunk(kind, &mut bytes);
        self.checkpoints.making.insert(address);
        if self.checkpoints.grid.find(address).is_some() {
            actions.probe(Probe::ChunkKept.into());
            return Ok(address);
        }
        if !self.has_room() {
            return Err(bytes);
        }
        actions.probe(Probe::ChunkWritten.into());
        self.write_chunk(address, Frame::new(bytes), actions);
        Ok(address)
    }

    /// Whether there is a block for another chunk, after what others fetch, and what nothing needs, has gone.
    fn has_room(&mut self) -> bool {
        if !self.checkpoints.grid.has_room() {
            self.checkpoints.pinned = Pinned::default();
            self.let_go();
            self.free_all_unreached();
        }
        self.checkpoints.grid.has_room()
    }

    /// Writes a chunk to a block that is free. Whether there was one.
    pub(super) fn write_chunk(&mut self, address: Checksum, chunk: Frame, actions: &mut Actions) -> bool {
        if !self.has_room() {
            return false;
        }
        assert!(chunk.len() <= self.config.layout.block_size as usize, "a chunk fits a block");
        let block = self.checkpoints.grid.allocate(address).expect("there is room");
        self.checkpoints.writing.insert(block);
        actions.write(Kind::ChunkWrite.token(block.into()), self.config.layout.block_offset(block), chunk, false);
        true
    }

    /// The barrier of this number, over all chunks of a checkpoint, this replica's own or one that it fetched, has succeeded.
    pub(super) fn on_grid_barrier(&mut self, number: u64) {
        let taken = self.checkpoints.taking.take_if(|taking| taking.stage == Stage::Barrier(number));
        let Some(Taking { header, root, .. }) = taken else { return self.on_gathered(number) };
        assert!(self.checkpoints.next.is_none(), "checkpoints become durable one after the other");
        self.checkpoints.full = false;
        self.checkpoints.next = Some((Checkpoint { header, root }, core::mem::take(&mut self.checkpoints.making)));
    }

    /// Asks for a barrier over the chunks that were written. Its number.
    pub(super) fn grid_barrier(&mut self, actions: &mut Actions) -> u64 {
        self.checkpoints.barriers += 1;
        actions.barrier(Kind::GridBarrier.token(self.checkpoints.barriers));
        self.checkpoints.barriers
    }

    /// Has the superblock name the checkpoint whose chunks are durable. Between views it waits: the promise for the next one takes
    /// it along.
    pub(super) fn promise_checkpoint(&mut self, actions: &mut Actions) {
        let Some((next, _)) = &self.checkpoints.next else { return };
        let op = next.header.op;
        if self.status == Status::Normal && !self.durable_mut().is_to_name(op) {
            let promise = self.promise();
            self.durable_mut().request(promise, actions);
        }
    }

    /// A superblock is durable: if it names a later checkpoint, what that covers is free.
    pub(super) fn on_checkpoint_durable(&mut self, actions: &mut Actions) {
        let (durable, vouched) = (self.promised().checkpoint, self.promised().vouched.op);
        if vouched > self.checkpoints.lasting {
            self.remember_vouched(vouched);
            self.write_unwritten(actions);
        }
        let named = self.checkpoints.next.take_if(|(next, _)| *next == durable);
        let Some((checkpoint, reached)) = named else { return };
        actions.probe(Probe::CheckpointDurable.into());
        let op = core::mem::replace(&mut self.checkpoints.durable, checkpoint).header.op;
        let before = core::mem::replace(&mut self.checkpoints.reached, reached);
        self.checkpoints.kept.push((op, before));
        self.log.set_floor(checkpoint.header);
        self.held_through = self.held_through.max(checkpoint.header.op);
        self.durable_op = self.durable_op.max(checkpoint.header.op);
        // The others wait for it; and one that stops because of theirs has told them its own.
        self.tell_checkpoint(actions);
        self.count_own_root(actions);
        self.let_go();
        self.write_unwritten(actions);
        if checkpoint.header.op > self.applied {
            actions.probe(Probe::SyncInstalled.into());
            self.start_loading();
        }
        if self.is_backup() {
            self.append_early(actions);
        }
        if self.status == Status::Normal {
            self.advance_durable(actions);
            self.repair(actions);
        }
    }
}
