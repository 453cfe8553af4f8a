//! The outbox: effects from the op that asks for them until they have ended. Replicated state.
//!
//! Every replica changes its outbox only by committed entries of the log, in their order, so all outboxes agree at the same op.
//! From the outbox alone follow its promises:
//!
//! - an effect ends once: what comes of it is told to the application once, and whatever is said of it later is refused;
//! - effects of one channel are done one after another; one that is parked or dead lets the others pass;
//! - what is done for an older primary, or by an attempt that was given up, bears a token that is lower than that of
//!   whatever follows it in the channel.
//!
//! A start is committed only for effects whose policy asks for it; for all others the claim of the outbox is the start of
//! whatever stands first in a channel. An outcome counts if it bears the token of the latest start, for as long as it is not
//! known what that came to: for an effect that is under way, delayed or parked after an unknown outcome, or dead because its time
//! was over, and whatever was claimed meanwhile (design rule 18).
//!
//! What this deliberately lacks: which effects are under way at a primary. That is the primary's own, and lost with it.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::ops::Bound;

use crate::{
    app::{
        effect::{Destination, EffectId, Ended, Fence, FencingToken, OnUnknown, Policy, Refusal},
        room::{Limits, Room},
    },
    digest::{EntryHasher, SetDigest},
    frame::Frame,
    map::Map,
    types::{Checksum, Op, Timestamp},
};

mod checkpoint;
mod entry;
mod operator;
mod outcome;
#[cfg(test)]
mod tests;

pub use checkpoint::{Image, Restoring};
use entry::Lane;
pub use entry::{Entry, Stage, Standing};

/// All effects of a cluster that have not ended.
#[derive(Clone, Debug)]
pub struct Outbox {
    room: Room,
    fence: Option<Fence>,
    place_next: u64,
    entries: Map<EffectId, Entry>,
    digest: SetDigest,
    // What follows is derived from the entries.
    /// The live effects of each lane, by their places. No lane is empty.
    lanes: BTreeMap<Lane, BTreeMap<u64, EffectId>>,
    /// The first of each lane, if it is ready.
    ready: BTreeSet<EffectId>,
    /// The first of each lane, if it is started.
    started: BTreeSet<EffectId>,
    /// Those that are parked or dead.
    held: BTreeSet<EffectId>,
    /// When the log's time does something to whom.
    alarms: BTreeSet<(Timestamp, EffectId)>,
    /// How often anything changed here. No part of the state: for whoever looks at it again and again.
    changes: u64,
}

/// Something for a primary to do, if it is that of the token's fence and does not do it already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Task<'a> {
    /// About which effect.
    pub id: EffectId,
    /// Under which token.
    pub token: FencingToken,
    /// What.
    pub kind: TaskKind,
    /// The effect.
    pub entry: &'a Entry,
}

/// What a primary is to do about an effect.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TaskKind {
    /// Have a start committed. Nothing is run before it is.
    Start,
    /// Have it run.
    Run,
    /// Ask the sink whether it was done.
    Ask,
}

impl Outbox {
    /// No effects yet, and nobody's claim.
    pub const fn new(limits: Limits) -> Self {
        Self {
            room: Room::new(limits),
            fence: None,
            place_next: 0,
            entries: Map::new(),
            digest: SetDigest::new(),
            lanes: BTreeMap::new(),
            ready: BTreeSet::new(),
            started: BTreeSet::new(),
            held: BTreeSet::new(),
            alarms: BTreeSet::new(),
            changes: 0,
        }
    }

    /// An event of `op`, at the time of that op, asks for an effect.
    ///
    /// # Panics
    /// If there is no [`Outbox::room`] for it, or if it was asked for before: both are for the caller to have seen to.
    pub fn insert(
        &mut self,
        id: EffectId,
        destination: Destination,
        policy: Policy,
        payload: Frame,
        timestamp: Timestamp,
    ) {
        self.room.take(payload.len()).expect("an effect is taken only when there is room for it");
        let standing = Standing {
            destination,
            policy,
            place: self.next_place(),
            expires_at: after(timestamp, policy.total_timeout_ns()),
            attempt: id.op,
            attempts: 0,
            started: None,
            asks: false,
            may_have_run: false,
            code: 0,
            stage: Stage::Ready,
        };
        self.attach(id, Entry::new(id, standing, payload));
        self.settle(standing.lane(id), id.op);
    }

    /// A primary claimed the outbox, in `op`: what earlier ones had under way, nobody knows about any more.
    ///
    /// # Errors
    /// [`Refusal::StaleClaim`] if a claim at least as late is in force.
    pub fn claim(&mut self, fence: Fence, op: Op) -> Result<(), Refusal> {
        if self.fence >= Some(fence) {
            return Err(Refusal::StaleClaim);
        }
        let succeeded = self.fence.replace(fence).is_some();
        self.changes += 1;
        for id in self.started.iter().copied().collect::<Vec<_>>() {
            self.update(id, op, |standing| {
                standing.may_have_run = true;
                if standing.policy.on_unknown() == OnUnknown::NeverTwice {
                    standing.park();
                } else {
                    standing.stage = Stage::Ready;
                    standing.asks = true;
                }
            });
        }
        if succeeded {
            for id in self.ready.iter().copied().collect::<Vec<_>>() {
                if self.entries[&id].standing.runs_unguarded() {
                    self.touch(id, |standing| standing.may_have_run = true);
                }
            }
        }
        Ok(())
    }

    /// An attempt was started: it may be run once this is committed.
    ///
    /// # Errors
    /// [`Refusal::NoSuchEffect`], [`Refusal::StaleToken`] if another claim is in force or another attempt is due, and
    /// [`Refusal::NotReady`] if there is nothing to start.
    pub fn start(&mut self, id: EffectId, token: FencingToken, op: Op) -> Result<(), Refusal> {
        let standing = &self.entries.get(&id).ok_or(Refusal::NoSuchEffect)?.standing;
        if self.token_of_claim(standing) != Some(token) {
            return Err(Refusal::StaleToken);
        }
        if !self.ready.contains(&id) || standing.runs_unguarded() {
            return Err(Refusal::NotReady);
        }
        self.update(id, op, |standing| {
            standing.started = Some(token);
            standing.stage = Stage::Started;
        });
        Ok(())
    }

    /// The log's time is `timestamp`, in `op`. Does what is due, in the order of the times that it was due at, up to
    /// `changes_max` effects, and appends to `ended` what ended by it. What is left over is done in the next op.
    pub fn advance(&mut self, op: Op, timestamp: Timestamp, changes_max: u32, ended: &mut Vec<Ended>) {
        for _ in 0..changes_max {
            let Some(&(at, id)) = self.alarms.first() else { return };
            if at > timestamp {
                return;
            }
            if self.entries[&id].standing.expires_at <= timestamp {
                ended.extend(self.expire(id, op));
            } else {
                self.update(id, op, Standing::try_again);
            }
        }
    }

    /// When the log's time next does something.
    pub fn due(&self) -> Option<Timestamp> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// What is for the primary of the claim to do, in the order of ids; what it is doing already included. Nothing before the
    /// first claim.
    pub fn tasks(&self) -> impl Iterator<Item = Task<'_>> {
        self.ready.iter().chain(&self.started).filter_map(|id| self.task_of(*id))
    }

    /// What is for the primary of the claim to do about this effect, if there is something.
    pub fn task(&self, id: EffectId) -> Option<Task<'_>> {
        if self.ready.contains(&id) || self.started.contains(&id) { self.task_of(id) } else { None }
    }

    fn task_of(&self, id: EffectId) -> Option<Task<'_>> {
        let entry = &self.entries[&id];
        let token = self.token_of_claim(&entry.standing)?;
        let kind = match (entry.standing.stage, entry.standing.asks) {
            (Stage::Started, _) => TaskKind::Run,
            (_, true) => TaskKind::Ask,
            _ if entry.standing.policy.is_guarded() => TaskKind::Start,
            _ => TaskKind::Run,
        };
        Some(Task { id, token, kind, entry })
    }

    /// Whether what an attempt under this token came to is still of use: see [`Outbox::outcome`].
    pub fn awaits(&self, id: EffectId, token: FencingToken) -> bool {
        let Some(Entry { standing, .. }) = self.entries.get(&id) else { return false };
        standing.started == Some(token) || self.is_of_claim(id, standing, token)
    }

    /// How often anything changed here, in this life.
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// Takes the place of another one: whoever looked at that sees that something changed.
    pub(super) fn follow(&mut self, other: &Self) {
        self.changes = other.changes + 1;
    }

    /// How much there is of how much there may be.
    pub const fn room(&self) -> Room {
        self.room
    }

    /// The claim in force.
    pub const fn fence(&self) -> Option<Fence> {
        self.fence
    }

    /// An effect, if it has not ended.
    pub fn get(&self, id: EffectId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// All effects that have not ended, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (EffectId, &Entry)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }

    /// The effects that wait for an operator, parked or dead, after this one if one is given, in the order of their ids. A parked one may
    /// still be resolved by the sink's late answer.
    pub fn held(&self, after: Option<EffectId>) -> impl Iterator<Item = (EffectId, &Entry)> {
        let first = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.held.range((first, Bound::Unbounded)).map(|id| (*id, &self.entries[id]))
    }

    /// How many effects have not ended.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether every effect has ended.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether there never was an effect or a claim.
    pub fn is_pristine(&self) -> bool {
        self.place_next == 0 && self.fence.is_none()
    }

    /// The digest of all of it: equal outboxes, and in practice only those, have equal digests. Costs the same for every
    /// outbox.
    pub fn digest(&self) -> Checksum {
        let fence = self.fence.map_or([0; 3], |fence| [1, u64::from(fence.epoch.0), fence.view.0]);
        let limits = self.room.limits();
        let rest = [self.place_next, u64::from(limits.entries_max), limits.bytes_max];
        let mut digest = self.digest;
        digest.insert(fence.iter().chain(&rest).fold(EntryHasher::new(), |hasher, n| hasher.number(*n)).finish());
        digest.digest()
    }

    /// The token of the attempt that is due, under the claim in force.
    fn token_of_claim(&self, standing: &Standing) -> Option<FencingToken> {
        self.fence.map(|fence| FencingToken { fence, attempt: standing.attempt })
    }

    fn next_place(&mut self) -> u64 {
        let place = self.place_next;
        self.place_next += 1;
        place
    }

    /// Changes an effect where it is: nothing that decides its lane, its place in it or its alarm.
    fn touch(&mut self, id: EffectId, change: impl FnOnce(&mut Standing)) {
        self.changes += 1;
        let entry = self.entries.get_mut(&id).expect("what is changed is in the outbox");
        self.digest.remove(entry.hash);
        change(&mut entry.standing);
        entry.rehash(id);
        self.digest.insert(entry.hash);
    }

    /// Changes an effect, in `op`. If it is ready and first of its lane then, this is a new attempt.
    fn update(&mut self, id: EffectId, op: Op, change: impl FnOnce(&mut Standing)) {
        let mut entry = self.detach(id);
        change(&mut entry.standing);
        entry.rehash(id);
        let lane = entry.standing.lane(id);
        self.attach(id, entry);
        self.settle(lane, op);
    }

    fn remove(&mut self, id: EffectId, op: Op) -> Entry {
        let entry = self.detach(id);
        self.room.give_back(entry.payload.len());
        self.settle(entry.standing.lane(id), op);
        entry
    }

    /// Puts an effect where it belongs by its standing; its lane is to be settled next.
    fn attach(&mut self, id: EffectId, entry: Entry) {
        self.changes += 1;
        let standing = &entry.standing;
        if standing.is_live() {
            self.lanes.entry(standing.lane(id)).or_default().insert(standing.place, id);
        }
        if standing.stage == Stage::Started {
            self.started.insert(id);
        }
        if standing.is_held() {
            self.held.insert(id);
        }
        self.alarms.extend(standing.alarm().map(|at| (at, id)));
        self.digest.insert(entry.hash);
        let before = self.entries.insert(id, entry);
        assert!(before.is_none(), "an effect is asked for once");
    }

    fn detach(&mut self, id: EffectId) -> Entry {
        let entry = self.entries.remove(&id).expect("what is changed is in the outbox");
        self.changes += 1;
        self.digest.remove(entry.hash);
        if let Some(at) = entry.standing.alarm() {
            self.alarms.remove(&(at, id));
        }
        self.ready.remove(&id);
        self.started.remove(&id);
        self.held.remove(&id);
        if entry.standing.is_live() {
            let lane = self.lanes.get_mut(&entry.standing.lane(id)).expect("what is live is in its lane");
            lane.remove(&entry.standing.place);
        }
        entry
    }

    /// Gives whatever is first of a lane now, in `op`, a token of its own.
    fn settle(&mut self, lane: Lane, op: Op) {
        let Some(first) = self.lanes.get(&lane).map(|effects| effects.values().next().copied()) else { return };
        let Some(id) = first else {
            self.lanes.remove(&lane);
            return;
        };
        if self.entries[&id].standing.stage == Stage::Ready && self.ready.insert(id) {
            self.touch(id, |standing| standing.attempt = op);
        }
    }
}

/// So many nanoseconds later. The end of time is never over.
fn after(timestamp: Timestamp, duration_ns: u64) -> Timestamp {
    Timestamp(timestamp.0.saturating_add(duration_ns))
}
