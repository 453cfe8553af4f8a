//! `list`: what there is to choose from.

use clap::Args;
use serde_json::json;

use crate::{
    number::counted,
    output::{Status, Trouble, say, say_json},
    program::Program,
    subject::Family,
};

/// Show the scenarios, the fault families and the probes
///
/// A scenario says what seeds draw from (`--scenario`). A fault family can be turned on and off (`--faults`). A probe is a
/// rare path that a process reports when it takes it: a campaign of 1,000 seeds or more that never took one has not tested
/// it, and fails.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn main(program: &Program, arguments: &Arguments) -> Result<Status, Trouble> {
    let families = unique(program.subjects().flat_map(|subject| subject.families()));
    let probes = unique(program.subjects().flat_map(|subject| subject.probes()));
    if arguments.json {
        let scenarios: Vec<_> =
            program.subjects().map(|subject| json!({ "name": subject.name(), "about": subject.about() })).collect();
        let faults: Vec<_> =
            families.iter().map(|Family { name, about }| json!({ "name": name, "about": about })).collect();
        say_json(&json!({ "scenarios": scenarios, "faults": faults, "probes": probes }))?;
        return Ok(Status::Clean);
    }
    let scenarios: Vec<(&str, &str)> = program.subjects().map(|subject| (subject.name(), subject.about())).collect();
    let families: Vec<(&str, &str)> = families.iter().map(|family| (family.name, family.about)).collect();
    let mut text = section("scenarios (--scenario NAME; the first is the default)", &scenarios);
    if !families.is_empty() {
        text.push_str(&section("\nfault families (--faults NAME,NAME; or all, none, no-NAME)", &families));
    }
    if !probes.is_empty() {
        text.push_str(&format!(
            "\n{}, the rare paths that campaigns must take\n",
            counted(probes.len() as u64, "probe")
        ));
        for probe in probes {
            text.push_str(&format!("  {probe}\n"));
        }
    }
    say(text.trim_end())?;
    Ok(Status::Clean)
}

fn section(title: &str, rows: &[(&str, &str)]) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let rows: String = rows.iter().map(|(name, about)| format!("  {name:<width$}  {about}\n")).collect();
    format!("{title}\n{rows}")
}

/// Each of them once, in the order in which they came.
fn unique<T: PartialEq>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut unique = Vec::new();
    for one in all {
        if !unique.contains(&one) {
            unique.push(one);
        }
    }
    unique
}
