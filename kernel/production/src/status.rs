//! How a replica is: what it says of itself when an operator asks.
//!
//! The question is a connection that opens as an operator's, and the answer one frame of JSON. Fields may be added; none
//! changes its meaning.
//!
//! Invariant: whatever a replica lists of itself, the answer is a frame that any replica may send, for every list has a bound.

mod asking;

use std::{collections::BTreeSet, fmt, net::SocketAddr};

use chronon::{
    app::{
        application::Application,
        outbox::{Outbox, Stage},
    },
    replica::Replica,
    types::Instant as Monotonic,
    vsr::{self, Vsr},
};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

pub(crate) use self::asking::Questions;
pub use self::asking::{AskError, ask};
use crate::{
    sinks::{Counts, Group, Tally, Troubles},
    tcp::{Refused, TcpCounts},
};

/// What a replica says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// Its process's number.
    pub process: u32,
    /// The CPU time that its process used so far, in microseconds: of all replicas together, if it runs several.
    pub cpu_us: u64,
    /// Which cluster it is of.
    pub cluster: u64,
    /// Which replica it is.
    pub replica: u8,
    /// How many replicas the cluster has.
    pub replicas: u8,
    /// The application that its data file is of; empty if the file, or an older release, does not say.
    #[serde(default)]
    pub application: String,
    /// What it is doing.
    pub state: State,
    /// The view that it is in, or on its way to.
    pub view: u64,
    /// The view whose log it has.
    pub log_view: u64,
    /// The primary of the view.
    pub primary: u8,
    /// The last op of its log.
    pub op: u64,
    /// How far it knows the log to be committed.
    pub commit: u64,
    /// The last op that it executed.
    pub applied: u64,
    /// How many committed ops it has not executed.
    pub lag: u64,
    /// The op whose state is durable as a checkpoint: everything up to it needs no journal.
    pub checkpoint: u64,
    /// Whether it is writing a checkpoint.
    pub is_writing_checkpoint: bool,
    /// Whether it is fetching a checkpoint of the others.
    pub is_syncing: bool,
    /// Whether the last checkpoint did not fit the grid: then the journal fills up.
    pub is_grid_full: bool,
    /// How many ops the journal holds above a checkpoint.
    pub journal_slots: u32,
    /// The largest message, in bytes.
    pub message_size_max: u32,
    /// How many blocks there are for checkpoints.
    pub grid_blocks: u32,
    /// The size of each, in bytes.
    pub block_size: u32,
    /// How many sessions there may be.
    pub clients_max: u32,
    /// The clock that a majority agrees on, as offsets to this machine's own, in nanoseconds; nothing without a majority.
    pub clock_offset_ns: Option<(i64, i64)>,
    /// How it reads and writes its data file.
    pub disk: String,
    /// Sessions of clients.
    pub sessions: u64,
    /// The effects that its application asked for.
    pub effects: Effects,
    /// What waits where.
    pub queues: Vec<Queue>,
    /// Of connections and frames.
    pub network: Network,
    /// The other replicas that it speaks with at present; nothing from a release that did not say so.
    #[serde(default)]
    pub speaks_with: Option<Vec<u8>>,
    /// With whom it does not speak at present, though they try to.
    #[serde(default)]
    pub refusals: Vec<Refusal>,
}

/// Somebody with whom a replica does not speak.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Refusal {
    /// Which replica that is or should be, unless it is none of the cluster's.
    pub replica: Option<u8>,
    /// Its address: the one that was dialled, or that it dialled from.
    pub address: Option<SocketAddr>,
    /// Why, and what to do, in words.
    pub why: String,
    /// How often, since it was last spoken with.
    pub times: u64,
    /// How long ago it was the last time, in milliseconds.
    pub ago_ms: u64,
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let Refused { replica, address, why, times, ago } = refused;
        let ago_ms = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
        Self { replica: replica.map(|replica| replica.0), address, why, times, ago_ms }
    }
}

/// What a replica is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It reads its data file.
    Recovering,
    /// It takes a lost replica's place, follows the log, and gives nobody its word yet.
    Rejoining,
    /// It is the primary of its view.
    Primary,
    /// It follows the primary of its view.
    Backup,
    /// It is between views, or waits to be let into one.
    ViewChange,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Recovering => "recovering",
            Self::Rejoining => "rejoining",
            Self::Primary => "primary",
            Self::Backup => "backup",
            Self::ViewChange => "view change",
        })
    }
}

/// Effects that have not ended, as far as this replica has executed the log; and what its own sinks did, which is something if it is or
/// was the primary.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Effects {
    /// How many have not ended.
    pub pending: u64,
    /// Of these, of how many nobody knows whether they were done, and which are never run twice.
    pub parked: u64,
    /// And how many are dead letters.
    pub dead: u64,
    /// What the sinks did, by channel.
    pub channels: Vec<ChannelCounts>,
}

/// What a replica's sinks did in one channel: see [`Counts`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "Counts has them")]
pub struct ChannelCounts {
    /// The channel's number, `fetch`, `log`, or `others` for the channels that are not counted by themselves.
    pub channel: String,
    pub in_flight: u64,
    pub done: u64,
    pub failed: u64,
    pub refused: u64,
    pub unknown: u64,
    /// In words, if the last attempt came to an error, and there is an effect of the channel that has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

impl Effects {
    /// What an outbox holds, what became of orders, and where they come to errors.
    pub fn of(outbox: &Outbox, sinks: &Tally, troubles: &Troubles) -> Self {
        let held = outbox.held(None);
        let (parked, dead) = held.fold((0, 0), |(parked, dead), (_, entry)| match entry.standing.stage {
            Stage::Parked => (parked + 1, dead),
            _ => (parked, dead + 1),
        });
        // A sink hears nothing of what an operator decides: what it came to last may be of effects that are no more.
        let is_troubled = sinks.iter().any(|(group, _)| troubles.last(group).is_some());
        let entries = outbox.iter().filter(|_| is_troubled);
        let pending: BTreeSet<Group> =
            entries.map(|(_, entry)| sinks.group(entry.standing.destination.into())).collect();
        let channels = sinks.iter().map(|(group, counts)| {
            let Counts { in_flight, done, failed, refused, unknown } = counts;
            let last_error = troubles.last(group).filter(|_| pending.contains(&group)).map(str::to_owned);
            ChannelCounts { channel: group.to_string(), in_flight, done, failed, refused, unknown, last_error }
        });
        Self { pending: outbox.len() as u64, parked, dead, channels: channels.collect() }
    }
}

/// Something that waits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Queue {
    /// What waits.
    pub name: String,
    /// How many.
    pub length: u64,
    /// How many at most.
    pub limit: u64,
}

/// Of connections and frames: how many connections there are, and what became of them and of frames since the start. See [`TcpCounts`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "TcpCounts has them")]
pub struct Network {
    pub connections: u64,
    pub greeted: u64,
    pub ended: u64,
    pub refused: u64,
    #[serde(default)]
    pub turned_away: u64,
    pub frames_received: u64,
    pub frames_sent: u64,
    pub frames_dropped: u64,
}

impl Status {
    /// Of a replica, at `now` on its clock; with the network's queues, each by its name, length and limit. With whom it speaks is not in it.
    pub fn of<A: Application>(
        replica: &Replica<A>,
        now: Monotonic,
        disk: &str,
        queues: &[(&str, u64, u64)],
        network: &TcpCounts,
        effects: Effects,
    ) -> Self {
        let vsr = replica.vsr();
        let config = vsr.config();
        let (commit, applied) = (vsr.commit_max().0, vsr.applied().0);
        let own = replica.queues();
        let queues = own.iter().chain(queues);
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process: std::process::id(),
            cpu_us: cpu_us(),
            cluster: config.cluster.0,
            replica: config.replica.0,
            replicas: config.replica_count,
            application: config.application.to_string(),
            state: state(vsr),
            view: vsr.view().0,
            log_view: vsr.log_view().0,
            primary: vsr.primary_of_view().0,
            op: vsr.log().head().0,
            commit,
            applied,
            lag: commit.saturating_sub(applied),
            checkpoint: vsr.checkpoints().op().0,
            is_writing_checkpoint: vsr.checkpoints().is_taking(),
            is_syncing: vsr.checkpoints().is_syncing(),
            is_grid_full: vsr.checkpoints().is_full(),
            journal_slots: config.layout.slot_count,
            message_size_max: config.layout.message_size_max,
            grid_blocks: config.layout.block_count,
            block_size: config.layout.block_size,
            clients_max: config.clients_max,
            clock_offset_ns: vsr.clock_interval(now).map(|(low, high)| (narrow(low), narrow(high))),
            disk: disk.to_owned(),
            sessions: vsr.sessions().len() as u64,
            effects,
            queues: queues.map(|&(name, length, limit)| Queue { name: name.to_owned(), length, limit }).collect(),
            network: Network {
                connections: network.connected,
                greeted: network.greeted,
                ended: network.ended,
                refused: network.refused,
                turned_away: network.turned_away,
                frames_received: network.received,
                frames_sent: network.sent,
                frames_dropped: network.dropped,
            },
            speaks_with: None,
            refusals: Vec::new(),
        }
    }
}

fn state(vsr: &Vsr) -> State {
    match vsr.status() {
        vsr::Status::Booting => State::Recovering,
        _ if !vsr.votes() => State::Rejoining,
        vsr::Status::ViewChange => State::ViewChange,
        vsr::Status::Normal if vsr.is_primary() => State::Primary,
        vsr::Status::Normal => State::Backup,
    }
}

fn cpu_us() -> u64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    // Time that was used is not negative.
    let number = |part: i64| u64::try_from(part).unwrap_or_default();
    number(used.tv_sec).saturating_mul(1_000_000).saturating_add(number(used.tv_nsec) / 1_000)
}

fn narrow(offset_ns: i128) -> i64 {
    i64::try_from(offset_ns).unwrap_or(if offset_ns < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use chronon::{
        app::kv::Kv,
        effect::{Channel, Destination, Severity},
        storage::{layout::Layout, superblock::ApplicationName},
        types::{ClusterId, ReplicaId},
        vsr::{Config, quorum::REPLICAS_MAX},
    };
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        serve::FRAME_SIZE_MIN,
        tcp::{Limits, Speaker, TcpConfig, TcpNetwork, fullest_refusals},
    };

    /// Has each number take as much room as one can.
    fn grow(value: &mut Value) {
        match value {
            Value::Number(number) => *number = u64::MAX.into(),
            Value::Array(values) => values.iter_mut().for_each(grow),
            Value::Object(fields) => fields.values_mut().for_each(grow),
            Value::Null | Value::Bool(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn whatever_a_replica_has_to_say_of_itself_fits_the_least_frame_that_there_is() {
        let layout = Layout { slot_count: 64, message_size_max: 64 * 1024, block_count: 64, block_size: 4096 };
        let application = ApplicationName::new(&"a".repeat(ApplicationName::SIZE_MAX)).unwrap();
        let config = Config::new(ClusterId(u64::MAX), ReplicaId(0), REPLICAS_MAX, layout);
        let replica = Replica::new(Config { application, ..config }, Kv);
        let mut tally = Tally::default();
        let channels = (0..1 << 20).map(|number| Destination::Emit(Channel(u32::MAX - number)));
        for destination in channels.chain([Destination::Fetch, Destination::Log(Severity::Info)]) {
            tally.ordered(destination.into());
        }
        let effects = Effects::of(replica.executor().outbox(), &tally, &Troubles::default());
        // The longest that is kept, of what takes most room.
        let last_error = Some("\"".repeat(80));
        let channels =
            effects.channels.into_iter().map(|it| ChannelCounts { last_error: last_error.clone(), ..it }).collect();
        let effects = Effects { channels, ..effects };
        let limits = Limits { frame_size_max: 1, queue_bytes_max: 2 };
        let tcp = TcpConfig::new(ClusterId(7), Speaker::Replica(ReplicaId(0)), Vec::from([([0; 4], 0).into()]), limits);
        let queues = TcpNetwork::new(tcp, None).unwrap().queues();
        let (disk, counts) = ("io_uring, data-synchronous writes", TcpCounts::default());
        let status = Status::of(&replica, Monotonic(0), disk, &queues, &counts, effects);
        let refusals: Vec<_> = fullest_refusals().into_iter().map(Refusal::from).collect();
        assert_eq!(refusals.len(), 11 + 2 * usize::from(REPLICAS_MAX));
        let speaks_with = Some((0..REPLICAS_MAX).collect());
        let status = Status { speaks_with, refusals, state: State::ViewChange, ..status };
        let mut status = serde_json::to_value(status).unwrap();
        status["clock_offset_ns"] = json!([1, 1]);
        grow(&mut status);
        let size = status.to_string().len();
        assert!(size <= FRAME_SIZE_MIN as usize, "{size} bytes");
    }
}
