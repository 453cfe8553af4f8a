//! What a healed cluster must come to: one view, everything committed and executed, the same state everywhere.
//!
//! Not an oracle by itself: when a cluster must have come to it is for whoever healed it to say. Deliberately absent: the
//! clients. That their requests were answered is theirs to tell.

use chronon::{
    app::application::Application,
    replica::Replica,
    types::{NodeId, Op},
    vsr::{Status, checkpoint},
};

use super::WorldView;
use crate::workload::Workload;

/// Whether these replicas have converged; if not, what is missing.
///
/// # Errors
/// One sentence about the first replica that is not where the others are.
pub fn converged<W: Workload>(workload: &W, world: &WorldView<'_>, core: &[NodeId]) -> Result<(), String> {
    let mut reference: Option<(&str, &Replica<W::Application>)> = None;
    for node in core {
        let name = world.name(*node);
        let Some(replica) = world.process::<Replica<W::Application>>(*node) else {
            return Err(match world.halted(*node) {
                Some(reason) => format!("{name} stopped: {reason}"),
                None => format!("{name} is down"),
            });
        };
        settled(name, replica)?;
        let Some((other, first)) = reference else {
            reference = Some((name, replica));
            continue;
        };
        same(workload, (name, replica), (other, first))?;
    }
    Ok(())
}

/// Whether a replica is in a view and has executed all of its log.
fn settled<A: Application>(name: &str, replica: &Replica<A>) -> Result<(), String> {
    let vsr = replica.vsr();
    if vsr.status() != Status::Normal {
        return Err(format!("{name} is not in a view: it is {:?} in {}", vsr.status(), vsr.view()));
    }
    if !vsr.votes() {
        return Err(format!("{name} recovers, and does not vote in {}", vsr.view()));
    }
    let (head, commit, applied) = (vsr.log().head(), vsr.commit_max().op(), vsr.applied());
    if head != commit {
        return Err(format!("{name} has a log up to {head} and knows {commit} to be committed"));
    }
    if applied != commit {
        return Err(format!("{name} has executed {applied} of {commit}"));
    }
    let held = |op: &Op| vsr.log().get_tied(*op).is_some_and(|header| vsr.journal().holds(header));
    let (covered, interval) = (vsr.checkpoints().op(), checkpoint::interval(&vsr.config().layout));
    let due = Op(applied.0 - applied.0 % interval);
    // A state that does not fit its grid has none; what then becomes of the journal is for others to judge.
    if covered != due && !vsr.checkpoints().is_full() {
        return Err(format!("{name} has a checkpoint at {covered}, and {due} is due"));
    }
    match (covered.0 + 1..=head.0).map(Op).rev().take(HELD_MAX).find(|op| !held(op)) {
        Some(op) => Err(format!("{name} does not hold {op} on its disk")),
        None => Ok(()),
    }
}

/// How many of the last ops are looked up on the disk: this may be asked often.
const HELD_MAX: usize = 64;

fn same<W: Workload>(
    workload: &W,
    (name, replica): (&str, &Replica<W::Application>),
    (other, first): (&str, &Replica<W::Application>),
) -> Result<(), String> {
    let (vsr, reference) = (replica.vsr(), first.vsr());
    if vsr.view() != reference.view() {
        return Err(format!("{name} is in {} and {other} in {}", vsr.view(), reference.view()));
    }
    if vsr.applied() != reference.applied() {
        return Err(format!("{name} has executed {} and {other} {}", vsr.applied(), reference.applied()));
    }
    if vsr.checkpoints().durable() != reference.checkpoints().durable() {
        return Err(format!("{name} and {other} have other checkpoints at {}", vsr.checkpoints().op()));
    }
    if workload.digest(replica.state()) != workload.digest(first.state()) {
        return Err(format!("{name} and {other} have executed {} to different states", vsr.applied()));
    }
    if vsr.sessions().set_digest() != reference.sessions().set_digest() {
        return Err(format!("{name} and {other} have executed {} to different sessions", vsr.applied()));
    }
    Ok(())
}
