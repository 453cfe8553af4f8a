//! `effects`: what an operator decides of effects that are parked or dead letters.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::Read,
    os::unix::ffi::OsStrExt,
    path::Path,
};

use chronon::{
    app::{operator::Held, outbox::Stage},
    effect::{Destination, EffectId},
};
use chronon_production::{
    client::{Operator, OperatorError},
    sinks::{Lane, code},
};
use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    addressed::Addressed,
    number::counted,
    output::{Status, Trouble, say, say_json},
};

/// No response is longer, in bytes: no message is.
const RESPONSE_SIZE_MAX: u64 = 16 << 20;

/// List effects that were given up or parked, and decide of them
///
/// A dead letter was given up; of a parked effect nobody knows whether it was done, and it is never run twice. Both wait for an
/// operator, and their channels go on without them. Each decision is a request in the log. The exit status is 1 if one was refused, and 3 if
/// one had no answer: those before it are told of all the same, and none is made behind it.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    cluster: Cluster,

    #[command(subcommand)]
    request: Request,
}

#[derive(clap::Args)]
struct Cluster {
    #[command(flatten)]
    cluster: Addressed,

    /// Print one JSON object
    #[arg(long, global = true)]
    json: bool,
}

#[derive(clap::Args)]
struct Ids {
    /// The effects, by their ids as they are listed
    #[arg(value_name = "ID", required_unless_present = "all")]
    ids: Vec<EffectId>,

    /// All that wait for an operator
    #[arg(long, conflicts_with = "ids")]
    all: bool,
}

#[derive(clap::Args)]
struct Resolved {
    #[command(flatten)]
    ids: Ids,

    /// What came back, if what was to be done is a fetch: the text, or what is in a file, as in --response @answer.json. Unless it is
    /// given, nothing came back
    #[arg(long, value_name = "TEXT|@FILE", conflicts_with = "all")]
    response: Option<OsString>,
}

#[derive(Subcommand)]
enum Request {
    /// Say which effects wait for an operator, and why
    List,
    /// Try them again from the beginning, behind what their channels hold by now: of a parked one, and of one whose sink cannot tell, this
    /// says that it was not done
    Redrive(Ids),
    /// Say that they were done: the application is told so, and of a fetch what came back
    Resolve(Resolved),
    /// Give them up for good: the application is told that they failed
    Drop(Ids),
}

impl Cluster {
    fn connect(&self) -> Result<Operator, Trouble> {
        Ok(Operator::connect(self.cluster.addresses()?, &self.cluster.options(&[]))?)
    }
}

/// Effects of a cluster that are decided of.
struct Which<'a> {
    cluster: &'a Cluster,
    ids: Vec<EffectId>,
    all: bool,
}

pub(crate) fn main(arguments: &Arguments) -> Result<Status, Trouble> {
    let of = |given: &Ids| Which { cluster: &arguments.cluster, ids: given.ids.clone(), all: given.all };
    match &arguments.request {
        Request::List => list(&arguments.cluster),
        Request::Redrive(given) => decide(&of(given), "redriven", Operator::redrive),
        Request::Resolve(given) => resolve(&of(&given.ids), given.response.as_deref()),
        Request::Drop(given) => decide(&of(given), "dropped", Operator::discard),
    }
}

/// What came back is for fetches alone: of anything else nobody would be told of it.
fn resolve(which: &Which<'_>, response: Option<&OsStr>) -> Result<Status, Trouble> {
    let response = response.map(bytes_of).transpose()?;
    let other = |held: &Held| which.ids.contains(&held.id) && held.destination != Destination::Fetch;
    if response.is_some()
        && let Some(held) = which.cluster.connect()?.list()?.into_iter().find(other)
    {
        let Held { id, destination, .. } = held;
        let lane = Lane::from(destination);
        return Err(Trouble::usage(format!(
            "--response is what came back of a fetch, and {id} is an effect of channel {lane}: resolve that one without it"
        )));
    }
    let response = response.unwrap_or_default();
    decide(which, "resolved", |operator, id| operator.resolve(id, response.clone()))
}

/// A text, or what is in the file of the name behind an @.
fn bytes_of(given: &OsStr) -> Result<Vec<u8>, Trouble> {
    let Some(name) = given.as_bytes().strip_prefix(b"@") else { return Ok(given.as_bytes().to_vec()) };
    let path = Path::new(OsStr::from_bytes(name));
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(RESPONSE_SIZE_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|error| {
        Trouble::usage(format!(
            "--response @{}: {error}: name a file; of a text that begins with @, a file that it is in",
            path.display()
        ))
    })?;
    if bytes.len() as u64 > RESPONSE_SIZE_MAX {
        return Err(Trouble::usage(format!(
            "--response @{}: it has more than {RESPONSE_SIZE_MAX} bytes, which no message has",
            path.display()
        )));
    }
    Ok(bytes)
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
    which: &Which<'_>,
    done: &'static str,
    act: impl Fn(&Operator, EffectId) -> Result<(), OperatorError>,
) -> Result<Status, Trouble> {
    let operator = which.cluster.connect()?;
    let ids = if which.all { operator.list()?.iter().map(|held| held.id).collect() } else { which.ids.clone() };
    let decided = Decided::of(done, ids, |id| act(&operator, id));
    if which.cluster.json {
        say_json(&decided.as_json())?;
    } else if !decided.told.is_empty() {
        say(&decided.lines())?;
    }
    decided.status()
}

/// What became of effects that were decided of, in their order.
struct Decided {
    /// What was done to those that it was done to.
    done: &'static str,
    /// Those that were answered for, and why if they were refused.
    told: Vec<(EffectId, Option<String>)>,
    /// The one whose request failed. What became of it nobody may know, and none was decided of behind it.
    failed: Option<(EffectId, OperatorError)>,
    left: Vec<EffectId>,
}

impl Decided {
    /// One after the other, until one fails: that it was done to those before it is not forgotten.
    fn of(done: &'static str, ids: Vec<EffectId>, act: impl Fn(EffectId) -> Result<(), OperatorError>) -> Self {
        let mut decided = Self { done, told: Vec::new(), failed: None, left: Vec::new() };
        let mut ids = ids.into_iter();
        while decided.failed.is_none()
            && let Some(id) = ids.next()
        {
            match act(id) {
                Ok(()) => decided.told.push((id, None)),
                Err(OperatorError::Refused(refusal)) => decided.told.push((id, Some(refusal.to_string()))),
                Err(error) => decided.failed = Some((id, error)),
            }
        }
        decided.left = ids.collect();
        decided
    }

    /// A line for each that was answered for.
    fn lines(&self) -> String {
        let line = |(id, refused): &(EffectId, Option<String>)| match refused {
            None => format!("{id}  {}", self.done),
            Some(why) => format!("{id}  {why}"),
        };
        self.told.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    fn as_json(&self) -> Value {
        let each = |(id, refused): &(EffectId, Option<String>)| json!({ "id": id.to_string(), "refused": refused });
        let failed =
            self.failed.as_ref().map(|(id, error)| json!({ "id": id.to_string(), "error": error.to_string() }));
        json!({
            "done": self.done,
            "effects": self.told.iter().map(each).collect::<Vec<_>>(),
            "failed": failed,
            "left": self.left.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    }

    fn status(self) -> Result<Status, Trouble> {
        let all = self.told.iter().all(|(_, refused)| refused.is_none());
        let Some((id, error)) = self.failed else { return Ok(if all { Status::Done } else { Status::Found }) };
        let behind = match self.left.len() as u64 {
            0 => String::new(),
            left => format!("; not tried: {} behind it", counted(left, "effect")),
        };
        let Trouble { status, sentence } = error.into();
        Err(Trouble { status, sentence: format!("{id}: {sentence}{behind}") })
    }
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

#[cfg(test)]
mod tests {
    use chronon::{
        app::operator::OperatorRefusal,
        types::{ClusterId, Op},
    };
    use chronon_production::client::RequestError;

    use super::*;

    fn id(index: u32) -> EffectId {
        EffectId { cluster: ClusterId(7), op: Op(7), position: 0, index }
    }

    #[test]
    fn what_was_done_before_a_request_failed_is_told_and_what_was_not_tried_too() {
        let ids: Vec<EffectId> = (1..=5).map(id).collect();
        let answer = |id: EffectId| match id.index {
            1 => Ok(()),
            2 => Err(OperatorError::Refused(OperatorRefusal::NoSuchEffect)),
            3 => Err(OperatorError::Request(RequestError::TimedOut)),
            _ => panic!("nothing is asked behind a failure"),
        };
        let decided = Decided::of("dropped", ids.clone(), answer);
        let refusal = OperatorRefusal::NoSuchEffect.to_string();
        assert_eq!(decided.lines(), format!("{}  dropped\n{}  {refusal}", ids[0], ids[1]));
        let json = decided.as_json();
        let name = |place: usize| ids[place].to_string();
        assert_eq!(json["effects"], json!([{ "id": name(0), "refused": null }, { "id": name(1), "refused": refusal }]));
        assert_eq!(json["failed"], json!({ "id": name(2), "error": RequestError::TimedOut.to_string() }));
        assert_eq!(json["left"], json!([name(3), name(4)]));
        let trouble = decided.status().unwrap_err();
        assert_eq!(trouble.status, Status::Machine);
        assert!(trouble.sentence.starts_with(&format!("{}: no answer came in time", ids[2])), "{}", trouble.sentence);
        assert!(trouble.sentence.ends_with("not tried: 2 effects behind it"), "{}", trouble.sentence);
    }

    #[test]
    fn what_was_refused_alone_is_no_failure() {
        let refused =
            Decided::of("dropped", vec![id(1)], |_| Err(OperatorError::Refused(OperatorRefusal::NoSuchEffect)));
        assert_eq!(refused.as_json()["failed"], Value::Null);
        assert_eq!(refused.status(), Ok(Status::Found));
        assert_eq!(Decided::of("dropped", vec![id(1)], |_| Ok(())).status(), Ok(Status::Done));
    }
}
