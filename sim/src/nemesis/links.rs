//! Who stands far from whom: drawn from a stream of its own, so that every other draw of a seed is as it would be without.

use super::{MS, Options};
use crate::{rng::Stream, scenario::Kind, schedule::LinkPlan};

/// How many seeds in a million have links of their own.
const OWN_PPM: u32 = 250_000;

/// In some seeds two replicas are far from each other, one way or both; or one replica, or a client, is far from everybody.
/// Near enough for heartbeats to come in time.
pub(super) fn draw(random: &mut Stream, options: &Options, replicas: u8, clients: u8) -> Vec<LinkPlan> {
    // Whoever chose the faults wants those alone.
    let wanted = matches!(options.scenario.kind, Kind::Swarm | Kind::Network) && options.faults.is_none();
    if !wanted || !random.chance(OWN_PPM) {
        return Vec::new();
    }
    let latency_min_ns = random.range(2 * MS, 12 * MS);
    let latency_max_ns = latency_min_ns + random.range(MS, 15 * MS);
    let link = |from, to| LinkPlan { from, to, latency_min_ns, latency_max_ns };
    let far = |node| vec![link(Some(node), None), link(None, Some(node))];
    let one = random.below(u64::from(replicas)) as u16;
    match random.weighted(&[4, 2, 3, 1]) {
        way @ (0 | 1) if replicas > 1 => {
            let other = (one + random.range(1, u64::from(replicas) - 1) as u16) % u16::from(replicas);
            let mut links = vec![link(Some(one), Some(other)), link(Some(other), Some(one))];
            links.truncate(if way == 0 { 2 } else { 1 });
            links
        }
        3 => far(u16::from(replicas) + random.below(u64::from(clients)) as u16),
        _ => far(one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        nemesis::draw,
        scenario::{FaultFamily, find},
        schedule::Schedule,
    };

    fn swarm() -> Options {
        Options::new(find("swarm").expect("it is the default one"))
    }

    #[test]
    fn some_seeds_have_a_pair_of_their_own_and_some_a_node() {
        let schedules: Vec<Schedule> = (0..400).map(|seed| draw(seed, &swarm())).collect();
        assert!(schedules.iter().all(|schedule| schedule.check().is_ok()));
        let count = |holds: fn(&&Schedule) -> bool| schedules.iter().filter(holds).count();
        let own = count(|schedule| !schedule.links.is_empty());
        assert!((60..140).contains(&own), "{own} of 400");
        let far = |schedule: &&Schedule| schedule.links.iter().any(|link| link.to.is_none());
        assert!(count(far) >= 20);
        assert!(count(|schedule| schedule.links.len() == 1) >= 5, "one way alone");
        assert!(count(|schedule| schedule.links.len() == 2 && schedule.links[0].to.is_some()) >= 20);
    }

    #[test]
    fn who_chose_the_faults_or_wants_none_gets_no_links() {
        let chosen = Options { faults: Some(FaultFamily::ALL.to_vec()), ..swarm() };
        let healthy = Options::new(find("fault-free").expect("it is a scenario"));
        for options in [chosen, healthy] {
            assert!((0..100).all(|seed| draw(seed, &options).links.is_empty()));
        }
    }
}
