//! A heap of keys: what the queue's ring does not reach.

/// How many children a key has in the heap. Four keys of 16 bytes share one cache line.
const CHILDREN: usize = 4;

/// A heap of keys, the least first. A key has, from its high bits, 64 of time, 40 of sequence and 24 of slot, so that one
/// comparison of integers orders two.
#[derive(Clone, Default)]
pub(super) struct Heap {
    keys: Vec<u128>,
}

impl Heap {
    pub(super) fn first(&self) -> Option<&u128> {
        self.keys.first()
    }

    pub(super) fn push(&mut self, key: u128) {
        self.keys.push(key);
        self.rise(self.keys.len() - 1, key);
    }

    pub(super) fn pop(&mut self) -> Option<u128> {
        let first = *self.keys.first()?;
        let last = self.keys.pop().expect("a first key has a last");
        if !self.keys.is_empty() {
            self.sink(last);
        }
        Some(first)
    }

    /// Puts `key` where it belongs on the way from `hole` up to the root.
    fn rise(&mut self, mut hole: usize, key: u128) {
        while hole > 0 {
            let parent = (hole - 1) / CHILDREN;
            if self.keys[parent] < key {
                break;
            }
            self.keys[hole] = self.keys[parent];
            hole = parent;
        }
        self.keys[hole] = key;
    }

    /// Fills the hole at the root: the least child moves up, level by level, down to a leaf; then `key`, which was the last
    /// leaf and mostly belongs low, rises from there. Fewer comparisons than to weigh `key` at each level.
    fn sink(&mut self, key: u128) {
        let mut hole = 0;
        loop {
            let child = hole * CHILDREN + 1;
            let end = self.keys.len().min(child + CHILDREN);
            let Some(least) = (child..end).min_by_key(|place| self.keys[*place]) else { break };
            self.keys[hole] = self.keys[least];
            hole = least;
        }
        self.rise(hole, key);
    }
}
