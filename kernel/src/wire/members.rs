//! Who is who: the incarnations of a cluster's replicas, as its log has committed them, and what replicas tell each other of it.
//!
//! A replica's number names a place in the cluster; its incarnation names the data file that fills the place. A replica that lost its
//! file is formatted anew under another incarnation, and what the lost one said is never taken for its word (design rule 5).
//!
//! Invariant: each change of the members has the next version, and follows from the log alone, so that of two values the one of the
//! higher version is the later, whoever says it.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::{
    types::{Checksum, ReplicaId, View},
    wire::{codec, error::WireError, stored::stored},
};

/// The most members that a cluster has.
pub const MEMBERS_MAX: usize = 6;

/// The committed incarnations of all replicas.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Members {
    /// How often they were committed: 0 before the first op, and then none is known.
    pub version: u64,
    /// By replica; 0 for one that was never seen.
    #[serde(deserialize_with = "codec::bounded::<_, _, MEMBERS_MAX>")]
    pub incarnations: Vec<u128>,
}

stored! { struct Members { version, incarnations } }

impl Members {
    /// The incarnation of a replica; 0 if none is known.
    pub fn of(&self, replica: ReplicaId) -> u128 {
        self.incarnations.get(usize::from(replica.0)).copied().unwrap_or(0)
    }

    /// The members after these, with one replica's incarnation another.
    ///
    /// # Panics
    /// If there is no such replica.
    pub fn with(&self, replica: ReplicaId, incarnation: u128) -> Self {
        let mut next = Self { version: self.version + 1, ..self.clone() };
        next.incarnations[usize::from(replica.0)] = incarnation;
        next
    }

    /// Whether these can be the members of a cluster of so many replicas: all of them, or none at version 0.
    pub fn fit(&self, replica_count: u8) -> bool {
        let expected = if self.version == 0 { 0 } else { usize::from(replica_count) };
        self.incarnations.len() == expected && self.version < 1 << 63
    }

    /// Appends them to `bytes`.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        codec::encode(self, bytes);
    }

    /// The members that `bytes`, all of them, are.
    ///
    /// # Errors
    /// If they are none.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        Ok(codec::decode(bytes)?)
    }
}

/// The body of a ping or a pong.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Greeting {
    /// The root of the checkpoint that the sender knows to be vouched for.
    pub vouched_root: Checksum,
    /// The first view in which the sender votes and acknowledges: [`VOTES_NEVER`] as long as it recovers.
    pub votes_from: View,
    /// The version of the members that are durable at the sender.
    pub version: u64,
    /// Them, for who knows of none so late; else nothing.
    #[serde(deserialize_with = "codec::bounded::<_, _, MEMBERS_MAX>")]
    pub incarnations: Vec<u128>,
}

stored! { struct Greeting { vouched_root, votes_from, version, incarnations } }

/// No view, for who does not know yet in which it votes.
pub const VOTES_NEVER: View = View(u64::MAX);

impl Greeting {
    /// Appends it to `bytes`.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        codec::encode(self, bytes);
    }

    /// The greeting that `bytes`, all of them, are.
    ///
    /// # Errors
    /// If they are none.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        Ok(codec::decode(bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    fn members() -> Members {
        Members { version: 3, incarnations: vec![7, 0, u128::MAX] }
    }

    #[test]
    fn members_and_greetings_come_back_and_never_in_part() {
        let mut bytes = Vec::new();
        members().encode(&mut bytes);
        assert_eq!(Members::decode(&bytes), Ok(members()));
        assert!((0..bytes.len()).all(|length| Members::decode(&bytes[..length]).is_err()));
        let Members { version, incarnations } = members();
        let greeting = Greeting { vouched_root: Checksum(5), votes_from: View(9), version, incarnations };
        let mut bytes = Vec::new();
        greeting.encode(&mut bytes);
        assert_eq!(Greeting::decode(&bytes), Ok(greeting));
        assert!((0..bytes.len()).all(|length| Greeting::decode(&bytes[..length]).is_err()));
        bytes.push(0);
        assert!(Greeting::decode(&bytes).is_err());
    }

    #[test]
    fn members_are_all_of_a_cluster_or_none_yet() {
        assert!(members().fit(3) && !members().fit(4) && !members().fit(2));
        assert!(Members::default().fit(3) && !Members { version: 0, ..members() }.fit(3));
        assert!(!Members { version: u64::MAX, ..members() }.fit(3));
        let mut bytes = Vec::new();
        Members { version: 1, incarnations: vec![1; MEMBERS_MAX + 1] }.encode(&mut bytes);
        assert!(Members::decode(&bytes).is_err(), "more than the bound");
    }

    #[test]
    fn one_change_is_one_version() {
        let next = members().with(ReplicaId(1), 4);
        assert_eq!((next.version, next.of(ReplicaId(0)), next.of(ReplicaId(1)), next.of(ReplicaId(5))), (4, 7, 4, 0));
    }
}
