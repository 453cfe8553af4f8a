//! Driving a world: one event at a time, to a time, to a condition, to the end.

use super::{Pending, World};
use crate::{
    oracle::{Interests, Violation},
    verdict::Verdict,
};

/// How many steps lie between two records of where the streams of randomness stand.
const STEPS_PER_CHECKPOINT: u64 = 4096;

impl World {
    /// Takes the next event there is, however late it comes: a step of some process, or a planned crash. False if there is none, or if a verdict has been reached.
    pub fn step(&mut self) -> bool {
        self.step_until(u64::MAX)
    }

    /// Runs for `duration_ns` of virtual time, or until a verdict.
    pub fn run_for(&mut self, duration_ns: u64) {
        self.run_until(self.core.now_ns.saturating_add(duration_ns), |_| false);
    }

    /// Runs until `reached` holds, and says whether it did. Stops at virtual time `limit_ns` or at a verdict.
    ///
    /// The condition is looked at now and after every event.
    pub fn run_until(&mut self, limit_ns: u64, mut reached: impl FnMut(&Self) -> bool) -> bool {
        loop {
            if reached(self) {
                return true;
            }
            if !self.step_until(limit_ns) {
                if !self.is_over() {
                    // Nothing is left before the limit: time passes.
                    self.core.now_ns = self.core.now_ns.max(limit_ns);
                }
                return false;
            }
        }
    }

    /// When the next thing in the queue happens, if there is one.
    pub fn next_at_ns(&self) -> Option<u64> {
        self.core.queue.next_at_ns()
    }

    /// Ends the run: lets the oracles have their last word and closes the trace. Nothing happens in the world after that.
    pub fn finish(&mut self) {
        if self.finished {
            return;
        }
        if self.failure.is_none() {
            self.watch(Interests::END, |oracle, view| oracle.at_end(view));
        }
        self.core.checkpoint(self.steps);
        self.core.trace.end(self.core.now_ns, self.steps);
        self.finished = true;
    }

    /// Takes events off the queue until a process has taken one, or crashed. False if none comes before or at `limit_ns`.
    #[inline(always)]
    fn step_until(&mut self, limit_ns: u64) -> bool {
        if self.is_over() {
            return false;
        }
        loop {
            let Some(slot) = self.core.queue.advance(limit_ns) else { return false };
            let at_ns = self.core.queue.now_ns();
            if at_ns > self.core.now_ns {
                self.core.now_ns = at_ns;
                self.instant_began = self.steps;
            }
            if self.happen(slot) || self.failure.is_some() {
                break;
            }
        }
        if self.steps >= self.look_up_at {
            self.look_up();
        }
        true
    }

    /// Now and then: looks whether a cap is reached and writes down where the streams of randomness stand.
    #[cold]
    #[inline(never)]
    fn look_up(&mut self) {
        let taken = self.steps - self.instant_began;
        if self.steps >= self.settings.steps_max {
            self.stuck("steps of a run", format!("the run took {} steps and came to no end", self.steps));
        } else if taken >= self.settings.steps_per_instant_max {
            self.stuck("steps at one instant", format!("{taken} steps were taken at one virtual instant"));
        }
        if self.steps.is_multiple_of(STEPS_PER_CHECKPOINT) && self.steps > 0 {
            self.core.checkpoint(self.steps);
        }
        // An instant that begins later reaches its cap later still, and is then looked at again.
        let instant_ends = self.instant_began.saturating_add(self.settings.steps_per_instant_max);
        let checkpoint = (self.steps / STEPS_PER_CHECKPOINT + 1) * STEPS_PER_CHECKPOINT;
        self.look_up_at = self.settings.steps_max.min(instant_ends).min(checkpoint);
    }

    fn stuck(&mut self, place: &str, sentence: String) {
        self.fail("world", Violation { verdict: Verdict::Stuck, ..Violation::safety(place, sentence) });
    }

    /// Puts something into the queue at this instant.
    pub(super) fn soon(&mut self, pending: Pending) {
        self.core.queue.push(self.core.now_ns, pending);
    }
}
