//! Effects as the boundary knows them: what a process wants done in the world outside, and the names under which it is done.
//!
//! A process decides an effect once; doing it takes the world, where a process that everybody else has given up may still be
//! at work. So each execution carries two names. The [`EffectId`] follows from the effect's place in the log alone, and
//! is the same for every attempt, by any primary: whoever honours it as an idempotency key does the effect once. The
//! [`FencingToken`] grows from attempt to attempt: whoever refuses one that is lower than the highest that it has seen in
//! the effect's channel keeps superseded attempts out, and so keeps the channel's order.
//!
//! What this deliberately lacks: doing anything. A process asks with an [`EffectOrder`], a host has it done and tells what it
//! came to with an [`EffectReport`].

use alloc::{string::ToString, vec::Vec};
use core::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    frame::Frame,
    types::{ClusterId, Epoch, Op, View},
};

/// An effect's or a timer's identity, for ever: its place in the log.
///
/// Neither a view nor an attempt is part of it. Ordered as the log is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct EffectId {
    /// Whose log.
    pub cluster: ClusterId,
    /// The op whose execution asked for the effect.
    pub op: Op,
    /// Which event of that op asked for it, as the application's context counts them.
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

/// As it is displayed, and in no other way.
impl FromStr for EffectId {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let [cluster, op, position, index] = numbers(text)?;
        let id = Self { cluster: ClusterId(cluster), op: Op(op), position: narrow(position)?, index: narrow(index)? };
        if id.to_string() == text { Ok(id) } else { Err(ParseNameError) }
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

/// As it is displayed, and in no other way.
impl FromStr for FencingToken {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let [epoch, view, attempt] = numbers(text)?;
        let fence = Fence { epoch: Epoch(narrow(epoch)?), view: View(view) };
        let token = Self { fence, attempt: Op(attempt) };
        if token.to_string() == text { Ok(token) } else { Err(ParseNameError) }
    }
}

/// A text that names no effect, or no attempt at one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParseNameError;

impl fmt::Display for ParseNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hexadecimal numbers with dashes between them, as effects are listed with")
    }
}

impl core::error::Error for ParseNameError {}

/// So many numbers with dashes between them.
fn numbers<const COUNT: usize>(text: &str) -> Result<[u64; COUNT], ParseNameError> {
    let (mut numbers, mut parts) = ([0; COUNT], text.split('-'));
    for number in &mut numbers {
        let part = parts.next().ok_or(ParseNameError)?;
        *number = u64::from_str_radix(part, 16).map_err(|_| ParseNameError)?;
    }
    if parts.next().is_none() { Ok(numbers) } else { Err(ParseNameError) }
}

fn narrow(number: u64) -> Result<u32, ParseNameError> {
    u32::try_from(number).map_err(|_| ParseNameError)
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

/// An attempt at an effect that a process asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EffectOrder {
    /// Which effect: an idempotency key.
    pub id: EffectId,
    /// Which attempt.
    pub token: FencingToken,
    /// Whether to do it, or only to find out whether it was done.
    pub errand: Errand,
    /// What to do with the payload.
    pub destination: Destination,
    /// What is emitted, fetched or logged.
    pub payload: Frame,
    /// After so many nanoseconds of its monotonic clock the process gives the attempt up, as one of which nobody knows what it
    /// came to. What is heard of it later may still be of use.
    pub timeout_ns: u64,
}

/// What a sink is to do about an effect.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Errand {
    /// Do it.
    Run,
    /// Find out whether it was done, and do nothing: see [`EffectResult::NotDone`].
    Ask,
}

/// What an attempt came to, for the process that asked for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EffectReport {
    /// Which effect.
    pub id: EffectId,
    /// Which attempt.
    pub token: FencingToken,
    /// What it came to.
    pub result: EffectResult,
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn a_name_is_read_as_it_is_written_and_in_no_other_way() {
        let id = EffectId { cluster: ClusterId(u64::MAX), op: Op(300), position: 0x8000_0001, index: 2 };
        let token = FencingToken { fence: Fence { epoch: Epoch(1), view: View(2) }, attempt: Op(300) };
        assert_eq!((id.to_string().parse(), token.to_string().parse()), (Ok(id), Ok(token)));
        for (wrong, right) in [("f", "F"), ("-", "--"), ("0", ""), ("0", "+"), ("ffff", "1ffff"), ("8", "18")] {
            let text = id.to_string().replacen(wrong, right, 1);
            assert_eq!(text.parse::<EffectId>(), Err(ParseNameError), "{text}");
        }
        for text in ["", "-", "1-2-3", "1-2-3-4", "1-2-3-4-5"] {
            assert_eq!(
                (text.parse::<EffectId>(), text.parse::<FencingToken>()),
                (Err(ParseNameError), Err(ParseNameError))
            );
        }
    }
}
