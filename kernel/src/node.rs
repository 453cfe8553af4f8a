//! The one generic driver: binds a process to a clock, a network, a disk and a sink of effects.
//!
//! The simulator and the production runner both drive this and nothing else; it is the only code that is generic over the
//! four traits. It decides nothing: events in, actions out, in order.

use alloc::{string::String, vec::Vec};

use crate::{
    env::{Clock, DiskOperation, EffectSink, Network, VirtualDisk},
    frame::FramePool,
    process::{Action, Actions, Event, Now, ProbeId, Process},
    types::Instant,
};

/// What a poll did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Polled {
    /// There was no event to take.
    Idle,
    /// One event was taken and its actions were performed.
    Stepped(Now),
    /// One event was taken and the process asked to be stopped: see [`Node::halted`].
    Halted(Now),
}

/// One process, bound to the world by [`Node::poll`].
#[derive(Clone)]
pub struct Node<P> {
    process: P,
    actions: Actions,
    probes: Vec<ProbeId>,
    /// What the start is to be told; none once it was.
    nonce: Option<u128>,
    halted: Option<String>,
}

impl<P: Process> Node<P> {
    /// A node that has not started. The nonce is for [`Event::Start`]: at random, and never given before.
    pub fn new(process: P, nonce: u128) -> Self {
        Self { process, actions: Actions::new(), probes: Vec::new(), nonce: Some(nonce), halted: None }
    }

    /// Takes one event (the start, else a disk completion, else a frame, else what an effect came to, else a deadline that has
    /// passed), steps the
    /// process once, and performs its actions in order.
    ///
    /// A halted node takes no event.
    pub fn poll<C: Clock, N: Network, D: VirtualDisk, S: EffectSink>(
        &mut self,
        clock: &mut C,
        network: &mut N,
        disk: &mut D,
        sink: &mut S,
    ) -> Polled {
        let Some(now) = self.take(clock, network, disk, sink) else { return Polled::Idle };
        self.perform(usize::MAX, network, disk, sink);
        if self.halted.is_some() { Polled::Halted(now) } else { Polled::Stepped(now) }
    }

    /// Takes an event of those that [`Node::poll`] comes to last: a deadline that has passed, else what an effect came to. A host that now
    /// and then begins with this keeps them from waiting for as long as frames come faster than they are taken.
    pub fn poll_late<C: Clock, N: Network, D: VirtualDisk, S: EffectSink>(
        &mut self,
        clock: &mut C,
        network: &mut N,
        disk: &mut D,
        sink: &mut S,
    ) -> Polled {
        if self.halted.is_some() || self.nonce.is_some() {
            return Polled::Idle;
        }
        assert!(self.actions.list.is_empty(), "every action is performed before the next event is taken");
        self.probes.clear();
        let now = Now { monotonic: clock.monotonic(), realtime: clock.realtime() };
        if self.process.deadline().is_some_and(|deadline| deadline <= now.monotonic) {
            self.process.step(now, Event::Deadline, &mut self.actions);
        } else if let Some(report) = sink.poll() {
            self.process.step(now, Event::EffectOutcome(&report), &mut self.actions);
        } else {
            return Polled::Idle;
        }
        self.perform(usize::MAX, network, disk, sink);
        if self.halted.is_some() { Polled::Halted(now) } else { Polled::Stepped(now) }
    }

    /// The first half of [`Node::poll`], for a host that looks at the actions or crashes between two of them: takes one
    /// event and steps the process. The actions wait for [`Node::perform`].
    ///
    /// # Panics
    /// If the actions of the event before still wait.
    #[inline(always)]
    pub fn take<C: Clock, N: Network, D: VirtualDisk, S: EffectSink>(
        &mut self,
        clock: &mut C,
        network: &mut N,
        disk: &mut D,
        sink: &mut S,
    ) -> Option<Now> {
        if self.halted.is_some() {
            return None;
        }
        assert!(self.actions.list.is_empty(), "every action is performed before the next event is taken");
        self.probes.clear();
        let now = Now { monotonic: clock.monotonic(), realtime: clock.realtime() };
        if let Some(nonce) = self.nonce {
            self.nonce = None;
            self.process.step(now, Event::Start { nonce }, &mut self.actions);
        } else if let Some(completion) = disk.poll() {
            self.process.step(now, Event::DiskCompletion(&completion), &mut self.actions);
            if let Ok(frame) = completion.result {
                self.actions.recycle(frame);
            }
        } else if let Some((from, frame)) = network.receive() {
            self.process.step(now, Event::Message { from, frame: &frame }, &mut self.actions);
            self.actions.recycle(frame);
        } else if let Some(report) = sink.poll() {
            self.process.step(now, Event::EffectOutcome(&report), &mut self.actions);
        } else if self.process.deadline().is_some_and(|deadline| deadline <= now.monotonic) {
            self.process.step(now, Event::Deadline, &mut self.actions);
        } else {
            return None;
        }
        Some(now)
    }

    /// The actions that wait to be performed, in order.
    pub fn actions(&self) -> &[Action] {
        &self.actions.list
    }

    /// The second half of [`Node::poll`]: performs the first `count` of the actions that wait, in order, and drops the rest.
    #[inline(always)]
    pub fn perform<N: Network, D: VirtualDisk, S: EffectSink>(
        &mut self,
        count: usize,
        network: &mut N,
        disk: &mut D,
        sink: &mut S,
    ) {
        let list = &mut self.actions.list;
        list.truncate(count);
        // Taken from the end, which leaves nothing to close up; most lists are short.
        list.reverse();
        while let Some(action) = list.pop() {
            match action {
                Action::Send { to, frame } => network.send(to, frame),
                Action::Read { token, offset, length } => disk.submit(token, DiskOperation::Read { offset, length }),
                Action::Write { token, offset, data, durable } => {
                    disk.submit(token, DiskOperation::Write { offset, data, durable });
                }
                Action::Barrier { token } => disk.submit(token, DiskOperation::Barrier),
                Action::RunEffect(order) => sink.run(*order),
                Action::Probe(probe) => self.probes.push(probe),
                Action::Halt { reason } => {
                    self.halted = Some(reason);
                    list.clear();
                }
            }
        }
    }

    /// For a host that caught a panic out of [`Node::poll`] or [`Node::take`]: performs, in the place of what the step asked for, what
    /// the process has to say of it. Whether it halted. If not, what the panic means is known to nobody, and neither is what
    /// state it left: the host lets it go on.
    #[cold]
    pub fn panicked<N: Network, D: VirtualDisk, S: EffectSink>(
        &mut self,
        message: &str,
        network: &mut N,
        disk: &mut D,
        sink: &mut S,
    ) -> bool {
        self.actions.list.clear();
        self.process.panicked(message, &mut self.actions);
        if self.actions.list.iter().any(|action| matches!(action, Action::Halt { .. })) {
            self.perform(usize::MAX, network, disk, sink);
        }
        self.halted.is_some()
    }

    /// Where the process's frames come from and go to: a host may read into one of them, and give back what it has done with.
    pub fn pool(&mut self) -> &mut FramePool {
        &mut self.actions.pool
    }

    /// When the process next wants to be polled although nothing arrived.
    pub fn deadline(&self) -> Option<Instant> {
        if self.halted.is_some() { None } else { self.process.deadline() }
    }

    /// The rare paths that the last poll took.
    pub fn probes(&self) -> &[ProbeId] {
        &self.probes
    }

    /// What the process will be told when it starts; none once it has.
    pub const fn nonce(&self) -> Option<u128> {
        self.nonce
    }

    /// Why the process asked to be stopped, if it did.
    pub fn halted(&self) -> Option<&str> {
        self.halted.as_deref()
    }

    /// The process.
    pub fn process(&self) -> &P {
        &self.process
    }
}
