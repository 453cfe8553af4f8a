//! A run is a function of the seed, the settings and the calls made on the world.

use chronon::types::NodeId;
use chronon_sim::{
    network::LinkSettings,
    oracle::{Interests, Oracle},
    trace::{TraceBodies, TraceMode},
    world::World,
};

use crate::support::{MS, Recorder, Seen, busy_world, trouble};

fn finished(mut world: World) -> World {
    trouble(&mut world);
    world.finish();
    world
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    for seed in 0..20 {
        let one = finished(busy_world(seed, TraceMode::Keep, TraceBodies::Bytes));
        let two = finished(busy_world(seed, TraceMode::Keep, TraceBodies::Bytes));
        let other = finished(busy_world(seed + 1000, TraceMode::Keep, TraceBodies::Bytes));
        assert_eq!(one.trace(), two.trace());
        assert_eq!(one.digest(), two.digest());
        assert_ne!(one.digest(), other.digest());
        assert!(one.steps() > 500, "{} steps", one.steps());
    }
}

#[test]
fn whether_the_bytes_are_kept_changes_nothing_else() {
    let kept = finished(busy_world(3, TraceMode::Keep, TraceBodies::Bytes));
    let hashed = finished(busy_world(3, TraceMode::Digest, TraceBodies::Bytes));
    assert_eq!(kept.digest(), hashed.digest());
    assert_eq!(kept.network_counts(), hashed.network_counts());
    assert!(hashed.trace().is_none());
}

#[test]
fn a_clone_goes_on_as_its_original_does_and_does_not_disturb_it() {
    for seed in 0..10 {
        let mut world = busy_world(seed, TraceMode::Keep, TraceBodies::Bytes);
        world.run_for(100 * MS);
        let early = world.clone();
        let mut astray = world.clone();
        astray.kill(NodeId(0));
        astray.run_for(50 * MS);
        let (one, two) = (finished(world), finished(early));
        assert_eq!(one.digest(), two.digest());
        assert_eq!(one.trace(), two.trace());
        assert_ne!(one.digest(), astray.digest());
    }
}

#[test]
fn steps_one_by_one_are_the_same_run_as_one_stretch() {
    let mut stepped = busy_world(5, TraceMode::Digest, TraceBodies::Checksum);
    let mut run = stepped.clone();
    while stepped.next_at_ns().is_some_and(|at_ns| at_ns <= 80 * MS) {
        stepped.step();
    }
    run.run_for(80 * MS);
    assert_eq!(stepped.steps(), run.steps());
    assert_eq!(stepped.digest(), run.digest());
}

#[derive(Clone)]
struct Onlooker;

impl Oracle for Onlooker {
    fn name(&self) -> &'static str {
        "onlooker"
    }

    fn interests(&self) -> Interests {
        Interests::STEPS | Interests::CRASHES | Interests::END | Interests::EVENT_BODIES
    }
}

#[test]
fn an_oracle_that_objects_to_nothing_changes_nothing() {
    for seed in 0..10 {
        let alone = finished(busy_world(seed, TraceMode::Digest, TraceBodies::Bytes));
        let mut watched = busy_world(seed, TraceMode::Digest, TraceBodies::Bytes);
        watched.add_oracle(Onlooker);
        assert_eq!(finished(watched).digest(), alone.digest());
    }
}

/// When, by virtual time, each frame of a hundred arrived.
fn arrivals(settings: impl Fn(LinkSettings) -> LinkSettings) -> Vec<(u64, u8)> {
    let mut world = World::new(11);
    let settings = settings(world.network().default_settings());
    world.set_links(settings);
    world.add_node("sender", Recorder::sending(NodeId(1), 100));
    world.add_node("receiver", Recorder::default());
    world.run_for(1000 * MS);
    let receiver: &Recorder = world.process(NodeId(1)).expect("it is up");
    let arrival = |(now, seen): &(chronon::process::Now, Seen)| match seen {
        Seen::Message(_, bytes) => Some((now.monotonic.0, bytes[0])),
        _ => None,
    };
    receiver.seen.iter().filter_map(arrival).collect()
}

#[test]
fn turning_a_fault_on_or_off_reshuffles_no_other() {
    let all = arrivals(|link| link);
    assert_eq!(all.len(), 100);
    // What is not lost arrives when it did: neither the loss nor what was lost moves another frame.
    let some = arrivals(|link| LinkSettings { loss_ppm: 300_000, ..link });
    assert!((50..90).contains(&some.len()));
    assert!(some.iter().all(|arrival| all.contains(arrival)));
    // Nor does a second fault touch which frames the first one takes.
    let twice = arrivals(|link| LinkSettings { loss_ppm: 300_000, duplication_ppm: 500_000, ..link });
    assert!(some.iter().all(|arrival| twice.contains(arrival)));
    assert!(twice.len() > some.len());
    let late = arrivals(|link| LinkSettings { loss_ppm: 300_000, reorder_ppm: 200_000, ..link });
    let mut numbers: Vec<u8> = late.iter().map(|(_, number)| *number).collect();
    let mut expected: Vec<u8> = some.iter().map(|(_, number)| *number).collect();
    numbers.sort_unstable();
    expected.sort_unstable();
    assert_eq!(numbers, expected);
}
