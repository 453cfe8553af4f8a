//! The network over TCP: one connection between two replicas, and one from a client to each replica.
//!
//! Of two replicas the later dials the earlier; a client dials everybody. A connection that ends is dialled again, after
//! a pause that grows until one lasts. Who is at the other end is checked before a frame is taken from it or sent to it. Replica `i` has
//! address `i`; whoever else connects is given an address for as long as the connection lasts.
//!
//! How bytes are carried is beneath ([`Transport`]): on the ring that the disk is on, or by readiness and system calls.
//!
//! Invariants: nothing here blocks but [`TcpNetwork::wait`], and that until something happens or is due, without looking up between;
//! whatever comes in over one connection ends that one at worst; what a connection holds is within its [`Limits`], and a full queue drops;
//! where more comes in than is received, no more is taken, however many connections bring it, and what replicas say goes first. A peer that says nothing, or no longer takes
//! what it is sent, is given up.
//!
//! An operator asks a replica how it is by connecting as one: the host is told ([`TcpNetwork::asked`]) and sends one frame, whose
//! meaning is between the two of them.
//!
//! Deliberately absent: encryption and authentication, and any knowledge of what a frame means. Whoever finds that a frame
//! made no sense says so ([`TcpNetwork::blame`]).

mod completion;
mod connection;
mod dial;
mod farewell;
mod hello;
mod inbox;
mod peers;
mod readiness;
mod refusals;
mod room;
mod transport;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    net::{SocketAddr, TcpListener},
    os::fd::BorrowedFd,
    time::{Duration, Instant},
};

use chronon::{
    env::Network,
    frame::Frame,
    types::{ClusterId, NodeId, ReplicaId},
};

#[cfg(test)]
pub(crate) use self::refusals::tests::fullest as fullest_refusals;
pub use self::{
    completion::Completion,
    connection::Limits,
    hello::Speaker,
    readiness::Readiness,
    refusals::Refused,
    transport::{Accepted, Happened, SocketChoice, Sockets, Transport},
};
use self::{
    connection::{Connection, Incoming},
    dial::Dial,
    farewell::Farewell,
    inbox::Inbox,
    refusals::{Cause, Refusals},
    room::Room,
};
pub(crate) use self::{
    farewell::Parting,
    hello::{HELLO_SIZE, operator_hello},
    transport::socket,
};
use crate::uring::Ring;

/// The first address that somebody is given who is no replica.
const VISITORS: u32 = 1 << 16;

/// The most connections at once, unless a configuration says otherwise.
pub const CONNECTIONS_MAX: usize = 4096;

/// How often what was asked of the transport is begun before the process has its turn: what is sent may make room for more.
const FLUSHES_MAX: usize = 4;

/// The most buffers that are kept for what is sent next.
const SPARE_MAX: usize = 16;

/// Who this is, and who the replicas are.
#[derive(Clone, Debug)]
pub struct TcpConfig {
    /// The cluster: nobody of another one is spoken with.
    pub cluster: ClusterId,
    /// Who this is.
    pub speaker: Speaker,
    /// The replicas' addresses, in their order.
    pub replicas: Vec<SocketAddr>,
    /// What each connection may hold.
    pub limits: Limits,
    /// What all replicas must be set up alike in, as a number: one with another is not spoken with.
    pub terms: u32,
    /// How long it may take until the other end has said who it is.
    pub greeting_max: Duration,
    /// How long a replica may be silent towards a replica: they ping each other much more often than that.
    pub silence_max: Duration,
    /// How many connections there may be at once. Clients leave some of them to replicas and operators, and whoever has not said who it
    /// is gives way.
    pub connections_max: usize,
}

impl TcpConfig {
    /// A configuration with the usual patience, five seconds, and room for [`CONNECTIONS_MAX`] connections.
    pub const fn new(cluster: ClusterId, speaker: Speaker, replicas: Vec<SocketAddr>, limits: Limits) -> Self {
        let (greeting_max, silence_max) = (Duration::from_secs(5), Duration::from_secs(5));
        let connections_max = CONNECTIONS_MAX;
        Self { cluster, speaker, replicas, limits, terms: 0, greeting_max, silence_max, connections_max }
    }
}

/// What became of connections and frames, and how many connections there are.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TcpCounts {
    /// Connections at present whose other end said who it is.
    pub connected: u64,
    /// Connections whose other end said who it is.
    pub greeted: u64,
    /// Connections that ended, for whatever reason.
    pub ended: u64,
    /// Of these, ended because of what the other end said: no hello, one of another cluster or of the wrong replica, a frame
    /// that is none, or one that [`TcpNetwork::blame`] was called for.
    pub refused: u64,
    /// Connections for which there was no room: those that were closed for that, or told so, and each time that the system gave none.
    pub turned_away: u64,
    /// Frames that came.
    pub received: u64,
    /// Frames that were queued to be sent.
    pub sent: u64,
    /// Frames that were dropped: nobody there, or a queue that was full.
    pub dropped: u64,
}

/// A [`Network`] over TCP. On a ring it stays on the ring's thread.
pub struct TcpNetwork<T = Readiness> {
    config: TcpConfig,
    transport: T,
    /// By the number that the transport knows it by; never used again, so that nothing that happened to one is taken for another's.
    connections: BTreeMap<u64, Connection>,
    next_number: u64,
    /// Who is spoken with over which connection.
    nodes: BTreeMap<NodeId, u64>,
    next_visitor: u32,
    dials: Vec<Dial>,
    /// How connections ended that this end had dialled.
    partings: BTreeMap<ReplicaId, Parting>,
    /// Connections that may have something to send.
    eager: BTreeSet<u64>,
    /// Buffers for what is sent.
    spare: Vec<Vec<u8>>,
    inbox: Inbox,
    /// Operators that were not answered yet.
    asked: VecDeque<NodeId>,
    /// When to accept again, if the system gave no connection.
    accepting: Option<Instant>,
    /// Nothing is due before.
    due: Instant,
    /// But for how many are connected.
    counts: TcpCounts,
    refusals: Refusals,
    room: Room,
}

impl TcpNetwork {
    /// A network by readiness that listens, if it is given a listener, and begins to dial at the first [`TcpNetwork::wait`].
    ///
    /// # Errors
    /// If the system refuses.
    ///
    /// # Panics
    /// As [`TcpNetwork::over`].
    pub fn new(config: TcpConfig, listener: Option<TcpListener>) -> io::Result<Self> {
        Self::over(Readiness::new()?, config, listener)
    }
}

impl<T: Transport> TcpNetwork<T> {
    /// The same over any transport that has no connections.
    ///
    /// # Errors
    /// If the system refuses.
    ///
    /// # Panics
    /// If the speaker is an operator, or a replica that is not one of those in `config`, or if the limits make no sense.
    pub fn over(mut transport: T, config: TcpConfig, listener: Option<TcpListener>) -> io::Result<Self> {
        let Limits { frame_size_max, queue_bytes_max } = config.limits;
        assert!(
            frame_size_max > 0 && queue_bytes_max >= 2 * frame_size_max as usize,
            "a queue has room for two frames"
        );
        let (now, room) = (Instant::now(), Room::new(config.connections_max));
        let dialled = match config.speaker {
            Speaker::Client => config.replicas.len(),
            Speaker::Operator => panic!("an operator asks once: it needs no network"),
            Speaker::Replica(replica) => {
                assert!(usize::from(replica.0) < config.replicas.len(), "a replica is one of its cluster");
                usize::from(replica.0)
            }
        };
        let dials = (0..dialled as u8).map(|replica| Dial::new(ReplicaId(replica), now));
        if let Some(listener) = listener {
            transport.listen(listener)?;
        }
        Ok(Self {
            dials: dials.collect(),
            config,
            transport,
            connections: BTreeMap::new(),
            next_number: 0,
            nodes: BTreeMap::new(),
            next_visitor: VISITORS,
            partings: BTreeMap::new(),
            eager: BTreeSet::new(),
            spare: Vec::new(),
            inbox: Inbox::new(queue_bytes_max),
            asked: VecDeque::new(),
            accepting: None,
            due: now,
            counts: TcpCounts::default(),
            refusals: Refusals::default(),
            room,
        })
    }

    /// Has [`TcpNetwork::wait`] return when `descriptor` becomes readable, too: the wake-up of a disk, say.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn watch(&mut self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        self.transport.watch(descriptor)
    }

    /// Whether it is on that ring, so that whoever waits for it has waited for the ring's disk, too.
    pub(crate) fn is_on(&self, ring: &Ring) -> bool {
        self.transport.is_on(ring)
    }

    /// Sends what was queued, then waits until something can be received, what is watched is readable, or `patience` is over. On a
    /// ring, whatever ends there is what is waited for; and what its disk was asked for begins.
    ///
    /// # Errors
    /// If the system cannot tell what happens on the sockets any more.
    pub fn wait(&mut self, patience: Duration) -> io::Result<()> {
        self.keep_appointments()?;
        self.flush()?;
        let busy = !self.inbox.is_empty() || !self.eager.is_empty();
        let left = || self.due.saturating_duration_since(Instant::now());
        self.transport.wait(if busy { Duration::ZERO } else { patience.min(left()) })?;
        self.settle()?;
        // What came of it, a hello or an end, is not to wait for the next turn.
        self.flush()
    }

    /// Sends what was queued, as much of it as the system takes, and takes what there is room for by now. [`TcpNetwork::wait`] does so, too.
    ///
    /// # Errors
    /// If the system cannot tell what happens on the sockets any more.
    pub fn flush(&mut self) -> io::Result<()> {
        for _ in 0..FLUSHES_MAX {
            // Before those who speak now, who would take the room each time.
            while let Some(number) = self.inbox.next_held() {
                self.listen_to(number);
            }
            for number in std::mem::take(&mut self.eager) {
                self.say(number);
            }
            if !self.transport.flush()? {
                break;
            }
            self.settle()?;
        }
        Ok(())
    }

    /// The next operator who asked how this replica is. One frame that is sent there is the answer.
    pub fn asked(&mut self) -> Option<NodeId> {
        self.asked.pop_front()
    }

    /// What became of connections and frames so far.
    pub fn counts(&self) -> TcpCounts {
        TcpCounts { connected: self.nodes.len() as u64, ..self.counts }
    }

    /// How many bytes of replicas and of others wait to be received, and how many wait to be sent on the connection where most do, each
    /// with its limit: see [`Limits`].
    pub fn queues(&self) -> [(&'static str, u64, u64); 3] {
        let fullest = self.connections.values().map(Connection::queued_bytes).max().unwrap_or_default();
        let [replicas, visitors] = self.inbox.bytes();
        [
            ("bytes received of replicas", replicas),
            ("bytes received of clients", visitors),
            ("bytes to be sent", fullest),
        ]
        .map(|(name, bytes)| (name, bytes as u64, self.config.limits.queue_bytes_max as u64))
    }

    /// Whether somebody with this address is spoken with at present.
    pub fn is_connected(&self, node: NodeId) -> bool {
        self.nodes.contains_key(&node)
    }

    /// How connections ended since this was last asked, of those that this end had dialled.
    pub(crate) fn partings(&mut self) -> BTreeMap<ReplicaId, Parting> {
        std::mem::take(&mut self.partings)
    }

    /// A frame of `node` made no sense: its connection ends. A bit that flips on the way does not come through TCP; whoever
    /// sends what is no frame has lost its place, or never had one.
    pub fn blame(&mut self, node: NodeId) {
        if let Some(number) = self.nodes.get(&node).copied() {
            self.refuse(number, Cause::Frame);
        }
    }

    /// A connection is established.
    fn speak(&mut self, number: u64) {
        self.listen_to(number);
        self.eager.insert(number);
    }

    /// Takes what came in over a connection, as far as there is room for it, and reads on once all of it is taken. Who is not known
    /// yet, and an operator, has nothing to say that would need room.
    fn listen_to(&mut self, number: u64) {
        while let Some(connection) = self.connections.get_mut(&number) {
            if connection.is_dismissed {
                return if connection.ignore() {
                    self.transport.receive(number, connection.lend());
                } else {
                    self.end(number);
                };
            }
            let speaks = connection.node.filter(|_| !connection.is_operator);
            if let Some(node) = speaks.filter(|node| !self.inbox.has_room(*node)) {
                return self.inbox.hold(node, number);
            }
            match (connection.take(), speaks) {
                (Ok(None), _) => return self.transport.receive(number, connection.lend()),
                (Ok(Some(Incoming::Frame(frame))), Some(node)) => {
                    self.counts.received += 1;
                    self.inbox.put(node, frame);
                }
                (Ok(Some(Incoming::Frame(_))), None) => self.refuse(number, Cause::Frame),
                (Ok(Some(Incoming::Farewell(farewell))), _) if self.config.speaker == Speaker::Client => {
                    self.part(number, Some(farewell));
                }
                (Ok(Some(Incoming::Farewell(_))), _) => self.refuse(number, Cause::Frame),
                (Ok(Some(Incoming::Hello(hello))), _) => {
                    if let Err(cause) = self.greet(number, &hello) {
                        self.refuse(number, cause);
                    }
                }
                (Err(end), _) => self.refuse(number, end.into()),
            }
        }
    }

    /// Takes notice of what happened.
    fn settle(&mut self) -> io::Result<()> {
        while let Some((number, happened)) = self.transport.next() {
            match happened {
                Happened::Acceptable => self.accept()?,
                Happened::Connected(result) => self.on_connected(number, result.is_ok()),
                Happened::Received(bytes, result) => self.on_received(number, bytes, result.unwrap_or(0)),
                Happened::Sent(bytes, result) => self.on_sent(number, bytes, result.is_ok()),
            }
        }
        Ok(())
    }

    fn on_connected(&mut self, number: u64, connected: bool) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if !connected {
            return self.end(number);
        }
        connection.connecting = false;
        self.speak(number);
    }

    /// Bytes came in, or the connection has ended if there are none.
    fn on_received(&mut self, number: u64, bytes: Vec<u8>, count: usize) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if count == 0 {
            return self.end(number);
        }
        connection.received(bytes, Instant::now());
        self.listen_to(number);
    }

    /// A buffer was sent, or the connection has ended.
    fn on_sent(&mut self, number: u64, mut bytes: Vec<u8>, sent: bool) {
        if self.spare.len() < SPARE_MAX {
            bytes.clear();
            self.spare.push(bytes);
        }
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if !sent {
            return self.end(number);
        }
        connection.sent();
        self.eager.insert(number);
    }

    /// Sends what a connection has to say, unless something is still being sent there: what comes of that asks again.
    fn say(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let mut bytes = self.spare.pop().unwrap_or_default();
        if connection.gather(&mut bytes) {
            self.transport.send(number, bytes);
        } else {
            self.spare.push(bytes);
        }
    }

    /// Closes a connection. Who was dialled is dialled again.
    fn end(&mut self, number: u64) {
        self.part(number, None);
    }

    /// The same, and what the other end said to that.
    fn part(&mut self, number: u64, farewell: Option<Farewell>) {
        let Some(connection) = self.connections.remove(&number) else { return };
        self.transport.close(number);
        self.counts.ended += 1;
        self.room.ended(number, &connection);
        if let Some(node) = connection.node
            && self.nodes.get(&node) == Some(&number)
        {
            self.nodes.remove(&node);
        }
        if let Some(dial) = self.dials.iter_mut().find(|dial| Some(dial.replica) == connection.dialled) {
            dial.ended(connection.since, connection.node.is_some(), Instant::now());
            self.partings.entry(dial.replica).or_default().note(connection.node.is_some(), farewell);
            self.due = self.due.min(dial.next);
        }
    }
}

impl<T: Transport> Network for TcpNetwork<T> {
    fn send(&mut self, to: NodeId, frame: Frame) {
        let number = self.nodes.get(&to).copied();
        let connection = number.and_then(|number| self.connections.get_mut(&number));
        let queued = connection.is_some_and(|connection| connection.queue(frame));
        self.eager.extend(number.filter(|_| queued));
        let count = if queued { &mut self.counts.sent } else { &mut self.counts.dropped };
        *count += 1;
    }

    fn receive(&mut self) -> Option<(NodeId, Frame)> {
        self.inbox.take()
    }
}
