//! The writes of prepares on their way to their slots, by slot.
//!
//! A write carries a whole header, and a map of such values moves many of them for each that comes or goes: the map holds
//! places, and what is written lies still.

use alloc::{collections::BTreeMap, vec::Vec};
use core::ops::Range;

use crate::{frame::Frame, wire::header::Header};

/// One slot's write.
#[derive(Clone)]
pub(super) struct SlotWrite {
    pub(super) header: Header,
    /// The next prepare for this slot, waiting until this one is durable.
    pub(super) next: Option<(Header, Frame)>,
}

/// All slots' writes.
#[derive(Clone, Default)]
pub(super) struct SlotWrites {
    places: BTreeMap<u32, u32>,
    writes: Vec<SlotWrite>,
    /// Places whose writes have ended.
    free: Vec<u32>,
}

impl SlotWrites {
    pub(super) fn get(&self, slot: u32) -> Option<&SlotWrite> {
        self.places.get(&slot).map(|place| &self.writes[*place as usize])
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut SlotWrite> {
        self.places.get(&slot).map(|place| &mut self.writes[*place as usize])
    }

    /// # Panics
    /// If the slot is being written.
    pub(super) fn begin(&mut self, slot: u32, header: Header) {
        let write = SlotWrite { header, next: None };
        let place = match self.free.pop() {
            Some(place) => {
                self.writes[place as usize] = write;
                place
            }
            None => {
                self.writes.push(write);
                self.writes.len() as u32 - 1
            }
        };
        assert!(self.places.insert(slot, place).is_none(), "one write is in flight to a slot");
    }

    /// Ends the write of a slot: what was written, and what waits.
    pub(super) fn end(&mut self, slot: u32) -> Option<(Header, Option<(Header, Frame)>)> {
        let place = self.places.remove(&slot)?;
        self.free.push(place);
        let write = &mut self.writes[place as usize];
        Some((write.header, write.next.take()))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &SlotWrite> {
        self.places.values().map(|place| &self.writes[*place as usize])
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// How many of these slots are being written.
    pub(super) fn count_in(&self, slots: Range<u32>) -> usize {
        self.places.range(slots).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{ClusterId, Op};

    fn header(op: u64) -> Header {
        Header { op: Op(op), ..Header::root(ClusterId(1)) }
    }

    #[test]
    fn a_write_is_found_by_its_slot_until_it_ends_and_its_place_serves_again() {
        let mut writes = SlotWrites::default();
        for slot in [5, 2, 9] {
            writes.begin(slot, header(u64::from(slot)));
        }
        writes.get_mut(2).unwrap().next = Some((header(34), Frame::default()));
        assert_eq!((writes.len(), writes.count_in(0..6), writes.count_in(6..9)), (3, 2, 0));
        let (ended, next) = writes.end(2).unwrap();
        assert_eq!((ended.op, next.unwrap().0.op), (Op(2), Op(34)));
        assert!(writes.get(2).is_none() && writes.end(2).is_none());
        writes.begin(7, header(7));
        assert_eq!(writes.writes.len(), 3, "the place of a write that ended serves again");
        for slot in [5, 7, 9] {
            let write = writes.get(slot).unwrap();
            assert_eq!((write.header.op, write.next.is_none()), (Op(u64::from(slot)), true));
        }
    }

    #[test]
    #[should_panic(expected = "one write is in flight to a slot")]
    fn a_slot_is_not_written_twice_at_once() {
        let mut writes = SlotWrites::default();
        writes.begin(1, header(1));
        writes.begin(1, header(33));
    }
}
