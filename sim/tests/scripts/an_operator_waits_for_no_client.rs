//! Operators are asked for where too much is asked of a cluster, and so they wait for no client: neither for company nor for a place in the
//! pipeline, and where they share a prepare with clients they come first, so that what does not fit is a client's. One place they do not
//! take, which is the system's own.

use chronon::{
    client::{ClientConfig, ClientProcess},
    types::{ClientId, NodeId, Op},
    wire::{
        batch::{Batch, Kind},
        header::HEADER_SIZE,
    },
};
use chronon_sim::operator::{Operator, OperatorPlan};

use crate::script::{CLUSTER, MS, Script, Setup, puts};

/// A cluster whose disks stand still, so that nothing commits; its primary, and the primary's head.
fn stalled(pipeline: u32) -> (Script, u8, Op) {
    let mut script = Script::new(Setup { pipeline, ..Setup::default() });
    script.commit(1).converge_all();
    let primary = script.primary();
    for replica in 0..3 {
        script.stall_disk(replica, 1_000);
    }
    let head = script.head(primary);
    (script, primary, head)
}

/// Another operator, who looks once.
fn operator(script: &mut Script, number: u32) -> NodeId {
    let config = ClientConfig::new(CLUSTER, ClientId(1_000 + u128::from(number)), 3);
    let operator = Operator::new(7, OperatorPlan { looks: 1, pause_ns: MS });
    script.world.add_node(format!("o{number}"), ClientProcess::operator(config, operator))
}

/// Runs until the primary has taken so many requests in all, and what they waited for has had its time.
fn until_taken(script: &mut Script, primary: u8, requests: usize) {
    script.until("the request is taken", 100, |script| script.vsr(primary).requests_in_flight() == requests);
    script.run_ms(10);
}

/// Whose the entries of a prepare are.
fn kinds(script: &Script, replica: u8, op: Op) -> Vec<Kind> {
    let vsr = script.vsr(replica);
    let header = vsr.log().get(op).expect("it is in the log");
    let frame = vsr.journal().cached(op, header.checksum).expect("it was made just now");
    Batch::parse(&frame[HEADER_SIZE..]).expect("it is whole").iter().map(|entry| entry.kind).collect()
}

/// The end: everybody is answered.
fn finish(mut script: Script, clients: &[NodeId], operators: &[NodeId]) {
    script.until_finished(clients);
    script.until("the operators are answered", 5_000, |script| {
        let process = |node| script.world.process::<ClientProcess<Operator>>(node).expect("it is up");
        operators.iter().all(|operator| process(*operator).driver().is_finished())
    });
    script.converge_all().check();
}

#[test]
fn an_operator_waits_for_no_company_and_comes_first_in_a_prepare() {
    let (mut script, primary, head) = stalled(4);
    let mut clients = vec![script.client(puts(1, 64))];
    until_taken(&mut script, primary, 1);
    clients.extend(script.clients(2, &puts(1, 64)));
    until_taken(&mut script, primary, 3);
    assert_eq!(script.head(primary), Op(head.0 + 1), "two wait for company");
    let operator = operator(&mut script, 0);
    until_taken(&mut script, primary, 4);
    assert_eq!(script.head(primary), Op(head.0 + 2));
    assert_eq!(kinds(&script, primary, Op(head.0 + 2)), [Kind::Operator, Kind::Request, Kind::Request]);
    finish(script, &clients, &[operator]);
}

#[test]
fn an_operator_has_a_place_in_a_full_pipeline_and_the_last_one_is_not_its() {
    let (mut script, primary, head) = stalled(1);
    let mut clients = vec![script.client(puts(1, 64))];
    until_taken(&mut script, primary, 1);
    clients.extend(script.clients(2, &puts(1, 64)));
    until_taken(&mut script, primary, 3);
    assert_eq!(script.head(primary), Op(head.0 + 1), "two wait for a place");
    let mut operators = vec![operator(&mut script, 0)];
    until_taken(&mut script, primary, 4);
    assert_eq!(script.head(primary), Op(head.0 + 2));
    assert_eq!(kinds(&script, primary, Op(head.0 + 2)), [Kind::Operator], "no client has come with it");
    operators.push(operator(&mut script, 1));
    until_taken(&mut script, primary, 5);
    assert_eq!(script.head(primary), Op(head.0 + 2), "the last place is kept for the system");
    script.until("there is a place again", 5_000, |script| script.head(primary) > Op(head.0 + 2));
    assert_eq!(kinds(&script, primary, Op(head.0 + 3))[0], Kind::Operator, "the clients have waited longer");
    finish(script, &clients, &operators);
}
