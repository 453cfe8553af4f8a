//! Scenarios: named configurations, from which seeds draw; and the families of faults that can be turned on and off.

use std::fmt;

/// A named configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scenario {
    /// The name, as `--scenario` takes it.
    pub name: &'static str,
    /// What it is for, in one sentence.
    pub about: &'static str,
    /// Which draw it is.
    pub kind: Kind,
}

/// How a scenario draws.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Everything, in a mix of its own for each seed.
    Swarm,
    /// No fault at all.
    FaultFree,
    /// Replicas die and come back, at the worst moments.
    Crashes,
    /// The network parts, loses, repeats, delays and clogs.
    Network,
    /// Disks fail, stall and lose what they held.
    Disk,
    /// A single replica: nobody else knows what it forgets.
    Alone,
}

/// Every scenario, the default one first.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "swarm", about: "every fault family, in a mix of its own for each seed", kind: Kind::Swarm },
    Scenario { name: "fault-free", about: "a healthy cluster under load", kind: Kind::FaultFree },
    Scenario { name: "crashes", about: "replicas die at the worst moments and come back", kind: Kind::Crashes },
    Scenario { name: "network", about: "partitions, loss, repetition, delay and clogs", kind: Kind::Network },
    Scenario { name: "disk", about: "disks that fail, stall, fill up and rot", kind: Kind::Disk },
    Scenario { name: "alone", about: "a single replica that crashes", kind: Kind::Alone },
];

/// The scenario of that name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

/// A family of faults. Each seed has some of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FaultFamily {
    /// Frames are lost.
    Loss,
    /// Frames are repeated, overtake each other, and come again much later.
    Reorder,
    /// Bits of frames flip.
    BitFlip,
    /// Links are cut, one way or both, between replicas and to clients; links are clogged.
    Partition,
    /// Processes die between events.
    Kill,
    /// Processes die within a step or around a disk operation.
    KillMidway,
    /// All processes die at once.
    PowerCut,
    /// Processes stand still.
    Pause,
    /// Clocks are off, drift and jump.
    Clock,
    /// Disks are slow or stall.
    DiskLatency,
    /// Reads, writes and barriers fail; disks fill up.
    DiskError,
    /// Sectors of one replica's disk go bad, or a write to it is lost or goes astray.
    Damage,
    /// Clients die and live again, or stand still.
    Client,
    /// One replica's disk is lost whole.
    Wipe,
}

impl FaultFamily {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Loss,
        Self::Reorder,
        Self::BitFlip,
        Self::Partition,
        Self::Kill,
        Self::KillMidway,
        Self::PowerCut,
        Self::Pause,
        Self::Clock,
        Self::DiskLatency,
        Self::DiskError,
        Self::Damage,
        Self::Client,
        Self::Wipe,
    ];

    /// The name, as `--faults` takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Reorder => "reorder",
            Self::BitFlip => "bit-flip",
            Self::Partition => "partition",
            Self::Kill => "kill",
            Self::KillMidway => "kill-midway",
            Self::PowerCut => "power-cut",
            Self::Pause => "pause",
            Self::Clock => "clock",
            Self::DiskLatency => "disk-latency",
            Self::DiskError => "disk-error",
            Self::Damage => "damage",
            Self::Client => "client",
            Self::Wipe => "wipe",
        }
    }

    /// What it does, in one sentence.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Loss => "frames are lost",
            Self::Reorder => "frames are repeated, overtake each other, and come again much later",
            Self::BitFlip => "bits of frames flip",
            Self::Partition => "links are cut, one way or both, between replicas and to clients, or clogged",
            Self::Kill => "processes die between two events",
            Self::KillMidway => "processes die within a step, or around a disk operation",
            Self::PowerCut => "all replicas die at once",
            Self::Pause => "processes stand still",
            Self::Clock => "clocks are off, drift and jump",
            Self::DiskLatency => "disks are slow or stall",
            Self::DiskError => "reads, writes and barriers fail; disks fill up",
            Self::Damage => "sectors of one replica's disk go bad, or a write to it is lost or goes astray",
            Self::Client => "clients die and live again, or stand still",
            Self::Wipe => "a replica's disk is lost whole, and it recovers through the others",
        }
    }

    /// The family of that name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.name() == name)
    }
}

impl fmt::Display for FaultFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
