//! The sockets' part of the ring: what is asked of each socket, by its number, with buffers that are the system's meanwhile.
//!
//! Invariants: a buffer that was lent is neither read, written nor freed before its operation was answered; the answers to what was
//! asked of a socket that is closed since reach nobody; and a socket is open until all of them have come, so that no operation finds
//! another one under its descriptor.
//!
//! Deliberately absent: what an answer means. A count or an error is passed on as the system gave it.
#![expect(unsafe_code, reason = "the ring is given addresses")]

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    os::fd::{AsRawFd, OwnedFd},
    time::{Duration, Instant},
};

use io_uring::{opcode, squeue, types};
use rustix::{
    event::PollFlags,
    net::{AddressFamily, SendFlags},
};

use super::{
    memory::Lent,
    ring::{Answer, Kind, Ring, Side},
};

/// How long the system may take to answer to everything when it is cancelled.
const PATIENCE: Duration = Duration::from_secs(5);

/// What became of something that was asked of a socket: a count, or an error's number with a minus, and the buffer that was lent.
#[derive(Debug)]
pub(crate) enum Answered {
    Connected(i32),
    Received(Vec<u8>, i32),
    /// Of the bytes from that one on.
    Sent(Vec<u8>, usize, i32),
    Readable(i32),
}

struct Socket {
    descriptor: OwnedFd,
    /// Nobody asks anything of it any more, and nobody is told what becomes of what was asked.
    closed: bool,
    receiving: Option<Lent>,
    /// The bytes, and the first of them that is to be sent.
    sending: Option<(Lent, usize)>,
    /// The address, as the system reads it.
    connecting: Option<Lent>,
    polling: bool,
}

impl Socket {
    /// What is not answered yet.
    fn unanswered(&self) -> impl Iterator<Item = Kind> {
        let kinds = [
            (self.receiving.is_some(), Kind::Receive),
            (self.sending.is_some(), Kind::Send),
            (self.connecting.is_some(), Kind::Connect),
            (self.polling, Kind::Poll),
        ];
        kinds.into_iter().filter(|(asked, _)| *asked).map(|(_, kind)| kind)
    }
}

/// Sockets on a ring.
pub(crate) struct Sockets {
    ring: Ring,
    sockets: BTreeMap<u64, Socket>,
    /// Whether something was asked for that is not to wait for the next turn.
    urgent: bool,
    /// Changes what the system answers.
    #[cfg(test)]
    pub(crate) answers: Option<Box<dyn FnMut(&'static str, i32) -> i32>>,
}

impl Sockets {
    pub(crate) const fn new(ring: Ring) -> Self {
        Self {
            ring,
            sockets: BTreeMap::new(),
            urgent: false,
            #[cfg(test)]
            answers: None,
        }
    }

    pub(crate) const fn ring(&self) -> &Ring {
        &self.ring
    }

    /// How many there are, those that are being closed among them.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.sockets.len()
    }

    /// Takes on a socket, under a number that none had before it. It must block: one that does not is told to try again instead of
    /// being waited for.
    ///
    /// # Panics
    /// If there is one of that number.
    pub(crate) fn add(&mut self, number: u64, descriptor: OwnedFd) {
        let socket =
            Socket { descriptor, closed: false, receiving: None, sending: None, connecting: None, polling: false };
        assert!(self.sockets.insert(number, socket).is_none(), "a number is given once");
    }

    /// A socket of which something can be asked.
    fn open(&mut self, number: u64) -> &mut Socket {
        let socket = self.sockets.get_mut(&number).filter(|socket| !socket.closed);
        socket.expect("nothing is asked of a socket that is closed")
    }

    /// Connects a socket.
    ///
    /// # Panics
    /// If it is being connected, or closed.
    pub(crate) fn connect(&mut self, number: u64, address: &SocketAddr) {
        let socket = self.open(number);
        assert!(socket.connecting.is_none(), "a socket is connected once");
        let lent = Lent::new(encode(address));
        let (start, length) = lent.rest(0);
        let entry = opcode::Connect::new(types::Fd(socket.descriptor.as_raw_fd()), start.cast(), length as u32).build();
        socket.connecting = Some(lent);
        self.urgent = true;
        // SAFETY: the address is lent until the answer.
        unsafe { self.ring.ask(Kind::Connect, number, entry) };
    }

    /// Has the room behind some bytes filled with what comes in.
    ///
    /// # Panics
    /// If there is no room, or if something is being received already.
    pub(crate) fn receive(&mut self, number: u64, bytes: Vec<u8>) {
        let socket = self.open(number);
        assert!(socket.receiving.is_none(), "a socket fills one buffer at a time: which bytes came first is known");
        let lent = Lent::new(bytes);
        let (start, room) = lent.room();
        assert!(room > 0, "there is room for what comes");
        let room = u32::try_from(room).unwrap_or(u32::MAX);
        let entry = opcode::Recv::new(types::Fd(socket.descriptor.as_raw_fd()), start, room).build();
        socket.receiving = Some(lent);
        // SAFETY: the buffer is lent until the answer.
        unsafe { self.ring.ask(Kind::Receive, number, entry) };
    }

    /// Sends bytes, from one of them on.
    ///
    /// # Panics
    /// If none is left, or if something is being sent already.
    pub(crate) fn send(&mut self, number: u64, bytes: Vec<u8>, from: usize) {
        let socket = self.open(number);
        assert!(socket.sending.is_none(), "a socket empties one buffer at a time: which bytes leave first is known");
        let lent = Lent::new(bytes);
        let (start, left) = lent.rest(from);
        assert!(left > 0, "there is something to send");
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        let flags = SendFlags::NOSIGNAL.bits() as i32;
        let entry = opcode::Send::new(types::Fd(socket.descriptor.as_raw_fd()), start, left).flags(flags).build();
        socket.sending = Some((lent, from));
        self.urgent = true;
        // SAFETY: the buffer is lent until the answer, and only read.
        unsafe { self.ring.ask(Kind::Send, number, entry) };
    }

    /// Waits until it is readable, once.
    ///
    /// # Panics
    /// If that is waited for already.
    pub(crate) fn poll(&mut self, number: u64) {
        let socket = self.open(number);
        assert!(!socket.polling, "a socket is waited for once");
        socket.polling = true;
        let readable = u32::from(PollFlags::IN.bits());
        let entry = opcode::PollAdd::new(types::Fd(socket.descriptor.as_raw_fd()), readable).build();
        // SAFETY: the entry names no memory.
        unsafe { self.ring.ask(Kind::Poll, number, entry) };
    }

    /// Closes a socket: what was asked of it is cancelled, and nobody is told what became of that.
    pub(crate) fn close(&mut self, number: u64) {
        let Some(socket) = self.sockets.get_mut(&number) else { return };
        if std::mem::replace(&mut socket.closed, true) {
            return;
        }
        let unanswered: Vec<Kind> = socket.unanswered().collect();
        if unanswered.is_empty() {
            self.sockets.remove(&number);
        }
        for kind in unanswered {
            let entry: squeue::Entry = opcode::AsyncCancel::new(kind.name(number)).build();
            self.urgent = true;
            // SAFETY: the entry names no memory.
            unsafe { self.ring.ask(Kind::Cancel, number, entry) };
        }
    }

    /// Begins what was asked for, if some of it is not to wait. Whether there was that.
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn begin(&mut self) -> io::Result<bool> {
        let urgent = std::mem::take(&mut self.urgent);
        if urgent {
            self.ring.begin()?;
        }
        Ok(urgent)
    }

    /// Begins what was asked for and waits until there is an answer, to whomever, or until `patience` is over.
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn wait(&mut self, patience: Duration) -> io::Result<()> {
        self.urgent = false;
        self.ring.wait(patience)
    }

    /// The next answer, without a system call.
    pub(crate) fn answer(&mut self) -> Option<(u64, Answered)> {
        loop {
            let Answer { kind, number, result } = self.ring.answer(Side::Sockets)?;
            let socket = self.sockets.get_mut(&number).expect("a socket is there until everything was answered");
            let answered = match kind {
                Kind::Receive => {
                    let lent = socket.receiving.take().expect("what is answered was asked for");
                    // SAFETY: the system has answered, and says how much it filled.
                    Answered::Received(unsafe { lent.back(usize::try_from(result).unwrap_or(0)) }, result)
                }
                Kind::Send => {
                    let (lent, from) = socket.sending.take().expect("what is answered was asked for");
                    // SAFETY: the system has answered, and filled nothing.
                    Answered::Sent(unsafe { lent.back(0) }, from, result)
                }
                Kind::Connect => {
                    let lent = socket.connecting.take().expect("what is answered was asked for");
                    // SAFETY: the system has answered, and filled nothing.
                    drop(unsafe { lent.back(0) });
                    Answered::Connected(result)
                }
                Kind::Poll => {
                    socket.polling = false;
                    Answered::Readable(result)
                }
                Kind::Disk | Kind::Cancel => {
                    unreachable!("the ring keeps the disk's answers apart, and those that say nothing")
                }
            };
            if !socket.closed {
                #[cfg(test)]
                let answered = self.answer_otherwise(answered);
                return Some((number, answered));
            }
            if socket.unanswered().next().is_none() {
                self.sockets.remove(&number);
            }
        }
    }

    #[cfg(test)]
    fn answer_otherwise(&mut self, answered: Answered) -> Answered {
        let Some(answers) = &mut self.answers else { return answered };
        match answered {
            Answered::Connected(result) => Answered::Connected(answers("connect", result)),
            Answered::Received(bytes, result) => Answered::Received(bytes, answers("receive", result)),
            Answered::Sent(bytes, from, result) => Answered::Sent(bytes, from, answers("send", result)),
            Answered::Readable(result) => Answered::Readable(answers("poll", result)),
        }
    }
}

impl Drop for Sockets {
    /// Cancels what was asked for and waits for the answers. If the system gives none, what is lent to it stays so for ever.
    fn drop(&mut self) {
        let numbers: Vec<u64> = self.sockets.keys().copied().collect();
        numbers.into_iter().for_each(|number| self.close(number));
        let end = Instant::now() + PATIENCE;
        loop {
            while self.answer().is_some() {}
            let left = end.saturating_duration_since(Instant::now());
            if self.sockets.is_empty() || left.is_zero() || self.ring.wait(left).is_err() {
                return;
            }
        }
    }
}

/// An address as `connect(2)` reads it: `sockaddr_in` or `sockaddr_in6`.
#[expect(clippy::host_endian_bytes, reason = "but for port and address, the system reads this machine's own order")]
fn encode(address: &SocketAddr) -> Vec<u8> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let mut bytes = family.as_raw().to_ne_bytes().to_vec();
    bytes.extend(address.port().to_be_bytes());
    match address {
        SocketAddr::V4(address) => {
            bytes.extend(address.ip().octets());
            bytes.extend([0; 8]);
        }
        SocketAddr::V6(address) => {
            bytes.extend(address.flowinfo().to_ne_bytes());
            bytes.extend(address.ip().octets());
            bytes.extend(address.scope_id().to_ne_bytes());
        }
    }
    bytes
}
