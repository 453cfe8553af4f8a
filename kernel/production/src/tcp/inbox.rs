//! What came in and waits to be received, and the connections that wait for room there.
//!
//! What replicas say has a queue of its own, which goes first: a replica that is not heard for long is taken for lost, and that is not to
//! hang on how much clients say. Clients are not passed over for ever by that, for replicas speak in answer to what clients asked for, and
//! now and then because time passes: they fall silent when that is done.
//!
//! Invariant: what waits in either queue is within the limit but for one frame, however many connections there are and however much came
//! in over each: what finds no room stays where it was read.

use std::collections::VecDeque;

use chronon::{frame::Frame, types::NodeId};

use super::VISITORS;

/// What a frame that waits costs beside its bytes.
const FRAME_COST: usize = 64;

/// Frames that wait to be received.
pub(super) struct Inbox {
    replicas: Queue,
    /// What everybody else says.
    visitors: Queue,
}

impl Inbox {
    /// With so much room for replicas, and as much for visitors.
    pub(super) const fn new(limit: usize) -> Self {
        Self { replicas: Queue::new(limit), visitors: Queue::new(limit) }
    }

    fn queue(&mut self, from: NodeId) -> &mut Queue {
        if from.0 < VISITORS { &mut self.replicas } else { &mut self.visitors }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.replicas.frames.is_empty() && self.visitors.frames.is_empty()
    }

    /// What all that waits costs: what replicas said, and what everybody else did.
    pub(super) const fn bytes(&self) -> [usize; 2] {
        [self.replicas.bytes, self.visitors.bytes]
    }

    /// Whether there is room for another frame of that node, whatever its size.
    pub(super) fn has_room(&mut self, from: NodeId) -> bool {
        self.queue(from).has_room()
    }

    pub(super) fn put(&mut self, from: NodeId, frame: Frame) {
        self.queue(from).put(from, frame);
    }

    pub(super) fn take(&mut self) -> Option<(NodeId, Frame)> {
        self.replicas.take().or_else(|| self.visitors.take())
    }

    /// Nothing more is taken of that node's connection until there is room.
    pub(super) fn hold(&mut self, from: NodeId, number: u64) {
        self.queue(from).held.push_back(number);
    }

    /// The next connection that there is room for now.
    pub(super) fn next_held(&mut self) -> Option<u64> {
        self.replicas.next_held().or_else(|| self.visitors.next_held())
    }
}

/// Those of replicas, or of visitors.
struct Queue {
    frames: VecDeque<(NodeId, Frame)>,
    bytes: usize,
    limit: usize,
    /// Connections of which nothing more is taken until there is room. Who has waited longest comes first.
    held: VecDeque<u64>,
}

impl Queue {
    const fn new(limit: usize) -> Self {
        Self { frames: VecDeque::new(), bytes: 0, limit, held: VecDeque::new() }
    }

    const fn has_room(&self) -> bool {
        self.bytes < self.limit
    }

    fn put(&mut self, from: NodeId, frame: Frame) {
        self.bytes += FRAME_COST + frame.len();
        self.frames.push_back((from, frame));
    }

    fn take(&mut self) -> Option<(NodeId, Frame)> {
        let (from, frame) = self.frames.pop_front()?;
        self.bytes -= FRAME_COST + frame.len();
        Some((from, frame))
    }

    fn next_held(&mut self) -> Option<u64> {
        if self.has_room() { self.held.pop_front() } else { None }
    }
}
