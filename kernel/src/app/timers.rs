//! Timers: what an application wants to be told later. Replicated state.
//!
//! Invariant: a timer fires once, as an event, in the first op whose time is not before its own, and before whatever else is in
//! that op. At one op timers fire in the order of their times, and of one time in the order in which they were asked for:
//! on every replica alike, because the log's time is the only one that there is.
//!
//! What this deliberately lacks: cancelling. An application that no longer cares for a timer does nothing when it fires.

use alloc::{collections::BTreeMap, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::{
    app::{
        effect::EffectId,
        record,
        room::{Limits, Room},
    },
    digest::{EntryHash, EntryHasher, SetDigest},
    frame::Frame,
    types::{Checksum, Timestamp},
    wire::{codec::CodecError, stored::stored},
};

stored! { struct Head { limits, entries } }

/// All timers that have not fired.
#[derive(Clone, Debug)]
pub struct Timers {
    room: Room,
    entries: BTreeMap<(Timestamp, EffectId), (Frame, EntryHash)>,
    digest: SetDigest,
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
#[derive(Serialize, Deserialize)]
struct Head {
    limits: Limits,
    entries: u64,
}

impl Timers {
    /// No timers yet.
    pub const fn new(limits: Limits) -> Self {
        Self { room: Room::new(limits), entries: BTreeMap::new(), digest: SetDigest::new() }
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
        let first = self.entries.first_entry().filter(|first| first.key().0 <= now)?;
        let ((due, id), (payload, hash)) = first.remove_entry();
        self.digest.remove(hash);
        self.room.give_back(payload.len());
        Some(Firing { id, due, payload })
    }

    /// When the next timer is due.
    pub fn due(&self) -> Option<Timestamp> {
        self.entries.first_key_value().map(|((due, _), _)| *due)
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

    /// Appends all of it to `bytes`.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        record::put(bytes, &Head { limits: self.room.limits(), entries: self.entries.len() as u64 }, &[]);
        for (key, (payload, _)) in &self.entries {
            record::put(bytes, key, payload);
        }
    }

    /// The timers that `bytes`, all of them, are.
    ///
    /// # Errors
    /// If they are none.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, CodecError> {
        let (head, rest) = record::take::<Head>(&mut bytes)?;
        if !rest.is_empty() {
            return Err(CodecError::Malformed);
        }
        let mut timers = Self::new(head.limits);
        for _ in 0..head.entries {
            let ((due, id), payload) = record::take::<(Timestamp, EffectId)>(&mut bytes)?;
            let rising = timers.entries.last_key_value().is_none_or(|(last, _)| *last < (due, id));
            if !rising || timers.room.take(payload.len()).is_err() {
                return Err(CodecError::Malformed);
            }
            timers.attach(due, id, Frame::new(payload.to_vec()));
        }
        if bytes.is_empty() { Ok(timers) } else { Err(CodecError::Trailing) }
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

    #[test]
    fn whichever_bit_of_a_checkpoint_is_flipped_it_is_an_error_or_encodes_to_the_same_bytes() {
        let mut bytes = Vec::new();
        four().encode(&mut bytes);
        let mut decoded = Timers::decode(&bytes).expect("what was encoded decodes");
        assert_eq!((decoded.digest(), decoded.room()), (four().digest(), four().room()));
        assert_eq!(fired(&mut decoded, u64::MAX), fired(&mut four(), u64::MAX));
        for length in 0..bytes.len() {
            assert!(Timers::decode(&bytes[..length]).is_err(), "{length} bytes");
        }
        assert_eq!(Timers::decode(&[&bytes[..], &[0]].concat()).err(), Some(CodecError::Trailing));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let Ok(timers) = Timers::decode(&flipped) else { continue };
            let mut again = Vec::new();
            timers.encode(&mut again);
            assert_eq!(again, flipped, "bit {bit}");
        }
    }

    #[test]
    fn timers_out_of_order_or_too_many_are_refused() {
        let encoded = |limits, timers: &[(u64, u32)]| {
            let mut bytes = Vec::new();
            record::put(&mut bytes, &Head { limits, entries: timers.len() as u64 }, &[]);
            for (due, index) in timers {
                record::put(&mut bytes, &(Timestamp(*due), id(1, *index)), &[]);
            }
            bytes
        };
        assert!(Timers::decode(&encoded(LIMITS, &[(1, 1), (2, 0)])).is_ok());
        for timers in [[(2, 0), (1, 1)], [(1, 1), (1, 0)], [(1, 1), (1, 1)]] {
            assert_eq!(Timers::decode(&encoded(LIMITS, &timers)).err(), Some(CodecError::Malformed), "{timers:?}");
        }
        let one = Limits { entries_max: 1, ..LIMITS };
        assert_eq!(Timers::decode(&encoded(one, &[(1, 1), (2, 0)])).err(), Some(CodecError::Malformed));
    }
}
