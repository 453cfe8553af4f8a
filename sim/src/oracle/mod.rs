//! Oracles: what a run must and must not do, watched from outside.
//!
//! An oracle sees every step of every process with the actions that it answered with, the processes and disks as they then
//! are, and every crash and restart. It knows what no process knows, and no process knows of it.
//!
//! Invariant: an oracle changes nothing. Oracles draw no randomness and act on nothing, so that a run with them is the same
//! run as one without, up to the violation that stops it. An oracle is cloned with its world.

mod accounts;
mod agreement;
mod amnesia;
mod bounds;
mod brief;
mod checkpoints;
pub mod cluster;
pub mod convergence;
mod durability;
mod effects;
mod halts;
mod ledger;
mod model;
mod monotonic;
mod prepares;
mod promise;
mod quorum;
pub mod reads;
mod replies;
#[cfg(test)]
mod script;
mod sequence;
mod sessions;
mod speech;
mod state;
mod timestamps;
mod witness;

use std::any::Any;

use chronon::{
    effect::EffectReport,
    frame::Frame,
    process::{Action, DiskError, Now, Process, Token},
    types::{Instant, NodeId},
};

use crate::{disk::SimDisk, network::NetworkCounts, service::Service, verdict::Verdict, world::NodeSlot};

/// Global truth: a promise that the whole of a run must keep.
///
/// Every hook does nothing unless it is written; [`Oracle::interests`] says which are worth calling.
pub trait Oracle: CloneOracle + Send {
    /// The promise's name, as a failure reports it.
    fn name(&self) -> &'static str;

    /// Which hooks to call. All of them but the bodies of events unless said otherwise.
    fn interests(&self) -> Interests {
        Interests::STEPS | Interests::CRASHES | Interests::END
    }

    /// A process took one step. Its actions are about to be performed, all of those in the view and no others.
    fn after_step(&mut self, world: &WorldView<'_>, node: NodeId, step: &StepView<'_>) -> Result<(), Violation> {
        let _ = (world, node, step);
        Ok(())
    }

    /// A process crashed, for whatever reason. It is gone; its disk holds what the crash left.
    fn after_crash(&mut self, world: &WorldView<'_>, node: NodeId) -> Result<(), Violation> {
        let _ = (world, node);
        Ok(())
    }

    /// A process was made anew after a crash. It has not started yet.
    fn after_restart(&mut self, world: &WorldView<'_>, node: NodeId) -> Result<(), Violation> {
        let _ = (world, node);
        Ok(())
    }

    /// The disk of a node that is down was exchanged for another, an empty one or one of before.
    fn after_exchange(&mut self, world: &WorldView<'_>, node: NodeId) -> Result<(), Violation> {
        let _ = (world, node);
        Ok(())
    }

    /// The run is over and nothing else was violated.
    fn at_end(&mut self, world: &WorldView<'_>) -> Result<(), Violation> {
        let _ = world;
        Ok(())
    }
}

/// What a world needs of every oracle: to be copied and to be found again. Implemented for all that is `Clone`.
pub trait CloneOracle: Any {
    /// A copy, with all that it has seen.
    fn clone_boxed(&self) -> Box<dyn Oracle>;
}

impl<O: Oracle + Clone + 'static> CloneOracle for O {
    fn clone_boxed(&self) -> Box<dyn Oracle> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn Oracle> {
    fn clone(&self) -> Self {
        (**self).clone_boxed()
    }
}

/// Which of an oracle's hooks are called. Join several with `|`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Interests(u8);

impl Interests {
    /// No hook at all.
    pub const NONE: Self = Self(0);
    /// [`Oracle::after_step`].
    pub const STEPS: Self = Self(1);
    /// [`Oracle::after_crash`], [`Oracle::after_restart`] and [`Oracle::after_exchange`].
    pub const CRASHES: Self = Self(1 << 1);
    /// [`Oracle::at_end`].
    pub const END: Self = Self(1 << 2);
    /// The frames of [`EventView::Message`] and what reads returned. Holding them costs a little at every event.
    pub const EVENT_BODIES: Self = Self(1 << 3);

    /// Whether all of `others` are among these.
    pub const fn has(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}

impl std::ops::BitOr for Interests {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A broken promise, as an oracle tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// [`Verdict::Safety`] or [`Verdict::Liveness`].
    pub verdict: Verdict,
    /// Which part of the promise, without seed, time or op: failures are grouped by it.
    pub place: String,
    /// One sentence that says what was violated ("op 412 is A on r1 and B on r3").
    pub sentence: String,
    /// Whose promise it is, where one oracle watches several; else the oracle's own.
    pub promise: Option<&'static str>,
}

impl Violation {
    /// Something happened that never may.
    pub fn safety(place: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self { verdict: Verdict::Safety, place: place.into(), sentence: sentence.into(), promise: None }
    }

    /// Something did not happen that must.
    pub fn liveness(place: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self { verdict: Verdict::Liveness, place: place.into(), sentence: sentence.into(), promise: None }
    }

    /// The same, as a violation of the promise of that name.
    pub fn of(self, promise: &'static str) -> Self {
        Self { promise: Some(promise), ..self }
    }
}

/// The event that a step took.
#[derive(Clone, Copy, Debug)]
pub enum EventView<'a> {
    /// The process began.
    Start,
    /// A frame arrived.
    Message {
        /// Who sent it.
        from: NodeId,
        /// Which of all frames sent in this world it is. A duplicate has its original's number.
        number: u64,
        /// The frame as it arrived, if an oracle asked for [`Interests::EVENT_BODIES`].
        frame: Option<&'a Frame>,
    },
    /// A disk operation ended.
    Completion {
        /// The token that it was submitted with.
        token: Token,
        /// How many bytes were read, or what went wrong.
        result: Result<u32, DiskError>,
        /// What was read, if an oracle asked for [`Interests::EVENT_BODIES`].
        data: Option<&'a Frame>,
    },
    /// An order that the process gave came to something.
    Effect {
        /// To what.
        report: &'a EffectReport,
    },
    /// The process's deadline passed.
    Deadline,
}

/// One step of one process.
#[derive(Clone, Copy, Debug)]
pub struct StepView<'a> {
    /// How many steps were taken in this world, this one included.
    pub number: u64,
    /// The clock readings that the process was given.
    pub now: Now,
    /// What happened to the process.
    pub event: EventView<'a>,
    /// What it answered, in order and as far as it is performed: a crash in the middle of a step leaves a prefix.
    pub actions: &'a [Action],
}

impl<'a> StepView<'a> {
    /// The frames that it sent, with their receivers.
    pub fn sends(&self) -> impl Iterator<Item = (NodeId, &'a Frame)> + use<'a> {
        self.actions.iter().filter_map(|action| match action {
            Action::Send { to, frame } => Some((*to, frame)),
            _ => None,
        })
    }

    /// Why it stopped itself, if it did.
    pub fn halted(&self) -> Option<&'a str> {
        self.actions.iter().find_map(|action| match action {
            Action::Halt { reason } => Some(&**reason),
            _ => None,
        })
    }
}

/// A world as oracles see it: everything, and nothing to change.
#[derive(Clone, Copy)]
pub struct WorldView<'a> {
    pub(crate) now_ns: u64,
    pub(crate) steps: u64,
    pub(crate) nodes: &'a [NodeSlot],
    pub(crate) counts: NetworkCounts,
    pub(crate) service: Option<&'a dyn Service>,
}

impl<'a> WorldView<'a> {
    /// The virtual time.
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// How many steps were taken so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The nodes' addresses.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.nodes.len() as u32).map(NodeId)
    }

    /// The node's name.
    pub fn name(&self, node: NodeId) -> &'a str {
        self.slot(node).name()
    }

    /// The node's process as its own type: none if it is down or is no `P`.
    pub fn process<P: Process + 'static>(&self, node: NodeId) -> Option<&'a P> {
        self.slot(node).process()
    }

    /// Whether the node's process is running (or paused).
    pub fn is_up(&self, node: NodeId) -> bool {
        self.slot(node).is_up()
    }

    /// Why the node's process stopped itself, if that is why it is down.
    pub fn halted(&self, node: NodeId) -> Option<&'a str> {
        self.slot(node).halted()
    }

    /// How often the node's process was made anew.
    pub fn restarts(&self, node: NodeId) -> u32 {
        self.slot(node).restarts()
    }

    /// The node's disk, durable contents included.
    pub fn disk(&self, node: NodeId) -> &'a SimDisk {
        self.slot(node).disk()
    }

    /// What became of all frames so far.
    pub fn network(&self) -> NetworkCounts {
        self.counts
    }

    /// The reading of the node's monotonic clock, which goes on while the node is down.
    pub fn monotonic(&self, node: NodeId) -> Instant {
        self.slot(node).clock_at(self.now_ns).monotonic
    }

    /// What effects are done by, as its own type.
    pub fn service<S: Service + 'static>(&self) -> Option<&'a S> {
        self.service?.downcast_ref()
    }

    fn slot(&self, node: NodeId) -> &'a NodeSlot {
        self.nodes.get(node.0 as usize).expect("this world has that node")
    }
}
