//! Clusters of applications other than the key-value store: the bank, the job queue, and one of a user's own.

use crate::support::Place;

#[test]
fn an_application_of_one_s_own_runs_under_every_scenario() {
    let place = Place::new("own_application");
    let list = place.example("simulated_counter", &["list"]).ends_with(0).out;
    for scenario in ["swarm", "fault-free", "crashes", "network", "disk", "alone"] {
        assert!(list.contains(scenario), "{list}");
        let arguments = ["run", "--scenario", scenario, "--seeds", "20", "--report", "report.json"];
        place.example("simulated_counter", &arguments).ends_with(0);
        let report = place.json("report.json");
        assert_eq!((report["seeds_run"].as_u64(), report["seeds_failed"].as_u64()), (Some(20), Some(0)));
        assert!(report["requests_acknowledged"].as_u64() > Some(20 * 100), "{report}");
    }
}

#[test]
fn the_bank_is_simulated_and_its_schedules_run_again() {
    let place = Place::new("bank");
    place.replay(&["run", "--scenario", "bank", "--seeds", "20", "--report", "report.json"]).ends_with(0);
    assert!(place.json("report.json")["restarts"].as_u64() > Some(0), "faults struck");
    let drawn = place.replay(&["seed", "3", "--scenario", "bank", "--schedule", "3.toml", "--trace", "3.trace"]);
    let drawn = drawn.ends_with(0);
    let schedule = String::from_utf8(place.read("3.toml")).expect("text");
    assert!(schedule.contains("scenario = \"bank\"") && schedule.contains("deposit = "), "{schedule}");
    let digest = |out: &str| out.lines().find(|line| line.starts_with("digest: ")).map(str::to_owned);
    assert!(digest(&drawn.out).is_some());
    assert_eq!(digest(&place.replay(&["seed", "3.toml"]).ends_with(0).out), digest(&drawn.out));
    place.replay(&["verify", "3.trace"]).ends_with(0);
}

#[test]
fn the_job_queue_is_simulated() {
    let place = Place::new("jobs");
    place.replay(&["run", "--scenario", "jobs", "--seeds", "20", "--report", "report.json"]).ends_with(0);
    let report = place.json("report.json");
    let ticks = report["probes"]["tick_proposed"].as_u64();
    assert!(ticks > Some(0), "leases end by themselves: {report}");
}

#[test]
fn a_schedule_of_the_bank_is_held_to_its_plan() {
    let place = Place::new("bank_plan");
    place.replay(&["seed", "3", "--scenario", "bank", "--schedule", "3.toml"]).ends_with(0);
    let schedule = String::from_utf8(place.read("3.toml")).expect("text");
    let accounts = schedule.lines().find(|line| line.starts_with("accounts = ")).expect("how many there are");
    place.write("none.toml", schedule.replace(accounts, "accounts = 0"));
    let ran = place.replay(&["seed", "none.toml"]).ends_with(2);
    assert!(ran.err.contains("workload.each.accounts must be positive"), "{}", ran.err);
}

#[test]
fn a_schedule_with_readers_of_an_application_that_answers_no_queries_is_refused() {
    let place = Place::new("no_queries");
    place.example("simulated_counter", &["seed", "3", "--schedule", "3.toml"]).ends_with(0);
    let schedule = String::from_utf8(place.read("3.toml")).expect("text");
    let readers = "[workload.readers]\ncount = 1\nqueries_max = 1\n\n[workload.readers.each]\nqueries = 1\nstale_ppm = 0\n\
                   think_ns_max = 0\n";
    place.write("readers.toml", format!("{schedule}\n{readers}"));
    let ran = place.example("simulated_counter", &["seed", "readers.toml"]).ends_with(2);
    assert!(ran.err.contains("the application answers no queries: take workload.readers out"), "{}", ran.err);
}
