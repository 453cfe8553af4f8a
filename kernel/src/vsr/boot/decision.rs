//! What recovery concludes once everything is read: what the slots hold, what the log is, and what must be written again.

use alloc::{collections::BTreeSet, format, vec::Vec};

use super::Stage;
use crate::{
    process::Actions,
    storage::{
        HeaderRead, RingEntry, SlotState, decide, is_superseded, layout::HEADERS_PER_SECTOR, superblock::Superblock,
    },
    types::{Checksum, Op},
    vsr::{Held, Vsr, checkpoint::is_checkpoint, probe::Probe, vouching::vouched_in},
};

impl Vsr {
    /// Everything is read: what the slots hold, what the log is, and what must be written again.
    pub(in crate::vsr) fn decide_slots(&mut self, actions: &mut Actions) {
        let superblock = self.promised().clone();
        let mut boot = self.boot.take().expect("recovery is in progress");
        let mut states = Vec::with_capacity(boot.prepares.len());
        for (prepare, header) in boot.prepares.iter().zip(&boot.ring) {
            let prepare = prepare.as_ref().expect("every slot that was sent for was read");
            let decision = decide(header, prepare, is_superseded(header, &superblock));
            match decision.slot {
                SlotState::Torn => actions.probe(Probe::TornTail.into()),
                SlotState::Present(_) => actions.probe(Probe::HeaderMissing.into()),
                SlotState::Unknown(_) => actions.probe(Probe::Corrupt.into()),
                SlotState::Empty | SlotState::Clean(_) => {}
            }
            states.push(decision.slot);
        }
        self.recover_log(&superblock, &states, &boot.ring, actions);
        let mut vouched = BTreeSet::new();
        for (slot, state) in (0..).zip(&states) {
            let op = self.op_of(state, slot);
            let wanted = self.log.get(op).map(|header| header.checksum);
            let entry = &boot.ring[slot as usize];
            let held = match state {
                SlotState::Empty | SlotState::Torn => Held::Nothing,
                SlotState::Clean(header) => Held::Prepare(header.checksum),
                // Its header was never written, and the entry in its place names nothing that counts: it was acknowledged no more than a
                // torn one.
                SlotState::Present(header)
                    if wanted != Some(header.checksum)
                        && (is_outlived(entry, &superblock) || is_superseded(entry, &superblock)) =>
                {
                    Held::Nothing
                }
                // Vouched for only once its header is written too.
                SlotState::Present(_) | SlotState::Unknown(_) => Held::Unknown,
            };
            match state {
                _ if op == Op::ROOT => {}
                // Whether or not the log wants it: from now on it counts as held, and may be wanted later.
                SlotState::Clean(header) if header.op <= superblock.checkpoint.header.op => {}
                SlotState::Clean(header) => {
                    vouched.insert(header.checksum);
                    boot.sectors.push(slot / HEADERS_PER_SECTOR);
                }
                // What the checkpoint covers is not vouched for; and an entry that says so would pass for all that was here, when one
                // that cannot be read may have named an op of the next lap.
                SlotState::Present(header) if header.op <= superblock.checkpoint.header.op => {}
                SlotState::Present(header) if wanted == Some(header.checksum) => boot.to_rewrite.push(*header),
                // Above a certain head nothing was acknowledged. An entry that a power cut tore there is written whole, or else
                // the next recovery, with a head that has come to lie right below it, could not know that.
                SlotState::Present(header) if is_unreadable(entry) && self.head_certain && op > self.log.head() => {
                    boot.to_rewrite.push(*header);
                }
                SlotState::Present(_) | SlotState::Unknown(_) | SlotState::Empty | SlotState::Torn => {}
            }
            // As it was read: an entry changes only when a prepare is durable under it.
            self.journal.restore(slot, held, RingEntry::from(*entry));
        }
        vouched.extend(boot.to_rewrite.iter().map(|header| header.checksum));
        for header in &boot.ring {
            if let HeaderRead::Valid(header) = header
                && is_checkpoint(vouched_in(header).op, &self.config.layout)
            {
                self.checkpoints.hear_vouched(vouched_in(header));
            }
        }
        self.checkpoints.lasting = self.checkpoints.vouched.op;
        if let Some(op) = self.lost_for_good(superblock.commit.op(), &vouched) {
            return Self::halt_for_damage(op, actions);
        }
        boot.to_rewrite.sort_unstable_by_key(|header| core::cmp::Reverse(header.op));
        boot.sectors.dedup();
        boot.sectors.reverse();
        boot.stage = Stage::Rewrite;
        self.journal.gather(true);
        self.boot = Some(boot);
        self.boot_step(actions);
    }

    fn op_of(&self, state: &SlotState, slot: u32) -> Op {
        match state {
            SlotState::Clean(header) | SlotState::Present(header) | SlotState::Unknown(Some(header)) => header.op,
            SlotState::Empty | SlotState::Torn | SlotState::Unknown(None) => Op(u64::from(slot)),
        }
    }

    /// The log of the superblock's log view: its suffix, then what the journal adds to it in that view, in an unbroken chain.
    fn recover_log(
        &mut self,
        superblock: &Superblock,
        states: &[SlotState],
        ring: &[HeaderRead],
        actions: &mut Actions,
    ) {
        let layout = self.config.layout;
        let header_in = |op: Op| match states.get(layout.slot(op) as usize) {
            Some(SlotState::Clean(header) | SlotState::Present(header) | SlotState::Unknown(Some(header))) => {
                Some(*header).filter(|header| header.op == op)
            }
            _ => None,
        };
        let first = superblock.suffix[0].op.0;
        for header in (first.saturating_sub(u64::from(layout.slot_count))..first).filter_map(|op| header_in(Op(op))) {
            self.log.leave(header);
        }
        self.log.install(&superblock.suffix);
        if superblock.view == superblock.log_view {
            while let Some(header) = header_in(self.log.head().next()) {
                if header.view != superblock.log_view || header.parent() != self.log.head_header().checksum {
                    break;
                }
                self.commit_max = self.commit_max.max(header.commit);
                self.log.append(header);
            }
        }
        // Who recovers has promised nobody anything, and takes what is so from others.
        self.head_certain = !superblock.recovery.is_pending
            && (superblock.view > superblock.log_view || !self.may_go_further(superblock, states, ring));
        let leftover = |state: &SlotState| matches!(state, SlotState::Clean(header) if header.op > self.log.head());
        if states.iter().any(leftover) {
            actions.probe(Probe::Leftover.into());
        }
    }

    /// Whether a slot that cannot be read may have held an acknowledged op above the head (design rule 4). The next slot alone
    /// answers that: `prepare_ok` is sent in the order of ops, so where one was certainly never acknowledged none above was.
    fn may_go_further(&self, superblock: &Superblock, states: &[SlotState], ring: &[HeaderRead]) -> bool {
        let next = self.log.head().next();
        let slot = self.config.layout.slot(next) as usize;
        // Whatever prepare is here: an entry that cannot be read may have named another, whose write never arrived.
        if ring.get(slot).is_some_and(is_unreadable) {
            return true;
        }
        match states.get(slot) {
            None | Some(SlotState::Empty | SlotState::Torn) => false,
            Some(SlotState::Unknown(None)) => true,
            // Of an earlier view: a leftover, over which nothing of this log was made durable.
            Some(SlotState::Unknown(Some(header)) | SlotState::Clean(header) | SlotState::Present(header)) => {
                header.view >= superblock.log_view && header.op == next
            }
        }
    }

    /// What a single replica cannot make good: the first op of its log that is committed, or that it may have acknowledged, and
    /// that it does not have; or the one after a head that it cannot be certain of. What it never held is another matter: that
    /// is dropped when its view starts. Judged before anything is changed: the next start may read what this one could not.
    fn lost_for_good(&self, committed: Op, vouched: &BTreeSet<Checksum>) -> Option<Op> {
        if self.config.replica_count > 1 {
            return None;
        }
        let here = |op: Op| self.log.get_tied(op).is_some_and(|header| vouched.contains(&header.checksum));
        let head = self.log.head();
        let lost = |op: &Op| !here(*op) && (*op <= committed || self.journal.held(*op) == Held::Unknown);
        let lost = (self.checkpoints.op().0 + 1..=head.0).map(Op).find(lost);
        lost.or_else(|| (!self.head_certain).then(|| head.next()))
    }

    /// A single replica's damage: what was acknowledged cannot be known, and nobody else has it.
    pub(in crate::vsr) fn halt_for_damage(op: Op, actions: &mut Actions) {
        actions.halt(format!(
            "the journal is damaged at {op}, and a single replica has nobody to repair it from: start again if the disk \
             could not be read, or else restore the data file"
        ));
    }
}

/// Whether this entry names nothing that was acknowledged in the slot since the checkpoint.
fn is_outlived(entry: &HeaderRead, superblock: &Superblock) -> bool {
    match entry {
        HeaderRead::Empty => true,
        HeaderRead::Valid(header) => header.op <= superblock.checkpoint.header.op,
        HeaderRead::Corrupt | HeaderRead::Misdirected => false,
    }
}

const fn is_unreadable(entry: &HeaderRead) -> bool {
    matches!(entry, HeaderRead::Corrupt | HeaderRead::Misdirected)
}
