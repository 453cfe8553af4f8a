//! The application: a deterministic state machine that the log drives.
//!
//! Its invariant is the only one that it must keep: the same state, event and context give the same state and the same
//! response, on every replica, for ever. It never reads a clock, never draws randomness from outside, and never iterates
//! in an order that is not a function of the state; [`ApplyContext`] has the only time and the only seed there are.
//!
//! What it wants done in the world outside it asks for in its [`Outcome`], and is told by later events what came of it.

use alloc::vec::Vec;

pub use crate::{
    app::outcome::Outcome,
    storage::snapshot::{RestoreError, SnapshotWriter},
};
use crate::{
    app::{
        effect::{Cause, EffectId, End, Ended},
        room::Limits,
    },
    types::{Checksum, Op, Timestamp},
};

/// A deterministic application. The value itself is configuration: the same on every replica, and never changed.
pub trait Application: Clone + Send + 'static {
    /// The name of the application: of at most 16 letters a to z, digits and hyphens. Data files bear it, and one of another name is
    /// refused: what one application logged would be nonsense to another, which would answer all the same. One without a name, as it
    /// is unless said otherwise, is given any file.
    fn name(&self) -> &'static str {
        ""
    }

    /// What the log's events build up. Mutated in place. Cloned at each checkpoint, so that it is written as it was then while it
    /// goes on: where it is large, make that cheap with structures that share what did not change.
    type State: Clone + Default + Send + 'static;

    /// The state before the first event: the default one, unless said otherwise.
    fn genesis(&self) -> Self::State {
        Self::State::default()
    }

    /// Applies one committed event: changes `state`, and leaves what the client is to be told, and what is to be done outside, in
    /// `outcome`. An application that asks for no effects and timers is told of requests alone.
    ///
    /// # Errors
    /// A [`Rejection`] is a decision, not a failure: the client is told of it and the log goes on. It must leave `state`
    /// exactly as it was (the simulator checks that it did); what `outcome` holds by then is dropped.
    ///
    /// # Panics
    /// A panic is a poison pill: no replica can go past this event with this application.
    fn apply(
        &self,
        state: &mut Self::State,
        event: Event<'_>,
        context: &ApplyContext,
        outcome: &mut Outcome,
    ) -> Result<(), Rejection>;

    /// Answers a question about `state` into the empty `response`. Changes nothing and is no part of the log.
    ///
    /// # Errors
    /// A [`Rejection`] if the question cannot be answered.
    ///
    /// # Panics
    /// A panic stops the replica that was asked, and then those that are asked next: whatever the bytes are, decoding them must end in an
    /// answer or a rejection.
    fn query(&self, state: &Self::State, request: &[u8], response: &mut Vec<u8>) -> Result<(), Rejection>;

    /// Writes `state` as records, the same for the same state whatever led to it: that all replicas write the same is how a
    /// replica whose state went another way is found. A program that may meet the snapshots of another version of itself says which
    /// one wrote them, in a record of its own.
    ///
    /// A large state is written in parts. When the writer [is full](SnapshotWriter::is_full), leave a position with
    /// [`SnapshotWriter::pause`] and return; the next call finds it with [`SnapshotWriter::resumed`] and the state as it was.
    fn snapshot(&self, state: &Self::State, writer: &mut SnapshotWriter);

    /// Whether the records behind the one at position `from`, up to the one at position `through`, are in `state` what they are in
    /// `before`, the state of the checkpoint before: both positions are ones at which [`Application::snapshot`] paused in `before`, and
    /// no record may have come, gone or changed between them. What did not change is not written again, nor read, which is most of
    /// what a checkpoint of a large state costs. [`Map::agrees`](crate::map::Map::agrees) says this of a map.
    ///
    /// What is not known to be so, is not: no, unless said otherwise. A yes that is not true makes this replica's checkpoint another than
    /// the others', and stops it.
    fn is_unchanged(&self, before: &Self::State, state: &Self::State, from: &[u8], through: &[u8]) -> bool {
        let _ = (before, state, from, through);
        false
    }

    /// Frees a part of a state that nothing is asked of any more, and says whether that was the last. All of it, unless said otherwise:
    /// where a state is so large that this takes longer than a client should wait, free some at a time
    /// ([`Map::release`](crate::map::Map::release)).
    fn release(&self, state: &mut Self::State) -> bool {
        *state = Self::State::default();
        true
    }

    /// Takes one record that [`Application::snapshot`] wrote, in the order of writing. The first finds `state` as
    /// [`Application::genesis`] makes it.
    ///
    /// # Errors
    /// [`RestoreError`] if this program did not write it: the replica stops and says so.
    fn restore(&self, state: &mut Self::State, record: &[u8]) -> Result<(), RestoreError>;

    /// The longest response, and the longest detail of a rejection, in bytes. Replies are kept for every session, so this
    /// bounds a replica's memory; a longer one is a bug of the application, which stops it. 1024 unless said otherwise.
    fn response_size_max(&self) -> u32 {
        1024
    }

    /// How many effects there may be that have not ended. Nearly full, requests are refused as busy before they are logged;
    /// full, [`Outcome`] takes no more. Must not change while there is a log.
    fn effects_max(&self) -> Limits {
        Limits::DEFAULT
    }

    /// How many timers there may be that have not fired, in the same way.
    fn timers_max(&self) -> Limits {
        Limits::DEFAULT
    }
}

/// What the log tells an application.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// A client asked for something.
    Request {
        /// The client's bytes, as hostile as they came: whatever they are, decoding them must end in an answer or a
        /// rejection.
        payload: &'a [u8],
    },
    /// An effect was done.
    Acknowledged {
        /// Which.
        id: EffectId,
    },
    /// What was to be fetched came back.
    Fetched {
        /// For which effect.
        id: EffectId,
        /// What came back, as hostile as it came.
        response: &'a [u8],
    },
    /// An effect was given up.
    Failed {
        /// Which.
        id: EffectId,
        /// Why.
        cause: Cause,
        /// What the sink said last, 0 if it never said anything.
        code: u32,
        /// Whether an attempt may have taken effect all the same.
        may_have_run: bool,
    },
    /// The time of a timer has come.
    Fired {
        /// Which.
        id: EffectId,
        /// What it was given.
        payload: &'a [u8],
    },
}

impl<'a> From<&'a Ended> for Event<'a> {
    fn from(Ended { id, end }: &'a Ended) -> Self {
        let id = *id;
        match end {
            End::Acknowledged => Self::Acknowledged { id },
            End::Fetched { response } => Self::Fetched { id, response },
            End::Failed { cause, code, may_have_run } => {
                Self::Failed { id, cause: *cause, code: *code, may_have_run: *may_have_run }
            }
        }
    }
}

/// Where in the log an event stands. The same on every replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ApplyContext {
    /// The op that the event is part of. Several events of one batch share it.
    pub op: Op,
    /// The time of the op as the cluster agreed on it: the only time there is. Strictly increases from op to op.
    pub timestamp: Timestamp,
    prepare: Checksum,
    position: u32,
}

impl ApplyContext {
    /// The context of the event at `position` within the batch of the prepare whose checksum is `prepare`.
    pub const fn new(op: Op, timestamp: Timestamp, prepare: Checksum, position: u32) -> Self {
        Self { op, timestamp, prepare, position }
    }

    /// The context of another event of the same op.
    pub(crate) const fn at(self, position: u32) -> Self {
        Self { position, ..self }
    }

    /// Which event of the op it is.
    pub(crate) const fn position(&self) -> u32 {
        self.position
    }

    /// A seed for the application's own pseudo-random choices, its own for every event.
    ///
    /// It follows from the log alone: the prepare's checksum covers its batch and, by the parents' checksums, the whole
    /// log before it. Which view or replica applies the event, and how often, does not change it. Computed when asked
    /// for. Whoever can choose requests can try for a seed: it is no secret and no lottery.
    pub fn seed(&self) -> u64 {
        let mut bytes = [0; 28];
        bytes[..8].copy_from_slice(b"app seed");
        bytes[8..24].copy_from_slice(&self.prepare.0.to_le_bytes());
        bytes[24..].copy_from_slice(&self.position.to_le_bytes());
        Checksum::of(&bytes).0 as u64
    }
}

/// The application's refusal of a request. The client is told, and can tell it from a response. Of any other event nobody is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejection {
    /// Why, for programs.
    pub code: u32,
    /// Anything more, for whom it concerns. Part of the replicated reply, so deterministic as well.
    pub detail: Vec<u8>,
}

impl Rejection {
    /// A rejection that needs no detail.
    pub const fn new(code: u32) -> Self {
        Self { code, detail: Vec::new() }
    }
}

/// What the tests of applications share.
#[cfg(test)]
pub(crate) mod snapshot {
    use super::{Application, SnapshotWriter};
    use crate::storage::{chunk::CHUNK_HEADER_SIZE, snapshot::SnapshotReader};

    /// What a state is after it was written in parts of one leaf, and restored; and how many parts there were.
    pub(crate) fn restored<A: Application>(application: &A, state: &A::State) -> (A::State, usize) {
        let (mut writer, mut reader) = (SnapshotWriter::new(4096, 1), SnapshotReader::default());
        let (mut restored, mut parts) = (application.genesis(), 0);
        let mut ended = false;
        while !ended {
            ended = writer.write(2, |writer| application.snapshot(state, writer));
            if ended {
                writer.finish();
            }
            while let Some(leaf) = writer.take() {
                let take = |_, record: &[u8]| application.restore(&mut restored, record);
                reader.leaf(&leaf[CHUNK_HEADER_SIZE..], take).expect("what was written restores");
            }
            parts += 1;
        }
        (restored, parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed(op: u64, timestamp: u64, prepare: u128, position: u32) -> u64 {
        ApplyContext::new(Op(op), Timestamp(timestamp), Checksum(prepare), position).seed()
    }

    #[test]
    fn the_seed_follows_from_the_prepare_and_the_position_and_never_changes_between_builds() {
        assert_eq!(seed(1, 2, 3, 4), 0x0be3e677a697b9bd);
        assert_ne!(seed(1, 2, 3, 4), seed(1, 2, 3, 5), "two events of one batch");
        assert_ne!(seed(1, 2, 3, 4), seed(1, 2, 4, 4), "two prepares");
    }
}
