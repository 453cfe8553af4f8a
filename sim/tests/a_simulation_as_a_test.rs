//! A simulation as a test: somebody asks, over a network that loses every third frame, and must be answered.

use chronon::{
    frame::Frame,
    process::{Actions, Event, Now, Process},
    types::{Instant, NodeId},
};
use chronon_sim::{network::LinkSettings, oracle::Violation, simulate, world::World};

/// Says back what it hears.
#[derive(Clone)]
struct Echo;

impl Process for Echo {
    fn step(&mut self, _now: Now, event: Event<'_>, actions: &mut Actions) {
        if let Event::Message { from, frame } = event {
            actions.send(from, frame.clone());
        }
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }
}

/// Asks, and asks again every 20 ms for as long as it has patience.
#[derive(Clone)]
struct Asker {
    whom: NodeId,
    patience: u32,
    answered: bool,
    again: Instant,
}

impl Asker {
    fn new(whom: NodeId, patience: u32) -> Self {
        Self { whom, patience, answered: false, again: Instant(0) }
    }
}

impl Process for Asker {
    fn step(&mut self, now: Now, event: Event<'_>, actions: &mut Actions) {
        match event {
            Event::Message { .. } => self.answered = true,
            Event::Start { .. } | Event::Deadline if self.patience > 0 => {
                self.patience -= 1;
                actions.send(self.whom, Frame::new(b"are you there?".to_vec()));
                self.again = now.monotonic.after(20_000_000);
            }
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        (!self.answered && self.patience > 0).then_some(self.again)
    }
}

/// Whether somebody of such patience is answered within 10 seconds.
fn is_answered(world: &mut World, patience: u32) -> bool {
    world.set_links(LinkSettings { loss_ppm: 333_333, ..world.network().default_settings() });
    let echo = world.add_node("echo", Echo);
    let asker = world.add_node("asker", Asker::new(echo, patience));
    world.run_until(10_000_000_000, |world| world.process::<Asker>(asker).is_some_and(|asker| asker.answered))
}

simulate! {
    /// Each of a hundred seeds is a world of its own.
    fn who_asks_again_is_answered(world, seeds = 0..100) {
        assert!(is_answered(world, 100));
        assert!(world.network_counts().delivered >= 2);
    }
}

simulate! {
    /// The first seed that fails is told, with the one command that runs it again.
    #[should_panic(expected = "seed 0: safety: nobody answered (found by patience at 10.000000000 s, step 3)\n\
        to run it again: CHRONON_SEED=0 cargo test --workspace who_asks_once_may_wait_for_ever -- --exact\n")]
    fn who_asks_once_may_wait_for_ever(world, seeds = 0..100) {
        if !is_answered(world, 1) {
            world.fail("patience", Violation::safety("asked once", "nobody answered"));
        }
    }
}
