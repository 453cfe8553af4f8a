//! The ring itself: a number of places, each with memory of its own, and what is asked for from a place.
//!
//! Invariants: memory that the system was told of is neither read, written nor freed before the system has answered every
//! part that was asked for from its place; and nothing reaches the file after its lock is gone. The second holds of itself while
//! the process lives or dies, for the system keeps the locked file open as long as something is being done to it.
#![expect(unsafe_code, reason = "the ring is given addresses, and the descriptor of one that is open is borrowed")]

use std::{
    collections::VecDeque,
    io,
    ops::Range,
    os::fd::{AsRawFd, BorrowedFd},
};

use chronon::frame::SECTOR_SIZE;
use io_uring::{EnterFlags, IoUring, Probe, opcode, squeue, types};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::memory::Memory;
use crate::data_file::DataFile;

/// How many places there are: the most operations that are in flight. More make a device no faster, and those that wait for
/// a place wait in memory of ours.
pub(super) const PLACES: usize = 32;

/// The memory that each place has for good. All of it together stays below what a process may pin by default (8 MiB for all of a
/// user's processes), even when three replicas share a machine.
pub(super) const PLACE_SIZE: usize = 16 * SECTOR_SIZE;

/// The most parts that an operation has: a write, and the sync that is linked to it.
const PARTS: usize = 2;

/// Data-synchronous: `RWF_DSYNC` of `pwritev2(2)`.
const DSYNC: i32 = 2;

/// A part of an operation, as an answer names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// The read or the write; or nothing at all.
    Move,
    Sync,
}

/// What is asked for from a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ask {
    /// Nothing: only to be answered.
    Nothing,
    /// Fill the place's memory from byte `done`, with what the file has at `offset`.
    Read { done: usize, offset: u64 },
    /// Write the place's memory, from byte `done`, at `offset`.
    Write { done: usize, offset: u64, sync: WriteSync },
    /// Make durable what was written.
    Sync,
}

/// Whether a write is followed by a sync.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum WriteSync {
    No,
    /// It is a part of the write.
    Own,
    /// It is a part of its own, which begins when the write has moved all.
    Linked,
}

/// The answer to one part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Answered {
    pub(super) place: usize,
    pub(super) part: Part,
    /// A count, or an error's number with a minus.
    pub(super) result: i32,
    /// Whether no other part of this place is still to be answered.
    pub(super) last: bool,
}

/// A place's memory beside its own, and what is still to be answered.
#[derive(Default)]
struct Place {
    length: usize,
    /// For what its own memory is too small for.
    large: Option<Memory>,
    unanswered: usize,
    /// Whether its linked sync was submitted apart from its write, so that it may have begun before the write was done.
    severed: bool,
}

/// A ring over a data file.
pub(super) struct Ring {
    uring: IoUring,
    /// The places' own memory, one after the other.
    arena: Memory,
    /// Whether the system was told of the arena beforehand, and keeps it mapped.
    pub(super) registered: bool,
    places: Vec<Place>,
    /// What was pushed and not yet taken by the system, in order.
    pub(super) pushed: VecDeque<(usize, Part)>,
    /// How many parts the system has taken and not answered.
    begun: usize,
    file: DataFile,
    /// Changes what the system answers.
    #[cfg(test)]
    pub(super) answers: Option<Box<dyn FnMut(Part, i32) -> i32 + Send>>,
    /// The flags of every write that was asked for.
    #[cfg(test)]
    pub(super) write_flags: Vec<i32>,
    /// How many parts the system takes at a time.
    #[cfg(test)]
    pub(super) appetite: Option<usize>,
}

/// The operations that are asked of the system, for its own answer whether it has them.
const OPERATIONS: [(u8, &str); 6] = [
    (opcode::Nop::CODE, "nop"),
    (opcode::Read::CODE, "read"),
    (opcode::Write::CODE, "write"),
    (opcode::ReadFixed::CODE, "read_fixed"),
    (opcode::WriteFixed::CODE, "write_fixed"),
    (opcode::Fsync::CODE, "fsync"),
];

/// A ring for [`Ring::new`], if the system gives one and takes what is submitted to it, which may be forbidden by itself.
pub(super) fn set_up() -> io::Result<IoUring> {
    let uring = IoUring::builder().dontfork().build((PLACES * PARTS) as u32)?;
    uring.submit()?;
    Ok(uring)
}

/// The first operation that is needed and that this system does not have; of a system too old to be asked, any.
pub(super) fn missing(uring: &IoUring) -> Option<&'static str> {
    let mut probe = Probe::new();
    if uring.submitter().register_probe(&mut probe).is_err() {
        return Some("probe");
    }
    OPERATIONS.into_iter().find(|(code, _)| !probe.is_supported(*code)).map(|(_, name)| name)
}

impl Ring {
    /// The file is open for direct I/O.
    pub(super) fn new(uring: IoUring, file: DataFile) -> Self {
        let arena = Memory::zeroed(PLACES * PLACE_SIZE);
        let mut ring = Self {
            uring,
            registered: false,
            places: (0..PLACES).map(|_| Place::default()).collect(),
            pushed: VecDeque::with_capacity(PLACES * PARTS),
            begun: 0,
            arena,
            file,
            #[cfg(test)]
            answers: None,
            #[cfg(test)]
            write_flags: Vec::new(),
            #[cfg(test)]
            appetite: None,
        };
        // Memory that may not be pinned is as good as any, and costs a little more at each operation.
        ring.registered = ring.register().is_ok();
        ring
    }

    fn register(&mut self) -> io::Result<()> {
        let whole = 0..self.arena.length();
        // SAFETY: nothing was asked of the ring yet.
        let arena = [io::IoSliceMut::new(unsafe { self.arena.bytes(whole) })];
        // SAFETY: an `IoSliceMut` has the layout of the `iovec` that is asked for, as its documentation promises.
        let arena = unsafe { std::slice::from_raw_parts(arena.as_ptr().cast(), arena.len()) };
        // SAFETY: the arena is freed after the ring is closed (it is declared behind it), and not at all if the system may still
        // use it (see `drop`).
        unsafe { self.uring.submitter().register_buffers(arena) }
    }

    /// Readable when there are answers.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        // SAFETY: the ring's descriptor is open as long as the ring is, which is borrowed for as long.
        unsafe { BorrowedFd::borrow_raw(self.uring.as_raw_fd()) }
    }

    /// Gives a place memory of this length. What it holds is left from whatever was there before.
    ///
    /// # Panics
    /// If something is asked for from there, or if the length is no positive multiple of the sector.
    pub(super) fn occupy(&mut self, place: usize, length: usize) {
        let place = &mut self.places[place];
        assert_eq!(place.unanswered, 0, "a place is given away when everything was answered");
        place.length = length;
        place.large = (length > PLACE_SIZE).then(|| Memory::zeroed(length));
    }

    /// A place's memory.
    ///
    /// # Panics
    /// If something is asked for from there.
    pub(super) fn bytes(&mut self, place: usize) -> &mut [u8] {
        assert_eq!(self.places[place].unanswered, 0, "memory is looked at when everything was answered");
        let (memory, range) = self.memory(place, 0);
        // SAFETY: the system keeps away from a place's memory once it has answered everything that was asked for from there.
        unsafe { memory.bytes(range) }
    }

    /// A place's memory from byte `done` on.
    fn memory(&mut self, number: usize, done: usize) -> (&mut Memory, Range<usize>) {
        let place = &mut self.places[number];
        assert!(done < place.length, "there is something left to move");
        match &mut place.large {
            Some(memory) => (memory, done..place.length),
            None => (&mut self.arena, number * PLACE_SIZE + done..number * PLACE_SIZE + place.length),
        }
    }

    /// Frees what memory a place had beside its own.
    ///
    /// # Panics
    /// If something is asked for from there.
    pub(super) fn vacate(&mut self, place: usize) {
        let place = &mut self.places[place];
        assert_eq!(place.unanswered, 0, "memory is freed when everything was answered");
        *place = Place::default();
    }

    /// Asks for something from a place, which begins at the next [`Ring::flush`].
    pub(super) fn ask(&mut self, place: usize, ask: Ask) {
        match ask {
            Ask::Nothing => self.push(place, Part::Move, opcode::Nop::new().build()),
            Ask::Read { done, offset } => {
                let read = self.read(place, done, offset);
                self.push(place, Part::Move, read);
            }
            Ask::Write { done, offset, sync } => {
                let write = self.write(place, done, offset, if sync == WriteSync::Own { DSYNC } else { 0 });
                if sync == WriteSync::Linked {
                    self.push(place, Part::Move, write.flags(squeue::Flags::IO_LINK));
                    self.push(place, Part::Sync, self.sync());
                } else {
                    self.push(place, Part::Move, write);
                }
            }
            Ask::Sync => self.push(place, Part::Sync, self.sync()),
        }
    }

    fn read(&mut self, place: usize, done: usize, offset: u64) -> squeue::Entry {
        let (file, fixed) = (self.file_number(), self.is_registered(place));
        let (memory, range) = self.memory(place, done);
        let (address, length) = (memory.address(&range), range.len() as u32);
        if fixed {
            opcode::ReadFixed::new(file, address, length, 0).offset(offset).build()
        } else {
            opcode::Read::new(file, address, length).offset(offset).build()
        }
    }

    fn write(&mut self, place: usize, done: usize, offset: u64, flags: i32) -> squeue::Entry {
        #[cfg(test)]
        self.write_flags.push(flags);
        let (file, fixed) = (self.file_number(), self.is_registered(place));
        let (memory, range) = self.memory(place, done);
        let (address, length) = (memory.address(&range), range.len() as u32);
        if fixed {
            opcode::WriteFixed::new(file, address, length, 0).offset(offset).rw_flags(flags).build()
        } else {
            opcode::Write::new(file, address, length).offset(offset).rw_flags(flags).build()
        }
    }

    fn sync(&self) -> squeue::Entry {
        opcode::Fsync::new(self.file_number()).flags(types::FsyncFlags::DATASYNC).build()
    }

    /// Not registered with the ring: that would keep the file open, and its lock held, for as long as the system takes to
    /// clear away the ring of a process that was killed.
    fn file_number(&self) -> types::Fd {
        types::Fd(self.file.file().as_raw_fd())
    }

    #[cfg(test)]
    pub(super) fn is_small(&self, place: usize) -> bool {
        self.places[place].large.is_none()
    }

    fn is_registered(&self, place: usize) -> bool {
        self.registered && self.places[place].large.is_none()
    }

    fn push(&mut self, place: usize, part: Part, entry: squeue::Entry) {
        let entry = entry.user_data((place * PARTS + part as usize) as u64);
        self.places[place].unanswered += 1;
        self.pushed.push_back((place, part));
        // SAFETY: what the entry names is the place's memory, which nobody here touches or frees before the answer, as
        // `unanswered` is asked for in `occupy`, `bytes`, `vacate` and, for all places at once, in `drop`.
        let pushed = unsafe { self.uring.submission().push(&entry) };
        pushed.expect("the ring has room for every part of every place");
    }

    /// Begins what was asked for, with one system call as a rule. What the system has no room for now is left for the next time.
    ///
    /// # Errors
    /// If the system refuses.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while !self.pushed.is_empty() {
            match self.enter(self.pushed.len(), 0) {
                Ok(0) | Err(Errno::AGAIN | Errno::BUSY) => break,
                Ok(count) => self.taken(count),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn enter(&self, submitted: usize, awaited: usize) -> Result<usize, Errno> {
        #[cfg(test)]
        let submitted = self.appetite.map_or(submitted, |appetite| submitted.min(appetite));
        let flags = if awaited > 0 { EnterFlags::GETEVENTS } else { EnterFlags::empty() };
        // SAFETY: there is no argument, and none of the flags asks for one. What is submitted was pushed, with its proof there.
        let entered =
            unsafe { self.uring.submitter().enter::<()>(submitted as u32, awaited as u32, flags.bits(), None) };
        entered.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }

    /// The system took the first `count` parts that were pushed.
    fn taken(&mut self, count: usize) {
        self.begun += count;
        let last = self.pushed.drain(..count).next_back();
        // A link does not reach over the end of what is taken at once.
        if let (Some((place, Part::Move)), Some((next, Part::Sync))) = (last, self.pushed.front())
            && place == *next
        {
            self.places[place].severed = true;
        }
    }

    /// The next answer, without a system call.
    pub(super) fn answer(&mut self) -> Option<Answered> {
        let entry = self.uring.completion().next()?;
        let number = entry.user_data() as usize;
        let (number, part) = (number / PARTS, if number.is_multiple_of(PARTS) { Part::Move } else { Part::Sync });
        self.begun -= 1;
        let place = &mut self.places[number];
        place.unanswered -= 1;
        let last = place.unanswered == 0;
        let result = entry.result();
        #[cfg(test)]
        let result = self.answers.as_mut().map_or(result, |answers| answers(part, result));
        // A sync that may have begun before its write was done says nothing about it, unless it failed.
        let void = part == Part::Sync && place.severed && result >= 0;
        place.severed &= !last;
        let result = if void { -Errno::CANCELED.raw_os_error() } else { result };
        Some(Answered { place: number, part, result, last })
    }

    /// Waits until everything that the system has begun was answered. False if it cannot tell.
    fn settled(&mut self) -> bool {
        loop {
            while self.answer().is_some() {}
            if self.begun == 0 {
                return true;
            }
            match self.enter(0, 1) {
                Ok(_) | Err(Errno::INTR | Errno::AGAIN | Errno::BUSY) => {}
                Err(_) => return false,
            }
        }
    }
}

impl Drop for Ring {
    /// Waits for what was begun. What was only pushed never happens.
    fn drop(&mut self) {
        if self.settled() {
            // The system may keep the file open a little longer than the ring, and the lock with it: it goes now. If this fails,
            // it goes then.
            let _ = flock(self.file.file(), FlockOperation::Unlock);
        } else {
            self.arena.leak();
            for memory in self.places.iter_mut().filter_map(|place| place.large.as_mut()) {
                memory.leak();
            }
        }
    }
}
