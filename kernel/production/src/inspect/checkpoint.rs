//! The checkpoint that a data file's superblock names: every chunk that it reaches, found and verified.

use std::collections::{BTreeMap, BTreeSet};

use chronon::{
    storage::{
        Layout, OpenError,
        checkpoint::{Checkpoint, Root, SECTION_APPLICATION, SECTION_MEMBERS, SECTION_SESSIONS, addresses},
        chunk::{CHUNK_HEADER_SIZE, Chunk, ChunkKind, claimed_address},
    },
    types::Checksum,
};
use serde::Serialize;

use super::{HeaderFacts, source::read, superblock::Copies};
use crate::data_file::DataFile;

/// What is said of a file's checkpoint.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CheckpointReport {
    /// The file.
    pub file: String,
    /// The prepare at whose op the state was.
    pub header: HeaderFacts,
    /// The address that stands for all of it. Replicas with the same checkpoint have the same; none before the first.
    pub root: Option<String>,
    /// The op of the latest that a majority is known to have.
    pub vouched_op: u64,
    /// Its root.
    pub vouched_root: String,
    /// How many blocks the grid has.
    pub block_count: u32,
    /// How large each is.
    pub block_size: u32,
    /// Blocks that claim to hold a chunk, of this checkpoint or of others.
    pub blocks_claimed: u64,
    /// Chunks that the checkpoint reaches, as far as its root and tables are whole.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Leaves of the sessions.
    pub session_leaves: u64,
    /// Leaves of the application's state, its effects and timers among them.
    pub state_leaves: u64,
    /// Chunks that are not here, or are not what they have to be, with why.
    pub damaged: Vec<DamagedChunk>,
    /// Whether there are any.
    pub is_damaged: bool,
}

/// A chunk that is not here, or is not what it has to be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct DamagedChunk {
    /// Its address.
    pub address: String,
    /// The block that claims to hold it, if one does.
    pub block: Option<u32>,
    /// What is wrong.
    pub words: String,
}

/// Reads the whole checkpoint.
///
/// # Errors
/// If no superblock is in force: then none says what the checkpoint is.
pub fn checkpoint(file: &DataFile) -> Result<CheckpointReport, OpenError> {
    let superblock = Copies::read(file).open()?;
    let Checkpoint { header, root } = superblock.checkpoint;
    let mut walk =
        Walk { file, layout: superblock.layout, claims: claims(file, &superblock.layout), damaged: Vec::new() };
    let mut report = CheckpointReport {
        file: file.path().display().to_string(),
        header: HeaderFacts::from(&header),
        root: (root != Checksum(0)).then(|| address_words(root)),
        vouched_op: superblock.vouched.op.0,
        vouched_root: address_words(superblock.vouched.root),
        block_count: superblock.layout.block_count,
        block_size: superblock.layout.block_size,
        blocks_claimed: walk.claims.values().map(|blocks| blocks.len() as u64).sum(),
        chunks: 0,
        bytes: 0,
        session_leaves: 0,
        state_leaves: 0,
        damaged: Vec::new(),
        is_damaged: false,
    };
    let mut list = Vec::new();
    list.extend((root != Checksum(0)).then_some((root, ChunkKind::Root)));
    // One may be named more than once, and damaged ones may name each other.
    let mut seen = BTreeSet::new();
    while let Some((address, kind)) = list.pop() {
        if !seen.insert(address) {
            continue;
        }
        report.chunks += 1;
        let Some(bytes) = walk.chunk(address, kind) else { continue };
        report.bytes += bytes.len() as u64;
        let payload = &bytes[CHUNK_HEADER_SIZE..];
        match kind {
            ChunkKind::Root => match Root::decode(payload) {
                Some(root) if root.header != header => {
                    walk.note(address, None, "it is whole, and the root of another prepare's state")
                }
                Some(root) => list.extend(root.tables.into_iter().rev().map(|table| (table, ChunkKind::Table))),
                None => walk.note(address, None, "it is whole, and no root of this program's format"),
            },
            ChunkKind::Table => match addresses(payload) {
                Some(leaves) => list.extend(leaves.into_iter().rev().map(|leaf| (leaf, ChunkKind::Leaf))),
                None => walk.note(address, None, "it is whole, and no table"),
            },
            ChunkKind::Leaf => match payload.first() {
                // One, of who the replicas are.
                Some(&SECTION_MEMBERS) => {}
                Some(&SECTION_SESSIONS) => report.session_leaves += 1,
                Some(&SECTION_APPLICATION) => report.state_leaves += 1,
                _ => walk.note(address, None, "it is whole, and of no section that this program knows"),
            },
        }
    }
    report.damaged = walk.damaged;
    report.is_damaged = !report.damaged.is_empty();
    Ok(report)
}

struct Walk<'a> {
    file: &'a DataFile,
    layout: Layout,
    claims: BTreeMap<Checksum, Vec<u32>>,
    damaged: Vec<DamagedChunk>,
}

impl Walk<'_> {
    /// The bytes of a chunk, from whichever block that claims to hold it does.
    fn chunk(&mut self, address: Checksum, kind: ChunkKind) -> Option<Vec<u8>> {
        let blocks = self.claims.get(&address).cloned().unwrap_or_default();
        let mut why = "no block claims to hold it".to_owned();
        for block in &blocks {
            match read(self.file, self.layout.block_offset(*block), self.layout.block_size as usize) {
                Ok(mut bytes) => match Chunk::parse(&bytes) {
                    Some(chunk) if chunk.address == address && chunk.kind == kind => {
                        bytes.truncate(chunk.size);
                        return Some(bytes);
                    }
                    Some(chunk) if chunk.address == address => why = "it is whole, and of another kind".to_owned(),
                    _ => "the block that claims to hold it does not match its checksum".clone_into(&mut why),
                },
                Err(unread) => why = format!("the block cannot be read: {unread}"),
            }
        }
        self.note(address, blocks.first().copied(), &why);
        None
    }

    fn note(&mut self, address: Checksum, block: Option<u32>, words: &str) {
        self.damaged.push(DamagedChunk { address: address_words(address), block, words: words.to_owned() });
    }
}

/// The blocks of the grid by what they claim to hold, as a replica finds them when it starts.
fn claims(file: &DataFile, layout: &Layout) -> BTreeMap<Checksum, Vec<u32>> {
    let mut claims: BTreeMap<Checksum, Vec<u32>> = BTreeMap::new();
    for block in 0..layout.block_count {
        let bytes = read(file, layout.block_offset(block), CHUNK_HEADER_SIZE);
        if let Some(address) = bytes.ok().and_then(|bytes| claimed_address(&bytes)) {
            claims.entry(address).or_default().push(block);
        }
    }
    claims
}

fn address_words(address: Checksum) -> String {
    format!("{:032x}", address.0)
}
