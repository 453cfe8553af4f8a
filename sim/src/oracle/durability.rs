//! Promise: what a replica says is durable is durable before it says it, and nothing that it once said is forgotten.
//!
//! Judged at each frame that a replica sends, against the disk at that moment and against everything that the replica ever
//! acknowledged, which the replica itself may have lost the memory of:
//!
//! - `prepare_ok`: the very prepare lies in its slot and its header in the ring, for certain, whatever crashes.
//! - Whatever speaks for a view: the superblock has that view, and the log of it where the sender speaks as one that has it.
//! - `do_view_change`: log view, head and suffix are the superblock's; what is *present* is on the disk; nothing that this
//!   replica acknowledged is *never had*, nor lies above a head that it states for the view in which it acknowledged it.
//!
//! The superblock is verified on the disk when the replica begins to rely on it, not at each frame. Damage that the medium
//! took is no fault of the replica's, and neither proves nor disproves anything.

use chronon::{
    storage::{
        journal::ring_entry,
        layout::{Layout, SUPERBLOCK_COPIES, SUPERBLOCK_COPY_SIZE},
        superblock::Superblock,
    },
    types::{Checksum, Op, ReplicaId, View},
    wire::{
        header::{Command, HEADER_SIZE, Header},
        message::{self, Claim},
    },
};

use super::{Violation, prepares::Prepares, promise::broken, speech::Speech};
use crate::disk::SimDisk;

const PROMISE: &str = "durability";

/// What every replica has said.
#[derive(Clone)]
pub(super) struct Durability {
    layout: Layout,
    replicas: Vec<Memory>,
    /// Kept for its capacity.
    copy: Vec<u8>,
}

/// What is remembered of one replica.
#[derive(Clone, Copy, Default)]
struct Memory {
    /// The sequence of the superblock that was found on the disk in this life; 0 if none was.
    verified: u64,
    /// The latest view in which it acknowledged anything, and the highest op that it acknowledged in it.
    acknowledged: (View, Op),
}

/// How a disk holds some bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Holding {
    /// For certain.
    Held,
    /// The medium is damaged there: they may have been held.
    Damaged,
    /// Not, or not for certain.
    Missing,
}

impl Holding {
    /// How a disk of this layout holds a prepare: in its slot, and its header in the ring.
    pub(super) fn of(layout: &Layout, disk: &SimDisk, op: Op, frame: &[u8]) -> Self {
        let slot = layout.slot(op);
        let entry = layout.header_ring_offset() + u64::from(slot) * HEADER_SIZE as u64;
        let header = frame.first_chunk().map_or(Self::Missing, |header| holding(disk, entry, &ring_entry(header)));
        let prepare = holding(disk, layout.prepare_offset(slot), frame);
        match (header, prepare) {
            (Self::Held, Self::Held) => Self::Held,
            (Self::Missing, _) | (_, Self::Missing) => Self::Missing,
            _ => Self::Damaged,
        }
    }
}

impl Durability {
    pub(super) fn new(replica_count: u8, layout: Layout) -> Self {
        Self { layout, replicas: vec![Memory::default(); replica_count as usize], copy: Vec::new() }
    }

    /// Whether this superblock was found on the disk already, in this life.
    pub(super) fn is_verified(&self, replica: ReplicaId, superblock: &Superblock) -> bool {
        self.replicas[replica.0 as usize].verified == superblock.sequence
    }

    /// A replica that has recovered relies on this superblock from now on: two copies of it must be durable.
    pub(super) fn superblock(
        &mut self,
        replica: ReplicaId,
        superblock: &Superblock,
        disk: &SimDisk,
    ) -> Result<(), Violation> {
        let (mut found, mut damaged) = (0, 0);
        let size = u64::from(SUPERBLOCK_COPY_SIZE);
        for copy in 0..SUPERBLOCK_COPIES {
            let offset = self.layout.superblock_offset(copy);
            // What one copy was decoded from, the others only have to equal, apart from what tells copies apart.
            let holds = if found == 0 {
                disk.durable_read(offset, size, &mut self.copy)
                    && Superblock::decode(&self.copy, copy).is_ok_and(|durable| durable == *superblock)
            } else {
                disk.durable_holds(offset + COPY_CONTENT, &self.copy[COPY_CONTENT as usize..])
            };
            if holds {
                found += 1;
            } else if is_damaged(disk, offset, size) {
                damaged += 1;
            }
        }
        if found + damaged < 2 {
            let Superblock { sequence, view, log_view, .. } = superblock;
            let sentence = format!(
                "{replica} relies on superblock {sequence} ({view}, log of {log_view}), of which {found} copies are durable"
            );
            return Err(broken(PROMISE, "superblock not durable", sentence));
        }
        self.replicas[replica.0 as usize].verified = superblock.sequence;
        Ok(())
    }

    /// A replica's life is over. What it said stays said.
    pub(super) fn crashed(&mut self, replica: ReplicaId) {
        self.replicas[replica.0 as usize].verified = 0;
    }

    /// A replica's disk is another: what it acknowledged it knows nothing of.
    pub(super) fn lost(&mut self, replica: ReplicaId) {
        self.replicas[replica.0 as usize] = Memory::default();
    }

    /// How a replica's disk holds a prepare.
    pub(super) fn holding(&self, disk: &SimDisk, op: Op, frame: &[u8]) -> Holding {
        Holding::of(&self.layout, disk, op, frame)
    }

    /// A replica acknowledges a prepare. What a replaced one acknowledges need not count.
    pub(super) fn acknowledges(
        &mut self,
        prepares: &mut Prepares,
        replica: ReplicaId,
        speech: Speech<'_>,
        superblock: Option<&Superblock>,
        disk: &SimDisk,
        counts: bool,
    ) -> Result<(), Violation> {
        let (op, view, checksum) = (speech.op(), speech.view(), Checksum(speech.context()));
        let Some(prepare) = prepares.get_mut(op, checksum) else {
            let sentence = format!("{replica} acknowledged {checksum:?} for {op}, which nobody proposed");
            return Err(broken(PROMISE, "acknowledged what nobody proposed", sentence));
        };
        // What the checkpoint covers counts as present, whatever its slot holds by now.
        let is_covered = superblock.is_some_and(|superblock| superblock.checkpoint.header.op >= op);
        if !is_covered && self.holding(disk, op, &prepare.frame) == Holding::Missing {
            let sentence = format!("{replica} acknowledged {op} in {view} before it was durable on its disk");
            return Err(broken(PROMISE, "acknowledged before it was durable", sentence));
        }
        if counts {
            prepare.acknowledge(replica, view);
            self.remember(replica, view, op);
        }
        Ok(())
    }

    /// A replica acknowledged `op` in `view`, to others or to itself.
    pub(super) fn remember(&mut self, replica: ReplicaId, view: View, op: Op) {
        let acknowledged = &mut self.replicas[replica.0 as usize].acknowledged;
        // Pairs compare by view first: a later view begins anew.
        *acknowledged = (*acknowledged).max((view, op));
    }

    /// A replica speaks as one that is in `view` and has its log.
    pub(super) fn speaks_in(
        &self,
        replica: ReplicaId,
        command: Command,
        view: View,
        superblock: Option<&Superblock>,
    ) -> Result<(), Violation> {
        let Some(superblock) = superblock else { return Err(not_recovered(replica, command)) };
        if superblock.log_view == view && superblock.view >= view {
            return Ok(());
        }
        let Superblock { view: durable, log_view, .. } = superblock;
        let sentence =
            format!("{replica} sent {command} in {view}, and its superblock has {durable}, log of {log_view}");
        Err(broken(PROMISE, "spoke in a view without its log being durable", sentence))
    }

    /// A replica speaks as one that has left for `view`, or a later one.
    pub(super) fn speaks_of(
        &self,
        replica: ReplicaId,
        command: Command,
        view: View,
        superblock: Option<&Superblock>,
    ) -> Result<(), Violation> {
        let Some(superblock) = superblock else { return Err(not_recovered(replica, command)) };
        if superblock.view >= view {
            return Ok(());
        }
        let sentence = format!("{replica} sent {command} of {view}, and its superblock has {}", superblock.view);
        Err(broken(PROMISE, "spoke of a view that was not durable", sentence))
    }

    /// A replica gives its log to the primary of a view that is to start.
    pub(super) fn gives_log(
        &self,
        prepares: &Prepares,
        replica: ReplicaId,
        speech: Speech<'_>,
        superblock: &Superblock,
        disk: &SimDisk,
    ) -> Result<(), Violation> {
        let (log_view, head) = (View(speech.request().0), speech.op());
        let Ok(body) = message::decode_do_view_change(speech.body()) else {
            let sentence = format!("{replica} sent a do_view_change of {} that cannot be decoded", speech.view());
            return Err(broken(PROMISE, "stated another log than the durable one", sentence));
        };
        self.is_the_durable_log(replica, log_view, head, &body.headers, superblock)?;
        let acknowledged = self.replicas[replica.0 as usize].acknowledged;
        if acknowledged.0 == log_view && acknowledged.1 > head {
            let sentence = format!(
                "{replica} acknowledged {} in {log_view}, and states {head} as the head of that view's log",
                acknowledged.1
            );
            return Err(broken(PROMISE, "an acknowledged op above the stated head", sentence));
        }
        // What the checkpoint covers counts as present, whatever its slot holds by now.
        let covered = superblock.checkpoint.header.op;
        for (header, claim) in body.headers.iter().zip(&body.claims).filter(|(header, _)| header.op > covered) {
            let Some(prepare) = prepares.get(header.op, header.checksum) else { continue };
            match claim {
                Claim::Present if self.holding(disk, header.op, &prepare.frame) == Holding::Missing => {
                    let sentence = format!("{replica} claims that {} is present, and it is not durable", header.op);
                    return Err(broken(PROMISE, "claimed as present and not durable", sentence));
                }
                Claim::NeverHad if prepare.holders.contains(replica) => {
                    let sentence = format!("{replica} claims that it never had {}, which it acknowledged", header.op);
                    return Err(broken(PROMISE, "claimed as never had and acknowledged", sentence));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn is_the_durable_log(
        &self,
        replica: ReplicaId,
        log_view: View,
        head: Op,
        headers: &[Header],
        superblock: &Superblock,
    ) -> Result<(), Violation> {
        let (known_view, known_head) = (superblock.log_view, superblock.head);
        if (log_view, head) != (known_view, known_head) {
            let sentence = format!(
                "{replica} states the log of {log_view} up to {head}, and its superblock has that of {known_view} up to \
                 {known_head}"
            );
            return Err(broken(PROMISE, "stated another log than the durable one", sentence));
        }
        let known = |op: Op| superblock.suffix.iter().find(|known| known.op == op);
        for header in headers {
            if known(header.op).is_some_and(|known| known.checksum != header.checksum) {
                let sentence = format!("{replica} states another header for {} than its superblock has", header.op);
                return Err(broken(PROMISE, "stated another log than the durable one", sentence));
            }
        }
        Ok(())
    }
}

fn not_recovered(replica: ReplicaId, command: Command) -> Violation {
    let sentence = format!("{replica} sent {command} before it had recovered");
    broken(PROMISE, "spoke before it had recovered", sentence)
}

/// Where what all copies have in common begins. See the superblock's format.
const COPY_CONTENT: u64 = 64;

fn holding(disk: &SimDisk, offset: u64, bytes: &[u8]) -> Holding {
    if disk.durable_holds(offset, bytes) {
        Holding::Held
    } else if is_damaged(disk, offset, bytes.len() as u64) {
        Holding::Damaged
    } else {
        Holding::Missing
    }
}

/// Whether any of these sectors is damaged, or is being written while there is damage on the disk.
fn is_damaged(disk: &SimDisk, offset: u64, length: u64) -> bool {
    let sector = chronon::frame::SECTOR_SIZE as u64;
    disk.damaged_sectors() > 0 && !disk.is_stable(offset / sector, (offset + length).div_ceil(sector))
}

#[cfg(test)]
mod tests;
