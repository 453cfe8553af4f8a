//! `seed`: one seed, or an explicit schedule, told.

use std::path::{Path, PathBuf};

use chronon_sim::{
    campaign,
    schedule::toml_sentence,
    simulation::Outcome,
    trace::{Trace, TraceMode},
};
use clap::Args;
use serde_json::{Value, json};

use crate::{
    choice::{Flags, Selection},
    file,
    number::{counted, duration, grouped, hex, is_number, moment, parse_seed},
    output::{Status, Trouble, remark, say, say_json},
    program::Program,
    subject::Subject,
    tell::{Table, Told},
};

/// Run one seed, or a schedule from a file, and tell what happens
///
/// The table has a column for each replica: `│` it is up, `·` down, `‖` paused; `○` it comes up, `✕` it goes down, `●`
/// something befalls it. What is taken all the time is summed up. The digest is that of the trace: the same seed and code
/// have the same one, on any machine.
///
/// With --schedule the faults that the seed stands for are written as TOML. Edit them, and run the file instead of the seed.
#[derive(Args)]
pub(crate) struct Arguments {
    /// A seed, or a file that `seed SEED --schedule FILE.toml` wrote
    #[arg(value_name = "SEED|SCHEDULE.toml", allow_negative_numbers = true)]
    target: String,
    #[command(flatten)]
    flags: Flags,
    /// Write the trace to this file
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Write the schedule to this file, as TOML
    #[arg(long, value_name = "FILE.toml")]
    schedule: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A run that is over.
struct Ran<'a> {
    subject: &'a dyn Subject,
    /// What was run, as TOML, or why it cannot be written.
    schedule: Result<String, String>,
    /// How many faults it has.
    faults: u64,
    outcome: Outcome,
    trace: Option<Vec<u8>>,
}

pub(crate) fn main(program: &Program, arguments: &Arguments) -> Result<Status, Trouble> {
    if let Some(path) = &arguments.trace
        && arguments.schedule.as_ref() == Some(path)
    {
        let path = path.display();
        return Err(Trouble::Usage(format!("{path} cannot be both the trace and the schedule; name two files")));
    }
    let ran = if is_number(&arguments.target) {
        let seed = parse_seed(&arguments.target)
            .map_err(|why| Trouble::Usage(format!("seed {} is {why}", arguments.target)))?;
        run_seed(program, &arguments.flags.select(program)?, seed)?
    } else {
        run_file(program, arguments)?
    };
    if let Some(path) = &arguments.schedule {
        let schedule = ran.schedule.as_ref();
        let toml = schedule.map_err(|why| Trouble::Usage(format!("{} is not written: {why}", path.display())))?;
        file::write_whole(path, toml.as_bytes())?;
    }
    let told = match &ran.trace {
        Some(bytes) => Trace::parse(bytes)
            .and_then(|trace| Told::of(&trace, &ran.outcome.particulars))
            .expect("a world writes whole traces"),
        None => Told { columns: Vec::new(), transitions: Vec::new() },
    };
    match (&arguments.trace, &ran.trace) {
        (Some(path), Some(trace)) => file::write_whole(path, trace)?,
        (Some(_), None) => remark("no trace is written: the scenario keeps none"),
        (None, _) => {}
    }
    if arguments.json {
        say_json(&as_json(&ran, &told))?;
    } else {
        say(&as_text(&ran, &told))?;
    }
    Ok(if ran.outcome.failure.is_some() { Status::Found } else { Status::Clean })
}

fn run_seed<'a>(program: &Program, selection: &Selection<'a>, seed: u64) -> Result<Ran<'a>, Trouble> {
    let Selection { subject, choice } = selection;
    let (outcome, trace) =
        campaign::caught(|| program.run_kept(*subject, choice, seed)).map_err(|panic| simulator_panicked(&panic))?;
    let drawn = subject.draw(seed, choice);
    Ok(Ran { subject: *subject, schedule: drawn.toml, faults: drawn.lines.len() as u64, outcome, trace })
}

fn run_file<'a>(program: &'a Program, arguments: &Arguments) -> Result<Ran<'a>, Trouble> {
    let path = Path::new(&arguments.target);
    let otherwise = "name a seed, or a schedule that `seed SEED --schedule FILE.toml` wrote";
    let toml = file::read_text(path, &file::SCHEDULE, otherwise).map_err(|trouble| {
        match file::read(path, &file::TRACE, otherwise) {
            Ok(bytes) if Trace::unchecked(&bytes).is_ok() => {
                let path = path.display();
                Trouble::Usage(format!("{path} is a trace; run it again with `verify {path}`, or name a seed"))
            }
            _ => trouble,
        }
    })?;
    let wrong = |why: &str| {
        // What is wrong with one line reads on from the file's name.
        let joint = if why.starts_with("line ") { ',' } else { ':' };
        let mend = if why.ends_with('?') { " Mend" } else { "; mend" };
        let path = path.display();
        Trouble::Usage(format!("{path}{joint} {why}{mend} it, or write one anew with `seed SEED --schedule FILE.toml`"))
    };
    if toml.trim().is_empty() {
        return Err(wrong("it is empty"));
    }
    let table: toml::Table = toml.parse().map_err(|error| wrong(&toml_sentence(&toml, &error)))?;
    let name = table.get("scenario").and_then(toml::Value::as_str).ok_or_else(|| wrong("it names no `scenario`"))?;
    if !arguments.flags.is_empty() && arguments.flags.scenario() != Some(name) {
        let path = path.display();
        return Err(Trouble::Usage(format!(
            "{path} is of scenario {name} and explicit; edit it rather than give flags"
        )));
    }
    let subject =
        program.subject_of(name).map_err(|trouble| Trouble::Usage(format!("{}: {trouble}", path.display())))?;
    let faults = subject.tell_schedule(&toml).map_err(|why| wrong(&why))?.len() as u64;
    let run = campaign::caught(|| subject.run_schedule(&toml, TraceMode::Keep));
    let mut outcome = run.map_err(|panic| simulator_panicked(&panic))?.map_err(|why| wrong(&why))?;
    let trace = outcome.trace.take().map(|bytes| program.stamp(bytes, subject, outcome.seed, &toml));
    Ok(Ran { subject, schedule: Ok(toml), faults, outcome, trace })
}

fn simulator_panicked(panic: &campaign::Panic) -> Trouble {
    Trouble::Infrastructure(format!("the simulator itself panicked at {}: {}", panic.place, panic.message))
}

fn as_text(ran: &Ran<'_>, told: &Told) -> String {
    let Ran { subject, faults, outcome, .. } = ran;
    let table = Table::of(told);
    let replicas = match outcome.replicas {
        0 => String::new(),
        replicas => format!("{}, ", counted(replicas.into(), "replica")),
    };
    let mut lines = vec![
        format!("scenario {}, seed {}: {replicas}{}", subject.name(), outcome.seed, counted(*faults, "fault")),
        String::new(),
        table.head,
    ];
    lines.extend(table.lines);
    lines.push(String::new());
    lines.push(format!(
        "{} of virtual time, {}, {}, {} acknowledged, {}, {}, {}",
        duration(outcome.virtual_ns),
        counted(outcome.events, "event"),
        counted(outcome.commits, "commit"),
        counted(outcome.requests_acknowledged, "request"),
        counted(outcome.view_changes, "view change"),
        if outcome.crashes == 1 { "1 crash".to_owned() } else { format!("{} crashes", grouped(outcome.crashes)) },
        counted(outcome.restarts, "restart"),
    ));
    match &outcome.failure {
        None => lines.push("verdict: clean".to_owned()),
        Some(failure) => lines.push(format!(
            "verdict: {}: {}, found by {} ({}) at {} s, step {}; fingerprint {}",
            failure.verdict,
            failure.violation,
            failure.oracle,
            failure.place,
            moment(failure.at_ns),
            failure.step,
            failure.fingerprint()
        )),
    }
    lines.push(format!("digest: {}", hex(&outcome.digest)));
    lines.join("\n")
}

fn as_json(ran: &Ran<'_>, told: &Told) -> Value {
    let outcome = &ran.outcome;
    let failure = outcome.failure.as_ref().map(|failure| {
        json!({
            "verdict": failure.verdict.name(),
            "violation": failure.violation,
            "oracle": failure.oracle,
            "place": failure.place,
            "fingerprint": failure.fingerprint(),
            "at_ns": failure.at_ns,
            "step": failure.step,
        })
    });
    let probes: serde_json::Map<String, Value> =
        outcome.probes.iter().map(|(name, count)| ((*name).to_owned(), json!(count))).collect();
    json!({
        "scenario": ran.subject.name(),
        "seed": outcome.seed,
        "digest": hex(&outcome.digest),
        "failure": failure,
        "virtual_ns": outcome.virtual_ns,
        "events": outcome.events,
        "replicas": outcome.replicas,
        "commits": outcome.commits,
        "requests_acknowledged": outcome.requests_acknowledged,
        "view_changes": outcome.view_changes,
        "crashes": outcome.crashes,
        "restarts": outcome.restarts,
        "probes": probes,
        "schedule": ran.schedule.as_ref().ok(),
        "columns": told.columns,
        "transitions": told.transitions,
    })
}
