//! The cluster workload: three replicas without faults, and eight clients that put 256 bytes each, one request in flight.
//!
//! Latency is 0.1 to 1 ms, the pipeline is the default one, all checksums are real, every oracle looks on and the digest is on.
//! What is measured begins when every client has a session: the data files are formatted and read by then.

use chronon::{
    app::kv::Kv,
    client::{ClientConfig, ClientProcess},
    replica::Replica,
    storage::layout::Layout,
    types::{ClientId, ClusterId, NodeId, ReplicaId},
    vsr::Config,
};
use chronon_sim::{
    network::LinkSettings,
    oracle::cluster::ClusterOracle,
    workload::PutWorkload,
    world::{NodeSettings, World, WorldSettings},
};

/// Replicas of the cluster.
const REPLICAS: u8 = 3;

/// Clients, each with one request in flight.
const CLIENTS: u32 = 8;

/// What each client puts.
const PUTS: u64 = 2_500;

/// Bytes of each value.
const VALUE_SIZE: u32 = 256;

/// Keys of each client.
const KEYS: u64 = 1_000;

/// A journal that comes round a few times, and room for a few checkpoints of all that is put.
const LAYOUT: Layout =
    Layout { slot_count: 2048, message_size_max: 24 * 1024, block_count: 1024, block_size: 16 * 1024 };

/// No run takes so long.
const LIMIT_NS: u64 = 1_000_000_000_000;

/// What one run did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ClusterRun {
    /// Puts that were acknowledged.
    pub(super) requests: u64,
    /// Ops that were committed for them.
    pub(super) ops: u64,
    /// Events that processes took.
    pub(super) events: u64,
    /// Frames that reached a process.
    pub(super) messages: u64,
    /// Writes that disks took.
    pub(super) writes: u64,
    /// The virtual time that passed.
    pub(super) virtual_ns: u64,
    /// The trace's digest.
    pub(super) digest: [u8; 32],
}

/// A cluster whose clients have their sessions and no acknowledged put.
pub(super) fn prepare(seed: u64) -> World {
    let link = LinkSettings { latency_min_ns: 100_000, latency_max_ns: 1_000_000, ..LinkSettings::default() };
    let mut world = World::with_settings(seed, WorldSettings { link, ..WorldSettings::default() });
    let cluster = ClusterId(seed);
    for replica in (0..REPLICAS).map(ReplicaId) {
        let config = Config::new(cluster, replica, REPLICAS, LAYOUT);
        if replica.0 == 0 {
            world.add_oracle(ClusterOracle::new(&config));
        }
        let mut settings = NodeSettings::default();
        settings.disk.capacity = LAYOUT.size();
        let node = world.add_node_with(format!("r{}", replica.0), Replica::new(config.clone(), Kv), settings);
        for (offset, bytes) in config.format(1) {
            world.disk_mut(node).preload(offset, &bytes);
        }
    }
    for client in 0..CLIENTS {
        let config = ClientConfig::new(cluster, ClientId(u128::from(client) + 1), REPLICAS);
        let workload = PutWorkload::new(client, PUTS, KEYS, VALUE_SIZE);
        world.add_node(format!("c{client}"), ClientProcess::new(config, workload));
    }
    let is_ready = world.run_until(LIMIT_NS, |world| clients(world).all(|client| client.acknowledged() > 0));
    assert!(is_ready, "a cluster without faults serves its clients: {:?}", world.verdict());
    world
}

/// Lets every client make all of its puts.
pub(super) fn run(mut world: World) -> ClusterRun {
    let before = standing(&world);
    let is_over = world.run_until(LIMIT_NS, |world| clients(world).all(PutWorkload::is_finished));
    world.finish();
    assert!(is_over && world.verdict().is_none(), "a cluster without faults answers: {:?}", world.verdict());
    let after = standing(&world);
    ClusterRun {
        requests: after.requests - before.requests,
        ops: after.ops - before.ops,
        events: after.events - before.events,
        messages: after.messages - before.messages,
        writes: after.writes - before.writes,
        virtual_ns: after.virtual_ns - before.virtual_ns,
        digest: after.digest,
    }
}

/// What was done since the world began.
fn standing(world: &World) -> ClusterRun {
    let writes = |node: NodeId| world.disk(node).counters().writes + world.disk(node).counters().durable_writes;
    ClusterRun {
        requests: clients(world).map(PutWorkload::acknowledged).sum(),
        ops: world.oracle::<ClusterOracle>().map_or(0, ClusterOracle::commits),
        events: world.steps(),
        messages: world.network_counts().delivered,
        writes: (0..u32::from(REPLICAS)).map(NodeId).map(writes).sum(),
        virtual_ns: world.now_ns(),
        digest: world.digest(),
    }
}

fn clients(world: &World) -> impl Iterator<Item = &PutWorkload> {
    let nodes = (0..CLIENTS).map(|client| NodeId(u32::from(REPLICAS) + client));
    nodes.filter_map(|node| world.process::<ClientProcess<PutWorkload>>(node)).map(ClientProcess::driver)
}
