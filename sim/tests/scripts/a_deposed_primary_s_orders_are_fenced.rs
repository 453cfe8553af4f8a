//! A primary that is cut off does not know that it was succeeded, and what it has ordered is late: where the service has seen
//! the next primary's token, it does nothing for the older one, and order holds.

use chronon_sim::outside::{Came, ServicesPlan};

use crate::{
    branch::{Cluster, OFTEN, POLITE, SOUND, letters},
    script::MS,
};

#[test]
fn a_deposed_primary_s_orders_are_fenced() {
    let late = ServicesPlan { late_ppm: 400_000, late_ns_max: 3_000 * MS, ..SOUND };
    let mut cluster = Cluster::new(3, letters(POLITE, OFTEN), late);
    let client = cluster.client(120);
    cluster.until("ten letters are out", 5_000, |cluster| cluster.calls(Came::Ran).len() >= 10);
    let deposed = cluster.until_primary();
    cluster.isolate(deposed);
    cluster.until("the client is answered", 60_000, |cluster| cluster.caller(client).is_finished());
    cluster.until("all is acknowledged", 60_000, |cluster| cluster.outbox().is_empty());
    let fenced = cluster.calls(Came::Fenced);
    assert!(
        fenced.iter().any(|call| call.from.0 == u32::from(deposed)),
        "late orders of the deposed primary: {fenced:?}"
    );
    let counts = cluster.ahead().state().counts();
    assert_eq!((counts.failed, counts.unexpected), (0, 0));
    cluster.world.heal_all();
    cluster.run_ms(2_000);
    cluster.check();
}
