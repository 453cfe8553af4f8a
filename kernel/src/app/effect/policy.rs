//! How an effect is tried: how often, how long, and what follows when that is over or nobody knows.
//!
//! Invariant: a policy can be followed. At least one attempt, none of no time at all, and a first delay that is no longer than
//! the last. It is stored with its effect, so that a later version of the application changes nothing for effects under way.

use serde::{Deserialize, Serialize};

use crate::wire::stored::stored;

const MILLISECOND_NS: u64 = 1_000_000;
const SECOND_NS: u64 = 1000 * MILLISECOND_NS;

stored! { enum OnUnknown { RunAgain, NeverTwice, AskFirst } }
stored! { enum OnExhausted { DeadLetter, Fail } }
stored! { struct Policy {
    attempts_max, attempt_timeout_ns, total_timeout_ns, backoff_min_ns, backoff_max_ns, on_unknown, on_exhausted,
} }

/// What is done when nobody knows whether an attempt took effect: its primary is gone, or no answer came in time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum OnUnknown {
    /// It is run again. For a sink that honours ids, and for effects that do no harm twice.
    RunAgain,
    /// It is never run twice. That it is about to be run is committed first; if nobody knows what came of it, it is parked
    /// for an operator, or for the sink's late answer.
    NeverTwice,
    /// That it is about to be run is committed first; if nobody knows what came of it, the sink is asked, and it is run again
    /// only if the sink says that it has not happened.
    AskFirst,
}

/// What is done with an effect that was tried as often and as long as it may be, or that the sink refuses for good.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum OnExhausted {
    /// It stays in the outbox as a dead letter, which an operator runs again, resolves or drops. Its channel goes on
    /// without it, and the application is told of no end before there is one.
    DeadLetter,
    /// It leaves the outbox, and the application is told that it failed.
    Fail,
}

/// How an effect is tried. Durations are in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Policy {
    attempts_max: u32,
    attempt_timeout_ns: u64,
    total_timeout_ns: u64,
    backoff_min_ns: u64,
    backoff_max_ns: u64,
    on_unknown: OnUnknown,
    on_exhausted: OnExhausted,
}

impl Policy {
    /// For what a service has to be given: up to 20 attempts of 30 seconds within a day, run again when in doubt, and a
    /// dead letter in the end.
    pub const EMIT: Self = Self {
        attempts_max: 20,
        attempt_timeout_ns: 30 * SECOND_NS,
        total_timeout_ns: 24 * 3600 * SECOND_NS,
        backoff_min_ns: 100 * MILLISECOND_NS,
        backoff_max_ns: 300 * SECOND_NS,
        on_unknown: OnUnknown::RunAgain,
        on_exhausted: OnExhausted::DeadLetter,
    };

    /// For what the application waits for: up to 5 attempts of 10 seconds within a minute, run again when in doubt, and
    /// failed in the end.
    pub const FETCH: Self = Self {
        attempts_max: 5,
        attempt_timeout_ns: 10 * SECOND_NS,
        total_timeout_ns: 60 * SECOND_NS,
        backoff_min_ns: 100 * MILLISECOND_NS,
        backoff_max_ns: 10 * SECOND_NS,
        on_unknown: OnUnknown::RunAgain,
        on_exhausted: OnExhausted::Fail,
    };

    /// For a line of the host's log: up to 3 attempts of a second within a minute, and forgotten in the end.
    pub const LOG: Self = Self {
        attempts_max: 3,
        attempt_timeout_ns: SECOND_NS,
        total_timeout_ns: 60 * SECOND_NS,
        backoff_min_ns: 100 * MILLISECOND_NS,
        backoff_max_ns: SECOND_NS,
        on_unknown: OnUnknown::RunAgain,
        on_exhausted: OnExhausted::Fail,
    };

    /// The same with so many attempts, at least one.
    pub const fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts_max = if attempts == 0 { 1 } else { attempts };
        self
    }

    /// The same, an attempt without an answer in so many nanoseconds being given up as unknown.
    pub const fn with_attempt_timeout(mut self, timeout_ns: u64) -> Self {
        self.attempt_timeout_ns = if timeout_ns == 0 { 1 } else { timeout_ns };
        self
    }

    /// The same, given up so many nanoseconds of the log's time after it was asked for. `u64::MAX` is never.
    pub const fn with_total_timeout(mut self, timeout_ns: u64) -> Self {
        self.total_timeout_ns = if timeout_ns == 0 { 1 } else { timeout_ns };
        self
    }

    /// The same, waiting so many nanoseconds of the log's time before the second attempt, then twice as long each time up
    /// to `max_ns`.
    pub const fn with_backoff(mut self, min_ns: u64, max_ns: u64) -> Self {
        self.backoff_min_ns = if min_ns == 0 { 1 } else { min_ns };
        self.backoff_max_ns = if max_ns < self.backoff_min_ns { self.backoff_min_ns } else { max_ns };
        self
    }

    /// The same with another meaning of an unknown outcome.
    pub const fn with_unknown(mut self, on_unknown: OnUnknown) -> Self {
        self.on_unknown = on_unknown;
        self
    }

    /// The same with another end.
    pub const fn with_exhausted(mut self, on_exhausted: OnExhausted) -> Self {
        self.on_exhausted = on_exhausted;
        self
    }

    /// How often it is tried.
    pub const fn attempts_max(&self) -> u32 {
        self.attempts_max
    }

    /// How long one attempt may take, in nanoseconds of the primary's monotonic clock.
    pub const fn attempt_timeout_ns(&self) -> u64 {
        self.attempt_timeout_ns
    }

    /// How long all of it may take, in nanoseconds of the log's time.
    pub const fn total_timeout_ns(&self) -> u64 {
        self.total_timeout_ns
    }

    /// What an unknown outcome means.
    pub const fn on_unknown(&self) -> OnUnknown {
        self.on_unknown
    }

    /// What comes when it is given up.
    pub const fn on_exhausted(&self) -> OnExhausted {
        self.on_exhausted
    }

    /// Whether an attempt is committed before it is begun.
    pub const fn is_guarded(&self) -> bool {
        !matches!(self.on_unknown, OnUnknown::RunAgain)
    }

    /// How long to wait after so many attempts that failed, in nanoseconds of the log's time.
    pub const fn backoff_ns(&self, attempts: u32) -> u64 {
        let doublings = attempts.saturating_sub(1);
        let waiting =
            if doublings <= self.backoff_min_ns.leading_zeros() { self.backoff_min_ns << doublings } else { u64::MAX };
        if waiting < self.backoff_max_ns { waiting } else { self.backoff_max_ns }
    }

    /// Whether it can be followed. Made by the functions above it can be; decoded it may be anything.
    pub(crate) const fn is_sound(&self) -> bool {
        self.attempts_max > 0
            && self.attempt_timeout_ns > 0
            && self.total_timeout_ns > 0
            && self.backoff_min_ns > 0
            && self.backoff_min_ns <= self.backoff_max_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_whatever_the_numbers() {
        let policy = Policy::EMIT.with_backoff(3, 20);
        let delays: [u64; 6] = core::array::from_fn(|i| policy.backoff_ns(i as u32));
        assert_eq!(delays, [3, 3, 6, 12, 20, 20]);
        assert_eq!(policy.backoff_ns(u32::MAX), 20);
        let longest = Policy::EMIT.with_backoff(1, u64::MAX);
        assert_eq!((longest.backoff_ns(64), longest.backoff_ns(65)), (1 << 63, u64::MAX));
        assert_eq!(Policy::EMIT.with_backoff(u64::MAX, 0).backoff_ns(2), u64::MAX);
    }

    #[test]
    fn no_policy_that_can_be_made_is_unsound() {
        for policy in [Policy::EMIT, Policy::FETCH, Policy::LOG] {
            assert!(policy.is_sound());
            let least = policy.with_attempts(0).with_attempt_timeout(0).with_total_timeout(0).with_backoff(0, 0);
            assert!(least.is_sound(), "{least:?}");
        }
    }
}
