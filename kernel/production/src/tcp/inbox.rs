//! What came in and waits to be received, and the connections that wait for room there.
//!
//! Invariant: what waits is within the limit but for one frame, however many connections there are and however much came in over each:
//! what finds no room stays where it was read.

use std::collections::VecDeque;

use chronon::{frame::Frame, types::NodeId};

/// What a frame that waits costs beside its bytes.
const FRAME_COST: usize = 64;

/// Frames that wait to be received.
pub(super) struct Inbox {
    frames: VecDeque<(NodeId, Frame)>,
    bytes: usize,
    limit: usize,
    /// Connections of which nothing more is taken until there is room. Who has waited longest comes first.
    held: VecDeque<u64>,
}

impl Inbox {
    pub(super) const fn new(limit: usize) -> Self {
        Self { frames: VecDeque::new(), bytes: 0, limit, held: VecDeque::new() }
    }

    /// Whether there is room for another frame, whatever its size.
    pub(super) const fn has_room(&self) -> bool {
        self.bytes < self.limit
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// What all that waits costs.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn put(&mut self, from: NodeId, frame: Frame) {
        self.bytes += FRAME_COST + frame.len();
        self.frames.push_back((from, frame));
    }

    pub(super) fn take(&mut self) -> Option<(NodeId, Frame)> {
        let (from, frame) = self.frames.pop_front()?;
        self.bytes -= FRAME_COST + frame.len();
        Some((from, frame))
    }

    /// Nothing more is taken of that connection until there is room.
    pub(super) fn hold(&mut self, number: u64) {
        self.held.push_back(number);
    }

    /// The next connection that there is room for now.
    pub(super) fn next_held(&mut self) -> Option<u64> {
        if self.has_room() { self.held.pop_front() } else { None }
    }
}
