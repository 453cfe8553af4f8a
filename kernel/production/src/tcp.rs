//! The network over TCP: one connection between two replicas, and one from a client to each replica.
//!
//! Of two replicas the later dials the earlier; a client dials everybody. A connection that ends is dialled again, after
//! a pause that grows. Who is at the other end is checked before a frame is taken from it or sent to it. Replica `i` has
//! address `i`; whoever else connects is given an address for as long as the connection lasts.
//!
//! Invariants: nothing here blocks but [`TcpNetwork::wait`]; whatever comes in over one connection ends that one at worst; what a
//! connection holds is within its [`Limits`], and a full queue drops. A peer that says nothing, or no longer takes what it is
//! sent, is given up.
//!
//! An operator asks a replica how it is by connecting as one: the host is told ([`TcpNetwork::asked`]) and sends one frame, whose
//! meaning is between the two of them.
//!
//! Deliberately absent: encryption and authentication, and any knowledge of what a frame means. Whoever finds that a frame
//! made no sense says so ([`TcpNetwork::blame`]).

mod connection;
mod hello;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    mem::MaybeUninit,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::{BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use chronon::{
    env::Network,
    frame::Frame,
    types::{ClusterId, NodeId, ReplicaId},
};
use rustix::{
    event::{Timespec, epoll},
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt},
};

pub(crate) use self::hello::{HELLO_SIZE, operator_hello};
pub use self::{connection::Limits, hello::Speaker};
use self::{
    connection::{Connection, End, Incoming},
    hello::Hello,
};

/// The first address that somebody is given who is no replica.
const VISITORS: u32 = 1 << 16;

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(10);

/// Before a connection that ended is dialled again; doubles, up to the second, until one succeeds.
const PAUSE: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How many connections are taken before those that there are have their turn.
const ACCEPTS_MAX: usize = 64;

/// The most connections at once. One more is closed at once, and its owner dials again.
const CONNECTIONS_MAX: usize = 4096;

/// The most that the system says at once.
const EVENTS_MAX: usize = 256;

const LISTENER: u64 = u64::MAX;
const WATCHED: u64 = u64::MAX - 1;

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
}

impl TcpConfig {
    /// A configuration with the usual patience: five seconds.
    pub const fn new(cluster: ClusterId, speaker: Speaker, replicas: Vec<SocketAddr>, limits: Limits) -> Self {
        let (greeting_max, silence_max) = (Duration::from_secs(5), Duration::from_secs(5));
        Self { cluster, speaker, replicas, limits, terms: 0, greeting_max, silence_max }
    }
}

/// What became of connections and frames.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TcpCounts {
    /// Connections whose other end said who it is.
    pub greeted: u64,
    /// Connections that ended, for whatever reason.
    pub ended: u64,
    /// Of these, ended because of what the other end said: no hello, one of another cluster or of the wrong replica, a frame
    /// that is none, or one that [`TcpNetwork::blame`] was called for.
    pub refused: u64,
    /// Frames that came.
    pub received: u64,
    /// Frames that were queued to be sent.
    pub sent: u64,
    /// Frames that were dropped: nobody there, or a queue that was full.
    pub dropped: u64,
}

/// Another replica that is dialled.
struct Dial {
    replica: ReplicaId,
    next: Instant,
    pause: Duration,
}

/// A [`Network`] over TCP, by readiness.
pub struct TcpNetwork {
    config: TcpConfig,
    epoll: OwnedFd,
    listener: Option<TcpListener>,
    /// By the number that its events carry; never used again, so that no late event is taken for another's.
    connections: BTreeMap<u64, Connection>,
    next_number: u64,
    /// Who is spoken with over which connection.
    nodes: BTreeMap<NodeId, u64>,
    next_visitor: u32,
    dials: Vec<Dial>,
    /// Connections that have been given something to send since.
    eager: BTreeSet<u64>,
    inbox: VecDeque<(NodeId, Frame)>,
    /// Operators that were not answered yet.
    asked: VecDeque<NodeId>,
    looked_at: Instant,
    counts: TcpCounts,
}

impl TcpNetwork {
    /// A network that listens, if it is given a listener, and begins to dial at the first [`TcpNetwork::wait`].
    ///
    /// # Errors
    /// If the system refuses.
    ///
    /// # Panics
    /// If the speaker is an operator, or a replica that is not one of those in `config`, or if the limits make no sense.
    pub fn new(config: TcpConfig, listener: Option<TcpListener>) -> io::Result<Self> {
        let Limits { frame_size_max, queue_bytes_max } = config.limits;
        assert!(
            frame_size_max > 0 && queue_bytes_max >= 2 * frame_size_max as usize,
            "a queue has room for two frames"
        );
        let now = Instant::now();
        let dialled = match config.speaker {
            Speaker::Client => config.replicas.len(),
            Speaker::Operator => panic!("an operator asks once: it needs no network"),
            Speaker::Replica(replica) => {
                assert!(usize::from(replica.0) < config.replicas.len(), "a replica is one of its cluster");
                usize::from(replica.0)
            }
        };
        let dials = (0..dialled as u8).map(|replica| Dial { replica: ReplicaId(replica), next: now, pause: PAUSE });
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        if let Some(listener) = &listener {
            listener.set_nonblocking(true)?;
            epoll::add(&epoll, listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        }
        Ok(Self {
            dials: dials.collect(),
            config,
            epoll,
            listener,
            connections: BTreeMap::new(),
            next_number: 0,
            nodes: BTreeMap::new(),
            next_visitor: VISITORS,
            eager: BTreeSet::new(),
            inbox: VecDeque::new(),
            asked: VecDeque::new(),
            looked_at: now - TICK,
            counts: TcpCounts::default(),
        })
    }

    /// Has [`TcpNetwork::wait`] return when `descriptor` becomes readable, too: the wake-up of a disk, say.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn watch(&self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let data = epoll::EventData::new_u64(WATCHED);
        Ok(epoll::add(&self.epoll, descriptor, data, epoll::EventFlags::IN)?)
    }

    /// Sends what was queued, then waits until something can be received, what is watched is readable, or `patience` is over.
    ///
    /// # Errors
    /// If the system cannot tell what happens on the sockets any more.
    pub fn wait(&mut self, patience: Duration) -> io::Result<()> {
        self.flush();
        self.keep_appointments();
        let patience = if self.inbox.is_empty() { patience.min(TICK) } else { Duration::ZERO };
        let timeout = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: patience.subsec_nanos().into() };
        // On the stack: what the system says of a connection is no part of the network, which may go to another thread.
        let mut room = [const { MaybeUninit::uninit() }; EVENTS_MAX];
        let events = match epoll::wait(&self.epoll, &mut room, Some(&timeout)) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => &mut [],
            Err(error) => return Err(error.into()),
        };
        for event in events {
            match event.data.u64() {
                LISTENER => self.accept(),
                WATCHED => {}
                number => self.on_ready(number, event.flags),
            }
        }
        Ok(())
    }

    /// Sends what was queued, as much of it as the system takes. [`TcpNetwork::wait`] does so, too.
    pub fn flush(&mut self) {
        for number in std::mem::take(&mut self.eager) {
            self.write(number);
        }
    }

    /// The next operator who asked how this replica is. One frame that is sent there is the answer.
    pub fn asked(&mut self) -> Option<NodeId> {
        self.asked.pop_front()
    }

    /// What became of connections and frames so far.
    pub const fn counts(&self) -> TcpCounts {
        self.counts
    }

    /// Whether somebody with this address is spoken with at present.
    pub fn is_connected(&self, node: NodeId) -> bool {
        self.nodes.contains_key(&node)
    }

    /// A frame of `node` made no sense: its connection ends. A bit that flips on the way does not come through TCP; whoever
    /// sends what is no frame has lost its place, or never had one.
    pub fn blame(&mut self, node: NodeId) {
        if let Some(number) = self.nodes.get(&node).copied() {
            self.counts.refused += 1;
            self.end(number);
        }
    }

    fn hello(&self) -> Hello {
        let terms = if matches!(self.config.speaker, Speaker::Replica(_)) { self.config.terms } else { 0 };
        Hello { cluster: self.config.cluster, speaker: self.config.speaker, terms }
    }

    fn accept(&mut self) {
        for _ in 0..ACCEPTS_MAX {
            let Some(listener) = &self.listener else { return };
            match listener.accept() {
                Ok((stream, _)) => {
                    if self.connections.len() < CONNECTIONS_MAX && stream.set_nonblocking(true).is_ok() {
                        self.begin(stream, None, false);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // None is there any more, or this one is not to be had; the next event brings the next.
                Err(_) => return,
            }
        }
    }

    /// Takes on a new connection, if the system watches it.
    fn begin(&mut self, stream: TcpStream, dialled: Option<ReplicaId>, connecting: bool) {
        // Frames are small and waited for. What the system refuses here costs time, and no more.
        let _ = stream.set_nodelay(true);
        let _ = sockopt::set_socket_keepalive(&stream, true);
        let number = self.next_number;
        if epoll::add(&self.epoll, &stream, epoll::EventData::new_u64(number), interest(true)).is_err() {
            return;
        }
        self.next_number += 1;
        let mut connection = Connection::new(stream, &self.hello(), self.config.limits, Instant::now());
        (connection.dialled, connection.connecting, connection.blocked) = (dialled, connecting, true);
        self.connections.insert(number, connection);
    }

    /// Dials whom it is time to dial, and gives up whom it is time to give up.
    fn keep_appointments(&mut self) {
        let now = Instant::now();
        if now.duration_since(self.looked_at) < TICK {
            return;
        }
        self.looked_at = now;
        let late: Vec<u64> =
            self.connections.iter().filter(|(_, known)| self.is_late(known, now)).map(|(number, _)| *number).collect();
        for number in late {
            self.end(number);
        }
        for place in 0..self.dials.len() {
            let Dial { replica, next, pause } = self.dials[place];
            let address = self.config.replicas[usize::from(replica.0)];
            let known = self.connections.values().any(|known| known.dialled == Some(replica));
            if known || next > now {
                continue;
            }
            self.dials[place].next = now + pause;
            self.dials[place].pause = (pause * 2).min(PAUSE_MAX);
            self.dial(replica, address);
        }
    }

    fn is_late(&self, connection: &Connection, now: Instant) -> bool {
        match connection.node {
            None => now.duration_since(connection.since) > self.config.greeting_max,
            Some(node) => {
                let peer = node.0 < VISITORS && self.config.speaker != Speaker::Client;
                peer && now.duration_since(connection.heard) > self.config.silence_max
            }
        }
    }

    fn dial(&mut self, replica: ReplicaId, address: SocketAddr) {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let Ok(socket) = socket_with(family, SocketType::STREAM, flags, None) else { return };
        let connecting = match connect(&socket, &address) {
            Ok(()) => false,
            Err(Errno::INPROGRESS) => true,
            Err(_) => return,
        };
        self.begin(TcpStream::from(socket), Some(replica), connecting);
    }

    fn on_ready(&mut self, number: u64, flags: epoll::EventFlags) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let settled = epoll::EventFlags::OUT | epoll::EventFlags::ERR | epoll::EventFlags::HUP;
        if connection.connecting && flags.intersects(settled) {
            match sockopt::socket_error(&connection.stream) {
                Ok(Ok(())) => connection.connecting = false,
                Ok(Err(_)) | Err(_) => return self.end(number),
            }
        }
        self.write(number);
        if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
            self.read(number);
        }
    }

    fn read(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let read = connection.read(Instant::now());
        let taken = self.take(number);
        if let Err(end) = taken.and(read) {
            self.counts.refused += u64::from(matches!(end, End::Hello(_) | End::Length(_)));
            self.end(number);
        }
    }

    /// Takes everything whole that was read from a connection.
    fn take(&mut self, number: u64) -> Result<(), End> {
        while let Some(connection) = self.connections.get_mut(&number) {
            match connection.take()? {
                None => return Ok(()),
                // An operator has nothing to say but who it is.
                Some(Incoming::Frame(_)) if connection.is_operator => {
                    self.counts.refused += 1;
                    self.end(number);
                }
                Some(Incoming::Frame(frame)) => {
                    let node = connection.node.expect("nothing is taken from who has not said who it is");
                    self.counts.received += 1;
                    self.inbox.push_back((node, frame));
                }
                Some(Incoming::Hello(hello)) if self.greet(number, &hello) => {}
                Some(Incoming::Hello(_)) => {
                    self.counts.refused += 1;
                    self.end(number);
                }
            }
        }
        Ok(())
    }

    /// Somebody has said who it is. Whether that is somebody to speak with here.
    fn greet(&mut self, number: u64, hello: &Hello) -> bool {
        let Some(connection) = self.connections.get_mut(&number) else { return false };
        let expected = match (connection.dialled, hello.speaker) {
            (Some(replica), speaker) => speaker == Speaker::Replica(replica),
            (None, Speaker::Client) => true,
            (None, Speaker::Operator) => matches!(self.config.speaker, Speaker::Replica(_)),
            // Of two replicas the later dials.
            (None, Speaker::Replica(replica)) => {
                let known = usize::from(replica.0) < self.config.replicas.len();
                known && matches!(self.config.speaker, Speaker::Replica(own) if own < replica)
            }
        };
        if !expected || (hello.cluster != self.config.cluster && hello.speaker != Speaker::Operator) {
            return false;
        }
        if let (Speaker::Replica(own), Speaker::Replica(replica)) = (self.config.speaker, hello.speaker)
            && hello.terms != self.config.terms
        {
            tracing::warn!(
                "replicas {} and {} do not speak, since their data files were formatted with other limits: format all replicas with the \
                 same --slots, --message-size-max and --clients-max",
                replica.0,
                own.0
            );
            return false;
        }
        let node = match hello.speaker {
            Speaker::Replica(replica) => replica.node(),
            Speaker::Client | Speaker::Operator => {
                let visitor = NodeId(self.next_visitor);
                self.next_visitor = self.next_visitor.checked_add(1).unwrap_or(VISITORS);
                visitor
            }
        };
        connection.node = Some(node);
        if hello.speaker == Speaker::Operator {
            connection.is_operator = true;
            self.asked.push_back(node);
        }
        let dialled = connection.dialled;
        self.counts.greeted += 1;
        if let Some(dial) = self.dials.iter_mut().find(|dial| Some(dial.replica) == dialled) {
            dial.pause = PAUSE;
        }
        // Whoever comes anew has given up the connection that there was.
        if let Some(before) = self.nodes.insert(node, number) {
            self.end(before);
        }
        true
    }

    fn write(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if connection.write().is_err() {
            return self.end(number);
        }
        let blocked = connection.connecting || connection.has_something_to_say();
        if blocked != connection.blocked {
            connection.blocked = blocked;
            let data = epoll::EventData::new_u64(number);
            if epoll::modify(&self.epoll, &connection.stream, data, interest(blocked)).is_err() {
                self.end(number);
            }
        }
    }

    /// Closes a connection. Its socket leaves what the system watches when it is closed.
    fn end(&mut self, number: u64) {
        let Some(connection) = self.connections.remove(&number) else { return };
        self.counts.ended += 1;
        if let Some(node) = connection.node
            && self.nodes.get(&node) == Some(&number)
        {
            self.nodes.remove(&node);
        }
    }
}

fn interest(blocked: bool) -> epoll::EventFlags {
    if blocked { epoll::EventFlags::IN | epoll::EventFlags::OUT } else { epoll::EventFlags::IN }
}

impl Network for TcpNetwork {
    fn send(&mut self, to: NodeId, frame: Frame) {
        let number = self.nodes.get(&to).copied();
        let connection = number.and_then(|number| self.connections.get_mut(&number));
        let queued = connection.is_some_and(|connection| connection.queue(frame));
        self.eager.extend(number.filter(|_| queued));
        let count = if queued { &mut self.counts.sent } else { &mut self.counts.dropped };
        *count += 1;
    }

    fn receive(&mut self) -> Option<(NodeId, Frame)> {
        self.inbox.pop_front()
    }
}
