//! A node's two clocks, as functions of virtual time.
//!
//! Invariant: the monotonic reading never goes back while virtual time goes on, whatever was done to the clock; the realtime
//! reading jumps when it is told to. Both drift at one rate, in parts per billion, by integer arithmetic without error that
//! adds up. Deliberately absent: discipline. No clock is ever corrected unless somebody steps it.

use chronon::{
    process::Now,
    types::{Instant, Timestamp},
};

const BILLION: u64 = 1_000_000_000;

/// The drift's bound: a clock runs between a tenth and about twice its true rate.
const DRIFT_PPB_MAX: i32 = 900_000_000;

/// How a node's clocks begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClockSettings {
    /// The monotonic reading when the node is added.
    pub monotonic_ns: u64,
    /// The realtime reading when the node is added.
    pub realtime_ns: u64,
    /// How much faster than virtual time both run, in parts per billion; slower if negative.
    pub drift_ppb: i32,
}

impl Default for ClockSettings {
    /// True clocks: the first second of 2026 and a machine that has just been switched on.
    fn default() -> Self {
        Self { monotonic_ns: 0, realtime_ns: 1_767_225_600 * BILLION, drift_ppb: 0 }
    }
}

/// A node's clocks.
#[derive(Clone, Debug)]
pub struct NodeClock {
    /// The virtual time at which the two readings below held.
    base_ns: u64,
    monotonic_ns: u64,
    realtime_ns: u64,
    drift_ppb: i32,
}

impl NodeClock {
    /// Clocks that read as `settings` say at virtual time `now_ns`.
    pub fn new(now_ns: u64, settings: ClockSettings) -> Self {
        Self {
            base_ns: now_ns,
            monotonic_ns: settings.monotonic_ns,
            realtime_ns: settings.realtime_ns,
            drift_ppb: settings.drift_ppb.clamp(-DRIFT_PPB_MAX, DRIFT_PPB_MAX),
        }
    }

    /// Both readings at virtual time `now_ns`.
    pub fn now(&self, now_ns: u64) -> Now {
        let passed = self.passed(now_ns);
        Now {
            monotonic: Instant(self.monotonic_ns.saturating_add(passed)),
            realtime: Timestamp(self.realtime_ns.saturating_add(passed)),
        }
    }

    /// The first virtual time, not before `now_ns`, at which the monotonic reading has reached `deadline`; none if that is
    /// beyond the end of time.
    pub fn when(&self, now_ns: u64, deadline: Instant) -> Option<u64> {
        let wanted = deadline.0.saturating_sub(self.monotonic_ns);
        let passed = if self.drift_ppb == 0 {
            wanted
        } else {
            let rate = u128::from(BILLION.saturating_add_signed(self.drift_ppb.into()));
            u64::try_from((u128::from(wanted) * u128::from(BILLION)).div_ceil(rate)).ok()?
        };
        let at_ns = self.base_ns.checked_add(passed)?;
        if deadline.0 == u64::MAX { None } else { Some(at_ns.max(now_ns)) }
    }

    /// Moves the realtime clock by `delta_ns`, either way. It stops at the ends of its range.
    pub fn step_realtime(&mut self, now_ns: u64, delta_ns: i64) {
        self.rebase(now_ns);
        self.realtime_ns = self.realtime_ns.saturating_add_signed(delta_ns);
    }

    /// Lets both clocks run at another rate from now on.
    pub fn set_drift(&mut self, now_ns: u64, drift_ppb: i32) {
        self.rebase(now_ns);
        self.drift_ppb = drift_ppb.clamp(-DRIFT_PPB_MAX, DRIFT_PPB_MAX);
    }

    fn rebase(&mut self, now_ns: u64) {
        let now = self.now(now_ns);
        self.base_ns = now_ns;
        self.monotonic_ns = now.monotonic.0;
        self.realtime_ns = now.realtime.0;
    }

    /// How far both clocks have run since the base: the true time and the drift's share, rounded down, so that it never
    /// goes back.
    fn passed(&self, now_ns: u64) -> u64 {
        let true_ns = now_ns - self.base_ns;
        if self.drift_ppb == 0 {
            return true_ns;
        }
        let drift = i64::from(self.drift_ppb);
        // Whole seconds contribute without rounding; the rest stays far below an overflow.
        let seconds = (true_ns / BILLION) as i64;
        let rest = (true_ns % BILLION) as i64;
        true_ns.saturating_add_signed(seconds * drift + (rest * drift).div_euclid(BILLION as i64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;

    fn random_clock(stream: &mut Stream, now_ns: u64) -> NodeClock {
        let settings = ClockSettings {
            monotonic_ns: stream.below(1 << 50),
            realtime_ns: stream.below(1 << 62),
            drift_ppb: stream.below(1_000_000_000) as i32 - 500_000_000,
        };
        NodeClock::new(now_ns, settings)
    }

    #[test]
    fn a_true_clock_tells_virtual_time() {
        let clock = NodeClock::new(5, ClockSettings { monotonic_ns: 100, realtime_ns: 1000, drift_ppb: 0 });
        assert_eq!(clock.now(5), Now { monotonic: Instant(100), realtime: Timestamp(1000) });
        assert_eq!(clock.now(25), Now { monotonic: Instant(120), realtime: Timestamp(1020) });
    }

    #[test]
    fn a_drift_adds_up_to_its_rate_without_error() {
        let clock = NodeClock::new(0, ClockSettings { monotonic_ns: 0, realtime_ns: 0, drift_ppb: 50_000 });
        assert_eq!(clock.now(86_400 * BILLION).monotonic, Instant(86_400 * BILLION + 86_400 * 50_000));
        let clock = NodeClock::new(0, ClockSettings { monotonic_ns: 0, realtime_ns: 0, drift_ppb: -50_000 });
        assert_eq!(clock.now(86_400 * BILLION).monotonic, Instant(86_400 * BILLION - 86_400 * 50_000));
    }

    #[test]
    fn monotonic_never_goes_back_whatever_is_done_to_the_clock() {
        for seed in 0..200 {
            let mut stream = Stream::new(seed, "clock", 0, 0);
            let mut now_ns = stream.below(1 << 40);
            let mut clock = random_clock(&mut stream, now_ns);
            let mut last = clock.now(now_ns).monotonic;
            for _ in 0..200 {
                let step = *stream.pick(&[2, 1000, 10 * BILLION]);
                now_ns += stream.below(step);
                match stream.below(4) {
                    0 => clock.step_realtime(now_ns, stream.next_u64() as i64 >> 20),
                    1 => clock.set_drift(now_ns, stream.next_u64() as i32),
                    _ => {}
                }
                let reading = clock.now(now_ns).monotonic;
                assert!(reading >= last, "{seed}");
                last = reading;
            }
        }
    }

    #[test]
    fn at_the_wake_up_the_clock_has_reached_the_deadline_and_not_a_nanosecond_earlier() {
        for seed in 0..2000 {
            let mut stream = Stream::new(seed, "deadline", 0, 0);
            let base_ns = stream.below(1 << 40);
            let clock = random_clock(&mut stream, base_ns);
            let now_ns = base_ns + stream.below(1 << 40);
            let bits = stream.range(0, 45);
            let deadline = clock.now(now_ns).monotonic.after(stream.below(1 << bits));
            let at_ns = clock.when(now_ns, deadline).expect("within time");
            assert!(at_ns >= now_ns);
            assert!(clock.now(at_ns).monotonic >= deadline);
            assert!(at_ns == now_ns || clock.now(at_ns - 1).monotonic < deadline);
        }
    }

    #[test]
    fn a_deadline_in_the_past_is_now_and_one_at_the_end_of_time_is_never() {
        let clock = NodeClock::new(0, ClockSettings { monotonic_ns: 1000, realtime_ns: 0, drift_ppb: -7 });
        assert_eq!(clock.when(50, Instant(3)), Some(50));
        assert_eq!(clock.when(50, Instant(u64::MAX)), None);
    }

    #[test]
    fn realtime_steps_both_ways_and_stops_at_its_ends() {
        let mut clock = NodeClock::new(0, ClockSettings { monotonic_ns: 0, realtime_ns: 100, drift_ppb: 0 });
        clock.step_realtime(10, 1000);
        assert_eq!(clock.now(10).realtime, Timestamp(1110));
        clock.step_realtime(10, -5000);
        assert_eq!(clock.now(20), Now { monotonic: Instant(20), realtime: Timestamp(10) });
    }
}
