//! When another replica is dialled.
//!
//! Invariant: whoever is turned away dials less and less often, whatever it was turned away for and however late: that it was greeted
//! proves nothing, for the other end may say who it is and hang up. A connection has proved itself when it lasted for the longest pause.

use std::time::{Duration, Instant};

use chronon::types::ReplicaId;

/// Before a connection that ended is dialled again; doubles, up to the second, until one lasts.
pub(super) const PAUSE: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Another replica that is dialled.
pub(super) struct Dial {
    pub(super) replica: ReplicaId,
    /// When it may be dialled, unless it is connected.
    pub(super) next: Instant,
    pause: Duration,
}

impl Dial {
    /// A replica that may be dialled from now on.
    pub(super) const fn new(replica: ReplicaId, now: Instant) -> Self {
        Self { replica, next: now, pause: PAUSE }
    }

    /// It is dialled.
    pub(super) fn begun(&mut self, now: Instant) {
        self.next = now + self.pause;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    /// The connection has ended that began then, and whose other end was greeted or not.
    pub(super) fn ended(&mut self, since: Instant, greeted: bool, now: Instant) {
        if greeted && now.saturating_duration_since(since) >= PAUSE_MAX {
            self.pause = PAUSE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long after the end of each of these connections, which last so many milliseconds, it is dialled again.
    fn pauses(greeted: bool, lives_ms: &[u64]) -> Vec<u128> {
        let mut now = Instant::now();
        let mut dial = Dial::new(ReplicaId(0), now);
        let again = lives_ms.iter().map(|life_ms| {
            let since = now;
            dial.begun(now);
            now += Duration::from_millis(*life_ms);
            dial.ended(since, greeted, now);
            let pause = dial.next.saturating_duration_since(now);
            now += pause;
            pause.as_millis()
        });
        again.collect()
    }

    #[test]
    fn whoever_is_turned_away_is_dialled_less_and_less_often() {
        let doubled = [10, 20, 40, 80, 160, 320, 640, 1000, 1000];
        assert_eq!(pauses(true, &[0; 9]), doubled);
        assert_eq!(pauses(false, &[0; 9]), doubled);
        assert_eq!(pauses(true, &[5; 9]), doubled.map(|pause| pause - 5), "from one dial to the next");
    }

    #[test]
    fn one_that_lasted_is_dialled_again_at_once_and_one_that_was_never_greeted_did_not() {
        assert_eq!(pauses(true, &[0, 0, 0, 0, 1000, 0, 0]), [10, 20, 40, 80, 0, 10, 20]);
        assert_eq!(pauses(false, &[0, 0, 0, 0, 5000, 0, 0]), [10, 20, 40, 80, 0, 320, 640]);
    }
}
