//! The frame header: 128 bytes, little-endian, explicit layout, no padding.
//!
//! ```text
//!    0  checksum       u128  BLAKE3-128 of bytes 16..128
//!   16  checksum_body  u128  BLAKE3-128 of the body; of a Chunk, the address that its body begins with and that is the hash of the rest
//!   32  cluster        u64
//!   40  request        u64
//!   48  size           u32   header and body
//!   52  epoch          u32
//!   56  version        u16   = 1
//!   58  command        u8    from 1, see `Command`
//!   59  sender         u8    a replica, or 255: a client
//!   60  reserved       [u8; 4] = 0
//!   64  view           u64
//!   72  op             u64
//!   80  commit         u64
//!   88  timestamp      u64
//!   96  context        u128
//!  112  client         u128
//! ```
//!
//! What the fields below the line mean depends on the command. A field that is not named is zero. `view` is the sender's
//! current view unless said otherwise.
//!
//! | command           | request              | op          | commit     | timestamp    | context             | body            |
//! |-------------------|----------------------|-------------|------------|--------------|---------------------|-----------------|
//! | Request           | number, 0 registers  |             |            |              | session, `OPERATOR` | payload         |
//! | Reply             | number               | op          |            | of the op    | session             | response        |
//! | Prepare           | vouched op           | op          | primary's  | of the op    | parent's checksum   | a batch         |
//! | PrepareOk         |                      | op          | sender's   |              | prepare's checksum  |                 |
//! | Commit            |                      | head        | primary's  |              |                     |                 |
//! | StartViewChange   | 1: left durably      |             |            |              |                     |                 |
//! | DoViewChange      | log view             | head        | sender's   |              |                     | `DoViewChange`  |
//! | StartView         |                      | head        | primary's  |              | nonce answered, or 0| `Headers`       |
//! | RequestStartView  |                      |             |            |              | nonce               |                 |
//! | RequestHeaders    | how many down        | highest     |            |              |                     |                 |
//! | Headers           |                      |             |            |              |                     | `Headers`       |
//! | RequestPrepare    |                      | op          |            |              | checksum, 0: any    |                 |
//! | Ping              | vouched op           |             | checkpoint | monotonic    | checkpoint's root   | `Greeting`      |
//! | Pong              | vouched op           | realtime ns | checkpoint | the ping's   | checkpoint's root   | `Greeting`      |
//! | Reject            | number               |             |            |              | `RejectReason`      |                 |
//! | Query             | number               |             |            |              | 0, or 1: stale      | payload         |
//! | QueryReply        | number               | true at     |            |              | the query's         | response        |
//! | ReadRound         |                      |             |            |              | nonce               |                 |
//! | ReadRoundOk       | members' version     |             |            |              | nonce               |                 |
//! | RequestChunk      |                      |             |            |              | address             |                 |
//! | Chunk             |                      |             |            |              | address             | the chunk       |
//! | Entry             |                      |             |            |              |                     | a system entry  |
//! | Recover           | members' version     |             |            |              |                     |                 |
//!
//! `client` is set in what a client says and is told; in a Prepare to the root of the checkpoint that it names as vouched for; and in what
//! else a replica says to another, to the sender's incarnation. A Reject may refuse a Query. A Request's or a Query's `view` is the latest that the client knows of; a Prepare's
//! is the view that prepared it, and its `sender` that view's primary, whoever passes it on: a prepare is the same 128
//! bytes for as long as it lives, and its checksum is its identity. `StartViewChange` and `DoViewChange` name the view
//! that is to start.
//!
//! Invariant: what decodes, encodes to the same bytes. Lacks on purpose: authentication, compression, options.

use core::fmt;

use serde::{Deserialize, Serialize};
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64, U128},
};

use crate::{
    types::{Checksum, ClientId, ClusterId, CommitIndex, Epoch, Op, RequestNumber, Session, Timestamp, View},
    wire::{error::WireError, stored::stored},
};

/// The size of a header, in bytes.
pub const HEADER_SIZE: usize = 128;

/// The version of the protocol that this program speaks.
pub const VERSION: u16 = 2;

/// The `sender` of a frame that comes from a client.
pub const SENDER_CLIENT: u8 = u8::MAX;

/// Beside the session in the context of a request: it is an operator's, in every request of its session alike.
pub const OPERATOR: u128 = 1 << 64;

/// The context of a query that must not miss what was committed before it was asked.
pub const QUERY_LINEARIZABLE: u128 = 0;

/// The context of a query that may be answered from any state that a replica has executed.
pub const QUERY_STALE: u128 = 1;

/// Queries are numbered from here, so that no refusal of one is taken for that of a request. Replicas do not look.
pub const QUERY_NUMBER_FIRST: u64 = 1 << 62;

/// The checksum of no bytes at all: most messages have no body, and need not hash one.
pub const CHECKSUM_EMPTY: Checksum = Checksum(0x49c9_dc36_ea4d_40a0_a6a1_f9f5_b949_13af);

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
#[repr(u8)]
pub enum Command {
    /// A client asks.
    Request = 1,
    /// The primary answers, after commit.
    Reply,
    /// The primary has an op made durable.
    Prepare,
    /// A replica holds a prepare and its header durably.
    PrepareOk,
    /// The primary's heartbeat, with its commit index.
    Commit,
    /// A replica wants another view.
    StartViewChange,
    /// A replica gives its log to the primary of a view that is to start.
    DoViewChange,
    /// The primary of a view gives the log with which it starts.
    StartView,
    /// A replica asks for that log.
    RequestStartView,
    /// A replica asks for headers of a view's log.
    RequestHeaders,
    /// The answer.
    Headers,
    /// A replica asks for a prepare. The answer is the prepare itself.
    RequestPrepare,
    /// A replica asks for another's clock.
    Ping,
    /// The answer.
    Pong,
    /// A replica refuses a client's request or query.
    Reject,
    /// A client asks the state something, without the log.
    Query,
    /// The answer.
    QueryReply,
    /// The primary asks whether its view is still the view, for the queries that it holds.
    ReadRound,
    /// A replica of that view says so.
    ReadRoundOk,
    /// A replica asks for a chunk of a checkpoint.
    RequestChunk,
    /// The answer.
    Chunk,
    /// A replica gives the primary an entry of the system's own to be logged.
    Entry,
    /// A replica whose data file was lost asks for its place, in place of the members of the version that it names.
    Recover,
}

stored! { enum Command {
    Request, Reply, Prepare, PrepareOk, Commit, StartViewChange, DoViewChange, StartView, RequestStartView,
    RequestHeaders, Headers, RequestPrepare, Ping, Pong, Reject, Query, QueryReply, ReadRound, ReadRoundOk,
    RequestChunk, Chunk, Entry, Recover
} }

impl Command {
    /// Every command, in the order of their numbers.
    pub const ALL: [Self; 23] = [
        Self::Request,
        Self::Reply,
        Self::Prepare,
        Self::PrepareOk,
        Self::Commit,
        Self::StartViewChange,
        Self::DoViewChange,
        Self::StartView,
        Self::RequestStartView,
        Self::RequestHeaders,
        Self::Headers,
        Self::RequestPrepare,
        Self::Ping,
        Self::Pong,
        Self::Reject,
        Self::Query,
        Self::QueryReply,
        Self::ReadRound,
        Self::ReadRoundOk,
        Self::RequestChunk,
        Self::Chunk,
        Self::Entry,
        Self::Recover,
    ];
}

impl From<Command> for u8 {
    fn from(command: Command) -> Self {
        command as Self
    }
}

impl TryFrom<u8> for Command {
    type Error = WireError;

    fn try_from(number: u8) -> Result<Self, WireError> {
        // 0 wraps to an index that no command has.
        Self::ALL.get(usize::from(number.wrapping_sub(1))).copied().ok_or(WireError::Command(number))
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "request",
            Self::Reply => "reply",
            Self::Prepare => "prepare",
            Self::PrepareOk => "prepare_ok",
            Self::Commit => "commit",
            Self::StartViewChange => "start_view_change",
            Self::DoViewChange => "do_view_change",
            Self::StartView => "start_view",
            Self::RequestStartView => "request_start_view",
            Self::RequestHeaders => "request_headers",
            Self::Headers => "headers",
            Self::RequestPrepare => "request_prepare",
            Self::Ping => "ping",
            Self::Pong => "pong",
            Self::Reject => "reject",
            Self::Query => "query",
            Self::QueryReply => "query_reply",
            Self::ReadRound => "read_round",
            Self::ReadRoundOk => "read_round_ok",
            Self::RequestChunk => "request_chunk",
            Self::Chunk => "chunk",
            Self::Entry => "entry",
            Self::Recover => "recover",
        })
    }
}

/// A frame's header. The file's documentation says what each field means, by command.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Header {
    /// Of the header's other bytes. A prepare's identity.
    pub checksum: Checksum,
    /// Of the body.
    pub checksum_body: Checksum,
    /// The cluster that the frame belongs to.
    pub cluster: ClusterId,
    /// By command.
    pub request: RequestNumber,
    /// Of header and body, in bytes.
    pub size: u32,
    /// The configuration in force.
    pub epoch: Epoch,
    /// What the frame is.
    pub command: Command,
    /// The replica that made the frame, or [`SENDER_CLIENT`].
    pub sender: u8,
    /// By command.
    pub view: View,
    /// By command.
    pub op: Op,
    /// By command.
    pub commit: CommitIndex,
    /// By command.
    pub timestamp: Timestamp,
    /// By command.
    pub context: u128,
    /// The client, in what is said to and by one.
    pub client: ClientId,
}

stored! { struct Header {
    checksum, checksum_body, cluster, request, size, epoch, command, sender, view, op, commit, timestamp, context, client
} }

impl Header {
    /// A header with everything else zero, not sealed yet.
    pub const fn new(cluster: ClusterId, command: Command, sender: u8, view: View) -> Self {
        Self {
            checksum: Checksum(0),
            checksum_body: Checksum(0),
            cluster,
            request: RequestNumber(0),
            size: 0,
            epoch: Epoch(0),
            command,
            sender,
            view,
            op: Op(0),
            commit: CommitIndex(0),
            timestamp: Timestamp(0),
            context: 0,
            client: ClientId(0),
        }
    }

    /// The header of op 0, which every replica of `cluster` holds by definition: a prepare without a parent or a body.
    pub fn root(cluster: ClusterId) -> Self {
        Self::new(cluster, Command::Prepare, 0, View(0)).sealed(&[])
    }

    /// The header's bytes, as it is: seal it first.
    pub fn encode(&self) -> [u8; HEADER_SIZE] {
        zerocopy::transmute!(Layout {
            checksum: U128::new(self.checksum.0),
            checksum_body: U128::new(self.checksum_body.0),
            cluster: U64::new(self.cluster.0),
            request: U64::new(self.request.0),
            size: U32::new(self.size),
            epoch: U32::new(self.epoch.0),
            version: U16::new(VERSION),
            command: self.command.into(),
            sender: self.sender,
            reserved: [0; 4],
            view: U64::new(self.view.0),
            op: U64::new(self.op.0),
            commit: U64::new(self.commit.0),
            timestamp: U64::new(self.timestamp.0),
            context: U128::new(self.context),
            client: U128::new(self.client.0),
        })
    }

    /// The header at the start of `bytes`: its checksum, version, command and least size are verified, the body is not.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let (layout, _) = Layout::ref_from_prefix(bytes).map_err(|_| WireError::Short)?;
        // First of all, so that nothing is concluded from noise: a wrong version is then what the sender meant.
        if checksum_of(layout.as_bytes()) != layout.checksum.get() {
            return Err(WireError::HeaderChecksum);
        }
        Self::decode_layout(layout)
    }

    /// As [`Header::decode`], of bytes whose checksum holds, as this program made it and nothing has touched them since.
    pub(crate) fn decode_sealed(bytes: &[u8]) -> Result<Self, WireError> {
        Self::decode_layout(Layout::ref_from_prefix(bytes).map_err(|_| WireError::Short)?.0)
    }

    fn decode_layout(layout: &Layout) -> Result<Self, WireError> {
        if layout.version.get() != VERSION {
            return Err(WireError::Version(layout.version.get()));
        }
        let command = Command::try_from(layout.command)?;
        if layout.reserved != [0; 4] {
            return Err(WireError::Reserved);
        }
        if (layout.size.get() as usize) < HEADER_SIZE {
            return Err(WireError::Size);
        }
        Ok(Self {
            checksum: Checksum(layout.checksum.get()),
            checksum_body: Checksum(layout.checksum_body.get()),
            cluster: ClusterId(layout.cluster.get()),
            request: RequestNumber(layout.request.get()),
            size: layout.size.get(),
            epoch: Epoch(layout.epoch.get()),
            command,
            sender: layout.sender,
            view: View(layout.view.get()),
            op: Op(layout.op.get()),
            commit: CommitIndex(layout.commit.get()),
            timestamp: Timestamp(layout.timestamp.get()),
            context: layout.context.get(),
            client: ClientId(layout.client.get()),
        })
    }

    /// The client that a frame names, unverified: whose it is to judge, where one place takes the frames of many. None if it
    /// is too short to be a frame.
    pub fn client_of(frame: &[u8]) -> Option<ClientId> {
        let (layout, _) = Layout::ref_from_prefix(frame).ok()?;
        Some(ClientId(layout.client.get()))
    }

    /// This header over `body`: size and both checksums set. The body of a Chunk is taken at its word for what it is.
    ///
    /// # Panics
    /// If header and body together are 4 GiB or more.
    pub fn sealed(self, body: &[u8]) -> Self {
        self.sealed_bytes(body).0
    }

    /// This header over `body`, and its bytes: the hash is taken over them anyway.
    pub(crate) fn sealed_bytes(mut self, body: &[u8]) -> (Self, [u8; HEADER_SIZE]) {
        self.size = u32::try_from(HEADER_SIZE + body.len()).expect("a message is shorter than 4 GiB");
        self.checksum_body = if self.command == Command::Chunk { named_by(body) } else { checksum_of_body(body) };
        let mut bytes = self.encode();
        self.checksum = Checksum(checksum_of(&bytes));
        bytes[..CHECKSUM_SIZE].copy_from_slice(&self.checksum.0.to_le_bytes());
        (self, bytes)
    }

    /// Checks a header that came otherwise than through [`Header::decode`]: its checksum and its least size.
    pub fn verify(&self) -> Result<(), WireError> {
        if Checksum(checksum_of(&self.encode())) != self.checksum {
            return Err(WireError::HeaderChecksum);
        }
        if (self.size as usize) < HEADER_SIZE {
            return Err(WireError::Size);
        }
        Ok(())
    }

    /// Whether `body` is what this header was sealed over. A chunk is hashed as what it says it is: whoever opened a frame of one
    /// knows that it is true.
    pub(crate) fn is_over(&self, body: &[u8]) -> bool {
        match (self.command, body.split_first_chunk::<CHECKSUM_SIZE>()) {
            (Command::Chunk, None) => false,
            (Command::Chunk, Some((_, rest))) => {
                named_by(body) == self.checksum_body && Checksum::of(rest) == self.checksum_body
            }
            _ => checksum_of_body(body) == self.checksum_body,
        }
    }

    /// A prepare's parent: the checksum of the header one op below.
    pub const fn parent(&self) -> Checksum {
        Checksum(self.context)
    }

    /// The session that a request or a reply belongs to.
    pub const fn session(&self) -> Session {
        Session(self.context as u64)
    }

    /// Whether a request is an operator's.
    pub const fn is_operators(&self) -> bool {
        self.context & OPERATOR != 0
    }

    /// Whether this can be in a log: a prepare, and at op 0 the root itself.
    pub fn is_log_entry(&self) -> bool {
        self.command == Command::Prepare && (self.op != Op::ROOT || *self == Self::root(self.cluster))
    }
}

/// The checksum of a body.
pub(crate) fn checksum_of_body(body: &[u8]) -> Checksum {
    if body.is_empty() { CHECKSUM_EMPTY } else { Checksum::of(body) }
}

/// What a chunk says that its other bytes hash to. None has the address zero.
fn named_by(chunk: &[u8]) -> Checksum {
    Checksum(chunk.first_chunk().map_or(0, |name| u128::from_le_bytes(*name)))
}

/// The size of a header's first field, which covers the rest.
const CHECKSUM_SIZE: usize = 16;

/// What a header's first field must hold, given all of its bytes.
fn checksum_of(bytes: &[u8]) -> u128 {
    Checksum::of(&bytes[CHECKSUM_SIZE..HEADER_SIZE]).0
}

/// The bytes of a header.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Layout {
    checksum: U128,
    checksum_body: U128,
    cluster: U64,
    request: U64,
    size: U32,
    epoch: U32,
    version: U16,
    command: u8,
    sender: u8,
    reserved: [u8; 4],
    view: U64,
    op: U64,
    commit: U64,
    timestamp: U64,
    context: U128,
    client: U128,
}

const _: () = assert!(size_of::<Layout>() == HEADER_SIZE, "the header has no padding");

#[cfg(test)]
mod tests;
