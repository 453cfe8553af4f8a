//! The readers of a simulation: clients beside the workload's, which no fault is aimed at.

use chronon::{
    client::{ClientConfig, ClientProcess},
    types::{ClientId, ClusterId, NodeId},
};

use super::Simulation;
use crate::{reader::Reader, workload::Workload};

impl<W: Workload> Simulation<W> {
    /// Adds them, above all other nodes.
    pub(super) fn add_readers(&mut self, cluster: ClusterId) {
        let Some(plan) = self.schedule.workload.readers.clone() else { return };
        for number in 0..plan.count {
            // Above those of the clients.
            let id = ClientId(u128::from(number) + 1000);
            let config = ClientConfig::new(cluster, id, self.replicas);
            let (workload, each) = (self.workload.clone(), self.schedule.workload.each.clone());
            let reader = Reader::of(workload, self.schedule.seed, u32::from(number), each, plan.each.clone());
            self.world.add_node(format!("q{number}"), ClientProcess::new(config, reader));
        }
    }

    fn readers(&self) -> impl Iterator<Item = (NodeId, &Reader<W>)> {
        let first = u32::from(self.replicas) + u32::from(self.schedule.workload.clients);
        let count = self.schedule.workload.readers.as_ref().map_or(0, |plan| u32::from(plan.count));
        let process =
            |node| self.world.process::<ClientProcess<Reader<W>>>(node).map(|process| (node, process.driver()));
        (first..first + count).map(NodeId).filter_map(process)
    }

    /// What readers have had answered, in all.
    pub(super) fn reads_answered(&self) -> usize {
        self.readers().map(|(_, reader)| reader.answered()).sum()
    }

    /// Which reader still waits for an answer, if one does.
    pub(super) fn reading(&self) -> Option<NodeId> {
        self.readers().find(|(_, reader)| !reader.is_finished()).map(|(node, _)| node)
    }
}
