//! Timers: what an application wants to be told later. Replicated state.
//!
//! Invariant: a timer fires once, as an event, in the first op whose time is not before its own, and before whatever else is in
//! that op. At one op timers fire in the order of their times, and of one time in the order in which they were asked for:
//! on every replica alike, because the log's time is the only one that there is.
//!
//! What this deliberately lacks: cancelling. An application that no longer cares for a timer does nothing when it fires.

use alloc::vec::Vec;
use core::ops::Bound;

use serde::{Deserialize, Serialize};

use crate::{
    app::{
        effect::EffectId,
        record,
        room::{Limits, Room},
    },
    digest::{EntryHash, EntryHasher, SetDigest},
    frame::Frame,
    map::Map,
    storage::snapshot::SnapshotWriter,
    types::{Checksum, Timestamp},
    wire::{
        codec::{self, CodecError},
        stored::stored,
    },
};

stored! { struct Head { limits, entries } }

/// All timers that have not fired.
#[derive(Clone, Debug)]
pub struct Timers {
    room: Room,
    entries: Map<Key, (Frame, EntryHash)>,
    digest: SetDigest,
}

/// When a timer is due, and which it is: their order is that in which timers fire.
type Key = (Timestamp, EffectId);

/// The timers as they were, to be written while the timers go on. Costs the same for all.
#[derive(Clone, Debug)]
pub struct Image {
    head: Head,
    entries: Map<Key, (Frame, EntryHash)>,
}

/// Timers as far as their records were taken.
#[derive(Clone, Default, Debug)]
pub struct Restoring {
    timers: Option<Timers>,
    /// How many are still to come.
    left: u64,
    /// The one that came last.
    last: Option<Key>,
}

/// A timer that fires.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Firing {
    /// Which.
    pub id: EffectId,
    /// When it was due, in the log's time.
    pub due: Timestamp,
    /// What the application gave it.
    pub payload: Frame,
}

/// What comes before the timers in a checkpoint.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Head {
    limits: Limits,
    entries: u64,
}

impl Timers {
    /// No timers yet.
    pub const fn new(limits: Limits) -> Self {
        Self { room: Room::new(limits), entries: Map::new(), digest: SetDigest::new() }
    }

    /// An event at `now` asks to be told `payload` so many nanoseconds of the log's time later: after this op in any case, and
    /// at the end of time at the latest.
    ///
    /// # Panics
    /// If there is no [`Timers::room`] for it, or if it was asked for before: both are for the caller to have seen to.
    pub fn insert(&mut self, id: EffectId, now: Timestamp, delay_ns: u64, payload: Frame) {
        self.room.take(payload.len()).expect("a timer is taken only when there is room for it");
        self.attach(Timestamp(now.0.saturating_add(delay_ns.max(1))), id, payload);
    }

    /// Takes the next timer that is due at `now`. Whoever fires many in one op bounds their number; the others are still due in
    /// the next.
    pub fn fire(&mut self, now: Timestamp) -> Option<Firing> {
        let (due, id) = *self.entries.first().filter(|((due, _), _)| *due <= now)?.0;
        let (payload, hash) = self.entries.remove(&(due, id))?;
        self.digest.remove(hash);
        self.room.give_back(payload.len());
        Some(Firing { id, due, payload })
    }

    /// When the next timer is due.
    pub fn due(&self) -> Option<Timestamp> {
        self.entries.first().map(|((due, _), _)| *due)
    }

    /// When each timer is due, and which it is, in the order in which they fire.
    pub fn dues(&self) -> impl Iterator<Item = (Timestamp, EffectId)> {
        self.entries.iter().map(|(key, _)| *key)
    }

    /// How much there is of how much there may be.
    pub const fn room(&self) -> Room {
        self.room
    }

    /// How many timers have not fired.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether all timers have fired.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The digest of all timers: see [`crate::digest`].
    pub fn digest(&self) -> Checksum {
        let Limits { entries_max, bytes_max } = self.room.limits();
        let mut digest = self.digest;
        digest.insert(EntryHasher::new().number(u64::from(entries_max)).number(bytes_max).finish());
        digest.digest()
    }

    /// Appends all records to `bytes`.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        record::put(bytes, &self.head(), &[]);
        for (key, (payload, _)) in &self.entries {
            record::put(bytes, key, payload);
        }
    }

    /// The timers that `bytes`, all of them, are.
    ///
    /// # Errors
    /// If they are none.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, CodecError> {
        let mut restoring = Restoring::default();
        while !restoring.is_whole() {
            restoring.take_first(&mut bytes)?;
        }
        if bytes.is_empty() { restoring.finish() } else { Err(CodecError::Trailing) }
    }

    /// All of them as they are now.
    pub(super) fn image(&self) -> Image {
        Image { head: self.head(), entries: self.entries.clone() }
    }

    fn head(&self) -> Head {
        Head { limits: self.room.limits(), entries: self.entries.len() as u64 }
    }

    fn attach(&mut self, due: Timestamp, id: EffectId, payload: Frame) {
        let hash = EntryHasher::new()
            .number(due.0)
            .number(id.cluster.0)
            .number(id.op.0)
            .number(u64::from(id.position) << 32 | u64::from(id.index))
            .bytes(&payload)
            .finish();
        self.digest.insert(hash);
        let before = self.entries.insert((due, id), (payload, hash));
        assert!(before.is_none(), "a timer is asked for once");
    }
}

impl Image {
    /// Writes records, a head and then each timer in the order in which they fire, until the writer wants to pause; called again,
    /// it goes on from there.
    pub(super) fn snapshot(&self, writer: &mut SnapshotWriter) {
        let mut record = Vec::new();
        let written = writer.resumed().map(|key| codec::decode::<Key>(key).expect("a snapshot pauses behind a timer"));
        if written.is_none() {
            record::put(&mut record, &self.head, &[]);
            writer.record(&record);
        }
        for (key, (payload, _)) in self.entries.iter_from(written.as_ref().map_or(Bound::Unbounded, Bound::Excluded)) {
            record.clear();
            record::put(&mut record, key, payload);
            writer.record(&record);
            if writer.is_full() {
                record.clear();
                codec::encode(key, &mut record);
                return writer.pause(&record);
            }
        }
    }

    /// Frees a part of it: so many nodes. Whether nothing is left to free.
    pub(super) fn release(&mut self, nodes: u32) -> bool {
        self.entries.release(nodes)
    }
}

impl Restoring {
    /// Whether no record is missing.
    pub const fn is_whole(&self) -> bool {
        self.timers.is_some() && self.left == 0
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// If it is none of timers, or does not follow from those before it.
    ///
    /// # Panics
    /// If none is missing.
    pub fn take(&mut self, mut record: &[u8]) -> Result<(), CodecError> {
        self.take_first(&mut record)?;
        if record.is_empty() { Ok(()) } else { Err(CodecError::Trailing) }
    }

    /// Takes the record that `bytes` begin with.
    fn take_first(&mut self, bytes: &mut &[u8]) -> Result<(), CodecError> {
        assert!(!self.is_whole(), "there are no more timers than their head says");
        match &mut self.timers {
            None => {
                let (head, rest) = record::take::<Head>(bytes)?;
                if !rest.is_empty() {
                    return Err(CodecError::Malformed);
                }
                (self.timers, self.left) = (Some(Timers::new(head.limits)), head.entries);
            }
            Some(timers) => {
                let (key, payload) = record::take::<Key>(bytes)?;
                if self.last >= Some(key) || timers.room.take(payload.len()).is_err() {
                    return Err(CodecError::Malformed);
                }
                timers.attach(key.0, key.1, Frame::new(payload.to_vec()));
                (self.left, self.last) = (self.left - 1, Some(key));
            }
        }
        Ok(())
    }

    /// The timers that all the records are.
    ///
    /// # Errors
    /// If some are missing.
    pub fn finish(self) -> Result<Timers, CodecError> {
        self.timers.filter(|_| self.left == 0).ok_or(CodecError::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, vec, vec::Vec};

    use super::*;
    use crate::types::{ClusterId, Op};

    const LIMITS: Limits = Limits { entries_max: 8, bytes_max: 1 << 20 };

    fn id(op: u64, index: u32) -> EffectId {
        EffectId { cluster: ClusterId(7), op: Op(op), position: 0, index }
    }

    /// Due at 30, 20, 20 and at the end of time, in the order in which they are asked for.
    fn four() -> Timers {
        let mut timers = Timers::new(LIMITS);
        for (index, delay_ns) in [(0, 20), (1, 10), (2, 10), (3, u64::MAX)] {
            timers.insert(id(10, index), Timestamp(10), delay_ns, Frame::new(vec![index as u8]));
        }
        timers
    }

    fn fired(timers: &mut Timers, now: u64) -> Vec<(u32, u64)> {
        core::iter::from_fn(|| timers.fire(Timestamp(now))).map(|firing| (firing.id.index, firing.due.0)).collect()
    }

    #[test]
    fn timers_fire_once_in_the_order_of_their_times_when_the_log_is_there() {
        let mut timers = four();
        assert_eq!((timers.due(), fired(&mut timers, 19)), (Some(Timestamp(20)), vec![]));
        let mut late = timers.clone();
        assert_eq!(fired(&mut timers, 20), [(1, 20), (2, 20)]);
        assert_eq!(fired(&mut timers, 20), []);
        assert_eq!(fired(&mut timers, 30), [(0, 30)]);
        assert_eq!(fired(&mut late, 1000), [(1, 20), (2, 20), (0, 30)], "however late the log is");
        assert_eq!((timers.len(), timers.due()), (1, Some(Timestamp(u64::MAX))));
    }

    #[test]
    fn a_timer_never_fires_at_the_time_that_it_was_asked_for() {
        let mut timers = Timers::new(LIMITS);
        timers.insert(id(10, 0), Timestamp(10), 0, Frame::default());
        assert_eq!(fired(&mut timers, 10), []);
        assert_eq!(fired(&mut timers, 11), [(0, 11)]);
        assert!(timers.is_empty());
    }

    #[test]
    fn what_has_fired_leaves_nothing_and_every_difference_shows() {
        let mut timers = four();
        assert_eq!(timers.room().entries(), 4);
        let all = timers.digest();
        fired(&mut timers, u64::MAX);
        assert_eq!((timers.digest(), timers.room()), (Timers::new(LIMITS).digest(), Room::new(LIMITS)));
        let other = |at, id, payload| {
            let mut timers = Timers::new(LIMITS);
            timers.insert(id, Timestamp(at), 10, Frame::new(payload));
            timers.digest()
        };
        let variants = [
            all,
            Timers::new(LIMITS).digest(),
            Timers::new(Limits { bytes_max: 1, ..LIMITS }).digest(),
            other(1, id(1, 0), vec![1]),
            other(2, id(1, 0), vec![1]),
            other(1, id(1, 1), vec![1]),
            other(1, id(1, 0), vec![2]),
        ];
        assert_eq!(variants.iter().collect::<BTreeSet<_>>().len(), variants.len());
    }

    fn encoded(timers: &Timers) -> Vec<u8> {
        let mut bytes = Vec::new();
        timers.encode(&mut bytes);
        bytes
    }

    #[test]
    fn what_is_written_is_as_it_was_in_however_many_slices() {
        let mut timers = Timers::new(LIMITS);
        for index in 0..8 {
            timers.insert(id(10, index), Timestamp(u64::from(index)), 10, Frame::new(vec![index as u8; 3000]));
        }
        let (before, image) = (timers.clone(), timers.image());
        fired(&mut timers, 15);
        timers.insert(id(11, 0), Timestamp(2), 10, Frame::default());
        let mut slices = 0;
        let records = record::written(|writer| {
            slices += 1;
            image.snapshot(writer);
        });
        assert_eq!((records.len(), slices > 4), (9, true), "{slices}");
        assert_eq!(Timers::decode(&records.concat()).map(|timers| timers.digest()), Ok(before.digest()));
    }

    #[test]
    fn whichever_bit_of_a_checkpoint_is_flipped_it_is_an_error_or_encodes_to_the_same_bytes() {
        let bytes = encoded(&four());
        let mut same = Timers::decode(&bytes).expect("what was written restores");
        assert_eq!((same.digest(), same.room()), (four().digest(), four().room()));
        assert_eq!(fired(&mut same, u64::MAX), fired(&mut four(), u64::MAX));
        for length in 0..bytes.len() {
            assert!(Timers::decode(&bytes[..length]).is_err(), "{length} bytes");
        }
        assert_eq!(Timers::decode(&[&bytes[..], &[0]].concat()).err(), Some(CodecError::Trailing));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let Ok(timers) = Timers::decode(&flipped) else { continue };
            assert_eq!(encoded(&timers), flipped, "bit {bit}");
        }
    }

    #[test]
    fn timers_out_of_order_or_too_many_are_refused() {
        let of = |limits, timers: &[(u64, u32)]| {
            let mut bytes = Vec::new();
            record::put(&mut bytes, &Head { limits, entries: timers.len() as u64 }, &[]);
            for (due, index) in timers {
                record::put(&mut bytes, &(Timestamp(*due), id(1, *index)), &[]);
            }
            bytes
        };
        assert!(Timers::decode(&of(LIMITS, &[(1, 1), (2, 0)])).is_ok());
        for timers in [[(2, 0), (1, 1)], [(1, 1), (1, 0)], [(1, 1), (1, 1)]] {
            assert_eq!(Timers::decode(&of(LIMITS, &timers)).err(), Some(CodecError::Malformed), "{timers:?}");
        }
        let one = Limits { entries_max: 1, ..LIMITS };
        assert_eq!(Timers::decode(&of(one, &[(1, 1), (2, 0)])).err(), Some(CodecError::Malformed));
    }
}
