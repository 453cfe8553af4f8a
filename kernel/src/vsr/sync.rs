//! State sync and the restoration of a state: a checkpoint's chunks, from this replica's grid or from others.
//!
//! Both are a *walk* from the root through the tables to the leaves. A walk that *gathers* brings the chunks of a checkpoint into the
//! grid that a majority vouches for and this replica lacks: those that it has are not fetched, whatever checkpoint they
//! came with, nor those that a gathering before a crash has left. When all are durable, one superblock update makes the checkpoint this
//! replica's, with view, log view and suffix (design rule 12); until then nothing shows of it. A walk that *loads* takes the
//! durable checkpoint's records, in order, into a new state, which takes the old one's place when it is whole.
//!
//! A chunk is believed by its content alone, whoever sent it: its address is the hash of it, and the root's address is vouched for.
//! How a chunk comes, from the disk or from others, is in sync/chunks.rs.

mod chunks;

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    vec::Vec,
};

use crate::{
    frame::Frame,
    process::Actions,
    storage::{
        checkpoint::{Checkpoint, Root, SECTION_APPLICATION, SECTION_MEMBERS, SECTION_SESSIONS, addresses},
        chunk::Chunk,
        snapshot::{RestoreError, SnapshotReader},
        superblock::Vouched,
    },
    types::{Checksum, Instant, NodeId, Op},
    vsr::{
        Status, Vsr,
        checkpoint::{Checkpoints, Former},
        commit::StateMachine,
        probe::Probe,
        runs::Runs,
        sessions::Sessions,
        timer::Timer,
    },
    wire::{header::Header, members::Members},
};

/// Chunks that a walk has sent for, or holds in memory, at once. They come, and are asked for, in bursts, turn by turn of a host: so
/// many that there are always some under way while those that came are taken. With the blocks that are used they are 4 MiB.
pub(super) const WALK_WINDOW: usize = 64;

/// Leaves that are taken into a state in one step.
const SLICE_MAX: usize = 4;

/// Blocks that are read at once: a whole window of another replica that has nobody else to ask, or some would be asked for in vain.
pub(super) const CHUNK_READS_MAX: usize = 64;

/// How many chunks in a row one replica is asked for before the next one is: they lie side by side as a rule, and a disk reads them faster
/// together.
pub(super) const ASKED_OF_ONE: u8 = 8;

/// As long as chunks come, one that does not is waited for so many times as long: a window of them takes its time over a slow
/// network or disk, and to ask for each again would have it sent twice.
pub(super) const FLOWING: u64 = 4;

/// One that was asked for in vain is waited for twice as long each time, and so many times twice as long at most: all others are asked
/// before any of them lets go of what it was asked for.
const DOUBLED_MAX: u32 = 3;

/// How often each of the others is asked for a chunk, at the least, before a later checkpoint is tried if there is one.
const ROUNDS_MAX: u32 = 2;

/// How many repair rounds nothing is heard before that. Who lacks a chunk does not say so, and whose disk is slow may have it.
const SILENT_ROUNDS: u64 = 25;

/// How many repair rounds an op that is committed may be missing before a checkpoint that covers it is fetched instead.
const STALL_ROUNDS: u64 = 8;

/// What is being read and fetched.
#[derive(Clone, Default)]
pub(super) struct Fetching {
    walk: Option<Walk>,
    /// Blocks that are being read.
    reads: BTreeMap<u32, Readers>,
    /// Whom to ask: apart from whom other repair asks, or one in step with it would always ask the same.
    next_peer: u8,
    /// How many chunks that replica was asked for in a row.
    run: u8,
    /// Chunks that were fetched when no block was free, or known to be: a few, to be written when one is.
    unwritten: Vec<(Checksum, Frame)>,
    /// How many checkpoints were given up one after the other since there was a whole one.
    given_up: u32,
    /// The last checkpoint that was looked for among strays because it came to be vouched for.
    sought: Op,
    /// The op that was missing, and since when.
    stalled: (Op, Instant),
}

/// Who wants a block that is being read.
#[derive(Clone)]
struct Readers {
    address: Checksum,
    walk: bool,
    send_to: Vec<NodeId>,
    attempts: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    /// To have all chunks of a checkpoint of the others.
    Gather,
    /// To restore the durable checkpoint's state.
    Load,
    /// After a start, to know which chunks the vouched checkpoint reaches, if it lies below the durable one: others may need it.
    Survey,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Root,
    Tables,
    Leaves,
    /// A gathering: all chunks are here, some being written.
    Gathered,
    /// The barrier of this number over them.
    Barrier(u64),
    /// They are durable: to be installed as soon as the log allows.
    Durable,
}

/// A way through a checkpoint.
#[derive(Clone)]
struct Walk {
    purpose: Purpose,
    target: Vouched,
    stage: Stage,
    /// The chunks of the stage, in order.
    list: Vec<Checksum>,
    /// How many of them were sent for, and how many were taken.
    sent: usize,
    taken: usize,
    /// Sent for and not here: since when others were asked, and how often; not at all, while it is read.
    missing: BTreeMap<usize, Option<Asked>>,
    /// When another replica last gave it a chunk.
    heard: Option<Instant>,
    /// Here, and not taken yet. Without its bytes where these do not matter.
    here: BTreeMap<usize, Option<Frame>>,
    /// All chunks that the walk came by.
    reached: BTreeSet<Checksum>,
    /// What came by way of a checkpoint that was given up for this one, which may reach it as well: kept until that is known.
    spared: BTreeSet<Checksum>,
    /// What the chunks of the stage name: the next stage's list.
    named: Vec<Checksum>,
    header: Option<Header>,
    reader: SnapshotReader,
    members: Option<Members>,
    sessions: Sessions,
}

#[derive(Clone, Copy)]
struct Asked {
    first: Instant,
    at: Instant,
    times: u32,
}

impl Walk {
    fn new(purpose: Purpose, target: Vouched, clients_max: u32) -> Self {
        Self {
            purpose,
            target,
            stage: Stage::Root,
            list: alloc::vec![target.root],
            sent: 0,
            taken: 0,
            missing: BTreeMap::new(),
            heard: None,
            here: BTreeMap::new(),
            reached: BTreeSet::from([target.root]),
            spared: BTreeSet::new(),
            named: Vec::new(),
            header: None,
            reader: SnapshotReader::default(),
            members: None,
            sessions: Sessions::new(clients_max),
        }
    }

    fn begin(&mut self, stage: Stage, list: Vec<Checksum>) {
        self.reached.extend(&list);
        self.stage = stage;
        self.list = list;
        (self.sent, self.taken) = (0, 0);
    }

    /// Whether this chunk need only be here: what a gathering does not look into.
    fn only_keeps(&self) -> bool {
        self.purpose != Purpose::Load && self.stage == Stage::Leaves
    }

    /// Whether a chunk that it wants is not here.
    fn is_lacking(&self) -> bool {
        self.missing.values().any(Option::is_some)
    }

    /// A chunk is here. Whether the walk wanted it.
    fn arrive(&mut self, address: Checksum, chunk: &Frame) -> bool {
        let wanted: Vec<usize> = self.missing.keys().copied().filter(|index| self.list[*index] == address).collect();
        let keep = !self.only_keeps();
        for index in &wanted {
            self.missing.remove(index);
            self.here.insert(*index, keep.then(|| chunk.clone()));
        }
        !wanted.is_empty()
    }
}

impl Fetching {
    /// Whether a walk came by this chunk, or may yet.
    pub(super) fn wants(&self, address: Checksum) -> bool {
        let walk = self.walk.as_ref();
        walk.is_some_and(|walk| walk.reached.contains(&address) || walk.spared.contains(&address))
    }

    /// What the walk may come by no more, or is to do without.
    pub(super) fn take_spared(&mut self) -> BTreeSet<Checksum> {
        self.walk.as_mut().map(|walk| core::mem::take(&mut walk.spared)).unwrap_or_default()
    }

    /// Whether every chunk that was fetched found a block.
    pub(super) fn is_written(&self) -> bool {
        self.unwritten.is_empty()
    }

    /// How many blocks are being read.
    pub(super) fn reads(&self) -> usize {
        self.reads.len()
    }

    /// How many chunks the walk waits for, or holds.
    pub(super) fn in_window(&self) -> usize {
        self.walk.as_ref().map_or(0, |walk| walk.missing.len() + walk.here.len())
    }

    /// Whether a checkpoint of others is being fetched.
    pub(super) fn is_syncing(&self) -> bool {
        self.walk.as_ref().is_some_and(|walk| walk.purpose == Purpose::Gather)
    }
}

impl Vsr {
    /// The state is that of the durable checkpoint, once it is loaded.
    pub(super) fn start_loading(&mut self) {
        let Checkpoint { header, root } = self.checkpoints.durable;
        if root == Checksum(0) {
            return;
        }
        let target = Vouched { op: header.op, root };
        self.checkpoints.is_restoring = true;
        self.checkpoints.fetching.given_up = 0;
        let walk = Walk::new(Purpose::Load, target, self.config.clients_max);
        if let Some(given_up) = self.checkpoints.fetching.walk.replace(walk) {
            self.checkpoints.let_go.push(given_up.reached);
            self.checkpoints.let_go.push(given_up.spared);
        }
    }

    /// Fetches the checkpoint that is vouched for, if it takes the place of what cannot be had otherwise.
    fn consider_sync(&mut self) {
        let vouched = self.checkpoints.vouched;
        let next = self.applied.max(self.checkpoints.op()).next();
        let useful = vouched.op >= next && vouched.op > self.checkpoints.latest().header.op;
        if self.status != Status::Normal || !useful || self.is_at_hand(next) || self.checkpoints.is_restoring {
            self.checkpoints.fetching.stalled = (next, self.now.monotonic);
            return;
        }
        if self.checkpoints.fetching.walk.is_some() {
            return;
        }
        let (op, since) = self.checkpoints.fetching.stalled;
        if op != next {
            self.checkpoints.fetching.stalled = (next, self.now.monotonic);
        }
        let stalled = op == next && self.now.monotonic.since(since) > STALL_ROUNDS * self.config.timeouts.repair_ns;
        if stalled || self.log.is_beyond(next) {
            self.start_gathering(vouched);
        }
    }

    /// Whether an op's prepare is here, or all but: nothing need take its place.
    fn is_at_hand(&self, op: Op) -> bool {
        self.log.get_tied(op).is_some_and(|header| self.journal.holds(header) || self.journal.is_writing(header))
    }

    fn start_gathering(&mut self, target: Vouched) {
        self.checkpoints.fetching.given_up = 0;
        self.checkpoints.fetching.walk = Some(Walk::new(Purpose::Gather, target, self.config.clients_max));
    }

    /// Goes on with the walk, by one slice.
    pub(super) fn walk<M: StateMachine>(&mut self, machine: &mut M, actions: &mut Actions) {
        self.consider_sync();
        self.consider_survey();
        let Some(mut walk) = self.checkpoints.fetching.walk.take() else { return };
        if walk.purpose == Purpose::Gather && walk.target.op <= self.applied {
            // What was missing was found elsewhere.
            self.checkpoints.let_go.push(walk.reached);
            self.checkpoints.let_go.push(walk.spared);
            return self.free_unreached();
        }
        if walk.purpose == Purpose::Survey && walk.is_lacking() {
            // It is not whole here any more, and serves nobody.
            self.checkpoints.let_go.push(walk.reached);
            self.finish_survey();
            return self.write_unwritten(actions);
        }
        let mut slice = SLICE_MAX;
        loop {
            self.send_for(&mut walk, actions);
            if slice == 0 || !self.take(&mut walk, machine, actions) {
                break;
            }
            slice -= 1;
            // A primary that restores its state is getting on, however long it takes.
            self.primary.progress_at = self.now.monotonic;
        }
        if slice == 0 && walk.missing.is_empty() {
            self.timers.set(Timer::Checkpoint, self.now.monotonic);
        }
        self.checkpoints.fetching.walk = Some(walk);
        self.end_walk(machine, actions);
    }

    /// Sends for the next chunks, from the grid or from others.
    fn send_for(&mut self, walk: &mut Walk, actions: &mut Actions) {
        // What was fetched and is still being written counts as well: a slow disk slows the fetching.
        // Before a grid is surveyed nothing can be written, and the walk goes on all the same.
        let unwritten = if walk.purpose == Purpose::Gather { self.checkpoints.fetching.unwritten.len() } else { 0 };
        let room = |walk: &Walk, writing: usize| walk.missing.len() + walk.here.len() + writing < WALK_WINDOW;
        while walk.sent < walk.list.len() && room(walk, self.checkpoints.writing.len() + unwritten) {
            let (index, address) = (walk.sent, walk.list[walk.sent]);
            match self.checkpoints.grid.find(address) {
                Some(_) if walk.only_keeps() => {
                    walk.here.insert(index, None);
                }
                // Its bytes are wanted: as soon as they are there.
                Some(block) if self.checkpoints.writing.contains_key(&block) => return,
                Some(block) => {
                    if !self.read_block(block, address, None, actions) {
                        return;
                    }
                    walk.missing.insert(index, None);
                }
                None => {
                    let stray = self.checkpoints.grid.find_stray(address);
                    match stray.filter(|block| !self.checkpoints.writing.contains_key(block)) {
                        Some(block) => {
                            if !self.read_block(block, address, None, actions) {
                                return;
                            }
                            walk.missing.insert(index, None);
                        }
                        None => {
                            let asked = self.ask_for_chunk(address, None, actions);
                            walk.missing.insert(index, Some(asked));
                        }
                    }
                }
            }
            walk.sent += 1;
        }
    }

    /// Takes the next chunk that is here. Whether there was one, and the walk goes on.
    fn take<M: StateMachine>(&mut self, walk: &mut Walk, machine: &mut M, actions: &mut Actions) -> bool {
        if matches!(walk.stage, Stage::Gathered | Stage::Barrier(_) | Stage::Durable) {
            return false;
        }
        if let Some(chunk) = walk.here.remove(&walk.taken) {
            if !take_chunk(walk, chunk, machine) {
                actions.halt(foreign(walk.target.op));
                return false;
            }
            walk.taken += 1;
        } else if walk.taken < walk.list.len() {
            return false;
        }
        if walk.taken == walk.list.len() {
            let named = core::mem::take(&mut walk.named);
            match walk.stage {
                Stage::Root => walk.begin(Stage::Tables, named),
                Stage::Tables => walk.begin(Stage::Leaves, named),
                _ => walk.stage = Stage::Gathered,
            }
        }
        true
    }

    /// All chunks were taken: a load is done, a gathering is made durable and then installed.
    fn end_walk<M: StateMachine>(&mut self, machine: &mut M, actions: &mut Actions) {
        let Some(walk) = &self.checkpoints.fetching.walk else { return };
        if !walk.spared.is_empty() && !matches!(walk.stage, Stage::Root | Stage::Tables) {
            // All that it reaches is known.
            self.let_go_spared();
        }
        let Some(walk) = &mut self.checkpoints.fetching.walk else { return };
        match (walk.purpose, walk.stage) {
            (Purpose::Load, Stage::Gathered) => self.finish_loading(machine, actions),
            (Purpose::Survey, Stage::Gathered) => {
                let (op, reached) = (walk.target.op, core::mem::take(&mut walk.reached));
                self.checkpoints.fetching.walk = None;
                let kept = &mut self.checkpoints.kept;
                let place = kept.partition_point(|former| former.op < op);
                kept.insert(place, Former { op, reached, asked: None, until: None });
                self.finish_survey();
                self.write_unwritten(actions);
            }
            (Purpose::Gather, Stage::Gathered) if self.checkpoints.is_written() => {
                let number = self.grid_barrier(actions);
                if let Some(walk) = &mut self.checkpoints.fetching.walk {
                    walk.stage = Stage::Barrier(number);
                }
            }
            (Purpose::Gather, Stage::Durable) => self.install_checkpoint(machine),
            _ => {}
        }
    }

    fn finish_loading<M: StateMachine>(&mut self, machine: &mut M, actions: &mut Actions) {
        let walk = self.checkpoints.fetching.walk.take().expect("a state is being loaded");
        let fit = walk.members.filter(|members| members.fit(self.config.replica_count));
        let Some(members) = fit.filter(|_| walk.reader.is_whole() && machine.restored().is_ok()) else {
            return actions.halt(foreign(walk.target.op));
        };
        actions.probe(Probe::StateRestored.into());
        self.sessions = walk.sessions;
        let executed = core::mem::replace(&mut self.applied, walk.target.op);
        self.restore_members(members, self.applied, actions);
        self.restored = Some(self.applied);
        self.held_through = self.held_through.max(self.applied);
        self.primary.progress_at = self.now.monotonic;
        let before = core::mem::replace(&mut self.checkpoints.reached, walk.reached);
        self.checkpoints.let_go.push(before);
        self.checkpoints.runs = Runs::default();
        self.checkpoints.is_restoring = false;
        self.repair.ready.clear();
        if !self.checkpoints.is_surveyed {
            self.start_survey();
        }
        self.write_unwritten(actions);
        self.free_unreached();
        if self.is_primary() {
            self.answer_restored(executed, actions);
            // What a majority has acknowledged meanwhile waited for this: nobody may be left to acknowledge anything that follows.
            self.advance_commit();
            self.timers.set(Timer::Checkpoint, self.now.monotonic);
        }
        self.repair(actions);
    }

    /// One that was made before a start, and is above what was vouched for then, is vouched for now: where nobody else has it any more,
    /// the strays may.
    fn consider_survey(&mut self) {
        let Checkpoints { vouched, kept, fetching, durable, is_surveyed, is_restoring, .. } = &mut self.checkpoints;
        let is_kept = kept.iter().any(|former| former.op == vouched.op);
        let is_below = vouched.op > fetching.sought && vouched.op < durable.header.op;
        if fetching.walk.is_none() && *is_surveyed && !*is_restoring && is_below && !is_kept {
            fetching.sought = vouched.op;
            fetching.walk = Some(Walk::new(Purpose::Survey, *vouched, self.config.clients_max));
        }
    }

    fn start_survey(&mut self) {
        let vouched = self.checkpoints.vouched;
        if vouched.op == Op::ROOT || vouched.op >= self.checkpoints.op() {
            return self.finish_survey();
        }
        self.checkpoints.fetching.sought = vouched.op;
        self.checkpoints.fetching.walk = Some(Walk::new(Purpose::Survey, vouched, self.config.clients_max));
    }

    /// Which chunks are needed is known, and all others may be overwritten.
    pub(super) fn finish_survey(&mut self) {
        if core::mem::replace(&mut self.checkpoints.is_surveyed, true) {
            return;
        }
        let Checkpoints { grid, reached, kept, writing, .. } = &mut self.checkpoints;
        let kept = |address| kept.iter().any(|former| former.reached.contains(&address));
        // A block that is being written is given to no other chunk: two writes to it could end in any order.
        grid.demote(|address, block| reached.contains(&address) || kept(address) || writing.contains_key(&block));
    }

    pub(super) fn on_gathered(&mut self, number: u64) {
        if let Some(walk) = &mut self.checkpoints.fetching.walk
            && walk.stage == Stage::Barrier(number)
        {
            walk.stage = Stage::Durable;
        }
    }

    /// The checkpoint that was fetched becomes this replica's, once the primary of this very view says that its op is committed: it may
    /// have been heard of from a later view, whose log need not be this one's up to there. A backup whose own part of the log ends
    /// below goes on from there, and has acknowledged nothing above.
    fn install_checkpoint<M: StateMachine>(&mut self, machine: &mut M) {
        let Some(walk) = &self.checkpoints.fetching.walk else { return };
        let Vouched { op, root } = walk.target;
        let header = walk.header.expect("the root was taken");
        let is_committed = if self.is_primary() { self.commit_max } else { self.repair.primary_commit }.covers(op);
        let is_of_this_log = self.log.get_tied(op).is_none_or(|known| known.checksum == header.checksum);
        let log_allows = self.status == Status::Normal && is_committed && is_of_this_log;
        if !log_allows || self.checkpoints.next.is_some() {
            return;
        }
        if self.may_execute() && self.is_at_hand(self.applied.next()) {
            // What was missing has come meanwhile: it is executed, and what was fetched is dropped when the state has come as far.
            return;
        }
        let walk = self.checkpoints.fetching.walk.take().expect("a checkpoint was gathered");
        self.abandon_taking(machine);
        if self.log.head() < op {
            self.log.install(&[header]);
        }
        self.checkpoints.next = Some((Checkpoint { header, root }, walk.reached));
    }
}

/// A checkpoint that this program cannot read.
fn foreign(op: Op) -> alloc::string::String {
    format!("the checkpoint at {op} holds what this program did not write: use the program that wrote it")
}

/// Takes a chunk into the walk. Whether it is what its place says.
fn take_chunk<M: StateMachine>(walk: &mut Walk, chunk: Option<Frame>, machine: &mut M) -> bool {
    // A leaf of a gathering is here, and that is all.
    let Some(chunk) = chunk else { return true };
    // Only what was found to be true comes to a walk: see `Vsr::arrive`.
    let Some(Chunk { payload, .. }) = Chunk::known(&chunk) else { return false };
    match walk.stage {
        Stage::Root => {
            let Some(root) = Root::decode(payload).filter(|root| root.header.op == walk.target.op) else {
                return false;
            };
            walk.header = Some(root.header);
            walk.named = root.tables;
            if walk.purpose == Purpose::Load {
                machine.abandon();
            }
            true
        }
        Stage::Tables => addresses(payload).map(|leaves| walk.named.extend(leaves)).is_some(),
        _ => {
            let Walk { reader, members, sessions, .. } = walk;
            let taken = reader.leaf(payload, |section, record| match section {
                SECTION_MEMBERS => {
                    *members = Some(Members::decode(record).map_err(|_| RestoreError)?);
                    Ok(())
                }
                SECTION_SESSIONS => sessions.restore(record),
                SECTION_APPLICATION => machine.restore(record),
                _ => Err(RestoreError),
            });
            taken.is_ok()
        }
    }
}
