//! What waits for the threads of one lane, bounded; and how many threads there are for it.
//!
//! Invariant: what is taken into the queue comes out of it once, to a thread that does it or says why it was not begun. A thread ends
//! only under the lock and with nothing waiting, so that no order is left to nobody.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chronon::effect::EffectOrder;

/// How long a thread waits for another order before it ends.
const IDLE: Duration = Duration::from_secs(10);

/// An order, and when the primary gives it up.
pub(super) struct Waiting {
    pub(super) order: EffectOrder,
    pub(super) until: Instant,
}

/// What became of an order that was put into the queue.
pub(super) enum Put {
    /// It waits, and there is a thread for it.
    Taken,
    /// It waits, and a thread is to be started, which is counted already.
    WantsThread,
    /// There is no room.
    Full(EffectOrder),
}

/// The orders of a lane.
pub(super) struct Queue {
    waiting_max: usize,
    threads_max: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    threads: usize,
    /// Threads that wait for an order, or were told of one and have not taken it.
    idle: usize,
    /// Nobody wants to hear of anything any more.
    closed: bool,
}

impl Queue {
    pub(super) fn new(waiting_max: usize, threads_max: usize) -> Self {
        Self { waiting_max, threads_max, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Nothing is done under this lock that could panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, waiting: Waiting) -> Put {
        let mut state = self.lock();
        if state.waiting.len() >= self.waiting_max {
            return Put::Full(waiting.order);
        }
        state.waiting.push_back(waiting);
        if state.idle < state.waiting.len() && state.threads < self.threads_max {
            state.threads += 1;
            return Put::WantsThread;
        }
        drop(state);
        self.changed.notify_one();
        Put::Taken
    }

    /// Takes out what waits and `stale` says is of no use any more.
    pub(super) fn retract(&self, stale: impl Fn(&EffectOrder) -> bool) -> Vec<EffectOrder> {
        let mut state = self.lock();
        let (out, stay): (VecDeque<_>, _) = state.waiting.drain(..).partition(|waiting| stale(&waiting.order));
        state.waiting = stay;
        out.into_iter().map(|waiting| waiting.order).collect()
    }

    /// The next order, for a thread of this queue. None if it is to end.
    pub(super) fn take(&self) -> Option<Waiting> {
        let mut state = self.lock();
        loop {
            if state.closed {
                break;
            }
            if let Some(waiting) = state.waiting.pop_front() {
                return Some(waiting);
            }
            state.idle += 1;
            let (woken, wait) = self.changed.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if wait.timed_out() && state.waiting.is_empty() {
                break;
            }
        }
        state.threads -= 1;
        None
    }

    /// A thread that was counted could not be started. Returns what nobody would take now.
    pub(super) fn lack_thread(&self) -> Vec<EffectOrder> {
        let mut state = self.lock();
        state.threads -= 1;
        let left = if state.threads == 0 { std::mem::take(&mut state.waiting) } else { VecDeque::new() };
        left.into_iter().map(|waiting| waiting.order).collect()
    }

    /// Whether it has neither orders nor threads.
    pub(super) fn is_gone(&self) -> bool {
        let state = self.lock();
        state.threads == 0 && state.waiting.is_empty()
    }

    /// Closes it if nothing waits and nothing is being done: its threads end then. Whether it did.
    pub(super) fn close_if_idle(&self) -> bool {
        let mut state = self.lock();
        let is_idle = state.waiting.is_empty() && state.idle == state.threads;
        if is_idle {
            state.closed = true;
            self.changed.notify_all();
        }
        is_idle
    }

    /// Has the threads end with what they are at.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}
