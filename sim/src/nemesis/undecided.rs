//! A view change that cannot tell whether an op was acknowledged before one who knows is back: steps before those that were drawn
//! already, while the cluster is whole, from draws of their own.

use super::MS;
use crate::{
    rng::Stream,
    schedule::{DamagePlace, Fault, Progress, Step, Target},
};

/// Who is primary of the first view that serves.
const FIRST_PRIMARY: u8 = 1;

/// A bare majority commits while the others are cut off, one of it loses a prepare that it acknowledged, and the rest of it is down
/// at the next view change. `damaged` is whose disk is harmed already. Whose it is then.
///
/// An even number of replicas has no view change in which so few could know, and a single one none at all.
pub(super) fn insert(
    random: &mut Stream,
    replicas: u8,
    damaged: Option<u8>,
    steps: &mut Vec<Step>,
    expected_commits: &mut u64,
) -> Option<u8> {
    if replicas < 3 || replicas.is_multiple_of(2) {
        return damaged;
    }
    let replica = damaged.unwrap_or_else(|| random.below(u64::from(replicas)) as u8);
    let mut side: Vec<u8> = (0..replicas).filter(|other| ![replica, FIRST_PRIMARY].contains(other)).collect();
    random.shuffle(&mut side);
    side.truncate(usize::from(replicas / 2));
    side.sort_unstable();
    let downs: Vec<(u8, u64)> = (0..replicas)
        .filter(|other| *other != replica && !side.contains(other))
        .map(|other| (other, random.range(1_200 * MS, 2_000 * MS)))
        .collect();
    let (before, behind) = (random.range(2, 20), random.range(4, 9));
    *expected_commits += before + behind;
    // Of the very newest the header is often still under way, and then it is a torn tail.
    let (nth, unreadable) = (1, random.chance(400_000));
    let now = || Progress::Time { ns: 0 };
    let kill = |(replica, down_ns)| (now(), Fault::Kill { target: Target::Replica(replica), down_ns });
    let mut harm = vec![
        (Progress::Commits { count: before }, Fault::Partition { side, for_ns: random.range(300 * MS, 700 * MS) }),
        (Progress::Commits { count: behind }, Fault::Damage { replica, place: DamagePlace::Prepare, nth, unreadable }),
        kill((replica, random.range(MS, 40 * MS))),
    ];
    harm.extend(downs.into_iter().map(kill));
    steps.splice(0..0, harm.into_iter().map(|(after, fault)| Step { after, patience_ns: 600 * MS, fault }));
    Some(replica)
}
