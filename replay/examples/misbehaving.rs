//! Scenarios that go wrong in every way that a campaign tells apart, for the tests of `replay`: each seed that ends in 7 does.

use std::{
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
};

use chronon::{
    process::{Actions, Event, Now, ProbeId, Process},
    types::Instant,
};
use chronon_replay::{Outcome, Program, TraceMode, World, WorldSettings, run_world};
use chronon_sim::oracle::Violation;

fn main() -> ExitCode {
    Program::new("misbehaving", "1")
        .scenario("clean", "nothing goes wrong", |seed, trace| run(seed, trace, Misbehaviour::None))
        .scenario("panics", "a process panics", |seed, trace| run(seed, trace, Misbehaviour::Panic))
        .scenario("silent", "a promise is not kept in time", |seed, trace| run(seed, trace, Misbehaviour::Silence))
        .scenario("spins", "virtual time stands still", |seed, trace| run(seed, trace, Misbehaviour::Spin))
        .scenario("drifts", "no run is like the one before", |seed, trace| run(seed, trace, Misbehaviour::Drift))
        .scenario("shallow", "a rare path is never taken", |seed, trace| run(seed, trace, Misbehaviour::Shallow))
        .scenario("explodes", "the simulator itself panics", |seed, trace| run(seed, trace, Misbehaviour::Explode))
        .scenario("litters", "a seed takes the folder of reports away, and fails", |seed, trace| {
            if seed % 10 == 7 {
                // Whether or not it is there.
                let _ = std::fs::remove_dir_all("reports");
            }
            run(seed, trace, Misbehaviour::Silence)
        })
        .scenario("hangs", "no seed after the first that fails comes to an end", |seed, trace| {
            if seed <= 7 {
                return run(seed, trace, Misbehaviour::Silence);
            }
            eprintln!("seed {seed} hangs");
            loop {
                std::thread::park();
            }
        })
        .main()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Misbehaviour {
    None,
    Panic,
    Silence,
    Spin,
    Drift,
    Shallow,
    Explode,
}

/// Counts runs, so that no two are alike: what no simulation may have.
static RUNS: AtomicU64 = AtomicU64::new(0);

fn run(seed: u64, trace: TraceMode, misbehaviour: Misbehaviour) -> Outcome {
    let is_bad = seed % 10 == 7;
    assert!(!(is_bad && misbehaviour == Misbehaviour::Explode), "seed {seed} explodes");
    let drift_ns = if misbehaviour == Misbehaviour::Drift { RUNS.fetch_add(1, Ordering::Relaxed) } else { 0 };
    let settings = WorldSettings { trace, steps_per_instant_max: 1_000, ..WorldSettings::default() };
    let mut world = World::with_settings(seed, settings);
    world.add_node("p0", Ticker { misbehaviour, is_bad, drift_ns, ticks: 0, next: Instant(0) });
    run_world(&mut world, |world| {
        world.run_for(1_000_000);
        if is_bad && misbehaviour == Misbehaviour::Silence {
            world.fail("patience", Violation::liveness("no answer", "p0 has not answered within 1 ms"));
        }
    })
}

#[derive(Clone)]
struct Ticker {
    misbehaviour: Misbehaviour,
    is_bad: bool,
    drift_ns: u64,
    ticks: u64,
    next: Instant,
}

impl Process for Ticker {
    fn step(&mut self, now: Now, _event: Event<'_>, actions: &mut Actions) {
        self.ticks += 1;
        let is_time = self.is_bad && self.ticks == 10;
        assert!(!(is_time && self.misbehaviour == Misbehaviour::Panic), "the {}th tick\nis one too many", self.ticks);
        if self.misbehaviour != Misbehaviour::Shallow {
            actions.probe(ProbeId(1));
        }
        actions.probe(ProbeId(0));
        let is_spinning = self.is_bad && self.ticks >= 10 && self.misbehaviour == Misbehaviour::Spin;
        self.next = now.monotonic.after(if is_spinning { 0 } else { 100_000 + self.drift_ns });
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.next)
    }

    fn probes(&self) -> &'static [&'static str] {
        &["ticked", "ticked_deeply"]
    }
}
