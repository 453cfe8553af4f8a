//! A checkpoint: its chunks and their tree, the blocks that they lie in, and the records that its leaves hold.

use std::collections::{BTreeMap, BTreeSet};

use chronon::{
    app::{
        application::{Application, ApplyContext},
        bank::Bank,
        branch::Branch,
        executor::{Answer, Executor},
        jobs::Jobs,
        kv::Kv,
    },
    storage::{
        checkpoint::{Root, SECTION_APPLICATION, SECTION_MEMBERS, SECTION_SESSIONS, addresses, encode_tables},
        chunk::{CHUNK_HEADER_SIZE, Chunk, ChunkKind, claimed_address, seal_chunk, unsealed},
        grid::Grid,
        snapshot::{RestoreError, SnapshotReader, SnapshotWriter},
    },
    types::{Checksum, Op, Timestamp},
    vsr::sessions::Sessions,
    wire::{HEADER_SIZE, Header, members::Members},
};

use crate::wire::CLUSTER;

/// The longest chunk of these checkpoints, in bytes.
pub const CHUNK_SIZE_MAX: u32 = 4096;

/// How many sessions these checkpoints may hold.
pub const CLIENTS_MAX: u32 = 16;

/// Before the leaves of a snapshot stands which application wrote them: one of so many.
const APPLICATIONS: u8 = 4;

/// A chunk, as it is and under its true name: nothing, or what seals to the same bytes; and what it holds, an error or a value that
/// encodes to the same bytes.
pub fn chunk(bytes: &[u8]) {
    check_chunk(bytes);
    let Some((kind, payload)) = bytes.split_first() else { return };
    let kind = [ChunkKind::Root, ChunkKind::Table, ChunkKind::Leaf][usize::from(kind % 3)];
    let mut sealed = unsealed();
    sealed.extend_from_slice(payload);
    reseal_root(&mut sealed[CHUNK_HEADER_SIZE..]);
    let address = seal_chunk(kind, &mut sealed);
    let parsed = Chunk::parse(&sealed).expect("what is sealed is whole");
    assert_eq!((parsed.address, parsed.kind, parsed.size), (address, kind, sealed.len()));
    check_chunk(&sealed);
    for at in [0, 16, 20, 21, CHUNK_HEADER_SIZE, sealed.len() - 1].into_iter().filter(|at| *at < sealed.len()) {
        let mut damaged = sealed.clone();
        damaged[at] ^= 1;
        assert_eq!(Chunk::parse(&damaged), None, "damage is found");
    }
}

fn check_chunk(bytes: &[u8]) {
    let Some(Chunk { address, kind, payload, size }) = Chunk::parse(bytes) else { return };
    assert_eq!(claimed_address(bytes), Some(address));
    let mut again = unsealed();
    again.extend_from_slice(payload);
    assert_eq!(seal_chunk(kind, &mut again), address);
    assert_eq!(again, bytes[..size], "a chunk is sealed to the same bytes");
    match kind {
        ChunkKind::Root => {
            let Some(root) = Root::decode(payload) else { return };
            assert!(root.header.is_log_entry());
            let again = Root::encode(&root.header, &root.tables, u32::MAX).expect("there is room");
            assert_eq!(again[CHUNK_HEADER_SIZE..], *payload, "a root encodes to the same bytes");
        }
        ChunkKind::Table => {
            let Some(leaves) = addresses(payload) else { return };
            let again = encode_tables(&leaves, u32::MAX);
            assert!(again.len() <= 1 && again.concat().get(CHUNK_HEADER_SIZE..).unwrap_or_default() == payload);
        }
        ChunkKind::Leaf => {
            let _ = SnapshotReader::default().leaf(payload, |_, _| Ok(()));
        }
    }
}

/// Puts the checksum of a root's header right.
fn reseal_root(payload: &mut [u8]) {
    let Some(header) = payload.get_mut(4..4 + HEADER_SIZE) else { return };
    let checksum = Checksum::of(&header[16..]);
    header[..16].copy_from_slice(&checksum.0.to_le_bytes());
}

/// How many blocks a grid has here.
const BLOCKS: u32 = 12;

/// A grid of blocks, and anything that may be done to it: a block that a chunk rests on is given to no other.
pub fn grid(bytes: &[u8]) {
    let mut grid = Grid::new(BLOCKS);
    // Which blocks each chunk rests on.
    let mut held = BTreeMap::<Checksum, BTreeSet<u32>>::new();
    let (survey, rest) = bytes.split_at(bytes.len().min(usize::from(bytes.first().copied().unwrap_or(0) % 16)));
    let mut surveyed = BTreeSet::new();
    for byte in survey {
        let (address, block) = (Checksum((byte % 5).into()), u32::from(byte / 5) % BLOCKS);
        grid.found(address, block);
        if surveyed.insert(block) {
            held.entry(address).or_default().insert(block);
        }
    }
    let reaches = |address: Checksum| address.0.is_multiple_of(2);
    grid.demote(|address, _| reaches(address));
    held.retain(|address, _| reaches(*address));
    for byte in rest {
        let address = Checksum((byte >> 3).into());
        match byte % 8 {
            0..=3 if grid.find(address).is_none() => {
                let had_room = grid.has_room();
                let block = grid.allocate(address);
                assert_eq!(block.is_some(), had_room);
                let Some(block) = block else { continue };
                assert!(block < BLOCKS);
                assert!(held.values().all(|blocks| !blocks.contains(&block)), "a block serves one chunk");
                held.insert(address, [block].into());
            }
            4 => {
                if let Some(block) = grid.find(address) {
                    let blocks = held.get_mut(&address).expect("it is held");
                    assert!(blocks.remove(&block));
                    if blocks.is_empty() {
                        held.remove(&address);
                    }
                }
                grid.lose(address);
            }
            5 => {
                held.remove(&address);
                grid.release(address);
            }
            6 => {
                let keeps = |kept: Checksum, _| kept.0 % 3 != address.0 % 3;
                held.retain(|address, _| keeps(*address, 0));
                grid.retain(keeps);
            }
            _ => {}
        }
        let blocks = |address| grid.all(address).collect::<BTreeSet<_>>();
        assert!(held.iter().all(|(address, held)| blocks(*address) == *held && grid.find(*address).is_some()));
        assert_eq!((grid.len(), grid.is_empty()), (held.len(), held.is_empty()));
    }
}

/// The leaves of a snapshot, each behind its length as two bytes, and before them which application's it is: an error, or a state
/// that is written again as it was, and that serves.
pub fn snapshot(bytes: &[u8]) {
    let Some((application, leaves)) = bytes.split_first() else { return };
    match application % APPLICATIONS {
        0 => restore(Kv, leaves, true),
        1 => restore(Bank, leaves, true),
        2 => restore(Jobs::default(), leaves, false),
        _ => restore(Branch::default(), leaves, false),
    }
}

/// What a checkpoint's leaves hold.
#[derive(PartialEq, Debug, Default)]
struct Records {
    members: Vec<Vec<u8>>,
    sessions: Vec<Vec<u8>>,
    application: Vec<Vec<u8>>,
}

/// A replica's state, as a checkpoint gives it back.
struct State<A: Application> {
    members: Option<Members>,
    sessions: Sessions,
    executor: Executor<A>,
    records: Records,
}

impl<A: Application> State<A> {
    fn new(application: A) -> Self {
        Self {
            members: None,
            sessions: Sessions::new(CLIENTS_MAX),
            executor: Executor::new(application, CLUSTER),
            records: Records::default(),
        }
    }

    /// Takes a record as a replica does.
    fn take(&mut self, section: u8, record: &[u8]) -> Result<(), RestoreError> {
        match section {
            SECTION_MEMBERS => {
                self.members = Some(Members::decode(record).map_err(|_| RestoreError)?);
                self.records.members = vec![record.to_vec()];
                Ok(())
            }
            SECTION_SESSIONS => {
                self.records.sessions.push(record.to_vec());
                self.sessions.restore(record)
            }
            SECTION_APPLICATION => {
                self.records.application.push(record.to_vec());
                self.executor.restore(record)
            }
            _ => Err(RestoreError),
        }
    }

    fn of<'a>(application: A, leaves: impl Iterator<Item = &'a [u8]>) -> Result<Self, RestoreError> {
        let (mut state, mut reader) = (Self::new(application), SnapshotReader::default());
        for leaf in leaves {
            reader.leaf(leaf, |section, record| state.take(section, record))?;
        }
        if !reader.is_whole() {
            return Err(RestoreError);
        }
        state.executor.restored()?;
        Ok(state)
    }

    fn leaves(&mut self) -> Vec<Vec<u8>> {
        let mut members = Vec::new();
        self.members.iter().for_each(|known| known.encode(&mut members));
        written(&members, &self.sessions, &mut self.executor)
    }
}

/// The payloads of the leaves of what a replica has.
pub(crate) fn written<A: Application>(members: &[u8], sessions: &Sessions, executor: &mut Executor<A>) -> Vec<Vec<u8>> {
    executor.freeze();
    let mut writer = SnapshotWriter::new(CHUNK_SIZE_MAX, 1);
    if !members.is_empty() {
        while !writer.write(SECTION_MEMBERS, |writer| writer.record(members)) {}
    }
    while !writer.write(SECTION_SESSIONS, |writer| sessions.snapshot(writer)) {}
    while !writer.write(SECTION_APPLICATION, |writer| executor.snapshot(writer)) {}
    writer.finish();
    std::iter::from_fn(|| writer.take()).map(|leaf| leaf[CHUNK_HEADER_SIZE..].to_vec()).collect()
}

/// Each leaf behind its length, as the target takes them.
pub(crate) fn framed(application: u8, leaves: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![application];
    for leaf in leaves {
        bytes.extend_from_slice(&u16::try_from(leaf.len()).expect("a leaf is short").to_le_bytes());
        bytes.extend_from_slice(leaf);
    }
    bytes
}

fn restore<A: Application>(application: A, mut rest: &[u8], is_strict: bool) {
    let leaves = std::iter::from_fn(|| {
        let (length, others) = rest.split_first_chunk()?;
        let leaf;
        (leaf, rest) = others.split_at(others.len().min(u16::from_le_bytes(*length).into()));
        Some(leaf)
    });
    let Ok(mut state) = State::of(application.clone(), leaves) else { return };
    let written = state.leaves();
    let leaves = written.iter().map(|leaf| &leaf[..]);
    let mut again = State::of(application, leaves).expect("what is written restores");
    assert_eq!(again.members, state.members);
    assert_eq!(again.sessions.digest(), state.sessions.digest());
    assert_eq!(again.executor.effects_digest(), state.executor.effects_digest());
    assert_eq!(
        again.records.sessions, state.records.sessions,
        "the records that restore are the ones that are written"
    );
    let effects = 2 + state.executor.outbox().len() + state.executor.timers().len();
    assert_eq!(
        again.records.application[..effects],
        state.records.application[..effects],
        "so are those of effects and timers"
    );
    assert!(!is_strict || again.records == state.records, "and those of the application");
    assert!(again.leaves() == written);
    serve(state);
}

/// Time passes, and whatever was to happen by then happens; then clients come with short requests of every kind.
fn serve<A: Application>(state: State<A>) {
    let State { mut sessions, mut executor, .. } = state;
    let end = ApplyContext::new(Op(u64::MAX / 2), Timestamp(u64::MAX / 2), Checksum(1), 0);
    executor.begin(&end);
    for turn in 0..32 {
        for length in [1, 9, 17, 25] {
            let mut payload = [turn % 8; 25];
            // Numbers that are 1, whatever they are for.
            payload[1..].fill(0);
            [1, 9, 17].into_iter().for_each(|place| payload[place] = 1);
            let at = ApplyContext::new(end.op, end.timestamp, Checksum(2), 1 + u32::from(turn));
            Answer::decode(executor.apply(&payload[..length], &at)).expect("it is an answer");
            Answer::decode(executor.query(&payload[..length])).expect("it is an answer");
        }
    }
    for client in sessions.iter().map(|(client, reply)| (client, reply.request)).collect::<Vec<_>>() {
        let _ = sessions.check(client.0, chronon::types::Session(1), client.1);
    }
    for client in 0..=u128::from(CLIENTS_MAX) {
        sessions.register(chronon::types::ClientId(client << 64), end.op, end.timestamp);
    }
    assert!(sessions.len() <= CLIENTS_MAX as usize);
}

/// A chunk that holds this, as the target takes it.
pub(crate) fn chunk_of(kind: ChunkKind, payload: &[u8]) -> Vec<u8> {
    [&[kind as u8 - 1], payload].concat()
}

/// A root's payload.
pub(crate) fn root(header: &Header, tables: &[Checksum]) -> Vec<u8> {
    Root::encode(header, tables, CHUNK_SIZE_MAX).expect("it has room")[CHUNK_HEADER_SIZE..].to_vec()
}
