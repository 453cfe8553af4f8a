//! How a client finds out which cluster it asks, and what it is told if that is none, or not the one that was meant.

mod common;

use std::{
    io::Read,
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use chronon::{
    app::kv::{Kv, Request},
    storage::superblock::ApplicationName,
};
use chronon_production::client::{Client, ConnectError, KvClient, Options};
use rustix::net::{AddressFamily, SocketType};

use common::{Cluster, PATIENCE, own_addresses, within};

fn patient(sessions: u32) -> Options {
    Options { sessions, patience: PATIENCE, ..Options::default() }
}

#[test]
fn a_cluster_that_is_none_is_told_from_one_that_is_named_wrongly() {
    let cluster = Cluster::start("client-connect", 3, Kv);
    let refused = |addresses: &[SocketAddr]| Client::connect(addresses, patient(1)).unwrap_err();
    let mut addresses = cluster.addresses().to_vec();
    assert!(matches!(refused(&[]), ConnectError::Addresses(0)));
    assert!(matches!(refused(&[addresses[0]; 7]), ConnectError::Addresses(7)));
    assert!(matches!(refused(&addresses[..2]), ConnectError::Count { addresses: 2, replicas: 3 }));
    assert!(matches!(refused(&own_addresses(3)), ConnectError::Unknown(_)));
    let none = Client::connect(&addresses, patient(0)).unwrap_err();
    assert!(matches!(none, ConnectError::NoSessions));
    addresses.swap(0, 2);
    let error = refused(&addresses);
    let expected = format!("{} is replica 2: give the addresses in the replicas' order, from 0", addresses[0]);
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_replica_of_another_cluster_or_one_that_hangs_keeps_nobody_from_a_cluster_that_serves() {
    let mut cluster = Cluster::start("client-stranger", 3, Kv);
    let stranger = Cluster::start("client-stranger-other", 1, Kv);
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    // Whichever is away, it is not the primary for long.
    cluster.stop(0);
    for first in [stranger.addresses()[0], hangs.local_addr().unwrap()] {
        let addresses = [first, cluster.addresses()[1], cluster.addresses()[2]];
        // What would be asked of one that hangs first is never over.
        let options = Options { patience: Duration::from_secs(1 << 20), ..Options::default() };
        let kv = KvClient::connect(&addresses, options).unwrap();
        kv.put(b"k", b"v").unwrap();
        assert_eq!(kv.get(b"k").unwrap().unwrap(), b"v");
    }
    cluster.stop(1);
    let few = [stranger.addresses()[0], cluster.addresses()[1], cluster.addresses()[2]];
    let error = Client::connect(&few, patient(1)).unwrap_err();
    let ConnectError::Clusters(both) = error else { panic!("{error}") };
    assert_eq!(both.map(|one| (one.address, one.replicas)), [(few[0], 1), (few[2], 3)], "both are named");
}

/// However long it would be waited for.
#[test]
fn whoever_hangs_is_asked_no_longer_than_it_takes_to_know_the_cluster() {
    let cluster = Cluster::start("client-hangs", 3, Kv);
    let [hangs, full] = [1000, 0].map(listener);
    // Until the system takes no more of them it drops whoever comes.
    let waiting: Vec<TcpStream> =
        std::iter::from_fn(|| TcpStream::connect_timeout(&full.local_addr().unwrap(), Duration::from_millis(200)).ok())
            .collect();
    for away in [&hangs, &full] {
        let addresses = [away.local_addr().unwrap(), cluster.addresses()[1], cluster.addresses()[2]];
        let options = Options { patience: Duration::from_secs(1 << 20), ..Options::default() };
        let client = Client::connect(&addresses, options).unwrap();
        drop(client);
    }
    drop(waiting);
    hangs.set_nonblocking(true).unwrap();
    let mut said = [0; 32];
    // Who wants to know which cluster that is comes as an operator; and the client dials there as one.
    let mut asked = within("an operator came", || {
        let (mut stream, _) = hangs.accept().ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.read_exact(&mut said).ok()?;
        (said[10] == 2).then_some(stream)
    });
    assert_eq!(asked.read(&mut said).expect("it is gone again"), 0);
}

/// A port at which so many may wait to be accepted.
fn listener(backlog: i32) -> TcpListener {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &own_addresses(1)[0]).unwrap();
    rustix::net::listen(&socket, backlog).unwrap();
    socket.into()
}

#[test]
fn a_cluster_that_runs_something_else_is_sent_nothing() {
    let named = |config: &mut chronon::vsr::Config| config.application = ApplicationName::new("kv").unwrap();
    let cluster = Cluster::start_with("client-meant", 1, Kv, |config, _| named(config));
    let meant = |applications| Client::connect(cluster.addresses(), Options { applications, ..patient(1) });
    let client = meant(&["bank", "kv"]).unwrap();
    let mut payload = Vec::new();
    Request::Put { key: b"k", value: b"v" }.encode(&mut payload);
    client.request(payload).unwrap().result.unwrap();
    let error = meant(&["jobs"]).unwrap_err();
    assert!(matches!(&error, ConnectError::Application { runs, wanted: ["jobs"] } if runs == "kv"), "{error}");
}
