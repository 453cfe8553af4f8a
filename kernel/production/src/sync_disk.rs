//! A disk without io_uring: one thread, the durability worker, that reads, writes and syncs in the order of submission.
//!
//! Durable writes and barriers that came while the worker was busy share one sync. Writes go through the page cache, so
//! neither alignment in memory nor direct I/O is asked of the file system.
//!
//! Invariant: after a failed sync nothing is ever reported durable again. The kernel may have dropped the pages that it could
//! not write and called them clean, so that a second sync would succeed and mean nothing; the process stops, and recovers
//! from what it can read, writing all of that anew before it speaks.

use std::{
    io::{IoSlice, IoSliceMut},
    os::fd::{AsFd, BorrowedFd},
    sync::mpsc::{Receiver, Sender, channel},
    thread::JoinHandle,
};

use chronon::{
    env::{DiskOperation, VirtualDisk},
    frame::{Frame, SECTOR_SIZE},
    process::{Completion, DiskError, Token},
};
use rustix::{
    fs::fdatasync,
    io::{Errno, preadv, pwritev},
};

use crate::{
    data_file::DataFile,
    disk::{HostDisk, check},
    wake::Wake,
};

/// The most operations that share a sync.
const BATCH_MAX: usize = 256;

static ZEROS: [u8; SECTOR_SIZE] = [0; SECTOR_SIZE];

/// A [`VirtualDisk`] over a data file, by plain system calls on a thread of its own.
#[derive(Debug)]
pub struct SyncDisk {
    size: u64,
    /// None once the disk is being dropped: the worker ends when nobody can ask it for anything.
    requests: Option<Sender<(Token, DiskOperation)>>,
    completions: Receiver<Completion>,
    wake: Wake,
    worker: Option<JoinHandle<()>>,
}

impl SyncDisk {
    /// Starts the worker.
    ///
    /// # Errors
    /// If the system gives no thread or no event descriptor.
    pub fn new(file: DataFile) -> std::io::Result<Self> {
        let wake = Wake::new()?;
        let (requests, received) = channel();
        let (ended, completions) = channel();
        let size = file.size();
        let worker = Worker { file, failed: false, ended, wake: wake.clone() };
        let thread = std::thread::Builder::new().name("durability".to_owned());
        let worker = thread.spawn(move || worker.work(&received))?;
        Ok(Self { size, requests: Some(requests), completions, wake, worker: Some(worker) })
    }
}

impl VirtualDisk for SyncDisk {
    /// # Panics
    /// If the operation is not aligned to the sector, is empty, or goes beyond the file.
    fn submit(&mut self, token: Token, operation: DiskOperation) {
        check(&operation, self.size);
        let requests = self.requests.as_ref().expect("the worker lives as long as the disk");
        requests.send((token, operation)).expect("the worker ends with the disk, or panicked");
    }

    fn poll(&mut self) -> Option<Completion> {
        self.completions.try_recv().ok()
    }
}

impl HostDisk for SyncDisk {
    /// The worker begins by itself.
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }

    fn wake(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    fn quiet(&mut self) {
        self.wake.quiet();
    }
}

impl Drop for SyncDisk {
    /// Waits for what is being written: nothing may reach the file after its lock is gone.
    fn drop(&mut self) {
        self.requests = None;
        if let Some(worker) = self.worker.take() {
            // It panics only by our own bug, and has said so.
            let _ = worker.join();
        }
    }
}

struct Worker {
    file: DataFile,
    /// Whether a sync failed: see the invariant.
    failed: bool,
    ended: Sender<Completion>,
    wake: Wake,
}

impl Worker {
    fn work(mut self, requests: &Receiver<(Token, DiskOperation)>) {
        while let Ok(first) = requests.recv() {
            let mut batch = vec![first];
            batch.extend(requests.try_iter().take(BATCH_MAX - 1));
            self.perform(batch);
        }
    }

    /// Performs the operations in order, then one sync for all that want one.
    fn perform(&mut self, batch: Vec<(Token, DiskOperation)>) {
        let mut unsynced = Vec::new();
        for (token, operation) in batch {
            let error = error_of(&operation);
            let (result, wants_sync) = match operation {
                DiskOperation::Read { offset, length } => (self.read(offset, length), false),
                DiskOperation::Write { offset, data, durable } => (self.write(offset, &data), durable),
                DiskOperation::Barrier => (Ok(Frame::default()), true),
            };
            if wants_sync && result.is_ok() {
                unsynced.push((token, error));
            } else {
                self.end(token, result);
            }
        }
        if unsynced.is_empty() {
            return;
        }
        let synced = self.sync();
        for (token, error) in unsynced {
            let result = if synced { Ok(Frame::default()) } else { Err(error) };
            self.end(token, result);
        }
    }

    fn sync(&mut self) -> bool {
        self.failed = self.failed || retried(|| fdatasync(self.file.file())).is_err();
        !self.failed
    }

    fn read(&self, offset: u64, length: u32) -> Result<Frame, DiskError> {
        let mut bytes = vec![0; length as usize];
        let mut done = 0;
        while done < bytes.len() {
            let read = retried(|| {
                let mut rest = [IoSliceMut::new(&mut bytes[done..])];
                preadv(self.file.file(), &mut rest, offset + done as u64)
            });
            match read {
                // The file is shorter than when it was opened.
                Ok(0) | Err(_) => return Err(DiskError::Read),
                Ok(count) => done += count,
            }
        }
        Ok(Frame::new(bytes))
    }

    /// Writes the data, and zeros up to the end of its last sector.
    fn write(&self, offset: u64, data: &[u8]) -> Result<Frame, DiskError> {
        if self.failed {
            return Err(DiskError::Write);
        }
        let padding = data.len().next_multiple_of(SECTOR_SIZE) - data.len();
        let mut slices = [IoSlice::new(data), IoSlice::new(&ZEROS[..padding])];
        let mut rest = &mut slices[..];
        let mut at = offset;
        while rest.iter().any(|slice| !slice.is_empty()) {
            match retried(|| pwritev(self.file.file(), rest, at)) {
                Ok(0) => return Err(DiskError::Write),
                Ok(count) => {
                    IoSlice::advance_slices(&mut rest, count);
                    at += count as u64;
                }
                Err(Errno::NOSPC | Errno::DQUOT) => return Err(DiskError::NoSpace),
                Err(_) => return Err(DiskError::Write),
            }
        }
        Ok(Frame::default())
    }

    fn end(&self, token: Token, result: Result<Frame, DiskError>) {
        // Nobody listens any more when the disk is being dropped.
        let _ = self.ended.send(Completion { token, result });
        self.wake.wake();
    }
}

/// What an operation fails with when it cannot be made durable.
const fn error_of(operation: &DiskOperation) -> DiskError {
    match operation {
        DiskOperation::Read { .. } => DiskError::Read,
        DiskOperation::Write { .. } => DiskError::Write,
        DiskOperation::Barrier => DiskError::Barrier,
    }
}

/// Calls again what a signal interrupted before it did anything.
fn retried<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, path::PathBuf};

    use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

    use super::*;

    const SECTOR: u64 = SECTOR_SIZE as u64;

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("chronon-sync-disk-{name}-{}", std::process::id()))
    }

    fn data_file(name: &str) -> DataFile {
        let path = path(name);
        let _ = std::fs::remove_file(&path);
        DataFile::create(&path, 8 * SECTOR, &[]).unwrap();
        let file = DataFile::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file
    }

    /// A file that can be written nowhere and synced never.
    fn broken_file() -> DataFile {
        DataFile::over(File::from(eventfd(0, EventfdFlags::CLOEXEC).unwrap()), 8 * SECTOR)
    }

    fn worker(file: DataFile) -> (Worker, Receiver<Completion>) {
        let (ended, completions) = channel();
        let wake = Wake::new().unwrap();
        (Worker { file, failed: false, ended, wake }, completions)
    }

    fn write(fill: u8, durable: bool) -> DiskOperation {
        DiskOperation::Write { offset: 0, data: Frame::new(vec![fill; SECTOR_SIZE]), durable }
    }

    fn results(completions: &Receiver<Completion>) -> Vec<(u64, Result<usize, DiskError>)> {
        completions.try_iter().map(|ended| (ended.token.0, ended.result.map(|frame| frame.len()))).collect()
    }

    #[test]
    fn after_a_failed_sync_nothing_is_durable_again_even_if_a_later_one_would_succeed() {
        let (mut worker, completions) = worker(broken_file());
        worker.perform(vec![(Token(1), DiskOperation::Barrier)]);
        assert_eq!(results(&completions), [(1, Err(DiskError::Barrier))]);
        worker.file = data_file("failed-sync");
        worker.perform(vec![
            (Token(2), DiskOperation::Barrier),
            (Token(3), write(1, true)),
            (Token(4), write(2, false)),
        ]);
        let mut ended = results(&completions);
        ended.sort_by_key(|(token, _)| *token);
        assert_eq!(ended, [(2, Err(DiskError::Barrier)), (3, Err(DiskError::Write)), (4, Err(DiskError::Write))]);
    }

    #[test]
    fn a_write_that_fails_takes_no_other_with_it() {
        let (mut worker, completions) = worker(broken_file());
        worker.perform(vec![(Token(1), write(1, true))]);
        assert_eq!(results(&completions), [(1, Err(DiskError::Write))]);
        worker.file = data_file("failed-write");
        worker.perform(vec![(Token(2), write(1, true)), (Token(3), DiskOperation::Barrier)]);
        assert_eq!(results(&completions), [(2, Ok(0)), (3, Ok(0))]);
    }

    #[test]
    fn what_does_not_wait_for_the_sync_ends_before_what_does() {
        let (mut worker, completions) = worker(data_file("order"));
        let read = DiskOperation::Read { offset: 0, length: SECTOR_SIZE as u32 };
        worker.perform(vec![(Token(1), write(1, true)), (Token(2), read), (Token(3), write(2, false))]);
        let ended: Vec<u64> = results(&completions).into_iter().map(|(token, _)| token).collect();
        assert_eq!(ended, [2, 3, 1]);
    }

    #[test]
    fn a_file_that_was_cut_short_under_us_is_a_read_error() {
        let path = path("cut");
        let _ = std::fs::remove_file(&path);
        DataFile::create(&path, 8 * SECTOR, &[]).unwrap();
        let (mut worker, completions) = worker(DataFile::open(&path).unwrap());
        File::options().write(true).open(&path).unwrap().set_len(SECTOR).unwrap();
        worker.perform(vec![
            (Token(1), DiskOperation::Read { offset: 0, length: SECTOR_SIZE as u32 }),
            (Token(2), DiskOperation::Read { offset: 0, length: 2 * SECTOR_SIZE as u32 }),
        ]);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(results(&completions), [(1, Ok(SECTOR_SIZE)), (2, Err(DiskError::Read))]);
    }

    #[test]
    fn an_ended_operation_wakes_who_waits() {
        let mut disk = SyncDisk::new(data_file("wake")).unwrap();
        for round in 1..=3 {
            disk.submit(Token(round), write(round as u8, true));
            let ended = loop {
                let patience = Timespec { tv_sec: 60, tv_nsec: 0 };
                assert_eq!(poll(&mut [PollFd::new(&disk.wake, PollFlags::IN)], Some(&patience)), Ok(1));
                disk.quiet();
                if let Some(ended) = disk.poll() {
                    break ended;
                }
            };
            assert_eq!(ended.token, Token(round));
        }
    }
}
