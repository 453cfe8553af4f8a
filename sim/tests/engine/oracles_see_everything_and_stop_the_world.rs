//! Oracles, caps, probes and panics: how a run comes to its verdict.

use std::panic::{AssertUnwindSafe, catch_unwind};

use chronon::{
    frame::Frame,
    process::{Action, Actions, Event, Now, Process},
    types::{Instant, NodeId},
};
use chronon_sim::{
    oracle::{EventView, Interests, Oracle, StepView, Violation, WorldView},
    trace::{TraceBodies, TraceMode},
    verdict::Verdict,
    world::{Place, World, WorldSettings},
};

use crate::support::{MS, Recorder, busy_world, trouble};

/// Counts what it is shown, and objects at a step if it is told to.
#[derive(Clone, Default)]
struct Counter {
    steps: u64,
    sends: u64,
    crashes: u64,
    restarts: u64,
    ends: u64,
    bodies: u64,
    objects_at: Option<u64>,
    interests: Interests,
}

impl Oracle for Counter {
    fn name(&self) -> &'static str {
        "counter"
    }

    fn interests(&self) -> Interests {
        self.interests
    }

    fn after_step(&mut self, world: &WorldView<'_>, node: NodeId, step: &StepView<'_>) -> Result<(), Violation> {
        self.steps += 1;
        assert_eq!(step.number, world.steps());
        assert!(world.is_up(node));
        self.sends += step.sends().count() as u64;
        assert_eq!(
            step.sends().count(),
            step.actions.iter().filter(|action| matches!(action, Action::Send { .. })).count()
        );
        if let EventView::Message { frame: Some(frame), .. } = step.event {
            self.bodies += 1 + frame.len() as u64;
        }
        if self.objects_at == Some(self.steps) {
            return Err(Violation::safety("a place", format!("step {} was one too many", self.steps)));
        }
        Ok(())
    }

    fn after_crash(&mut self, world: &WorldView<'_>, node: NodeId) -> Result<(), Violation> {
        assert!(!world.is_up(node));
        self.crashes += 1;
        Ok(())
    }

    fn after_restart(&mut self, world: &WorldView<'_>, node: NodeId) -> Result<(), Violation> {
        assert!(world.is_up(node) && world.restarts(node) > 0);
        self.restarts += 1;
        Ok(())
    }

    fn at_end(&mut self, _: &WorldView<'_>) -> Result<(), Violation> {
        self.ends += 1;
        Ok(())
    }
}

const ALL: [Interests; 4] = [Interests::STEPS, Interests::CRASHES, Interests::END, Interests::EVENT_BODIES];

fn everything() -> Interests {
    ALL.into_iter().fold(Interests::NONE, |all, one| all | one)
}

#[test]
fn an_oracle_is_shown_every_step_send_crash_and_restart() {
    let mut world = busy_world(3, TraceMode::Digest, TraceBodies::Checksum);
    world.add_oracle(Counter { interests: everything(), ..Counter::default() });
    trouble(&mut world);
    world.finish();
    let counter: &Counter = world.oracle().expect("it was added");
    assert_eq!(counter.steps, world.steps());
    assert_eq!(counter.sends, world.network_counts().sent);
    assert_eq!(counter.crashes, world.crashes());
    assert_eq!(counter.restarts, world.nodes().map(|node| u64::from(world.restarts(node))).sum::<u64>());
    assert_eq!(counter.ends, 1);
    assert!(counter.crashes > 0 && counter.restarts > 0 && counter.bodies > 0);
}

#[test]
fn an_oracle_is_not_called_where_it_has_no_interest() {
    let mut world = busy_world(3, TraceMode::Digest, TraceBodies::Checksum);
    world.add_oracle(Counter { interests: Interests::END, ..Counter::default() });
    trouble(&mut world);
    world.finish();
    let counter: &Counter = world.oracle().expect("it was added");
    assert_eq!((counter.steps, counter.crashes, counter.ends), (0, 0, 1));
}

#[test]
fn a_violation_stops_the_world() {
    let mut world = busy_world(3, TraceMode::Digest, TraceBodies::Checksum);
    world.add_oracle(Counter { objects_at: Some(100), interests: everything(), ..Counter::default() });
    world.run_for(1000 * MS);
    let failure = world.verdict().expect("it objected").clone();
    assert_eq!((failure.verdict, failure.step), (Verdict::Safety, 100));
    assert_eq!((&*failure.oracle, &*failure.violation), ("counter", "step 100 was one too many"));
    assert_eq!(failure.at_ns, world.now_ns());
    let (now_ns, digest) = (world.now_ns(), world.digest());
    assert!(!world.step() && !world.kill(NodeId(0)));
    world.cut(NodeId(0), NodeId(1));
    world.note("nothing is written any more");
    world.run_for(1000 * MS);
    assert_eq!((world.now_ns(), world.digest(), world.steps()), (now_ns, digest, 100));
    world.finish();
    assert_eq!(world.oracle::<Counter>().expect("it was added").ends, 0);
    // The first verdict stays.
    world.fail("somebody", Violation::liveness("elsewhere", "nothing came"));
    assert_eq!(world.verdict(), Some(&failure));
}

#[test]
fn probes_are_counted_by_name() {
    let mut world = busy_world(3, TraceMode::Digest, TraceBodies::Checksum);
    world.run_for(500 * MS);
    assert!(world.probe_count("idle") > 50 && world.probe_count("heard nothing") > 0);
    assert_eq!(world.probe_count("no such probe"), 0);
    let counts = world.probe_counts();
    assert_eq!(counts.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["idle", "heard nothing"]);
    assert_eq!(counts[0].1, world.probe_count("idle"));
}

/// Answers everything at once, for ever.
#[derive(Clone)]
struct Echo {
    deadline: Option<Instant>,
}

impl Process for Echo {
    fn step(&mut self, _: Now, event: Event<'_>, actions: &mut Actions) {
        match event {
            Event::Start { .. } => actions.send(NodeId(0), Frame::default()),
            Event::Message { from, frame } => actions.send(from, frame.clone()),
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

#[test]
fn a_run_without_end_is_stuck() {
    let mut world = World::with_settings(1, WorldSettings { steps_max: 10_000, ..WorldSettings::default() });
    world.add_node("echo", Echo { deadline: None });
    world.run_for(u64::MAX);
    let failure = world.verdict().expect("it is stuck");
    assert_eq!((failure.verdict, failure.step), (Verdict::Stuck, 10_000));
}

#[test]
fn an_instant_without_end_is_stuck() {
    let settings = WorldSettings { steps_per_instant_max: 5_000, ..WorldSettings::default() };
    let mut world = World::with_settings(1, settings);
    world.add_node("b", Recorder::sending(NodeId(1), 50));
    // A deadline that has always passed.
    world.add_node("echo", Echo { deadline: Some(Instant(MS)) });
    world.run_for(1000 * MS);
    let failure = world.verdict().expect("it is stuck");
    assert_eq!((failure.verdict, failure.at_ns), (Verdict::Stuck, MS));
    assert_eq!(failure.violation, "5000 steps were taken at one virtual instant");
}

#[derive(Clone)]
struct Panicking;

impl Process for Panicking {
    fn step(&mut self, now: Now, event: Event<'_>, _: &mut Actions) {
        assert!(matches!(event, Event::Start { .. }) || now.monotonic.0 < 5 * MS, "five milliseconds are enough");
    }

    fn deadline(&self) -> Option<Instant> {
        Some(Instant(6 * MS))
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "what a world is good for after a panic is what this test is about")]
fn after_a_panic_the_world_says_whose_it_was_and_its_trace_what_did_it() {
    let mut world = busy_world(1, TraceMode::Keep, TraceBodies::Checksum);
    let node = world.add_node("panicking", Panicking);
    assert_eq!(world.place(), Place::World);
    let caught = catch_unwind(AssertUnwindSafe(|| world.run_for(100 * MS)));
    assert!(caught.is_err());
    assert_eq!(world.place(), Place::Process(node));
    assert_eq!((world.name(node), world.now_ns()), ("panicking", 6 * MS));
    let violation = Violation { verdict: Verdict::Crash, ..Violation::safety("a place", "it panicked") };
    world.fail("panicking", violation);
    world.finish();
    assert_eq!(world.verdict().map(|failure| failure.verdict), Some(Verdict::Crash));
    let bytes = world.trace().expect("it was kept");
    let lines: Vec<String> = chronon_sim::trace::Trace::parse(&bytes)
        .expect("it is a trace")
        .records()
        .map(|entry| entry.expect("it is whole").to_string())
        .collect();
    assert_eq!(lines[lines.len() - 4].trim(), "0.006000000 panicking reaches its deadline");
}
