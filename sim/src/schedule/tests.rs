//! What a schedule may not say, and what cannot be written.

use chronon::digest::SetDigest;

use super::*;
use crate::{
    nemesis::{Options, draw, draw_for},
    scenario::SCENARIOS,
    workload::{BankPlan, BankWorkload, KvWorkload, StateOf, Turn},
};

/// The key-value store, of which nobody has anything to ask.
#[derive(Clone)]
struct Mute;

impl Workload for Mute {
    type Application = <KvWorkload as Workload>::Application;
    type Plan = KvConfig;
    type Memory = ();

    fn application(&self) -> Self::Application {
        KvWorkload.application()
    }

    fn plan(&self, random: &mut Stream, calls: u64) -> KvConfig {
        KvWorkload.plan(random, calls)
    }

    fn ask(&self, (): &mut (), _: Turn<'_, KvConfig>, _: &mut Vec<u8>) {}

    fn digest(&self, _: &StateOf<Self>) -> SetDigest {
        SetDigest::new()
    }
}

fn with(change: impl FnOnce(&mut WorkloadPlan)) -> Schedule {
    let mut schedule = draw(1, &Options::new(&SCENARIOS[0]));
    change(&mut schedule.workload);
    schedule
}

fn readers(count: u8, queries: u64) -> Option<ReadersPlan> {
    Some(ReadersPlan { count, queries_max: 256, each: ReaderConfig { queries, stale_ppm: 0, think_ns_max: 0 } })
}

#[test]
fn a_healed_cluster_is_asked_once_by_each_client_at_least() {
    let check = |healed_calls| with(|plan| plan.healed_calls = healed_calls).check();
    assert_eq!((check(None), check(Some(1)), check(Some(u64::MAX))), (Ok(()), Ok(()), Ok(())));
    let why = "workload.healed_calls must be positive: leave it out for all calls";
    assert_eq!(check(Some(0)), Err(ScheduleError::Invalid(why.to_owned())));
    // A schedule of before there was such a thing is the same run as ever.
    let all = with(|plan| plan.healed_calls = None);
    let written = all.to_toml().expect("a drawn schedule can be written");
    assert!(!written.contains("healed_calls"));
    assert_eq!(Schedule::from_toml(&written), Ok(all));
}

#[test]
fn readers_and_operators_have_bounds_as_clients_have() {
    let check = |change: fn(&mut WorkloadPlan)| with(change).check().map_err(|error| error.to_string());
    let wrong = |rule: &str| Err(format!("a schedule that cannot be run: {rule}"));
    assert_eq!(check(|plan| plan.readers = readers(4, 250_000)), Ok(()));
    assert_eq!(check(|plan| plan.readers = readers(4, 250_001)), wrong(QUERIES_RULE));
    assert_eq!(check(|plan| plan.readers = readers(255, u64::MAX)), wrong(QUERIES_RULE));
    assert_eq!(check(|plan| plan.operator = Some(OperatorPlan { looks: 1_000_000, pause_ns: 1 })), Ok(()));
    assert_eq!(
        check(|plan| plan.operator = Some(OperatorPlan { looks: 1_000_001, pause_ns: 1 })),
        wrong(OPERATOR_RULE)
    );
}

#[test]
fn a_replica_takes_on_no_more_at_once_than_one_in_production() {
    let check = |change: fn(&mut Schedule)| {
        let mut schedule = draw(1, &Options::new(&SCENARIOS[0]));
        change(&mut schedule);
        schedule.check().map_err(|error| error.to_string())
    };
    let wrong = |rule: &str| Err(format!("a schedule that cannot be run: {rule}"));
    assert_eq!(
        check(|schedule| (schedule.cluster.requests_max, schedule.cluster.clients_max) = (65_536, 65_536)),
        Ok(())
    );
    let requests = wrong("cluster.requests_max must be 1 to 65536");
    assert_eq!(check(|schedule| schedule.cluster.requests_max = u32::MAX), requests);
    assert_eq!(check(|schedule| schedule.cluster.requests_max = 0), requests);
    let sessions = wrong("cluster.clients_max must be 1 to 65536");
    assert_eq!(check(|schedule| schedule.cluster.clients_max = 65_537), sessions);
    let queries =
        |queries_max| with(|plan| plan.readers = readers(1, 1).map(|it| ReadersPlan { queries_max, ..it })).check();
    assert_eq!((queries(65_536), queries(65_537).is_err()), (Ok(()), true));
}

#[test]
fn nobody_reads_of_an_application_that_answers_no_queries() {
    let schedule = with(|plan| plan.readers = readers(1, 10));
    assert_eq!(schedule.check_for(&KvWorkload), Ok(()));
    let why = "the application answers no queries: take workload.readers out";
    assert_eq!(schedule.check_for(&Mute), Err(ScheduleError::Invalid(why.to_owned())));
    assert_eq!(with(|plan| plan.readers = None).check_for(&Mute), Ok(()));
}

#[test]
fn what_toml_lacks_is_an_error_that_says_so() {
    let why = with(|plan| plan.each.calls = u64::MAX).to_toml().expect_err("TOML's integers have a sign").to_string();
    assert!(why.starts_with("TOML lacks a value of this schedule (") && why.contains("u64"), "{why}");
}

#[test]
fn a_schedule_of_before_there_were_words_and_little_patience_is_read_as_without() {
    let new = ["wordy_ppm", "large_ppm", "attempts", "total_ns"];
    let mut drawn = (0..200).map(|seed| draw_for(&BankWorkload, seed, &Options::new(&SCENARIOS[0])));
    let has_all = |text: &String| new.iter().all(|name| text.contains(&format!("\n{name} = ")));
    let text = drawn.by_ref().map(|schedule| schedule.to_toml().unwrap()).find(has_all).expect("some have all of it");
    let old: Vec<&str> = text.lines().filter(|line| !new.iter().any(|name| line.starts_with(name))).collect();
    let read: Schedule<BankPlan> = Schedule::from_toml(&old.join("\n")).unwrap();
    let services = read.workload.services.expect("it has some");
    assert_eq!((services.wordy_ppm, services.large_ppm), (0, 0));
    assert_eq!((read.workload.each.attempts, read.workload.each.total_ns), (None, None));
    let mut whole: Schedule<BankPlan> = Schedule::from_toml(&text).unwrap();
    (whole.workload.each.attempts, whole.workload.each.total_ns) = (None, None);
    whole.workload.services = Some(services);
    assert_eq!(read, whole);
}
