//! Campaigns of outcomes that are made up: order, endings, panics.

use std::sync::atomic::AtomicU64;

use chronon::{
    frame::Frame,
    process::{Actions, Event, Now, ProbeId, Process, Token},
    types::{Instant, NodeId},
};

use super::*;
use crate::oracle::{Interests, Oracle, StepView, WorldView};

fn campaign(seeds: u64, jobs: u32) -> Campaign {
    Campaign { start: 100, seeds, jobs, failures_max: 1, recheck_every: 0 }
}

fn outcome(seed: u64) -> Outcome {
    Outcome { seed, digest: *blake3::hash(&seed.to_le_bytes()).as_bytes(), commits: seed, ..blank(seed) }
}

fn failing(seed: u64) -> Outcome {
    let failure = Failure {
        verdict: Verdict::Safety,
        oracle: "test".into(),
        place: "here".into(),
        violation: format!("seed {seed} is bad"),
        at_ns: 1,
        step: 1,
    };
    Outcome { failure: Some(failure), ..outcome(seed) }
}

fn run(campaign: &Campaign, run: impl Fn(u64) -> Outcome + Sync) -> Report {
    run_campaign(campaign, &run, &AtomicBool::new(false), |_, _| {})
}

#[test]
fn the_report_does_not_depend_on_the_number_of_threads() {
    let reports: Vec<Report> = [1, 2, 5].map(|jobs| run(&campaign(500, jobs), outcome)).into();
    assert_eq!(reports[0], reports[1]);
    assert_eq!(reports[0], reports[2]);
    assert_eq!((reports[0].seeds_run, reports[0].ended), (500, Ended::Complete));
    assert_ne!(reports[0].digest(), run(&campaign(499, 1), outcome).digest());
}

#[test]
fn a_campaign_that_stops_at_a_failure_counts_the_seeds_up_to_it() {
    let bad = |seed: u64| if seed % 50 == 30 { failing(seed) } else { outcome(seed) };
    let first = run(&campaign(500, 1), bad);
    assert_eq!((first.seeds_run, first.seeds_failed, first.ended), (31, 1, Ended::Failures));
    assert_eq!(first, run(&campaign(500, 4), bad));
    let third = run(&Campaign { failures_max: 3, ..campaign(500, 4) }, bad);
    assert_eq!((third.seeds_run, third.seeds_failed), (131, 3));
    assert_eq!(third.failures.iter().map(|failure| failure.seed).collect::<Vec<_>>(), [130, 180, 230]);
    let last = run(&campaign(31, 4), bad);
    assert_eq!(last.ended, Ended::Complete, "the failure was in the last seed");
}

#[test]
fn a_campaign_that_is_stopped_counts_every_seed_that_was_begun() {
    let stop = AtomicBool::new(false);
    let report = run_campaign(&campaign(u64::MAX - 100, 3), &outcome, &stop, |report, _| {
        stop.store(report.seeds_run >= 50, Ordering::Relaxed);
    });
    assert!(report.seeds_run >= 50);
    assert_eq!(report.ended, Ended::Stopped);
    assert_eq!(report.digest(), run(&campaign(report.seeds_run, 1), outcome).digest());
}

#[test]
fn a_seed_that_does_not_return_is_named_and_lets_no_outcomes_pile_up() {
    let (begun, is_free, begun_when_freed) = (AtomicU64::new(0), AtomicBool::new(false), AtomicU64::new(0));
    let run = |seed| {
        begun.fetch_add(1, Ordering::Relaxed);
        while seed == 100 && !is_free.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        outcome(seed)
    };
    let campaign = campaign(4 * AHEAD_MAX, 2);
    let report = run_campaign(&campaign, &run, &AtomicBool::new(false), |report, at_hand| {
        let begun = begun.load(Ordering::Relaxed);
        if begun >= AHEAD_MAX && at_hand == [100] && !is_free.load(Ordering::Relaxed) {
            assert_eq!(report.seeds_run, 0);
            begun_when_freed.store(begun, Ordering::Relaxed);
            is_free.store(true, Ordering::Relaxed);
        }
    });
    assert_eq!(begun_when_freed.into_inner(), AHEAD_MAX, "the others wait for it");
    assert_eq!((report.seeds_run, report.ended), (4 * AHEAD_MAX, Ended::Complete));
}

/// Asks for what no process may ask for.
#[derive(Clone)]
struct Wrong(fn(&mut Actions));

impl Process for Wrong {
    fn step(&mut self, _now: Now, _event: Event<'_>, actions: &mut Actions) {
        (self.0)(actions);
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }
}

/// Looks at every step.
#[derive(Clone)]
struct Onlooker;

impl Oracle for Onlooker {
    fn name(&self) -> &'static str {
        "onlooker"
    }

    fn interests(&self) -> Interests {
        Interests::STEPS
    }

    fn after_step(&mut self, _: &WorldView<'_>, _: NodeId, _: &StepView<'_>) -> Result<(), Violation> {
        Ok(())
    }
}

#[test]
fn what_a_process_may_not_ask_for_is_a_failure_of_that_process() {
    let unaligned: fn(&mut Actions) = |actions| actions.write(Token(1), 1, Frame::new(vec![0; 4096]), false);
    let undeclared: fn(&mut Actions) = |actions| actions.probe(ProbeId(7));
    for (wrong, is_watched) in [(unaligned, false), (unaligned, true), (undeclared, false), (undeclared, true)] {
        let mut world = World::new(1);
        world.add_node("p0", Wrong(wrong));
        if is_watched {
            world.add_oracle(Onlooker);
        }
        let failure = run_world(&mut world, |world| world.run_for(1_000_000)).failure.expect("it may not");
        assert_eq!((failure.verdict, failure.oracle.as_str()), (Verdict::Crash, "process"));
        assert!(failure.violation.starts_with("p0 panicked at sim/src/"), "{}", failure.violation);
    }
}

#[test]
fn a_panic_outside_of_any_world_is_a_failure_of_its_seed() {
    let report = run(&campaign(10, 2), |seed| if seed == 103 { panic!("seed {seed}\nis bad") } else { outcome(seed) });
    assert_eq!(report.seeds_run, 4);
    let failure = &report.failures[0].failure;
    assert_eq!((failure.verdict, failure.oracle.as_str()), (Verdict::Crash, "simulator"));
    assert!(failure.place.starts_with("sim/src/campaign/tests.rs:"), "{}", failure.place);
    assert!(failure.violation.ends_with(": seed 103; is bad"), "{}", failure.violation);
}

#[test]
fn a_seed_that_is_not_the_same_twice_is_nondeterminism() {
    let calls = AtomicU64::new(0);
    let drift = |seed| if seed == 104 { calls.fetch_add(1, Ordering::Relaxed) } else { 0 };
    let drifting = |seed| Outcome { digest: [drift(seed) as u8; 32], ..outcome(seed) };
    let report = run(&Campaign { recheck_every: 4, ..campaign(10, 1) }, drifting);
    assert_eq!(report.seeds_run, 5);
    assert_eq!(report.failures[0].failure.verdict, Verdict::Nondeterminism);
}

#[test]
fn panics_nest_and_are_told_apart() {
    let outer = caught(|| {
        let inner = caught(|| panic!("inner"));
        assert_eq!(inner.unwrap_err().message, "inner");
        panic!("outer");
    });
    assert_eq!(outer.unwrap_err().message, "outer");
    assert_eq!(caught(|| 7), Ok(7));
}

#[test]
fn a_place_is_the_same_on_every_machine() {
    for (file, place) in [
        ("kernel/src/vsr/normal.rs", "kernel/src/vsr/normal.rs"),
        ("/home/me/work/kernel/src/vsr/normal.rs", "kernel/src/vsr/normal.rs"),
        (
            "/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/blake3-1.8.7/src/lib.rs",
            "blake3-1.8.7/src/lib.rs",
        ),
        ("/rustc/0123456789abcdef/library/core/src/cell.rs", "library/core/src/cell.rs"),
        ("C:\\work\\app\\src\\main.rs", "app/src/main.rs"),
        ("/main.rs", "main.rs"),
    ] {
        assert_eq!(portable(file), place);
    }
}
