//! An application with a witness beside it, who writes down what it is told of effects and timers, and what it asks for.
//!
//! It is run once, in the order of the commits (see sequence.rs), and does what the application does. Deliberately absent: any
//! judgement of what was seen; that is for the ledger (see ledger.rs).

use std::fmt;

use chronon::app::{
    application::{Application, ApplyContext, Event, Outcome, Rejection, RestoreError, SnapshotWriter},
    effect::{Cause, EffectId},
    outcome::Wish,
    room::Limits,
};
use chronon::{frame::Frame, types::Op};

use super::brief::Brief;

/// What was seen of an application.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Seen {
    /// It was told something that no client asked for.
    Told(EffectId, Told),
    /// It asks for an effect or a timer, in an event that it did not reject.
    Asks(EffectId, Wish),
}

/// What became of an effect or a timer, as the application was told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Told {
    Acknowledged,
    Fetched { response: Frame },
    Failed { cause: Cause, code: u32 },
    Fired { payload: Frame },
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetched { response } => write!(f, "Fetched with {}", Brief(response)),
            Self::Fired { payload } => write!(f, "Fired with {}", Brief(payload)),
            Self::Acknowledged | Self::Failed { .. } => write!(f, "{self:?}"),
        }
    }
}

impl Told {
    fn of(event: &Event<'_>) -> Option<(EffectId, Self)> {
        match *event {
            Event::Request { .. } => None,
            Event::Acknowledged { id } => Some((id, Self::Acknowledged)),
            Event::Fetched { id, response } => Some((id, Self::Fetched { response: Frame::new(response.to_vec()) })),
            Event::Failed { id, cause, code, .. } => Some((id, Self::Failed { cause, code })),
            Event::Fired { id, payload } => Some((id, Self::Fired { payload: Frame::new(payload.to_vec()) })),
        }
    }
}

/// An application that is watched.
#[derive(Clone)]
pub(super) struct Witness<A>(pub(super) A);

/// Its state, with what was seen in the op that it was last run in.
#[derive(Clone, Default)]
pub(super) struct Watched<S> {
    pub(super) state: S,
    op: Op,
    seen: Vec<Seen>,
}

impl<S> Watched<S> {
    /// What was seen in this op so far.
    pub(super) fn seen(&self, op: Op) -> &[Seen] {
        if self.op == op { &self.seen } else { &[] }
    }
}

impl<A: Application> Application for Witness<A> {
    type State = Watched<A::State>;

    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn genesis(&self) -> Self::State {
        Watched { state: self.0.genesis(), op: Op::ROOT, seen: Vec::new() }
    }

    fn apply(
        &self,
        state: &mut Self::State,
        event: Event<'_>,
        context: &ApplyContext,
        outcome: &mut Outcome,
    ) -> Result<(), Rejection> {
        let Watched { state, op, seen } = state;
        if *op != context.op {
            *op = context.op;
            seen.clear();
        }
        seen.extend(Told::of(&event).map(|(id, told)| Seen::Told(id, told)));
        self.0.apply(state, event, context, outcome)?;
        seen.extend(outcome.wishes().iter().map(|(id, wish)| Seen::Asks(*id, wish.clone())));
        Ok(())
    }

    fn query(&self, state: &Self::State, request: &[u8], response: &mut Vec<u8>) -> Result<(), Rejection> {
        self.0.query(&state.state, request, response)
    }

    fn snapshot(&self, state: &Self::State, writer: &mut SnapshotWriter) {
        self.0.snapshot(&state.state, writer);
    }

    fn restore(&self, state: &mut Self::State, record: &[u8]) -> Result<(), RestoreError> {
        self.0.restore(&mut state.state, record)
    }

    fn response_size_max(&self) -> u32 {
        self.0.response_size_max()
    }

    fn effects_max(&self) -> Limits {
        self.0.effects_max()
    }

    fn timers_max(&self) -> Limits {
        self.0.timers_max()
    }
}
