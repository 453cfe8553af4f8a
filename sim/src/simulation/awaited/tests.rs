//! What is awaited of a healed core, and for how long: over an application whose timers and policies are its own.

use chronon::app::effect::{Channel, Policy};

use super::*;
use crate::{
    nemesis::{Options, draw_for},
    outside::{Outside, ServicesPlan},
    scenario,
    trace::TraceMode,
    verdict::Verdict,
    workload::wishes::Wishes,
};

const SECOND_NS: u64 = 1_000_000_000;

fn simulation<W: Workload>(workload: W, services: ServicesPlan) -> Simulation<W> {
    let scenario = scenario::find("fault-free").expect("there is such a scenario");
    let mut schedule = draw_for(&workload, 7, &Options { replicas: Some(3), ..Options::new(scenario) });
    // Another primary would begin everything anew.
    schedule.core = vec![0, 1, 2];
    if workload.has_effects() {
        schedule.workload.services = Some(ServicesPlan { latency_min_ns: 1, latency_max_ns: 2, ..services });
        schedule.workload.operator = None;
    }
    Simulation::of(workload, &schedule, TraceMode::Digest, "")
}

/// Runs it to its end, which no promise may be broken by; the seconds that passed from the healing on.
fn seconds_of(workload: Wishes, services: ServicesPlan) -> u64 {
    let mut simulation = simulation(workload, services);
    // As long as services do what they do until the healing.
    simulation.advance(5 * SECOND_NS, |_| false);
    assert!(simulation.commits() > 20, "{} ops", simulation.commits());
    simulation.run();
    assert_eq!(simulation.outcome().failure, None);
    simulation.outcome().virtual_ns / SECOND_NS - 5
}

#[test]
fn a_timer_is_awaited_for_as_long_as_it_was_set_unless_that_is_long() {
    let sound = ServicesPlan::default();
    let once = |seconds: u64| Wishes { timer_ns: Some(seconds * SECOND_NS), ..Wishes::default() };
    assert!((20..30).contains(&seconds_of(once(30), sound)));
    assert!(seconds_of(once(3600), sound) < 10, "there is nothing to wait for");
}

#[test]
fn a_timer_that_is_set_whenever_it_fires_is_not_awaited_for_ever() {
    for timer_ns in [SECOND_NS / 10, SECOND_NS, 30 * SECOND_NS] {
        let workload = Wishes { timer_ns: Some(timer_ns), is_periodic: true, ..Wishes::default() };
        assert!((10..80).contains(&seconds_of(workload, ServicesPlan::default())), "every {timer_ns} ns");
    }
}

#[test]
fn an_attempt_that_was_lost_before_the_healing_may_take_its_time() {
    let letters = vec![(Channel(0), Policy::EMIT), (Channel(1), Policy::EMIT.with_attempt_timeout(3600 * SECOND_NS))];
    let lost = ServicesPlan { lost_ppm: 1_000_000, ..ServicesPlan::default() };
    let seconds = seconds_of(Wishes { letters, ..Wishes::default() }, lost);
    assert!((20..30).contains(&seconds), "{seconds} s, and it is known to be lost 30 s after it was begun");
}

#[test]
fn what_stands_behind_one_that_is_not_awaited_is_not_awaited() {
    let late = Policy::EMIT.with_backoff(3600 * SECOND_NS, 3600 * SECOND_NS);
    let letters = vec![(Channel(0), late), (Channel(0), Policy::EMIT)];
    let failing = ServicesPlan { failed_ppm: 1_000_000, ..ServicesPlan::default() };
    assert!(seconds_of(Wishes { letters, ..Wishes::default() }, failing) < 10);
}

#[test]
fn what_is_due_and_never_ends_is_a_loss_of_liveness_soon() {
    let policy = Policy::EMIT.with_attempt_timeout(SECOND_NS / 4).with_attempts(1000).with_backoff(1, SECOND_NS / 10);
    let letters = vec![(Channel(0), policy)];
    // Beside it there is always something that happens in time.
    let workload = Wishes { letters, timer_ns: Some(SECOND_NS / 10), is_periodic: true };
    let mut simulation = simulation(workload, ServicesPlan::default());
    simulation.heal();
    let nobody = ServicesPlan { lost_ppm: 1_000_000, latency_max_ns: 2, ..ServicesPlan::default() };
    simulation.world.service_mut::<Outside>().expect("it has services").set_plan(nobody);
    simulation.must_answer();
    let began_ns = simulation.world.now_ns();
    simulation.must_end_effects();
    let failure = simulation.outcome().failure.expect("no letter arrives");
    assert_eq!((failure.verdict, failure.place.as_str()), (Verdict::Liveness, "an effect never ends"));
    let seconds = (simulation.world.now_ns() - began_ns) / SECOND_NS;
    assert!((20..22).contains(&seconds), "{seconds} s");
}
