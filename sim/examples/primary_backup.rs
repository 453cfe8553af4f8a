//! A register on a primary and a backup, with a client: a first protocol of one's own under the simulator.
//!
//! A write is acknowledged once both have it on disk. `cargo run --example primary_backup -- hasty` plants a bug: servers
//! that take a write for durable when it has completed, and do not wait for the barrier.

use chronon::frame::{Frame, SECTOR_SIZE};
use chronon::process::{Actions, Event, Now, Process, Token};
use chronon::types::{Instant, NodeId};
use chronon_sim::oracle::{Oracle, StepView, Violation, WorldView};
use chronon_sim::{rng::Stream, testing, world::World};

const BACKUP: NodeId = NodeId(0);
const PRIMARY: NodeId = NodeId(1);
const CLIENT: NodeId = NodeId(2);
const READ: Token = Token(u64::MAX);

/// A message, and what is on disk, is a number: "write this" from the client on, "it is written" on the way back.
fn say(actions: &mut Actions, to: NodeId, value: u64) {
    actions.send(to, Frame::new(value.to_le_bytes().to_vec()));
}

fn value_of(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Either server. The primary asks its backup for every write too.
#[derive(Clone, Default)]
struct Server {
    backup: Option<NodeId>,
    hasty: bool,
    /// What this server holds durably, once it has read its disk.
    stored: Option<u64>,
    /// What the backup says that it holds.
    copied: u64,
    asked: u64,
}

impl Server {
    fn answer(&self, actions: &mut Actions) {
        let copied = self.backup.is_none() || self.copied >= self.asked;
        if copied && self.stored >= Some(self.asked) {
            say(actions, if self.backup.is_some() { CLIENT } else { PRIMARY }, self.asked);
        }
    }
}

impl Process for Server {
    fn step(&mut self, _now: Now, event: Event<'_>, actions: &mut Actions) {
        match event {
            Event::Start { .. } => actions.read(READ, 0, SECTOR_SIZE as u32),
            Event::Message { from, frame } if Some(from) == self.backup => {
                self.copied = self.copied.max(value_of(frame));
                self.answer(actions);
            }
            Event::Message { frame, .. } if self.stored.is_some() => {
                let value = value_of(frame);
                if value > self.asked {
                    self.asked = value;
                    actions.write(Token(2 * value - 1), 0, Frame::new(value.to_le_bytes().to_vec()), false);
                }
                if let Some(backup) = self.backup {
                    say(actions, backup, value);
                }
                self.answer(actions);
            }
            Event::DiskCompletion(completion) => match (completion.token, &completion.result) {
                (READ, Ok(data)) => {
                    // What can be read may have been written by a life that died before its barrier.
                    self.asked = value_of(data);
                    actions.barrier(Token(2 * self.asked));
                }
                // An odd token is a write. Its barrier's is the next.
                (Token(write), Ok(_)) if write % 2 == 1 && !self.hasty => actions.barrier(Token(write + 1)),
                (Token(done), Ok(_)) => {
                    self.stored = self.stored.max(Some(done.div_ceil(2)));
                    self.answer(actions);
                }
                (_, Err(error)) => actions.halt(format!("the disk failed: {error:?}")),
            },
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }
}

/// Writes 1, 2, 3, ... and says each again until it is acknowledged.
#[derive(Clone, Default)]
struct Client {
    acknowledged: u64,
    retry: Instant,
}

impl Process for Client {
    fn step(&mut self, now: Now, event: Event<'_>, actions: &mut Actions) {
        if let Event::Message { frame, .. } = event {
            self.acknowledged = self.acknowledged.max(value_of(frame));
        }
        say(actions, PRIMARY, self.acknowledged + 1);
        self.retry = now.monotonic.after(20_000_000);
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.retry)
    }
}

/// A server that has read its disk holds whatever the client was told is written.
#[derive(Clone)]
struct NothingIsLost;

impl Oracle for NothingIsLost {
    fn name(&self) -> &'static str {
        "nothing acknowledged is lost"
    }

    fn after_step(&mut self, world: &WorldView<'_>, node: NodeId, _: &StepView<'_>) -> Result<(), Violation> {
        let Some(stored) = world.process::<Server>(node).and_then(|server| server.stored) else { return Ok(()) };
        let acknowledged = world.process::<Client>(CLIENT).map_or(0, |client| client.acknowledged);
        let lost = || format!("{} holds {stored}, and {acknowledged} was acknowledged", world.name(node));
        if stored < acknowledged { Err(Violation::safety("a server's disk", lost())) } else { Ok(()) }
    }
}

/// Ten crashes at random moments, each with a little time to work before it.
pub(crate) fn simulate(world: &mut World, hasty: bool) {
    world.add_node("backup", Server { hasty, ..Server::default() });
    world.add_node("primary", Server { hasty, backup: Some(BACKUP), ..Server::default() });
    world.add_node("client", Client::default());
    world.add_oracle(NothingIsLost);
    let mut stream = Stream::new(world.seed(), "crashes", 0, 0);
    for _ in 0..10 {
        world.run_for(stream.range(1, 50_000_000));
        let victim = *stream.pick(&[BACKUP, PRIMARY]);
        world.kill(victim);
        world.run_for(stream.range(0, 5_000_000));
        world.restart(victim);
    }
    world.run_for(50_000_000);
}

#[expect(clippy::disallowed_methods, reason = "a program may read its arguments")]
fn main() {
    let hasty = std::env::args().any(|argument| argument == "hasty");
    testing::check_seeds("primary_backup", 0..1000, |world| simulate(world, hasty));
    println!("1000 seeds, and nothing acknowledged was lost");
}
