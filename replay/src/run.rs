//! `run`: a campaign of seeds on all cores.

use std::{collections::BTreeSet, num::NonZero, path::PathBuf, thread, time::Duration};

use chronon_sim::{
    campaign::{self, Campaign, Report, SeedFailure},
    schedule::SEED_MAX,
    simulation::Particular,
};
use clap::Args;

use crate::{
    choice::{Flags, Selection},
    conduct::{Record, conduct},
    failure::Screen,
    file,
    number::{counted, grouped, parse_duration, parse_positive, parse_seed},
    output::{Status, Trouble, remark, say},
    program::Program,
    progress::Progress,
    report::{Circumstances, Ending, FailureReport, missing, summary},
};

/// How many seeds are run if nothing is said, and how many make a campaign that must take every rare path.
const SEEDS: u64 = 1_000;

/// Each seed that is divisible by this is run twice and compared with itself.
const RECHECK_EVERY: u64 = 128;

/// Run a campaign: many seeds, on all cores
///
/// Each seed is one simulation of a whole cluster under faults, watched by oracles. The campaign stops at the first seed
/// that fails, shows what happened, and writes its trace. What it reports does not depend on the number of threads; every
/// 128th seed is run twice and must do the same.
///
/// A complete campaign of 1,000 seeds or more (with neither --replicas nor --faults) fails if it never took some rare path
/// that the scenario is there to take: what is never taken is not tested.
#[derive(Args)]
pub(crate) struct Arguments {
    /// How many seeds [default: 1000, or as many as there is time for with --for]
    #[arg(long, value_name = "N", value_parser = parse_positive, allow_negative_numbers = true)]
    seeds: Option<u64>,
    /// The first seed
    #[arg(long, value_name = "S", value_parser = parse_seed, default_value = "0", allow_negative_numbers = true)]
    start: u64,
    #[command(flatten)]
    flags: Flags,
    /// How many threads [default: one for each core]
    #[arg(long, value_name = "J", value_parser = clap::value_parser!(u32).range(1..=4096), allow_negative_numbers = true)]
    jobs: Option<u32>,
    /// Stop after this long, as in 90s, 5m or 1h30m: a campaign that was to be that long is complete then
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Write a report to this file, as JSON; it is whole at any time, with the failures so far, also after Ctrl-C, which ends a
    /// campaign early; a second Ctrl-C does not wait for the seeds at hand, and names them
    #[arg(long, value_name = "FILE.json")]
    report: Option<PathBuf>,
    /// Stop at the N-th failed seed and not at the first; at none if N is left out
    #[arg(long, value_name = "N", value_parser = parse_positive, num_args = 0..=1, default_value = "1",
          default_missing_value = "18446744073709551615")]
    keep_going: u64,
    /// The folder for the traces of failures, the first of each kind
    #[arg(long, value_name = "DIR", default_value = ".replay")]
    traces: PathBuf,
}

pub(crate) fn main(program: &Program, arguments: &Arguments) -> Result<Status, Trouble> {
    let selection = arguments.flags.select(program)?;
    let available = SEED_MAX - arguments.start + 1;
    let wanted = arguments.seeds.or(arguments.duration.is_none().then_some(SEEDS));
    if let Some(seeds) = wanted.filter(|seeds| *seeds > available) {
        let why = format!("seeds end at {SEED_MAX}: from {} on there are {}", arguments.start, grouped(available));
        return Err(Trouble::Usage(format!(
            "{} are too many; {why}; ask for so many with --seeds",
            counted(seeds, "seed")
        )));
    }
    if arguments.traces.exists() && !arguments.traces.is_dir() {
        // Known now and not when there is a trace to keep.
        let path = arguments.traces.display();
        return Err(Trouble::Usage(format!("{path} is no folder; name one with --traces, or one that can be made")));
    }
    let jobs = arguments.jobs.unwrap_or_else(cores);
    let at = Circumstances {
        scenario: selection.subject.name().to_owned(),
        replicas: selection.choice.replicas,
        faults: selection.choice.faults.clone(),
        jobs,
        ending: Ending::Running,
        cpu_ns: 0,
        wall_ns: 0,
    };
    let mut record = Record { program, path: arguments.report.as_deref(), at };
    // Before the first seed: so that a report which cannot be written is known now, and that an older one is gone.
    record.write(&Report::new(arguments.start), Vec::new())?;

    let campaign = Campaign {
        start: arguments.start,
        seeds: wanted.unwrap_or(available),
        jobs,
        failures_max: arguments.keep_going,
        recheck_every: RECHECK_EVERY,
    };
    let progress = Progress::new(wanted, arguments.duration);
    let report = conduct(&campaign, &selection, progress, arguments.duration, &mut record);

    let (failures, mut texts) = failures(program, &selection, &report, &arguments.traces);
    texts.push(summary(&report, &record.at));
    // The report first: whoever reads the screen may be gone by now, and what was found must not go with them. And if it cannot
    // be written, the screen is all that is left.
    let written = record.write(&report, failures);
    let said = texts.iter().try_for_each(|text| say(text));
    let status = verdict(&selection, &report, record.at.ending);
    match (status, written.and(said)) {
        (Ok(Status::Found), Err(trouble)) => {
            // What was found outweighs what the machine did not do.
            remark(&format!("{}: {trouble}", program.name));
            Ok(Status::Found)
        }
        (status, outcome) => outcome.and(status),
    }
}

/// What to report and what to say of the failures: the first of all on one screen, the first of each other kind in a line. Writes
/// the traces of those.
fn failures(
    program: &Program,
    selection: &Selection<'_>,
    report: &Report,
    traces: &std::path::Path,
) -> (Vec<FailureReport>, Vec<String>) {
    let (mut seen, mut reports, mut texts) = (BTreeSet::new(), Vec::new(), Vec::new());
    for found in &report.failures {
        let mut found = found.clone();
        let is_first = seen.insert(found.failure.fingerprint());
        let mut path = None;
        if is_first {
            let (kept, again, particulars) = keep_trace(program, selection, &mut found, traces);
            let place = match &kept {
                Ok(path) => path.display().to_string(),
                Err(why) => why.clone(),
            };
            let trace = again.as_deref();
            let screen = Screen { program, selection, found: &found, trace, particulars: &particulars, place: &place };
            if reports.is_empty() {
                texts.push(format!("{}\n", screen.text()));
            } else {
                texts.push(format!("also: {}, in seed {}; trace {place}", found.failure.violation, found.seed));
            }
            path = kept.ok().map(|path| path.display().to_string());
        }
        reports.push(FailureReport::of(program, selection, &found, path));
    }
    if reports.len() > 1 {
        let kinds = seen.len() as u64;
        texts.push(format!(
            "{} failed, in {}\n",
            counted(reports.len() as u64, "seed"),
            counted(kinds, "different way")
        ));
    }
    (reports, texts)
}

/// Runs a failed seed again with its trace kept, and writes that. A seed that does something else this time has failed
/// otherwise than it seemed.
fn keep_trace(
    program: &Program,
    selection: &Selection<'_>,
    found: &mut SeedFailure,
    folder: &std::path::Path,
) -> (Result<PathBuf, String>, Option<Vec<u8>>, Vec<Particular>) {
    let again = campaign::caught(|| program.run_kept(selection.subject, &selection.choice, found.seed));
    let Ok((outcome, trace)) = again else {
        return (Err("none: the simulator itself panicked".to_owned()), None, Vec::new());
    };
    if outcome.digest != found.digest {
        let first = chronon_sim::simulation::Outcome { digest: found.digest, ..outcome.clone() };
        found.failure = campaign::differs(&first, &outcome);
    }
    let Some(trace) = trace else {
        return (Err("none: the scenario keeps no trace".to_owned()), None, outcome.particulars);
    };
    let name = format!("{}-{}-{}.trace", selection.subject.name(), found.seed, found.failure.fingerprint());
    let path = folder.join(name);
    let written = file::make_folder(folder).and_then(|()| file::write_whole(&path, &trace));
    (written.map(|()| path).map_err(|trouble| format!("none: {trouble}")), Some(trace), outcome.particulars)
}

/// What the campaign comes to. A failure outweighs an interruption.
fn verdict(selection: &Selection<'_>, report: &Report, ending: Ending) -> Result<Status, Trouble> {
    if report.seeds_failed > 0 {
        return Ok(Status::Found);
    }
    if ending == Ending::Interrupted {
        return Ok(Status::Stopped);
    }
    let expected: Vec<&str> = missing(report).into_iter().filter(|probe| selection.subject.expects(probe)).collect();
    if report.seeds_run < SEEDS || !selection.choice.is_free() || expected.is_empty() {
        return Ok(Status::Clean);
    }
    say(&format!(
        "\nFAILED: {} never took {}: {}.\nWhat is never taken is not tested: make the scenario reach it, or take the probe out.",
        counted(report.seeds_run, "seed"),
        counted(expected.len() as u64, "rare path"),
        expected.join(", ")
    ))?;
    Ok(Status::Found)
}

fn cores() -> u32 {
    thread::available_parallelism().ok().and_then(|cores| u32::try_from(NonZero::get(cores)).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests;
