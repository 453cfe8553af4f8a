//! Many sessions over one connection to each replica, without a thread: whoever owns them gives them turns.
//!
//! A request goes to a free session, the one that was used last, so that no more are registered than are needed; else it waits. An
//! answer is for the session whose client it names. Nothing looks at all sessions: what there is to do is found by client, by
//! alarm, or because a replica can be reached again. But for when a connection ends: what was sent over it may have been in vain.
//!
//! Invariants: as long as a request waits, every session is occupied; a request that was given to a session stays with it until
//! it is settled, whether or not anybody still waits to hear of it; each tag comes out once. A query is given up when nobody waits for it.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::SocketAddr,
    os::fd::BorrowedFd,
    time::Duration,
};

use chronon::{
    app::{application::Rejection, executor},
    client::{Answered, Client, ClientConfig, ClientProbe, Freshness, Outcome, Queried},
    env::{Clock, Network},
    frame::Frame,
    process::{Action, Actions},
    types::{ClientId, ClusterId, Instant, NodeId, ReplicaId, View},
    vsr::quorum::REPLICAS_MAX,
    wire::{HEADER_SIZE, Header, open},
};

use super::{
    Answer, ConnectError, Options, RequestError,
    alarms::Alarms,
    given::Given,
    learn::learn,
    queue::{Queue, Waiting},
};
use crate::{
    clock::SystemClock,
    runner::random,
    tcp::{Limits, Speaker, TcpConfig, TcpNetwork},
};

/// Many sessions, each with one request in flight, and the requests that wait for one. `T` names a request to its owner.
pub struct Sessions<T> {
    network: TcpNetwork,
    clock: SystemClock,
    cluster: ClusterId,
    replica_count: u8,
    payload_size_max: usize,
    clients_max: Option<u32>,
    sessions: Vec<Session<T>>,
    /// The latest view that any of them has heard of: the next one to ask begins there.
    view: View,
    /// Whose an answer is.
    by_client: BTreeMap<ClientId, u32>,
    /// Sessions with nothing in flight, the one that was used last at the end.
    free: Vec<u32>,
    waiting: Queue<T>,
    alarms: Alarms,
    /// What could not be sent because the replica was not to be reached, by replica and session.
    parked: BTreeMap<(NodeId, u32), Frame>,
    /// Replicas that took on no more clients when they were last dialled, and how many those have.
    crowds: BTreeMap<ReplicaId, u64>,
    done: VecDeque<(T, Result<Answer, RequestError>)>,
    actions: Actions,
}

/// One session, or what will become one.
struct Session<T> {
    client: Client,
    /// The client's, as it is in `by_client`.
    id: ClientId,
    asked: Option<Asked<T>>,
    /// Where its frame waits to be sent to, if it does.
    parked: Option<NodeId>,
}

/// A request or a query that is in flight.
struct Asked<T> {
    /// Nobody waits to hear of it any more if none.
    tag: Option<T>,
    is_query: bool,
    expiry: Instant,
    length: usize,
    given: Given,
}

impl<T> Session<T> {
    /// When to look at it next.
    fn alarm(&self) -> Option<Instant> {
        let expiry = self.asked.as_ref().filter(|asked| asked.tag.is_some()).map(|asked| asked.expiry);
        match (self.client.deadline(), expiry) {
            (Some(deadline), Some(expiry)) => Some(deadline.min(expiry)),
            (deadline, expiry) => deadline.or(expiry),
        }
    }
}

impl<T> Sessions<T> {
    /// Sessions with the cluster whose replicas have these addresses, in their order. A cluster that `options` say nothing of is
    /// asked, which blocks; nothing else does before the first [`Sessions::turn`].
    ///
    /// # Errors
    /// If there is no such cluster, or if the system refuses.
    pub fn connect(addresses: &[SocketAddr], options: &Options) -> Result<Self, ConnectError> {
        Self::connect_as(addresses, options, false)
    }

    /// The same, for an operator or for clients.
    pub(super) fn connect_as(
        addresses: &[SocketAddr],
        options: &Options,
        is_operator: bool,
    ) -> Result<Self, ConnectError> {
        if !(1..=usize::from(REPLICAS_MAX)).contains(&addresses.len()) {
            return Err(ConnectError::Addresses(addresses.len()));
        }
        if options.sessions == 0 {
            return Err(ConnectError::NoSessions);
        }
        let (cluster, view, clients_max) = match options.cluster {
            Some(cluster) => (cluster, View(0), None),
            None => {
                let learned = learn(addresses, options.patience, options.applications)?;
                (learned.cluster, learned.view, Some(learned.clients_max))
            }
        };
        let frame_size_max = cluster.message_size_max.max(HEADER_SIZE as u32);
        // What waits to be sent is held by the sessions anyway; a few repetitions more are no matter.
        let queue_bytes_max = (frame_size_max as usize + 4).saturating_mul(options.sessions as usize + 4);
        let limits = Limits { frame_size_max, queue_bytes_max };
        let config = TcpConfig::new(cluster.id, Speaker::Client, addresses.to_vec(), limits);
        let mut sessions = Self {
            network: TcpNetwork::new(config, None)?,
            clock: SystemClock,
            cluster: cluster.id,
            replica_count: addresses.len() as u8,
            payload_size_max: cluster.payload_size_max(),
            clients_max,
            sessions: Vec::new(),
            view,
            by_client: BTreeMap::new(),
            free: (0..options.sessions).rev().collect(),
            waiting: Queue::new(options.queue_max),
            alarms: Alarms::new(options.sessions),
            parked: BTreeMap::new(),
            crowds: BTreeMap::new(),
            done: VecDeque::new(),
            actions: Actions::new(),
        };
        for place in 0..options.sessions {
            sessions.add(place, is_operator)?;
        }
        Ok(sessions)
    }

    fn add(&mut self, place: u32, is_operator: bool) -> io::Result<()> {
        let config = ClientConfig {
            payload_size_max: self.payload_size_max as u32,
            ..ClientConfig::new(self.cluster, ClientId(random()?), self.replica_count)
        };
        let mut client = if is_operator { Client::operator(config) } else { Client::new(config) };
        client.begin(random()?);
        let id = client.id();
        self.by_client.insert(id, place);
        self.sessions.push(Session { client, id, asked: None, parked: None });
        Ok(())
    }

    /// Has [`Sessions::turn`] return when `descriptor` becomes readable, too.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn watch(&mut self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        self.network.watch(descriptor)
    }

    /// The longest payload that the cluster takes.
    pub const fn payload_size_max(&self) -> usize {
        self.payload_size_max
    }

    /// How many sessions the cluster has room for, of all clients together, if it was asked: where more are used, they evict each other.
    pub const fn clients_max(&self) -> Option<u32> {
        self.clients_max
    }

    /// Whether a request that is asked now would not have to wait for another.
    pub fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// How many requests are in flight, or wait to be.
    pub fn occupied(&self) -> usize {
        self.sessions.len() - self.free.len() + self.waiting.len()
    }

    /// Asks the cluster something, before `expiry` on the system's monotonic clock ([`SystemClock`]). It leaves with the next turn;
    /// what became of it is told by [`Sessions::next`].
    pub fn submit(&mut self, tag: T, payload: impl AsRef<[u8]> + Into<Vec<u8>>, expiry: Instant) {
        self.submit_as(None, tag, payload, expiry);
    }

    /// The same with a query, which changes nothing: it is in flight for as long as it is not answered, and not beyond `expiry`.
    pub fn query(&mut self, freshness: Freshness, tag: T, payload: impl AsRef<[u8]> + Into<Vec<u8>>, expiry: Instant) {
        self.submit_as(Some(freshness), tag, payload, expiry);
    }

    /// A query of this freshness, or a request.
    pub(super) fn submit_as(
        &mut self,
        query: Option<Freshness>,
        tag: T,
        payload: impl AsRef<[u8]> + Into<Vec<u8>>,
        expiry: Instant,
    ) {
        if payload.as_ref().len() > self.payload_size_max {
            let limit = self.payload_size_max;
            self.done.push_back((tag, Err(RequestError::TooLarge { limit })));
        } else if let Some(place) = self.free.pop() {
            let now = self.clock.monotonic();
            self.ask(now, place, tag, query, payload.as_ref(), expiry);
        } else if self.waiting.is_full() {
            self.done.push_back((tag, Err(RequestError::QueueFull)));
        } else {
            self.waiting.push(Waiting { tag, query, payload: payload.into(), expiry });
        }
    }

    /// The next request of which it is known what became, or that nothing will be known.
    #[expect(clippy::should_implement_trait, reason = "none now does not mean none later, as it would of an iterator")]
    pub fn next(&mut self) -> Option<(T, Result<Answer, RequestError>)> {
        self.done.pop_front()
    }

    /// Sends what was asked, waits until something comes, or until it is time to ask again, or until `patience` is over, and takes
    /// what came.
    ///
    /// # Errors
    /// If the system cannot tell what happens on the sockets any more.
    pub fn turn(&mut self, patience: Duration) -> io::Result<()> {
        let patience = if self.done.is_empty() { self.patience(patience) } else { Duration::ZERO };
        self.network.wait(patience)?;
        let now = self.clock.monotonic();
        while let Some((from, frame)) = self.network.receive() {
            self.on_frame(now, from, &frame);
        }
        self.note_partings();
        self.on_time(now);
        self.send_parked();
        Ok(())
    }

    /// At most `patience`, and no longer than until something has to be looked at.
    fn patience(&mut self, patience: Duration) -> Duration {
        let next = self.alarms.next().into_iter().chain(self.waiting.next_expiry()).min();
        let Some(next) = next else { return patience };
        Duration::from_nanos(next.since(self.clock.monotonic())).min(patience)
    }

    fn ask(&mut self, now: Instant, place: u32, tag: T, query: Option<Freshness>, payload: &[u8], expiry: Instant) {
        let session = &mut self.sessions[place as usize];
        session.client.hear_view(self.view);
        match query {
            None => session.client.submit(now, payload, &mut self.actions),
            Some(freshness) => session.client.query(now, freshness, payload, &mut self.actions),
        }
        session.asked = Some(Asked {
            tag: Some(tag),
            is_query: query.is_some(),
            expiry,
            length: payload.len(),
            given: Given::default(),
        });
        self.perform(place, None);
    }

    fn on_frame(&mut self, now: Instant, from: NodeId, frame: &Frame) {
        let place = Header::client_of(frame).and_then(|client| self.by_client.get(&client).copied());
        let Some(place) = place else {
            // Said to a session that was given up, unless it is no frame at all.
            if open(frame, self.cluster).is_err() {
                self.network.blame(from);
            }
            return;
        };
        let session = &mut self.sessions[place as usize];
        let length = session.asked.as_ref().map_or(0, |asked| asked.length);
        let outcome = session.client.on_frame(now, frame, &mut self.actions).map(|outcome| own(outcome, frame, length));
        self.view = self.view.max(session.client.view());
        self.perform(place, Some(from));
        if let Some(result) = outcome {
            self.settle(now, place, result);
        }
    }

    /// A request is no longer in flight: its session is free for the next one.
    fn settle(&mut self, now: Instant, place: u32, result: Result<Answer, RequestError>) {
        self.unpark(place);
        let session = &mut self.sessions[place as usize];
        if session.client.id() != session.id {
            self.by_client.remove(&session.id);
            session.id = session.client.id();
            self.by_client.insert(session.id, place);
        }
        let asked = session.asked.take();
        if let Some(tag) = asked.and_then(|asked| asked.tag) {
            self.done.push_back((tag, result));
        }
        match self.waiting.pop() {
            Some(Waiting { tag, query, payload, expiry }) => self.ask(now, place, tag, query, &payload, expiry),
            None => self.free.push(place),
        }
    }

    /// Takes notice of connections that ended.
    fn note_partings(&mut self) {
        for (replica, parting) in self.network.partings() {
            for asked in self.sessions.iter_mut().filter_map(|session| session.asked.as_mut()) {
                asked.given.parted(replica, parting);
            }
            match parting.crowd {
                Some(clients) => self.crowds.insert(replica, clients),
                None => self.crowds.remove(&replica),
            };
        }
    }

    /// Why nobody answers, if it is that a replica takes on no more clients.
    fn crowded(&self) -> Option<RequestError> {
        let mut crowds = self.crowds.iter().filter(|(replica, _)| !self.network.is_connected(replica.node()));
        crowds.next().map(|(&replica, &clients)| RequestError::Crowded { replica, clients })
    }

    /// The time of what a session was asked is up.
    fn on_expiry(&mut self, now: Instant, place: u32) {
        let crowded = self.crowded();
        let Session { client, asked, .. } = &mut self.sessions[place as usize];
        let Some(asked) = asked.as_mut() else { return };
        if asked.is_query {
            client.abandon_query(&mut self.actions);
            self.settle(now, place, Err(crowded.unwrap_or(RequestError::Unanswered)));
        } else if let Some(crowded) = crowded.filter(|_| asked.given.is_to_nobody() && asked.tag.is_some())
            && let Ok(nonce) = random()
        {
            // Nor will it be given to anybody: it was the session's that is given up.
            client.begin(nonce);
            self.settle(now, place, Err(crowded));
        } else if let Some(tag) = asked.tag.take() {
            self.done.push_back((tag, Err(RequestError::TimedOut)));
        }
    }

    /// Looks at what has waited for long enough.
    fn on_time(&mut self, now: Instant) {
        while let Some(waiting) = self.waiting.pop_expired(now) {
            self.done.push_back((waiting.tag, Err(self.crowded().unwrap_or(RequestError::QueueFull))));
        }
        while let Some(place) = self.alarms.ring(now) {
            let asked = self.sessions[place as usize].asked.as_ref();
            if asked.is_some_and(|asked| asked.expiry <= now) {
                self.on_expiry(now, place);
            }
            self.sessions[place as usize].client.on_deadline(now, &mut self.actions);
            self.perform(place, None);
        }
    }

    /// Does what the client of a session asks for; `from` is who sent the frame that it was given, if it was given one.
    fn perform(&mut self, place: u32, from: Option<NodeId>) {
        for action in self.actions.take() {
            match action {
                Action::Send { to, frame } => self.send(place, to, frame),
                Action::Probe(probe) if probe == ClientProbe::BadFrame.into() => {
                    from.into_iter().for_each(|from| self.network.blame(from));
                }
                Action::Probe(_) => {}
                other => panic!("a client sends, and does nothing else: {other:?}"),
            }
        }
        if let Some(time) = self.sessions[place as usize].alarm() {
            self.alarms.set(place, time);
        }
    }

    /// Sends a session's frame, or keeps it until the replica can be reached. What a session sent before need not be sent any more.
    fn send(&mut self, place: u32, to: NodeId, frame: Frame) {
        self.unpark(place);
        if self.network.is_connected(to) {
            self.give(place, to, frame);
        } else {
            self.parked.insert((to, place), frame);
            self.sessions[place as usize].parked = Some(to);
        }
    }

    fn give(&mut self, place: u32, to: NodeId, frame: Frame) {
        self.network.send(to, frame);
        if let Some(asked) = &mut self.sessions[place as usize].asked {
            asked.given.sent(to);
        }
    }

    fn unpark(&mut self, place: u32) {
        if let Some(node) = self.sessions[place as usize].parked.take() {
            self.parked.remove(&(node, place));
        }
    }

    /// Sends what waits for a replica that can be reached by now.
    fn send_parked(&mut self) {
        if self.parked.is_empty() {
            return;
        }
        for node in (0..u32::from(self.replica_count)).map(NodeId) {
            while self.network.is_connected(node)
                && let Some(place) =
                    self.parked.range((node, 0)..=(node, u32::MAX)).next().map(|((_, place), _)| *place)
                && let Some(frame) = self.parked.remove(&(node, place))
            {
                self.sessions[place as usize].parked = None;
                self.give(place, node, frame);
            }
        }
    }
}

/// What became of a request of `length` bytes, as the answer `frame` says. A response is the beginning of its body.
fn own(outcome: Outcome<'_>, frame: &Frame, length: usize) -> Result<Answer, RequestError> {
    let result = |answer: executor::Answer<'_>| match answer {
        executor::Answer::Applied(response) => Ok(frame.slice(HEADER_SIZE, HEADER_SIZE + response.len())),
        executor::Answer::Rejected { code, detail } => Err(Rejection { code, detail: detail.to_vec() }),
    };
    match outcome {
        Outcome::Answered(Answered { op, timestamp, answer, .. }) => {
            Ok(Answer { op, timestamp: Some(timestamp), result: result(answer) })
        }
        Outcome::Queried(Queried { op, answer }) => Ok(Answer { op, timestamp: None, result: result(answer) }),
        Outcome::Unknown => Err(RequestError::Evicted),
        // A replica has a lower limit than the one that was asked, or than what this client was told.
        Outcome::TooLarge => Err(RequestError::TooLarge { limit: length.saturating_sub(1) }),
    }
}

#[cfg(test)]
mod tests;
