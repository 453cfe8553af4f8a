//! Sockets on a ring: what is asked for is begun, and waited for, by the one system call that does so for the disk as well.
//!
//! Invariants: what the ring answers to a socket costs that connection at worst; a buffer is sent whole, however the system takes it.
//! The ring never holds the listening socket: an accept or a poll in flight would keep the port of a process that was killed
//! until the system has cleared its ring away, and its successor could not have it. What is in flight is a poll of an epoll, which
//! watches the socket without holding it.

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener},
    os::fd::BorrowedFd,
    time::Duration,
};

use rustix::{event::epoll, io::Errno, net::SocketFlags};

use super::transport::{Accepted, Happened, Transport, accept, socket};
use crate::uring::{
    NUMBER_MAX, Refusal, Ring,
    sockets::{Answered, Sockets},
};

/// The number of what watches the listening socket; those below it are of what is watched beside, and then come the connections' from the
/// other end.
const LISTENER: u64 = NUMBER_MAX;

/// A [`Transport`] on a ring. It stays on the ring's thread.
pub struct Completion {
    sockets: Sockets,
    listener: Option<TcpListener>,
    watched: u64,
    /// What is watched and was readable: waited for again with the next wait.
    noticed: Vec<u64>,
    /// Why nothing more would be heard of who waits to be accepted, or of what is watched.
    deaf: Option<Errno>,
}

impl fmt::Debug for Completion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Completion({:?})", self.sockets.ring())
    }
}

impl Completion {
    /// No sockets so far.
    ///
    /// # Errors
    /// If the ring takes none.
    pub fn new(ring: Ring) -> Result<Self, Refusal> {
        ring.takes_sockets()?;
        Ok(Self { sockets: Sockets::new(ring), listener: None, watched: 0, noticed: Vec::new(), deaf: None })
    }
}

/// What the ring's answer means, of whatever it is.
enum Outcome {
    Count(usize),
    /// Interrupted, or begun when there was no room for it: nothing happened.
    Again,
    /// It failed, or was cancelled by somebody who is not this.
    Failed(Errno),
}

impl Outcome {
    fn of(result: i32) -> Self {
        if let Ok(count) = usize::try_from(result) {
            return Self::Count(count);
        }
        match result.saturating_neg() {
            number @ 1..4096 => match Errno::from_raw_os_error(number) {
                Errno::INTR | Errno::AGAIN => Self::Again,
                errno => Self::Failed(errno),
            },
            // No error has such a number.
            _ => Self::Failed(Errno::IO),
        }
    }
}

impl Transport for Completion {
    fn listen(&mut self, listener: TcpListener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        self.sockets.add(LISTENER, epoll);
        self.sockets.poll(LISTENER);
        self.listener = Some(listener);
        Ok(())
    }

    fn await_accept(&mut self) -> io::Result<()> {
        if self.listener.is_some() {
            self.sockets.poll(LISTENER);
        }
        Ok(())
    }

    fn accept(&mut self, number: Option<u64>) -> Accepted {
        let Some(listener) = &self.listener else { return Accepted::Nobody };
        match (accept(listener, SocketFlags::empty()), number) {
            (Ok(None), _) => Accepted::Nobody,
            (Ok(Some((stream, from))), Some(number)) => {
                self.sockets.add(number, stream.into());
                Accepted::Taken(from)
            }
            (Ok(Some(_)), None) => Accepted::Closed,
            (Err(error), _) => Accepted::Refused(error),
        }
    }

    fn connect(&mut self, number: u64, address: SocketAddr) -> bool {
        let Ok(stream) = socket(&address, SocketFlags::empty()) else { return false };
        self.sockets.add(number, stream.into());
        self.sockets.connect(number, &address);
        true
    }

    fn receive(&mut self, number: u64, bytes: Vec<u8>) {
        self.sockets.receive(number, bytes);
    }

    fn send(&mut self, number: u64, bytes: Vec<u8>) {
        self.sockets.send(number, bytes, 0);
    }

    fn close(&mut self, number: u64) {
        self.sockets.close(number);
    }

    fn watch(&mut self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        self.watched += 1;
        let number = LISTENER - self.watched;
        self.sockets.add(number, descriptor.try_clone_to_owned()?);
        self.noticed.push(number);
        Ok(())
    }

    fn is_on(&self, ring: &Ring) -> bool {
        self.sockets.ring().is(ring)
    }

    fn flush(&mut self) -> io::Result<bool> {
        self.sockets.begin()
    }

    fn wait(&mut self, patience: Duration) -> io::Result<()> {
        if let Some(error) = self.deaf {
            return Err(error.into());
        }
        for number in std::mem::take(&mut self.noticed) {
            self.sockets.poll(number);
        }
        self.sockets.wait(patience)
    }

    fn next(&mut self) -> Option<(u64, Happened)> {
        loop {
            let (number, answered) = self.sockets.answer()?;
            let happened = match answered {
                Answered::Readable(result) => match Outcome::of(result) {
                    Outcome::Failed(error) => {
                        self.deaf = Some(error);
                        continue;
                    }
                    _ if number == LISTENER => Happened::Acceptable,
                    _ => {
                        self.noticed.push(number);
                        continue;
                    }
                },
                Answered::Connected(result) => Happened::Connected(match Outcome::of(result) {
                    Outcome::Count(_) => Ok(()),
                    // How far it came is not known: it is dialled anew.
                    Outcome::Again => Err(Errno::INTR),
                    Outcome::Failed(error) => Err(error),
                }),
                Answered::Received(bytes, result) => match Outcome::of(result) {
                    Outcome::Count(count) => Happened::Received(bytes, Ok(count)),
                    Outcome::Failed(error) => Happened::Received(bytes, Err(error)),
                    Outcome::Again => {
                        self.sockets.receive(number, bytes);
                        continue;
                    }
                },
                Answered::Sent(bytes, from, result) => match Outcome::of(result) {
                    Outcome::Count(count) if from + count >= bytes.len() => Happened::Sent(bytes, Ok(())),
                    Outcome::Count(0) => Happened::Sent(bytes, Err(Errno::IO)),
                    Outcome::Failed(error) => Happened::Sent(bytes, Err(error)),
                    Outcome::Count(count) => {
                        self.sockets.send(number, bytes, from + count);
                        continue;
                    }
                    Outcome::Again => {
                        self.sockets.send(number, bytes, from);
                        continue;
                    }
                },
            };
            return Some((number, happened));
        }
    }
}

#[cfg(test)]
mod tests;
