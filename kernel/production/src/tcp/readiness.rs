//! Sockets by readiness: the system says which can be read or written, and that is done by system calls.
//!
//! For where there is no io_uring, and for clients, which are on threads of their users' choice.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt, io,
    mem::MaybeUninit,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::{BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
    io::Errno,
    net::{RecvFlags, SendFlags, SocketFlags, connect, recv, send, sockopt},
};

use super::transport::{Accepted, Happened, Transport, accept, socket};
use crate::uring::Ring;

/// The most that the system says at once.
const EVENTS_MAX: usize = 256;

const LISTENER: u64 = u64::MAX;
const WATCHED: u64 = u64::MAX - 1;

struct Socket {
    stream: TcpStream,
    connecting: bool,
    /// Whether the system is to tell when it can be written.
    blocked: bool,
    inbound: Option<Vec<u8>>,
    /// What is being sent, and how much of it is.
    outbound: Option<(Vec<u8>, usize)>,
}

/// A [`Transport`] by readiness.
pub struct Readiness {
    epoll: OwnedFd,
    listener: Option<TcpListener>,
    /// By the number that its events carry, so that no late event is taken for another's.
    sockets: BTreeMap<u64, Socket>,
    happened: VecDeque<(u64, Happened)>,
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Readiness({} sockets)", self.sockets.len())
    }
}

impl Readiness {
    /// No sockets so far.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, listener: None, sockets: BTreeMap::new(), happened: VecDeque::new() })
    }

    /// Takes on a socket, if the system watches it.
    fn add(&mut self, number: u64, stream: TcpStream, connecting: bool) -> bool {
        let data = epoll::EventData::new_u64(number);
        if epoll::add(&self.epoll, &stream, data, interest(connecting)).is_err() {
            return false;
        }
        let socket = Socket { stream, connecting, blocked: connecting, inbound: None, outbound: None };
        self.sockets.insert(number, socket);
        true
    }

    fn on_ready(&mut self, number: u64, flags: epoll::EventFlags) {
        let Some(socket) = self.sockets.get_mut(&number) else { return };
        let ended = epoll::EventFlags::ERR | epoll::EventFlags::HUP;
        if socket.connecting && flags.intersects(epoll::EventFlags::OUT | ended) {
            let result = sockopt::socket_error(&socket.stream).and_then(|result| result);
            socket.connecting = false;
            self.happened.push_back((number, Happened::Connected(result)));
        }
        if flags.intersects(epoll::EventFlags::OUT | ended) {
            self.write(number);
        }
        if flags.intersects(epoll::EventFlags::IN | ended) {
            self.read(number);
        }
    }

    fn read(&mut self, number: u64) {
        let Some(socket) = self.sockets.get_mut(&number) else { return };
        let Some(mut bytes) = socket.inbound.take() else { return };
        let stream = &socket.stream;
        match again(|| recv(stream, spare_capacity(&mut bytes), RecvFlags::empty()).map(|(count, _)| count)) {
            Ok(None) => socket.inbound = Some(bytes),
            Ok(Some(count)) => self.happened.push_back((number, Happened::Received(bytes, Ok(count)))),
            Err(error) => self.happened.push_back((number, Happened::Received(bytes, Err(error)))),
        }
    }

    /// Sends as much as the system takes.
    fn write(&mut self, number: u64) {
        let Some(socket) = self.sockets.get_mut(&number) else { return };
        let mut result = Ok(());
        while let Some((bytes, sent)) = &mut socket.outbound
            && *sent < bytes.len()
        {
            match again(|| send(&socket.stream, &bytes[*sent..], SendFlags::NOSIGNAL)) {
                Ok(Some(count)) => *sent += count,
                Ok(None) => break,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        let done = |(bytes, sent): &mut (Vec<u8>, usize)| result.is_err() || *sent == bytes.len();
        let ended = socket.outbound.take_if(done);
        let blocked = socket.connecting || socket.outbound.is_some();
        if blocked != socket.blocked {
            socket.blocked = blocked;
            let data = epoll::EventData::new_u64(number);
            if let Err(error) = epoll::modify(&self.epoll, &socket.stream, data, interest(blocked)) {
                // Nothing would be heard of it any more.
                result = Err(error);
            }
        }
        match (ended.or_else(|| socket.outbound.take_if(|_| result.is_err())), result) {
            (Some((bytes, _)), result) => self.happened.push_back((number, Happened::Sent(bytes, result))),
            (None, Err(error)) => self.happened.push_back((number, Happened::Sent(Vec::new(), Err(error)))),
            (None, Ok(())) => {}
        }
    }
}

impl Transport for Readiness {
    fn listen(&mut self, listener: TcpListener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        epoll::add(&self.epoll, &listener, epoll::EventData::new_u64(LISTENER), once())?;
        self.listener = Some(listener);
        Ok(())
    }

    fn await_accept(&mut self) -> io::Result<()> {
        let Some(listener) = &self.listener else { return Ok(()) };
        Ok(epoll::modify(&self.epoll, listener, epoll::EventData::new_u64(LISTENER), once())?)
    }

    fn accept(&mut self, number: Option<u64>) -> Accepted {
        let Some(listener) = &self.listener else { return Accepted::Nobody };
        match accept(listener, SocketFlags::NONBLOCK) {
            Ok(None) => Accepted::Nobody,
            Ok(Some((stream, from))) => match number {
                Some(number) if self.add(number, stream, false) => Accepted::Taken(from),
                _ => Accepted::Closed,
            },
            Err(error) => Accepted::Refused(error),
        }
    }

    fn connect(&mut self, number: u64, address: SocketAddr) -> bool {
        let Ok(stream) = socket(&address, SocketFlags::NONBLOCK) else { return false };
        let connecting = match connect(&stream, &address) {
            Ok(()) => false,
            Err(Errno::INPROGRESS) => true,
            Err(_) => return false,
        };
        let added = self.add(number, stream, connecting);
        if added && !connecting {
            self.happened.push_back((number, Happened::Connected(Ok(()))));
        }
        added
    }

    fn receive(&mut self, number: u64, bytes: Vec<u8>) {
        if let Some(socket) = self.sockets.get_mut(&number) {
            socket.inbound = Some(bytes);
        }
    }

    fn send(&mut self, number: u64, bytes: Vec<u8>) {
        if let Some(socket) = self.sockets.get_mut(&number) {
            socket.outbound = Some((bytes, 0));
            self.write(number);
        }
    }

    /// The socket leaves what the system watches when it is closed.
    fn close(&mut self, number: u64) {
        self.sockets.remove(&number);
        self.happened.retain(|(other, _)| *other != number);
    }

    fn watch(&mut self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let data = epoll::EventData::new_u64(WATCHED);
        Ok(epoll::add(&self.epoll, descriptor, data, epoll::EventFlags::IN)?)
    }

    fn is_on(&self, _: &Ring) -> bool {
        false
    }

    fn flush(&mut self) -> io::Result<bool> {
        Ok(!self.happened.is_empty())
    }

    fn wait(&mut self, patience: Duration) -> io::Result<()> {
        let patience = if self.happened.is_empty() { patience } else { Duration::ZERO };
        let timeout = Timespec {
            tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: patience.subsec_nanos().into(),
        };
        // On the stack: what the system says of a connection is no part of the transport, which may go to another thread.
        let mut room = [const { MaybeUninit::uninit() }; EVENTS_MAX];
        let events = match epoll::wait(&self.epoll, &mut room, Some(&timeout)) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => &mut [],
            Err(error) => return Err(error.into()),
        };
        for event in events {
            match event.data.u64() {
                LISTENER => self.happened.push_back((LISTENER, Happened::Acceptable)),
                WATCHED => {}
                number => self.on_ready(number, event.flags),
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Option<(u64, Happened)> {
        self.happened.pop_front()
    }
}

fn interest(blocked: bool) -> epoll::EventFlags {
    if blocked { epoll::EventFlags::IN | epoll::EventFlags::OUT } else { epoll::EventFlags::IN }
}

fn once() -> epoll::EventFlags {
    epoll::EventFlags::IN | epoll::EventFlags::ONESHOT
}

/// Calls again what a signal interrupted; none if the call would have to wait.
fn again(mut call: impl FnMut() -> Result<usize, Errno>) -> Result<Option<usize>, Errno> {
    loop {
        match call() {
            Ok(count) => return Ok(Some(count)),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}
