//! What a deterministic process is: a function of the events it is given.
//!
//! A process owns plain data, never blocks, never reads a clock and never does I/O. It is handed an event and the time and
//! answers with actions. The same process runs under the simulator and in production; neither can tell which it is.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::any::Any;

use crate::{
    effect::{EffectOrder, EffectReport},
    frame::{Frame, FrameBuilder, FramePool},
    types::{Instant, NodeId, Timestamp},
};

/// The readings of a node's two clocks, taken once for each step. Both are recorded in a trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// Never goes back; may drift and pause. Serves timeouts only.
    pub monotonic: Instant,
    /// May jump either way. Only ever proposes timestamps.
    pub realtime: Timestamp,
}

/// A name that a process gives to a disk operation; its completion carries the same. Chosen freely, need not be unique.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Token(pub u64);

/// What went wrong with a disk operation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum DiskError {
    /// The medium could not be read. A later read may succeed.
    Read,
    /// The write failed: what the sectors now hold is indeterminate.
    Write,
    /// The barrier failed: whether the writes before it are durable is indeterminate, and stays so.
    Barrier,
    /// There was no room for the write: what the sectors now hold is indeterminate.
    NoSpace,
}

/// The end of a disk operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Completion {
    /// The token that the operation was submitted with.
    pub token: Token,
    /// What was read (empty for a write or a barrier), or what went wrong.
    pub result: Result<Frame, DiskError>,
}

/// What happens to a process.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The process begins: its first event, after every restart too. It knows nothing but its configuration and its disk.
    Start {
        /// A number that no other life of any process was ever given: what tells this life from all others. Clocks cannot, for
        /// they may read the same twice. The host draws it from its system's random numbers, or from a seed.
        nonce: u128,
    },
    /// A frame arrived.
    Message {
        /// Who sent it, as the network says. Not authenticated.
        from: NodeId,
        /// The bytes, as opaque as they were sent.
        frame: &'a Frame,
    },
    /// A disk operation ended.
    DiskCompletion(&'a Completion),
    /// An attempt at an effect came to something. May come late, and again.
    EffectOutcome(&'a EffectReport),
    /// The deadline that the process last stated has passed.
    Deadline,
}

/// A rare path, by its index in the process's [`Process::probes`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProbeId(pub u16);

/// What a process asks of the world.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Send a frame. It may be lost, repeated, delayed and overtaken.
    Send {
        /// The address.
        to: NodeId,
        /// The bytes.
        frame: Frame,
    },
    /// Read `length` bytes at `offset`; both are multiples of the sector.
    Read {
        /// Names the completion.
        token: Token,
        /// Bytes from the start of the disk.
        offset: u64,
        /// Bytes to read.
        length: u32,
    },
    /// Write `data` at `offset`, a multiple of the sector, and zeros behind it up to the end of its last sector.
    Write {
        /// Names the completion.
        token: Token,
        /// Bytes from the start of the disk.
        offset: u64,
        /// What to write.
        data: Frame,
        /// Whether the completion shall mean what a barrier over this write alone would.
        durable: bool,
    },
    /// Make durable every write that completed before this was submitted.
    Barrier {
        /// Names the completion.
        token: Token,
    },
    /// Have an effect done in the world outside. What it comes to is told by [`Event::EffectOutcome`], if it becomes known.
    RunEffect(Box<EffectOrder>),
    /// A rare path was taken.
    Probe(ProbeId),
    /// Stop this process: it cannot go on truthfully. Nothing after this action is performed.
    Halt {
        /// Why, in words for the operator.
        reason: String,
    },
}

/// The actions of one step, in order, and the pool that its frames come from.
#[derive(Clone, Default)]
pub struct Actions {
    pub(crate) list: Vec<Action>,
    pub(crate) pool: FramePool,
}

impl Actions {
    /// No actions yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty frame to fill, then [`FrameBuilder::finish`].
    #[inline]
    pub fn frame(&mut self) -> FrameBuilder {
        self.pool.builder()
    }

    /// An empty frame with room for `length` bytes, so that its buffer does not grow under it.
    #[inline]
    pub fn frame_of(&mut self, length: usize) -> FrameBuilder {
        self.pool.builder_of(length)
    }

    /// Gives a frame's buffer back for reuse, if nobody else holds it.
    #[inline]
    pub fn recycle(&mut self, frame: Frame) {
        self.pool.recycle(frame);
    }

    /// Asks for `frame` to be sent to `to`.
    #[inline]
    pub fn send(&mut self, to: NodeId, frame: Frame) {
        self.make_room();
        self.list.push(Action::Send { to, frame });
    }

    /// Asks for `length` bytes at `offset`.
    pub fn read(&mut self, token: Token, offset: u64, length: u32) {
        self.list.push(Action::Read { token, offset, length });
    }

    /// Asks for `data` to be written at `offset`. See [`Action::Write`].
    pub fn write(&mut self, token: Token, offset: u64, data: Frame, durable: bool) {
        self.list.push(Action::Write { token, offset, data, durable });
    }

    /// Asks for a barrier over the writes completed so far.
    pub fn barrier(&mut self, token: Token) {
        self.list.push(Action::Barrier { token });
    }

    /// Asks for an effect to be done. See [`Action::RunEffect`].
    pub fn run_effect(&mut self, order: EffectOrder) {
        self.list.push(Action::RunEffect(Box::new(order)));
    }

    /// Reports a rare path.
    pub fn probe(&mut self, probe: ProbeId) {
        self.list.push(Action::Probe(probe));
    }

    /// Asks to be stopped, with a reason for the operator.
    pub fn halt(&mut self, reason: String) {
        self.list.push(Action::Halt { reason });
    }

    /// Sees to it that the list does not grow when an action is pushed next: one that had to be dropped, should growing fail,
    /// would be made on the stack and copied from there, which costs more than all the rest of a small step.
    #[inline]
    fn make_room(&mut self) {
        if self.list.len() == self.list.capacity() {
            self.list.reserve(1);
        }
        assert!(self.list.len() < self.list.capacity(), "room was reserved");
    }

    /// The actions so far, in order.
    pub fn as_slice(&self) -> &[Action] {
        &self.list
    }

    /// Takes the actions out, in order; for tests and for hosts other than [`crate::node::Node`].
    pub fn take(&mut self) -> Vec<Action> {
        core::mem::take(&mut self.list)
    }
}

/// A deterministic process.
///
/// A *fresh* value of it is its configuration: a host keeps one as the image that every restart clones, and whatever must
/// survive a restart lies on the disk.
pub trait Process: CloneProcess + Send {
    /// Takes one event, at one time, and answers with actions. The same state, event and time give the same actions.
    ///
    /// May change what [`Process::deadline`] returns.
    fn step(&mut self, now: Now, event: Event<'_>, actions: &mut Actions);

    /// When the process wants an [`Event::Deadline`], on its own monotonic clock. A deadline in the past fires at once.
    fn deadline(&self) -> Option<Instant>;

    /// The names of the process's rare paths, by [`ProbeId`].
    fn probes(&self) -> &'static [&'static str] {
        &[]
    }

    /// A step of this process panicked with this message, and its host caught that. Nothing that the step asked for is done, and the
    /// process takes no further event, for its state is as far as the step got. If it knows what it was about all the same, it halts
    /// in words for the operator, and may send a last word before that. Otherwise, and by default, it asks for nothing: the host lets
    /// the panic go on.
    fn panicked(&mut self, message: &str, actions: &mut Actions) {
        let _ = (message, actions);
    }
}

/// What a world needs of every process: to be copied and to be looked into. Implemented for all that is `Clone`.
pub trait CloneProcess: Any {
    /// A copy, with all of its state.
    fn clone_boxed(&self) -> Box<dyn Process>;
}

impl<P: Process + Clone + 'static> CloneProcess for P {
    fn clone_boxed(&self) -> Box<dyn Process> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn Process> {
    fn clone(&self) -> Self {
        (**self).clone_boxed()
    }
}

impl Process for Box<dyn Process> {
    fn step(&mut self, now: Now, event: Event<'_>, actions: &mut Actions) {
        (**self).step(now, event, actions);
    }

    fn deadline(&self) -> Option<Instant> {
        (**self).deadline()
    }

    fn probes(&self) -> &'static [&'static str] {
        (**self).probes()
    }

    fn panicked(&mut self, message: &str, actions: &mut Actions) {
        (**self).panicked(message, actions);
    }
}

impl dyn Process {
    /// The process as its own type, if it is a `P`.
    pub fn downcast_ref<P: Process + 'static>(&self) -> Option<&P> {
        (self as &dyn Any).downcast_ref()
    }
}
