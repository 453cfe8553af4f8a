//! What carries bytes: connections by number, buffers that are lent to it, and what became of them.
//!
//! Above it is all that makes a stream a sequence of frames between two who know each other; below it, how the system is asked.
//! One buffer a connection and direction is with it, and is given back with what happened; a buffer that is sent comes back when
//! all of it is.
//!
//! Deliberately absent: frames, who is at the other end, and any patience. Who is given up is closed by its owner.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::BorrowedFd,
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, acceptfrom_with, socket_with, sockopt},
};

use super::{completion::Completion, readiness::Readiness};
use crate::uring::{Refusal, Ring};

/// What happened on a connection.
#[derive(Debug)]
pub enum Happened {
    /// Somebody waits to be accepted. The number says nothing.
    Acceptable,
    /// What was dialled is connected, or is not.
    Connected(Result<(), Errno>),
    /// So many bytes came in behind those that the buffer had: none if the other end has closed.
    Received(Vec<u8>, Result<usize, Errno>),
    /// All of the buffer was sent, or not.
    Sent(Vec<u8>, Result<(), Errno>),
}

/// What became of an attempt to accept somebody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accepted {
    /// It is a connection now, from that address.
    Taken(Option<SocketAddr>),
    /// It was closed.
    Closed,
    /// Nobody waits any more.
    Nobody,
    /// The system gives no connection at present.
    Refused(Errno),
}

/// Connections under numbers, none of which is ever given twice.
pub trait Transport {
    /// Accepts connections from now on. [`Happened::Acceptable`] is told once, and once more for each
    /// [`Transport::await_accept`].
    ///
    /// # Errors
    /// If the system refuses.
    fn listen(&mut self, listener: TcpListener) -> io::Result<()>;

    /// Has the next who waits to be accepted told.
    ///
    /// # Errors
    /// If the system refuses.
    fn await_accept(&mut self) -> io::Result<()>;

    /// Accepts who waits under a number, or closes it if there is none.
    fn accept(&mut self, number: Option<u64>) -> Accepted;

    /// Dials, if the system lets it.
    fn connect(&mut self, number: u64, address: SocketAddr) -> bool;

    /// Has the room behind a buffer's bytes filled with what comes in.
    fn receive(&mut self, number: u64, bytes: Vec<u8>);

    /// Sends all of a buffer.
    fn send(&mut self, number: u64, bytes: Vec<u8>);

    /// Closes a connection, of which nothing is told any more.
    fn close(&mut self, number: u64);

    /// Has [`Transport::wait`] return when `descriptor` is readable, too.
    ///
    /// # Errors
    /// If the system refuses.
    fn watch(&mut self, descriptor: BorrowedFd<'_>) -> io::Result<()>;

    /// Whether it waits on that ring.
    fn is_on(&self, ring: &Ring) -> bool;

    /// Begins what was asked for and must not wait. Whether something may have happened by that.
    ///
    /// # Errors
    /// If the system refuses.
    fn flush(&mut self) -> io::Result<bool>;

    /// Begins everything that was asked for, and waits until something happens or `patience` is over.
    ///
    /// # Errors
    /// If the system cannot tell what happens any more.
    fn wait(&mut self, patience: Duration) -> io::Result<()>;

    /// What happened next, and on which connection.
    fn next(&mut self) -> Option<(u64, Happened)>;
}

/// How sockets are to be waited for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum SocketChoice {
    /// On the disk's ring, if there is one and it takes sockets; else by readiness.
    #[default]
    Auto,
    /// On a ring: the disk's, or one of their own.
    Uring,
    /// By readiness, and read and written by system calls.
    Readiness,
}

/// Either transport.
pub enum Sockets {
    /// On a ring.
    Uring(Completion),
    /// By readiness.
    Readiness(Readiness),
}

impl Sockets {
    /// The sockets of a process whose disk is on that ring, and in words for the log why they are not there, if they were to be.
    ///
    /// # Errors
    /// If what was chosen cannot be had, or if the system refuses.
    pub fn open(choice: SocketChoice, ring: Option<Ring>) -> Result<(Self, Option<String>), Refusal> {
        let readiness = || Readiness::new().map(Self::Readiness).map_err(Refusal::Readiness);
        match (choice, ring) {
            (SocketChoice::Readiness, _) | (SocketChoice::Auto, None) => Ok((readiness()?, None)),
            (SocketChoice::Uring, None) => Ok((Self::Uring(Completion::new(Ring::new()?)?), None)),
            (SocketChoice::Uring, Some(ring)) => Ok((Self::Uring(Completion::new(ring)?), None)),
            (SocketChoice::Auto, Some(ring)) => match Completion::new(ring) {
                Ok(sockets) => Ok((Self::Uring(sockets), None)),
                Err(why) => {
                    Ok((readiness()?, Some(format!("{why}: waiting for sockets by readiness; else {}", why.mend()))))
                }
            },
        }
    }
}

/// Calls the same of either.
macro_rules! either {
    ($sockets:expr, $transport:ident => $call:expr) => {
        match $sockets {
            Self::Uring($transport) => $call,
            Self::Readiness($transport) => $call,
        }
    };
}

impl Transport for Sockets {
    fn listen(&mut self, listener: TcpListener) -> io::Result<()> {
        either!(self, transport => transport.listen(listener))
    }

    fn await_accept(&mut self) -> io::Result<()> {
        either!(self, transport => transport.await_accept())
    }

    fn accept(&mut self, number: Option<u64>) -> Accepted {
        either!(self, transport => transport.accept(number))
    }

    fn connect(&mut self, number: u64, address: SocketAddr) -> bool {
        either!(self, transport => transport.connect(number, address))
    }

    fn receive(&mut self, number: u64, bytes: Vec<u8>) {
        either!(self, transport => transport.receive(number, bytes));
    }

    fn send(&mut self, number: u64, bytes: Vec<u8>) {
        either!(self, transport => transport.send(number, bytes));
    }

    fn close(&mut self, number: u64) {
        either!(self, transport => transport.close(number));
    }

    fn watch(&mut self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        either!(self, transport => transport.watch(descriptor))
    }

    fn is_on(&self, ring: &Ring) -> bool {
        either!(self, transport => transport.is_on(ring))
    }

    fn flush(&mut self) -> io::Result<bool> {
        either!(self, transport => transport.flush())
    }

    fn wait(&mut self, patience: Duration) -> io::Result<()> {
        either!(self, transport => transport.wait(patience))
    }

    fn next(&mut self) -> Option<(u64, Happened)> {
        either!(self, transport => transport.next())
    }
}

/// Who was accepted, and from where.
pub(super) type Visitor = (TcpStream, Option<SocketAddr>);

/// Accepts who waits, with these flags of its socket. None if nobody does.
pub(super) fn accept(listener: &TcpListener, flags: SocketFlags) -> Result<Option<Visitor>, Errno> {
    loop {
        match acceptfrom_with(listener, flags | SocketFlags::CLOEXEC) {
            Ok((socket, from)) => {
                let from = from.and_then(|address| SocketAddr::try_from(address).ok());
                return Ok(Some((prepared(TcpStream::from(socket)), from)));
            }
            // Whoever is gone again is not waited for.
            Err(Errno::INTR | Errno::CONNABORTED) => {}
            Err(Errno::AGAIN) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

/// A socket with these flags to dial an address with.
pub(crate) fn socket(address: &SocketAddr, flags: SocketFlags) -> Result<TcpStream, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, flags | SocketFlags::CLOEXEC, None)?;
    Ok(prepared(TcpStream::from(socket)))
}

/// How long nothing may come from the other end's system before it is asked whether it is still there; how often it is asked, and how
/// often it may leave that unanswered.
const KEEP_IDLE: Duration = Duration::from_secs(30);
const KEEP_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_COUNT: u32 = 3;

/// How long what was sent may be on its way, or the other end may take nothing of it, in milliseconds.
const UNTAKEN_MAX_MS: u32 = 60_000;

/// Frames are small and waited for; and nobody else notices that a client's machine is gone without a word. What the system refuses here
/// costs time, and no more.
fn prepared(stream: TcpStream) -> TcpStream {
    let _ = stream.set_nodelay(true);
    let _ = sockopt::set_socket_keepalive(&stream, true);
    let _ = sockopt::set_tcp_keepidle(&stream, KEEP_IDLE);
    let _ = sockopt::set_tcp_keepintvl(&stream, KEEP_INTERVAL);
    let _ = sockopt::set_tcp_keepcnt(&stream, KEEP_COUNT);
    let _ = sockopt::set_tcp_user_timeout(&stream, UNTAKEN_MAX_MS);
    stream
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(opened: Result<(Sockets, Option<String>), Refusal>) -> Result<(bool, Option<String>), String> {
        let (sockets, why) = opened.map_err(|refusal| refusal.to_string())?;
        Ok((matches!(sockets, Sockets::Uring(_)), why))
    }

    /// Who is gone without a word is given up by the system: after a minute, on either end.
    #[test]
    fn a_connection_whose_other_end_is_gone_ends_within_a_minute() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let dialling = socket(&address, SocketFlags::empty()).unwrap();
        rustix::net::connect(&dialling, &address).unwrap();
        let (accepted, from) = accept(&listener, SocketFlags::empty()).unwrap().unwrap();
        assert_eq!(from, dialling.local_addr().ok());
        for stream in [dialling, accepted] {
            assert!(sockopt::socket_keepalive(&stream).unwrap());
            let patience = sockopt::tcp_keepidle(&stream).unwrap()
                + sockopt::tcp_keepintvl(&stream).unwrap() * sockopt::tcp_keepcnt(&stream).unwrap();
            assert_eq!(patience, Duration::from_secs(60), "if nothing is said");
            assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), 60_000, "if something is");
        }
    }

    #[test]
    fn sockets_are_on_the_disks_ring_if_that_takes_them_and_otherwise_it_is_said_why_not() {
        let ring = || Ring::new().unwrap();
        let old = || {
            let ring = ring();
            ring.lack("recv");
            ring
        };
        let why = "io_uring is too old here for sockets: it has no recv";
        let mend = "run Linux 5.11 or later, with io_uring";
        for (choice, ring, expected) in [
            (SocketChoice::Auto, Some(ring()), Ok((true, None))),
            (
                SocketChoice::Auto,
                Some(old()),
                Ok((false, Some(format!("{why}: waiting for sockets by readiness; else {mend}")))),
            ),
            (SocketChoice::Auto, None, Ok((false, None))),
            (SocketChoice::Uring, Some(ring()), Ok((true, None))),
            (SocketChoice::Uring, Some(old()), Err(why.to_owned())),
            (SocketChoice::Uring, None, Ok((true, None))),
            (SocketChoice::Readiness, Some(ring()), Ok((false, None))),
            (SocketChoice::Readiness, None, Ok((false, None))),
        ] {
            assert_eq!(kind(Sockets::open(choice, ring.clone())), expected, "{choice:?} {ring:?}");
        }
        let disks = ring();
        let (sockets, _) = Sockets::open(SocketChoice::Auto, Some(disks.clone())).unwrap();
        assert!(sockets.is_on(&disks) && !sockets.is_on(&ring()));
    }
}
