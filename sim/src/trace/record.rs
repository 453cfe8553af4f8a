//! What a reader of a trace gets: records, each of which can be told in one line.

use std::fmt;

use chronon::{
    effect::{Destination, EffectId, Errand, FencingToken},
    process::{DiskError, Now, Token},
    types::NodeId,
};

use crate::{
    network::{Fate, LinkSettings},
    verdict::Verdict,
};

/// A node by its address and the name that it was added with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Named<'a> {
    /// The address.
    pub node: NodeId,
    /// The name; empty if no node has that address.
    pub name: &'a str,
}

/// One record, with where and when it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// Where the record begins, in bytes after the header.
    pub offset: u64,
    /// How many bytes it takes.
    pub length: u64,
    /// The virtual time. An action has that of its event.
    pub at_ns: u64,
    /// How many events were taken so far, this one included.
    pub step: u64,
    /// What happened.
    pub record: Record<'a>,
}

/// A message's body, as far as the trace holds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body<'a> {
    /// Every byte.
    Bytes(&'a [u8]),
    /// The length and the checksum.
    Checksum {
        /// In bytes.
        length: u32,
        /// By [`crate::fold::checksum`].
        checksum: u64,
    },
}

impl Body<'_> {
    /// How many bytes it has.
    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Checksum { length, .. } => u64::from(*length),
        }
    }
}

/// The length and the checksum of what was read or written. Most of what is read is zeros: a sector is the least that can be,
/// and what was written seldom fills it. So the checksum leaves out the zeros at the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Contents {
    /// In bytes.
    pub length: u32,
    /// By [`crate::fold::checksum`]; 0 of nothing.
    pub checksum: u64,
}

/// What an order came to, its response by length and checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the fields are those of `EffectResult`")]
pub enum CameTo {
    /// It was done.
    Done { contents: Contents },
    /// It was not done.
    Failed { code: u32 },
    /// It never will be.
    Refused { code: u32 },
    /// Nobody knows.
    Unknown { code: u32 },
    /// Asked, the service says that it was not done.
    NotDone,
}

impl fmt::Display for CameTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done { contents } => write!(f, "was done: {contents}"),
            Self::Failed { code } => write!(f, "failed ({code})"),
            Self::Refused { code } => write!(f, "is refused ({code})"),
            Self::Unknown { code } => write!(f, "came to nobody knows what ({code})"),
            Self::NotDone => write!(f, "was not done"),
        }
    }
}

/// Why a process crashed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum CrashCause {
    /// It was killed.
    Killed = 0,
    /// It was killed after a prefix of one step's actions.
    KilledInStep = 1,
    /// It was killed at a moment of its disk's.
    KilledAtDisk = 2,
    /// It stopped itself.
    Halted = 3,
    /// Its machine lost power.
    PowerCut = 4,
}

impl CrashCause {
    pub(super) const ALL: [Self; 5] =
        [Self::Killed, Self::KilledInStep, Self::KilledAtDisk, Self::Halted, Self::PowerCut];
}

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the fields of a record are named by what they hold, and told by `Display`")]
pub enum Record<'a> {
    /// A table of probe names, which nodes refer to.
    Probes { names: Vec<&'a str> },
    /// A node was added.
    Node { node: Named<'a> },
    /// A process was started.
    Start { node: Named<'a>, now: Now, nonce: u128 },
    /// A process took a message: the `number`-th that was sent, as it was sent unless other bytes arrived.
    Message { node: Named<'a>, now: Now, from: Named<'a>, number: u64, corrupted: Option<&'a [u8]> },
    /// A process took a disk completion.
    Completion { node: Named<'a>, now: Now, token: Token, result: Result<Contents, DiskError> },
    /// A process was told what an order came to.
    Report { node: Named<'a>, now: Now, id: EffectId, token: FencingToken, result: CameTo },
    /// A process's deadline passed.
    Deadline { node: Named<'a>, now: Now },
    /// A process sent the `number`-th frame.
    Send { node: Named<'a>, to: Named<'a>, number: u64, body: Body<'a> },
    /// What became of the frame sent last, where it was not simply passed on.
    Fate { node: Named<'a>, number: u64, fate: Fate },
    /// A process asked for a read.
    Read { node: Named<'a>, token: Token, offset: u64, length: u32 },
    /// A process asked for a write.
    Write { node: Named<'a>, token: Token, offset: u64, durable: bool, contents: Contents },
    /// A process asked for a barrier.
    Barrier { node: Named<'a>, token: Token },
    /// A process asked for an effect to be done.
    Order {
        node: Named<'a>,
        id: EffectId,
        token: FencingToken,
        errand: Errand,
        destination: Destination,
        timeout_ns: u64,
        contents: Contents,
    },
    /// A process took a rare path.
    Probe { node: Named<'a>, name: &'a str },
    /// A process stopped itself.
    Halt { node: Named<'a>, reason: &'a str },
    /// A process crashed.
    Crash { node: Named<'a>, cause: CrashCause },
    /// A process was made anew.
    Restart { node: Named<'a> },
    /// A process was paused.
    Pause { node: Named<'a> },
    /// A process goes on.
    Resume { node: Named<'a> },
    /// A link was cut.
    Cut { from: Named<'a>, to: Named<'a> },
    /// One cut of a link was healed.
    Heal { from: Named<'a>, to: Named<'a> },
    /// A link was clogged.
    Clog { from: Named<'a>, to: Named<'a> },
    /// A link was opened.
    Unclog { from: Named<'a>, to: Named<'a> },
    /// The last frames of a link came again.
    Echo { from: Named<'a>, to: Named<'a> },
    /// A frame under way was dropped.
    Drop { from: Named<'a>, to: Named<'a>, number: u64 },
    /// A node's clocks run at another rate.
    Drift { node: Named<'a>, drift_ppb: i64 },
    /// A node's realtime clock was stepped.
    ClockStep { node: Named<'a>, delta_ns: i64 },
    /// One link, or every link without settings of its own, behaves otherwise.
    Link { ends: Option<(Named<'a>, Named<'a>)>, settings: LinkSettings },
    /// A remark by whoever drives the world.
    Note { note: &'a str },
    /// Where the streams of randomness stand: purpose, two coordinates, words.
    Checkpoint { steps: u64, positions: Vec<(u8, u32, u32, u64)> },
    /// A promise was broken.
    Verdict { verdict: Verdict, step: u64, oracle: &'a str, place: &'a str, violation: &'a str },
    /// The end.
    End { steps: u64 },
}

impl<'a> Record<'a> {
    /// The node that it happened to or that acted, if it was one.
    pub fn node(&self) -> Option<Named<'a>> {
        match self {
            Self::Node { node }
            | Self::Start { node, .. }
            | Self::Message { node, .. }
            | Self::Completion { node, .. }
            | Self::Report { node, .. }
            | Self::Deadline { node, .. }
            | Self::Send { node, .. }
            | Self::Fate { node, .. }
            | Self::Read { node, .. }
            | Self::Write { node, .. }
            | Self::Barrier { node, .. }
            | Self::Order { node, .. }
            | Self::Probe { node, .. }
            | Self::Halt { node, .. }
            | Self::Crash { node, .. }
            | Self::Restart { node }
            | Self::Pause { node }
            | Self::Resume { node }
            | Self::Drift { node, .. }
            | Self::ClockStep { node, .. } => Some(*node),
            _ => None,
        }
    }

    /// Whether a process answered with this, rather than took it or suffered it.
    pub fn is_action(&self) -> bool {
        matches!(
            self,
            Self::Send { .. }
                | Self::Fate { .. }
                | Self::Read { .. }
                | Self::Write { .. }
                | Self::Barrier { .. }
                | Self::Order { .. }
                | Self::Probe { .. }
                | Self::Halt { .. }
        )
    }
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() { write!(f, "{}", self.node) } else { f.write_str(self.name) }
    }
}

impl fmt::Display for Entry<'_> {
    /// One line: the virtual time, the node, and what happened.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>5}.{:09} ", self.at_ns / 1_000_000_000, self.at_ns % 1_000_000_000)?;
        match self.record.node() {
            Some(node) => write!(f, "{:<4} ", node.to_string())?,
            None => write!(f, "     ")?,
        }
        // Actions stand under the event that they answer.
        if self.record.is_action() {
            write!(f, "  ")?;
        }
        write!(f, "{}", self.record)
    }
}

impl fmt::Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Probes { names } => write!(f, "a table of {} probes", names.len()),
            Self::Node { .. } => write!(f, "was added"),
            Self::Start { .. } => write!(f, "starts"),
            Self::Message { from, number, corrupted: None, .. } => write!(f, "takes #{number} from {from}"),
            Self::Message { from, number, corrupted: Some(bytes), .. } => {
                write!(f, "takes #{number} from {from}, corrupted ({} bytes)", bytes.len())
            }
            Self::Completion { token, result: Ok(contents), .. } if contents.length == 0 => {
                write!(f, "disk operation {:#x} is done", token.0)
            }
            Self::Completion { token, result: Ok(contents), .. } => {
                write!(f, "disk operation {:#x} read {contents}", token.0)
            }
            Self::Completion { token, result: Err(error), .. } => {
                write!(f, "disk operation {:#x} failed: {error:?}", token.0)
            }
            Self::Report { id, token, result, .. } => write!(f, "is told that effect {id} under {token} {result}"),
            Self::Deadline { .. } => write!(f, "reaches its deadline"),
            Self::Send { to, number, body, .. } => write!(f, "sends #{number} to {to}, {body}"),
            Self::Fate { number, fate, .. } => {
                write!(f, "  #{number}:")?;
                fate.names().try_for_each(|name| write!(f, " {name}"))
            }
            Self::Read { token, offset, length, .. } => {
                write!(f, "asks for a read of {length} bytes at {offset} as {:#x}", token.0)
            }
            Self::Write { token, offset, durable, contents, .. } => {
                let durable = if *durable { "durable " } else { "" };
                write!(f, "asks for a {durable}write of {contents} at {offset} as {:#x}", token.0)
            }
            Self::Barrier { token, .. } => write!(f, "asks for a barrier as {:#x}", token.0),
            Self::Order { id, token, errand, destination, contents, .. } => {
                let errand = if *errand == Errand::Ask { "asks whether effect" } else { "orders effect" };
                write!(f, "{errand} {id} under {token}, {destination:?} of {contents}")
            }
            Self::Probe { name, .. } => write!(f, "took a rare path: {name}"),
            Self::Halt { reason, .. } => write!(f, "stops itself: {reason}"),
            Self::Crash { cause, .. } => write!(f, "{cause}"),
            Self::Restart { .. } => write!(f, "is restarted"),
            Self::Pause { .. } => write!(f, "is paused"),
            Self::Resume { .. } => write!(f, "goes on"),
            Self::Cut { from, to } => write!(f, "cut {from} → {to}"),
            Self::Heal { from, to } => write!(f, "heal {from} → {to}"),
            Self::Clog { from, to } => write!(f, "clog {from} → {to}"),
            Self::Echo { from, to } => write!(f, "echo {from} → {to}"),
            Self::Unclog { from, to } => write!(f, "unclog {from} → {to}"),
            Self::Drop { from, to, number } => write!(f, "dropped #{number} from {from} to {to}, under way"),
            Self::Drift { drift_ppb, .. } => write!(f, "clocks now drift by {drift_ppb} parts per billion"),
            Self::ClockStep { delta_ns, .. } => write!(f, "realtime clock is stepped by {delta_ns} ns"),
            Self::Link { ends: None, settings } => write!(f, "links now: {settings}"),
            Self::Link { ends: Some((from, to)), settings } => write!(f, "link {from} → {to} now: {settings}"),
            Self::Note { note } => write!(f, "{note}"),
            Self::Checkpoint { steps, positions } => {
                write!(f, "checkpoint: {steps} steps, {} streams drawn from", positions.len())
            }
            Self::Verdict { verdict, oracle, violation, .. } => write!(f, "{verdict}: {violation} (found by {oracle})"),
            Self::End { steps } => write!(f, "the end, after {steps} steps"),
        }
    }
}

impl fmt::Display for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Checksum { length, checksum } => write!(f, "{length} bytes {checksum:016x}"),
        }
    }
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes {:016x}", self.length, self.checksum)
    }
}

impl fmt::Display for CrashCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Killed => "is killed",
            Self::KilledInStep => "is killed in the middle of a step",
            Self::KilledAtDisk => "is killed at a disk operation",
            Self::Halted => "is down, having stopped itself",
            Self::PowerCut => "loses power",
        })
    }
}
