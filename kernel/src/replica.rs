//! A replica: the protocol and an application, as one process.

use crate::{
    app::{
        application::{Application, ApplyContext, RestoreError, SnapshotWriter},
        executor::Executor,
    },
    process::{Actions, Event, Now, Process},
    types::Instant,
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
struct Machine<A: Application>(Executor<A>);

impl<A: Application> StateMachine for Machine<A> {
    fn execute(&mut self, header: &Header, position: u32, payload: &[u8]) -> &[u8] {
        let context = ApplyContext::new(header.op, header.timestamp, header.checksum, position);
        self.0.apply(payload, &context)
    }

    fn query(&mut self, payload: &[u8]) -> &[u8] {
        self.0.query(payload)
    }

    fn freeze(&mut self) {
        self.0.freeze();
    }

    fn snapshot(&mut self, writer: &mut SnapshotWriter) {
        self.0.snapshot(writer);
    }

    fn thaw(&mut self) {
        self.0.thaw();
    }

    fn restore(&mut self, record: &[u8]) -> Result<(), RestoreError> {
        self.0.restore(record)
    }

    fn abandon(&mut self) {
        self.0.abandon();
    }

    fn restored(&mut self) {
        self.0.restored();
    }
}

impl<A: Application> Replica<A> {
    /// A replica that has not started.
    ///
    /// # Panics
    /// If a limit in `config` is out of its range, or if the application's largest response does not fit a message.
    pub fn new(config: Config, application: A) -> Self {
        let largest = application.response_size_max() + crate::app::executor::ANSWER_OVERHEAD;
        let room = config.layout.message_size_max - crate::wire::header::HEADER_SIZE as u32;
        assert!(largest <= room, "a response of {largest} bytes fits a message's {room}: raise message_size_max");
        Self { vsr: Vsr::new(config), machine: Machine(Executor::new(application)) }
    }

    /// The protocol's state, to be looked at.
    pub const fn vsr(&self) -> &Vsr {
        &self.vsr
    }

    /// The application's state, to be looked at.
    pub fn state(&self) -> &A::State {
        self.machine.0.state()
    }
}

impl<A: Application> Process for Replica<A> {
    fn step(&mut self, now: Now, event: Event<'_>, actions: &mut Actions) {
        self.vsr.step(now, event, actions);
        self.vsr.commit(&mut self.machine, actions);
    }

    fn deadline(&self) -> Option<Instant> {
        self.vsr.deadline()
    }

    fn probes(&self) -> &'static [&'static str] {
        Probe::NAMES
    }
}
