//! `diff`: the first event in which two traces differ.

use std::path::PathBuf;

use chronon_sim::trace::{Entry, Trace, TraceHeader, first_difference};
use clap::Args;

use crate::{
    file,
    number::counted,
    output::{Status, Trouble, say},
    verify::{OTHERWISE, whole},
};

/// How many shared records are shown before the first that differs.
const CONTEXT: usize = 5;

/// Show the first event in which two traces differ
///
/// What the traces say of themselves is compared too, and told, and is no difference of the runs.
#[derive(Args)]
pub(crate) struct Arguments {
    /// A trace
    #[arg(value_name = "A")]
    left: PathBuf,
    /// Another
    #[arg(value_name = "B")]
    right: PathBuf,
}

pub(crate) fn main(arguments: &Arguments) -> Result<Status, Trouble> {
    let read = |path| file::read(path, &file::TRACE, OTHERWISE);
    let (left, right) = (read(&arguments.left)?, read(&arguments.right)?);
    let (left, right) = (whole(&arguments.left, &left)?, whole(&arguments.right, &right)?);
    let headers = header_differences(left.header(), right.header());
    if !headers.is_empty() {
        say(&format!("the traces are of different runs: {}", headers.join("; ")))?;
    }
    let Some(difference) = first_difference(&left, &right).expect("both were read to their ends") else {
        say(&format!("the traces hold the same {}", counted(left.record_bytes().len() as u64, "byte")))?;
        return Ok(Status::Clean);
    };
    let shared = before(&left, difference.offset);
    if !shared.is_empty() {
        say(&format!("the last that they share:\n{}", shared.join("\n")))?;
    }
    say(&difference.to_string())?;
    let (left, right) = (arguments.left.display(), arguments.right.display());
    say(&format!("left is {left}, right is {right}; byte {} after the header", difference.offset))?;
    Ok(Status::Found)
}

/// What the headers say otherwise.
fn header_differences(left: &TraceHeader, right: &TraceHeader) -> Vec<String> {
    let mut differences = Vec::new();
    if left.scenario != right.scenario {
        differences.push(format!("scenario {} and {}", left.scenario, right.scenario));
    }
    if left.seed != right.seed {
        differences.push(format!("seed {} and {}", left.seed, right.seed));
    }
    if left.code_version != right.code_version {
        differences.push(format!("build {} and {}", left.code_version, right.code_version));
    }
    if left.schedule != right.schedule && left.seed == right.seed {
        let line = left.schedule.lines().zip(right.schedule.lines()).take_while(|(a, b)| a == b).count() + 1;
        differences.push(format!("schedules that differ from line {line} on"));
    }
    differences
}

/// The last records before `offset`.
fn before(trace: &Trace<'_>, offset: u64) -> Vec<String> {
    let entries: Vec<Entry<'_>> =
        trace.records().map_while(Result::ok).take_while(|entry| entry.offset < offset).collect();
    entries[entries.len().saturating_sub(CONTEXT)..].iter().map(ToString::to_string).collect()
}
