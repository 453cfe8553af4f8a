//! What a runner needs of a disk besides what a process does.

use std::{io, os::fd::BorrowedFd};

use chronon::env::VirtualDisk;

use crate::sync_disk::SyncDisk;

/// A disk that a host can wait for.
pub trait HostDisk: VirtualDisk {
    /// Begins whatever was submitted since the last time.
    ///
    /// # Errors
    /// If the system refuses.
    fn flush(&mut self) -> io::Result<()>;

    /// Becomes readable when an operation ends.
    fn wake(&self) -> BorrowedFd<'_>;

    /// Forgets that operations ended: called before they are polled for, so that what ends meanwhile wakes anew.
    fn quiet(&mut self);
}

impl HostDisk for SyncDisk {
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn wake(&self) -> BorrowedFd<'_> {
        Self::wake(self)
    }

    fn quiet(&mut self) {
        Self::quiet(self);
    }
}
