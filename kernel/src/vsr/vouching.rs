//! Vouching: which checkpoint a majority has, and whether it is this replica's.
//!
//! Replicas tell each other the roots of their checkpoints. One that a majority has with the same root is *vouched for*; a primary
//! proposes no op whose slot reuse is not covered by such a one, and names it in every prepare. So whoever finds an op gone
//! everywhere finds in the log itself which checkpoint takes its place (design rules 10 and 12). A replica whose root is not
//! the majority's has an application that is not deterministic, or is damaged: it stops and says so; where no majority agrees, all do
//! (design rule 20). While it is open which of these it is, nobody goes on from there.

use alloc::{format, string::String};

use crate::{
    process::Actions,
    storage::{checkpoint::Checkpoint, superblock::Vouched},
    types::{Checksum, Op, ReplicaId},
    vsr::{
        Status, Vsr,
        checkpoint::{Checkpoints, ROOTS_KEPT, interval, is_checkpoint},
        quorum::majority,
    },
    wire::header::Header,
};

/// What a prepare says is vouched for.
pub(super) fn vouched_in(header: &Header) -> Vouched {
    Vouched { op: Op(header.request.0), root: Checksum(header.client.0) }
}

impl Checkpoints {
    /// A checkpoint is vouched for. What that makes superfluous is let go when a crash would not make it be forgotten: see
    /// [`Vsr::remember_vouched`].
    pub(super) fn hear_vouched(&mut self, vouched: Vouched) {
        if vouched.op > self.vouched.op && vouched.root != Checksum(0) {
            self.vouched = vouched;
            self.compare();
        }
    }

    /// Nothing that this replica said counts any more.
    pub(super) fn forget_replica(&mut self, replica: ReplicaId) {
        self.roots[replica.0 as usize] = Default::default();
        self.told.remove(replica);
        self.compare();
    }

    /// Looks where replicas differ, and no majority is known.
    pub(super) fn compare(&mut self) {
        let Self { roots, vouched, .. } = self;
        let above = || roots.iter().flatten().filter(|root| root.op > vouched.op);
        let differs = |root: &&Vouched| above().any(|other| other.op == root.op && other.root != root.root);
        self.contested = above().filter(differs).map(|root| root.op).min();
    }
}

impl Vsr {
    /// Whether the state may be one that no majority has, as far as is known (design rule 20): others differ at a checkpoint that it has
    /// gone through, and it is open who is right; or there is a checkpoint from before a start, of which that may be so, and no majority
    /// has come as far and said which it has. Nothing is executed then, and nothing answered but a stale query, until a majority is found, or all stop:
    /// who stopped because there is none is started again without that knowledge, and maybe before the others.
    pub(super) fn is_in_doubt(&self) -> bool {
        let Checkpoints { contested, unheard, vouched, .. } = &self.checkpoints;
        let is_unheard = self.config.replica_count > 1 && unheard.is_some_and(|op| op > vouched.op);
        is_unheard || contested.is_some_and(|op| op <= self.applied)
    }

    /// Tells the others at once which checkpoint is durable here: they may wait for it.
    pub(super) fn tell_checkpoint(&mut self, actions: &mut Actions) {
        if self.status != Status::Booting && self.config.replica_count > 1 {
            self.greet(actions);
        }
    }

    /// A replica says which checkpoint it has.
    pub(super) fn hear_checkpoint(
        &mut self,
        peer: ReplicaId,
        greeting: &Header,
        root: Checksum,
        actions: &mut Actions,
    ) {
        self.hear_vouched(Vouched { op: Op(greeting.request.0), root }, actions);
        let told = Vouched { op: greeting.commit.op(), root: Checksum(greeting.context) };
        // Who has not come as far has said nothing of it. Among those that are here one has come less far than any other: it goes on,
        // and what it says next frees the others.
        if self.checkpoints.unheard.is_some_and(|unheard| told.op >= unheard) {
            self.checkpoints.told.insert(peer);
        }
        if 1 + self.checkpoints.told.count() >= majority(self.config.replica_count) {
            // For good: who is replaced later had said so.
            self.checkpoints.unheard = None;
        }
        if is_checkpoint(told.op, &self.config.layout) && !self.checkpoints.roots[peer.0 as usize].contains(&told) {
            self.count(peer, told, actions);
        }
    }

    /// Counts the checkpoint that is durable here.
    pub(super) fn count_own_root(&mut self, actions: &mut Actions) {
        let Checkpoint { header, root } = *self.checkpoints.durable();
        if root != Checksum(0) {
            self.count(self.config.replica, Vouched { op: header.op, root }, actions);
            // It may have stopped before because of just this, and been started again.
            self.hear_vouched(self.checkpoints.vouched, actions);
        }
    }

    /// A replica has this checkpoint: whether a majority has, and whether it is the one that this replica has.
    fn count(&mut self, replica: ReplicaId, told: Vouched, actions: &mut Actions) {
        let known = &mut self.checkpoints.roots[replica.0 as usize];
        if told.op <= known[0].op {
            return;
        }
        known.rotate_right(1);
        known[0] = told;
        self.checkpoints.compare();
        let quorum = majority(self.config.replica_count) as usize;
        let roots = self.checkpoints.roots;
        let at = |op: Op| {
            let of_one =
                move |roots: &[Vouched; ROOTS_KEPT]| roots.iter().find(|root| root.op == op).map(|root| root.root);
            roots.iter().filter_map(of_one)
        };
        let same = at(told.op).filter(|root| *root == told.root).count();
        let all = at(told.op).count();
        let most = at(told.op).map(|root| at(told.op).filter(|other| *other == root).count()).max().unwrap_or_default();
        if same >= quorum {
            self.checkpoints.hear_vouched(told);
        }
        let own =
            self.checkpoints.roots[self.config.replica.0 as usize].iter().find(|root| root.op == told.op).copied();
        let Some(own) = own else { return };
        // Those that are still to say could not make a majority of any: no replica can tell whose state is the right one.
        let undecided = most + self.config.replica_count as usize - all < quorum;
        if (same >= quorum && own.root != told.root) || undecided {
            let other = at(told.op).find(|root| *root != own.root).unwrap_or(told.root);
            let theirs = Vouched { op: told.op, root: other };
            actions.halt(if undecided { self.indecision(own, theirs) } else { self.divergence(own, theirs) });
        }
    }

    /// A prepare of this view's log, or a peer, says what is vouched for: if it is not what this replica has, it stops.
    pub(super) fn hear_vouched(&mut self, vouched: Vouched, actions: &mut Actions) {
        if !is_checkpoint(vouched.op, &self.config.layout) {
            return;
        }
        self.checkpoints.hear_vouched(vouched);
        let own = self.checkpoints.roots[self.config.replica.0 as usize].iter().find(|root| root.op == vouched.op);
        if let Some(own) = own.filter(|own| own.root != vouched.root) {
            let reason = self.divergence(*own, vouched);
            actions.halt(reason);
        }
    }

    /// What there is to say of a replica whose state is not the one that a majority has. Its chunks stay on its disk for who comes to
    /// compare.
    fn divergence(&self, own: Vouched, theirs: Vouched) -> String {
        format!(
            "the application's state is not the others': {}; a majority agrees without this replica, so put its data file aside, and \
             make it a new one from the others with `recover`",
            self.difference(own, theirs)
        )
    }

    /// What there is to say where no majority has the same state. There is nothing to recover from: nobody can tell who is right.
    fn indecision(&self, own: Vouched, theirs: Vouched) -> String {
        format!(
            "the application's state is not the others', and no majority has the same: {}; no replica is known to be right, and they \
             stop: keep all data files, find what in the application does not follow from the log alone, and begin a new cluster, \
             into which you bring by requests the state that you hold for the right one",
            self.difference(own, theirs)
        )
    }

    fn difference(&self, own: Vouched, theirs: Vouched) -> String {
        let first = own.op.0 - interval(&self.config.layout) + 1;
        format!(
            "the checkpoint at {} has the root {:?} here and {:?} on others, so one of op{first} to {} was executed otherwise",
            own.op, own.root, theirs.root, own.op
        )
    }
}
