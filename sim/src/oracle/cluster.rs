//! All promises of a cluster of replicas, watched as one.
//!
//! Each promise has its file and its own memory; they share the facts: the model (the canonical log and what follows from
//! it) and the prepares (what was proposed and acknowledged). This file only hands each step to those whom it concerns, in
//! the order in which things happened: what the replica executed, then what it asks for. A violation names the promise.
//!
//! Invariant: a step in which nothing was executed, sent or made durable costs a few comparisons. Deliberately absent:
//! liveness, which is for whoever heals the cluster to judge (see `convergence`).

use std::collections::BTreeSet;

use chronon::{
    client::{Client, ClientProcess},
    frame::Frame,
    process::Action,
    replica::Replica,
    storage::layout::Layout,
    types::{Checksum, ClientId, NodeId, Op, ReplicaId, RequestNumber, View},
    vsr::{Config, Status, Vsr},
    wire::{
        header::{Command, Header},
        message,
    },
};

use super::{
    EventView, Oracle, StepView, Violation, WorldView,
    agreement::{self, Agreement},
    amnesia::{self, Amnesia},
    bounds,
    checkpoints::Checkpoints,
    durability::{Durability, Holding},
    effects::Effects,
    halts::Halts,
    model::Model,
    monotonic::Monotonic,
    prepares::{Prepare, Prepares},
    promise::broken,
    quorum::Quorum,
    replies::Replies,
    sequence::Sequence,
    sessions,
    speech::Speech,
    state,
    timestamps::{self, Timestamps},
};
use crate::{
    disk::SimDisk,
    operator::Operator,
    workload::{self, KvConfig, KvWorkload, PutWorkload, Workload},
};

/// The promises of a cluster of replicas of a workload's application at nodes 0 and up, and of the clients at the nodes above.
///
/// Clients are those that run a [`workload::Caller`] of it, a [`PutWorkload`] or an [`Operator`]; other processes are let be. It must see a cluster from
/// its first step on.
#[derive(Clone)]
pub struct ClusterOracle<W: Workload = KvWorkload> {
    replica_count: u8,
    layout: Layout,
    model: Model,
    sequence: Sequence<W>,
    prepares: Prepares,
    agreement: Agreement,
    replies: Replies,
    durability: Durability,
    checkpoints: Checkpoints,
    quorum: Quorum,
    amnesia: Amnesia,
    halts: Halts,
    monotonic: Monotonic,
    timestamps: Timestamps,
    /// Of an application that asks for any.
    effects: Option<Effects<W>>,
    callers: Vec<Caller>,
    views_started: BTreeSet<View>,
}

/// A client as it was after its last step.
#[derive(Clone, Copy, Default)]
struct Caller {
    id: ClientId,
    outstanding: Option<RequestNumber>,
    /// How many of its calls have ended.
    ended: u64,
}

/// A replica that sends something, and what it rests on.
#[derive(Clone, Copy)]
struct Speaker<'a> {
    replica: ReplicaId,
    vsr: &'a Vsr,
    disk: &'a SimDisk,
}

impl ClusterOracle {
    /// The promises of the key-value cluster that `config`, any replica's, is of.
    pub fn new(config: &Config) -> Self {
        Self::of(KvWorkload, KvConfig::default(), config)
    }
}

impl<W: Workload> ClusterOracle<W> {
    /// The promises of the cluster that `config`, any replica's, is of. Its clients follow `plan`.
    pub fn of(workload: W, plan: W::Plan, config: &Config) -> Self {
        let count = config.replica_count;
        let effects = workload.has_effects().then(|| Effects::new(workload.clone(), config));
        let sequence = Sequence::new(workload, plan, config.cluster);
        Self {
            replica_count: count,
            layout: config.layout,
            model: Model::starting_from(config.cluster, config.clients_max, sequence.digest())
                .with_requests(config.payload_size_max()),
            sequence,
            prepares: Prepares::default(),
            agreement: Agreement::new(count),
            replies: Replies::default(),
            durability: Durability::new(count, config.layout),
            checkpoints: Checkpoints::new(count, config.layout),
            quorum: Quorum::new(count, Header::root(config.cluster).checksum),
            amnesia: Amnesia::new(count),
            halts: Halts::new(config),
            monotonic: Monotonic::new(count),
            timestamps: Timestamps::new(count),
            effects,
            callers: Vec::new(),
            views_started: BTreeSet::new(),
        }
    }

    /// The same for links on which a message may take so long: what a replica knows of the others' clocks is that much less certain.
    pub fn with_latency(self, latency_max_ns: u64) -> Self {
        Self { timestamps: self.timestamps.with_latency(latency_max_ns), ..self }
    }

    /// How many ops were committed and executed.
    pub fn commits(&self) -> u64 {
        self.model.head().0
    }

    /// How many requests clients have the answers of. Registers are not counted.
    pub fn requests_acknowledged(&self) -> u64 {
        self.replies.acknowledged()
    }

    /// How many views were started by a primary.
    pub fn views_started(&self) -> u64 {
        self.views_started.len() as u64
    }

    /// Whether these replicas have everything that was ever committed, and with it every request that was acknowledged. To
    /// be asked when they must have converged.
    ///
    /// # Errors
    /// What the first replica that has not lacks.
    pub fn converged(&self, world: &WorldView<'_>, core: &[NodeId]) -> Result<(), Violation> {
        for node in core {
            let (replica, head) = (ReplicaId(node.0 as u8), self.model.head());
            let Some(process) = world.process::<Replica<W::Application>>(*node) else {
                let sentence = format!("{replica} is down, and {head} is committed");
                return Err(broken("replies", "lost after the cluster was healed", sentence));
            };
            let applied = process.vsr().applied();
            if applied != head {
                let sentence = format!("{replica} has executed {applied}, and {head} is committed");
                return Err(broken("replies", "lost after the cluster was healed", sentence));
            }
            self.agrees_at_the_head(replica, process)?;
        }
        Ok(())
    }

    fn agrees_at_the_head(&self, replica: ReplicaId, process: &Replica<W::Application>) -> Result<(), Violation> {
        let state = self.sequence.digest_of(process.executor());
        state::agrees_at_the_head(&self.model, replica, state, process.vsr().sessions())?;
        self.sequence.holds(replica, process.vsr().applied(), process.state())
    }

    fn replica_step(&mut self, world: &WorldView<'_>, node: NodeId, step: &StepView<'_>) -> Result<(), Violation> {
        let Some(process) = world.process::<Replica<W::Application>>(node) else { return Ok(()) };
        let speaker = Speaker { replica: ReplicaId(node.0 as u8), vsr: process.vsr(), disk: world.disk(node) };
        self.timestamps.reads(speaker.replica, step.now.realtime, world.now_ns());
        // What grows without traffic is no queue; what grew is still there when the next message comes.
        if let EventView::Message { .. } = step.event {
            bounds::hold(speaker.replica, &process.queues())?;
        }
        self.halts.took(speaker.replica, step)?;
        if let Some(effects) = &mut self.effects {
            effects.takes(world, node, step.event)?;
        }
        self.relies_on_superblock(speaker)?;
        if let Some(op) = speaker.vsr.restored() {
            self.agreement.restored(&self.model, speaker.replica, op)?;
            if speaker.vsr.executed().is_empty() {
                self.stands(speaker.replica, process)?;
            }
            // What a digest leaves out may not have come through the checkpoint.
            self.sequence.holds(speaker.replica, speaker.vsr.applied(), process.state())?;
        }
        if !speaker.vsr.executed().is_empty() {
            self.begins_views(speaker.replica, step)?;
            self.executes(world, speaker.replica, process)?;
        }
        for action in step.actions {
            match action {
                Action::Send { frame, .. } => self.sends(speaker, frame)?,
                Action::Write { offset, data, .. } => self.writes(speaker, *offset, data)?,
                Action::RunEffect(order) => {
                    if let Some(effects) = &mut self.effects {
                        effects.orders(world, self.sequence.ledger(), (node, step.now.monotonic), order, process)?;
                    }
                }
                Action::Halt { reason } => {
                    let used = speaker.vsr.checkpoints().blocks_used();
                    self.halts.stops(speaker.replica, reason, used, speaker.disk, &self.amnesia)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Once it has recovered, and whenever it changes.
    fn relies_on_superblock(&mut self, speaker: Speaker<'_>) -> Result<(), Violation> {
        let Speaker { replica, vsr, disk } = speaker;
        let Some(durable) = vsr.durable().filter(|_| vsr.status() != Status::Booting) else { return Ok(()) };
        if self.durability.is_verified(replica, durable.superblock()) {
            return Ok(());
        }
        self.monotonic.superblock(replica, durable.superblock())?;
        self.durability.superblock(replica, durable.superblock(), disk)?;
        self.checkpoints.named(&self.model, replica, vsr, &durable.superblock().checkpoint, disk)
    }

    fn executes(
        &mut self,
        world: &WorldView<'_>,
        replica: ReplicaId,
        process: &Replica<W::Application>,
    ) -> Result<(), Violation> {
        let vsr = process.vsr();
        let before = self.model.head();
        for (header, frame) in vsr.executed() {
            let first = self.agreement.executed(&self.model, replica, header, frame)?;
            self.amnesia.executed(header.op, vsr.view(), frame);
            self.commits_by_quorum(world, replica, vsr.view(), first, header, frame)?;
            if first {
                timestamps::follows(&self.model, replica, header)?;
                if let Some(effects) = &mut self.effects {
                    effects.executes(world, header, frame)?;
                }
                self.replies.run(&mut self.sequence, &mut self.model, replica, header, frame)?;
                self.model.append(header, replica, vsr.view());
            }
        }
        self.agreement.stands_at(replica, vsr.applied())?;
        if let Some(effects) = &self.effects {
            effects.waits(world.name(replica.node()), process)?;
        }
        let sessions = vsr.sessions();
        match (vsr.executed().last(), self.model.head().0 - before.0) {
            (Some((header, frame)), 1) => state::recorded(&self.model, replica, header, frame, sessions)?,
            (_, 0) => {}
            _ => state::same_sessions(&self.model, replica, sessions)?,
        }
        self.stands(replica, process)
    }

    /// A replica's state and sessions are those of the op where it stands.
    fn stands(&mut self, replica: ReplicaId, process: &Replica<W::Application>) -> Result<(), Violation> {
        let vsr = process.vsr();
        let digest = self.sequence.digest_of(process.executor());
        state::agrees(&mut self.model, replica, vsr.applied(), digest, vsr.sessions())?;
        self.sequence.holds_at(replica, vsr.applied(), process.state())
    }

    /// A view that begins in this step began before anything was executed in it.
    fn begins_views(&mut self, replica: ReplicaId, step: &StepView<'_>) -> Result<(), Violation> {
        for action in step.actions {
            let Action::Send { frame, .. } = action else { continue };
            if let Some(speech) = Speech::of(frame).filter(|speech| speech.command() == Some(Command::StartView)) {
                self.quorum.starts(replica, speech.view(), speech.commit())?;
            }
        }
        Ok(())
    }

    fn commits_by_quorum(
        &mut self,
        world: &WorldView<'_>,
        replica: ReplicaId,
        view: View,
        first: bool,
        header: &Header,
        frame: &Frame,
    ) -> Result<(), Violation> {
        let durability = &self.durability;
        let holds =
            |other: ReplicaId| durability.holding(world.disk(other.node()), header.op, frame) != Holding::Missing;
        let prepare = self.prepares.get_mut(header.op, header.checksum);
        self.quorum.counted(prepare.as_deref(), replica, header, view, holds)?;
        if !first {
            return Ok(());
        }
        let by_holding = self.quorum.committed(prepare.as_deref(), replica, header, view, holds)?;
        if let Some((primary, view)) = by_holding {
            self.durability.remember(primary, view, header.op);
            if let Some(prepare) = prepare {
                prepare.acknowledge(primary, view);
            }
        }
        Ok(())
    }

    fn sends(&mut self, speaker: Speaker<'_>, frame: &Frame) -> Result<(), Violation> {
        let Some(speech) = Speech::of(frame) else { return Ok(()) };
        let Some(command) = speech.command() else { return Ok(()) };
        let (Speaker { replica, vsr, .. }, view) = (speaker, speech.view());
        if amnesia::is_word(command) {
            let covered = recovered(vsr).map_or(Op::ROOT, |superblock| superblock.checkpoint.header.op);
            let (known, incarnation) = ((&self.model, &self.prepares, &self.durability), speech.client().0);
            self.amnesia.gives_word(known, replica, speech, incarnation, covered, speaker.disk)?;
        }
        match command {
            Command::Prepare if self.prepares.get(speech.op(), speech.checksum()).is_none() => {
                self.speaks_in(speaker, command, view)?;
                self.quorum.proposes(&self.prepares, self.executed(), replica, speech)?;
                agreement::proposed(&self.model, replica, speech)?;
                self.timestamps.proposed(replica, speech)?;
                self.checkpoints.proposed(replica, speech)?;
                self.prepares.add(speech.op(), Prepare::new(speech.checksum(), view, frame.clone()));
                self.tells_commit(speaker, speech)?;
            }
            Command::PrepareOk => {
                self.speaks_in(speaker, command, view)?;
                let superblock = recovered(vsr);
                let counts = self.amnesia.counts(replica, speech.client().0, speech.op());
                self.durability.acknowledges(&mut self.prepares, replica, speech, superblock, speaker.disk, counts)?;
            }
            Command::Commit | Command::StartView | Command::Reply => {
                self.speaks_in(speaker, command, view)?;
                match command {
                    Command::StartView => self.quorum.starts(replica, view, speech.commit())?,
                    _ => self.quorum.serves(replica, command, view)?,
                }
                match command {
                    Command::Reply => self.replies.answers(&self.model, replica, speech)?,
                    Command::StartView => self.starts_view(speaker, speech)?,
                    _ => self.tells_commit(speaker, speech)?,
                }
            }
            // Without the 1 it is a proposal, which binds nobody.
            Command::StartViewChange if speech.request().0 == 1 => self.speaks_of(speaker, command, view)?,
            Command::Ping | Command::Pong => {
                self.amnesia.greets(replica, speech);
                self.speaks_of(speaker, command, view)?;
            }
            Command::DoViewChange => {
                self.speaks_of(speaker, command, view)?;
                if let Some(durable) = vsr.durable() {
                    let superblock = durable.superblock();
                    self.durability.gives_log(&self.prepares, replica, speech, superblock, speaker.disk)?;
                }
                self.tells_commit(speaker, speech)?;
            }
            Command::Reject => sessions::refuses(&mut self.model, replica, speech)?,
            _ => {}
        }
        Ok(())
    }

    /// The head of what is executed.
    fn executed(&self) -> (Op, Checksum) {
        (self.model.head(), self.model.last().checksum)
    }

    fn speaks_in(&mut self, speaker: Speaker<'_>, command: Command, view: View) -> Result<(), Violation> {
        let Speaker { replica, vsr, .. } = speaker;
        self.durability.speaks_in(replica, command, view, recovered(vsr))?;
        self.monotonic.spoke(replica, command, view)
    }

    fn speaks_of(&mut self, speaker: Speaker<'_>, command: Command, view: View) -> Result<(), Violation> {
        let Speaker { replica, vsr, .. } = speaker;
        self.durability.speaks_of(replica, command, view, recovered(vsr))?;
        self.monotonic.spoke(replica, command, view)
    }

    /// What it says is committed need not be executed by anybody for a while, nor its own copy be there then.
    fn tells_commit(&mut self, speaker: Speaker<'_>, speech: Speech<'_>) -> Result<(), Violation> {
        let (known, executed, layout) = ((&mut self.prepares, &mut self.durability), self.model.head(), &self.layout);
        let holds = |op, prepare: &Prepare| Holding::of(layout, speaker.disk, op, &prepare.frame) != Holding::Missing;
        self.quorum.tells(known, executed, (speaker.replica, speech), holds)
    }

    fn starts_view(&mut self, speaker: Speaker<'_>, speech: Speech<'_>) -> Result<(), Violation> {
        self.tells_commit(speaker, speech)?;
        self.views_started.insert(speech.view());
        let headers = message::decode_headers(speech.body()).map_or_else(|_| Vec::new(), |body| body.headers);
        let (view, head) = (speech.view(), speech.op());
        agreement::view_starts(&self.model, speaker.replica, view, head, &headers)?;
        self.quorum.view_starts(&self.prepares, self.executed(), view, head, &headers)
    }

    /// A write to the prepare ring takes what was there.
    fn writes(&mut self, speaker: Speaker<'_>, offset: u64, data: &Frame) -> Result<(), Violation> {
        if offset < self.layout.prepare_offset(0) || offset >= self.layout.grid_offset() {
            return Ok(());
        }
        let Some(speech) = Speech::of(data) else { return Ok(()) };
        self.prepares.overwrite(speaker.replica, speech.op(), speech.checksum());
        self.checkpoints.writes(speaker.replica, speaker.vsr, speech.op())
    }

    fn client_step(&mut self, world: &WorldView<'_>, node: NodeId, step: &StepView<'_>) -> Result<(), Violation> {
        let workload = world.process::<ClientProcess<workload::Caller<W>>>(node);
        let load = || world.process::<ClientProcess<PutWorkload>>(node).map(ClientProcess::client);
        let operator = || world.process::<ClientProcess<Operator>>(node).map(ClientProcess::client);
        let client = workload.map(ClientProcess::client).or_else(load).or_else(operator);
        let Some(client) = client else { return Ok(()) };
        let index = node.0 as usize - self.replica_count as usize;
        if self.callers.len() <= index {
            self.callers.resize(index + 1, Caller::default());
        }
        let mut caller = self.callers[index];
        self.hears(&caller, client)?;
        if let Some(workload) = workload {
            self.ends_calls(&mut caller, workload.driver())?;
        }
        for action in step.actions {
            let Action::Send { frame, .. } = action else { continue };
            if let Some(speech) = Speech::of(frame).filter(|speech| speech.command() == Some(Command::Request)) {
                self.replies.asks(&mut self.model, speech);
            }
        }
        self.callers[index] = Caller { id: client.id(), outstanding: client.outstanding(), ended: caller.ended };
        Ok(())
    }

    /// What a client that keeps its identity no longer waits for was answered.
    fn hears(&mut self, caller: &Caller, client: &Client) -> Result<(), Violation> {
        match caller.outstanding {
            Some(request) if caller.id == client.id() && client.outstanding() != caller.outstanding => {
                self.replies.answered(&self.model, client, request)
            }
            _ => Ok(()),
        }
    }

    fn ends_calls(&mut self, caller: &mut Caller, workload: &workload::Caller<W>) -> Result<(), Violation> {
        while let Some(call) = workload.history().get(caller.ended as usize) {
            let Some(end) = &call.end else { break };
            Replies::ended(&self.model, caller.id, call)?;
            sessions::gave_up(&mut self.model, caller.id, caller.outstanding, &end.outcome)?;
            caller.ended += 1;
        }
        Ok(())
    }

    fn is_replica(&self, node: NodeId) -> bool {
        node.0 < u32::from(self.replica_count)
    }
}

/// What a replica that speaks must have recovered.
fn recovered(vsr: &Vsr) -> Option<&chronon::storage::superblock::Superblock> {
    vsr.durable().filter(|_| vsr.status() != Status::Booting).map(|durable| durable.superblock())
}

impl<W: Workload> Oracle for ClusterOracle<W> {
    fn name(&self) -> &'static str {
        "cluster"
    }

    fn after_step(&mut self, world: &WorldView<'_>, node: NodeId, step: &StepView<'_>) -> Result<(), Violation> {
        if self.is_replica(node) { self.replica_step(world, node, step) } else { self.client_step(world, node, step) }
    }

    fn after_crash(&mut self, _world: &WorldView<'_>, node: NodeId) -> Result<(), Violation> {
        if self.is_replica(node) {
            let replica = ReplicaId(node.0 as u8);
            self.agreement.crashed(replica);
            self.durability.crashed(replica);
            self.checkpoints.crashed(replica);
            self.quorum.crashed(replica);
            self.halts.crashed(replica);
        } else if let Some(caller) = self.callers.get_mut(node.0 as usize - self.replica_count as usize) {
            self.model.accounts.life_ends(caller.id);
            *caller = Caller::default();
        }
        Ok(())
    }

    fn after_exchange(&mut self, _world: &WorldView<'_>, node: NodeId) -> Result<(), Violation> {
        if self.is_replica(node) {
            let replica = ReplicaId(node.0 as u8);
            self.prepares.lost(replica);
            self.durability.lost(replica);
            self.monotonic.lost(replica);
            self.amnesia.exchanged(replica);
        }
        Ok(())
    }

    fn at_end(&mut self, world: &WorldView<'_>) -> Result<(), Violation> {
        if let Some(effects) = &mut self.effects {
            effects.watch_services(world)?;
        }
        for replica in (0..self.replica_count).map(ReplicaId) {
            let Some(process) = world.process::<Replica<W::Application>>(replica.node()) else { continue };
            if process.vsr().applied() == self.model.head() {
                self.agrees_at_the_head(replica, process)?;
            }
        }
        Ok(())
    }
}
