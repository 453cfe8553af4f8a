//! One seed: a world of replicas and clients, its nemesis, its oracles, in two phases.
//!
//! First safety under faults: the schedule's steps strike one after the other while clients work. Then liveness: the network and
//! the disks are healed, a core majority is brought back and the rest is left behind, down or deaf; the core must converge, and every request
//! must be answered within [`ANSWER_BOUND_NS`].

use chronon::{
    app::kv::Kv,
    client::{ClientConfig, ClientProcess},
    replica::Replica,
    storage::{layout::Layout, superblock},
    types::{ClientId, ClusterId, NodeId, ReplicaId},
    vsr::{Config, Status},
};

use crate::{
    clock::ClockSettings,
    disk::SimDisk,
    network::LinkSettings,
    oracle::{Violation, cluster::ClusterOracle, convergence},
    schedule::{DamagePlace, Fault, LeftBehind, Progress, Schedule, Target},
    trace::{TraceBodies, TraceMode},
    verdict::Failure,
    workload::{CallOutcome, KvWorkload},
    world::{NodeSettings, World, WorldSettings},
};

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
    Resume(NodeId),
    Heal(NodeId, NodeId),
    Unclog(NodeId, NodeId),
    Space(NodeId),
}

/// A simulation in progress.
#[derive(Clone)]
pub struct Simulation {
    schedule: Schedule,
    world: World,
    replicas: u8,
    /// What is due when, in the order in which it was decided.
    reliefs: Vec<(u64, Relief)>,
    /// How long each replica stays down when next it goes down, if a step has decided that.
    downtime_ns: Vec<Option<u64>>,
    /// Whether its crash was noticed, by replica.
    down: Vec<bool>,
    crashes: u64,
    restarts: u64,
}

impl Simulation {
    /// A cluster as the schedule has it, at time zero.
    ///
    /// # Panics
    /// If the schedule cannot be run: see [`Schedule::check`].
    pub fn new(schedule: &Schedule, trace: TraceMode, code_version: &str) -> Self {
        if let Err(error) = schedule.check() {
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
            schedule: if keeps { schedule.to_toml() } else { String::new() },
            code_version: code_version.to_owned(),
            ..WorldSettings::default()
        };
        let mut simulation = Self {
            world: World::with_settings(schedule.seed, settings),
            replicas,
            reliefs: Vec::new(),
            downtime_ns: vec![None; usize::from(replicas)],
            down: vec![false; usize::from(replicas)],
            crashes: 0,
            restarts: 0,
            schedule: schedule.clone(),
        };
        simulation.add_nodes();
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
        let layout = Layout { slot_count: plan.slot_count, message_size_max: plan.message_size_max };
        let mut configs = Vec::new();
        for replica in (0..plan.replicas).map(ReplicaId) {
            let mut config = Config::new(cluster, replica, plan.replicas, layout);
            config.pipeline = plan.pipeline;
            config.requests_max = plan.requests_max;
            config.clients_max = plan.clients_max;
            let clock = self.schedule.clocks.get(usize::from(replica.0)).copied().unwrap_or_default();
            let mut settings = NodeSettings { disk: self.schedule.disk, clock: ClockSettings::default() };
            settings.disk.capacity = layout.size();
            settings.clock.drift_ppb = clock.drift_ppb;
            settings.clock.realtime_ns = settings.clock.realtime_ns.saturating_add_signed(clock.offset_ns);
            let process = Replica::new(config.clone(), Kv);
            configs.push(config);
            let node = self.world.add_node_with(format!("r{}", replica.0), process, settings);
            for (offset, bytes) in superblock::format(cluster, replica, plan.replicas, 1, layout) {
                self.world.disk_mut(node).preload(offset, &bytes);
            }
        }
        let mut clients = Vec::new();
        for client in 0..self.schedule.workload.clients {
            let mut config = ClientConfig::new(cluster, ClientId(u128::from(client) + 1), plan.replicas);
            config.payload_size_max = 64 * 1024;
            let workload = KvWorkload::new(self.schedule.seed, u32::from(client), self.schedule.workload.each.clone());
            clients.push(self.world.add_node(format!("c{client}"), ClientProcess::new(config, workload)));
        }
        self.world.add_oracle(ClusterOracle::new(&configs[0]));
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
            self.must_converge();
        }
        self.world.finish();
    }

    /// What came of it.
    pub fn outcome(&self) -> Outcome {
        let finished = |call: &&crate::workload::Call| {
            call.end.as_ref().is_some_and(|end| matches!(end.outcome, CallOutcome::Answered { .. }))
        };
        let acknowledged = |node: NodeId| {
            let client = self.world.process::<ClientProcess<KvWorkload>>(node);
            client.map_or(0, |client| client.driver().history().iter().filter(finished).count() as u64)
        };
        Outcome {
            seed: self.schedule.seed,
            digest: self.world.digest(),
            failure: self.world.verdict().cloned(),
            virtual_ns: self.world.now_ns(),
            events: self.world.steps(),
            replicas: self.replicas,
            commits: self.commits(),
            requests_acknowledged: self.clients().map(acknowledged).sum(),
            view_changes: self.world.probe_count("view_started").saturating_sub(1),
            crashes: self.crashes,
            restarts: self.restarts,
            probes: self.world.probe_counts(),
            trace: self.world.trace(),
        }
    }

    fn clients(&self) -> impl Iterator<Item = NodeId> + use<> {
        let (first, count) = (u32::from(self.replicas), u32::from(self.schedule.workload.clients));
        (first..first + count).map(NodeId)
    }

    fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..u32::from(self.replicas)).map(NodeId)
    }

    fn commits(&self) -> u64 {
        commits(&self.world)
    }

    /// Waits until a step's moment has come, or its patience is at an end.
    fn wait(&mut self, progress: &Progress, patience_ns: u64) {
        let limit_ns = self.world.now_ns() + patience_ns;
        match progress {
            Progress::Commits { count } => {
                let target = self.commits() + count;
                self.advance(limit_ns, |world| commits(world) >= target);
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
                let downtime_ns = self.downtime_ns[index].take().unwrap_or(self.schedule.downtime_ns);
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
                Relief::Resume(node) => {
                    self.world.resume(node);
                }
                Relief::Heal(from, to) => self.world.heal_one_way(from, to),
                Relief::Unclog(from, to) => self.world.unclog(from, to),
                Relief::Space(node) => self.world.disk_mut(node).no_space(false),
            }
        }
    }

    fn restart(&mut self, node: NodeId) {
        if self.world.restart(node) {
            self.restarts += 1;
            self.down[node.0 as usize] = false;
        }
    }

    /// The primary of the latest view that some replica is normal in; replica 0 if there is none.
    fn primary(&self) -> NodeId {
        let normal = |node: NodeId| {
            let vsr = self.world.process::<Replica<Kv>>(node)?.vsr();
            (vsr.status() == Status::Normal).then(|| vsr.view())
        };
        let latest = self.nodes().filter_map(normal).max();
        latest.map_or(NodeId(0), |view| view.primary(self.replicas).node())
    }

    fn resolve(&self, target: Target) -> NodeId {
        let count = u32::from(self.replicas);
        match target {
            Target::Replica(replica) => NodeId(u32::from(replica)),
            Target::Primary => self.primary(),
            Target::Backup(which) => NodeId((self.primary().0 + u32::from(which)) % count),
        }
    }

    fn strike(&mut self, fault: &Fault) {
        match fault {
            Fault::Kill { target, down_ns } => {
                let node = self.resolve(*target);
                self.plan_downtime(node, *down_ns);
                self.world.kill(node);
            }
            Fault::KillInStep { target, actions, down_ns } => {
                let node = self.resolve(*target);
                self.plan_downtime(node, *down_ns);
                self.world.kill_after_actions(node, *actions);
            }
            Fault::KillAtDisk { target, operation, moment, skip, down_ns } => {
                let node = self.resolve(*target);
                self.plan_downtime(node, *down_ns);
                self.world.kill_at_disk_operation(node, Some(*operation), *skip, *moment);
            }
            Fault::KillAll { down_ns } => {
                for node in self.nodes() {
                    let down_ns = down_ns.get(node.0 as usize % down_ns.len().max(1)).copied().unwrap_or_default();
                    self.plan_downtime(node, down_ns);
                    self.world.cut_power(node);
                }
            }
            Fault::Pause { target, for_ns } => {
                let node = self.resolve(*target);
                if self.world.pause(node) {
                    self.later(*for_ns, Relief::Resume(node));
                }
            }
            Fault::StepClock { target, delta_ns } => {
                let node = self.resolve(*target);
                self.world.step_clock(node, *delta_ns);
            }
            _ => self.strike_network(fault),
        }
        self.notice_crashes();
    }

    fn plan_downtime(&mut self, node: NodeId, down_ns: u64) {
        if self.world.is_up(node) {
            self.downtime_ns[node.0 as usize] = Some(down_ns);
        }
    }

    fn strike_network(&mut self, fault: &Fault) {
        let everybody: Vec<NodeId> = self.world.nodes().collect();
        match fault {
            Fault::Isolate { target, clients, for_ns } => {
                let node = self.resolve(*target);
                let replicas = usize::from(self.replicas);
                for other in everybody.into_iter().take(if *clients { usize::MAX } else { replicas }) {
                    self.cut(node, other, *for_ns);
                    self.cut(other, node, *for_ns);
                }
            }
            Fault::CutOneWay { from, to, for_ns } => {
                let (from, to) = (self.resolve(*from), self.resolve(*to));
                self.cut(from, to, *for_ns);
            }
            Fault::Deafen { target, mute, for_ns } => {
                let node = self.resolve(*target);
                for other in everybody {
                    let (from, to) = if *mute { (node, other) } else { (other, node) };
                    self.cut(from, to, *for_ns);
                }
            }
            Fault::Partition { side, for_ns } => {
                for a in self.nodes().filter(|node| side.contains(&(node.0 as u8))) {
                    for b in self.nodes().filter(|node| !side.contains(&(node.0 as u8))) {
                        self.cut(a, b, *for_ns);
                        self.cut(b, a, *for_ns);
                    }
                }
            }
            Fault::CutClient { client, target, for_ns } => {
                let (client, node) = (NodeId(u32::from(self.replicas) + u32::from(*client)), self.resolve(*target));
                self.cut(client, node, *for_ns);
                self.cut(node, client, *for_ns);
            }
            Fault::Echo { target } => {
                let node = self.resolve(*target);
                for other in self.nodes().filter(|other| *other != node) {
                    self.world.echo(other, node);
                }
            }
            Fault::Clog { from, to, for_ns } => {
                let (from, to) = (self.resolve(*from), self.resolve(*to));
                if from != to && !self.world.network().is_clogged(from, to) {
                    self.world.clog(from, to);
                    self.later(*for_ns, Relief::Unclog(from, to));
                }
            }
            _ => self.strike_disk(fault),
        }
    }

    fn cut(&mut self, from: NodeId, to: NodeId, for_ns: u64) {
        if from != to {
            self.world.cut_one_way(from, to);
            self.later(for_ns, Relief::Heal(from, to));
        }
    }

    fn strike_disk(&mut self, fault: &Fault) {
        let now_ns = self.world.now_ns();
        match fault {
            Fault::StallDisk { target, for_ns } => self.disk(*target).stall_until(now_ns + for_ns),
            Fault::SlowDisk { target, percent, for_ns } => self.disk(*target).slow(*percent, now_ns + for_ns),
            Fault::FailBarrier { target } => self.disk(*target).fail_next_barrier(),
            Fault::FailWrite { target } => self.disk(*target).fail_next_write(),
            Fault::FailRead { target } => self.disk(*target).fail_next_read(),
            Fault::NoSpace { target, for_ns } => {
                let node = self.resolve(*target);
                self.world.disk_mut(node).no_space(true);
                self.later(*for_ns, Relief::Space(node));
            }
            Fault::Damage { replica, place, nth, unreadable } => self.damage(*replica, *place, *nth, *unreadable),
            _ => unreachable!("every other fault was dealt with before"),
        }
    }

    fn disk(&mut self, target: Target) -> &mut SimDisk {
        let node = self.resolve(target);
        self.world.disk_mut(node)
    }

    /// Damages the journal of one replica, at the `nth` written slot from the newest.
    fn damage(&mut self, replica: u8, place: DamagePlace, nth: u32, unreadable: bool) {
        let plan = self.schedule.cluster;
        let layout = Layout { slot_count: plan.slot_count, message_size_max: plan.message_size_max };
        let disk = self.world.disk_mut(NodeId(u32::from(replica)));
        let sector = |offset: u64| offset / chronon::frame::SECTOR_SIZE as u64;
        let per_slot = u64::from(layout.message_size_max) / chronon::frame::SECTOR_SIZE as u64;
        let first = sector(layout.prepare_offset(0));
        let written = disk.written_sectors(first, sector(layout.size()));
        let slots: Vec<u64> =
            written.filter(|found| (found - first) % per_slot == 0).map(|found| (found - first) / per_slot).collect();
        // The root is no op of anybody's, and in no other replica's gift.
        let slots = &slots[slots.iter().take_while(|slot| **slot == 0).count()..];
        let Some(slot) = slots.len().checked_sub(1 + nth as usize).map(|index| slots[index] as u32) else { return };
        let mut strike = |offset: u64| {
            if unreadable {
                disk.make_unreadable(offset, chronon::frame::SECTOR_SIZE as u64);
            } else {
                disk.corrupt(offset, &[0x5A; 64]);
            }
        };
        let header_at = |slot: u32| {
            let within = u64::from(slot % 32) * chronon::wire::header::HEADER_SIZE as u64;
            layout.header_sector_offset(slot) + if unreadable { 0 } else { within }
        };
        if matches!(place, DamagePlace::Prepare | DamagePlace::Both) {
            strike(layout.prepare_offset(slot));
        }
        if matches!(place, DamagePlace::Headers | DamagePlace::Both) {
            strike(header_at(slot));
        }
    }

    /// Ends every fault. The core comes back; the others are left behind for good, down or deaf.
    fn heal(&mut self) {
        self.world.note("healed");
        self.reliefs.clear();
        self.world.heal_all();
        let settings = LinkSettings {
            latency_min_ns: self.schedule.network.latency_min_ns,
            latency_max_ns: self.schedule.network.latency_max_ns,
            ..LinkSettings::default()
        };
        self.world.set_links(settings);
        for node in self.nodes() {
            self.world.clear_disk_faults(node);
            self.world.cancel_planned_kills(node);
            self.world.resume(node);
            let in_core = self.schedule.core.contains(&(node.0 as u8));
            if !in_core && self.schedule.left_behind == LeftBehind::Down {
                self.world.kill(node);
            } else if !self.world.is_up(node) {
                self.restart(node);
            }
            if !in_core {
                self.deafen_for_good(node);
            }
            self.down[node.0 as usize] = !self.world.is_up(node);
        }
    }

    fn deafen_for_good(&mut self, node: NodeId) {
        let everybody: Vec<NodeId> = self.world.nodes().collect();
        for other in everybody.into_iter().filter(|other| *other != node) {
            self.world.cut_one_way(other, node);
        }
    }

    /// Every request is answered within the bound, until no client has any left.
    fn must_answer(&mut self) {
        let clients: Vec<NodeId> = self.clients().collect();
        let mut since_ns = vec![(0, self.world.now_ns()); clients.len()];
        while self.world.verdict().is_none() {
            let limit_ns = self.world.now_ns() + LOOK_NS;
            self.advance_healed(limit_ns);
            let now_ns = self.world.now_ns();
            let mut busy = false;
            for (client, (calls, since)) in clients.iter().zip(&mut since_ns) {
                let process = self.world.process::<ClientProcess<KvWorkload>>(*client);
                let Some(workload) = process.map(ClientProcess::driver) else { continue };
                busy |= !workload.is_finished();
                let ended = workload.history().len() as u64 * 2 - u64::from(workload.is_outstanding());
                if ended != *calls || !workload.is_outstanding() {
                    (*calls, *since) = (ended, now_ns);
                }
            }
            if !busy {
                return;
            }
            let late = clients.iter().zip(&since_ns).find(|(_, (_, since))| now_ns - since > ANSWER_BOUND_NS);
            if let Some((client, _)) = late {
                let sentence =
                    format!("a request of {} stayed unanswered for 10 s in a healed cluster", self.world.name(*client));
                self.world.fail("liveness", Violation::liveness("a request is never answered", sentence));
            }
        }
    }

    fn must_converge(&mut self) {
        let core: Vec<NodeId> = self.schedule.core.iter().map(|replica| NodeId(u32::from(*replica))).collect();
        let limit_ns = self.world.now_ns() + ANSWER_BOUND_NS;
        loop {
            let why = match convergence::converged(&self.world.view(), &core) {
                Ok(()) => return,
                Err(why) => why,
            };
            if self.world.now_ns() >= limit_ns {
                let sentence = format!("the healed core did not converge within 10 s: {why}");
                self.world.fail("liveness", Violation::liveness("the core does not converge", sentence));
                return;
            }
            self.advance_healed(self.world.now_ns() + LOOK_NS);
            if self.world.verdict().is_some() {
                return;
            }
        }
    }

    /// Like [`Simulation::advance`]; the core alone comes back when it stops by itself.
    fn advance_healed(&mut self, limit_ns: u64) {
        self.advance(limit_ns, |_| false);
        let core = &self.schedule.core;
        self.reliefs.retain(|(_, relief)| !matches!(relief, Relief::Restart(node) if !core.contains(&(node.0 as u8))));
    }
}

/// How many ops are committed.
fn commits(world: &World) -> u64 {
    world.oracle::<ClusterOracle>().map_or(0, ClusterOracle::commits)
}
