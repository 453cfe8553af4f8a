//! A channel waits for nobody but itself, and what is put in comes out once.

use std::sync::{Mutex, mpsc::SyncSender};

use chronon::{
    effect::{Channel, Destination, EffectId, Fence, FencingToken, Severity},
    frame::Frame,
    types::{ClusterId, Epoch, Op, View},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;
use crate::sinks::{Counts, Group};

const DONE: EffectResult = EffectResult::Done { response: Vec::new() };

/// Says what it began, and does it when it is let.
#[derive(Debug)]
struct Gate {
    began: SyncSender<u64>,
    open: Mutex<Receiver<EffectResult>>,
}

impl Sink for Gate {
    fn run(&self, order: &EffectOrder) -> EffectResult {
        self.began.send(order.id.op.0).unwrap();
        self.open.lock().unwrap().recv().unwrap()
    }
}

/// A gate, what it began, and what lets it.
fn gate() -> (Arc<Gate>, Receiver<u64>, Sender<EffectResult>) {
    let (began, begun) = std::sync::mpsc::sync_channel(4096);
    let (let_it, open) = channel();
    (Arc::new(Gate { began, open: Mutex::new(open) }), begun, let_it)
}

fn order(destination: Destination, op: u64) -> EffectOrder {
    EffectOrder {
        id: EffectId { cluster: ClusterId(1), op: Op(op), position: 0, index: 0 },
        token: FencingToken { fence: Fence { epoch: Epoch(1), view: View(1) }, attempt: Op(op) },
        errand: Errand::Run,
        destination,
        payload: Frame::new(Vec::new()),
        timeout_ns: u64::MAX,
    }
}

const fn emit(channel: u32) -> Destination {
    Destination::Emit(Channel(channel))
}

/// Waits for the next report as a replica does.
fn next(workers: &mut Workers) -> (u64, EffectResult) {
    loop {
        workers.quiet();
        if let Some(report) = workers.poll() {
            return (report.id.op.0, report.result);
        }
        let mut waited = [PollFd::new(&workers.reporter.wake, PollFlags::IN)];
        let patience = Timespec { tv_sec: 60, tv_nsec: 0 };
        assert_eq!(poll(&mut waited, Some(&patience)), Ok(1), "it wakes");
    }
}

#[test]
fn a_channel_that_hangs_delays_no_other_and_takes_no_more_than_its_room() {
    let (hanging, begun, let_it) = gate();
    let sinks = Sinks::default().channel(Channel(0), hanging).others(Arc::new(crate::sinks::LogSink));
    let mut workers = Workers::new(sinks).unwrap();
    workers.run(order(emit(0), 1));
    assert_eq!(begun.recv(), Ok(1));
    for channel in 1..=40 {
        workers.run(order(emit(channel), u64::from(channel) + 100));
        assert_eq!(next(&mut workers), (u64::from(channel) + 100, DONE), "while channel 0 hangs");
    }
    workers.run(order(Destination::Log(Severity::Info), 99));
    assert_eq!(next(&mut workers), (99, DONE));
    // Each attempt in the channel takes the place of the one before it that was not begun.
    for op in 2..=5 {
        workers.run(order(emit(0), op));
    }
    for op in 2..=4 {
        assert_eq!(next(&mut workers), (op, EffectResult::Failed { code: code::SUPERSEDED }));
    }
    let hangs = workers.tally().of(Group::Lane(Lane::Channel(Channel(0))));
    assert_eq!((hangs.in_flight, hangs.failed), (2, 3));
    let_it.send(EffectResult::Failed { code: 7 }).unwrap();
    let_it.send(DONE).unwrap();
    assert_eq!(next(&mut workers), (1, EffectResult::Failed { code: 7 }));
    assert_eq!((begun.recv(), next(&mut workers)), (Ok(5), (5, DONE)));
    let counts = workers.tally().of(Group::Lane(Lane::Channel(Channel(0))));
    assert_eq!(counts, Counts { in_flight: 0, done: 1, failed: 4, refused: 0, unknown: 0 });
}

/// Fails, and says by which thread it was asked why.
#[derive(Debug)]
struct Failing;

impl Sink for Failing {
    fn run(&self, order: &EffectOrder) -> EffectResult {
        EffectResult::Failed { code: order.id.op.0 as u32 }
    }

    fn words(&self, code: u32) -> Option<String> {
        assert_ne!(code, 13, "it panics");
        (code != code::FENCED).then(|| format!("{code} on {:?}", std::thread::current().name()))
    }
}

#[test]
fn a_sink_finds_its_words_on_its_own_thread_and_may_panic_over_them() {
    let mut workers = Workers::new(Sinks::default().others(Arc::new(Failing))).unwrap();
    for (code, said) in [(7, "7 on Some(\"effects\")"), (code::FENCED, "fenced: "), (13, "the sink panicked")] {
        workers.run(order(emit(1), u64::from(code)));
        let (op, _) = next(&mut workers);
        let last = workers.troubles().last(Group::Lane(Lane::Channel(Channel(1)))).expect("it failed");
        assert!(op == u64::from(code) && last.starts_with(said), "{last}");
    }
}

#[test]
fn channels_without_number_are_used_one_after_another_and_only_those_at_work_keep_their_threads() {
    let (hanging, begun, let_it) = gate();
    let sinks = Sinks::default().channel(Channel(0), hanging).others(Arc::new(crate::sinks::LogSink));
    let mut workers = Workers::new(sinks).unwrap();
    workers.run(order(emit(0), 1));
    assert_eq!(begun.recv(), Ok(1));
    for channel in 1..=2 * LANES_MAX as u32 {
        let op = u64::from(channel) + 100;
        let mut attempt = |op| {
            workers.run(order(emit(channel), op));
            next(&mut workers)
        };
        // A thread that has reported is idle a moment later, and then nothing is refused any more.
        while attempt(op) != (op, DONE) {
            std::thread::yield_now();
        }
        assert!(workers.queues.len() <= LANES_MAX);
    }
    let_it.send(DONE).unwrap();
    assert_eq!(next(&mut workers), (1, DONE), "it was not idle");
}

#[test]
fn fetches_are_done_beside_each_other_and_past_their_room_they_are_told_so() {
    let (slow, begun, let_it) = gate();
    let mut workers = Workers::new(Sinks::default().fetches(slow)).unwrap();
    let most = FETCHERS + FETCHES_WAITING_MAX;
    // The oldest token first: a fetch takes no other's place.
    (0..FETCHERS as u64).for_each(|op| workers.run(order(Destination::Fetch, op)));
    // One at a time holds the gate's lock, and all have begun.
    let together: std::collections::BTreeSet<u64> = (0..FETCHERS).map(|_| begun.recv().unwrap()).collect();
    assert!(together.into_iter().eq(0..FETCHERS as u64));
    (FETCHERS as u64..=most as u64).for_each(|op| workers.run(order(Destination::Fetch, op)));
    assert_eq!(next(&mut workers), (most as u64, EffectResult::Failed { code: code::BUSY }));
    (0..most).for_each(|_| let_it.send(DONE).unwrap());
    let ended: std::collections::BTreeSet<u64> = (0..most).map(|_| next(&mut workers).0).collect();
    assert!(ended.into_iter().eq(0..most as u64), "each once");
}

#[test]
fn what_is_past_its_time_is_not_begun_and_what_has_no_sink_is_refused() {
    let (slow, begun, let_it) = gate();
    let mut workers = Workers::new(Sinks::default().channel(Channel(0), slow)).unwrap();
    workers.run(order(emit(0), 1));
    begun.recv().unwrap();
    workers.run(EffectOrder { timeout_ns: 1, ..order(emit(0), 2) });
    let_it.send(DONE).unwrap();
    assert_eq!(next(&mut workers), (1, DONE));
    assert_eq!(next(&mut workers), (2, EffectResult::Failed { code: code::NOT_BEGUN }));
    workers.run(order(emit(1), 3));
    assert_eq!(next(&mut workers), (3, EffectResult::Refused { code: code::NO_SINK }));
    assert!(begun.try_recv().is_err());
}

#[derive(Debug)]
struct Panics;

impl Sink for Panics {
    fn run(&self, order: &EffectOrder) -> EffectResult {
        assert!(order.id.op.0 != 1, "a sink's own bug");
        DONE
    }
}

#[test]
fn a_sink_that_panics_is_asked_again_and_one_that_knows_nothing_says_so() {
    let mut workers = Workers::new(Sinks::default().others(Arc::new(Panics))).unwrap();
    workers.run(order(emit(0), 1));
    assert_eq!(next(&mut workers), (1, EffectResult::Unknown { code: code::PANICKED }));
    workers.run(order(emit(0), 2));
    assert_eq!(next(&mut workers), (2, DONE));
    workers.run(EffectOrder { errand: Errand::Ask, ..order(emit(0), 3) });
    assert_eq!(next(&mut workers), (3, EffectResult::Refused { code: code::CANNOT_TELL }));
}

#[test]
fn threads_end_with_the_replica_though_not_before_what_they_are_at() {
    let (slow, begun, let_it) = gate();
    let mut workers = Workers::new(Sinks::default().others(slow)).unwrap();
    workers.run(order(emit(0), 1));
    begun.recv().unwrap();
    let queue = Arc::clone(&workers.queues[&Lane::Channel(Channel(0))]);
    drop(workers);
    assert!(!queue.is_gone());
    let_it.send(DONE).unwrap();
    let began = Instant::now();
    while !queue.is_gone() {
        assert!(began.elapsed() < Duration::from_secs(60), "it ends");
        std::thread::yield_now();
    }
}
