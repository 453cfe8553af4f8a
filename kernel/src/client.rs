//! The client's side of the protocol: a session, one request in flight, and patience.
//!
//! [`Client`] is the core: it registers through the log, numbers its requests, finds the primary, and asks again until it
//! is answered. Its invariant: a request that it gives a number is sent under that number and session alone, however
//! often, so that the cluster executes it at most once; and what it reports of a request is true of that request,
//! whatever frames arrive late, twice or damaged. [`ClientProcess`] lets a [`Driver`] use it as a process.
//!
//! **Identity.** The client id on the wire is derived from the configured one, the nonce of this life and a count of the
//! sessions that had to be given up. A process that restarts, and a client whose session is gone, is therefore a new
//! client to the cluster: no frame of an earlier session can be taken for one of the present.
//!
//! **Where to ask.** The view that the client knows of says who the primary is. A replica that knows of a later view
//! moves the client on at once; silence moves it to the next replica. Every immediate resend either follows a later
//! view or leads back to the primary of the known one, so replicas that disagree cannot keep a client running in circles.
//!
//! What this deliberately lacks: several requests in flight (use several clients), and giving up. How long to wait for
//! an answer is for the one who asks; the outcome of a request that nobody answered is unknown, not "failed".

mod config;
mod probe;
mod process;

use alloc::vec::Vec;

pub use config::ClientConfig;
pub use probe::ClientProbe;
pub use process::{ClientProcess, Driver, Next};

use crate::{
    app::executor::Answer,
    frame::Frame,
    process::Actions,
    types::{Checksum, ClientId, Instant, Op, ReplicaId, RequestNumber, Session, Timestamp, View},
    wire::{
        header::{Command, Header, OPERATOR, QUERY_LINEARIZABLE, QUERY_NUMBER_FIRST, QUERY_STALE, SENDER_CLIENT},
        message::RejectReason,
        seal::{open_frame, seal},
    },
};

/// So many refusals for being busy, one after another, move a client to the next replica: a primary that was cut off
/// from the others stays full.
const BUSY_BEFORE_ROTATION: u32 = 4;

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome<'a> {
    /// The request was executed, once.
    Answered(Answered<'a>),
    /// The session was evicted. The request was executed once or not at all, and never will be again. It is not sent
    /// anew: only who asked can tell whether that would be right.
    Unknown,
    /// The request is too large. It was not executed and never will be.
    TooLarge,
    /// The query was answered.
    Queried(Queried<'a>),
}

/// How much a query may miss.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freshness {
    /// Nothing that was acknowledged, to anybody, before the query was submitted.
    Linearizable,
    /// Whatever the replica that answers has not executed yet.
    Stale,
}

impl Freshness {
    const fn context(self) -> u128 {
        match self {
            Self::Linearizable => QUERY_LINEARIZABLE,
            Self::Stale => QUERY_STALE,
        }
    }
}

/// The answer to a query.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Queried<'a> {
    /// The op that it is true at: everything up to it is in the answer, and nothing above.
    pub op: Op,
    /// What the application said.
    pub answer: Answer<'a>,
}

/// The answer to a request, and where it stands in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answered<'a> {
    /// The client that asked, as the cluster knows it.
    pub client: ClientId,
    /// Its session.
    pub session: Session,
    /// The request's number in the session.
    pub request: RequestNumber,
    /// The op in which the request committed.
    pub op: Op,
    /// The time of that op.
    pub timestamp: Timestamp,
    /// What the application said.
    pub answer: Answer<'a>,
}

/// The client's side of the protocol.
#[derive(Clone, Debug)]
pub struct Client {
    config: ClientConfig,
    /// Tells the identities of two lives apart. Never a clock: one that was set back would make two lives one client, and the
    /// second would be answered with what the first had asked.
    life: u128,
    /// How many sessions of this life were given up.
    generation: u64,
    id: ClientId,
    session: Option<Session>,
    /// The number of the last request in the session; 0 before the first.
    request: RequestNumber,
    /// How many queries this life has submitted.
    queries: u64,
    /// The latest view heard of.
    view: View,
    /// The replica to ask.
    target: ReplicaId,
    /// The replica that was last asked in turn. Apart from `target`, so that one that leads back to a dead primary again
    /// and again does not keep the client from asking the others.
    turn: ReplicaId,
    /// What was sent and is not answered: the register, or a request.
    outstanding: Option<Outstanding>,
    /// The request that waits for the register to be answered. Only meaningful while that is outstanding.
    waiting: Vec<u8>,
    /// Whether its requests are an operator's.
    is_operator: bool,
    jitter: u64,
}

/// What was sent and is not answered.
#[derive(Clone, Debug)]
struct Outstanding {
    request: RequestNumber,
    /// Of a query, what it asked for.
    query: Option<Freshness>,
    frame: Frame,
    deadline: Instant,
    /// Whether the deadline ends a pause that a busy replica asked for, and not the wait for an answer.
    pausing: bool,
    /// Times that the wait was in vain.
    timeouts: u32,
    /// Times, one after another, that a replica was busy.
    refusals: u32,
}

impl Client {
    /// A client that knows nothing yet. Nothing is sent before the first request.
    ///
    /// # Panics
    /// If there are no replicas.
    pub fn new(config: ClientConfig) -> Self {
        assert!(config.replica_count > 0, "a client needs a replica to ask");
        let mut client = Self {
            config,
            life: 0,
            generation: 0,
            id: ClientId(0),
            session: None,
            request: RequestNumber(0),
            queries: 0,
            view: View(0),
            target: ReplicaId(0),
            turn: ReplicaId(0),
            outstanding: None,
            waiting: Vec::new(),
            is_operator: false,
            jitter: 0,
        };
        client.take_identity();
        client
    }

    /// The same as an operator: what it submits is an [`OperatorRequest`](crate::app::operator::OperatorRequest), executed by the
    /// executor and not by the application, and accepted however full the outbox is.
    ///
    /// # Panics
    /// As [`Client::new`].
    pub fn operator(config: ClientConfig) -> Self {
        Self { is_operator: true, ..Self::new(config) }
    }

    /// Begins a life: no identity of an earlier one is used again, provided that `nonce` is the life's own (see
    /// [`Event::Start`](crate::process::Event::Start)).
    pub fn begin(&mut self, nonce: u128) {
        *self = Self { life: nonce, is_operator: self.is_operator, ..Self::new(self.config.clone()) };
        self.take_identity();
    }

    /// The client as the cluster knows it, at present.
    pub fn id(&self) -> ClientId {
        self.id
    }

    /// The longest payload.
    pub(crate) fn payload_size_max(&self) -> usize {
        self.config.payload_size_max as usize
    }

    /// The session, once the register is answered.
    pub fn session(&self) -> Option<Session> {
        self.session
    }

    /// The latest view heard of.
    pub fn view(&self) -> View {
        self.view
    }

    /// The cluster was seen in this view, by another client for instance: if that is later than what this one knows, whatever it asks
    /// next goes to the primary of that view first. What is outstanding goes on as it is.
    pub fn hear_view(&mut self, view: View) {
        if view > self.view && self.outstanding.is_none() {
            self.view = view;
            self.target = view.primary(self.config.replica_count);
            self.turn = self.target;
        }
    }

    /// The number of the request that is not answered; 0 while that is the register.
    pub fn outstanding(&self) -> Option<RequestNumber> {
        self.outstanding.as_ref().map(|outstanding| outstanding.request)
    }

    /// When [`Client::on_deadline`] wants to be called.
    pub fn deadline(&self) -> Option<Instant> {
        self.outstanding.as_ref().map(|outstanding| outstanding.deadline)
    }

    /// Sends a request, after the register if there is no session.
    ///
    /// # Panics
    /// If the request before is not answered, or the payload is longer than the configuration allows.
    pub fn submit(&mut self, now: Instant, payload: &[u8], actions: &mut Actions) {
        assert!(self.outstanding.is_none(), "a client has one request in flight");
        assert!(payload.len() <= self.config.payload_size_max as usize, "who submits has checked the size");
        if self.session.is_some() {
            self.send_request(now, payload, actions);
        } else {
            self.waiting.clear();
            self.waiting.extend_from_slice(payload);
            self.send_numbered(now, RequestNumber(0), &[], actions);
        }
    }

    /// Sends a query. Needs no session, and leaves none behind. Asked again until it is answered, like a request: it changes nothing.
    ///
    /// # Panics
    /// As [`Client::submit`].
    pub fn query(&mut self, now: Instant, freshness: Freshness, payload: &[u8], actions: &mut Actions) {
        assert!(self.outstanding.is_none(), "a client has one request in flight");
        assert!(payload.len() <= self.config.payload_size_max as usize, "who submits has checked the size");
        let request = RequestNumber(QUERY_NUMBER_FIRST + self.queries);
        self.queries += 1;
        let mut header = Header::new(self.config.cluster, Command::Query, SENDER_CLIENT, self.view);
        header.client = self.id;
        header.request = request;
        header.context = freshness.context();
        self.send(now, header, Some(freshness), payload, actions);
    }

    /// Gives up the outstanding query, if it is one that is outstanding: the next thing may be asked, and an answer that still comes is
    /// late. A request cannot be given up, for it may be executed at any time.
    pub fn abandon_query(&mut self, actions: &mut Actions) {
        if self.is_querying() {
            self.settle(actions);
        }
    }

    /// Takes a frame from a replica; returns the outcome of the outstanding request if this is it.
    pub fn on_frame<'f>(&mut self, now: Instant, frame: &'f Frame, actions: &mut Actions) -> Option<Outcome<'f>> {
        let Ok((header, body)) = open_frame(frame, self.config.cluster) else {
            actions.probe(ClientProbe::BadFrame.into());
            return None;
        };
        let awaited = self.outstanding().is_some_and(|request| request == header.request) && header.client == self.id;
        if !awaited {
            actions.probe(ClientProbe::LateAnswer.into());
            return None;
        }
        match header.command {
            Command::QueryReply => self.on_query_reply(&header, body, actions),
            Command::Reply if header.request.0 == 0 => {
                self.on_registered(now, &header, actions);
                None
            }
            Command::Reply if !self.is_querying() => self.on_reply(&header, body, actions),
            Command::Reject => self.on_reject(now, &header, actions),
            _ => {
                actions.probe(ClientProbe::BadFrame.into());
                None
            }
        }
    }

    /// The deadline has passed: asks again. Does nothing before.
    pub fn on_deadline(&mut self, now: Instant, actions: &mut Actions) {
        let Some(outstanding) = self.outstanding.as_mut().filter(|outstanding| outstanding.deadline <= now) else {
            return;
        };
        if !outstanding.pausing {
            actions.probe(ClientProbe::Retried.into());
            outstanding.timeouts = outstanding.timeouts.saturating_add(1);
            self.rotate();
        }
        self.resend(now, actions);
    }

    fn on_registered(&mut self, now: Instant, header: &Header, actions: &mut Actions) {
        self.follow(header);
        self.settle(actions);
        self.session = Some(header.session());
        self.request = RequestNumber(0);
        let payload = core::mem::take(&mut self.waiting);
        self.send_request(now, &payload, actions);
        self.waiting = payload;
    }

    fn on_reply<'f>(&mut self, header: &Header, body: &'f [u8], actions: &mut Actions) -> Option<Outcome<'f>> {
        let session = header.session();
        let Some(answer) = Answer::decode(body).ok().filter(|_| self.session == Some(session)) else {
            // Not made by an executor, or for another session: our own replicas do neither.
            actions.probe(ClientProbe::BadFrame.into());
            return None;
        };
        self.follow(header);
        self.settle(actions);
        let Header { client, request, op, timestamp, .. } = *header;
        Some(Outcome::Answered(Answered { client, session, request, op, timestamp, answer }))
    }

    fn on_query_reply<'f>(&mut self, header: &Header, body: &'f [u8], actions: &mut Actions) -> Option<Outcome<'f>> {
        let freshness = self.outstanding.as_ref().and_then(|outstanding| outstanding.query);
        let answer = Answer::decode(body).ok();
        let Some((freshness, answer)) = freshness.filter(|is| is.context() == header.context).zip(answer) else {
            // To a request, to another kind of query, or not made by an executor: our own replicas do neither.
            actions.probe(ClientProbe::BadFrame.into());
            return None;
        };
        // Of a stale query nobody knows who answered.
        if freshness == Freshness::Linearizable {
            self.follow(header);
        }
        self.settle(actions);
        Some(Outcome::Queried(Queried { op: header.op, answer }))
    }

    fn on_reject<'f>(&mut self, now: Instant, header: &Header, actions: &mut Actions) -> Option<Outcome<'f>> {
        match RejectReason::from_context(header.context) {
            Some(RejectReason::Busy) => self.on_busy(now, header, actions),
            Some(RejectReason::NotPrimary) => self.on_not_primary(now, header, actions),
            Some(RejectReason::TooLarge) if self.is_querying() => {
                actions.probe(ClientProbe::TooLarge.into());
                self.settle(actions);
                return Some(Outcome::TooLarge);
            }
            Some(RejectReason::Evicted) if header.request.0 > 0 && !self.is_querying() => {
                actions.probe(ClientProbe::Evicted.into());
                self.give_up_session(actions);
                return Some(Outcome::Unknown);
            }
            Some(RejectReason::TooLarge) if header.request.0 > 0 => {
                actions.probe(ClientProbe::TooLarge.into());
                // The number is still free, but a repetition of this very frame would refuse the next holder of it too.
                self.give_up_session(actions);
                return Some(Outcome::TooLarge);
            }
            _ => actions.probe(ClientProbe::BadFrame.into()),
        }
        None
    }

    fn is_querying(&self) -> bool {
        self.outstanding.as_ref().is_some_and(|outstanding| outstanding.query.is_some())
    }

    /// Waits, then asks again under the same number: "busy" is said before anything is logged and uses up none.
    fn on_busy(&mut self, now: Instant, header: &Header, actions: &mut Actions) {
        let Some(outstanding) = &mut self.outstanding else { return };
        if outstanding.pausing || header.sender != self.target.0 {
            return actions.probe(ClientProbe::LateAnswer.into());
        }
        actions.probe(ClientProbe::Busy.into());
        let pause_ns = self.config.pause_ns(outstanding.refusals, &mut self.jitter);
        outstanding.refusals = outstanding.refusals.saturating_add(1);
        outstanding.pausing = true;
        outstanding.deadline = now.after(pause_ns);
        if outstanding.refusals.is_multiple_of(BUSY_BEFORE_ROTATION) {
            self.rotate();
        }
    }

    fn on_not_primary(&mut self, now: Instant, header: &Header, actions: &mut Actions) {
        let Some(outstanding) = &mut self.outstanding else { return };
        let primary = header.view.primary(self.config.replica_count);
        let later = header.view > self.view;
        if !later && (header.view < self.view || self.target == primary) {
            // Of a view that is past, or what is known already. Whoever is asked now has the rest of the time to answer.
            return actions.probe(ClientProbe::LateAnswer.into());
        }
        actions.probe(ClientProbe::Redirected.into());
        if later {
            // There was a view change: a new beginning for patience.
            self.view = header.view;
            self.turn = primary;
            outstanding.timeouts = 0;
        }
        self.target = primary;
        self.resend(now, actions);
    }

    /// A primary answered: its view is in force if it is not older than the known one.
    fn follow(&mut self, header: &Header) {
        if header.view >= self.view {
            self.view = header.view;
            self.target = header.view.primary(self.config.replica_count);
            self.turn = self.target;
        }
    }

    /// The next replica, all in turn.
    fn rotate(&mut self) {
        self.turn = ReplicaId((self.turn.0 + 1) % self.config.replica_count);
        self.target = self.turn;
    }

    /// What was outstanding no longer is.
    fn settle(&mut self, actions: &mut Actions) {
        if let Some(outstanding) = self.outstanding.take() {
            actions.recycle(outstanding.frame);
        }
    }

    fn give_up_session(&mut self, actions: &mut Actions) {
        self.settle(actions);
        self.session = None;
        self.generation += 1;
        self.take_identity();
    }

    fn send_request(&mut self, now: Instant, payload: &[u8], actions: &mut Actions) {
        self.request = self.request.next();
        self.send_numbered(now, self.request, payload, actions);
    }

    fn send_numbered(&mut self, now: Instant, request: RequestNumber, payload: &[u8], actions: &mut Actions) {
        let mut header = Header::new(self.config.cluster, Command::Request, SENDER_CLIENT, self.view);
        header.client = self.id;
        header.request = request;
        header.context = if request.0 == 0 { 0 } else { self.session.map_or(0, |session| u128::from(session.0)) };
        header.context |= if self.is_operator { OPERATOR } else { 0 };
        self.send(now, header, None, payload, actions);
    }

    fn send(&mut self, now: Instant, header: Header, query: Option<Freshness>, payload: &[u8], actions: &mut Actions) {
        let (Header { request, .. }, frame) = seal(header, payload, actions);
        self.outstanding =
            Some(Outstanding { request, query, frame, deadline: now, pausing: false, timeouts: 0, refusals: 0 });
        self.resend(now, actions);
    }

    /// Sends what is outstanding to the target, the very same bytes each time, and waits anew.
    fn resend(&mut self, now: Instant, actions: &mut Actions) {
        let Some(outstanding) = &mut self.outstanding else { return };
        let wait_ns = self.config.wait_ns(outstanding.timeouts, &mut self.jitter);
        outstanding.pausing = false;
        outstanding.deadline = now.after(wait_ns);
        actions.send(self.target.node(), outstanding.frame.clone());
    }

    fn take_identity(&mut self) {
        let mut bytes = [0; 48];
        bytes[..8].copy_from_slice(b"identity");
        bytes[8..24].copy_from_slice(&self.config.client.0.to_le_bytes());
        bytes[24..40].copy_from_slice(&self.life.to_le_bytes());
        bytes[40..].copy_from_slice(&self.generation.to_le_bytes());
        self.id = ClientId(Checksum::of(&bytes).0);
        self.jitter = self.id.0 as u64;
    }
}

#[cfg(test)]
mod tests;
