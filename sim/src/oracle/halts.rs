//! Promise: a replica stops by itself only when there is reason to, and always when its disk has failed.
//!
//! A replica that stops without need is started again by its host, and all seems well: so each reason that it may give is held
//! against what befell it. Which one it gives its words say; whether it is so they do not.
//!
//! | it says | what must be so |
//! |---|---|
//! | the disk failed | the disk ended a write or a barrier with an error in that very step |
//! | all copies are zeros | its disk holds nothing where the superblock lies |
//! | no two copies agree | the superblock's place is damaged, or reads failed as often in this life as one is tried |
//! | another's file, other limits | the superblock on its disk is another's, or has others |
//! | superseded | the log has given its place to another: after its disk's incarnation had it, or to one that was formatted as if it were new |
//! | two checkpoints do not fit | three quarters of its grid's blocks hold chunks that it needs |
//! | damaged, and alone | it is a single replica, whose disk is damaged in that place, or failed to be read so often |
//!
//! Any other reason there never is: replicas that differ are found where they differ (see `state` and `checkpoints`), what a checkpoint
//! holds is what a replica wrote, and two programs never write to one file. Of a panic an oracle hears nothing: that is its host's to
//! judge.

use chronon::{
    process::DiskError,
    storage::{
        layout::{Layout, SUPERBLOCK_COPIES, SUPERBLOCK_COPY_SIZE},
        superblock::Superblock,
    },
    types::ReplicaId,
    vsr::Config,
};

use super::{EventView, StepView, Violation, amnesia::Amnesia, promise::broken};
use crate::disk::SimDisk;

const PROMISE: &str = "halts";

/// How often a replica tries a read, before it goes on without what it wanted.
const READS_TRIED: u32 = 4;

/// What befell each replica.
#[derive(Clone)]
pub(super) struct Halts {
    /// Any replica's.
    config: Config,
    lives: Vec<Life>,
}

/// What befell one replica in this life.
#[derive(Clone, Copy, Default)]
struct Life {
    failed_reads: u32,
    /// What a write or a barrier ended with that failed.
    failure: Option<DiskError>,
}

/// A reason that a replica may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cause {
    DiskFailed,
    Blank,
    Lost,
    Foreign,
    Superseded,
    Crowded,
    JournalDamaged,
    CheckpointDamaged,
}

impl Cause {
    /// How a replica that has it begins to say so, and what must be so then.
    const ALL: [(&'static str, Self, &'static str); 9] = [
        ("the disk failed", Self::DiskFailed, "a write or barrier of its disk that failed in that step"),
        ("all copies of the superblock are zeros", Self::Blank, "a disk that holds no superblock"),
        ("no two copies of the superblock agree", Self::Lost, "damage to its superblock, or reads that failed"),
        ("the data file belongs to", Self::Foreign, "another's superblock on its disk"),
        ("the data file was formatted with", Self::Foreign, "a superblock with other limits on its disk"),
        ("this data file was superseded", Self::Superseded, "a later incarnation that the log gave its place"),
        ("a checkpoint of the others and this replica's own do not fit", Self::Crowded, "a grid that is nearly full"),
        (
            "the journal is damaged",
            Self::JournalDamaged,
            "a single replica with damage to its journal, or reads that failed",
        ),
        (
            "the checkpoint is damaged",
            Self::CheckpointDamaged,
            "a single replica with damage to its grid, or reads that failed",
        ),
    ];
}

impl Halts {
    pub(super) fn new(config: &Config) -> Self {
        let lives = vec![Life::default(); usize::from(config.replica_count)];
        Self { config: config.clone(), lives }
    }

    /// A replica's life is over.
    pub(super) fn crashed(&mut self, replica: ReplicaId) {
        self.lives[replica.0 as usize] = Life::default();
    }

    /// A replica took a step: what its disk told it. It takes none after its disk has failed.
    pub(super) fn took(&mut self, replica: ReplicaId, step: &StepView<'_>) -> Result<(), Violation> {
        let life = &mut self.lives[replica.0 as usize];
        if let Some(error) = life.failure {
            let sentence =
                format!("{replica} went on after its disk had failed ({error:?}): it stops then, and recovers");
            return Err(broken(PROMISE, "went on after its disk had failed", sentence));
        }
        match step.event {
            EventView::Completion { result: Err(DiskError::Read), .. } => life.failed_reads += 1,
            EventView::Completion { result: Err(error), .. } => life.failure = Some(error),
            _ => {}
        }
        Ok(())
    }

    /// A replica stops in this step, for a reason that it gives.
    #[cold]
    pub(super) fn stops(
        &self,
        replica: ReplicaId,
        reason: &str,
        blocks_used: usize,
        disk: &SimDisk,
        amnesia: &Amnesia,
    ) -> Result<(), Violation> {
        let known = Cause::ALL.iter().find(|(begins, ..)| reason.starts_with(begins));
        let Some((_, cause, wanted)) = known else {
            let sentence = format!("{replica} stopped by itself, for a reason that there never is: {reason}");
            return Err(broken(PROMISE, "stopped for a reason that there never is", sentence));
        };
        if self.has(*cause, replica, blocks_used, disk, amnesia) {
            return Ok(());
        }
        let sentence = format!("{replica} stopped by itself without {wanted}: {reason}");
        Err(broken(PROMISE, &format!("stopped without {wanted}"), sentence))
    }

    fn has(&self, cause: Cause, replica: ReplicaId, blocks_used: usize, disk: &SimDisk, amnesia: &Amnesia) -> bool {
        let (life, layout) = (self.lives[replica.0 as usize], &self.config.layout);
        let is_alone = self.config.replica_count == 1;
        let (superblock, grid) = (layout.superblock_offset(0), layout.grid_offset());
        let harmed = |from: u64, to: u64| life.failed_reads >= READS_TRIED || disk.is_damaged(from, to - from);
        match cause {
            Cause::DiskFailed => life.failure.is_some(),
            Cause::Blank => is_blank(disk, layout),
            Cause::Lost => harmed(superblock, superblock_end(layout)),
            Cause::Foreign => superblock_on(disk, layout).is_some_and(|found| {
                found.identity() != Config { replica, ..self.config.clone() }.identity()
                    || (found.layout, found.clients_max) != (self.config.layout, self.config.clients_max)
            }),
            Cause::Superseded => superblock_on(disk, layout)
                .is_some_and(|found| amnesia.is_superseded(replica, found.incarnation, found.recovery.is_pending)),
            Cause::Crowded => blocks_used as u64 * 4 >= u64::from(layout.block_count) * 3,
            Cause::JournalDamaged => is_alone && harmed(layout.header_ring_offset(), grid),
            Cause::CheckpointDamaged => is_alone && harmed(grid, layout.size()),
        }
    }
}

fn superblock_end(layout: &Layout) -> u64 {
    layout.superblock_offset(SUPERBLOCK_COPIES - 1) + u64::from(SUPERBLOCK_COPY_SIZE)
}

fn is_blank(disk: &SimDisk, layout: &Layout) -> bool {
    let sector = chronon::frame::SECTOR_SIZE as u64;
    let (first, end) = (layout.superblock_offset(0) / sector, superblock_end(layout) / sector);
    disk.written_sectors(first, end).next().is_none()
}

/// The latest superblock that a disk certainly holds. Of the values that there may be at once all are one data file's.
fn superblock_on(disk: &SimDisk, layout: &Layout) -> Option<Superblock> {
    let mut bytes = Vec::new();
    let found = (0..SUPERBLOCK_COPIES).filter_map(|copy| {
        let certain = disk.durable_read(layout.superblock_offset(copy), SUPERBLOCK_COPY_SIZE.into(), &mut bytes);
        Superblock::decode(&bytes, copy).ok().filter(|_| certain)
    });
    found.max_by_key(|superblock| superblock.sequence)
}

#[cfg(test)]
mod tests;
