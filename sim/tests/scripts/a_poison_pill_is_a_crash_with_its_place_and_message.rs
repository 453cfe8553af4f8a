//! An application that cannot take an event panics, and no replica can go past that event. That is a bug, and so the simulator's
//! verdict is a crash, which says which replica it was, where, and in the application's own words.

use chronon::{
    app::{
        application::{ApplyContext, Event, Outcome, Rejection},
        number::Number,
    },
    replica::Replica,
    types::Op,
};
use chronon_sim::{
    campaign::run_world,
    verdict::Verdict,
    world::{Place, World},
};

use crate::{number, script::MS};

/// Adds up numbers, and has no idea what to do with a zero.
fn add(state: &mut u64, event: Event<'_>, context: &ApplyContext, _: &mut Outcome) -> Result<(), Rejection> {
    let Event::Request { payload } = event else { return Ok(()) };
    assert!(payload[0] != 0, "{} adds nothing to {state}", context.op);
    *state += u64::from(payload[0]);
    Ok(())
}

fn world(seed: u64) -> World {
    number::world(seed, [Number::new(add); 3], &[vec![5, 4, 3, 2, 1, 0]])
}

#[test]
fn a_poison_pill_is_a_crash() {
    for seed in 0..20 {
        let mut poisoned = world(seed);
        let outcome = run_world(&mut poisoned, |world| world.run_for(10_000 * MS));
        let failure = outcome.failure.expect("the sixth number is a zero");
        assert_eq!((failure.verdict, failure.oracle.as_str()), (Verdict::Crash, "process"));
        let (place, line) = failure.place.rsplit_once(':').expect("a place is a file and a line");
        assert!(place.ends_with("a_poison_pill_is_a_crash_with_its_place_and_message.rs"), "{place}");
        assert!(line.parse::<u32>().is_ok_and(|line| line > 0));
        // The first to execute it is the primary; before it are the members, the register and five numbers.
        let Place::Process(node) = poisoned.place() else { panic!("it was a process's turn") };
        let told = format!("{} panicked at {}: op8 adds nothing to 15", poisoned.name(node), failure.place);
        assert_eq!(failure.violation, told);
        let replica = poisoned.process::<Replica<Number>>(node).expect("it is there to be looked at");
        assert_eq!((replica.state(), replica.vsr().is_primary()), (&15, true));
        assert_eq!(replica.vsr().executing(), Some(Op(8)), "the host is told which op nobody can go past");
        // And so it is every time.
        let again = run_world(&mut world(seed), |world| world.run_for(10_000 * MS));
        assert_eq!((again.digest, again.failure), (outcome.digest, Some(failure)));
    }
}
