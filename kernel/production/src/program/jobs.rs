//! `jobs`: one request to the job queue.

use std::{ffi::OsString, os::unix::ffi::OsStringExt};

use chronon::app::jobs::{Counts, Refusal, Request, Response, Stage, Standing};
use chronon_production::client::{Answer, Client};
use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    addressed::Addressed,
    number::{counted, grouped},
    output::{Status, Trouble, remark, say, say_json},
};

/// Hand out work: add a job, take one for a while, say that it is done
///
/// Who takes a job has it for a while, under a token; if nothing is heard by then, another may take it, under a higher one, and what
/// comes of the first is refused. Give the token to whatever the work is done on, so that it can refuse as well. The cluster must run
/// the queue: `chronon dev --application jobs`. The exit status is 1 if nothing waits, or if the queue refused.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLE\n  \
    chronon jobs --addresses 127.0.0.1:4000,127.0.0.1:4001,127.0.0.1:4002 add 'wash the dishes'\n  \
    chronon jobs --addresses 127.0.0.1:4000,127.0.0.1:4001,127.0.0.1:4002 take --lease-ms 60000\n  \
    chronon jobs --addresses 127.0.0.1:4000,127.0.0.1:4001,127.0.0.1:4002 done 1 --token 1")]
pub(crate) struct Arguments {
    #[command(flatten)]
    cluster: Addressed,

    /// Print one JSON object
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    request: Asked,
}

/// What can be asked.
#[derive(Subcommand)]
enum Asked {
    /// Have something done, and print the job's number
    Add {
        /// What is to be done: bytes, as the shell gives them
        what: OsString,
    },
    /// Take the oldest job that waits, and print it with the token that it is taken under
    Take {
        #[command(flatten)]
        lease: Lease,
    },
    /// Say that a job takes longer
    Extend {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        lease: Lease,
    },
    /// Say that a job is done
    Done {
        #[command(flatten)]
        which: Which,
    },
    /// Give a job back: another may try, unless it was tried often enough
    Fail {
        #[command(flatten)]
        which: Which,
    },
    /// Print how a job is
    Look {
        /// The job's number
        job: u64,
    },
    /// Print how many jobs there are
    Count,
}

#[derive(clap::Args)]
struct Lease {
    /// For how long from now, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 60_000)]
    lease_ms: u64,
}

#[derive(clap::Args)]
struct Which {
    /// The job's number
    job: u64,

    /// The token that it was taken under
    #[arg(long)]
    token: u64,
}

pub(crate) fn main(arguments: &Arguments) -> Result<Status, Trouble> {
    let client = Client::connect(arguments.cluster.addresses()?, arguments.cluster.options(&["jobs"]))?;
    let mut payload = Vec::new();
    let answer = match &arguments.request {
        asked @ (Asked::Look { .. } | Asked::Count) => {
            asked.encode(&mut payload);
            client.query(payload)
        }
        asked => {
            asked.encode(&mut payload);
            client.request(payload)
        }
    };
    let Answer { result, timestamp, .. } = answer?;
    match result {
        Ok(response) => {
            let response = Response::decode(&response).filter(|response| arguments.request.is_answered_by(response));
            let response = response.ok_or_else(foreign)?;
            let now_ns = timestamp.map_or(0, |timestamp| timestamp.0);
            if arguments.json {
                say_json(&as_json(&response, now_ns))?;
            } else if let Some(words) = words(&response, now_ns) {
                say(&words)?;
            }
            Ok(Status::Done)
        }
        Err(rejection) => refused(Refusal::from_code(rejection.code).ok_or_else(foreign)?, arguments.json),
    }
}

impl Asked {
    fn encode(&self, payload: &mut Vec<u8>) {
        let nanoseconds = |lease: &Lease| lease.lease_ms.saturating_mul(1_000_000);
        match self {
            Self::Add { what } => Request::Enqueue { what: &what.clone().into_vec() }.encode(payload),
            Self::Take { lease } => Request::Lease { duration_ns: nanoseconds(lease) }.encode(payload),
            Self::Extend { which: Which { job, token }, lease } => {
                Request::Extend { job: *job, token: *token, duration_ns: nanoseconds(lease) }.encode(payload);
            }
            Self::Done { which: Which { job, token } } => {
                Request::Complete { job: *job, token: *token }.encode(payload)
            }
            Self::Fail { which: Which { job, token } } => Request::Fail { job: *job, token: *token }.encode(payload),
            Self::Look { job } => Request::Look { job: *job }.encode(payload),
            Self::Count => Request::Count.encode(payload),
        }
    }

    const fn is_answered_by(&self, response: &Response) -> bool {
        matches!(
            (self, response),
            (Self::Add { .. }, Response::Enqueued { .. })
                | (Self::Take { .. }, Response::Leased { .. })
                | (Self::Extend { .. }, Response::Extended { .. })
                | (Self::Done { .. }, Response::Completed)
                | (Self::Fail { .. }, Response::Failed { .. })
                | (Self::Look { .. }, Response::Standing(_))
                | (Self::Count, Response::Counts(_))
        )
    }
}

fn foreign() -> Trouble {
    Trouble::usage("the cluster does not run the job queue: start it with --application jobs")
}

fn refused(refusal: Refusal, json: bool) -> Result<Status, Trouble> {
    match refusal {
        Refusal::Malformed => return Err(foreign()),
        Refusal::Duration | Refusal::TooLong => return Err(Trouble::usage(refusal)),
        Refusal::NoJob | Refusal::Nothing | Refusal::StaleToken | Refusal::Full => {}
    }
    if json {
        say_json(&json!({ "refused": refusal.to_string() }))?;
    } else {
        remark(&refusal.to_string());
    }
    Ok(Status::Found)
}

/// What is left of a lease, when the op that gave it was executed.
const fn left_ms(until_ns: u64, now_ns: u64) -> u64 {
    until_ns.saturating_sub(now_ns) / 1_000_000
}

const fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Waiting => "waiting",
        Stage::Leased { .. } => "taken",
        Stage::Done { .. } => "done",
        Stage::Dead => "dead",
    }
}

/// Nothing where the exit status says it all.
fn words(response: &Response, now_ns: u64) -> Option<String> {
    Some(match response {
        Response::Enqueued { job } => job.to_string(),
        Response::Leased { job, token, until, what } => {
            let (left, what) = (grouped(left_ms(*until, now_ns)), String::from_utf8_lossy(what));
            format!("job {job} under token {token} for {left} ms: {what}")
        }
        Response::Extended { until } => format!("for {} ms", grouped(left_ms(*until, now_ns))),
        Response::Completed | Response::Failed { dead: false } => return None,
        Response::Failed { dead: true } => "it was tried often enough, and is given up".to_owned(),
        Response::Standing(Standing { stage: at, attempts, token }) => {
            let under = if *token == 0 { String::new() } else { format!(", last under token {token}") };
            format!("{}, {}{under}", stage(*at), counted((*attempts).into(), "attempt"))
        }
        Response::Counts(Counts { waiting, leased, done, dead }) => {
            let [waiting, leased, done, dead] = [*waiting, *leased, *done, *dead].map(grouped);
            format!("{waiting} waiting, {leased} taken, {done} done, {dead} dead")
        }
    })
}

fn as_json(response: &Response, now_ns: u64) -> Value {
    match response {
        Response::Enqueued { job } => json!({ "job": job }),
        Response::Leased { job, token, until, what } => json!({
            "job": job,
            "token": token,
            "until_ns": until,
            "left_ms": left_ms(*until, now_ns),
            "what": String::from_utf8_lossy(what),
        }),
        Response::Extended { until } => json!({ "until_ns": until, "left_ms": left_ms(*until, now_ns) }),
        Response::Completed => json!({ "done": true }),
        Response::Failed { dead } => json!({ "dead": dead }),
        Response::Standing(Standing { stage: at, attempts, token }) => {
            json!({ "stage": stage(*at), "attempts": attempts, "token": token })
        }
        Response::Counts(Counts { waiting, leased, done, dead }) => {
            json!({ "waiting": waiting, "taken": leased, "done": done, "dead": dead })
        }
    }
}
