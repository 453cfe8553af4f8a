//! What a process orders reaches the service of its world when that says so, and what came of it reaches the same life of the
//! process, or nobody; the trace says all of it.

use chronon::{
    effect::{
        Channel, Destination, EffectId, EffectOrder, EffectReport, EffectResult, Errand, Fence, FencingToken, Severity,
    },
    frame::Frame,
    types::{ClusterId, Epoch, NodeId, Op, View},
};
use chronon_sim::{
    service::Service,
    trace::{Record, Trace, TraceError, TraceMode},
    world::{World, WorldSettings},
};

use crate::support::{MS, Recorder, Seen};

const A: NodeId = NodeId(0);

/// Every order arrives twice, after 10 and 20 ms, and is answered 5 ms later, each time with the next of all results.
#[derive(Clone, Default)]
struct Twice {
    arrived: Vec<(u64, NodeId, u64)>,
}

impl Service for Twice {
    fn order(&mut self, order: &EffectOrder) -> Vec<u64> {
        if order.id.op == Op(9) { vec![] } else { vec![10 * MS, 20 * MS] }
    }

    fn arrive(&mut self, now_ns: u64, from: NodeId, order: &EffectOrder) -> Vec<(u64, EffectResult)> {
        self.arrived.push((now_ns / MS, from, order.id.op.0));
        let all = results();
        vec![(5 * MS, all[(self.arrived.len() - 1) % all.len()].clone())]
    }
}

fn results() -> Vec<EffectResult> {
    vec![
        EffectResult::Done { response: b"here".to_vec() },
        EffectResult::Failed { code: 1 },
        EffectResult::Refused { code: 2 },
        EffectResult::Unknown { code: u32::MAX },
        EffectResult::NotDone,
        EffectResult::Done { response: vec![] },
    ]
}

fn order(op: u64, destination: Destination) -> EffectOrder {
    EffectOrder {
        id: EffectId { cluster: ClusterId(u64::MAX), op: Op(op), position: u32::MAX, index: 3 },
        token: FencingToken { fence: Fence { epoch: Epoch(u32::MAX), view: View(u64::MAX) }, attempt: Op(op) },
        errand: if op == 2 { Errand::Ask } else { Errand::Run },
        destination,
        payload: Frame::new(vec![op as u8; 3]),
        timeout_ns: u64::MAX,
    }
}

fn orders() -> Vec<EffectOrder> {
    let channel = Channel(u32::MAX);
    vec![
        order(1, Destination::Emit(channel)),
        order(2, Destination::Fetch),
        order(3, Destination::Log(Severity::Warning)),
        order(9, Destination::Fetch),
    ]
}

fn world() -> World {
    let mut world = World::with_settings(1, WorldSettings { trace: TraceMode::Keep, ..WorldSettings::default() });
    world.set_service(Twice::default());
    world.add_node("a", Recorder { orders: orders(), ..Recorder::default() });
    world
}

fn reports(world: &World) -> Vec<EffectReport> {
    let seen = &world.process::<Recorder>(A).expect("it is up").seen;
    let reports = seen.iter().filter_map(|(_, seen)| match seen {
        Seen::Effect(report) => Some(report.clone()),
        _ => None,
    });
    reports.collect()
}

#[test]
fn every_order_arrives_as_often_as_the_service_says_and_each_answer_is_told() {
    let mut world = world();
    world.run_for(100 * MS);
    let arrived = &world.service::<Twice>().expect("it is the world's").arrived;
    assert_eq!(*arrived, [(10, A, 1), (10, A, 2), (10, A, 3), (20, A, 1), (20, A, 2), (20, A, 3)]);
    let reports = reports(&world);
    assert_eq!(reports.iter().map(|report| report.id.op.0).collect::<Vec<_>>(), [1, 2, 3, 1, 2, 3]);
    assert_eq!(reports.iter().map(|report| report.result.clone()).collect::<Vec<_>>(), results());
    assert!(reports.iter().all(|report| report.token == order(report.id.op.0, Destination::Fetch).token));
}

#[test]
fn an_order_outlives_the_process_that_gave_it_and_its_answer_does_not() {
    let mut world = world();
    world.run_for(17 * MS);
    assert_eq!(reports(&world).len(), 3);
    world.kill(A);
    world.run_for(MS);
    world.restart(A);
    world.run_for(100 * MS);
    let arrived: Vec<u64> =
        world.service::<Twice>().expect("it is the world's").arrived.iter().map(|(at_ms, ..)| *at_ms).collect();
    assert_eq!(arrived, [10, 10, 10, 20, 20, 20, 28, 28, 28, 38, 38, 38], "the next life orders by itself");
    assert_eq!(reports(&world).len(), 6, "what an earlier life ordered is no news to a later one");
}

#[test]
fn a_paused_process_is_told_when_it_goes_on() {
    let mut world = world();
    world.run_for(12 * MS);
    world.pause(A);
    world.run_for(50 * MS);
    assert_eq!(reports(&world).len(), 0);
    world.resume(A);
    world.run_for(MS);
    assert_eq!(reports(&world).len(), 6);
}

#[test]
fn the_trace_has_every_order_and_every_report_and_each_byte_of_them_counts() {
    let mut world = world();
    world.run_for(100 * MS);
    world.finish();
    let bytes = world.trace().expect("it was kept");
    let trace = Trace::parse(&bytes).expect("it is a trace");
    let entries: Vec<_> = trace.records().collect::<Result<_, _>>().expect("it is whole");
    let ordered = entries.iter().filter_map(|entry| match entry.record {
        Record::Order { id, token, errand, destination, timeout_ns, contents, .. } => {
            assert_eq!((timeout_ns, contents.length), (u64::MAX, 3));
            Some((id, token, errand, destination))
        }
        _ => None,
    });
    let expected: Vec<_> =
        orders().into_iter().map(|order| (order.id, order.token, order.errand, order.destination)).collect();
    assert_eq!(ordered.collect::<Vec<_>>(), expected);
    let told: Vec<String> = entries
        .iter()
        .filter(|entry| matches!(entry.record, Record::Report { .. }))
        .map(|entry| entry.to_string())
        .collect();
    assert_eq!(told.len(), 6);
    for (line, end) in told.iter().zip([
        "was done: 4 bytes",
        "failed (1)",
        "is refused (2)",
        "nobody knows what",
        "was not done",
        "was done: 0 bytes",
    ]) {
        assert!(line.contains(end), "{line}");
    }
    // Records lie back to back; whatever is done to them, reading ends in an error or in records.
    let start = bytes.len() - trace.record_bytes().len();
    for index in start..bytes.len() - 4096 {
        let mut damaged = bytes.clone();
        damaged[index] ^= 0x81;
        let Ok(trace) = Trace::unchecked(&damaged) else { continue };
        let end = trace.records().last().expect("there is something");
        assert!(matches!(end, Ok(_) | Err(TraceError::Malformed { .. } | TraceError::Truncated { .. })));
    }
}
