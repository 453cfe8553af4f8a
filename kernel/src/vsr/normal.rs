//! Normal operation: the primary's log is replicated in order, acknowledged when durable, committed by a majority.

use alloc::collections::VecDeque;

use crate::{
    frame::Frame,
    process::Actions,
    types::{CommitIndex, Op, ReplicaId, View},
    vsr::{
        Status, Vsr,
        config::PIPELINE_MAX,
        probe::Probe,
        quorum::{ReplicaSet, majority},
        state::Asking,
        timer::Timer,
        vouching::vouched_in,
    },
    wire::header::{Command, Header},
};

impl Vsr {
    /// The primary's own prepare: into the log, to the backups and to the disk at once. Its own acknowledgement comes like any
    /// other, when it is durable.
    pub(super) fn append_as_primary(&mut self, header: &Header, frame: &Frame, actions: &mut Actions) {
        assert!(self.is_primary() && header.view == self.view);
        if self.primary.acks.is_empty() {
            self.primary.progress_at = self.now.monotonic;
        }
        assert!(self.may_propose(header.op), "a slot that others may still need is not used again");
        self.log.append(*header);
        self.primary.acks.push_back(ReplicaSet::default());
        for peer in self.peers() {
            actions.send(peer.node(), frame.clone());
        }
        self.journal.write(header, frame, actions);
        let at = self.after(self.config.timeouts.resend_ns);
        self.timers.ensure(Timer::Resend, at);
    }

    /// A prepare: the next one of this view's log, one that repair asked for, or neither. Durability is not implied:
    /// `prepare_ok` leaves only when the journal reports it (see [`Vsr::on_prepare_durable`]).
    pub(super) fn on_prepare(&mut self, header: &Header, frame: &Frame, actions: &mut Actions) {
        if header.size > self.config.layout.message_size_max {
            return actions.probe(Probe::BadFrame.into());
        }
        if header.view > self.view {
            // Rule 8: the log of a later view is learned from its `start_view` first.
            return self.on_later_view(header.view, actions);
        }
        let known = self.log.get_tied(header.op).is_some_and(|known| known.checksum == header.checksum);
        if known {
            self.on_known_prepare(header, frame, actions);
        } else if header.view == self.view && self.is_backup() {
            self.on_new_prepare(header, frame, actions);
        } else {
            actions.probe(Probe::PrepareOld.into());
        }
    }

    /// Whether the prepare of `header` is durable here, by itself or in a checkpoint (design rule 12).
    fn is_present(&self, header: &Header) -> bool {
        header.op <= self.checkpoints.op() || self.journal.holds(header)
    }

    /// A prepare whose header is in the log already: kept if it is missing here, acknowledged again if it is not.
    fn on_known_prepare(&mut self, header: &Header, frame: &Frame, actions: &mut Actions) {
        // Its slot may be the next lap's by now, and whatever it holds stays known.
        if self.is_present(header) {
            actions.probe(Probe::PrepareRepeated.into());
            if self.status == Status::Normal && header.op <= self.durable_op {
                self.acknowledge(header, actions);
            }
            return;
        }
        // Nothing of a log goes to the disk before the superblock has that log: after a power cut, a prepare of a view that the
        // superblock does not know would leave every replica that has one uncertain of its head.
        let durable = self.promised();
        if durable.log_view < self.log_view
            || self.journal.is_writing(header)
            || !self.journal.window_allows(header.op, durable.head)
            || !self.slot_is_free(header.op)
        {
            return;
        }
        if self.repair.asked.remove(&header.op).is_some() {
            actions.probe(Probe::PrepareRepaired.into());
        }
        self.journal.write(header, frame, actions);
        self.repair(actions);
    }

    /// A prepare of this view that is not in the log yet: appended if it is the next, kept for a while if it came early.
    fn on_new_prepare(&mut self, header: &Header, frame: &Frame, actions: &mut Actions) {
        self.hear_primary();
        if header.op <= self.log.head() {
            return actions.probe(Probe::PrepareOld.into());
        }
        self.repair.primary_head = self.repair.primary_head.max(header.op);
        if header.op > self.log.head().next() {
            actions.probe(Probe::PrepareEarly.into());
            self.keep_early(header.op, frame);
            return self.repair(actions);
        }
        self.append_as_backup(header, frame, actions);
        self.append_early(actions);
        if !self.repair.asked.is_empty() || self.repair.primary_head > self.log.head() {
            self.repair(actions);
        }
    }

    /// Appends what came ahead of its predecessors, and is the next now.
    pub(super) fn append_early(&mut self, actions: &mut Actions) {
        let head = self.log.head();
        while let Some(early) = self.repair.early.first_entry().filter(|early| *early.key() <= head) {
            early.remove();
        }
        while let Some(frame) = self.repair.early.get(&self.log.head().next()).cloned() {
            let header = Header::decode(&frame).expect("the frame was opened when it arrived");
            if header.view != self.view || !self.append_as_backup(&header, &frame, actions) {
                break;
            }
            self.repair.early.remove(&header.op);
        }
    }

    /// Appends the next prepare of this view. Not if recovery would not look far enough to find it.
    fn append_as_backup(&mut self, header: &Header, frame: &Frame, actions: &mut Actions) -> bool {
        let durable_head = self.promised().head;
        if !self.journal.window_allows(header.op, durable_head) || !self.slot_is_free(header.op) {
            return false;
        }
        assert_eq!(header.parent(), self.log.head_header().checksum, "one view has one log");
        self.repair.asked.remove(&header.op);
        self.log.append(*header);
        self.hear_vouched(vouched_in(header), actions);
        self.hear_commit(header.commit);
        self.journal.write(header, frame, actions);
        true
    }

    /// A prepare and its header are durable: acknowledged in order, and only in the view whose log it is in (design rule 8).
    pub(super) fn on_prepare_durable(&mut self, header: &Header, actions: &mut Actions) {
        assert!(self.status != Status::Booting, "what recovery writes again is nobody's news");
        if self.status != Status::Normal {
            return actions.probe(Probe::WriteAfterLeaving.into());
        }
        let in_log = self.log.get_tied(header.op).is_some_and(|known| known.checksum == header.checksum);
        // Another prepare may be on its way to the slot already.
        if !in_log || !self.journal.holds(header) {
            return;
        }
        let superblock_head = self.promised().head;
        if header.op <= superblock_head {
            self.acknowledge(header, actions);
        }
        self.advance_durable(actions);
        if header.op > self.durable_op {
            actions.probe(Probe::PrepareDurableEarly.into());
        }
        if self.is_backup() {
            // The window has moved on.
            self.append_early(actions);
        }
        if self.repair.primary_head > self.log.head() || !self.repair.asked.is_empty() {
            self.repair(actions);
        }
    }

    /// Acknowledges every op that has become durable together with all those before it.
    pub(super) fn advance_durable(&mut self, actions: &mut Actions) {
        while let Some(header) = self.log.get_tied(self.durable_op.next()).copied() {
            if !self.journal.holds(&header) {
                return;
            }
            self.durable_op = header.op;
            self.acknowledge(&header, actions);
            self.remember_vouched(vouched_in(&header).op);
        }
    }

    /// Says that the prepare of `header` is durable here: to the primary, or to itself. Only of ops that may still need it.
    fn acknowledge(&mut self, header: &Header, actions: &mut Actions) {
        if !self.may_vote_in(self.view) {
            return;
        }
        assert!(self.status == Status::Normal && self.is_present(header), "only what is durable is acknowledged");
        if self.is_primary() {
            return self.count_ack(self.config.replica, header.op, actions);
        }
        // That an op is committed is known to the primary of this view only when it says so.
        if self.repair.primary_commit.covers(header.op) {
            return;
        }
        let mut ok = self.header(Command::PrepareOk);
        ok.op = header.op;
        ok.context = header.checksum.0;
        ok.commit = self.commit_max;
        self.send(self.primary_of_view(), ok, &[], actions);
    }

    /// After a view's log was installed: every uncommitted op that is held is acknowledged afresh, under the new view.
    pub(super) fn acknowledge_afresh(&mut self, actions: &mut Actions) {
        self.durable_op = self.promised().head;
        // No primary has more than a pipeline uncommitted.
        let low = self.repair.primary_commit.0.max(self.durable_op.0.saturating_sub(u64::from(PIPELINE_MAX))) + 1;
        for op in (low..=self.durable_op.0).map(Op) {
            let header = self.log.get_tied(op).copied().filter(|header| self.is_present(header));
            if let Some(header) = header {
                self.acknowledge(&header, actions);
            }
        }
        self.advance_durable(actions);
    }

    /// A backup's acknowledgement counts for the view that it names, for the very prepare that it names, once.
    pub(super) fn on_prepare_ok(&mut self, peer: ReplicaId, ok: &Header, actions: &mut Actions) {
        if ok.view != self.view || !self.is_primary() {
            actions.probe(Probe::PrepareOkOld.into());
            if ok.view > self.view {
                self.on_later_view(ok.view, actions);
            }
            return;
        }
        if self.log.get_tied(ok.op).is_none_or(|header| header.checksum.0 != ok.context) {
            return actions.probe(Probe::PrepareOkOld.into());
        }
        self.count_ack(peer, ok.op, actions);
    }

    fn count_ack(&mut self, replica: ReplicaId, op: Op, actions: &mut Actions) {
        if self.commit_max.covers(op) {
            return;
        }
        if self.primary.changing.is_replaced(replica, op) {
            return;
        }
        let index = (op.0 - self.commit_max.0 - 1) as usize;
        if !self.primary.acks[index].insert(replica) {
            actions.probe(Probe::PrepareOkRepeated.into());
        }
        self.advance_commit();
    }

    /// Counts as committed what a majority has acknowledged. Of the log with which the view began, one op when all before it is
    /// executed: it may change who counts for those above (design rule 5). A checkpoint that is vouched for is committed, whoever says so.
    /// Whether anything was.
    pub(super) fn advance_commit(&mut self) -> bool {
        let quorum = majority(self.config.replica_count);
        let before = self.commit_max;
        while self.primary.acks.front().is_some_and(|acks| acks.count() >= quorum) {
            let next = self.commit_max.op().next();
            let may_change = next <= self.primary.start_head && next > self.checkpoints.vouched.op;
            if may_change && self.applied < self.commit_max.op() {
                break;
            }
            self.primary.acks.pop_front();
            self.commit_max.0 += 1;
            self.primary.progress_at = self.now.monotonic;
        }
        if self.primary.acks.is_empty() {
            self.timers.stop(Timer::Resend);
        }
        self.commit_max > before
    }

    /// Begins to count acknowledgements for the uncommitted suffix of a view that starts.
    pub(super) fn start_counting(&mut self) {
        let uncommitted = self.log.head().0 - self.commit_max.0;
        self.primary.acks = (0..uncommitted).map(|_| ReplicaSet::default()).collect::<VecDeque<_>>();
    }

    /// A heartbeat of this view: the primary is there, this much is committed, and its log goes this far.
    pub(super) fn on_heartbeat(&mut self, header: &Header, actions: &mut Actions) {
        if header.view > self.view {
            return self.on_later_view(header.view, actions);
        }
        if header.view < self.view {
            return self.return_to(header.view, actions);
        }
        if !self.is_backup() {
            return;
        }
        self.hear_primary();
        self.repair.primary_head = self.repair.primary_head.max(header.op);
        self.hear_commit(header.commit);
        if self.repair.primary_head > self.log.head() {
            self.repair(actions);
        }
    }

    /// The primary of this view says what is committed.
    pub(super) fn hear_commit(&mut self, commit: CommitIndex) {
        self.commit_max = self.commit_max.max(commit);
        self.repair.primary_commit = self.repair.primary_commit.max(commit);
    }

    fn hear_primary(&mut self) {
        self.primary_heard = self.now.monotonic;
        self.withdraw_proposal();
    }

    /// A primary that hears from a majority says that it is there. One that does not, or is not heard by one, or whose own disk blocks
    /// commits past a bound, falls silent, so that the others choose another (design rule 15).
    pub(super) fn on_heartbeat_timer(&mut self, actions: &mut Actions) {
        if !self.is_primary() {
            return;
        }
        self.timers.set(Timer::Heartbeat, self.after(self.config.timeouts.heartbeat_ns));
        if self.is_isolated() {
            return self.stand_down(Probe::PrimaryIsolated, actions);
        }
        // A single replica has nobody to stand down for: it waits for its disk.
        if self.config.replica_count > 1 && self.is_blocked() {
            return self.stand_down(Probe::PrimaryDiskBlocked, actions);
        }
        self.withdraw_proposal();
        self.send_heartbeat(actions);
    }

    /// No heartbeat this time; and its own voice for another view, without which there may be no majority.
    fn stand_down(&mut self, why: Probe, actions: &mut Actions) {
        actions.probe(why.into());
        if !self.proposes() {
            self.propose(View(0), actions);
        }
    }

    pub(super) fn send_heartbeat(&self, actions: &mut Actions) {
        let mut header = self.header(Command::Commit);
        header.commit = self.commit_max;
        header.op = self.log.head();
        self.broadcast(header, &[], actions);
    }

    /// What a replica still says that stops in the middle of a step: as the primary, how far the log is committed. Nobody else may know
    /// that yet, and what it promised is durable.
    pub fn last_word(&self, actions: &mut Actions) {
        if self.is_primary() {
            self.send_heartbeat(actions);
        }
    }

    /// Whether those that it hears, and that do not want another view, are no majority with it. Who wants another does not hear it, however
    /// well it is heard. Nor does who asks in vain where its log ends; but that one has no voice for another view, and this primary alone may
    /// be able to tell it. It is left out only where another view can begin without it: those that are certain are a majority, and one of
    /// them hears this primary, whose voice would reach nobody otherwise.
    fn is_isolated(&self) -> bool {
        let silence = self.config.timeouts.election_ns;
        let quorum = majority(self.config.replica_count) as usize;
        let (mut certain, mut content, mut asking) = (1, 1, 0);
        for peer in self.peers() {
            let since = self.now.monotonic.since(self.heard[peer.0 as usize]);
            if since >= silence || !self.roster.votes(peer, self.view) {
                continue;
            }
            let wants_another = self.proposal_of(peer).is_some();
            if self.asks_in_vain(peer) && !wants_another {
                asking += 1;
            } else {
                certain += 1;
                content += usize::from(!wants_another);
            }
        }
        let can_do_without = certain >= quorum && content > 1;
        content < quorum && (content + asking < quorum || can_do_without)
    }

    /// Whether a peer goes on asking where its log ends, though it was answered for longer than a backup waits for its primary.
    fn asks_in_vain(&self, peer: ReplicaId) -> bool {
        let silence = self.config.timeouts.election_ns;
        self.primary.asking[peer.0 as usize].is_some_and(|Asking { since, last }| {
            self.now.monotonic.since(last) < silence && self.now.monotonic.since(since) >= silence
        })
    }

    /// Notes that a peer asks where its log ends. Who has not done so for a while begins anew.
    pub(super) fn note_asking(&mut self, peer: ReplicaId) {
        let (now, lapse) = (self.now.monotonic, self.config.timeouts.election_ns);
        let asking = &mut self.primary.asking[peer.0 as usize];
        let since = asking.filter(|asking| now.since(asking.last) < lapse).map_or(now, |asking| asking.since);
        *asking = Some(Asking { since, last: now });
    }

    fn is_blocked(&self) -> bool {
        let next = Op(self.commit_max.0 + 1);
        let own_missing = self.log.get_tied(next).is_some_and(|header| !self.journal.holds(header));
        let serving_late = self.applied < self.primary.start_head;
        // The others have committed all there is, and nothing more can be proposed before the own disk has caught up.
        let next = self.log.head().next();
        let window_is_shut = !self.journal.window_allows(next, self.promised().head);
        let behind = self.has_waiting() && window_is_shut || self.waits_for_own_slot();
        (own_missing || serving_late || behind)
            && self.now.monotonic.since(self.primary.progress_at) > self.config.timeouts.disk_stall_ns
    }

    /// Sends again what was not acknowledged, to those that have not and that are heard of.
    pub(super) fn on_resend_timer(&mut self, actions: &mut Actions) {
        if !self.is_primary() || self.primary.acks.is_empty() {
            return;
        }
        let at = self.after_jittered(self.config.timeouts.resend_ns);
        self.timers.set(Timer::Resend, at);
        let silence = self.config.timeouts.election_ns.max(2 * self.config.timeouts.ping_ns);
        for index in 0..self.primary.acks.len() {
            let op = Op(self.commit_max.0 + 1 + index as u64);
            let header = *self.log.get_tied(op).expect("the uncommitted suffix is tied");
            for peer in self.peers() {
                let silent = self.now.monotonic.since(self.heard[peer.0 as usize]) > silence;
                if !silent && !self.primary.acks[index].contains(peer) {
                    self.send_prepare(&header, peer, actions);
                }
            }
        }
    }

    /// Forgets what belonged to a view that is over.
    pub(super) fn forget_view(&mut self, view: View) {
        assert!(view >= self.view || !self.head_certain);
        self.primary = super::state::Primary::default();
        self.reads.forget_view();
        self.repair.asked.clear();
        self.repair.headers_asked = None;
        self.repair.early.clear();
        self.repair.primary_head = Op::ROOT;
        self.repair.primary_commit = CommitIndex::ROOT;
        self.repair.ready.clear();
        for timer in [Timer::Heartbeat, Timer::Resend, Timer::Repair, Timer::ReadRound, Timer::Tick] {
            self.timers.stop(timer);
        }
    }
}
