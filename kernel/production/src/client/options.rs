//! How a client is set up, and what it must know.

use std::time::Duration;

use chronon::{
    types::ClusterId,
    wire::{HEADER_SIZE, batch::entry_size},
};

/// How a client is set up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Requests in flight at once: each has a session of its own. A session is registered when it is first needed, and the cluster
    /// has room for as many as its replicas' `clients_max` says, of all clients together.
    pub sessions: u32,
    /// How many requests may wait for a session.
    pub queue_max: usize,
    /// How long a request may take, from when it is asked.
    pub patience: Duration,
    /// What to know of the cluster. If nothing, its replicas are asked.
    pub cluster: Option<Cluster>,
    /// The applications that are meant to be asked, by the names that data files bear: a cluster whose replicas say that it runs another one
    /// is sent no request. Any, if none is named here, and where the cluster is not asked.
    pub applications: &'static [&'static str],
}

impl Default for Options {
    fn default() -> Self {
        Self { sessions: 16, queue_max: 1024, patience: Duration::from_secs(10), cluster: None, applications: &[] }
    }
}

/// What a client must know of a cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cluster {
    /// Which one it is.
    pub id: ClusterId,
    /// The largest message, in bytes.
    pub message_size_max: u32,
}

impl Cluster {
    /// The longest payload of a request: what fits a message with what comes before it, there and in the log.
    pub fn payload_size_max(&self) -> usize {
        (self.message_size_max as usize).saturating_sub(HEADER_SIZE + entry_size(0))
    }
}
