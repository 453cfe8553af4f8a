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
