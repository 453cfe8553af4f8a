//! What the protocol's own tests have executed, where no cluster is wanted.

use super::commit::StateMachine;
use crate::{
    storage::snapshot::{RestoreError, SnapshotWriter},
    types::Timestamp,
    wire::header::Header,
};

/// What an op asks of a state machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Call {
    Begin,
    Request,
    Operator,
    System,
}

/// A machine without a state.
#[derive(Default)]
pub(super) struct Machine {
    /// The kind of call that it cannot take.
    pub(super) poison: Option<Call>,
    /// Whether it keeps a state for a checkpoint that is being written.
    pub(super) is_frozen: bool,
    /// Whether it keeps one of which all was written.
    pub(super) is_kept: bool,
}

impl Machine {
    fn take(&self, call: Call) -> &'static [u8] {
        assert!(self.poison != Some(call), "the machine cannot take this");
        &[]
    }
}

impl StateMachine for Machine {
    fn execute(&mut self, _: &Header, _: u32, _: &[u8]) -> &[u8] {
        self.take(Call::Request)
    }

    fn operate(&mut self, _: &Header, _: u32, _: &[u8]) -> &[u8] {
        self.take(Call::Operator)
    }

    fn begin(&mut self, _: &Header) {
        self.take(Call::Begin);
    }

    fn execute_system(&mut self, _: &Header, _: u32, _: &[u8]) {
        self.take(Call::System);
    }

    fn due(&self) -> Option<Timestamp> {
        None
    }

    fn is_nearly_full(&self) -> bool {
        false
    }

    fn query(&mut self, _: &[u8]) -> &[u8] {
        &[]
    }

    fn freeze(&mut self) {
        assert!(!self.is_frozen, "a state is let go before another is kept");
        self.is_frozen = true;
    }

    fn snapshot(&mut self, _: &mut SnapshotWriter) {}

    fn thaw(&mut self) {
        self.is_frozen = false;
    }

    fn keep(&mut self) {
        self.is_kept = core::mem::take(&mut self.is_frozen);
    }

    fn is_unchanged(&self, _: &[u8], _: &[u8]) -> bool {
        true
    }

    fn release(&mut self) -> bool {
        true
    }

    fn restore(&mut self, _: &[u8]) -> Result<(), RestoreError> {
        Err(RestoreError)
    }

    fn abandon(&mut self) {}

    fn restored(&mut self) -> Result<(), RestoreError> {
        Err(RestoreError)
    }
}
