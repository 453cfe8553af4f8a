//! The disk's part of the ring: a number of places, each with memory of its own, and what is asked for from a place.
//!
//! Invariants: memory that the system was told of is neither read, written nor freed before the system has answered every
//! part that was asked for from its place; and nothing reaches the file after its lock is gone. The second holds of itself while
//! the process lives or dies, for the system keeps the locked file open as long as something is being done to it.
#![expect(unsafe_code, reason = "the ring is given addresses")]

use std::{
    ops::Range,
    os::fd::{AsRawFd, BorrowedFd},
};

use chronon::frame::SECTOR_SIZE;
use io_uring::{opcode, squeue, types};
use rustix::fs::{FlockOperation, flock};

use super::{
    memory::Memory,
    ring::{Answer, Kind, Ring, Side},
};
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
}

/// A data file's places on a ring.
pub(super) struct Places {
    pub(super) ring: Ring,
    /// The places' own memory, one after the other; none once it was given away, when this is dropped.
    arena: Option<Memory>,
    /// Whether the system was told of the arena beforehand, and keeps it mapped.
    pub(super) registered: bool,
    places: Vec<Place>,
    file: DataFile,
    /// Changes what the system answers.
    #[cfg(test)]
    pub(super) answers: Option<Box<dyn FnMut(Part, i32) -> i32 + Send>>,
    /// The flags of every write that was asked for.
    #[cfg(test)]
    pub(super) write_flags: Vec<i32>,
}

impl Places {
    /// The ring is nobody else's yet. The file is open for direct I/O.
    pub(super) fn new(ring: Ring, file: DataFile) -> Self {
        let mut arena = Memory::zeroed(PLACES * PLACE_SIZE);
        let registered = ring.register(&mut arena);
        Self {
            ring,
            registered,
            places: (0..PLACES).map(|_| Place::default()).collect(),
            arena: Some(arena),
            file,
            #[cfg(test)]
            answers: None,
            #[cfg(test)]
            write_flags: Vec::new(),
        }
    }

    /// Readable when there are answers.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.ring.descriptor()
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
            None => {
                let arena = self.arena.as_mut().expect("the arena goes when the places do");
                (arena, number * PLACE_SIZE + done..number * PLACE_SIZE + place.length)
            }
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

    /// Asks for something from a place, which begins at the next [`Ring::begin`].
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
        self.places[place].unanswered += 1;
        // SAFETY: what the entry names is the place's memory, which nobody here touches or frees before the answer, as
        // `unanswered` is asked for in `occupy`, `bytes`, `vacate` and, for all places at once, in `drop`.
        unsafe { self.ring.ask(Kind::Disk, (place * PARTS + part as usize) as u64, entry) };
    }

    /// The next answer, without a system call.
    pub(super) fn answer(&mut self) -> Option<Answered> {
        let Answer { number, result, .. } = self.ring.answer(Side::Disk)?;
        let number = number as usize;
        let (number, part) = (number / PARTS, if number.is_multiple_of(PARTS) { Part::Move } else { Part::Sync });
        let place = &mut self.places[number];
        place.unanswered -= 1;
        let last = place.unanswered == 0;
        #[cfg(test)]
        let result = self.answers.as_mut().map_or(result, |answers| answers(part, result));
        Some(Answered { place: number, part, result, last })
    }

    /// Waits until everything that the system has begun was answered. False if it cannot tell.
    fn settled(&mut self) -> bool {
        loop {
            while self.answer().is_some() {}
            if self.ring.begun(Side::Disk) == 0 {
                return true;
            }
            if !self.ring.await_answer() {
                return false;
            }
        }
    }
}

impl Drop for Places {
    /// Waits for what was begun. What was only asked for never happens.
    fn drop(&mut self) {
        self.ring.withdraw();
        if self.settled() {
            // The system may keep the file open a little longer than the ring, and the lock with it: it goes now. If this fails,
            // it goes then.
            let _ = flock(self.file.file(), FlockOperation::Unlock);
        } else {
            self.arena.iter_mut().for_each(Memory::leak);
            self.places.iter_mut().filter_map(|place| place.large.as_mut()).for_each(Memory::leak);
        }
        self.arena.take().into_iter().for_each(|arena| self.ring.keep(arena));
    }
}
