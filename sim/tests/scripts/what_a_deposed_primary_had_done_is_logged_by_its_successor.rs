//! A primary has an effect run that is never run twice, and is cut off before it can log what that came to. Its successor must park the
//! effect. When the two can speak again, what is known is logged, and nothing stays parked.

use chronon::app::{effect::OnUnknown, outbox::Stage};
use chronon_sim::outside::Came;

use crate::branch::{Cluster, OFTEN, RUDE, SOUND, letters};

#[test]
fn what_a_deposed_primary_had_done_is_logged_by_its_successor() {
    let mut cluster = Cluster::new(3, letters(RUDE, OFTEN.with_unknown(OnUnknown::NeverTwice)), SOUND);
    let client = cluster.client(600);
    let parked = |cluster: &Cluster| {
        cluster.outbox().iter().filter(|(_, entry)| entry.standing.stage == Stage::Parked).map(|(id, _)| id).next()
    };
    for _ in 0..2 {
        let sent = cluster.calls(Came::Ran).len();
        cluster.until("a letter was sent just now", 5_000, |cluster| cluster.calls(Came::Ran).len() > sent + 3);
        let deposed = cluster.until_primary();
        let given = cluster.world.probe_count("entry_given_to_the_primary");
        cluster.isolate(deposed);
        cluster.until("its successor parks what was under way", 5_000, |cluster| parked(cluster).is_some());
        let letter = parked(&cluster).expect("it was waited for");
        let sent = cluster.calls(Came::Ran).iter().filter(|call| call.id == letter).count();
        assert_eq!((sent, cluster.world.probe_count("entry_given_to_the_primary")), (1, given));
        cluster.run_ms(1_000).heal();
        cluster.until("what is known is logged", 5_000, |cluster| parked(cluster).is_none());
        assert!(cluster.world.probe_count("entry_given_to_the_primary") > given);
    }
    cluster.until("the client is answered", 60_000, |cluster| cluster.caller(client).is_finished());
    cluster.until("all is acknowledged", 20_000, |cluster| cluster.outbox().is_empty());
    let ran = cluster.calls(Came::Ran);
    let ids: std::collections::BTreeSet<_> = ran.iter().map(|call| call.id).collect();
    let counts = cluster.ahead().state().counts();
    assert_eq!((ids.len(), counts.acknowledged), (ran.len(), ran.len() as u64), "each was run and acknowledged once");
    cluster.check();
}
