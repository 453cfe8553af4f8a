//! What an operator asks of the outbox, and is answered: effects that are parked or dead, listed, run again, resolved, dropped.
//!
//! Each is a request in the log as any client's is, in a session, so that it is executed once and answered once; but it is executed by
//! the executor itself and not by the application, which is told of what ended by it. Invariant: decoding is total, and what
//! decodes encodes to the same bytes.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    app::{
        application::Rejection,
        effect::{Destination, EffectId, Refusal},
        outbox::{Entry, Outbox, Stage},
        record,
    },
    wire::{
        codec::{self, CodecError},
        stored::stored,
    },
};

/// The longest answer to an operator, in bytes.
pub const OPERATOR_ANSWER_MAX: u32 = 1024;

/// How many effects a page lists at most.
pub const PAGE_LENGTH_MAX: usize = 8;

/// How much of its payload a listed effect comes with.
pub const PREVIEW_SIZE_MAX: usize = 32;

stored! { enum Head { List(after), Redrive(id), Resolve(id), Drop(id) } }
stored! { struct Held { id, destination, stage, attempts, code, may_have_run, payload_size, preview } }
stored! { struct Page { effects, more } }

/// What an operator asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OperatorRequest {
    /// The first effects that wait for an operator, after this one if one is given. The answer is a [`Page`].
    List {
        /// The last that was seen.
        after: Option<EffectId>,
    },
    /// Have it tried again from the beginning, behind whatever its channel holds by now: see [`Outbox::redrive`].
    Redrive {
        /// Which.
        id: EffectId,
    },
    /// It was done, and this came back.
    Resolve {
        /// Which.
        id: EffectId,
        /// What came back, of a fetch.
        response: Vec<u8>,
    },
    /// Give it up for good.
    Drop {
        /// Which.
        id: EffectId,
    },
}

#[derive(Serialize, Deserialize)]
enum Head {
    List(Option<EffectId>),
    Redrive(EffectId),
    Resolve(EffectId),
    Drop(EffectId),
}

/// An effect that waits for an operator.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Held {
    /// Which.
    pub id: EffectId,
    /// Where it was to go.
    pub destination: Destination,
    /// Whether it is parked or dead, and why.
    pub stage: Stage,
    /// How many attempts are over: failed, refused, or given up without knowing.
    pub attempts: u32,
    /// What the sink said last.
    pub code: u32,
    /// Whether it may have been done all the same.
    pub may_have_run: bool,
    /// The bytes of its payload.
    pub payload_size: u32,
    /// The first of them.
    #[serde(deserialize_with = "codec::bounded::<_, _, PREVIEW_SIZE_MAX>")]
    pub preview: Vec<u8>,
}

/// Some of the effects that wait for an operator, in the order of their ids.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Page {
    /// These.
    #[serde(deserialize_with = "codec::bounded::<_, _, PAGE_LENGTH_MAX>")]
    pub effects: Vec<Held>,
    /// Whether there are more after them.
    pub more: bool,
}

impl OperatorRequest {
    /// Appends it to `bytes`.
    ///
    /// # Panics
    /// If a response is 4 GiB or more.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::List { after } => record::put(bytes, &Head::List(*after), &[]),
            Self::Redrive { id } => record::put(bytes, &Head::Redrive(*id), &[]),
            Self::Resolve { id, response } => record::put(bytes, &Head::Resolve(*id), response),
            Self::Drop { id } => record::put(bytes, &Head::Drop(*id), &[]),
        }
    }

    /// The request that `bytes`, all of them, are.
    ///
    /// # Errors
    /// If they are none.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, CodecError> {
        let (head, response) = record::take::<Head>(&mut bytes)?;
        if !bytes.is_empty() {
            return Err(CodecError::Trailing);
        }
        match head {
            Head::Resolve(id) => Ok(Self::Resolve { id, response: response.to_vec() }),
            _ if !response.is_empty() => Err(CodecError::Malformed),
            Head::List(after) => Ok(Self::List { after }),
            Head::Redrive(id) => Ok(Self::Redrive { id }),
            Head::Drop(id) => Ok(Self::Drop { id }),
        }
    }
}

impl Page {
    /// The first of what an outbox holds for an operator.
    pub fn of(outbox: &Outbox, after: Option<EffectId>) -> Self {
        let mut held = outbox.held(after);
        let effects = held.by_ref().take(PAGE_LENGTH_MAX).map(|(id, entry)| Held::of(id, entry)).collect();
        Self { effects, more: held.next().is_some() }
    }

    /// Appends it to `bytes`.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        codec::encode(self, bytes);
    }

    /// The page that an answer's bytes, all of them, are.
    ///
    /// # Errors
    /// If they are none.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode(bytes)
    }
}

impl Held {
    fn of(id: EffectId, entry: &Entry) -> Self {
        let standing = &entry.standing;
        Self {
            id,
            destination: standing.destination,
            stage: standing.stage,
            attempts: standing.attempts,
            code: standing.code,
            may_have_run: standing.may_have_run,
            payload_size: u32::try_from(entry.payload.len()).unwrap_or(u32::MAX),
            preview: entry.payload.iter().take(PREVIEW_SIZE_MAX).copied().collect(),
        }
    }
}

/// Why an operator's request changed nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OperatorRefusal {
    /// There is no such effect: it ended, or never was.
    NoSuchEffect = 1,
    /// It is neither parked nor dead.
    NotHeld,
    /// It is no operator's request.
    Malformed,
}

impl OperatorRefusal {
    /// The refusal that an answer's code names, if it names one.
    pub const fn from_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Self::NoSuchEffect),
            2 => Some(Self::NotHeld),
            3 => Some(Self::Malformed),
            _ => None,
        }
    }
}

impl From<OperatorRefusal> for Rejection {
    fn from(refusal: OperatorRefusal) -> Self {
        Self::new(refusal as u32)
    }
}

impl From<Refusal> for OperatorRefusal {
    fn from(refusal: Refusal) -> Self {
        if refusal == Refusal::NoSuchEffect { Self::NoSuchEffect } else { Self::NotHeld }
    }
}

impl fmt::Display for OperatorRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchEffect => Refusal::NoSuchEffect.fmt(f),
            Self::NotHeld => Refusal::NotHeld.fmt(f),
            Self::Malformed => f.write_str("no replica of this version understands it: is the program older or newer?"),
        }
    }
}

impl core::error::Error for OperatorRefusal {}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;
    use crate::{
        app::effect::{Cause, Channel},
        types::{ClusterId, Op},
    };

    const ID: EffectId = EffectId { cluster: ClusterId(1), op: Op(2), position: 3, index: 4 };

    #[test]
    fn every_request_decodes_as_it_was_encoded_and_none_in_part_and_no_flipped_bit_makes_a_second_encoding() {
        let encoded = |request: &OperatorRequest| {
            let mut bytes = Vec::new();
            request.encode(&mut bytes);
            bytes
        };
        for request in [
            OperatorRequest::List { after: None },
            OperatorRequest::List { after: Some(ID) },
            OperatorRequest::Redrive { id: ID },
            OperatorRequest::Resolve { id: ID, response: vec![1, 2, 3] },
            OperatorRequest::Drop { id: ID },
        ] {
            let bytes = encoded(&request);
            assert_eq!(OperatorRequest::decode(&bytes).as_ref(), Ok(&request));
            for length in 0..bytes.len() {
                assert!(OperatorRequest::decode(&bytes[..length]).is_err(), "{request:?} of {length} bytes");
            }
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let Ok(decoded) = OperatorRequest::decode(&flipped) else { continue };
                assert_eq!(encoded(&decoded), flipped, "bit {bit}");
            }
        }
    }

    #[test]
    fn the_largest_page_fits_an_answer() {
        let held = Held {
            id: ID,
            destination: Destination::Emit(Channel(1)),
            stage: Stage::Dead(Cause::Refused),
            attempts: 1,
            code: 2,
            may_have_run: true,
            payload_size: 3,
            preview: vec![7; PREVIEW_SIZE_MAX],
        };
        let page = Page { effects: vec![held; PAGE_LENGTH_MAX], more: true };
        let mut bytes = Vec::new();
        page.encode(&mut bytes);
        assert!(bytes.len() <= OPERATOR_ANSWER_MAX as usize, "{} bytes", bytes.len());
        assert_eq!(Page::decode(&bytes), Ok(page));
    }

    #[test]
    fn refusals_have_their_numbers_and_others_are_none() {
        for code in 0..9 {
            assert!(OperatorRefusal::from_code(code).is_none_or(|refusal| Rejection::from(refusal).code == code));
        }
        assert_eq!((1..4).filter_map(OperatorRefusal::from_code).count(), 3);
    }
}
