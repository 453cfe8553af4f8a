//! A replica: the protocol and an application, as one process.

mod dispatch;
mod fit;

use alloc::format;

pub use fit::{Misfit, fits};

use dispatch::{Dispatch, REPORTS_MAX, UNDER_WAY_MAX};

use crate::{
    app::{
        application::{Application, ApplyContext, RestoreError, SnapshotWriter},
        executor::Executor,
        system::SystemEntry,
    },
    process::{Actions, Event, Now, Process},
    types::{Instant, Timestamp},
    vsr::{Config, Probe, StateMachine, Vsr},
    wire::header::Header,
};

/// One replica of an application.
///
/// A fresh one knows its configuration alone; everything else it recovers from its disk, or learns from the others.
#[derive(Clone)]
pub struct Replica<A: Application> {
    vsr: Vsr,
    machine: Machine<A>,
}

/// The application behind the protocol's back: `vsr` knows it as a [`StateMachine`].
#[derive(Clone)]
struct Machine<A: Application> {
    executor: Executor<A>,
    dispatch: Dispatch,
}

fn context_of(header: &Header, position: u32) -> ApplyContext {
    ApplyContext::new(header.op, header.timestamp, header.checksum, position)
}

impl<A: Application> StateMachine for Machine<A> {
    fn begin(&mut self, header: &Header) {
        self.executor.begin(&context_of(header, 0));
    }

    fn execute(&mut self, header: &Header, position: u32, payload: &[u8]) -> &[u8] {
        self.executor.apply(payload, &context_of(header, position))
    }

    fn operate(&mut self, header: &Header, position: u32, payload: &[u8]) -> &[u8] {
        self.executor.operate(payload, &context_of(header, position))
    }

    fn execute_system(&mut self, header: &Header, position: u32, payload: &[u8]) {
        // What it refuses is of a primary that was succeeded, or known already.
        let _ = self.executor.apply_system(payload, &context_of(header, position));
        if self.dispatch.waits()
            && let Ok(SystemEntry::Outcome(report)) = SystemEntry::decode(payload)
        {
            self.dispatch.executed(&report);
        }
    }

    fn due(&self) -> Option<Timestamp> {
        self.executor.due()
    }

    fn is_nearly_full(&self) -> bool {
        self.executor.is_high()
    }

    fn query(&mut self, payload: &[u8]) -> &[u8] {
        self.executor.query(payload)
    }

    fn freeze(&mut self) {
        self.executor.freeze();
    }

    fn snapshot(&mut self, writer: &mut SnapshotWriter) {
        self.executor.snapshot(writer);
    }

    fn thaw(&mut self) {
        self.executor.thaw();
    }

    fn keep(&mut self) {
        self.executor.keep();
    }

    fn is_unchanged(&self, from: &[u8], through: &[u8]) -> bool {
        self.executor.is_unchanged(from, through)
    }

    fn release(&mut self) -> bool {
        self.executor.release()
    }

    fn restore(&mut self, record: &[u8]) -> Result<(), RestoreError> {
        self.executor.restore(record)
    }

    fn abandon(&mut self) {
        self.executor.abandon();
    }

    fn restored(&mut self) -> Result<(), RestoreError> {
        self.executor.restored()
    }
}

impl<A: Application> Replica<A> {
    /// A replica that has not started.
    ///
    /// # Panics
    /// If a limit in `config` is out of its range, or if the application does not fit: see [`fits`].
    pub fn new(config: Config, application: A) -> Self {
        if let Err(misfit) = fits(&application, &config.layout) {
            panic!("{misfit}");
        }
        let executor = Executor::new(application, config.cluster);
        Self { vsr: Vsr::new(config), machine: Machine { executor, dispatch: Dispatch::default() } }
    }

    /// The protocol's state, to be looked at.
    pub const fn vsr(&self) -> &Vsr {
        &self.vsr
    }

    /// The application's state, to be looked at.
    pub fn state(&self) -> &A::State {
        self.machine.executor.state()
    }

    /// What runs the application, with the effects and timers that it asked for, to be looked at.
    pub const fn executor(&self) -> &Executor<A> {
        &self.machine.executor
    }

    /// The lengths of everything that grows with traffic, each with its limit: the protocol's, see [`Vsr::queues`], and the effects'.
    pub fn queues(&self) -> [(&'static str, u64, u64); 18] {
        let (under_way, reports) = self.machine.dispatch.lengths();
        let own = [
            ("effects under way", under_way as u64, UNDER_WAY_MAX as u64),
            ("reports of effects", reports as u64, (REPORTS_MAX + UNDER_WAY_MAX) as u64),
        ];
        let mut all = [("", 0, 0); 18];
        let (first, rest) = all.split_at_mut(16);
        first.copy_from_slice(&self.vsr.queues());
        rest.copy_from_slice(&own);
        all
    }
}

impl<A: Application> Process for Replica<A> {
    fn step(&mut self, now: Now, event: Event<'_>, actions: &mut Actions) {
        self.vsr.step(now, event, actions);
        if let Event::EffectOutcome(report) = event {
            self.machine.dispatch.report(report, self.machine.executor.outbox());
        }
        if let Some(entry) = self.vsr.given_entry()
            && let Ok(SystemEntry::Outcome(report)) = SystemEntry::decode(entry)
        {
            self.machine.dispatch.told(&report, self.machine.executor.outbox());
        }
        self.vsr.commit(&mut self.machine, actions);
        let Machine { executor, dispatch } = &mut self.machine;
        dispatch.run(&mut self.vsr, executor.outbox(), now.monotonic, actions);
    }

    fn deadline(&self) -> Option<Instant> {
        match (self.vsr.deadline(), self.machine.dispatch.deadline()) {
            (Some(protocol), Some(effect)) => Some(protocol.min(effect)),
            (protocol, effect) => protocol.or(effect),
        }
    }

    fn probes(&self) -> &'static [&'static str] {
        Probe::NAMES
    }

    /// A panic while an op is executed is a poison pill: the op is committed and stays in the log, no replica goes past it with this
    /// application, and none may skip it. What it left of the state is discarded with this life (design rule 20). The others are told
    /// how far the log is committed, so that they come to that op as well, and say so.
    ///
    /// A panic over a query harms nothing but this life: who asked asks the next replica.
    fn panicked(&mut self, message: &str, actions: &mut Actions) {
        if self.vsr.is_answering() {
            return actions.halt(format!(
                "the application panicked over a query: {message}; nothing was changed, and whoever asked asks the other replicas the \
                 same: start all that stopped again with an application that can take it"
            ));
        }
        let Some(op) = self.vsr.executing() else { return };
        self.vsr.last_word(actions);
        actions.halt(format!(
            "the application panicked in {op}: {message}; {op} is committed and stays in the log, and no replica goes past it: start \
             all of them again with an application that can take it"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        app::number::Number,
        storage::layout::Layout,
        types::{ClusterId, ReplicaId},
    };

    #[test]
    fn a_panic_that_is_no_op_s_is_nobody_s_to_explain() {
        let layout = Layout { slot_count: 64, message_size_max: 8192, block_count: 64, block_size: 4096 };
        let config = Config::new(ClusterId(1), ReplicaId(0), 3, layout);
        let mut replica = Replica::new(config, Number::new(|_, _, _, _| Ok(())));
        let mut actions = Actions::new();
        replica.panicked("a bug of ours", &mut actions);
        assert!(actions.as_slice().is_empty(), "the host lets it go on");
    }
}
