//! The executor: owns an application's state and turns each committed request into the answer that its client is given.
//!
//! The answer's bytes are the body of the reply. They are part of the replicated state (a retry is given the same ones),
//! and the protocol carries them without looking into them: [`Answer`] is a matter between this file and the client.
//!
//! What this deliberately lacks: catching an application's panic. A panic leaves a state that nobody may look at again;
//! it belongs to the host to stop the replica.

use alloc::vec::Vec;
use core::fmt;

use crate::app::application::{Application, ApplyContext, Event, Outcome, Rejection, RestoreError, SnapshotWriter};

/// What an answer adds to an application's longest response, in bytes.
pub const ANSWER_OVERHEAD: u32 = 5;

const STATUS_APPLIED: u8 = 0;
const STATUS_REJECTED: u8 = 1;

/// An application and its state.
#[derive(Clone)]
pub struct Executor<A: Application> {
    application: A,
    state: A::State,
    /// The state as it was at a checkpoint that is being written.
    frozen: Option<A::State>,
    /// A state that is being restored, and that nobody sees before it is whole.
    restoring: Option<A::State>,
    /// The last answer; kept for its buffers.
    outcome: Outcome,
}

impl<A: Application> Executor<A> {
    /// The application in its first state.
    pub fn new(application: A) -> Self {
        let state = application.genesis();
        Self { application, state, frozen: None, restoring: None, outcome: Outcome::default() }
    }

    /// Applies one committed request. What it returns is the body of the client's reply, see [`Answer`].
    ///
    /// # Panics
    /// If the application does, or if it exceeds its own [`Application::response_size_max`].
    pub fn apply(&mut self, payload: &[u8], context: &ApplyContext) -> &[u8] {
        self.outcome.response.clear();
        let event = Event::Request { payload };
        let result = self.application.apply(&mut self.state, event, context, &mut self.outcome);
        finish(&mut self.outcome.response, result, self.application.response_size_max())
    }

    /// Asks the state something. What it returns is an [`Answer`] too.
    ///
    /// # Panics
    /// As [`Executor::apply`].
    pub fn query(&mut self, request: &[u8]) -> &[u8] {
        self.outcome.response.clear();
        let result = self.application.query(&self.state, request, &mut self.outcome.response);
        finish(&mut self.outcome.response, result, self.application.response_size_max())
    }

    /// Keeps the state as it is now for [`Executor::snapshot`], whatever is applied from here on.
    pub fn freeze(&mut self) {
        self.frozen = Some(self.state.clone());
    }

    /// Writes a part of the state that was frozen.
    ///
    /// # Panics
    /// If none is.
    pub fn snapshot(&self, writer: &mut SnapshotWriter) {
        self.application.snapshot(self.frozen.as_ref().expect("a state was frozen to be written"), writer);
    }

    /// Lets the frozen state go.
    pub fn thaw(&mut self) {
        self.frozen = None;
    }

    /// Takes a record of a snapshot. The state that is made of them takes the place of the present one with
    /// [`Executor::restored`], and is not seen before.
    ///
    /// # Errors
    /// If the application refuses it.
    pub fn restore(&mut self, record: &[u8]) -> Result<(), RestoreError> {
        let state = self.restoring.get_or_insert_with(|| self.application.genesis());
        self.application.restore(state, record)
    }

    /// Forgets a restoration that was begun.
    pub fn abandon(&mut self) {
        self.restoring = None;
    }

    /// All records were taken: the state is theirs.
    pub fn restored(&mut self) {
        self.state = self.restoring.take().unwrap_or_else(|| self.application.genesis());
    }

    /// The state after all that was applied.
    pub fn state(&self) -> &A::State {
        &self.state
    }

    /// The application.
    pub fn application(&self) -> &A {
        &self.application
    }
}

/// Makes an answer of `response`, in place: the status comes last so that nothing has to move.
fn finish(response: &mut Vec<u8>, result: Result<(), Rejection>, response_size_max: u32) -> &[u8] {
    let (content, status) = match result {
        Ok(()) => (response.len(), STATUS_APPLIED),
        Err(rejection) => {
            response.clear();
            response.extend_from_slice(&rejection.detail);
            response.extend_from_slice(&rejection.code.to_le_bytes());
            (rejection.detail.len(), STATUS_REJECTED)
        }
    };
    assert!(
        content <= response_size_max as usize,
        "an application's answer of {content} bytes exceeds its own limit of {response_size_max}"
    );
    response.push(status);
    response
}

/// What a client is told of its request: the content of a reply's body.
///
/// Encoded as the content followed by one byte of status, 0 for applied and 1 for rejected; a rejection's content is its
/// detail followed by its code as four bytes, least first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer<'a> {
    /// The request took effect; this is the application's response.
    Applied(&'a [u8]),
    /// The application refused the request; nothing changed.
    Rejected {
        /// Why, for programs.
        code: u32,
        /// Anything more.
        detail: &'a [u8],
    },
}

/// Bytes that are no [`Answer`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AnswerError;

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a reply ends in no known status: is the client older than the replicas?")
    }
}

impl core::error::Error for AnswerError {}

impl<'a> Answer<'a> {
    /// Reads the body of a reply.
    ///
    /// # Errors
    /// If no executor made these bytes.
    pub fn decode(body: &'a [u8]) -> Result<Self, AnswerError> {
        match body.split_last() {
            Some((&STATUS_APPLIED, response)) => Ok(Self::Applied(response)),
            Some((&STATUS_REJECTED, content)) => {
                let (detail, code) = content.split_last_chunk::<4>().ok_or(AnswerError)?;
                Ok(Self::Rejected { code: u32::from_le_bytes(*code), detail })
            }
            _ => Err(AnswerError),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{vec, vec::Vec};

    use super::*;
    use crate::types::{Checksum, Op, Timestamp};

    /// Sums the first bytes of requests; refuses empty ones after it began to answer; echoes.
    #[derive(Clone)]
    struct Sum;

    impl Application for Sum {
        type State = u64;

        fn genesis(&self) -> u64 {
            100
        }

        fn apply(
            &self,
            state: &mut u64,
            event: Event<'_>,
            context: &ApplyContext,
            outcome: &mut Outcome,
        ) -> Result<(), Rejection> {
            let Event::Request { payload } = event;
            outcome.response.extend_from_slice(payload);
            let Some(first) = payload.first() else {
                outcome.response.extend_from_slice(b"begun");
                return Err(Rejection { code: 7, detail: vec![b'o', context.op.0 as u8] });
            };
            *state += u64::from(*first);
            Ok(())
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
            8
        }
    }

    fn context(op: u64) -> ApplyContext {
        ApplyContext::new(Op(op), Timestamp(op), Checksum(0), 0)
    }

    #[test]
    fn a_response_and_a_rejection_can_be_told_apart_whatever_they_hold() {
        let mut executor = Executor::new(Sum);
        // A response whose bytes look like the end of a rejection.
        let body = executor.apply(&[5, 0, 0, 0, 1], &context(1)).to_vec();
        assert_eq!(Answer::decode(&body), Ok(Answer::Applied(&[5, 0, 0, 0, 1])));
        assert_eq!(*executor.state(), 105);
        let body = executor.apply(&[], &context(2)).to_vec();
        assert_eq!(Answer::decode(&body), Ok(Answer::Rejected { code: 7, detail: &[b'o', 2] }));
        assert_eq!(*executor.state(), 105);
        assert_eq!(Answer::decode(executor.query(&[])), Ok(Answer::Applied(&105_u64.to_le_bytes())));
        assert_eq!(Answer::decode(executor.query(&[1])), Ok(Answer::Rejected { code: 9, detail: &[] }));
    }

    #[test]
    fn an_answer_holds_nothing_of_the_one_before() {
        let mut executor = Executor::new(Sum);
        executor.apply(&[1; 8], &context(1));
        let body = executor.apply(&[2], &context(2));
        assert_eq!(Answer::decode(body), Ok(Answer::Applied(&[2])));
    }

    #[test]
    fn an_answer_is_never_longer_than_the_limit_and_its_overhead() {
        let mut executor = Executor::new(Sum);
        assert_eq!(executor.apply(&[1; 8], &context(1)).len(), 9);
        assert!(executor.apply(&[], &context(2)).len() <= 8 + ANSWER_OVERHEAD as usize);
    }

    #[test]
    fn a_frozen_state_is_written_as_it_was_and_a_restored_one_is_seen_only_when_it_is_whole() {
        let mut executor = Executor::new(Sum);
        executor.apply(&[7], &context(1));
        executor.freeze();
        executor.apply(&[7], &context(2));
        let mut writer = SnapshotWriter::new(4096, 1);
        assert!(writer.write(1, |writer| executor.snapshot(writer)));
        writer.finish();
        let leaf = writer.take().unwrap();
        assert_eq!(leaf[leaf.len() - 8..], 107_u64.to_le_bytes());
        assert_eq!(executor.restore(&107_u64.to_le_bytes()), Ok(()));
        assert_eq!(executor.restore(&[1]), Err(RestoreError));
        assert_eq!(*executor.state(), 114);
        executor.restored();
        assert_eq!(*executor.state(), 107);
        executor.restored();
        assert_eq!(*executor.state(), 100, "a snapshot without records is the first state");
    }

    #[test]
    #[should_panic(expected = "exceeds its own limit of 8")]
    fn an_application_that_exceeds_its_own_limit_stops() {
        Executor::new(Sum).apply(&[1; 9], &context(1));
    }

    #[test]
    fn bytes_that_no_executor_made_are_no_answer() {
        for body in [&[][..], &[2], &[255], &[1], &[0, 0, 0, 1]] {
            assert_eq!(Answer::decode(body), Err(AnswerError), "{body:?}");
        }
    }
}
