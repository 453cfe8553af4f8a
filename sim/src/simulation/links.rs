//! The links that have a latency of their own.

use chronon::types::NodeId;

use super::Simulation;
use crate::{network::LinkSettings, workload::Workload};

impl<W: Workload> Simulation<W> {
    /// Makes them like `others`, but for their latency. It is theirs before the healing and after.
    pub(super) fn set_own_links(&mut self, others: LinkSettings) {
        let nodes = u16::from(self.replicas) + u16::from(self.schedule.workload.clients);
        for plan in self.schedule.links.clone() {
            for (from, to) in (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to))) {
                if from != to && plan.covers(from, to) {
                    let settings = plan.among(others);
                    self.world.set_link(NodeId(from.into()), NodeId(to.into()), settings);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        nemesis::{Options, draw},
        scenario::SCENARIOS,
        schedule::{LinkPlan, Schedule},
        trace::TraceMode,
    };

    #[test]
    fn a_link_keeps_its_latency_when_the_network_is_healed() {
        let options = Options { replicas: Some(3), ..Options::new(&SCENARIOS[0]) };
        let mut schedule = Schedule { core: vec![0, 1, 2], ..draw(7, &options) };
        let link = |from, to, latency_min_ns| LinkPlan { from, to, latency_min_ns, latency_max_ns: 20_000_000 };
        // The last that fits holds.
        schedule.links = vec![link(Some(2), None, 9_000_000), link(Some(2), Some(0), 8_000_000)];
        schedule.network.loss_ppm = 10_000;
        let mut simulation = Simulation::new(&schedule, TraceMode::Digest, "");
        let least = |simulation: &Simulation, from, to| {
            let settings = simulation.world().network().settings(NodeId(from), NodeId(to));
            (settings.latency_min_ns, settings.loss_ppm)
        };
        let ordinary = schedule.network.latency_min_ns;
        for (simulate, loss) in [(false, 10_000), (true, 0)] {
            if simulate {
                simulation.run();
                assert_eq!(simulation.outcome().failure, None);
            }
            assert_eq!(least(&simulation, 2, 0), (8_000_000, loss));
            assert_eq!(least(&simulation, 2, 1), (9_000_000, loss));
            assert_eq!(least(&simulation, 2, 3), (9_000_000, loss), "to a client");
            assert_eq!(least(&simulation, 0, 2), (ordinary, loss), "the way back");
            assert_eq!(least(&simulation, 0, 1), (ordinary, loss));
        }
    }
}
