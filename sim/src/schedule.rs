//! A schedule: one simulation as explicit data, written and read as TOML.
//!
//! What a seed means is drawn once (see `nemesis.rs`) and written down here: the cluster, its surroundings, and the faults in
//! order, each with what it waits for. A run is a function of its schedule and of the seed in it; the seed feeds what is too
//! fine to be written down (each latency, each lost frame, what a crash leaves of a sector).

mod cluster;
mod error;
mod fault;
mod links;
mod words;

use chronon::{client::ClientProbe, storage::layout::SUPERBLOCK_COPIES, vsr::Probe};
pub use cluster::{BLOCK_COUNT_ORDINARY, BLOCK_SIZE_ORDINARY, BLOCKS_MAX, ClusterPlan, MESSAGE_SIZE_MAX};
pub use fault::{DamagePlace, Fault, Ring, Target};
pub use links::LinkPlan;
use serde::{Deserialize, Serialize};

use crate::{
    disk::DiskSettings,
    nearest::nearest,
    network::LinkSettings,
    operator::OperatorPlan,
    outside::ServicesPlan,
    reader::ReaderConfig,
    rng::Stream,
    workload::{KvConfig, Plan, Workload},
};

pub use error::{ScheduleError, toml_sentence};

/// The version of the format.
pub const FORMAT: u32 = 1;

/// The highest seed: what a TOML integer holds.
pub const SEED_MAX: u64 = i64::MAX as u64;

/// One simulation, as data.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound = "P: Plan")]
pub struct Schedule<P: Plan = KvConfig> {
    /// [`FORMAT`].
    pub format: u32,
    /// The scenario that it was drawn for.
    pub scenario: String,
    /// Feeds every random stream of the run. At most [`SEED_MAX`].
    pub seed: u64,
    /// The replicas.
    pub cluster: ClusterPlan,
    /// The clients.
    pub workload: WorkloadPlan<P>,
    /// Every link, until healing.
    pub network: LinkSettings,
    /// Links whose latency is another, for the whole run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkPlan>,
    /// Every disk, until healing.
    pub disk: DiskSettings,
    /// Each replica's clock, by number; replicas beyond the list have perfect ones.
    #[serde(default)]
    pub clocks: Vec<ClockPlan>,
    /// The replicas that are healed at the end and must converge.
    pub core: Vec<u8>,
    /// What becomes of the others.
    #[serde(default)]
    pub left_behind: LeftBehind,
    /// How long a replica stays down that stopped by itself, or in a crash that states no other time.
    pub downtime_ns: u64,
    /// The faults, in order. Each waits until the one before has struck.
    #[serde(default)]
    pub steps: Vec<Step>,
}

/// What becomes of the replicas outside the core when that is healed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeftBehind {
    /// They are down.
    #[default]
    Down,
    /// They hear nobody, and everybody hears them.
    Deaf,
}

/// The clients of a simulation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound = "P: Plan")]
pub struct WorkloadPlan<P: Plan = KvConfig> {
    /// How many clients, each with one request in flight.
    pub clients: u8,
    /// What each of them asks.
    pub each: P,
    /// How many calls of each client must end in the healed cluster before it stands still; without it, all that are left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healed_calls: Option<u64>,
    /// Clients that only query, beside the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readers: Option<ReadersPlan>,
    /// How the services behave that effects are done by; without it all are sound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<ServicesPlan>,
    /// Who decides of effects that were given up or parked; without it nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<OperatorPlan>,
}

/// The readers of a simulation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadersPlan {
    /// How many.
    pub count: u8,
    /// Queries that a primary holds at once.
    pub queries_max: u32,
    /// What each of them asks.
    pub each: ReaderConfig,
}

/// One replica's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockPlan {
    /// How far its realtime is ahead.
    pub offset_ns: i64,
    /// How much faster it runs, in parts per billion.
    pub drift_ppb: i32,
}

/// A fault, and what it waits for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What must happen first, counted from the step before.
    pub after: Progress,
    /// How long to wait for that at most, so that no step waits for what the steps before made impossible.
    pub patience_ns: u64,
    /// What strikes.
    pub fault: Fault,
}

/// What a step waits for: work done or a phase reached, rather than idle time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Progress {
    /// So many ops more are committed.
    Commits {
        /// How many.
        count: u64,
    },
    /// A rare path is taken so many times more, by whichever process.
    Probe {
        /// Its name.
        name: String,
        /// How often.
        count: u64,
    },
    /// So much time passes.
    Time {
        /// How much, virtual.
        ns: u64,
    },
}

impl<P: Plan> Schedule<P> {
    /// The schedule as TOML, one step a table.
    ///
    /// # Errors
    /// If its plan has a value that TOML lacks; see [`Plan`].
    pub fn to_toml(&self) -> Result<String, ScheduleError> {
        let lacks = |error: toml::ser::Error| ScheduleError::Unwritable(error.to_string());
        // What writes the text lets numbers pass that nobody reads back.
        toml::Table::try_from(self).map_err(lacks)?;
        toml::to_string(self).map_err(lacks)
    }

    /// Reads what [`Schedule::to_toml`] wrote, or a person did.
    pub fn from_toml(text: &str) -> Result<Self, ScheduleError> {
        let schedule: Self = toml::from_str(text).map_err(|error| ScheduleError::Parse(toml_sentence(text, &error)))?;
        schedule.check()?;
        Ok(schedule)
    }

    /// Whether it can be run.
    pub fn check(&self) -> Result<(), ScheduleError> {
        let replicas = self.cluster.replicas;
        let rules = [
            (self.format == FORMAT, "format must be 1"),
            (self.seed <= SEED_MAX, "seed must be below 2^63"),
            (self.workload.clients > 0, "workload.clients must be positive"),
            (self.core.iter().all(|replica| *replica < replicas), "core must name replicas of the cluster"),
            (self.core.len() as u64 > u64::from(replicas) / 2, "core must be a majority"),
            (self.core.windows(2).all(|pair| pair[0] < pair[1]), "core must ascend"),
        ];
        let broken = rules.iter().find(|(holds, _)| !holds).map(|(_, rule)| *rule);
        match self.cluster.check().err().or(broken) {
            Some(rule) => Err(ScheduleError::Invalid(rule.to_owned())),
            None => self.check_surroundings(),
        }
    }

    /// Whether it can be run with this workload: some of that only the application knows.
    pub fn check_for<W: Workload<Plan = P>>(&self, workload: &W) -> Result<(), ScheduleError> {
        self.check()?;
        let asks = || {
            let mut random = Stream::new(self.seed, "reader", 0, 0);
            workload.query(&self.workload.each, &mut random, &mut Vec::new())
        };
        if self.workload.readers.is_some() && !asks() {
            let why = "the application answers no queries: take workload.readers out";
            return Err(ScheduleError::Invalid(why.to_owned()));
        }
        Ok(())
    }

    /// The workload, the network and the disk: what would make no sense, or take all of a machine's memory.
    fn check_surroundings(&self) -> Result<(), ScheduleError> {
        let (each, link, disk) = (&self.workload.each, &self.network, &self.disk);
        let calls = each.calls().saturating_mul(self.workload.clients.into());
        let ranges = [disk.read, disk.write, disk.durable_write, disk.barrier];
        let chances = [link.loss_ppm, link.duplication_ppm, link.corruption_ppm, link.reorder_ppm];
        let errors = [disk.errors.read_ppm, disk.errors.latent_ppm, disk.errors.write_ppm, disk.errors.barrier_ppm];
        let readers = self.workload.readers.as_ref();
        let queries = readers.map_or(0, |readers| readers.each.queries.saturating_mul(readers.count.into()));
        let operator = self.workload.operator;
        let rules = [
            (self.workload.services.as_ref().is_none_or(ServicesPlan::is_sound), SERVICES_RULE),
            (
                readers.is_none_or(|readers| (1..=cluster::LIMIT_MAX).contains(&readers.queries_max)),
                "workload.readers.queries_max must be 1 to 65536",
            ),
            (readers.is_none_or(|readers| readers.each.stale_ppm <= MILLION), READERS_RULE),
            (readers.is_none_or(|readers| readers.each.think_ns_max <= HOUR_NS), READERS_RULE),
            (operator.is_none_or(|plan| plan.looks <= CALLS_MAX && plan.pause_ns <= HOUR_NS), OPERATOR_RULE),
            (each.think_ns_max() <= HOUR_NS, "workload.each.think_ns_max must be at most an hour"),
            (calls <= CALLS_MAX, CALLS_RULE),
            (queries <= CALLS_MAX, QUERIES_RULE),
            (
                self.workload.healed_calls != Some(0),
                "workload.healed_calls must be positive: leave it out for all calls",
            ),
            (link.latency_min_ns <= link.latency_max_ns, "network.latency_min_ns must be at most latency_max_ns"),
            (link.latency_max_ns <= HOUR_NS, "network.latency_max_ns must be at most an hour"),
            (link.in_flight_max > 0, "network.in_flight_max must be positive"),
            (link.corruption_bits_max <= 1024, "network.corruption_bits_max must be at most 1024"),
            (chances.iter().all(|ppm| *ppm <= MILLION), "the chances of network must be at most 1000000"),
            (errors.iter().all(|ppm| *ppm <= MILLION), "the chances of disk.errors must be at most 1000000"),
            (ranges.iter().all(|range| range.min_ns <= range.max_ns), "min_ns must be at most max_ns in all of disk"),
            (ranges.iter().all(|range| range.max_ns <= HOUR_NS), "max_ns must be at most an hour in all of disk"),
        ];
        let broken = rules.iter().find(|(holds, _)| !holds).map(|(_, rule)| *rule);
        match each.check().err().or(broken).or_else(|| self.wrong_link()) {
            Some(rule) => Err(ScheduleError::Invalid(rule.to_owned())),
            None => self.check_steps(),
        }
    }

    fn check_steps(&self) -> Result<(), ScheduleError> {
        for (number, step) in (1..).zip(&self.steps) {
            let out_of_range = step.fault.replicas().into_iter().find(|replica| *replica >= self.cluster.replicas);
            if let Some(replica) = out_of_range {
                let why = format!("step {number} names replica {replica} of {}", self.cluster.replicas);
                return Err(ScheduleError::Invalid(why));
            }
            let waits_ns = if let Progress::Time { ns } = step.after { ns } else { 0 };
            if step.patience_ns.max(waits_ns) > HOUR_NS {
                return Err(ScheduleError::Invalid(format!("step {number} must wait for at most an hour")));
            }
            if let Progress::Probe { name, .. } = &step.after
                && !probes().any(|known| known == name)
            {
                let near = nearest(name, &probes().collect::<Vec<_>>());
                let hint = near.map_or(String::new(), |near| format!("did you mean `{near}`? "));
                let why = format!("step {number} waits for a probe `{name}` that there is not; {hint}`list` shows all");
                return Err(ScheduleError::Invalid(why));
            }
            if let Fault::DamageSuperblock { copy, .. } = step.fault
                && copy >= SUPERBLOCK_COPIES
            {
                let why = format!("step {number} names copy {copy} of a superblock's {SUPERBLOCK_COPIES}");
                return Err(ScheduleError::Invalid(why));
            }
            if let Fault::Wipe { .. } = step.fault
                && self.cluster.replicas < 3
            {
                let why = format!("step {number} loses a disk of {}, whom nobody can replace", self.cluster.replicas);
                return Err(ScheduleError::Invalid(why));
            }
            if let Fault::CutClient { client, .. }
            | Fault::KillClient { client, .. }
            | Fault::PauseClient { client, .. } = step.fault
                && client >= self.workload.clients
            {
                let why = format!("step {number} names client {client} of {}", self.workload.clients);
                return Err(ScheduleError::Invalid(why));
            }
        }
        Ok(())
    }
}

const MILLION: u32 = 1_000_000;
const HOUR_NS: u64 = 3_600_000_000_000;
const CALLS_MAX: u64 = 1_000_000;
const CALLS_RULE: &str = "the calls of all clients together must be at most 1000000";
const QUERIES_RULE: &str = "the queries of all readers together must be at most 1000000";
const READERS_RULE: &str =
    "workload.readers.each takes a stale_ppm of at most 1000000 and a think_ns_max of at most an hour";
const OPERATOR_RULE: &str = "workload.operator takes at most 1000000 looks and a pause_ns of at most an hour";
const SERVICES_RULE: &str = "the chances of workload.services must be at most 1000000, latency_min_ns at most latency_max_ns, and \
                             all times at most an hour";

/// The names of the rare paths that the processes of a cluster can take.
pub fn probes() -> impl Iterator<Item = &'static str> {
    Probe::NAMES.iter().chain(ClientProbe::NAMES).copied()
}

#[cfg(test)]
mod tests;
