//! What a replica's metrics say while it serves: what was committed and how fast, what went wrong, and what waits where.

use std::{
    fs::File,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use chronon::{env::Network, frame::Frame, types::ReplicaId};
use chronon_production::{
    TcpNetwork,
    tcp::{Limits, Speaker, TcpConfig},
};

use crate::{
    SOME,
    addresses::own_addresses,
    cluster::{CLUSTER, Cluster, LAYOUT, until},
    flip,
    load::Load,
};

/// What is scraped, if anybody is there.
fn scrape(port: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(port).ok()?;
    write!(stream, "GET /metrics HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

/// The number in the one line that has all these words, if there is such a line.
fn number(text: &str, words: &[&str]) -> Option<u64> {
    let mut lines = text.lines().filter(|line| words.iter().all(|word| line.contains(word)));
    let line = lines.next()?;
    assert_eq!(lines.next(), None, "{words:?} is one line");
    line.rsplit(' ').next()?.parse().ok()
}

/// Sends a replica what is no frame of the protocol, as a client.
fn send_nonsense(cluster: &Cluster, replica: u8) {
    let limits = Limits { frame_size_max: 1 << 16, queue_bytes_max: 1 << 18 };
    let config = TcpConfig::new(CLUSTER, Speaker::Client, cluster.addresses().to_vec(), limits);
    let (mut network, node) = (TcpNetwork::new(config, None).unwrap(), ReplicaId(replica).node());
    let wait = |network: &mut TcpNetwork| network.wait(Duration::from_millis(10)).unwrap();
    until("it is greeted", || {
        wait(&mut network);
        network.is_connected(node).then_some(())
    });
    network.send(node, Frame::new(vec![0xA5; 200]));
    until("it hangs up", || {
        wait(&mut network);
        (!network.is_connected(node)).then_some(())
    });
}

#[test]
fn commits_a_repair_a_frame_that_is_none_and_every_queue_are_in_the_metrics() {
    let ports = own_addresses(3);
    let flags: Vec<_> = ports.iter().map(|port| vec!["--metrics".to_owned(), port.to_string()]).collect();
    let mut cluster = Cluster::start_each_with("metrics", &flags);
    let load = Load::begin(&cluster);
    load.wait_for(SOME);
    let primary = cluster.primary();
    let away = (primary + 1) % 3;
    cluster.kill(away);
    let file = File::options().read(true).write(true).open(cluster.data_file(away)).unwrap();
    [2, 3].iter().for_each(|slot| flip(&file, LAYOUT.prepare_offset(*slot) + 130));
    load.wait_for(SOME);
    cluster.restart(away);
    let rare = |replica: u8, path: &str| {
        let text = scrape(ports[usize::from(replica)])?;
        number(&text, &["rare_paths_total", &format!(r#"name="{path}""#)])
    };
    until("what was damaged is repaired", || rare(away, "prepare_repaired").filter(|times| *times > 0));
    load.wait_for(SOME);

    let (count, text) = until("commits are timed", || {
        let text = scrape(ports[usize::from(cluster.primary())])?;
        let count = number(&text, &["chronon_commit_latency_seconds_count"])?;
        (count >= SOME / 8).then_some((count, text))
    });
    let buckets: Vec<u64> = (text.lines().filter(|line| line.contains("commit_latency_seconds_bucket")))
        .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
        .collect();
    assert!(buckets.is_sorted() && buckets.last() == Some(&count), "each bucket holds those before it: {buckets:?}");
    let network = ["bytes received of replicas", "bytes received of clients", "bytes to be sent"];
    let own = ["requests in flight", "effects under way", "reports of effects"];
    for queue in own.iter().chain(&network).chain(&["disk operations"]) {
        let length = number(&text, &["queue_length", &format!(r#"name="{queue}""#)]);
        assert!(length.is_some(), "{queue} is not in\n{text}");
    }
    let status = cluster.status(primary);
    for queue in own.iter().chain(&network) {
        let said = status.queues.iter().find(|said| said.name == *queue);
        assert!(said.is_some_and(|said| said.length <= said.limit), "{queue}: {said:?}");
    }

    assert_eq!(rare(away, "bad_frame"), Some(0));
    send_nonsense(&cluster, away);
    until("the frame that is none is counted", || rare(away, "bad_frame").filter(|times| *times == 1));
    cluster.ends_well(load);
}
