//! One event to one process: taking it, watching it, performing what the process answered.

#![expect(
    clippy::disallowed_types,
    reason = "the ports of one step share the world's core for the length of it; no process holds the cell"
)]

use std::cell::RefCell;

use chronon::{
    effect::EffectReport,
    frame::Frame,
    process::{Action, Completion, Now},
    types::NodeId,
};

use super::{
    Held, Pending, Place, World,
    ports::{ClockPort, DiskPort, NetworkPort, SinkPort},
};
use crate::{
    network::{Arrival, Flight},
    oracle::{EventView, Interests, StepView},
    trace::{CrashCause, Happening},
};

impl World {
    /// Lets what lies in this slot of the queue happen. Whether a process took a step, or crashed.
    #[inline(always)]
    pub(super) fn happen(&mut self, slot: u32) -> bool {
        match self.core.queue.take(slot) {
            // Its parts are moved, and not the whole: the whole would be copied through memory several times.
            Some(Pending::Flight(Flight { frame, number, from, to, corrupted })) => {
                let arrival = self.core.network.arrive(from, to);
                if arrival == Arrival::Open && self.nodes[to.0 as usize].takes_frames() {
                    self.deliver(frame, number, from, to, corrupted);
                    return true;
                }
                self.turn_away(Flight { frame, number, from, to, corrupted }, arrival);
                false
            }
            Some(other) => {
                let before = (self.steps, self.crashes);
                self.happen_otherwise(other);
                (self.steps, self.crashes) != before
            }
            None => unreachable!("an entry of the queue has a payload"),
        }
    }

    #[inline(never)]
    fn happen_otherwise(&mut self, pending: Pending) {
        match pending {
            Pending::Flight(_) => unreachable!("a frame under way has a way of its own"),
            Pending::Arrived(flight) => {
                if !self.nodes[flight.to.0 as usize].takes_frames() {
                    return self.turn_away(*flight, Arrival::Open);
                }
                let Flight { frame, number, from, to, corrupted } = *flight;
                self.deliver(frame, number, from, to, corrupted);
            }
            Pending::Due { node, life, operation, put_off } => {
                if let Some(completion) = self.complete(node, life, operation, put_off) {
                    self.completed(node, life, completion);
                }
            }
            Pending::Completed { node, life, completion } => self.completed(node, life, *completion),
            Pending::Order { node, life, order } => self.core.order_arrives(node, life, &order),
            Pending::Report { node, life, report } => self.reported(node, life, report),
            Pending::Start { node, life } => self.start(node, life),
            Pending::Wake { node, life } => self.wake(node, life),
        }
    }

    /// A frame has come to the end of its way and cannot be taken now, if ever.
    #[inline(never)]
    fn turn_away(&mut self, flight: Flight, arrival: Arrival) {
        let network = &mut self.core.network;
        let slot = &mut self.nodes[flight.to.0 as usize];
        match arrival {
            Arrival::Clogged => return network.hold(flight),
            Arrival::Cut => network.counts.cut += 1,
            Arrival::Open if !slot.has_started() => network.counts.nobody += 1,
            Arrival::Open if slot.has_room() => return slot.hold(Held::Flight(flight)),
            Arrival::Open => network.counts.full += 1,
        }
        let Flight { number, from, to, .. } = flight;
        self.core.trace.happening(self.core.now_ns, &Happening::Drop { number, from, to });
    }

    #[inline(always)]
    fn deliver(&mut self, frame: Frame, number: u64, from: NodeId, node: NodeId, corrupted: bool) {
        let delivered = &mut self.core.network.counts.delivered;
        *delivered = delivered.wrapping_add(1);
        let slot = &mut self.nodes[node.0 as usize];
        let now = slot.clock.now(self.core.now_ns);
        let behind = self.core.sent - number;
        self.core.trace.message((self.core.now_ns, node, now), from, behind, corrupted.then_some(&*frame));
        if self.interests.has(Interests::STEPS) {
            let body = self.interests.has(Interests::EVENT_BODIES).then(|| frame.clone());
            let event = EventView::Message { from, number, frame: body.as_ref() };
            return self.take_watched(node, now, event, from, &mut Some(frame), &mut None);
        }
        self.take(node, now, None, from, &mut Some(frame), &mut None);
    }

    fn completed(&mut self, node: NodeId, life: u32, completion: Completion) {
        let slot = &mut self.nodes[node.0 as usize];
        if slot.life != life {
            return;
        }
        if slot.paused {
            slot.hold(Held::Completion(completion));
            return;
        }
        let now = slot.clock.now(self.core.now_ns);
        let token = completion.token;
        let result = completion.result.as_ref().map(|data| &**data).map_err(|error| *error);
        self.core.trace.completion((self.core.now_ns, node, now), token, result);
        let result = result.map(|data| data.len() as u32);
        let wanted = self.interests.has(Interests::EVENT_BODIES);
        let body = completion.result.as_ref().ok().filter(|_| wanted).cloned();
        let event = EventView::Completion { token, result, data: body.as_ref() };
        self.take_watched(node, now, event, node, &mut None, &mut Some(completion));
    }

    fn reported(&mut self, node: NodeId, life: u32, report: Box<EffectReport>) {
        let slot = &mut self.nodes[node.0 as usize];
        // Nobody is there to be told what an earlier life had done, or one that has not started.
        if slot.life != life || !slot.has_started() {
            return;
        }
        if slot.paused {
            return slot.hold(Held::Report(report));
        }
        let now = slot.clock.now(self.core.now_ns);
        self.core.trace.report((self.core.now_ns, node, now), &report);
        self.core.report = Some(report.clone());
        self.take_watched(node, now, EventView::Effect { report: &report }, node, &mut None, &mut None);
    }

    fn start(&mut self, node: NodeId, life: u32) {
        let slot = &mut self.nodes[node.0 as usize];
        if slot.life != life {
            return;
        }
        if slot.paused {
            slot.hold(Held::Start);
            return;
        }
        let now = slot.clock.now(self.core.now_ns);
        let nonce = slot.running.as_ref().and_then(|running| running.nonce()).expect("a life starts once");
        self.core.trace.start(self.core.now_ns, node, now, nonce);
        self.take_watched(node, now, EventView::Start, node, &mut None, &mut None);
    }

    fn wake(&mut self, node: NodeId, life: u32) {
        let slot = &mut self.nodes[node.0 as usize];
        if slot.life != life {
            return;
        }
        if slot.wake(self.core.now_ns) {
            let now = slot.clock.now(self.core.now_ns);
            self.core.trace.deadline(self.core.now_ns, node, now);
            self.take_watched(node, now, EventView::Deadline, node, &mut None, &mut None);
        } else if !slot.paused && slot.has_started() {
            slot.arm(self.core.now_ns, node, &mut self.core.queue);
        }
    }

    /// As [`World::take`], with the event for whoever watches.
    #[inline(never)]
    fn take_watched(
        &mut self,
        node: NodeId,
        now: Now,
        event: EventView<'_>,
        from: NodeId,
        frame: &mut Option<Frame>,
        completion: &mut Option<Completion>,
    ) {
        let event = self.interests.has(Interests::STEPS).then_some(event);
        self.take(node, now, event, from, frame, completion);
    }

    /// The node's process, which is up and not paused, takes one event. Oracles see it if there is a view of it.
    ///
    /// The event is in the trace already: should the process panic, the trace ends with what did it. What it asks for is its own as well:
    /// a port or a probe's counter that refuses it panics in its name.
    #[inline(always)]
    fn take(
        &mut self,
        node: NodeId,
        now: Now,
        event: Option<EventView<'_>>,
        from: NodeId,
        frame: &mut Option<Frame>,
        completion: &mut Option<Completion>,
    ) {
        // No run counts to the end of sixty-four bits, and these are counted at every step.
        self.steps = self.steps.wrapping_add(1);
        let slot = &mut self.nodes[node.0 as usize];
        slot.events = slot.events.wrapping_add(1);
        let core = RefCell::new(&mut self.core);
        let running = slot.running.as_mut().expect("only a process that is up takes an event");
        let mut network = NetworkPort { frame, from, node, core: &core };
        let mut disk = DiskPort { inbox: completion, node, life: slot.life, disk: &mut slot.disk, core: &core };
        let mut sink = SinkPort { node, life: slot.life, core: &core };
        self.place = Place::Process(node);
        running.take(&mut ClockPort(now), &mut network, &mut disk, &mut sink);
        if event.is_some() || slot.plan.is_some() {
            let cut = slot.plan.as_mut().and_then(|plan| plan.cut(running.actions()));
            return self.end_watched(node, now, event, cut);
        }
        running.perform(usize::MAX, &mut network, &mut disk, &mut sink);
        self.end_step(node, None);
        self.place = Place::World;
    }

    /// The rest of a step that oracles watch or that a planned crash may cut short after so many actions.
    #[inline(never)]
    fn end_watched(&mut self, node: NodeId, now: Now, event: Option<EventView<'_>>, cut: Option<(usize, CrashCause)>) {
        let count = cut.map_or(usize::MAX, |(count, _)| count);
        if let Some(event) = event {
            self.show_step(node, now, event, count);
        }
        // The oracles have looked: it is the process's turn again.
        self.place = Place::Process(node);
        self.perform(node, count);
        self.end_step(node, cut.map(|(_, cause)| cause));
        self.place = Place::World;
    }

    /// Shows the oracles the step that a process has taken, as far as it will be performed.
    fn show_step(&mut self, node: NodeId, now: Now, event: EventView<'_>, count: usize) {
        let number = self.steps;
        self.watch(Interests::STEPS, |oracle, view| {
            let running = view.nodes[node.0 as usize].running.as_ref().expect("it has just taken an event");
            let actions = running.actions();
            // Nothing after a halt is performed.
            let halt = actions.iter().position(|action| matches!(action, Action::Halt { .. }));
            let count = count.min(halt.map_or(actions.len(), |place| place + 1));
            let actions = &actions[..count.min(actions.len())];
            oracle.after_step(view, node, &StepView { number, now, event, actions })
        });
    }

    /// Performs the first `count` actions of the step that the process has taken.
    fn perform(&mut self, node: NodeId, count: usize) {
        let slot = &mut self.nodes[node.0 as usize];
        let core = RefCell::new(&mut self.core);
        let running = slot.running.as_mut().expect("it has just taken an event");
        let mut network = NetworkPort { frame: &mut None, from: node, node, core: &core };
        let mut disk = DiskPort { inbox: &mut None, node, life: slot.life, disk: &mut slot.disk, core: &core };
        let mut sink = SinkPort { node, life: slot.life, core: &core };
        running.perform(count, &mut network, &mut disk, &mut sink);
    }

    /// The node's process, whose step panicked, is told so, and what it has to say of that is done. Whether it halted.
    pub(super) fn tell_panicked(&mut self, node: NodeId, message: &str) -> bool {
        let slot = &mut self.nodes[node.0 as usize];
        let core = RefCell::new(&mut self.core);
        let Some(running) = slot.running.as_mut() else { return false };
        let mut network = NetworkPort { frame: &mut None, from: node, node, core: &core };
        let mut disk = DiskPort { inbox: &mut None, node, life: slot.life, disk: &mut slot.disk, core: &core };
        let mut sink = SinkPort { node, life: slot.life, core: &core };
        running.panicked(message, &mut network, &mut disk, &mut sink)
    }

    /// What follows the actions: probes, the end of the process if it was that, the next wake-up.
    #[inline(always)]
    pub(super) fn end_step(&mut self, node: NodeId, killed: Option<CrashCause>) {
        let slot = &mut self.nodes[node.0 as usize];
        let running = slot.running.as_ref().expect("it has just taken an event");
        for probe in running.probes() {
            self.probes.hit(slot.probe_table, probe.0);
            self.core.trace.probe(*probe);
        }
        if let Some(cause) = killed {
            self.crash(node, cause);
        } else if let Some(reason) = running.halted() {
            self.core.trace.halt(reason);
            let reason = reason.to_owned();
            self.crash(node, CrashCause::Halted);
            self.nodes[node.0 as usize].halted = Some(reason);
        } else {
            slot.arm(self.core.now_ns, node, &mut self.core.queue);
        }
    }
}
