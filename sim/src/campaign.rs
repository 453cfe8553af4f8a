//! Campaigns: many seeds on many threads, and the one place where a panic becomes a finding.
//!
//! Invariant: what a campaign reports follows from the seeds alone. Outcomes are taken into account in the order of their
//! seeds and never in that of their arrival, so that the report of any number of threads is the same, whether it ran to its
//! end or stopped at a failure. Deliberately absent: time. A campaign ends when it is told to; who tells it may have a clock.
//!
//! This is the one file of the simulator that starts threads and catches panics. Each world still runs on one thread.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "threads run whole seeds beside each other and share nothing that a seed could see; a panic is a verdict"
)]

mod report;

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook},
    sync::{
        Condvar, Mutex, MutexGuard, Once, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, ThreadId},
    time::Duration,
};

pub use report::{Ended, Report, SeedFailure};

use crate::{
    oracle::Violation,
    schedule::Schedule,
    simulation::{Outcome, Simulation},
    trace::TraceMode,
    verdict::{Failure, Verdict},
    workload::{KvWorkload, Workload},
    world::{Place, World},
};

/// How many outcomes may wait to be taken into account.
const QUEUE: usize = 256;

/// How far ahead of the first seed that is not taken into account others are begun: their outcomes are kept until it is. Far
/// more than a slow seed lets pass; one that never returns stops the others there, and not when memory ends.
const AHEAD_MAX: u64 = 4096;

/// How often whoever watches a campaign is called at least.
const TICK: Duration = Duration::from_millis(50);

/// Which seeds to run, and when to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Campaign {
    /// The first seed.
    pub start: u64,
    /// How many seeds, at most.
    pub seeds: u64,
    /// How many threads; at least one is started.
    pub jobs: u32,
    /// Stop at this many failed seeds.
    pub failures_max: u64,
    /// Run each seed that is divisible by this twice and compare the digests; 0 for none.
    pub recheck_every: u64,
}

/// Runs a campaign: `run` is called once for each seed, in order, each on one of several threads.
///
/// `watch` is called whenever something is known, and several times a second, with the seeds at hand, the lowest first. Setting `stop` ends
/// the campaign after those. Which seeds count: all from the first on without a gap, up to the one that made it stop.
pub fn run_campaign(
    campaign: &Campaign,
    run: &(dyn Fn(u64) -> Outcome + Sync),
    stop: &AtomicBool,
    mut watch: impl FnMut(&Report, &[u64]),
) -> Report {
    let (sender, receiver) = sync_channel(QUEUE);
    let turns =
        Turns { campaign, stop, enough: AtomicBool::new(false), state: Mutex::default(), counted: Condvar::new() };
    let mut report = Report::new(campaign.start);
    thread::scope(|scope| {
        for _ in 0..campaign.jobs.max(1) {
            let sender = sender.clone();
            scope.spawn(|| work(&turns, run, sender));
        }
        drop(sender);
        gather(&receiver, &mut report, &turns, &mut watch);
    });
    report.ended = if report.seeds_run == campaign.seeds {
        Ended::Complete
    } else if turns.enough.load(Ordering::Relaxed) {
        Ended::Failures
    } else {
        Ended::Stopped
    };
    report
}

/// Which thread runs which seed.
struct Turns<'a> {
    campaign: &'a Campaign,
    stop: &'a AtomicBool,
    /// Whether as many seeds failed as the campaign was to stop at.
    enough: AtomicBool,
    state: Mutex<State>,
    /// Told when more seeds are taken into account.
    counted: Condvar,
}

/// Seeds by their numbers, the campaign's first being 0.
#[derive(Default)]
struct State {
    /// The first that nobody has taken.
    next: u64,
    /// How many are taken into account.
    counted: u64,
    at_hand: BTreeSet<u64>,
}

impl Turns<'_> {
    /// The next seed that nobody has taken, as soon as it is not too far ahead; none if there is none, or the campaign ends.
    fn take(&self) -> Option<u64> {
        let mut state = self.state();
        loop {
            let is_over = self.enough.load(Ordering::Relaxed) || self.stop.load(Ordering::Relaxed);
            if is_over || state.next >= self.campaign.seeds {
                return None;
            }
            if state.next - state.counted < AHEAD_MAX {
                let number = state.next;
                state.next += 1;
                state.at_hand.insert(number);
                return Some(number);
            }
            // Not for ever: who sets `stop` tells nobody.
            state = self.counted.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn give_back(&self, number: u64) {
        self.state().at_hand.remove(&number);
    }

    /// So many are taken into account now. The seeds at hand.
    fn count(&self, counted: u64) -> Vec<u64> {
        let mut state = self.state();
        state.counted = counted;
        self.counted.notify_all();
        state.at_hand.iter().map(|number| self.campaign.start + number).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thread's share.
fn work(turns: &Turns<'_>, run: &(dyn Fn(u64) -> Outcome + Sync), sender: SyncSender<(u64, Outcome)>) {
    while let Some(number) = turns.take() {
        let outcome = run_seed(turns.campaign.start + number, turns.campaign.recheck_every, run);
        turns.give_back(number);
        if sender.send((number, outcome)).is_err() {
            return;
        }
    }
}

/// Takes the outcomes into account in the order of their seeds, until the last thread has ended.
fn gather(
    receiver: &Receiver<(u64, Outcome)>,
    report: &mut Report,
    turns: &Turns<'_>,
    watch: &mut dyn FnMut(&Report, &[u64]),
) {
    // At most as many as may be ahead.
    let mut early = BTreeMap::new();
    loop {
        match receiver.recv_timeout(TICK) {
            Ok((number, outcome)) => {
                early.insert(number, outcome);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        // What other threads still bring after the last failure that counts is dropped: another number of threads would
        // bring something else.
        while !turns.enough.load(Ordering::Relaxed)
            && let Some(outcome) = early.remove(&report.seeds_run)
        {
            report.add(&outcome);
            turns.enough.store(report.seeds_failed >= turns.campaign.failures_max, Ordering::Relaxed);
        }
        watch(report, &turns.count(report.seeds_run));
    }
}

/// Runs one seed, twice if it is its turn to be compared with itself.
fn run_seed(seed: u64, recheck_every: u64, run: &(dyn Fn(u64) -> Outcome + Sync)) -> Outcome {
    // A panic of a process is caught closer to it, where its world is at hand. What comes here is the simulator's own.
    let guarded = || caught(|| run(seed)).unwrap_or_else(|panic| outside(seed, &panic));
    let mut outcome = guarded();
    if recheck_every > 0 && seed.is_multiple_of(recheck_every) {
        let again = guarded();
        if again.digest != outcome.digest {
            outcome.failure = Some(differs(&outcome, &again));
        }
    }
    outcome
}

/// The finding that one seed gave two runs.
pub fn differs(first: &Outcome, second: &Outcome) -> Failure {
    let hex = |outcome: &Outcome| blake3::Hash::from_bytes(outcome.digest).to_hex();
    Failure {
        verdict: Verdict::Nondeterminism,
        oracle: "replay".into(),
        place: "two runs of one seed".into(),
        violation: format!("seed {} gave digest {} and then {}", first.seed, &hex(first)[..16], &hex(second)[..16]),
        at_ns: first.virtual_ns,
        step: first.events,
    }
}

/// Runs a schedule of the key-value store to its end; a panic of a process is the run's verdict.
pub fn run_schedule(schedule: &Schedule, trace: TraceMode, code_version: &str) -> Outcome {
    run_schedule_of(KvWorkload, schedule, trace, code_version)
}

/// Runs a schedule of this application to its end; a panic of a process is the run's verdict.
pub fn run_schedule_of<W: Workload>(
    workload: W,
    schedule: &Schedule<W::Plan>,
    trace: TraceMode,
    code_version: &str,
) -> Outcome {
    let mut simulation = Simulation::of(workload, schedule, trace, code_version);
    if let Err(panic) = caught(|| simulation.run()) {
        blame(simulation.world_mut(), &panic);
    }
    simulation.outcome()
}

/// Drives a world of one's own to its end; a panic of a process is the run's verdict.
///
/// The outcome has what every world has. What only the world's owner knows (replicas, commits, requests) is 0, to be filled in.
pub fn run_world(world: &mut World, drive: impl FnOnce(&mut World)) -> Outcome {
    if let Err(panic) = caught(|| drive(world)) {
        blame(world, &panic);
    }
    world.finish();
    Outcome {
        digest: world.digest(),
        failure: world.verdict().cloned(),
        virtual_ns: world.now_ns(),
        events: world.steps(),
        crashes: world.crashes(),
        restarts: world.nodes().map(|node| u64::from(world.restarts(node))).sum(),
        probes: world.probe_counts(),
        trace: world.trace(),
        ..blank(world.seed())
    }
}

/// Gives the world the verdict that whoever's turn it was has panicked, and closes it.
fn blame(world: &mut World, panic: &Panic) {
    let (oracle, who) = match world.place() {
        Place::Process(node) => ("process", world.name(node).to_owned()),
        Place::Oracle(name) => (name, format!("the oracle `{name}`")),
        Place::World => ("world", "the world".to_owned()),
    };
    world.fail(oracle, panic.violation(&who));
    world.finish();
}

/// The outcome of a seed that panicked where no world was at hand: while its schedule was drawn, for instance.
fn outside(seed: u64, panic: &Panic) -> Outcome {
    let Violation { verdict, place, sentence: violation, .. } = panic.violation("the simulator");
    let failure = Failure { verdict, oracle: "simulator".into(), place, violation, at_ns: 0, step: 0 };
    Outcome { failure: Some(failure), ..blank(seed) }
}

fn blank(seed: u64) -> Outcome {
    Outcome {
        seed,
        digest: [0; 32],
        failure: None,
        virtual_ns: 0,
        events: 0,
        replicas: 0,
        commits: 0,
        requests_acknowledged: 0,
        view_changes: 0,
        crashes: 0,
        restarts: 0,
        probes: Vec::new(),
        trace: None,
        particulars: Vec::new(),
    }
}

/// A panic that was caught.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Panic {
    /// What it said, in one line.
    pub message: String,
    /// The file and line, the same wherever the code was built.
    pub place: String,
}

impl Panic {
    fn of(info: &PanicHookInfo<'_>) -> Self {
        let message = info.payload_as_str().unwrap_or("a panic without a message");
        let lines: Vec<&str> = message.lines().map(str::trim).collect();
        let place = info.location().map(|location| format!("{}:{}", portable(location.file()), location.line()));
        Self { message: lines.join("; "), place: place.unwrap_or_else(|| "an unknown place".into()) }
    }

    /// The panic as the verdict on `process`.
    pub fn violation(&self, process: &str) -> Violation {
        Violation {
            verdict: Verdict::Crash,
            place: self.place.clone(),
            sentence: format!("{process} panicked at {}: {}", self.place, self.message),
            promise: None,
        }
    }
}

/// The threads that are within [`caught`], one entry for each time, and what the hook saw of each one's last panic.
static CAUGHT: Mutex<Vec<(ThreadId, Option<Panic>)>> = Mutex::new(Vec::new());

/// Does `work`; a panic in it is silent and comes back as an error.
///
/// Whatever `work` was changing is as far as it got. A world is still good for being looked at: whose step it was, the trace
/// up to the event that did it. It may go on if [`World::stop_panicked`] says so.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Panic> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let default = take_hook();
        set_hook(Box::new(move |info| {
            if !innermost(|seen| *seen = Some(Panic::of(info))) {
                default(info);
            }
        }));
    });
    let thread = thread::current().id();
    lock().push((thread, None));
    let result = catch_unwind(AssertUnwindSafe(work));
    let mut entries = lock();
    let own = entries.iter().rposition(|(of, _)| *of == thread).expect("it was pushed above");
    let (_, seen) = entries.remove(own);
    drop(entries);
    // No hook sees a panic that is resumed.
    let unseen = || Panic { message: "an unknown panic".into(), place: "an unknown place".into() };
    result.map_err(|_| seen.unwrap_or_else(unseen))
}

/// Shows the last entry of this thread; false if it has none.
fn innermost(show: impl FnOnce(&mut Option<Panic>)) -> bool {
    let thread = thread::current().id();
    let mut entries = lock();
    let entry = entries.iter_mut().rfind(|(of, _)| *of == thread);
    entry.map(|(_, seen)| show(seen)).is_some()
}

fn lock() -> MutexGuard<'static, Vec<(ThreadId, Option<Panic>)>> {
    CAUGHT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A source file's name without the folders that differ between machines.
fn portable(file: &str) -> String {
    let file = file.replace('\\', "/");
    let is_absolute = file.starts_with('/') || file.get(1..3) == Some(":/");
    if !is_absolute {
        return file;
    }
    if let Some((_, inner)) = file.split_once("/registry/src/") {
        // The registry's own folder comes first.
        return inner.split_once('/').map_or(inner, |(_, package)| package).to_owned();
    }
    if let Some(at) = file.rfind("/library/") {
        return file[at + 1..].to_owned();
    }
    let folder = ["/src/", "/tests/", "/examples/"].into_iter().filter_map(|folder| file.rfind(folder)).min();
    let package = folder.and_then(|at| file[..at].rfind('/'));
    let at = package.or_else(|| file.rfind('/')).map_or(0, |slash| slash + 1);
    file[at..].to_owned()
}

#[cfg(test)]
mod tests;
