//! Values first: generated, encoded, decoded, compared; then damaged in one place, and found damaged.

mod journal_slot;
mod trace;

use arbitrary::{Arbitrary, Unstructured};
use chronon::{
    process::Actions,
    storage::{
        Layout, Superblock,
        checkpoint::Checkpoint,
        superblock::{ApplicationName, Recovery, SUFFIX_MAX, Vouched},
    },
    types::{
        Checksum, ClientId, ClusterId, CommitIndex, Epoch, Op, ReplicaId, RequestNumber, Session, Timestamp, View,
    },
    wire::{
        Batch, Claim, Command, DoViewChange, Header, batch,
        members::{Greeting, MEMBERS_MAX, Members},
        message, open, seal, seal_with,
    },
};

pub use journal_slot::journal_slot;
pub use trace::trace;

/// Any frame survives the wire, and no frame survives a changed byte.
pub fn frame(bytes: &[u8]) {
    let mut source = Unstructured::new(bytes);
    let Ok((fields, mut body, damage)) = source.arbitrary::<(Fields, Vec<u8>, Damage)>() else { return };
    if fields.command() == Command::Chunk {
        // A frame of one is a frame only if it begins with the hash of the rest.
        body.splice(..0, Checksum::of(&body).0.to_le_bytes());
    }
    let mut actions = Actions::new();
    let (header, frame) = seal(fields.header(fields.command()), &body, &mut actions);
    // The length is a guess, which decides nothing.
    let (again, guess) = (fields.header(fields.command()), usize::from(fields.sender));
    let (_, placed) = seal_with(again, guess, &mut actions, |bytes| bytes.extend_from_slice(&body));
    assert_eq!(frame, placed, "a body written in place is the same frame");
    assert_eq!(open(&frame, header.cluster), Ok((header, &body[..])));
    let damaged = damage.of(&frame);
    assert!(open(&damaged, header.cluster).is_err(), "damage is found");
    assert!(open(&frame, ClusterId(!header.cluster.0)).is_err(), "another cluster's is refused");
}

/// Any body survives the wire.
pub fn bodies(bytes: &[u8]) {
    let mut source = Unstructured::new(bytes);
    let Ok((log, claims, entries)) = source.arbitrary::<(Log, Vec<u8>, Vec<Entry>)>() else { return };
    let headers = log.headers(message::HEADERS_MAX);
    let mut encoded = Vec::new();
    message::encode_headers(&headers, &mut encoded);
    assert_eq!(message::decode_headers(&encoded).map(|decoded| decoded.headers), Ok(headers.clone()));
    let claim = |index: usize| match claims.get(index).unwrap_or(&0) % 3 {
        0 => Claim::Present,
        1 => Claim::NeverHad,
        _ => Claim::Unknown,
    };
    // Whatever comes behind the header's numbers serves for members as well.
    let incarnations: Vec<u128> = entries.iter().map(|entry| entry.client).take(MEMBERS_MAX).collect();
    let members = Members { version: entries.len() as u64, incarnations };
    let Members { version, incarnations } = members.clone();
    let vouched_root = Checksum(claims.len() as u128);
    let greeting = Greeting { vouched_root, votes_from: View(7), version, incarnations };
    let mut encoded = Vec::new();
    greeting.encode(&mut encoded);
    assert_eq!(Greeting::decode(&encoded), Ok(greeting));
    let body = DoViewChange { claims: (0..headers.len()).map(claim).collect(), headers, members };
    let mut encoded = Vec::new();
    message::encode_do_view_change(&body, &mut encoded);
    assert_eq!(message::decode_do_view_change(&encoded), Ok(body));
    let mut encoded = Vec::new();
    for Entry { client, session, request, payload } in &entries {
        batch::push(&mut encoded, ClientId(*client), Session(*session), RequestNumber(*request), payload);
    }
    let parsed = Batch::parse(&encoded).expect("what was pushed parses");
    assert_eq!(parsed.len(), entries.len());
    for (parsed, entry) in parsed.iter().zip(&entries) {
        let given = (parsed.client.0, parsed.session.0, parsed.request.0, parsed.payload);
        assert_eq!(given, (entry.client, entry.session, entry.request, &entry.payload[..]));
    }
}

/// Any superblock survives the disk, and no copy survives a changed byte.
pub fn superblock(bytes: &[u8]) {
    let mut source = Unstructured::new(bytes);
    let Ok((fields, log, damage)) = source.arbitrary::<(SuperblockFields, Log, Damage)>() else { return };
    let cluster = ClusterId(log.cluster);
    let mut suffix = log.headers(SUFFIX_MAX);
    if suffix.is_empty() {
        suffix.push(Header::root(cluster));
    }
    let replica_count = fields.replica_count % 6 + 1;
    let committed = suffix.iter().rev().find(|header| header.op.0 > 0 && header.op.0 <= fields.commit);
    let checkpoint = match committed {
        Some(header) => Checkpoint { header: *header, root: Checksum(fields.incarnation.max(1)) },
        None => Checkpoint { header: Header::root(cluster), root: Checksum(0) },
    };
    let vouched = match fields.parent {
        0 => Vouched::default(),
        root => Vouched { op: Op(fields.sequence.max(1)), root: Checksum(root) },
    };
    let superblock = Superblock {
        sequence: fields.sequence.clamp(1, u64::MAX - 1),
        parent: Checksum(fields.parent),
        cluster,
        replica: ReplicaId(fields.replica % replica_count),
        replica_count,
        incarnation: fields.incarnation,
        epoch: Epoch(fields.epoch),
        view: View(fields.views[0].max(fields.views[1])),
        log_view: View(fields.views[0].min(fields.views[1])),
        commit: CommitIndex(fields.commit),
        head: suffix[suffix.len() - 1].op,
        suffix,
        checkpoint,
        vouched,
        layout: Layout {
            slot_count: (u32::from(fields.slots) + 1) * 32,
            message_size_max: (u32::from(fields.sectors) + 1) * 4096,
            block_count: u32::from(fields.slots) + 8,
            block_size: (u32::from(fields.sectors) / 2 + 1) * 4096,
        },
        clients_max: fields.clients_max.max(1),
        application: ApplicationName::new(["", "kv", "job-queue"][usize::from(fields.slots) % 3])
            .expect("it is a name"),
        members: match fields.views[0] % 2 {
            0 => Members::default(),
            version => Members { version, incarnations: vec![fields.incarnation; usize::from(replica_count)] },
        },
        recovery: Recovery {
            is_pending: fields.slots % 2 == 1,
            replaces: if fields.slots % 2 == 1 { fields.parent } else { 0 },
            votes_from: View(fields.views[1]),
        },
    };
    let copies = [0, 1, 2, 3].map(|copy| superblock.encode(copy));
    for (copy, bytes) in (0..).zip(&copies) {
        assert_eq!(Superblock::decode(bytes, copy).as_ref(), Ok(&superblock));
    }
    let damaged = damage.of(&copies[0]);
    assert!(Superblock::decode(&damaged, 0).is_err(), "damage is found");
    let all = [&damaged, &copies[1], &copies[2], &copies[3]].map(|copy| Some(&copy[..]));
    assert_eq!(Superblock::open(all), Ok(superblock), "one damaged copy is no loss");
}

/// A change of one byte, a truncation or an extension.
#[derive(Arbitrary, Debug)]
enum Damage {
    Change { at: u32, by: u8 },
    Truncate { to: u32 },
    Extend { with: u8 },
}

impl Damage {
    /// The bytes, damaged. Never the same bytes.
    fn of(&self, bytes: &[u8]) -> Vec<u8> {
        let mut damaged = bytes.to_vec();
        match *self {
            Self::Change { at, by } => damaged[at as usize % bytes.len()] ^= by.max(1),
            Self::Truncate { to } => damaged.truncate(to as usize % bytes.len()),
            Self::Extend { with } => damaged.push(with),
        }
        damaged
    }
}

/// The fields of a header.
#[derive(Arbitrary, Debug)]
struct Fields {
    command: u8,
    cluster: u64,
    request: u64,
    epoch: u32,
    sender: u8,
    view: u64,
    op: u64,
    commit: u64,
    timestamp: u64,
    context: u128,
    client: u128,
}

impl Fields {
    fn command(&self) -> Command {
        Command::ALL[usize::from(self.command) % Command::ALL.len()]
    }

    fn header(&self, command: Command) -> Header {
        Header {
            request: RequestNumber(self.request),
            epoch: Epoch(self.epoch),
            op: Op(self.op),
            commit: CommitIndex(self.commit),
            timestamp: Timestamp(self.timestamp),
            context: self.context,
            client: ClientId(self.client),
            ..Header::new(ClusterId(self.cluster), command, self.sender, View(self.view))
        }
    }
}

/// A chain of prepares.
#[derive(Arbitrary, Debug)]
struct Log {
    cluster: u64,
    first: u64,
    parent: u128,
    prepares: Vec<(Fields, u16)>,
}

impl Log {
    fn headers(&self, most: usize) -> Vec<Header> {
        let mut parent = self.parent;
        let mut headers = Vec::new();
        for (fields, body_length) in self.prepares.iter().take(most) {
            let Some(op) = self.first.checked_add(headers.len() as u64) else { break };
            let header = if op == 0 {
                Header::root(ClusterId(self.cluster))
            } else {
                let header = fields.header(Command::Prepare);
                Header { cluster: ClusterId(self.cluster), op: Op(op), context: parent, ..header }
                    .sealed(&vec![7; usize::from(*body_length)])
            };
            parent = header.checksum.0;
            headers.push(header);
        }
        headers
    }
}

#[derive(Arbitrary, Debug)]
struct Entry {
    client: u128,
    session: u64,
    request: u64,
    payload: Vec<u8>,
}

#[derive(Arbitrary, Debug)]
struct SuperblockFields {
    sequence: u64,
    parent: u128,
    replica: u8,
    replica_count: u8,
    incarnation: u128,
    epoch: u32,
    views: [u64; 2],
    commit: u64,
    slots: u8,
    sectors: u8,
    clients_max: u32,
}
