//! What a replica is told before it starts. Every limit is here, and everything that a replica holds is under one of them.

use alloc::vec::Vec;

use crate::{
    storage::{
        layout::Layout,
        superblock::{self, ApplicationName, Identity, Superblock},
    },
    types::{ClusterId, ReplicaId},
    vsr::quorum::REPLICAS_MAX,
    wire::{batch, header::HEADER_SIZE},
};

/// The most prepares that may be in flight: what a superblock's suffix has room for, with the header that anchors it.
pub const PIPELINE_MAX: u32 = 16;

/// A replica's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cluster. Frames of another one are dropped.
    pub cluster: ClusterId,
    /// This replica.
    pub replica: ReplicaId,
    /// How many replicas the cluster has: 1 to 6.
    pub replica_count: u8,
    /// Where things lie in the data file; also the largest message.
    pub layout: Layout,
    /// Prepares in flight at once: 1 to [`PIPELINE_MAX`]. A smaller pipeline batches more.
    pub pipeline: u32,
    /// How many requests wait, for each that the pipeline carries already, before they are logged beside it. 0 logs each as
    /// soon as the pipeline has room; with more, prepares are fewer and larger, and a request may wait for a commit.
    pub company: u32,
    /// Requests that a primary has in flight or waiting; past it clients are told "busy".
    pub requests_max: u32,
    /// Queries that a primary holds; past it clients are told "busy".
    pub queries_max: u32,
    /// Sessions; past it the least recently used one is evicted. The data file says how many.
    pub clients_max: u32,
    /// The application that the data file says its log is of.
    pub application: ApplicationName,
    /// Time-outs.
    pub timeouts: Timeouts,
    /// Spreads the time-outs of the replicas. Any number.
    pub jitter_seed: u64,
}

/// Time-outs, in nanoseconds of the monotonic clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// Between a primary's heartbeats.
    pub heartbeat_ns: u64,
    /// After which a silent primary is given up; spread up to twice this. Also how long a primary goes on that hears no majority.
    pub election_ns: u64,
    /// After which a view that did not start is given up; spread up to twice this, and backed off.
    pub view_change_ns: u64,
    /// Between repetitions of an unanswered message.
    pub resend_ns: u64,
    /// Between pings.
    pub ping_ns: u64,
    /// Between rounds of repair requests.
    pub repair_ns: u64,
    /// How long a primary's own disk may block commits before it stands down.
    pub disk_stall_ns: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            heartbeat_ns: 50_000_000,
            election_ns: 250_000_000,
            view_change_ns: 300_000_000,
            resend_ns: 60_000_000,
            ping_ns: 200_000_000,
            repair_ns: 40_000_000,
            disk_stall_ns: 1_500_000_000,
        }
    }
}

impl Config {
    /// A configuration with default limits.
    pub fn new(cluster: ClusterId, replica: ReplicaId, replica_count: u8, layout: Layout) -> Self {
        Self {
            cluster,
            replica,
            replica_count,
            layout,
            pipeline: 4,
            company: 3,
            requests_max: 1024,
            queries_max: 1024,
            clients_max: 64,
            application: ApplicationName::NONE,
            timeouts: Timeouts::default(),
            jitter_seed: cluster.0 ^ u64::from(replica.0).rotate_left(32),
        }
    }

    /// A configuration with default limits of the replica whose data file this is.
    pub fn of(superblock: &Superblock) -> Self {
        let Superblock { cluster, replica, replica_count, layout, clients_max, application, .. } = *superblock;
        Self { clients_max, application, ..Self::new(cluster, replica, replica_count, layout) }
    }

    /// Whose data file the replica expects.
    pub const fn identity(&self) -> Identity {
        let Self { cluster, replica, replica_count, application, .. } = *self;
        Identity { cluster, replica, replica_count, application }
    }

    /// The writes, by offset, that make a data file of zeros this replica's: see [`superblock::format`].
    ///
    /// # Panics
    /// If the layout or the replica is none, or if there is room for no session.
    pub fn format(&self, incarnation: u128) -> Vec<(u64, Vec<u8>)> {
        superblock::format(self.identity(), incarnation, self.layout, self.clients_max)
    }

    /// The same for a replica that takes the place of one that was lost: see [`superblock::format_lost`].
    ///
    /// # Errors
    /// If there are too few others to recover through.
    ///
    /// # Panics
    /// As [`Config::format`].
    pub fn format_lost(&self, incarnation: u128) -> Result<Vec<(u64, Vec<u8>)>, superblock::RecoverError> {
        superblock::format_lost(self.identity(), incarnation, self.layout, self.clients_max)
    }

    /// The largest payload of a request: a prepare that carries it alone is one message.
    pub fn payload_size_max(&self) -> u32 {
        self.layout.message_size_max - HEADER_SIZE as u32 - batch::entry_size(0) as u32
    }

    /// # Panics
    /// If a limit is out of its range.
    pub(crate) fn check(&self) {
        assert!((1..=REPLICAS_MAX).contains(&self.replica_count), "a cluster has 1 to {REPLICAS_MAX} replicas");
        assert!(self.replica.0 < self.replica_count, "a replica's number is below the number of replicas");
        if let Err(error) = self.layout.validated() {
            panic!("the layout is none: {error}");
        }
        assert!((1..=PIPELINE_MAX).contains(&self.pipeline), "a pipeline has 1 to {PIPELINE_MAX} prepares");
        assert!(self.queries_max >= 1, "a replica holds at least one query");
        assert!(self.clients_max >= 1 && self.requests_max >= 1, "a replica serves at least one client");
    }
}
