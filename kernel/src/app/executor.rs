//! The executor: owns an application's state and turns each committed request into the answer that its client is given.
//!
//! It owns the outbox and the timers too. What an event asked for enters them when the event was applied; an op begins with
//! the timers that are due at its time and with the effects whose time is over, and its system entries say what became of
//! others. Of all of this the application is told by events of the same op.
//!
//! The answer's bytes are the body of the reply. They are part of the replicated state (a retry is given the same ones),
//! and the protocol carries them without looking into them: [`Answer`] is a matter between this file and the client.
//!
//! What this deliberately lacks: catching an application's panic. A panic leaves a state that nobody may look at again;
//! it belongs to the host to stop the replica.

use alloc::vec::Vec;
use core::fmt;

use crate::{
    app::{
        application::{Application, ApplyContext, Event, Outcome, Rejection, RestoreError, SnapshotWriter},
        effect::{Ended, Refusal},
        kv::RELEASED_NODES,
        operator::{OPERATOR_ANSWER_MAX, OperatorRefusal, OperatorRequest, Page},
        outbox::{self, Outbox},
        outcome::Wish,
        system::SystemEntry,
        timers::{self, Timers},
    },
    types::{Checksum, ClusterId, Timestamp},
    wire::codec::CodecError,
};

/// What an answer adds to an application's longest response, in bytes.
pub const ANSWER_OVERHEAD: u32 = 5;

const STATUS_APPLIED: u8 = 0;
const STATUS_REJECTED: u8 = 1;

/// Events of an op that no entry of its batch is about are counted from here.
const TIME_POSITION: u32 = 1 << 31;

/// How many timers fire in one op at most, and to how many effects its time does something. The rest is still due in the next.
const DUE_MAX: u32 = 64;

/// The parts of a snapshot, in their order.
const PART_OUTBOX: u8 = 0;
const PART_TIMERS: u8 = 1;
const PART_APPLICATION: u8 = 2;

/// An application and its state.
#[derive(Clone)]
pub struct Executor<A: Application> {
    application: A,
    state: A::State,
    cluster: ClusterId,
    outbox: Outbox,
    timers: Timers,
    /// What ended by an op's time; kept for its buffer.
    ended: Vec<Ended>,
    /// All of the state as it was at a checkpoint that is being written.
    frozen: Option<Frozen<A::State>>,
    /// The state as it was at the last checkpoint that was written.
    kept: Option<A::State>,
    /// States that are let go, part by part.
    released: Vec<A::State>,
    /// Effects and timers that are let go, part by part.
    released_effects: Vec<Effects>,
    /// A state that is being restored, and that nobody sees before it is whole.
    restoring: Option<Restoring<A::State>>,
    /// The last answer; kept for its buffers.
    outcome: Outcome,
}

/// A state with its effects and timers, as it was.
#[derive(Clone)]
struct Frozen<S> {
    state: S,
    effects: Effects,
}

/// The effects and timers as they were.
#[derive(Clone)]
struct Effects {
    outbox: outbox::Image,
    timers: timers::Image,
}

/// A state as far as its records were taken.
#[derive(Clone)]
struct Restoring<S> {
    state: S,
    outbox: outbox::Restoring,
    timers: timers::Restoring,
}

impl<A: Application> Executor<A> {
    /// The application in its first state, in `cluster`.
    pub fn new(application: A, cluster: ClusterId) -> Self {
        let state = application.genesis();
        let (outbox, timers) = (Outbox::new(application.effects_max()), Timers::new(application.timers_max()));
        let (ended, outcome) = (Vec::new(), Outcome::default());
        Self {
            application,
            state,
            cluster,
            outbox,
            timers,
            ended,
            frozen: None,
            kept: None,
            released: Vec::new(),
            released_effects: Vec::new(),
            restoring: None,
            outcome,
        }
    }

    /// An op begins: fires the timers that are due at its time, and gives up the effects whose time is over. To be called before
    /// anything of it is applied. `context` is that of any event of the op.
    ///
    /// # Panics
    /// If the application does.
    #[inline]
    pub fn begin(&mut self, context: &ApplyContext) {
        if self.due().is_some_and(|due| due <= context.timestamp) {
            self.pass_time(context);
        }
    }

    #[cold]
    fn pass_time(&mut self, context: &ApplyContext) {
        let mut positions = TIME_POSITION..;
        let mut next = || context.at(positions.next().expect("few events are due in one op"));
        for _ in 0..DUE_MAX {
            let Some(firing) = self.timers.fire(context.timestamp) else { break };
            self.tell(Event::Fired { id: firing.id, payload: &firing.payload }, &next());
        }
        let mut ended = core::mem::take(&mut self.ended);
        self.outbox.advance(context.op, context.timestamp, DUE_MAX, &mut ended);
        for ended in ended.drain(..) {
            self.tell(Event::from(&ended), &next());
        }
        self.ended = ended;
    }

    /// Applies one committed request. What it returns is the body of the client's reply, see [`Answer`].
    ///
    /// # Panics
    /// If the application does, or if it exceeds its own [`Application::response_size_max`].
    pub fn apply(&mut self, payload: &[u8], context: &ApplyContext) -> &[u8] {
        let result = self.run(Event::Request { payload }, context);
        finish(&mut self.outcome.response, result, self.application.response_size_max())
    }

    /// Executes one committed request of an operator's: see [`OperatorRequest`]. What it returns is an [`Answer`] too.
    ///
    /// # Panics
    /// If the application does.
    pub fn operate(&mut self, payload: &[u8], context: &ApplyContext) -> &[u8] {
        let decided = self.decide(payload, context);
        // What the application was told meanwhile has left its response.
        self.outcome.response.clear();
        let result = decided.map(|page| page.into_iter().for_each(|page| page.encode(&mut self.outcome.response)));
        finish(&mut self.outcome.response, result.map_err(Rejection::from), OPERATOR_ANSWER_MAX)
    }

    fn decide(&mut self, payload: &[u8], context: &ApplyContext) -> Result<Option<Page>, OperatorRefusal> {
        let op = context.op;
        let ended = match OperatorRequest::decode(payload).map_err(|_| OperatorRefusal::Malformed)? {
            OperatorRequest::List { after } => return Ok(Some(Page::of(&self.outbox, after))),
            OperatorRequest::Redrive { id } => {
                self.outbox.redrive(id, op, context.timestamp)?;
                None
            }
            OperatorRequest::Resolve { id, response } => self.outbox.resolve(id, op, response)?,
            OperatorRequest::Drop { id } => self.outbox.discard(id, op)?,
        };
        if let Some(ended) = ended {
            self.tell(Event::from(&ended), context);
        }
        Ok(None)
    }

    /// Executes a committed entry that no client asked for: see [`SystemEntry`].
    ///
    /// # Errors
    /// If it changes nothing, as an entry of a primary that has been succeeded may.
    ///
    /// # Panics
    /// If the application does.
    pub fn apply_system(&mut self, payload: &[u8], context: &ApplyContext) -> Result<(), SystemError> {
        let op = context.op;
        match SystemEntry::decode(payload)? {
            SystemEntry::Claim(fence) => self.outbox.claim(fence, op)?,
            SystemEntry::Start { id, token } => self.outbox.start(id, token, op)?,
            SystemEntry::Outcome(report) => {
                let ended = self.outbox.outcome(report.id, report.token, report.result, op, context.timestamp)?;
                if let Some(ended) = ended {
                    self.tell(Event::from(&ended), context);
                }
            }
        }
        Ok(())
    }

    /// Tells the application what no client asked for, and hence nobody is answered about.
    fn tell(&mut self, event: Event<'_>, context: &ApplyContext) {
        let _ = self.run(event, context);
    }

    /// Applies an event, and takes what it asked for unless it is rejected.
    fn run(&mut self, event: Event<'_>, context: &ApplyContext) -> Result<(), Rejection> {
        self.outcome.begin(self.cluster, context, self.outbox.room(), self.timers.room());
        self.application.apply(&mut self.state, event, context, &mut self.outcome)?;
        for (id, wish) in self.outcome.take() {
            match wish {
                Wish::Effect { destination, policy, payload } => {
                    self.outbox.insert(id, destination, policy, payload, context.timestamp);
                }
                Wish::Timer { delay_ns, payload } => self.timers.insert(id, context.timestamp, delay_ns, payload),
            }
        }
        Ok(())
    }

    /// Asks the state something. What it returns is an [`Answer`] too.
    ///
    /// # Panics
    /// As [`Executor::apply`].
    pub fn query(&mut self, request: &[u8]) -> &[u8] {
        self.outcome.response.clear();
        let result = self.application.query(&self.state, request, &mut self.outcome.response);
        finish(&mut self.outcome.response, result, self.application.response_size_max())
    }

    /// Keeps the state as it is now, its effects and timers with it, for [`Executor::snapshot`], whatever is applied from here on.
    pub fn freeze(&mut self) {
        let effects = Effects { outbox: self.outbox.image(), timers: self.timers.image() };
        self.frozen = Some(Frozen { state: self.state.clone(), effects });
    }

    /// Writes a part of what was frozen: the outbox's records, the timers' and the application's own.
    ///
    /// # Panics
    /// If nothing is frozen.
    pub fn snapshot(&self, writer: &mut SnapshotWriter) {
        let Frozen { state, effects } = self.frozen.as_ref().expect("a state was frozen to be written");
        let part = writer.resumed().map_or(PART_OUTBOX, SnapshotWriter::number);
        let _ = (part > PART_OUTBOX || writer.part(PART_OUTBOX, |writer| effects.outbox.snapshot(writer)))
            && (part > PART_TIMERS || writer.part(PART_TIMERS, |writer| effects.timers.snapshot(writer)))
            && writer.part(PART_APPLICATION, |writer| self.application.snapshot(state, writer));
    }

    /// Lets the frozen state go.
    pub fn thaw(&mut self) {
        let state = self.melt();
        self.released.extend(state);
    }

    /// Keeps the frozen state, all of which was written, for [`Executor::is_unchanged`].
    pub fn keep(&mut self) {
        let frozen = self.melt();
        self.released.extend(core::mem::replace(&mut self.kept, frozen));
    }

    /// Lets go of all that is frozen but the state.
    fn melt(&mut self) -> Option<A::State> {
        let Frozen { state, effects } = self.frozen.take()?;
        self.released_effects.push(effects);
        Some(state)
    }

    /// Whether the frozen state's records, from where its snapshot paused to where it paused later, are the kept one's: as far as the
    /// application says so. See [`Application::is_unchanged`].
    pub fn is_unchanged(&self, from: &[u8], through: &[u8]) -> bool {
        let own = |position| SnapshotWriter::of_part(PART_APPLICATION, position);
        let (Some(kept), Some(frozen)) = (&self.kept, &self.frozen) else { return false };
        let (Some(from), Some(through)) = (own(from), own(through)) else { return false };
        self.application.is_unchanged(kept, &frozen.state, from, through)
    }

    /// Frees a part of what was let go. Whether nothing is left to free.
    pub fn release(&mut self) -> bool {
        if let Some(state) = self.released.last_mut()
            && self.application.release(state)
        {
            self.released.pop();
        }
        if let Some(Effects { outbox, timers }) = self.released_effects.last_mut()
            && outbox.release(RELEASED_NODES)
            && timers.release(RELEASED_NODES)
        {
            self.released_effects.pop();
        }
        self.released.is_empty() && self.released_effects.is_empty()
    }

    /// Takes a record of a snapshot. What is made of them takes the place of the present state with [`Executor::restored`], and is
    /// not seen before.
    ///
    /// # Errors
    /// If it is none of a snapshot, or the application refuses it.
    pub fn restore(&mut self, record: &[u8]) -> Result<(), RestoreError> {
        let restoring = self.restoring.get_or_insert_with(|| Restoring {
            state: self.application.genesis(),
            outbox: outbox::Restoring::default(),
            timers: timers::Restoring::default(),
        });
        if !restoring.outbox.is_whole() {
            restoring.outbox.take(record).map_err(|_| RestoreError)
        } else if !restoring.timers.is_whole() {
            restoring.timers.take(record).map_err(|_| RestoreError)
        } else {
            self.application.restore(&mut restoring.state, record)
        }
    }

    /// Forgets a restoration that was begun.
    pub fn abandon(&mut self) {
        self.released.extend(self.restoring.take().map(|restoring| restoring.state));
    }

    /// All records were taken: the state is theirs, its effects and timers with it.
    ///
    /// # Errors
    /// If there were too few for a snapshot, or their effects are such as no log brings about; then the state is as it was.
    pub fn restored(&mut self) -> Result<(), RestoreError> {
        let Restoring { state, outbox, timers } = self.restoring.take().ok_or(RestoreError)?;
        let (Ok(outbox), Ok(timers)) = (outbox.finish(), timers.finish()) else {
            self.released.push(state);
            return Err(RestoreError);
        };
        let before = core::mem::replace(&mut self.state, state);
        self.released.extend([before].into_iter().chain(self.kept.take()));
        self.restore_effects(outbox, timers);
        Ok(())
    }

    /// The effects that have not ended.
    pub const fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The timers that have not fired.
    pub const fn timers(&self) -> &Timers {
        &self.timers
    }

    /// Puts the effects and timers of a checkpoint in the place of the present ones.
    pub fn restore_effects(&mut self, mut outbox: Outbox, timers: Timers) {
        outbox.follow(&self.outbox);
        (self.outbox, self.timers) = (outbox, timers);
    }

    /// When the log's time next does something.
    #[inline]
    pub fn due(&self) -> Option<Timestamp> {
        match (self.timers.due(), self.outbox.due()) {
            (Some(timer), Some(effect)) => Some(timer.min(effect)),
            (timer, effect) => timer.or(effect),
        }
    }

    /// Whether clients are to be told to come back later, so that there is room for what the log already holds.
    pub const fn is_high(&self) -> bool {
        self.outbox.room().is_high() || self.timers.room().is_high()
    }

    /// Whether there ever was an effect or a claim, or there is a timer.
    pub fn has_effects(&self) -> bool {
        !self.outbox.is_pristine() || !self.timers.is_empty()
    }

    /// The digest of the outbox and the timers.
    pub fn effects_digest(&self) -> Checksum {
        let (outbox, timers) = (self.outbox.digest(), self.timers.digest());
        let bytes = [outbox.0.to_le_bytes(), timers.0.to_le_bytes()];
        Checksum::of(bytes.as_flattened())
    }

    /// The state after all that was applied.
    pub fn state(&self) -> &A::State {
        &self.state
    }

    /// The application.
    pub fn application(&self) -> &A {
        &self.application
    }
}

/// Why a system entry changed nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SystemError {
    /// It is none.
    Codec(CodecError),
    /// The outbox refused it.
    Refused(Refusal),
}

impl From<CodecError> for SystemError {
    fn from(error: CodecError) -> Self {
        Self::Codec(error)
    }
}

impl From<Refusal> for SystemError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl fmt::Display for SystemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Codec(error) => write!(f, "no system entry: {error}"),
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}

impl core::error::Error for SystemError {}

/// Makes an answer of `response`, in place: the status comes last so that nothing has to move.
fn finish(response: &mut Vec<u8>, result: Result<(), Rejection>, response_size_max: u32) -> &[u8] {
    let (content, status) = match result {
        Ok(()) => (response.len(), STATUS_APPLIED),
        Err(rejection) => {
            response.clear();
            response.extend_from_slice(&rejection.detail);
            response.extend_from_slice(&rejection.code.to_le_bytes());
            (rejection.detail.len(), STATUS_REJECTED)
        }
    };
    assert!(
        content <= response_size_max as usize,
        "an application's answer of {content} bytes exceeds its own limit of {response_size_max}"
    );
    response.push(status);
    response
}

/// What a client is told of its request: the content of a reply's body.
///
/// Encoded as the content followed by one byte of status, 0 for applied and 1 for rejected; a rejection's content is its
/// detail followed by its code as four bytes, least first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer<'a> {
    /// The request took effect; this is the application's response.
    Applied(&'a [u8]),
    /// The application refused the request; nothing changed.
    Rejected {
        /// Why, for programs.
        code: u32,
        /// Anything more.
        detail: &'a [u8],
    },
}

/// Bytes that are no [`Answer`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AnswerError;

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a reply ends in no known status: is the client older than the replicas?")
    }
}

impl core::error::Error for AnswerError {}

impl<'a> Answer<'a> {
    /// Reads the body of a reply.
    ///
    /// # Errors
    /// If no executor made these bytes.
    pub fn decode(body: &'a [u8]) -> Result<Self, AnswerError> {
        match body.split_last() {
            Some((&STATUS_APPLIED, response)) => Ok(Self::Applied(response)),
            Some((&STATUS_REJECTED, content)) => {
                let (detail, code) = content.split_last_chunk::<4>().ok_or(AnswerError)?;
                Ok(Self::Rejected { code: u32::from_le_bytes(*code), detail })
            }
            _ => Err(AnswerError),
        }
    }
}

#[cfg(test)]
mod tests;
