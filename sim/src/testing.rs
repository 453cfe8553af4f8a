//! A simulation as a test: run over many seeds, told by the first that fails.
//!
//! What fails is run once more with its trace kept, and told on one screen: the verdict, the one command that runs this seed
//! again, and the last things that happened. Deliberately absent: threads. A campaign over millions of seeds is a program's
//! business, not a test's.

use std::{fmt::Write, ops::Range};

use crate::{
    trace::{Trace, TraceMode},
    world::{World, WorldSettings},
};

/// The environment variable that asks for one seed.
pub const SEED_VARIABLE: &str = "CHRONON_SEED";

/// How many lines of the trace a failure shows.
const LINES_SHOWN: usize = 30;

/// A `#[test]` that runs a simulation over many seeds.
///
/// The body gets a fresh `&mut World` for each seed; when it returns, the world is finished, and fails the test if an oracle
/// or a cap objected. A process that panics fails it too. With `CHRONON_SEED` set, only that seed is run.
///
/// What follows is `sim/tests/a_simulation_as_a_test.rs`, and `cargo test` runs it. (A test within an example of a
/// documentation would not be: there it is compiled away.)
///
/// ```no_run
#[doc = include_str!("../tests/a_simulation_as_a_test.rs")]
/// ```
#[macro_export]
macro_rules! simulate {
    ($(#[$attribute:meta])* fn $name:ident($world:ident, seeds = $seeds:expr) $body:block) => {
        $(#[$attribute])*
        #[test]
        fn $name() {
            let name = concat!(module_path!(), "::", stringify!($name));
            $crate::testing::check_seeds(name, $seeds, |$world: &mut $crate::world::World| $body);
        }
    };
}

/// Runs `simulation` in a fresh world for each seed.
///
/// `name` is the test's, with its crate's in front as `module_path!()` gives it: what the command to run one seed again is
/// made from. A program that is no test gives any name without `::`.
///
/// ```
/// # use chronon::{frame::Frame, process::{Actions, Event, Now, Process}, types::{Instant, NodeId}};
/// # #[derive(Clone)] struct Greeter(Option<NodeId>);
/// # impl Process for Greeter {
/// #     fn step(&mut self, _: Now, event: Event<'_>, actions: &mut Actions) {
/// #         if let (Event::Start { .. }, Some(whom)) = (event, self.0) {
/// #             actions.send(whom, Frame::new(b"good day".to_vec()));
/// #         }
/// #     }
/// #     fn deadline(&self) -> Option<Instant> { None }
/// # }
/// # let runs = std::cell::Cell::new(0);
/// chronon_sim::testing::check_seeds("one greets the other", 0..20, |world| {
///     let other = world.add_node("other", Greeter(None));
///     world.add_node("one", Greeter(Some(other)));
///     world.run_for(1_000_000_000);
///     assert_eq!(world.network_counts().delivered, 1);
/// #   runs.set(runs.get() + 1);
/// });
/// # assert_eq!(runs.get(), 20);
/// ```
///
/// # Panics
/// At the first seed that fails, with what there is to say of it.
pub fn check_seeds(name: &str, seeds: Range<u64>, simulation: impl Fn(&mut World)) {
    let asked = asked_seed();
    let seeds = asked.map_or(seeds, |seed| seed..seed + 1);
    for seed in seeds {
        let world = run(name, seed, TraceMode::Digest, &simulation);
        if world.verdict().is_some() {
            let again = run(name, seed, TraceMode::Keep, &simulation);
            assert!(
                again.digest() == world.digest(),
                "seed {seed} did not run alike twice: the simulation is not pure"
            );
            panic!("{}", tell(name, &again));
        }
    }
}

/// One screen about a world that failed.
fn tell(name: &str, world: &World) -> String {
    let failure = world.verdict().expect("a world that failed has a verdict");
    let mut text = format!("seed {}: {failure}\n", world.seed());
    let _ = writeln!(text, "to run it again: {}", command(name, world.seed()));
    let _ = writeln!(text, "fingerprint {}", failure.fingerprint());
    let bytes = world.trace().unwrap_or_default();
    let Ok(trace) = Trace::parse(&bytes) else { return text };
    let entries: Vec<_> = trace.records().map_while(Result::ok).collect();
    let _ = writeln!(text, "the last of {} records:", entries.len());
    for entry in &entries[entries.len().saturating_sub(LINES_SHOWN)..] {
        let _ = writeln!(text, "{entry}");
    }
    text
}

fn run(name: &str, seed: u64, trace: TraceMode, simulation: &impl Fn(&mut World)) -> World {
    let settings = WorldSettings { trace, scenario: test_name(name).to_owned(), ..WorldSettings::default() };
    let mut witness = Witness { name, world: Some(World::with_settings(seed, settings)) };
    let world = witness.world.as_mut().expect("it was put there");
    simulation(world);
    world.finish();
    witness.world.take().expect("it is taken once")
}

/// The command that runs this seed alone.
fn command(name: &str, seed: u64) -> String {
    if name.contains("::") {
        format!("{SEED_VARIABLE}={seed} cargo test --workspace {} -- --exact", test_name(name))
    } else {
        // No test's name: some program of its own.
        format!("the same command again, with {SEED_VARIABLE}={seed} before it")
    }
}

/// The test's name as the test program knows it: without the crate's.
fn test_name(name: &str) -> &str {
    name.split_once("::").map_or(name, |(_, test)| test)
}

#[expect(clippy::disallowed_methods, reason = "which seed to run is the tester's choice; a run does not see it")]
fn asked_seed() -> Option<u64> {
    let asked = std::env::var(SEED_VARIABLE).ok()?;
    match asked.parse() {
        Ok(seed) => Some(seed),
        Err(_) => panic!("{SEED_VARIABLE} is {asked:?}; set it to a seed, a whole number, or leave it unset"),
    }
}

/// Has the world of a seed, and says which it was if the simulation panics.
struct Witness<'a> {
    name: &'a str,
    world: Option<World>,
}

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        if let Some(world) = &self.world {
            eprintln!("{}", last_words(self.name, world));
        }
    }
}

/// What there is to say of a world whose simulation panicked. Where an oracle had objected, the world stood still, and an assertion that
/// something was reached only says so: why stands here.
fn last_words(name: &str, world: &World) -> String {
    let mut text = format!("seed {} panicked; to run it again: {}", world.seed(), command(name, world.seed()));
    if let Some(failure) = world.verdict() {
        let _ = write!(text, "\nbefore that: {failure}\nfingerprint {}", failure.fingerprint());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Violation;

    crate::simulate! {
        /// The body is run for every seed, in a world of that seed.
        fn an_empty_world_keeps_every_promise(world, seeds = 3..20) {
            assert!((3..20).contains(&world.seed()));
            world.run_for(1000);
        }
    }

    #[test]
    #[should_panic(expected = "seed 5: safety: five is one too many (found by a test at 0.000000007 s, step 0)\n\
        to run it again: CHRONON_SEED=5 cargo test --workspace some::test -- --exact\n")]
    fn the_first_seed_that_fails_is_told_with_the_command_that_runs_it_again() {
        check_seeds("a_crate::some::test", 0..10, |world| {
            world.run_for(7);
            if world.seed() >= 5 {
                world.fail("a test", Violation::safety("a place", "five is one too many"));
            }
        });
    }

    #[test]
    fn a_simulation_that_panics_over_a_verdict_tells_that_too() {
        let mut world = World::with_settings(5, WorldSettings::default());
        assert!(!last_words("a_crate::some::test", &world).contains("before that"));
        world.fail("a test", Violation::safety("a place", "five is one too many"));
        let said = last_words("a_crate::some::test", &world);
        assert!(said.starts_with("seed 5 panicked; to run it again: CHRONON_SEED=5 cargo test"), "{said}");
        assert!(said.contains("\nbefore that: safety: five is one too many (found by a test"), "{said}");
        assert!(said.contains("\nfingerprint "), "{said}");
    }

    #[test]
    #[should_panic(expected = "did not run alike twice")]
    #[expect(clippy::disallowed_types, reason = "what this test is about")]
    fn a_simulation_that_is_not_pure_is_told_so() {
        let runs = std::cell::Cell::new(0);
        check_seeds("a_crate::test", 0..1, |world| {
            runs.set(runs.get() + 1);
            world.run_for(runs.get());
            world.fail("a test", Violation::safety("a place", "always"));
        });
    }
}
