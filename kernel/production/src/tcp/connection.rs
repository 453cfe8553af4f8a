//! One connection: bytes in, frames out, and the other way round.
//!
//! Behind the hello, each frame is its length (u32, little-endian) and its bytes. Invariant: what is queued and what is
//! buffered have a bound; a full queue drops frames, as the contract of a network allows, and never parts of one.

use std::{collections::VecDeque, io::IoSlice, net::TcpStream, time::Instant};

use chronon::{
    frame::Frame,
    types::{NodeId, ReplicaId},
};
use rustix::{
    buffer::spare_capacity,
    io::{Errno, read, writev},
};

use super::hello::{HELLO_SIZE, Hello, HelloError};

/// What comes before each frame.
const LENGTH_SIZE: usize = 4;

/// The most frames that one system call is given.
const GATHER_MAX: usize = 64;

/// How much is read from one connection before the others have their turn.
const READ_MAX: usize = 256 * 1024;

/// How much is asked for at once.
const READ_CHUNK: usize = 64 * 1024;

/// What a connection may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The largest frame, in bytes.
    pub frame_size_max: u32,
    /// How many bytes may wait to be sent on one connection: two of the largest frames at least.
    pub queue_bytes_max: usize,
}

/// Why a connection is at its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// The other end closed it.
    Closed,
    /// The system gave it up.
    Failed(Errno),
    /// The first words were none.
    Hello(HelloError),
    /// A frame of a length that none has.
    Length(u32),
}

/// What comes in over a connection.
pub(super) enum Incoming {
    Hello(Hello),
    Frame(Frame),
}

pub(super) struct Connection {
    pub(super) stream: TcpStream,
    /// The replica that was dialled, if this end did.
    pub(super) dialled: Option<ReplicaId>,
    /// Who is at the other end, once that is known.
    pub(super) node: Option<NodeId>,
    /// Whether that is an operator.
    pub(super) is_operator: bool,
    /// Whether the system is to tell when more can be written.
    pub(super) blocked: bool,
    /// Whether it is still being established.
    pub(super) connecting: bool,
    /// When it came to be; when something was last read from it.
    pub(super) since: Instant,
    pub(super) heard: Instant,
    limits: Limits,
    /// The hello, until it is sent; how much of it is.
    greeting: Option<([u8; HELLO_SIZE], usize)>,
    /// Whether the other end's hello was read.
    greeted: bool,
    queue: VecDeque<Frame>,
    queued_bytes: usize,
    /// How much of the first frame in the queue, with its length, is sent.
    sent: usize,
    /// What was read; how much of it is taken.
    inbound: Vec<u8>,
    taken: usize,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, hello: &Hello, limits: Limits, now: Instant) -> Self {
        Self {
            stream,
            dialled: None,
            node: None,
            is_operator: false,
            blocked: false,
            connecting: false,
            since: now,
            heard: now,
            limits,
            greeting: Some((hello.encode(), 0)),
            greeted: false,
            queue: VecDeque::new(),
            queued_bytes: 0,
            sent: 0,
            inbound: Vec::new(),
            taken: 0,
        }
    }

    /// Whether something waits to be sent.
    pub(super) fn has_something_to_say(&self) -> bool {
        self.greeting.is_some() || !self.queue.is_empty()
    }

    /// Queues a frame. Whether there was room.
    pub(super) fn queue(&mut self, frame: Frame) -> bool {
        let size = LENGTH_SIZE + frame.len();
        if frame.len() > self.limits.frame_size_max as usize || self.queued_bytes + size > self.limits.queue_bytes_max {
            return false;
        }
        self.queued_bytes += size;
        self.queue.push_back(frame);
        true
    }

    /// Sends as much as the system takes.
    pub(super) fn write(&mut self) -> Result<(), End> {
        if self.connecting {
            return Ok(());
        }
        if let Some((hello, sent)) = &mut self.greeting {
            while *sent < HELLO_SIZE {
                match again(|| rustix::io::write(&self.stream, &hello[*sent..]))? {
                    Some(count) => *sent += count,
                    None => return Ok(()),
                }
            }
            self.greeting = None;
        }
        while !self.queue.is_empty() {
            let Some(count) = self.write_some()? else { return Ok(()) };
            self.sent += count;
            while let Some(first) = self.queue.front()
                && self.sent >= LENGTH_SIZE + first.len()
            {
                self.sent -= LENGTH_SIZE + first.len();
                self.queued_bytes -= LENGTH_SIZE + first.len();
                self.queue.pop_front();
            }
        }
        Ok(())
    }

    /// One system call over as many frames as it takes.
    fn write_some(&self) -> Result<Option<usize>, End> {
        let lengths: Vec<[u8; LENGTH_SIZE]> =
            self.queue.iter().take(GATHER_MAX).map(|frame| (frame.len() as u32).to_le_bytes()).collect();
        let mut slices = Vec::with_capacity(2 * lengths.len());
        for (length, frame) in lengths.iter().zip(&self.queue) {
            slices.push(IoSlice::new(length));
            slices.push(IoSlice::new(frame));
        }
        let mut rest = &mut slices[..];
        IoSlice::advance_slices(&mut rest, self.sent);
        again(|| writev(&self.stream, rest))
    }

    /// Reads what has come, as much as is this connection's turn. What was read before an end is there to be taken all the same.
    pub(super) fn read(&mut self, now: Instant) -> Result<(), End> {
        self.inbound.drain(..self.taken);
        self.taken = 0;
        let mut turn = READ_MAX;
        while turn > 0 {
            self.inbound.reserve(READ_CHUNK);
            let room = self.inbound.capacity() - self.inbound.len();
            let Some(count) = again(|| read(&self.stream, spare_capacity(&mut self.inbound)))? else { break };
            if count == 0 {
                return Err(End::Closed);
            }
            self.heard = now;
            // What did not fill the room was all that there was; what comes now wakes anew.
            turn = if count < room { 0 } else { turn.saturating_sub(count) };
        }
        Ok(())
    }

    /// The next whole thing that was read: the hello first, then frames.
    pub(super) fn take(&mut self) -> Result<Option<Incoming>, End> {
        let rest = &self.inbound[self.taken..];
        if !self.greeted {
            if !Hello::may_begin(rest) {
                return Err(End::Hello(HelloError::Foreign));
            }
            let Some(first) = rest.first_chunk::<HELLO_SIZE>() else { return Ok(None) };
            let hello = Hello::decode(first).map_err(End::Hello)?;
            self.greeted = true;
            self.taken += HELLO_SIZE;
            return Ok(Some(Incoming::Hello(hello)));
        }
        let Some(length) = rest.first_chunk::<LENGTH_SIZE>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length);
        if length == 0 || length > self.limits.frame_size_max {
            return Err(End::Length(length));
        }
        let end = LENGTH_SIZE + length as usize;
        let Some(bytes) = rest.get(LENGTH_SIZE..end) else { return Ok(None) };
        let frame = Frame::new(bytes.to_vec());
        self.taken += end;
        Ok(Some(Incoming::Frame(frame)))
    }
}

/// Calls again what a signal interrupted; none if the call would have to wait.
fn again(mut call: impl FnMut() -> Result<usize, Errno>) -> Result<Option<usize>, End> {
    loop {
        match call() {
            Ok(count) => return Ok(Some(count)),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(None),
            Err(error) => return Err(End::Failed(error)),
        }
    }
}
