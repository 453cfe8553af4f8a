//! The system's clocks.

use chronon::{
    env::Clock,
    types::{Instant, Timestamp},
};
use rustix::time::{ClockId, clock_gettime};

const NS_PER_SECOND: u64 = 1_000_000_000;

/// `CLOCK_MONOTONIC` and `CLOCK_REALTIME`. The former stands still while the machine sleeps, as the contract allows.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn monotonic(&mut self) -> Instant {
        Instant(nanoseconds(ClockId::Monotonic))
    }

    fn realtime(&mut self) -> Timestamp {
        Timestamp(nanoseconds(ClockId::Realtime))
    }
}

/// A clock that stands before its epoch reads as the epoch: it only ever proposes timestamps, which then follow the log's.
fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(NS_PER_SECOND).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}
