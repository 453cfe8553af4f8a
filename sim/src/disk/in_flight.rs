//! Operations that were submitted and have not ended, by a number that is never given twice.
//!
//! A ring indexed by the number's low bits: finding an operation costs no search. A number whose place is taken by an older
//! operation that is still in flight is skipped.

use chronon::{env::DiskOperation, frame::Frame, process::Token};

use super::medium::{SECTOR, sectors_of};

const LENGTH_FIRST: usize = 16;

/// One operation in flight.
#[derive(Clone)]
pub(super) struct InFlight {
    pub(super) id: u32,
    pub(super) token: Token,
    /// How many writes had completed when this was submitted.
    pub(super) submitted: u64,
    pub(super) operation: DiskOperation,
}

impl InFlight {
    /// What this would write to `sector`, as the whole data and the sector's place in it.
    pub(super) fn writes(&self, sector: u64) -> Option<(&Frame, u64)> {
        let DiskOperation::Write { offset, data, .. } = &self.operation else { return None };
        let place = sector.checked_sub(offset / SECTOR)?;
        (place < sectors_of(data)).then_some((data, place))
    }
}

/// All operations in flight.
#[derive(Clone, Default)]
pub(super) struct Flights {
    ring: Vec<Option<InFlight>>,
    next_id: u32,
    count: u32,
    writes: u32,
}

impl Flights {
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// How many of them are writes.
    pub(super) fn writes(&self) -> u32 {
        self.writes
    }

    pub(super) fn insert(&mut self, token: Token, submitted: u64, operation: DiskOperation) -> u32 {
        if self.count as usize * 4 >= self.ring.len() * 3 {
            self.grow();
        }
        while self.ring[self.place(self.next_id)].is_some() {
            self.next_id = self.next_id.wrapping_add(1);
        }
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        self.count += 1;
        self.writes += u32::from(matches!(operation, DiskOperation::Write { .. }));
        let place = self.place(id);
        self.ring[place] = Some(InFlight { id, token, submitted, operation });
        id
    }

    pub(super) fn get(&self, id: u32) -> Option<&InFlight> {
        if self.ring.is_empty() {
            return None;
        }
        self.ring[self.place(id)].as_ref().filter(|flight| flight.id == id)
    }

    pub(super) fn remove(&mut self, id: u32) -> Option<InFlight> {
        self.get(id)?;
        let place = self.place(id);
        let flight = self.ring[place].take()?;
        self.count -= 1;
        self.writes -= u32::from(matches!(flight.operation, DiskOperation::Write { .. }));
        Some(flight)
    }

    /// Takes out all of them. Their numbers stay used.
    pub(super) fn take_all(&mut self) -> Vec<InFlight> {
        self.count = 0;
        self.writes = 0;
        self.ring.iter_mut().filter_map(Option::take).collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &InFlight> {
        self.ring.iter().flatten()
    }

    fn place(&self, id: u32) -> usize {
        id as usize & (self.ring.len() - 1)
    }

    fn grow(&mut self) {
        let length = (self.ring.len() * 2).max(LENGTH_FIRST);
        let old = std::mem::take(&mut self.ring);
        self.ring.resize_with(length, || None);
        // Two numbers that differ in their low bits differ in more of them too: every place is free.
        for flight in old.into_iter().flatten() {
            let place = self.place(flight.id);
            self.ring[place] = Some(flight);
        }
    }
}
