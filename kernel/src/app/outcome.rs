//! What applying an event brought about, besides the change of the state: a response, and what is to be done outside or later.

use alloc::{string::String, vec::Vec};

use crate::{
    app::{
        application::ApplyContext,
        effect::{Channel, Destination, EffectId, Policy, Severity},
        room::{Full, Limits, Room},
    },
    frame::Frame,
    types::{ClusterId, Op},
};

/// What applying an event brought about. One value serves many events, so that its buffers are allocated once.
///
/// Effects and timers that are asked for here begin to be when the event was applied: of a rejected one there are none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// What the client is told. Empty when [`Application::apply`](crate::app::application::Application::apply) is called, and
    /// empty is a valid response.
    pub response: Vec<u8>,
    wishes: Vec<(EffectId, Wish)>,
    /// What the next effect or timer will be called.
    next: EffectId,
    effects: Room,
    timers: Room,
}

/// An effect or a timer, as it is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wish {
    /// An effect.
    Effect {
        /// What is done with the payload.
        destination: Destination,
        /// How it is tried.
        policy: Policy,
        /// What is emitted, fetched or logged.
        payload: Frame,
    },
    /// A timer.
    Timer {
        /// How many nanoseconds of the log's time later it fires.
        delay_ns: u64,
        /// What the application is told then.
        payload: Frame,
    },
}

impl Default for Outcome {
    /// With the room of an empty cluster's.
    fn default() -> Self {
        let id = EffectId { cluster: ClusterId(0), op: Op::ROOT, position: 0, index: 0 };
        let room = Room::new(Limits::DEFAULT);
        Self { response: Vec::new(), wishes: Vec::new(), next: id, effects: room, timers: room }
    }
}

impl Outcome {
    /// Has `payload` given to the service of `channel`, behind all that was asked for in the channel before. An
    /// [`Event::Acknowledged`](crate::app::application::Event::Acknowledged) with this id will say that it was, or an
    /// [`Event::Failed`](crate::app::application::Event::Failed) that it was given up.
    ///
    /// # Errors
    /// If there is no room for another effect.
    pub fn emit(&mut self, channel: Channel, payload: impl Into<Vec<u8>>, policy: Policy) -> Result<EffectId, Full> {
        self.effect(Destination::Emit(channel), payload.into(), policy)
    }

    /// Has what is at `uri` fetched. An [`Event::Fetched`](crate::app::application::Event::Fetched) with this id will bring it, or
    /// an [`Event::Failed`](crate::app::application::Event::Failed) say that it was given up.
    ///
    /// # Errors
    /// As [`Outcome::emit`].
    pub fn fetch(&mut self, uri: impl Into<Vec<u8>>, policy: Policy) -> Result<EffectId, Full> {
        self.effect(Destination::Fetch, uri.into(), policy)
    }

    /// Has a line written into the log of the primary's host. The application is not told whether it was.
    ///
    /// # Errors
    /// As [`Outcome::emit`].
    pub fn log(&mut self, severity: Severity, line: impl Into<String>) -> Result<(), Full> {
        self.effect(Destination::Log(severity), line.into().into_bytes(), Policy::LOG).map(|_| ())
    }

    /// Has an [`Event::Fired`](crate::app::application::Event::Fired) with this id and `payload` come, so many nanoseconds of the
    /// log's time from now or a little later, and in a later op in any case.
    ///
    /// # Errors
    /// If there is no room for another timer.
    pub fn schedule(&mut self, delay_ns: u64, payload: impl Into<Vec<u8>>) -> Result<EffectId, Full> {
        let payload = Frame::new(payload.into());
        self.timers.take(payload.len())?;
        Ok(self.wish(Wish::Timer { delay_ns, payload }))
    }

    /// How many effects there are that have not ended, these included.
    pub const fn effects(&self) -> Room {
        self.effects
    }

    /// How many timers there are that have not fired, these included.
    pub const fn timers(&self) -> Room {
        self.timers
    }

    /// What was asked for, in order.
    pub fn wishes(&self) -> &[(EffectId, Wish)] {
        &self.wishes
    }

    /// Nothing yet, of the event of this context.
    pub(super) fn begin(&mut self, cluster: ClusterId, context: &ApplyContext, effects: Room, timers: Room) {
        self.response.clear();
        self.wishes.clear();
        self.next = EffectId { cluster, op: context.op, position: context.position(), index: 0 };
        (self.effects, self.timers) = (effects, timers);
    }

    /// What was asked for, to be taken.
    pub(super) fn take(&mut self) -> alloc::vec::Drain<'_, (EffectId, Wish)> {
        self.wishes.drain(..)
    }

    fn effect(&mut self, destination: Destination, payload: Vec<u8>, policy: Policy) -> Result<EffectId, Full> {
        let payload = Frame::new(payload);
        self.effects.take(payload.len())?;
        Ok(self.wish(Wish::Effect { destination, policy, payload }))
    }

    fn wish(&mut self, wish: Wish) -> EffectId {
        let id = self.next;
        self.next.index += 1;
        self.wishes.push((id, wish));
        id
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;
    use crate::types::{Checksum, Timestamp};

    #[test]
    fn what_is_asked_for_has_the_place_of_its_event_and_the_room_that_there_is() {
        let mut outcome = Outcome::default();
        outcome.response.push(1);
        outcome.schedule(1, vec![]).unwrap();
        let context = ApplyContext::new(Op(5), Timestamp(6), Checksum(7), 8);
        let room = Room::new(Limits { entries_max: 2, bytes_max: 1000 });
        outcome.begin(ClusterId(9), &context, room, room);
        assert!(outcome.response.is_empty() && outcome.wishes().is_empty());
        let id = |index| EffectId { cluster: ClusterId(9), op: Op(5), position: 8, index };
        assert_eq!(outcome.emit(Channel(1), *b"a", Policy::EMIT), Ok(id(0)));
        assert_eq!(outcome.schedule(3, *b"b"), Ok(id(1)));
        assert_eq!(outcome.fetch(*b"uri", Policy::FETCH), Ok(id(2)));
        assert_eq!(outcome.log(Severity::Info, "full"), Err(Full));
        assert_eq!(outcome.schedule(3, vec![0; 1000]), Err(Full));
        assert_eq!((outcome.effects().entries(), outcome.timers().entries()), (2, 1));
        let payload = |bytes: &[u8]| Frame::new(bytes.to_vec());
        let taken: Vec<_> = outcome.take().collect();
        let emitted = Destination::Emit(Channel(1));
        assert_eq!(
            taken,
            [
                (id(0), Wish::Effect { destination: emitted, policy: Policy::EMIT, payload: payload(b"a") }),
                (id(1), Wish::Timer { delay_ns: 3, payload: payload(b"b") }),
                (
                    id(2),
                    Wish::Effect { destination: Destination::Fetch, policy: Policy::FETCH, payload: payload(b"uri") }
                ),
            ]
        );
    }
}
