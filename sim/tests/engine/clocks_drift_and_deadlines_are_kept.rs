//! The clocks' contract, as a process sees it: monotonic never goes back, and a deadline comes when it is due.

use chronon::types::{Instant, NodeId};
use chronon_sim::{
    clock::ClockSettings,
    world::{NodeSettings, World},
};

use crate::support::{MS, Recorder, Seen, busy_world, trouble};

fn with_deadlines(deadlines: &[u64]) -> Recorder {
    Recorder { deadlines: deadlines.iter().map(|at| Instant(*at)).collect(), ..Recorder::default() }
}

fn fired(world: &World, node: NodeId) -> Vec<u64> {
    let seen = &world.process::<Recorder>(node).expect("it is up").seen;
    seen.iter().filter(|(_, seen)| *seen == Seen::Deadline).map(|(now, _)| now.monotonic.0).collect()
}

#[test]
fn a_deadline_comes_on_the_nanosecond() {
    let mut world = World::new(1);
    let node = world.add_node("a", with_deadlines(&[5 * MS, 7 * MS, 7 * MS, 700 * MS]));
    world.run_for(1000 * MS);
    assert_eq!(fired(&world, node), [5 * MS, 7 * MS, 700 * MS]);
}

#[test]
fn a_drifting_clock_reaches_its_deadline_by_its_own_time() {
    for drift_ppb in [-500_000_000, -1, 1, 250_000_000] {
        let mut world = World::new(1);
        let clock = ClockSettings { monotonic_ns: 1000, drift_ppb, ..ClockSettings::default() };
        let settings = NodeSettings { clock, ..NodeSettings::default() };
        let node = world.add_node_with("a", with_deadlines(&[100 * MS]), settings);
        assert!(world.run_until(1000 * MS, |world| !fired(world, node).is_empty()));
        let reading = fired(&world, node)[0];
        assert!((100 * MS..100 * MS + 2).contains(&reading), "{reading} at a drift of {drift_ppb}");
        let expected = u128::from(100 * MS - 1000) * 1_000_000_000 / (1_000_000_000 + i128::from(drift_ppb)) as u128;
        assert!(world.now_ns().abs_diff(expected as u64) <= 2);
    }
}

#[test]
fn a_clock_that_is_sped_up_brings_its_deadline_nearer_and_one_slowed_down_puts_it_off() {
    let mut world = World::new(1);
    let (fast, slow) =
        (world.add_node("fast", with_deadlines(&[100 * MS])), world.add_node("slow", with_deadlines(&[100 * MS])));
    world.run_for(50 * MS);
    world.skew(fast, 0, 900_000_000);
    world.skew(slow, 0, -500_000_000);
    assert!(world.run_until(1000 * MS, |world| !fired(world, fast).is_empty()));
    assert!(world.now_ns() < 77 * MS, "{}", world.now_ns());
    assert!(world.run_until(1000 * MS, |world| !fired(world, slow).is_empty()));
    assert!((150 * MS..151 * MS).contains(&world.now_ns()), "{}", world.now_ns());
}

#[test]
fn realtime_steps_either_way_and_monotonic_does_not_notice() {
    let mut world = World::new(1);
    let node = world.add_node("a", with_deadlines(&[MS, 2 * MS, 3 * MS]));
    world.run_for(1_500_000);
    world.step_clock(node, -1_000_000_000);
    world.run_for(MS);
    world.skew(node, 5_000_000_000, 0);
    world.run_for(MS);
    let seen = &world.process::<Recorder>(node).expect("it is up").seen;
    let readings: Vec<(u64, u64)> = seen.iter().map(|(now, _)| (now.monotonic.0, now.realtime.0)).collect();
    let start = readings[0].1;
    let offset = |reading: &(u64, u64)| reading.1 as i128 - i128::from(start) - i128::from(reading.0);
    let offsets: Vec<i128> = readings.iter().map(offset).collect();
    assert_eq!(offsets, [0, 0, -1_000_000_000, 4_000_000_000]);
}

#[test]
fn monotonic_readings_never_go_back_in_a_life() {
    use chronon::process::Now;
    use chronon_sim::oracle::{Oracle, StepView, Violation, WorldView};

    #[derive(Clone, Default)]
    struct Forward(std::collections::BTreeMap<NodeId, Now>);

    impl Oracle for Forward {
        fn name(&self) -> &'static str {
            "time goes forward"
        }

        fn after_step(&mut self, _: &WorldView<'_>, node: NodeId, step: &StepView<'_>) -> Result<(), Violation> {
            let last = self.0.insert(node, step.now);
            if last.is_some_and(|last| last.monotonic > step.now.monotonic) {
                return Err(Violation::safety("monotonic", "it went back"));
            }
            Ok(())
        }
    }

    for seed in 0..20 {
        let mut world = busy_world(seed, Default::default(), Default::default());
        world.add_oracle(Forward::default());
        trouble(&mut world);
        assert_eq!(world.verdict(), None);
    }
}

#[test]
fn a_deadline_that_keeps_moving_away_fills_no_queue() {
    use chronon::process::{Actions, Event, Now, Process};

    /// Wakes every millisecond and in between states a deadline far away.
    #[derive(Clone, Default)]
    struct Fickle {
        woken: u64,
        next: Instant,
    }

    impl Process for Fickle {
        fn step(&mut self, now: Now, _: Event<'_>, _: &mut Actions) {
            self.woken += 1;
            self.next = now.monotonic.after(if self.woken.is_multiple_of(2) { MS } else { 1000 * MS });
        }

        fn deadline(&self) -> Option<Instant> {
            Some(self.next)
        }
    }

    let mut world = World::new(1);
    let node = world.add_node("fickle", Fickle::default());
    world.run_for(100 * 1001 * MS);
    assert_eq!(world.node_events(node), 201);
    // One entry at most is ahead of the next: everything behind it was taken off.
    let mut entries = 0;
    while world.next_at_ns().is_some_and(|at_ns| at_ns < 102_000 * MS) && entries < 10 {
        world.step();
        entries += 1;
    }
    assert!(entries <= 5, "{entries}");
}

#[test]
fn a_deadline_at_the_end_of_time_never_comes() {
    let mut world = World::new(1);
    world.add_node("a", with_deadlines(&[u64::MAX]));
    assert!(world.step());
    assert!(!world.step());
}
