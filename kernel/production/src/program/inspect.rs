//! `inspect`: looks into a data file, and says in words what it found.

mod text;

use std::{
    fmt,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use chronon::types::ClusterId;
use chronon_production::{
    DataFile, DataFileError,
    inspect::{self, Given, InspectError, PrepareReport, Shape},
    size,
};
use clap::Subcommand;
use serde::Serialize;

use super::{
    format::{MESSAGE_SIZE_MAX, SLOTS_MAX},
    number::{parse_cluster, parse_size},
    output::{Status, Trouble, remark, say, say_json},
};

/// Look into a data file, however damaged it is
///
/// Nothing is written. If a process has the file open, that is said: what is shown is in motion then, and what is being written may
/// look damaged. The exit status is 1 if damage was found.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// What each of its four copies is, and which of them a replica would start from
    Superblock {
        /// The data file
        file: PathBuf,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// What each slot holds, whether the hash chain is whole, and what of it is damaged
    Journal(Journal),
    /// Of which op it is, its root, and whether every chunk of it is here and whole
    Checkpoint {
        /// The data file
        file: PathBuf,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(clap::Args)]
struct Journal {
    /// The data file
    file: PathBuf,

    /// As one JSON object
    #[arg(long)]
    json: bool,

    /// Only the prepares of these ops, both ends included: 5..9, 5.., ..9 or 5
    #[arg(long, value_name = "A..B", value_parser = parse_ops)]
    ops: Option<RangeInclusive<u64>>,

    /// How many slots it has, if no superblock says so any more
    #[arg(long, value_name = "N")]
    slots: Option<u32>,

    /// How large they are, if no superblock says so any more
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    message_size_max: Option<u32>,

    /// Which cluster it is of, if neither a superblock nor the first slot says so any more
    #[arg(long, value_name = "ID", value_parser = parse_cluster)]
    cluster: Option<ClusterId>,
}

pub(crate) fn main(arguments: &Arguments) -> Result<Status, Trouble> {
    match &arguments.what {
        What::Superblock { file, json } => {
            let report = inspect::superblock(&open(file)?);
            if *json { say_json(&report) } else { say(&text::superblock(&report)) }?;
            Ok(status(report.is_damaged))
        }
        What::Journal(journal) => main_of_journal(journal),
        What::Checkpoint { file, json } => {
            let report = match inspect::checkpoint(&open(file)?) {
                Ok(report) => report,
                Err(error) if error.is_loss() => return lost(file, *json, &error),
                Err(error) => return Err(Trouble::usage(format!("{}: {error}", file.display()))),
            };
            if *json { say_json(&report) } else { say(&text::checkpoint(&report)) }?;
            Ok(status(report.is_damaged))
        }
    }
}

/// Opens a file to look at it, if need be while a process writes to it.
fn open(path: &Path) -> Result<DataFile, Trouble> {
    let holder = match DataFile::open_to_read(path) {
        Err(DataFileError::Locked(_, holder)) => holder,
        other => return Ok(other?),
    };
    let file = DataFile::open_in_motion(path)?;
    let holder = holder.map_or("another process".to_owned(), |(process, name)| format!("process {process} ({name})"));
    remark(&format!(
        "{} is in use by {holder}: what is shown is in motion, and what is being written may look damaged; look again, or stop \
         that first",
        path.display()
    ));
    Ok(file)
}

/// What no data file has is not looked for, a read at a time, where there is none.
fn check_sizes(slots: Option<u32>, message_size_max: Option<u32>) -> Result<(), Trouble> {
    if slots.is_none_or(|slots| slots <= SLOTS_MAX) && message_size_max.is_none_or(|size| size <= MESSAGE_SIZE_MAX) {
        return Ok(());
    }
    let largest = size::words(MESSAGE_SIZE_MAX.into());
    Err(Trouble::usage(format!(
        "--slots and --message-size-max say more than `format` makes, which is {SLOTS_MAX} slots of {largest} at most: give them as they were \
         given to it"
    )))
}

fn main_of_journal(journal: &Journal) -> Result<Status, Trouble> {
    check_sizes(journal.slots, journal.message_size_max)?;
    let file = open(&journal.file)?;
    let given =
        Given { slot_count: journal.slots, message_size_max: journal.message_size_max, cluster: journal.cluster };
    let shape = match inspect::shape(&file, given) {
        Ok(shape) => shape,
        Err(error @ (InspectError::NoLayout | InspectError::NoCluster)) => {
            // A file of another format is whole for all that is known.
            return match inspect::checkpoint(&file) {
                Err(why) if !why.is_loss() => Err(Trouble::usage(format!("{}: {why}", journal.file.display()))),
                _ => lost(&journal.file, journal.json, &error),
            };
        }
        Err(error) => return Err(Trouble::usage(format!("{}: {error}", journal.file.display()))),
    };
    if let Some(ops) = &journal.ops {
        return prepares(&file, &shape, ops.clone(), journal.json);
    }
    let report = inspect::examine(&file, &shape);
    if journal.json { say_json(&report) } else { say(&text::journal(&report)) }?;
    Ok(status(report.is_damaged))
}

/// What is damaged so much that there is nothing to say of what was asked for.
#[derive(Serialize)]
struct LostReport {
    file: String,
    /// Why there is nothing to say, and what may help.
    refusal: String,
    is_damaged: bool,
}

fn lost(file: &Path, json: bool, why: &impl fmt::Display) -> Result<Status, Trouble> {
    let report = LostReport { file: file.display().to_string(), refusal: why.to_string(), is_damaged: true };
    if json { say_json(&report) } else { say(&format!("{}: {}\nDAMAGED", report.file, report.refusal)) }?;
    Ok(Status::Found)
}

/// What the slots of some ops hold, for programs.
#[derive(Serialize)]
struct Prepares {
    /// No op before it is in the journal any more.
    held_from: u64,
    prepares: Vec<PrepareReport>,
}

fn prepares(file: &DataFile, shape: &Shape, ops: RangeInclusive<u64>, json: bool) -> Result<Status, Trouble> {
    let (mut reports, mut said) = (Vec::new(), Ok(()));
    let (mut count, mut is_damaged) = (0_u64, false);
    let held_from = inspect::prepares(file, shape, ops.clone(), &mut |report: PrepareReport| {
        count += 1;
        is_damaged |= report.is_damaged;
        if json {
            reports.push(report);
        } else if said.is_ok() {
            let heading = if count == 1 { text::PREPARES_HEADING } else { "" };
            said = say(&format!("{heading}{}", text::prepare(&report)));
        }
    });
    said?;
    if json {
        say_json(&Prepares { held_from, prepares: reports })?;
    } else if *ops.start() < held_from {
        remark(&format!("chronon: ops before {held_from} are no longer in the journal: later ones have their slots"));
    } else if count == 0 {
        remark(&format!("chronon: nothing can have been written as far as op {}", ops.start()));
    }
    Ok(status(is_damaged))
}

const fn status(is_damaged: bool) -> Status {
    if is_damaged { Status::Found } else { Status::Done }
}

/// Reads a range of ops.
fn parse_ops(text: &str) -> Result<RangeInclusive<u64>, String> {
    let wrong = || "ops are two numbers with dots between, as in 5..9; or one of them".to_owned();
    let number = |text: &str, default: u64| match text {
        "" => Ok(default),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().map_err(|_| wrong()),
        _ => Err(wrong()),
    };
    let (first, last) = match text.split_once("..") {
        Some(("", "")) => return Err(wrong()),
        Some((first, last)) => (number(first, 0)?, number(last, u64::MAX)?),
        None if text.is_empty() => return Err(wrong()),
        None => (number(text, 0)?, number(text, 0)?),
    };
    if first > last { Err(format!("there is no op from {first} to {last}")) } else { Ok(first..=last) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ops_are_read_with_both_ends() {
        let read = ["5..9", "5..", "..9", "5", "5..5"].map(parse_ops);
        assert_eq!(read, [5..=9, 5..=u64::MAX, 0..=9, 5..=5, 5..=5].map(Ok));
        for wrong in ["", "..", "9..5", "a..b", "5..=9", "-1", "1...2", "18446744073709551616"] {
            assert!(parse_ops(wrong).is_err(), "{wrong}");
        }
    }
}
