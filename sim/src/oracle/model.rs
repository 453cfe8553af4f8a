//! The model: one canonical log, and what it must have done to an application and its sessions.
//!
//! An op becomes canonical when some replica first executes it; from then on it is what every replica must execute. The
//! model runs the canonical log through the application once, sequentially, with a session table of its own that knows
//! nothing of the kernel's.
//!
//! Invariant: the log is contiguous from the root. The model judges nobody: the promises that look at it do.

use chronon::{
    app::kv,
    digest::SetDigest,
    types::{Checksum, ClientId, ClusterId, Op, ReplicaId, Timestamp, View},
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
    pub(super) state: kv::State,
    pub(super) accounts: Accounts,
    /// The answer being made; kept for its buffer.
    answer: Vec<u8>,
}

impl Model {
    /// The model of a cluster that has executed nothing.
    pub(super) fn new(cluster: ClusterId, clients_max: u32) -> Self {
        let root = Header::root(cluster);
        let state = kv::State::default();
        let canonical = Canonical {
            checksum: root.checksum,
            timestamp: root.timestamp,
            seen_in: View(0),
            seen_on: ReplicaId(0),
            state: state.set_digest(),
            sessions: None,
        };
        Self {
            log: vec![canonical],
            heads: Vec::new(),
            state,
            accounts: Accounts::new(clients_max),
            answer: Vec::new(),
        }
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

    /// Runs a request of the head. Its answer is the account's last.
    pub(super) fn run(&mut self, client: ClientId, op: Op, timestamp: Timestamp, payload: &[u8]) {
        self.answer.clear();
        let result = kv::apply(&mut self.state, payload, &mut self.answer);
        // A reply's body as an executor makes it.
        if let Err(rejection) = &result {
            self.answer.clear();
            self.answer.extend_from_slice(&rejection.detail);
            self.answer.extend_from_slice(&rejection.code.to_le_bytes());
        }
        self.answer.push(u8::from(result.is_err()));
        self.accounts.record(client, op, timestamp, &self.answer);
    }

    /// Makes the op of `header` canonical, all of its requests having been run.
    pub(super) fn append(&mut self, header: &Header, seen_on: ReplicaId, seen_in: View) {
        let state = self.state.set_digest();
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
