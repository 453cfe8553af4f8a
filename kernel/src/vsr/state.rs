//! The plain data of a replica's protocol. Each module of `vsr` owns the transitions that it names; this one owns none.

use alloc::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};

use crate::{
    frame::Frame,
    process::Now,
    types::{Checksum, ClientId, CommitIndex, Epoch, Instant, NodeId, Op, ReplicaId, RequestNumber, Timestamp, View},
    vsr::{
        boot::Boot,
        checkpoint::Checkpoints,
        clock_sync::ClockSync,
        config::Config,
        durable::Durable,
        journal::Journal,
        log::Log,
        members::{Changing, Roster},
        quorum::{REPLICAS_MAX, ReplicaSet},
        reads::Reads,
        sessions::Sessions,
        timer::{Jitter, Timers},
        turned_away::{TURNED_AWAY_MAX, TurnedAway},
    },
    wire::{header::Header, message::DoViewChange},
};

/// What a replica is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// Reading its data file. Says nothing.
    Booting,
    /// In a view, as primary or backup.
    Normal,
    /// Between views, or restarted and waiting to be let into one.
    ViewChange,
}

/// The state of the protocol at one replica.
#[derive(Clone)]
pub struct Vsr {
    pub(super) config: Config,
    pub(super) now: Now,
    pub(super) status: Status,
    /// The view that the replica is in, or on its way to.
    pub(super) view: View,
    /// The view whose log this is.
    pub(super) log_view: View,
    /// Whether nothing that was acknowledged can lie above the head (design rule 4).
    pub(super) head_certain: bool,
    pub(super) log: Log,
    pub(super) journal: Journal,
    /// None until recovery has opened the superblock.
    pub(super) durable: Option<Durable>,
    /// Every op above the superblock's head and up to here is held. `prepare_ok` is sent in this order, so that nothing that was
    /// acknowledged ever lies above a hole.
    pub(super) durable_op: Op,
    /// Every op up to here is held.
    pub(super) held_through: Op,
    pub(super) commit_max: CommitIndex,
    /// The last op that was executed.
    pub(super) applied: Op,
    /// The op that is being executed.
    pub(super) executing: Option<Op>,
    /// A query is being answered.
    pub(super) answering: bool,
    /// The entry that another replica gave this one in the last step, in its frame.
    pub(super) given: Option<Frame>,
    pub(super) sessions: Sessions,
    pub(super) timers: Timers,
    pub(super) jitter: Jitter,
    pub(super) clock: ClockSync,
    pub(super) roster: Roster,
    /// When each replica was last heard of.
    pub(super) heard: [Instant; REPLICAS_MAX as usize],
    /// When the primary of the view last spoke as such.
    pub(super) primary_heard: Instant,
    pub(super) primary: Primary,
    pub(super) reads: Reads,
    pub(super) checkpoints: Checkpoints,
    pub(super) change: ViewChange,
    pub(super) repair: Repair,
    pub(super) boot: Option<Boot>,
    /// What the current step executed.
    pub(super) executed: Vec<(Header, Frame)>,
    /// The op whose state the current step restored, before it executed anything.
    pub(super) restored: Option<Op>,
    /// Room for what one write of the header ring makes durable; empty between steps.
    pub(super) written: Vec<Header>,
}

/// What only a primary knows. Empty elsewhere.
#[derive(Clone, Default)]
pub(super) struct Primary {
    /// Who acknowledged each op above the commit index, lowest first.
    pub(super) acks: VecDeque<ReplicaSet>,
    /// The head with which the view began. Requests are judged once it is executed.
    pub(super) start_head: Op,
    /// Clients' requests that no prepare carries yet.
    pub(super) waiting: VecDeque<Request>,
    /// Operators', which go before them.
    pub(super) operators: VecDeque<Request>,
    /// Entries of the system's own that no prepare carries yet. They go first.
    pub(super) system: VecDeque<Vec<u8>>,
    /// The bytes that all of these will take in a batch.
    pub(super) waiting_size: usize,
    /// When the state machine is next due, as it last said.
    pub(super) due: Option<Timestamp>,
    /// Whether the log's time is to be moved on.
    pub(super) tick: bool,
    /// Whether the state machine has no room for what requests may ask for.
    pub(super) is_nearly_full: bool,
    /// The request of each client that waits or is in the log uncommitted, and where to answer.
    pub(super) in_flight: BTreeMap<ClientId, (RequestNumber, NodeId)>,
    /// When the commit index last moved, or the pipeline was last empty.
    pub(super) progress_at: Instant,
    /// Who was told to come back later.
    pub(super) turned_away: TurnedAway,
    /// A change of the members.
    pub(super) changing: Changing,
    /// Requests that came before the view's starting log was executed.
    pub(super) early: VecDeque<(NodeId, Frame)>,
    /// Who asks where its log ends.
    pub(super) asking: [Option<Asking>; REPLICAS_MAX as usize],
}

/// Since when one has asked where its log ends, and when it last did.
#[derive(Clone, Copy)]
pub(super) struct Asking {
    pub(super) since: Instant,
    pub(super) last: Instant,
}

/// A request at the primary.
#[derive(Clone)]
pub(super) struct Request {
    pub(super) header: Header,
    pub(super) frame: Frame,
}

/// What a replica knows of a change of view.
#[derive(Clone, Default)]
pub(super) struct ViewChange {
    /// The view that each replica last proposed, and when.
    pub(super) votes: [Option<(View, Instant)>; REPLICAS_MAX as usize],
    /// The `do_view_change` of each replica for the current view.
    pub(super) received: [Option<Ballot>; REPLICAS_MAX as usize],
    /// The log of the current view is on its way into the superblock.
    pub(super) installing: bool,
    /// That cannot be made durable yet: the journal still writes what is not of this log.
    pub(super) settling: bool,
    /// Views in a row that did not start.
    pub(super) attempts: u32,
    /// Ties a `start_view` to our request for it.
    pub(super) nonce: u128,
}

/// One `do_view_change`.
#[derive(Clone)]
pub(super) struct Ballot {
    pub(super) incarnation: u128,
    pub(super) log_view: View,
    pub(super) head: Op,
    pub(super) commit: CommitIndex,
    pub(super) body: DoViewChange,
}

/// What a replica is missing.
#[derive(Clone, Default)]
pub(super) struct Repair {
    /// When each missing prepare was last asked for.
    pub(super) asked: BTreeMap<Op, Instant>,
    /// When headers were last asked for.
    pub(super) headers_asked: Option<Instant>,
    /// Prepares of the current view that arrived ahead of their predecessors.
    pub(super) early: BTreeMap<Op, Frame>,
    /// The primary's head as it last said.
    pub(super) primary_head: Op,
    /// What the primary of this view said is committed.
    pub(super) primary_commit: CommitIndex,
    /// Whom to ask next.
    pub(super) next_peer: u8,
    /// Prepares being read from the disk, and who wants them.
    pub(super) reads: BTreeMap<Op, Wanted>,
    /// Prepares that were read in order to be executed.
    pub(super) ready: BTreeMap<Op, (Checksum, Frame)>,
}

/// Who wants a prepare that is being read.
#[derive(Clone, Default)]
pub(super) struct Wanted {
    pub(super) execute: bool,
    pub(super) send_to: Vec<NodeId>,
    pub(super) attempts: u32,
}

impl Vsr {
    /// A replica that knows its configuration alone.
    ///
    /// # Panics
    /// If a limit in `config` is out of its range.
    pub fn new(config: Config) -> Self {
        config.check();
        Self {
            now: Now { monotonic: Instant(0), realtime: Timestamp(0) },
            status: Status::Booting,
            view: View(0),
            log_view: View(0),
            head_certain: false,
            log: Log::new(config.cluster, config.layout),
            journal: Journal::new(config.layout),
            durable: None,
            durable_op: Op::ROOT,
            held_through: Op::ROOT,
            commit_max: CommitIndex::ROOT,
            applied: Op::ROOT,
            executing: None,
            answering: false,
            sessions: Sessions::new(config.clients_max),
            timers: Timers::default(),
            jitter: Jitter::new(config.jitter_seed),
            clock: ClockSync::new(config.replica, config.replica_count),
            roster: Roster::new(),
            heard: [Instant(0); REPLICAS_MAX as usize],
            primary_heard: Instant(0),
            primary: Primary::default(),
            reads: Reads::default(),
            checkpoints: Checkpoints::new(config.cluster, &config.layout),
            change: ViewChange::default(),
            repair: Repair::default(),
            boot: None,
            executed: Vec::new(),
            restored: None,
            given: None,
            written: Vec::new(),
            config,
        }
    }

    /// The configuration.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// What the replica is doing.
    pub const fn status(&self) -> Status {
        self.status
    }

    /// The view that the replica is in, or on its way to.
    pub const fn view(&self) -> View {
        self.view
    }

    /// The view whose log this is.
    pub const fn log_view(&self) -> View {
        self.log_view
    }

    /// The configuration epoch.
    pub fn epoch(&self) -> Epoch {
        self.durable.as_ref().map_or(Epoch(0), |durable| durable.superblock().epoch)
    }

    /// The log's headers.
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// What the disk holds of the log.
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The superblock as it is durable; none before recovery has opened it.
    pub const fn durable(&self) -> Option<&Durable> {
        self.durable.as_ref()
    }

    /// How far the log is known to be committed.
    pub const fn commit_max(&self) -> CommitIndex {
        self.commit_max
    }

    /// The last op that was executed.
    pub const fn applied(&self) -> Op {
        self.applied
    }

    /// The op that is being executed, within a step. Of a replica whose step panicked this is the op that no replica can go past
    /// with this application.
    pub const fn executing(&self) -> Option<Op> {
        self.executing
    }

    /// Whether a query is being answered, within a step. Where a step panicked: whether the application did so over a query.
    pub const fn is_answering(&self) -> bool {
        self.answering
    }

    /// The sessions.
    pub const fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// The prepares that the last step executed, in order.
    pub fn executed(&self) -> &[(Header, Frame)] {
        &self.executed
    }

    /// The op whose state the last step restored from a checkpoint, if it did; what it executed came after.
    pub const fn restored(&self) -> Option<Op> {
        self.restored
    }

    /// Whether nothing that was acknowledged can lie above the head.
    pub const fn head_is_certain(&self) -> bool {
        self.head_certain
    }

    /// Requests that this replica has accepted and not answered: in the log uncommitted, or waiting.
    pub fn requests_in_flight(&self) -> usize {
        self.primary.in_flight.len()
    }

    /// The lengths of everything that grows with traffic, each with its limit. Nothing may exceed its limit.
    pub fn queues(&self) -> [(&'static str, u64, u64); 16] {
        use super::{
            checkpoint, config::PIPELINE_MAX, journal, repair, requests::OPERATORS_MAX, sync, system::SYSTEM_MAX,
        };
        let requests_max = u64::from(self.config.requests_max + OPERATORS_MAX);
        let waiting = self.primary.waiting.len() + self.primary.operators.len();
        let length = |length: usize| length as u64;
        [
            ("requests in flight", length(self.primary.in_flight.len()), requests_max),
            ("requests waiting", length(waiting), requests_max),
            ("entries of the system's own waiting", length(self.primary.system.len()), length(SYSTEM_MAX)),
            ("requests before the view served", length(self.primary.early.len()), requests_max),
            ("prepares in flight", length(self.primary.acks.len()), u64::from(PIPELINE_MAX)),
            ("early prepares", length(self.repair.early.len()), repair::EARLY_MAX),
            ("reads", length(self.repair.reads.len()), repair::READS_MAX),
            ("slots being written", length(self.journal.writes_in_flight()), length(journal::WRITES_MAX)),
            ("prepares in memory", length(self.journal.kept()), journal::CACHE_MAX),
            // The next op to execute, and those that are read ahead of it.
            ("prepares read to be executed", length(self.repair.ready.len()), repair::READ_AHEAD + 1),
            ("clients turned away", length(self.primary.turned_away.len()), length(TURNED_AWAY_MAX)),
            ("prepares asked for", length(self.repair.asked.len()), length(repair::BUDGET)),
            ("queries", length(self.reads.len()), u64::from(self.config.queries_max)),
            ("chunks being read", length(self.checkpoints.fetching.reads()), length(sync::CHUNK_READS_MAX)),
            ("chunks of a walk", length(self.checkpoints.fetching.in_window()), length(sync::WALK_WINDOW)),
            ("chunks being written", length(self.checkpoints.writing.len()), length(checkpoint::CHUNK_WRITES_BOUND)),
        ]
    }

    /// The clock that a majority agrees on at `now`, as offsets to this replica's realtime in nanoseconds.
    pub fn clock_interval(&self, now: Instant) -> Option<(i128, i128)> {
        let realtime = Timestamp(self.now.realtime.0.saturating_add(now.since(self.now.monotonic)));
        self.clock.interval(Now { monotonic: now, realtime })
    }

    /// The primary of the view.
    pub const fn primary_of_view(&self) -> ReplicaId {
        self.view.primary(self.config.replica_count)
    }

    /// Whether this replica is the primary of its view and serves in it.
    pub fn is_primary(&self) -> bool {
        self.status == Status::Normal && self.primary_of_view().0 == self.config.replica.0
    }

    /// Whether this replica follows the primary of its view.
    pub fn is_backup(&self) -> bool {
        self.status == Status::Normal && self.primary_of_view().0 != self.config.replica.0
    }
}
