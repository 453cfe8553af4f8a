//! The protocol's vocabulary as newtypes: no bare integer crosses a signature.

use core::fmt;

use serde::{Deserialize, Serialize};

/// Defines a newtype over an unsigned integer with ordering, formatting and serde.
macro_rules! newtype {
    ($(#[$doc:meta])* $name:ident($inner:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

newtype! {
    /// The number of a view. The primary of view `v` is replica `v mod N`.
    View(u64), "v"
}
newtype! {
    /// The position of a prepare in the log. Op 0 is the root, which every replica holds by definition.
    Op(u64), "op"
}
newtype! {
    /// How far the log is known to be committed: every op up to and including `.0` is.
    ///
    /// Never confused with "unknown": an absent commit index is [`CommitIndex::ROOT`], which commits the root alone and
    /// hence no op of any client.
    CommitIndex(u64), "commit"
}
newtype! {
    /// A replica's place in its cluster, from 0.
    ReplicaId(u8), "r"
}
newtype! {
    /// An address: whatever the network delivers frames to. Replica `i` has address `i`; clients have later ones.
    NodeId(u32), "n"
}
newtype! {
    /// A cluster's identity. Frames and blocks of another cluster are dropped.
    ClusterId(u64), "cluster"
}
newtype! {
    /// A client's identity, drawn at random by the client.
    ClientId(u128), "client"
}
newtype! {
    /// A session's identity: the op that registered it (design rule 16). 0 is "not registered".
    Session(u64), "s"
}
newtype! {
    /// A client's request number within its session: 0 registers, then 1, 2, 3, ...
    RequestNumber(u64), "#"
}
newtype! {
    /// The configuration epoch: which set of replicas is in force.
    Epoch(u32), "e"
}

impl View {
    /// The view after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The primary of this view in a cluster of `replica_count` replicas.
    pub const fn primary(self, replica_count: u8) -> ReplicaId {
        ReplicaId((self.0 % replica_count as u64) as u8)
    }
}

impl Op {
    /// The root of every log.
    pub const ROOT: Self = Self(0);

    /// The op after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The op before this one.
    ///
    /// # Panics
    /// If this is the root.
    pub const fn previous(self) -> Self {
        Self(self.0 - 1)
    }
}

impl CommitIndex {
    /// Nothing but the root is known to be committed.
    pub const ROOT: Self = Self(0);

    /// Whether `op` is committed.
    pub const fn covers(self, op: Op) -> bool {
        op.0 <= self.0
    }

    /// The highest committed op.
    pub const fn op(self) -> Op {
        Op(self.0)
    }
}

impl RequestNumber {
    /// The request after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl ReplicaId {
    /// The address of this replica.
    pub const fn node(self) -> NodeId {
        NodeId(self.0 as u32)
    }
}

/// Nanoseconds on one node's monotonic clock. Comparable with readings of the same clock alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
pub struct Instant(pub u64);

impl Instant {
    /// This instant, `duration_ns` nanoseconds later. Saturates.
    pub const fn after(self, duration_ns: u64) -> Self {
        Self(self.0.saturating_add(duration_ns))
    }

    /// Nanoseconds from `earlier` to this instant; 0 if `earlier` is later.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Nanoseconds since the Unix epoch, as a realtime clock or the log tells them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
pub struct Timestamp(pub u64);

/// BLAKE3 truncated to 128 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Checksum(pub u128);

impl Checksum {
    /// The checksum of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let hash = blake3::hash(bytes);
        let mut low = [0; 16];
        low.copy_from_slice(&hash.as_bytes()[..16]);
        Self(u128::from_le_bytes(low))
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0 >> 96)
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
