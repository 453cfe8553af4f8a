//! The model: one canonical log, what it must have done to the sessions, and the digests of what it did to the application.
//!
//! An op becomes canonical when some replica first executes it; from then on it is what every replica must execute. The
//! application is run beside it (see sequence.rs); the session table is the model's own and knows nothing of the kernel's.
//!
//! Invariant: the log is contiguous from the root. The model judges nobody: the promises that look at it do.

use chronon::{
    digest::SetDigest,
    types::{Checksum, ClusterId, Op, ReplicaId, Timestamp, View},
    wire::header::Header,
};

use super::accounts::Accounts;

/// A canonical op.
#[derive(Clone, Copy, Debug)]
pub(super) struct Canonical {
    pub(super) checksum: Checksum,
    pub(super) timestamp: Timestamp,
    /// The view that the replica was in which executed it first. It was committed in that one or an earlier one.
    pub(super) seen_in: View,
    /// That replica.
    pub(super) seen_on: ReplicaId,
    /// The digest of the application's state after it.
    pub(super) state: SetDigest,
    /// The digest of the sessions after it, as the first replica had them that stood there.
    pub(super) sessions: Option<(ReplicaId, SetDigest)>,
}

/// The canonical log and what follows from it.
#[derive(Clone)]
pub(super) struct Model {
    log: Vec<Canonical>,
    /// For each view in which ops were executed first, the highest of them.
    heads: Vec<(View, Op)>,
    /// The digest of the application's state, all of the head's requests having been run.
    pub(super) state: SetDigest,
    pub(super) accounts: Accounts,
    /// The longest request that is taken, in bytes.
    pub(super) payload_size_max: u32,
}

impl Model {
    /// The model of a cluster that has executed nothing, and whose application's first state is empty.
    #[cfg(test)]
    pub(super) fn new(cluster: ClusterId, clients_max: u32) -> Self {
        Self::starting_from(cluster, clients_max, SetDigest::new())
    }

    /// The model of a cluster that has executed nothing. `state` is the digest of the application's first state.
    pub(super) fn starting_from(cluster: ClusterId, clients_max: u32, state: SetDigest) -> Self {
        let root = Header::root(cluster);
        let canonical = Canonical {
            checksum: root.checksum,
            timestamp: root.timestamp,
            seen_in: View(0),
            seen_on: ReplicaId(0),
            state,
            sessions: None,
        };
        let accounts = Accounts::new(clients_max);
        Self { log: vec![canonical], heads: Vec::new(), state, accounts, payload_size_max: 0 }
    }

    /// The same of a cluster that takes requests of up to so many bytes.
    pub(super) fn with_requests(self, payload_size_max: u32) -> Self {
        Self { payload_size_max, ..self }
    }

    /// The last canonical op.
    pub(super) fn head(&self) -> Op {
        Op(self.log.len() as u64 - 1)
    }

    /// What is canonical at the head.
    pub(super) fn last(&self) -> &Canonical {
        &self.log[self.log.len() - 1]
    }

    /// What is canonical at `op`.
    pub(super) fn get(&self, op: Op) -> Option<&Canonical> {
        self.log.get(op.0 as usize)
    }

    /// Remembers the sessions' digest at `op` as `replica` has it, unless one is known, which is returned.
    pub(super) fn sessions_at(
        &mut self,
        op: Op,
        replica: ReplicaId,
        digest: SetDigest,
    ) -> Option<(ReplicaId, SetDigest)> {
        let known = &mut self.log.get_mut(op.0 as usize)?.sessions;
        if known.is_none() {
            *known = Some((replica, digest));
        }
        *known
    }

    /// The highest op that was executed in `view` or an earlier one: the log of `view` has it.
    pub(super) fn head_at(&self, view: View) -> Op {
        self.heads.iter().filter(|(seen_in, _)| *seen_in <= view).map(|(_, op)| *op).max().unwrap_or(Op::ROOT)
    }

    /// Makes the op of `header` canonical, all of its requests having been run.
    pub(super) fn append(&mut self, header: &Header, seen_on: ReplicaId, seen_in: View) {
        let state = self.state;
        let Header { checksum, timestamp, op, .. } = *header;
        self.log.push(Canonical { checksum, timestamp, seen_in, seen_on, state, sessions: None });
        match self.heads.last_mut() {
            Some((view, head)) if *view == seen_in => *head = op,
            _ => self.heads.push((seen_in, op)),
        }
    }
}

#[cfg(test)]
mod tests {
    use chronon::digest::EntryHasher;

    use super::*;

    const CLUSTER: ClusterId = ClusterId(9);

    #[test]
    fn the_log_of_a_view_has_what_was_executed_in_it_or_before() {
        let mut model = Model::new(CLUSTER, 4);
        for (op, view) in [(1, 1), (2, 1), (3, 4), (4, 2)] {
            let header = Header { op: Op(op), ..Header::root(CLUSTER) };
            model.append(&header, ReplicaId(0), View(view));
        }
        let heads: Vec<_> = (0..6).map(|view| model.head_at(View(view)).0).collect();
        assert_eq!(heads, [0, 2, 4, 4, 4, 4]);
        assert_eq!((model.head(), model.get(Op(3)).unwrap().seen_in), (Op(4), View(4)));
        assert!(model.get(Op(5)).is_none());
    }

    fn digest(number: u64) -> SetDigest {
        let mut digest = SetDigest::new();
        digest.insert(EntryHasher::new().number(number).finish());
        digest
    }

    #[test]
    fn a_sessions_digest_is_the_first_one_s() {
        let mut model = Model::new(CLUSTER, 4);
        assert_eq!(model.sessions_at(Op(0), ReplicaId(1), digest(5)), Some((ReplicaId(1), digest(5))));
        assert_eq!(model.sessions_at(Op(0), ReplicaId(2), digest(6)), Some((ReplicaId(1), digest(5))));
        assert_eq!(model.sessions_at(Op(1), ReplicaId(2), digest(6)), None);
    }
}
