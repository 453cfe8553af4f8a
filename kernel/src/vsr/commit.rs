//! Execution: committed ops, in order, once each, and the replies that follow.

use crate::{
    frame::Frame,
    process::Actions,
    storage::snapshot::{RestoreError, SnapshotWriter},
    types::{Op, Timestamp},
    vsr::{
        Status, Vsr,
        probe::Probe,
        requests::send_reply,
        sessions::{Reply, Verdict},
    },
    wire::{
        batch::{Batch, Kind},
        header::{Command, HEADER_SIZE, Header},
    },
};

/// What committed ops are handed to.
pub trait StateMachine {
    /// Executes the request at `position` of the prepare of `header`, and returns the body of its reply. A function of the
    /// requests before it and of its arguments, and of nothing else.
    fn execute(&mut self, header: &Header, position: u32, payload: &[u8]) -> &[u8];

    /// The same with an operator's request, which is about what the machine keeps beside the application's state.
    fn operate(&mut self, header: &Header, position: u32, payload: &[u8]) -> &[u8];

    /// The op of `header` begins, and with it its time: what is due then happens, before any entry of the op.
    fn begin(&mut self, header: &Header);

    /// Executes the system's own entry at `position`. What is stale or repeated in it changes nothing.
    fn execute_system(&mut self, header: &Header, position: u32, payload: &[u8]);

    /// When the log's time is next to do something by itself.
    fn due(&self) -> Option<Timestamp>;

    /// Whether requests are to be refused for now: what is left is for what the log already holds and for the system's entries.
    fn is_nearly_full(&self) -> bool;

    /// Asks what was executed so far something, and returns the body of the answer. Changes nothing.
    fn query(&mut self, payload: &[u8]) -> &[u8];

    /// Keeps the state as it is now for [`StateMachine::snapshot`], whatever is executed from here on.
    fn freeze(&mut self);

    /// Writes the next part of the state that was frozen.
    fn snapshot(&mut self, writer: &mut SnapshotWriter);

    /// Lets the frozen state go.
    fn thaw(&mut self);

    /// All of the frozen state was written: it is kept as it was, for [`StateMachine::is_unchanged`], in the place of the one before.
    fn keep(&mut self);

    /// Whether the frozen state's snapshot is the kept one's from one position of pausing to another. May say no whenever that is
    /// unknown.
    fn is_unchanged(&self, from: &[u8], through: &[u8]) -> bool;

    /// Frees a part of what was let go. Whether nothing is left to free.
    fn release(&mut self) -> bool;

    /// Takes the next record of a snapshot, into a state that nothing asks yet.
    ///
    /// # Errors
    /// If no snapshot of this machine has such a record.
    fn restore(&mut self, record: &[u8]) -> Result<(), RestoreError>;

    /// Forgets the records taken so far.
    fn abandon(&mut self);

    /// All records were taken: from here on the state is what they say.
    ///
    /// # Errors
    /// If they are no whole snapshot.
    fn restored(&mut self) -> Result<(), RestoreError>;
}

impl Vsr {
    /// Executes what is committed, here, and tied to the current view's log (design rule 8).
    pub fn commit<M: StateMachine>(&mut self, machine: &mut M, actions: &mut Actions) {
        while let Some((header, frame)) = self.next_committed(actions) {
            self.execute(machine, &header, &frame, actions);
            self.applied = header.op;
            self.primary.progress_at = self.now.monotonic;
            actions.probe(Probe::Applied.into());
            self.executed.push((header, frame));
            self.freeze(&header, machine, actions);
            if self.is_primary() {
                self.advance_commit();
            }
        }
        // Whatever has made room: what was fetched has waited longer than what is made now.
        self.write_unwritten(actions);
        self.take_checkpoint(machine, actions);
        self.walk(machine, actions);
        self.promise_checkpoint(actions);
        if self.status != Status::Booting {
            self.promise_members(actions);
        }
        self.attend(machine, actions);
        self.answer_queries(machine, actions);
        self.take_early_requests(actions);
        self.pump(actions);
    }

    /// The next op to execute, if it is committed and its prepare is in memory; else it is sent for.
    fn next_committed(&mut self, actions: &mut Actions) -> Option<(Header, Frame)> {
        let op = self.applied.next();
        if self.status != Status::Normal || !self.commit_max.covers(op) {
            return None;
        }
        if !self.may_execute() {
            if !self.checkpoints.is_restoring {
                actions.probe(Probe::ExecutionHeldUp.into());
            }
            return None;
        }
        let header = *self.log.get_tied(op)?;
        if let Some((checksum, frame)) = self.repair.ready.remove(&op)
            && checksum == header.checksum
        {
            return Some((header, frame));
        }
        if let Some(frame) = self.journal.cached(op, header.checksum) {
            return Some((header, frame.clone()));
        }
        self.read_ahead(op, actions);
        None
    }

    fn execute<M: StateMachine>(&mut self, machine: &mut M, header: &Header, frame: &Frame, actions: &mut Actions) {
        assert_eq!(header.op, self.applied.next(), "ops are executed in order");
        assert!(self.commit_max.covers(header.op), "only committed ops are executed");
        let batch = Batch::parse(&frame[HEADER_SIZE..]).expect("a primary logs whole batches");
        let answering = self.is_primary();
        let reply_header = self.header(Command::Reply);
        // As long as this says so, a panic is the state machine's; anywhere else it is ours.
        self.executing = Some(header.op);
        machine.begin(header);
        self.executing = None;
        for (position, entry) in batch.iter().enumerate() {
            if entry.kind == Kind::System {
                actions.probe(Probe::SystemExecuted.into());
                self.executing = Some(header.op);
                machine.execute_system(header, position as u32, entry.payload);
                self.executing = None;
                continue;
            }
            if entry.kind == Kind::Members {
                self.execute_members(header.op, entry.payload, actions);
                continue;
            }
            // Judged again, now that everything before it is executed: a request may have been logged twice.
            let verdict = self.sessions.check(entry.client, entry.session, entry.request);
            if matches!(verdict, Verdict::New) {
                if entry.request.0 == 0 {
                    self.sessions.register(entry.client, header.op, header.timestamp);
                } else {
                    self.executing = Some(header.op);
                    let body = if entry.kind == Kind::Operator {
                        actions.probe(Probe::OperatorExecuted.into());
                        machine.operate(header, position as u32, entry.payload)
                    } else {
                        machine.execute(header, position as u32, entry.payload)
                    };
                    self.executing = None;
                    self.sessions.record(entry.client, entry.request, header.op, header.timestamp, body);
                }
            }
            if !answering {
                continue;
            }
            let Some((request, node)) = self.primary.in_flight.get(&entry.client).copied() else { continue };
            if request != entry.request {
                continue;
            }
            self.primary.in_flight.remove(&entry.client);
            let reply: Option<Reply<'_>> = self.sessions.lookup(entry.client).filter(|reply| reply.request == request);
            if let Some(reply) = reply {
                send_reply(&reply_header, node, entry.client, &reply, actions);
            }
        }
    }

    /// The head of what is committed and known here.
    pub(super) fn commit_target(&self) -> Op {
        self.commit_max.op().min(self.log.head())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        vec::Vec,
    };

    use super::*;
    use crate::{
        storage::layout::Layout,
        types::{ClientId, ClusterId, CommitIndex, ReplicaId, RequestNumber, Session, View},
        vsr::{
            Config,
            testing::{Call, Machine},
        },
        wire::{
            batch::{self, Entry},
            members::Members,
            seal::seal,
        },
    };

    const LAYOUT: Layout = Layout { slot_count: 64, message_size_max: 8192, block_count: 64, block_size: 4096 };
    const CLIENT: ClientId = ClientId(0xc);
    const OPERATOR: ClientId = ClientId(0xd);
    const KINDS: [Kind; 3] = [Kind::System, Kind::Operator, Kind::Request];

    fn entry(client: ClientId, kind: Kind) -> Entry<'static> {
        Entry { kind, client, session: Session(1), request: RequestNumber(1), payload: b"payload" }
    }

    /// Entries of these kinds, and the protocol's own last.
    fn entries(kinds: &[Kind]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for kind in kinds {
            match kind {
                Kind::System => batch::push_system(&mut bytes, b"own"),
                Kind::Operator => batch::push_entry(&mut bytes, &entry(OPERATOR, Kind::Operator)),
                _ => batch::push_entry(&mut bytes, &entry(CLIENT, Kind::Request)),
            }
        }
        let mut members = Vec::new();
        Members { version: 1, incarnations: [7, 8, 9].into() }.encode(&mut members);
        batch::push_members(&mut bytes, &members);
        bytes
    }

    /// A replica at the first op, in which both have registered.
    fn replica() -> Vsr {
        let mut vsr = Vsr::new(Config::new(ClusterId(1), ReplicaId(0), 3, LAYOUT));
        (vsr.applied, vsr.commit_max) = (Op(1), CommitIndex(2));
        vsr.roster.own = 7;
        for client in [CLIENT, OPERATOR] {
            vsr.sessions.register(client, Op(1), Timestamp(1));
        }
        vsr
    }

    /// Executes such entries in the second op. Whether it panicked.
    #[expect(clippy::disallowed_methods, reason = "what a replica says of itself after a panic is what this is about")]
    fn panics(vsr: &mut Vsr, kinds: &[Kind], poison: Option<Call>) -> bool {
        let mut actions = Actions::new();
        let header = Header { op: Op(2), ..Header::new(ClusterId(1), Command::Prepare, 0, View(0)) };
        let (header, frame) = seal(header, &entries(kinds), &mut actions);
        let mut machine = Machine { poison, ..Machine::default() };
        catch_unwind(AssertUnwindSafe(|| vsr.execute(&mut machine, &header, &frame, &mut actions))).is_err()
    }

    #[test]
    fn a_panic_of_the_machine_s_is_told_with_its_op() {
        for call in [Call::Begin, Call::Request, Call::Operator, Call::System] {
            let mut vsr = replica();
            assert!(panics(&mut vsr, &KINDS, Some(call)));
            assert_eq!(vsr.executing(), Some(Op(2)), "{call:?}");
        }
    }

    #[test]
    fn a_panic_in_the_protocol_s_own_part_of_an_op_is_no_machine_s() {
        let mut vsr = replica();
        assert!(!panics(&mut vsr, &KINDS, None));
        assert_eq!((vsr.executing(), vsr.executed_members().version), (None, 1), "all of it was executed");
        // A bug of ours, behind whatever the machine did last: a version that nobody can have counted to.
        for kinds in [&[][..], &KINDS[..1], &KINDS[..2], &KINDS] {
            let mut vsr = replica();
            vsr.roster.executed.version = u64::MAX;
            assert!(panics(&mut vsr, kinds, None));
            assert_eq!(vsr.executing(), None, "{kinds:?}");
        }
    }
}
