//! An operator: looks again and again for effects that are parked or dead, and decides of each.
//!
//! It decides as one would who cannot look into a service: what certainly did nothing, and what a service remembers or can be asked about,
//! is run again; of what may have been done and must not be done twice it says now that it was, now that it is given up. It is a
//! [`Driver`], whose client must be an operator's. Deliberately absent: anything that survives its own restart.

use std::collections::VecDeque;

use chronon::{
    app::{
        effect::Destination,
        executor::Answer,
        operator::{Held, OperatorRefusal, OperatorRequest, Page},
        outbox::Stage,
    },
    client::{Driver, Next, Outcome},
    process::Now,
    types::Instant,
};
use serde::{Deserialize, Serialize};

use crate::{outside::manners, rng::Stream};

/// What an operator does, as data.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorPlan {
    /// How often it looks and finds nothing, until it leaves.
    pub looks: u64,
    /// How long it waits then.
    pub pause_ns: u64,
}

/// A seeded operator.
#[derive(Clone)]
pub struct Operator {
    stream: Stream,
    plan: OperatorPlan,
    /// How often it looked and found nothing.
    looks: u64,
    /// What was listed and not decided.
    held: VecDeque<Held>,
    /// What was asked last.
    asked: OperatorRequest,
    wake: Option<Instant>,
    decided: Vec<(OperatorRequest, Result<(), OperatorRefusal>)>,
}

impl Operator {
    /// The operator of a seed.
    pub fn new(seed: u64, plan: OperatorPlan) -> Self {
        let (stream, asked) = (Stream::new(seed, "operator", 0, 0), OperatorRequest::List { after: None });
        Self { stream, plan, looks: 0, held: VecDeque::new(), asked, wake: None, decided: Vec::new() }
    }

    /// Whether it has left.
    pub fn is_finished(&self) -> bool {
        self.looks >= self.plan.looks && self.held.is_empty()
    }

    /// What it decided, and what it was told of that.
    pub fn decided(&self) -> &[(OperatorRequest, Result<(), OperatorRefusal>)] {
        &self.decided
    }

    fn decide(&mut self, held: &Held) -> OperatorRequest {
        let id = held.id;
        let is_safe = match held.destination {
            // Where one is fenced off, an effect that may not be run again is asked about first, unless it is never run twice: then it is parked.
            Destination::Emit(channel) => {
                let manners = manners(channel);
                manners.remembers || manners.fences && held.stage != Stage::Parked || !held.may_have_run
            }
            Destination::Fetch | Destination::Log(_) => true,
        };
        if is_safe && self.stream.chance(900_000) {
            OperatorRequest::Redrive { id }
        } else if !is_safe && self.stream.chance(500_000) {
            OperatorRequest::Resolve { id, response: Vec::new() }
        } else {
            OperatorRequest::Drop { id }
        }
    }
}

impl Driver for Operator {
    fn next(&mut self, now: Now, request: &mut Vec<u8>) -> Next {
        if self.looks >= self.plan.looks && self.held.is_empty() {
            return Next::Done;
        }
        if let Some(wake) = self.wake.filter(|wake| *wake > now.monotonic) {
            return Next::WaitUntil(wake);
        }
        self.wake = None;
        self.asked = match self.held.pop_front() {
            Some(held) => self.decide(&held),
            None => OperatorRequest::List { after: None },
        };
        self.asked.encode(request);
        Next::Request
    }

    fn done(&mut self, now: Now, outcome: Outcome<'_>) {
        // An evicted session's request was executed or not: the next list tells.
        let Outcome::Answered(answered) = outcome else { return };
        match (answered.answer, &self.asked) {
            (Answer::Applied(page), OperatorRequest::List { .. }) => {
                self.held = Page::decode(page).expect("a list is answered by a page").effects.into();
                if self.held.is_empty() {
                    self.looks += 1;
                    self.wake = Some(now.monotonic.after(self.plan.pause_ns));
                }
            }
            (Answer::Applied(_), asked) => self.decided.push((asked.clone(), Ok(()))),
            (Answer::Rejected { code, .. }, asked) => {
                let refusal = OperatorRefusal::from_code(code).expect("an operator's request is refused as one");
                self.decided.push((asked.clone(), Err(refusal)));
            }
        }
    }
}
