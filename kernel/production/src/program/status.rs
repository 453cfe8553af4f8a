//! `status`: how each replica of a cluster is.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use chronon_production::status::{self, AskError, State};
use serde_json::{Value, json};

use super::{
    number::{counted, grouped},
    output::{Status, Trouble, say, say_json},
};

/// Say how each replica of a cluster is
///
/// Asks all of them at once. The exit status is 0 if a majority is in one view, and 1 if not: then nothing commits. It is 2 if too few
/// addresses are given to tell. Below the table is who takes no part, who does not speak with whom, and which effects are not done, and why.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The replicas' addresses
    #[arg(long, value_name = "A,B,C", value_delimiter = ',', required = true)]
    addresses: Vec<SocketAddr>,

    /// How long to wait for each, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 2000)]
    patience_ms: u64,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

type Answer = Result<status::Status, AskError>;

pub(crate) fn main(arguments: &Arguments) -> Result<Status, Trouble> {
    let patience = Duration::from_millis(arguments.patience_ms.max(1));
    let answers = ask_all(&arguments.addresses, patience);
    let primary = primary(&answers);
    let serves = if primary.is_none() && is_unknown(&answers) { None } else { Some(primary.is_some()) };
    let notes = notes(&arguments.addresses, &answers);
    if arguments.json {
        let replicas = arguments.addresses.iter().zip(&answers);
        let replicas: Vec<Value> = replicas.map(|(address, answer)| as_json(address, answer, primary)).collect();
        say_json(&json!({ "serves": serves, "notes": notes, "replicas": replicas }))?;
    } else {
        say(&table(&arguments.addresses, &answers, primary))?;
    }
    Ok(match serves {
        Some(true) => Status::Done,
        Some(false) => Status::Found,
        None => Status::Usage,
    })
}

/// Whether replicas that were not asked could be what a majority lacks.
fn is_unknown(answers: &[Answer]) -> bool {
    let said = || answers.iter().flatten();
    let Some(replicas) = said().map(|status| usize::from(status.replicas)).max() else { return false };
    let numbers = |replicas: &mut dyn Iterator<Item = &status::Status>| {
        replicas.map(|it| it.replica).collect::<BTreeSet<u8>>().len()
    };
    let silent = answers.iter().filter(|answer| answer.is_err()).count();
    let unasked = replicas.saturating_sub(numbers(&mut said()) + silent);
    let steady = numbers(&mut said().filter(|status| matches!(status.state, State::Primary | State::Backup)));
    unasked > 0 && steady + unasked > replicas / 2
}

/// What is wrong with the addresses themselves: a client that is given them makes of it what is said here, too.
fn notes(addresses: &[SocketAddr], answers: &[Answer]) -> Vec<String> {
    let mut notes = Vec::new();
    let said = || {
        addresses.iter().zip(answers).enumerate().filter_map(|(at, (it, answer))| Some((at, it, answer.as_ref().ok()?)))
    };
    if let Some(replicas) = said().map(|(_, _, status)| status.replicas).find(|it| usize::from(*it) != addresses.len())
    {
        let given = match addresses.len() {
            1 => "1 address".to_owned(),
            more => format!("{more} addresses"),
        };
        notes.push(format!("{given} for {}: give one for each, in their order", counted(replicas.into(), "replica")));
    }
    for (place, address, status) in said() {
        if addresses[..place].contains(address) {
            notes.push(format!("{address} is given twice: each replica has an address of its own"));
        } else if usize::from(status.replica) != place && usize::from(status.replicas) == addresses.len() {
            notes.push(format!(
                "{address} is replica {}: give the addresses in the replicas' order, from 0",
                status.replica
            ));
        }
    }
    notes
}

/// Asks all at once: those that do not answer are waited for together.
pub(super) fn ask_all(addresses: &[SocketAddr], patience: Duration) -> Vec<Answer> {
    std::thread::scope(|scope| {
        let asking: Vec<_> =
            addresses.iter().map(|address| scope.spawn(move || status::ask(*address, patience))).collect();
        asking.into_iter().map(|thread| thread.join().expect("asking does not panic")).collect()
    })
}

/// The primary that a majority of its cluster follows.
fn primary(answers: &[Answer]) -> Option<&status::Status> {
    answers.iter().flatten().find(|primary| {
        let follow = answers.iter().flatten().filter(|other| astray(other, primary).is_none());
        let replicas: BTreeSet<u8> = follow.map(|other| other.replica).collect();
        primary.state == State::Primary && replicas.len() > usize::from(primary.replicas) / 2
    })
}

/// Why a replica does not follow that primary, if it does not.
fn astray(other: &status::Status, primary: &status::Status) -> Option<String> {
    let speaks = |from: &status::Status, to: &status::Status| {
        from.replica == to.replica || from.speaks_with.as_ref().is_none_or(|replicas| replicas.contains(&to.replica))
    };
    if other.cluster != primary.cluster {
        return Some(format!("it is of cluster {}, and the primary of {}", other.cluster, primary.cluster));
    }
    if !matches!(other.state, State::Primary | State::Backup) {
        return Some(format!("its state is: {}", other.state));
    }
    if other.view != primary.view {
        return Some(format!("it is in view {}, and the primary in {}", grouped(other.view), grouped(primary.view)));
    }
    let speak = speaks(other, primary) && speaks(primary, other);
    (!speak).then(|| format!("it does not speak with the primary, replica {}", primary.replica))
}

fn as_json(address: &SocketAddr, answer: &Answer, primary: Option<&status::Status>) -> Value {
    match answer {
        Ok(status) => {
            let takes_part = primary.is_some_and(|primary| astray(status, primary).is_none());
            json!({ "address": address.to_string(), "takes_part": takes_part, "status": status })
        }
        Err(error) => json!({ "address": address.to_string(), "error": error.to_string() }),
    }
}

fn table(addresses: &[SocketAddr], answers: &[Answer], primary: Option<&status::Status>) -> String {
    let mut lines = Vec::new();
    let head = ["replica", "state", "view", "op", "commit", "lag", "checkpoint", "clock", "sessions", "disk"];
    let mut rows = vec![head.map(str::to_owned)];
    for (address, answer) in addresses.iter().zip(answers) {
        match answer {
            Ok(status) => rows.push(row(address, status)),
            Err(error) => lines.push(error.to_string()),
        }
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    lines.iter().for_each(|line| text.push_str(&format!("{line}\n")));
    for (address, status) in
        addresses.iter().zip(answers).filter_map(|(address, answer)| Some((address, answer.as_ref().ok()?)))
    {
        if let Some(why) = primary.and_then(|primary| astray(status, primary)) {
            text.push_str(&format!("replica {} at {address} takes no part: {why}\n", status.replica));
        }
        status.refusals.iter().for_each(|refusal| text.push_str(&silence(address, status, refusal)));
    }
    text.push_str(&held(answers));
    answers.iter().flatten().for_each(|status| text.push_str(&undone(status)));
    notes(addresses, answers).iter().for_each(|note| text.push_str(&format!("{note}\n")));
    text + &verdict(answers, primary)
}

/// A line about two who do not speak.
fn silence(address: &SocketAddr, status: &status::Status, refusal: &status::Refusal) -> String {
    let status::Refusal { replica, address: other, why, .. } = refusal;
    let whom = replica.map_or_else(|| "somebody".to_owned(), |replica| format!("replica {replica}"));
    let place = other.map(|other| format!(" at {other}")).unwrap_or_default();
    format!("replica {} at {address} does not speak with {whom}{place}: {why}\n", status.replica)
}

fn verdict(answers: &[Answer], primary: Option<&status::Status>) -> String {
    let Some(primary) = primary else {
        if is_unknown(answers) {
            return "whether a majority is in one view cannot be told from these replicas".to_owned();
        }
        return "no majority of these replicas is in one view with its primary: nothing commits".to_owned();
    };
    let follows = |answer: &&Answer| answer.as_ref().is_ok_and(|status| astray(status, primary).is_none());
    let without = (answers.len() - answers.iter().filter(follows).count()) as u64;
    let but = match without {
        0 => String::new(),
        1 => format!(", but 1 of {} takes no part", counted(answers.len() as u64, "replica")),
        _ => format!(", but {without} of {} take no part", counted(answers.len() as u64, "replica")),
    };
    format!("a majority is in one view: the cluster serves{but}")
}

/// A line for each channel whose effects are not done, by the primary: who was one before has heard of nothing since.
fn undone(status: &status::Status) -> String {
    if status.state != State::Primary || status.effects.pending == 0 {
        return String::new();
    }
    let failing = status.effects.channels.iter().filter_map(|it| Some((&it.channel, it.last_error.as_ref()?)));
    failing.map(|(channel, error)| format!("the effects of channel {channel} are not done: {error}\n")).collect()
}

/// A line if effects wait for an operator, by who has executed most.
fn held(answers: &[Answer]) -> String {
    let latest = answers.iter().flatten().max_by_key(|status| status.applied);
    let Some(status::Effects { parked, dead, .. }) = latest.map(|status| &status.effects) else { return String::new() };
    if *parked == 0 && *dead == 0 {
        return String::new();
    }
    format!("{} and {} wait for an operator\n", counted(*dead, "dead letter"), counted(*parked, "parked effect"))
}

fn row(address: &SocketAddr, status: &status::Status) -> [String; 10] {
    let clock = match status.clock_offset_ns {
        Some((low, high)) => format!("{} to {} us", low / 1000, high / 1000),
        None => "not agreed".to_owned(),
    };
    let checkpoint = match (status.is_syncing, status.is_grid_full) {
        (true, _) => format!("{}, takes the others'", grouped(status.checkpoint)),
        (false, true) => format!("{}, the grid is full", grouped(status.checkpoint)),
        (false, false) => grouped(status.checkpoint),
    };
    [
        format!("{} at {address}", status.replica),
        status.state.to_string(),
        grouped(status.view),
        grouped(status.op),
        grouped(status.commit),
        grouped(status.lag),
        checkpoint,
        clock,
        grouped(status.sessions),
        status.disk.clone(),
    ]
}

#[cfg(test)]
mod tests;
