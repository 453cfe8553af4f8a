//! The protocol: Viewstamped Replication, in the terms of its papers (Oki and Liskov 1988; Liskov and Cowling 2012) and of
//! protocol-aware recovery (Alagappan et al. 2018).
//!
//! This file only routes an event to the module that owns it. `state.rs` holds the data. Nothing here knows an application:
//! a committed op is handed to a [`StateMachine`]. Nothing here knows how sectors fail: that is the decision table's
//! (`storage::recovery`).

mod boot;
pub mod checkpoint;
pub mod clock_sync;
mod commit;
pub mod config;
pub mod durable;
mod freeing;
pub mod journal;
pub mod log;
mod members;
mod normal;
pub mod probe;
pub mod quorum;
mod reads;
mod repair;
mod requests;
mod runs;
pub mod sessions;
mod state;
mod sync;
mod system;
#[cfg(test)]
mod testing;
pub mod timer;
mod token;
mod turned_away;
mod view_change;
mod vouching;
mod writes;

use alloc::{format, vec::Vec};

pub use commit::StateMachine;
pub use config::{Config, Timeouts};
pub use journal::Held;
pub use probe::Probe;
pub use state::{Status, Vsr};

use crate::{
    frame::Frame,
    process::{Actions, Completion, DiskError, Event, Now},
    storage::superblock::Superblock,
    types::{Checksum, Instant, NodeId, ReplicaId},
    vsr::{timer::Timer, token::Kind},
    wire::{
        self,
        header::{Command, Header},
        seal::seal,
    },
};

impl Vsr {
    /// Takes one event. What it commits is executed by [`Vsr::commit`], which the caller calls next.
    pub fn step(&mut self, now: Now, event: Event<'_>, actions: &mut Actions) {
        assert!(self.executing.is_none() && !self.answering, "what a panic left of a replica is used no more");
        self.now = now;
        self.executed.clear();
        self.restored = None;
        self.given = None;
        match event {
            Event::Start { nonce } => {
                // Zero is what answers nobody.
                self.change.nonce = nonce.max(1);
                self.start_boot(actions);
            }
            Event::Message { from, frame } => self.on_message(from, frame, actions),
            Event::DiskCompletion(completion) => self.on_completion(completion, actions),
            // The state machine's concern.
            Event::EffectOutcome(_) => {}
            Event::Deadline => {
                while let Some(timer) = self.timers.take_due(now.monotonic) {
                    self.on_timer(timer, actions);
                }
            }
        }
    }

    /// When the next timer is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    fn on_message(&mut self, from: NodeId, frame: &Frame, actions: &mut Actions) {
        if self.status == Status::Booting {
            return;
        }
        let Ok((header, body)) = wire::seal::open_frame(frame, self.config.cluster) else {
            return actions.probe(Probe::BadFrame.into());
        };
        if !is_countable(&header) {
            return actions.probe(Probe::BadFrame.into());
        }
        if header.command == Command::Request {
            return self.on_request(from, &header, frame, actions);
        }
        if header.command == Command::Query {
            return self.on_query(from, &header, frame, actions);
        }
        let Some(peer) = self.peers().find(|peer| peer.node() == from) else {
            return actions.probe(Probe::BadFrame.into());
        };
        // A prepare is handed on as it was made: its header names who made it, not who sends it.
        if header.sender != peer.0 && header.command != Command::Prepare {
            return actions.probe(Probe::BadFrame.into());
        }
        let mut root = Checksum(0);
        if matches!(header.command, Command::Ping | Command::Pong) {
            let Some(greeting) = self.hear_greeting(peer, &header, body, actions) else { return };
            root = greeting.vouched_root;
        } else if !self.is_heard(peer, &header, actions) {
            return;
        }
        self.heard[peer.0 as usize] = self.now.monotonic;
        match header.command {
            Command::Prepare => self.on_prepare(&header, frame, actions),
            Command::PrepareOk => self.on_prepare_ok(peer, &header, actions),
            Command::Commit => self.on_heartbeat(&header, actions),
            Command::StartViewChange => self.on_start_view_change(peer, &header, actions),
            Command::DoViewChange => self.on_do_view_change(peer, &header, body, actions),
            Command::StartView => self.on_start_view(peer, &header, body, actions),
            Command::RequestStartView => self.on_request_start_view(peer, &header, actions),
            Command::RequestHeaders => self.on_request_headers(peer, &header, actions),
            Command::Headers => self.on_headers(body, actions),
            Command::RequestPrepare => self.on_request_prepare(peer, &header, actions),
            Command::Ping => self.on_ping(peer, &header, root, actions),
            Command::Pong => self.on_pong(peer, &header, root, actions),
            Command::ReadRound => self.on_read_round(peer, &header, actions),
            Command::ReadRoundOk => self.on_read_round_ok(peer, &header, actions),
            Command::RequestChunk => self.on_request_chunk(peer, &header, actions),
            Command::Chunk => self.on_chunk(&header, frame, body, actions),
            Command::Entry => self.on_entry(frame),
            Command::Request
            | Command::Reply
            | Command::Reject
            | Command::Query
            | Command::QueryReply
            | Command::Recover => actions.probe(Probe::BadFrame.into()),
        }
    }

    fn on_completion(&mut self, completion: &Completion, actions: &mut Actions) {
        let (kind, value) = Kind::parse(completion.token);
        let result = match (&completion.result, kind) {
            (
                Err(error),
                Kind::PrepareRead
                | Kind::BootSuperblock
                | Kind::BootRing
                | Kind::BootPrepare
                | Kind::BootGrid
                | Kind::ChunkRead,
            ) => Err(*error),
            // A failed write or barrier leaves the disk indeterminate for ever: the only truth left is what a restart reads.
            (Err(error), _) => return actions.halt(format!("the disk failed ({error:?}); recover by restarting")),
            (Ok(frame), _) => Ok(frame),
        };
        match kind {
            Kind::SuperblockWrite => self.durable_mut().on_write(actions),
            Kind::SuperblockBarrier => {
                if self.durable_mut().on_barrier(actions) {
                    self.on_superblock_durable(actions);
                }
            }
            Kind::PrepareWrite => self.journal.on_prepare_written(value as u32, actions),
            Kind::RingWrite => {
                let mut durable = core::mem::take(&mut self.written);
                self.journal.on_ring_written(value as u32, &mut durable, actions);
                if self.status == Status::Booting {
                    // All of it was vouched for before: recovery alone goes on, which may be its end.
                    durable.clear();
                    self.boot_step(actions);
                }
                for header in durable.drain(..) {
                    self.on_prepare_durable(&header, actions);
                }
                self.written = durable;
                self.promise_installed(actions);
            }
            Kind::PrepareRead => self.on_prepare_read(crate::types::Op(value), result, actions),
            Kind::BootSuperblock => self.on_boot_superblock(value as u8, result, actions),
            Kind::BootRing => self.on_boot_ring(value, result, actions),
            Kind::BootPrepare => self.on_boot_prepare(value as u32, result, actions),
            Kind::BootWrite => self.on_boot_write(actions),
            Kind::BootBarrier => self.decide_slots(actions),
            Kind::BootGrid => self.on_boot_grid(value, result, actions),
            Kind::ChunkWrite => self.on_chunk_written(value as u32),
            Kind::GridBarrier => self.on_grid_barrier(value),
            Kind::ChunkRead => self.on_chunk_read(value as u32, result, actions),
        }
    }

    fn on_superblock_durable(&mut self, actions: &mut Actions) {
        self.on_checkpoint_durable(actions);
        match self.status {
            Status::Booting => self.boot_step(actions),
            Status::ViewChange => self.on_view_durable(actions),
            Status::Normal => {}
        }
    }

    fn on_timer(&mut self, timer: Timer, actions: &mut Actions) {
        match timer {
            Timer::Heartbeat => self.on_heartbeat_timer(actions),
            Timer::Resend => self.on_resend_timer(actions),
            Timer::Election => self.on_election_timer(actions),
            Timer::ViewMessage => self.on_view_message_timer(actions),
            Timer::Ping => self.on_ping_timer(actions),
            Timer::Repair => self.repair(actions),
            Timer::ReadRound => self.on_read_round_timer(actions),
            // What there is to do is done at the end of every step.
            Timer::Checkpoint => {}
            Timer::Chunk => self.on_chunk_timer(actions),
            Timer::Tick => self.on_tick_timer(actions),
        }
    }

    /// The superblock writer; there is one as soon as recovery has opened the superblock.
    fn durable_mut(&mut self) -> &mut durable::Durable {
        self.durable.as_mut().expect("the superblock is open")
    }

    /// What is durable: what may be spoken of.
    fn promised(&self) -> &Superblock {
        self.durable.as_ref().expect("the superblock is open").superblock()
    }

    /// A header of ours, in our view.
    fn header(&self, command: Command) -> Header {
        let mut header = Header::new(self.config.cluster, command, self.config.replica.0, self.view);
        header.client.0 = self.roster.own;
        header
    }

    /// The other replicas.
    fn peers(&self) -> impl Iterator<Item = ReplicaId> + use<> {
        let own = self.config.replica;
        (0..self.config.replica_count).map(ReplicaId).filter(move |peer| *peer != own)
    }

    fn send(&self, to: ReplicaId, header: Header, body: &[u8], actions: &mut Actions) {
        assert!(to != self.config.replica, "a replica sends nothing to itself");
        let (_, frame) = seal(header, body, actions);
        actions.send(to.node(), frame);
    }

    fn broadcast(&self, header: Header, body: &[u8], actions: &mut Actions) {
        let (_, frame) = seal(header, body, actions);
        for peer in self.peers() {
            actions.send(peer.node(), frame.clone());
        }
    }

    fn after(&self, duration_ns: u64) -> Instant {
        self.now.monotonic.after(duration_ns)
    }

    /// Once to twice `base_ns`, from now.
    fn after_jittered(&mut self, base_ns: u64) -> Instant {
        let jitter_ns = self.jitter.below(base_ns);
        self.after(base_ns + jitter_ns)
    }

    fn on_ping_timer(&mut self, actions: &mut Actions) {
        self.timers.set(Timer::Ping, self.after(self.config.timeouts.ping_ns));
        if self.status == Status::Booting || self.config.replica_count == 1 {
            return;
        }
        self.greet(actions);
        self.ask_for_place(actions);
    }

    /// Pings all others.
    fn greet(&mut self, actions: &mut Actions) {
        let (mut header, body) = self.greeting(Command::Ping, None);
        header.timestamp = crate::types::Timestamp(self.now.monotonic.0);
        self.broadcast(header, &body, actions);
    }

    /// A ping or pong names the view, the members and the checkpoint that are durable here: nothing else may be spoken of. And the
    /// checkpoint that is vouched for, which is the others' word.
    fn greeting(&self, command: Command, peer: Option<ReplicaId>) -> (Header, Vec<u8>) {
        let mut header = self.header(command);
        header.view = self.promised().view;
        header.request.0 = self.checkpoints.vouched().op.0;
        let checkpoint = self.promised().checkpoint;
        header.commit.0 = checkpoint.header.op.0;
        header.context = checkpoint.root.0;
        let mut body = Vec::new();
        self.own_greeting(peer).encode(&mut body);
        (header, body)
    }

    fn on_ping(&mut self, peer: ReplicaId, ping: &Header, root: Checksum, actions: &mut Actions) {
        let (mut pong, own) = self.greeting(Command::Pong, Some(peer));
        pong.timestamp = ping.timestamp;
        pong.op.0 = self.now.realtime.0;
        self.send(peer, pong, &own, actions);
        self.on_greeting(peer, ping, root, actions);
    }

    fn on_pong(&mut self, peer: ReplicaId, pong: &Header, root: Checksum, actions: &mut Actions) {
        let theirs = crate::types::Timestamp(pong.op.0);
        self.clock.on_pong(peer, Instant(pong.timestamp.0), theirs, self.now);
        self.on_greeting(peer, pong, root, actions);
    }

    fn on_greeting(&mut self, peer: ReplicaId, greeting: &Header, root: Checksum, actions: &mut Actions) {
        self.hear_checkpoint(peer, greeting, root, actions);
        if greeting.view > self.view {
            self.on_later_view(greeting.view, actions);
        }
    }

    /// A failed read may succeed when it is tried again: how often it is.
    const READ_ATTEMPTS_MAX: u32 = 4;
}

/// Whether the numbers in a header are such that counting can have led to: nobody gets to half of the range one by one, and
/// below that nothing that is done with them overflows.
fn is_countable(header: &Header) -> bool {
    const END: u64 = 1 << 63;
    let Header { view, op, commit, timestamp, request, .. } = *header;
    view.0 < END && op.0 < END && commit.0 < END && timestamp.0 < END && request.0 < END
}

/// What a disk read ended with.
type ReadResult<'a> = Result<&'a Frame, DiskError>;
