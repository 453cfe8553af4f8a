//! `effects`: what an operator decides of effects that are parked or dead letters.

use std::{net::SocketAddr, time::Duration};

use chronon::{
    app::{operator::Held, outbox::Stage},
    effect::EffectId,
};
use chronon_production::{
    client::{Operator, OperatorError, Options},
    sinks::{Lane, code},
};
use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    number::counted,
    output::{Status, Trouble, say, say_json},
};

/// List effects that were given up or parked, and decide of them
///
/// A dead letter was given up; of a parked effect nobody knows whether it was done, and it is never run twice. Both wait for an
/// operator, and their channels go on without them. Each decision is a request in the log. The exit status is 1 if one was refused.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    request: Request,
}

#[derive(clap::Args)]
struct Cluster {
    /// The replicas' addresses
    #[arg(long, value_name = "A,B,C", value_delimiter = ',', required = true)]
    addresses: Vec<SocketAddr>,

    /// How long to wait for an answer, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    patience_ms: u64,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct Which {
    #[command(flatten)]
    cluster: Cluster,

    /// The effects, by their ids as they are listed
    #[arg(value_name = "ID", required_unless_present = "all")]
    ids: Vec<EffectId>,

    /// All that wait for an operator
    #[arg(long, conflicts_with = "ids")]
    all: bool,
}

#[derive(Subcommand)]
enum Request {
    /// Say which effects wait for an operator, and why
    List(Cluster),
    /// Try them again from the beginning, behind what their channels hold by now: of a parked one, and of one whose sink cannot tell, this
    /// says that it was not done
    Redrive(Which),
    /// Say that they were done: the application is told so
    Resolve(Which),
    /// Give them up for good: the application is told that they failed
    Drop(Which),
}

impl Cluster {
    fn connect(&self) -> Result<Operator, Trouble> {
        let patience = Duration::from_millis(self.patience_ms.max(1));
        let options = Options { sessions: 1, patience, ..Options::default() };
        Ok(Operator::connect(&self.addresses, &options)?)
    }
}

pub(crate) fn main(arguments: &Arguments) -> Result<Status, Trouble> {
    match &arguments.request {
        Request::List(cluster) => list(cluster),
        Request::Redrive(which) => decide(which, "redriven", Operator::redrive),
        Request::Resolve(which) => decide(which, "resolved", |operator, id| operator.resolve(id, Vec::new())),
        Request::Drop(which) => decide(which, "dropped", Operator::discard),
    }
}

fn list(cluster: &Cluster) -> Result<Status, Trouble> {
    let held = cluster.connect()?.list()?;
    if cluster.json {
        say_json(&json!({ "effects": held.iter().map(as_json).collect::<Vec<_>>() }))?;
    } else {
        let mut text: String = held.iter().map(line).collect();
        text.push_str(&format!("waiting for an operator: {}", counted(held.len() as u64, "effect")));
        say(&text)?;
    }
    Ok(Status::Done)
}

fn decide(
    which: &Which,
    done: &str,
    act: impl Fn(&Operator, EffectId) -> Result<(), OperatorError>,
) -> Result<Status, Trouble> {
    let operator = which.cluster.connect()?;
    let ids = if which.all { operator.list()?.iter().map(|held| held.id).collect() } else { which.ids.clone() };
    let mut told = Vec::new();
    for id in ids {
        match act(&operator, id) {
            Ok(()) => told.push((id, None)),
            Err(OperatorError::Refused(refusal)) => told.push((id, Some(refusal.to_string()))),
            Err(error) => return Err(Trouble::machine(format!("{id}: {error}"))),
        }
    }
    let all = told.iter().all(|(_, refused)| refused.is_none());
    if which.cluster.json {
        let each = |(id, refused): &(EffectId, Option<String>)| json!({ "id": id.to_string(), "refused": refused });
        say_json(&json!({ "done": done, "effects": told.iter().map(each).collect::<Vec<_>>() }))?;
    } else {
        let line = |(id, refused): &(EffectId, Option<String>)| match refused {
            None => format!("{id}  {done}"),
            Some(why) => format!("{id}  {why}"),
        };
        say(&told.iter().map(line).collect::<Vec<_>>().join("\n"))?;
    }
    Ok(if all { Status::Done } else { Status::Found })
}

fn stage(held: &Held) -> String {
    match held.stage {
        Stage::Dead(cause) => format!("dead: {}", format!("{cause:?}").to_lowercase()),
        _ => "parked".to_owned(),
    }
}

fn line(held: &Held) -> String {
    let code = code::words(held.code).map_or_else(|| format!("code {}", held.code), str::to_owned);
    let ran = if held.may_have_run { "may have been done" } else { "was not done" };
    let (lane, attempts) = (Lane::from(held.destination), counted(held.attempts.into(), "attempt"));
    let preview = String::from_utf8_lossy(&held.preview).into_owned();
    format!("{}  channel {lane}  {}, {code}, {ran}, {attempts}  {preview:?}\n", held.id, stage(held))
}

fn as_json(held: &Held) -> Value {
    json!({
        "id": held.id.to_string(),
        "channel": Lane::from(held.destination).to_string(),
        "stage": stage(held),
        "code": held.code,
        "words": code::words(held.code),
        "may_have_run": held.may_have_run,
        "attempts": held.attempts,
        "payload_size": held.payload_size,
        "preview": String::from_utf8_lossy(&held.preview),
    })
}
