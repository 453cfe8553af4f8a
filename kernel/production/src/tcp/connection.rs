//! One connection: bytes in, frames out, and the other way round.
//!
//! Behind the hello, each frame is its length (u32, little-endian) and its bytes. Invariant: what is queued and what is
//! buffered have a bound; a full queue drops frames, as the contract of a network allows, and never parts of one.

use std::{collections::VecDeque, time::Instant};

use chronon::{
    frame::Frame,
    types::{NodeId, ReplicaId},
};

use super::hello::{HELLO_SIZE, Hello, HelloError};

/// What comes before each frame.
const LENGTH_SIZE: usize = 4;

/// How much is sent at once, of as many frames as there are.
const SEND_CHUNK: usize = 128 * 1024;

/// How much room there is at least for what comes in, and how much is made if there is less.
const ROOM_MIN: usize = 16 * 1024;
const ROOM: usize = 64 * 1024;

/// What a connection may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The largest frame, in bytes.
    pub frame_size_max: u32,
    /// How many bytes may wait to be sent on one connection: two of the largest frames at least. When so many wait to be
    /// received, of all connections, no more is read.
    pub queue_bytes_max: usize,
}

/// Why a connection is at its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum End {
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
    /// The replica that was dialled, if this end did.
    pub(super) dialled: Option<ReplicaId>,
    /// Who is at the other end, once that is known.
    pub(super) node: Option<NodeId>,
    /// Whether that is an operator.
    pub(super) is_operator: bool,
    /// Whether it is still being established.
    pub(super) connecting: bool,
    /// When it came to be; when something was last read from it.
    pub(super) since: Instant,
    pub(super) heard: Instant,
    limits: Limits,
    /// The hello, until it is being sent.
    greeting: Option<[u8; HELLO_SIZE]>,
    /// Whether the other end's hello was read.
    greeted: bool,
    queue: VecDeque<Frame>,
    /// What is in the queue or being sent.
    queued_bytes: usize,
    /// How much of the first frame in the queue, with its length, is being sent.
    gathered: usize,
    /// How many bytes of frames are being sent, and whether anything is.
    leaving_bytes: usize,
    leaving: bool,
    /// What came; how much of it is taken. None while the transport has it.
    inbound: Vec<u8>,
    taken: usize,
}

impl Connection {
    pub(super) fn new(hello: &Hello, limits: Limits, now: Instant) -> Self {
        Self {
            dialled: None,
            node: None,
            is_operator: false,
            connecting: false,
            since: now,
            heard: now,
            limits,
            greeting: Some(hello.encode()),
            greeted: false,
            queue: VecDeque::new(),
            queued_bytes: 0,
            gathered: 0,
            leaving_bytes: 0,
            leaving: false,
            inbound: Vec::new(),
            taken: 0,
        }
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

    /// Fills an empty buffer with what is to be sent next. Whether there is anything, and nothing before it is still being sent.
    pub(super) fn gather(&mut self, bytes: &mut Vec<u8>) -> bool {
        if self.connecting || self.leaving {
            return false;
        }
        bytes.extend(self.greeting.take().iter().flatten());
        let greeting_size = bytes.len();
        while bytes.len() < SEND_CHUNK
            && let Some(first) = self.queue.front()
        {
            if self.gathered < LENGTH_SIZE {
                // A length is never cut: what is left of it is all of it.
                bytes.extend((first.len() as u32).to_le_bytes());
                self.gathered = LENGTH_SIZE;
            }
            let rest = &first[self.gathered - LENGTH_SIZE..];
            let part = &rest[..rest.len().min(SEND_CHUNK.saturating_sub(bytes.len()))];
            bytes.extend(part);
            self.gathered += part.len();
            if part.len() == rest.len() {
                self.queue.pop_front();
                self.gathered = 0;
            }
        }
        self.leaving = !bytes.is_empty();
        self.leaving_bytes = bytes.len() - greeting_size;
        self.leaving
    }

    /// What was gathered is sent.
    pub(super) fn sent(&mut self) {
        self.leaving = false;
        self.queued_bytes -= std::mem::take(&mut self.leaving_bytes);
    }

    /// What came and is not taken, with room for more behind it.
    pub(super) fn lend(&mut self) -> Vec<u8> {
        self.inbound.drain(..self.taken);
        self.taken = 0;
        if self.inbound.capacity() - self.inbound.len() < ROOM_MIN {
            self.inbound.reserve(ROOM);
        }
        std::mem::take(&mut self.inbound)
    }

    /// What was lent is back, and there is more in it.
    pub(super) fn received(&mut self, bytes: Vec<u8>, now: Instant) {
        self.inbound = bytes;
        self.heard = now;
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
