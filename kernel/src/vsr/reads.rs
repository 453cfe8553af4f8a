//! Queries: questions to the state that leave nothing in the log.
//!
//! A *linearizable* query is answered by the primary after a round that began when the query was there already: a majority, the
//! primary among it, says that it is still in this view (design rule 14). Viewstamped Replication Revisited (Liskov and Cowling
//! 2012, section 6.3) has the primary read by itself under leases, which rest on clocks; this rests on none. It is the read-index
//! round of Ongaro's dissertation on Raft (2014, section 6.4): what it takes to answer is what was committed when the query came, and,
//! as there, something of the view itself, here its whole starting log.
//!
//! Why no write is missed that was executed anywhere before the query was sent: had it been in a later view, a majority would have
//! left this one before, and one of it would have had to be among those that said after it that they had not. In this view, the
//! primary is the first to know that something is committed, and knew it when the query came. Of an earlier view, it is
//! in the starting log.
//!
//! One round is in flight at a time and serves all that waited when it began; those that come meanwhile wait for the next. A *stale*
//! query is answered by any replica at once, from what it has executed. Both are told the op that the answer is true at.
//!
//! A query has no session, uses up no request number and is in no table once it is answered: repeated, it is answered again, and a
//! hostile one takes the room of one query and nothing else. What is lost, the client sends again.

use alloc::collections::BTreeMap;

use crate::{
    frame::Frame,
    process::Actions,
    types::{ClientId, CommitIndex, NodeId, Op, ReplicaId, RequestNumber},
    vsr::{
        Status, Vsr,
        commit::StateMachine,
        probe::Probe,
        quorum::{ReplicaSet, majority},
        timer::Timer,
    },
    wire::{
        header::{Command, HEADER_SIZE, Header, QUERY_LINEARIZABLE, QUERY_STALE},
        message::RejectReason,
        seal::seal,
    },
};

/// How often the time-out of a round that nobody answers is doubled.
const BACKOFF_MAX: u32 = 4;

/// The queries at a replica.
#[derive(Clone, Default)]
pub(super) struct Reads {
    /// Linearizable queries that no round serves yet. Only at a primary.
    waiting: Queries,
    /// The round in flight, and the queries that it serves.
    round: Option<Round>,
    /// The nonce of the last round. Never begins anew in a life, and no life serves in a view of another (design rule 2): with the
    /// view it names one round alone.
    nonce: u128,
    /// A query that may be answered from whatever was executed. Empty between steps.
    stale: Option<Query>,
}

/// By client and number.
type Queries = BTreeMap<(ClientId, RequestNumber), Query>;

/// A client's query.
#[derive(Clone)]
struct Query {
    from: NodeId,
    header: Header,
    frame: Frame,
}

/// One question of the primary: is this still the view?
#[derive(Clone)]
struct Round {
    queries: Queries,
    /// Who says so.
    confirmed: ReplicaSet,
    /// What was committed when it began, after the last of its queries had come.
    commit: CommitIndex,
    /// How often it was sent again.
    attempts: u32,
}

impl Reads {
    /// How many queries are held.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.round.as_ref().map_or(0, |round| round.queries.len())
    }

    /// Forgets what belonged to a view that is over: who asked will ask again.
    pub(super) fn forget_view(&mut self) {
        self.waiting.clear();
        self.round = None;
    }

    /// What another data file said in this replica's place confirms nothing any more.
    pub(super) fn forget_replica(&mut self, replica: ReplicaId) {
        if let Some(round) = &mut self.round {
            round.confirmed.remove(replica);
        }
    }

    /// The query of this client and number that is held already.
    fn held(&mut self, header: &Header) -> Option<&mut Query> {
        let key = (header.client, header.request);
        let in_round = self.round.as_mut().and_then(|round| round.queries.get_mut(&key));
        in_round.or_else(|| self.waiting.get_mut(&key))
    }
}

impl Vsr {
    /// A client's query. What it is to be answered with follows from [`Vsr::commit`], which runs it.
    pub(super) fn on_query(&mut self, from: NodeId, header: &Header, frame: &Frame, actions: &mut Actions) {
        if header.size - HEADER_SIZE as u32 > self.config.payload_size_max() {
            return self.reject(from, header, RejectReason::TooLarge, actions);
        }
        let query = Query { from, header: *header, frame: frame.clone() };
        match header.context {
            QUERY_STALE => {
                // A replica that was just made has nothing to say yet.
                let has_state = self.status == Status::Normal || self.applied > Op::ROOT;
                if has_state && !self.checkpoints.is_restoring {
                    self.reads.stale = Some(query);
                }
            }
            QUERY_LINEARIZABLE if self.is_primary() => self.accept_query(query, actions),
            QUERY_LINEARIZABLE => {
                if self.status == Status::Normal {
                    actions.probe(Probe::Redirected.into());
                    self.reject(from, header, RejectReason::NotPrimary, actions);
                }
            }
            _ => actions.probe(Probe::BadFrame.into()),
        }
    }

    fn accept_query(&mut self, query: Query, actions: &mut Actions) {
        if let Some(held) = self.reads.held(&query.header) {
            // It was there before the round that serves it, and is now.
            held.from = query.from;
            return actions.probe(Probe::QueryRepeated.into());
        }
        if self.reads.len() >= self.config.queries_max as usize {
            actions.probe(Probe::QueryBusy.into());
            return self.reject(query.from, &query.header, RejectReason::Busy, actions);
        }
        self.reads.waiting.insert((query.header.client, query.header.request), query);
        self.start_round(actions);
    }

    /// Begins a round for all that wait, unless one is in flight.
    fn start_round(&mut self, actions: &mut Actions) {
        if self.reads.round.is_some() || self.reads.waiting.is_empty() {
            return;
        }
        assert!(self.is_primary(), "only a primary holds queries");
        let queries = core::mem::take(&mut self.reads.waiting);
        if queries.len() > 1 {
            actions.probe(Probe::QueriesBatched.into());
        }
        let mut confirmed = ReplicaSet::default();
        confirmed.insert(self.config.replica);
        self.reads.nonce += 1;
        self.reads.round = Some(Round { queries, confirmed, commit: self.commit_max, attempts: 0 });
        actions.probe(Probe::ReadRound.into());
        if !self.is_confirmed() {
            self.send_round(actions);
        }
    }

    /// Asks those that have not confirmed the round, and sees to it that they are asked again.
    fn send_round(&mut self, actions: &mut Actions) {
        let Some(round) = &self.reads.round else { return };
        let confirmed = round.confirmed;
        let mut header = self.header(Command::ReadRound);
        header.context = self.reads.nonce;
        let (_, frame) = seal(header, &[], actions);
        for peer in self.peers().filter(|peer| !confirmed.contains(*peer)) {
            actions.send(peer.node(), frame.clone());
        }
        self.rearm_round();
    }

    /// A round was not answered in time.
    pub(super) fn on_read_round_timer(&mut self, actions: &mut Actions) {
        let Some(round) = &mut self.reads.round else { return };
        round.attempts += 1;
        if self.is_confirmed() {
            // It waits for the log, and may lose what confirmed it: see [`Reads::forget_replica`].
            return self.rearm_round();
        }
        actions.probe(Probe::ReadRoundRepeated.into());
        self.send_round(actions);
    }

    fn rearm_round(&mut self) {
        let Some(round) = &self.reads.round else { return };
        let at = self.after_jittered(self.config.timeouts.resend_ns << round.attempts.min(BACKOFF_MAX));
        self.timers.set(Timer::ReadRound, at);
    }

    /// A primary asks whether this is still its view. Said only by who is in it.
    pub(super) fn on_read_round(&mut self, peer: ReplicaId, header: &Header, actions: &mut Actions) {
        if header.view > self.view {
            return self.on_later_view(header.view, actions);
        }
        let in_view = header.view == self.view && self.is_backup() && self.may_vote_in(self.view);
        if !in_view || peer != self.primary_of_view() {
            return actions.probe(Probe::ReadRoundOld.into());
        }
        let mut ok = self.header(Command::ReadRoundOk);
        ok.context = header.context;
        ok.request.0 = self.promised().members.version;
        self.send(peer, ok, &[], actions);
    }

    /// A backup confirms a round: this one, of this view, or it does not count.
    pub(super) fn on_read_round_ok(&mut self, peer: ReplicaId, ok: &Header, actions: &mut Actions) {
        if ok.view > self.view {
            return self.on_later_view(ok.view, actions);
        }
        // Who knows of later members knows whose word does not count any more, and this primary does not.
        let same_members = ok.request.0 <= self.roster.known.version;
        let this = ok.view == self.view && ok.context == self.reads.nonce && self.is_primary() && same_members;
        match self.reads.round.as_mut().filter(|_| this) {
            Some(round) => {
                round.confirmed.insert(peer);
            }
            None => actions.probe(Probe::ReadRoundOkOld.into()),
        }
    }

    /// Whether a majority has confirmed the round in flight.
    fn is_confirmed(&self) -> bool {
        let round = self.reads.round.as_ref();
        round.is_some_and(|round| round.confirmed.count() >= majority(self.config.replica_count))
    }

    /// Runs the queries that may be run, now that everything is executed that can be.
    pub(super) fn answer_queries<M: StateMachine>(&mut self, machine: &mut M, actions: &mut Actions) {
        if let Some(query) = self.reads.stale.take() {
            actions.probe(Probe::QueryStale.into());
            self.answer(machine, &query, actions);
        }
        while self.is_confirmed() {
            let executed = self.applied >= self.reads.round.as_ref().map_or(Op::ROOT, |round| round.commit.op());
            if !self.is_serving() || !executed {
                return actions.probe(Probe::QueryBeforeLog.into());
            }
            let Some(round) = self.reads.round.take() else { return };
            self.timers.stop(Timer::ReadRound);
            for query in round.queries.values() {
                actions.probe(Probe::QueryAnswered.into());
                self.answer(machine, query, actions);
            }
            self.start_round(actions);
        }
    }

    /// Answers one query from the state as it is.
    fn answer<M: StateMachine>(&mut self, machine: &mut M, query: &Query, actions: &mut Actions) {
        let mut header = self.header(Command::QueryReply);
        header.client = query.header.client;
        header.request = query.header.request;
        header.context = query.header.context;
        header.op = self.applied;
        self.answering = true;
        let answer = machine.query(&query.frame[HEADER_SIZE..]);
        self.answering = false;
        let (_, frame) = seal(header, answer, actions);
        actions.send(query.from, frame);
    }
}
