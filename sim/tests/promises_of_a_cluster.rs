//! The promises of a cluster, watched over whole clusters: a sound one keeps them all, and what happens behind a replica's
//! back (a disk formatted again, a journal rolled back) is called by its name.

use chronon::{
    app::kv::Kv,
    client::{ClientConfig, ClientProcess},
    replica::Replica,
    storage::layout::Layout,
    types::{ClientId, ClusterId, NodeId, ReplicaId},
    vsr::Config,
};
use chronon_sim::{
    oracle::{cluster::ClusterOracle, convergence},
    workload::{KvCaller, KvConfig, KvWorkload},
    world::World,
};

const SECOND_NS: u64 = 1_000_000_000;
const CLUSTER: ClusterId = ClusterId(3);
const LAYOUT: Layout = Layout { slot_count: 1024, message_size_max: 32 * 1024, block_count: 64, block_size: 4096 };
const CORE: [NodeId; 3] = [NodeId(0), NodeId(1), NodeId(2)];

/// Three replicas and as many clients, watched by an oracle that takes them for a cluster of this configuration.
fn cluster(calls: u64, watched: impl FnOnce(&mut Config)) -> World {
    let mut world = World::new(1);
    for replica in (0..3).map(ReplicaId) {
        let config = Config::new(CLUSTER, replica, 3, LAYOUT);
        let node = world.add_node(format!("r{}", replica.0), Replica::new(config, Kv));
        format(&mut world, node);
    }
    for client in 0..3 {
        let config = ClientConfig::new(CLUSTER, ClientId(u128::from(client) + 1), 3);
        let workload = KvCaller::new(1, client, KvConfig { calls, ..KvConfig::default() });
        world.add_node(format!("c{client}"), ClientProcess::new(config, workload));
    }
    let mut config = Config::new(CLUSTER, ReplicaId(0), 3, LAYOUT);
    watched(&mut config);
    world.add_oracle(ClusterOracle::new(&config));
    world
}

fn format(world: &mut World, node: NodeId) {
    let config = Config::new(CLUSTER, ReplicaId(node.0 as u8), 3, LAYOUT);
    for (offset, bytes) in config.format(1) {
        world.disk_mut(node).preload(offset, &bytes);
    }
}

fn oracle(world: &World) -> &ClusterOracle {
    world.oracle().expect("the cluster is watched")
}

fn is_finished(world: &World) -> bool {
    let done =
        |client| world.process::<ClientProcess<KvCaller>>(NodeId(client)).is_some_and(|it| it.driver().is_finished());
    (3..6).all(done) && convergence::converged(&KvWorkload, &world.view(), &CORE).is_ok()
}

/// Which promise was broken, and where.
fn broken(world: &World) -> Option<(&str, &str)> {
    world.verdict().map(|failure| (failure.oracle.as_str(), failure.place.as_str()))
}

#[test]
fn a_sound_cluster_keeps_them_all_through_a_crash_of_every_replica() {
    let mut world = cluster(300, |_| {});
    for node in CORE {
        world.run_for(SECOND_NS / 2);
        world.kill(node);
        world.run_for(SECOND_NS / 2);
        world.restart(node);
    }
    assert!(
        world.run_until(120 * SECOND_NS, is_finished),
        "{:?}",
        convergence::converged(&KvWorkload, &world.view(), &CORE)
    );
    oracle(&world).converged(&world.view(), &CORE).unwrap();
    world.finish();
    assert_eq!(broken(&world), None);
    assert_eq!(oracle(&world).requests_acknowledged(), 900);
    assert!(oracle(&world).commits() > 300 && oracle(&world).views_started() > 1);
}

#[test]
fn a_replica_that_lags_behind_has_not_converged() {
    let mut world = cluster(20, |_| {});
    world.run_for(SECOND_NS);
    world.kill(NodeId(2));
    world.run_for(5 * SECOND_NS);
    let view = world.view();
    assert_eq!(convergence::converged(&KvWorkload, &view, &CORE), Err("r2 is down".to_owned()));
    assert_eq!(oracle(&world).converged(&view, &CORE).unwrap_err().promise, Some("replies"));
    convergence::converged(&KvWorkload, &view, &CORE[..2]).unwrap();
    oracle(&world).converged(&view, &CORE[..2]).unwrap();
}

#[test]
fn sessions_that_are_evicted_by_another_rule_are_another_session_table() {
    let mut world = cluster(50, |config| config.clients_max = 2);
    world.run_for(5 * SECOND_NS);
    assert_eq!(broken(&world), Some(("state", "another session table")));
}

#[test]
fn a_disk_that_was_formatted_again_makes_a_replica_go_back() {
    let mut world = cluster(1000, |_| {});
    world.run_for(2 * SECOND_NS);
    world.cut_power(NodeId(1));
    format(&mut world, NodeId(1));
    world.restart(NodeId(1));
    world.run_for(5 * SECOND_NS);
    assert_eq!(broken(&world), Some(("monotonic", "the durable view went back")));
}

#[test]
fn a_journal_that_lost_what_was_acknowledged_is_found_out_when_it_is_asked_for() {
    let mut world = cluster(1000, |_| {});
    world.run_for(2 * SECOND_NS);
    assert_eq!(broken(&world), None);
    // The primary is r1, and r2 will be. The other backup forgets what it acknowledged, without a trace of damage.
    world.cut_power(NodeId(0));
    let rings = LAYOUT.header_ring_offset() + 128..LAYOUT.prepare_offset(1023);
    for sector in world.disk(NodeId(0)).written_sectors(rings.start / 4096 + 1, rings.end / 4096).collect::<Vec<_>>() {
        world.disk_mut(NodeId(0)).preload(sector * 4096, &[0; 4096]);
    }
    world.kill(NodeId(1));
    world.restart(NodeId(0));
    world.run_for(10 * SECOND_NS);
    assert_eq!(broken(&world), Some(("durability", "an acknowledged op above the stated head")));
}
