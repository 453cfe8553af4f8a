//! Links with a latency of their own: two replicas far from each other, one that is far from everybody.

use serde::{Deserialize, Serialize};

use super::{HOUR_NS, Schedule};
use crate::network::LinkSettings;
use crate::workload::Plan;

/// The latency of one link, or of every link from or to one node. Of several that fit, the last holds.
///
/// It is where a node stands, and no fault: it outlasts the healing. Nodes are numbered as in the world: first the replicas,
/// then the clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkPlan {
    /// The sender; anybody if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u16>,
    /// The receiver; anybody if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u16>,
    /// The least.
    pub latency_min_ns: u64,
    /// The most.
    pub latency_max_ns: u64,
}

impl LinkPlan {
    /// Whether it holds for the link between these nodes.
    pub fn covers(&self, from: u16, to: u16) -> bool {
        self.from.is_none_or(|node| node == from) && self.to.is_none_or(|node| node == to)
    }

    /// A link that is like the others but for its latency.
    pub fn among(&self, others: LinkSettings) -> LinkSettings {
        LinkSettings { latency_min_ns: self.latency_min_ns, latency_max_ns: self.latency_max_ns, ..others }
    }
}

impl<P: Plan> Schedule<P> {
    /// What is wrong with its links, if anything is.
    pub(super) fn wrong_link(&self) -> Option<&'static str> {
        let nodes = u16::from(self.cluster.replicas) + u16::from(self.workload.clients);
        let wrong = |link: &LinkPlan| {
            let ends = [link.from, link.to];
            let rules = [
                (ends.iter().any(Option::is_some), "each of links must name an end, from or to"),
                (
                    ends.iter().flatten().all(|node| *node < nodes),
                    "links must name replicas and clients of the cluster",
                ),
                (link.from.is_none() || link.from != link.to, "links must not lead from a node to itself"),
                (
                    link.latency_min_ns <= link.latency_max_ns,
                    "latency_min_ns must be at most latency_max_ns in all links",
                ),
                (link.latency_max_ns <= HOUR_NS, "latency_max_ns must be at most an hour in all links"),
            ];
            rules.iter().find(|(holds, _)| !holds).map(|(_, rule)| *rule)
        };
        self.links.iter().find_map(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        nemesis::{Options, draw},
        scenario::SCENARIOS,
        schedule::ScheduleError,
    };

    const LINK: LinkPlan = LinkPlan { from: Some(0), to: Some(2), latency_min_ns: 5, latency_max_ns: 9 };

    fn schedule(link: LinkPlan) -> Schedule {
        let options = Options { replicas: Some(3), ..Options::new(&SCENARIOS[0]) };
        Schedule { links: vec![link], ..draw(1, &options) }
    }

    #[test]
    fn links_survive_toml() {
        for link in [LINK, LinkPlan { from: None, ..LINK }, LinkPlan { to: None, ..LINK }] {
            let schedule = schedule(link);
            let text = schedule.to_toml().expect("TOML");
            assert!(text.contains("[[links]]\n"), "{text}");
            assert_eq!(<Schedule>::from_toml(&text), Ok(schedule));
        }
        let without = Schedule { links: Vec::new(), ..schedule(LINK) };
        assert!(
            !without.to_toml().expect("TOML").contains("links"),
            "those that were written before there were any say nothing"
        );
        assert_eq!(<Schedule>::from_toml(&without.to_toml().expect("TOML")), Ok(without));
    }

    #[test]
    fn links_that_make_no_sense_are_refused_in_words() {
        let clients = u16::from(schedule(LINK).workload.clients);
        for (link, says) in [
            (LinkPlan { from: None, to: None, ..LINK }, "must name an end"),
            (LinkPlan { to: Some(3 + clients), ..LINK }, "of the cluster"),
            (LinkPlan { to: Some(0), ..LINK }, "to itself"),
            (LinkPlan { latency_min_ns: 10, ..LINK }, "at most latency_max_ns"),
            (LinkPlan { latency_max_ns: HOUR_NS + 1, ..LINK }, "at most an hour"),
        ] {
            let Err(ScheduleError::Invalid(why)) = schedule(link).check() else { panic!("{link:?} is refused") };
            assert!(why.contains(says), "{why}");
        }
        assert_eq!(schedule(LinkPlan { to: Some(2 + clients), ..LINK }).check(), Ok(()));
    }
}
