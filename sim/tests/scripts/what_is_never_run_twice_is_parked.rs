//! A primary dies between the start of an effect that is never run twice and its outcome: nobody knows, and nobody runs it again. What is
//! asked about first is run again only where the service says that it had not been.

use chronon::app::{
    effect::{Channel, OnUnknown},
    outbox::Stage,
};
use chronon_sim::outside::{Came, ServicesPlan};

use crate::branch::{Cluster, FORGETFUL, OFTEN, RUDE, SOUND, letters};

/// Three in ten answers are lost, and the primary dies twice.
fn after_deaths(channel: Channel, on_unknown: OnUnknown) -> Cluster {
    let unheard = ServicesPlan { unheard_ppm: 300_000, ..SOUND };
    let mut cluster = Cluster::new(3, letters(channel, OFTEN.with_unknown(on_unknown)), unheard);
    let client = cluster.client(100);
    for letters in [10, 20] {
        cluster.until("letters are out", 20_000, |cluster| cluster.calls(Came::Ran).len() >= letters);
        let primary = cluster.until_primary();
        cluster.kill(primary).run_ms(1_500).restart(primary).run_ms(500);
    }
    cluster.until("the client is answered", 60_000, |cluster| cluster.caller(client).is_finished());
    cluster
}

fn runs_at_most_once(cluster: &Cluster) {
    let ran = cluster.calls(Came::Ran);
    let ids: std::collections::BTreeSet<_> = ran.iter().map(|call| call.id).collect();
    assert_eq!(ids.len(), ran.len(), "each was run once");
}

#[test]
fn what_is_never_run_twice_is_parked() {
    let mut cluster = after_deaths(RUDE, OnUnknown::NeverTwice);
    cluster.run_ms(3_000);
    let stages: Vec<Stage> = cluster.outbox().iter().map(|(_, entry)| entry.standing.stage).collect();
    assert!(stages.len() > 5 && stages.iter().all(|stage| *stage == Stage::Parked), "{stages:?}");
    runs_at_most_once(&cluster);
    assert!(cluster.calls(Came::Asked).is_empty());
    cluster.check();
}

#[test]
fn what_is_asked_about_first_is_done_once_and_acknowledged() {
    let mut cluster = after_deaths(FORGETFUL, OnUnknown::AskFirst);
    cluster.until("all is acknowledged", 60_000, |cluster| cluster.outbox().is_empty());
    runs_at_most_once(&cluster);
    assert!(!cluster.calls(Came::Asked).is_empty());
    assert_eq!(cluster.ahead().state().counts().acknowledged, cluster.calls(Came::Ran).len() as u64);
    cluster.check();
}
