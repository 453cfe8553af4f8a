//! What effects and timers a healed core must bring to an end, and how long each may take.
//!
//! A timer may be due in an hour, an attempt may have a minute, and an application may set its next timer whenever one fires. So what is
//! awaited is what was asked for by a certain op and waits for no longer than [`PATIENCE_NS`]: nothing else need come to anything. Services
//! answer everything by then, so that an effect waits for one attempt of before at most, and for the delay after it.

use std::collections::BTreeMap;

use chronon::{
    app::{
        effect::{Destination, EffectId, Severity},
        outbox::{Entry, Outbox, Stage},
    },
    replica::Replica,
    types::{NodeId, Op, Timestamp},
};

use super::{ANSWER_BOUND_NS, Simulation};
use crate::workload::Workload;

/// What still waits for longer is not awaited.
pub(super) const PATIENCE_NS: u64 = 6 * ANSWER_BOUND_NS;

/// The effects and timers that are awaited and have not come to their end. It is the same until one has: what is tried again and again is
/// as open as it was.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Open {
    /// The last op that asked for one of the effects.
    pub(super) last: Op,
    pub(super) effects: usize,
    pub(super) timers: usize,
    /// The timer that fires next.
    next: Option<(Timestamp, EffectId)>,
}

impl Open {
    pub(super) fn is_nothing(self) -> bool {
        self.effects == 0 && self.timers == 0
    }
}

impl<W: Workload> Simulation<W> {
    /// The replica of the core that has executed most.
    pub(super) fn foremost(&self) -> Option<&Replica<W::Application>> {
        let core = self.schedule.core.iter().map(|replica| NodeId(u32::from(*replica)));
        let replicas = core.filter_map(|node| self.world.process::<Replica<W::Application>>(node));
        replicas.max_by_key(|replica| replica.vsr().applied())
    }

    /// The log's time, once the clocks are right.
    pub(super) fn log_time(&self) -> Timestamp {
        let core = self.schedule.core.iter().map(|replica| NodeId(u32::from(*replica)));
        Timestamp(core.map(|node| self.world.clocks(node).realtime.0).max().unwrap_or_default())
    }

    /// What was asked for by an op, is awaited and open at a replica, and how long it may still take until something happens to all of it.
    pub(super) fn open(&self, replica: &Replica<W::Application>, asked_by: Op) -> (Open, u64) {
        let (mut open, mut longest_ns, now) = (Open::default(), 0, self.log_time());
        let (outbox, timers) = (replica.executor().outbox(), replica.executor().timers());
        let blocked = blocked(outbox, now);
        for (id, entry) in outbox.iter().filter(|(id, entry)| id.op <= asked_by && is_live(entry)) {
            let is_behind = blocked.get(&lane(entry)).is_some_and(|place| *place < entry.standing.place);
            let Some(wait_ns) = wait_ns(entry, now).filter(|_| !is_behind) else { continue };
            open.last = open.last.max(id.op);
            open.effects += 1;
            longest_ns = longest_ns.max(wait_ns);
        }
        for (due, id) in timers.dues().filter(|(_, id)| id.op <= asked_by) {
            let wait_ns = due.0.saturating_sub(now.0);
            if wait_ns > PATIENCE_NS {
                break;
            }
            open.next.get_or_insert((due, id));
            open.timers += 1;
            longest_ns = longest_ns.max(wait_ns);
        }
        (open, longest_ns)
    }
}

fn is_live(entry: &Entry) -> bool {
    !matches!(entry.standing.stage, Stage::Parked | Stage::Dead(_))
}

/// Where effects are done one after another. Those that are fetched are not, and wait for no time that is not their own.
fn lane(entry: &Entry) -> Destination {
    match entry.standing.destination {
        Destination::Log(_) => Destination::Log(Severity::Debug),
        other => other,
    }
}

/// By lane, the place of the first that is not awaited: nor is what stands behind it.
fn blocked(outbox: &Outbox, now: Timestamp) -> BTreeMap<Destination, u64> {
    let mut blocked = BTreeMap::new();
    for (_, entry) in outbox.iter().filter(|(_, entry)| is_live(entry)) {
        if wait_ns(entry, now).is_none() && entry.standing.destination != Destination::Fetch {
            let place = blocked.entry(lane(entry)).or_insert(entry.standing.place);
            *place = entry.standing.place.min(*place);
        }
    }
    blocked
}

/// How long it may take until something happens to a live effect, if none is before it; none if that is not awaited.
fn wait_ns(entry: &Entry, now: Timestamp) -> Option<u64> {
    let standing = &entry.standing;
    let until_ns = |at: Timestamp| at.0.saturating_sub(now.0);
    let wait_ns = if let Stage::Delayed(until) = standing.stage {
        until_ns(until)
    } else {
        // An attempt of before the healing may have been lost.
        let policy = &standing.policy;
        policy.attempt_timeout_ns().saturating_add(policy.backoff_ns(standing.attempts.saturating_add(1)))
    };
    Some(wait_ns.min(until_ns(standing.expires_at))).filter(|wait_ns| *wait_ns <= PATIENCE_NS)
}

#[cfg(test)]
mod tests;
