//! Clock agreement: the interval of offsets that a majority of replicas can live with (Marzullo and Owicki 1983, as NTP uses it).
//!
//! A ping carries its sender's monotonic time, the pong the other's realtime: half the round trip bounds the error. What is kept of
//! the others is how far they are from the own monotonic clock, which nobody steps: a step of the own realtime clock changes what the
//! majority thinks of that, and not what is known of the others. The primary proposes timestamps clamped to the agreed interval. Nothing but the plausibility of timestamps rests on this; their order
//! does not.

use alloc::vec::Vec;

use crate::{
    process::Now,
    types::{Instant, ReplicaId, Timestamp},
    vsr::quorum::{REPLICAS_MAX, majority},
};

/// The latest time that is taken for one, in 2116: what follows it by one and one can be counted for ever (`is_countable`).
const REALTIME_MAX: i128 = 1 << 62;

/// Samples older than this say nothing any more.
const SAMPLE_AGE_MAX_NS: u64 = 10_000_000_000;

/// How much an interval widens with age: 500 parts per million of drift between two clocks.
const DRIFT_DIVISOR: u64 = 2_000;

/// The other's realtime minus our monotonic time at the moment `at` lay within `low..=high`.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    low: i128,
    high: i128,
}

impl Sample {
    /// The interval as it stands at `now`, wider by the drift since it was taken; none when it is too old.
    fn at(self, now: Instant) -> Option<(i128, i128)> {
        let age = now.since(self.at);
        let drift = i128::from(age / DRIFT_DIVISOR);
        (age <= SAMPLE_AGE_MAX_NS).then_some((self.low - drift, self.high + drift))
    }
}

/// What a replica knows of the others' clocks.
#[derive(Clone, Debug)]
pub struct ClockSync {
    replica: ReplicaId,
    replica_count: u8,
    samples: [Option<Sample>; REPLICAS_MAX as usize],
}

impl ClockSync {
    /// Knows nothing of the others.
    pub(super) fn new(replica: ReplicaId, replica_count: u8) -> Self {
        Self { replica, replica_count, samples: [None; REPLICAS_MAX as usize] }
    }

    /// Takes a pong: `sent` is our monotonic time in the ping, `theirs` the other's realtime. The narrower of the old and the new
    /// interval stays.
    pub(super) fn on_pong(&mut self, from: ReplicaId, sent: Instant, theirs: Timestamp, now: Now) {
        if sent > now.monotonic || from.0 >= self.replica_count {
            return;
        }
        let round_trip = i128::from(now.monotonic.since(sent));
        let offset = i128::from(theirs.0) - i128::from(now.monotonic.0);
        let sample = Sample { at: now.monotonic, low: offset, high: offset + round_trip };
        let slot = &mut self.samples[from.0 as usize];
        let width = |interval: (i128, i128)| interval.1 - interval.0;
        let disagrees = |old: (i128, i128)| old.1 < sample.low || sample.high < old.0;
        match slot.and_then(|old| old.at(now.monotonic)) {
            // A clock that stepped makes old samples lies: an interval that does not meet the new one goes.
            Some(old) if !disagrees(old) && width(old) < round_trip => {}
            _ => *slot = Some(sample),
        }
    }

    /// The smallest interval of offsets from our realtime that a majority's intervals (ours is zero) all meet.
    pub fn interval(&self, now: Now) -> Option<(i128, i128)> {
        let own = i128::from(now.realtime.0) - i128::from(now.monotonic.0);
        let mut edges: Vec<(i128, i8)> = Vec::with_capacity(2 * self.replica_count as usize);
        for replica in 0..self.replica_count {
            let interval = if replica == self.replica.0 {
                Some((0, 0))
            } else {
                let theirs = self.samples[replica as usize].and_then(|sample| sample.at(now.monotonic));
                theirs.map(|(low, high)| (low - own, high - own))
            };
            if let Some((low, high)) = interval {
                edges.push((low, -1));
                edges.push((high, 1));
            }
        }
        // Opening edges sort before closing ones at the same offset, so that intervals that touch do meet.
        edges.sort_unstable();
        let (mut open, mut best, mut found) = (0, 0, None);
        for (index, (offset, edge)) in edges.iter().enumerate() {
            open -= edge;
            if *edge < 0 && open > best {
                best = open;
                found = edges.get(index + 1).map(|next| (*offset, next.0));
            }
        }
        found.filter(|_| best >= majority(self.replica_count) as i8)
    }

    /// The timestamp for the prepare after one stamped `previous`: realtime clamped to the agreed interval, and later than
    /// `previous` in any case (design rule 17). Also whether it had to be clamped.
    pub(super) fn timestamp(&self, previous: Timestamp, now: Now) -> (Timestamp, bool) {
        let floor = previous.0 + 1;
        let Some((low, high)) = self.interval(now) else { return (Timestamp(floor), false) };
        let correction = 0i128.clamp(low, high);
        let proposed = (i128::from(now.realtime.0) + correction).clamp(0, REALTIME_MAX) as u64;
        (Timestamp(proposed.max(floor)), correction != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(monotonic: u64, realtime: u64) -> Now {
        Now { monotonic: Instant(monotonic), realtime: Timestamp(realtime) }
    }

    #[test]
    fn a_single_replica_is_its_own_interval() {
        let clock = ClockSync::new(ReplicaId(0), 1);
        assert_eq!(clock.interval(now(0, 0)), Some((0, 0)));
        assert_eq!(clock.timestamp(Timestamp(5), now(0, 100)), (Timestamp(100), false));
        assert_eq!(clock.timestamp(Timestamp(500), now(0, 100)), (Timestamp(501), false));
    }

    #[test]
    fn no_clock_takes_the_time_to_where_it_could_not_go_on() {
        let clock = ClockSync::new(ReplicaId(0), 1);
        assert_eq!(clock.timestamp(Timestamp(5), now(0, u64::MAX)), (Timestamp(1 << 62), false));
        assert_eq!(clock.timestamp(Timestamp(1 << 62), now(0, u64::MAX)), (Timestamp((1 << 62) + 1), false));
    }

    #[test]
    fn without_a_majority_there_is_no_interval_and_time_advances_by_one() {
        let clock = ClockSync::new(ReplicaId(0), 3);
        assert_eq!(clock.interval(now(0, 0)), None);
        assert_eq!(clock.timestamp(Timestamp(7), now(0, 1_000_000)), (Timestamp(8), false));
    }

    #[test]
    fn a_clock_that_is_far_ahead_is_clamped_to_the_majority() {
        let mut clock = ClockSync::new(ReplicaId(0), 3);
        // Ours says 1,000,000; both others say about 1,000 with a round trip of 10.
        for peer in [1, 2] {
            clock.on_pong(ReplicaId(peer), Instant(100), Timestamp(1_000), now(110, 1_000_000));
        }
        let (low, high) = clock.interval(now(110, 1_000_000)).expect("two others agree");
        assert_eq!((low, high), (-999_000, -998_990));
        assert_eq!(clock.timestamp(Timestamp(0), now(110, 1_000_000)), (Timestamp(1_010), true));
    }

    #[test]
    fn old_samples_widen_and_then_expire() {
        let mut clock = ClockSync::new(ReplicaId(0), 3);
        clock.on_pong(ReplicaId(1), Instant(0), Timestamp(0), now(10, 0));
        assert_eq!(clock.interval(now(10, 0)), Some((0, 0)));
        assert!(clock.interval(now(SAMPLE_AGE_MAX_NS + 11, 0)).is_none());
    }

    #[test]
    fn a_step_of_the_own_clock_is_no_news_of_the_others() {
        let mut clock = ClockSync::new(ReplicaId(0), 3);
        for peer in [1, 2] {
            clock.on_pong(ReplicaId(peer), Instant(100), Timestamp(5_000), now(110, 5_000));
        }
        assert_eq!(clock.timestamp(Timestamp(0), now(210, 5_100)), (Timestamp(5_100), false));
        // Nobody has answered a ping since ours was stepped, either way.
        assert_eq!(clock.timestamp(Timestamp(0), now(210, 9_000_000)), (Timestamp(5_110), true));
        assert_eq!(clock.timestamp(Timestamp(0), now(210, 7)), (Timestamp(5_100), true));
    }
}
