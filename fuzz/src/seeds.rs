//! The corpora that fuzzing starts from: a handful of small inputs for each target, each of which leads somewhere.
//!
//! They are committed under `seeds/fuzz/TARGET/` and written anew by `cargo run --example seeds`. Those of the versioned
//! formats are compared with the committed ones by a test: whoever changes a format sees it. Finds of the fuzzer lie
//! beside them, under names of their own.

mod checkpoint;
mod effects;

use chronon::{
    app::effect::{Channel, Destination, EffectOrder, Errand, Fence, FencingToken},
    frame::Frame,
    process::{Actions, Event, Now, Process, Token},
    storage::Superblock,
    types::{
        Checksum, ClientId, CommitIndex, Epoch, Instant, NodeId, Op, ReplicaId, RequestNumber, Session, Timestamp, View,
    },
    vsr::Config,
    wire::{
        Claim, Command, DoViewChange, Header, RejectReason, batch,
        members::{Greeting, Members},
        message, seal,
    },
};
use chronon_sim::{
    network::LinkSettings,
    outside::{Outside, ServicesPlan},
    trace::{TraceBodies, TraceMode},
    world::{World, WorldSettings},
};

use self::effects::effect;
pub(crate) use self::effects::held_outbox;
use crate::{storage::LAYOUT, wire::CLUSTER};

/// Inputs by their names.
type Inputs = Vec<(&'static str, Vec<u8>)>;

/// An input of a target's corpus.
pub struct Seed {
    /// The target that it is for.
    pub target: &'static str,
    /// The file's name.
    pub name: &'static str,
    /// The input.
    pub bytes: Vec<u8>,
}

/// The targets whose input is whatever their values are made of.
const GENERATED: [&str; 5] =
    ["frame_generated", "bodies_generated", "superblock_generated", "journal_slot_generated", "trace_generated"];

/// The seeds of every target whose format has a version: the same for as long as the format is.
pub fn of_formats() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (target, inputs) in [
        ("frame", frames()),
        ("bodies", bodies()),
        ("journal_slot", journal_slots()),
        ("superblock", superblocks()),
        ("outbox", effects::outboxes()),
        ("timers", effects::timers()),
        ("system", effects::system()),
        ("operator", effects::operator()),
        ("chunk", checkpoint::chunks()),
        ("grid", checkpoint::grids()),
        ("snapshot", checkpoint::snapshots()),
    ] {
        seeds.extend(inputs.into_iter().map(|(name, bytes)| Seed { target, name, bytes }));
    }
    for target in GENERATED {
        for (name, length) in [("small", 64), ("medium", 300), ("large", 900)] {
            seeds.push(Seed { target, name, bytes: noise(target, length) });
        }
    }
    seeds
}

/// Traces of small worlds in which a little of everything happens. They change with the simulator.
pub fn of_traces() -> Vec<Seed> {
    let seed = |name, bytes| Seed { target: "trace", name, bytes };
    vec![
        seed("bodies_whole", trace(TraceBodies::Bytes, true)),
        seed("bodies_by_checksum", trace(TraceBodies::Checksum, true)),
        seed("quiet", trace(TraceBodies::Checksum, false)),
    ]
}

/// A chain of `length` prepares above the root.
fn log(length: u64) -> Vec<Header> {
    let mut headers = vec![Header::root(CLUSTER)];
    for op in 1..=length {
        let prepare = Header::new(CLUSTER, Command::Prepare, 1, View(4));
        let parent = headers[headers.len() - 1].checksum;
        let header = Header { op: Op(op), timestamp: Timestamp(1000 + op), context: parent.0, ..prepare };
        headers.push(header.sealed(&requests()));
    }
    headers
}

/// A batch of a register and a request.
fn requests() -> Vec<u8> {
    let mut bytes = Vec::new();
    batch::push(&mut bytes, ClientId(0xc1), Session(0), RequestNumber(0), b"");
    batch::push(&mut bytes, ClientId(0xc2), Session(5), RequestNumber(3), b"a request");
    bytes
}

fn do_view_change() -> Vec<u8> {
    let headers = log(3)[1..].to_vec();
    let mut bytes = Vec::new();
    let claims = vec![Claim::Present, Claim::NeverHad, Claim::Unknown];
    message::encode_do_view_change(&DoViewChange { headers, claims, members: members() }, &mut bytes);
    bytes
}

fn members() -> Members {
    Members { version: 2, incarnations: vec![4, 0, 6] }
}

fn greeting() -> Vec<u8> {
    let mut bytes = Vec::new();
    let Members { version, incarnations } = members();
    Greeting { vouched_root: Checksum(5), votes_from: View(9), version, incarnations }.encode(&mut bytes);
    bytes
}

/// A batch of what a primary itself has to say.
fn own_entries() -> Vec<u8> {
    let (mut bytes, mut payload) = (Vec::new(), Vec::new());
    members().encode(&mut payload);
    batch::push_members(&mut bytes, &payload);
    batch::push_system(&mut bytes, b"an entry");
    bytes
}

fn headers() -> Vec<u8> {
    let mut bytes = Vec::new();
    message::encode_headers(&log(2), &mut bytes);
    bytes
}

fn frames() -> Inputs {
    let header = |command| Header::new(CLUSTER, command, 1, View(4));
    let sealed = |header: Header, body: &[u8]| seal(header, body, &mut Actions::new()).1.to_vec();
    let request = Header { client: ClientId(0xc2), request: RequestNumber(3), ..header(Command::Request) };
    let reject = Header { context: RejectReason::Busy.context(), ..header(Command::Reject) };
    let query = Header { client: ClientId(0xc2), request: RequestNumber(1 << 62), ..header(Command::Query) };
    vec![
        ("ping", sealed(Header { client: ClientId(4), ..header(Command::Ping) }, &greeting())),
        ("recover", sealed(Header { client: ClientId(5), ..header(Command::Recover) }, &[])),
        ("request", sealed(request, b"a request")),
        ("prepare", sealed(Header { op: Op(1), ..header(Command::Prepare) }, &requests())),
        ("do_view_change", sealed(Header { op: Op(3), ..header(Command::DoViewChange) }, &do_view_change())),
        ("headers", sealed(header(Command::Headers), &headers())),
        ("reject", sealed(reject, &[])),
        ("query", sealed(query, b"a query")),
        ("query_reply", sealed(Header { op: Op(2), command: Command::QueryReply, ..query }, b"an answer")),
        ("read_round", sealed(Header { context: 9, ..header(Command::ReadRound) }, &[])),
        ("read_round_ok", sealed(Header { context: 9, ..header(Command::ReadRoundOk) }, &[])),
    ]
}

fn bodies() -> Inputs {
    let of_kind = |kind: u8, body: &[u8]| [&[kind], body].concat();
    vec![
        ("batch_empty", of_kind(0, &[])),
        ("batch", of_kind(0, &requests())),
        ("batch_own", of_kind(0, &own_entries())),
        ("headers_empty", of_kind(1, &[0; 8])),
        ("headers", of_kind(1, &headers())),
        ("headers_declared", of_kind(1, &u64::MAX.to_le_bytes())),
        ("do_view_change", of_kind(2, &do_view_change())),
        ("greeting", of_kind(3, &greeting())),
    ]
}

fn journal_slots() -> Inputs {
    let log = log(2);
    let slot = |slot: u8, entry: &[u8], prepare: &[u8]| [&[slot], entry, prepare].concat();
    let whole = |header: &Header| [&header.encode()[..], &requests()].concat();
    let later = Header { op: Op(65), ..log[1] }.sealed(&requests());
    vec![
        ("empty", slot(1, &[], &[])),
        ("clean", slot(1, &log[1].encode(), &whole(&log[1]))),
        ("root", slot(0, &log[0].encode(), &log[0].encode())),
        ("header_lost", slot(1, &[0; 128], &whole(&log[1]))),
        ("prepare_torn", slot(1, &log[1].encode(), &whole(&log[1])[..150])),
        ("later_lap", slot(1, &log[1].encode(), &whole(&later))),
        ("misdirected", slot(1, &log[2].encode(), &whole(&log[2]))),
    ]
}

fn superblocks() -> Inputs {
    let formatted = Config::new(CLUSTER, ReplicaId(1), 3, LAYOUT).format(77).swap_remove(0).1;
    let first = Superblock::decode(&formatted, 0).expect("what format writes can be read");
    let suffix = log(3);
    let later = Superblock {
        view: View(5),
        log_view: View(4),
        members: members(),
        commit: CommitIndex(1),
        head: Op(3),
        suffix: suffix[1..].to_vec(),
        ..first.successor()
    };
    // The target fills up with zeros what is cut off here.
    let trimmed = |copy: u8, bytes: Vec<u8>| {
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        [&[copy], &bytes[..end]].concat()
    };
    vec![
        ("formatted", trimmed(0, formatted)),
        ("with_suffix", trimmed(3, later.encode(3))),
        ("misdirected", trimmed(2, later.encode(1))),
        ("zeros", vec![0]),
    ]
}

/// Bytes without a pattern, always the same.
fn noise(purpose: &str, length: usize) -> Vec<u8> {
    let block = |number: usize| Checksum::of(format!("{purpose} {number}").as_bytes()).0.to_le_bytes();
    let mut bytes: Vec<u8> = (0..length.div_ceil(16)).flat_map(block).collect();
    bytes.truncate(length);
    bytes
}

/// The trace of a world of two nodes, with everything done to it that a world can do, or nothing.
fn trace(bodies: TraceBodies, eventful: bool) -> Vec<u8> {
    let settings = WorldSettings {
        trace: TraceMode::Keep,
        bodies,
        scenario: "fuzz".into(),
        schedule: "nothing = true\n".into(),
        code_version: "0".into(),
        ..WorldSettings::default()
    };
    let mut world = World::with_settings(7, settings);
    world.set_service(Outside::new(7, ServicesPlan::default()));
    let a = world.add_node("a", Scribe::talking_to(NodeId(1)));
    let b = world.add_node("b", Scribe::talking_to(NodeId(0)));
    world.run_for(5_000_000);
    if eventful {
        world.cut_one_way(a, b);
        world.clog(b, a);
        world.run_for(2_000_000);
        world.heal_all();
        world.pause(a);
        world.skew(b, -5, 1000);
        world.step_clock(b, 1_000_000);
        world.run_for(1_000_000);
        world.resume(a);
        world.kill(a);
        world.set_link(a, b, LinkSettings { corruption_ppm: 1_000_000, ..LinkSettings::default() });
        world.set_links(LinkSettings { duplication_ppm: 1_000_000, ..LinkSettings::default() });
        world.restart(a);
        world.note("nothing else");
        world.run_for(3_000_000);
        world.cut_power(b);
    }
    world.finish();
    world.trace().expect("the trace is kept")
}

/// A process that does a little of everything.
#[derive(Clone)]
pub(crate) struct Scribe {
    deadline: Option<Instant>,
    other: NodeId,
}

impl Scribe {
    pub(crate) fn talking_to(other: NodeId) -> Self {
        Self { deadline: None, other }
    }
}

impl Process for Scribe {
    fn step(&mut self, now: Now, event: Event<'_>, actions: &mut Actions) {
        match event {
            Event::Start { .. } => {
                let mut frame = actions.frame();
                frame.bytes().resize(4096, 7);
                actions.write(Token(1), 4096, frame.finish(), false);
                actions.read(Token(2), 0, 4096);
                actions.run_effect(EffectOrder {
                    id: effect(1),
                    token: FencingToken { fence: Fence { epoch: Epoch(1), view: View(2) }, attempt: Op(3) },
                    errand: Errand::Run,
                    destination: Destination::Emit(Channel(4)),
                    payload: Frame::new(vec![7; 3]),
                    timeout_ns: 1_000_000,
                });
                self.deadline = Some(now.monotonic.after(1_000_000));
            }
            Event::DiskCompletion(completion) if completion.token == Token(1) => actions.barrier(Token(3)),
            Event::Deadline => {
                let mut frame = actions.frame();
                frame.bytes().extend_from_slice(b"hello");
                actions.send(self.other, frame.finish());
                actions.probe(chronon::process::ProbeId(0));
                self.deadline = Some(now.monotonic.after(1_000_000));
            }
            Event::DiskCompletion(_) | Event::Message { .. } | Event::EffectOutcome(_) => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn probes(&self) -> &'static [&'static str] {
        &["said hello"]
    }
}
