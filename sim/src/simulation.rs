//! One seed: a world of replicas and clients, its nemesis, its oracles, in two phases.
//!
//! First safety under faults: the schedule's steps strike one after the other while clients work. Then liveness: the network and
//! the disks are healed, a core majority is brought back and the rest is left behind, down or deaf; the core must converge, and
//! every request must be answered within [`ANSWER_BOUND_NS`], until each client has made the calls that it is to make there.

mod awaited;
mod harm;
mod healed;
mod links;
mod losses;
mod particulars;
mod readers;
mod strike;

use chronon::{
    client::{ClientConfig, ClientProcess},
    replica::Replica,
    types::{ClientId, ClusterId, NodeId, ReplicaId},
    vsr::Config,
};

use crate::{
    clock::ClockSettings,
    nemesis,
    operator::Operator,
    oracle::{cluster::ClusterOracle, reads::ReadsOracle},
    outside::{self, Outside},
    schedule::{Fault, Progress, Schedule},
    trace::{TraceBodies, TraceMode},
    verdict::Failure,
    workload::{Caller, KvWorkload, Workload},
    world::{NodeSettings, World, WorldSettings},
};
pub use particulars::Particular;
use particulars::Particulars;

/// In a healed cluster, how long a request may stay unanswered, and how long the core may take to converge.
pub const ANSWER_BOUND_NS: u64 = 10_000_000_000;

/// How often the healed cluster is looked at.
const LOOK_NS: u64 = 100_000_000;

/// How many frames of a link an echo repeats at most.
const ECHO_FRAMES: u32 = 64;

/// A run that takes more steps than this is stuck.
const STEPS_MAX: u64 = 4_000_000;

/// What came of one seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Of the trace: the same for the same schedule and code.
    pub digest: [u8; 32],
    /// What was violated, if anything was.
    pub failure: Option<Failure>,
    /// Virtual time that passed.
    pub virtual_ns: u64,
    /// Events that processes took.
    pub events: u64,
    /// Replicas of the cluster.
    pub replicas: u8,
    /// Ops that were committed.
    pub commits: u64,
    /// Requests that a client knows to have been answered.
    pub requests_acknowledged: u64,
    /// Views that were started after the first.
    pub view_changes: u64,
    /// Replicas that crashed under faults, by whatever cause. Those left behind at the healing do not count.
    pub crashes: u64,
    /// Replicas that were brought back.
    pub restarts: u64,
    /// How often each rare path was taken, by name.
    pub probes: Vec<(&'static str, u64)>,
    /// The trace, if it was to be kept.
    pub trace: Option<Vec<u8>>,
    /// What rare paths were about, in order, as far as it is known; nothing if the trace was not to be kept.
    pub particulars: Vec<Particular>,
}

/// Runs a schedule to its end.
///
/// # Panics
/// If a process does. The world then says which: see [`Simulation::world`].
pub fn run(schedule: &Schedule, trace: TraceMode, code_version: &str) -> Outcome {
    let mut simulation = Simulation::new(schedule, trace, code_version);
    simulation.run();
    simulation.outcome()
}

/// Something timed that ends a fault.
#[derive(Clone, Debug)]
enum Relief {
    Restart(NodeId),
    Return { client: u8, clock_forgets: bool },
    Resume(NodeId),
    Heal(NodeId, NodeId),
    Unclog(NodeId, NodeId),
    Space(NodeId),
    Recover(NodeId),
    Bury(NodeId),
}

/// A simulation in progress, of the key-value store unless said otherwise.
#[derive(Clone)]
pub struct Simulation<W: Workload = KvWorkload> {
    workload: W,
    schedule: Schedule<W::Plan>,
    world: World,
    replicas: u8,
    /// What is due when, in the order in which it was decided.
    reliefs: Vec<(u64, Relief)>,
    losses: losses::Losses,
    /// How long each replica stays down when the kill comes that a step has decided on. Gone with that kill.
    downtime_ns: Vec<Option<u64>>,
    /// Whether its crash was noticed, by replica.
    down: Vec<bool>,
    crashes: u64,
    restarts: u64,
    /// When each client's realtime last read what it did at first: what a clock that forgets goes back to.
    client_clocks_began_ns: Vec<u64>,
    /// The operator's node, if there is one.
    operator: Option<NodeId>,
}

impl Simulation {
    /// A key-value cluster as the schedule has it, at time zero.
    ///
    /// # Panics
    /// As [`Simulation::of`].
    pub fn new(schedule: &Schedule, trace: TraceMode, code_version: &str) -> Self {
        Self::of(KvWorkload, schedule, trace, code_version)
    }
}

impl<W: Workload> Simulation<W> {
    /// A cluster of the workload's application as the schedule has it, at time zero.
    ///
    /// # Panics
    /// If the schedule cannot be run: see [`Schedule::check_for`]. If the application's longest response fits no simulated message,
    /// see [`nemesis::fits`], or not the schedule's.
    pub fn of(workload: W, schedule: &Schedule<W::Plan>, trace: TraceMode, code_version: &str) -> Self {
        if let Err(why) = nemesis::fits(&workload) {
            panic!("{why}");
        }
        if let Err(error) = schedule.check_for(&workload) {
            panic!("{error}");
        }
        let replicas = schedule.cluster.replicas;
        let keeps = matches!(trace, TraceMode::Keep);
        let settings = WorldSettings {
            link: schedule.network,
            trace,
            bodies: TraceBodies::Checksum,
            steps_max: STEPS_MAX,
            scenario: schedule.scenario.clone(),
            // Without it the trace is the seed's all the same.
            schedule: if keeps { schedule.to_toml().unwrap_or_default() } else { String::new() },
            code_version: code_version.to_owned(),
            ..WorldSettings::default()
        };
        let mut simulation = Self {
            world: World::with_settings(schedule.seed, settings),
            replicas,
            reliefs: Vec::new(),
            losses: losses::Losses::new(replicas),
            downtime_ns: vec![None; usize::from(replicas)],
            down: vec![false; usize::from(replicas)],
            crashes: 0,
            restarts: 0,
            client_clocks_began_ns: vec![0; usize::from(schedule.workload.clients)],
            operator: None,
            schedule: schedule.clone(),
            workload,
        };
        if keeps {
            // Ahead of the one that judges, so that it has seen the step that is judged.
            simulation.world.add_oracle(Particulars::<W::Application>::default());
        }
        simulation.add_nodes();
        simulation.set_own_links(schedule.network);
        if schedule.steps.iter().any(|step| matches!(step.fault, Fault::Echo { .. })) {
            simulation.world.remember_frames(ECHO_FRAMES);
        }
        simulation
    }

    /// The world, to be looked at: which process was stepping when one panicked, and what led there.
    pub const fn world(&self) -> &World {
        &self.world
    }

    /// The world, to write down a verdict from outside.
    pub const fn world_mut(&mut self) -> &mut World {
        &mut self.world
    }

    fn add_nodes(&mut self) {
        let plan = self.schedule.cluster;
        let cluster = ClusterId(self.schedule.seed ^ 0xC1);
        let layout = plan.layout();
        let application = self.workload.application_for(&self.schedule.workload.each);
        let mut configs = Vec::new();
        for replica in (0..plan.replicas).map(ReplicaId) {
            let mut config = Config::new(cluster, replica, plan.replicas, layout);
            config.pipeline = plan.pipeline;
            config.company = plan.company;
            config.requests_max = plan.requests_max;
            config.clients_max = plan.clients_max;
            if let Some(readers) = &self.schedule.workload.readers {
                config.queries_max = readers.queries_max;
            }
            let clock = self.schedule.clocks.get(usize::from(replica.0)).copied().unwrap_or_default();
            let mut settings = NodeSettings { disk: self.schedule.disk, clock: ClockSettings::default() };
            settings.disk.capacity = layout.size();
            settings.clock.drift_ppb = clock.drift_ppb;
            settings.clock.realtime_ns = settings.clock.realtime_ns.saturating_add_signed(clock.offset_ns);
            let process = Replica::new(config.clone(), application.clone());
            let node = self.world.add_node_with(format!("r{}", replica.0), process, settings);
            for (offset, bytes) in config.format(losses::incarnation(self.schedule.seed, replica, 0)) {
                self.world.disk_mut(node).preload(offset, &bytes);
            }
            configs.push(config);
        }
        let mut clients = Vec::new();
        for client in 0..self.schedule.workload.clients {
            let mut config = ClientConfig::new(cluster, ClientId(u128::from(client) + 1), plan.replicas);
            config.payload_size_max = 64 * 1024;
            let plan = self.schedule.workload.each.clone();
            let caller = Caller::of(self.workload.clone(), self.schedule.seed, u32::from(client), plan);
            clients.push(self.world.add_node(format!("c{client}"), ClientProcess::new(config, caller)));
        }
        self.add_readers(cluster);
        if let Some(operator) = self.schedule.workload.operator {
            // Above those of the readers.
            let config = ClientConfig::new(cluster, ClientId(2000), plan.replicas);
            let operator = Operator::new(self.schedule.seed, operator);
            self.operator = Some(self.world.add_node("o", ClientProcess::operator(config, operator)));
        }
        let plan = self.schedule.workload.each.clone();
        if self.workload.has_effects() {
            let services = self.schedule.workload.services.unwrap_or_default();
            let outside = Outside::new(self.schedule.seed, services);
            self.world.set_service(outside.with_response_size_max(outside::response_size_max(&configs[0])));
        }
        self.world.add_oracle(ReadsOracle::of(&self.workload, &plan));
        let links = self.schedule.links.iter().map(|link| link.latency_max_ns);
        let latency_max_ns = links.max().unwrap_or(0).max(self.schedule.network.latency_max_ns);
        let oracle = ClusterOracle::of(self.workload.clone(), plan, &configs[0]);
        self.world.add_oracle(oracle.with_latency(latency_max_ns));
    }

    /// Runs both phases, to the end or to a verdict.
    pub fn run(&mut self) {
        for number in 0..self.schedule.steps.len() {
            let step = self.schedule.steps[number].clone();
            self.wait(&step.after, step.patience_ns);
            if self.world.verdict().is_some() {
                break;
            }
            self.world.note(&format!("step {}: {}", number + 1, step.fault));
            self.strike(&step.fault);
        }
        self.settle();
        if self.world.verdict().is_none() {
            self.heal();
            self.must_answer();
        }
        if self.world.verdict().is_none() {
            self.must_answer_queries();
        }
        if self.world.verdict().is_none() {
            self.must_let_the_operator_go();
        }
        if self.world.verdict().is_none() {
            self.must_end_effects();
        }
        if self.world.verdict().is_none() {
            self.must_converge();
        }
        if self.world.verdict().is_none() {
            self.must_stay();
        }
        self.world.finish();
    }

    /// What came of it.
    pub fn outcome(&self) -> Outcome {
        // Not what the clients' histories hold: those of earlier lives are gone.
        let oracle = self.world.oracle::<ClusterOracle<W>>();
        Outcome {
            seed: self.schedule.seed,
            digest: self.world.digest(),
            failure: self.world.verdict().cloned(),
            virtual_ns: self.world.now_ns(),
            events: self.world.steps(),
            replicas: self.replicas,
            commits: self.commits(),
            requests_acknowledged: oracle.map_or(0, ClusterOracle::<W>::requests_acknowledged),
            view_changes: self.world.probe_count("view_started").saturating_sub(1),
            crashes: self.crashes,
            restarts: self.restarts,
            probes: self.world.probe_counts(),
            trace: self.world.trace(),
            particulars: self
                .world
                .oracle::<Particulars<W::Application>>()
                .map_or_else(Vec::new, |seen| seen.taken().to_vec()),
        }
    }

    fn clients(&self) -> impl Iterator<Item = NodeId> + use<W> {
        let (first, count) = (u32::from(self.replicas), u32::from(self.schedule.workload.clients));
        (first..first + count).map(NodeId)
    }

    fn nodes(&self) -> impl Iterator<Item = NodeId> + use<W> {
        (0..u32::from(self.replicas)).map(NodeId)
    }

    fn commits(&self) -> u64 {
        commits::<W>(&self.world)
    }

    /// Waits until a step's moment has come, or its patience is at an end.
    fn wait(&mut self, progress: &Progress, patience_ns: u64) {
        let limit_ns = self.world.now_ns() + patience_ns;
        match progress {
            Progress::Commits { count } => {
                let target = self.commits() + count;
                self.advance(limit_ns, |world| commits::<W>(world) >= target);
            }
            Progress::Probe { name, count } => {
                let counter = self.world.probe_counter(name);
                let target = counter(&self.world) + count;
                self.advance(limit_ns, |world| counter(world) >= target);
            }
            Progress::Time { ns } => {
                let until_ns = self.world.now_ns() + ns;
                self.advance(until_ns, |_| false);
            }
        }
    }

    /// After the last step: until what it began has ended or half a second has passed.
    fn settle(&mut self) {
        if !self.schedule.steps.is_empty() {
            let limit_ns = self.world.now_ns() + 5 * LOOK_NS;
            self.advance(limit_ns, |_| false);
        }
    }

    /// Runs until `reached` holds or `limit_ns` has come, bringing relief when it is due.
    fn advance(&mut self, limit_ns: u64, reached: impl Fn(&World) -> bool) {
        loop {
            let due_ns = self.reliefs.iter().map(|(at, _)| *at).min().unwrap_or(u64::MAX);
            let crashes = self.world.crashes();
            self.world.run_until(limit_ns.min(due_ns), |world| world.crashes() != crashes || reached(world));
            if self.world.verdict().is_some() {
                return;
            }
            self.notice_crashes();
            if reached(&self.world) {
                return;
            }
            self.relieve();
            if self.world.now_ns() >= limit_ns {
                return;
            }
        }
    }

    /// Decides when a replica that went down comes back.
    fn notice_crashes(&mut self) {
        for node in self.nodes() {
            let index = node.0 as usize;
            let down = !self.world.is_up(node);
            if down && !self.down[index] {
                self.crashes += 1;
                // Who stops by itself is not whom the step meant: the kill that waited for its moment is off.
                let planned_ns = self.downtime_ns[index].take().filter(|_| self.world.halted(node).is_none());
                let downtime_ns = planned_ns.unwrap_or(self.schedule.downtime_ns);
                self.later(downtime_ns, Relief::Restart(node));
            }
            self.down[index] = down;
        }
    }

    fn later(&mut self, after_ns: u64, relief: Relief) {
        self.reliefs.push((self.world.now_ns().saturating_add(after_ns), relief));
    }

    /// Ends the faults whose time is up.
    fn relieve(&mut self) {
        let now_ns = self.world.now_ns();
        while let Some(next) = self.reliefs.iter().position(|(at, _)| *at <= now_ns) {
            match self.reliefs.remove(next).1 {
                Relief::Restart(node) => self.restart(node),
                Relief::Return { client, clock_forgets } => self.bring_back(client, clock_forgets),
                Relief::Resume(node) => {
                    self.world.resume(node);
                }
                Relief::Heal(from, to) => self.world.heal_one_way(from, to),
                Relief::Unclog(from, to) => self.world.unclog(from, to),
                Relief::Space(node) => self.world.disk_mut(node).no_space(false),
                Relief::Recover(node) => self.recover(node),
                Relief::Bury(node) => self.bury(node),
            }
        }
    }

    fn client(&self, client: u8) -> NodeId {
        NodeId(u32::from(self.replicas) + u32::from(client))
    }

    /// A client that was killed lives again.
    fn bring_back(&mut self, client: u8, clock_forgets: bool) {
        let (node, now_ns) = (self.client(client), self.world.now_ns());
        if clock_forgets {
            let began_ns = &mut self.client_clocks_began_ns[usize::from(client)];
            self.world.step_clock(node, -((now_ns - *began_ns) as i64));
            *began_ns = now_ns;
        }
        self.world.restart(node);
    }

    fn restart(&mut self, node: NodeId) {
        if self.world.restart(node) {
            self.restarts += 1;
            self.down[node.0 as usize] = false;
            self.downtime_ns[node.0 as usize] = None;
        }
    }
}

/// How many ops are committed.
fn commits<W: Workload>(world: &World) -> u64 {
    world.oracle::<ClusterOracle<W>>().map_or(0, ClusterOracle::<W>::commits)
}
