//! What a process is bound to: a clock, a network, a disk, and what its effects are done by. The contracts are those of ARCHITECTURE.md, "The boundary".

use alloc::collections::VecDeque;

use crate::{
    effect::{EffectOrder, EffectReport, EffectResult},
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

/// What a node's effects are done by, outside. Any number of orders may be open; they end in any order, or never.
///
/// What is done, is done under the order's id and token: see [`crate::effect`]. An order outlives the process that gave it.
pub trait EffectSink {
    /// Takes an order. Never blocks.
    fn run(&mut self, order: EffectOrder);

    /// The next order that came to something.
    fn poll(&mut self) -> Option<EffectReport>;
}

/// A host without services: refuses every order, with the code 0.
#[derive(Clone, Default, Debug)]
pub struct NoSink {
    refused: VecDeque<EffectReport>,
}

impl EffectSink for NoSink {
    fn run(&mut self, order: EffectOrder) {
        let result = EffectResult::Refused { code: 0 };
        self.refused.push_back(EffectReport { id: order.id, token: order.token, result });
    }

    fn poll(&mut self) -> Option<EffectReport> {
        self.refused.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        effect::{Destination, EffectId, Errand, Fence, FencingToken},
        types::{ClusterId, Epoch, Op, View},
    };

    #[test]
    fn a_host_without_services_refuses_every_order_once() {
        let mut sink = NoSink::default();
        let token = FencingToken { fence: Fence { epoch: Epoch(1), view: View(2) }, attempt: Op(3) };
        let id = |op| EffectId { cluster: ClusterId(1), op: Op(op), position: 0, index: 0 };
        for op in [4, 5] {
            let (destination, payload) = (Destination::Fetch, Frame::default());
            sink.run(EffectOrder { id: id(op), token, errand: Errand::Run, destination, payload, timeout_ns: 1 });
        }
        for op in [4, 5] {
            let result = EffectResult::Refused { code: 0 };
            assert_eq!(sink.poll(), Some(EffectReport { id: id(op), token, result }));
        }
        assert_eq!(sink.poll(), None);
    }
}
