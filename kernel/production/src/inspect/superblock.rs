//! The superblock's four copies, each by itself and all together.

use std::{fmt, io};

use chronon::storage::{
    Superblock, SuperblockError,
    layout::{SUPERBLOCK_COPIES, SUPERBLOCK_COPY_SIZE},
    superblock::{OpenError, recover},
};
use serde::Serialize;

use super::{
    HeaderFacts,
    source::{Unread, read},
};
use crate::data_file::DataFile;

/// What the superblock of a file is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SuperblockReport {
    /// The file.
    pub file: String,
    /// Its size.
    pub size_bytes: u64,
    /// The size that its layout gives it; none if no superblock is in force.
    pub size_expected_bytes: Option<u64>,
    /// The four copies, in order.
    pub copies: Vec<CopyReport>,
    /// What a replica would take for its superblock.
    pub in_force: Option<Facts>,
    /// The copies that it would overwrite with that, before it speaks.
    pub replaced_at_start: Vec<u8>,
    /// Why a replica would not start from this file.
    pub refusal: Option<String>,
    /// Whether anything is damaged: by the medium, or by a torn write that cannot be told from it.
    pub is_damaged: bool,
}

/// What one copy is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CopyReport {
    /// Which one: 0 to 3.
    pub copy: u8,
    /// Where it lies.
    pub offset: u64,
    /// What it is.
    pub state: CopyState,
    /// The same in words.
    pub words: String,
    /// What it says, if it is valid.
    pub facts: Option<Facts>,
}

/// What a copy of the superblock is, beside the one that is in force.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CopyState {
    /// Valid, and what a replica would start from.
    InForce,
    /// Valid, and the one before: an update did not get to it.
    Older,
    /// Valid, and the next one: an update got no further.
    Newer,
    /// Valid, and neither: writes were lost here, or came from elsewhere.
    Stray,
    /// Valid, and another data file's.
    Foreign,
    /// Valid, where none is in force.
    Valid,
    /// Zeros: never written.
    Blank,
    /// Another copy, in the wrong place.
    Misdirected,
    /// Not a copy of a superblock.
    Damaged,
    /// Not to be read at all.
    Unreadable,
}

impl CopyState {
    /// Whether an update that was cut off between two of its writes leaves a copy so.
    const fn is_sound(self) -> bool {
        matches!(self, Self::InForce | Self::Older | Self::Newer | Self::Valid)
    }
}

impl fmt::Display for CopyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InForce => "in force",
            Self::Older => "older",
            Self::Newer => "newer",
            Self::Stray => "stray",
            Self::Foreign => "foreign",
            Self::Valid => "valid",
            Self::Blank => "blank",
            Self::Misdirected => "misdirected",
            Self::Damaged => "damaged",
            Self::Unreadable => "unreadable",
        })
    }
}

/// What a superblock says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Facts {
    /// From 1, one more at each update.
    pub sequence: u64,
    /// Its identity, and the next one's parent.
    pub checksum: String,
    /// The identity of the one before.
    pub parent: String,
    /// The cluster.
    pub cluster: u64,
    /// The replica whose file this is.
    pub replica: u8,
    /// How many replicas the cluster has.
    pub replica_count: u8,
    /// What tells this file from all that were ever formatted, in hex.
    pub incarnation: String,
    /// The committed incarnations of all replicas, in hex, as far as they are known; nothing before the first op.
    pub members: Vec<String>,
    /// How often these were committed.
    pub members_version: u64,
    /// Whether it takes a lost replica's place and gives nobody its word yet.
    pub is_recovering: bool,
    /// While it recovers: the incarnation whose place it asks for, in hex, as soon as it knows.
    pub replaces: Option<String>,
    /// The first view in which it votes and acknowledges, after it has recovered.
    pub votes_from: u64,
    /// The configuration in force.
    pub epoch: u32,
    /// The view that the replica is in or on its way to.
    pub view: u64,
    /// The last view in which it had the view's log.
    pub log_view: u64,
    /// An op up to which the log is committed at least.
    pub commit: u64,
    /// The last op of the log when this was written.
    pub head: u64,
    /// The op whose state the checkpoint has: recovery begins there.
    pub checkpoint: u64,
    /// How many prepares the journal holds.
    pub slot_count: u32,
    /// The largest message, header included.
    pub message_size_max: u32,
    /// How many sessions the cluster keeps.
    pub clients_max: u32,
    /// The application that the log is of; empty if the file does not say.
    pub application: String,
    /// The log's headers above the commit, at least the head's.
    pub suffix: Vec<HeaderFacts>,
}

impl From<&Superblock> for Facts {
    fn from(superblock: &Superblock) -> Self {
        Self {
            sequence: superblock.sequence,
            checksum: superblock.checksum().to_string(),
            parent: superblock.parent.to_string(),
            cluster: superblock.cluster.0,
            replica: superblock.replica.0,
            replica_count: superblock.replica_count,
            incarnation: format!("{:032x}", superblock.incarnation),
            members: superblock.members.incarnations.iter().map(|it| format!("{it:032x}")).collect(),
            members_version: superblock.members.version,
            is_recovering: superblock.recovery.is_pending,
            replaces: (superblock.recovery.replaces != 0).then(|| format!("{:032x}", superblock.recovery.replaces)),
            votes_from: superblock.recovery.votes_from.0,
            epoch: superblock.epoch.0,
            view: superblock.view.0,
            log_view: superblock.log_view.0,
            commit: superblock.commit.0,
            head: superblock.head.0,
            checkpoint: superblock.checkpoint.header.op.0,
            slot_count: superblock.layout.slot_count,
            message_size_max: superblock.layout.message_size_max,
            clients_max: superblock.clients_max,
            application: superblock.application.to_string(),
            suffix: superblock.suffix.iter().map(HeaderFacts::from).collect(),
        }
    }
}

/// The four copies' bytes, as far as they can be read.
pub(super) struct Copies([Result<Vec<u8>, Unread>; SUPERBLOCK_COPIES as usize]);

impl Copies {
    pub(super) fn read(file: &DataFile) -> Self {
        let mut copy = 0;
        Self([(); SUPERBLOCK_COPIES as usize].map(|()| {
            let bytes = read(file, offset(copy), SUPERBLOCK_COPY_SIZE as usize);
            copy += 1;
            bytes
        }))
    }

    fn as_read(&self) -> [Option<&[u8]>; SUPERBLOCK_COPIES as usize] {
        self.0.each_ref().map(|bytes| bytes.as_deref().ok())
    }

    /// The superblock that is in force.
    pub(super) fn open(&self) -> Result<Superblock, OpenError> {
        Superblock::open(self.as_read())
    }

    /// Why the first copy was not read that the disk did not give.
    fn into_failure(self) -> Option<io::Error> {
        self.0.into_iter().find_map(|bytes| match bytes {
            Err(Unread::Failed(error)) => Some(error),
            _ => None,
        })
    }

    /// A valid copy, whether or not it is in force: the latest.
    pub(super) fn latest(&self) -> Option<(u8, Superblock)> {
        let decoded = (0..).zip(&self.0).filter_map(|(copy, bytes)| {
            let superblock = Superblock::decode(bytes.as_deref().ok()?, copy).ok()?;
            Some((copy, superblock))
        });
        decoded.max_by_key(|(_, superblock)| superblock.sequence)
    }
}

/// Why no superblock of a file is in force.
#[derive(Debug)]
pub enum Unopened {
    /// What its copies say.
    Refused(OpenError),
    /// What could be read does not do, and the disk did not give all: it may be there, whole.
    Unread(io::Error),
}

/// The superblock that is in force in a file.
///
/// # Errors
/// Why none is.
pub fn opened(file: &DataFile) -> Result<Superblock, Unopened> {
    let copies = Copies::read(file);
    copies.open().map_err(|error| match error {
        OpenError::Version(_) | OpenError::Foreign { .. } => Unopened::Refused(error),
        // What was not read may be the copy that would make a pair.
        _ => copies.into_failure().map_or(Unopened::Refused(error), Unopened::Unread),
    })
}

/// What the superblock of a file is.
pub fn superblock(file: &DataFile) -> SuperblockReport {
    let copies = Copies::read(file);
    let opened = recover(copies.as_read());
    let held = opened.as_ref().ok().map(|restoration| &restoration.superblock);
    let reports: Vec<CopyReport> =
        (0..).zip(&copies.0).map(|(copy, bytes)| copy_report(copy, bytes.as_deref(), held)).collect();
    let size_expected_bytes = held.map(|superblock| superblock.layout.size());
    let is_whole = size_expected_bytes.is_none_or(|expected| expected == file.size());
    SuperblockReport {
        file: file.path().display().to_string(),
        size_bytes: file.size(),
        size_expected_bytes,
        is_damaged: !is_whole || opened.is_err() || reports.iter().any(|report| !report.state.is_sound()),
        copies: reports,
        in_force: held.map(Facts::from),
        replaced_at_start: opened.as_ref().map_or(Vec::new(), |restoration| restoration.phases[1].to_vec()),
        refusal: opened.as_ref().err().map(ToString::to_string),
    }
}

fn copy_report(copy: u8, bytes: Result<&[u8], &Unread>, held: Option<&Superblock>) -> CopyReport {
    let report = |state, words, facts| CopyReport { copy, offset: offset(copy), state, words, facts };
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(why) => return report(CopyState::Unreadable, format!("cannot be read: {why}"), None),
    };
    match Superblock::decode(bytes, copy) {
        Ok(superblock) => {
            let (state, words) = standing(&superblock, held);
            report(state, words, Some(Facts::from(&superblock)))
        }
        Err(_) if bytes.iter().all(|byte| *byte == 0) => {
            report(CopyState::Blank, "zeros: never written, or lost".to_owned(), None)
        }
        Err(error @ SuperblockError::Misdirected(_)) => report(CopyState::Misdirected, error.to_string(), None),
        Err(error) => report(CopyState::Damaged, error.to_string(), None),
    }
}

/// What a valid copy is, beside the superblock that is in force.
fn standing(copy: &Superblock, held: Option<&Superblock>) -> (CopyState, String) {
    let sequence = copy.sequence;
    let valid = format!("valid, sequence {sequence}");
    let Some(held) = held else { return (CopyState::Valid, format!("{valid}, in which no other copy joins it")) };
    if copy == held {
        return (CopyState::InForce, valid);
    }
    if copy.identity() != held.identity() || copy.incarnation != held.incarnation {
        let words = format!("{valid}, but of {} as another file has it: it was copied here", copy.identity());
        return (CopyState::Foreign, words);
    }
    if sequence + 1 == held.sequence && copy.checksum() == held.parent {
        return (CopyState::Older, format!("{valid}: the one before, which an update had not reached yet"));
    }
    if sequence == held.sequence + 1 && copy.parent == held.checksum() {
        return (CopyState::Newer, format!("{valid}: the next one, whose update got no further and was not spoken of"));
    }
    (CopyState::Stray, format!("{valid}: neither in force nor next to what is; writes were lost here"))
}

fn offset(copy: u8) -> u64 {
    u64::from(copy) * u64::from(SUPERBLOCK_COPY_SIZE)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use rustix::event::{EventfdFlags, eventfd};

    use super::*;

    #[test]
    fn copies_that_the_disk_does_not_give_are_not_lost_and_those_beyond_the_end_are() {
        let unreadable = || File::from(eventfd(0, EventfdFlags::CLOEXEC).unwrap());
        let found = opened(&DataFile::over(unreadable(), 1 << 20));
        assert!(matches!(found, Err(Unopened::Unread(_))), "{found:?}");
        let found = opened(&DataFile::over(unreadable(), 0));
        assert!(matches!(found, Err(Unopened::Refused(OpenError::Lost))), "{found:?}");
    }
}
