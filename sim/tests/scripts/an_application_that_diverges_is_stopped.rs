//! An application whose state is not the same everywhere is found at the next checkpoint: the replica that differs stops and says
//! between which ops it can have been; where no majority agrees, all do.

use chronon::{
    app::{
        application::{ApplyContext, Event, Outcome, Rejection},
        number::Number,
    },
    replica::Replica,
    types::Op,
};
use chronon_sim::world::World;

use crate::{
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
    let world = counted(counting);
    REPLICAS.map(|replica| world.halted(replica).map(str::to_owned))
}

/// A world of replicas that count so, after three seconds of requests.
fn counted(counting: [Number; 3]) -> World {
    let mut world = number::world(7, counting, &[vec![1; 100]]);
    world.run_for(3_000 * MS);
    world
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
    let world = counted([ONES; 3]);
    for replica in REPLICAS {
        let process = world.process::<Replica<Number>>(replica).expect("it goes on");
        assert!(process.vsr().checkpoints().vouched().op >= Op(48));
    }
}
