//! A timer that is due when nobody asks for anything is fired by a tick, at one op on every replica; and once, though the primary
//! dies around it.

use chronon::app::branch::Branch;

use crate::{
    branch::{Cluster, OFTEN, POLITE, SOUND, letters},
    script::MS,
};

fn paying(periods: u32) -> Branch {
    Branch { rate: OFTEN, period_ns: 100 * MS, periods, ..letters(POLITE, OFTEN) }
}

#[test]
fn timers_fire_without_traffic() {
    let mut cluster = Cluster::new(3, paying(10), SOUND);
    let client = cluster.client(30);
    cluster.until("the client is answered", 5_000, |cluster| cluster.caller(client).is_finished());
    let began_ns = cluster.world.now_ns();
    assert!(cluster.ahead().state().bank().accounts() > 0, "somebody has opened an account");
    cluster.until("all is paid", 5_000, |cluster| cluster.ahead().state().counts().fetched == 10);
    let took_ms = (cluster.world.now_ns() - began_ns) / MS;
    assert!((800..1_300).contains(&took_ms), "ten periods of 100 ms took {took_ms} ms");
    assert!((10..=40).contains(&cluster.world.probe_count("tick_proposed")), "a tick for a timer, and no more");
    cluster.run_ms(500);
    for replica in 0..3 {
        let replica = cluster.replica(replica).expect("it is up");
        assert_eq!((replica.state().periods(), replica.state().counts().unexpected), (10, 0));
        assert!(replica.executor().timers().is_empty());
    }
    cluster.check();
}

#[test]
fn timers_fire_once_over_fail_overs() {
    let mut cluster = Cluster::new(3, paying(30), SOUND);
    let client = cluster.client(30);
    cluster.until("the client is answered", 5_000, |cluster| cluster.caller(client).is_finished());
    for periods in [5, 12, 20] {
        cluster.until("periods pass", 10_000, |cluster| cluster.ahead().state().periods() >= periods);
        let primary = cluster.until_primary();
        cluster.kill(primary).run_ms(1_000).restart(primary).run_ms(300);
    }
    cluster.until("all is paid", 30_000, |cluster| cluster.ahead().state().counts().fetched == 30);
    cluster.run_ms(1_000);
    let state = cluster.ahead().state();
    assert_eq!((state.periods(), state.counts().unexpected, state.counts().failed), (30, 0, 0));
    cluster.check();
}
