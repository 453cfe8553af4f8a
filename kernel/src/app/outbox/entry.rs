//! One effect in the outbox: what it is, where it stands, and what follows from that alone.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::{
    app::effect::{Cause, Destination, EffectId, Fence, FencingToken, OnExhausted, OnUnknown, Policy, Severity},
    digest::{EntryHash, EntryHasher},
    frame::Frame,
    types::{Op, Timestamp},
    wire::{codec, stored::stored},
};

stored! { enum Stage { Ready, Delayed(until), Started, Parked, Dead(cause) } }
stored! { struct Standing {
    destination, policy, place, expires_at, attempt, attempts, started, asks, may_have_run, code, stage,
} }

/// Where an effect stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Stage {
    /// It is to be done when the ones before it are. The first of its channel may be under way, unless an attempt is
    /// committed before it is begun.
    Ready,
    /// It is tried again at this time of the log.
    Delayed(Timestamp),
    /// A start is committed: it is under way, or was when its primary was lost.
    Started,
    /// Nobody knows whether it was done, and it is never run twice.
    Parked,
    /// It was given up, and waits for an operator.
    Dead(Cause),
}

/// All that is kept of an effect but its payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Standing {
    /// What is done with the payload.
    pub destination: Destination,
    /// How it is tried.
    pub policy: Policy,
    /// Its place among all effects, by which those of one channel are ordered.
    pub place: u64,
    /// When it is given up, in the log's time.
    pub expires_at: Timestamp,
    /// What numbers the latest attempt, see [`FencingToken`].
    pub attempt: Op,
    /// How many attempts are over, since an operator last ran it again: failed, refused, or given up without knowing. What a lost
    /// primary had under way is counted if it is not tried again.
    pub attempts: u32,
    /// The latest start that was committed, for as long as its outcome is open. Of an effect that needs none, the attempt that
    /// was given up as unknown, until there is another: its late outcome counts whatever is claimed meanwhile.
    pub started: Option<FencingToken>,
    /// Whether the next attempt asks whether it was done, and does not do it.
    pub asks: bool,
    /// Whether an attempt whose outcome is unknown may have done it.
    pub may_have_run: bool,
    /// What the sink said last.
    pub code: u32,
    /// Where it stands.
    pub stage: Stage,
}

/// An effect in the outbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// All but the payload.
    pub standing: Standing,
    /// What is emitted, fetched or logged.
    pub payload: Frame,
    /// Of the id and all of the above, as it went into the digest.
    pub(super) hash: EntryHash,
}

/// What keeps order among effects.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Lane {
    Destination(Destination),
    /// Nothing: an effect by itself.
    Alone(EffectId),
}

impl Standing {
    /// Whether it is in its lane, where the first one is done and the others wait.
    pub(super) const fn is_live(&self) -> bool {
        matches!(self.stage, Stage::Ready | Stage::Delayed(_) | Stage::Started)
    }

    /// Whether it waits for an operator.
    pub(super) const fn is_held(&self) -> bool {
        matches!(self.stage, Stage::Parked | Stage::Dead(_))
    }

    /// When the log's time does something to it.
    pub(super) fn alarm(&self) -> Option<Timestamp> {
        let alarm = match self.stage {
            Stage::Ready | Stage::Started => self.expires_at,
            Stage::Delayed(until) => until.min(self.expires_at),
            Stage::Parked if self.policy.on_exhausted() == OnExhausted::Fail => self.expires_at,
            Stage::Parked | Stage::Dead(_) => return None,
        };
        // The end of time does not come.
        (alarm.0 < u64::MAX).then_some(alarm)
    }

    pub(super) const fn lane(&self, id: EffectId) -> Lane {
        match self.destination {
            Destination::Emit(_) => Lane::Destination(self.destination),
            // Lines keep order whatever they matter.
            Destination::Log(_) => Lane::Destination(Destination::Log(Severity::Debug)),
            Destination::Fetch => Lane::Alone(id),
        }
    }

    /// Whether, as the first of its lane, it is done under a claim without a start of its own.
    pub(super) const fn runs_unguarded(&self) -> bool {
        self.asks || !self.policy.is_guarded()
    }

    /// The delay is over. An attempt under a claim is to come, which takes the place of one before it that needed no start.
    pub(super) fn try_again(&mut self) {
        self.stage = Stage::Ready;
        if !self.policy.is_guarded() {
            self.started = None;
        }
    }

    /// The attempt under way is over, nobody knows what it came to, and it is never run twice.
    pub(super) fn park(&mut self) {
        self.attempts += 1;
        self.stage = Stage::Parked;
    }

    /// The latest attempt ended, and certainly did nothing; nobody knows a token of what comes next.
    pub(super) fn settle_attempt(&mut self, op: Op, code: u32) {
        self.attempt = op;
        self.started = None;
        self.asks = false;
        self.code = code;
        if self.policy.is_guarded() {
            // No attempt is made before the one before it is known to have done nothing.
            self.may_have_run = false;
        }
    }

    /// Whether it can stand so, under this claim, as the first of its lane or behind others.
    pub(super) fn is_sound(&self, fence: Option<Fence>, is_first: bool) -> bool {
        let guarded = self.policy.is_guarded();
        let never_twice = self.policy.on_unknown() == OnUnknown::NeverTwice;
        let asks = !self.asks || self.policy.on_unknown() == OnUnknown::AskFirst && self.started.is_some();
        // What is under way no more, and nobody knows the outcome of.
        let unknown = self.started.is_some() && self.stage != Stage::Started;
        let kept = match self.stage {
            // A start whose outcome is open is asked about.
            Stage::Ready if guarded => self.asks,
            Stage::Delayed(_) if guarded => self.asks,
            Stage::Ready => false,
            Stage::Delayed(_) | Stage::Started | Stage::Parked | Stage::Dead(_) => true,
        };
        let started = self.started.is_none_or(|started| kept && fence.is_some_and(|fence| started.fence <= fence));
        let stage = match self.stage {
            Stage::Ready => true,
            Stage::Delayed(_) => is_first,
            Stage::Started => {
                let token = fence.map(|fence| FencingToken { fence, attempt: self.attempt });
                guarded && is_first && token.is_some() && self.started == token && !self.asks
            }
            Stage::Parked => never_twice && self.started.is_some(),
            Stage::Dead(_) => self.policy.on_exhausted() == OnExhausted::DeadLetter,
        };
        let attempts = match self.stage {
            Stage::Parked | Stage::Dead(_) => self.attempts <= self.policy.attempts_max(),
            _ => self.attempts < self.policy.attempts_max(),
        };
        self.policy.is_sound() && asks && (!unknown || self.may_have_run) && started && stage && attempts
    }
}

impl Entry {
    pub(super) fn new(id: EffectId, standing: Standing, payload: Frame) -> Self {
        let mut entry = Self { standing, payload, hash: EntryHasher::new().finish() };
        entry.rehash(id);
        entry
    }

    /// To be called after every change.
    pub(super) fn rehash(&mut self, id: EffectId) {
        // By the codec, so that a field that is added later is hashed too.
        let mut standing = Vec::with_capacity(192);
        codec::encode(&self.standing, &mut standing);
        self.hash = EntryHasher::new()
            .number(id.cluster.0)
            .number(id.op.0)
            .number(u64::from(id.position) << 32 | u64::from(id.index))
            .bytes(&standing)
            .bytes(&self.payload)
            .finish();
    }
}
