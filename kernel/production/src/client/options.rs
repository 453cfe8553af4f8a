//! How a client is set up, and what it learns of the cluster before it asks anything.

use std::{net::SocketAddr, time::Duration};

use chronon::{
    types::{ClusterId, ReplicaId, View},
    vsr::quorum::REPLICAS_MAX,
    wire::{HEADER_SIZE, batch::entry_size},
};

use super::error::ConnectError;
use crate::status;

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
    /// What to know of the cluster. If nothing, one of its replicas is asked.
    pub cluster: Option<Cluster>,
}

impl Default for Options {
    fn default() -> Self {
        Self { sessions: 16, queue_max: 1024, patience: Duration::from_secs(10), cluster: None }
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

    /// Asks the replicas one after the other, until one says how it is, and in which view.
    pub(super) fn learn(addresses: &[SocketAddr], patience: Duration) -> Result<(Self, View), ConnectError> {
        let mut unknown = ConnectError::Addresses(addresses.len());
        if !(1..=usize::from(REPLICAS_MAX)).contains(&addresses.len()) {
            return Err(unknown);
        }
        let each = patience / addresses.len() as u32;
        for (place, address) in addresses.iter().enumerate() {
            let said = match status::ask(*address, each) {
                Ok(said) => said,
                Err(error) => {
                    unknown = ConnectError::Unknown(error);
                    continue;
                }
            };
            if usize::from(said.replicas) != addresses.len() {
                return Err(ConnectError::Count { addresses: addresses.len(), replicas: said.replicas });
            }
            if usize::from(said.replica) != place {
                return Err(ConnectError::Order { address: *address, replica: ReplicaId(said.replica) });
            }
            let cluster = Self { id: ClusterId(said.cluster), message_size_max: said.message_size_max };
            return Ok((cluster, View(said.view)));
        }
        Err(unknown)
    }
}
