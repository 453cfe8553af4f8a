//! Promises of effects and timers as far as the log alone decides them: each ends once, as the entry says that ends it, and is given up
//! no sooner and no later than its own policy has it.
//!
//! What the application asks for and is told is witnessed where it is run (see witness.rs), entry by entry. How far a policy's limits are
//! used up is counted from the outcomes in the log and from its time, and nothing of it is taken from the outbox, whose verdicts (parked,
//! dead) are what is judged. Deliberately absent: whether an outcome is true; that takes who ordered and who answered (see effects.rs).

use std::{collections::BTreeMap, fmt};

use chronon::{
    app::{
        application::ApplyContext,
        effect::{
            Cause, Destination, EffectId, EffectReport, EffectResult, Fence, FencingToken, OnExhausted, OnUnknown,
            Policy,
        },
        operator::OperatorRequest,
        outbox::{Outbox, Stage},
        outcome::Wish,
        system::SystemEntry,
    },
    frame::Frame,
    types::{Op, Timestamp},
};

use super::{
    Violation,
    brief::{Brief, BriefResult},
    promise::broken,
    witness::{Seen, Told},
};

const PROMISE: &str = "effects";

/// What was asked for and what came of it, by the canonical log.
#[derive(Clone, Default)]
pub(super) struct Ledger {
    effects: BTreeMap<EffectId, Asked>,
    /// When each may fire, and with what.
    timers: BTreeMap<EffectId, (Timestamp, Frame)>,
    /// The claim in force.
    fence: Option<Fence>,
    /// What is parked or dead.
    held: BTreeMap<EffectId, Stage>,
}

/// An effect as the application asked for it.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) destination: Destination,
    pub(super) policy: Policy,
    pub(super) payload: Frame,
    /// When it was asked for, or an operator last had it run again.
    since: Timestamp,
    ended: bool,
    /// What the log says that its attempts came to, unless it was done.
    outcomes: Vec<Said>,
    /// How many of them were said before an operator last had it run again.
    before: usize,
    /// The op in which that was: attempts of before have lower numbers.
    again: Op,
    /// How many attempts are over since then, at the least: what the log says of one that was the latest under the claim in force.
    over: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Said {
    token: FencingToken,
    what: What,
    code: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Failed,
    Refused,
    Unknown,
    NotDone,
}

/// What the application is told something by, or asks for something by.
#[derive(Clone, Copy, Debug)]
pub(super) enum By<'a> {
    /// The time of an op.
    Time,
    /// A client's request.
    Request,
    /// An entry of a primary's.
    System(&'a SystemEntry),
    /// A decision of an operator's that was taken.
    Operator(&'a OperatorRequest),
}

impl By<'_> {
    /// The outcome of an attempt at this effect.
    fn outcome(&self, id: EffectId) -> Option<&EffectResult> {
        match self {
            Self::System(SystemEntry::Outcome(report)) if report.id == id => Some(&report.result),
            _ => None,
        }
    }

    /// What came back of this effect, if this says that it was done.
    fn done(&self, id: EffectId) -> Option<&[u8]> {
        match self {
            Self::Operator(OperatorRequest::Resolve { id: resolved, response }) if *resolved == id => Some(response),
            _ => match self.outcome(id) {
                Some(EffectResult::Done { response }) => Some(response),
                _ => None,
            },
        }
    }
}

impl fmt::Display for By<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time => f.write_str("its time"),
            Self::Request => f.write_str("a client's request"),
            Self::System(SystemEntry::Outcome(EffectReport { id, token, result })) => {
                write!(f, "the outcome of effect {id} under {token}: {}", BriefResult(result))
            }
            Self::System(entry) => write!(f, "{entry:?}"),
            Self::Operator(OperatorRequest::Resolve { response, .. }) => {
                write!(f, "an operator's decision that it was done with {}", Brief(response))
            }
            Self::Operator(request) => write!(f, "{request:?}"),
        }
    }
}

impl Asked {
    /// Whether all its time is over.
    fn is_expired(&self, now: Timestamp) -> bool {
        now.0 >= self.since.0.saturating_add(self.policy.total_timeout_ns())
    }

    /// How many attempts may be over since an operator last had it run again, at the most. One may be known to have failed after it was
    /// counted as unknown.
    fn over_at_most(&self) -> usize {
        let said = self.outcomes[self.before..].iter();
        said.filter(|said| matches!(said.what, What::Failed | What::Unknown)).count()
    }

    /// Takes down what an attempt came to, under this claim. `is_held` is whether it was parked or dead.
    fn takes(&mut self, report: &EffectReport, fence: Option<Fence>, is_held: bool) {
        let (what, code) = match report.result {
            EffectResult::Done { .. } => return,
            EffectResult::Failed { code } => (What::Failed, code),
            EffectResult::Refused { code } => (What::Refused, code),
            EffectResult::Unknown { code } => (What::Unknown, code),
            EffectResult::NotDone => (What::NotDone, 0),
        };
        let said = Said { token: report.token, what, code };
        if self.outcomes.contains(&said) {
            return;
        }
        let is_latest =
            Some(report.token.fence) == fence && self.outcomes.iter().all(|earlier| earlier.token < report.token);
        let is_of_now = report.token.attempt >= self.again;
        if is_latest && is_of_now && !is_held && matches!(what, What::Failed | What::Unknown) {
            self.over += 1;
        }
        self.outcomes.push(said);
    }
}

impl Ledger {
    /// An effect as it was asked for, whether or not it has ended.
    pub(super) fn asked(&self, id: EffectId) -> Option<&Asked> {
        self.effects.get(&id)
    }

    /// An entry was executed, or the time of an op has done what it does; `seen` is what was seen of the application meanwhile, and
    /// `outbox` is what it has become.
    pub(super) fn takes(
        &mut self,
        context: &ApplyContext,
        by: By<'_>,
        seen: &[Seen],
        outbox: &Outbox,
    ) -> Result<(), Violation> {
        match by {
            By::System(SystemEntry::Claim(fence)) => self.fence = self.fence.max(Some(*fence)),
            By::System(SystemEntry::Outcome(report)) => {
                let is_held = self.held.contains_key(&report.id);
                if let Some(asked) = self.effects.get_mut(&report.id) {
                    asked.takes(report, self.fence, is_held);
                }
            }
            By::Operator(OperatorRequest::Redrive { id }) => {
                if let Some(asked) = self.effects.get_mut(id) {
                    (asked.since, asked.again) = (context.timestamp, context.op);
                    (asked.over, asked.before) = (0, asked.outcomes.len());
                }
            }
            _ => {}
        }
        for seen in seen {
            match seen {
                Seen::Asks(id, wish) => self.asks(context, *id, wish.clone())?,
                Seen::Told(id, told) => self.tells(context, by, *id, told)?,
            }
        }
        match by {
            By::System(SystemEntry::Outcome(report)) => self.stands(context, by, report.id, outbox),
            By::Operator(
                OperatorRequest::Redrive { id } | OperatorRequest::Resolve { id, .. } | OperatorRequest::Drop { id },
            ) => self.stands(context, by, *id, outbox),
            // What they do to an effect is to have it parked or given up.
            By::System(SystemEntry::Claim(_)) | By::Time => {
                outbox.held(None).try_for_each(|(id, _)| self.stands(context, by, id, outbox))
            }
            _ => Ok(()),
        }
    }

    fn asks(&mut self, context: &ApplyContext, id: EffectId, wish: Wish) -> Result<(), Violation> {
        let (op, since) = (context.op, context.timestamp);
        if id.op != op || self.effects.contains_key(&id) || self.timers.contains_key(&id) {
            let sentence = format!("what {op} asks for is called {id}, which is not its own name");
            return Err(broken(PROMISE, "two of one name", sentence));
        }
        match wish {
            Wish::Effect { destination, policy, payload } => {
                let (ended, outcomes) = (false, Vec::new());
                let asked =
                    Asked { destination, policy, payload, since, ended, outcomes, before: 0, again: op, over: 0 };
                self.effects.insert(id, asked);
            }
            Wish::Timer { delay_ns, payload } => {
                self.timers.insert(id, (Timestamp(since.0.saturating_add(delay_ns)), payload));
            }
        }
        Ok(())
    }

    /// The application was told something that no client asked for.
    fn tells(&mut self, context: &ApplyContext, by: By<'_>, id: EffectId, told: &Told) -> Result<(), Violation> {
        let op = context.op;
        if let Told::Fired { payload } = told {
            let Some((due, asked)) = self.timers.remove(&id) else {
                let sentence = format!("{op} fires timer {id}, which nobody waits for");
                return Err(broken(PROMISE, "a timer that nobody waits for", sentence));
            };
            if context.timestamp < due || id.op >= op || asked != *payload {
                let sentence = format!(
                    "{op} fires timer {id} at {} ns with {}, and it was to fire at {} ns with {}",
                    context.timestamp.0,
                    Brief(payload),
                    due.0,
                    Brief(&asked)
                );
                return Err(broken(PROMISE, "a timer fires as it was not asked to", sentence));
            }
            return Ok(());
        }
        let Some(asked) = self.effects.get(&id).filter(|asked| !asked.ended) else {
            let sentence = format!("{op} tells the application {told} of effect {id}, which it does not wait for");
            return Err(broken(PROMISE, "told of what was not pending", sentence));
        };
        let is_so = match (told, asked.destination) {
            (Told::Acknowledged, Destination::Emit(_)) => by.done(id).is_some(),
            (Told::Fetched { response }, Destination::Fetch) => by.done(id) == Some(&response[..]),
            (Told::Failed { cause, code }, Destination::Emit(_) | Destination::Fetch) => {
                let fails = *cause == Cause::Dropped || asked.policy.on_exhausted() == OnExhausted::Fail;
                let is_said = *code == 0 || asked.outcomes.iter().any(|said| said.code == *code);
                fails && is_said && self.may_give_up(context, by, id, asked, *cause)
            }
            _ => false,
        };
        if !is_so {
            let sentence = format!(
                "{op} tells the application {told} of effect {id}, by {by}, at {} ns; it was asked for at {} ns: {:?} {:?}, and {} \
                 of its attempts are over",
                context.timestamp.0,
                asked.since.0,
                asked.destination,
                asked.policy,
                asked.over_at_most()
            );
            return Err(broken(PROMISE, "told another end than the log's", sentence));
        }
        self.effects.entry(id).and_modify(|asked| asked.ended = true);
        self.held.remove(&id);
        Ok(())
    }

    /// An effect that something may have been done to: whether it is held, and as its policy has it.
    fn stands(&mut self, context: &ApplyContext, by: By<'_>, id: EffectId, outbox: &Outbox) -> Result<(), Violation> {
        let (Some(entry), Some(asked)) = (outbox.get(id), self.effects.get(&id)) else {
            self.held.remove(&id);
            return Ok(());
        };
        let (op, stage) = (context.op, entry.standing.stage);
        let (Stage::Parked | Stage::Dead(_)) = stage else {
            self.held.remove(&id);
            if asked.over < asked.policy.attempts_max() {
                return Ok(());
            }
            let sentence = format!(
                "after {op} effect {id} is {stage:?}, and {} attempts at it are over, of at most {}",
                asked.over,
                asked.policy.attempts_max()
            );
            return Err(broken(PROMISE, "tried more often than its policy allows", sentence));
        };
        if self.held.get(&id) == Some(&stage) {
            return Ok(());
        }
        let (never_twice, expired) =
            (asked.policy.on_unknown() == OnUnknown::NeverTwice, asked.is_expired(context.timestamp));
        let is_so = match stage {
            Stage::Dead(cause) => {
                asked.policy.on_exhausted() == OnExhausted::DeadLetter
                    && self.may_give_up(context, by, id, asked, cause)
            }
            _ => {
                let by_claim = matches!(by, By::System(SystemEntry::Claim(_)));
                let by_outcome = matches!(by.outcome(id), Some(EffectResult::Unknown { .. }));
                never_twice && (by_claim || by_outcome || matches!(by, By::Time) && expired)
            }
        };
        if !is_so {
            let sentence = format!(
                "after {op} effect {id} is {stage:?}, by {by}, at {} ns; it was asked for at {} ns, {:?}, and {} of its attempts are over",
                context.timestamp.0,
                asked.since.0,
                asked.policy,
                asked.over_at_most()
            );
            return Err(broken(PROMISE, "held for no reason", sentence));
        }
        self.held.insert(id, stage);
        Ok(())
    }

    /// Whether it is by now that an effect is given up for this cause.
    fn may_give_up(&self, context: &ApplyContext, by: By<'_>, id: EffectId, asked: &Asked, cause: Cause) -> bool {
        match cause {
            Cause::Attempts => match by.outcome(id) {
                // What was parked may be known to have failed; its channel has gone on, and it is not tried again.
                Some(EffectResult::Failed { .. }) if self.held.get(&id) == Some(&Stage::Parked) => true,
                Some(EffectResult::Failed { .. } | EffectResult::Unknown { .. }) => {
                    asked.over_at_most() >= asked.policy.attempts_max() as usize
                }
                _ => false,
            },
            Cause::Refused => matches!(by.outcome(id), Some(EffectResult::Refused { .. })),
            Cause::Expired => matches!(by, By::Time) && asked.is_expired(context.timestamp),
            Cause::Dropped => matches!(by, By::Operator(OperatorRequest::Drop { id: dropped }) if *dropped == id),
        }
    }
}

#[cfg(test)]
mod tests;
