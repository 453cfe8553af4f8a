//! The network's contract: what each setting and each fault does to frames, and what it does not.

use chronon::types::NodeId;
use chronon_sim::{
    network::{Distribution, LinkSettings},
    world::World,
};

use crate::support::{MS, Recorder, Seen};

const A: NodeId = NodeId(0);
const B: NodeId = NodeId(1);

/// A world in which A sends `count` frames to B at the start, over links with these settings.
fn world(seed: u64, count: u8, settings: impl Fn(LinkSettings) -> LinkSettings) -> World {
    let mut world = World::new(seed);
    world.set_links(settings(LinkSettings::default()));
    world.add_node("a", Recorder::sending(B, count));
    world.add_node("b", Recorder::default());
    world
}

fn received(world: &World) -> Vec<Vec<u8>> {
    world.process::<Recorder>(B).expect("b is up").messages()
}

/// How long each frame was under way; they are all sent at time 0, and B's clock is true.
fn latencies(world: &World) -> Vec<u64> {
    let seen = &world.process::<Recorder>(B).expect("b is up").seen;
    let messages = seen.iter().filter(|(_, seen)| matches!(seen, Seen::Message(..)));
    messages.map(|(now, _)| now.monotonic.0).collect()
}

#[test]
fn a_sound_link_delivers_every_frame_once_within_its_latencies_in_no_order() {
    let mut world = world(1, 200, |link| LinkSettings { latency_min_ns: 3 * MS, latency_max_ns: 5 * MS, ..link });
    world.run_for(100 * MS);
    let mut numbers: Vec<u8> = received(&world).iter().map(|bytes| bytes[0]).collect();
    assert!(!numbers.is_sorted());
    numbers.sort_unstable();
    assert_eq!(numbers, (0..200).collect::<Vec<u8>>());
    let latencies = latencies(&world);
    assert!(latencies.iter().all(|latency| (3 * MS..=5 * MS).contains(latency)));
    assert!(
        latencies.iter().any(|latency| *latency < 3_200_000) && latencies.iter().any(|latency| *latency > 4_800_000)
    );
}

#[test]
fn a_fixed_latency_keeps_the_order() {
    let mut world = world(1, 200, |link| LinkSettings { latency_min_ns: MS, latency_max_ns: MS, ..link });
    world.run_for(100 * MS);
    assert_eq!(received(&world), (0..200).map(|number| vec![number]).collect::<Vec<_>>());
}

#[test]
fn a_heavy_tail_is_rare_long_and_bounded() {
    let mut slow = 0;
    for seed in 0..50 {
        let mut world = world(seed, 200, |link| LinkSettings {
            latency_min_ns: MS,
            latency_max_ns: 2 * MS,
            distribution: Distribution::HeavyTail { doublings: 6 },
            ..link
        });
        world.run_for(1000 * MS);
        let latencies = latencies(&world);
        assert_eq!(latencies.len(), 200);
        assert!(latencies.iter().all(|latency| (MS..=65 * MS).contains(latency)));
        slow += latencies.iter().filter(|latency| **latency > 10 * MS).count();
    }
    assert!((200..1500).contains(&slow), "{slow} of 10,000 took five times as long as most may");
}

#[test]
fn loss_duplication_and_corruption_come_as_often_as_they_say() {
    let (mut lost, mut twice, mut corrupted) = (0, 0, 0);
    for seed in 0..50 {
        let mut world = world(seed, 200, |link| LinkSettings {
            loss_ppm: 100_000,
            duplication_ppm: 50_000,
            corruption_ppm: 20_000,
            ..link
        });
        world.run_for(100 * MS);
        let counts = world.network_counts();
        assert_eq!(counts.sent, 200);
        assert_eq!(counts.delivered, 200 - counts.lost + counts.duplicated);
        lost += counts.lost;
        twice += counts.duplicated;
        corrupted += counts.corrupted;
    }
    assert!((900..1100).contains(&lost), "{lost} of 10,000");
    assert!((390..510).contains(&twice), "{twice} of 9,000");
    assert!((140..220).contains(&corrupted), "{corrupted} of 9,000");
}

#[test]
fn a_second_copy_comes_as_late_as_it_may() {
    let mut world =
        world(6, 200, |link| LinkSettings { duplication_ppm: 1_000_000, duplicate_delay_max_ns: 1_000 * MS, ..link });
    world.run_for(2_000 * MS);
    let latencies = latencies(&world);
    assert_eq!(latencies.len(), 400);
    let late = latencies.iter().filter(|latency| **latency > 100 * MS).count();
    assert!((150..200).contains(&late), "{late} of 200 second copies came later than a tenth of what they may");
    assert!(latencies.iter().all(|latency| *latency <= 1_002 * MS));
}

#[test]
fn an_echo_is_the_last_frames_of_a_link_in_order_whatever_became_of_them() {
    let mut world = World::new(4);
    world.remember_frames(3);
    world.add_node("a", Recorder::sending(B, 5));
    world.add_node("b", Recorder::default());
    world.cut(A, B);
    world.run_for(10 * MS);
    world.echo(A, B);
    world.echo(B, A);
    world.run_for(10 * MS);
    assert_eq!(received(&world).len(), 0, "an echo comes over its link, which is cut");
    world.heal(A, B);
    for _ in 0..2 {
        world.echo(A, B);
        world.run_for(10 * MS);
    }
    assert_eq!(received(&world), [[2], [3], [4], [2], [3], [4]]);
    assert_eq!(world.network().in_flight(A, B), 0);
}

#[test]
fn a_corrupted_frame_has_its_length_and_few_other_bits() {
    let mut world = World::new(4);
    let link = LinkSettings { corruption_ppm: 1_000_000, corruption_bits_max: 3, ..LinkSettings::default() };
    world.set_links(link);
    world.add_node("a", Recorder::sending(B, 200));
    world.add_node("b", Recorder::default());
    world.run_for(100 * MS);
    let received = received(&world);
    assert_eq!(received.len(), 200);
    assert!(received.iter().all(|bytes| bytes.len() == 1));
    assert_eq!(world.network_counts().corrupted, 200);
}

#[test]
fn a_full_link_drops_and_counts() {
    let mut world = world(1, 200, |link| LinkSettings { in_flight_max: 50, ..link });
    world.run_for(100 * MS);
    assert_eq!(received(&world).len(), 50);
    assert_eq!(world.network_counts().full, 150);
    assert_eq!(world.network().in_flight(A, B), 0);
}

#[test]
fn an_address_that_nobody_has_is_not_an_error() {
    let mut world = World::new(1);
    world.add_node("a", Recorder::sending(NodeId(77), 3));
    world.run_for(10 * MS);
    assert_eq!(world.network_counts().nobody, 3);
    assert!(world.verdict().is_none());
}

#[test]
fn a_cut_loses_what_is_under_way_and_what_is_sent_and_nothing_on_the_way_back() {
    let mut world = World::new(1);
    world.add_node("a", Recorder::sending(B, 10));
    world.add_node("b", Recorder::sending(A, 10));
    world.run_for(1);
    world.cut_one_way(A, B);
    world.run_for(100 * MS);
    assert!(received(&world).is_empty());
    assert_eq!(world.network_counts().cut, 10);
    assert_eq!(world.process::<Recorder>(A).expect("a is up").messages().len(), 10);
    // The next life of A sends into the cut.
    world.kill(A);
    world.restart(A);
    world.run_for(100 * MS);
    assert_eq!(world.network_counts().cut, 20);
    world.heal_one_way(A, B);
    world.kill(A);
    world.restart(A);
    world.run_for(100 * MS);
    assert_eq!(received(&world).len(), 10);
}

#[test]
fn two_cuts_need_two_heals_in_any_order() {
    let mut world = World::new(1);
    let nodes: Vec<NodeId> =
        ["a", "b", "c"].into_iter().map(|name| world.add_node(name, Recorder::default())).collect();
    world.partition(&nodes[..1], &nodes[1..]);
    world.partition(&nodes[..2], &nodes[2..]);
    let cut = |world: &World, from: usize, to: usize| world.network().is_cut(nodes[from], nodes[to]);
    assert!(cut(&world, 0, 2) && cut(&world, 0, 1) && cut(&world, 2, 1));
    world.heal_partition(&nodes[..1], &nodes[1..]);
    assert!(cut(&world, 0, 2) && cut(&world, 2, 0) && cut(&world, 1, 2) && !cut(&world, 0, 1));
    world.heal_partition(&nodes[..2], &nodes[2..]);
    assert!(!cut(&world, 0, 2) && !cut(&world, 1, 2));
    world.cut(nodes[0], nodes[1]);
    world.cut(nodes[0], nodes[1]);
    world.heal_all();
    assert!(!cut(&world, 0, 1) && !cut(&world, 1, 0));
}

#[test]
fn a_clog_holds_what_arrives_and_gives_it_all_back() {
    let mut world = world(1, 20, |link| link);
    world.clog(A, B);
    world.run_for(100 * MS);
    assert!(received(&world).is_empty());
    assert_eq!(world.network().in_flight(A, B), 20);
    world.unclog(A, B);
    world.run_for(0);
    assert_eq!(received(&world).len(), 20);
    assert_eq!(world.network().in_flight(A, B), 0);
}

#[test]
fn a_clogged_link_still_fills_up() {
    let mut world = world(1, 20, |link| LinkSettings { in_flight_max: 20, ..link });
    world.clog(A, B);
    world.run_for(10 * MS);
    world.kill(A);
    world.restart(A);
    world.run_for(10 * MS);
    assert_eq!(world.network_counts().full, 20);
    world.heal_all();
    world.run_for(10 * MS);
    assert_eq!(received(&world).len(), 20);
}

#[test]
fn a_link_of_its_own_settings_leaves_the_others_alone() {
    let mut world = World::new(1);
    world.add_node("a", Recorder::sending(B, 10));
    world.add_node("b", Recorder::sending(A, 10));
    world.set_link(A, B, LinkSettings { loss_ppm: 1_000_000, ..LinkSettings::default() });
    world.run_for(100 * MS);
    assert!(received(&world).is_empty());
    assert_eq!(world.process::<Recorder>(A).expect("a is up").messages().len(), 10);
    world.reset_links();
    assert_eq!(world.network().settings(A, B), LinkSettings::default());
}

#[test]
fn settings_that_hold_for_all_hold_for_nodes_that_come_later() {
    let mut world = World::new(1);
    world.set_links(LinkSettings { loss_ppm: 1_000_000, ..LinkSettings::default() });
    for _ in 0..9 {
        world.add_node("late", Recorder::sending(B, 5));
    }
    world.run_for(100 * MS);
    assert_eq!(world.network_counts().lost, 45);
}
