//! `recover`: makes a data file for a replica that lost its own.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use chronon::{
    storage::{
        Layout, OpenError,
        superblock::{self, ApplicationName, Identity, REPLICAS_MAX, RecoverError, Superblock},
    },
    types::{ClusterId, ReplicaId},
    vsr::quorum::majority,
};
use chronon_production::{
    DataFile,
    data_file::DataFileError,
    inspect::{self, Unopened},
    status,
};

use super::{
    format::{incarnation, make, quoted},
    number::{counted, parse_cluster},
    output::{Status, Trouble, remark, say},
};

/// Make a new data file for a replica that lost its own
///
/// The replica comes back under a new name of its own, which the others put into the log; it gives nobody its word before it holds
/// everything that they had committed by then. For that they must be a majority without it: of one or two replicas none is recovered.
///
/// The others must run. How the file is laid out is asked of them.
#[derive(clap::Args)]
#[command(after_help = "EXAMPLE\n  \
    Replica 1 of three has lost its disk. The others serve; on its new disk:\n\n  \
    chronon recover --cluster 7 --replica 1 --replicas 3 --data r1.chronon \\\n    \
    --addresses 127.0.0.1:4000,127.0.0.1:4001,127.0.0.1:4002\n  \
    chronon start --data r1.chronon --addresses 127.0.0.1:4000,127.0.0.1:4001,127.0.0.1:4002\n\n\
    Never start what was lost again, should it be found: it stops as soon as another replica tells it. A copy of a data file from a \
    backup is no help either: it has forgotten what it acknowledged since.")]
pub(crate) struct Arguments {
    /// The cluster: decimal, or hex as in 0x2a
    #[arg(long, value_name = "ID", value_parser = parse_cluster)]
    cluster: ClusterId,

    /// Which replica was lost, from 0
    #[arg(long, value_name = "I")]
    replica: u8,

    /// How many replicas the cluster has: 3 to 6
    #[arg(long, value_name = "N")]
    replicas: u8,

    /// The file to make. What is left of a lost one under this name, damaged beyond opening or cut short, is kept beside it
    #[arg(long, value_name = "FILE")]
    data: PathBuf,

    /// The addresses of all replicas, the lost one's among them
    #[arg(long, value_name = "A,B,C", value_delimiter = ',', required = true)]
    addresses: Vec<SocketAddr>,

    /// How long to wait for each of the others, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 2000)]
    patience_ms: u64,
}

pub(crate) fn main(arguments: &Arguments) -> Result<Status, Trouble> {
    checked(arguments)?;
    let lost = what_is_left(arguments)?;
    let Others { layout, clients_max, application } = ask_others(arguments)?;
    let Arguments { cluster, replica, replicas: replica_count, .. } = *arguments;
    let identity = Identity { cluster, replica: ReplicaId(replica), replica_count, application };
    let incarnation = incarnation()?;
    let blocks = superblock::format_lost(identity, incarnation, layout, clients_max).map_err(Trouble::usage)?;
    // Through a link both are where it leads to: what it is of is that disk's.
    let mut data = arguments.data.clone();
    if let Some(Lost { file, kept }) = lost {
        data = file.path().to_owned();
        file.set_aside(&kept).map_err(|error| match error {
            DataFileError::Exists(_) => in_the_way(&kept),
            other => other.into(),
        })?;
        remark(&format!("what is left of {} is kept as {}", arguments.data.display(), kept.display()));
    }
    make(&data, layout.size(), &blocks)?;
    let addresses: Vec<String> = arguments.addresses.iter().map(ToString::to_string).collect();
    say(&format!(
        "{}: replica {} of {} in cluster {}, to recover under the incarnation {incarnation:032x}\n\
         {}, laid out as the others' are\n\
         next:\n  chronon start --data {} --addresses {}",
        arguments.data.display(),
        arguments.replica,
        arguments.replicas,
        arguments.cluster.0,
        counted(layout.size(), "byte"),
        quoted(&arguments.data),
        addresses.join(",")
    ))?;
    Ok(Status::Done)
}

/// Whether a replica of such a cluster can be recovered at all.
fn checked(arguments: &Arguments) -> Result<(), Trouble> {
    let Arguments { replica, replicas: replica_count, ref addresses, .. } = *arguments;
    if !(1..=REPLICAS_MAX).contains(&replica_count) {
        return Err(Trouble::usage(format!("--replicas {replica_count}: a cluster has 1 to {REPLICAS_MAX} replicas")));
    }
    if replica_count < 3 {
        return Err(Trouble::usage(RecoverError { replica_count }));
    }
    if replica >= replica_count {
        let last = replica_count - 1;
        return Err(Trouble::usage(format!("--replica {replica}: of {replica_count}, the replicas are 0 to {last}")));
    }
    if addresses.len() != usize::from(replica_count) {
        return Err(Trouble::usage(format!("--addresses: {} of {replica_count} replicas are given", addresses.len())));
    }
    Ok(())
}

/// What is left of a lost file.
struct Lost {
    /// It, locked: nobody serves from it, makes it anew or sets it aside before that is done here.
    file: DataFile,
    /// Where it is to be kept.
    kept: PathBuf,
}

/// Whether there is a file already: none, or one that is lost for certain. One of another size than it was made with is: nothing is
/// served from it.
fn what_is_left(arguments: &Arguments) -> Result<Option<Lost>, Trouble> {
    let file = match DataFile::open_to_set_aside(&arguments.data) {
        Ok(file) => file,
        Err(DataFileError::Missing(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    must_be_lost(arguments, file.size(), inspect::opened(&file))?;
    let mut kept = file.path().as_os_str().to_owned();
    kept.push(".lost");
    let kept = PathBuf::from(kept);
    if kept.symlink_metadata().is_ok() {
        return Err(in_the_way(&kept));
    }
    Ok(Some(Lost { file, kept }))
}

/// Refuses a file of that size and with that superblock, unless nobody can ever serve from it again.
fn must_be_lost(arguments: &Arguments, size: u64, found: Result<Superblock, Unopened>) -> Result<(), Trouble> {
    let path = arguments.data.display();
    let found = match found {
        Ok(found) => found,
        Err(Unopened::Refused(OpenError::Blank | OpenError::Lost | OpenError::Forked { .. })) => return Ok(()),
        Err(Unopened::Refused(error)) => return Err(Trouble::usage(format!("{path}: {error}"))),
        Err(Unopened::Unread(error)) => {
            return Err(Trouble::machine(format!(
                "the superblock of {path} cannot be read: {error}; whether the file is lost nobody can tell: look at the disk and start \
                 from it, or choose another name if that replica is to be given up"
            )));
        }
    };
    let identity = found.identity();
    let Identity { cluster, replica, replica_count, .. } = identity;
    if (cluster, replica.0, replica_count) != (arguments.cluster, arguments.replica, arguments.replicas) {
        return Err(Trouble::usage(format!("{path} holds {identity}: check the flags, or choose another name")));
    }
    if size == found.layout.size() {
        return Err(Trouble::usage(format!(
            "{path} is no lost file: it holds {identity}, incarnation {:032x}; start from it, or choose another name if that replica is \
             to be given up",
            found.incarnation
        )));
    }
    Ok(())
}

fn in_the_way(kept: &Path) -> Trouble {
    Trouble::usage(format!("{} exists: move it out of the way", kept.display()))
}

/// What the others have in common.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Others {
    layout: Layout,
    clients_max: u32,
    application: ApplicationName,
}

/// How the others' files are laid out: of a majority of all replicas, without the lost one, which must not answer.
fn ask_others(arguments: &Arguments) -> Result<Others, Trouble> {
    let patience = Duration::from_millis(arguments.patience_ms.max(1));
    let mut found: Vec<(u8, Others)> = Vec::new();
    let mut silent = Vec::new();
    for (replica, answer) in (0..).zip(super::status::ask_all(&arguments.addresses, patience)) {
        let status = match answer {
            Ok(status) => status,
            Err(error) => {
                silent.push(error.to_string());
                continue;
            }
        };
        let given = (arguments.cluster.0, arguments.replicas, replica);
        if (status.cluster, status.replicas, status.replica) != given {
            return Err(Trouble::usage(format!(
                "replica {} of {} in cluster {} answers at {}, and not replica {replica} of {} in cluster {}: check the flags",
                status.replica,
                status.replicas,
                status.cluster,
                arguments.addresses[usize::from(replica)],
                arguments.replicas,
                arguments.cluster.0
            )));
        }
        if replica == arguments.replica {
            return Err(Trouble::usage(format!(
                "replica {replica} answers at {}: it is not lost; stop it first if it is to be given up",
                arguments.addresses[usize::from(replica)]
            )));
        }
        found.push((replica, laid_out(&status)?));
    }
    let needed = usize::from(majority(arguments.replicas));
    if found.len() < needed {
        return Err(Trouble::machine(format!(
            "{} of the others answer, and it takes {needed} to say what was committed: start them first; {}",
            found.len(),
            silent.join("; ")
        )));
    }
    let (first, layout) = found[0];
    if let Some((other, _)) = found.iter().find(|(_, other)| *other != layout) {
        return Err(Trouble::usage(format!("the files of replicas {first} and {other} are not laid out alike")));
    }
    Ok(layout)
}

fn laid_out(status: &status::Status) -> Result<Others, Trouble> {
    let layout = Layout {
        slot_count: status.journal_slots,
        message_size_max: status.message_size_max,
        block_count: status.grid_blocks,
        block_size: status.block_size,
    };
    let application = ApplicationName::new(&status.application).map_err(Trouble::usage)?;
    Ok(Others { layout, clients_max: status.clients_max, application })
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_file_that_the_disk_does_not_give_is_not_taken_for_a_lost_one() {
        let addresses = vec![SocketAddr::from(([127, 0, 0, 1], 1)); 3];
        let (cluster, data) = (ClusterId(7), PathBuf::from("r0.chronon"));
        let arguments = Arguments { cluster, replica: 0, replicas: 3, data, addresses, patience_ms: 1 };
        let unread = Unopened::Unread(io::Error::from_raw_os_error(5));
        let refused = must_be_lost(&arguments, 4096, Err(unread)).unwrap_err();
        assert_eq!(refused.status, Status::Machine);
        assert!(refused.sentence.contains("look at the disk and start from it"), "{}", refused.sentence);
        for lost in [OpenError::Blank, OpenError::Lost, OpenError::Forked { sequence: 5 }] {
            assert_eq!(must_be_lost(&arguments, 4096, Err(Unopened::Refused(lost))), Ok(()));
        }
        let refused = must_be_lost(&arguments, 4096, Err(Unopened::Refused(OpenError::Version(9)))).unwrap_err();
        assert_eq!(refused.status, Status::Usage);
    }
}
