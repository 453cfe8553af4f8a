//! Repair: what is missing here is asked of others, and others are served. Headers come downward along the hash chain, prepares by
//! their checksum, and nothing is believed that the chain does not vouch for.

use alloc::vec::Vec;

use crate::{
    frame::Frame,
    process::Actions,
    storage::journal::{PrepareRead, parse_prepare},
    types::{Checksum, NodeId, Op, ReplicaId},
    vsr::{ReadResult, Status, Vsr, probe::Probe, state::Wanted, timer::Timer, vouching::vouched_in},
    wire::{
        header::{Command, Header},
        message::{self, HEADERS_MAX},
    },
};

/// Prepares kept that arrived ahead of their predecessors.
pub(super) const EARLY_MAX: u64 = 64;

/// Prepares being read from the disk at once.
pub(super) const READS_MAX: u64 = 32;

/// Missing prepares asked for at once.
pub(super) const BUDGET: usize = 16;

/// Prepares read ahead of execution.
pub(super) const READ_AHEAD: u64 = 16;

impl Vsr {
    pub(super) fn keep_early(&mut self, op: Op, frame: &Frame) {
        if op.0 <= self.log.head().0 + EARLY_MAX && (self.repair.early.len() as u64) < EARLY_MAX {
            self.repair.early.insert(op, frame.clone());
        }
    }

    /// Asks for what is missing, within the budget; comes back until nothing is.
    pub(super) fn repair(&mut self, actions: &mut Actions) {
        if self.status != Status::Normal || self.config.replica_count == 1 {
            return;
        }
        let overdue = self.config.timeouts.repair_ns;
        let now = self.now.monotonic;
        self.repair.asked.retain(|_, at| now.since(*at) < overdue);
        self.ask_for_headers(actions);
        self.ask_for_prepares(actions);
        if self.is_backup() {
            self.ask_beyond_the_head(actions);
        }
        let missing = !self.repair.asked.is_empty() || self.held_through < self.log.head();
        if missing || self.repair.headers_asked.is_some() {
            let at = self.after(overdue);
            self.timers.ensure(Timer::Repair, at);
        }
    }

    /// Headers below the part of the log that the chain reaches.
    fn ask_for_headers(&mut self, actions: &mut Actions) {
        let known = self.applied.max(self.checkpoints.op());
        let Some((op, _)) = self.log.wanted().filter(|(op, _)| *op > known) else {
            self.repair.headers_asked = None;
            return;
        };
        let overdue = self.config.timeouts.repair_ns;
        if self.repair.headers_asked.is_some_and(|at| self.now.monotonic.since(at) < overdue) {
            return;
        }
        self.repair.headers_asked = Some(self.now.monotonic);
        let mut header = self.header(Command::RequestHeaders);
        header.op = op;
        header.request.0 = (op.0 - known.0).min(HEADERS_MAX as u64);
        let peer = self.next_peer();
        self.send(peer, header, &[], actions);
    }

    /// Looks how far everything is held.
    pub(super) fn advance_held(&mut self) {
        while self.log.get_tied(self.held_through.next()).is_some_and(|header| self.journal.holds(header)) {
            self.held_through = self.held_through.next();
        }
    }

    /// Prepares of the log that are neither held nor on their way to the disk.
    fn ask_for_prepares(&mut self, actions: &mut Actions) {
        self.advance_held();
        let durable_head = self.promised().head;
        let first = self.held_through.next().max(self.log.tied());
        let mut looked_at = 0;
        for op in (first.0..=self.log.head().0).map(Op) {
            looked_at += 1;
            let may_be_written = self.journal.window_allows(op, durable_head) && self.slot_is_free(op);
            if self.repair.asked.len() >= BUDGET || looked_at > 1024 || !may_be_written {
                return;
            }
            let header = *self.log.get_tied(op).expect("the tied part has headers");
            if op == Op::ROOT
                || self.journal.holds(&header)
                || self.journal.is_writing(&header)
                || self.repair.asked.contains_key(&op)
            {
                continue;
            }
            // What is in memory needs nobody's help to be written again.
            if let Some(frame) = self.journal.cached(op, header.checksum).cloned() {
                self.journal.write(&header, &frame, actions);
                continue;
            }
            self.ask_for_prepare(op, header.checksum, None, actions);
        }
    }

    /// Prepares that the primary has and the log here has not reached.
    fn ask_beyond_the_head(&mut self, actions: &mut Actions) {
        let last = self.repair.primary_head.0.min(self.log.head().0 + EARLY_MAX);
        for op in (self.log.head().0 + 1..=last).map(Op) {
            if self.repair.asked.len() >= BUDGET {
                return;
            }
            if !self.slot_is_free(op) {
                return;
            }
            if !self.repair.asked.contains_key(&op) && !self.repair.early.contains_key(&op) {
                self.ask_for_prepare(op, Checksum(0), Some(self.primary_of_view()), actions);
            }
        }
    }

    fn ask_for_prepare(&mut self, op: Op, checksum: Checksum, of: Option<ReplicaId>, actions: &mut Actions) {
        self.repair.asked.insert(op, self.now.monotonic);
        let mut header = self.header(Command::RequestPrepare);
        header.op = op;
        header.context = checksum.0;
        let peer = of.unwrap_or_else(|| self.next_peer());
        self.send(peer, header, &[], actions);
    }

    /// The others, in turn.
    fn next_peer(&mut self) -> ReplicaId {
        self.repair.next_peer = self.peer_after(self.repair.next_peer);
        ReplicaId(self.repair.next_peer)
    }

    /// The next of the others, after this one.
    pub(super) fn peer_after(&self, last: u8) -> u8 {
        let count = self.config.replica_count;
        let next = (last + 1) % count;
        if next == self.config.replica.0 { (next + 1) % count } else { next }
    }

    /// Another replica misses headers, from `op` downward.
    pub(super) fn on_request_headers(&mut self, peer: ReplicaId, request: &Header, actions: &mut Actions) {
        let count = request.request.0.min(128);
        let mut headers = Vec::new();
        let mut op = request.op.min(self.log.head());
        while (headers.len() as u64) < count {
            let Some(header) = self.log.get_tied(op) else { break };
            headers.push(*header);
            if op == Op::ROOT {
                break;
            }
            op = op.previous();
        }
        if headers.is_empty() {
            return;
        }
        let mut body = Vec::new();
        message::encode_headers(&headers, &mut body);
        // Between views too, when the view on the way to which we are need not be durable yet.
        let mut header = self.header(Command::Headers);
        header.view = self.promised().view;
        self.send(peer, header, &body, actions);
    }

    /// Headers: each is taken if the chain names its checksum.
    pub(super) fn on_headers(&mut self, body: &[u8], actions: &mut Actions) {
        let Ok(message::Headers { mut headers }) = message::decode_headers(body) else {
            return actions.probe(Probe::BadFrame.into());
        };
        headers.sort_unstable_by_key(|header| core::cmp::Reverse(header.op));
        let mut learned = false;
        for header in &headers {
            if self.log.learn(header) {
                learned = true;
                self.hear_vouched(vouched_in(header), actions);
                actions.probe(Probe::HeaderRepaired.into());
            }
        }
        if learned {
            self.repair.headers_asked = None;
            self.repair(actions);
        }
    }

    /// Another replica misses a prepare: the one with this checksum, or whatever this view's log has there.
    pub(super) fn on_request_prepare(&mut self, peer: ReplicaId, request: &Header, actions: &mut Actions) {
        let op = request.op;
        let Some(header) = self.log.get_tied(op).copied().filter(|header| header.op != Op::ROOT) else { return };
        let any = request.context == 0 && request.view == self.view && self.status == Status::Normal;
        if any || header.checksum.0 == request.context {
            self.send_prepare(&header, peer, actions);
        }
    }

    /// Sends a prepare of the log from memory, or as soon as it is read from the disk; not if it is not here.
    pub(super) fn send_prepare(&mut self, header: &Header, peer: ReplicaId, actions: &mut Actions) {
        if let Some(frame) = self.journal.cached(header.op, header.checksum) {
            actions.send(peer.node(), frame.clone());
        } else if self.journal.holds(header) {
            self.read_prepare(header, Some(peer.node()), actions);
        }
    }

    /// Sends for the next ops to execute, from the disk.
    pub(super) fn read_ahead(&mut self, from: Op, actions: &mut Actions) {
        let last = self.commit_target().0.min(from.0 + READ_AHEAD);
        for op in (from.0..=last).map(Op) {
            let Some(header) = self.log.get_tied(op).copied() else { return };
            let here = self.repair.ready.contains_key(&op) || self.journal.cached(op, header.checksum).is_some();
            let reading = self.repair.reads.get(&op).is_some_and(|wanted| wanted.execute);
            if !here && !reading && self.journal.holds(&header) {
                self.read_prepare(&header, None, actions);
            }
        }
    }

    /// Reads a prepare to send it to `to`, or else to execute it.
    fn read_prepare(&mut self, header: &Header, to: Option<NodeId>, actions: &mut Actions) {
        let in_flight = self.repair.reads.contains_key(&header.op);
        if !in_flight && self.repair.reads.len() as u64 >= READS_MAX {
            return;
        }
        let wanted = self.repair.reads.entry(header.op).or_default();
        match to {
            Some(node) if !wanted.send_to.contains(&node) => wanted.send_to.push(node),
            Some(_) => {}
            None => wanted.execute = true,
        }
        if !in_flight {
            self.journal.read(header, actions);
        }
    }

    /// A prepare was read: used only if it is the one that the log names.
    pub(super) fn on_prepare_read(&mut self, op: Op, result: ReadResult<'_>, actions: &mut Actions) {
        let Some(mut wanted) = self.repair.reads.remove(&op) else { return };
        let Some(header) = self.log.get_tied(op).copied() else { return };
        let slot = self.config.layout.slot(op);
        let read = result.map(|bytes| (bytes, parse_prepare(bytes, slot, &self.config.layout, self.config.cluster)));
        match read {
            Ok((bytes, PrepareRead::Valid(found))) if found.checksum == header.checksum => {
                self.use_prepare(&found, &bytes.slice(0, found.size as usize), wanted, actions);
            }
            // It was replaced while it was being read, or is being replaced.
            _ if !self.journal.holds(&header) => {}
            // Or it was replaced, and the new one is held by now: a second look tells that from damage.
            _ if wanted.attempts < Self::READ_ATTEMPTS_MAX => {
                actions.probe(Probe::ReadRetried.into());
                wanted.attempts += 1;
                self.repair.reads.insert(op, wanted);
                self.journal.read(&header, actions);
            }
            _ if self.config.replica_count == 1 => Self::halt_for_damage(op, actions),
            _ => {
                actions.probe(Probe::Corrupt.into());
                if op <= self.checkpoints.op() {
                    // Another wanted it; here the checkpoint has it, and the slot is free.
                    return self.journal.forget(op);
                }
                self.journal.lose(op);
                self.held_through = self.held_through.min(op.previous());
                self.repair(actions);
            }
        }
    }

    fn use_prepare(&mut self, header: &Header, frame: &Frame, wanted: Wanted, actions: &mut Actions) {
        if wanted.execute && header.op > self.applied {
            self.repair.ready.insert(header.op, (header.checksum, frame.clone()));
        }
        for node in wanted.send_to {
            actions.send(node, frame.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{vec, vec::Vec};

    use super::*;
    use crate::{
        frame::SECTOR_SIZE,
        process::Action,
        storage::{journal::RingEntry, layout::Layout},
        types::{ClusterId, CommitIndex, View},
        vsr::{Config, Held, token::Kind},
        wire::seal::seal,
    };

    const LAYOUT: Layout = Layout { slot_count: 64, message_size_max: 8192, block_count: 64, block_size: 4096 };
    const CLUSTER: ClusterId = ClusterId(1);

    /// The ops whose prepares are read from the disk by what was asked for since the last time.
    fn reads(actions: &mut Actions) -> Vec<u64> {
        let of = |action| match action {
            Action::Read { token, .. } => Some(Kind::parse(token)),
            _ => None,
        };
        let reads = actions.take().into_iter().filter_map(of);
        reads.map(|(kind, op)| (kind == Kind::PrepareRead).then_some(op).expect("prepares alone are read")).collect()
    }

    /// While an op is missing, every step asks for those that follow it.
    #[test]
    fn what_is_here_is_read_ahead_once_and_what_is_in_memory_or_missing_is_not() {
        let mut vsr = Vsr::new(Config::new(CLUSTER, ReplicaId(0), 3, LAYOUT));
        let mut actions = Actions::new();
        let mut frames = vec![];
        for op in (1..=5).map(Op) {
            let context = vsr.log.head_header().checksum.0;
            let header = Header { op, context, ..Header::new(CLUSTER, Command::Prepare, 0, View(0)) };
            let (header, frame) = seal(header, b"a body", &mut actions);
            vsr.log.append(header);
            if op != Op(3) {
                let held = Held::Prepare(header.checksum);
                vsr.journal.restore(LAYOUT.slot(op), held, RingEntry::Header(header));
            }
            if op == Op(2) {
                vsr.journal.remember(&header, &frame);
            }
            let mut bytes = frame.to_vec();
            bytes.resize(SECTOR_SIZE, 0);
            frames.push(Frame::new(bytes));
        }
        vsr.commit_max = CommitIndex(5);
        actions.take();
        vsr.read_ahead(Op(1), &mut actions);
        assert_eq!(reads(&mut actions), [1, 4, 5]);
        vsr.read_ahead(Op(1), &mut actions);
        assert_eq!(reads(&mut actions), [], "they are on their way");
        vsr.on_prepare_read(Op(4), Ok(&frames[3]), &mut actions);
        vsr.read_ahead(Op(1), &mut actions);
        assert_eq!(reads(&mut actions), [], "it is in memory until it is executed");
        assert!(vsr.repair.ready.contains_key(&Op(4)));
    }
}
