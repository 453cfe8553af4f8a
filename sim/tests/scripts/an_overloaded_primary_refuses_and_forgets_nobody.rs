//! Overload: as many requests are in flight as the limit says and not one more, the rest is told to come back, all of them
//! commit in the end, and nobody is served at the cost of another.

use std::collections::BTreeSet;

use chronon::types::Op;
use chronon_sim::{
    disk::{DiskSettings, LatencyRange},
    network::LinkSettings,
    workload::{CallOutcome, KvConfig},
};

use crate::script::{MS, Script, Setup, puts};

const LIMIT: u32 = 50;

#[test]
fn five_hundred_requests_at_a_limit_of_fifty() {
    let layout = Setup::default().layout;
    let link = LinkSettings { latency_min_ns: MS, latency_max_ns: MS, ..LinkSettings::default() };
    let setup = Setup { layout, link, requests_max: LIMIT, clients_max: 600, pipeline: 1, ..Setup::default() };
    let mut script = Script::new(setup);
    let primary = script.primary();
    // All of them ask in one instant.
    let clients = script.clients(500, &puts(1, 64));
    script.until("they arrive", 100, |script| script.vsr(primary).requests_in_flight() > 0);
    script.run_ms(0);
    assert_eq!(script.vsr(primary).requests_in_flight(), LIMIT as usize);
    assert_eq!(script.probe("request_refused_busy"), 450);
    let mut most = 0;
    while !clients.iter().all(|client| script.workload(*client).is_finished()) {
        most = most.max(script.vsr(primary).requests_in_flight());
        assert!(script.world.step() && script.world.now_ns() < 20_000 * MS, "they are answered");
    }
    assert_eq!(most, LIMIT as usize);
    script.converge_all();
    assert_eq!(script.vsr(primary).requests_in_flight(), 0);
    assert_eq!(script.vsr(primary).sessions().len(), 500);
    script.commit(10).check();
}

#[test]
fn a_client_with_much_to_ask_takes_turns_with_one_that_has_little() {
    let link = LinkSettings { latency_min_ns: MS, latency_max_ns: MS, ..LinkSettings::default() };
    let mut script = Script::new(Setup { link, pipeline: 1, ..Setup::default() });
    script.primary();
    let clients = [script.client(puts(100, 256)), script.client(KvConfig { ..puts(10, 256) })];
    script.until_finished(&clients);
    let mut turns: Vec<(Op, usize)> = Vec::new();
    for (index, client) in clients.iter().enumerate() {
        let op = |outcome: &CallOutcome| match outcome {
            CallOutcome::Answered { op, .. } => *op,
            other => panic!("a put ended with {other:?}"),
        };
        turns.extend(script.ended(*client).iter().filter_map(|call| Some((op(&call.end.as_ref()?.outcome), index))));
    }
    turns.sort_unstable();
    for (served, pair) in turns[..20].chunks(2).enumerate() {
        assert_ne!(pair[0].1, pair[1].1, "requests {} and {} are of one client", 2 * served, 2 * served + 1);
    }
    script.check();
}

#[test]
fn whoever_was_turned_away_finds_room_before_whoever_was_not() {
    // Room for one request, which is taken nearly all of the time: who asks again at once would have it for ever.
    let disk = |_| DiskSettings { durable_write: LatencyRange::new(10 * MS, 10 * MS), ..DiskSettings::default() };
    let link = LinkSettings { latency_min_ns: MS / 10, latency_max_ns: MS / 10, ..LinkSettings::default() };
    let mut script = Script::new(Setup { disk, link, requests_max: 1, ..Setup::default() });
    script.primary();
    let clients = script.clients(8, &puts(10, 256));
    script.until_finished(&clients);
    let mut turns: Vec<(u64, usize)> = Vec::new();
    for (index, client) in clients.iter().enumerate() {
        turns.extend(script.ended(*client).iter().filter_map(|call| Some((call.end.as_ref()?.at.0, index))));
    }
    turns.sort_unstable();
    let served: BTreeSet<usize> = turns[..40].iter().map(|(_, client)| *client).collect();
    assert_eq!(served.len(), 8, "half of the requests are served, and some client's is not among them: {turns:?}");
    assert!(script.probe("request_refused_busy") > 0);
    script.check();
}

#[test]
fn a_repetition_of_what_is_in_flight_costs_no_room() {
    let mut script = Script::replicas(3);
    let primary = script.primary();
    let client = script.client(puts(1, 256));
    script.until("it is in flight", 100, |script| script.vsr(primary).requests_in_flight() == 1);
    for replica in 0..3 {
        script.stall_disk(replica, 1_000);
    }
    script.run_ms(900);
    assert!(script.probe("request_repeated_in_flight") > 0);
    assert_eq!(script.vsr(primary).requests_in_flight(), 1);
    script.until_finished(&[client]).converge_all();
    assert_eq!(script.head(primary), Op(3), "the members, the register and the put, once each");
    script.check();
}
