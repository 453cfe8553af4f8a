//! Workloads that measure the engine itself: the world, the queue, the network, the trace and its digest, with a process so
//! small that little else is left.
//!
//! Each node pings a random other with a message of 128 bytes, answers what it gets, keeps a fixed number of pings in flight
//! and replaces one that stays unanswered for 50 ms, by its deadline. Latency is 1 to 10 ms, uniform, and one frame in a
//! hundred is lost. Payload bytes are in the trace and the digest is on. Deliberately absent: a clock. Whoever wants a rate
//! divides by the CPU time that it measured.

use chronon::{
    process::{Actions, Event, Now, Process},
    types::{Instant, NodeId},
};

use crate::{
    network::LinkSettings,
    rng::{Family, Stream},
    trace::TraceBodies,
    world::{World, WorldSettings},
};

/// The length of every ping and pong.
const MESSAGE_LENGTH: usize = 128;

/// How long a ping may stay unanswered.
const PATIENCE_NS: u64 = 50_000_000;

/// What one run of an engine workload did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EngineRun {
    /// Messages that reached a process.
    pub delivered: u64,
    /// Events that processes took: messages, starts and deadlines.
    pub events: u64,
    /// Messages that were lost on the way.
    pub lost: u64,
    /// Pings that were answered.
    pub answered: u64,
    /// Pings that were given up.
    pub replaced: u64,
    /// The virtual time that passed.
    pub virtual_ns: u64,
    /// The trace's digest.
    pub digest: [u8; 32],
}

/// Five processes with 16 pings in flight each, until 1,000,000 messages are delivered.
pub fn engine_messages(seed: u64) -> EngineRun {
    run(&mut pinging_world(seed, 5, 16), 1_000_000)
}

/// Three processes with one ping in flight each, until 100 messages are delivered: mostly the building of a world.
pub fn engine_startup(seed: u64) -> EngineRun {
    run(&mut pinging_world(seed, 3, 1), 100)
}

/// A world of `nodes` processes that ping each other, with `in_flight` pings each.
fn pinging_world(seed: u64, nodes: u32, in_flight: u32) -> World {
    let link = LinkSettings {
        latency_min_ns: 1_000_000,
        latency_max_ns: 10_000_000,
        loss_ppm: 10_000,
        ..LinkSettings::default()
    };
    let mut world =
        World::with_settings(seed, WorldSettings { link, bodies: TraceBodies::Bytes, ..WorldSettings::default() });
    let streams = Family::new(seed, "bench pinger");
    for node in 0..nodes {
        world.add_node(
            ["p0", "p1", "p2", "p3", "p4"][node as usize],
            Pinger::new(streams.stream(node, 0), node, nodes, in_flight),
        );
    }
    world
}

fn run(world: &mut World, delivered: u64) -> EngineRun {
    world.run_until(u64::MAX, |world| world.network_counts().delivered >= delivered);
    world.finish();
    let pingers = || world.nodes().filter_map(|node| world.process::<Pinger>(node));
    let counts = world.network_counts();
    EngineRun {
        delivered: counts.delivered,
        events: world.steps(),
        lost: counts.lost,
        answered: pingers().map(|pinger| pinger.answered).sum(),
        replaced: pingers().map(|pinger| pinger.replaced).sum(),
        virtual_ns: world.now_ns(),
        digest: world.digest(),
    }
}

/// A process that pings.
///
/// Each ping in flight has a place, and the places hang in a ring by the time at which they are given up. Patience is the
/// same for all, so the ping sent last goes to the end and nothing is ever searched for.
#[derive(Clone)]
struct Pinger {
    node: u32,
    nodes: u32,
    stream: Stream,
    /// One place for each ping in flight and, last, the ring's head, which is no ping's.
    places: Vec<Place>,
    answered: u64,
    replaced: u64,
}

/// A place for one ping in flight.
#[derive(Clone, Copy)]
struct Place {
    /// The ping's number: one in the high half that goes up from ping to ping, and the place in the low.
    number: u64,
    /// When the ping is given up.
    until: Instant,
    /// The places of the pings that are given up before it and after it.
    before: u32,
    after: u32,
}

/// What a message is filled with, but for its number.
const PING: [u8; MESSAGE_LENGTH] = [1; MESSAGE_LENGTH];
const PONG: [u8; MESSAGE_LENGTH] = [2; MESSAGE_LENGTH];

impl Pinger {
    fn new(stream: Stream, node: u32, nodes: u32, in_flight: u32) -> Self {
        // At first every place is due, in order; the head closes the ring.
        let places = (0..=in_flight).map(|place| Place {
            number: u64::from(place),
            until: Instant(0),
            before: if place == 0 { in_flight } else { place - 1 },
            after: if place == in_flight { 0 } else { place + 1 },
        });
        Self { node, nodes, stream, places: places.collect(), answered: 0, replaced: 0 }
    }

    fn head(&self) -> &Place {
        &self.places[self.places.len() - 1]
    }

    /// Sends a ping to a random other, in place of the one that is there.
    fn ping(&mut self, place: u32, now: Now, actions: &mut Actions) {
        let other = self.stream.below(u64::from(self.nodes) - 1) as u32;
        let to = NodeId(other + u32::from(other >= self.node));
        let head = self.places.len() as u32 - 1;
        let Place { number, before, after, .. } = self.places[place as usize];
        self.places[before as usize].after = after;
        self.places[after as usize].before = before;
        let last = self.places[head as usize].before;
        self.places[last as usize].after = place;
        self.places[head as usize].before = place;
        let number = number + (1 << 32);
        let until = now.monotonic.after(PATIENCE_NS);
        self.places[place as usize] = Place { number, until, before: last, after: head };
        send(actions, to, &PING, number);
    }
}

impl Process for Pinger {
    fn step(&mut self, now: Now, event: Event<'_>, actions: &mut Actions) {
        match event {
            Event::Message { from, frame } => {
                let Some((kind, number)) = read(frame) else { return };
                if kind == PING[0] {
                    return send(actions, from, &PONG, number);
                }
                let place = number as u32;
                if self.places.get(place as usize).is_some_and(|ping| ping.number == number) {
                    self.answered += 1;
                    self.ping(place, now, actions);
                }
            }
            Event::Start { .. } => {
                for place in 0..self.places.len() as u32 - 1 {
                    self.ping(place, now, actions);
                }
            }
            Event::Deadline => {
                while self.deadline().is_some_and(|deadline| deadline <= now.monotonic) {
                    self.replaced += 1;
                    self.ping(self.head().after, now, actions);
                }
            }
            Event::DiskCompletion(_) | Event::EffectOutcome(_) => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.places[self.head().after as usize].until)
    }
}

fn send(actions: &mut Actions, to: NodeId, kind: &[u8; MESSAGE_LENGTH], number: u64) {
    let mut builder = actions.frame();
    let bytes = builder.bytes();
    bytes.extend_from_slice(kind);
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    actions.send(to, builder.finish());
}

fn read(frame: &[u8]) -> Option<(u8, u64)> {
    let message: &[u8; MESSAGE_LENGTH] = frame.try_into().ok()?;
    let (number, _) = message[8..].split_first_chunk()?;
    Some((message[0], u64::from_le_bytes(*number)))
}

#[cfg(test)]
mod tests {
    use chronon::types::Timestamp;

    use super::*;

    #[test]
    fn the_message_workload_is_what_it_says() {
        let mut world = pinging_world(1, 5, 16);
        let run = run(&mut world, 50_000);
        assert_eq!(run.delivered, 50_000);
        // One frame in a hundred is lost, and a lost ping or pong is replaced.
        let per_mille = run.lost * 1000 / (run.delivered + run.lost);
        assert!((7..13).contains(&per_mille), "{run:?}");
        assert!(run.replaced.abs_diff(run.lost) < run.lost / 5, "{run:?}");
        // Every delivered message is one half of an exchange.
        assert!(run.answered * 2 <= run.delivered && run.answered * 2 > run.delivered * 9 / 10, "{run:?}");
        // Eighty exchanges at once, each of two ways of 5.5 ms on average.
        let exchanges_ns = run.virtual_ns * 80 / run.answered;
        assert!((10_500_000..12_500_000).contains(&exchanges_ns), "{run:?}");
    }

    #[test]
    fn the_ping_sent_first_is_given_up_first_whatever_was_answered() {
        let mut pinger = Pinger::new(Stream::new(0, "test", 0, 0), 0, 2, 3);
        let (mut actions, mut now) = (Actions::new(), Now { monotonic: Instant(0), realtime: Timestamp(0) });
        for (at, place) in [(1, 0), (2, 1), (3, 2), (4, 1), (5, 1), (6, 0)] {
            now.monotonic = Instant(at);
            pinger.ping(place, now, &mut actions);
        }
        for (place, at) in [(2, 3), (1, 5), (0, 6), (2, 7)] {
            assert_eq!(pinger.head().after, place);
            assert_eq!(pinger.deadline(), Some(Instant(at + PATIENCE_NS)));
            now.monotonic = Instant(7);
            pinger.ping(place, now, &mut actions);
        }
    }

    #[test]
    fn the_start_up_workload_is_what_it_says() {
        for seed in 0..20 {
            let run = engine_startup(seed);
            assert_eq!(run.delivered, 100);
            assert!(run.answered >= 40, "{run:?}");
        }
    }

    #[test]
    fn the_digest_follows_from_the_seed_and_covers_the_payload() {
        assert_eq!(engine_startup(7), engine_startup(7));
        assert_ne!(engine_startup(7).digest, engine_startup(8).digest);
        let mut checksums = pinging_world(7, 3, 1);
        checksums.run_for(10_000_000);
        assert_ne!(checksums.digest(), pinging_world(7, 3, 1).digest());
    }
}
