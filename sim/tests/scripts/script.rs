//! What the scripts are written with: a cluster of replicas of the key-value application, all oracles on, told what to do
//! step by step.
//!
//! Invariant: a script ends with [`Script::check`], or says itself why the world cannot be asked. Whatever a script waits
//! for has a limit, and one that is exceeded says what was missing. Deliberately absent: randomness of its own; the world's
//! seed is all there is, so a script takes the same course each time.

use chronon::{
    app::kv::Kv,
    client::{ClientConfig, ClientProcess},
    replica::Replica,
    storage::layout::Layout,
    types::{ClientId, ClusterId, NodeId, Op, ReplicaId},
    vsr::{Config, Status, Vsr},
};
use chronon_sim::{
    disk::{DiskSettings, SimDisk},
    network::LinkSettings,
    oracle::{cluster::ClusterOracle, convergence, reads::ReadsOracle},
    reader::{Reader, ReaderConfig},
    workload::{Call, KvCaller, KvConfig, KvWeights, KvWorkload},
    world::{NodeSettings, World, WorldSettings},
};

use crate::minutes::Minutes;

/// Nanoseconds in a millisecond.
pub(crate) const MS: u64 = 1_000_000;

/// Within this a healthy cluster does whatever is asked of a script.
pub(crate) const PATIENCE_MS: u64 = 10_000;

pub(crate) const CLUSTER: ClusterId = ClusterId(0xC1);

/// What a cluster is made of.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) replicas: u8,
    pub(crate) seed: u64,
    pub(crate) layout: Layout,
    pub(crate) pipeline: u32,
    pub(crate) company: u32,
    pub(crate) requests_max: u32,
    pub(crate) queries_max: u32,
    pub(crate) clients_max: u32,
    /// Of each replica.
    pub(crate) disk: fn(u8) -> DiskSettings,
    pub(crate) link: LinkSettings,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            replicas: 3,
            seed: 1,
            layout: Layout { slot_count: 1024, message_size_max: 32 * 1024, block_count: 64, block_size: 4096 },
            pipeline: 4,
            company: 3,
            requests_max: 1024,
            queries_max: 1024,
            clients_max: 64,
            disk: |_| DiskSettings::default(),
            link: LinkSettings::default(),
        }
    }
}

/// A cluster and what a script does with it.
pub(crate) struct Script {
    pub(crate) world: World,
    pub(crate) setup: Setup,
    clients: u32,
    losses: u32,
}

/// Calls that put unique values of up to `size` bytes under eight keys.
pub(crate) fn puts(calls: u64, size: u32) -> KvConfig {
    KvConfig { calls, value_size_max: size, weights: KvWeights { put: 1, ..NOTHING }, ..KvConfig::default() }
}

/// So many queries, one after another.
pub(crate) fn queries(queries: u64) -> ReaderConfig {
    ReaderConfig { queries, stale_ppm: 0, think_ns_max: 0 }
}

/// No kind of call at all.
pub(crate) const NOTHING: KvWeights =
    KvWeights { get: 0, put: 0, delete: 0, compare_and_swap: 0, append: 0, refused: 0, oversized: 0 };

impl Script {
    /// A cluster of so many replicas, formatted and starting.
    pub(crate) fn replicas(replicas: u8) -> Self {
        Self::new(Setup { replicas, ..Setup::default() })
    }

    /// A cluster like this, formatted and starting.
    pub(crate) fn new(setup: Setup) -> Self {
        let settings = WorldSettings { link: setup.link, ..WorldSettings::default() };
        let mut world = World::with_settings(setup.seed, settings);
        for replica in (0..setup.replicas).map(ReplicaId) {
            let config = config(&setup, replica);
            let process = Replica::new(config.clone(), Kv);
            let disk = DiskSettings { capacity: setup.layout.size(), ..(setup.disk)(replica.0) };
            let settings = NodeSettings { disk, ..NodeSettings::default() };
            let node = world.add_node_with(format!("{replica}"), process, settings);
            for (offset, bytes) in config.format(1) {
                world.disk_mut(node).preload(offset, &bytes);
            }
        }
        world.add_oracle(ClusterOracle::new(&config(&setup, ReplicaId(0))));
        world.add_oracle(ReadsOracle::new(&KvWorkload));
        world.add_oracle(Minutes::new(setup.replicas));
        Self { world, setup, clients: 0, losses: 0 }
    }

    /// Another world that is the same up to here.
    pub(crate) fn fork(&self) -> Self {
        Self { world: self.world.clone(), setup: self.setup, clients: self.clients, losses: self.losses }
    }

    // Clients.

    /// Another client, who begins at once.
    pub(crate) fn client(&mut self, calls: KvConfig) -> NodeId {
        let mut config = ClientConfig::new(CLUSTER, ClientId(u128::from(self.clients) + 1), self.setup.replicas);
        config.payload_size_max = self.setup.layout.message_size_max - 1024;
        let workload = KvCaller::new(self.setup.seed, self.clients, calls);
        let node = self.world.add_node(format!("c{}", self.clients), ClientProcess::new(config, workload));
        self.clients += 1;
        node
    }

    /// A client that only queries, and begins at once.
    pub(crate) fn reader(&mut self, queries: ReaderConfig) -> NodeId {
        let config = ClientConfig::new(CLUSTER, ClientId(u128::from(self.clients) + 1), self.setup.replicas);
        let reader = Reader::of(KvWorkload, self.setup.seed, self.clients, KvConfig::default(), queries);
        let node = self.world.add_node(format!("c{}", self.clients), ClientProcess::new(config, reader));
        self.clients += 1;
        node
    }

    pub(crate) fn reads(&self, reader: NodeId) -> &Reader {
        self.world.process::<ClientProcess<Reader>>(reader).expect("the reader is up").driver()
    }

    pub(crate) fn until_read(&mut self, readers: &[NodeId]) -> &mut Self {
        let readers = readers.to_vec();
        self.until("the queries are answered", PATIENCE_MS, |script| {
            readers.iter().all(|reader| script.reads(*reader).is_finished())
        })
    }

    /// Several clients alike.
    pub(crate) fn clients(&mut self, count: u32, calls: &KvConfig) -> Vec<NodeId> {
        (0..count).map(|_| self.client(calls.clone())).collect()
    }

    /// A client makes so many puts, one after another, and is answered.
    pub(crate) fn commit(&mut self, calls: u64) -> &mut Self {
        let client = self.client(puts(calls, 256));
        self.until_finished(&[client])
    }

    pub(crate) fn until_finished(&mut self, clients: &[NodeId]) -> &mut Self {
        let clients = clients.to_vec();
        let all = |script: &Self| clients.iter().all(|client| script.workload(*client).is_finished());
        self.until("the clients are answered", PATIENCE_MS, all)
    }

    pub(crate) fn workload(&self, client: NodeId) -> &KvCaller {
        self.world.process::<ClientProcess<KvCaller>>(client).expect("the client is up").driver()
    }

    /// The calls of a client that have ended.
    pub(crate) fn ended(&self, client: NodeId) -> Vec<&Call> {
        self.workload(client).history().iter().filter(|call| call.end.is_some()).collect()
    }

    // Time.

    pub(crate) fn run_ms(&mut self, ms: u64) -> &mut Self {
        self.world.run_for(ms * MS);
        self
    }

    /// Runs until `reached` holds.
    pub(crate) fn until(&mut self, what: &str, limit_ms: u64, reached: impl Fn(&Self) -> bool) -> &mut Self {
        // The world is lent to the condition as a script, and so it steps here.
        let limit_ns = self.world.now_ns() + limit_ms * MS;
        while !reached(self) {
            let next = self.world.next_at_ns().filter(|next| *next <= limit_ns);
            let stepped = next.is_some() && self.world.step();
            assert!(stepped, "{what}: not within {limit_ms} ms. {}", self.account());
        }
        self
    }

    /// Runs until every one of these replicas is in one view, with everything committed, executed and held.
    pub(crate) fn converge(&mut self, replicas: &[u8]) -> &mut Self {
        let core: Vec<NodeId> = replicas.iter().map(|replica| NodeId(u32::from(*replica))).collect();
        let limit_ns = self.world.now_ns() + PATIENCE_MS * MS;
        loop {
            let why = match convergence::converged(&KvWorkload, &self.world.view(), &core) {
                Ok(()) => break,
                Err(why) => why,
            };
            // A world that is over stands still.
            assert!(
                self.world.now_ns() < limit_ns && !self.world.is_over(),
                "no convergence within {PATIENCE_MS} ms: {why}. {}",
                self.account()
            );
            self.run_ms(10);
        }
        let oracle = self.world.oracle::<ClusterOracle>().expect("every script is watched");
        if let Err(violation) = oracle.converged(&self.world.view(), &core) {
            panic!("{}", violation.sentence);
        }
        self
    }

    /// The same for all replicas.
    pub(crate) fn converge_all(&mut self) -> &mut Self {
        let all: Vec<u8> = (0..self.setup.replicas).collect();
        self.converge(&all)
    }

    /// The end: no oracle has found anything.
    pub(crate) fn check(&mut self) {
        self.world.finish();
        assert!(self.world.verdict().is_none(), "{}", self.account());
    }

    /// Where everybody is, for a failure.
    fn account(&self) -> String {
        let of = |node: NodeId| match self.world.process::<Replica<Kv>>(node).map(Replica::vsr) {
            Some(vsr) => format!(
                "{}: {:?} in {} with the log of {}, {} committed of {}",
                self.world.name(node),
                vsr.status(),
                vsr.view(),
                vsr.log_view(),
                vsr.commit_max(),
                vsr.log().head()
            ),
            None => format!("{}: {}", self.world.name(node), self.world.halted(node).unwrap_or("down")),
        };
        let replicas: Vec<String> = (0..u32::from(self.setup.replicas)).map(NodeId).map(of).collect();
        format!("{:?}\n{}", self.world.verdict(), replicas.join("\n"))
    }

    // Looking.

    pub(crate) fn is_up(&self, replica: u8) -> bool {
        self.world.is_up(NodeId(u32::from(replica)))
    }

    pub(crate) fn replica(&self, replica: u8) -> &Replica<Kv> {
        self.world.process(NodeId(u32::from(replica))).unwrap_or_else(|| panic!("r{replica} is down"))
    }

    pub(crate) fn vsr(&self, replica: u8) -> &Vsr {
        self.replica(replica).vsr()
    }

    pub(crate) fn head(&self, replica: u8) -> Op {
        self.vsr(replica).log().head()
    }

    pub(crate) fn probe(&self, name: &str) -> u64 {
        assert!(self.world.probe_counts().iter().any(|(known, _)| *known == name), "there is a probe {name}");
        self.world.probe_count(name)
    }

    pub(crate) fn minutes(&self) -> &Minutes {
        self.world.oracle().expect("every script is minuted")
    }

    /// The replica that serves in the latest view, if there is one.
    pub(crate) fn serving(&self) -> Option<u8> {
        let primaries = (0..self.setup.replicas).filter(|replica| self.is_up(*replica));
        let primaries = primaries.filter(|replica| self.vsr(*replica).is_primary());
        primaries.max_by_key(|replica| self.vsr(*replica).view())
    }

    /// Runs until there is a primary whom all that are up follow.
    pub(crate) fn primary(&mut self) -> u8 {
        self.until("there is a primary", PATIENCE_MS, |script| {
            let up: Vec<u8> = (0..script.setup.replicas).filter(|replica| script.is_up(*replica)).collect();
            let Some(view) = script.serving().map(|primary| script.vsr(primary).view()) else { return false };
            up.iter()
                .all(|replica| (script.vsr(*replica).status(), script.vsr(*replica).view()) == (Status::Normal, view))
        });
        self.serving().expect("it was waited for")
    }

    /// The replica `which` places after another one.
    pub(crate) fn after(&self, replica: u8, which: u8) -> u8 {
        (replica + which) % self.setup.replicas
    }

    // Doing.

    pub(crate) fn kill(&mut self, replica: u8) -> &mut Self {
        self.world.kill(NodeId(u32::from(replica)));
        self
    }

    pub(crate) fn cut_power(&mut self, replica: u8) -> &mut Self {
        self.world.cut_power(NodeId(u32::from(replica)));
        self
    }

    pub(crate) fn cut_power_of_all(&mut self) -> &mut Self {
        for replica in 0..self.setup.replicas {
            self.cut_power(replica);
        }
        self
    }

    pub(crate) fn restart(&mut self, replica: u8) -> &mut Self {
        self.world.restart(NodeId(u32::from(replica)));
        self
    }

    pub(crate) fn restart_all(&mut self) -> &mut Self {
        for replica in 0..self.setup.replicas {
            self.restart(replica);
        }
        self
    }

    /// Restarts a replica and runs until it has read its disk.
    pub(crate) fn recover(&mut self, replica: u8) -> &mut Self {
        self.restart(replica).until("it has recovered", PATIENCE_MS, |script| {
            script.is_up(replica) && script.vsr(replica).status() != Status::Booting
        })
    }

    pub(crate) fn cut_one_way(&mut self, from: u8, to: u8) -> &mut Self {
        self.world.cut_one_way(NodeId(u32::from(from)), NodeId(u32::from(to)));
        self
    }

    /// Cuts a replica off from the other replicas, both ways. Clients still reach it.
    pub(crate) fn isolate(&mut self, replica: u8) -> &mut Self {
        for other in (0..self.setup.replicas).filter(|other| *other != replica) {
            self.cut_one_way(replica, other).cut_one_way(other, replica);
        }
        self
    }

    /// No replica's word reaches this one.
    pub(crate) fn deafen(&mut self, replica: u8) -> &mut Self {
        for other in (0..self.setup.replicas).filter(|other| *other != replica) {
            self.cut_one_way(other, replica);
        }
        self
    }

    pub(crate) fn heal(&mut self) -> &mut Self {
        self.world.heal_all();
        self
    }

    /// A replica dies and its disk is lost: it has an empty one from here on. The one that it had.
    pub(crate) fn lose_disk(&mut self, replica: u8) -> SimDisk {
        let node = NodeId(u32::from(replica));
        self.world.kill(node);
        self.losses += 1;
        let blank = self.world.disk(node).another(self.setup.seed, node.0, self.losses);
        self.world.exchange_disk(node, blank)
    }

    /// Formats a lost replica's disk under this incarnation, and starts it.
    pub(crate) fn format_lost(&mut self, replica: u8, incarnation: u128) -> &mut Self {
        let config = config(&self.setup, ReplicaId(replica));
        for (offset, bytes) in config.format_lost(incarnation).expect("the others are a majority") {
            self.world.disk_mut(NodeId(u32::from(replica))).preload(offset, &bytes);
        }
        self.restart(replica)
    }

    /// Runs until a lost replica gives its word again.
    pub(crate) fn until_recovered(&mut self, replica: u8) -> &mut Self {
        self.until("it has recovered", PATIENCE_MS, |script| {
            let is_there = script.is_up(replica) && script.vsr(replica).status() == Status::Normal;
            is_there && !script.vsr(replica).is_recovering() && script.vsr(replica).votes()
        })
    }

    pub(crate) fn stall_disk(&mut self, replica: u8, ms: u64) -> &mut Self {
        let until_ns = self.world.now_ns() + ms * MS;
        self.world.disk_mut(NodeId(u32::from(replica))).stall_until(until_ns);
        self
    }

    /// Flips bits of a prepare where it lies on a replica's disk.
    pub(crate) fn corrupt_prepare(&mut self, replica: u8, op: Op) -> &mut Self {
        let offset = self.setup.layout.prepare_offset(self.setup.layout.slot(op)) + 200;
        self.world.disk_mut(NodeId(u32::from(replica))).corrupt(offset, &[0x5a; 8]);
        self
    }

    /// Flips bits of a prepare's header in the ring of headers.
    pub(crate) fn corrupt_header(&mut self, replica: u8, op: Op) -> &mut Self {
        let offset = self.setup.layout.header_ring_offset() + u64::from(self.setup.layout.slot(op)) * 128;
        self.world.disk_mut(NodeId(u32::from(replica))).corrupt(offset + 64, &[0x5a; 8]);
        self
    }
}

pub(crate) fn config(setup: &Setup, replica: ReplicaId) -> Config {
    let mut config = Config::new(CLUSTER, replica, setup.replicas, setup.layout);
    (config.pipeline, config.company, config.requests_max, config.clients_max) =
        (setup.pipeline, setup.company, setup.requests_max, setup.clients_max);
    config.queries_max = setup.queries_max;
    config
}
