//! The report of a campaign, for programs (JSON, integers only) and for people.
//!
//! Everything in it but the three times, the number of jobs and the memory follows from the seeds and the code.

use chronon_sim::campaign::{Report, SeedFailure};
use serde::Serialize;
use std::collections::BTreeMap;

use crate::{
    choice::Selection,
    failure::command,
    number::{counted, duration, grouped, hex, per_second_milli, rate},
    program::Program,
};

/// How a campaign ended, as reports say it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ending {
    /// It has not, or the program was killed before it could say otherwise.
    Running,
    /// Every seed was run.
    Complete,
    /// The time that was given is over.
    Time,
    /// As many seeds failed as it was to stop at.
    Failures,
    /// It was interrupted.
    Interrupted,
}

/// What a campaign was asked for and what it cost.
#[derive(Clone, Debug)]
pub(crate) struct Circumstances {
    pub(crate) scenario: String,
    pub(crate) replicas: Option<u8>,
    pub(crate) faults: Option<Vec<String>>,
    pub(crate) jobs: u32,
    pub(crate) ending: Ending,
    pub(crate) cpu_ns: u64,
    pub(crate) wall_ns: u64,
}

/// A failure, as the report has it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FailureReport {
    pub(crate) seed: u64,
    pub(crate) verdict: &'static str,
    pub(crate) violation: String,
    /// Who noticed.
    pub(crate) oracle: String,
    /// Where in the promise or in the code.
    pub(crate) place: String,
    pub(crate) fingerprint: String,
    pub(crate) digest: String,
    /// The file; none but for the first of its fingerprint.
    pub(crate) trace: Option<String>,
    /// What to type to see it again.
    pub(crate) command: String,
    pub(crate) at_ns: u64,
    pub(crate) step: u64,
}

impl FailureReport {
    /// What is known of a failed seed, and where its trace lies.
    pub(crate) fn of(program: &Program, selection: &Selection<'_>, found: &SeedFailure, trace: Option<String>) -> Self {
        let failure = &found.failure;
        Self {
            seed: found.seed,
            verdict: failure.verdict.name(),
            violation: failure.violation.clone(),
            oracle: failure.oracle.clone(),
            place: failure.place.clone(),
            fingerprint: failure.fingerprint(),
            digest: hex(&found.digest),
            trace,
            command: command(program, selection, found.seed),
            at_ns: failure.at_ns,
            step: failure.step,
        }
    }
}

/// A campaign, as programs read it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CampaignReport {
    scenario: String,
    replicas: Option<u8>,
    faults: Option<Vec<String>>,
    start: u64,
    seeds_run: u64,
    seeds_failed: u64,
    /// Whether it went as far as it was asked to.
    complete: bool,
    ending: Ending,
    failures: Vec<FailureReport>,
    virtual_ns: u64,
    cpu_ns: u64,
    wall_ns: u64,
    seeds_per_second: u64,
    seeds_per_cpu_second: u64,
    jobs: u32,
    peak_memory_bytes: Option<u64>,
    events: u64,
    commits: u64,
    commits_median: u64,
    requests_acknowledged: u64,
    view_changes: u64,
    crashes: u64,
    restarts: u64,
    seeds_with_crash: u64,
    seeds_with_view_change: u64,
    seeds_with_3_or_more: u64,
    probes: BTreeMap<&'static str, u64>,
    seeds_with_probe: BTreeMap<&'static str, u64>,
    probes_missing: Vec<&'static str>,
    digest: String,
    code_version: String,
    commit: Option<&'static str>,
}

impl CampaignReport {
    pub(crate) fn new(program: &Program, report: &Report, at: &Circumstances, failures: Vec<FailureReport>) -> Self {
        Self {
            scenario: at.scenario.clone(),
            replicas: at.replicas,
            faults: at.faults.clone(),
            start: report.start,
            seeds_run: report.seeds_run,
            seeds_failed: report.seeds_failed,
            complete: matches!(at.ending, Ending::Complete | Ending::Time),
            ending: at.ending,
            failures,
            virtual_ns: report.virtual_ns,
            cpu_ns: at.cpu_ns,
            wall_ns: at.wall_ns,
            seeds_per_second: per_second_milli(report.seeds_run, at.wall_ns) / 1_000,
            seeds_per_cpu_second: per_second_milli(report.seeds_run, at.cpu_ns) / 1_000,
            jobs: at.jobs,
            peak_memory_bytes: crate::measure::peak_memory_bytes(),
            events: report.events,
            commits: report.commits,
            commits_median: report.commits_median(),
            requests_acknowledged: report.requests_acknowledged,
            view_changes: report.view_changes,
            crashes: report.crashes,
            restarts: report.restarts,
            seeds_with_crash: report.seeds_with_crash,
            seeds_with_view_change: report.seeds_with_view_change,
            seeds_with_3_or_more: report.seeds_with_3_or_more,
            probes: report.probes.clone(),
            seeds_with_probe: report.seeds_with_probe.clone(),
            probes_missing: missing(report),
            digest: hex(&report.digest()),
            code_version: program.code_version.clone(),
            commit: program.commit,
        }
    }

    /// As JSON, with a line break at the end.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("a report has no map with keys that are no text");
        bytes.push(b'\n');
        bytes
    }
}

/// The probes that no seed took.
pub(crate) fn missing(report: &Report) -> Vec<&'static str> {
    report.probes.iter().filter(|(_, count)| **count == 0).map(|(name, _)| *name).collect()
}

/// Names with commas between, over as many lines as they need under a row of the summary.
fn wrapped(names: &[&str]) -> String {
    let (mut text, mut width) = (String::new(), 40);
    for (at, name) in names.iter().enumerate() {
        let comma = if at + 1 < names.len() { "," } else { "" };
        width += name.len() + 2;
        if width > 110 {
            text.push_str(&format!("\n{:<16}", ""));
            width = 16 + name.len() + 2;
        } else if at > 0 {
            text.push(' ');
        }
        text.push_str(name);
        text.push_str(comma);
    }
    text
}

/// The summary for people.
pub(crate) fn summary(report: &Report, at: &Circumstances) -> String {
    let failed = match report.seeds_failed {
        0 => "no failure".to_owned(),
        failed => format!("{} failed", grouped(failed)),
    };
    let ending = match at.ending {
        Ending::Interrupted => "; interrupted before the end",
        Ending::Time => "; the time is over",
        Ending::Failures => "; stopped there",
        Ending::Running | Ending::Complete => "",
    };
    let range = match report.seeds_run {
        0 => String::new(),
        1 => format!(" ({})", report.start),
        run => format!(" ({} to {})", report.start, report.start + (run - 1)),
    };
    let title = format!("scenario {}: {}{range}, {failed}{ending}", at.scenario, counted(report.seeds_run, "seed"));
    let missing = missing(report);
    let never = match (missing.len(), at.ending) {
        (0, _) => String::new(),
        // Hardly begun: what was not taken yet says nothing.
        (_, Ending::Failures) => format!("; {} not yet", missing.len()),
        _ => format!("; never taken: {}", wrapped(&missing)),
    };
    let taken = report.probes.len() - missing.len();
    let mut rows = vec![
        ("virtual time", duration(report.virtual_ns)),
        ("events", grouped(report.events)),
        ("commits", format!("{}, the median seed {}", grouped(report.commits), grouped(report.commits_median()))),
        ("requests", format!("{} acknowledged", grouped(report.requests_acknowledged))),
        (
            "view changes",
            format!(
                "{}, in {} of {} seeds with 3 replicas or more",
                grouped(report.view_changes),
                grouped(report.seeds_with_view_change),
                grouped(report.seeds_with_3_or_more)
            ),
        ),
        (
            "crashes",
            format!(
                "{}, in {} seeds; {}",
                grouped(report.crashes),
                grouped(report.seeds_with_crash),
                counted(report.restarts, "restart")
            ),
        ),
        ("probes", format!("{taken} of {} taken{never}", report.probes.len())),
        (
            "speed",
            format!(
                "{} seeds a second over {} on {}; {} a CPU-second",
                rate(per_second_milli(report.seeds_run, at.wall_ns)),
                duration(at.wall_ns),
                counted(at.jobs.into(), "thread"),
                rate(per_second_milli(report.seeds_run, at.cpu_ns))
            ),
        ),
        ("digest", hex(&report.digest())),
    ];
    // A protocol of one's own may know no views, and no checkpoints.
    let has_views = report.view_changes > 0 || report.seeds_with_3_or_more > 0;
    rows.retain(|(name, _)| has_views || *name != "view changes");
    let before_probes = rows.len() - 3;
    for (name, probe) in [("state syncs", "state_sync_installed"), ("checkpoints", "checkpoint_durable")] {
        if let (Some(sum), Some(seeds)) = (report.probes.get(probe), report.seeds_with_probe.get(probe)) {
            rows.insert(before_probes, (name, format!("{}, in {} seeds", grouped(*sum), grouped(*seeds))));
        }
    }
    // A clean campaign of it says nothing of what the others are for.
    if at.faults.as_ref().is_some_and(Vec::is_empty) {
        rows.insert(0, ("faults", "none is drawn".to_owned()));
    }
    let rows: Vec<String> = rows.iter().map(|(name, value)| format!("  {name:<13} {value}")).collect();
    format!("{title}\n{}", rows.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_campaign_without_faults_says_so() {
        let told = |faults: Option<&[&str]>| {
            let faults = faults.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
            let (scenario, ending) = ("swarm".to_owned(), Ending::Complete);
            let at = Circumstances { scenario, replicas: None, faults, jobs: 1, ending, cpu_ns: 1, wall_ns: 1 };
            summary(&Report::new(0), &at).contains("\n  faults        none is drawn\n")
        };
        assert_eq!([None, Some(&["kill"][..]), Some(&[])].map(told), [false, false, true]);
    }
}
