//! The client of any workload: asks in its turn and keeps its history.
//!
//! A caller is a [`Driver`]: plain data, seeded, one per client. Its history is what an oracle reads: it only grows, a
//! call appears in it in the very step that sends it, and the call's end is filled in, once, in the step that learns of
//! it. So an oracle that looks after every step knows the world's time of both; the times in the history are the
//! client's own clock's, which the nemesis may have bent.
//!
//! Deliberately absent: any judgement of the answers, and anything that survives the client's own restart.

use chronon::{
    app::executor::Answer,
    client::{Answered, Driver, Next, Outcome},
    frame::Frame,
    process::Now,
    types::{ClientId, Instant, Op, RequestNumber, Session, Timestamp},
};

use super::{Plan, Turn, Workload};
use crate::rng::Stream;

/// One call of a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// The payload.
    pub request: Frame,
    /// When it was made, by the client's monotonic clock.
    pub invoked_at: Instant,
    /// How it ended, if it did.
    pub end: Option<End>,
}

/// The end of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct End {
    /// When the client learnt of it, by its monotonic clock.
    pub at: Instant,
    /// What it learnt.
    pub outcome: CallOutcome,
}

/// What became of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CallOutcome {
    /// It was executed, once.
    Answered {
        /// The client as the cluster knows it.
        client: ClientId,
        /// Its session.
        session: Session,
        /// The call's number in the session.
        request: RequestNumber,
        /// The op in which it committed.
        op: Op,
        /// The time of that op.
        timestamp: Timestamp,
        /// What the application said.
        told: Told,
    },
    /// The session was evicted: executed once or not at all.
    Unknown,
    /// It was too large, and not executed.
    TooLarge,
}

/// What the application said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    /// Its response.
    Applied(Frame),
    /// Its refusal, by code.
    Rejected(u32),
}

impl From<Answer<'_>> for Told {
    fn from(answer: Answer<'_>) -> Self {
        match answer {
            Answer::Applied(response) => Self::Applied(Frame::new(response.to_vec())),
            Answer::Rejected { code, .. } => Self::Rejected(code),
        }
    }
}

/// A seeded client that keeps its history.
#[derive(Clone)]
pub struct Caller<W: Workload> {
    workload: W,
    client: u32,
    plan: W::Plan,
    memory: W::Memory,
    stream: Stream,
    history: Vec<Call>,
    /// Whether the pause before the next call is over, once it was drawn.
    ready_at: Option<Instant>,
}

impl<W: Workload> Caller<W> {
    /// The client numbered `client` under `seed`.
    pub fn of(workload: W, seed: u64, client: u32, plan: W::Plan) -> Self {
        let stream = Stream::new(seed, "workload", client, 0);
        Self { workload, client, plan, memory: W::Memory::default(), stream, history: Vec::new(), ready_at: None }
    }

    /// All calls so far, in order. Only the last can be without an end.
    pub fn history(&self) -> &[Call] {
        &self.history
    }

    /// Whether a call has no end yet.
    pub fn is_outstanding(&self) -> bool {
        self.history.last().is_some_and(|call| call.end.is_none())
    }

    /// Whether all calls were made and have ended.
    pub fn is_finished(&self) -> bool {
        self.history.len() as u64 >= self.plan.calls() && !self.is_outstanding()
    }
}

impl<W: Workload> Driver for Caller<W> {
    fn next(&mut self, now: Now, request: &mut Vec<u8>) -> Next {
        let call = self.history.len() as u64;
        if call >= self.plan.calls() {
            return Next::Done;
        }
        let think_ns_max = self.plan.think_ns_max();
        let ready_at = *self.ready_at.get_or_insert_with(|| now.monotonic.after(self.stream.range(0, think_ns_max)));
        if ready_at > now.monotonic {
            return Next::WaitUntil(ready_at);
        }
        self.ready_at = None;
        let turn = Turn { plan: &self.plan, client: self.client, call, random: &mut self.stream };
        self.workload.ask(&mut self.memory, turn, request);
        self.history.push(Call { request: Frame::new(request.clone()), invoked_at: now.monotonic, end: None });
        Next::Request
    }

    fn done(&mut self, now: Now, outcome: Outcome<'_>) {
        let call = self.history.last_mut().expect("a call that ends was made");
        assert!(call.end.is_none(), "a call ends once");
        let outcome = match outcome {
            Outcome::Answered(Answered { client, session, request, op, timestamp, answer }) => {
                if let Answer::Applied(response) = answer {
                    self.workload.told(&mut self.memory, &call.request, response);
                }
                let told = Told::from(answer);
                CallOutcome::Answered { client, session, request, op, timestamp, told }
            }
            Outcome::Unknown => CallOutcome::Unknown,
            Outcome::TooLarge => CallOutcome::TooLarge,
            Outcome::Queried(_) => unreachable!("a workload asks no query"),
        };
        call.end = Some(End { at: now.monotonic, outcome });
    }
}
