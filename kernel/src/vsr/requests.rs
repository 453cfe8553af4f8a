//! Clients at the primary: which request is new, which is a repetition, which must wait, and what it is told.

use crate::{
    frame::Frame,
    process::Actions,
    types::{ClientId, NodeId, Op},
    vsr::{
        Status, Vsr,
        config::PIPELINE_MAX,
        probe::Probe,
        sessions::{Reply, Verdict},
        state::{Primary, Request},
    },
    wire::{
        batch::{self, Entry, Kind},
        header::{Command, HEADER_SIZE, Header},
        message::RejectReason,
        seal::{seal, seal_with},
    },
};

/// Beyond what there is room for clients, so many requests of operators are accepted (design rule 19): a machine that is full is what
/// they are needed for.
pub(super) const OPERATORS_MAX: u32 = 8;

/// The last slots before a checkpoint covers the ring that no client's request gets (design rule 19). The ring holds two intervals and a
/// pipeline, so that requests alone still come to the next checkpoint but one.
const SLOTS_RESERVED: u64 = PIPELINE_MAX as u64 / 2;

/// The last of those, which operators' requests do not get either: however much is asked of it, the system has these to itself.
const SLOTS_OF_SYSTEM: u64 = SLOTS_RESERVED / 2;

/// How many prepares may be in flight beyond those of clients' requests, within [`PIPELINE_MAX`].
const PREPARES_RESERVED: u32 = 2;

/// How many of those operators' requests do not get.
const PREPARES_OF_SYSTEM: u32 = 1;

/// The most requests in one prepare.
const BATCH_LENGTH_MAX: usize = 1024;

/// Whom a prepare is for, which says what room it may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Whose {
    Clients,
    Operators,
    System,
}

impl Primary {
    /// Whose the next prepare is: the system's own goes first, then what operators ask for.
    fn first(&self) -> Whose {
        if !self.system.is_empty() || self.tick {
            Whose::System
        } else if !self.operators.is_empty() {
            Whose::Operators
        } else {
            Whose::Clients
        }
    }
}

impl Whose {
    /// The op whose slot must be free for one of these in `op`: the slots between are for others.
    const fn reserving(self, op: Op) -> Op {
        match self {
            Self::Clients => Op(op.0 + SLOTS_RESERVED),
            Self::Operators => Op(op.0 + SLOTS_OF_SYSTEM),
            Self::System => op,
        }
    }

    /// How many prepares may be in flight for one more of these to be proposed.
    fn pipeline(self, configured: u32) -> u64 {
        let reserved = match self {
            Self::Clients => 0,
            Self::Operators => PREPARES_RESERVED - PREPARES_OF_SYSTEM,
            Self::System => PREPARES_RESERVED,
        };
        u64::from(configured.min(PIPELINE_MAX - PREPARES_RESERVED) + reserved)
    }
}

impl Vsr {
    /// A client's request. A backup sends the client on; a replica between views is silent.
    pub(super) fn on_request(&mut self, from: NodeId, header: &Header, frame: &Frame, actions: &mut Actions) {
        if !self.is_primary() {
            if self.status == Status::Normal {
                actions.probe(Probe::Redirected.into());
                self.reject(from, header, RejectReason::NotPrimary, actions);
            }
            return;
        }
        if header.size - HEADER_SIZE as u32 > self.config.payload_size_max() {
            return self.reject(from, header, RejectReason::TooLarge, actions);
        }
        if !self.is_serving() {
            // What was in the starting log may answer or refuse this: judged when that is executed.
            if self.primary.early.len() < self.requests_limit(header) {
                self.primary.early.push_back((from, frame.clone()));
            }
            return;
        }
        match self.sessions.check(header.client, header.session(), header.request) {
            Verdict::New => self.accept(from, header, frame, actions),
            Verdict::Retry(reply) => {
                actions.probe(Probe::ReplyRepeated.into());
                send_reply(&self.header(Command::Reply), from, header.client, &reply, actions);
            }
            Verdict::Stale | Verdict::Gap => {}
            // The client knows of a later view, in which its session may have been registered: not to be judged here.
            Verdict::Evicted if header.view > self.view => {}
            Verdict::Evicted => {
                actions.probe(Probe::SessionEvicted.into());
                self.reject(from, header, RejectReason::Evicted, actions);
            }
        }
    }

    /// Whether this replica leads its view, and has executed the log with which that began, so that sessions are what they must be
    /// (design rule 16). Of one that does, nothing but the view's end makes another.
    pub fn is_leading(&self) -> bool {
        self.is_primary() && self.applied >= self.primary.start_head
    }

    /// Whether it leads, and its state may be spoken of.
    pub fn is_serving(&self) -> bool {
        self.is_leading() && !self.is_in_doubt()
    }

    fn accept(&mut self, from: NodeId, header: &Header, frame: &Frame, actions: &mut Actions) {
        if let Some((request, node)) = self.primary.in_flight.get_mut(&header.client) {
            if *request == header.request {
                *node = from;
                actions.probe(Probe::RequestInFlight.into());
            }
            return;
        }
        let is_operators = header.is_operators();
        let whose = if is_operators { Whose::Operators } else { Whose::Clients };
        let room = self.requests_limit(header).saturating_sub(self.primary.in_flight.len());
        let turned_away = &mut self.primary.turned_away;
        let no_room =
            if is_operators { room == 0 } else { turned_away.go_before(header.client, room, self.now.monotonic) };
        if self.journal_is_full(whose) || no_room {
            self.primary.turned_away.note(header.client, self.now.monotonic);
            actions.probe(Probe::Busy.into());
            return self.reject(from, header, RejectReason::Busy, actions);
        }
        if self.primary.is_nearly_full && !is_operators {
            actions.probe(Probe::MachineFull.into());
            return self.reject(from, header, RejectReason::Busy, actions);
        }
        self.primary.turned_away.forget(header.client);
        self.primary.in_flight.insert(header.client, (header.request, from));
        let queue = if is_operators { &mut self.primary.operators } else { &mut self.primary.waiting };
        queue.push_back(Request { header: *header, frame: frame.clone() });
        self.primary.waiting_size += entry_size(frame);
    }

    /// How many requests there may be for one like this to be accepted.
    fn requests_limit(&self, header: &Header) -> usize {
        (self.config.requests_max + if header.is_operators() { OPERATORS_MAX } else { 0 }) as usize
    }

    /// Whether every slot that these may have has an op that no checkpoint covers, and none will: the state does not fit the grid.
    fn journal_is_full(&self, whose: Whose) -> bool {
        self.checkpoints.is_full() && !self.may_propose(whose.reserving(self.log.head().next()))
    }

    /// Whether the pipeline and the ring have room for a prepare of these.
    pub(super) fn admits(&self, whose: Whose) -> bool {
        let in_flight = self.log.head().0 - self.commit_max.0;
        in_flight < whose.pipeline(self.config.pipeline) && self.may_propose(whose.reserving(self.log.head().next()))
    }

    /// Whether anything waits for a slot that only the own disk can free.
    pub(super) fn waits_for_own_slot(&self) -> bool {
        let is_free = |whose: Whose| self.slot_is_free(whose.reserving(self.log.head().next()));
        let Primary { waiting, operators, system, tick, .. } = &self.primary;
        !waiting.is_empty() && !is_free(Whose::Clients)
            || !operators.is_empty() && !is_free(Whose::Operators)
            || (!system.is_empty() || *tick) && !is_free(Whose::System)
    }

    /// Turns waiting requests into prepares while the pipeline has room; those that waited together go together.
    ///
    /// A few requests do not get a prepare of their own while more are on their way: they wait for company until
    /// [`Config::company`](crate::vsr::Config::company) times as many wait, or the pipeline is empty. So batches grow with the
    /// load, and a lone request waits for nobody.
    pub fn pump(&mut self, actions: &mut Actions) {
        if self.is_primary() && self.change_members(actions) {
            return;
        }
        while self.is_serving() && self.has_waiting() {
            for whose in [Whose::Clients, Whose::Operators] {
                if self.journal_is_full(whose) {
                    self.refuse_waiting(whose, actions);
                }
            }
            let first = self.primary.first();
            let in_flight = self.log.head().0 - self.commit_max.0;
            let durable_head = self.promised().head;
            let next = self.log.head().next();
            if !self.has_waiting() {
                return;
            }
            let pipeline = first.pipeline(self.config.pipeline);
            if in_flight >= pipeline || !self.journal.window_allows(next, durable_head) {
                return;
            }
            if !self.may_propose(first.reserving(next)) {
                return actions.probe(Probe::SlotNotFree.into());
            }
            let waiting = self.primary.waiting.len();
            let few = waiting < self.config.company as usize * (self.primary.in_flight.len().saturating_sub(waiting));
            // What fills a message gains nothing from more.
            let small = self.primary.waiting_size < self.config.layout.message_size_max as usize;
            // What the system has to say waits for nobody, and neither does what an operator asks for.
            if in_flight > 0 && few && small && waiting < BATCH_LENGTH_MAX && first == Whose::Clients {
                return;
            }
            if first == Whose::System && !self.admits(Whose::Clients) {
                actions.probe(Probe::ReservedRoom.into());
            }
            self.prepare(actions);
        }
    }

    pub(super) fn has_waiting(&self) -> bool {
        let Primary { waiting, operators, system, tick, .. } = &self.primary;
        !waiting.is_empty() || !operators.is_empty() || !system.is_empty() || *tick
    }

    /// The journal filled up before these requests were logged: their numbers are not used up.
    fn refuse_waiting(&mut self, whose: Whose, actions: &mut Actions) {
        let Primary { waiting, operators, .. } = &mut self.primary;
        let refused = core::mem::take(if whose == Whose::Operators { operators } else { waiting });
        for Request { header, frame } in refused {
            self.primary.waiting_size -= entry_size(&frame);
            let known = self.primary.in_flight.remove(&header.client);
            // A repetition that waited while the first was logged is answered by that.
            let Some((_, node)) = known else { continue };
            actions.probe(Probe::Busy.into());
            self.reject(node, &header, RejectReason::Busy, actions);
        }
    }

    /// The header of the next prepare.
    pub(super) fn next_header(&self, actions: &mut Actions) -> Header {
        let (timestamp, clamped) = self.clock.timestamp(self.log.head_header().timestamp, self.now);
        if clamped {
            actions.probe(Probe::TimestampClamped.into());
        }
        let mut header = self.header(Command::Prepare);
        header.op = self.log.head().next();
        header.commit = self.commit_max;
        header.timestamp = timestamp;
        header.context = self.log.head_header().checksum.0;
        let vouched = self.checkpoints.vouched();
        (header.request.0, header.client.0) = (vouched.op.0, vouched.root.0);
        header
    }

    /// One prepare of as many waiting entries as fit: the system's own first, then operators' and clients' as far as there is room for such.
    fn prepare(&mut self, actions: &mut Actions) {
        let header = self.next_header(actions);
        let room = self.config.layout.message_size_max as usize;
        let (takes_clients, takes_operators) = (self.admits(Whose::Clients), self.admits(Whose::Operators));
        let Primary { waiting, operators, waiting_size, system, tick, .. } = &mut self.primary;
        let (mut count, mut own, ticks) = (0, 0, core::mem::take(tick));
        let length = room.min(*waiting_size);
        let (header, frame) = seal_with(header, length, actions, |bytes| {
            while let Some(entry) = system.front() {
                let size = batch::entry_size(entry.len());
                if bytes.len() + size > room {
                    return;
                }
                batch::push_system(bytes, entry);
                *waiting_size -= size;
                system.pop_front();
                own += 1;
            }
            for (kind, queue, takes) in
                [(Kind::Operator, operators, takes_operators), (Kind::Request, waiting, takes_clients)]
            {
                while let Some(request) = queue.front().filter(|_| takes) {
                    let payload = &request.frame[HEADER_SIZE..];
                    if count == BATCH_LENGTH_MAX || bytes.len() + batch::entry_size(payload.len()) > room {
                        return;
                    }
                    let Header { client, request: number, .. } = request.header;
                    let session = request.header.session();
                    batch::push_entry(bytes, &Entry { kind, client, session, request: number, payload });
                    *waiting_size -= entry_size(&request.frame);
                    queue.pop_front();
                    count += 1;
                }
            }
        });
        assert!(count + own > 0 || ticks, "an entry that was accepted fits a prepare");
        if count > 1 {
            actions.probe(Probe::Batched.into());
        }
        self.append_as_primary(&header, &frame, actions);
    }

    /// A checkpoint took the place of ops that this primary proposed, and that the others committed: what their requests came to is in
    /// the sessions now. What neither the log nor the queue has any more is forgotten, and the client asks again. Executed was everything
    /// up to `before`.
    pub(super) fn answer_restored(&mut self, before: Op, actions: &mut Actions) {
        let reply_header = self.header(Command::Reply);
        let Self { primary, sessions, .. } = self;
        let (waiting, operators) = (&primary.waiting, &primary.operators);
        primary.in_flight.retain(|client, (request, node)| {
            let last = sessions.lookup(*client);
            if let Some(reply) = last.filter(|reply| reply.request == *request) {
                send_reply(&reply_header, *node, *client, &reply, actions);
            }
            // Of a session that began in what was skipped, this client has asked for nothing yet: what it asked for was of the one before.
            let is_same = last.is_some_and(|reply| reply.session.0 <= before.0);
            let is_ahead = is_same && last.is_some_and(|reply| reply.request < *request);
            is_ahead || waiting.iter().chain(operators).any(|request| request.header.client == *client)
        });
    }

    /// Judges the requests that came before the view served.
    pub(super) fn take_early_requests(&mut self, actions: &mut Actions) {
        if self.primary.early.is_empty() || !self.is_serving() {
            return;
        }
        for (from, frame) in core::mem::take(&mut self.primary.early) {
            let header = Header::decode(&frame).expect("the frame was opened when it arrived");
            self.on_request(from, &header, &frame, actions);
        }
    }

    pub(super) fn reject(&self, to: NodeId, request: &Header, reason: RejectReason, actions: &mut Actions) {
        let mut header = self.header(Command::Reject);
        header.client = request.client;
        header.request = request.request;
        header.context = reason.context();
        let (_, frame) = seal(header, &[], actions);
        actions.send(to, frame);
    }
}

/// Sends a session's reply to its client. `header` is a reply's header in the current view.
pub(super) fn send_reply(header: &Header, to: NodeId, client: ClientId, reply: &Reply<'_>, actions: &mut Actions) {
    let mut header = *header;
    header.client = client;
    header.context = u128::from(reply.session.0);
    header.request = reply.request;
    header.op = reply.op;
    header.timestamp = reply.timestamp;
    let (_, frame) = seal(header, reply.body, actions);
    actions.send(to, frame);
}

/// The bytes that a request takes in a batch.
fn entry_size(request: &[u8]) -> usize {
    batch::entry_size(request.len() - HEADER_SIZE)
}
