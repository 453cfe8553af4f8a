//! Requests that wait for a session: first come, first served, and none waits longer than it wants to.

use std::collections::{BTreeMap, BTreeSet};

use chronon::{client::Freshness, types::Instant};

/// A request that waits.
pub(super) struct Waiting<T> {
    pub(super) tag: T,
    /// Of a query, what it asks for.
    pub(super) query: Option<Freshness>,
    pub(super) payload: Vec<u8>,
    pub(super) expiry: Instant,
}

pub(super) struct Queue<T> {
    /// By the order in which they came.
    requests: BTreeMap<u64, Waiting<T>>,
    expiries: BTreeSet<(Instant, u64)>,
    next: u64,
    max: usize,
}

impl<T> Queue<T> {
    pub(super) const fn new(max: usize) -> Self {
        Self { requests: BTreeMap::new(), expiries: BTreeSet::new(), next: 0, max }
    }

    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= self.max
    }

    pub(super) fn push(&mut self, request: Waiting<T>) {
        self.expiries.insert((request.expiry, self.next));
        self.requests.insert(self.next, request);
        self.next += 1;
    }

    pub(super) fn pop(&mut self) -> Option<Waiting<T>> {
        let (place, request) = self.requests.pop_first()?;
        self.expiries.remove(&(request.expiry, place));
        Some(request)
    }

    /// When the next one has waited for as long as it wants to.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.expiries.first().map(|(expiry, _)| *expiry)
    }

    /// Takes one out that has.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<Waiting<T>> {
        self.next_expiry().filter(|expiry| *expiry <= now)?;
        let (_, place) = self.expiries.pop_first()?;
        self.requests.remove(&place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(expiries: &[u64]) -> Queue<usize> {
        let mut queue = Queue::new(expiries.len());
        for (tag, expiry) in expiries.iter().enumerate() {
            assert!(!queue.is_full());
            queue.push(Waiting { tag, query: None, payload: Vec::new(), expiry: Instant(*expiry) });
        }
        queue
    }

    #[test]
    fn whoever_came_first_is_served_first_whenever_it_expires() {
        let mut queue = queue(&[30, 10, 20]);
        assert!(queue.is_full());
        let served: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|request| request.tag).collect();
        assert_eq!((served, queue.len(), queue.next_expiry()), (vec![0, 1, 2], 0, None));
    }

    #[test]
    fn whoever_waited_long_enough_leaves_and_the_others_keep_their_places() {
        let mut queue = queue(&[30, 10, 20, 10]);
        let left: Vec<_> = std::iter::from_fn(|| queue.pop_expired(Instant(19))).map(|request| request.tag).collect();
        assert_eq!((left, queue.next_expiry()), (vec![1, 3], Some(Instant(20))));
        assert_eq!(queue.pop().map(|request| request.tag), Some(0));
        assert_eq!(queue.pop_expired(Instant(99)).map(|request| request.tag), Some(2));
        assert!(queue.pop_expired(Instant(99)).is_none() && queue.pop().is_none());
    }
}
