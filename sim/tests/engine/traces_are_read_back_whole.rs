//! The trace: what was written is read, every byte counts, and no bytes do harm.

use chronon::types::NodeId;
use chronon_sim::{
    rng::Stream,
    trace::{Body, Record, Trace, TraceBodies, TraceError, TraceMode, first_difference},
    verdict::Verdict,
    world::{World, WorldSettings},
};

use crate::support::{MS, Recorder, busy_world, trouble};

fn troubled(seed: u64, bodies: TraceBodies) -> World {
    let mut world = busy_world(seed, TraceMode::Keep, bodies);
    trouble(&mut world);
    world.fail("a test", chronon_sim::oracle::Violation::liveness("the end", "nothing more came"));
    world.finish();
    world
}

#[test]
fn a_trace_says_everything_that_happened() {
    for bodies in [TraceBodies::Bytes, TraceBodies::Checksum] {
        let world = troubled(1, bodies);
        let bytes = world.trace().expect("it was kept");
        let trace = Trace::parse(&bytes).expect("it is a trace");
        assert_eq!(trace.digest(), world.digest());
        let entries: Vec<_> = trace.records().collect::<Result<_, _>>().expect("it is whole");
        let count =
            |holds: &dyn Fn(&Record<'_>) -> bool| entries.iter().filter(|entry| holds(&entry.record)).count() as u64;
        let counts = world.network_counts();
        assert_eq!(count(&|record| matches!(record, Record::Send { .. })), counts.sent);
        assert_eq!(count(&|record| matches!(record, Record::Message { .. })), counts.delivered);
        assert_eq!(count(&|record| matches!(record, Record::Crash { .. })), world.crashes());
        assert_eq!(count(&|record| matches!(record, Record::Node { .. })), 4);
        let probes = world.probe_counts().iter().map(|(_, count)| count).sum::<u64>();
        assert_eq!(count(&|record| matches!(record, Record::Probe { .. })), probes);
        let operations = world.nodes().map(|node| world.disk(node).counters().operations).sum::<u64>();
        let asked =
            |record: &Record<'_>| matches!(record, Record::Read { .. } | Record::Write { .. } | Record::Barrier { .. });
        assert_eq!(count(&asked), operations);
        let verdict = |record: &Record<'_>| matches!(record, Record::Verdict { verdict: Verdict::Liveness, .. });
        assert_eq!(count(&verdict), 1);
        let last = entries.last().expect("there are some");
        assert_eq!((last.step, &last.record), (world.steps(), &Record::End { steps: world.steps() }));
        assert_eq!(last.at_ns, world.now_ns());
        // Entries lie back to back and cover every byte.
        let mut offset = 0;
        for entry in &entries {
            assert_eq!(entry.offset, offset);
            offset += entry.length;
        }
        assert_eq!(offset, trace.record_bytes().len() as u64);
    }
}

#[test]
fn every_delivered_message_is_one_that_was_sent_and_its_bytes_are_there() {
    let mut world = World::with_settings(
        1,
        WorldSettings { trace: TraceMode::Keep, bodies: TraceBodies::Bytes, ..WorldSettings::default() },
    );
    world.add_node("a", Recorder::sending(NodeId(1), 100));
    world.add_node("b", Recorder::default());
    world.run_for(100 * MS);
    world.finish();
    let bytes = world.trace().expect("it was kept");
    let trace = Trace::parse(&bytes).expect("it is a trace");
    let mut bodies = std::collections::BTreeMap::new();
    let mut arrived = Vec::new();
    for entry in trace.records() {
        match entry.expect("it is whole").record {
            Record::Send { number, body: Body::Bytes(bytes), .. } => drop(bodies.insert(number, bytes.to_vec())),
            Record::Message { number, .. } => arrived.push(bodies[&number].clone()),
            _ => {}
        }
    }
    assert_eq!(arrived, world.process::<Recorder>(NodeId(1)).expect("b is up").messages());
}

#[test]
fn the_clocks_readings_are_those_that_the_process_was_given() {
    let mut world = World::with_settings(1, WorldSettings { trace: TraceMode::Keep, ..WorldSettings::default() });
    world.add_node("a", Recorder::sending(NodeId(1), 100));
    world.add_node("b", Recorder::default());
    world.skew(NodeId(1), -77, 12_345_678);
    world.run_for(MS);
    world.step_clock(NodeId(1), i64::MIN / 2);
    world.run_for(100 * MS);
    world.finish();
    let bytes = world.trace().expect("it was kept");
    let given: Vec<_> =
        world.process::<Recorder>(NodeId(1)).expect("b is up").seen.iter().map(|(now, _)| *now).collect();
    let written = |entry: Result<chronon_sim::trace::Entry<'_>, TraceError>| match entry.expect("it is whole").record {
        Record::Start { node, now, .. } | Record::Message { node, now, .. } if node.node == NodeId(1) => Some(now),
        _ => None,
    };
    let trace = Trace::parse(&bytes).expect("it is a trace");
    assert_eq!(trace.records().filter_map(written).collect::<Vec<_>>(), given);
}

#[test]
fn the_header_says_what_was_run_and_is_not_in_the_digest() {
    let settings = |scenario: &str| WorldSettings {
        scenario: scenario.into(),
        schedule: "seed = 7\n".into(),
        code_version: "0.1.0 abc".into(),
        trace: TraceMode::Keep,
        ..WorldSettings::default()
    };
    let worlds = ["one", "two"].map(|scenario| World::with_settings(7, settings(scenario)));
    let bytes = worlds[0].trace().expect("it was kept");
    let trace = Trace::parse(&bytes).expect("it is a trace");
    let header = trace.header();
    assert_eq!((header.seed, &*header.scenario, &*header.schedule), (7, "one", "seed = 7\n"));
    assert_eq!(header.code_version, "0.1.0 abc");
    assert_eq!(worlds[0].digest(), worlds[1].digest());
}

#[test]
fn a_trace_that_breaks_off_is_called_that() {
    let bytes = troubled(2, TraceBodies::Bytes).trace().expect("it was kept");
    let mut stream = Stream::new(2, "cuts", 0, 0);
    for _ in 0..300 {
        let length = stream.below(bytes.len() as u64) as usize;
        let error = match Trace::parse(&bytes[..length]) {
            Err(error) => error,
            Ok(trace) => trace.records().find_map(Result::err).expect("the end is missing"),
        };
        if length < 8 {
            assert_eq!(error, TraceError::Foreign);
        } else {
            assert_eq!(error, TraceError::Truncated { length: length as u64 });
        }
    }
}

#[test]
fn other_files_and_other_formats_are_called_that() {
    assert_eq!(Trace::parse(b"").map(|_| ()), Err(TraceError::Foreign));
    assert_eq!(Trace::parse(b"#!/bin/sh\necho hello\n").map(|_| ()), Err(TraceError::Foreign));
    let mut bytes = troubled(2, TraceBodies::Checksum).trace().expect("it was kept");
    bytes[8] += 1;
    let error = Trace::parse(&bytes).map(|_| ()).expect_err("it is of another format");
    assert_eq!(error, TraceError::Version { found: 4, known: 3 });
    assert!(error.to_string().contains("format 4") && error.to_string().contains("write it anew"));
}

#[test]
fn no_bytes_do_harm() {
    let whole = troubled(3, TraceBodies::Bytes).trace().expect("it was kept");
    let start = whole.len() - Trace::parse(&whole).expect("it is a trace").record_bytes().len();
    for round in 0..2000 {
        let mut stream = Stream::new(round, "hostile bytes", 0, 0);
        let mut bytes = whole[..start + stream.below(4000) as usize].to_vec();
        for _ in 0..stream.range(1, 20) {
            let place = stream.below(bytes.len() as u64) as usize;
            bytes[place] = *stream.pick(&[0, 1, 0x7f, 0xf8, 0xff, stream.clone().next_u64() as u8]);
        }
        assert!(Trace::parse(&bytes).is_err(), "a part of a trace, with other bytes in it");
        if let Ok(trace) = Trace::unchecked(&bytes) {
            // Either records or one error, and then nothing; and each can be told.
            let lines =
                trace.records().map(|entry| entry.map_or_else(|error| error.to_string(), |entry| entry.to_string()));
            assert!(lines.count() <= bytes.len() + 1);
        }
    }
}

#[test]
fn bytes_after_the_end_are_noticed() {
    let mut bytes = troubled(2, TraceBodies::Checksum).trace().expect("it was kept");
    bytes.push(0);
    let error = Trace::parse(&bytes).map(|_| ());
    assert!(matches!(error, Err(TraceError::Malformed { what: "bytes after the end", .. })), "{error:?}");
    let trace = Trace::unchecked(&bytes).expect("it begins as a trace");
    let error = trace.records().find_map(Result::err);
    assert!(matches!(error, Some(TraceError::Malformed { what: "bytes after the end", .. })), "{error:?}");
}

#[test]
fn a_byte_that_is_not_what_was_written_is_located() {
    let whole = troubled(2, TraceBodies::Bytes).trace().expect("it was kept");
    let start = whole.len() - Trace::parse(&whole).expect("it is a trace").record_bytes().len();
    let mut stream = Stream::new(2, "flips", 0, 0);
    let places = (10..start).chain((0..200).map(|_| stream.range(start as u64, whole.len() as u64 - 1) as usize));
    for place in places.collect::<Vec<_>>() {
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << stream.below(8);
        let error = Trace::parse(&bytes).map(|_| ()).expect_err("a byte was changed");
        assert!(error.to_string().starts_with("the trace is damaged at byte"), "{place}: {error}");
        if place >= start {
            let TraceError::Damaged { from, to } = error else { panic!("{place}: {error}") };
            assert!((from..to).contains(&(place as u64)) && to - from <= 64 * 1024, "{place}: {error}");
        }
    }
}

#[test]
fn two_traces_differ_first_where_their_runs_part() {
    let mut one = busy_world(5, TraceMode::Keep, TraceBodies::Checksum);
    one.run_for(100 * MS);
    let mut two = one.clone();
    let steps = one.steps();
    two.step_clock(NodeId(2), 1);
    one.run_for(50 * MS);
    two.run_for(50 * MS);
    one.finish();
    two.finish();
    let (a, b) = (one.trace().expect("it was kept"), two.trace().expect("it was kept"));
    let (a, b) = (Trace::parse(&a).expect("it is a trace"), Trace::parse(&b).expect("it is a trace"));
    assert_eq!(first_difference(&a, &a), Ok(None));
    let difference = first_difference(&a, &b).expect("both are whole").expect("they differ");
    assert_eq!(difference.step, steps);
    assert!(difference.right.as_deref().is_some_and(|line| line.contains("busy2 realtime clock is stepped by 1 ns")));
    assert!(difference.to_string().contains("left:"));
}

#[test]
fn a_line_reads_as_a_sentence() {
    let bytes = troubled(1, TraceBodies::Checksum).trace().expect("it was kept");
    let trace = Trace::parse(&bytes).expect("it is a trace");
    let lines: Vec<String> = trace.records().map(|entry| entry.expect("it is whole").to_string()).collect();
    let some = |part: &str| assert!(lines.iter().any(|line| line.contains(part)), "no line has {part:?}");
    some("0.000000000 busy0 starts");
    some("busy1   sends #");
    some("asks for a barrier as 0x");
    some("is killed");
    some("took a rare path: idle");
    some("liveness: nothing more came (found by a test)");
    assert!(lines.last().is_some_and(|line| line.contains("the end, after")));
}
