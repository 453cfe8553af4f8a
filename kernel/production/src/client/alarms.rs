//! When to look at what again: one alarm for each of so many places.
//!
//! An alarm may ring early, never late: one that is put off is left where it stands, and whoever it rings for sets it anew.
//! Requests are answered long before their time is up, again and again; so that costs them nothing.

use std::{cmp::Reverse, collections::BinaryHeap};

use chronon::types::Instant;

pub(super) struct Alarms {
    heap: BinaryHeap<Reverse<(Instant, u32)>>,
    /// By place, the alarm that counts. Any other in the heap was brought forward since.
    set: Vec<Option<Instant>>,
}

impl Alarms {
    pub(super) fn new(places: u32) -> Self {
        Self { heap: BinaryHeap::new(), set: vec![None; places as usize] }
    }

    /// Sees to it that the alarm of `place` rings no later than at `time`.
    pub(super) fn set(&mut self, place: u32, time: Instant) {
        let set = &mut self.set[place as usize];
        if set.is_none_or(|before| time < before) {
            *set = Some(time);
            self.heap.push(Reverse((time, place)));
        }
    }

    /// When the next one rings.
    pub(super) fn next(&mut self) -> Option<Instant> {
        while let Some(Reverse((time, place))) = self.heap.peek() {
            if self.set[*place as usize] == Some(*time) {
                return Some(*time);
            }
            self.heap.pop();
        }
        None
    }

    /// A place whose alarm rings, and is set no longer.
    pub(super) fn ring(&mut self, now: Instant) -> Option<u32> {
        self.next().filter(|time| *time <= now)?;
        let Reverse((_, place)) = self.heap.pop()?;
        self.set[place as usize] = None;
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rings(alarms: &mut Alarms, now: u64) -> Vec<u32> {
        std::iter::from_fn(|| alarms.ring(Instant(now))).collect()
    }

    #[test]
    fn alarms_ring_in_time_and_in_order_and_once() {
        let mut alarms = Alarms::new(3);
        assert_eq!(alarms.next(), None);
        for (place, time) in [(0, 30), (1, 10), (2, 20)] {
            alarms.set(place, Instant(time));
        }
        assert_eq!((alarms.next(), rings(&mut alarms, 9)), (Some(Instant(10)), vec![]));
        assert_eq!(rings(&mut alarms, 20), [1, 2]);
        assert_eq!((rings(&mut alarms, 29), alarms.next()), (vec![], Some(Instant(30))));
        assert_eq!((rings(&mut alarms, 99), alarms.next()), (vec![0], None));
    }

    #[test]
    fn an_alarm_is_brought_forward_at_once_and_put_off_when_it_rings() {
        let mut alarms = Alarms::new(1);
        alarms.set(0, Instant(50));
        alarms.set(0, Instant(20));
        alarms.set(0, Instant(90));
        assert_eq!(rings(&mut alarms, 20), [0]);
        alarms.set(0, Instant(90));
        assert_eq!(rings(&mut alarms, 89), [0; 0], "the one at 50 does not count any more");
        assert_eq!((rings(&mut alarms, 90), alarms.next()), (vec![0], None));
    }

    #[test]
    fn what_is_put_off_again_and_again_takes_no_room() {
        let mut alarms = Alarms::new(2);
        for time in 100..10_000 {
            alarms.set(0, Instant(time));
            alarms.set(1, Instant(time));
        }
        assert_eq!(alarms.heap.len(), 2);
    }
}
