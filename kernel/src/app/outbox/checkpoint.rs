//! The outbox as bytes, for checkpoints: a head, then the effects in the order of their ids.
//!
//! Invariant: decoding is total, and gives an outbox that could have come about: whatever follows in the log cannot make it
//! panic. What decodes, encodes to the same bytes.

use alloc::{collections::BTreeSet, vec::Vec};

use serde::{Deserialize, Serialize};

use super::{Entry, Outbox, Stage, Standing};
use crate::{
    app::{
        effect::{EffectId, Fence},
        record,
        room::Limits,
    },
    frame::Frame,
    wire::{codec::CodecError, stored::stored},
};

stored! { struct Head { limits, fence, place_next, entries } }

/// What comes before the effects.
#[derive(Serialize, Deserialize)]
struct Head {
    limits: Limits,
    fence: Option<Fence>,
    place_next: u64,
    entries: u64,
}

/// Far more places than will ever be taken, and far from overflowing.
const PLACE_MAX: u64 = 1 << 63;

impl Outbox {
    /// Appends all of it to `bytes`.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        let head = Head {
            limits: self.room.limits(),
            fence: self.fence,
            place_next: self.place_next,
            entries: self.entries.len() as u64,
        };
        record::put(bytes, &head, &[]);
        for (id, entry) in &self.entries {
            record::put(bytes, &(*id, entry.standing), &entry.payload);
        }
    }

    /// The outbox that `bytes`, all of them, are.
    ///
    /// # Errors
    /// If they are none, or one that no log brings about.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, CodecError> {
        let (head, rest) = record::take::<Head>(&mut bytes)?;
        if !rest.is_empty() || head.place_next > PLACE_MAX {
            return Err(CodecError::Malformed);
        }
        let mut outbox = Self::new(head.limits);
        (outbox.fence, outbox.place_next) = (head.fence, head.place_next);
        for _ in 0..head.entries {
            let ((id, standing), payload) = record::take::<(EffectId, Standing)>(&mut bytes)?;
            let rising = outbox.entries.last_key_value().is_none_or(|(last, _)| *last < id);
            if !rising || standing.place >= head.place_next || outbox.room.take(payload.len()).is_err() {
                return Err(CodecError::Malformed);
            }
            outbox.attach(id, Entry::new(id, standing, Frame::new(payload.to_vec())));
        }
        if !bytes.is_empty() {
            return Err(CodecError::Trailing);
        }
        outbox.derive()?;
        Ok(outbox)
    }

    /// Finds what is first of each lane, and whether each effect can stand as it does.
    fn derive(&mut self) -> Result<(), CodecError> {
        for id in self.lanes.values().filter_map(|effects| effects.values().next()) {
            if self.entries[id].standing.stage == Stage::Ready {
                self.ready.insert(*id);
            }
        }
        let mut places = BTreeSet::new();
        for (id, entry) in &self.entries {
            let standing = &entry.standing;
            if !places.insert(standing.place) {
                return Err(CodecError::Malformed);
            }
            let lane = self.lanes.get(&standing.lane(*id));
            let is_first = lane.and_then(|effects| effects.values().next()) == Some(id);
            if !standing.is_sound(self.fence, is_first) {
                return Err(CodecError::Malformed);
            }
        }
        Ok(())
    }
}
