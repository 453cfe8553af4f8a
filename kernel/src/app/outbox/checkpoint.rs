//! The outbox in a checkpoint: a head, then the effects in the order of their ids, each a record.
//!
//! Invariant: restoring is total, and gives an outbox that could have come about: whatever follows in the log cannot make it
//! panic. What restores is written as the same records.

use alloc::{collections::BTreeSet, vec::Vec};
use core::ops::Bound;

use serde::{Deserialize, Serialize};

use super::{Entry, Outbox, Stage, Standing};
use crate::{
    app::{
        effect::{EffectId, Fence},
        record,
        room::Limits,
    },
    frame::Frame,
    map::Map,
    storage::snapshot::SnapshotWriter,
    wire::{
        codec::{self, CodecError},
        stored::stored,
    },
};

stored! { struct Head { limits, fence, place_next, entries } }

/// What comes before the effects.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Head {
    limits: Limits,
    fence: Option<Fence>,
    place_next: u64,
    entries: u64,
}

/// Far more places than will ever be taken, and far from overflowing.
const PLACE_MAX: u64 = 1 << 63;

/// An outbox as it was, to be written while the outbox goes on. Costs the same for every outbox.
#[derive(Clone, Debug)]
pub struct Image {
    head: Head,
    entries: Map<EffectId, Entry>,
}

/// An outbox as far as its records were taken.
#[derive(Clone, Default, Debug)]
pub struct Restoring {
    outbox: Option<Outbox>,
    /// How many effects are still to come.
    left: u64,
    /// The effect that came last.
    last: Option<EffectId>,
}

impl Image {
    /// Writes records until the writer wants to pause; called again, it goes on from there.
    pub(in crate::app) fn snapshot(&self, writer: &mut SnapshotWriter) {
        let mut record = Vec::new();
        let written =
            writer.resumed().map(|id| codec::decode::<EffectId>(id).expect("a snapshot pauses behind an effect"));
        if written.is_none() {
            record::put(&mut record, &self.head, &[]);
            writer.record(&record);
        }
        for (id, entry) in self.entries.iter_from(written.as_ref().map_or(Bound::Unbounded, Bound::Excluded)) {
            record.clear();
            record::put(&mut record, &(*id, entry.standing), &entry.payload);
            writer.record(&record);
            if writer.is_full() {
                record.clear();
                codec::encode(id, &mut record);
                return writer.pause(&record);
            }
        }
    }

    /// Frees a part of it: so many nodes. Whether nothing is left to free.
    pub(in crate::app) fn release(&mut self, nodes: u32) -> bool {
        self.entries.release(nodes)
    }
}

impl Restoring {
    /// Whether no record is missing.
    pub const fn is_whole(&self) -> bool {
        self.outbox.is_some() && self.left == 0
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// If it is none of an outbox, or does not follow from those before it.
    ///
    /// # Panics
    /// If none is missing.
    pub fn take(&mut self, mut record: &[u8]) -> Result<(), CodecError> {
        self.take_first(&mut record)?;
        if record.is_empty() { Ok(()) } else { Err(CodecError::Trailing) }
    }

    /// Takes the record that `bytes` begin with.
    fn take_first(&mut self, bytes: &mut &[u8]) -> Result<(), CodecError> {
        assert!(!self.is_whole(), "an outbox has no more records than it says");
        match &mut self.outbox {
            None => {
                let (head, rest) = record::take::<Head>(bytes)?;
                if !rest.is_empty() || head.place_next > PLACE_MAX {
                    return Err(CodecError::Malformed);
                }
                let mut outbox = Outbox::new(head.limits);
                (outbox.fence, outbox.place_next) = (head.fence, head.place_next);
                (self.outbox, self.left) = (Some(outbox), head.entries);
            }
            Some(outbox) => {
                let ((id, standing), payload) = record::take::<(EffectId, Standing)>(bytes)?;
                let rises = self.last < Some(id);
                if !rises || standing.place >= outbox.place_next || outbox.room.take(payload.len()).is_err() {
                    return Err(CodecError::Malformed);
                }
                outbox.attach(id, Entry::new(id, standing, Frame::new(payload.to_vec())));
                (self.left, self.last) = (self.left - 1, Some(id));
            }
        }
        Ok(())
    }

    /// The outbox that all the records are.
    ///
    /// # Errors
    /// If some are missing, or they are those of an outbox that no log brings about.
    pub fn finish(self) -> Result<Outbox, CodecError> {
        let mut outbox = self.outbox.filter(|_| self.left == 0).ok_or(CodecError::Malformed)?;
        outbox.derive()?;
        Ok(outbox)
    }
}

impl Outbox {
    /// Appends all records to `bytes`.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        record::put(bytes, &self.head(), &[]);
        for (id, entry) in &self.entries {
            record::put(bytes, &(*id, entry.standing), &entry.payload);
        }
    }

    /// The outbox that `bytes`, all of them, are.
    ///
    /// # Errors
    /// If they are none, or one that no log brings about.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, CodecError> {
        let mut restoring = Restoring::default();
        while !restoring.is_whole() {
            restoring.take_first(&mut bytes)?;
        }
        if bytes.is_empty() { restoring.finish() } else { Err(CodecError::Trailing) }
    }

    /// All of it as it is now.
    pub(in crate::app) fn image(&self) -> Image {
        Image { head: self.head(), entries: self.entries.clone() }
    }

    fn head(&self) -> Head {
        let entries = self.entries.len() as u64;
        Head { limits: self.room.limits(), fence: self.fence, place_next: self.place_next, entries }
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
