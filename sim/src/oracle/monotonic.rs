//! Promise: a replica's view, log view and commit never go back, in particular not across a restart.
//!
//! Compared are the superblocks that a replica relied on, in all of its lives, and the views that it spoke in: of whatever
//! binds it (acknowledgements, heartbeats, prepares, what is said in a view change and of its own state), each is at least
//! the one before.

use chronon::{
    storage::superblock::Superblock,
    types::{CommitIndex, ReplicaId, View},
    wire::header::Command,
};

use super::{Violation, promise::broken};

const PROMISE: &str = "monotonic";

/// The furthest that each replica has been.
#[derive(Clone)]
pub(super) struct Monotonic {
    replicas: Vec<Furthest>,
}

#[derive(Clone, Copy, Default)]
struct Furthest {
    view: View,
    log_view: View,
    commit: CommitIndex,
    spoken: View,
}

impl Monotonic {
    pub(super) fn new(replica_count: u8) -> Self {
        Self { replicas: vec![Furthest::default(); replica_count as usize] }
    }

    /// A replica relies on this superblock from now on.
    pub(super) fn superblock(&mut self, replica: ReplicaId, superblock: &Superblock) -> Result<(), Violation> {
        let Superblock { view, log_view, commit, .. } = *superblock;
        let known = &mut self.replicas[replica.0 as usize];
        let back = if view < known.view {
            Some(("the durable view went back", format!("view from {} to {view}", known.view)))
        } else if log_view < known.log_view {
            Some(("the durable log view went back", format!("log view from {} to {log_view}", known.log_view)))
        } else if commit < known.commit {
            Some(("the durable commit went back", format!("commit from {} to {commit}", known.commit)))
        } else {
            None
        };
        if let Some((place, what)) = back {
            return Err(broken(PROMISE, place, format!("{replica}'s superblock went back: {what}")));
        }
        (known.view, known.log_view, known.commit) = (view, log_view, commit);
        Ok(())
    }

    /// A replica's disk is another, which begins anew.
    pub(super) fn lost(&mut self, replica: ReplicaId) {
        self.replicas[replica.0 as usize] = Furthest::default();
    }

    /// A replica binds itself in `view`.
    pub(super) fn spoke(&mut self, replica: ReplicaId, command: Command, view: View) -> Result<(), Violation> {
        let spoken = &mut self.replicas[replica.0 as usize].spoken;
        if view >= *spoken {
            *spoken = view;
            return Ok(());
        }
        let sentence = format!("{replica} sent {command} in {view} after it had spoken in {spoken}");
        Err(broken(PROMISE, "spoke in an earlier view than before", sentence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::script::{R0, R1, chain, superblock};

    #[test]
    fn whatever_goes_back_is_a_violation_and_nothing_else_is() {
        let log = chain(1, 4);
        let mut monotonic = Monotonic::new(3);
        monotonic.superblock(R0, &superblock(R0, 2, 3, 1, &log[1..])).unwrap();
        monotonic.superblock(R0, &superblock(R0, 3, 3, 3, &log[2..3])).unwrap();
        monotonic.superblock(R1, &superblock(R1, 2, 1, 0, &log[..1])).unwrap();
        let table = [
            (superblock(R0, 4, 2, 2, &log[2..]), "the durable view went back"),
            (superblock(R0, 4, 4, 2, &log[2..]), "the durable log view went back"),
            (superblock(R0, 4, 4, 4, &log[1..]), "the durable commit went back"),
        ];
        for (superblock, place) in table {
            assert_eq!(monotonic.superblock(R0, &superblock).unwrap_err().place, place);
        }
        monotonic.superblock(R0, &superblock(R0, 4, 3, 3, &log[2..])).unwrap();
    }

    #[test]
    fn a_replica_that_speaks_in_an_earlier_view_is_a_violation() {
        let mut monotonic = Monotonic::new(3);
        for view in [1, 1, 4] {
            monotonic.spoke(R0, Command::Ping, View(view)).unwrap();
        }
        monotonic.spoke(R1, Command::Ping, View(2)).unwrap();
        let violation = monotonic.spoke(R0, Command::PrepareOk, View(3)).unwrap_err();
        assert_eq!(violation.sentence, "r0 sent prepare_ok in v3 after it had spoken in v4");
    }
}
