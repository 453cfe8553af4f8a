//! Clients that a busy primary has turned away, and that go first when there is room again.
//!
//! A client that has just been answered asks again at once, while those that were told "busy" pause: where it finds the room that
//! its own answer made, the others may find none for ever. So whoever was not turned away waits for those who were, as far as
//! there is room for them, and as long as they may be expected back. Of those who were, the half that has waited longest goes
//! before the other, whose pauses are shorter; within it whoever comes first has the room, so that it is not kept for one alone.

use alloc::collections::VecDeque;

use crate::types::{ClientId, Instant};

/// How long a client may be expected back: the longest pause of one, and the way of its request.
const RETURN_NS: u64 = 200_000_000;

/// How many are remembered. Past it the one that was turned away first is forgotten, and takes its chance.
pub(super) const TURNED_AWAY_MAX: usize = 1024;

/// Who was turned away, the longest ago first, and when it last was.
#[derive(Clone, Default)]
pub(super) struct TurnedAway {
    clients: VecDeque<(ClientId, Instant)>,
}

impl TurnedAway {
    /// Whether `client` must leave the room for `room` requests to others.
    pub(super) fn go_before(&mut self, client: ClientId, room: usize, now: Instant) -> bool {
        self.clients.retain(|(_, at)| now.since(*at) <= RETURN_NS);
        let waiting = self.clients.len();
        room == 0 || self.place(client).unwrap_or(waiting) >= room.max(waiting.div_ceil(2))
    }

    /// `client` is turned away at `now`.
    pub(super) fn note(&mut self, client: ClientId, now: Instant) {
        if let Some(place) = self.place(client) {
            self.clients[place].1 = now;
            return;
        }
        if self.clients.len() == TURNED_AWAY_MAX {
            self.clients.pop_front();
        }
        self.clients.push_back((client, now));
    }

    /// `client` has found room.
    pub(super) fn forget(&mut self, client: ClientId) {
        if let Some(place) = self.place(client) {
            self.clients.remove(place);
        }
    }

    fn place(&self, client: ClientId) -> Option<usize> {
        self.clients.iter().position(|(other, _)| *other == client)
    }

    pub(super) fn len(&self) -> usize {
        self.clients.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ClientId = ClientId(1);
    const B: ClientId = ClientId(2);
    const C: ClientId = ClientId(3);
    const D: ClientId = ClientId(4);

    #[test]
    fn who_was_turned_away_goes_first_as_far_as_there_is_room_and_while_it_may_come_back() {
        let mut turned = TurnedAway::default();
        let at = |ns| Instant(1_000_000_000 + ns);
        assert!(!turned.go_before(A, 1, at(0)) && turned.go_before(A, 0, at(0)));
        turned.note(B, at(0));
        assert!(turned.go_before(A, 1, at(RETURN_NS)), "the room is B's");
        assert!(!turned.go_before(A, 2, at(RETURN_NS)), "there is room for both");
        assert!(!turned.go_before(B, 1, at(RETURN_NS)));
        assert!(!turned.go_before(A, 1, at(RETURN_NS + 1)), "B does not come back");
        for (client, ns) in [(B, 0), (A, 1), (C, 2), (D, 3), (B, 4)] {
            turned.note(client, at(ns));
        }
        let waits = |turned: &mut TurnedAway, room| [A, B, C, D].map(|client| turned.go_before(client, room, at(5)));
        assert_eq!(waits(&mut turned, 1), [false, false, true, true], "the half that has waited longest goes first");
        assert_eq!(waits(&mut turned, 3), [false, false, false, true]);
        turned.forget(B);
        assert_eq!(waits(&mut turned, 1), [false, true, false, true]);
    }

    #[test]
    fn no_more_are_remembered_than_the_bound() {
        let mut turned = TurnedAway::default();
        for client in 0..3 * TURNED_AWAY_MAX as u64 {
            turned.note(ClientId(u128::from(client)), Instant(client));
            turned.note(ClientId(u128::from(client)), Instant(client));
        }
        assert_eq!(turned.len(), TURNED_AWAY_MAX);
    }
}
