//! A disk over io_uring: direct I/O on the data file, any number of operations at once, begun by one system call and ended by none.
//!
//! What is submitted is copied to aligned memory and begins at the next flush; what does not fit into the ring waits in order. No
//! operation is begun while one that overlaps it is in flight, if either writes: a sector never mixes two writes.
//!
//! Invariant: after a failed sync nothing is ever reported durable again, and nothing is written any more. What the device could
//! not keep may have been dropped, so that a second sync would succeed and mean nothing; the process stops, and recovers from
//! what it can read, writing all of that anew before it speaks.
//!
//! Its ring may have sockets on it as well: see [`crate::tcp`]. Neither knows of the other.
//!
//! Deliberately absent: polling by the kernel's own thread (it would take one of few cores), and any fallback: whether there is a
//! ring at all is [`crate::disk::Disk`]'s affair.

mod memory;
mod places;
mod ring;
mod settle;
pub(crate) mod sockets;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, fmt, io, os::fd::BorrowedFd};

use chronon::{
    env::{DiskOperation, VirtualDisk},
    frame::{Frame, SECTOR_SIZE},
    process::{Completion, DiskError, Token},
};
use rustix::{
    fs::{Advice, OFlags, fadvise, fcntl_getfl, fcntl_setfl},
    io::{Errno, pread},
};

pub(crate) use self::ring::NUMBER_MAX;
pub use self::ring::Ring;
use self::{
    places::{Answered, Ask, PLACES, Part, Places, WriteSync},
    settle::{Answers, Kind, Next, settle},
};
use crate::{
    data_file::DataFile,
    disk::{HostDisk, check},
};

/// How a durable write is made durable.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum DurableMode {
    /// The write is data-synchronous by itself.
    #[default]
    DataSync,
    /// A sync of the file is linked to the write.
    LinkedSync,
}

/// Why there is no ring over a file.
#[derive(Debug)]
pub enum Refusal {
    /// The system gives no ring.
    Ring(io::Error),
    /// Its rings lack this operation.
    Operation(&'static str),
    /// They have all that a disk needs, and lack this that sockets do.
    Sockets(&'static str),
    /// The file takes no direct I/O.
    Direct(io::Error),
    /// The system tells nobody which sockets are ready.
    Readiness(io::Error),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ring(error) => match Errno::from_io_error(error) {
                Some(Errno::PERM | Errno::ACCESS) => {
                    f.write_str("io_uring is forbidden here (EPERM; containers' default seccomp profile does that)")
                }
                Some(Errno::NOSYS) => {
                    f.write_str("io_uring is missing here (ENOSYS; the system is too old, or hides it)")
                }
                Some(Errno::NOMEM) => {
                    f.write_str("there is no memory for an io_uring that the process may lock (ENOMEM)")
                }
                _ => write!(f, "the system gives no io_uring: {error}"),
            },
            Self::Operation(name) => write!(f, "io_uring is too old here: it has no {name}"),
            Self::Sockets(name) => write!(f, "io_uring is too old here for sockets: it has no {name}"),
            Self::Readiness(error) => write!(f, "the system gives no epoll: {error}"),
            Self::Direct(error) => write!(f, "the file system takes no direct I/O by the sector: {error}"),
        }
    }
}

impl std::error::Error for Refusal {}

impl Refusal {
    /// What to do about it.
    pub fn mend(&self) -> &'static str {
        match self {
            Self::Ring(error) => match Errno::from_io_error(error) {
                Some(Errno::PERM | Errno::ACCESS) => {
                    "allow io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp profile and set the \
                     sysctl kernel.io_uring_disabled to 0"
                }
                Some(Errno::NOMEM) => "raise the limit of locked memory (ulimit -l, LimitMEMLOCK=)",
                Some(Errno::MFILE | Errno::NFILE) => "raise the limit of open files (ulimit -n, LimitNOFILE=)",
                _ => "run Linux 5.6 or later, with io_uring",
            },
            Self::Operation(_) => "run Linux 5.6 or later, with io_uring",
            Self::Sockets(_) => "run Linux 5.11 or later, with io_uring",
            Self::Readiness(_) => "raise the limit of open files (ulimit -n, LimitNOFILE=)",
            Self::Direct(_) => "put the data file on a file system that takes O_DIRECT (ext4 and XFS do)",
        }
    }
}

/// An operation that has a place in the ring.
struct Flight {
    token: Token,
    kind: Kind,
    offset: u64,
    length: usize,
    /// How much of it has been moved.
    done: usize,
    answers: Answers,
}

/// A [`VirtualDisk`] over a data file, by io_uring.
pub struct IoUringDisk {
    places: Places,
    size: u64,
    mode: DurableMode,
    /// By place.
    flights: Vec<Option<Flight>>,
    idle: Vec<usize>,
    /// Submitted and not begun, in order.
    waiting: VecDeque<(Token, DiskOperation)>,
    /// Whether a sync failed: see the invariant.
    failed: bool,
}

impl fmt::Debug for IoUringDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_flight = PLACES - self.idle.len();
        write!(f, "IoUringDisk({:?}, {in_flight} in flight, {} waiting)", self.mode, self.waiting.len())
    }
}

/// Whether this machine gives a process a ring that has all that a disk needs.
///
/// # Errors
/// If it does not.
pub fn probe() -> Result<(), Refusal> {
    Ring::new().map(|_| ())
}

impl IoUringDisk {
    /// A disk over the file, from which a sector has been read for a trial.
    ///
    /// # Errors
    /// If there can be none. The file is given back as it was.
    pub fn new(file: DataFile, mode: DurableMode) -> Result<Self, (DataFile, Refusal)> {
        let ring = match Ring::new() {
            Ok(ring) => ring,
            Err(refusal) => return Err((file, refusal)),
        };
        // Of the locked file itself and not of a second opening of it: whatever is still being done to the file, when its process
        // is killed, holds the lock.
        if let Err(error) = go_direct(&file) {
            return Err((file, Refusal::Direct(error)));
        }
        let size = file.size();
        let places = Places::new(ring, file);
        let flights = (0..PLACES).map(|_| None).collect();
        let idle = (0..PLACES).rev().collect();
        Ok(Self { places, size, mode, flights, idle, waiting: VecDeque::new(), failed: false })
    }

    /// Its ring, which has room for sockets.
    pub fn ring(&self) -> Ring {
        self.places.ring.clone()
    }

    /// Gives an operation a place, if there is one and nothing in flight stands against it, and asks the ring for it.
    fn begin(&mut self, token: Token, operation: DiskOperation) -> Result<(), DiskOperation> {
        if self.idle.is_empty() || self.collides(&operation) {
            return Err(operation);
        }
        let Some(place) = self.idle.pop() else { return Err(operation) };
        let mut flight =
            Flight { token, kind: Kind::Barrier, offset: 0, length: 0, done: 0, answers: Answers::default() };
        match operation {
            DiskOperation::Write { .. } if self.failed => flight.kind = Kind::Refused(DiskError::Write),
            DiskOperation::Barrier if self.failed => flight.kind = Kind::Refused(DiskError::Barrier),
            DiskOperation::Barrier => {}
            DiskOperation::Read { offset, length } => {
                flight = Flight { kind: Kind::Read, offset, length: length as usize, ..flight };
                self.places.occupy(place, flight.length);
            }
            DiskOperation::Write { offset, data, durable } => {
                let kind = if durable { Kind::Durable(self.mode) } else { Kind::Write };
                flight = Flight { kind, offset, length: data.len().next_multiple_of(SECTOR_SIZE), ..flight };
                self.places.occupy(place, flight.length);
                let (written, zeros) = self.places.bytes(place).split_at_mut(data.len());
                written.copy_from_slice(&data);
                zeros.fill(0);
            }
        }
        self.ask(place, &flight);
        self.flights[place] = Some(flight);
        Ok(())
    }

    /// Asks for what is left of an operation.
    fn ask(&mut self, place: usize, flight: &Flight) {
        let (done, offset) = (flight.done, flight.offset + flight.done as u64);
        let sync = match flight.kind {
            Kind::Durable(DurableMode::DataSync) => WriteSync::Own,
            Kind::Durable(DurableMode::LinkedSync) => WriteSync::Linked,
            _ => WriteSync::No,
        };
        let ask = match flight.kind {
            Kind::Refused(_) => Ask::Nothing,
            Kind::Read => Ask::Read { done, offset },
            Kind::Write | Kind::Durable(_) if done < flight.length => Ask::Write { done, offset, sync },
            Kind::Write | Kind::Durable(_) | Kind::Barrier => Ask::Sync,
        };
        self.places.ask(place, ask);
    }

    /// Whether what is in flight overlaps an operation, and either of the two writes.
    fn collides(&self, operation: &DiskOperation) -> bool {
        let (offset, length, writes) = match operation {
            DiskOperation::Read { offset, length } => (*offset, *length as usize, false),
            DiskOperation::Write { offset, data, .. } => (*offset, data.len().next_multiple_of(SECTOR_SIZE), true),
            DiskOperation::Barrier => return false,
        };
        let overlaps = |flight: &Flight| {
            (writes || flight.kind != Kind::Read)
                && offset < flight.offset + flight.length as u64
                && flight.offset < offset + length as u64
        };
        self.flights.iter().flatten().any(overlaps)
    }

    /// Begins what waits, in its order, as far as there is room.
    fn begin_waiting(&mut self) {
        while let Some((token, operation)) = self.waiting.pop_front() {
            if let Err(operation) = self.begin(token, operation) {
                return self.waiting.push_front((token, operation));
            }
        }
    }

    /// Takes the answer to one part of an operation: ends it, if that is the end.
    fn take(&mut self, answered: Answered) -> Option<Completion> {
        let Answered { place, part, result, last } = answered;
        let mut flight = self.flights[place].take().expect("what is answered is in flight");
        match part {
            Part::Move => flight.answers.moved = Some(result),
            Part::Sync => flight.answers.synced = Some(result),
        }
        if !last {
            self.flights[place] = Some(flight);
            return None;
        }
        let answers = std::mem::take(&mut flight.answers);
        let result = match settle(flight.kind, flight.length - flight.done, answers, self.failed) {
            Next::Again { moved } => {
                flight.done += moved;
                self.ask(place, &flight);
                self.flights[place] = Some(flight);
                return None;
            }
            Next::Failed { error, sync } => {
                self.failed |= sync;
                Err(error)
            }
            Next::Ended if flight.kind == Kind::Read => Ok(Frame::new(self.places.bytes(place).to_vec())),
            Next::Ended => Ok(Frame::default()),
        };
        self.places.vacate(place);
        self.idle.push(place);
        self.begin_waiting();
        Some(Completion { token: flight.token, result })
    }
}

impl VirtualDisk for IoUringDisk {
    /// # Panics
    /// If the operation is not aligned to the sector, is empty, or goes beyond the file.
    fn submit(&mut self, token: Token, operation: DiskOperation) {
        check(&operation, self.size);
        self.waiting.push_back((token, operation));
        if self.waiting.len() == 1 {
            self.begin_waiting();
        }
    }

    fn poll(&mut self) -> Option<Completion> {
        loop {
            let answered = self.places.answer()?;
            if let Some(completion) = self.take(answered) {
                return Some(completion);
            }
        }
    }
}

impl HostDisk for IoUringDisk {
    fn flush(&mut self) -> io::Result<()> {
        self.places.ring.begin()
    }

    fn ring(&self) -> Option<Ring> {
        Some(self.ring())
    }

    fn wake(&self) -> BorrowedFd<'_> {
        self.places.descriptor()
    }

    /// The ring is readable as long as there is something to poll for.
    fn quiet(&mut self) {}
}

#[repr(align(4096))]
struct Sector([u8; SECTOR_SIZE]);

/// Has everything that is done to the file from now on go past the page cache; if the file does not take that, nothing changes.
fn go_direct(file: &DataFile) -> io::Result<()> {
    let before = fcntl_getfl(file.file())?;
    fcntl_setfl(file.file(), before | OFlags::DIRECT)?;
    // Some file systems say no only when they are read from. What else can go wrong with a read is for the process to see.
    let mut sector = Sector([0; SECTOR_SIZE]);
    if let Err(error @ (Errno::INVAL | Errno::OPNOTSUPP)) = pread(file.file(), &mut sector.0, 0) {
        fcntl_setfl(file.file(), before)?;
        return Err(error.into());
    }
    // What the page cache has of the file, each write past it would have to throw out first, and would wait for that on a thread of
    // the system's. What is not clean of it, the system keeps until it is written. Where the advice is not taken, writes are slower
    // and no less right.
    let _ = fadvise(file.file(), 0, None, Advice::DontNeed);
    Ok(())
}
