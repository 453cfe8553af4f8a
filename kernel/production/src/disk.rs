//! A disk that a host can drive, and the choice between the two that there are.
//!
//! Deliberately absent: a change of mind. Which disk it is, is decided when the file is opened.

use std::{fmt, io, os::fd::BorrowedFd, path::PathBuf};

use chronon::{
    env::{DiskOperation, VirtualDisk},
    frame::SECTOR_SIZE,
    process::{Completion, Token},
};

use crate::{
    data_file::DataFile,
    sync_disk::SyncDisk,
    uring::{DurableMode, IoUringDisk, Refusal, Ring},
};

/// A disk that a host can wait for.
pub trait HostDisk: VirtualDisk {
    /// Begins whatever was submitted since the last time, and what was left of it then: called before each wait, even if nothing
    /// was submitted.
    ///
    /// # Errors
    /// If the system refuses.
    fn flush(&mut self) -> io::Result<()>;

    /// The ring that it is on, if it is on one: whoever waits on that begins what was submitted, and sees operations end, as well.
    fn ring(&self) -> Option<Ring> {
        None
    }

    /// Becomes readable when an operation ends.
    fn wake(&self) -> BorrowedFd<'_>;

    /// Forgets that operations ended: called before they are polled for, so that what ends meanwhile wakes anew.
    fn quiet(&mut self);
}

/// Which disk is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum DiskChoice {
    /// io_uring where there is one, and plain system calls elsewhere.
    #[default]
    Auto,
    /// io_uring or nothing.
    Uring,
    /// Plain system calls.
    Sync,
}

/// Either disk.
#[derive(Debug)]
pub enum Disk {
    /// Over io_uring.
    Uring(Box<IoUringDisk>),
    /// By plain system calls.
    Sync(SyncDisk),
}

/// Why there is no disk over a data file.
#[derive(Debug)]
pub enum OpenError {
    /// io_uring was asked for, and there is none for this file.
    Uring(PathBuf, Refusal),
    /// The system gives no thread or no descriptor for plain system calls.
    Sync(PathBuf, io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uring(path, refusal) => {
                let path = path.display();
                write!(f, "cannot serve {path} over io_uring: {refusal}; {}, or choose the disk `sync`", refusal.mend())
            }
            Self::Sync(path, error) => write!(
                f,
                "cannot start the thread that writes {}: {error}; raise the limits of threads and open files (ulimit -u, -n)",
                path.display()
            ),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Uring(_, refusal) => Some(refusal),
            Self::Sync(_, error) => Some(error),
        }
    }
}

impl Disk {
    /// A disk over the file, and in words for the log why it is not the one that is faster, if that could not be had. `mode`
    /// says how durable writes are made so over io_uring.
    ///
    /// # Errors
    /// If the disk that was chosen cannot be had.
    pub fn open(file: DataFile, choice: DiskChoice, mode: DurableMode) -> Result<(Self, Option<String>), OpenError> {
        Self::open_with(file, choice, |file| IoUringDisk::new(file, mode))
    }

    fn open_with(
        file: DataFile,
        choice: DiskChoice,
        uring: impl FnOnce(DataFile) -> Result<IoUringDisk, (DataFile, Refusal)>,
    ) -> Result<(Self, Option<String>), OpenError> {
        let path = file.path().to_owned();
        let (file, why) = match choice {
            DiskChoice::Sync => (file, None),
            DiskChoice::Auto | DiskChoice::Uring => match uring(file) {
                Ok(disk) => return Ok((Self::Uring(Box::new(disk)), None)),
                Err((_, refusal)) if choice == DiskChoice::Uring => return Err(OpenError::Uring(path, refusal)),
                Err((file, refusal)) => (file, Some(format!("{refusal}: using plain system calls"))),
            },
        };
        match SyncDisk::new(file) {
            Ok(disk) => Ok((Self::Sync(disk), why)),
            Err(error) => Err(OpenError::Sync(path, error)),
        }
    }
}

impl VirtualDisk for Disk {
    fn submit(&mut self, token: Token, operation: DiskOperation) {
        match self {
            Self::Uring(disk) => disk.submit(token, operation),
            Self::Sync(disk) => disk.submit(token, operation),
        }
    }

    fn poll(&mut self) -> Option<Completion> {
        match self {
            Self::Uring(disk) => disk.poll(),
            Self::Sync(disk) => disk.poll(),
        }
    }
}

impl HostDisk for Disk {
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Uring(disk) => disk.flush(),
            Self::Sync(disk) => disk.flush(),
        }
    }

    fn ring(&self) -> Option<Ring> {
        match self {
            Self::Uring(disk) => HostDisk::ring(&**disk),
            Self::Sync(disk) => disk.ring(),
        }
    }

    fn wake(&self) -> BorrowedFd<'_> {
        match self {
            Self::Uring(disk) => disk.wake(),
            Self::Sync(disk) => disk.wake(),
        }
    }

    fn quiet(&mut self) {
        match self {
            Self::Uring(disk) => disk.quiet(),
            Self::Sync(disk) => disk.quiet(),
        }
    }
}

/// Sees to it that a process asked for what it may, whatever the file system would have made of it.
///
/// # Panics
/// If the operation is not aligned to the sector, is empty, or goes beyond the file, which has `size` bytes.
pub(crate) fn check(operation: &DiskOperation, size: u64) {
    let (offset, length) = match operation {
        DiskOperation::Read { offset, length } => (*offset, u64::from(*length)),
        DiskOperation::Write { offset, data, .. } => (*offset, data.len().next_multiple_of(SECTOR_SIZE) as u64),
        DiskOperation::Barrier => return,
    };
    let sector = SECTOR_SIZE as u64;
    assert!(
        offset.is_multiple_of(sector) && length.is_multiple_of(sector) && length > 0,
        "{length} bytes at {offset}: offsets and lengths are multiples of the sector, {sector} bytes, and not zero"
    );
    assert!(
        offset.checked_add(length).is_some_and(|end| end <= size),
        "{length} bytes at {offset} lie beyond the end of the file, which has {size}"
    );
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use rustix::{
        event::{EventfdFlags, eventfd},
        io::Errno,
    };

    use super::*;

    /// What is no file on any file system, and takes no direct I/O.
    fn no_file() -> DataFile {
        DataFile::over(File::from(eventfd(0, EventfdFlags::CLOEXEC).unwrap()), SECTOR_SIZE as u64)
    }

    fn open(choice: DiskChoice, refusal: Refusal) -> Result<(Disk, Option<String>), OpenError> {
        Disk::open_with(no_file(), choice, |file| Err((file, refusal)))
    }

    fn refusals() -> [(Refusal, &'static str, &'static str); 8] {
        let ring = |errno: Errno| Refusal::Ring(errno.into());
        [
            (ring(Errno::PERM), "forbidden here (EPERM", "seccomp profile"),
            (ring(Errno::NOSYS), "missing here (ENOSYS", "Linux 5.6"),
            (ring(Errno::NOMEM), "(ENOMEM)", "ulimit -l"),
            (ring(Errno::MFILE), "Too many open files", "ulimit -n"),
            (ring(Errno::IO), "Input/output error", "Linux 5.6"),
            (Refusal::Operation("fsync"), "has no fsync", "Linux 5.6"),
            (Refusal::Sockets("recv"), "for sockets: it has no recv", "Linux 5.11"),
            (Refusal::Direct(Errno::INVAL.into()), "no direct I/O", "ext4"),
        ]
    }

    #[test]
    fn where_there_is_no_ring_plain_system_calls_serve_and_the_reason_is_told() {
        for (refusal, reason, _) in refusals() {
            let (disk, why) = open(DiskChoice::Auto, refusal).unwrap();
            let why = why.unwrap();
            assert!(matches!(disk, Disk::Sync(_)));
            assert!(why.contains(reason) && why.ends_with(": using plain system calls"), "{why}");
        }
    }

    #[test]
    fn a_ring_that_was_asked_for_and_is_not_there_is_an_error_that_names_the_mend() {
        for (refusal, reason, mend) in refusals() {
            let why = open(DiskChoice::Uring, refusal).unwrap_err().to_string();
            assert!(why.contains(reason) && why.contains(mend) && why.ends_with("or choose the disk `sync`"), "{why}");
        }
    }

    #[test]
    fn plain_system_calls_that_were_asked_for_need_no_reason() {
        let (disk, why) = Disk::open(no_file(), DiskChoice::Sync, DurableMode::DataSync).unwrap();
        assert!(matches!(disk, Disk::Sync(_)) && why.is_none());
    }

    #[test]
    fn a_file_that_takes_no_direct_io_is_served_by_plain_system_calls() {
        let (disk, why) = Disk::open(no_file(), DiskChoice::Auto, DurableMode::DataSync).unwrap();
        assert!(matches!(disk, Disk::Sync(_)));
        assert!(why.is_some());
    }
}
