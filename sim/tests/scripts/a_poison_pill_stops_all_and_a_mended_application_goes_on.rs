//! Hosts as production's catch what an application panics with: every replica stops before the op that did it, and says which and why. The
//! op is committed and stays. What the panic left of the state goes with the process, whatever was being written; restarted with an
//! application that can take the op, all go on from there, and nothing is lost or done twice.

use std::collections::BTreeMap;

use chronon::{
    app::{
        application::{ApplyContext, Event, Outcome, Rejection},
        number::Number,
    },
    replica::Replica,
    types::Op,
};
use chronon_sim::{
    campaign::caught,
    world::{Place, World},
};

use crate::{
    number::{self, REPLICAS},
    script::MS,
};

/// Adds up numbers. It has begun when it finds that it has no idea what to do with a zero.
fn add(state: &mut u64, event: Event<'_>, context: &ApplyContext, _: &mut Outcome) -> Result<(), Rejection> {
    let Event::Request { payload } = event else { return Ok(()) };
    let before = *state;
    *state += 100_000;
    assert!(payload[0] != 0, "{} adds nothing to {before}", context.op);
    *state = before + u64::from(payload[0]);
    Ok(())
}

/// The next version of it: a zero is a thousand.
fn add_mended(state: &mut u64, event: Event<'_>, _: &ApplyContext, _: &mut Outcome) -> Result<(), Rejection> {
    let Event::Request { payload } = event else { return Ok(()) };
    *state += if payload[0] == 0 { 1_000 } else { u64::from(payload[0]) };
    Ok(())
}

/// The op that all stopped before, and how many were taking a checkpoint when they came to it. Who stops is started again as long as
/// another has not come to the op: it may be short of a majority that tells it of the commit.
fn until_all_have_stopped(world: &mut World) -> (Op, usize) {
    let (mut pills, mut taking) = (BTreeMap::new(), 0);
    for _ in 0..50 {
        let limit_ns = world.now_ns() + 200 * MS;
        let driven = caught(|| world.run_until(limit_ns, |world| !REPLICAS.iter().any(|node| world.is_up(*node))));
        match driven {
            Ok(_) if pills.len() == REPLICAS.len() => break,
            Ok(_) => start_those_that_are_down(world),
            Err(panic) => {
                let Place::Process(node) = world.place() else { panic!("it was a process's turn: {}", panic.message) };
                let vsr = world.process::<Replica<Number>>(node).expect("it is there to be looked at").vsr();
                let pill = vsr.executing().expect("the host is told which op nobody can go past");
                assert_eq!(vsr.applied().next(), pill);
                taking += usize::from(vsr.checkpoints().is_taking());
                assert!(world.stop_panicked(&panic.message), "it knows what it was about");
                let reason = world.halted(node).expect("it has stopped by itself");
                let told = format!("the application panicked in {pill}: {}; {pill} is committed", panic.message);
                assert!(panic.message.starts_with(&format!("{pill} adds nothing to ")), "{}", panic.message);
                assert!(reason.starts_with(&told), "{reason}");
                pills.insert(node, (pill, panic.message));
            }
        }
    }
    let (pill, _) = pills[&REPLICAS[0]];
    assert!(REPLICAS.iter().all(|node| pills[node] == pills[&REPLICAS[0]]), "all come to the same: {pills:?}");
    for node in REPLICAS {
        world.kill(node);
    }
    (pill, taking)
}

fn start_those_that_are_down(world: &mut World) {
    for node in REPLICAS {
        world.restart(node);
    }
}

#[test]
fn all_stop_before_it_and_a_mended_application_goes_on() {
    let mut taking = 0;
    // Two checkpoints are taken meanwhile, at the 24th op and the 48th.
    for (seed, before) in (0..3).flat_map(|seed| (4..24).map(move |before| (seed, before))) {
        let mut lists = [vec![1; 40], vec![1; 40], vec![1; 40]];
        lists[0][before] = 0;
        let mut world = number::world(seed, [Number::new(add); 3], &lists);
        let (pill, taken) = until_all_have_stopped(&mut world);
        let answers = number::answers(&world);
        assert!(answers < 120, "nobody is told of what did not happen");
        // The same program does the same again, and leaves no more behind.
        if seed % 2 == 0 {
            REPLICAS.into_iter().for_each(|node| assert!(!world.cut_power(node)));
        }
        start_those_that_are_down(&mut world);
        let (again, taken_again) = until_all_have_stopped(&mut world);
        assert_eq!((again, number::answers(&world)), (pill, answers));
        taking += taken + taken_again;
        for node in REPLICAS {
            world.replace(node, number::replica(node, Number::new(add_mended)));
        }
        start_those_that_are_down(&mut world);
        let limit_ns = world.now_ns() + 10_000 * MS;
        let head = |node, world: &World| world.process::<Replica<Number>>(node).map(|replica| replica.vsr().applied());
        let ended = world.run_until(limit_ns, |world| {
            number::answers(world) == 120 && REPLICAS.iter().all(|node| head(*node, world) == head(REPLICAS[0], world))
        });
        assert!(ended, "all go on: seed {seed}, {before} before it");
        for node in REPLICAS {
            let replica = world.process::<Replica<Number>>(node).expect("it is up");
            assert_eq!(*replica.state(), 1_000 + 119, "each number counts once");
        }
    }
    assert!(taking > 0, "a checkpoint was being taken, now and then");
}

#[test]
fn the_last_word_of_the_primary_brings_the_others_to_it() {
    for seed in 0..20 {
        let mut world = number::world(seed, [Number::new(add); 3], &[vec![1, 1, 1, 0]]);
        let mut limit_ns = 5_000 * MS;
        while let Err(panic) = caught(|| world.run_until(limit_ns, |_| false)) {
            // Nobody has noticed by then that the primary is gone.
            limit_ns = limit_ns.min(world.now_ns() + 20 * MS);
            assert!(world.stop_panicked(&panic.message));
        }
        assert!(REPLICAS.iter().all(|node| world.halted(*node).is_some()), "seed {seed}");
    }
}

#[test]
fn a_panic_that_is_no_op_s_is_nobody_s_to_explain() {
    let mut world = number::world(1, [Number::new(add); 3], &[vec![1; 5]]);
    assert!(!world.stop_panicked("at the world's turn"), "no process was stepping");
    let halfway = caught(|| world.run_until(u64::MAX, |_| panic!("the condition's")));
    assert_eq!(halfway.expect_err("it panics").message, "the condition's");
    assert!(!world.stop_panicked("the condition's"));
    world.run_for(1_000 * MS);
    assert!(REPLICAS.iter().all(|node| world.is_up(*node)));
}
