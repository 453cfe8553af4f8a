//! What a process is bound to: a clock, a network and a disk. The contracts are those of ARCHITECTURE.md, "The boundary".

use crate::{
    frame::Frame,
    process::{Completion, Token},
    types::{Instant, NodeId, Timestamp},
};

/// A node's clocks.
pub trait Clock {
    /// Nanoseconds that never go back. They may drift and pause.
    fn monotonic(&mut self) -> Instant;

    /// Nanoseconds since the Unix epoch. They may jump either way.
    fn realtime(&mut self) -> Timestamp;
}

/// A node's network: frames, not streams; opaque; at most once, in no order; may drop, repeat and delay.
pub trait Network {
    /// Sends `frame` to `to`. Never blocks: a full queue drops.
    fn send(&mut self, to: NodeId, frame: Frame);

    /// The next frame that arrived, with its sender.
    fn receive(&mut self) -> Option<(NodeId, Frame)>;
}

/// What a disk can be asked, by the sector: offsets and lengths are multiples of [`crate::frame::SECTOR_SIZE`]. Of the last
/// sector of a write, what its data does not fill is written as zeros.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DiskOperation {
    /// Read `length` bytes at `offset`.
    Read {
        /// Bytes from the start of the disk.
        offset: u64,
        /// Bytes to read.
        length: u32,
    },
    /// Write `data` at `offset`. Speculative until a barrier, unless `durable`.
    Write {
        /// Bytes from the start of the disk.
        offset: u64,
        /// What to write: a byte at least.
        data: Frame,
        /// Whether completion means what a barrier over this write alone would.
        durable: bool,
    },
    /// Make durable exactly the writes that had completed before this was submitted.
    Barrier,
}

/// A node's disk. Any number of operations may be in flight; they complete in any order.
///
/// A completed write is visible to reads and speculative until a barrier succeeds. A crash keeps any subset of the
/// speculative sectors, torn. A failed barrier leaves its writes indeterminate for ever.
pub trait VirtualDisk {
    /// Begins an operation. Never blocks.
    fn submit(&mut self, token: Token, operation: DiskOperation);

    /// The next operation that ended.
    fn poll(&mut self) -> Option<Completion>;
}
