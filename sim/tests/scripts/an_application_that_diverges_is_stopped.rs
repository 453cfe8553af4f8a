//! An application whose state is not the same everywhere is found at the next checkpoint: the replica that differs stops and says
//! between which ops it can have been; where no majority agrees, all do.

use chronon::{
    app::application::{Application, ApplyContext, Event, Outcome as Applied, Rejection, RestoreError, SnapshotWriter},
    client::{ClientConfig, ClientProcess, Driver, Next, Outcome},
    process::Now,
    replica::Replica,
    storage::layout::Layout,
    types::{ClientId, NodeId, Op, ReplicaId},
    vsr::Config,
};
use chronon_sim::{
    disk::DiskSettings,
    world::{NodeSettings, World},
};

use crate::script::{CLUSTER, MS};

const LAYOUT: Layout = Layout { slot_count: 64, message_size_max: 8192, block_count: 64, block_size: 4096 };

/// Counts requests, from the 30th on by a number of its own.
#[derive(Clone)]
struct Count(u64);

impl Application for Count {
    type State = u64;

    fn apply(&self, state: &mut u64, _: Event<'_>, context: &ApplyContext, _: &mut Applied) -> Result<(), Rejection> {
        *state += if context.op.0 < 30 { 1 } else { self.0 };
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

#[derive(Clone)]
struct Forever;

impl Driver for Forever {
    fn next(&mut self, _: Now, _: &mut Vec<u8>) -> Next {
        Next::Request
    }

    fn done(&mut self, _: Now, _: Outcome<'_>) {}
}

/// Why each of the replicas, which count by these numbers, has stopped.
fn stopped(steps: [u64; 3]) -> [Option<String>; 3] {
    let world = counted(steps);
    [0, 1, 2].map(|replica| world.halted(NodeId(replica)).map(str::to_owned))
}

/// A world of replicas that count by these numbers, after three seconds of requests.
fn counted(steps: [u64; 3]) -> World {
    let mut world = World::new(7);
    for (replica, step) in (0..3).map(ReplicaId).zip(steps) {
        let disk = DiskSettings { capacity: LAYOUT.size(), ..DiskSettings::default() };
        let config = Config::new(CLUSTER, replica, 3, LAYOUT);
        let process = Replica::new(config.clone(), Count(step));
        let settings = NodeSettings { disk, ..NodeSettings::default() };
        let node = world.add_node_with(format!("{replica}"), process, settings);
        for (offset, bytes) in config.format(1) {
            world.disk_mut(node).preload(offset, &bytes);
        }
    }
    world.add_node("c0", ClientProcess::new(ClientConfig::new(CLUSTER, ClientId(1), 3), Forever));
    world.run_for(3_000 * MS);
    world
}

#[test]
fn the_one_that_differs_stops_and_the_others_go_on() {
    for odd in 0..3 {
        let mut steps = [1; 3];
        steps[odd] = 2;
        for (replica, reason) in stopped(steps).into_iter().enumerate() {
            if replica == odd {
                let reason = reason.expect("it differs");
                assert!(
                    reason.contains("the checkpoint at op48") && reason.contains("one of op25 to op48"),
                    "{reason}"
                );
            } else {
                assert_eq!(reason, None);
            }
        }
    }
}

#[test]
fn where_no_majority_agrees_all_stop() {
    for reason in stopped([1, 2, 3]) {
        assert!(reason.is_some_and(|reason| reason.contains("is not the others'")));
    }
}

#[test]
fn who_agrees_goes_on() {
    let world = counted([1; 3]);
    for replica in (0..3).map(NodeId) {
        let process = world.process::<Replica<Count>>(replica).expect("it goes on");
        assert!(process.vsr().checkpoints().vouched().op >= Op(48));
    }
}
