//! Disks that are lost whole: what becomes of the replica, and the disk that turns up again.

use chronon::{
    replica::Replica,
    types::{ClusterId, NodeId, ReplicaId},
    vsr::Config,
};

use super::{Relief, Simulation};
use crate::{disk::SimDisk, rng::Stream, workload::Workload};

/// The disks that were lost, by replica.
#[derive(Clone)]
pub(super) struct Losses(Vec<Loss>);

#[derive(Clone, Default)]
struct Loss {
    /// How often a disk of it was lost.
    count: u32,
    /// Whether its disk is empty: not formatted yet.
    is_blank: bool,
    /// The disk that it had, or, while it runs from that one, the one that it has now.
    other: Option<SimDisk>,
    /// Whether it runs from the disk that it had lost.
    is_revenant: bool,
}

impl Losses {
    pub(super) fn new(replicas: u8) -> Self {
        Self(vec![Loss::default(); usize::from(replicas)])
    }
}

/// The incarnation that a replica is formatted with, the `nth` time.
pub(super) fn incarnation(seed: u64, replica: ReplicaId, nth: u32) -> u128 {
    let mut stream = Stream::new(seed, "incarnations", u32::from(replica.0), nth);
    (u128::from(stream.next_u64()) << 64 | u128::from(stream.next_u64())).max(1)
}

impl<W: Workload> Simulation<W> {
    fn loss(&mut self, node: NodeId) -> &mut Loss {
        &mut self.losses.0[node.0 as usize]
    }

    /// Whether a replica has all that it ever promised: it runs, or ran, from a disk that is no recovering one's.
    fn is_sound(&self, node: NodeId) -> bool {
        let loss = &self.losses.0[node.0 as usize];
        let process = self.world.process::<Replica<W::Application>>(node);
        // What a replica is that is down, nobody can ask.
        let votes = process.is_some_and(|replica| replica.vsr().votes());
        !loss.is_blank && !loss.is_revenant && (loss.count == 0 || votes)
    }

    /// A replica dies and its disk with it, unless another is not itself again: one loss at a time is what the others can make good.
    pub(super) fn lose_disk(&mut self, replica: u8, lost_ns: u64) {
        let node = NodeId(u32::from(replica));
        if !self.nodes().all(|other| self.is_sound(other)) {
            return;
        }
        // It is started once before it is formatted: it must refuse.
        self.downtime_ns[node.0 as usize] = self.world.is_up(node).then_some(lost_ns / 2);
        self.world.kill(node);
        let count = self.loss(node).count;
        let blank = self.world.disk(node).another(self.schedule.seed, node.0, count);
        let former = self.world.exchange_disk(node, blank);
        let loss = self.loss(node);
        (loss.count, loss.is_blank, loss.other) = (count + 1, true, Some(former));
        self.later(lost_ns, Relief::Recover(node));
    }

    /// A replica whose disk was lost has another one, and is formatted to recover.
    pub(super) fn recover(&mut self, node: NodeId) {
        if !self.loss(node).is_blank {
            return;
        }
        self.world.kill(node);
        let (replica, plan) = (ReplicaId(node.0 as u8), self.schedule.cluster);
        let incarnation = incarnation(self.schedule.seed, replica, self.loss(node).count);
        let mut config = Config::new(ClusterId(self.schedule.seed ^ 0xC1), replica, plan.replicas, plan.layout());
        config.clients_max = plan.clients_max;
        let writes = config.format_lost(incarnation).expect("a schedule loses disks only where others are a majority");
        for (offset, bytes) in writes {
            self.world.disk_mut(node).preload(offset, &bytes);
        }
        self.loss(node).is_blank = false;
        self.world.note(&format!("r{} is formatted anew, to recover", node.0));
        self.restart(node);
    }

    /// A replica that was formatted anew is started from the disk that it had lost.
    pub(super) fn start_from_lost_disk(&mut self, replica: u8, for_ns: u64) {
        let node = NodeId(u32::from(replica));
        if !self.loss(node).is_blank && !self.loss(node).is_revenant && self.loss(node).other.is_some() {
            self.exchange(node);
            self.loss(node).is_revenant = true;
            self.restart(node);
            self.later(for_ns, Relief::Bury(node));
        }
    }

    /// The lost disk is gone for good, and the newer one in its place again.
    pub(super) fn bury(&mut self, node: NodeId) {
        if self.loss(node).is_revenant {
            self.exchange(node);
            let loss = self.loss(node);
            (loss.is_revenant, loss.other) = (false, None);
            self.world.note(&format!("r{} has the disk that it recovers with again", node.0));
            self.restart(node);
        }
    }

    fn exchange(&mut self, node: NodeId) {
        self.world.kill(node);
        if let Some(other) = self.loss(node).other.take() {
            let former = self.world.exchange_disk(node, other);
            self.loss(node).other = Some(former);
        }
    }
}
