//! A cluster of the smallest application, whose clients ask for the numbers that they are given, each for one after another.

use chronon::{
    app::number::Number,
    client::{ClientConfig, ClientProcess, Driver, Next, Outcome},
    process::Now,
    replica::Replica,
    storage::layout::Layout,
    types::{ClientId, NodeId, ReplicaId},
    vsr::Config,
};
use chronon_sim::{
    disk::{DiskSettings, LatencyRange},
    world::{NodeSettings, World},
};

use crate::script::CLUSTER;

/// A checkpoint at every 24th op.
const LAYOUT: Layout = Layout { slot_count: 64, message_size_max: 8192, block_count: 64, block_size: 4096 };

/// The replicas of every one of these clusters.
pub(crate) const REPLICAS: [NodeId; 3] = [NodeId(0), NodeId(1), NodeId(2)];

/// Asks for these, and counts the answers.
#[derive(Clone)]
struct Asks {
    numbers: Vec<u8>,
    answers: usize,
}

impl Driver for Asks {
    fn next(&mut self, _: Now, request: &mut Vec<u8>) -> Next {
        let Some(number) = self.numbers.get(self.answers) else { return Next::Done };
        request.push(*number);
        Next::Request
    }

    fn done(&mut self, _: Now, outcome: Outcome<'_>) {
        assert!(matches!(outcome, Outcome::Answered(_)), "every number is taken: {outcome:?}");
        self.answers += 1;
    }
}

/// A cluster whose replicas have these applications, with a client for each of these lists.
pub(crate) fn world(seed: u64, applications: [Number; 3], lists: &[Vec<u8>]) -> World {
    // A checkpoint, which ends with barriers, takes as long as a few ops, which need none.
    world_on([LatencyRange::new(5_000_000, 20_000_000); 3], seed, applications, lists)
}

/// The same on disks whose barriers take so long.
pub(crate) fn world_on(barriers: [LatencyRange; 3], seed: u64, applications: [Number; 3], lists: &[Vec<u8>]) -> World {
    let mut world = World::new(seed);
    for ((node, application), barrier) in REPLICAS.into_iter().zip(applications).zip(barriers) {
        let disk = DiskSettings { capacity: LAYOUT.size(), barrier, ..DiskSettings::default() };
        let settings = NodeSettings { disk, ..NodeSettings::default() };
        let replica = replica(node, application);
        let blocks = replica.vsr().config().format(1);
        world.add_node_with(format!("r{}", node.0), replica, settings);
        for (offset, bytes) in blocks {
            world.disk_mut(node).preload(offset, &bytes);
        }
    }
    for (number, list) in (1..).zip(lists) {
        let asks = Asks { numbers: list.clone(), answers: 0 };
        let client = ClientProcess::new(ClientConfig::new(CLUSTER, ClientId(number), 3), asks);
        world.add_node(format!("c{number}"), client);
    }
    world
}

/// One of its replicas.
pub(crate) fn replica(node: NodeId, application: Number) -> Replica<Number> {
    Replica::new(Config::new(CLUSTER, ReplicaId(node.0 as u8), 3, LAYOUT), application)
}

/// How many numbers the clients were answered about.
pub(crate) fn answers(world: &World) -> usize {
    let clients = world.nodes().filter_map(|node| world.process::<ClientProcess<Asks>>(node));
    clients.map(|client| client.driver().answers).sum()
}
