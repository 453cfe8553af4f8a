//! A schedule's steps in words, for people: in a trace's notes and in the table of a run.

use std::fmt;

use super::{DamagePlace, Fault, Progress, Ring, Step, Target};
use crate::{disk::OperationKind, world::DiskMoment};

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replica(replica) => write!(f, "r{replica}"),
            Self::Primary => write!(f, "the primary"),
            Self::Backup(which) => write!(f, "backup {which}"),
        }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commits { count: 1 } => write!(f, "after 1 commit"),
            Self::Commits { count } => write!(f, "after {count} commits"),
            Self::Probe { name, count: 1 } => write!(f, "at {name}"),
            Self::Probe { name, count } => write!(f, "at {name}, {count} times"),
            Self::Time { ns } => write!(f, "after {} ms", ns / 1_000_000),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.after, self.fault)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |ns: &u64| ns / 1_000_000;
        match self {
            Self::Kill { target, down_ns } => write!(f, "kill {target} for {} ms", ms(down_ns)),
            Self::KillInStep { target, actions, down_ns } => {
                write!(f, "kill {target} after {actions} actions of a step, for {} ms", ms(down_ns))
            }
            Self::KillAtDisk { target, operation, moment, skip, down_ns } => {
                let operation = match operation {
                    OperationKind::Read => "read",
                    OperationKind::Write => "write",
                    OperationKind::DurableWrite => "durable write",
                    OperationKind::Barrier => "barrier",
                };
                let moment = match moment {
                    DiskMoment::BeforeSubmission => "before the submission",
                    DiskMoment::AfterSubmission => "after the submission",
                    DiskMoment::BeforeCompletion => "before the completion",
                    DiskMoment::AfterCompletion => "after the completion",
                };
                write!(f, "kill {target} {moment} of its {operation} after {skip} others, for {} ms", ms(down_ns))
            }
            Self::KillAll { .. } => write!(f, "kill every replica"),
            Self::Pause { target, for_ns } => write!(f, "pause {target} for {} ms", ms(for_ns)),
            Self::Isolate { target, clients: true, for_ns } => write!(f, "cut {target} off for {} ms", ms(for_ns)),
            Self::Isolate { target, clients: false, for_ns } => {
                write!(f, "cut {target} off from the other replicas for {} ms", ms(for_ns))
            }
            Self::CutOneWay { from, to, for_ns } => write!(f, "cut {from} to {to} for {} ms", ms(for_ns)),
            Self::Deafen { target, mute: false, for_ns } => write!(f, "deafen {target} for {} ms", ms(for_ns)),
            Self::Deafen { target, mute: true, for_ns } => write!(f, "mute {target} for {} ms", ms(for_ns)),
            Self::Partition { side, for_ns } => write!(f, "part {side:?} from the rest for {} ms", ms(for_ns)),
            Self::CutClient { client, target, for_ns } => {
                write!(f, "cut client {client} from {target} for {} ms", ms(for_ns))
            }
            Self::KillClient { client, down_ns, clock_forgets } => {
                let clock = if *clock_forgets { ", and its clock begins again" } else { "" };
                write!(f, "kill client {client} for {} ms{clock}", ms(down_ns))
            }
            Self::PauseClient { client, for_ns } => write!(f, "pause client {client} for {} ms", ms(for_ns)),
            Self::Echo { target } => write!(f, "say again to {target} what it was told last"),
            Self::Clog { from, to, for_ns } => write!(f, "clog {from} to {to} for {} ms", ms(for_ns)),
            Self::StepClock { target, delta_ns } => write!(f, "step the clock of {target} by {delta_ns} ns"),
            Self::StallDisk { target, for_ns } => write!(f, "stall the disk of {target} for {} ms", ms(for_ns)),
            Self::SlowDisk { target, percent, for_ns } => {
                write!(f, "slow the disk of {target} to {percent} % of its time for {} ms", ms(for_ns))
            }
            Self::FailBarrier { target } => write!(f, "fail the next barrier of {target}"),
            Self::FailWrite { target } => write!(f, "fail the next write of {target}"),
            Self::FailRead { target } => write!(f, "fail the next read of {target}"),
            Self::NoSpace { target, for_ns } => write!(f, "fill the disk of {target} for {} ms", ms(for_ns)),
            Self::Damage { replica, place, nth, unreadable } => {
                let how = if *unreadable { "unreadable" } else { "corrupt" };
                write!(f, "make {place} {nth} from the newest of r{replica} {how}")
            }
            Self::LatentError { replica, ring } => {
                write!(f, "let the next read of {ring} of r{replica} find a bad sector")
            }
            Self::LoseWrite { replica, ring } => write!(f, "lose the next write to {ring} of r{replica}"),
            Self::MisdirectWrite { replica, ring, nth } => {
                write!(f, "put the next write to {ring} of r{replica} into the slot {nth} down from the first new one")
            }
            Self::DamageSuperblock { replica, copy, unreadable } => {
                let how = if *unreadable { "unreadable" } else { "corrupt" };
                write!(f, "make copy {copy} of the superblock of r{replica} {how} while it is down")
            }
            Self::Wipe { replica, lost_ns } => {
                write!(f, "lose the disk of r{replica}, and recover it after {} ms", ms(lost_ns))
            }
            Self::Revenant { replica, for_ns } => {
                write!(f, "start r{replica} from the disk that it had lost, for {} ms", ms(for_ns))
            }
        }
    }
}

impl fmt::Display for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prepares => "the prepares",
            Self::Headers => "the headers",
            Self::Chunks => "the chunks",
        })
    }
}

impl fmt::Display for DamagePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prepare => "the prepare",
            Self::Body => "the prepare's body",
            Self::Headers => "the header sector",
            Self::Both => "the prepare and its header,",
            Self::Chunk => "the block of the checkpoint",
        })
    }
}
