//! Who is who: the incarnations of the replicas, which the log commits, and the recovery of one that lost its data file (design
//! rule 5).
//!
//! The *members* are replicated state. Each change of them is an op of its own: the first op of a log, which names every replica that
//! its primary has heard of; later ones, each with one replica that was not seen before, or that takes a lost one's place. Committed
//! members are totally ordered by their version, so that whoever hears of a later version, from whomever, may go by it at once.
//! What a replica says whose incarnation is not the committed one is not heard. One that learns that it was replaced stops.
//!
//! A replica that was formatted in a lost one's place follows the log like any backup, and gives nobody its word: no `prepare_ok`, no
//! vote, no confirmation of a round, no claim. It does once
//!
//! - the op that made it a member, R, is committed by the others, and it durably holds everything through R: whatever its predecessor
//!   acknowledged and was committed lies below R, for nothing above counts that one's word;
//! - a majority, without it, has durably learned of R. So of every quorum of a later view that its predecessor's word could be counted
//!   for, one at least knows better, and says so in its `do_view_change`. Views alone do not keep the two words apart: those who do not
//!   know, and the predecessor with them, go on to views as late as any, without what the recovered one helped to commit;
//! - the view is two above one in which it knew R to be committed. The primary that hears of this moves the view on by itself, or the
//!   recovered replica would wait for somebody else to fail.
//!
//! Why nothing above R counts its predecessor's word: a primary proposes nothing on top of a change of members before it has executed it;
//! and of the log with which its view began it counts an op as committed only when all before it is executed
//! (`Vsr::advance_commit`). With each change go the acknowledgements that the replaced replica gave.

use alloc::vec::Vec;

use crate::{
    process::Actions,
    storage::superblock::{Recovery, Superblock},
    types::{Instant, Op, ReplicaId, View},
    vsr::{
        Status, Vsr,
        durable::Promise,
        probe::Probe,
        quorum::{REPLICAS_MAX, majority},
        requests::Whose,
    },
    wire::{
        batch,
        header::{Command, Header},
        members::{Greeting, Members, VOTES_NEVER},
        seal::seal_with,
    },
};

/// How many election time-outs the first op waits for the clocks to agree.
const TIME_PATIENCE: u64 = 8;

/// What a replica knows of who is who.
#[derive(Clone)]
pub(super) struct Roster {
    /// This replica's own incarnation; 0 before the superblock is open.
    pub(super) own: u128,
    /// The latest that are known to be committed.
    pub(super) known: Members,
    /// As the log that was executed has them: a part of the state.
    pub(super) executed: Members,
    /// The op that gave them, or of a checkpoint that did.
    executed_at: Op,
    /// Whether there is a replica among them that was never seen.
    has_unseen: bool,
    /// How far this replica's own recovery has come. Counts when it is durable.
    pub(super) recovery: Recovery,
    /// Whether the superblock is still to say so.
    is_unpromised: bool,
    peers: [Peer; REPLICAS_MAX as usize],
}

/// What another replica said of itself.
#[derive(Clone, Copy, Default)]
struct Peer {
    /// The incarnation that last greeted.
    greeted: u128,
    /// The version of the members that it last named, whoever it is.
    said: u64,
    /// The same, of the incarnation that is a member: it is durable there.
    version: u64,
    /// The first view in which it votes.
    votes_from: View,
}

/// What a primary is about to change of the members.
#[derive(Clone, Default)]
pub(super) struct Changing {
    /// A replica that asks for a lost one's place.
    asked: Option<(ReplicaId, u128)>,
    /// The change that was proposed, until it is executed: nothing is proposed on top of it.
    op: Option<Op>,
    /// Whose place it gives away. What that one acknowledges does not commit it.
    replaced: Option<ReplicaId>,
    /// When the view began to serve.
    since: Option<Instant>,
}

impl Roster {
    pub(super) fn new() -> Self {
        Self {
            own: 0,
            known: Members::default(),
            executed: Members::default(),
            executed_at: Op::ROOT,
            has_unseen: false,
            recovery: Recovery::default(),
            is_unpromised: false,
            peers: Default::default(),
        }
    }

    /// Recovery has opened the superblock.
    pub(super) fn opened(&mut self, superblock: &Superblock) {
        self.own = superblock.incarnation;
        self.known = superblock.members.clone();
        self.recovery = superblock.recovery;
    }

    fn peer(&mut self, replica: ReplicaId) -> &mut Peer {
        &mut self.peers[replica.0 as usize]
    }

    /// Whether another replica votes in `view`, as far as it has said.
    pub(super) fn votes(&self, peer: ReplicaId, view: View) -> bool {
        self.peers[peer.0 as usize].votes_from <= view
    }
}

impl Changing {
    /// Whether what `replica` acknowledges is not to count for `op`.
    pub(super) fn is_replaced(&self, replica: ReplicaId, op: Op) -> bool {
        self.op == Some(op) && self.replaced == Some(replica)
    }
}

impl Vsr {
    /// The latest members that are known to be committed.
    pub const fn members(&self) -> &Members {
        &self.roster.known
    }

    /// The members as the executed log has them.
    pub const fn executed_members(&self) -> &Members {
        &self.roster.executed
    }

    /// Whether this replica, formatted in a lost one's place, may not give its word yet.
    pub fn is_recovering(&self) -> bool {
        self.durable.as_ref().is_some_and(|durable| durable.superblock().recovery.is_pending)
    }

    /// Whether this replica gives its word in its view. It always does, unless it was formatted in a lost one's place.
    pub fn votes(&self) -> bool {
        self.durable.is_some() && self.may_vote_in(self.view)
    }

    /// The incarnation of this replica's data file; 0 before it is read.
    pub const fn incarnation(&self) -> u128 {
        self.roster.own
    }

    /// Whether this replica may give its word in `view`.
    pub(super) fn may_vote_in(&self, view: View) -> bool {
        let recovery = &self.promised().recovery;
        !recovery.is_pending && view >= recovery.votes_from
    }

    /// What this replica says of itself; with its members, if they are news to `peer`, or to any of the others.
    pub(super) fn own_greeting(&self, peer: Option<ReplicaId>) -> Greeting {
        let durable = self.promised();
        let votes_from = if durable.recovery.is_pending { VOTES_NEVER } else { durable.recovery.votes_from };
        let version = durable.members.version;
        let is_news = |peer: ReplicaId| self.roster.peers[peer.0 as usize].said < version;
        let is_told = peer.map_or_else(|| self.peers().any(is_news), is_news);
        let incarnations = if is_told { durable.members.incarnations.clone() } else { Vec::new() };
        Greeting { vouched_root: self.checkpoints.vouched().root, votes_from, version, incarnations }
    }

    /// Whether what `peer` says is to be heard: whether it is who the log says.
    pub(super) fn is_heard(&mut self, peer: ReplicaId, header: &Header, actions: &mut Actions) -> bool {
        let incarnation = header.client.0;
        match header.command {
            // It is what its checksum says, whoever passes it on.
            Command::Prepare => return true,
            Command::Recover => {
                self.on_recover(peer, header, actions);
                return false;
            }
            // Its members may be later than those known here: judged when they are read.
            Command::DoViewChange => return true,
            _ => {}
        }
        let is_heard = self.is_member(peer, incarnation);
        if !is_heard {
            actions.probe(Probe::StrangerIgnored.into());
        }
        is_heard
    }

    /// A replica greets. What it says of itself, if it is who the log says.
    pub(super) fn hear_greeting(
        &mut self,
        peer: ReplicaId,
        header: &Header,
        body: &[u8],
        actions: &mut Actions,
    ) -> Option<Greeting> {
        let Ok(mut greeting) = Greeting::decode(body) else {
            actions.probe(Probe::BadFrame.into());
            return None;
        };
        if greeting.version > self.roster.known.version && !greeting.incarnations.is_empty() {
            let incarnations = core::mem::take(&mut greeting.incarnations);
            self.hear_members(&Members { version: greeting.version, incarnations }, actions);
        }
        let known = self.roster.peer(peer);
        (known.greeted, known.said) = (header.client.0, greeting.version);
        if !self.is_heard(peer, header, actions) {
            return None;
        }
        let known = self.roster.peer(peer);
        (known.version, known.votes_from) = (greeting.version, greeting.votes_from);
        self.move_on_for(peer, actions);
        Some(greeting)
    }

    /// Whether this is the incarnation of `peer` that is committed. Any is, before one is: who was not there when the log began must
    /// not be missing for ever where those that were are no majority any more.
    pub(super) fn is_member(&self, peer: ReplicaId, incarnation: u128) -> bool {
        [0, incarnation].contains(&self.roster.known.of(peer))
    }

    /// Another replica knows these members to be committed, or the log that was executed does.
    pub(super) fn hear_members(&mut self, members: &Members, actions: &mut Actions) {
        if members.version <= self.roster.known.version {
            return;
        }
        if !members.fit(self.config.replica_count) {
            return actions.probe(Probe::BadFrame.into());
        }
        self.roster.is_unpromised = true;
        let before = core::mem::replace(&mut self.roster.known, members.clone());
        for peer in self.peers() {
            if before.of(peer) != members.of(peer) {
                self.forget_replica(peer);
            }
        }
        let own = members.of(self.config.replica);
        if own == 0 || own == self.roster.own {
            return;
        }
        let was_member = before.of(self.config.replica) == self.roster.own;
        let recovery = &mut self.roster.recovery;
        if recovery.is_pending && !was_member {
            // Whoever was asked first may have known less than others do, and not the last who was lost in this place.
            recovery.replaces = own;
        } else {
            actions.probe(Probe::Superseded.into());
            actions.halt(alloc::format!(
                "this data file was superseded: {} has the incarnation {own:032x} now, and this one is {:032x}; \
                 what it holds counts for nothing any more, and it must not be started again: start from the other one, or, if that is \
                 lost, `recover` the replica anew",
                self.config.replica,
                self.roster.own
            ));
        }
    }

    /// Another data file takes a replica's place: nothing that the former said counts any more.
    fn forget_replica(&mut self, replica: ReplicaId) {
        let incarnation = self.roster.known.of(replica);
        let index = replica.0 as usize;
        let peer = self.roster.peer(replica);
        if peer.greeted != incarnation {
            *peer = Peer { votes_from: VOTES_NEVER, greeted: peer.greeted, said: peer.said, version: 0 };
        }
        for acks in &mut self.primary.acks {
            acks.remove(replica);
        }
        self.reads.forget_replica(replica);
        self.checkpoints.forget_replica(replica);
        self.change.votes[index] = None;
        let received = &mut self.change.received[index];
        if received.as_ref().is_some_and(|ballot| ballot.incarnation != incarnation) {
            *received = None;
        }
    }

    /// A replica asks for a lost one's place.
    fn on_recover(&mut self, peer: ReplicaId, header: &Header, actions: &mut Actions) {
        let (incarnation, known) = (header.client.0, &self.roster.known);
        // A question that names other members is late: who asked may be replaced by now.
        let is_late = known.version == 0 || header.request.0 != known.version || known.of(peer) == incarnation;
        if is_late || incarnation == 0 || self.config.replica_count < 3 {
            return;
        }
        actions.probe(Probe::RecoveryAsked.into());
        if self.is_backup() && peer == self.primary_of_view() {
            // Whoever led this view is gone.
            return self.propose(View(0), actions);
        }
        if self.is_serving() {
            self.primary.changing.asked = Some((peer, incarnation));
        }
    }

    /// Asks the others for the place, once it is durable whose.
    pub(super) fn ask_for_place(&mut self, actions: &mut Actions) {
        let replaces = self.promised().recovery.replaces;
        let known = &self.roster.known;
        if self.promised().recovery.is_pending && replaces != 0 && known.of(self.config.replica) == replaces {
            let mut header = self.header(Command::Recover);
            header.view = self.promised().view;
            header.request.0 = known.version;
            self.broadcast(header, &[], actions);
        }
    }

    /// What a primary is to make of the members next.
    fn members_wanted(&self) -> Option<(Members, Option<ReplicaId>)> {
        let Roster { executed, known, peers, own, .. } = &self.roster;
        let replicas = (0..self.config.replica_count).map(ReplicaId);
        if executed.version == 0 {
            let greeted = |replica: ReplicaId| {
                if replica == self.config.replica { *own } else { peers[replica.0 as usize].greeted }
            };
            let incarnations: Vec<u128> = replicas.map(greeted).collect();
            let seen = incarnations.iter().filter(|incarnation| **incarnation != 0).count();
            let since = self.primary.changing.since.unwrap_or(self.now.monotonic);
            let waited = |times: u64| self.now.monotonic.since(since) >= times * self.config.timeouts.election_ns;
            let enough = if waited(1) { majority(self.config.replica_count) } else { self.config.replica_count };
            // With this op the log's time begins. It had better be the clocks': of what is asked for before they agree, every deadline
            // would be over as soon as they do.
            let is_timed = || waited(TIME_PATIENCE) || self.clock.interval(self.now).is_some();
            return (seen >= usize::from(enough) && is_timed()).then_some((Members { version: 1, incarnations }, None));
        }
        if executed.version != known.version {
            return None;
        }
        if let Some((replica, incarnation)) = self.primary.changing.asked.filter(|(it, new)| executed.of(*it) != *new) {
            return Some((executed.with(replica, incarnation), Some(replica)));
        }
        if !self.roster.has_unseen {
            return None;
        }
        let mut unseen = replicas.filter(|it| executed.of(*it) == 0 && peers[it.0 as usize].greeted != 0);
        unseen.next().map(|replica| (executed.with(replica, peers[replica.0 as usize].greeted), None))
    }

    /// Proposes a change of the members if one is due. Whether other proposals must wait: for the first op, or for the last change.
    #[inline]
    pub(super) fn change_members(&mut self, actions: &mut Actions) -> bool {
        let Changing { asked, op, .. } = &self.primary.changing;
        let Roster { executed, has_unseen, .. } = &self.roster;
        let nothing_due = executed.version > 0 && asked.is_none() && op.is_none() && !has_unseen;
        !nothing_due && self.change_members_if_due(actions)
    }

    #[cold]
    fn change_members_if_due(&mut self, actions: &mut Actions) -> bool {
        if !self.is_serving() {
            return true;
        }
        self.primary.changing.since.get_or_insert(self.now.monotonic);
        if self.primary.changing.op.is_some_and(|op| op > self.applied) {
            return true;
        }
        (self.primary.changing.op, self.primary.changing.replaced) = (None, None);
        let next = self.log.head().next();
        // One at a time, so that these take the system's own room: an operator who has a lost replica recovered waits for no request.
        let has_room = self.admits(Whose::System) && self.journal.window_allows(next, self.promised().head);
        let Some((members, replaced)) = self.members_wanted().filter(|_| has_room) else {
            return self.roster.executed.version == 0;
        };
        actions.probe(Probe::MembersProposed.into());
        let mut bytes = Vec::new();
        members.encode(&mut bytes);
        let header = self.next_header(actions);
        let (header, frame) =
            seal_with(header, batch::entry_size(bytes.len()), actions, |body| batch::push_members(body, &bytes));
        self.primary.changing.asked = None;
        (self.primary.changing.op, self.primary.changing.replaced) = (Some(header.op), replaced);
        self.append_as_primary(&header, &frame, actions);
        true
    }

    /// A committed change of the members. One that does not follow on those before changes nothing.
    pub(super) fn execute_members(&mut self, op: Op, payload: &[u8], actions: &mut Actions) {
        let Ok(members) = Members::decode(payload) else { return };
        if members.version != self.roster.executed.version + 1 || !members.fit(self.config.replica_count) {
            return;
        }
        self.restore_members(members, op, actions);
    }

    /// The executed log, up to `op`, has these members.
    pub(super) fn restore_members(&mut self, members: Members, op: Op, actions: &mut Actions) {
        self.hear_members(&members, actions);
        self.roster.has_unseen = members.incarnations.contains(&0);
        (self.roster.executed, self.roster.executed_at) = (members, op);
    }

    /// Has the superblock say what is known of the members, and how far the own recovery has come.
    #[inline]
    pub(super) fn promise_members(&mut self, actions: &mut Actions) {
        if self.roster.is_unpromised || self.roster.recovery.is_pending {
            self.promise_news(actions);
        }
    }

    #[cold]
    fn promise_news(&mut self, actions: &mut Actions) {
        self.end_recovery(actions);
        let durable = self.durable.as_ref().expect("the superblock is open");
        let (version, recovery) = durable.last();
        if version >= self.roster.known.version && recovery == self.roster.recovery {
            self.roster.is_unpromised = false;
            return;
        }
        let is_idle = durable.is_idle();
        match self.status {
            Status::Normal => {
                let promise = self.promise();
                self.durable_mut().request(promise, actions);
            }
            // With an uncertain head the rest of the superblock stays what it is.
            Status::ViewChange if !self.head_certain && is_idle => {
                let (members, recovery) = (self.roster.known.clone(), self.roster.recovery);
                let promise = Promise { members, recovery, ..Promise::from(self.promised()) };
                self.durable_mut().request(promise, actions);
            }
            // The promise for the next view takes it along.
            Status::ViewChange | Status::Booting => {}
        }
    }

    /// A recovering replica has come to where it may give its word: it holds everything through the op that made it a member, and a
    /// majority of others knows of that.
    fn end_recovery(&mut self, actions: &mut Actions) {
        let own = self.config.replica;
        let Roster { executed, executed_at, recovery, peers, own: incarnation, .. } = &self.roster;
        if !recovery.is_pending || self.status != Status::Normal || executed.of(own) != *incarnation {
            return;
        }
        let (version, through) = (executed.version, *executed_at);
        let informed = self.peers().filter(|peer| peers[peer.0 as usize].version >= version).count();
        self.advance_held();
        if informed < usize::from(majority(self.config.replica_count)) || self.held_through < through {
            return;
        }
        actions.probe(Probe::Recovered.into());
        let votes_from = View(self.view.0 + 2);
        self.roster.recovery = Recovery { is_pending: false, replaces: 0, votes_from };
        self.roster.is_unpromised = true;
    }

    /// A recovered replica waits for a later view: the primary has it begin.
    fn move_on_for(&mut self, peer: ReplicaId, actions: &mut Actions) {
        let votes_from = self.roster.peer(peer).votes_from;
        if self.is_serving() && votes_from > self.view && votes_from != VOTES_NEVER {
            actions.probe(Probe::ViewMovedOn.into());
            self.propose(votes_from, actions);
        }
    }
}
