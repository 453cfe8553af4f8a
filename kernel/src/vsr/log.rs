//! The log as a chain of headers: what it *says*, apart from what the disk *holds* (see `journal.rs`).
//!
//! Invariant: from `tied` up to `head`, headers are present, contiguous, and each names the checksum of the one below; that
//! part is the current view's log. Headers below `tied` are leftovers of earlier views until the chain reaches them. The ring keeps
//! the headers of as many ops as it has slots; the *floor* is the durable checkpoint's, below which nothing is wanted.

use alloc::vec::Vec;

use crate::{
    storage::layout::Layout,
    types::{Checksum, ClusterId, Op},
    wire::header::Header,
};

/// The headers of the log.
#[derive(Clone)]
pub struct Log {
    layout: Layout,
    headers: Vec<Option<Header>>,
    head: Op,
    tied: Op,
    floor: Header,
}

impl Log {
    /// A log of the root alone.
    pub(super) fn new(cluster: ClusterId, layout: Layout) -> Self {
        let floor = Header::root(cluster);
        let mut log = Self { layout, headers: Vec::new(), head: Op::ROOT, tied: Op::ROOT, floor };
        log.set(floor);
        log
    }

    /// The highest op.
    pub const fn head(&self) -> Op {
        self.head
    }

    /// The header of the highest op.
    pub fn head_header(&self) -> &Header {
        self.get(self.head).expect("the head has a header")
    }

    /// The lowest op that the chain from the head reaches.
    pub const fn tied(&self) -> Op {
        self.tied
    }

    /// The header at `op`, whether or not the chain reaches it; none above the head.
    pub fn get(&self, op: Op) -> Option<&Header> {
        if op > self.head {
            return None;
        }
        if op == self.floor.op {
            return Some(&self.floor);
        }
        self.headers.get(self.layout.slot(op) as usize)?.as_ref().filter(|header| header.op == op)
    }

    /// Whether the log goes so far that the slot of `op` is another's.
    pub fn is_beyond(&self, op: Op) -> bool {
        self.head.0 >= op.0 + u64::from(self.layout.slot_count)
    }

    /// A checkpoint at this header is durable: nothing below it is wanted any more.
    ///
    /// # Panics
    /// If the log has another prepare there: what is committed never changes.
    pub(super) fn set_floor(&mut self, floor: Header) {
        let known = self.get_tied(floor.op);
        assert!(known.is_none_or(|known| known.checksum == floor.checksum), "a checkpoint is of this log");
        self.floor = floor;
        if self.head < floor.op {
            (self.head, self.tied) = (floor.op, floor.op);
        }
        if !self.is_beyond(floor.op) {
            // It stays when a later one takes its place.
            self.set(floor);
        }
        self.tie();
    }

    /// The header at `op`, if the chain from the head reaches it.
    pub fn get_tied(&self, op: Op) -> Option<&Header> {
        if op < self.tied { None } else { self.get(op) }
    }

    fn set(&mut self, header: Header) {
        let slot = self.layout.slot(header.op) as usize;
        if self.headers.len() <= slot {
            self.headers.resize(slot + 1, None);
        }
        self.headers[slot] = Some(header);
    }

    /// Adds the next op.
    ///
    /// # Panics
    /// If `header` does not follow the head in op and parent.
    pub(super) fn append(&mut self, header: Header) {
        assert_eq!(header.op, self.head.next(), "ops are appended in order");
        assert_eq!(header.parent(), self.head_header().checksum, "one view has one log");
        self.set(header);
        self.head = header.op;
        self.forget_overwritten();
    }

    /// What is tied ends where the ring does.
    fn forget_overwritten(&mut self) {
        let lowest = (self.head.0 + 1).saturating_sub(u64::from(self.layout.slot_count));
        self.tied = self.tied.max(Op(lowest));
    }

    /// Remembers a header from the disk, without any claim that it belongs to the log.
    pub(super) fn leave(&mut self, header: Header) {
        self.set(header);
    }

    /// Replaces everything from `window`'s first op on with `window`, and ties what is below as far as the chain reaches.
    ///
    /// # Panics
    /// If `window` is empty or is not a chain.
    pub(super) fn install(&mut self, window: &[Header]) {
        let (first, last) = (window.first().expect("a window has its head"), window[window.len() - 1]);
        for pair in window.windows(2) {
            assert_eq!(pair[1].op, pair[0].op.next(), "a window is contiguous");
            assert_eq!(pair[1].parent(), pair[0].checksum, "a window is a chain");
        }
        self.head = last.op;
        for header in window {
            self.set(*header);
        }
        self.tied = first.op;
        self.tie();
    }

    /// Walks down the chain as far as local headers match it: below the floor too, for others may want what lies there.
    fn tie(&mut self) {
        while let Some((op, parent)) = self.below() {
            if self.get(op).is_none_or(|header| header.checksum != parent) {
                return;
            }
            self.tied = op;
        }
    }

    /// The op and checksum of the header that would extend the chain downward; none when it reaches the root, or as far as the ring
    /// does.
    fn below(&self) -> Option<(Op, Checksum)> {
        if self.tied == Op::ROOT || self.is_beyond(self.tied.previous()) {
            return None;
        }
        let lowest = self.get(self.tied).expect("the tied part has headers");
        Some((self.tied.previous(), lowest.parent()))
    }

    /// The op and checksum of the header that would extend the chain downward; none when it reaches the floor, or as far as the
    /// ring does.
    pub fn wanted(&self) -> Option<(Op, Checksum)> {
        self.below().filter(|_| self.tied > self.floor.op)
    }

    /// Takes a header that extends the chain downward. Whether it did.
    pub(super) fn learn(&mut self, header: &Header) -> bool {
        let Some((op, checksum)) = self.wanted() else { return false };
        if header.op != op || header.checksum != checksum {
            return false;
        }
        self.set(*header);
        self.tie();
        true
    }

    /// The last headers up to the head, the lowest being `anchor` or as far as the chain and `most` headers reach.
    pub fn window(&self, anchor: Op, most: u64) -> Vec<Header> {
        let low = anchor.max(self.tied).max(Op((self.head.0 + 1).saturating_sub(most))).min(self.head);
        (low.0..=self.head.0).map(|op| *self.get(Op(op)).expect("the tied part has headers")).collect()
    }
}
