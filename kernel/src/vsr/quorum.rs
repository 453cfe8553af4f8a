//! Quorum sizes and sets of replicas.
//!
//! Any two of a commit quorum and a view-change quorum share a replica; a drop quorum shares one with every commit quorum, so
//! that what a drop quorum never had was never committed.

use crate::types::ReplicaId;

/// The largest cluster.
pub const REPLICAS_MAX: u8 = 6;

/// How many durable copies commit an op, and how many `do_view_change` messages start a view.
pub const fn majority(replica_count: u8) -> u8 {
    replica_count / 2 + 1
}

/// How many replicas must never have had an op before it may be dropped.
pub const fn drop_quorum(replica_count: u8) -> u8 {
    replica_count - majority(replica_count) + 1
}

/// A set of replicas: the same replica counts once, however often it says so.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ReplicaSet(u8);

impl ReplicaSet {
    /// Adds a replica. Whether it was new.
    pub const fn insert(&mut self, replica: ReplicaId) -> bool {
        assert!(replica.0 < REPLICAS_MAX, "a replica's number is below REPLICAS_MAX");
        let bit = 1 << replica.0;
        let new = self.0 & bit == 0;
        self.0 |= bit;
        new
    }

    /// Takes a replica out.
    pub const fn remove(&mut self, replica: ReplicaId) {
        self.0 &= !(1 << replica.0);
    }

    /// Whether a replica is in the set.
    pub const fn contains(self, replica: ReplicaId) -> bool {
        self.0 >> replica.0 & 1 == 1
    }

    /// How many replicas are in the set.
    pub const fn count(self) -> u8 {
        self.0.count_ones() as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quorums_of_one_to_six_replicas() {
        let table: [(u8, u8, u8); 6] = [(1, 1, 1), (2, 2, 1), (3, 2, 2), (4, 3, 2), (5, 3, 3), (6, 4, 3)];
        for (replicas, commit, drop) in table {
            assert_eq!(majority(replicas), commit);
            assert_eq!(drop_quorum(replicas), drop);
            assert!(commit + commit > replicas, "two commit quorums meet");
            assert!(commit + drop > replicas, "a drop quorum meets every commit quorum");
        }
    }

    #[test]
    fn the_same_replica_counts_once() {
        let mut set = ReplicaSet::default();
        assert!(set.insert(ReplicaId(2)));
        assert!(!set.insert(ReplicaId(2)));
        assert_eq!(set.count(), 1);
        assert!(set.contains(ReplicaId(2)) && !set.contains(ReplicaId(1)));
        set.remove(ReplicaId(1));
        set.remove(ReplicaId(2));
        assert_eq!(set, ReplicaSet::default());
    }
}
