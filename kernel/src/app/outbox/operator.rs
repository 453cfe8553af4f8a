//! What an operator decides of effects that are parked or dead. Each decision is a committed entry of the log.

use alloc::vec::Vec;

use super::{Ended, Outbox, Stage, after};
use crate::{
    app::effect::{Cause, EffectId, OnUnknown, Refusal},
    types::{Op, Timestamp},
};

impl Outbox {
    /// Has it tried again from the beginning, behind whatever its channel holds by now. Whoever decides this for an effect that
    /// is never run twice says that it was not run. Of one whose sink can be asked nobody has to know: if the outcome of its
    /// latest start is open, the sink is asked before there is another; where it has refused to tell, whoever decides says so here, too.
    ///
    /// # Errors
    /// [`Refusal::NoSuchEffect`], or [`Refusal::NotHeld`] if it is neither parked nor dead.
    pub fn redrive(&mut self, id: EffectId, op: Op, timestamp: Timestamp) -> Result<(), Refusal> {
        self.is_held(id)?;
        let place = self.next_place();
        self.update(id, op, |standing| {
            let cannot_tell = standing.asks && standing.stage == Stage::Dead(Cause::Refused);
            standing.place = place;
            standing.expires_at = after(timestamp, standing.policy.total_timeout_ns());
            standing.attempt = op;
            standing.attempts = 0;
            standing.asks =
                standing.policy.on_unknown() == OnUnknown::AskFirst && standing.started.is_some() && !cannot_tell;
            if !standing.asks {
                standing.started = None;
            }
            standing.stage = Stage::Ready;
        });
        Ok(())
    }

    /// Says that it was done, and what came back. Returns what the application is to be told.
    ///
    /// # Errors
    /// As [`Outbox::redrive`].
    pub fn resolve(&mut self, id: EffectId, op: Op, response: Vec<u8>) -> Result<Option<Ended>, Refusal> {
        self.is_held(id)?;
        Ok(self.finish(id, op, response))
    }

    /// Gives it up for good. Returns what the application is to be told.
    ///
    /// # Errors
    /// As [`Outbox::redrive`].
    pub fn discard(&mut self, id: EffectId, op: Op) -> Result<Option<Ended>, Refusal> {
        self.is_held(id)?;
        Ok(self.fail(id, op, Cause::Dropped))
    }

    fn is_held(&self, id: EffectId) -> Result<(), Refusal> {
        let entry = self.entries.get(&id).ok_or(Refusal::NoSuchEffect)?;
        if entry.standing.is_held() { Ok(()) } else { Err(Refusal::NotHeld) }
    }
}
