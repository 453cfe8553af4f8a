//! What a world and a node are configured with. Plain data.

use crate::{
    clock::ClockSettings,
    disk::DiskSettings,
    network::LinkSettings,
    trace::{TraceBodies, TraceMode},
};

/// The configuration of a world.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorldSettings {
    /// How links behave that are given no settings of their own.
    pub link: LinkSettings,
    /// What each node gets unless it is added with its own.
    pub node: NodeSettings,
    /// Whether the trace is kept or only its digest.
    pub trace: TraceMode,
    /// How message bodies enter the trace.
    pub bodies: TraceBodies,
    /// A run that takes more steps than this is stuck.
    pub steps_max: u64,
    /// A run that takes more steps than this at one virtual instant is stuck.
    pub steps_per_instant_max: u64,
    /// For the trace's header: the scenario's name.
    pub scenario: String,
    /// For the trace's header: the schedule of faults, as text.
    pub schedule: String,
    /// For the trace's header: the build.
    pub code_version: String,
}

impl Default for WorldSettings {
    /// A sound network, true clocks, disks without errors, the digest alone.
    fn default() -> Self {
        Self {
            link: LinkSettings::default(),
            node: NodeSettings::default(),
            trace: TraceMode::default(),
            bodies: TraceBodies::default(),
            steps_max: 50_000_000,
            steps_per_instant_max: 100_000,
            scenario: String::new(),
            schedule: String::new(),
            code_version: String::new(),
        }
    }
}

/// The configuration of one node.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct NodeSettings {
    /// How its clocks begin.
    pub clock: ClockSettings,
    /// Its disk.
    pub disk: DiskSettings,
}
