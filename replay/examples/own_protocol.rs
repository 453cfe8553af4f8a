//! A protocol of one's own, with its own `replay`: a store that keeps the highest number that it was told, a client that counts
//! up, and an oracle that holds the store to its word. The store has a bug, in the scenario `hasty` only.
//!
//! ```sh
//! cargo run --example own_protocol -- run --scenario hasty
//! ```

use std::process::ExitCode;

use chronon::{
    process::{Actions, Event, Now, Process, Token},
    types::{Instant, NodeId},
};
use chronon_replay::{Outcome, Program, TraceMode, World, WorldSettings, run_world, version_of};
use chronon_sim::{
    oracle::{Oracle, StepView, Violation, WorldView},
    rng::Stream,
};

// The program: two scenarios of one function.

fn main() -> ExitCode {
    Program::new("own_protocol", version_of!("own_protocol.rs"))
        .scenario("sound", "the store answers when what it was told is durable", |seed, trace| run(seed, trace, false))
        .scenario("hasty", "the store answers when it has asked its disk", |seed, trace| run(seed, trace, true))
        .main()
}

fn run(seed: u64, trace: TraceMode, is_hasty: bool) -> Outcome {
    let mut world = World::with_settings(seed, WorldSettings { trace, ..WorldSettings::default() });
    let store = world.add_node("store", Store { is_hasty, number: None, asked: None });
    let client = world.add_node("client", Client { store, number: 1, acknowledged: 0, retry_at: Instant(0) });
    world.add_oracle(Kept { store, client });
    let mut random = Stream::new(seed, "own_protocol.kills", 0, 0);
    let outcome = run_world(&mut world, |world| {
        for _ in 0..random.range(1, 6) {
            world.run_for(random.range(1_000_000, 50_000_000));
            world.note("the power fails");
            world.cut_power(store);
            world.run_for(random.range(0, 5_000_000));
            world.restart(store);
        }
        world.run_for(50_000_000);
    });
    let acknowledged = world.process::<Client>(client).map_or(0, |client| client.acknowledged);
    Outcome { requests_acknowledged: acknowledged, commits: acknowledged, ..outcome }
}

// The protocol: a message is a number, and so is the first sector of the disk.

const READ: Token = Token(1);
const WRITE: Token = Token(2);
const SECTOR: u32 = 4096;
const PROBES: &[&str] = &["told_before_it_had_read", "told_again"];

#[derive(Clone)]
struct Store {
    is_hasty: bool,
    /// None until it is read from the disk.
    number: Option<u64>,
    /// Whom to answer when the write is done.
    asked: Option<(NodeId, u64)>,
}

impl Process for Store {
    fn step(&mut self, _now: Now, event: Event<'_>, actions: &mut Actions) {
        match event {
            Event::Start { .. } => actions.read(READ, 0, SECTOR),
            Event::DiskCompletion(completion) if completion.token == READ => {
                self.number = Some(completion.result.as_ref().map_or(0, |data| number(data)));
            }
            Event::DiskCompletion(_) => {
                if let Some((from, number)) = self.asked.take() {
                    send(actions, from, number);
                }
            }
            Event::Message { from, frame } => match self.number {
                None => actions.probe(chronon::process::ProbeId(0)),
                Some(known) if known >= number(frame) => {
                    actions.probe(chronon::process::ProbeId(1));
                    if self.asked.is_none() {
                        send(actions, from, number(frame));
                    }
                }
                Some(_) => self.keep(from, number(frame), actions),
            },
            // It asks for no effects.
            Event::Deadline | Event::EffectOutcome(_) => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn probes(&self) -> &'static [&'static str] {
        PROBES
    }
}

impl Store {
    fn keep(&mut self, from: NodeId, number: u64, actions: &mut Actions) {
        self.number = Some(number);
        let mut sector = actions.frame();
        sector.bytes().resize(SECTOR as usize, 0);
        sector.bytes()[..8].copy_from_slice(&number.to_le_bytes());
        actions.write(WRITE, 0, sector.finish(), true);
        if self.is_hasty {
            // The bug: a power cut now, and nothing of what was promised is on the disk.
            send(actions, from, number);
        } else {
            self.asked = Some((from, number));
        }
    }
}

#[derive(Clone)]
struct Client {
    store: NodeId,
    number: u64,
    acknowledged: u64,
    retry_at: Instant,
}

impl Process for Client {
    fn step(&mut self, now: Now, event: Event<'_>, actions: &mut Actions) {
        if let Event::Message { frame, .. } = event {
            if number(frame) != self.number {
                return;
            }
            self.acknowledged = self.number;
            self.number += 1;
        }
        self.retry_at = now.monotonic.after(10_000_000);
        send(actions, self.store, self.number);
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.retry_at)
    }
}

fn send(actions: &mut Actions, to: NodeId, number: u64) {
    let mut message = actions.frame();
    message.bytes().extend_from_slice(&number.to_le_bytes());
    let frame = message.finish();
    actions.send(to, frame);
}

fn number(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}

// The oracle: what the store has acknowledged, it has, whenever it is up and has read its disk.

#[derive(Clone)]
struct Kept {
    store: NodeId,
    client: NodeId,
}

impl Oracle for Kept {
    fn name(&self) -> &'static str {
        "kept"
    }

    fn after_step(&mut self, world: &WorldView<'_>, _: NodeId, _: &StepView<'_>) -> Result<(), Violation> {
        let kept = world.process::<Store>(self.store).and_then(|store| store.number);
        let acknowledged = world.process::<Client>(self.client).map_or(0, |client| client.acknowledged);
        match kept {
            Some(kept) if kept < acknowledged => {
                let sentence = format!("{acknowledged} was acknowledged and the store holds {kept}");
                Err(Violation::safety("an acknowledged number is lost", sentence))
            }
            _ => Ok(()),
        }
    }
}
