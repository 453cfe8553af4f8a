//! Campaigns: their reports, their digests, and how they end.

use std::io::{BufRead, BufReader};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Place, Ran, example};

/// What a report has at least.
const FIELDS: &[&str] = &[
    "seeds_run",
    "seeds_failed",
    "failures",
    "virtual_ns",
    "cpu_ns",
    "wall_ns",
    "events",
    "commits",
    "commits_median",
    "requests_acknowledged",
    "view_changes",
    "restarts",
    "seeds_with_crash",
    "seeds_with_view_change",
    "seeds_with_3_or_more",
    "probes",
    "probes_missing",
    "digest",
    "crashes",
    "scenario",
    "start",
    "jobs",
    "complete",
];

/// What each of its failures has at least.
const FAILURE_FIELDS: &[&str] = &["seed", "verdict", "violation", "fingerprint", "digest", "trace", "command"];

#[test]
fn a_report_has_every_field_and_integers_alone() {
    let place = Place::new("report_fields");
    let ran = place.replay(&["run", "--seeds", "6", "--start", "3", "--report", "report.json"]).ends_with(0);
    assert!(ran.out.starts_with("scenario swarm: 6 seeds (3 to 8), no failure"), "{}", ran.out);
    for row in ["virtual time", "events", "commits", "view changes", "crashes", "probes", "speed", "digest"] {
        assert!(ran.out.contains(&format!("\n  {row} ")), "{row}: {}", ran.out);
    }
    let report = place.json("report.json");
    for field in FIELDS {
        assert!(!report[field].is_null(), "{field}");
    }
    assert_eq!((report["seeds_run"].as_u64(), report["start"].as_u64()), (Some(6), Some(3)));
    assert_eq!((&report["complete"], &report["seeds_failed"]), (&Value::from(true), &Value::from(0)));
    assert!(report["probes"].as_object().is_some_and(|probes| probes["op_applied"].as_u64() > Some(0)));
    assert!(report["cpu_ns"].as_u64() > Some(0));
    no_floats(&report);
    assert_eq!(place.names(""), ["report.json"], "no failure, no traces, no parts of files");
}

fn no_floats(value: &Value) {
    match value {
        Value::Number(number) => assert!(!number.is_f64(), "{number}"),
        Value::Array(items) => items.iter().for_each(no_floats),
        Value::Object(fields) => fields.values().for_each(no_floats),
        _ => {}
    }
}

#[test]
fn the_digest_is_that_of_the_seeds_for_any_number_of_threads() {
    let place = Place::new("digest_jobs");
    let digest = |jobs: &str| {
        place.replay(&["run", "--seeds", "12", "--jobs", jobs, "--report", "report.json"]).ends_with(0);
        place.json("report.json")["digest"].as_str().map(str::to_owned)
    };
    let one = digest("1");
    assert!(one.is_some());
    assert_eq!(one, digest("2"));
    assert_eq!(one, digest("3"));
    let mut hasher = blake3::Hasher::new();
    for seed in 0..12 {
        let ran = place.replay(&["seed", &seed.to_string()]).ends_with(0);
        hasher.update(blake3::Hash::from_hex(ran.digest()).expect("hex").as_bytes());
    }
    assert_eq!(one, Some(hasher.finalize().to_hex().to_string()));
}

#[test]
fn a_campaign_that_stops_at_a_failure_is_the_same_for_any_number_of_threads() {
    let place = Place::new("digest_failure");
    let report = |jobs: &str, keep_going: &str| {
        let arguments =
            ["run", "--scenario", "hasty", "--jobs", jobs, "--keep-going", keep_going, "--report", "r.json"];
        place.example("own_protocol", &arguments).ends_with(1);
        let mut report = place.json("r.json");
        let fields = report.as_object_mut().expect("an object");
        for measured in ["cpu_ns", "wall_ns", "seeds_per_second", "seeds_per_cpu_second", "jobs", "peak_memory_bytes"] {
            assert!(fields.remove(measured).is_some(), "{measured}");
        }
        report
    };
    for keep_going in ["1", "3"] {
        let one = report("1", keep_going);
        assert_eq!(one["seeds_failed"].to_string(), keep_going);
        assert_eq!(one["ending"], "failures");
        let last = one["failures"].as_array().and_then(|failures| failures.last()).expect("a failure");
        assert_eq!(last["seed"].as_u64().map(|seed| seed + 1), one["seeds_run"].as_u64(), "it stops there");
        assert_eq!(one, report("2", keep_going));
        assert_eq!(one, report("5", keep_going));
    }
}

#[test]
fn failures_have_every_field_and_the_first_of_each_kind_its_trace() {
    let place = Place::new("keep_going");
    let arguments =
        ["run", "--scenario", "hasty", "--seeds", "200", "--keep-going", "--report", "r.json", "--traces", "t"];
    let ran = place.example("own_protocol", &arguments).ends_with(1);
    let report = place.json("r.json");
    assert_eq!((&report["seeds_run"], &report["complete"]), (&Value::from(200), &Value::from(true)));
    let failures = report["failures"].as_array().expect("failures");
    assert!(failures.len() > 3, "{ran:#?}");
    for failure in failures {
        for field in FAILURE_FIELDS {
            assert!(failure.get(field).is_some(), "{field}");
        }
        assert_eq!(failure["fingerprint"], failures[0]["fingerprint"]);
        assert_eq!(failure["verdict"], "safety");
    }
    let with_trace: Vec<&Value> = failures.iter().filter(|failure| !failure["trace"].is_null()).collect();
    assert_eq!(with_trace, [&failures[0]]);
    let trace = failures[0]["trace"].as_str().expect("a path");
    assert_eq!(place.names("t").iter().map(|name| format!("t/{name}")).collect::<Vec<_>>(), [trace]);
    let command: Vec<&str> = failures[0]["command"].as_str().expect("text").split(' ').collect();
    assert_eq!(command[0], "own_protocol");
    let again = place.example("own_protocol", &command[1..]).ends_with(1);
    assert_eq!(Some(again.digest()), failures[0]["digest"].as_str());
}

#[test]
fn a_duration_ends_a_campaign() {
    let place = Place::new("duration");
    place.example("own_protocol", &["run", "--for", "2s", "--report", "r.json"]).ends_with(0);
    let report = place.json("r.json");
    assert_eq!((&report["ending"], &report["complete"]), (&Value::from("time"), &Value::from(true)));
    assert!(report["seeds_run"].as_u64() > Some(0));
    // How much longer is the machine's business: the seeds at hand are finished.
    assert!(report["wall_ns"].as_u64() >= Some(2_000_000_000), "{report}");
}

#[test]
fn an_interruption_leaves_a_valid_partial_report() {
    let place = Place::new("interruption");
    for signal in [Signal::INT, Signal::TERM] {
        let arguments = ["run", "--seeds", "1000000000", "--report", "r.json"];
        let mut child = place.command(&example("own_protocol"), &arguments).spawn().expect("the program starts");
        let pid = Pid::from_child(&child);
        // Plain lines of progress come every few seconds, as nobody looks at a terminal here: after one, seeds were run.
        let mut lines = BufReader::new(child.stderr.take().expect("its errors")).lines();
        let line = lines.next().expect("a line").expect("text");
        assert!(line.contains(" of 1,000,000,000 seeds, 0 failed, "), "{line}");
        let running = place.json("r.json");
        assert_eq!((&running["ending"], &running["complete"]), (&Value::from("running"), &Value::from(false)));
        kill_process(pid, signal).expect("a signal");
        let said: Vec<String> = lines.map(|line| line.expect("text")).collect();
        let ran = Ran::of(child.wait_with_output().expect("its end")).ends_with(75);
        assert!(said.iter().any(|line| line.starts_with("interrupted: ")), "{said:?}");
        assert!(ran.out.contains("no failure; interrupted before the end"), "{}", ran.out);
        let report = place.json("r.json");
        assert_eq!((&report["ending"], &report["complete"]), (&Value::from("interrupted"), &Value::from(false)));
        let seeds = report["seeds_run"].as_u64().expect("a number");
        assert!(seeds > 0);
        // As if so many had been asked for.
        place.example("own_protocol", &["run", "--seeds", &seeds.to_string(), "--report", "whole.json"]).ends_with(0);
        assert_eq!(place.json("whole.json")["digest"], report["digest"]);
    }
}

#[test]
fn a_second_interruption_writes_what_is_known_and_names_the_seeds_at_hand() {
    let place = Place::new("interrupted_twice");
    let arguments = ["run", "--scenario", "hangs", "--keep-going", "--jobs", "1", "--report", "r.json"];
    let mut child = place.command(&example("misbehaving"), &arguments).spawn().expect("the program starts");
    let pid = Pid::from_child(&child);
    let lines = BufReader::new(child.stderr.take().expect("its errors")).lines();
    // Progress comes when it comes.
    let mut lines = lines.filter(|line| !line.as_ref().is_ok_and(|line| line.contains(" of 1,000 seeds, ")));
    let mut said = |beginning: &str| {
        let line = lines.next().expect("a line").expect("text");
        line.starts_with(beginning).then_some(()).ok_or(line)
    };
    // One thread says so, another the other.
    let (failed, hangs) =
        ("seed 7 failed: p0 has not answered within 1 ms; misbehaving seed 7 --scenario hangs", "seed 8 hangs");
    let first = said(failed);
    assert_eq!(said(if first.is_ok() { hangs } else { failed }), Ok(()), "{first:?}");
    let report = place.json("r.json");
    assert_eq!((&report["ending"], &report["seeds_failed"]), (&Value::from("running"), &Value::from(1)));
    assert_eq!((&report["failures"][0]["seed"], &report["failures"][0]["trace"]), (&Value::from(7), &Value::Null));
    kill_process(pid, Signal::INT).expect("a signal");
    assert_eq!(said("interrupted: "), Ok(()));
    kill_process(pid, Signal::INT).expect("a signal");
    assert_eq!(said("interrupted again: ended at once; seed 8 was at hand"), Ok(()));
    Ran::of(child.wait_with_output().expect("its end")).ends_with(130);
    let report = place.json("r.json");
    assert_eq!((&report["ending"], &report["complete"]), (&Value::from("interrupted"), &Value::from(false)));
    assert_eq!((&report["seeds_run"], &report["failures"][0]["seed"]), (&Value::from(8), &Value::from(7)));
}

#[test]
fn what_was_found_is_said_though_the_report_cannot_be_written_any_more() {
    let place = Place::new("unwritable");
    place.write("reports/here", "");
    let ran =
        place.example("misbehaving", &["run", "--scenario", "litters", "--report", "reports/r.json"]).ends_with(1);
    assert!(ran.out.starts_with("LIVENESS: p0 has not answered within 1 ms"), "{}", ran.out);
    assert!(ran.out.contains("\nscenario litters: 8 seeds (0 to 7), 1 failed; stopped there"), "{}", ran.out);
    let why = "misbehaving: reports/r.json cannot be written: there is no folder reports; make it first";
    assert!(ran.err.contains(why), "{}", ran.err);
}

#[test]
fn a_complete_campaign_that_never_took_a_rare_path_fails() {
    let place = Place::new("probes_missing");
    let run = |seeds: &str| {
        place.example("misbehaving", &["run", "--scenario", "shallow", "--seeds", seeds, "--report", "r.json"])
    };
    let ran = run("1000").ends_with(1);
    assert!(ran.out.contains("FAILED: 1,000 seeds never took 1 rare path: ticked_deeply."), "{}", ran.out);
    let report = place.json("r.json");
    assert_eq!(
        (&report["probes_missing"], &report["seeds_failed"]),
        (&Value::from(vec!["ticked_deeply"]), &Value::from(0))
    );
    let ran = run("999").ends_with(0);
    assert!(ran.out.contains("1 of 2 taken; never taken: ticked_deeply"), "{}", ran.out);
    place.example("misbehaving", &["run", "--scenario", "clean", "--seeds", "1000"]).ends_with(0);
}
