//! A timer is due while nothing can commit. The primary proposes a tick, and no other one before that is executed: what is due then is
//! not known, and ticks without end would fill the pipeline and the ring.

use chronon::{app::branch::Branch, types::NodeId};

use crate::{
    branch::{Cluster, OFTEN, POLITE, SOUND, letters},
    script::MS,
};

#[test]
fn a_tick_is_proposed_once() {
    let paying = Branch { rate: OFTEN, period_ns: 1_000 * MS, periods: 1, ..letters(POLITE, OFTEN) };
    let mut cluster = Cluster::new(3, paying, SOUND);
    let client = cluster.client(30);
    cluster.until("the client is answered", 5_000, |cluster| cluster.caller(client).is_finished());
    cluster.until("all is acknowledged", 5_000, |cluster| cluster.outbox().is_empty());
    cluster.run_ms(50);
    assert_eq!((cluster.ahead().executor().timers().len(), cluster.ahead().state().periods()), (1, 0));
    let primary = cluster.until_primary();
    let stands = |cluster: &Cluster| {
        let vsr = cluster.replica(primary).expect("it is up").vsr();
        (vsr.view(), vsr.log().head())
    };
    let (view, head) = stands(&cluster);
    let ticks = cluster.world.probe_count("tick_proposed");
    // Both backups' disks stand still, for many times as long as the primary takes to look at its deadline again.
    let until_ns = cluster.world.now_ns() + 4_000 * MS;
    for backup in [1, 2].map(|other| NodeId(u32::from((primary + other) % 3))) {
        cluster.world.disk_mut(backup).stall_until(until_ns);
    }
    cluster.run_ms(3_500);
    assert_eq!(stands(&cluster), (view, head.next()), "one tick");
    assert_eq!(cluster.replica(primary).expect("it is up").vsr().applied(), head, "which is not executed");
    cluster.until("it is executed", 5_000, |cluster| cluster.ahead().state().periods() == 1);
    cluster.until("all has ended", 5_000, |cluster| cluster.outbox().is_empty());
    cluster.run_ms(1_000);
    assert_eq!(cluster.world.probe_count("tick_proposed"), ticks + 1);
    assert!(cluster.ahead().executor().timers().is_empty());
    cluster.check();
}
