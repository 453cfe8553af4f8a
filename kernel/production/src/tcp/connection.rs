//! One connection: bytes in, frames out, and the other way round.
//!
//! Behind the hello, each frame is its length (u32, little-endian) and its bytes. Invariant: what is queued and what is
//! buffered have a bound; a full queue drops frames, as the contract of a network allows, and never parts of one.

use std::{collections::VecDeque, net::SocketAddr, time::Instant};

use chronon::{
    frame::Frame,
    types::{NodeId, ReplicaId},
};

use super::{
    VISITORS,
    farewell::{FAREWELL_SIZE, Farewell},
    hello::{HELLO_SIZE, Hello, HelloError},
};

/// What comes before each frame.
const LENGTH_SIZE: usize = 4;

/// How much is sent at once, of as many frames as there are.
const SEND_CHUNK: usize = 128 * 1024;

/// How much room there is for what comes in, unless a frame that has begun needs more: for a frame of the usual size at most, and the
/// beginning of the next, which is copied.
const ROOM: usize = 72 * 1024;

/// What a connection may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The largest frame, in bytes.
    pub frame_size_max: u32,
    /// How many bytes may wait to be sent on one connection: two of the largest frames at least. When so many wait to be
    /// received, of all replicas or of all others, no more is taken of them.
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
    /// From who was dialled: there is no room.
    Farewell(Farewell),
}

/// What came in.
enum Inbound {
    Own(Vec<u8>),
    /// Frames that were taken hold it, too.
    Shared {
        buffer: Frame,
        capacity: usize,
    },
}

impl Inbound {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared { buffer, .. } => buffer,
        }
    }

    /// A part of it. One that is half of the buffer or more shares it, and any other is copied: so large frames are not copied, and none
    /// holds more than twice its size.
    fn part(&mut self, start: usize, end: usize) -> Frame {
        if let Self::Own(bytes) = self
            && bytes.capacity() <= 2 * (end - start)
        {
            let capacity = bytes.capacity();
            *self = Self::Shared { buffer: Frame::new(std::mem::take(bytes)), capacity };
        }
        match self {
            Self::Shared { buffer, capacity } if *capacity <= 2 * (end - start) => buffer.slice(start, end),
            _ => Frame::new(self.bytes()[start..end].to_vec()),
        }
    }
}

pub(super) struct Connection {
    /// The replica that was dialled, if this end did.
    pub(super) dialled: Option<ReplicaId>,
    /// The replica of this cluster that the other end says that it is.
    pub(super) claimed: Option<ReplicaId>,
    /// The other end's address, if that is known.
    pub(super) address: Option<SocketAddr>,
    /// Who is at the other end, once that is known.
    pub(super) node: Option<NodeId>,
    /// Whether that is an operator.
    pub(super) is_operator: bool,
    /// Whether it was told that there is no room for it, so that nothing more is taken of it.
    pub(super) is_dismissed: bool,
    /// Whether it is still being established.
    pub(super) connecting: bool,
    /// When it came to be; when something was last read from it.
    pub(super) since: Instant,
    pub(super) heard: Instant,
    limits: Limits,
    /// The hello, until it is being sent.
    greeting: Option<[u8; HELLO_SIZE]>,
    /// Likewise the last words.
    farewell: Option<[u8; FAREWELL_SIZE]>,
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
    inbound: Inbound,
    taken: usize,
    /// How many bytes came in that nobody wanted any more.
    ignored: usize,
}

impl Connection {
    pub(super) fn new(hello: &Hello, limits: Limits, now: Instant) -> Self {
        Self {
            dialled: None,
            claimed: None,
            address: None,
            node: None,
            is_operator: false,
            is_dismissed: false,
            connecting: false,
            since: now,
            heard: now,
            limits,
            greeting: Some(hello.encode()),
            farewell: None,
            greeted: false,
            queue: VecDeque::new(),
            queued_bytes: 0,
            gathered: 0,
            leaving_bytes: 0,
            leaving: false,
            inbound: Inbound::Own(Vec::new()),
            taken: 0,
            ignored: 0,
        }
    }

    /// Whether a client is at the other end.
    pub(super) fn is_client(&self) -> bool {
        !self.is_operator && self.node.is_some_and(|node| node.0 >= VISITORS)
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

    /// Tells the other end that there is no room for it. It hangs up when it has heard that.
    pub(super) fn dismiss(&mut self, farewell: Farewell) {
        (self.is_dismissed, self.farewell) = (true, Some(farewell.encode()));
    }

    /// Forgets what came in, once that is wanted no more. Whether more may come: hanging up on what was not read would take back the last
    /// words, and reading for ever would let who does not listen to them keep this end busy.
    pub(super) fn ignore(&mut self) -> bool {
        self.ignored += self.inbound.bytes().len() - self.taken;
        self.taken = self.inbound.bytes().len();
        self.ignored <= self.limits.queue_bytes_max
    }

    /// Fills an empty buffer with what is to be sent next. Whether there is anything, and nothing before it is still being sent.
    pub(super) fn gather(&mut self, bytes: &mut Vec<u8>) -> bool {
        if self.connecting || self.leaving {
            return false;
        }
        bytes.extend(self.greeting.take().iter().flatten());
        bytes.extend(self.farewell.take().iter().flatten());
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

    /// How much waits to be sent.
    pub(super) const fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// What was gathered is sent.
    pub(super) fn sent(&mut self) {
        self.leaving = false;
        self.queued_bytes -= std::mem::take(&mut self.leaving_bytes);
    }

    /// What came and is not taken, with room for more behind it: for the rest of the frame that has begun, but for one that only says
    /// that it is large no more than twice what came of it.
    pub(super) fn lend(&mut self) -> Vec<u8> {
        let rest = &self.inbound.bytes()[self.taken..];
        let length = rest.first_chunk().filter(|_| self.greeted).map_or(0, |length| u32::from_le_bytes(*length));
        let size = ROOM.max((LENGTH_SIZE + length as usize).min(2 * rest.len()));
        let kept = std::mem::replace(&mut self.inbound, Inbound::Own(Vec::new()));
        let taken = std::mem::take(&mut self.taken);
        match kept {
            Inbound::Own(mut bytes) if bytes.capacity() >= size => {
                bytes.drain(..taken);
                bytes
            }
            kept => {
                let mut bytes = Vec::with_capacity(size);
                bytes.extend_from_slice(&kept.bytes()[taken..]);
                bytes
            }
        }
    }

    /// What was lent is back, and there is more in it.
    pub(super) fn received(&mut self, bytes: Vec<u8>, now: Instant) {
        self.inbound = Inbound::Own(bytes);
        self.heard = now;
    }

    /// The next whole thing that was read: the hello first, then frames, or a farewell.
    pub(super) fn take(&mut self) -> Result<Option<Incoming>, End> {
        let rest = &self.inbound.bytes()[self.taken..];
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
        if length == 0 && self.dialled.is_some() {
            let Some(words) = rest.first_chunk::<FAREWELL_SIZE>() else { return Ok(None) };
            self.taken += FAREWELL_SIZE;
            return Farewell::decode(words).map(|farewell| Some(Incoming::Farewell(farewell))).ok_or(End::Length(0));
        }
        if length == 0 || length > self.limits.frame_size_max {
            return Err(End::Length(length));
        }
        let end = LENGTH_SIZE + length as usize;
        if rest.len() < end {
            return Ok(None);
        }
        let frame = self.inbound.part(self.taken + LENGTH_SIZE, self.taken + end);
        self.taken += end;
        Ok(Some(Incoming::Frame(frame)))
    }
}

#[cfg(test)]
mod tests {
    use chronon::types::ClusterId;

    use super::*;
    use crate::tcp::hello::Speaker;

    /// A connection whose hello was read, that reads what others read into its buffers.
    fn greeted(frame_size_max: u32) -> Connection {
        let hello = Hello { cluster: ClusterId(1), speaker: Speaker::Client, terms: 0 };
        let limits = Limits { frame_size_max, queue_bytes_max: 1 << 24 };
        let mut connection = Connection::new(&hello, limits, Instant::now());
        connection.received(hello.encode().to_vec(), Instant::now());
        assert!(matches!(connection.take(), Ok(Some(Incoming::Hello(_)))));
        connection
    }

    /// What is taken of `stream`, as it comes by `step` bytes at most; and the largest buffer on the way.
    fn take_all(connection: &mut Connection, mut stream: &[u8], step: usize) -> (Vec<Frame>, usize) {
        let (mut frames, mut largest) = (Vec::new(), 0);
        while !stream.is_empty() {
            let mut bytes = connection.lend();
            let room = bytes.capacity() - bytes.len();
            assert!(room > 0, "there is room for what comes");
            largest = largest.max(bytes.capacity());
            let (now, later) = stream.split_at(room.min(step).min(stream.len()));
            bytes.extend_from_slice(now);
            assert!(bytes.capacity() <= largest, "it fits");
            stream = later;
            connection.received(bytes, Instant::now());
            while let Ok(Some(Incoming::Frame(frame))) = connection.take() {
                frames.push(frame);
            }
        }
        (frames, largest)
    }

    #[test]
    fn frames_of_all_sizes_come_out_as_they_went_in_however_they_are_cut() {
        let sizes = [1, 100, 65_536, 40_000, 40_000, 7, 200_000, 65_000, 65_000, 36_864, 36_863, 1, 72 << 10, 3];
        let sent: Vec<Vec<u8>> = sizes.iter().map(|size| (0..*size).map(|byte| (byte % 251) as u8).collect()).collect();
        let stream: Vec<u8> =
            sent.iter().flat_map(|frame| [&(frame.len() as u32).to_le_bytes()[..], frame].concat()).collect();
        for step in [3, 1000, 4096, 65_536, 65_540, usize::MAX] {
            let (frames, _) = take_all(&mut greeted(1 << 20), &stream, step);
            assert!(frames.iter().map(|frame| &frame[..]).eq(sent.iter().map(Vec::as_slice)), "by {step}");
        }
    }

    #[test]
    fn a_large_frame_shares_the_buffer_it_came_in_and_a_small_one_holds_no_more_than_itself() {
        let mut inbound = Inbound::Own(vec![7; 1000]);
        let first = inbound.bytes().as_ptr();
        assert!(inbound.part(0, 10).as_ptr() != first, "a tenth of it would hold all of it");
        assert_eq!(inbound.part(0, 600).as_ptr(), first);
        let small = inbound.part(600, 700);
        assert_eq!((&small[..], inbound.bytes().as_ptr()), (&[7; 100][..], first));
        assert!(small.as_ptr() != first.wrapping_add(600), "and so would one behind a large one");
    }

    #[test]
    fn a_frame_that_only_says_that_it_is_large_is_given_little_room() {
        let mut connection = greeted(1 << 30);
        let begun = [&(1_u32 << 30).to_le_bytes()[..], &[7; 100_000]].concat();
        let (frames, largest) = take_all(&mut connection, &begun[..100], 100);
        assert_eq!((frames.len(), largest), (0, ROOM));
        let (_, largest) = take_all(&mut connection, &begun[100..], 4096);
        assert!(largest <= 2 * begun.len(), "{largest}");
    }
}
