//! The smallest application: one number, and a function that says what an event does to it.
//!
//! For tests of what runs an application, and for a first try of one. Deliberately absent: anything that a real one would need.

use alloc::vec::Vec;

use crate::app::{
    application::{Application, ApplyContext, Event, Outcome, Rejection, RestoreError, SnapshotWriter},
    room::Limits,
};

/// What an event does to the number: as [`Application::apply`].
pub type Change = fn(&mut u64, Event<'_>, &ApplyContext, &mut Outcome) -> Result<(), Rejection>;

/// One number, 0 at first. The empty query is answered with its eight bytes, the least first; any other is refused with code 9.
#[derive(Clone, Copy, Debug)]
pub struct Number {
    change: Change,
    response_size_max: u32,
    timers_max: Limits,
}

impl Number {
    /// A number that events change so. Responses are of up to 8 bytes.
    pub const fn new(change: Change) -> Self {
        Self { change, response_size_max: 8, timers_max: Limits::DEFAULT }
    }

    /// The same with responses of up to so many bytes.
    pub const fn with_responses(self, response_size_max: u32) -> Self {
        Self { response_size_max, ..self }
    }

    /// The same with so much room for timers.
    pub const fn with_timers(self, timers_max: Limits) -> Self {
        Self { timers_max, ..self }
    }
}

impl Application for Number {
    type State = u64;

    fn apply(
        &self,
        state: &mut u64,
        event: Event<'_>,
        context: &ApplyContext,
        outcome: &mut Outcome,
    ) -> Result<(), Rejection> {
        (self.change)(state, event, context, outcome)
    }

    fn query(&self, state: &u64, request: &[u8], response: &mut Vec<u8>) -> Result<(), Rejection> {
        if !request.is_empty() {
            return Err(Rejection::new(9));
        }
        response.extend_from_slice(&state.to_le_bytes());
        Ok(())
    }

    fn snapshot(&self, state: &u64, writer: &mut SnapshotWriter) {
        writer.record(&state.to_le_bytes());
    }

    fn restore(&self, state: &mut u64, record: &[u8]) -> Result<(), RestoreError> {
        *state = u64::from_le_bytes(record.try_into().map_err(|_| RestoreError)?);
        Ok(())
    }

    fn response_size_max(&self) -> u32 {
        self.response_size_max
    }

    fn timers_max(&self) -> Limits {
        self.timers_max
    }
}
