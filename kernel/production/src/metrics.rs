//! What is counted and timed, and the port that it is scraped from.
//!
//! The replica's thread counts for itself and publishes a few times a second; the port is served by a thread of its own, so that
//! a scrape costs the replica nothing. Names follow Prometheus: base units, `_total` for what only grows.

mod port;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

pub(crate) use self::port::Port;
use crate::{sinks::Tally, tcp::TcpCounts};

/// Where the buckets of a latency end, in seconds: a tenth of a millisecond is a good disk, a second is a sick one.
const BUCKETS: [f64; 14] =
    [0.00005, 0.0001, 0.00015, 0.0002, 0.0003, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 2.0];

/// A gauge over unsigned numbers.
type Level = Gauge<u64, AtomicU64>;

/// What a number is about.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Name {
    name: &'static str,
}

/// Which channel's effects a number is about: a channel's number, `fetch`, `log`, or `others` for the channels that are not
/// counted by themselves.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct ChannelName {
    channel: String,
}

/// The same, and what they came to.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct ChannelResult {
    channel: String,
    result: &'static str,
}

/// A replica's numbers.
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) view: Level,
    pub(crate) op: Level,
    pub(crate) commit: Level,
    pub(crate) applied: Level,
    pub(crate) is_primary: Level,
    pub(crate) checkpoint: Level,
    pub(crate) is_grid_full: Level,
    pub(crate) sessions: Level,
    pub(crate) commit_latency: Histogram,
    pub(crate) durable_write_latency: Histogram,
    pub(crate) query_latency: Histogram,
    /// Effects that have not ended.
    pub(crate) effects: Level,
    effects_run: Family<ChannelResult, Counter>,
    effects_in_flight: Family<ChannelName, Level>,
    effects_held: Family<Name, Level>,
    queries: Family<Name, Counter>,
    queues: Family<Name, Level>,
    rare_paths: Family<Name, Counter>,
    connected: Level,
    connections: Family<Name, Counter>,
    frames: Family<Name, Counter>,
}

impl Metrics {
    /// Numbers that are all nothing yet, of replica `replica` of `cluster`.
    pub(crate) fn new(cluster: u64, replica: u8) -> Self {
        let labels = [("cluster".into(), cluster.to_string().into()), ("replica".into(), replica.to_string().into())];
        let mut metrics = Self {
            view: Level::default(),
            op: Level::default(),
            commit: Level::default(),
            applied: Level::default(),
            is_primary: Level::default(),
            checkpoint: Level::default(),
            is_grid_full: Level::default(),
            sessions: Level::default(),
            commit_latency: Histogram::new(BUCKETS),
            durable_write_latency: Histogram::new(BUCKETS),
            query_latency: Histogram::new(BUCKETS),
            effects: Level::default(),
            effects_run: Family::default(),
            effects_in_flight: Family::default(),
            effects_held: Family::default(),
            queries: Family::default(),
            queues: Family::default(),
            rare_paths: Family::default(),
            connected: Level::default(),
            connections: Family::default(),
            frames: Family::default(),
            registry: Registry::with_prefix_and_labels("chronon", labels.into_iter()),
        };
        let registry = &mut metrics.registry;
        registry.register("view", "The view that the replica is in, or on its way to", metrics.view.clone());
        registry.register("op", "The last op of the log", metrics.op.clone());
        registry.register("commit", "How far the log is known to be committed", metrics.commit.clone());
        registry.register("applied", "The last op that was executed", metrics.applied.clone());
        registry.register("is_primary", "1 at the primary of a view that it serves in", metrics.is_primary.clone());
        registry.register("checkpoint", "The op whose state is durable in a checkpoint", metrics.checkpoint.clone());
        registry.register(
            "is_grid_full",
            "1 if the state had no room for the last checkpoint: the journal is not freed, and requests are refused when it is full",
            metrics.is_grid_full.clone(),
        );
        registry.register("sessions", "Sessions of clients", metrics.sessions.clone());
        registry.register_with_unit(
            "commit_latency",
            "From when the primary logged an op to when it was committed",
            Unit::Seconds,
            metrics.commit_latency.clone(),
        );
        registry.register_with_unit(
            "durable_write_latency",
            "From when a durable write or a barrier was asked for to its end",
            Unit::Seconds,
            metrics.durable_write_latency.clone(),
        );
        registry.register_with_unit(
            "query_round_latency",
            "From when the primary began a round for the queries that it held to their answers",
            Unit::Seconds,
            metrics.query_latency.clone(),
        );
        registry.register("effects_pending", "Effects that have not ended", metrics.effects.clone());
        registry.register(
            "effects_held",
            "Effects that wait for an operator: parked, or dead letters",
            metrics.effects_held.clone(),
        );
        registry.register(
            "effects_in_flight",
            "Orders that this replica's sinks have not come to an end with",
            metrics.effects_in_flight.clone(),
        );
        registry.register(
            "effects_run",
            "Orders by what this replica's sinks said of them",
            metrics.effects_run.clone(),
        );
        registry.register("queries", "Queries that were answered", metrics.queries.clone());
        registry.register("queue_length", "What waits", metrics.queues.clone());
        registry.register("rare_paths", "How often each rare path was taken", metrics.rare_paths.clone());
        registry.register(
            "connected",
            "Connections at present whose other end has said who it is",
            metrics.connected.clone(),
        );
        registry.register("connections", "Connections by what became of them", metrics.connections.clone());
        registry.register("frames", "Frames by what became of them", metrics.frames.clone());
        metrics
    }

    /// How many effects wait for an operator.
    pub(crate) fn held(&self, parked: u64, dead: u64) {
        self.effects_held.get_or_create(&Name { name: "parked" }).set(parked);
        self.effects_held.get_or_create(&Name { name: "dead" }).set(dead);
    }

    /// Publishes what sinks said between `before` and `now`.
    pub(crate) fn sinks(&self, before: &Tally, now: &Tally) {
        for (group, counts) in now.iter() {
            let channel = group.to_string();
            self.effects_in_flight.get_or_create(&ChannelName { channel: channel.clone() }).set(counts.in_flight);
            let earlier = before.of(group);
            for ((result, now), (_, before)) in counts.results().into_iter().zip(earlier.results()) {
                let name = ChannelResult { channel: channel.clone(), result };
                self.effects_run.get_or_create(&name).inc_by(now.saturating_sub(before));
            }
        }
    }

    pub(crate) fn queue(&self, name: &'static str, length: u64) {
        self.queues.get_or_create(&Name { name }).set(length);
    }

    pub(crate) fn queries(&self, name: &'static str, times: u64) {
        self.queries.get_or_create(&Name { name }).inc_by(times);
    }

    pub(crate) fn rare_path(&self, name: &'static str, times: u64) {
        self.rare_paths.get_or_create(&Name { name }).inc_by(times);
    }

    /// Publishes how many are connected, and what became of connections and frames between `before` and `now`.
    pub(crate) fn network(&self, before: &TcpCounts, now: &TcpCounts) {
        self.connected.set(now.connected);
        let connections = |name, before: u64, now: u64| {
            self.connections.get_or_create(&Name { name }).inc_by(now.saturating_sub(before));
        };
        connections("greeted", before.greeted, now.greeted);
        connections("ended", before.ended, now.ended);
        connections("refused", before.refused, now.refused);
        connections("turned_away", before.turned_away, now.turned_away);
        let frames = |name, before: u64, now: u64| {
            self.frames.get_or_create(&Name { name }).inc_by(now.saturating_sub(before));
        };
        frames("received", before.received, now.received);
        frames("sent", before.sent, now.sent);
        frames("dropped", before.dropped, now.dropped);
    }

    fn text(&self) -> String {
        let mut text = String::new();
        // Nothing but the writing itself can fail, and a string takes everything.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// Serves the numbers over HTTP, for as long as the port is held.
///
/// # Errors
/// If the address cannot be listened on.
pub(crate) fn serve(metrics: Arc<Metrics>, address: SocketAddr) -> io::Result<Port> {
    Port::open(address, move || metrics.text())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpStream,
    };

    use super::*;

    fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn what_is_counted_is_scraped_and_everything_else_is_told_where_to_look() {
        let metrics = Arc::new(Metrics::new(7, 2));
        let port = serve(Arc::clone(&metrics), "127.0.0.1:0".parse().unwrap()).unwrap();
        metrics.view.set(5);
        metrics.rare_path("bad_frame", 3);
        metrics.commit_latency.observe(0.00012);
        let before = TcpCounts { dropped: 1, ..TcpCounts::default() };
        metrics.network(&before, &TcpCounts { connected: 2, dropped: 5, turned_away: 6, ..before });
        let text = get(port.address(), "/metrics");
        for line in [
            r#"chronon_view{cluster="7",replica="2"} 5"#,
            r#"chronon_rare_paths_total{cluster="7",replica="2",name="bad_frame"} 3"#,
            r#"chronon_commit_latency_seconds_bucket{cluster="7",replica="2",le="0.0001"} 0"#,
            r#"chronon_commit_latency_seconds_bucket{cluster="7",replica="2",le="0.00015"} 1"#,
            r#"chronon_connected{cluster="7",replica="2"} 2"#,
            r#"chronon_connections_total{cluster="7",replica="2",name="turned_away"} 6"#,
            r#"chronon_frames_total{cluster="7",replica="2",name="dropped"} 4"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(get(port.address(), "/").contains("404"));
    }
}
