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
/// Asks all of them at once. The exit status is 0 if a majority is in one view, and 1 if not: then nothing commits. Below the table is who
/// takes no part, and who does not speak with whom, and why.
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
    if arguments.json {
        let replicas = arguments.addresses.iter().zip(&answers);
        let replicas: Vec<Value> = replicas.map(|(address, answer)| as_json(address, answer, primary)).collect();
        say_json(&json!({ "serves": primary.is_some(), "replicas": replicas }))?;
    } else {
        say(&table(&arguments.addresses, &answers, primary))?;
    }
    Ok(if primary.is_some() { Status::Done } else { Status::Found })
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
mod tests {
    use super::*;

    fn status(replica: u8, state: status::State, view: u64) -> Answer {
        Ok(status::Status {
            version: String::new(),
            process: 1,
            cpu_us: 1,
            cluster: 7,
            replica,
            replicas: 3,
            state,
            view,
            log_view: view,
            primary: (view % 3) as u8,
            op: 12_345,
            commit: 12_344,
            applied: 12_344,
            lag: 0,
            checkpoint: 12_000,
            is_writing_checkpoint: false,
            is_syncing: false,
            is_grid_full: false,
            journal_slots: 64,
            message_size_max: 4096,
            grid_blocks: 64,
            block_size: 4096,
            clients_max: 64,
            application: "kv".to_owned(),
            clock_offset_ns: Some((-12_000, 30_000)),
            disk: "io_uring".to_owned(),
            sessions: 2,
            effects: status::Effects { pending: 3, parked: 0, dead: 0, channels: Vec::new() },
            queues: Vec::new(),
            network: status::Network {
                connections: 0,
                greeted: 0,
                ended: 0,
                refused: 0,
                turned_away: 0,
                frames_received: 0,
                frames_sent: 0,
                frames_dropped: 0,
            },
            speaks_with: Some((0..3).filter(|other| *other != replica).collect()),
            refusals: Vec::new(),
        })
    }

    fn away() -> Answer {
        let address = "127.0.0.1:1".parse().expect("an address");
        Err(AskError::Unreachable(address, std::io::ErrorKind::ConnectionRefused.into()))
    }

    #[test]
    fn a_cluster_serves_if_a_majority_follows_one_primary() {
        use status::State::{Backup, Primary, ViewChange};
        let serves = |answers: &[Answer]| primary(answers).is_some();
        assert!(serves(&[status(0, Primary, 3), status(1, Backup, 3), away()]));
        assert!(!serves(&[status(0, Primary, 3), away(), away()]));
        assert!(!serves(&[status(0, Primary, 3), status(1, Backup, 4), status(2, ViewChange, 3)]));
        assert!(!serves(&[status(0, Backup, 3), status(1, Backup, 3), status(2, Backup, 3)]));
        assert!(!serves(&[status(0, Primary, 3), status(1, status::State::Rejoining, 3), away()]), "it has no word");
        assert!(!serves(&[away(), away()]));
        assert!(!serves(&[status(0, Primary, 3), status(0, Primary, 3)]), "one that was asked twice is one");
        let deaf = status(1, Backup, 3).map(|status| status::Status { speaks_with: Some(vec![2]), ..status });
        assert!(!serves(&[status(0, Primary, 3), deaf]), "it does not hear of what is committed");
        let older = status(1, Backup, 3).map(|status| status::Status { speaks_with: None, ..status });
        assert!(serves(&[status(0, Primary, 3), older]));
    }

    #[test]
    fn the_table_has_a_row_for_who_answered_and_a_line_for_who_did_not() {
        let addresses: Vec<SocketAddr> =
            ["127.0.0.1:1", "127.0.0.1:2"].map(|text| text.parse().expect("an address")).into();
        let text = table(&addresses, &[status(0, status::State::Primary, 3), away()], None);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(
            lines[1].starts_with("0 at 127.0.0.1:1  primary  3     12,345  12,344  0    12,000      -12 to 30 us"),
            "{text}"
        );
        assert!(lines[2].starts_with("no replica answers at 127.0.0.1:1: "), "{text}");
        let mut answers = [status(0, status::State::Primary, 3)];
        answers.iter_mut().flatten().for_each(|status| status.effects.dead = 2);
        let text = table(&addresses, &answers, None);
        assert!(text.contains("2 dead letters and 0 parked effects wait for an operator"), "{text}");
    }

    #[test]
    fn who_never_joined_is_not_hidden_behind_a_majority() {
        use status::State::{Backup, Primary};
        let addresses: Vec<SocketAddr> = [1, 2, 3].map(|port| SocketAddr::from(([127, 0, 0, 1], port))).into();
        let told = |stranger: Answer| {
            let answers = [status(0, Primary, 3), status(1, Backup, 3), stranger];
            let text = table(&addresses, &answers, primary(&answers));
            text.lines().skip(4).map(str::to_owned).collect::<Vec<_>>()
        };
        let serves = "a majority is in one view: the cluster serves";
        assert_eq!(told(status(2, Backup, 3)), [serves]);
        let but = format!("{serves}, but 1 of 3 replicas takes no part");
        assert_eq!(
            told(status(2, Backup, 0)),
            ["replica 2 at 127.0.0.1:3 takes no part: it is in view 0, and the primary in 3", &but]
        );
        let refusal = status::Refusal {
            replica: Some(0),
            address: addresses.first().copied(),
            why: "it is of cluster 7, and this is of cluster 8: mend that".to_owned(),
            times: 9,
            ago_ms: 1,
        };
        let stranger =
            status(2, Backup, 3).map(|status| status::Status { cluster: 8, refusals: vec![refusal], ..status });
        assert_eq!(
            told(stranger),
            [
                "replica 2 at 127.0.0.1:3 takes no part: it is of cluster 8, and the primary of 7",
                "replica 2 at 127.0.0.1:3 does not speak with replica 0 at 127.0.0.1:1: it is of cluster 7, and this is of cluster 8: mend that",
                &but
            ]
        );
        assert!(told(away()).last() == Some(&but), "nor who does not answer");
    }
}
