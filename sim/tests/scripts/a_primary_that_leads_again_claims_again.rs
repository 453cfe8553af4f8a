//! A primary is elected again, nobody led in between, and it finds the outbox as it left it, under its own claim of a view that is over. It
//! claims it all the same. What it had under way then it has forgotten: it waits for none of it any more, and without another claim
//! would do none of it again.

use chronon::types::{NodeId, View};
use chronon_sim::outside::{Came, ServicesPlan};

use crate::{
    branch::{Cluster, OFTEN, POLITE, SOUND, letters},
    script::MS,
};

fn view(cluster: &Cluster, replica: u8) -> View {
    cluster.replica(replica).expect("it is up").vsr().view()
}

#[test]
fn a_primary_that_leads_again_claims_again() {
    // No order arrives, and no attempt is given up.
    let lost = ServicesPlan { lost_ppm: 1_000_000, ..SOUND };
    let mut cluster = Cluster::new(2, letters(POLITE, OFTEN.with_attempt_timeout(3_600_000 * MS)), lost);
    let client = cluster.client(80);
    cluster.until("the client is answered", 5_000, |cluster| cluster.caller(client).is_finished());
    cluster.outside().set_plan(SOUND);
    cluster.run_ms(1_000);
    let first = cluster.until_primary();
    let (second, before) = (1 - first, view(&cluster, first));
    let outbox = |cluster: &Cluster| {
        let outbox = cluster.replica(first).expect("it is up").executor().outbox();
        (outbox.changes(), outbox.fence().map(|fence| fence.view))
    };
    let left = outbox(&cluster);
    assert_eq!(left.1, Some(before), "it has claimed the outbox, in this life");
    assert!(!cluster.outbox().is_empty() && cluster.calls(Came::Ran).is_empty(), "what is lost is not ordered again");
    // Neither hears the other, so that both want the next view. The one that would lead it goes there, and waits for the other's word.
    let [one, other] = [first, second].map(|replica| NodeId(u32::from(replica)));
    cluster.world.cut(one, other);
    cluster.run_ms(1_000);
    cluster.world.heal_one_way(one, other);
    cluster.until("it leaves", 5_000, |cluster| view(cluster, second) > before);
    // It waits in vain, until both want the view after that.
    cluster.world.cut_one_way(one, other);
    cluster.world.heal_one_way(other, one);
    cluster.until("the other one leaves", 5_000, |cluster| view(cluster, first) > before.next());
    cluster.world.heal_all();
    cluster.until("it leads again", 5_000, |cluster| cluster.replica(first).expect("it is up").vsr().is_serving());
    let again = view(&cluster, first);
    assert_eq!(
        (again, outbox(&cluster)),
        (before.next().next(), left),
        "nobody led meanwhile, and nothing has changed"
    );
    cluster.until("all is acknowledged", 5_000, |cluster| cluster.outbox().is_empty());
    let ran = cluster.calls(Came::Ran);
    assert!(ran.iter().all(|call| (call.from, call.token.fence.view) == (one, again)), "under the new claim: {ran:?}");
    cluster.check();
}
