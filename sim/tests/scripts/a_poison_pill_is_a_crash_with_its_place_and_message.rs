//! An application that cannot take an event panics, and no replica can go past that event. Replicas do not stop before it by
//! themselves yet: so the verdict is a crash, which says which replica it was, where, and in the application's own words.

use chronon::{
    app::application::{Application, ApplyContext, Event, Outcome as Applied, Rejection, RestoreError, SnapshotWriter},
    client::{ClientConfig, ClientProcess, Driver, Next, Outcome},
    process::Now,
    replica::Replica,
    storage::layout::Layout,
    types::{ClientId, Op, ReplicaId},
    vsr::Config,
};
use chronon_sim::{
    campaign::run_world,
    disk::DiskSettings,
    verdict::Verdict,
    world::{NodeSettings, Place, World},
};

use crate::script::{CLUSTER, MS};

const LAYOUT: Layout = Layout { slot_count: 64, message_size_max: 8192, block_count: 64, block_size: 4096 };

/// Adds up numbers of one byte, and has no idea what to do with a zero.
#[derive(Clone)]
struct Sum;

impl Application for Sum {
    type State = u64;

    fn apply(
        &self,
        state: &mut u64,
        event: Event<'_>,
        context: &ApplyContext,
        _outcome: &mut Applied,
    ) -> Result<(), Rejection> {
        let Event::Request { payload } = event else { return Ok(()) };
        assert!(payload[0] != 0, "{} adds nothing to {state}", context.op);
        *state += u64::from(payload[0]);
        Ok(())
    }

    fn query(&self, _: &u64, _: &[u8], _: &mut Vec<u8>) -> Result<(), Rejection> {
        Ok(())
    }

    fn snapshot(&self, state: &u64, writer: &mut SnapshotWriter) {
        writer.record(&state.to_le_bytes());
    }

    fn restore(&self, state: &mut u64, record: &[u8]) -> Result<(), RestoreError> {
        *state = u64::from_le_bytes(record.try_into().map_err(|_| RestoreError)?);
        Ok(())
    }

    fn response_size_max(&self) -> u32 {
        0
    }
}

/// Asks for 5, 4, 3, and so on.
#[derive(Clone)]
struct Countdown(u8);

impl Driver for Countdown {
    fn next(&mut self, _: Now, request: &mut Vec<u8>) -> Next {
        request.push(self.0);
        Next::Request
    }

    fn done(&mut self, _: Now, _: Outcome<'_>) {
        self.0 -= 1;
    }
}

fn world(seed: u64) -> World {
    let mut world = World::new(seed);
    for replica in (0..3).map(ReplicaId) {
        let disk = DiskSettings { capacity: LAYOUT.size(), ..DiskSettings::default() };
        let settings = NodeSettings { disk, ..NodeSettings::default() };
        let config = Config::new(CLUSTER, replica, 3, LAYOUT);
        let process = Replica::new(config.clone(), Sum);
        let node = world.add_node_with(format!("{replica}"), process, settings);
        for (offset, bytes) in config.format(1) {
            world.disk_mut(node).preload(offset, &bytes);
        }
    }
    world.add_node("c0", ClientProcess::new(ClientConfig::new(CLUSTER, ClientId(1), 3), Countdown(5)));
    world
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
        let replica = poisoned.process::<Replica<Sum>>(node).expect("it is there to be looked at");
        assert_eq!((replica.state(), replica.vsr().is_primary()), (&15, true));
        assert_eq!(replica.vsr().executing(), Some(Op(8)), "the host is told which op nobody can go past");
        // And so it is every time.
        let again = run_world(&mut world(seed), |world| world.run_for(10_000 * MS));
        assert_eq!((again.digest, again.failure), (outcome.digest, Some(failure)));
    }
}
