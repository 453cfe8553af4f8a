//! What the primary itself puts into the log: entries about effects, which no client asked for.
//!
//! ```text
//!   a record (see `record`): what it is, by the codec; behind it the response, of an outcome that has one
//! ```
//!
//! Invariant: decoding is total, and what decodes encodes to the same bytes. An entry is judged when it is executed, on every
//! replica alike: nothing rests on whose it is.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::{
    app::{
        effect::{EffectId, EffectReport, EffectResult, Fence, FencingToken},
        record,
    },
    wire::{codec::CodecError, stored::stored},
};

stored! { enum Head { Claim(fence), Start(attempt), Outcome(outcome) } }
stored! { struct Attempt { id, token } }
stored! { struct OutcomeHead { attempt, kind, code } }
stored! { enum ResultKind { Done, Failed, Refused, Unknown, NotDone } }

/// An entry of the log that no client asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SystemEntry {
    /// A primary claims the outbox: what is done from here on is done under its fence.
    Claim(Fence),
    /// An attempt is about to be made.
    Start {
        /// At which effect.
        id: EffectId,
        /// Which attempt.
        token: FencingToken,
    },
    /// An attempt came to something.
    Outcome(EffectReport),
}

#[derive(Serialize, Deserialize)]
enum Head {
    Claim(Fence),
    Start(Attempt),
    Outcome(OutcomeHead),
}

#[derive(Serialize, Deserialize)]
struct Attempt {
    id: EffectId,
    token: FencingToken,
}

#[derive(Serialize, Deserialize)]
struct OutcomeHead {
    attempt: Attempt,
    kind: ResultKind,
    code: u32,
}

#[derive(Serialize, Deserialize)]
enum ResultKind {
    Done,
    Failed,
    Refused,
    Unknown,
    NotDone,
}

impl SystemEntry {
    /// What an entry takes beside a response, in bytes, at most.
    pub const OVERHEAD_MAX: usize = 128;

    /// Appends it to `bytes`.
    ///
    /// # Panics
    /// If a response is 4 GiB or more.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Claim(fence) => record::put(bytes, &Head::Claim(*fence), &[]),
            Self::Start { id, token } => record::put(bytes, &Head::Start(Attempt { id: *id, token: *token }), &[]),
            Self::Outcome(EffectReport { id, token, result }) => {
                let (kind, code, response) = match result {
                    EffectResult::Done { response } => (ResultKind::Done, 0, &response[..]),
                    EffectResult::Failed { code } => (ResultKind::Failed, *code, &[][..]),
                    EffectResult::Refused { code } => (ResultKind::Refused, *code, &[][..]),
                    EffectResult::Unknown { code } => (ResultKind::Unknown, *code, &[][..]),
                    EffectResult::NotDone => (ResultKind::NotDone, 0, &[][..]),
                };
                let attempt = Attempt { id: *id, token: *token };
                record::put(bytes, &Head::Outcome(OutcomeHead { attempt, kind, code }), response);
            }
        }
    }

    /// The entry that `bytes`, all of them, are.
    ///
    /// # Errors
    /// If they are none.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, CodecError> {
        let (head, response) = record::take::<Head>(&mut bytes)?;
        if !bytes.is_empty() {
            return Err(CodecError::Trailing);
        }
        match head {
            Head::Claim(fence) if response.is_empty() => Ok(Self::Claim(fence)),
            Head::Start(Attempt { id, token }) if response.is_empty() => Ok(Self::Start { id, token }),
            Head::Outcome(OutcomeHead { attempt: Attempt { id, token }, kind, code }) => {
                let result = match (kind, code) {
                    (ResultKind::Done, 0) => EffectResult::Done { response: response.to_vec() },
                    _ if !response.is_empty() => return Err(CodecError::Malformed),
                    (ResultKind::Failed, code) => EffectResult::Failed { code },
                    (ResultKind::Refused, code) => EffectResult::Refused { code },
                    (ResultKind::Unknown, code) => EffectResult::Unknown { code },
                    (ResultKind::NotDone, 0) => EffectResult::NotDone,
                    _ => return Err(CodecError::Malformed),
                };
                Ok(Self::Outcome(EffectReport { id, token, result }))
            }
            _ => Err(CodecError::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;
    use crate::types::{ClusterId, Epoch, Op, View};

    const ID: EffectId = EffectId { cluster: ClusterId(1), op: Op(2), position: 3, index: 4 };
    const FENCE: Fence = Fence { epoch: Epoch(5), view: View(6) };
    const TOKEN: FencingToken = FencingToken { fence: FENCE, attempt: Op(7) };

    fn all() -> Vec<SystemEntry> {
        let outcome = |result| SystemEntry::Outcome(EffectReport { id: ID, token: TOKEN, result });
        vec![
            SystemEntry::Claim(FENCE),
            SystemEntry::Start { id: ID, token: TOKEN },
            outcome(EffectResult::Done { response: vec![] }),
            outcome(EffectResult::Done { response: vec![1, 2, 3] }),
            outcome(EffectResult::Failed { code: 8 }),
            outcome(EffectResult::Refused { code: 9 }),
            outcome(EffectResult::Unknown { code: 10 }),
            outcome(EffectResult::NotDone),
        ]
    }

    fn encoded(entry: &SystemEntry) -> Vec<u8> {
        let mut bytes = Vec::new();
        entry.encode(&mut bytes);
        bytes
    }

    #[test]
    fn every_entry_decodes_as_it_was_encoded_and_none_in_part() {
        for entry in all() {
            let mut bytes = encoded(&entry);
            assert_eq!(SystemEntry::decode(&bytes).as_ref(), Ok(&entry));
            let response = match &entry {
                SystemEntry::Outcome(EffectReport { result: EffectResult::Done { response }, .. }) => response.len(),
                _ => 0,
            };
            assert!(bytes.len() - response <= SystemEntry::OVERHEAD_MAX, "{entry:?} takes {} bytes", bytes.len());
            for length in 0..bytes.len() {
                assert!(SystemEntry::decode(&bytes[..length]).is_err(), "{entry:?} of {length} bytes");
            }
            bytes.push(0);
            assert_eq!(SystemEntry::decode(&bytes), Err(CodecError::Trailing));
        }
    }

    #[test]
    fn whichever_bit_is_flipped_it_is_an_error_or_encodes_to_the_same_bytes() {
        for entry in all() {
            let bytes = encoded(&entry);
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let Ok(decoded) = SystemEntry::decode(&flipped) else { continue };
                assert_ne!(decoded, entry, "bit {bit}");
                assert_eq!(encoded(&decoded), flipped, "bit {bit}");
            }
        }
    }
}
