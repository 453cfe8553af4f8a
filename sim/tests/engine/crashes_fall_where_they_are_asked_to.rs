//! Crashes: between any two actions and around any disk operation; nothing of one life reaches the next.

use chronon::{
    frame::Frame,
    process::{Actions, Event, Now, Process, Token},
    types::{Instant, NodeId},
};
use chronon_sim::{
    disk::{DiskSettings, LatencyRange, OperationKind},
    network::LinkSettings,
    world::{DiskMoment, NodeSettings, World, WorldSettings},
};

use crate::support::{MS, Recorder, Seen};

const A: NodeId = NodeId(0);
const B: NodeId = NodeId(1);

/// At its start writes three sectors, each with a message to B around it, then issues a barrier and one more message.
#[derive(Clone, Default)]
struct Writer {
    lives: u32,
    completed: Vec<Token>,
}

impl Process for Writer {
    fn step(&mut self, _: Now, event: Event<'_>, actions: &mut Actions) {
        match event {
            Event::Start { .. } => {
                self.lives += 1;
                for number in 1..=3u8 {
                    actions.send(B, Frame::new(vec![number]));
                    let sector = u64::from(number) * 4096;
                    actions.write(Token(number.into()), sector, Frame::new(vec![number; 4096]), false);
                }
                actions.barrier(Token(4));
                actions.send(B, Frame::new(vec![4]));
            }
            Event::DiskCompletion(completion) => self.completed.push(completion.token),
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }
}

/// A writes, B records. Operations complete in the order in which they were submitted, 1 ms apart.
fn world() -> World {
    let fixed = LatencyRange::new(MS, MS);
    let disk = DiskSettings {
        read: fixed,
        write: fixed,
        durable_write: fixed,
        barrier: LatencyRange::new(2 * MS, 2 * MS),
        ..DiskSettings::default()
    };
    let link = LinkSettings { latency_min_ns: 1000, latency_max_ns: 1000, ..LinkSettings::default() };
    let node = NodeSettings { disk, ..NodeSettings::default() };
    let mut world = World::with_settings(1, WorldSettings { link, node, ..WorldSettings::default() });
    world.add_node("a", Writer::default());
    world.add_node("b", Recorder::default());
    world
}

fn received(world: &World) -> Vec<u8> {
    world.process::<Recorder>(B).expect("b is up").messages().iter().map(|bytes| bytes[0]).collect()
}

#[test]
fn a_crash_may_fall_after_any_prefix_of_a_step() {
    for count in 0..10 {
        let mut world = world();
        world.kill_after_actions(A, count);
        world.run_for(10 * MS);
        assert!(!world.is_up(A));
        assert_eq!(world.crashes(), 1);
        let sent = [0, 1, 1, 2, 2, 3, 3, 3, 4, 4][count as usize];
        assert_eq!(received(&world), (1..=sent).collect::<Vec<u8>>(), "after {count} actions");
        let submitted = [0, 0, 1, 1, 2, 2, 3, 4, 4, 4][count as usize];
        assert_eq!(world.disk(A).counters().operations, submitted, "after {count} actions");
    }
}

#[test]
fn a_crash_may_fall_around_the_submission_of_any_operation() {
    for (kind, nth, before, after) in [
        (None, 0, 1, 1),
        (None, 2, 3, 3),
        (Some(OperationKind::Write), 1, 2, 2),
        (Some(OperationKind::Barrier), 0, 3, 3),
    ] {
        for (moment, sent) in [(DiskMoment::BeforeSubmission, before), (DiskMoment::AfterSubmission, after)] {
            let mut world = world();
            world.kill_at_disk_operation(A, kind, nth, moment);
            world.run_for(10 * MS);
            assert!(!world.is_up(A));
            assert_eq!(received(&world), (1..=sent).collect::<Vec<u8>>(), "{kind:?} {nth} {moment:?}");
            let operations = u64::from(sent) - u64::from(kind != Some(OperationKind::Barrier));
            let operations = operations + u64::from(moment == DiskMoment::AfterSubmission);
            assert_eq!(world.disk(A).counters().operations, operations, "{kind:?} {nth} {moment:?}");
        }
    }
}

#[test]
fn a_crash_may_fall_around_the_completion_of_any_operation() {
    for (kind, nth, heard) in
        [(OperationKind::Write, 0, 0), (OperationKind::Write, 2, 2), (OperationKind::Barrier, 0, 3)]
    {
        for moment in [DiskMoment::BeforeCompletion, DiskMoment::AfterCompletion] {
            let mut world = world();
            world.kill_at_disk_operation(A, Some(kind), nth, moment);
            // The crash comes within the step that would have taken the completion: the life before is looked at just then.
            let mut completed = 0;
            while world.is_up(A) {
                completed = world.process::<Writer>(A).map_or(0, |writer| writer.completed.len());
                assert!(world.step() || !world.is_up(A));
            }
            assert_eq!(completed, heard, "{kind:?} {nth} {moment:?}");
            assert_eq!(world.now_ns(), if kind == OperationKind::Barrier { 2 * MS } else { MS });
        }
    }
}

#[test]
fn a_planned_crash_that_is_cancelled_does_not_come() {
    let mut world = world();
    world.kill_after_actions(A, 2);
    world.kill_at_disk_operation(A, None, 0, DiskMoment::AfterCompletion);
    world.cancel_planned_kills(A);
    world.run_for(10 * MS);
    assert!(world.is_up(A));
    assert_eq!(received(&world), [1, 2, 3, 4]);
}

#[test]
fn nothing_of_one_life_reaches_the_next() {
    let mut world = world();
    world.run_for(500_000);
    assert_eq!(world.disk(A).in_flight(), 4);
    world.kill(A);
    world.restart(A);
    world.run_for(10 * MS);
    let writer: &Writer = world.process(A).expect("a is up");
    // The process is what it was when it was added, and heard of its own four operations alone.
    assert_eq!(writer.lives, 1);
    assert_eq!(writer.completed, [1, 2, 3, 4].map(Token));
    assert_eq!((world.restarts(A), world.crashes()), (1, 1));
}

#[test]
fn a_frame_for_a_dead_node_is_dropped_and_one_for_its_next_life_is_not() {
    let mut world = World::new(1);
    world.add_node("a", Recorder::sending(B, 10));
    world.add_node("b", Recorder::default());
    world.run_for(1);
    world.kill(B);
    world.run_for(1_000_000);
    world.restart(B);
    world.run_for(100 * MS);
    let counts = world.network_counts();
    assert!(counts.nobody > 0 && counts.delivered > 0, "{counts:?}");
    assert_eq!(counts.nobody + counts.delivered, 10);
    assert_eq!(received(&world).len() as u64, counts.delivered);
}

#[test]
fn killing_and_restarting_what_is_so_already_says_no() {
    let mut world = world();
    assert!(!world.restart(A));
    assert!(world.kill(A));
    assert!(!world.kill(A) && !world.pause(A) && !world.resume(A));
    assert!(world.restart(A));
    assert!(world.pause(A) && !world.pause(A));
    // A paused process can be killed, and its next life is not paused.
    assert!(world.kill(A) && world.restart(A));
    assert!(!world.is_paused(A));
}

#[test]
fn a_paused_process_takes_everything_later_and_in_order() {
    let mut world = world();
    world.run_for(500_000);
    world.pause(A);
    world.pause(B);
    world.run_for(100 * MS);
    assert!(world.process::<Writer>(A).expect("a is up").completed.is_empty());
    // The disk worked on meanwhile.
    assert_eq!(world.disk(A).in_flight(), 0);
    world.resume(A);
    world.run_for(0);
    assert_eq!(world.process::<Writer>(A).expect("a is up").completed, [1, 2, 3, 4].map(Token));
}

#[test]
fn a_paused_process_holds_frames_within_a_bound() {
    let mut world = World::new(1);
    world.set_links(LinkSettings { in_flight_max: 100_000, ..LinkSettings::default() });
    world.add_node("a", Recorder::default());
    world.add_node("b", Recorder::default());
    let senders: Vec<NodeId> = (0..20).map(|_| world.add_node("s", Recorder::sending(B, 250))).collect();
    world.run_for(1);
    world.pause(B);
    world.run_for(100 * MS);
    world.resume(B);
    world.run_for(0);
    let seen = &world.process::<Recorder>(B).expect("b is up").seen;
    assert_eq!(seen.iter().filter(|(_, seen)| matches!(seen, Seen::Message(..))).count(), 4096);
    assert_eq!(world.network_counts().full, 5000 - 4096);
    assert_eq!(senders.len(), 20);
}

#[test]
fn a_deadline_that_passes_in_a_pause_comes_after_it() {
    let mut world = World::new(1);
    let node = world.add_node("a", Recorder { deadlines: vec![Instant(5 * MS)], ..Recorder::default() });
    world.run_for(1);
    world.pause(node);
    world.run_for(100 * MS);
    assert_eq!(world.node_events(node), 1);
    world.resume(node);
    world.run_for(0);
    let seen = &world.process::<Recorder>(node).expect("it is up").seen;
    let (now, last) = seen.last().expect("it started");
    assert_eq!((now.monotonic.0, last), (100 * MS + 1, &Seen::Deadline));
}

#[test]
fn a_process_that_halts_is_down_and_says_why() {
    #[derive(Clone)]
    struct Halting;

    impl Process for Halting {
        fn step(&mut self, _: Now, _: Event<'_>, actions: &mut Actions) {
            actions.send(B, Frame::new(vec![1]));
            actions.halt("the superblock is of another cluster".into());
            actions.send(B, Frame::new(vec![2]));
        }

        fn deadline(&self) -> Option<Instant> {
            None
        }
    }

    let mut world = World::new(1);
    world.add_node("a", Halting);
    world.add_node("b", Recorder::default());
    world.run_for(10 * MS);
    assert_eq!(world.halted(A), Some("the superblock is of another cluster"));
    assert!(!world.is_up(A));
    assert_eq!(received(&world), [1]);
    assert_eq!(world.crashes(), 1);
    world.restart(A);
    assert_eq!(world.halted(A), None);
    world.run_for(10 * MS);
    assert_eq!((world.crashes(), received(&world)), (2, vec![1, 1]));
}

#[test]
fn a_stall_that_is_ended_lets_its_operations_go_on() {
    let mut world = world();
    world.disk_mut(A).stall_until(60_000 * MS);
    world.run_for(100 * MS);
    assert!(world.process::<Writer>(A).expect("a is up").completed.is_empty());
    world.clear_disk_faults(A);
    world.run_for(10 * MS);
    assert_eq!(world.process::<Writer>(A).expect("a is up").completed.len(), 4);
}

#[test]
fn what_arrives_between_a_restart_and_the_start_finds_nobody() {
    let mut world = World::new(1);
    world.add_node("a", Recorder::sending(B, 5));
    world.add_node("b", Recorder::default());
    world.clog(A, B);
    world.run_for(100 * MS);
    world.kill(B);
    world.heal_all();
    world.restart(B);
    world.run_for(100 * MS);
    let seen: Vec<_> =
        world.process::<Recorder>(B).expect("it is up").seen.iter().map(|(_, seen)| seen.clone()).collect();
    assert_eq!(seen, [Seen::Start]);
    assert_eq!((world.network_counts().nobody, world.network_counts().delivered), (5, 0));
}
