//! Promise: the checkpoint that a superblock names is whole and durable, the same on every replica that has it, and covers whatever
//! lay in a slot that is used again.
//!
//! Where a replica's chunks lie it says itself; what lies there is read from the disk. Damage that the medium took is no fault of the
//! replica's. That the state in a checkpoint is that of its op is judged where one is restored (see `state`). Deliberately
//! absent: blocks that no durable checkpoint reaches, which a replica may do with as it likes.

use std::collections::BTreeMap;

use chronon::{
    frame::SECTOR_SIZE,
    storage::{
        checkpoint::{Checkpoint, Root, addresses},
        chunk::{Chunk, ChunkKind},
        layout::Layout,
    },
    types::{Checksum, Op, ReplicaId},
    vsr::Vsr,
    wire::batch::{Batch, Kind},
};

use super::{Violation, model::Model, promise::broken, speech::Speech};
use crate::{disk::SimDisk, fold::checksum};

const PROMISE: &str = "checkpoints";

/// So many slots are kept for what no client asks for.
const SLOTS_RESERVED: u64 = 8;

/// The last of those, which operators do not get either.
const SLOTS_OF_SYSTEM: u64 = 4;

/// What is known of checkpoints.
#[derive(Clone)]
pub(super) struct Checkpoints {
    layout: Layout,
    /// The root at each op, and who had it first.
    roots: BTreeMap<Op, (ReplicaId, Checksum)>,
    /// Of each replica, the op of the last checkpoint that it named in this life.
    named: Vec<Option<Op>>,
    /// Of each replica, the op of the latest checkpoint that it ever had.
    reached: Vec<Op>,
    /// The chunks that were found to be what their names say, by a checksum of another kind that is cheaper: replicas hold the same.
    whole: BTreeMap<Checksum, u64>,
    /// Kept for its capacity.
    bytes: Vec<u8>,
}

impl Checkpoints {
    pub(super) fn new(replica_count: u8, layout: Layout) -> Self {
        let named = vec![None; replica_count as usize];
        let reached = vec![Op::ROOT; replica_count as usize];
        Self { layout, roots: BTreeMap::new(), named, reached, whole: BTreeMap::new(), bytes: Vec::new() }
    }

    /// A replica's life is over.
    pub(super) fn crashed(&mut self, replica: ReplicaId) {
        self.named[replica.0 as usize] = None;
    }

    /// A replica relies on a superblock that names this checkpoint.
    pub(super) fn named(
        &mut self,
        model: &Model,
        replica: ReplicaId,
        vsr: &Vsr,
        checkpoint: &Checkpoint,
        disk: &SimDisk,
    ) -> Result<(), Violation> {
        let (op, root) = (checkpoint.header.op, checkpoint.root);
        let before = self.named[replica.0 as usize].replace(op);
        let reached = &mut self.reached[replica.0 as usize];
        *reached = op.max(*reached);
        // After a start it is known where chunks lie only as far as blocks could be read; what is lost is repaired.
        let just_started = before.is_none() && vsr.checkpoints().is_restoring();
        if before == Some(op) || op == Op::ROOT || just_started {
            return Ok(());
        }
        if model.get(op).is_none_or(|known| known.checksum != checkpoint.header.checksum) {
            let sentence = format!("{replica} has a checkpoint at {op}, which is not committed as it says");
            return Err(broken(PROMISE, "a checkpoint of what is not committed", sentence));
        }
        let (first, known) = *self.roots.entry(op).or_insert((replica, root));
        if known != root {
            let sentence =
                format!("the checkpoint at {op} has the root {known:?} on {first} and {root:?} on {replica}");
            return Err(broken(PROMISE, "two checkpoints at one op", sentence));
        }
        let mut list = vec![(root, ChunkKind::Root)];
        while let Some((address, kind)) = list.pop() {
            match self.chunk(vsr, disk, address, kind) {
                Found::Whole(below) => list.extend(below),
                Found::Damaged => {}
                Found::Missing => {
                    let sentence = format!(
                        "{replica}'s superblock names the checkpoint at {op}, of which {address:?} is not durable"
                    );
                    return Err(broken(PROMISE, "a checkpoint that is not whole", sentence));
                }
            }
        }
        Ok(())
    }

    /// What the disk holds of a chunk, in whichever block; of a root or a table, what it names.
    fn chunk(&mut self, vsr: &Vsr, disk: &SimDisk, address: Checksum, kind: ChunkKind) -> Found {
        let mut found = Found::Missing;
        for block in vsr.checkpoints().blocks_of(address) {
            match self.block(disk, block, address, kind) {
                Found::Whole(below) => return Found::Whole(below),
                Found::Damaged => found = Found::Damaged,
                Found::Missing => {}
            }
        }
        found
    }

    fn block(&mut self, disk: &SimDisk, block: u32, address: Checksum, kind: ChunkKind) -> Found {
        let (offset, size) = (self.layout.block_offset(block), u64::from(self.layout.block_size));
        let certain = disk.durable_read(offset, size, &mut self.bytes);
        let chunk = parse(&mut self.whole, &self.bytes);
        let Some(Chunk { payload, .. }) =
            chunk.filter(|chunk| certain && chunk.address == address && chunk.kind == kind)
        else {
            let sector = SECTOR_SIZE as u64;
            let sound = disk.damaged_sectors() == 0 || disk.is_stable(offset / sector, (offset + size) / sector);
            return if sound { Found::Missing } else { Found::Damaged };
        };
        let named = match kind {
            ChunkKind::Root => Root::decode(payload).map(|root| (root.tables, ChunkKind::Table)),
            ChunkKind::Table => addresses(payload).map(|leaves| (leaves, ChunkKind::Leaf)),
            ChunkKind::Leaf => Some((Vec::new(), ChunkKind::Leaf)),
        };
        let Some((named, kind)) = named else { return Found::Missing };
        Found::Whole(named.into_iter().map(|address| (address, kind)).collect())
    }

    /// A prepare is sent for the first time: it names the checkpoint that is vouched for. The last slots before the ring comes round to
    /// what that does not cover are for the system's own entries alone, and of these the first for operators' requests too (design rule 19).
    pub(super) fn proposed(&self, replica: ReplicaId, speech: Speech<'_>) -> Result<(), Violation> {
        let (op, vouched) = (speech.op(), speech.request().0);
        let have = self.reached.iter().filter(|reached| reached.0 >= vouched).count();
        if have <= self.reached.len() / 2 {
            let sentence =
                format!("{replica} says in {op} that op{vouched} is vouched for, where {have} ever had a checkpoint");
            return Err(broken(PROMISE, "a checkpoint that no majority had", sentence));
        }
        let is_free = |reserved| op.0 + reserved <= vouched + u64::from(self.layout.slot_count);
        let may_be_here = |kind| match kind {
            Kind::Request => is_free(SLOTS_RESERVED),
            Kind::Operator => is_free(SLOTS_OF_SYSTEM),
            Kind::System | Kind::Members => true,
        };
        let batch = Batch::parse(speech.body());
        if is_free(SLOTS_RESERVED) || batch.map_or(true, |batch| batch.iter().all(|entry| may_be_here(entry.kind))) {
            return Ok(());
        }
        let sentence =
            format!("{replica} proposes a request in {op}, with op{vouched} vouched for: the slot is not for requests");
        Err(broken(PROMISE, "a request in a reserved slot", sentence))
    }

    /// A replica writes the prepare of `op` into its slot.
    pub(super) fn writes(&self, replica: ReplicaId, vsr: &Vsr, op: Op) -> Result<(), Violation> {
        let covered = vsr.durable().map_or(Op::ROOT, |durable| durable.superblock().checkpoint.header.op);
        let before = op.0.saturating_sub(u64::from(self.layout.slot_count));
        if before <= covered.0 {
            return Ok(());
        }
        let sentence = format!("{replica} writes {op} over op{before}, and its checkpoint covers {covered}");
        Err(broken(PROMISE, "a slot used again too early", sentence))
    }
}

/// As [`Chunk::parse`], which hashes everything: once for each chunk, on whichever replica it is seen first.
fn parse<'a>(whole: &mut BTreeMap<Checksum, u64>, bytes: &'a [u8]) -> Option<Chunk<'a>> {
    let claimed = Chunk::known(bytes)?;
    let seen = checksum(&bytes[..claimed.size]);
    if whole.get(&claimed.address) == Some(&seen) {
        return Some(claimed);
    }
    let chunk = Chunk::parse(bytes)?;
    whole.insert(chunk.address, seen);
    Some(chunk)
}

/// What was found of a chunk.
enum Found {
    /// It, and what it names.
    Whole(Vec<(Checksum, ChunkKind)>),
    Damaged,
    Missing,
}

#[cfg(test)]
mod tests {
    use chronon::{
        storage::chunk,
        types::{ClientId, RequestNumber, Session},
        wire::{
            batch::{self, Entry},
            header::{Command, Header},
        },
    };

    use super::*;
    use crate::oracle::script::{R0, say_with};

    #[test]
    fn a_chunk_that_was_whole_once_is_not_whole_wherever_its_name_stands() {
        let mut bytes = chunk::unsealed();
        bytes.extend_from_slice(b"payload");
        chunk::seal_chunk(ChunkKind::Leaf, &mut bytes);
        let mut whole = BTreeMap::new();
        assert!(parse(&mut whole, &bytes).is_some() && parse(&mut whole, &bytes).is_some());
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&mut whole, &bytes), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn the_last_slots_are_for_what_no_client_asked_for() {
        let layout = Layout { slot_count: 64, message_size_max: 8192, block_count: 64, block_size: 4096 };
        let mut checkpoints = Checkpoints::new(3, layout);
        checkpoints.reached = vec![Op(24), Op(0), Op(48)];
        let (mut request, mut system) = (Vec::new(), Vec::new());
        batch::push(&mut request, ClientId(1), Session(1), RequestNumber(1), b"a");
        batch::push_system(&mut system, b"b");
        let judge = |op: u64, body: &[u8]| {
            let vouched = |header: &mut Header| (header.op, header.request) = (Op(op), RequestNumber(24));
            let frame = say_with(Command::Prepare, R0, 1, vouched, body);
            checkpoints.proposed(R0, Speech::of(&frame).unwrap())
        };
        judge(24 + 56, &request).unwrap();
        assert_eq!(judge(24 + 57, &request).unwrap_err().place, "a request in a reserved slot");
        let both = [&system[..], &request[..]].concat();
        assert!(judge(24 + 57, &both).is_err());
        judge(24 + 64, &system).unwrap();
        let mut asked = Vec::new();
        let (client, session, request) = (ClientId(2), Session(1), RequestNumber(1));
        batch::push_entry(&mut asked, &Entry { kind: Kind::Operator, client, session, request, payload: b"c" });
        judge(24 + 60, &asked).unwrap();
        assert!(judge(24 + 61, &asked).is_err(), "the very last are the system's alone");
        judge(24 + 64, &[]).unwrap();
    }

    #[test]
    fn a_checkpoint_that_only_one_of_three_ever_had_is_vouched_for_by_nobody() {
        let layout = Layout { slot_count: 64, message_size_max: 8192, block_count: 64, block_size: 4096 };
        let mut checkpoints = Checkpoints::new(3, layout);
        let vouched = |header: &mut Header| (header.op, header.request) = (Op(30), RequestNumber(24));
        let frame = say_with(Command::Prepare, R0, 1, vouched, &[]);
        let judge = |checkpoints: &Checkpoints| checkpoints.proposed(R0, Speech::of(&frame).unwrap());
        checkpoints.reached = vec![Op(24), Op(16), Op(23)];
        assert_eq!(judge(&checkpoints).unwrap_err().place, "a checkpoint that no majority had");
        checkpoints.reached = vec![Op(24), Op(16), Op(25)];
        judge(&checkpoints).unwrap();
    }
}
