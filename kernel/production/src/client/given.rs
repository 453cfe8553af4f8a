//! To whom a request was given, as far as that decides whether it may have been executed.
//!
//! A replica that has no room for another client says so and takes nothing of it, but only behind its hello: what was sent meanwhile was
//! given to nobody.
//!
//! Invariant: what is said to have been given to nobody was taken by no replica, and is not on its way to one.

use chronon::types::{NodeId, ReplicaId};

use crate::tcp::Parting;

/// To whom a request was given.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Given {
    /// The replicas that it was sent to over connections that have not ended, a bit each.
    open: u8,
    /// Whether it was sent over one that ended as any may.
    may_be_taken: bool,
}

impl Given {
    /// It was sent to a replica.
    pub(super) const fn sent(&mut self, to: NodeId) {
        self.open |= 1 << to.0;
    }

    /// Connections to a replica have ended.
    pub(super) const fn parted(&mut self, replica: ReplicaId, parting: Parting) {
        let bit = 1 << replica.0;
        self.may_be_taken |= self.open & bit != 0 && parting.may_have_taken;
        self.open &= !bit;
    }

    /// Whether no replica has it, or will.
    pub(super) const fn is_to_nobody(self) -> bool {
        self.open == 0 && !self.may_be_taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CROWD: Parting = Parting { may_have_taken: false, crowd: Some(4) };
    const LOST: Parting = Parting { may_have_taken: true, crowd: None };

    #[test]
    fn what_was_sent_to_those_alone_who_take_on_nobody_was_given_to_nobody() {
        let mut given = Given::default();
        assert!(given.is_to_nobody());
        for replica in [0, 5] {
            given.sent(NodeId(replica));
            assert!(!given.is_to_nobody(), "it is on its way");
        }
        given.parted(ReplicaId(1), LOST);
        given.parted(ReplicaId(0), CROWD);
        assert!(!given.is_to_nobody(), "the other may have taken it");
        given.parted(ReplicaId(5), CROWD);
        assert!(given.is_to_nobody());
        given.sent(NodeId(5));
        given.parted(ReplicaId(5), LOST);
        given.parted(ReplicaId(5), CROWD);
        assert!(!given.is_to_nobody(), "that one takes on nobody now says nothing of before");
    }
}
