//! What the scripts of effects are written with: a cluster of a branch of the bank, its customers, and the services around it, all
//! oracles on.

use chronon::{
    app::{
        branch::{self, Branch},
        effect::{Channel, EffectId, Policy},
        operator::{OperatorRefusal, OperatorRequest},
        outbox::Outbox,
    },
    client::{ClientConfig, ClientProcess},
    replica::Replica,
    storage::layout::Layout,
    types::{ClientId, NodeId, ReplicaId},
    vsr::Config,
};
use chronon_sim::{
    disk::DiskSettings,
    operator::{Operator, OperatorPlan},
    oracle::cluster::ClusterOracle,
    outside::{Came, Outside, ServiceCall, ServicesPlan, response_size_max},
    workload::{BankPlan, BankWorkload, Caller, Invariant, Turn, Workload},
    world::{NodeSettings, World, WorldSettings},
};

use crate::script::{CLUSTER, MS};

pub(crate) const LAYOUT: Layout =
    Layout { slot_count: 64, message_size_max: 32 * 1024, block_count: 256, block_size: 4096 };

/// The bank's workload over another branch.
#[derive(Clone)]
pub(crate) struct Over(pub(crate) Branch);

impl Workload for Over {
    type Application = Branch;
    type Plan = BankPlan;
    type Memory = ();

    fn application(&self) -> Branch {
        self.0.clone()
    }

    fn plan(&self, random: &mut chronon_sim::rng::Stream, calls: u64) -> BankPlan {
        BankWorkload.plan(random, calls)
    }

    fn ask(&self, memory: &mut (), turn: Turn<'_, BankPlan>, request: &mut Vec<u8>) {
        BankWorkload.ask(memory, turn, request);
    }

    fn digest(&self, state: &branch::State) -> chronon::digest::SetDigest {
        BankWorkload.digest(state)
    }

    fn invariants(&self) -> Vec<Invariant<Self>> {
        Vec::new()
    }

    fn waiting(&self, state: &branch::State) -> Option<Vec<EffectId>> {
        BankWorkload.waiting(state)
    }
}

/// Letters as this policy has it, in one channel, and no interest.
pub(crate) fn letters(channel: Channel, policy: Policy) -> Branch {
    Branch { letters: vec![(channel, policy)], periods: 0, ..Branch::default() }
}

/// The channel whose service honours everything.
pub(crate) const POLITE: Channel = Channel(0);
/// The channel whose service honours nothing.
pub(crate) const RUDE: Channel = Channel(1);
/// The channel whose service fences, and can be asked.
pub(crate) const FORGETFUL: Channel = Channel(2);

/// Attempts without end, each of 200 ms at most, soon after one another.
pub(crate) const OFTEN: Policy = Policy::EMIT
    .with_attempts(u32::MAX)
    .with_attempt_timeout(200 * MS)
    .with_total_timeout(u64::MAX)
    .with_backoff(5 * MS, 50 * MS);

/// Services that take two milliseconds each way, and do what they are told.
pub(crate) const SOUND: ServicesPlan = ServicesPlan {
    latency_min_ns: 2 * MS,
    latency_max_ns: 2 * MS,
    lost_ppm: 0,
    twice_ppm: 0,
    late_ppm: 0,
    late_ns_max: 0,
    unheard_ppm: 0,
    failed_ppm: 0,
    refused_ppm: 0,
    outage_ppm: 0,
    outage_ns_max: 0,
    wordy_ppm: 0,
    large_ppm: 0,
};

/// A cluster of a branch.
pub(crate) struct Cluster {
    pub(crate) world: World,
    replicas: u8,
    clients: u32,
    workload: Over,
}

impl Cluster {
    pub(crate) fn new(replicas: u8, branch: Branch, services: ServicesPlan) -> Self {
        Self::on_disks(replicas, branch, services, |_| DiskSettings::default())
    }

    /// The same on these disks, by replica.
    pub(crate) fn on_disks(
        replicas: u8,
        branch: Branch,
        services: ServicesPlan,
        disk: impl Fn(u8) -> DiskSettings,
    ) -> Self {
        let mut cluster = Self::unlike(&vec![branch; usize::from(replicas)], services, disk);
        let (world, workload) = (&mut cluster.world, &cluster.workload);
        let config = Config::new(CLUSTER, ReplicaId(0), replicas, LAYOUT);
        world.add_oracle(ClusterOracle::of(workload.clone(), plan(0), &config));
        cluster
    }

    /// A branch of its own for each replica, so that they diverge. No oracle looks on, for all would say so.
    pub(crate) fn unlike(branches: &[Branch], services: ServicesPlan, disk: impl Fn(u8) -> DiskSettings) -> Self {
        let (workload, replicas) = (Over(branches[0].clone()), branches.len() as u8);
        let mut world = World::with_settings(7, WorldSettings::default());
        let config = |replica| Config::new(CLUSTER, replica, replicas, LAYOUT);
        world.set_service(Outside::new(7, services).with_response_size_max(response_size_max(&config(ReplicaId(0)))));
        for (replica, branch) in (0..).map(ReplicaId).zip(branches) {
            let process = Replica::new(config(replica), branch.clone());
            let disk = DiskSettings { capacity: LAYOUT.size(), ..disk(replica.0) };
            let node =
                world.add_node_with(format!("{replica}"), process, NodeSettings { disk, ..NodeSettings::default() });
            for (offset, bytes) in config(replica).format(1) {
                world.disk_mut(node).preload(offset, &bytes);
            }
        }
        Self { world, replicas, clients: 0, workload }
    }

    /// Another customer, who asks so much of two accounts.
    pub(crate) fn client(&mut self, calls: u64) -> NodeId {
        let config = ClientConfig::new(CLUSTER, ClientId(u128::from(self.clients) + 1), self.replicas);
        let caller = Caller::of(self.workload.clone(), 7, self.clients, plan(calls));
        self.clients += 1;
        self.world.add_node(format!("c{}", self.clients), ClientProcess::new(config, caller))
    }

    pub(crate) fn caller(&self, client: NodeId) -> &Caller<Over> {
        self.world.process::<ClientProcess<Caller<Over>>>(client).expect("it is up").driver()
    }

    /// An operator, who looks every so many milliseconds.
    pub(crate) fn operator(&mut self, pause_ms: u64) -> NodeId {
        let config = ClientConfig::new(CLUSTER, ClientId(1_000), self.replicas);
        self.world.add_node(
            "o",
            ClientProcess::operator(
                config,
                Operator::new(7, OperatorPlan { looks: u64::MAX, pause_ns: pause_ms * MS }),
            ),
        )
    }

    pub(crate) fn decided(&self, operator: NodeId) -> &[(OperatorRequest, Result<(), OperatorRefusal>)] {
        self.world.process::<ClientProcess<Operator>>(operator).expect("it is up").driver().decided()
    }

    /// Runs until this holds.
    pub(crate) fn until(&mut self, what: &str, limit_ms: u64, reached: impl Fn(&Self) -> bool) -> &mut Self {
        let limit_ns = self.world.now_ns() + limit_ms * MS;
        while !reached(self) {
            let next = self.world.next_at_ns().filter(|next| *next <= limit_ns);
            let stepped = next.is_some() && self.world.step();
            assert!(stepped, "{what}: not within {limit_ms} ms: {:?}", self.world.verdict());
        }
        self
    }

    pub(crate) fn run_ms(&mut self, ms: u64) -> &mut Self {
        self.world.run_for(ms * MS);
        self
    }

    pub(crate) fn replica(&self, replica: u8) -> Option<&Replica<Branch>> {
        self.world.process(NodeId(u32::from(replica)))
    }

    /// The replica that serves in the latest view.
    pub(crate) fn primary(&self) -> Option<u8> {
        let up = (0..self.replicas).filter(|replica| self.replica(*replica).is_some_and(|r| r.vsr().is_serving()));
        up.max_by_key(|replica| self.replica(*replica).map(|replica| replica.vsr().view()))
    }

    pub(crate) fn until_primary(&mut self) -> u8 {
        self.until("there is a primary", 5_000, |cluster| cluster.primary().is_some());
        self.primary().expect("it was waited for")
    }

    /// The replica that has executed most.
    pub(crate) fn ahead(&self) -> &Replica<Branch> {
        let up = (0..self.replicas).filter_map(|replica| self.replica(replica));
        up.max_by_key(|replica| replica.vsr().applied()).expect("one is up")
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        self.ahead().executor().outbox()
    }

    pub(crate) fn outside(&mut self) -> &mut Outside {
        self.world.service_mut().expect("the cluster has services")
    }

    pub(crate) fn calls(&self, came: Came) -> Vec<ServiceCall> {
        let outside = self.world.service::<Outside>().expect("the cluster has services");
        outside.calls().iter().filter(|call| call.came == came).copied().collect()
    }

    pub(crate) fn kill(&mut self, replica: u8) -> &mut Self {
        self.world.kill(NodeId(u32::from(replica)));
        self
    }

    pub(crate) fn restart(&mut self, replica: u8) -> &mut Self {
        self.world.restart(NodeId(u32::from(replica)));
        self
    }

    pub(crate) fn heal(&mut self) -> &mut Self {
        self.world.heal_all();
        self
    }

    /// Cuts a replica off from the others, both ways.
    pub(crate) fn isolate(&mut self, replica: u8) -> &mut Self {
        for other in (0..self.replicas).filter(|other| *other != replica) {
            self.world.cut(NodeId(u32::from(replica)), NodeId(u32::from(other)));
        }
        self
    }

    /// The end: all replicas that are up stand alike, and no oracle has found anything.
    pub(crate) fn check(&mut self) {
        self.world.finish();
        assert!(self.world.verdict().is_none(), "{:?}", self.world.verdict());
    }
}

fn plan(calls: u64) -> BankPlan {
    BankPlan { calls, think_ns_max: 0, accounts: 4, deposit: 1_000, attempts: None, total_ns: None }
}
