//! A primary learns that another replica differs from it before it learns that a majority does not: until then nothing more is done from its
//! state. What it has under way stays so, in the same view and under the same tokens.

use chronon::types::{NodeId, Op};
use chronon_sim::{
    disk::{DiskSettings, LatencyRange},
    outside::{Came, ServicesPlan},
};

use crate::{
    branch::{Cluster, OFTEN, RUDE, SOUND, letters},
    script::MS,
};

/// The first primary; who agrees with it, on a disk that is slow to make a checkpoint durable; and who writes other letters.
const PRIMARY: u8 = 1;
const SLOW: u8 = 0;
const OTHER: u8 = 2;

#[test]
fn a_primary_in_doubt_orders_nothing_twice() {
    let patient = OFTEN.with_attempt_timeout(3_600_000 * MS);
    let same = letters(RUDE, patient);
    let branches = [same.clone(), same, letters(RUDE, patient.with_attempts(1_000))];
    let disk = |replica| {
        let barrier_ns = if replica == SLOW { 300 * MS } else { MS };
        DiskSettings { barrier: LatencyRange::new(barrier_ns, barrier_ns), ..DiskSettings::default() }
    };
    // An order takes longer than the doubt lasts.
    let services = ServicesPlan { latency_min_ns: 2_000 * MS, latency_max_ns: 2_000 * MS, ..SOUND };
    let mut cluster = Cluster::unlike(&branches, services, disk);
    cluster.client(60);
    let stands = |cluster: &Cluster| {
        let vsr = cluster.replica(PRIMARY).expect("it is up").vsr();
        (vsr.is_leading(), vsr.is_serving())
    };
    cluster.until("it is in doubt", 10_000, |cluster| stands(cluster) == (true, false));
    let primary = cluster.replica(PRIMARY).expect("it is up");
    let (view, applied) = (primary.vsr().view(), primary.vsr().applied());
    assert!(primary.executor().outbox().iter().count() > 0 && primary.vsr().checkpoints().op() >= Op(24));
    cluster.run_ms(100);
    assert_eq!(
        (stands(&cluster), cluster.replica(PRIMARY).expect("it is up").vsr().applied()),
        ((true, false), applied)
    );
    cluster.until("a majority is found", 10_000, |cluster| stands(cluster) == (true, true));
    assert_eq!(cluster.replica(PRIMARY).expect("it is up").vsr().view(), view, "in the same view");
    cluster.run_ms(10_000);
    assert!(cluster.world.halted(NodeId(OTHER.into())).is_some(), "who differs from a majority stops");
    let mut tokens: Vec<_> = cluster.calls(Came::Ran).iter().map(|call| (call.id, call.token)).collect();
    let calls = tokens.len();
    tokens.sort_unstable();
    tokens.dedup();
    assert!(calls >= 3 && tokens.len() == calls, "{} of {calls} were ordered once", tokens.len());
}
