//! The four copies together: which value holds, and how to make it durable again.

use core::fmt;

use super::{ApplicationName, Superblock, SuperblockError};
use crate::{
    storage::{is_zero, layout::SUPERBLOCK_COPIES},
    types::{Checksum, ClusterId, ReplicaId},
};

/// The order of an update: these copies, a barrier, those copies, a barrier.
pub const UPDATE_PHASES: [&[u8]; 2] = [&[0, 1], &[2, 3]];

/// Why a data file cannot be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenError {
    /// Every copy is zeros: they were lost, or the file was never formatted, which nobody can tell.
    Blank,
    /// No two copies agree. The replica does not know what it promised and must not speak (design rule 5).
    Lost,
    /// Two values both claim to be in force: more than one program wrote to this file.
    Forked {
        /// The sequence at which they part.
        sequence: u64,
    },
    /// A program that writes another format has been here.
    Version(u32),
    /// The file is another replica's.
    Foreign {
        /// Whose file it is.
        found: Identity,
        /// Whose it should be.
        expected: Identity,
    },
}

/// Whose data file it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The replica.
    pub replica: ReplicaId,
    /// How many replicas the cluster has.
    pub replica_count: u8,
    /// The application.
    pub application: ApplicationName,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, replica, replica_count, application } = self;
        write!(f, "replica {} of {replica_count} in cluster {}", replica.0, cluster.0)?;
        if application.is_none() { Ok(()) } else { write!(f, " ({application})") }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => write!(
                f,
                "all copies of the superblock are zeros: unless the file was never formatted it is lost, and this replica does not know \
                 what it promised: recover it from the other replicas (one that is alone, from a copy of its file), and do not format it \
                 again under the same identity"
            ),
            Self::Lost => write!(
                f,
                "no two copies of the superblock agree, so this replica does not know what it promised: \
                 recover it from the other replicas, and do not format it again under the same identity"
            ),
            Self::Forked { sequence } => write!(
                f,
                "two superblocks follow sequence {}: two programs wrote to this data file; recover it from the other \
                 replicas",
                sequence.saturating_sub(1)
            ),
            Self::Version(found) => write!(
                f,
                "the data file has format {found} and this program reads {}: use the program that wrote it",
                super::FORMAT_VERSION
            ),
            Self::Foreign { found, expected } => {
                write!(f, "the data file belongs to {found}, not to {expected}: check the path and the flags")
            }
        }
    }
}

impl core::error::Error for OpenError {}

impl OpenError {
    /// Whether what the replica promised is lost for good, so that it can only be recovered through the others. A file that was never
    /// formatted is not told from one that lost everything.
    pub const fn is_loss(&self) -> bool {
        matches!(self, Self::Blank | Self::Lost | Self::Forked { .. })
    }
}

/// A superblock, and the writes that make it durable in all four copies: before that, the replica must not speak.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Restoration {
    /// What holds, and what to write.
    pub superblock: Superblock,
    /// The copies to write first, followed by a barrier; then these, followed by a barrier. The second may be none.
    pub phases: [&'static [u8]; 2],
}

impl Superblock {
    /// The superblock that holds, of four copies; `None` is one that could not be read. Writes nothing and so promises
    /// nothing: a replica that goes on from it uses [`recover`].
    pub fn open(copies: [Option<&[u8]>; SUPERBLOCK_COPIES as usize]) -> Result<Self, OpenError> {
        open_copies(copies).map(|(superblock, _)| superblock)
    }

    /// Whose file this is.
    pub const fn identity(&self) -> Identity {
        let Self { cluster, replica, replica_count, application, .. } = *self;
        Identity { cluster, replica, replica_count, application }
    }

    /// Whether the file is this replica's.
    pub fn expect(&self, expected: Identity) -> Result<(), OpenError> {
        let found = self.identity();
        if found == expected { Ok(()) } else { Err(OpenError::Foreign { found, expected }) }
    }
}

/// The superblock that holds, of four copies, and how to make it durable in all of them.
///
/// First the copies that hold it already are written again, as they are: they may be readable without being durable
/// (after a failed barrier reads may give what no power cut would leave), and where they are durable, a write that
/// changes nothing can tear nothing. Only when a barrier has made them durable are the others overwritten, of which two
/// may have been all that would have outlasted a power cut until then.
pub fn recover(copies: [Option<&[u8]>; SUPERBLOCK_COPIES as usize]) -> Result<Restoration, OpenError> {
    let (superblock, holders) = open_copies(copies)?;
    Ok(Restoration { superblock, phases: [SUBSETS[holders], SUBSETS[SUBSETS.len() - 1 - holders]] })
}

/// Every set of copies, by the bits of its index.
const SUBSETS: [&[u8]; 1 << SUPERBLOCK_COPIES] = [
    &[],
    &[0],
    &[1],
    &[0, 1],
    &[2],
    &[0, 2],
    &[1, 2],
    &[0, 1, 2],
    &[3],
    &[0, 3],
    &[1, 3],
    &[0, 1, 3],
    &[2, 3],
    &[0, 2, 3],
    &[1, 2, 3],
    &[0, 1, 2, 3],
];

/// What a valid copy holds.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Found {
    sequence: u64,
    checksum: Checksum,
    parent: Checksum,
}

/// The superblock that holds, and the copies that hold it as an index into [`SUBSETS`].
fn open_copies(copies: [Option<&[u8]>; SUPERBLOCK_COPIES as usize]) -> Result<(Superblock, usize), OpenError> {
    let mut sums = [None; SUPERBLOCK_COPIES as usize];
    let mut best: Option<(Superblock, Found)> = None;
    for (copy, bytes) in (0..).zip(copies) {
        let Some(bytes) = bytes else { continue };
        match Superblock::decode_with_checksum(bytes, copy) {
            Ok((superblock, checksum)) => {
                let found = Found { sequence: superblock.sequence, checksum, parent: superblock.parent };
                let is_second = sums.contains(&Some(found));
                sums[copy as usize] = Some(found);
                if is_second && best.as_ref().is_none_or(|(_, best)| best.sequence < found.sequence) {
                    best = Some((superblock, found));
                }
            }
            // One sound copy is enough: to take an older pair beside it would forget what that program promised.
            Err(SuperblockError::Version(version)) => return Err(OpenError::Version(version)),
            Err(_) => {}
        }
    }
    let Some((superblock, best)) = best else {
        let blank = copies.iter().all(|bytes| bytes.is_some_and(is_zero));
        return Err(if blank { OpenError::Blank } else { OpenError::Lost });
    };
    let pairs = sums.iter().flatten().filter(|found| sums.iter().flatten().filter(|other| other == found).count() > 1);
    for pair in pairs {
        let same_sequence = pair.sequence == best.sequence && pair.checksum != best.checksum;
        let not_its_parent = pair.sequence + 1 == best.sequence && pair.checksum != best.parent;
        if same_sequence || not_its_parent {
            return Err(OpenError::Forked { sequence: best.sequence });
        }
    }
    let holders = (0..).zip(sums).filter(|(_, found)| *found == Some(best)).map(|(copy, _)| 1 << copy).sum::<usize>();
    Ok((superblock, holders))
}

#[cfg(test)]
mod tests;
