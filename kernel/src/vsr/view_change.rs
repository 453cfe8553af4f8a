//! View change: how a replica leaves a view, how a new primary chooses the log, how the others take it over.
//!
//! Proposals (`start_view_change`) bind nobody: a replica leaves its view on a majority of them, or on the word of a replica that
//! is in a later one. What it then says (`do_view_change`, `start_view`) it says only when the view, and the headers of its
//! uncommitted suffix with it, are durable (design rule 1).

use alloc::vec::Vec;

use crate::{
    process::Actions,
    storage::superblock::{Recovery, SUFFIX_MAX},
    types::{CommitIndex, Op, ReplicaId, View},
    vsr::{
        Held, Status, Vsr,
        durable::Promise,
        is_countable,
        probe::Probe,
        quorum::{REPLICAS_MAX, drop_quorum, majority},
        state::Ballot,
        timer::Timer,
        vouching::vouched_in,
    },
    wire::{
        header::{Command, Header},
        message::{self, Claim, DoViewChange},
    },
};

/// How often the time-out of a view that does not start is doubled.
const BACKOFF_MAX: u32 = 4;

impl Vsr {
    /// A backup that has not heard its primary, or a replica whose view did not start, proposes a later view.
    pub(super) fn on_election_timer(&mut self, actions: &mut Actions) {
        match self.status {
            Status::Booting => {}
            Status::Normal if self.is_primary() => {}
            Status::Normal => {
                // Only what a primary says as such counts: one that has stood down still answers pings.
                if self.now.monotonic.since(self.primary_heard) >= self.config.timeouts.election_ns {
                    self.propose(View(0), actions);
                }
                self.arm_election();
            }
            Status::ViewChange => {
                self.propose(View(0), actions);
                self.arm_election();
            }
        }
    }

    pub(super) fn arm_election(&mut self) {
        let base = match self.status {
            Status::ViewChange => self.config.timeouts.view_change_ns << self.change.attempts.min(BACKOFF_MAX),
            Status::Booting | Status::Normal => self.config.timeouts.election_ns,
        };
        let at = self.after_jittered(base);
        self.timers.set(Timer::Election, at);
    }

    /// Proposes the next view, the highest one that another proposes, or `least` if that is later. A recovered replica none in which it
    /// does not vote, one that recovers none at all. Nor one with an uncertain head: a view takes a majority of those that are certain, and
    /// their voices are enough; its own would only help to end the view whose primary alone may tell it where its log ends.
    pub(super) fn propose(&mut self, least: View, actions: &mut Actions) {
        let Recovery { is_pending, votes_from, .. } = self.promised().recovery;
        if is_pending || !self.head_certain {
            return;
        }
        let fresh = self.now.monotonic;
        let heard = self.change.votes.iter().flatten().map(|(view, _)| *view).max().unwrap_or_default();
        let proposed = heard.max(self.view.next()).max(least).max(votes_from);
        self.change.votes[self.config.replica.0 as usize] = Some((proposed, fresh));
        actions.probe(Probe::ViewProposed.into());
        self.send_proposal(proposed, actions);
        self.timers.set(Timer::ViewMessage, self.after(self.config.timeouts.resend_ns));
        self.count_proposals(actions);
    }

    fn send_proposal(&mut self, proposed: View, actions: &mut Actions) {
        let mut header = self.header(Command::StartViewChange);
        header.view = proposed;
        self.broadcast(header, &[], actions);
    }

    /// The primary was heard: this replica does not want another view.
    pub(super) fn withdraw_proposal(&mut self) {
        self.change.votes[self.config.replica.0 as usize] = None;
    }

    /// Whether this replica wants another view.
    pub(super) fn proposes(&self) -> bool {
        self.change.votes[self.config.replica.0 as usize].is_some()
    }

    /// A proposal, or the word of a replica that has left for the view it names.
    pub(super) fn on_start_view_change(&mut self, peer: ReplicaId, header: &Header, actions: &mut Actions) {
        if header.view <= self.view {
            return;
        }
        self.change.votes[peer.0 as usize] = Some((header.view, self.now.monotonic));
        if header.request.0 == 1 {
            return self.on_later_view(header.view, actions);
        }
        // A primary that proposes another view has restarted, or cannot go on: nothing is gained by waiting for it.
        if self.is_backup() && peer == self.primary_of_view() {
            return self.propose(View(0), actions);
        }
        self.count_proposals(actions);
    }

    /// The later view that a replica proposes, if it has said so of late.
    pub(super) fn proposal_of(&self, replica: ReplicaId) -> Option<View> {
        let lapse = 2 * self.config.timeouts.election_ns;
        let (view, at) = self.change.votes[replica.0 as usize]?;
        (view > self.view && self.now.monotonic.since(at) <= lapse).then_some(view)
    }

    /// Leaves for the highest view that a majority proposes, or a later one.
    fn count_proposals(&mut self, actions: &mut Actions) {
        let mut views: Vec<View> =
            (0..self.config.replica_count).filter_map(|of| self.proposal_of(ReplicaId(of))).collect();
        views.sort_unstable_by(|a, b| b.cmp(a));
        if let Some(view) = views.get(majority(self.config.replica_count) as usize - 1).copied() {
            self.leave(view, actions);
        }
    }

    /// Evidence that a majority has gone to a later view.
    pub(super) fn on_later_view(&mut self, view: View, actions: &mut Actions) {
        if view > self.view {
            actions.probe(Probe::LaterViewSeen.into());
            self.leave(view, actions);
        }
    }

    /// Leaves this view for `view`: accepts and acknowledges nothing of it from here on. Speaks when that is durable.
    fn leave(&mut self, view: View, actions: &mut Actions) {
        assert!(view > self.view && self.status != Status::Booting);
        actions.probe(Probe::ViewLeft.into());
        self.forget_view(view);
        self.enter(view);
        // A replica with an uncertain head makes no promise for the view that it goes to: the superblock that still says where
        // its certainty ended must stay.
        if self.head_certain {
            let promise = self.promise();
            self.durable_mut().request(promise, actions);
        } else {
            self.on_view_message_timer(actions);
        }
    }

    /// A replica with an uncertain head has gone to a later view in its memory alone, and given nobody its word there. While an
    /// earlier one lives, which it has not durably left, its place is in that: the later one may never begin.
    pub(super) fn return_to(&mut self, view: View, actions: &mut Actions) {
        let bound = self.head_certain || self.status != Status::ViewChange || self.change.installing;
        if bound || view < self.promised().view || view >= self.view {
            return;
        }
        self.forget_view(view);
        self.enter(view);
        self.on_view_message_timer(actions);
    }

    /// Between views from here on. Its patience grows with each view that it gives up for another, and not with each time that it
    /// says so alone.
    fn enter(&mut self, view: View) {
        if self.status == Status::ViewChange && self.proposes() {
            self.change.attempts += 1;
        }
        self.view = view;
        self.status = Status::ViewChange;
        self.change.received = Default::default();
        (self.change.installing, self.change.settling) = (false, false);
        self.withdraw_proposal();
        self.arm_election();
    }

    /// The present view, log view and uncommitted suffix, and the checkpoint below them, to be made durable together.
    pub(super) fn promise(&self) -> Promise {
        let suffix = self.log.window(self.commit_max.op(), SUFFIX_MAX as u64);
        let anchored = suffix[0].op <= self.commit_max.op() || suffix[0].op == Op::ROOT;
        assert!(anchored || self.log.head() < self.commit_max.op(), "the suffix reaches down to what is committed");
        Promise {
            view: self.view,
            log_view: self.log_view,
            commit: self.commit_max,
            head: self.log.head(),
            suffix,
            checkpoint: self.checkpoints.latest(),
            vouched: self.checkpoints.vouched,
            members: self.roster.known.clone(),
            recovery: self.roster.recovery,
        }
    }

    /// The superblock is durable while this replica is between views.
    pub(super) fn on_view_durable(&mut self, actions: &mut Actions) {
        let durable = self.promised();
        let (view, log_view) = (durable.view, durable.log_view);
        if self.change.installing && log_view == self.view && self.is_installed() {
            return self.finish_install(actions);
        }
        if view == self.view && !self.change.installing {
            self.on_view_message_timer(actions);
            self.choose_log(actions);
        }
    }

    /// Whether the superblock has the log that was taken over. It may be of this view and have an earlier one yet: that of a replica whose
    /// head was uncertain there.
    fn is_installed(&self) -> bool {
        let durable = self.promised();
        let last = durable.suffix.last().map(|header| header.checksum);
        durable.head == self.log.head() && last == Some(self.log.head_header().checksum)
    }

    /// Says again what the others may have missed.
    pub(super) fn on_view_message_timer(&mut self, actions: &mut Actions) {
        let own_vote = self.change.votes[self.config.replica.0 as usize];
        if let Some((proposed, _)) = own_vote.filter(|(view, _)| *view > self.view) {
            let now = self.now.monotonic;
            self.change.votes[self.config.replica.0 as usize] = Some((proposed, now));
            self.send_proposal(proposed, actions);
        }
        if self.status == Status::ViewChange && !self.change.installing {
            self.announce(actions);
        }
        if own_vote.is_some() || self.status == Status::ViewChange {
            let at = self.after_jittered(self.config.timeouts.resend_ns);
            self.timers.set(Timer::ViewMessage, at);
        }
    }

    /// Between views: tells everybody where it is, and the new primary what it has.
    fn announce(&mut self, actions: &mut Actions) {
        let primary = self.primary_of_view();
        let durable = self.promised();
        let (spoken, promised) = (durable.view == self.view, durable.log_view);
        let votes = self.may_vote_in(self.view);
        if votes && spoken && self.view > promised {
            let mut header = self.header(Command::StartViewChange);
            header.request.0 = 1;
            self.broadcast(header, &[], actions);
        }
        if primary == self.config.replica {
            return;
        }
        if votes && self.head_certain && spoken && self.view > promised {
            let mut header = self.header(Command::DoViewChange);
            header.request.0 = self.log_view.0;
            header.op = self.log.head();
            header.commit = self.commit_max;
            let mut body = Vec::new();
            message::encode_do_view_change(&self.claims(), &mut body);
            self.send(primary, header, &body, actions);
        } else if !self.head_certain || !votes {
            let mut header = self.header(Command::RequestStartView);
            header.context = self.change.nonce;
            self.send(primary, header, &[], actions);
        }
    }

    /// What this replica has of its uncommitted suffix: the headers of its log, and for each whether the prepare is here.
    fn claims(&self) -> DoViewChange {
        let headers = self.log.window(self.commit_max.op(), SUFFIX_MAX as u64);
        let claims = headers.iter().map(|header| self.claim(header)).collect();
        DoViewChange { headers, claims, members: self.promised().members.clone() }
    }

    /// Damage is never "never had": what cannot be read may have been acknowledged.
    fn claim(&self, header: &Header) -> Claim {
        match self.journal.held(header.op) {
            // Executed, and in the checkpoint (design rule 12). That is at most the lowest of these, which this replica knows to be
            // committed, so that nobody counts what it claims of it.
            _ if header.op <= self.checkpoints.op() => Claim::Present,
            Held::Prepare(checksum) if checksum == header.checksum => Claim::Present,
            Held::Prepare(_) | Held::Nothing => Claim::NeverHad,
            Held::Unknown => Claim::Unknown,
        }
    }

    /// Whether these are the last headers of a log up to the head that `frame` states, and reach down to what it says is
    /// committed.
    fn is_window(&self, frame: &Header, window: &[Header]) -> bool {
        let (Some(first), Some(last)) = (window.first(), window.last()) else { return false };
        let sound = |header: &Header| header.cluster == self.config.cluster && header.view <= frame.view;
        last.op == frame.op
            && first.op <= frame.commit.op().min(frame.op)
            && window.len() <= SUFFIX_MAX
            && window.iter().all(|header| sound(header) && is_countable(header))
            && message::is_chained(window)
    }

    /// A replica that has left for this view says what it has.
    pub(super) fn on_do_view_change(&mut self, peer: ReplicaId, header: &Header, body: &[u8], actions: &mut Actions) {
        if header.view > self.view {
            self.on_later_view(header.view, actions);
        }
        if header.view < self.view || self.primary_of_view() != self.config.replica {
            return;
        }
        if self.status == Status::Normal {
            return self.send_start_view(Some(peer), 0, actions);
        }
        let Ok(body) = message::decode_do_view_change(body) else { return actions.probe(Probe::BadFrame.into()) };
        if !self.is_window(header, &body.headers) {
            return actions.probe(Probe::BadFrame.into());
        }
        self.hear_members(&body.members, actions);
        let incarnation = header.client.0;
        if !self.is_member(peer, incarnation) {
            return actions.probe(Probe::StrangerIgnored.into());
        }
        let (log_view, head, commit) = (View(header.request.0), header.op, header.commit);
        let ballot = Ballot { incarnation, log_view, head, commit, body };
        if ballot.log_view >= self.view {
            return actions.probe(Probe::BadFrame.into());
        }
        self.change.received[peer.0 as usize] = Some(ballot);
        self.choose_log(actions);
    }

    /// With a quorum of `do_view_change`: the log of the highest log view, less what a drop quorum never had (design rule 7).
    pub(super) fn choose_log(&mut self, actions: &mut Actions) {
        let own = self.config.replica;
        let spoken = self.promised().view == self.view;
        if self.status != Status::ViewChange
            || self.change.installing
            || self.primary_of_view() != own
            || self.log_view == self.view
            || !self.may_vote_in(self.view)
        {
            return;
        }
        if self.head_certain && spoken {
            let (log_view, head, commit, incarnation) =
                (self.log_view, self.log.head(), self.commit_max, self.roster.own);
            let ballot = Ballot { incarnation, log_view, head, commit, body: self.claims() };
            self.change.received[own.0 as usize] = Some(ballot);
        }
        let ballots: Vec<Ballot> = self.change.received.iter().flatten().cloned().collect();
        if ballots.len() < majority(self.config.replica_count) as usize {
            return;
        }
        let Some((commit, window)) = decide(&ballots, drop_quorum(self.config.replica_count), actions) else { return };
        if window[window.len() - 1].op > self.log.head() {
            actions.probe(Probe::LogAdopted.into());
        }
        self.install(commit, &window, actions);
    }

    /// Takes over the log of the view that it is entering, and makes both durable together.
    fn install(&mut self, commit: CommitIndex, window: &[Header], actions: &mut Actions) {
        let head = window[window.len() - 1].op;
        assert!(head >= self.applied && head >= commit.op(), "what is committed is in every later log");
        for header in window {
            let known = self.log.get(header.op);
            let replaced = known.is_some_and(|known| known.checksum != header.checksum);
            // Below a checkpoint that was taken in place of ops there may be leftovers of earlier views, which the chain does not reach.
            let executed = self.log.get_tied(header.op).filter(|_| header.op <= self.applied);
            let same = executed.is_none_or(|known| known.checksum == header.checksum);
            assert!(same, "what was executed never changes");
            if replaced {
                actions.probe(Probe::LogTruncated.into());
            }
        }
        if head < self.log.head() {
            actions.probe(Probe::LogTruncated.into());
        }
        self.log.install(window);
        for header in window {
            self.hear_vouched(vouched_in(header), actions);
        }
        self.commit_max = self.commit_max.max(commit);
        self.log_view = self.view;
        self.head_certain = true;
        // What was held of the former log need not be in this one, above what was executed.
        self.held_through = self.held_through.min(self.applied).max(self.checkpoints.op());
        (self.change.installing, self.change.settling) = (true, true);
        self.promise_installed(actions);
    }

    /// Makes the view and the log that was taken over durable, as soon as the journal writes nothing any more that is not of that log. An
    /// entry of the ring that is torn when this log is durable leaves its head uncertain, and a power cut alone must not do that on
    /// every replica (design rule 3).
    #[inline]
    pub(super) fn promise_installed(&mut self, actions: &mut Actions) {
        if self.change.settling && !self.journal.writes_beside(&self.log) {
            self.change.settling = false;
            let promise = self.promise();
            self.durable_mut().request(promise, actions);
        }
    }

    /// The view and its log are durable: in it.
    fn finish_install(&mut self, actions: &mut Actions) {
        assert!(self.log_view == self.view && self.change.installing);
        (self.change.installing, self.change.settling) = (false, false);
        self.change.attempts = 0;
        self.change.votes = Default::default();
        self.change.received = Default::default();
        self.enter_normal();
        if self.is_primary() {
            actions.probe(Probe::ViewStarted.into());
            self.send_start_view(None, 0, actions);
        } else {
            actions.probe(Probe::ViewJoined.into());
        }
        self.acknowledge_afresh(actions);
        self.repair(actions);
    }

    /// Normal from here on, in the view whose log this is.
    pub(super) fn enter_normal(&mut self) {
        assert!(self.log_view == self.view && self.head_certain);
        self.status = Status::Normal;
        self.timers.stop(Timer::ViewMessage);
        self.heard = [self.now.monotonic; REPLICAS_MAX as usize];
        self.primary_heard = self.now.monotonic;
        if self.is_primary() {
            self.primary.start_head = self.log.head();
            self.primary.progress_at = self.now.monotonic;
            self.start_counting();
            self.timers.stop(Timer::Election);
            self.timers.set(Timer::Heartbeat, self.after(self.config.timeouts.heartbeat_ns));
            if !self.primary.acks.is_empty() {
                self.timers.set(Timer::Resend, self.after(self.config.timeouts.resend_ns));
            }
        } else {
            self.arm_election();
        }
    }

    /// Tells one backup, or all, what the log of this view is.
    fn send_start_view(&mut self, to: Option<ReplicaId>, nonce: u128, actions: &mut Actions) {
        assert!(self.is_primary());
        let mut header = self.header(Command::StartView);
        header.op = self.log.head();
        header.commit = self.commit_max;
        header.context = nonce;
        let mut body = Vec::new();
        message::encode_headers(&self.log.window(self.commit_max.op(), SUFFIX_MAX as u64), &mut body);
        match to {
            Some(peer) => self.send(peer, header, &body, actions),
            None => self.broadcast(header, &body, actions),
        }
    }

    /// A replica that does not know its own head asks for this view's.
    pub(super) fn on_request_start_view(&mut self, peer: ReplicaId, header: &Header, actions: &mut Actions) {
        if header.view > self.view {
            return self.on_later_view(header.view, actions);
        }
        if self.is_primary() {
            self.note_asking(peer);
            self.send_start_view(Some(peer), header.context, actions);
        }
    }

    /// The log of a view, from its primary.
    pub(super) fn on_start_view(&mut self, peer: ReplicaId, header: &Header, body: &[u8], actions: &mut Actions) {
        let late = header.view < self.view || (header.view == self.view && self.status == Status::Normal);
        if late || (header.view == self.view && self.change.installing) {
            return;
        }
        if header.view.primary(self.config.replica_count) != peer {
            return actions.probe(Probe::BadFrame.into());
        }
        // In a view that it has acknowledged prepares of, only an answer to its own question can tell it its head: an older
        // `start_view` of the same view, delayed, would take back what it acknowledged since.
        if header.view == self.log_view && (self.head_certain || header.context != self.change.nonce) {
            return;
        }
        let Ok(message::Headers { headers: window }) = message::decode_headers(body) else {
            return actions.probe(Probe::BadFrame.into());
        };
        if !self.is_window(header, &window) || header.op < self.commit_max.max(header.commit).op() {
            return actions.probe(Probe::BadFrame.into());
        }
        if header.view > self.view {
            actions.probe(Probe::LaterViewSeen.into());
            self.forget_view(header.view);
            self.enter(header.view);
        }
        self.install(header.commit, &window, actions);
        self.hear_commit(header.commit);
    }
}

/// Chooses a view's log from a quorum of ballots. None while an op is neither available nor droppable.
///
/// # Panics
/// If two logs of one view disagree, or one lacks what is committed: then a safety rule was broken before.
fn decide(ballots: &[Ballot], drop_quorum: u8, actions: &mut Actions) -> Option<(CommitIndex, Vec<Header>)> {
    let log_view = ballots.iter().map(|ballot| ballot.log_view).max()?;
    let commit = ballots.iter().map(|ballot| ballot.commit).max()?;
    let newest = || ballots.iter().filter(move |ballot| ballot.log_view == log_view);
    let best = newest().max_by_key(|ballot| ballot.head)?;
    for ballot in newest() {
        for header in &ballot.body.headers {
            let same = header_at(best, header.op).is_none_or(|known| known.checksum == header.checksum);
            assert!(same, "one view has one log: two differ at {}", header.op);
        }
    }
    assert!(best.head >= commit.op(), "what is committed is in the newest log");
    let mut head = best.head;
    for header in best.body.headers.iter().filter(|header| !commit.covers(header.op)) {
        let claims = || ballots.iter().map(|ballot| claim_of(ballot, header));
        if claims().any(|claim| claim == Claim::Present) {
            continue;
        }
        let never_had = claims().filter(|claim| *claim == Claim::NeverHad).count();
        if never_had < drop_quorum as usize {
            actions.probe(Probe::OpUndecided.into());
            return None;
        }
        actions.probe(Probe::OpDropped.into());
        head = header.op.previous();
        break;
    }
    let window = best.body.headers.iter().filter(|header| header.op <= head).copied().collect();
    Some((commit, window))
}

fn header_at(ballot: &Ballot, op: Op) -> Option<&Header> {
    let first = ballot.body.headers.first()?.op;
    ballot.body.headers.get(usize::try_from(op.0.checked_sub(first.0)?).ok()?)
}

/// What a ballot says of one prepare of the new log. Above a certain head it was never had; another prepare in its place in the
/// sender's log means the same, unless the slot is damaged; silence claims nothing.
fn claim_of(ballot: &Ballot, header: &Header) -> Claim {
    if header.op > ballot.head {
        return Claim::NeverHad;
    }
    let Some(known) = header_at(ballot, header.op) else { return Claim::Unknown };
    let claim = ballot.body.claims[(header.op.0 - ballot.body.headers[0].op.0) as usize];
    match claim {
        Claim::Unknown => Claim::Unknown,
        _ if known.checksum != header.checksum => Claim::NeverHad,
        claim => claim,
    }
}

#[cfg(test)]
mod tests;
