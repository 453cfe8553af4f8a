//! What a simulated process is bound to: the four traits, for the length of one step.
//!
//! The ports bring one event in and perform the actions at once, each as it comes: on the network, the disk, the queue and
//! the trace, which the two of them share.

#![expect(
    clippy::disallowed_types,
    reason = "the ports of one step share the world's core for the length of it; no process holds the cell"
)]

use std::cell::RefCell;

use chronon::{
    effect::{EffectOrder, EffectReport},
    env::{Clock, DiskOperation, EffectSink, Network, VirtualDisk},
    frame::Frame,
    process::{Completion, Now, Token},
    types::{Instant, NodeId, Timestamp},
};

use super::{Core, Pending};
use crate::{
    disk::SimDisk,
    network::{Fate, Flight, Route},
};

/// The clocks' readings at this virtual instant.
pub(super) struct ClockPort(pub(super) Now);

impl Clock for ClockPort {
    fn monotonic(&mut self) -> Instant {
        self.0.monotonic
    }

    fn realtime(&mut self) -> Timestamp {
        self.0.realtime
    }
}

/// At most one frame to take, and the way out.
pub(super) struct NetworkPort<'a> {
    pub(super) frame: &'a mut Option<Frame>,
    /// The frame's sender.
    pub(super) from: NodeId,
    pub(super) node: NodeId,
    pub(super) core: &'a RefCell<&'a mut Core>,
}

impl Network for NetworkPort<'_> {
    #[inline(always)]
    fn send(&mut self, to: NodeId, frame: Frame) {
        self.core.borrow_mut().send(self.node, to, frame);
    }

    #[inline]
    fn receive(&mut self) -> Option<(NodeId, Frame)> {
        Some((self.from, self.frame.take()?))
    }
}

/// At most one completion to take, and the disk.
pub(super) struct DiskPort<'a> {
    pub(super) inbox: &'a mut Option<Completion>,
    pub(super) node: NodeId,
    pub(super) life: u32,
    pub(super) disk: &'a mut SimDisk,
    pub(super) core: &'a RefCell<&'a mut Core>,
}

impl VirtualDisk for DiskPort<'_> {
    // Inlined, so that the port itself never leaves the registers.
    #[inline(always)]
    fn submit(&mut self, token: Token, operation: DiskOperation) {
        self.core.borrow_mut().submit(self.disk, self.node, self.life, token, operation);
    }

    #[inline]
    fn poll(&mut self) -> Option<Completion> {
        self.inbox.take()
    }
}

/// At most one report to take, and the way to whoever does effects.
pub(super) struct SinkPort<'a> {
    pub(super) node: NodeId,
    pub(super) life: u32,
    pub(super) core: &'a RefCell<&'a mut Core>,
}

impl EffectSink for SinkPort<'_> {
    #[inline(always)]
    fn run(&mut self, order: EffectOrder) {
        self.core.borrow_mut().order(self.node, self.life, order);
    }

    #[inline]
    fn poll(&mut self) -> Option<EffectReport> {
        self.core.borrow_mut().report.take().map(|report| *report)
    }
}

impl Core {
    #[inline(never)]
    fn order(&mut self, node: NodeId, life: u32, order: EffectOrder) {
        self.trace.order(&order);
        let Some(service) = &mut self.service else { return };
        for after_ns in service.order(&order) {
            let order = Box::new(order.clone());
            self.queue.push(self.now_ns.saturating_add(after_ns), Pending::Order { node, life, order });
        }
    }

    /// An order comes to whoever does it, whatever became of the process that gave it.
    #[inline(never)]
    pub(super) fn order_arrives(&mut self, node: NodeId, life: u32, order: &EffectOrder) {
        let Some(service) = &mut self.service else { return };
        for (after_ns, result) in service.arrive(self.now_ns, node, order) {
            let report = Box::new(EffectReport { id: order.id, token: order.token, result });
            self.queue.push(self.now_ns.saturating_add(after_ns), Pending::Report { node, life, report });
        }
    }

    /// Writes down where the network's streams of randomness stand.
    pub(super) fn checkpoint(&mut self, steps: u64) {
        let Self { trace, network, now_ns, .. } = self;
        trace.checkpoint(*now_ns, steps, network.streams(), network.positions());
    }

    #[inline(never)]
    fn submit(&mut self, disk: &mut SimDisk, node: NodeId, life: u32, token: Token, operation: DiskOperation) {
        match &operation {
            DiskOperation::Read { offset, length } => self.trace.read(token, *offset, *length),
            DiskOperation::Write { offset, data, durable } => self.trace.write(token, *offset, data, *durable),
            DiskOperation::Barrier => self.trace.barrier(token),
        }
        let (at_ns, operation) = disk.submit(self.now_ns, token, operation);
        self.queue.push(at_ns, Pending::Due { node, life, operation, put_off: false });
    }

    #[inline(always)]
    fn send(&mut self, from: NodeId, to: NodeId, frame: Frame) {
        self.sent = self.sent.wrapping_add(1);
        // The body is written first, while it is at hand; what becomes of it follows when the network has decided.
        self.trace.send(to, &frame);
        if to.0 >= self.nodes {
            self.network.counts.nobody += 1;
            return self.trace.fate(Fate(Fate::UNKNOWN));
        }
        self.network.remember(from, to, self.sent, &frame);
        match self.network.route(self.now_ns, from, to) {
            Ok(at_ns) => {
                let number = self.sent;
                self.queue
                    .push_with(at_ns, move || Pending::Flight(Flight { frame, number, from, to, corrupted: false }));
            }
            Err(route) => self.sent_with(from, to, frame, &route),
        }
    }

    /// The frame sent last is not simply passed on, or not over a plain link.
    #[inline(never)]
    fn sent_with(&mut self, from: NodeId, to: NodeId, frame: Frame, route: &Route) {
        if route.fate != Fate::default() {
            self.trace.fate(route.fate);
        }
        if route.fate.drops() {
            return;
        }
        let number = self.sent;
        if let Some(at_ns) = route.copy_at_ns {
            let flight = Flight { frame: frame.clone(), number, from, to, corrupted: false };
            self.queue.push(at_ns, Pending::Flight(flight));
        }
        let corrupted = route.fate.is(Fate::CORRUPTED);
        let frame = if corrupted { self.network.corrupt(from, to, &frame) } else { frame };
        self.queue.push(route.at_ns, Pending::Flight(Flight { frame, number, from, to, corrupted }));
    }
}
