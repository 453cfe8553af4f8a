//! Effects as the application and the outbox know them: how they are tried, how they end, and what is refused of them.
//!
//! Their names, and what a host is asked and tells, are the boundary's: see [`crate::effect`].

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

pub use crate::effect::{
    Channel, Destination, EffectId, EffectOrder, EffectReport, EffectResult, Errand, Fence, FencingToken, Severity,
};
use crate::wire::stored::stored;

/// The code of an attempt of which nothing was heard in time.
pub const TIMED_OUT: u32 = u32::MAX;

/// The code of an effect that was done and whose response is larger than an op may be.
pub const RESPONSE_TOO_LARGE: u32 = u32::MAX - 1;

mod policy;

pub use policy::{OnExhausted, OnUnknown, Policy};

stored! { struct EffectId { cluster, op, position, index } }
stored! { struct Fence { epoch, view } }
stored! { struct FencingToken { fence, attempt } }
stored! { struct Channel { 0 } }
stored! { enum Destination { Emit(channel), Fetch, Log(severity) } }
stored! { enum Severity { Debug, Info, Warning, Error } }

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
