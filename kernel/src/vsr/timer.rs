//! The timers of a replica: one enum, in one table.
//!
//! A timer is a time-out on the monotonic clock; no safety property rests on any of them.

use crate::types::Instant;

/// What a replica waits for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Timer {
    /// A primary: time to tell the backups that it is there.
    Heartbeat,
    /// A primary: time to send again what was not acknowledged.
    Resend,
    /// A backup: the primary was silent for too long. A replica between views: the view did not start in time.
    Election,
    /// A replica that proposes or enters a view: time to say so again.
    ViewMessage,
    /// Time to compare clocks and views with the others.
    Ping,
    /// Time to ask again for what is missing.
    Repair,
    /// A primary: time to ask again whether this is still its view.
    ReadRound,
    /// Time for the next slice of a checkpoint that is being written or restored.
    Checkpoint,
    /// Time to ask again for chunks.
    Chunk,
    /// A primary: time to see whether the state machine's next deadline has passed.
    Tick,
}

/// How many timers there are.
const COUNT: usize = 10;

impl Timer {
    const ALL: [Self; COUNT] = [
        Self::Heartbeat,
        Self::Resend,
        Self::Election,
        Self::ViewMessage,
        Self::Ping,
        Self::Repair,
        Self::ReadRound,
        Self::Checkpoint,
        Self::Chunk,
        Self::Tick,
    ];
}

/// When each timer fires, if it is set.
#[derive(Clone, Default, Debug)]
pub(super) struct Timers {
    at: [Option<Instant>; COUNT],
}

impl Timers {
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        self.at[timer as usize] = Some(at);
    }

    /// Sets the timer unless it is set already.
    pub(super) fn ensure(&mut self, timer: Timer, at: Instant) {
        self.at[timer as usize].get_or_insert(at);
    }

    pub(super) fn stop(&mut self, timer: Timer) {
        self.at[timer as usize] = None;
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.at.iter().flatten().min().copied()
    }

    /// Takes one timer that is due, in the order of the enum.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Timer> {
        let due = Timer::ALL.into_iter().find(|timer| self.at[*timer as usize].is_some_and(|at| at <= now))?;
        self.stop(due);
        Some(due)
    }
}

/// The spread of time-outs, so that replicas do not all act at once. A small counter-based generator (SplitMix64, Steele, Lea
/// and Flood 2014): nothing but timing depends on it.
#[derive(Clone, Debug)]
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        ((u128::from(mixed) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_once_each_when_they_are_due() {
        let mut timers = Timers::default();
        timers.set(Timer::Ping, Instant(5));
        timers.set(Timer::Heartbeat, Instant(7));
        timers.ensure(Timer::Ping, Instant(1));
        assert_eq!(timers.next(), Some(Instant(5)));
        assert_eq!(timers.take_due(Instant(4)), None);
        assert_eq!(timers.take_due(Instant(9)), Some(Timer::Heartbeat));
        assert_eq!(timers.take_due(Instant(9)), Some(Timer::Ping));
        assert_eq!(timers.take_due(Instant(9)), None);
        assert_eq!(timers.next(), None);
    }
}
