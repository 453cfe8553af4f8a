//! The event queue: what happens next, by virtual time; ties by the order in which they were pushed.
//!
//! What comes soon lies in a ring of buckets, each a short unsorted list of all that falls into one stretch of time; a bit
//! for each says whether there is anything in it. To push is to hang a slot into a list, to pop is to find the first bit
//! and the least of mostly one entry. What comes later than the ring reaches waits in a heap, and moves into the ring as
//! time goes on. How long a bucket's stretch is follows from how full the lists were found.
//!
//! Invariant: entries leave in the order of (time, sequence), whatever the order of pushes and pops was; every entry of the
//! ring comes before every entry of the heap. Nothing is pushed before what was popped last: time does not go back.
//! Deliberately absent: cancelling. Whoever pushed an event knows when it no longer means anything.

mod heap;

use heap::Heap;

/// How many buckets the ring has.
const BUCKETS: u64 = 512;

/// How many words hold a bit for each of them.
const WORDS: usize = BUCKETS as usize / 64;

/// The binary logarithm of a bucket's first width in nanoseconds: about a thirtieth of a millisecond.
const WIDTH_LOG2: u32 = 15;

/// How many pops lie between two looks at whether the width is right.
const POPS_PER_LOOK: u32 = 1024;

/// The low bits of a heap's key that name the slot.
const SLOT_BITS: u32 = 24;

/// No slot: the end of a list.
const NONE: u32 = u32::MAX;

/// Payloads by (time, sequence).
#[derive(Clone)]
pub struct Queue<T> {
    slots: Vec<Slot<T>>,
    /// The first of the list of free slots.
    free: u32,
    sequence: u64,
    /// The time of the last entry that was popped.
    now_ns: u64,
    /// A stretch of time lasts two to the power of this many nanoseconds; stretches are numbered from time 0.
    width_log2: u32,
    /// The number of the ring's first stretch.
    first: u64,
    /// By the low bits of the stretch's number: whether the bucket holds anything, and the first slot of its list.
    occupied: [u64; WORDS],
    lists: [u32; BUCKETS as usize],
    far: Heap,
    /// The number of the heap's first stretch; the largest number if it is empty.
    far_from: u64,
    length: u32,
    /// Since the last look at the width: pops, entries looked at in them, entries moved from the heap to the ring.
    pops: u32,
    looked_at: u32,
    moved: u32,
}

#[derive(Clone)]
struct Slot<T> {
    at_ns: u64,
    sequence: u64,
    /// The next slot of the same list.
    next: u32,
    payload: Option<T>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl<T> Queue<T> {
    /// An empty queue with room for `capacity` entries.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            slots: Vec::with_capacity(capacity),
            free: NONE,
            sequence: 0,
            now_ns: 0,
            width_log2: WIDTH_LOG2,
            first: 0,
            occupied: [0; WORDS],
            lists: [NONE; BUCKETS as usize],
            far: Heap::default(),
            far_from: u64::MAX,
            length: 0,
            pops: 0,
            looked_at: 0,
            moved: 0,
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.length as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The time of the next entry.
    pub fn next_at_ns(&self) -> Option<u64> {
        let Some(stretch) = self.first_occupied() else {
            return self.far.first().map(|key| (key >> 64) as u64);
        };
        let mut next_ns = u64::MAX;
        let mut slot = self.lists[bucket(stretch)];
        while let Some(entry) = self.slots.get(slot as usize) {
            next_ns = next_ns.min(entry.at_ns);
            slot = entry.next;
        }
        Some(next_ns)
    }

    /// Adds an entry behind all those of the same time.
    ///
    /// # Panics
    /// If `at_ns` is before the entry popped last, or if there are 2^24 entries already.
    pub fn push(&mut self, at_ns: u64, payload: T) {
        self.push_with(at_ns, || payload);
    }

    /// As [`Queue::push`], for a payload that is only now put together: it is written straight into its slot. One that is
    /// made before, and would have to be dropped if there were no room, is made in memory and copied from there.
    #[inline(always)]
    pub fn push_with(&mut self, at_ns: u64, make: impl FnOnce() -> T) {
        assert!(at_ns >= self.now_ns, "time does not go back");
        if self.free == NONE {
            self.add_slot();
        }
        let slot = self.free;
        let sequence = self.sequence;
        let entry = &mut self.slots[slot as usize];
        assert!(entry.payload.is_none(), "a free slot is empty");
        entry.payload = Some(make());
        entry.at_ns = at_ns;
        entry.sequence = sequence;
        self.free = entry.next;
        self.sequence = sequence.wrapping_add(1);
        self.length = self.length.wrapping_add(1);
        let stretch = at_ns >> self.width_log2;
        if stretch - self.first >= BUCKETS {
            return self.push_far(at_ns, slot, stretch);
        }
        let place = bucket(stretch);
        entry.next = self.lists[place];
        self.lists[place] = slot;
        self.occupied[place / 64] |= 1 << (place % 64);
    }

    /// Takes the next entry and its time, if that is not after `limit_ns`.
    pub fn pop_before(&mut self, limit_ns: u64) -> Option<(u64, T)> {
        let slot = self.advance(limit_ns)?;
        let payload = self.take(slot)?;
        Some((self.now_ns, payload))
    }

    /// Takes the next entry and its time.
    pub fn pop(&mut self) -> Option<(u64, T)> {
        self.pop_before(u64::MAX)
    }

    /// The time of the entry popped last.
    #[inline]
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Takes the payload of an entry that [`Queue::advance`] has just popped.
    #[inline(always)]
    pub(crate) fn take(&mut self, slot: u32) -> Option<T> {
        self.slots[slot as usize].payload.take()
    }

    /// Pops the next entry, if it is not after `limit_ns`, and says where its payload still lies: from there it is moved once
    /// and not by way of two results.
    #[inline(always)]
    pub(crate) fn advance(&mut self, limit_ns: u64) -> Option<u32> {
        let stretch = match self.first_occupied() {
            Some(stretch) => stretch,
            None => self.jump(limit_ns)?,
        };
        let place = bucket(stretch);
        let head = self.lists[place];
        let entry = &mut self.slots[head as usize];
        let slot = if entry.next == NONE {
            if entry.at_ns > limit_ns {
                return None;
            }
            self.now_ns = entry.at_ns;
            entry.next = self.free;
            self.lists[place] = NONE;
            self.occupied[place / 64] &= !(1 << (place % 64));
            head
        } else {
            self.unhang_least(place, limit_ns)?
        };
        self.free = slot;
        self.length = self.length.wrapping_sub(1);
        self.first = stretch;
        if self.far_from - stretch < BUCKETS {
            self.fetch();
        }
        self.pops = self.pops.wrapping_add(1);
        if self.pops == POPS_PER_LOOK {
            self.look();
        }
        Some(slot)
    }

    /// Takes the least of a list of several out of it, if it is not after `limit_ns`.
    fn unhang_least(&mut self, place: usize, limit_ns: u64) -> Option<u32> {
        let head = self.lists[place];
        let (mut least, mut before) = (head, NONE);
        let first = &self.slots[head as usize];
        let (mut at_ns, mut sequence) = (first.at_ns, first.sequence);
        let (mut previous, mut slot) = (head, first.next);
        while slot != NONE {
            let entry = &self.slots[slot as usize];
            if (entry.at_ns, entry.sequence) < (at_ns, sequence) {
                (least, before, at_ns, sequence) = (slot, previous, entry.at_ns, entry.sequence);
            }
            self.looked_at = self.looked_at.wrapping_add(1);
            (previous, slot) = (slot, entry.next);
        }
        if at_ns > limit_ns {
            return None;
        }
        self.now_ns = at_ns;
        let next = std::mem::replace(&mut self.slots[least as usize].next, self.free);
        if before == NONE {
            self.lists[place] = next;
        } else {
            self.slots[before as usize].next = next;
        }
        Some(least)
    }

    /// The number of the first stretch that holds anything, if the ring does.
    #[inline]
    fn first_occupied(&self) -> Option<u64> {
        let here = self.occupied[bucket(self.first) / 64] >> (self.first % 64);
        if here != 0 {
            return Some(self.first + u64::from(here.trailing_zeros()));
        }
        let word = self.first / 64;
        // The last of these is the word of the beginning again: its low bits are the ring's end.
        (word + 1..=word + WORDS as u64).find_map(|word| {
            let bits = self.occupied[word as usize % WORDS];
            (bits != 0).then(|| word * 64 + u64::from(bits.trailing_zeros()))
        })
    }

    /// The ring is empty: it goes on where the heap begins, unless that is after `limit_ns`. Gives the stretch.
    #[inline(never)]
    fn jump(&mut self, limit_ns: u64) -> Option<u64> {
        if (self.far.first()? >> 64) as u64 > limit_ns {
            return None;
        }
        self.first = self.far_from;
        self.fetch();
        Some(self.first)
    }

    #[cold]
    #[inline(never)]
    fn add_slot(&mut self) {
        let slot = self.slots.len() as u32;
        assert!(slot >> SLOT_BITS == 0, "fewer than 2^24 events wait at once");
        self.slots.push(Slot { at_ns: 0, sequence: 0, next: NONE, payload: None });
        self.free = slot;
    }

    #[inline(never)]
    fn push_far(&mut self, at_ns: u64, slot: u32, stretch: u64) {
        let sequence = self.slots[slot as usize].sequence;
        assert!(sequence >> (64 - SLOT_BITS) == 0, "a world pushes fewer than 2^40 events");
        self.far.push(u128::from(at_ns) << 64 | u128::from(sequence << SLOT_BITS | u64::from(slot)));
        self.far_from = self.far_from.min(stretch);
    }

    /// Moves what the ring now reaches from the heap into it.
    #[inline(never)]
    fn fetch(&mut self) {
        while self.far_from - self.first < BUCKETS {
            let key = self.far.pop().expect("the heap begins where it says");
            self.hang(key as u32 & ((1 << SLOT_BITS) - 1), self.far_from);
            self.moved += 1;
            self.far_from = self.far.first().map_or(u64::MAX, |key| (key >> 64) as u64 >> self.width_log2);
        }
    }

    /// Hangs a slot into the list of its stretch.
    fn hang(&mut self, slot: u32, stretch: u64) {
        let place = bucket(stretch);
        self.slots[slot as usize].next = std::mem::replace(&mut self.lists[place], slot);
        self.occupied[place / 64] |= 1 << (place % 64);
    }

    /// Looks whether stretches are too long, so that lists are, or too short, so that most entries take the way round by the
    /// heap.
    #[cold]
    #[inline(never)]
    fn look(&mut self) {
        if self.looked_at > POPS_PER_LOOK && self.width_log2 > 1 {
            self.set_width(self.width_log2 - 1);
        } else if self.moved > POPS_PER_LOOK / 8 && self.looked_at < POPS_PER_LOOK / 3 && self.width_log2 < 40 {
            self.set_width(self.width_log2 + 1);
        }
        (self.pops, self.looked_at, self.moved) = (0, 0, 0);
    }

    /// Gives every stretch another length: all that is in the ring is hung anew.
    fn set_width(&mut self, width_log2: u32) {
        let lists = std::mem::replace(&mut self.lists, [NONE; BUCKETS as usize]);
        self.occupied = [0; WORDS];
        self.width_log2 = width_log2;
        self.first = self.now_ns >> width_log2;
        self.far_from = self.far.first().map_or(u64::MAX, |key| (key >> 64) as u64 >> width_log2);
        for mut slot in lists {
            while let Some(entry) = self.slots.get(slot as usize) {
                let (at_ns, next) = (entry.at_ns, entry.next);
                let stretch = at_ns >> width_log2;
                if stretch - self.first < BUCKETS {
                    self.hang(slot, stretch);
                } else {
                    self.push_far(at_ns, slot, stretch);
                }
                slot = next;
            }
        }
        if self.far_from - self.first < BUCKETS {
            self.fetch();
        }
    }
}

/// Where in the ring a stretch lies.
#[inline(always)]
fn bucket(stretch: u64) -> usize {
    (stretch % BUCKETS) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::rng::Stream;

    #[test]
    fn entries_of_one_instant_leave_in_the_order_of_their_pushes() {
        let mut queue = Queue::default();
        for number in 0..100 {
            queue.push(7, number);
        }
        assert_eq!(
            (0..100).map(|_| queue.pop().expect("100 entries").1).collect::<Vec<_>>(),
            (0..100).collect::<Vec<_>>()
        );
        assert!(queue.pop().is_none());
    }

    #[test]
    fn any_mixture_of_pushes_and_pops_agrees_with_a_sorted_map() {
        for seed in 0..80 {
            let mut stream = Stream::new(seed, "queue", 0, 0);
            let mut queue = Queue::default();
            let mut model = BTreeMap::new();
            let mut now = 0;
            let span = [0, 3, 100, 1 << 17, 1 << 20, 1 << 24, 1 << 30, 1 << 45][(seed % 8) as usize];
            for sequence in 0..6000u64 {
                // It fills for a while, then empties.
                if stream.chance(if sequence % 1500 < 800 { 700_000 } else { 300_000 }) {
                    let at = now + stream.range(0, span);
                    queue.push(at, sequence);
                    model.insert((at, sequence), sequence);
                } else {
                    let limit = if stream.chance(100_000) { now + stream.range(0, span) } else { u64::MAX };
                    let expected = model.first_key_value().map(|((at, _), _)| *at).filter(|at| *at <= limit);
                    let expected = expected.and_then(|_| model.pop_first()).map(|((at, _), payload)| (at, payload));
                    assert_eq!(queue.pop_before(limit), expected, "seed {seed}");
                    now = expected.map_or(now, |(at, _)| at);
                }
                assert_eq!(queue.len(), model.len());
                assert_eq!(queue.next_at_ns(), model.first_key_value().map(|((at, _), _)| *at));
            }
            while let Some(((at, _), payload)) = model.pop_first() {
                assert_eq!(queue.pop(), Some((at, payload)));
            }
            assert!(queue.is_empty());
        }
    }

    #[test]
    fn the_width_follows_the_entries_and_the_order_stays() {
        let mut queue = Queue::default();
        let mut widths = Vec::new();
        for (round, spread_log2) in [(0u64, 12), (1, 34), (2, 22)] {
            let mut stream = Stream::new(round, "queue", 1, 0);
            let mut last = queue.now_ns;
            for _ in 0..100 {
                queue.push(last + stream.below(1 << spread_log2), 0);
            }
            for _ in 0..100_000 {
                let (at, _) = queue.pop().expect("it is never empty");
                assert!(at >= last);
                last = at;
                queue.push(at + stream.below(1 << spread_log2), 0);
            }
            widths.push(queue.width_log2);
            while queue.pop().is_some() {}
        }
        assert!(widths[0] < widths[2] && widths[2] < widths[1], "{widths:?}");
    }

    #[test]
    fn the_ends_of_time_can_be_waited_for() {
        let mut queue = Queue::default();
        queue.push(u64::MAX, 2);
        queue.push(0, 0);
        queue.push(u64::MAX - 1, 1);
        assert_eq!(queue.pop_before(u64::MAX - 2), Some((0, 0)));
        assert_eq!(queue.pop_before(u64::MAX - 2), None);
        assert_eq!(queue.pop(), Some((u64::MAX - 1, 1)));
        queue.push(u64::MAX, 3);
        assert_eq!(queue.pop(), Some((u64::MAX, 2)));
        assert_eq!(queue.pop(), Some((u64::MAX, 3)));
        assert_eq!(queue.pop(), None);
    }

    #[test]
    #[should_panic(expected = "time does not go back")]
    fn nothing_is_pushed_into_the_past() {
        let mut queue = Queue::default();
        queue.push(10, ());
        queue.pop();
        queue.push(9, ());
    }

    #[test]
    fn slots_are_used_again() {
        let mut queue = Queue::default();
        for round in 0..1000 {
            queue.push(round, round);
            queue.push(round, round);
            queue.pop();
            queue.pop();
        }
        assert_eq!(queue.slots.len(), 2);
    }
}
