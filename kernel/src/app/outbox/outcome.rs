//! What attempts come to, and what follows: an end, another attempt, a question, or a wait for an operator.

use alloc::vec::Vec;

use super::{Outbox, Stage, Standing, after};
use crate::{
    app::effect::{
        Cause, Destination, EffectId, EffectResult, End, Ended, FencingToken, OnExhausted, OnUnknown, Refusal,
    },
    types::{Op, Timestamp},
};

impl Outbox {
    /// An attempt came to something. Returns how the effect ended, if it did and the application is to be told.
    ///
    /// # Errors
    /// [`Refusal::NoSuchEffect`], [`Refusal::StaleToken`] or [`Refusal::Repeated`]; nothing changes then.
    pub fn outcome(
        &mut self,
        id: EffectId,
        token: FencingToken,
        result: EffectResult,
        op: Op,
        timestamp: Timestamp,
    ) -> Result<Option<Ended>, Refusal> {
        let standing = self.entries.get(&id).ok_or(Refusal::NoSuchEffect)?.standing;
        let of_start = standing.started == Some(token);
        if !of_start && !self.is_of_claim(id, &standing, token) {
            return Err(Refusal::StaleToken);
        }
        // What was started has been asked about since: this is the answer to the start and not to the question.
        let answers = standing.asks && !of_start;
        match (result, standing.stage) {
            (EffectResult::Done { response }, _) => Ok(self.finish(id, op, response)),
            (result, stage) if answers => self.answered(id, stage, result, op, timestamp),
            // What an operator runs again and is not yet first of its channel waits on, and is not asked about any more.
            (EffectResult::Failed { code }, Stage::Ready) if !self.ready.contains(&id) => {
                self.touch(id, |standing| standing.settle_attempt(op, code));
                Ok(None)
            }
            (EffectResult::Failed { code }, Stage::Ready | Stage::Started) => {
                self.touch(id, |standing| standing.settle_attempt(op, code));
                Ok(self.attempt_over(id, op, timestamp))
            }
            (EffectResult::Failed { code }, Stage::Parked) => {
                // The channel went on: to try it again now is not in order, and for somebody else to decide.
                self.touch(id, |standing| standing.settle_attempt(op, code));
                Ok(self.give_up(id, op, Cause::Attempts))
            }
            (EffectResult::Failed { code }, _) | (EffectResult::Refused { code }, Stage::Dead(_)) => {
                // It was counted when it was unknown; now it is known.
                self.touch(id, |standing| standing.settle_attempt(op, code));
                Ok(None)
            }
            (EffectResult::Refused { code }, stage) => {
                // What waits for an operator's new attempt, and what is delayed, parked or asked about, was counted.
                let is_under_way = stage == Stage::Started || self.ready.contains(&id) && !standing.asks;
                self.touch(id, |standing| {
                    standing.attempts += u32::from(is_under_way);
                    standing.settle_attempt(op, code);
                });
                Ok(self.give_up(id, op, Cause::Refused))
            }
            (EffectResult::Unknown { code }, Stage::Started | Stage::Ready) if !standing.asks => {
                Ok(self.unknown(id, op, timestamp, code))
            }
            (EffectResult::Unknown { .. }, _) => Err(Refusal::Repeated),
            // An answer though nobody asked.
            (EffectResult::NotDone, _) => Err(Refusal::StaleToken),
        }
    }

    /// Whether `token` is that of an attempt that needed no start and is under way, or of a question that is not answered.
    pub(super) fn is_of_claim(&self, id: EffectId, standing: &Standing, token: FencingToken) -> bool {
        let open = match standing.stage {
            Stage::Ready => self.ready.contains(&id),
            Stage::Delayed(_) | Stage::Dead(_) => standing.asks,
            Stage::Started | Stage::Parked => false,
        };
        open && standing.runs_unguarded() && self.token_of_claim(standing) == Some(token)
    }

    /// It was done.
    pub(super) fn finish(&mut self, id: EffectId, op: Op, response: Vec<u8>) -> Option<Ended> {
        let end = match self.remove(id, op).standing.destination {
            Destination::Emit(_) => End::Acknowledged,
            Destination::Fetch => End::Fetched { response },
            Destination::Log(_) => return None,
        };
        Some(Ended { id, end })
    }

    /// What the sink said when it was asked whether it was done, if it does not say that it was.
    fn answered(
        &mut self,
        id: EffectId,
        stage: Stage,
        result: EffectResult,
        op: Op,
        timestamp: Timestamp,
    ) -> Result<Option<Ended>, Refusal> {
        match (result, stage) {
            (EffectResult::NotDone, Stage::Ready) => {
                self.update(id, op, |standing| standing.settle_attempt(op, standing.code));
                Ok(None)
            }
            (EffectResult::NotDone, _) => {
                self.touch(id, |standing| standing.settle_attempt(op, standing.code));
                Ok(None)
            }
            (EffectResult::Failed { code } | EffectResult::Unknown { code }, Stage::Ready) => {
                Ok(self.unknown(id, op, timestamp, code))
            }
            (EffectResult::Refused { code }, Stage::Ready) => {
                self.touch(id, |standing| standing.code = code);
                Ok(self.give_up(id, op, Cause::Refused))
            }
            _ => Err(Refusal::Repeated),
        }
    }

    /// Nobody knows what an attempt that was under way came to.
    fn unknown(&mut self, id: EffectId, op: Op, timestamp: Timestamp, code: u32) -> Option<Ended> {
        let standing = &self.entries[&id].standing;
        let on_unknown = standing.policy.on_unknown();
        let attempt = standing.started.or(self.token_of_claim(standing));
        self.touch(id, |standing| {
            standing.may_have_run = true;
            standing.started = attempt;
            standing.code = code;
            standing.asks = on_unknown == OnUnknown::AskFirst;
        });
        if on_unknown == OnUnknown::NeverTwice {
            self.update(id, op, Standing::park);
            return None;
        }
        self.attempt_over(id, op, timestamp)
    }

    /// An attempt ended without its being done: it is tried again after a while, if it may be.
    fn attempt_over(&mut self, id: EffectId, op: Op, timestamp: Timestamp) -> Option<Ended> {
        let Standing { attempts, policy, .. } = self.entries[&id].standing;
        let attempts = attempts + 1;
        self.update(id, op, |standing| {
            standing.attempts = attempts;
            standing.stage = Stage::Delayed(after(timestamp, policy.backoff_ns(attempts)));
        });
        if attempts >= policy.attempts_max() { self.give_up(id, op, Cause::Attempts) } else { None }
    }

    /// Its total time is over.
    pub(super) fn expire(&mut self, id: EffectId, op: Op) -> Option<Ended> {
        let Standing { stage, policy, asks, .. } = self.entries[&id].standing;
        let runs = self.fence.is_some() && self.ready.contains(&id) && self.entries[&id].standing.runs_unguarded();
        if runs || stage == Stage::Started {
            let attempt = self.entries[&id].standing.started.or(self.token_of_claim(&self.entries[&id].standing));
            self.touch(id, |standing| {
                standing.may_have_run = true;
                standing.started = attempt;
            });
        }
        let parks = policy.on_unknown() == OnUnknown::NeverTwice && policy.on_exhausted() == OnExhausted::DeadLetter;
        if stage == Stage::Started && parks {
            self.update(id, op, Standing::park);
            return None;
        }
        if (runs || stage == Stage::Started) && !asks {
            self.touch(id, |standing| standing.attempts += 1);
        }
        self.give_up(id, op, Cause::Expired)
    }

    /// It is not tried any more.
    fn give_up(&mut self, id: EffectId, op: Op, cause: Cause) -> Option<Ended> {
        if self.entries[&id].standing.policy.on_exhausted() == OnExhausted::DeadLetter {
            self.update(id, op, |standing| standing.stage = Stage::Dead(cause));
            return None;
        }
        self.fail(id, op, cause)
    }

    pub(super) fn fail(&mut self, id: EffectId, op: Op, cause: Cause) -> Option<Ended> {
        let Standing { destination, code, may_have_run, .. } = self.remove(id, op).standing;
        let told = !matches!(destination, Destination::Log(_));
        told.then_some(Ended { id, end: End::Failed { cause, code, may_have_run } })
    }
}
