//! What the rare paths of a run were about: which view was left, which op was replaced.
//!
//! A probe says that a path was taken, and a trace holds no more: a number of its own for each would cost every run. Where a run
//! is made in order to be told, this watches it as an oracle does, compares each replica with what it was a step before, and
//! changes nothing. Deliberately absent: any judgement, and paths of which nothing is known for certain from outside.

use std::{collections::BTreeMap, marker::PhantomData};

use chronon::{
    app::application::Application,
    process::Action,
    replica::Replica,
    types::{Checksum, NodeId, Op, View},
    vsr::{Probe, Vsr},
    wire::header::{Command, Header},
};

use crate::oracle::{EventView, Interests, Oracle, StepView, Violation, WorldView};

/// What a rare path was about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Particular {
    /// The step in which it was taken.
    pub step: u64,
    /// Who took it.
    pub node: NodeId,
    /// Its name.
    pub probe: &'static str,
    /// In a word or two, as in `v4` or `op32`.
    pub text: String,
}

/// Watches a cluster of replicas and keeps the particulars.
#[derive(Clone)]
pub(super) struct Particulars<A> {
    /// By replica: what it was after its last step.
    before: BTreeMap<NodeId, Before>,
    taken: Vec<Particular>,
    application: PhantomData<A>,
}

impl<A> Default for Particulars<A> {
    fn default() -> Self {
        Self { before: BTreeMap::new(), taken: Vec::new(), application: PhantomData }
    }
}

#[derive(Clone, Default)]
struct Before {
    view: View,
    /// The log above what was executed.
    suffix: Vec<(Op, Checksum)>,
}

impl Before {
    fn of(vsr: &Vsr) -> Self {
        let ops = (vsr.applied().0 + 1..=vsr.log().head().0).map(Op);
        let suffix = ops.filter_map(|op| Some((op, vsr.log().get(op)?.checksum))).collect();
        Self { view: vsr.view(), suffix }
    }

    /// The first op that the log no longer holds as it did.
    fn replaced(&self, vsr: &Vsr) -> Option<Op> {
        let is_held = |op: Op, checksum| {
            op <= vsr.log().head() && vsr.log().get(op).is_none_or(|header| header.checksum == checksum)
        };
        self.suffix.iter().find(|(op, checksum)| !is_held(*op, *checksum)).map(|(op, _)| *op)
    }
}

impl<A> Particulars<A> {
    pub(super) fn taken(&self) -> &[Particular] {
        &self.taken
    }
}

impl<A: Application> Oracle for Particulars<A> {
    fn name(&self) -> &'static str {
        "particulars"
    }

    fn interests(&self) -> Interests {
        Interests::STEPS | Interests::EVENT_BODIES
    }

    fn after_step(&mut self, world: &WorldView<'_>, node: NodeId, step: &StepView<'_>) -> Result<(), Violation> {
        let Some(replica) = world.process::<Replica<A>>(node) else { return Ok(()) };
        let before = self.before.entry(node).or_default();
        if matches!(step.event, EventView::Start) {
            // What it knew in an earlier life, it does not know.
            *before = Before::default();
        }
        for action in step.actions {
            if let Action::Probe(probe) = action
                && let Some(name) = Probe::NAMES.get(usize::from(probe.0))
                && let Some(text) = about(name, before, replica.vsr(), world, step)
            {
                self.taken.push(Particular { step: step.number, node, probe: name, text });
            }
        }
        *before = Before::of(replica.vsr());
        Ok(())
    }
}

/// What the path of that name was about, as far as it shows.
fn about(name: &str, before: &Before, vsr: &Vsr, world: &WorldView<'_>, step: &StepView<'_>) -> Option<String> {
    Some(match name {
        "view_proposed" => {
            let sent = step.sends().filter_map(|(_, frame)| Header::decode(frame).ok());
            let proposed = sent.filter(|header| header.command == Command::StartViewChange).map(|header| header.view);
            // A single replica tells nobody, and goes there by itself.
            let alone = (vsr.config().replica_count == 1).then(|| vsr.view());
            proposed.max().or(alone)?.to_string()
        }
        "view_left" | "primary_isolated" | "primary_disk_blocked" => before.view.to_string(),
        "view_started" | "view_joined" | "later_view_seen" | "op_undecided" | "primary_restarted" => {
            vsr.view().to_string()
        }
        "op_applied" => vsr.applied().to_string(),
        "log_truncated" => before.replaced(vsr)?.to_string(),
        "log_adopted" => format!("up to {}", vsr.log().head()),
        "op_dropped" => vsr.log().head().next().to_string(),
        "bad_frame" => format!("from {}", world.name(message(step)?.0)),
        _ => {
            let header = message(step)?.1?;
            let is_about_an_op = name.starts_with("prepare_") || name.starts_with("write_");
            let has_an_op = matches!(header.command, Command::Prepare | Command::PrepareOk);
            (is_about_an_op && has_an_op).then(|| header.op.to_string())?
        }
    })
}

/// Who sent the message that the step took, and its header if that can be read.
fn message(step: &StepView<'_>) -> Option<(NodeId, Option<Header>)> {
    let EventView::Message { from, frame, .. } = step.event else { return None };
    Some((from, frame.and_then(|frame| Header::decode(frame).ok())))
}
