//! What leaves when, and to whom.

use std::net::TcpListener;

use super::*;
use crate::client::Cluster;
use chronon::types::ReplicaId;

#[test]
fn what_was_asked_before_there_was_a_connection_leaves_with_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = vec![listener.local_addr().unwrap()];
    let cluster = Cluster { id: ClusterId(7), message_size_max: 4096 };
    let limits = Limits { frame_size_max: 4096, queue_bytes_max: 1 << 20 };
    let config = TcpConfig::new(cluster.id, Speaker::Replica(ReplicaId(0)), addresses.clone(), limits);
    let mut replica = TcpNetwork::new(config, Some(listener)).unwrap();
    let options = Options { sessions: 3, cluster: Some(cluster), ..Options::default() };
    let mut sessions = Sessions::connect(&addresses, &options).unwrap();
    let expiry = SystemClock.monotonic().after(u64::MAX);
    (0..3).for_each(|tag| sessions.submit(tag, b"asked", expiry));
    assert_eq!(sessions.parked.len(), 3);
    while !sessions.network.is_connected(NodeId(0)) {
        assert_eq!(sessions.network.counts().sent, 0);
        sessions.turn(Duration::from_millis(1)).unwrap();
        replica.wait(Duration::from_millis(1)).unwrap();
    }
    assert!(sessions.parked.is_empty() && sessions.sessions.iter().all(|session| session.parked.is_none()));
    assert_eq!(sessions.network.counts().sent, 3);
}

#[test]
fn a_session_begins_with_the_primary_of_the_view_that_another_heard_of() {
    let addresses: Vec<SocketAddr> = (1..=3).map(|host| SocketAddr::from(([127, 0, 0, host], 1))).collect();
    let cluster = Cluster { id: ClusterId(7), message_size_max: 4096 };
    let options = Options { sessions: 2, cluster: Some(cluster), ..Options::default() };
    let mut sessions = Sessions::connect(&addresses, &options).unwrap();
    let expiry = SystemClock.monotonic().after(u64::MAX);
    sessions.submit(0, b"asked", expiry);
    sessions.view = View(4);
    sessions.submit(1, b"asked", expiry);
    let asked: Vec<NodeId> = sessions.parked.keys().map(|(node, _)| *node).collect();
    assert_eq!(asked, [NodeId(0), NodeId(1)]);
}
