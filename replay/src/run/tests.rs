//! Failures of which not everything can be told.

use chronon_sim::{
    campaign::run_campaign,
    trace::TraceMode,
    workload::{BankPlan, BankWorkload},
};
use serde::{Deserialize, Serialize};
use std::sync::atomic::AtomicBool;

use super::*;
use crate::{Invariant, Plan, StateOf, Stream, Turn, Workload, choice::Choice};

/// The bank, with a plan that may be larger than TOML's integers, and a promise that it does not keep.
#[derive(Clone)]
struct Salted {
    /// Whether nothing can be drawn at all.
    is_dry: bool,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct SaltedPlan {
    salt: u64,
    bank: BankPlan,
}

impl Plan for SaltedPlan {
    fn calls(&self) -> u64 {
        self.bank.calls()
    }

    fn think_ns_max(&self) -> u64 {
        self.bank.think_ns_max()
    }
}

impl Workload for Salted {
    type Application = <BankWorkload as Workload>::Application;
    type Plan = SaltedPlan;
    type Memory = <BankWorkload as Workload>::Memory;

    fn application(&self) -> Self::Application {
        BankWorkload.application()
    }

    fn plan(&self, random: &mut Stream, calls: u64) -> SaltedPlan {
        assert!(!self.is_dry, "nothing can be drawn");
        SaltedPlan { salt: u64::MAX, bank: BankWorkload.plan(random, calls) }
    }

    fn ask(&self, memory: &mut Self::Memory, turn: Turn<'_, SaltedPlan>, request: &mut Vec<u8>) {
        let Turn { plan, client, call, random } = turn;
        BankWorkload.ask(memory, Turn { plan: &plan.bank, client, call, random }, request);
    }

    fn digest(&self, state: &StateOf<Self>) -> chronon::digest::SetDigest {
        BankWorkload.digest(state)
    }

    fn invariants(&self) -> Vec<Invariant<Self>> {
        vec![Invariant { name: "nothing is done", holds: |_, _| Err("something was done".to_owned()) }]
    }
}

/// What is said of the first seed, which fails.
fn told(test: &str, is_dry: bool) -> (Vec<FailureReport>, String) {
    let program = Program::new("salted", "1").cluster_as("salted", "it fails", Salted { is_dry });
    let subject = program.default_subject().expect("it has one");
    let selection = Selection { subject, choice: Choice::default() };
    let campaign = Campaign { start: 0, seeds: 1, jobs: 1, failures_max: 1, recheck_every: 0 };
    let run = |seed| subject.run(seed, &selection.choice, TraceMode::Digest);
    let report = run_campaign(&campaign, &run, &AtomicBool::new(false), |_, _| {});
    let traces = std::env::temp_dir().join(format!("chronon-{test}-{}", std::process::id()));
    let (reports, texts) = failures(&program, &selection, &report, &traces);
    if traces.exists() {
        std::fs::remove_dir_all(&traces).expect("a folder of the test's own");
    }
    (reports, texts.concat())
}

#[test]
fn a_failure_whose_schedule_toml_cannot_hold_is_shown_with_all_else() {
    let (reports, text) = told("salted", false);
    assert!(text.starts_with("SAFETY: ") && text.contains("something was done"), "{text}");
    for part in
        ["\nreplay     salted seed 0", "\nlast transitions", "\n       it cannot be written to a file: TOML lacks"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let trace = reports[0].trace.as_deref().expect("its trace is kept");
    assert!(text.contains(&format!("\ntrace      {trace}")), "{text}");
}

#[test]
fn a_failure_whose_schedule_cannot_be_drawn_is_shown_with_all_else() {
    let (reports, text) = told("dry", true);
    assert!(text.starts_with("CRASH: the simulator panicked at replay/src/run/tests.rs:"), "{text}");
    for part in [
        "\nreplay     salted seed 0",
        "\nschedule   none: the seed cannot be drawn, for the simulator panicked at replay/src/run/tests.rs:",
        "\ntrace      none: the simulator itself panicked",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(reports[0].trace, None);
}
