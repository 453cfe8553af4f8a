//! The disk over a real ring and a real file, told by the tests what the system answers.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    fs::fcntl_getfl,
};

use super::*;
use crate::data_file::DataFileError;

const SECTOR: u64 = SECTOR_SIZE as u64;

const MODES: [DurableMode; 2] = [DurableMode::DataSync, DurableMode::LinkedSync];

/// A data file beside the test program, which is on a real file system; gone when the test is over.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, sectors: u64) -> Self {
        let folder = std::env::current_exe().unwrap().parent().unwrap().to_owned();
        let path = folder.join(format!("uring-{name}-{}.chronon", std::process::id()));
        let _ = std::fs::remove_file(&path);
        DataFile::create(&path, sectors * SECTOR, &[]).unwrap();
        Self(path)
    }

    fn disk(&self, mode: DurableMode) -> IoUringDisk {
        IoUringDisk::new(DataFile::open(&self.0).unwrap(), mode).map_err(|(_, refusal)| refusal).unwrap()
    }

    /// The bytes of a sector, if they are all the same.
    fn fill(&self, sector: u64) -> u8 {
        let mut bytes = [0; SECTOR_SIZE];
        File::open(&self.0).unwrap().read_exact_at(&mut bytes, sector * SECTOR).unwrap();
        assert!(bytes.iter().all(|byte| *byte == bytes[0]), "sector {sector} mixes writes");
        bytes[0]
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn write(sector: u64, sectors: usize, fill: u8, durable: bool) -> DiskOperation {
    DiskOperation::Write { offset: sector * SECTOR, data: Frame::new(vec![fill; sectors * SECTOR_SIZE]), durable }
}

const fn read(sector: u64, sectors: u32) -> DiskOperation {
    DiskOperation::Read { offset: sector * SECTOR, length: sectors * SECTOR_SIZE as u32 }
}

fn wait(disk: &mut IoUringDisk) {
    disk.flush().unwrap();
    let wake = disk.wake();
    let patience = Timespec { tv_sec: 60, tv_nsec: 0 };
    let ready = poll(&mut [PollFd::new(&wake, PollFlags::IN)], Some(&patience));
    assert!(matches!(ready, Ok(1) | Err(Errno::INTR)), "nothing ends: {ready:?}");
}

/// Does one operation, beside whatever else is in flight.
fn perform(disk: &mut IoUringDisk, operation: DiskOperation) -> Result<Frame, DiskError> {
    let token = Token(u64::MAX);
    disk.submit(token, operation);
    loop {
        while let Some(ended) = disk.poll() {
            if ended.token == token {
                return ended.result;
            }
        }
        wait(disk);
    }
}

/// Does all that was submitted: the tokens in the order in which they ended, with what became of them.
fn finish(disk: &mut IoUringDisk) -> Vec<(u64, Result<usize, DiskError>)> {
    let mut ended = Vec::new();
    loop {
        while let Some(Completion { token, result }) = disk.poll() {
            ended.push((token.0, result.map(|frame| frame.len())));
        }
        if disk.idle.len() == PLACES && disk.waiting.is_empty() {
            return ended;
        }
        wait(disk);
    }
}

/// Answers with these, one after the other, and then with the truth.
fn answer(disk: &mut IoUringDisk, script: &[(Part, Result<usize, Errno>)]) {
    let mut script: VecDeque<_> = script.iter().copied().collect();
    disk.places.answers = Some(Box::new(move |part, truth| {
        let Some((expected, told)) = script.pop_front() else { return truth };
        assert_eq!(part, expected, "the parts are answered in the order of the script");
        told.map_or_else(|errno| -errno.raw_os_error(), |count| count as i32)
    }));
}

const CUT: (Part, Result<usize, Errno>) = (Part::Sync, Err(Errno::CANCELED));

/// Answers with these to what moves; of what then was not moved, nothing is in the file.
fn cut_short(scratch: &Scratch, disk: &mut IoUringDisk, offset: u64, length: usize, moved: [usize; 2]) {
    let file = File::options().write(true).open(&scratch.0).unwrap();
    let (mut done, mut moved, mut short) = (0, moved.into_iter(), false);
    disk.places.answers = Some(Box::new(move |part, truth| {
        if part == Part::Sync {
            return if short { -Errno::CANCELED.raw_os_error() } else { truth };
        }
        let Some(count) = moved.next() else {
            short = false;
            return truth;
        };
        done += count / SECTOR_SIZE * SECTOR_SIZE;
        short = true;
        file.write_all_at(&vec![0xee; length - done], offset + done as u64).unwrap();
        file.sync_all().unwrap();
        count as i32
    }));
}

#[test]
fn what_was_moved_in_part_is_moved_to_the_end() {
    let scratch = Scratch::new("short", 8);
    let bytes: Vec<u8> = (1..=4).flat_map(|fill| [fill; SECTOR_SIZE]).collect();
    for mode in MODES {
        for durable in [false, true] {
            let mut disk = scratch.disk(mode);
            perform(&mut disk, write(0, 8, 9, true)).unwrap();
            cut_short(&scratch, &mut disk, 2 * SECTOR, bytes.len(), [SECTOR_SIZE, 2 * SECTOR_SIZE - 1]);
            let operation = DiskOperation::Write { offset: 2 * SECTOR, data: Frame::new(bytes.clone()), durable };
            assert_eq!(perform(&mut disk, operation), Ok(Frame::default()));
            let expected = [9, 1, 2, 3, 4, 9].map(|fill| [fill; SECTOR_SIZE]).concat();
            answer(&mut disk, &[(Part::Move, Ok(SECTOR_SIZE)), (Part::Move, Ok(2 * SECTOR_SIZE + 100))]);
            assert!(*perform(&mut disk, read(1, 6)).unwrap() == expected, "{mode:?} {durable}");
        }
    }
}

/// No test can cut the power: that the device is asked to keep a write is all that can be seen of it.
#[test]
fn a_durable_write_asks_for_durability_by_its_own_flag_or_by_a_linked_sync() {
    /// `RWF_DSYNC`, as linux/fs.h has it.
    const DATA_SYNCHRONOUS: i32 = 2;
    let scratch = Scratch::new("durable", 64);
    for (mode, flags, syncs) in [(MODES[0], DATA_SYNCHRONOUS, 0), (MODES[1], 0, 1)] {
        let mut disk = scratch.disk(mode);
        let counted = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&counted);
        disk.places.answers = Some(Box::new(move |part, truth| {
            counter.fetch_add(u32::from(part == Part::Sync), Ordering::Relaxed);
            truth
        }));
        // One that has room in a place, one that has not, and one that need not last.
        for (sectors, durable, expected) in [(1, true, flags), (40, true, flags), (1, false, 0)] {
            perform(&mut disk, write(0, sectors, 1, durable)).unwrap();
            assert_eq!(disk.places.write_flags.pop(), Some(expected), "{mode:?}, {sectors} sectors, {durable}");
        }
        assert_eq!(counted.load(Ordering::Relaxed), 2 * syncs, "{mode:?}");
    }
}

#[test]
fn what_was_interrupted_is_done_again() {
    let scratch = Scratch::new("interrupted", 8);
    for interruption in [Errno::INTR, Errno::AGAIN] {
        let again = |part| (part, Err(interruption));
        for (mode, script) in [
            (DurableMode::DataSync, vec![again(Part::Move), again(Part::Move)]),
            (DurableMode::LinkedSync, vec![again(Part::Move), CUT, (Part::Move, Ok(SECTOR_SIZE)), again(Part::Sync)]),
        ] {
            let mut disk = scratch.disk(mode);
            answer(&mut disk, &script);
            assert_eq!(perform(&mut disk, write(0, 1, 3, true)), Ok(Frame::default()));
            answer(&mut disk, &[again(Part::Sync), again(Part::Sync)]);
            assert_eq!(perform(&mut disk, DiskOperation::Barrier), Ok(Frame::default()));
            answer(&mut disk, &[again(Part::Move)]);
            assert_eq!(perform(&mut disk, read(0, 1)), Ok(Frame::new(vec![3; SECTOR_SIZE])));
        }
    }
}

#[test]
fn after_a_failed_sync_nothing_is_durable_or_written_again() {
    let failed = |part| (part, Err(Errno::IO));
    let scratch = Scratch::new("failed-sync", 8);
    for (mode, operation, script, error) in [
        (MODES[0], DiskOperation::Barrier, vec![failed(Part::Sync)], DiskError::Barrier),
        (MODES[1], DiskOperation::Barrier, vec![failed(Part::Sync)], DiskError::Barrier),
        (MODES[0], write(0, 1, 1, true), vec![failed(Part::Move)], DiskError::Write),
        (MODES[1], write(0, 1, 1, true), vec![(Part::Move, Ok(SECTOR_SIZE)), failed(Part::Sync)], DiskError::Write),
    ] {
        let mut disk = scratch.disk(mode);
        answer(&mut disk, &script);
        assert_eq!(perform(&mut disk, operation), Err(error));
        for token in 0..40 {
            disk.submit(Token(3 * token), DiskOperation::Barrier);
            disk.submit(Token(3 * token + 1), write(4, 1, 9, token % 2 == 0));
            disk.submit(Token(3 * token + 2), read(4, 1));
        }
        for (token, result) in finish(&mut disk) {
            let expected = [Err(DiskError::Barrier), Err(DiskError::Write), Ok(SECTOR_SIZE)];
            assert_eq!(result, expected[token as usize % 3], "{mode:?} {token}");
        }
        drop(disk);
        assert_eq!(scratch.fill(4), 0);
    }
}

#[test]
fn a_sync_that_was_begun_before_another_failed_means_nothing() {
    let scratch = Scratch::new("failed-meanwhile", 8);
    let mut disk = scratch.disk(DurableMode::DataSync);
    answer(&mut disk, &[(Part::Sync, Err(Errno::IO))]);
    disk.submit(Token(0), DiskOperation::Barrier);
    disk.submit(Token(1), DiskOperation::Barrier);
    let results: Vec<_> = finish(&mut disk).into_iter().map(|(_, result)| result).collect();
    assert_eq!(results, [Err(DiskError::Barrier); 2]);
}

#[test]
fn a_write_that_fails_before_its_sync_takes_no_other_with_it() {
    let scratch = Scratch::new("failed-write", 8);
    let failures =
        [(Errno::IO, DiskError::Write), (Errno::NOSPC, DiskError::NoSpace), (Errno::DQUOT, DiskError::NoSpace)];
    for (errno, error) in failures {
        let mut disk = scratch.disk(DurableMode::LinkedSync);
        for (script, durable) in [(vec![(Part::Move, Err(errno)), CUT], true), (vec![(Part::Move, Err(errno))], false)]
        {
            answer(&mut disk, &script);
            assert_eq!(perform(&mut disk, write(0, 1, 1, durable)), Err(error));
        }
        assert_eq!(perform(&mut disk, write(1, 1, 2, true)), Ok(Frame::default()));
        assert_eq!(perform(&mut disk, DiskOperation::Barrier), Ok(Frame::default()));
    }
}

#[test]
fn a_failed_read_is_only_that() {
    let scratch = Scratch::new("failed-read", 8);
    let mut disk = scratch.disk(DurableMode::DataSync);
    answer(&mut disk, &[(Part::Move, Err(Errno::IO))]);
    assert_eq!(perform(&mut disk, read(0, 1)), Err(DiskError::Read));
    assert_eq!(perform(&mut disk, write(0, 1, 1, true)), Ok(Frame::default()));
    assert_eq!(perform(&mut disk, read(0, 1)), Ok(Frame::new(vec![1; SECTOR_SIZE])));
}

#[test]
fn a_file_that_was_cut_short_under_us_is_a_read_error() {
    let scratch = Scratch::new("cut", 8);
    let mut disk = scratch.disk(DurableMode::DataSync);
    File::options().write(true).open(&scratch.0).unwrap().set_len(SECTOR).unwrap();
    assert_eq!(perform(&mut disk, read(0, 1)).map(|frame| frame.len()), Ok(SECTOR_SIZE));
    assert_eq!(perform(&mut disk, read(0, 2)), Err(DiskError::Read));
    assert_eq!(perform(&mut disk, read(4, 1)), Err(DiskError::Read));
}

#[test]
fn a_sync_that_was_taken_apart_from_its_write_is_not_believed() {
    let scratch = Scratch::new("severed", 8);
    let mut disk = scratch.disk(DurableMode::LinkedSync);
    disk.places.ring.set_appetite(Some(1));
    // What the sync says that went by itself does not count, whenever it says it; a second one does, which is asked for when the
    // write is done.
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let parts = Arc::clone(&seen);
    disk.places.answers = Some(Box::new(move |part, result| {
        parts.lock().unwrap().push(part);
        result
    }));
    perform(&mut disk, write(0, 1, 1, true)).unwrap();
    let parts = std::mem::take(&mut *seen.lock().unwrap());
    assert_eq!(parts.iter().filter(|part| **part == Part::Sync).count(), 2, "{parts:?}");
    assert_eq!(parts.last(), Some(&Part::Sync));
    disk.places.ring.set_appetite(None);
    perform(&mut disk, write(0, 1, 1, true)).unwrap();
    assert_eq!(*seen.lock().unwrap(), [Part::Move, Part::Sync], "and what is taken together is");
}

/// Whatever else is asked for before the system takes any of it.
#[test]
fn nothing_comes_between_a_write_and_the_sync_that_is_linked_to_it() {
    let scratch = Scratch::new("between", 8);
    let mut disk = scratch.disk(DurableMode::LinkedSync);
    let mut beside = sockets::Sockets::new(disk.ring());
    let mut asked_beside = 0;
    let mut ask_beside = |count: u64| {
        for number in asked_beside..asked_beside + count {
            beside.add(number, eventfd(0, EventfdFlags::CLOEXEC).unwrap());
            beside.poll(number);
        }
        asked_beside += count;
    };
    // One place is left in what is handed over at once.
    ask_beside(255);
    disk.submit(Token(0), write(0, 1, 1, true));
    disk.places.ring.set_appetite(Some(0));
    disk.flush().unwrap();
    ask_beside(100);
    disk.places.ring.set_appetite(Some(10));
    assert_eq!(finish(&mut disk), [(0, Ok(0))]);
    let taken = disk.places.ring.history();
    let write = taken.iter().position(|name| *name == (ring::Kind::Disk, 0)).unwrap();
    assert_eq!(taken.get(write + 1), Some(&(ring::Kind::Disk, 1)), "the sync is next");
    assert_eq!(scratch.fill(0), 1);
}

#[test]
fn what_does_not_fit_into_the_ring_waits_in_order_and_is_done() {
    let count = 8 * PLACES as u64;
    for mode in MODES {
        let scratch = Scratch::new("many", count);
        let mut disk = scratch.disk(mode);
        for sector in 0..count {
            disk.submit(Token(sector), write(sector, 1, sector as u8 | 1, sector % 2 == 0));
        }
        assert_eq!(disk.waiting.len(), 7 * PLACES);
        assert!(disk.waiting.iter().map(|(token, _)| token.0).eq(PLACES as u64..count));
        let mut ended = finish(&mut disk);
        ended.sort_unstable_by_key(|(token, _)| *token);
        assert!(ended.into_iter().eq((0..count).map(|token| (token, Ok(0)))));
        assert!((0..count).all(|sector| scratch.fill(sector) == sector as u8 | 1));
    }
}

#[test]
fn a_barrier_begins_after_what_was_submitted_before_it() {
    let scratch = Scratch::new("barrier", 64);
    let mut disk = scratch.disk(DurableMode::DataSync);
    for sector in 0..=PLACES as u64 {
        disk.submit(Token(sector), write(sector, 1, 1, false));
    }
    disk.submit(Token(100), DiskOperation::Barrier);
    disk.submit(Token(101), write(63, 1, 1, false));
    let waiting: Vec<u64> = disk.waiting.iter().map(|(token, _)| token.0).collect();
    assert_eq!(waiting, [PLACES as u64, 100, 101]);
    assert!(finish(&mut disk).into_iter().all(|(_, result)| result == Ok(0)));
}

#[test]
fn overlapping_operations_take_effect_in_the_order_of_submission() {
    let scratch = Scratch::new("overlap", 16);
    for mode in MODES {
        let mut disk = scratch.disk(mode);
        for round in 1..=60 {
            let sector = u64::from(round) % 3;
            disk.submit(Token(0), write(sector, 4, round, round % 2 == 0));
            disk.submit(Token(u64::from(round)), read(sector + 3, 1));
            // One that stands against nothing, and one that only touches.
            disk.submit(Token(0), write(sector + 8, 1, round, false));
        }
        let mut expected = 1;
        while expected <= 60 {
            while let Some(Completion { token, result }) = disk.poll() {
                if token.0 > 0 {
                    assert_eq!((token.0, result.unwrap()[0]), (expected, expected as u8));
                    expected += 1;
                }
            }
            if expected <= 60 {
                wait(&mut disk);
            }
        }
    }
}

#[test]
fn what_was_begun_is_done_before_the_disk_is_gone_and_what_was_not_never_is() {
    let scratch = Scratch::new("dropped", 16 * PLACES as u64);
    for round in 1..=20 {
        let mut disk = scratch.disk(MODES[usize::from(round) % 2]);
        for place in 0..PLACES as u64 {
            disk.submit(Token(place), write(16 * place, 16, round, place % 2 == 0));
        }
        disk.submit(Token(99), write(0, 1, 0xff, true));
        disk.flush().unwrap();
        drop(disk);
        assert!((0..16 * PLACES as u64).all(|sector| scratch.fill(sector) == round));
        // Never begun.
        let mut disk = scratch.disk(DurableMode::DataSync);
        disk.submit(Token(0), write(0, 16, 0xff, true));
        drop(disk);
        assert_eq!(scratch.fill(0), round);
    }
}

#[test]
fn what_the_system_has_no_room_for_begins_later() {
    let scratch = Scratch::new("later", 8);
    let mut disk = scratch.disk(DurableMode::DataSync);
    disk.places.ring.set_appetite(Some(0));
    disk.submit(Token(0), write(0, 1, 1, true));
    disk.flush().unwrap();
    assert_eq!(disk.places.ring.pushed(), 1);
    disk.places.ring.set_appetite(None);
    assert_eq!(finish(&mut disk), [(0, Ok(0))]);
}

#[test]
fn memory_that_may_not_be_pinned_serves_too() {
    let scratch = Scratch::new("unpinned", 64);
    let mut disk = scratch.disk(DurableMode::DataSync);
    disk.places.registered = false;
    perform(&mut disk, write(1, 3, 5, true)).unwrap();
    assert_eq!(perform(&mut disk, read(2, 1)), Ok(Frame::new(vec![5; SECTOR_SIZE])));
}

#[test]
fn what_a_short_write_does_not_fill_is_zeros_whatever_its_memory_held_before() {
    let scratch = Scratch::new("zeros", 64);
    let mut disk = scratch.disk(DurableMode::DataSync);
    perform(&mut disk, write(0, 1, 0xff, false)).unwrap();
    let data = Frame::new(vec![7; 100]);
    perform(&mut disk, DiskOperation::Write { offset: 0, data, durable: true }).unwrap();
    let found = perform(&mut disk, read(0, 1)).unwrap();
    assert!(found[..100] == [7; 100] && found[100..].iter().all(|byte| *byte == 0));
}

#[test]
fn an_operation_that_is_larger_than_a_place_leaves_no_memory_behind() {
    let scratch = Scratch::new("large", 64);
    let mut disk = scratch.disk(DurableMode::DataSync);
    perform(&mut disk, write(0, 40, 5, true)).unwrap();
    assert_eq!(perform(&mut disk, read(0, 64)).map(|frame| frame[39 * SECTOR_SIZE]), Ok(5));
    assert!((0..PLACES).all(|place| disk.places.is_small(place)));
}

#[test]
fn the_ring_is_readable_until_all_was_polled() {
    let scratch = Scratch::new("wake", 8);
    let mut disk = scratch.disk(DurableMode::DataSync);
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    for round in 1..=3 {
        disk.submit(Token(round), write(0, 1, 1, true));
        wait(&mut disk);
        disk.quiet();
        while disk.poll().is_none() {
            wait(&mut disk);
        }
        let wake = disk.wake();
        assert_eq!(poll(&mut [PollFd::new(&wake, PollFlags::IN)], Some(&at_once)), Ok(0));
    }
}

#[test]
fn the_file_is_locked_as_long_as_there_is_a_disk_over_it_and_no_longer() {
    let scratch = Scratch::new("locked", 8);
    for round in 0..50 {
        let mut disk = scratch.disk(MODES[round % 2]);
        disk.submit(Token(0), write(0, 1, 1, true));
        disk.flush().unwrap();
        assert!(matches!(DataFile::open(&scratch.0), Err(DataFileError::Locked(..))));
    }
}

#[test]
fn a_file_that_takes_no_direct_io_comes_back_as_it_was() {
    let file = DataFile::over(File::from(eventfd(0, EventfdFlags::CLOEXEC).unwrap()), SECTOR);
    let before = fcntl_getfl(file.file()).unwrap();
    let (file, refusal) = IoUringDisk::new(file, DurableMode::DataSync).unwrap_err();
    assert!(matches!(refusal, Refusal::Direct(_)), "{refusal}");
    assert_eq!(fcntl_getfl(file.file()).unwrap(), before);
}
