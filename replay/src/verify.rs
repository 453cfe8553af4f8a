//! `verify`: does this build do again what a trace says?

use std::path::{Path, PathBuf};

use chronon_sim::{
    campaign,
    trace::{Trace, TraceError, TraceMode, first_difference},
};
use clap::Args;

use crate::{
    choice::Choice,
    file,
    number::{counted, hex},
    output::{Status, Trouble, say},
    program::Program,
};

/// Run a trace's seed again and compare it byte for byte
///
/// The trace holds its seed and its schedule. If this build does something else, the first event that differs is shown: with
/// the same sources that is nondeterminism, and a failure. A trace of other sources may truthfully differ. A damaged one is
/// neither: its checksums tell.
#[derive(Args)]
pub(crate) struct Arguments {
    /// A trace that `seed --trace` or a failed campaign wrote
    #[arg(value_name = "TRACE")]
    trace: PathBuf,
}

/// What to do instead of giving something that is no whole trace.
pub(crate) const OTHERWISE: &str = "name a trace, which `seed SEED --trace FILE` writes";

pub(crate) fn main(program: &Program, arguments: &Arguments) -> Result<Status, Trouble> {
    let path = arguments.trace.display();
    let bytes = file::read(&arguments.trace, &file::TRACE, OTHERWISE)?;
    let trace = whole(&arguments.trace, &bytes)?;
    let header = trace.header();
    let subject = program.subject_of(&header.scenario)?;
    let run = || match header.schedule.as_str() {
        "" => Ok(subject.run(header.seed, &Choice::default(), TraceMode::Keep)),
        schedule => subject.run_schedule(schedule, TraceMode::Keep),
    };
    let is_ours = header.code_version == program.code_version;
    let wrong = |why: String| {
        let whose = if is_ours { "" } else { ", and was written by another build" };
        Trouble::Usage(format!(
            "{path} holds a schedule that cannot be run{whose}: {}; write it anew from its seed",
            why.trim_end()
        ))
    };
    let outcome = match campaign::caught(run) {
        Ok(outcome) => outcome.map_err(wrong)?,
        Err(panic) => return Err(wrong(format!("the simulator panicked at {}: {}", panic.place, panic.message))),
    };
    let Some(again) = outcome.trace else {
        return Err(Trouble::Usage(format!("scenario {} keeps no trace; let it, to compare", header.scenario)));
    };
    let again = Trace::parse(&again).expect("a world writes traces");
    let difference = first_difference(&trace, &again).expect("both were read to their ends");
    match difference {
        None => {
            let note = if is_ours { "" } else { " (another build wrote it)" };
            let size = counted(trace.record_bytes().len() as u64, "byte");
            say(&format!("{path}: {size} are the same again{note}\ndigest: {}", hex(&trace.digest())))?;
            Ok(Status::Clean)
        }
        Some(difference) if is_ours => {
            say(&format!("NONDETERMINISM: seed {} is not the same again\n{difference}", header.seed))?;
            say(&format!("left is {path}, right is this run; byte {} after the header", difference.offset))?;
            Ok(Status::Found)
        }
        Some(difference) => {
            say(&format!("{path} differs from this run, as traces of two builds may:\n{difference}"))?;
            Err(Trouble::Usage(format!(
                "{path} was written by another build (sources {}; this one is {}); verify it with that build, or write it \
                 anew with `{} seed {} --scenario {} --trace FILE`",
                header.code_version, program.code_version, program.command, header.seed, header.scenario
            )))
        }
    }
}

/// Reads a trace to its end, so that one that is damaged, or a part of one, is noticed before it is run.
pub(crate) fn whole<'a>(path: &Path, bytes: &'a [u8]) -> Result<Trace<'a>, Trouble> {
    let trace =
        Trace::parse(bytes).and_then(|trace| trace.records().try_for_each(|entry| entry.map(drop)).map(|()| trace));
    trace.map_err(|error| {
        let sentence = format!("{}: {error}", path.display());
        match error {
            TraceError::Foreign | TraceError::Version { .. } => Trouble::Usage(sentence),
            // It was whole once: whoever names it has done nothing wrong.
            TraceError::Truncated { .. } | TraceError::Damaged { .. } | TraceError::Malformed { .. } => {
                Trouble::Infrastructure(sentence)
            }
        }
    })
}
