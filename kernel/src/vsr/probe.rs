//! The rare paths of a replica. A campaign that never takes one of them has not tested it.

use crate::process::ProbeId;

/// Defines the enum and the table of names from one list.
macro_rules! probes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A rare path of a replica.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[repr(u16)]
        pub enum Probe { $($(#[$doc])* $name,)* }

        impl Probe {
            /// The names, by [`ProbeId`].
            pub const NAMES: &'static [&'static str] = &[$($text,)*];
        }
    };
}

probes! {
    /// A replica executed a committed op.
    Applied = "op_applied",
    /// A replica left its view.
    ViewLeft = "view_left",
    /// A new primary started its view.
    ViewStarted = "view_started",
    /// A backup installed a later view's log.
    ViewJoined = "view_joined",
    /// A replica proposed another view.
    ViewProposed = "view_proposed",
    /// A replica left its view on the word of one that is ahead, not on a majority of proposals.
    LaterViewSeen = "later_view_seen",
    /// A primary stood down after it heard from no majority.
    PrimaryIsolated = "primary_isolated",
    /// A primary stood down because its own disk blocked commits.
    PrimaryDiskBlocked = "primary_disk_blocked",
    /// A new primary dropped an op that a drop quorum never had.
    OpDropped = "op_dropped",
    /// A new primary had to collect beyond its quorum: an op was neither available nor droppable.
    OpUndecided = "op_undecided",
    /// A new primary took over a log that was longer than its own.
    LogAdopted = "log_adopted",
    /// A backup's uncommitted op was replaced by another one.
    LogTruncated = "log_truncated",
    /// A prepare arrived ahead of its predecessors.
    PrepareEarly = "prepare_ahead_of_its_predecessors",
    /// A prepare became durable before one below it.
    PrepareDurableEarly = "prepare_durable_before_its_predecessors",
    /// A prepare arrived again.
    PrepareRepeated = "prepare_repeated",
    /// A prepare of an earlier view arrived that nobody wants.
    PrepareOld = "prepare_from_an_old_view",
    /// A missing prepare was repaired.
    PrepareRepaired = "prepare_repaired",
    /// A missing header was repaired along the hash chain.
    HeaderRepaired = "header_repaired",
    /// A `prepare_ok` of another view arrived.
    PrepareOkOld = "prepare_ok_from_another_view",
    /// The same replica acknowledged an op twice.
    PrepareOkRepeated = "prepare_ok_repeated",
    /// Requests waited for room in the pipeline and went out as one prepare.
    Batched = "requests_batched",
    /// A request was answered from the session's stored reply.
    ReplyRepeated = "reply_repeated",
    /// A request arrived again while it was in the log.
    RequestInFlight = "request_repeated_in_flight",
    /// A request was refused because the queue or the journal is full.
    Busy = "request_refused_busy",
    /// A client was told that its session was evicted.
    SessionEvicted = "session_evicted",
    /// A backup sent a client on to the primary.
    Redirected = "client_redirected",
    /// A frame failed its checks.
    BadFrame = "bad_frame",
    /// A superblock was opened although some of its copies differ.
    SuperblockTorn = "superblock_copies_differ",
    /// Recovery cut a torn prepare that was never acknowledged.
    TornTail = "recovery_torn_tail",
    /// Recovery found a whole prepare whose header was not written.
    HeaderMissing = "recovery_header_missing",
    /// Recovery found damage that an acknowledged op may be under.
    Corrupt = "recovery_possibly_acknowledged_damage",
    /// Recovery cannot tell how far its log went.
    HeadUncertain = "recovery_uncertain_head",
    /// Recovery left out prepares of a log that a later view replaced.
    Leftover = "recovery_leftover_of_an_older_view",
    /// A primary restarted and called for a later view.
    PrimaryRestarted = "primary_restarted",
    /// A read during recovery failed and was tried again.
    ReadRetried = "read_retried",
    /// An old write completed after its view had been left.
    WriteAfterLeaving = "write_completed_after_leaving_its_view",
    /// The realtime clock lay outside what a majority agrees on, and a timestamp was clamped.
    TimestampClamped = "timestamp_clamped",
    /// A primary began a round for the queries that it held.
    ReadRound = "read_round",
    /// Several queries were served by one round.
    QueriesBatched = "queries_batched",
    /// A primary asked again whether its view is still the view.
    ReadRoundRepeated = "read_round_repeated",
    /// A primary asked whether its view is still the view, and it is not this replica's.
    ReadRoundOld = "read_round_of_another_view",
    /// A round was confirmed that is over, or of another view.
    ReadRoundOkOld = "read_round_ok_of_another_round",
    /// A round was confirmed before what it needs was executed.
    QueryBeforeLog = "query_waited_for_the_log",
    /// A query arrived again while it was held.
    QueryRepeated = "query_repeated",
    /// A query was refused because too many are held.
    QueryBusy = "query_refused_busy",
    /// A primary answered a linearizable query.
    QueryAnswered = "query_answered",
    /// A replica answered a query from whatever it had executed.
    QueryStale = "query_answered_stale",
    /// A replica froze its state and began to write a checkpoint.
    CheckpointBegun = "checkpoint_begun",
    /// A chunk of a checkpoint was written.
    ChunkWritten = "checkpoint_chunk_written",
    /// A chunk of a checkpoint was in the grid already.
    ChunkKept = "checkpoint_chunk_kept",
    /// A leaf of which nothing changed since the checkpoint before was neither read nor written.
    ChunkTakenOver = "checkpoint_chunk_taken_over",
    /// A checkpoint is durable, and the superblock names it.
    CheckpointDurable = "checkpoint_durable",
    /// An op waited to be proposed until a majority has the checkpoint that its slot needs.
    SlotNotFree = "slot_not_free",
    /// An op waited to be executed until the checkpoint before is durable, or until it is known that its state may be gone on from.
    ExecutionHeldUp = "execution_waited_for_a_checkpoint",
    /// A replica restored its state from a checkpoint.
    StateRestored = "state_restored",
    /// A replica installed a checkpoint of the others in place of ops that it lacks.
    SyncInstalled = "state_sync_installed",
    /// A checkpoint of the others was given up for a later one.
    SyncRetargeted = "state_sync_retargeted",
    /// A chunk came from another replica.
    ChunkFetched = "chunk_fetched",
    /// A chunk was asked for again.
    ChunkAskedAgain = "chunk_asked_for_again",
    /// A block of the durable checkpoint did not hold its chunk.
    ChunkLost = "chunk_lost",
    /// A primary moved the log's time on because something was due.
    Tick = "tick_proposed",
    /// A prepare with entries of the system's own was executed.
    SystemExecuted = "system_entry_executed",
    /// An operator's request was executed.
    OperatorExecuted = "operator_request_executed",
    /// A request was refused because the state machine is nearly full.
    MachineFull = "request_refused_machine_full",
    /// The system's own entries, or a tick, took room in the pipeline or the journal that requests have not.
    ReservedRoom = "reserved_room_taken",
    /// A replica that leads no more gave the primary an entry to be logged.
    EntryGiven = "entry_given_to_the_primary",
    /// A primary proposed a change of the members.
    MembersProposed = "members_proposed",
    /// A replica did not hear one that is not who the log says.
    StrangerIgnored = "stranger_ignored",
    /// A replica learned that another data file has its place, and stopped.
    Superseded = "superseded",
    /// A replica was asked for a lost one's place.
    RecoveryAsked = "recovery_asked",
    /// A replica in a lost one's place holds what it needs to give its word from a later view on.
    Recovered = "recovered",
    /// A primary called for the view that a recovered replica waits for.
    ViewMovedOn = "view_moved_on_for_a_recovered_replica",
}

impl From<Probe> for ProbeId {
    fn from(probe: Probe) -> Self {
        Self(probe as u16)
    }
}
