//! A replica's disk is lost whole, the replica is formatted anew and recovers through the others; and what may befall a cluster
//! meanwhile. Steps among those that were drawn already, from draws of their own.

use super::{MS, UNTIL_HEALED_NS};
use crate::{
    rng::Stream,
    schedule::{Fault, Progress, Step, Target},
};

/// Puts the loss of a disk, and what goes with it, among the steps. Whose disk it is.
pub(super) fn insert(random: &mut Stream, replicas: u8, steps: &mut Vec<Step>, expected_commits: &mut u64) -> u8 {
    let replica = random.below(u64::from(replicas)) as u8;
    let lost = losses(random, replica, replicas);
    *expected_commits +=
        lost.iter().map(|step| if let Progress::Commits { count } = step.after { count } else { 0 }).sum::<u64>();
    let place = random.below(steps.len() as u64 / 2 + 1) as usize;
    steps.splice(place..place, lost);
    replica
}

fn losses(random: &mut Stream, replica: u8, replicas: u8) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut push = |after: Progress, patience_ns: u64, fault: Fault| steps.push(Step { after, patience_ns, fault });
    let at = |name: &str| Progress::Probe { name: name.to_owned(), count: 1 };
    let own = Target::Replica(replica);
    let commits = Progress::Commits { count: random.range(3, 40) };
    push(commits, 1_200 * MS, Fault::Wipe { replica, lost_ns: random.range(20 * MS, 400 * MS) });
    if random.chance(300_000) {
        // It crashes while it recovers.
        let phases = ["recovery_asked", "members_proposed", "view_joined", "recovered"];
        let (phase, down_ns) = (*random.pick(&phases), random.range(MS, 200 * MS));
        push(at(phase), 1_500 * MS, Fault::Kill { target: own, down_ns });
    }
    if random.chance(400_000) {
        // What was lost is found, and whoever found it does not know better than to start from it: as soon as it is replaced, or
        // when the others have gone on for a while.
        let phase = *random.pick(&["members_proposed", "recovered", "view_moved_on_for_a_recovered_replica"]);
        push(at(phase), 1_500 * MS, Fault::Revenant { replica, for_ns: random.range(20 * MS, 400 * MS) });
        if random.chance(600_000) {
            // The others need it all the more.
            let other = (replica + random.range(1, u64::from(replicas) - 1) as u8) % replicas;
            let (after, down_ns) = (Progress::Time { ns: 0 }, random.range(50 * MS, 600 * MS));
            push(after, 0, Fault::Isolate { target: Target::Replica(other), clients: false, for_ns: down_ns });
        }
    }
    if random.chance(500_000) {
        // Another one is missing when it is there again.
        let target = if random.chance(500_000) { Target::Primary } else { Target::Backup(1) };
        let down_ns = if random.chance(200_000) { UNTIL_HEALED_NS } else { random.range(200 * MS, 1_500 * MS) };
        push(at("view_moved_on_for_a_recovered_replica"), 1_500 * MS, Fault::Kill { target, down_ns });
    }
    if random.chance(300_000) {
        let replica = if random.chance(500_000) { replica } else { random.below(u64::from(replicas)) as u8 };
        let commits = Progress::Commits { count: random.range(3, 60) };
        push(commits, 1_200 * MS, Fault::Wipe { replica, lost_ns: random.range(20 * MS, 300 * MS) });
    }
    steps
}
