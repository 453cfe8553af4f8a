//! The world: nodes, the network between them, their clocks and disks, and the one queue of what happens next.
//!
//! A world is built from a seed, driven by whoever holds it, and looked at by anybody. It is `Clone`: a copy goes on exactly
//! as the original does, until one of them is treated otherwise.
//!
//! Invariant: everything that happens follows from the seed, the settings and the calls made on the world, in their order.
//! Virtual time is a number that jumps to the next event. Deliberately absent: any knowledge of what its processes are.
//!
//! - `step` takes one event to one process and performs the actions; `run` drives that to a time or a condition.
//! - `crash` kills, restarts and pauses; `faults` is what can be done to links, clocks and disks.
//! - `slot` is one node; `ports` is what its process is bound to while it steps.

mod crash;
mod faults;
mod ports;
mod probes;
mod run;
mod settings;
mod slot;
mod step;

use chronon::{
    effect::{EffectOrder, EffectReport},
    process::{Completion, Process},
    types::NodeId,
};

pub use crash::DiskMoment;
pub use settings::{NodeSettings, WorldSettings};
use slot::Held;
pub use slot::NodeSlot;

use crate::{
    clock::NodeClock,
    disk::SimDisk,
    network::{Flight, NetworkCounts, SimNetwork},
    oracle::{Interests, Oracle, Violation, WorldView},
    queue::Queue,
    rng::Stream,
    service::Service,
    trace::{Happening, TraceHeader, TraceWriter},
    verdict::Failure,
};

/// A simulated world.
#[derive(Clone)]
pub struct World {
    seed: u64,
    settings: Box<WorldSettings>,
    core: Core,
    steps: u64,
    /// At so many steps the world looks up: whether a cap is reached, and whether a checkpoint is due.
    look_up_at: u64,
    /// How many steps had been taken when this instant began.
    instant_began: u64,
    crashes: u64,
    nodes: Vec<NodeSlot>,
    probes: probes::ProbeCounts,
    oracles: Vec<Watcher>,
    /// What any of the oracles is interested in.
    interests: Interests,
    failure: Option<Box<Failure>>,
    finished: bool,
    place: Place,
}

/// What a process's actions reach, apart from its own disk.
#[derive(Clone)]
struct Core {
    now_ns: u64,
    /// Frames sent: the number of the last.
    sent: u64,
    queue: Queue<Pending>,
    network: SimNetwork,
    trace: TraceWriter,
    nodes: u32,
    /// What effects are done by; nobody does any if there is none.
    service: Option<Box<dyn Service>>,
    /// What the process that takes the next event is told of an effect.
    report: Option<Box<EffectReport>>,
}

/// Something that will happen. Frames are most of it by far: the rest is kept small, or boxed.
#[derive(Clone)]
enum Pending {
    /// A frame comes to the end of its link.
    Flight(Flight),
    /// A frame that a paused node held.
    Arrived(Box<Flight>),
    /// A disk operation is due.
    Due { node: NodeId, life: u32, operation: u32, put_off: bool },
    /// A completion that a paused node held.
    Completed { node: NodeId, life: u32, completion: Box<Completion> },
    /// An order comes to whoever does it.
    Order { node: NodeId, life: u32, order: Box<EffectOrder> },
    /// What became of an order is known to the node that gave it.
    Report { node: NodeId, life: u32, report: Box<EffectReport> },
    /// A process begins.
    Start { node: NodeId, life: u32 },
    /// A process's deadline may have come.
    Wake { node: NodeId, life: u32 },
}

#[derive(Clone)]
struct Watcher {
    oracle: Box<dyn Oracle>,
    interests: Interests,
}

/// Where a world is: whose code runs at this moment.
///
/// After a panic was caught around [`World::step`], this still says whose it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// The world's own.
    World,
    /// The process of this node.
    Process(NodeId),
    /// The oracle of this name.
    Oracle(&'static str),
}

impl World {
    /// An empty world: a sound network, true clocks, no faults.
    pub fn new(seed: u64) -> Self {
        Self::with_settings(seed, WorldSettings::default())
    }

    /// An empty world with these settings.
    pub fn with_settings(seed: u64, settings: WorldSettings) -> Self {
        Self {
            seed,
            core: Core {
                now_ns: 0,
                sent: 0,
                queue: Queue::with_capacity(64),
                network: SimNetwork::new(seed, settings.link),
                trace: TraceWriter::new(settings.trace, settings.bodies),
                nodes: 0,
                service: None,
                report: None,
            },
            steps: 0,
            look_up_at: 0,
            instant_began: 0,
            crashes: 0,
            nodes: Vec::new(),
            probes: probes::ProbeCounts::default(),
            oracles: Vec::new(),
            interests: Interests::NONE,
            failure: None,
            finished: false,
            place: Place::World,
            settings: Box::new(settings),
        }
    }

    /// Adds a node, which starts at this instant. Its process as it is now is what every restart begins from.
    ///
    /// Addresses are given from 0 on.
    pub fn add_node(&mut self, name: impl Into<String>, process: impl Process + 'static) -> NodeId {
        let settings = self.settings.node;
        self.add_node_with(name, process, settings)
    }

    /// Adds a node with clocks and a disk of its own kind.
    pub fn add_node_with(
        &mut self,
        name: impl Into<String>,
        process: impl Process + 'static,
        settings: NodeSettings,
    ) -> NodeId {
        let (name, node) = (name.into(), NodeId(self.nodes.len() as u32));
        let clock = NodeClock::new(self.core.now_ns, settings.clock);
        let disk = SimDisk::new(self.seed, node.0, settings.disk);
        let names = process.probes();
        self.core.trace.node(self.core.now_ns, &name, names);
        let slot = NodeSlot::new(name, Box::new(process), self.nonce(node, 0), clock, disk, self.probes.table(names));
        self.core.queue.push(self.core.now_ns, Pending::Start { node, life: slot.life });
        self.nodes.push(slot);
        self.core.nodes += 1;
        self.core.network.make_room(self.core.nodes);
        node
    }

    /// What a life of a node is told when it starts: see [`chronon::process::Event::Start`].
    fn nonce(&self, node: NodeId, life: u32) -> u128 {
        let mut stream = Stream::new(self.seed, "lives", node.0, life);
        u128::from(stream.next_u64()) << 64 | u128::from(stream.next_u64())
    }

    /// Adds an oracle. It sees what happens from now on.
    pub fn add_oracle(&mut self, oracle: impl Oracle + 'static) {
        let interests = oracle.interests();
        self.interests = self.interests | interests;
        self.oracles.push(Watcher { oracle: Box::new(oracle), interests });
    }

    /// Has the effects of this world's processes done by `service` from now on.
    pub fn set_service(&mut self, service: impl Service + 'static) {
        self.core.service = Some(Box::new(service));
    }

    /// What effects are done by, as its own type.
    pub fn service<S: Service + 'static>(&self) -> Option<&S> {
        self.core.service.as_deref()?.downcast_ref()
    }

    /// What effects are done by, as its own type, to be broken or mended. Say what was done with [`World::note`]: the trace
    /// cannot know.
    pub fn service_mut<S: Service + 'static>(&mut self) -> Option<&mut S> {
        self.core.service.as_deref_mut()?.downcast_mut()
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The virtual time since the world began.
    pub fn now_ns(&self) -> u64 {
        self.core.now_ns
    }

    /// How many events processes have taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// How many processes crashed so far, killed or stopped by themselves.
    pub fn crashes(&self) -> u64 {
        self.crashes
    }

    /// The nodes' addresses.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.nodes.len() as u32).map(NodeId)
    }

    /// The node's name.
    pub fn name(&self, node: NodeId) -> &str {
        self.slot(node).name()
    }

    /// The node's process as its own type: none if it is down or is no `P`.
    pub fn process<P: Process + 'static>(&self, node: NodeId) -> Option<&P> {
        self.slot(node).process()
    }

    /// Whether the node's process is running (or paused).
    pub fn is_up(&self, node: NodeId) -> bool {
        self.slot(node).is_up()
    }

    /// Whether the node's process is paused.
    pub fn is_paused(&self, node: NodeId) -> bool {
        self.slot(node).paused
    }

    /// Why the node's process stopped itself, if that is why it is down.
    pub fn halted(&self, node: NodeId) -> Option<&str> {
        self.slot(node).halted()
    }

    /// How often the node's process was made anew.
    pub fn restarts(&self, node: NodeId) -> u32 {
        self.slot(node).restarts()
    }

    /// How many events the node's processes have taken.
    pub fn node_events(&self, node: NodeId) -> u64 {
        self.slot(node).events
    }

    /// The node's disk.
    pub fn disk(&self, node: NodeId) -> &SimDisk {
        self.slot(node).disk()
    }

    /// The node's disk, to break or to fill. Say what was done with [`World::note`]: the trace cannot know.
    pub fn disk_mut(&mut self, node: NodeId) -> &mut SimDisk {
        &mut self.slot_mut(node).disk
    }

    /// The network, to look at.
    pub fn network(&self) -> &SimNetwork {
        &self.core.network
    }

    /// What became of all frames so far.
    pub fn network_counts(&self) -> NetworkCounts {
        NetworkCounts { sent: self.core.sent, ..self.core.network.counts }
    }

    /// How often processes took the rare path of this name.
    pub fn probe_count(&self, name: &str) -> u64 {
        self.probes.total(name)
    }

    /// Tells how often processes took the rare path of this name, in a world with the nodes of this one: for who asks often.
    pub fn probe_counter(&self, name: &str) -> impl Fn(&Self) -> u64 + use<> {
        let places = self.probes.places(name);
        move |world| world.probes.total_at(&places)
    }

    /// Every rare path that a process of this world declares, with how often it was taken.
    pub fn probe_counts(&self) -> Vec<(&'static str, u64)> {
        self.probes.totals()
    }

    /// The first oracle of this type.
    pub fn oracle<O: Oracle + 'static>(&self) -> Option<&O> {
        self.oracles.iter().find_map(|watcher| (&*watcher.oracle as &dyn std::any::Any).downcast_ref())
    }

    /// What was violated, if anything was. Nothing happens in a world after that.
    pub fn verdict(&self) -> Option<&Failure> {
        self.failure.as_deref()
    }

    /// Whether nothing happens here any more: a verdict was reached, or the run was finished.
    pub fn is_over(&self) -> bool {
        self.failure.is_some() || self.finished
    }

    /// Whose code runs at this moment; after a caught panic, whose it was.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The trace's digest so far; the run's, after [`World::finish`].
    pub fn digest(&self) -> [u8; 32] {
        self.core.trace.digest()
    }

    /// The trace so far, header and all, if it is kept.
    pub fn trace(&self) -> Option<Vec<u8>> {
        let records = self.core.trace.bytes()?;
        let header = TraceHeader {
            code_version: self.settings.code_version.clone(),
            scenario: self.settings.scenario.clone(),
            seed: self.seed,
            schedule: self.settings.schedule.clone(),
        };
        Some(header.over(&records))
    }

    /// The world as oracles see it.
    pub fn view(&self) -> WorldView<'_> {
        WorldView {
            now_ns: self.core.now_ns,
            steps: self.steps,
            nodes: &self.nodes,
            counts: self.network_counts(),
            service: self.core.service.as_deref(),
        }
    }

    /// Stops the world with a verdict of the caller's own: what whoever drives it found from outside.
    pub fn fail(&mut self, oracle: impl Into<String>, violation: Violation) {
        self.record_failure(Failure {
            verdict: violation.verdict,
            oracle: oracle.into(),
            place: violation.place,
            violation: violation.sentence,
            at_ns: self.core.now_ns,
            step: self.steps,
        });
    }

    /// The first failure is the run's.
    fn record_failure(&mut self, failure: Failure) {
        if self.failure.is_none() && !self.finished {
            self.core.trace.happening(self.core.now_ns, &Happening::Verdict(&failure));
            self.failure = Some(Box::new(failure));
        }
    }

    /// Shows the oracles that are interested what happened.
    fn watch(
        &mut self,
        interest: Interests,
        mut show: impl FnMut(&mut dyn Oracle, &WorldView<'_>) -> Result<(), Violation>,
    ) {
        if !self.interests.has(interest) {
            return;
        }
        let view = WorldView {
            now_ns: self.core.now_ns,
            steps: self.steps,
            nodes: &self.nodes,
            counts: self.network_counts(),
            service: self.core.service.as_deref(),
        };
        for watcher in self.oracles.iter_mut().filter(|watcher| watcher.interests.has(interest)) {
            let name = watcher.oracle.name();
            self.place = Place::Oracle(name);
            if let Err(violation) = show(&mut *watcher.oracle, &view) {
                self.place = Place::World;
                return self.fail(violation.promise.unwrap_or(name), violation);
            }
        }
        self.place = Place::World;
    }

    fn slot(&self, node: NodeId) -> &NodeSlot {
        self.nodes.get(node.0 as usize).expect("this world has that node")
    }

    fn slot_mut(&mut self, node: NodeId) -> &mut NodeSlot {
        self.nodes.get_mut(node.0 as usize).expect("this world has that node")
    }
}
