//! Checkpoints: the state at every so many ops, written aside while the log goes on.
//!
//! When the op of a checkpoint is executed, state and sessions are frozen. From then on they are written chunk by chunk between
//! events, a bounded number at a time; a chunk that the grid holds already is not written. When a barrier has made all of them durable
//! the superblock is told, and only when that is durable, are the chunks of the checkpoint before freed, and may the slots of the ops
//! that it covers be used again (design rules 10 and 11).
//!
//! How the state is written is in checkpoint/taking.rs; what the others make of it, in vouching.rs; how a state comes back from a checkpoint, in sync.rs.

mod taking;

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use taking::Taking;

use crate::{
    frame::Frame,
    process::Actions,
    storage::{
        checkpoint::Checkpoint,
        grid::Grid,
        layout::Layout,
        superblock::{Superblock, Vouched},
    },
    types::{Checksum, ClusterId, Instant, Op},
    vsr::{
        Status, Vsr,
        config::PIPELINE_MAX,
        freeing::{Fetcher, LetGo},
        probe::Probe,
        quorum::{REPLICAS_MAX, ReplicaSet},
        runs::Runs,
        sync::Fetching,
        token::Kind,
    },
    wire::header::Header,
};

/// Chunks that are being written at once.
pub(super) const CHUNK_WRITES_MAX: usize = 8;

/// Chunks that may be on their way to the grid at once: those of a checkpoint that is taken, and of one that is fetched.
pub(super) const CHUNK_WRITES_BOUND: usize = CHUNK_WRITES_MAX + SLICE_MAX + super::sync::WALK_WINDOW;

/// Chunks that are made in one step.
const SLICE_MAX: usize = 4;

/// How many of a replica's latest checkpoints are remembered, for comparison with the others': as many as it can be ahead of what a majority
/// has, which is a ring's slots, in intervals. The smallest ring, of 32, has four of them.
pub(super) const ROOTS_KEPT: usize = 4;

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
    /// When one of these was last asked for.
    pub(super) asked: Option<Instant>,
    /// Who fetches what.
    pub(super) fetchers: [Option<Fetcher>; REPLICAS_MAX as usize],
    /// Those before, down to the one that lastingly is vouched for: nobody can be asked to take a later one in its place. Below that, those
    /// that others fetch. The earliest is the first.
    pub(super) kept: Vec<Former>,
    /// The chunks of those that were let go.
    pub(super) let_go: LetGo,
    /// What the state machine keeps, as its leaves.
    pub(super) runs: Runs,
    /// How many leaves the last checkpoint had that were made, and not known.
    made: u64,
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
    /// The others that have said since the start that they have come as far, and which checkpoint they have.
    pub(super) told: ReplicaSet,
    /// The checkpoint from before the start, as long as a majority has not done so.
    pub(super) unheard: Option<Op>,
    /// Blocks that are being written, with their chunks.
    pub(super) writing: BTreeMap<u32, Checksum>,
    pub(super) fetching: Fetching,
    /// The last checkpoint did not fit the grid.
    full: bool,
    /// A checkpoint that was being written was given up, and the machine does not know yet.
    is_dropped: bool,
}

/// A checkpoint from before the durable one.
#[derive(Clone)]
pub(super) struct Former {
    pub(super) op: Op,
    /// The chunks that it reaches.
    pub(super) reached: BTreeSet<Checksum>,
    /// When one of them was last asked for.
    pub(super) asked: Option<Instant>,
    /// Until when it may be kept for those who fetch it, once nothing else keeps it.
    pub(super) until: Option<Instant>,
}

/// How long a former checkpoint is kept after its last chunk was asked for, and how long at most. Who waits for a slow disk asks all others
/// in turn, a third of a second apart.
pub(super) const PIN_NS: u64 = 2_000_000_000;
pub(super) const PIN_MAX_NS: u64 = 60_000_000_000;

impl Checkpoints {
    pub(super) fn new(cluster: ClusterId, layout: &Layout) -> Self {
        Self {
            grid: Grid::new(layout.block_count),
            durable: Checkpoint { header: Header::root(cluster), root: Checksum(0) },
            reached: BTreeSet::new(),
            asked: None,
            fetchers: [None; REPLICAS_MAX as usize],
            next: None,
            taking: None,
            making: BTreeSet::new(),
            kept: Vec::new(),
            let_go: LetGo::default(),
            runs: Runs::default(),
            made: u64::from(layout.block_count) / 3,
            barriers: 0,
            is_restoring: false,
            is_surveyed: false,
            vouched: Vouched::default(),
            lasting: Op::ROOT,
            roots: Default::default(),
            contested: None,
            told: ReplicaSet::default(),
            unheard: None,
            writing: BTreeMap::new(),
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

    /// How often since the start every chunk of the grid was looked at for whether it is still needed, because no block was free.
    pub const fn searches(&self) -> u64 {
        self.let_go.searches
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

    /// Whether there is a block for another chunk, after what others fetch, and what nothing needs, has gone.
    fn has_room(&mut self) -> bool {
        while !self.checkpoints.grid.has_room() && self.let_go_idlest() {}
        if !self.checkpoints.grid.has_room() {
            self.let_go_spared();
        }
        if !self.checkpoints.grid.has_room() {
            self.search_grid();
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
        self.checkpoints.writing.insert(block, address);
        actions.write(Kind::ChunkWrite.token(block.into()), self.config.layout.block_offset(block), chunk, false);
        true
    }

    /// A chunk lies in its block. One that nothing needs any more has waited for this to be freed.
    pub(super) fn on_chunk_written(&mut self, block: u32) {
        if let Some(address) = self.checkpoints.writing.remove(&block) {
            self.free_unneeded(address);
        }
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
        }
        let named = self.checkpoints.next.take_if(|(next, _)| *next == durable);
        let Some((checkpoint, reached)) = named else { return };
        actions.probe(Probe::CheckpointDurable.into());
        let op = core::mem::replace(&mut self.checkpoints.durable, checkpoint).header.op;
        let before = core::mem::replace(&mut self.checkpoints.reached, reached);
        let asked = self.checkpoints.asked.take();
        self.checkpoints.kept.push(Former { op, reached: before, asked, until: None });
        self.log.set_floor(checkpoint.header);
        self.held_through = self.held_through.max(checkpoint.header.op);
        self.durable_op = self.durable_op.max(checkpoint.header.op);
        // The others wait for it; and one that stops because of theirs has told them its own.
        self.tell_checkpoint(actions);
        self.count_own_root(actions);
        self.let_go();
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
