//! The counters that `kernel/production/examples/counter` serves, under the simulator, with a `replay` program of their own.
//!
//!     cargo run --release -p chronon-replay --example simulated_counter -- run --seeds 1000

#[path = "../../kernel/production/examples/counter/application.rs"]
mod application;

use application::Counters;
use chronon::digest::{EntryHasher, SetDigest};
use chronon_replay::{Calls, Program, StateOf, Stream, Turn, Workload, version_of};

impl Workload for Counters {
    type Application = Self;
    type Plan = Calls;
    type Memory = ();

    fn application(&self) -> Self {
        self.clone()
    }

    fn plan(&self, random: &mut Stream, calls: u64) -> Calls {
        Calls::draw(random, calls)
    }

    fn ask(&self, (): &mut (), turn: Turn<'_, Calls>, request: &mut Vec<u8>) {
        request.extend_from_slice([&b"apples"[..], b"pears", b""][turn.random.below(3) as usize]);
    }

    fn digest(&self, state: &StateOf<Self>) -> SetDigest {
        let mut digest = SetDigest::new();
        state.iter().for_each(|(name, count)| digest.insert(EntryHasher::new().bytes(name).number(*count).finish()));
        digest
    }
}

fn main() -> std::process::ExitCode {
    let version = version_of!("simulated_counter.rs", "../../kernel/production/examples/counter/application.rs");
    Program::new("simulated_counter", version).cluster(Counters).main()
}
