//! `status`: how each replica of a cluster is.

use std::{net::SocketAddr, time::Duration};

use chronon_production::status::{self, AskError};
use serde_json::{Value, json};

use super::{
    number::{counted, grouped},
    output::{Status, Trouble, say, say_json},
};

/// Say how each replica of a cluster is
///
/// Asks all of them at once. The exit status is 0 if a majority is in one view, and 1 if not: then nothing commits.
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
    let serves = serves(&answers);
    if arguments.json {
        let replicas: Vec<Value> = arguments.addresses.iter().zip(&answers).map(as_json).collect();
        say_json(&json!({ "serves": serves, "replicas": replicas }))?;
    } else {
        say(&table(&arguments.addresses, &answers, serves))?;
    }
    Ok(if serves { Status::Done } else { Status::Found })
}

/// Asks all at once: those that do not answer are waited for together.
pub(super) fn ask_all(addresses: &[SocketAddr], patience: Duration) -> Vec<Answer> {
    std::thread::scope(|scope| {
        let asking: Vec<_> =
            addresses.iter().map(|address| scope.spawn(move || status::ask(*address, patience))).collect();
        asking.into_iter().map(|thread| thread.join().expect("asking does not panic")).collect()
    })
}

/// Whether a majority of one cluster is in one view that has a primary.
fn serves(answers: &[Answer]) -> bool {
    let up: Vec<&status::Status> = answers.iter().flatten().collect();
    up.iter().any(|primary| {
        let follows = |other: &&&status::Status| {
            let normal = matches!(other.state, status::State::Primary | status::State::Backup);
            normal && other.cluster == primary.cluster && other.view == primary.view
        };
        primary.state == status::State::Primary && up.iter().filter(follows).count() > usize::from(primary.replicas) / 2
    })
}

fn as_json((address, answer): (&SocketAddr, &Answer)) -> Value {
    match answer {
        Ok(status) => json!({ "address": address.to_string(), "status": status }),
        Err(error) => json!({ "address": address.to_string(), "error": error.to_string() }),
    }
}

fn table(addresses: &[SocketAddr], answers: &[Answer], serves: bool) -> String {
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
    text.push_str(&held(answers));
    let verdict = if serves {
        "a majority is in one view: the cluster serves"
    } else {
        "no majority of these replicas is in one view with its primary: nothing commits"
    };
    text + verdict
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
                frames_received: 0,
                frames_sent: 0,
                frames_dropped: 0,
            },
        })
    }

    fn away() -> Answer {
        let address = "127.0.0.1:1".parse().expect("an address");
        Err(AskError::Unreachable(address, std::io::ErrorKind::ConnectionRefused.into()))
    }

    #[test]
    fn a_cluster_serves_if_a_majority_follows_one_primary() {
        use status::State::{Backup, Primary, ViewChange};
        assert!(serves(&[status(0, Primary, 3), status(1, Backup, 3), away()]));
        assert!(!serves(&[status(0, Primary, 3), away(), away()]));
        assert!(!serves(&[status(0, Primary, 3), status(1, Backup, 4), status(2, ViewChange, 3)]));
        assert!(!serves(&[status(0, Backup, 3), status(1, Backup, 3), status(2, Backup, 3)]));
        assert!(!serves(&[status(0, Primary, 3), status(1, status::State::Rejoining, 3), away()]), "it has no word");
        assert!(!serves(&[away(), away()]));
    }

    #[test]
    fn the_table_has_a_row_for_who_answered_and_a_line_for_who_did_not() {
        let addresses: Vec<SocketAddr> =
            ["127.0.0.1:1", "127.0.0.1:2"].map(|text| text.parse().expect("an address")).into();
        let text = table(&addresses, &[status(0, status::State::Primary, 3), away()], false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(
            lines[1].starts_with("0 at 127.0.0.1:1  primary  3     12,345  12,344  0    12,000      -12 to 30 us"),
            "{text}"
        );
        assert!(lines[2].starts_with("no replica answers at 127.0.0.1:1: "), "{text}");
        let mut answers = [status(0, status::State::Primary, 3)];
        answers.iter_mut().flatten().for_each(|status| status.effects.dead = 2);
        let text = table(&addresses, &answers, false);
        assert!(text.contains("2 dead letters and 0 parked effects wait for an operator"), "{text}");
    }
}
