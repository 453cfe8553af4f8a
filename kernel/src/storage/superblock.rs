//! The superblock: what a replica must know of itself before it reads its log. Four copies of one value.
//!
//! ```text
//!     0  checksum          u128  BLAKE3-128 of bytes 16..64: this copy's
//!    16  checksum_content  u128  BLAKE3-128 of bytes 64..512 + 128 × suffix_length: the same in every copy, the identity
//!    32  suffix_length     u32   1 to 32
//!    36  copy              u8    0 to 3
//!    37  reserved          [u8; 27] = 0
//!    64  magic             [u8; 8] = "CHRONON\0"
//!    72  format            u32   = 5
//!    76  epoch             u32
//!    80  sequence          u64   from 1, one more at each update
//!    88  cluster           u64
//!    96  parent            u128  checksum_content of the sequence before, 0 at the first
//!   112  incarnation       u128
//!   128  view              u64
//!   136  log_view          u64
//!   144  commit            u64
//!   152  head              u64
//!   160  slot_count        u32
//!   164  message_size_max  u32
//!   168  clients_max       u32
//!   172  replica           u8
//!   173  replica_count     u8
//!   174  is_recovering     u8    0 or 1
//!   175  reserved          u8 = 0
//!   176  block_count       u32
//!   180  block_size        u32
//!   184  vouched_op        u64   0 with the root 0: none
//!   192  vouched_root      u128
//!   208  checkpoint_root   u128  0 with op 0: none
//!   224  members_version   u64   0 with no members: none known
//!   232  votes_from        u64
//!   240  replaces          u128  0 unless it recovers
//!   256  checkpoint        header of the prepare at the checkpoint's op
//!   384  members           [u128; 6], by replica; 0 for one that was never seen, or beyond the last
//!   480  application       [u8; 16]  its name, padded with zeros; all zeros if it has none
//!   496  reserved          [u8; 16] = 0
//!   512  suffix            [header; suffix_length], ascending, chained, the last one the head's
//!        reserved          zeros to 8192
//! ```
//!
//! **Update.** The next sequence goes to copies 0 and 1, a barrier, then to copies 2 and 3, a barrier ([`UPDATE_PHASES`]).
//! Only then may anything that rests on it be said. At every moment one pair of copies is durable and untouched.
//!
//! **Open** takes the highest sequence of which two identical valid copies exist. One copy is not enough: it may be the
//! first of an update whose other writes never happened, and be gone after the next power cut.
//!
//! **Restoring** ([`recover`]) goes before anything is said again: what can be read need not be durable (design rule 6).
//!
//! Lacks on purpose: knowledge of which values may follow which. That is the protocol's.

mod application;
mod copies;
mod format;

pub use crate::storage::layout::{SUPERBLOCK_COPIES, SUPERBLOCK_COPY_SIZE};
pub use application::{ApplicationName, ApplicationNameError};
pub use copies::{Identity, OpenError, Restoration, UPDATE_PHASES, recover};
pub use format::{RecoverError, format, format_lost};

use alloc::{vec, vec::Vec};
use core::fmt;

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U32, U64, U128},
};

use crate::{
    storage::{
        checkpoint::Checkpoint,
        is_zero,
        layout::{Layout, LayoutError},
    },
    types::{Checksum, ClusterId, CommitIndex, Epoch, Op, ReplicaId, View},
    wire::{
        HEADER_SIZE, Header, WireError,
        members::{MEMBERS_MAX, Members},
        message::is_chained,
    },
};

/// The most headers of the log that a superblock holds. No more ops than this are in flight.
pub const SUFFIX_MAX: usize = 32;

/// The most replicas in a cluster.
pub const REPLICAS_MAX: u8 = 6;

/// The version of the data file's format that this program reads and writes.
pub const FORMAT_VERSION: u32 = 5;

/// What a replica must know of itself before it reads its log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Superblock {
    /// From 1, one more at each update.
    pub sequence: u64,
    /// [`Superblock::checksum`] of the sequence before.
    pub parent: Checksum,
    /// The cluster.
    pub cluster: ClusterId,
    /// The replica whose file this is.
    pub replica: ReplicaId,
    /// How many replicas the cluster has.
    pub replica_count: u8,
    /// Drawn at random by `format`: tells a re-formatted replica from the one that it replaces.
    pub incarnation: u128,
    /// The configuration in force.
    pub epoch: Epoch,
    /// The view that the replica is in or on its way to.
    pub view: View,
    /// The last view in which it had the view's log.
    pub log_view: View,
    /// An op up to which the log is committed. More of it may be.
    pub commit: CommitIndex,
    /// The last op of the log of `log_view`, when this was written.
    pub head: Op,
    /// The headers of that log above `commit`, at least the head's: what the log *is*, whatever the journal holds.
    pub suffix: Vec<Header>,
    /// The state from which recovery begins. Covers ops whose slots may hold others by now.
    pub checkpoint: Checkpoint,
    /// The latest checkpoint that is known to be the same on a majority.
    pub vouched: Vouched,
    /// The latest members that are known to be committed.
    pub members: Members,
    /// How far this replica has come with taking a lost one's place.
    pub recovery: Recovery,
    /// How the file is laid out.
    pub layout: Layout,
    /// How many sessions the cluster keeps. Which one is evicted is part of the state: all replicas have the same.
    pub clients_max: u32,
    /// The application that the log is of.
    pub application: ApplicationName,
}

/// A checkpoint that a majority of replicas has, durable and with the same root. Op 0 and root 0: none yet.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Vouched {
    /// The op at which it is.
    pub op: Op,
    /// Its root's address.
    pub root: Checksum,
}

/// How far a replica that was formatted in a lost one's place has come (design rule 5).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Recovery {
    /// Whether it still recovers: until it holds what the cluster had committed when it became a member, it gives nobody its word.
    pub is_pending: bool,
    /// While it recovers: the incarnation whose place it asks for, 0 as long as it does not know.
    pub replaces: u128,
    /// The first view in which it votes and acknowledges.
    pub votes_from: View,
}

/// Why bytes are not a copy of a superblock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SuperblockError {
    /// They are not as many as a copy has.
    Length,
    /// The copy's own first 64 bytes do not match their checksum.
    CopyChecksum,
    /// The content does not match its checksum.
    ContentChecksum,
    /// This is another copy, in the wrong place.
    Misdirected(u8),
    /// This is no superblock.
    Magic,
    /// It is of another format version.
    Version(u32),
    /// A reserved byte is not zero.
    Reserved,
    /// The layout is none.
    Layout(LayoutError),
    /// The replica is not one of its cluster, or the cluster is too large.
    Replica,
    /// There is room for no session.
    Clients,
    /// The application's name is none.
    Application,
    /// The sequence is none: 0, or the largest number, which has no successor.
    Sequence,
    /// The log view is later than the view.
    LogView,
    /// A header of the suffix does not decode.
    Header(WireError),
    /// The suffix is not a chain of prepares of this cluster that ends at the head.
    Suffix,
    /// The checkpoint is not of this cluster's log, or above what is committed, or has no root.
    Checkpoint,
    /// The members are not those of a cluster of this size, or the recovery is none.
    Members,
}

impl fmt::Display for SuperblockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length => write!(f, "a copy has {SUPERBLOCK_COPY_SIZE} bytes: read it whole"),
            Self::CopyChecksum => write!(f, "the copy does not match its checksum: it was damaged or torn"),
            Self::ContentChecksum => write!(f, "the content does not match its checksum: it was damaged or torn"),
            Self::Misdirected(copy) => write!(f, "this is copy {copy}, in another's place"),
            Self::Magic => write!(f, "this is no superblock: check that the file is a data file"),
            Self::Version(found) => {
                write!(
                    f,
                    "the format is {found} and this program reads {FORMAT_VERSION}: use the program that wrote it"
                )
            }
            Self::Reserved => write!(f, "a reserved byte is not zero: use the program that wrote it"),
            Self::Layout(error) => write!(f, "the layout is none: {error}"),
            Self::Replica => {
                write!(f, "the replica is not one of a cluster of 1 to {REPLICAS_MAX}: format the file again")
            }
            Self::Clients => write!(f, "there is room for no session: the writer has a defect"),
            Self::Application => write!(f, "the application's name is none: the writer has a defect"),
            Self::Sequence => write!(f, "the sequence is none: the writer has a defect"),
            Self::LogView => write!(f, "the log view is later than the view: the writer has a defect"),
            Self::Header(error) => write!(f, "a header of the suffix does not decode: {error}"),
            Self::Suffix => write!(f, "the suffix is no chain of prepares up to the head: the writer has a defect"),
            Self::Checkpoint => write!(f, "the checkpoint is of no committed op: the writer has a defect"),
            Self::Members => write!(f, "the members are not this cluster's: the writer has a defect"),
        }
    }
}

impl core::error::Error for SuperblockError {}

impl Superblock {
    /// The bytes of copy `copy`.
    ///
    /// # Panics
    /// If there is no such copy, or if this is no superblock that [`Superblock::decode`] would accept.
    pub fn encode(&self, copy: u8) -> Vec<u8> {
        let mut bytes = self.encode_content();
        let content = Checksum::of(&bytes[CONTENT_START..content_end(self.suffix.len())]);
        bytes[16..32].copy_from_slice(&content.0.to_le_bytes());
        stamp(&mut bytes, copy);
        bytes
    }

    /// The superblock in the place of copy `copy`.
    pub fn decode(bytes: &[u8], copy: u8) -> Result<Self, SuperblockError> {
        Self::decode_with_checksum(bytes, copy).map(|(superblock, _)| superblock)
    }

    /// The checksum of the content, the same in every copy: the superblock's identity, and the next one's parent.
    pub fn checksum(&self) -> Checksum {
        Checksum::of(&self.encode_content()[CONTENT_START..content_end(self.suffix.len())])
    }

    /// The same content as the next sequence, to be changed and written.
    pub fn successor(&self) -> Self {
        self.successor_of(self.checksum())
    }

    /// As [`Superblock::successor`], for who knows this one's [`Superblock::checksum`] already: see [`checksum_in`].
    pub fn successor_of(&self, parent: Checksum) -> Self {
        Self { sequence: self.sequence + 1, parent, ..self.clone() }
    }

    fn decode_with_checksum(bytes: &[u8], copy: u8) -> Result<(Self, Checksum), SuperblockError> {
        if bytes.len() != COPY_SIZE {
            return Err(SuperblockError::Length);
        }
        let (fields, rest) = Fields::ref_from_prefix(bytes).map_err(|_| SuperblockError::Length)?;
        if Checksum::of(&bytes[16..CONTENT_START]).0 != fields.checksum.get() {
            return Err(SuperblockError::CopyChecksum);
        }
        // Vouched for by the copy's own checksum: what of the content is checked may follow from it.
        let suffix_length = fields.suffix_length.get() as usize;
        if suffix_length > SUFFIX_MAX {
            return Err(SuperblockError::Suffix);
        }
        let content = Checksum::of(&bytes[CONTENT_START..content_end(suffix_length)]);
        if content.0 != fields.checksum_content.get() {
            return Err(SuperblockError::ContentChecksum);
        }
        if fields.magic != MAGIC {
            return Err(SuperblockError::Magic);
        }
        if fields.format.get() != FORMAT_VERSION {
            return Err(SuperblockError::Version(fields.format.get()));
        }
        if fields.copy != copy {
            return Err(SuperblockError::Misdirected(fields.copy));
        }
        let (suffix, unused) = rest.split_at(suffix_length * HEADER_SIZE);
        if !is_zero(&fields.reserved_copy)
            || !is_zero(&fields.reserved)
            || !is_zero(&fields.reserved_more)
            || fields.is_recovering > 1
            || !is_zero(unused)
        {
            return Err(SuperblockError::Reserved);
        }
        let header = Header::decode(&fields.checkpoint).map_err(SuperblockError::Header)?;
        let version = fields.members_version.get();
        let known = if version == 0 { 0 } else { usize::from(fields.replica_count).min(MEMBERS_MAX) };
        let (members, beyond) = fields.members.split_at(known);
        let superblock = Self {
            sequence: fields.sequence.get(),
            parent: Checksum(fields.parent.get()),
            cluster: ClusterId(fields.cluster.get()),
            replica: ReplicaId(fields.replica),
            replica_count: fields.replica_count,
            incarnation: fields.incarnation.get(),
            epoch: Epoch(fields.epoch.get()),
            view: View(fields.view.get()),
            log_view: View(fields.log_view.get()),
            commit: CommitIndex(fields.commit.get()),
            head: Op(fields.head.get()),
            suffix: suffix
                .chunks_exact(HEADER_SIZE)
                .map(Header::decode)
                .collect::<Result<_, _>>()
                .map_err(SuperblockError::Header)?,
            checkpoint: Checkpoint { header, root: Checksum(fields.checkpoint_root.get()) },
            vouched: Vouched { op: Op(fields.vouched_op.get()), root: Checksum(fields.vouched_root.get()) },
            members: Members { version, incarnations: members.iter().map(|incarnation| incarnation.get()).collect() },
            recovery: Recovery {
                is_pending: fields.is_recovering == 1,
                replaces: fields.replaces.get(),
                votes_from: View(fields.votes_from.get()),
            },
            layout: Layout {
                slot_count: fields.slot_count.get(),
                message_size_max: fields.message_size_max.get(),
                block_count: fields.block_count.get(),
                block_size: fields.block_size.get(),
            },
            clients_max: fields.clients_max.get(),
            application: ApplicationName::from_bytes(fields.application).ok_or(SuperblockError::Application)?,
        };
        superblock.verify()?;
        if beyond.iter().any(|incarnation| incarnation.get() != 0) {
            return Err(SuperblockError::Members);
        }
        Ok((superblock, content))
    }

    /// Whether the values make sense together. Checked when written and when read.
    fn verify(&self) -> Result<(), SuperblockError> {
        self.layout.validated().map_err(SuperblockError::Layout)?;
        if self.replica.0 >= self.replica_count || self.replica_count > REPLICAS_MAX {
            return Err(SuperblockError::Replica);
        }
        if self.clients_max == 0 {
            return Err(SuperblockError::Clients);
        }
        // Neither before the first nor without a successor.
        if self.sequence == 0 || self.sequence == u64::MAX {
            return Err(SuperblockError::Sequence);
        }
        if self.log_view > self.view {
            return Err(SuperblockError::LogView);
        }
        let ends_at_head = self.suffix.last().is_some_and(|header| header.op == self.head);
        let of_this_log = self.suffix.iter().all(|header| header.cluster == self.cluster && header.is_log_entry());
        if self.suffix.len() > SUFFIX_MAX || !ends_at_head || !of_this_log || !is_chained(&self.suffix) {
            return Err(SuperblockError::Suffix);
        }
        let Checkpoint { header, root } = &self.checkpoint;
        let of_this_log = header.cluster == self.cluster && header.is_log_entry() && self.commit.covers(header.op);
        let beginning = |op: Op, root: Checksum| (op == Op::ROOT) == (root == Checksum(0));
        if !of_this_log
            || header.op > self.head
            || !beginning(header.op, *root)
            || !beginning(self.vouched.op, self.vouched.root)
        {
            return Err(SuperblockError::Checkpoint);
        }
        if !self.members.fit(self.replica_count) || (!self.recovery.is_pending && self.recovery.replaces != 0) {
            return Err(SuperblockError::Members);
        }
        Ok(())
    }

    /// A copy's bytes with everything before the content still zero, but for the suffix's length.
    fn encode_content(&self) -> Vec<u8> {
        if let Err(error) = self.verify() {
            panic!("a superblock that is written can be read: {error}");
        }
        let fields = Fields {
            checksum: U128::ZERO,
            checksum_content: U128::ZERO,
            suffix_length: U32::new(self.suffix.len() as u32),
            copy: 0,
            reserved_copy: [0; 27],
            magic: MAGIC,
            format: U32::new(FORMAT_VERSION),
            epoch: U32::new(self.epoch.0),
            sequence: U64::new(self.sequence),
            cluster: U64::new(self.cluster.0),
            parent: U128::new(self.parent.0),
            incarnation: U128::new(self.incarnation),
            view: U64::new(self.view.0),
            log_view: U64::new(self.log_view.0),
            commit: U64::new(self.commit.0),
            head: U64::new(self.head.0),
            slot_count: U32::new(self.layout.slot_count),
            message_size_max: U32::new(self.layout.message_size_max),
            clients_max: U32::new(self.clients_max),
            replica: self.replica.0,
            replica_count: self.replica_count,
            is_recovering: self.recovery.is_pending.into(),
            reserved: [0],
            block_count: U32::new(self.layout.block_count),
            block_size: U32::new(self.layout.block_size),
            vouched_op: U64::new(self.vouched.op.0),
            vouched_root: U128::new(self.vouched.root.0),
            checkpoint_root: U128::new(self.checkpoint.root.0),
            members_version: U64::new(self.members.version),
            votes_from: U64::new(self.recovery.votes_from.0),
            replaces: U128::new(self.recovery.replaces),
            checkpoint: self.checkpoint.header.encode(),
            members: core::array::from_fn(|replica| U128::new(self.members.of(ReplicaId(replica as u8)))),
            application: self.application.to_bytes(),
            reserved_more: [0; 16],
        };
        let mut bytes = vec![0; COPY_SIZE];
        bytes[..SUFFIX_START].copy_from_slice(fields.as_bytes());
        for (place, header) in bytes[SUFFIX_START..].chunks_exact_mut(HEADER_SIZE).zip(&self.suffix) {
            place.copy_from_slice(&header.encode());
        }
        bytes
    }
}

/// The [`Superblock::checksum`] of what these bytes of a copy were encoded from.
///
/// # Panics
/// If `bytes` is shorter than what all copies begin with.
pub fn checksum_in(bytes: &[u8]) -> Checksum {
    let (fields, _) = Fields::ref_from_prefix(bytes).expect("a copy was encoded whole");
    Checksum(fields.checksum_content.get())
}

/// Makes the bytes of one copy those of copy `copy`, without hashing the content again.
///
/// # Panics
/// If there is no such copy, or if `bytes` is not as long as a copy.
pub fn stamp(bytes: &mut [u8], copy: u8) {
    assert!(copy < SUPERBLOCK_COPIES, "the superblock has four copies");
    assert!(bytes.len() == COPY_SIZE, "a copy is stamped whole");
    bytes[COPY_OFFSET] = copy;
    let own = Checksum::of(&bytes[16..CONTENT_START]);
    bytes[..16].copy_from_slice(&own.0.to_le_bytes());
}

const MAGIC: [u8; 8] = *b"CHRONON\0";

/// The size of a copy, in memory.
const COPY_SIZE: usize = SUPERBLOCK_COPY_SIZE as usize;

/// Where a copy's number lies.
const COPY_OFFSET: usize = core::mem::offset_of!(Fields, copy);

/// Where a copy's content begins: what all copies share.
pub const CONTENT_START: usize = 64;

/// Where the suffix begins.
const SUFFIX_START: usize = 512;

/// Where a copy's content ends. Hashing the zeros behind it would cost many times what they are worth.
const fn content_end(suffix_length: usize) -> usize {
    SUFFIX_START + suffix_length * HEADER_SIZE
}

/// The bytes of a copy before its suffix.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Fields {
    checksum: U128,
    checksum_content: U128,
    suffix_length: U32,
    copy: u8,
    reserved_copy: [u8; 27],
    magic: [u8; 8],
    format: U32,
    epoch: U32,
    sequence: U64,
    cluster: U64,
    parent: U128,
    incarnation: U128,
    view: U64,
    log_view: U64,
    commit: U64,
    head: U64,
    slot_count: U32,
    message_size_max: U32,
    clients_max: U32,
    replica: u8,
    replica_count: u8,
    is_recovering: u8,
    reserved: [u8; 1],
    block_count: U32,
    block_size: U32,
    vouched_op: U64,
    vouched_root: U128,
    checkpoint_root: U128,
    members_version: U64,
    votes_from: U64,
    replaces: U128,
    checkpoint: [u8; HEADER_SIZE],
    members: [U128; MEMBERS_MAX],
    application: [u8; ApplicationName::SIZE_MAX],
    reserved_more: [u8; 16],
}

const _: () = assert!(size_of::<Fields>() == SUFFIX_START, "the fields have no padding");
const _: () = assert!(SUFFIX_START + SUFFIX_MAX * HEADER_SIZE <= COPY_SIZE, "the longest suffix fits");

#[cfg(test)]
mod tests;
