//! Processes and worlds that the tests share.

use chronon::{
    effect::{EffectOrder, EffectReport},
    frame::Frame,
    process::{Actions, Completion, DiskError, Event, Now, Process, Token},
    types::{Instant, NodeId},
};
use chronon_sim::{
    network::LinkSettings,
    rng::Stream,
    trace::{TraceBodies, TraceMode},
    world::{World, WorldSettings},
};

/// A millisecond.
pub(crate) const MS: u64 = 1_000_000;

/// What happened to a [`Recorder`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Seen {
    /// It started.
    Start,
    /// It got these bytes.
    Message(NodeId, Vec<u8>),
    /// A disk operation ended.
    Completion(Token, Result<Vec<u8>, DiskError>),
    /// An order came to something.
    Effect(EffectReport),
    /// Its deadline passed.
    Deadline,
}

/// A process that keeps what happens to it, and does at its start what it was made to.
#[derive(Clone, Default)]
pub(crate) struct Recorder {
    /// Everything so far, with the readings of the clocks.
    pub(crate) seen: Vec<(Now, Seen)>,
    /// Sent at the start: to whom, and so many frames of one byte each, which count up.
    pub(crate) sends: Option<(NodeId, u8)>,
    /// Ordered at the start.
    pub(crate) orders: Vec<EffectOrder>,
    /// Deadlines yet to come, on its own clock, the first first.
    pub(crate) deadlines: Vec<Instant>,
}

impl Recorder {
    /// One that sends `count` frames to `to` at its start.
    pub(crate) fn sending(to: NodeId, count: u8) -> Self {
        Self { sends: Some((to, count)), ..Self::default() }
    }

    /// The bytes of all messages so far.
    pub(crate) fn messages(&self) -> Vec<Vec<u8>> {
        let messages = self.seen.iter().filter_map(|(_, seen)| match seen {
            Seen::Message(_, bytes) => Some(bytes.clone()),
            _ => None,
        });
        messages.collect()
    }
}

impl Process for Recorder {
    fn step(&mut self, now: Now, event: Event<'_>, actions: &mut Actions) {
        let seen = match event {
            Event::Start { .. } => Seen::Start,
            Event::Message { from, frame } => Seen::Message(from, frame.to_vec()),
            Event::DiskCompletion(Completion { token, result }) => {
                Seen::Completion(*token, result.as_ref().map(|data| data.to_vec()).map_err(|error| *error))
            }
            Event::EffectOutcome(report) => Seen::Effect(report.clone()),
            Event::Deadline => Seen::Deadline,
        };
        if seen == Seen::Start {
            if let Some((to, count)) = self.sends {
                (0..count).for_each(|number| actions.send(to, Frame::new(vec![number])));
            }
            self.orders.iter().for_each(|order| actions.run_effect(order.clone()));
        }
        self.seen.push((now, seen));
        while self.deadlines.first().is_some_and(|deadline| *deadline <= now.monotonic) {
            self.deadlines.remove(0);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().copied()
    }
}

/// A process that does a little of everything, at random but from its own seed: sends, reads, writes, barriers, probes.
#[derive(Clone)]
pub(crate) struct Busy {
    nodes: u32,
    stream: Stream,
    next: Instant,
    /// How much it has heard.
    pub(crate) heard: u64,
}

impl Busy {
    /// The `node`-th of `nodes`.
    pub(crate) fn new(seed: u64, node: u32, nodes: u32) -> Self {
        Self { nodes, stream: Stream::new(seed, "busy", node, 0), next: Instant(0), heard: 0 }
    }
}

impl Process for Busy {
    fn step(&mut self, now: Now, event: Event<'_>, actions: &mut Actions) {
        match event {
            Event::Message { frame, .. } => {
                self.heard += frame.len() as u64;
                if frame.is_empty() {
                    actions.probe(chronon::process::ProbeId(1));
                }
                return;
            }
            Event::DiskCompletion(Completion { token: Token(token), result: Ok(_) }) if *token % 4 == 1 => {
                return actions.barrier(Token(token + 1));
            }
            Event::DiskCompletion(_) | Event::EffectOutcome(_) => return,
            Event::Start { .. } | Event::Deadline => self.next = now.monotonic.after(self.stream.range(1, 3 * MS)),
        }
        let sector = self.stream.below(64) * 4096;
        match self.stream.below(8) {
            0 => actions.read(Token(self.stream.next_u64() & !3), sector, 4096),
            1 => {
                let data = Frame::new(vec![self.stream.next_u64() as u8; 8192]);
                actions.write(Token(self.stream.next_u64() & !3 | 1), sector, data, self.stream.chance(300_000));
            }
            2 => actions.probe(chronon::process::ProbeId(0)),
            _ => {
                let length = self.stream.below(300);
                let frame = Frame::new((0..length).map(|byte| byte as u8).collect());
                for _ in 0..self.stream.range(1, 3) {
                    actions.send(NodeId(self.stream.below(u64::from(self.nodes)) as u32), frame.clone());
                }
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.next)
    }

    fn probes(&self) -> &'static [&'static str] {
        &["idle", "heard nothing"]
    }
}

/// Four busy nodes on a network with every fault.
pub(crate) fn busy_world(seed: u64, trace: TraceMode, bodies: TraceBodies) -> World {
    let link = LinkSettings {
        loss_ppm: 20_000,
        duplication_ppm: 20_000,
        corruption_ppm: 20_000,
        reorder_ppm: 20_000,
        ..LinkSettings::default()
    };
    let mut world = World::with_settings(seed, WorldSettings { link, trace, bodies, ..WorldSettings::default() });
    for node in 0..4 {
        world.add_node(format!("busy{node}"), Busy::new(seed, node, 4));
    }
    world
}

/// Half a second in which much goes wrong.
pub(crate) fn trouble(world: &mut World) {
    let nodes: Vec<NodeId> = world.nodes().collect();
    let mut stream = Stream::new(world.seed(), "trouble", 0, 0);
    world.remember_frames(4);
    for _ in 0..25 {
        let (a, b) = (*stream.pick(&nodes), *stream.pick(&nodes));
        match stream.below(11) {
            0 => world.cut(a, b),
            1 => world.cut_one_way(a, b),
            2 => world.heal_all(),
            3 => world.clog(a, b),
            4 => drop(world.kill(a)),
            5 => drop(world.pause(a)),
            6 => world.skew(a, -5_000, stream.below(200_000) as i32 - 100_000),
            7 => world.kill_after_actions(a, 1),
            8 => world.echo(a, b),
            _ => {
                for node in &nodes {
                    world.resume(*node);
                    world.restart(*node);
                }
            }
        }
        world.run_for(20 * MS);
    }
}
