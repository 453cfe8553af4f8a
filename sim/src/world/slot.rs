//! One node of a world: its process while it runs, what it is made anew from, and what outlives it.

use chronon::{
    effect::EffectReport,
    node::Node,
    process::{Completion, Now, Process},
    types::{Instant, NodeId},
};

use super::{DiskMoment, Pending, crash::CrashPlan};
use crate::{
    clock::NodeClock,
    disk::{OperationKind, SimDisk},
    network::Flight,
    queue::Queue,
};

/// How many events a paused node holds. More frames are dropped, as by a full socket.
const HELD_MAX: usize = 4096;

/// A node of a world.
#[derive(Clone)]
pub struct NodeSlot {
    pub(super) name: String,
    /// The process as it was added, or replaced: its configuration. Every restart clones it.
    image: Box<dyn Process>,
    /// None while it is down.
    pub(super) running: Option<Node<Box<dyn Process>>>,
    pub(super) halted: Option<String>,
    pub(super) clock: NodeClock,
    pub(super) disk: SimDisk,
    /// Counts crashes: what was meant for an earlier life reaches no later one.
    pub(super) life: u32,
    pub(super) restarts: u32,
    pub(super) paused: bool,
    /// What came while it was paused.
    pub(super) held: Vec<Held>,
    /// The virtual times of its wake-ups in the queue, each earlier than the one before: a deadline that moves away costs
    /// nothing, one that comes nearer costs one entry.
    wakes: Vec<u64>,
    /// The earliest wake-up comes no later than this deadline is reached.
    armed: Instant,
    pub(super) events: u64,
    pub(super) probe_table: u32,
    /// Crashes that wait, if any do.
    pub(super) plan: Option<Box<CrashPlan>>,
}

/// What a paused node has not taken yet.
#[derive(Clone)]
pub(super) enum Held {
    Start,
    Flight(Flight),
    Completion(Completion),
    Report(Box<EffectReport>),
}

impl NodeSlot {
    pub(super) fn new(
        name: String,
        process: Box<dyn Process>,
        nonce: u128,
        clock: NodeClock,
        disk: SimDisk,
        probe_table: u32,
    ) -> Self {
        Self {
            name,
            running: Some(Node::new(process.clone(), nonce)),
            image: process,
            halted: None,
            clock,
            disk,
            life: 0,
            restarts: 0,
            paused: false,
            held: Vec::new(),
            wakes: Vec::new(),
            armed: Instant(u64::MAX),
            events: 0,
            probe_table,
            plan: None,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn process<P: Process + 'static>(&self) -> Option<&P> {
        (**self.running.as_ref()?.process()).downcast_ref()
    }

    pub(crate) fn is_up(&self) -> bool {
        self.running.is_some()
    }

    pub(crate) fn halted(&self) -> Option<&str> {
        self.halted.as_deref()
    }

    pub(crate) fn restarts(&self) -> u32 {
        self.restarts
    }

    pub(crate) fn disk(&self) -> &SimDisk {
        &self.disk
    }

    /// Ends this life: nothing of it is left but the disk and the clocks.
    pub(super) fn clear(&mut self) {
        self.running = None;
        self.life += 1;
        self.paused = false;
        self.held.clear();
        self.wakes.clear();
        self.armed = Instant(u64::MAX);
        self.plan = None;
    }

    /// Every life from the next on begins with this.
    pub(super) fn replace(&mut self, process: Box<dyn Process>) {
        self.image = process;
    }

    /// Begins a life from the image.
    pub(super) fn make_anew(&mut self, nonce: u128) {
        self.running = Some(Node::new(self.image.clone(), nonce));
        self.halted = None;
        self.restarts += 1;
    }

    /// Whether a crash was planned for this moment of the completion of such an operation.
    pub(super) fn planned(&mut self, kind: OperationKind, moment: DiskMoment) -> bool {
        self.plan.as_mut().is_some_and(|plan| plan.completion(kind, moment))
    }

    /// Whether a frame can be taken now.
    #[inline]
    pub(super) fn takes_frames(&self) -> bool {
        self.has_started() && !self.paused
    }

    /// Whether it is up and has taken its start. What comes in the instant of a restart and before the start finds nobody.
    #[inline]
    pub(super) fn has_started(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.nonce().is_none())
    }

    /// Whether a paused node has room for one more frame.
    pub(super) fn has_room(&self) -> bool {
        self.held.len() < HELD_MAX
    }

    /// Holds an event of a paused node.
    pub(super) fn hold(&mut self, held: Held) {
        self.held.push(held);
    }

    /// Sees to it that a wake-up comes no later than the process's deadline.
    #[inline(always)]
    pub(super) fn arm(&mut self, now_ns: u64, node: NodeId, queue: &mut Queue<Pending>) {
        let Some(deadline) = self.running.as_ref().and_then(Node::deadline) else { return };
        if deadline < self.armed {
            self.arm_at(now_ns, deadline, node, queue);
        }
    }

    #[cold]
    fn arm_at(&mut self, now_ns: u64, deadline: Instant, node: NodeId, queue: &mut Queue<Pending>) {
        let Some(at_ns) = self.clock.when(now_ns, deadline) else { return };
        if self.wakes.last().is_none_or(|earliest_ns| at_ns < *earliest_ns) {
            self.wakes.push(at_ns);
            queue.push(at_ns, Pending::Wake { node, life: self.life });
        }
        self.armed = deadline;
    }

    /// What its clocks read at `now_ns`.
    pub(crate) fn clock_at(&self, now_ns: u64) -> Now {
        self.clock.now(now_ns)
    }

    /// The clock runs at another rate from now on.
    pub(super) fn set_drift(&mut self, now_ns: u64, drift_ppb: i32) {
        self.clock.set_drift(now_ns, drift_ppb);
        self.armed = Instant(u64::MAX);
    }

    /// The earliest wake-up has come. Whether the deadline, which may have moved since, has passed.
    pub(super) fn wake(&mut self, now_ns: u64) -> bool {
        let woken_ns = self.wakes.pop();
        assert_eq!(woken_ns, Some(now_ns), "wake-ups leave the queue earliest first");
        self.armed = Instant(u64::MAX);
        if self.paused || !self.has_started() {
            return false;
        }
        let now = self.clock.now(now_ns);
        self.running.as_ref().and_then(Node::deadline).is_some_and(|deadline| deadline <= now.monotonic)
    }
}
