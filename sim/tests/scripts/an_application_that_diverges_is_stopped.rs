//! An application whose state is not the same everywhere is found at the next checkpoint: the replica that differs stops and says
//! between which ops it can have been; where no majority agrees, all do, and nobody goes on from such a state before that is known.

use chronon::{
    app::{
        application::{ApplyContext, Event, Outcome, Rejection},
        number::Number,
    },
    replica::Replica,
    types::{NodeId, Op},
    vsr::Vsr,
};
use chronon_sim::{disk::LatencyRange, network::LinkSettings, world::World};

use crate::{
    chunks,
    number::{self, REPLICAS},
    script::MS,
};

/// Counts requests, from the 30th on by a number of its own.
fn count<const STEP: u64>(
    state: &mut u64,
    _: Event<'_>,
    context: &ApplyContext,
    _: &mut Outcome,
) -> Result<(), Rejection> {
    *state += if context.op.0 < 30 { 1 } else { STEP };
    Ok(())
}

const ONES: Number = Number::new(count::<1>);
const TWOS: Number = Number::new(count::<2>);
const THREES: Number = Number::new(count::<3>);

/// Why each of the replicas, which count so, has stopped.
fn stopped(counting: [Number; 3]) -> [Option<String>; 3] {
    let world = counted(7, counting);
    REPLICAS.map(|replica| world.halted(replica).map(str::to_owned))
}

/// A world of replicas that count so, after three seconds of requests.
fn counted(seed: u64, counting: [Number; 3]) -> World {
    let mut world = number::world(seed, counting, &[vec![1; 100]]);
    world.run_for(3_000 * MS);
    world
}

fn vsr(world: &World, replica: NodeId) -> &Vsr {
    world.process::<Replica<Number>>(replica).expect("it goes on").vsr()
}

#[test]
fn the_one_that_differs_stops_and_the_others_go_on() {
    for odd in 0..3 {
        let mut counting = [ONES; 3];
        counting[odd] = TWOS;
        for (replica, reason) in stopped(counting).into_iter().enumerate() {
            if replica == odd {
                let reason = reason.expect("it differs");
                assert!(
                    reason.contains("the checkpoint at op48") && reason.contains("one of op25 to op48"),
                    "{reason}"
                );
                assert!(reason.contains("a majority agrees without this replica"), "{reason}");
            } else {
                assert_eq!(reason, None);
            }
        }
    }
}

#[test]
fn where_no_majority_agrees_all_stop() {
    for reason in stopped([ONES, TWOS, THREES]) {
        let reason = reason.expect("nobody knows whose state is right");
        assert!(reason.contains("no majority has the same") && !reason.contains("recover"), "{reason}");
    }
}

#[test]
fn who_agrees_goes_on() {
    let world = counted(7, [ONES; 3]);
    for replica in REPLICAS {
        assert!(vsr(&world, replica).checkpoints().vouched().op >= Op(48));
    }
}

/// Those that stopped know nothing of it when they are started again. Two of them cannot tell whether the third would make a majority
/// with either: they wait for it, with the checkpoint before still there, and then all stop again.
#[test]
fn started_again_they_go_on_from_no_state_of_theirs_and_stop_again() {
    for absent in REPLICAS {
        let mut world = counted(7, [ONES, TWOS, THREES]);
        let answers = number::answers(&world);
        let others = REPLICAS.into_iter().filter(|replica| *replica != absent);
        for replica in others.clone() {
            assert!(world.halted(replica).is_some() && world.restart(replica));
        }
        world.run_for(3_000 * MS);
        for replica in others {
            let vsr = vsr(&world, replica);
            let checkpoints = vsr.checkpoints();
            assert_eq!((vsr.applied(), checkpoints.op(), checkpoints.vouched().op), (Op(48), Op(48), Op(24)));
            assert!(chunks::is_whole(vsr, world.disk(replica), checkpoints.vouched().root));
        }
        assert!(world.restart(absent));
        world.run_for(3_000 * MS);
        for replica in REPLICAS {
            let reason = world.halted(replica).expect("nobody knows whose state is right");
            assert!(reason.contains("no majority has the same"), "{reason}");
        }
        assert_eq!(number::answers(&world), answers, "nobody is told of what no majority has");
    }
}

/// The word of the other's checkpoint may be lost, and all that a view takes may be heard.
#[test]
fn started_again_they_do_not_go_on_before_they_have_heard_of_each_other() {
    for seed in 0..30 {
        let mut world = counted(seed, [ONES, TWOS, THREES]);
        let answers = number::answers(&world);
        world.set_links(LinkSettings { loss_ppm: 600_000, ..LinkSettings::default() });
        for replica in &REPLICAS[..2] {
            assert!(world.restart(*replica));
        }
        world.run_for(3_000 * MS);
        for replica in &REPLICAS[..2] {
            assert!(vsr(&world, *replica).applied() <= Op(48), "seed {seed}");
        }
        assert_eq!(number::answers(&world), answers, "seed {seed}");
    }
}

/// The one that differs is a checkpoint ahead of the others when it stops. Started again it knows no checkpoint of its own but that one,
/// of which they say nothing yet.
#[test]
fn one_that_differs_and_is_ahead_waits_for_the_others_when_it_is_started_again() {
    let barriers = [MS, 100 * MS, 100 * MS].map(|ns| LatencyRange::new(ns, ns));
    let mut world = number::world_on(barriers, 7, [TWOS, ONES, ONES], &[vec![1; 200]]);
    let [ahead, others @ ..] = REPLICAS;
    let at = |world: &World, replica| vsr(world, replica).checkpoints().op();
    assert!(world.run_until(3_000 * MS, |world| at(world, ahead) == Op(72)), "it has one that nobody else has");
    assert!(world.run_until(3_000 * MS, |world| !world.is_up(ahead)), "it stops for the one before");
    assert!(world.halted(ahead).is_some_and(|reason| reason.contains("the checkpoint at op48")));
    assert!(others.iter().all(|other| at(&world, *other) == Op(48)) && world.restart(ahead));
    let has_begun =
        |world: &World| !vsr(world, ahead).checkpoints().is_restoring() && vsr(world, ahead).applied() == Op(72);
    let soon_ns = world.now_ns() + 100 * MS;
    assert!(world.run_until(soon_ns, has_begun));
    let ends_ns = world.now_ns() + 3_000 * MS;
    while world.is_up(ahead) && world.now_ns() < ends_ns {
        assert_eq!(vsr(&world, ahead).applied(), Op(72), "it goes on from a state that nobody else has");
        assert!(world.step());
    }
    assert!(world.halted(ahead).is_some_and(|reason| reason.contains("the checkpoint at op72")));
    world.run_for(3_000 * MS);
    assert_eq!(number::answers(&world), 200);
}

/// Of two that are left, one has come further than what a majority is known to have, and the other has not come as far: nothing that the one
/// could be told of its checkpoint is known to anybody, and they go on all the same.
#[test]
fn one_that_is_ahead_and_does_not_differ_is_freed_by_one_that_comes_as_far() {
    let barriers = [MS, 100 * MS, 100 * MS].map(|ns| LatencyRange::new(ns, ns));
    let mut world = number::world_on(barriers, 7, [ONES; 3], &[vec![1; 200]]);
    let [ahead, other, lost] = REPLICAS;
    let has_come = |world: &World| {
        vsr(world, ahead).checkpoints().op() == Op(72) && vsr(world, other).checkpoints().op() == Op(48)
    };
    assert!(world.run_until(3_000 * MS, has_come));
    for replica in REPLICAS {
        world.cut_power(replica);
    }
    assert!(world.restart(ahead) && world.restart(other));
    world.run_for(6_000 * MS);
    assert!(!world.is_up(lost) && number::answers(&world) == 200, "{} are answered", number::answers(&world));
}

#[test]
fn two_that_differ_wait_for_the_third_which_decides() {
    for odd in 0..2 {
        let mut counting = [ONES; 3];
        counting[odd] = TWOS;
        let mut world = number::world(7, counting, &[vec![1; 100]]);
        let (differing, third) = ([REPLICAS[0], REPLICAS[1]], REPLICAS[2]);
        let has_begun = |world: &World| number::answers(world) >= 10;
        assert!(world.run_until(3_000 * MS, has_begun) && world.kill(third));
        let both_have_one =
            |world: &World| differing.iter().all(|replica| vsr(world, *replica).checkpoints().op() == Op(48));
        assert!(world.run_until(3_000 * MS, both_have_one));
        world.run_for(10 * MS);
        let answers = number::answers(&world);
        assert!((40..90).contains(&answers), "{answers}");
        world.run_for(3_000 * MS);
        assert_eq!(number::answers(&world), answers, "it is open who is right");
        assert!(differing.iter().all(|replica| world.is_up(*replica)) && world.restart(third));
        world.run_for(3_000 * MS);
        assert_eq!(number::answers(&world), 100);
        for (number, replica) in REPLICAS.into_iter().enumerate() {
            assert_eq!(world.is_up(replica), number != odd);
        }
    }
}
