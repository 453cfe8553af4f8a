//! Effects: what an application wants done in the world outside, and the names under which it is done.
//!
//! The log decides an effect once; doing it takes the world, where a primary that everybody else has given up may still be
//! at work. So each execution carries two names. The [`EffectId`] follows from the effect's place in the log alone, and
//! is the same for every attempt, by any primary: whoever honours it as an idempotency key does the effect once. The
//! [`FencingToken`] grows from attempt to attempt: whoever refuses one that is lower than the highest that it has seen in
//! the effect's channel keeps superseded attempts out, and so keeps the channel's order.
//!
//! What this deliberately lacks: doing anything. An outbox keeps effects until they are done; a host does them.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    types::{ClusterId, Epoch, Op, View},
    wire::stored::stored,
};

mod policy;

pub use policy::{OnExhausted, OnUnknown, Policy};

stored! { struct EffectId { cluster, op, position, index } }
stored! { struct Fence { epoch, view } }
stored! { struct FencingToken { fence, attempt } }
stored! { struct Channel { 0 } }
stored! { enum Destination { Emit(channel), Fetch, Log(severity) } }
stored! { enum Severity { Debug, Info, Warning, Error } }

/// An effect's or a timer's identity, for ever: its place in the log.
///
/// Neither a view nor an attempt is part of it. Ordered as the log is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct EffectId {
    /// Whose log.
    pub cluster: ClusterId,
    /// The op whose execution asked for the effect.
    pub op: Op,
    /// Which event of that op asked for it, as [`crate::app::application::ApplyContext`] counts them.
    pub position: u32,
    /// Which of the effects and timers that this event asked for, from 0.
    pub index: u32,
}

/// An idempotency key, as services outside are given it: four hexadecimal numbers of a fixed width.
impl fmt::Display for EffectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}-{:08x}-{:08x}", self.cluster.0, self.op.0, self.position, self.index)
    }
}

/// Who may have effects done: the primary of this view, once its claim of the outbox is committed. The later fence wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Fence {
    /// The configuration epoch of the claim.
    pub epoch: Epoch,
    /// The view of the claim.
    pub view: View,
}

/// Which attempt at an effect this is (design rule 9). Within a channel, what is done later bears a greater token.
///
/// An attempt is numbered by the op that made it possible: the op that put the effect at the head of its channel, or that
/// let it be tried again. Such numbers grow along a channel though nothing but the log is kept to tell them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct FencingToken {
    /// Under whose claim.
    pub fence: Fence,
    /// Which attempt.
    pub attempt: Op,
}

/// Fixed width, so that the order of the texts is the order of the tokens.
impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:016x}-{:016x}", self.fence.epoch.0, self.fence.view.0, self.attempt.0)
    }
}

/// What effects are ordered within: those of one channel are done one after another, as they were asked for. Different channels
/// do not wait for each other. The application chooses the numbers; the host knows what service each stands for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Channel(pub u32);

/// How much a line of the log matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Severity {
    /// To whoever looks for a defect.
    Debug,
    /// To whoever wants to know what goes on.
    Info,
    /// To whoever can keep something from going wrong.
    Warning,
    /// To whoever has to mend something.
    Error,
}

/// What an effect does with its payload.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Destination {
    /// Gives it to the service of a channel. The application is told when it was taken.
    Emit(Channel),
    /// Takes it as the address of something to fetch. The application is told what came back. Fetches have no order.
    Fetch,
    /// Writes it as a line into the host's own log, in order. The application is told nothing.
    Log(Severity),
}

/// What one attempt at an effect came to, as the sink tells it. `code` is the sink's own, for operators: an HTTP status,
/// an `errno`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EffectResult {
    /// It took effect, once: now, or at an earlier attempt that the sink remembers.
    Done {
        /// What came back. Of use to a fetch alone.
        response: Vec<u8>,
    },
    /// It certainly did not take effect, and may if it is tried again. A service that refuses a token as too old did
    /// nothing: this is what its refusal is. Of a question it says no more than that there was no answer.
    Failed {
        /// Why.
        code: u32,
    },
    /// It did not take effect and never will. Of a question: it will never be answered.
    Refused {
        /// Why.
        code: u32,
    },
    /// Whether it took effect is unknown: no answer in time, or a connection that broke.
    Unknown {
        /// Why.
        code: u32,
    },
    /// The answer to a question: it did not take effect, and cannot any more under a token older than that of the question.
    NotDone,
}

/// How an effect ended. Of each effect an application is told one end, once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// Which effect.
    pub id: EffectId,
    /// How.
    pub end: End,
}

/// How an effect ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// It was done.
    Acknowledged,
    /// It was fetched.
    Fetched {
        /// What came back.
        response: Vec<u8>,
    },
    /// It was given up.
    Failed {
        /// Why.
        cause: Cause,
        /// What the sink said last, 0 if it never said anything.
        code: u32,
        /// Whether an attempt may have taken effect all the same.
        may_have_run: bool,
    },
}

stored! { enum Cause { Attempts, Refused, Expired, Dropped } }

/// Why an effect was given up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Cause {
    /// It was tried as often as its policy allows.
    Attempts,
    /// The sink will never do it.
    Refused,
    /// Its total time is over.
    Expired,
    /// An operator dropped it.
    Dropped,
}

/// Why a committed entry about an effect changed nothing. None of these is a failure: a log may hold entries of primaries that
/// have been succeeded, and the same entry twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Refusal {
    /// A claim that is no later than the one in force.
    StaleClaim,
    /// There is no such effect: it ended, or never was.
    NoSuchEffect,
    /// The token is not that of the effect's latest start.
    StaleToken,
    /// What it says was known already.
    Repeated,
    /// The effect may not be started now.
    NotReady,
    /// An operator may decide only of what is parked or dead.
    NotHeld,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StaleClaim => "a later primary has claimed the outbox: its claim holds",
            Self::NoSuchEffect => "there is no such effect: it has ended, or its id is wrong",
            Self::StaleToken => "another attempt was begun since: what this one came to no longer counts",
            Self::Repeated => "this was known already: nothing has to be done",
            Self::NotReady => "the effect waits, or is being done: it is not to be started now",
            Self::NotHeld => "the effect is neither parked nor dead: wait for what comes of it",
        })
    }
}

impl core::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn the_texts_that_services_are_given_never_change_and_sort_as_what_they_name() {
        let id = EffectId { cluster: ClusterId(0xc1), op: Op(300), position: 0x8000_0001, index: 2 };
        assert_eq!(id.to_string(), "00000000000000c1-000000000000012c-80000001-00000002");
        let token = |epoch, view, attempt| FencingToken {
            fence: Fence { epoch: Epoch(epoch), view: View(view) },
            attempt: Op(attempt),
        };
        assert_eq!(token(1, 2, 300).to_string(), "00000001-0000000000000002-000000000000012c");
        let rising = [token(0, 9, 999), token(1, 0, 5), token(1, 2, 0), token(1, 2, 16), token(1, 16, 1)];
        assert!(rising.is_sorted_by(|a, b| a < b && a.to_string() < b.to_string()));
    }
}
