//! The superblock as the replica's durable word: what it may speak of, and the writes that change it.
//!
//! Invariant: `durable` is what a restart would find at the least. Copies are written two by two with a barrier after each pair,
//! and never both pairs at once, so that at every moment two identical valid copies exist (design rule 13).

use alloc::vec::Vec;

use crate::{
    frame::{Frame, SECTOR_SIZE},
    process::Actions,
    storage::{
        checkpoint::Checkpoint,
        layout::Layout,
        superblock::{self, Recovery, Restoration, SUPERBLOCK_COPY_SIZE, Superblock, UPDATE_PHASES, Vouched},
    },
    types::{CommitIndex, Op, View},
    vsr::token::Kind,
    wire::{header::Header, members::Members},
};

/// What of the superblock the protocol decides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Promise {
    pub(super) view: View,
    pub(super) log_view: View,
    pub(super) commit: CommitIndex,
    pub(super) head: Op,
    pub(super) suffix: Vec<Header>,
    pub(super) checkpoint: Checkpoint,
    pub(super) vouched: Vouched,
    pub(super) members: Members,
    pub(super) recovery: Recovery,
}

impl From<&Superblock> for Promise {
    fn from(superblock: &Superblock) -> Self {
        let Superblock { view, log_view, commit, head, checkpoint, vouched, recovery, .. } = *superblock;
        let (suffix, members) = (superblock.suffix.clone(), superblock.members.clone());
        Self { view, log_view, commit, head, suffix, checkpoint, vouched, members, recovery }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Idle,
    /// The copies of a phase are being written; how many are left.
    Writing {
        phase: u8,
        left: u8,
    },
    /// The barrier after a phase.
    Barrier {
        phase: u8,
    },
}

/// The superblock on the disk, and the next one on its way there.
#[derive(Clone)]
pub struct Durable {
    layout: Layout,
    durable: Superblock,
    writing: Option<Superblock>,
    /// The bytes of one copy of what is being written, and then of what is durable.
    encoded: Vec<u8>,
    /// The copies of each phase of the write in flight.
    phases: [&'static [u8]; 2],
    stage: Stage,
    next: Option<Promise>,
}

impl Durable {
    /// Takes over what recovery opened, and begins to make it durable again: readable is not durable (design rule 6).
    pub(super) fn restore(restoration: Restoration, actions: &mut Actions) -> Self {
        let Restoration { superblock, phases } = restoration;
        let (layout, encoded) = (superblock.layout, superblock.encode(0));
        let writing = Some(superblock.clone());
        let stage = Stage::Idle;
        let mut durable = Self { layout, durable: superblock, writing, encoded, phases, stage, next: None };
        durable.write_phase(0, actions);
        durable
    }

    /// What a restart would find at the least.
    pub const fn superblock(&self) -> &Superblock {
        &self.durable
    }

    /// Whether nothing is being written.
    pub(super) const fn is_idle(&self) -> bool {
        matches!(self.stage, Stage::Idle)
    }

    /// Makes `promise` durable, after what is being written now, and instead of what was waiting.
    pub(super) fn request(&mut self, promise: Promise, actions: &mut Actions) {
        let last = self.writing.as_ref().unwrap_or(&self.durable);
        assert!(promise.view >= last.view && promise.log_view >= last.log_view, "views never go back");
        assert!(promise.log_view <= promise.view, "a log is of a view that was entered");
        assert!(promise.checkpoint.header.op >= last.checkpoint.header.op, "checkpoints never go back");
        self.next = Some(promise);
        if self.is_idle() {
            self.start(actions);
        }
    }

    /// Whether a superblock that names a checkpoint at `op` or above is durable, or on its way.
    pub(super) fn is_to_name(&self, op: Op) -> bool {
        let writing = self.writing.as_ref().unwrap_or(&self.durable).checkpoint.header.op;
        writing >= op || self.next.as_ref().is_some_and(|next| next.checkpoint.header.op >= op)
    }

    /// Whether a superblock that says a checkpoint at `op` or above to be vouched for is durable, or on its way.
    pub(super) fn is_to_vouch(&self, op: Op) -> bool {
        let writing = self.writing.as_ref().unwrap_or(&self.durable).vouched.op;
        writing >= op || self.next.as_ref().is_some_and(|next| next.vouched.op >= op)
    }

    /// The version of the members, and the recovery, that are durable or on their way.
    pub(super) fn last(&self) -> (u64, Recovery) {
        let writing = self.writing.as_ref().unwrap_or(&self.durable);
        let next = self.next.as_ref().map(|next| (next.members.version, next.recovery));
        next.unwrap_or((writing.members.version, writing.recovery))
    }

    fn start(&mut self, actions: &mut Actions) {
        let Some(promise) = self.next.take() else { return };
        let Promise { view, log_view, commit, head, suffix, checkpoint, vouched, members, recovery } = promise;
        // What is durable was encoded when it was written: its checksum need not be made again.
        let parent = superblock::checksum_in(&self.encoded);
        let with_log = Superblock { view, log_view, commit, head, suffix, ..self.durable.successor_of(parent) };
        let writing = Superblock { checkpoint, vouched, members, recovery, ..with_log };
        self.encoded = writing.encode(0);
        self.writing = Some(writing);
        self.phases = UPDATE_PHASES;
        self.write_phase(0, actions);
    }

    fn write_phase(&mut self, phase: u8, actions: &mut Actions) {
        let copies = self.phases[phase as usize];
        for copy in copies {
            let mut bytes = self.encoded.clone();
            superblock::stamp(&mut bytes, *copy);
            let data = Frame::new(bytes);
            assert!(data.len() == SUPERBLOCK_COPY_SIZE as usize && data.len().is_multiple_of(SECTOR_SIZE));
            let token = Kind::SuperblockWrite.token(u64::from(*copy));
            actions.write(token, self.layout.superblock_offset(*copy), data, false);
        }
        self.stage = Stage::Writing { phase, left: copies.len() as u8 };
    }

    pub(super) fn on_write(&mut self, actions: &mut Actions) {
        let Stage::Writing { phase, left } = self.stage else { panic!("a copy completed that was not being written") };
        if left > 1 {
            self.stage = Stage::Writing { phase, left: left - 1 };
            return;
        }
        self.stage = Stage::Barrier { phase };
        actions.barrier(Kind::SuperblockBarrier.token(u64::from(phase)));
    }

    /// A barrier succeeded. Whether a superblock became durable in all its copies.
    pub(super) fn on_barrier(&mut self, actions: &mut Actions) -> bool {
        let Stage::Barrier { phase } = self.stage else { panic!("a barrier completed that was not waited for") };
        if phase == 0 && !self.phases[1].is_empty() {
            self.write_phase(1, actions);
            return false;
        }
        self.durable = self.writing.take().expect("a superblock was being written");
        self.stage = Stage::Idle;
        self.start(actions);
        true
    }
}
