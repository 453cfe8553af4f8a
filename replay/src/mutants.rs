//! `mutants`: are the planted bugs found?
//!
//! A mutant is a patch with a story. Each is applied to a scratch copy of the workspace, which is built, and its `run` is
//! given seeds until one fails. A seed that fails in this build too has found something else, and does not count.

mod patch;
mod scratch;

use std::time::Duration;

use chronon_sim::trace::TraceMode;
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    choice::Choice,
    file,
    number::{grouped, parse_duration},
    output::{Status, Trouble, remark, say, say_json},
    program::Program,
    tell::shortened,
};
use patch::Patch;
use scratch::Scratch;

/// Look for each planted bug, and say how many seeds and CPU-seconds it took
///
/// The bugs are the patches `seeds/mutants/NN-slug.patch`. Each begins with its story, which may name the scenario that finds
/// it on a line `Scenario: NAME`. The scratch copy and its build lie under `target/mutants`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Look for this one alone: its slug, its number or both
    #[arg(long, value_name = "SLUG")]
    only: Option<String>,
    /// How long to look for each, on all cores
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    budget: Duration,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What came of one mutant.
#[derive(Serialize)]
struct Hunt {
    number: String,
    slug: String,
    scenario: String,
    found: bool,
    /// How many seeds were run, the one that found it included.
    seeds: u64,
    /// Rounded up.
    cpu_seconds: u64,
    cpu_ns: u64,
    /// The seed that found it.
    seed: Option<u64>,
    verdict: Option<String>,
    oracle: Option<String>,
    violation: Option<String>,
    /// Why it could not be looked for, or why what was found does not count.
    trouble: Option<String>,
}

pub(crate) fn main(program: &Program, arguments: &Arguments) -> Result<Status, Trouble> {
    let Some((package, name)) = program.target else {
        let why = "this program does not say what it is built from; say it with Program::built_from";
        return Err(Trouble::Usage(why.to_owned()));
    };
    let root = file::upwards("seeds/mutants")?.ok_or_else(|| {
        Trouble::Usage("there is no folder seeds/mutants here or above; run this in the workspace".to_owned())
    })?;
    let patches = patch::select(&root.join("seeds/mutants"), arguments.only.as_deref())?;
    let scratch = Scratch::new(&root, package, name)?;
    let mut hunts = Vec::new();
    for patch in &patches {
        remark(&format!("{}-{}: applied, built, looked for", patch.number, patch.slug));
        let hunt = hunt(program, &scratch, patch, arguments.budget);
        if !arguments.json {
            if hunts.is_empty() {
                say(&format!("{:<44} {:>9} {:>9}  found by", "mutant", "seeds", "CPU-s"))?;
            }
            say(&line(&hunt))?;
        }
        hunts.push(hunt);
    }
    let found = hunts.iter().filter(|hunt| hunt.found).count();
    let is_broken = |hunt: &Hunt| !hunt.found && hunt.seeds == 0;
    let status = if hunts.iter().any(is_broken) {
        Status::Infrastructure
    } else if found < hunts.len() {
        Status::Found
    } else {
        Status::Clean
    };
    if arguments.json {
        say_json(&json!({ "mutants": hunts, "found": found, "total": hunts.len() }))?;
    } else {
        say(&format!("{found} of {} found", hunts.len()))?;
    }
    Ok(status)
}

fn hunt(program: &Program, scratch: &Scratch, patch: &Patch, budget: Duration) -> Hunt {
    let mut hunt = Hunt {
        number: patch.number.clone(),
        slug: patch.slug.clone(),
        scenario: patch.scenario.clone().unwrap_or_default(),
        found: false,
        seeds: 0,
        cpu_seconds: 0,
        cpu_ns: 0,
        seed: None,
        verdict: None,
        oracle: None,
        violation: None,
        trouble: None,
    };
    if let Err(trouble) = look(program, scratch, patch, budget, &mut hunt) {
        hunt.trouble = Some(trouble.to_string());
    }
    hunt
}

fn look(program: &Program, scratch: &Scratch, patch: &Patch, budget: Duration, hunt: &mut Hunt) -> Result<(), Trouble> {
    let subject = match &patch.scenario {
        Some(name) => program.subject_of(name)?,
        None => program.default_subject()?,
    };
    subject.name().clone_into(&mut hunt.scenario);
    scratch.apply(&patch.path)?;
    scratch.build()?;
    let report = scratch.run(subject.name(), budget)?;
    let number = |name: &str| report[name].as_u64().unwrap_or(0);
    (hunt.seeds, hunt.cpu_ns) = (number("seeds_run"), number("cpu_ns"));
    hunt.cpu_seconds = hunt.cpu_ns.div_ceil(1_000_000_000);
    let failure = &report["failures"][0];
    let Some(seed) = failure["seed"].as_u64() else { return Ok(()) };
    let text = |name: &str| failure[name].as_str().map(str::to_owned);
    (hunt.seed, hunt.verdict) = (Some(seed), text("verdict"));
    (hunt.oracle, hunt.violation) = (text("oracle"), text("violation"));
    if let Some(failure) = subject.run(seed, &Choice::default(), TraceMode::Digest).failure {
        let why = format!("seed {seed} fails without the patch too: {}", failure.violation);
        return Err(Trouble::Usage(why));
    }
    hunt.found = true;
    Ok(())
}

fn line(hunt: &Hunt) -> String {
    let cpu = format!("{}.{}", hunt.cpu_ns / 1_000_000_000, hunt.cpu_ns / 100_000_000 % 10);
    let name = format!("{}-{}", hunt.number, hunt.slug);
    let what = match (&hunt.trouble, &hunt.oracle, &hunt.violation) {
        (Some(trouble), ..) => format!("NOT FOUND: {trouble}"),
        (None, Some(oracle), Some(violation)) => format!("{oracle}: {violation}"),
        _ => "NOT FOUND".to_owned(),
    };
    format!("{name:<44} {:>9} {cpu:>9}  {}", grouped(hunt.seeds), shortened(&what.replace('\n', " | "), 160))
}

/// A report, as far as it can be read.
fn parse_report(bytes: &[u8]) -> Result<Value, Trouble> {
    serde_json::from_slice(bytes)
        .map_err(|error| Trouble::Infrastructure(format!("the mutant's report cannot be read: {error}")))
}
