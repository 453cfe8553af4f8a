//! Room for connections: who has it when there is not enough.
//!
//! Invariant: however many connect, a replica finds room, and so does an operator: clients leave them a part of it, and whoever has not
//! said who it is gives way to whoever comes after it, the earliest first; before all of them who was told that there is no room.

use std::collections::BTreeSet;

use super::connection::Connection;

/// The connections that clients leave to replicas and operators, unless that were more than half of all.
const RESERVED: usize = 64;

/// Who has room.
pub(super) struct Room {
    max: usize,
    /// Who was accepted, and gives way: who has not said who it is, and operators, who are answered at once. The earliest first.
    loose: BTreeSet<u64>,
    /// Who was told that there is no room, and has not hung up.
    dismissed: BTreeSet<u64>,
    clients: usize,
}

impl Room {
    pub(super) const fn new(max: usize) -> Self {
        Self { max, loose: BTreeSet::new(), dismissed: BTreeSet::new(), clients: 0 }
    }

    /// Whether one more can be taken on beside so many, if need be in another one's place.
    pub(super) fn may_accept(&self, connections: usize) -> bool {
        connections < self.max || self.first().is_some()
    }

    /// Who has to give way, if there are so many.
    pub(super) fn too_many(&self, connections: usize) -> Option<u64> {
        self.first().filter(|_| connections > self.max)
    }

    /// Who gives way first.
    pub(super) fn first(&self) -> Option<u64> {
        self.dismissed.first().or_else(|| self.loose.first()).copied()
    }

    pub(super) fn accepted(&mut self, number: u64) {
        self.loose.insert(number);
    }

    /// How many clients there are, if that is as many as there may be.
    pub(super) fn is_crowded(&self) -> Option<usize> {
        (self.clients >= self.max - RESERVED.min(self.max / 2)).then_some(self.clients)
    }

    /// It is known who that is.
    pub(super) fn greeted(&mut self, number: u64, connection: &Connection) {
        if !connection.is_operator {
            self.loose.remove(&number);
        }
        self.clients += usize::from(connection.is_client());
    }

    /// It was told that there is no room.
    pub(super) fn dismissed(&mut self, number: u64) {
        self.loose.remove(&number);
        self.dismissed.insert(number);
    }

    pub(super) fn ended(&mut self, number: u64, connection: &Connection) {
        self.loose.remove(&number);
        self.dismissed.remove(&number);
        self.clients -= usize::from(connection.is_client());
    }
}
