//! What befalls a cluster, and whom.

use serde::{Deserialize, Serialize};

use crate::{disk::OperationKind, world::DiskMoment};

/// Whom a fault strikes; decided when it does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// This replica.
    Replica(u8),
    /// The primary of the latest view that some replica is normal in.
    Primary,
    /// The replica that comes so many after that primary, from 1.
    Backup(u8),
}

/// What befalls a cluster. Durations are virtual time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// The process dies, now; its disk loses what was not durable.
    Kill {
        /// Whom.
        target: Target,
        /// How long it stays down.
        down_ns: u64,
    },
    /// The process dies within its next step, after so many of the step's actions.
    KillInStep {
        /// Whom.
        target: Target,
        /// How many actions are still performed.
        actions: u32,
        /// How long it stays down.
        down_ns: u64,
    },
    /// The process dies at a disk operation.
    KillAtDisk {
        /// Whom.
        target: Target,
        /// At which kind.
        operation: OperationKind,
        /// When in its life.
        moment: DiskMoment,
        /// How many of them pass first.
        skip: u32,
        /// How long it stays down.
        down_ns: u64,
    },
    /// All processes die at once: a power cut of the whole cluster.
    KillAll {
        /// How long each stays down, by replica, repeating.
        down_ns: Vec<u64>,
    },
    /// The process stands still; its clock does not.
    Pause {
        /// Whom.
        target: Target,
        /// For how long.
        for_ns: u64,
    },
    /// No frame passes between one replica and the others.
    Isolate {
        /// Whom.
        target: Target,
        /// Whether it is cut off from the clients too.
        clients: bool,
        /// For how long.
        for_ns: u64,
    },
    /// No frame passes from one replica to another.
    CutOneWay {
        /// The sender.
        from: Target,
        /// The receiver.
        to: Target,
        /// For how long.
        for_ns: u64,
    },
    /// One replica hears nobody, or nobody hears it.
    Deafen {
        /// Whom.
        target: Target,
        /// Whether it is the others that cannot hear it.
        mute: bool,
        /// For how long.
        for_ns: u64,
    },
    /// The cluster falls in two; clients reach all.
    Partition {
        /// The replicas of one side.
        side: Vec<u8>,
        /// For how long.
        for_ns: u64,
    },
    /// A client and a replica cannot reach each other.
    CutClient {
        /// The client, from 0.
        client: u8,
        /// The replica.
        target: Target,
        /// For how long.
        for_ns: u64,
    },
    /// A client dies, and lives again as another one: it knows nothing of what it asked, makes all its calls anew, and hears
    /// nothing of an earlier life. What became of the call that it was waiting for, nobody learns.
    KillClient {
        /// The client, from 0.
        client: u8,
        /// How long it stays down.
        down_ns: u64,
        /// Whether its realtime begins again at what it was when the client first started, as of a machine whose clock knows
        /// nothing of the time without power.
        clock_forgets: bool,
    },
    /// A client stands still; its clock does not.
    PauseClient {
        /// The client, from 0.
        client: u8,
        /// For how long.
        for_ns: u64,
    },
    /// Frames from one replica to another are held, then all delivered.
    Clog {
        /// The sender.
        from: Target,
        /// The receiver.
        to: Target,
        /// For how long.
        for_ns: u64,
    },
    /// What the other replicas last said to one comes again, all of it at once.
    Echo {
        /// Whom.
        target: Target,
    },
    /// The realtime clock jumps.
    StepClock {
        /// Whose.
        target: Target,
        /// By how much, either way.
        delta_ns: i64,
    },
    /// Disk operations end only after a while.
    StallDisk {
        /// Whose.
        target: Target,
        /// How long.
        for_ns: u64,
    },
    /// Disk operations take longer.
    SlowDisk {
        /// Whose.
        target: Target,
        /// How much of the ordinary time, in per cent.
        percent: u32,
        /// For how long.
        for_ns: u64,
    },
    /// The next barrier fails.
    FailBarrier {
        /// Whose.
        target: Target,
    },
    /// The next write fails.
    FailWrite {
        /// Whose.
        target: Target,
    },
    /// The next read fails.
    FailRead {
        /// Whose.
        target: Target,
    },
    /// There is no room on the disk.
    NoSpace {
        /// Whose.
        target: Target,
        /// For how long.
        for_ns: u64,
    },
    /// Sectors of the journal go bad. Within the budget: one replica of a run.
    Damage {
        /// Whose.
        replica: u8,
        /// What is struck.
        place: DamagePlace,
        /// Which of the written sectors there, counted from the newest op.
        nth: u32,
        /// Whether they cannot be read at all, or read as something else.
        unreadable: bool,
    },
    /// The next read of a ring of the journal finds a sector that went bad unseen. Within the budget as [`Fault::Damage`] is.
    LatentError {
        /// Whose.
        replica: u8,
        /// Where.
        ring: Ring,
    },
    /// The next write to a ring of the journal says that it is done, and lands nowhere. Within the budget: one write of a run
    /// is lost or goes astray, and an entry that was, of all damage, is all there is. Under it the prepare alone says that
    /// there was one: damaged too, nothing would tell it from a torn tail.
    LoseWrite {
        /// Whose.
        replica: u8,
        /// Which.
        ring: Ring,
    },
    /// The next write to a ring of the journal says that it is done, and lands on a slot of the prepare ring. Within the budget
    /// as [`Fault::LoseWrite`] is.
    MisdirectWrite {
        /// Whose.
        replica: u8,
        /// Which.
        ring: Ring,
        /// On which slot, counted down from the first above all that were written.
        nth: u32,
    },
    /// One copy of the superblock goes bad. Strikes only a replica that is down and all of whose copies are sound and the same:
    /// the two of a pair that is being written, and one of the other two, would be all that it promised.
    DamageSuperblock {
        /// Whose.
        replica: u8,
        /// Which copy, from 0.
        copy: u8,
        /// Whether it cannot be read at all, or reads as something else.
        unreadable: bool,
    },
    /// A replica dies, and its disk is lost whole: it refuses to start, until it is formatted anew and recovers through the others.
    /// Strikes only while no other replica is lost or recovers.
    Wipe {
        /// Whose.
        replica: u8,
        /// How long it takes until there is another disk, formatted.
        lost_ns: u64,
    },
    /// The disk that a replica lost is found, and the replica is started from it in place of the one that recovers or has recovered.
    /// Strikes only if there is one.
    Revenant {
        /// Whose.
        replica: u8,
        /// For how long, until the newer disk is in its place again.
        for_ns: u64,
    },
}

/// A zone of the data file: a ring of the journal, or the checkpoint grid.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ring {
    /// The prepares.
    Prepares,
    /// Their headers.
    Headers,
    /// Not of the journal: the chunks of checkpoints.
    Chunks,
}

/// A part of the journal, or of a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DamagePlace {
    /// A prepare, from its beginning.
    Prepare,
    /// A prepare behind its header: its first bytes read as something else, or the second sector cannot be read.
    Body,
    /// A sector of the header ring.
    Headers,
    /// A prepare and the header that names it.
    Both,
    /// A block of the checkpoint grid.
    Chunk,
}

impl Fault {
    /// The replicas that it names by number.
    pub fn replicas(&self) -> Vec<u8> {
        let targets = match self {
            Self::CutOneWay { from, to, .. } | Self::Clog { from, to, .. } => vec![*from, *to],
            Self::Partition { side, .. } => return side.clone(),
            Self::Damage { replica, .. }
            | Self::LatentError { replica, .. }
            | Self::LoseWrite { replica, .. }
            | Self::MisdirectWrite { replica, .. }
            | Self::DamageSuperblock { replica, .. }
            | Self::Wipe { replica, .. }
            | Self::Revenant { replica, .. } => return vec![*replica],
            Self::KillAll { .. } | Self::KillClient { .. } | Self::PauseClient { .. } => Vec::new(),
            Self::Kill { target, .. }
            | Self::KillInStep { target, .. }
            | Self::KillAtDisk { target, .. }
            | Self::Pause { target, .. }
            | Self::Isolate { target, .. }
            | Self::Deafen { target, .. }
            | Self::CutClient { target, .. }
            | Self::Echo { target }
            | Self::StepClock { target, .. }
            | Self::StallDisk { target, .. }
            | Self::SlowDisk { target, .. }
            | Self::FailBarrier { target }
            | Self::FailWrite { target }
            | Self::FailRead { target }
            | Self::NoSpace { target, .. } => vec![*target],
        };
        let number = |target| match target {
            Target::Replica(replica) => Some(replica),
            Target::Primary | Target::Backup(_) => None,
        };
        targets.into_iter().filter_map(number).collect()
    }
}
