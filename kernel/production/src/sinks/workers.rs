//! The threads that effects are done on, and how what came of them gets back.
//!
//! Each channel has a queue and a thread of its own, lines of the log have one, fetches a few; the replica's own thread does nothing
//! but put orders into queues and take reports out of another, which wakes it. So a sink that is slow or hangs delays nothing but its
//! own channel. Everything is bounded: past a bound an order is reported as failed without having been begun, and the outbox has it
//! tried again after a while.
//!
//! Threads begin with their first order and end when there is none for a while. They are not waited for when the replica ends: what is
//! being done then is done, and nobody hears of it, as after a crash.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    time::{Duration, Instant},
};

use super::{
    Sink, Sinks, code,
    queue::{Put, Queue, Waiting},
    tally::{Lane, Tally},
    troubles::Troubles,
};
use crate::wake::Wake;
use chronon::{
    effect::{EffectOrder, EffectReport, EffectResult, Errand},
    env::EffectSink,
};

/// How many orders wait in a channel. A primary gives one at a time; more come when it has given the one before up.
const WAITING_MAX: usize = 16;

/// How many fetches are under way at once.
const FETCHERS: usize = 32;

/// How many fetches wait. A primary has no more under way.
const FETCHES_WAITING_MAX: usize = 1024;

/// How many lanes have threads at once. A primary has no more effects under way.
const LANES_MAX: usize = 1024;

/// What a report is about, where the order went, and in the sink's words what it came to, if those are needed.
struct Came {
    lane: Lane,
    report: EffectReport,
    words: Option<String>,
}

/// How a thread says what an order came to.
#[derive(Clone)]
struct Reporter {
    came: Sender<Came>,
    wake: Wake,
}

/// An [`EffectSink`] over [`Sinks`], on threads of theirs.
pub struct Workers {
    sinks: Sinks,
    queues: BTreeMap<Lane, Arc<Queue>>,
    /// Reports of orders that no thread was given.
    refused: VecDeque<Came>,
    came: Receiver<Came>,
    reporter: Reporter,
    tally: Tally,
    troubles: Troubles,
}

impl Workers {
    /// No threads so far.
    ///
    /// # Errors
    /// If the system gives no event descriptor.
    pub fn new(sinks: Sinks) -> io::Result<Self> {
        let (sender, came) = channel();
        let reporter = Reporter { came: sender, wake: Wake::new()? };
        let (queues, refused) = (BTreeMap::new(), VecDeque::new());
        Ok(Self { sinks, queues, refused, came, reporter, tally: Tally::default(), troubles: Troubles::default() })
    }

    /// Becomes readable when an order came to something.
    pub fn wake(&self) -> BorrowedFd<'_> {
        self.reporter.wake.as_fd()
    }

    /// Forgets that orders came to something: called before they are polled for, so that what ends meanwhile wakes anew.
    pub fn quiet(&mut self) {
        self.reporter.wake.quiet();
    }

    /// What became of orders so far.
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Where orders come to errors at present.
    pub const fn troubles(&self) -> &Troubles {
        &self.troubles
    }

    fn note(&mut self, lane: Lane, result: &EffectResult, words: Option<String>) {
        let group = self.tally.group(lane);
        if let EffectResult::Done { .. } = result {
            return self.troubles.worked(group);
        }
        // The answer to a question says nothing of how it goes.
        let Some(code) = code_of(result) else { return };
        let words = words.or_else(|| code::words(code).map(str::to_owned));
        self.troubles.failed(group, &words.unwrap_or_else(|| format!("code {code}")));
    }

    /// An order came to this without being begun.
    fn refuse(&mut self, lane: Lane, order: &EffectOrder, result: EffectResult) {
        let report = EffectReport { id: order.id, token: order.token, result };
        self.refused.push_back(Came { lane, report, words: None });
    }

    fn queue(&mut self, lane: Lane) -> Option<Arc<Queue>> {
        if let Some(queue) = self.queues.get(&lane) {
            return Some(Arc::clone(queue));
        }
        if self.queues.len() >= LANES_MAX {
            self.queues.retain(|_, queue| !queue.is_gone());
        }
        if self.queues.len() >= LANES_MAX {
            // Its threads would have ended by themselves in a while.
            let (idle, _) = self.queues.iter().find(|(_, queue)| queue.close_if_idle())?;
            let idle = *idle;
            self.queues.remove(&idle);
        }
        let (waiting, threads) = if lane == Lane::Fetches { (FETCHES_WAITING_MAX, FETCHERS) } else { (WAITING_MAX, 1) };
        let queue = Arc::new(Queue::new(waiting, threads));
        self.queues.insert(lane, Arc::clone(&queue));
        Some(queue)
    }
}

impl EffectSink for Workers {
    fn run(&mut self, order: EffectOrder) {
        let lane = Lane::from(order.destination);
        self.tally.ordered(lane);
        let Some(sink) = self.sinks.of(order.destination) else {
            return self.refuse(lane, &order, EffectResult::Refused { code: code::NO_SINK });
        };
        let Some(queue) = self.queue(lane) else {
            return self.refuse(lane, &order, EffectResult::Failed { code: code::BUSY });
        };
        // A primary that gave an attempt up and makes another one does not want the one before done after it.
        let token = order.token;
        let stale = |other: &EffectOrder| other.token < token && (lane != Lane::Fetches || other.id == order.id);
        for stale in queue.retract(stale) {
            self.refuse(lane, &stale, EffectResult::Failed { code: code::SUPERSEDED });
        }
        // No later than the end of time, which a sum could be.
        let now = Instant::now();
        let until =
            now.checked_add(Duration::from_nanos(order.timeout_ns)).unwrap_or(now + Duration::from_secs(1 << 30));
        match queue.put(Waiting { order, until }) {
            Put::Taken => {}
            Put::Full(order) => self.refuse(lane, &order, EffectResult::Failed { code: code::BUSY }),
            Put::WantsThread => {
                for order in (Worker { queue, lane, sink, reporter: self.reporter.clone() }).start() {
                    self.refuse(lane, &order, EffectResult::Failed { code: code::BUSY });
                }
            }
        }
    }

    fn poll(&mut self) -> Option<EffectReport> {
        let Came { lane, report, words } = self.refused.pop_front().or_else(|| self.came.try_recv().ok())?;
        self.tally.came_to(lane, &report.result);
        self.note(lane, &report.result, words);
        Some(report)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.queues.values().for_each(|queue| queue.close());
    }
}

/// A thread of a lane, and all that it needs.
#[derive(Clone)]
struct Worker {
    queue: Arc<Queue>,
    lane: Lane,
    sink: Arc<dyn Sink>,
    reporter: Reporter,
}

impl Worker {
    /// Starts the thread, which its queue has counted. If the system gives none, what waits and has nobody else is returned.
    fn start(self) -> Vec<EffectOrder> {
        let queue = Arc::clone(&self.queue);
        let started = std::thread::Builder::new().name("effects".to_owned()).spawn(move || self.serve());
        if started.is_ok() { Vec::new() } else { queue.lack_thread() }
    }

    /// Does the orders of the lane, for as long as there are any.
    fn serve(&self) {
        while let Some(Waiting { mut order, until }) = self.queue.take() {
            let left = until.saturating_duration_since(Instant::now());
            order.timeout_ns = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
            let (result, words) = if left.is_zero() {
                (EffectResult::Failed { code: code::NOT_BEGUN }, None)
            } else {
                let panic = Panic { worker: self, order: &order };
                let result = match order.errand {
                    Errand::Run => self.sink.run(&order),
                    Errand::Ask => self.sink.ask(&order),
                };
                let own = code_of(&result).filter(|code| !code::is_ours(*code));
                let words = own.and_then(|code| self.sink.words(code));
                std::mem::forget(panic);
                (result, words)
            };
            self.report(&order, result, words);
        }
    }

    fn report(&self, order: &EffectOrder, result: EffectResult, words: Option<String>) {
        let report = EffectReport { id: order.id, token: order.token, result };
        // Nobody listens any more when the replica has ended.
        let _ = self.reporter.came.send(Came { lane: self.lane, report, words });
        self.reporter.wake.wake();
    }
}

/// What an order came to that was not done, and was no mere question.
const fn code_of(result: &EffectResult) -> Option<u32> {
    match *result {
        EffectResult::Done { .. } | EffectResult::NotDone => None,
        EffectResult::Failed { code } | EffectResult::Refused { code } | EffectResult::Unknown { code } => Some(code),
    }
}

/// Is dropped only if the sink panics: nobody knows what the order came to, and another thread takes the place of this one.
struct Panic<'a> {
    worker: &'a Worker,
    order: &'a EffectOrder,
}

impl Drop for Panic<'_> {
    fn drop(&mut self) {
        self.worker.report(self.order, EffectResult::Unknown { code: code::PANICKED }, None);
        for order in self.worker.clone().start() {
            self.worker.report(&order, EffectResult::Failed { code: code::BUSY }, None);
        }
    }
}

#[cfg(test)]
mod tests;
