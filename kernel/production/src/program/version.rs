//! `version`: which program this is, what it speaks and reads, and what this machine lets it use.

use chronon::{storage::superblock::FORMAT_VERSION, wire::header};
use chronon_production::uring;
use serde::Serialize;

use super::output::{Status, Trouble, say, say_json};

/// Say what this program is, what it speaks and reads, and which disks it has here
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Version {
    version: &'static str,
    /// Known if whoever built the program said it.
    commit: Option<&'static str>,
    protocol: u16,
    data_file_format: u32,
    /// Why io_uring cannot be used on this machine; none if it can.
    uring_refused: Option<String>,
}

pub(crate) fn main(arguments: &Arguments) -> Result<Status, Trouble> {
    let version = Version {
        version: env!("CARGO_PKG_VERSION"),
        commit: option_env!("CHRONON_COMMIT"),
        protocol: header::VERSION,
        data_file_format: FORMAT_VERSION,
        uring_refused: uring::probe().err().map(|refusal| refusal.to_string()),
    };
    if arguments.json {
        say_json(&version)?;
    } else {
        say(&words(&version))?;
    }
    Ok(Status::Done)
}

fn words(version: &Version) -> String {
    let commit = version.commit.map(|commit| format!(", commit {commit}")).unwrap_or_default();
    let uring = match &version.uring_refused {
        None => "available here".to_owned(),
        Some(why) => format!("not available here: {why}"),
    };
    format!(
        "chronon {}{commit}\nprotocol         {}\ndata file format {}\ndisk uring       {uring}\ndisk sync        available",
        version.version, version.protocol, version.data_file_format
    )
}
