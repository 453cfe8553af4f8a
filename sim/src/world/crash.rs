//! Crashes and what leads to them: kills, kills that wait for a moment, restarts, pauses.

use chronon::{
    process::{Action, Completion, Process},
    types::NodeId,
};
use serde::{Deserialize, Serialize};

use super::{Held, Pending, Place, World};
use crate::{
    disk::{Completed, OperationKind, SimDisk},
    oracle::Interests,
    trace::{CrashCause, Happening},
};

/// A moment in the life of a disk operation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskMoment {
    /// The process asked for it and crashed before the disk heard of it. So did whatever it asked for after it.
    BeforeSubmission,
    /// The disk has just taken it.
    AfterSubmission,
    /// It was about to take effect.
    BeforeCompletion,
    /// It took effect, and the process has not heard of it.
    AfterCompletion,
}

impl DiskMoment {
    /// Every moment, in their order.
    pub const ALL: [Self; 4] =
        [Self::BeforeSubmission, Self::AfterSubmission, Self::BeforeCompletion, Self::AfterCompletion];
}

/// Crashes that wait for their moment. A crash, of whatever cause, clears them.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct CrashPlan {
    /// After so many actions of the next step.
    after_actions: Option<u32>,
    at_disk: Option<AtDisk>,
}

#[derive(Clone, Copy, Debug)]
struct AtDisk {
    /// Of any kind if none.
    kind: Option<OperationKind>,
    /// How many more to let pass.
    skip: u32,
    moment: DiskMoment,
}

impl CrashPlan {
    /// Where the step that answered with `actions` is cut: how many of them are performed, and why no more.
    pub(super) fn cut(&mut self, actions: &[Action]) -> Option<(usize, CrashCause)> {
        let in_step =
            self.after_actions.take().map(|count| (actions.len().min(count as usize), CrashCause::KilledInStep));
        let at_disk = self.submission(actions).map(|count| (count, CrashCause::KilledAtDisk));
        match (in_step, at_disk) {
            (Some(in_step), Some(at_disk)) => Some(if at_disk.0 <= in_step.0 { at_disk } else { in_step }),
            (one, other) => one.or(other),
        }
    }

    /// After how many of `actions` the planned submission crashes the process, if it is among them.
    fn submission(&mut self, actions: &[Action]) -> Option<usize> {
        let plan = self.at_disk.as_mut()?;
        let after = match plan.moment {
            DiskMoment::BeforeSubmission => 0,
            DiskMoment::AfterSubmission => 1,
            DiskMoment::BeforeCompletion | DiskMoment::AfterCompletion => return None,
        };
        let place = actions.iter().position(|action| kind_of(action).is_some_and(|kind| plan.passes(kind)))?;
        Some(place + after)
    }

    /// Whether this moment of the completion of an operation of this kind crashes the process.
    pub(super) fn completion(&mut self, kind: OperationKind, moment: DiskMoment) -> bool {
        self.at_disk.as_mut().is_some_and(|plan| plan.moment == moment && plan.passes(kind))
    }
}

impl AtDisk {
    /// Whether this operation is the awaited one; counts it otherwise.
    fn passes(&mut self, kind: OperationKind) -> bool {
        if self.kind.is_some_and(|wanted| wanted != kind) {
            return false;
        }
        let awaited = self.skip == 0;
        self.skip = self.skip.saturating_sub(1);
        awaited
    }
}

fn kind_of(action: &Action) -> Option<OperationKind> {
    match action {
        Action::Read { .. } => Some(OperationKind::Read),
        Action::Write { durable: false, .. } => Some(OperationKind::Write),
        Action::Write { durable: true, .. } => Some(OperationKind::DurableWrite),
        Action::Barrier { .. } => Some(OperationKind::Barrier),
        _ => None,
    }
}

impl World {
    /// Kills the node's process. Its disk draws whether the power failed with it, and if so what became of each unbarriered
    /// sector. False if it was down already.
    pub fn kill(&mut self, node: NodeId) -> bool {
        self.crash(node, CrashCause::Killed)
    }

    /// Kills the node's process by cutting its machine's power: every unbarriered sector is kept, lost or torn. False if it
    /// was down already; the power is cut then too.
    pub fn cut_power(&mut self, node: NodeId) -> bool {
        let up = self.crash(node, CrashCause::PowerCut);
        if !up && !self.is_over() {
            self.core.trace.happening(self.core.now_ns, &Happening::Crash { node, cause: CrashCause::PowerCut });
            self.slot_mut(node).disk.cut_power();
        }
        up
    }

    /// Kills the node's process in the middle of its next step: `count` of that step's actions are performed and whatever
    /// comes after them is not.
    pub fn kill_after_actions(&mut self, node: NodeId, count: u32) {
        self.plan_mut(node).after_actions = Some(count);
    }

    /// Kills the node's process at a moment of a disk operation: the `nth` from now (0 is the next) of this kind, or of any.
    pub fn kill_at_disk_operation(&mut self, node: NodeId, kind: Option<OperationKind>, nth: u32, moment: DiskMoment) {
        self.plan_mut(node).at_disk = Some(AtDisk { kind, skip: nth, moment });
    }

    /// Forgets the kills that wait for their moment.
    pub fn cancel_planned_kills(&mut self, node: NodeId) {
        self.slot_mut(node).plan = None;
    }

    /// What every later restart of a node makes its process of, in the place of what was added: another version of the program.
    pub fn replace(&mut self, node: NodeId, process: impl Process + 'static) {
        self.slot_mut(node).replace(Box::new(process));
    }

    /// Makes the node's process anew, as it was added or replaced; its first event is the start. False if it is up.
    pub fn restart(&mut self, node: NodeId) -> bool {
        if self.is_over() || self.slot(node).is_up() {
            return false;
        }
        let now_ns = self.core.now_ns;
        let life = self.slot(node).life;
        let nonce = self.nonce(node, life);
        self.slot_mut(node).make_anew(nonce);
        self.core.trace.happening(now_ns, &Happening::Restart { node });
        self.core.queue.push(now_ns, Pending::Start { node, life });
        self.watch(Interests::CRASHES, |oracle, view| oracle.after_restart(view, node));
        true
    }

    /// Gives a node that is down another disk, and hands back the one that it had. Say why with [`World::note`]: the trace cannot know.
    ///
    /// # Panics
    /// If the node is up.
    pub fn exchange_disk(&mut self, node: NodeId, disk: SimDisk) -> SimDisk {
        assert!(!self.slot(node).is_up(), "a disk is exchanged while nobody uses it");
        let former = std::mem::replace(&mut self.slot_mut(node).disk, disk);
        self.watch(Interests::CRASHES, |oracle, view| oracle.after_exchange(view, node));
        former
    }

    /// Stops the node's process without its noticing: what comes is held, the clocks go on, the disk works on. False if it
    /// is down or paused already.
    pub fn pause(&mut self, node: NodeId) -> bool {
        if self.is_over() {
            return false;
        }
        let slot = self.slot_mut(node);
        if !slot.is_up() || slot.paused {
            return false;
        }
        slot.paused = true;
        self.core.trace.happening(self.core.now_ns, &Happening::Pause { node });
        true
    }

    /// Lets a paused process go on: it takes what was held, in order, at this instant. False if it was not paused.
    pub fn resume(&mut self, node: NodeId) -> bool {
        if self.is_over() {
            return false;
        }
        let now_ns = self.core.now_ns;
        let slot = &mut self.nodes[node.0 as usize];
        if !slot.paused {
            return false;
        }
        slot.paused = false;
        let life = slot.life;
        for held in std::mem::take(&mut slot.held) {
            let pending = match held {
                Held::Start => Pending::Start { node, life },
                Held::Flight(flight) => Pending::Arrived(Box::new(flight)),
                Held::Completion(completion) => Pending::Completed { node, life, completion: Box::new(completion) },
                Held::Report(report) => Pending::Report { node, life, report },
            };
            self.core.queue.push(now_ns, pending);
        }
        slot.arm(now_ns, node, &mut self.core.queue);
        self.core.trace.happening(now_ns, &Happening::Resume { node });
        true
    }

    /// A process panicked within the last call that drove this world, and the caller caught that: the process is told, and stops if it
    /// knows what the panic means, as it would in production. False if it does not, or if it was not a process.
    pub fn stop_panicked(&mut self, message: &str) -> bool {
        let Place::Process(node) = self.place else { return false };
        if self.is_over() || !self.tell_panicked(node, message) {
            return false;
        }
        self.end_step(node, None);
        self.place = Place::World;
        true
    }

    fn plan_mut(&mut self, node: NodeId) -> &mut CrashPlan {
        self.slot_mut(node).plan.get_or_insert_default()
    }

    /// The process is gone, for `cause`.
    pub(super) fn crash(&mut self, node: NodeId, cause: CrashCause) -> bool {
        if self.is_over() {
            return false;
        }
        let slot = self.slot_mut(node);
        if !slot.is_up() {
            return false;
        }
        slot.clear();
        match cause {
            // It stopped by itself: the machine has power.
            CrashCause::Halted => slot.disk.kill_process(),
            CrashCause::PowerCut => slot.disk.cut_power(),
            CrashCause::Killed | CrashCause::KilledInStep | CrashCause::KilledAtDisk => {
                slot.disk.crash();
            }
        }
        self.crashes += 1;
        self.core.trace.happening(self.core.now_ns, &Happening::Crash { node, cause });
        self.watch(Interests::CRASHES, |oracle, view| oracle.after_crash(view, node));
        true
    }

    /// An operation is due, for the first time unless it was put off. What the process is to hear of it, if anything.
    pub(super) fn complete(&mut self, node: NodeId, life: u32, operation: u32, put_off: bool) -> Option<Completion> {
        let slot = &mut self.nodes[node.0 as usize];
        if slot.life != life {
            return None;
        }
        let kind = slot.disk.kind(operation)?;
        // A stalled disk counts too: its operations are about to complete for long.
        if !put_off && slot.planned(kind, DiskMoment::BeforeCompletion) {
            self.crash(node, CrashCause::KilledAtDisk);
            return None;
        }
        let running = slot.running.as_mut().expect("what a life asked for completes in it");
        let completion = match slot.disk.complete_with(self.core.now_ns, operation, running.pool()) {
            Completed::Done(completion) => completion,
            Completed::Later(at_ns) => {
                self.core.queue.push(at_ns, Pending::Due { node, life, operation, put_off: true });
                return None;
            }
            Completed::Gone => return None,
        };
        if slot.planned(kind, DiskMoment::AfterCompletion) {
            self.crash(node, CrashCause::KilledAtDisk);
            return None;
        }
        Some(completion)
    }
}
