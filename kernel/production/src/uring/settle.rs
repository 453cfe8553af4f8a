//! What the ring's answers to one operation mean: it ended, it goes on, or it failed. A function of plain values, tested over
//! all of them.
//!
//! Invariant: an operation that promises durability ends well only if all of its bytes were moved, a sync that began after
//! that succeeded, and no sync has ever failed before. What failed is never submitted again; what was interrupted, moved in
//! part or cancelled is.

use chronon::{frame::SECTOR_SIZE, process::DiskError};
use rustix::io::Errno;

use super::DurableMode;

/// What an operation promises, and so how its answers are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Read,
    /// A write that is speculative until a barrier.
    Write,
    /// A write that is durable when it ends.
    Durable(DurableMode),
    Barrier,
    /// One that fails without being tried: see [`super::IoUringDisk`]'s invariant.
    Refused(DiskError),
}

impl Kind {
    /// Whether a good end of it means that something is durable.
    pub(super) const fn promises(self) -> bool {
        matches!(self, Self::Durable(_) | Self::Barrier)
    }

    const fn error(self) -> DiskError {
        match self {
            Self::Read => DiskError::Read,
            Self::Write | Self::Durable(_) => DiskError::Write,
            Self::Barrier => DiskError::Barrier,
            Self::Refused(error) => error,
        }
    }

    const fn error_for(self, errno: Errno) -> DiskError {
        match (self, errno) {
            (Self::Write | Self::Durable(_), Errno::NOSPC | Errno::DQUOT) => DiskError::NoSpace,
            _ => self.error(),
        }
    }
}

/// What the ring answered to the parts of one operation, as it gave them: a count, or an error's number with a minus.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Answers {
    /// To the read or the write, if there was one.
    pub(super) moved: Option<i32>,
    /// To the sync, if there was one of its own.
    pub(super) synced: Option<i32>,
}

/// What happens next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// It ended well.
    Ended,
    /// This many bytes are moved; the rest is submitted, and the sync with it. With no rest, the sync alone.
    Again { moved: usize },
    Failed {
        error: DiskError,
        /// Whether it may have been a sync that failed: nothing is durable any more.
        sync: bool,
    },
}

/// One part's answer.
enum Answer {
    Count(usize),
    /// Interrupted, or begun when there was no room for it: nothing happened.
    Interrupted,
    /// Not begun, since what it was linked to did not go as it should.
    Cancelled,
    Failed(Errno),
}

impl Answer {
    fn of(result: i32) -> Self {
        if let Ok(count) = usize::try_from(result) {
            return Self::Count(count);
        }
        let errno = match result.saturating_neg() {
            number @ 1..4096 => Errno::from_raw_os_error(number),
            // No error has such a number.
            _ => Errno::IO,
        };
        match errno {
            Errno::INTR | Errno::AGAIN => Self::Interrupted,
            Errno::CANCELED => Self::Cancelled,
            errno => Self::Failed(errno),
        }
    }
}

/// Decides over an operation, all of whose parts were answered. `left` bytes were to be moved; `failed` says whether a
/// sync failed before.
///
/// # Panics
/// If there was something to move, and nobody asked for it.
pub(super) fn settle(kind: Kind, left: usize, answers: Answers, failed: bool) -> Next {
    if let Kind::Refused(error) = kind {
        return Next::Failed { error, sync: false };
    }
    if failed && kind.promises() {
        return Next::Failed { error: kind.error(), sync: true };
    }
    let synced = answers.synced.map(Answer::of);
    if let Some(Answer::Failed(errno)) = synced {
        return Next::Failed { error: kind.error_for(errno), sync: true };
    }
    // Of a write that syncs itself it is not told which of the two failed.
    let fails = |error| Next::Failed { error, sync: kind == Kind::Durable(DurableMode::DataSync) };
    let moved = match answers.moved.map(Answer::of) {
        // Direct I/O goes by the sector. What moved less moved nothing: the file ends there.
        Some(Answer::Count(count)) => match count.min(left) / SECTOR_SIZE * SECTOR_SIZE {
            0 => return fails(kind.error()),
            moved => moved,
        },
        Some(Answer::Interrupted) => return Next::Again { moved: 0 },
        Some(Answer::Cancelled) => return fails(kind.error()),
        Some(Answer::Failed(errno)) => return fails(kind.error_for(errno)),
        None => {
            assert_eq!(left, 0, "what is left to move is moved");
            0
        }
    };
    if moved < left {
        return Next::Again { moved };
    }
    match synced {
        None | Some(Answer::Count(_)) => Next::Ended,
        Some(Answer::Interrupted) => Next::Again { moved },
        // Only a sync that is linked to a write is cancelled for a reason that passes.
        Some(Answer::Cancelled) if answers.moved.is_some() => Next::Again { moved },
        Some(Answer::Cancelled | Answer::Failed(_)) => Next::Failed { error: kind.error(), sync: true },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTOR: usize = SECTOR_SIZE;
    const LEFT: usize = 3 * SECTOR;

    const MODES: [DurableMode; 2] = [DurableMode::DataSync, DurableMode::LinkedSync];

    fn failure(errno: Errno) -> Option<i32> {
        Some(-errno.raw_os_error())
    }

    /// Every answer that differs from all others in what is made of it, and none at all.
    fn answers() -> Vec<Option<i32>> {
        let counts = [0, 1, SECTOR - 1, SECTOR, SECTOR + 512, LEFT - SECTOR, LEFT - 1, LEFT, LEFT + SECTOR];
        let errnos = [
            Errno::INTR,
            Errno::AGAIN,
            Errno::CANCELED,
            Errno::IO,
            Errno::NOSPC,
            Errno::DQUOT,
            Errno::INVAL,
            Errno::NOMEM,
        ];
        let counts = counts.into_iter().map(|count| Some(count as i32));
        counts.chain(errnos.into_iter().map(failure)).chain([None, Some(i32::MIN)]).collect()
    }

    fn kinds() -> Vec<Kind> {
        let durable = MODES.map(Kind::Durable);
        [[Kind::Read, Kind::Write].as_slice(), &durable, &[Kind::Barrier, Kind::Refused(DiskError::Write)]].concat()
    }

    /// Calls `check` with everything that can be asked.
    fn exhaust(check: impl Fn(Kind, usize, Answers, bool, Next)) {
        for kind in kinds() {
            for left in [0, SECTOR, LEFT] {
                for moved in answers() {
                    for synced in answers() {
                        if moved.is_none() && left > 0 {
                            continue;
                        }
                        for failed in [false, true] {
                            let answers = Answers { moved, synced };
                            check(kind, left, answers, failed, settle(kind, left, answers, failed));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_is_durable_unless_all_of_it_was_moved_and_then_synced() {
        exhaust(|kind, left, answers, failed, next| {
            if next == Next::Ended {
                let moved = answers.moved.unwrap_or(0);
                assert!(usize::try_from(moved).is_ok_and(|moved| moved >= left), "{kind:?} {answers:?}");
                assert!(answers.synced.is_none_or(|result| result >= 0), "{kind:?} {answers:?}");
                assert!(!(failed && kind.promises()), "{kind:?} {answers:?}");
            }
        });
    }

    #[test]
    fn after_a_failed_sync_nothing_is_durable_again() {
        exhaust(|kind, left, answers, failed, next| {
            if failed && kind.promises() {
                assert_eq!(next, Next::Failed { error: kind.error(), sync: true });
            } else if failed {
                assert_eq!(next, settle(kind, left, answers, false), "other operations are not concerned");
            }
        });
    }

    #[test]
    fn a_sync_that_failed_is_never_tried_again() {
        let passes = [Errno::INTR, Errno::AGAIN, Errno::CANCELED].map(|errno| failure(errno).unwrap_or_default());
        exhaust(|kind, _, answers, _, next| {
            let fails = |result: Option<i32>| result.is_some_and(|result| result < 0 && !passes.contains(&result));
            let own = kind == Kind::Durable(DurableMode::DataSync) && fails(answers.moved);
            if !matches!(kind, Kind::Refused(_)) && (fails(answers.synced) || own) {
                assert!(matches!(next, Next::Failed { sync: true, .. }), "{kind:?} {answers:?} {next:?}");
            }
        });
    }

    #[test]
    fn what_goes_on_has_moved_whole_sectors_and_no_more_than_there_were() {
        exhaust(|kind, left, answers, _, next| {
            if let Next::Again { moved } = next {
                assert!(moved <= left && moved.is_multiple_of(SECTOR), "{kind:?} {answers:?}");
                let interrupted = [answers.moved, answers.synced].into_iter().flatten().any(|result| result < 0);
                assert!(moved > 0 || interrupted, "what moved nothing was interrupted: {kind:?} {answers:?}");
            }
        });
    }

    #[test]
    fn each_answer_to_a_read_or_a_write_alone() {
        let whole = |kind, count: usize| settle(kind, LEFT, Answers { moved: Some(count as i32), synced: None }, false);
        let error = |kind, errno| settle(kind, LEFT, Answers { moved: failure(errno), ..Answers::default() }, false);
        for (kind, failed, sync) in [
            (Kind::Read, DiskError::Read, false),
            (Kind::Write, DiskError::Write, false),
            (Kind::Durable(DurableMode::DataSync), DiskError::Write, true),
        ] {
            assert_eq!(whole(kind, LEFT), Next::Ended);
            assert_eq!(whole(kind, LEFT + 1), Next::Ended);
            assert_eq!(whole(kind, 2 * SECTOR), Next::Again { moved: 2 * SECTOR });
            assert_eq!(whole(kind, 2 * SECTOR + 512), Next::Again { moved: 2 * SECTOR });
            assert_eq!(whole(kind, SECTOR - 1), Next::Failed { error: failed, sync });
            assert_eq!(whole(kind, 0), Next::Failed { error: failed, sync });
            assert_eq!(error(kind, Errno::INTR), Next::Again { moved: 0 });
            assert_eq!(error(kind, Errno::AGAIN), Next::Again { moved: 0 });
            assert_eq!(error(kind, Errno::CANCELED), Next::Failed { error: failed, sync });
            assert_eq!(error(kind, Errno::IO), Next::Failed { error: failed, sync });
            let full = if kind == Kind::Read { DiskError::Read } else { DiskError::NoSpace };
            assert_eq!(error(kind, Errno::NOSPC), Next::Failed { error: full, sync });
            assert_eq!(error(kind, Errno::DQUOT), Next::Failed { error: full, sync });
        }
    }

    #[test]
    fn each_pair_of_answers_to_a_write_with_a_linked_sync() {
        let both = |moved, synced| {
            settle(Kind::Durable(DurableMode::LinkedSync), LEFT, Answers { moved, synced: Some(synced) }, false)
        };
        let cancelled = -Errno::CANCELED.raw_os_error();
        let whole = Some(LEFT as i32);
        let write_failed = Next::Failed { error: DiskError::Write, sync: false };
        let sync_failed = Next::Failed { error: DiskError::Write, sync: true };
        assert_eq!(both(whole, 0), Next::Ended);
        // A write that moved a part cuts the link: the rest is written, and synced with all of it.
        assert_eq!(both(Some(SECTOR as i32), cancelled), Next::Again { moved: SECTOR });
        assert_eq!(both(failure(Errno::INTR), cancelled), Next::Again { moved: 0 });
        // Written, and not synced: the sync alone.
        assert_eq!(both(whole, cancelled), Next::Again { moved: LEFT });
        assert_eq!(both(whole, -Errno::INTR.raw_os_error()), Next::Again { moved: LEFT });
        // The write failed, and no sync did: other writes are as durable as they were.
        assert_eq!(both(failure(Errno::IO), cancelled), write_failed);
        assert_eq!(both(Some(0), cancelled), write_failed);
        let full = Next::Failed { error: DiskError::NoSpace, sync: false };
        assert_eq!(both(failure(Errno::NOSPC), cancelled), full);
        // The sync failed.
        assert_eq!(both(whole, -Errno::IO.raw_os_error()), sync_failed);
        assert_eq!(both(Some(SECTOR as i32), -Errno::IO.raw_os_error()), sync_failed);
    }

    #[test]
    fn each_answer_to_a_sync_alone() {
        for (kind, error) in
            [(Kind::Barrier, DiskError::Barrier), (Kind::Durable(DurableMode::LinkedSync), DiskError::Write)]
        {
            let alone = |result| settle(kind, 0, Answers { moved: None, synced: Some(result) }, false);
            assert_eq!(alone(0), Next::Ended);
            assert_eq!(alone(-Errno::INTR.raw_os_error()), Next::Again { moved: 0 });
            assert_eq!(alone(-Errno::CANCELED.raw_os_error()), Next::Failed { error, sync: true });
            assert_eq!(alone(-Errno::IO.raw_os_error()), Next::Failed { error, sync: true });
        }
        let full = Answers { moved: None, synced: failure(Errno::NOSPC) };
        let barrier = settle(Kind::Barrier, 0, full, false);
        assert_eq!(barrier, Next::Failed { error: DiskError::Barrier, sync: true });
    }

    #[test]
    fn what_is_refused_fails_as_it_was_told_to() {
        exhaust(|kind, _, _, _, next| {
            if let Kind::Refused(error) = kind {
                assert_eq!(next, Next::Failed { error, sync: false });
            }
        });
    }
}
