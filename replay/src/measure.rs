//! What this program cost: CPU time, wall time, memory. Nothing here decides anything.

use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

/// CPU time and wall time since a moment.
#[derive(Clone, Copy)]
pub(crate) struct Stopwatch {
    cpu_ns: u64,
    wall: Instant,
}

impl Stopwatch {
    /// Begins to measure.
    pub(crate) fn start() -> Self {
        Self { cpu_ns: cpu_ns(), wall: Instant::now() }
    }

    /// The CPU time of all threads since.
    pub(crate) fn cpu_ns(&self) -> u64 {
        cpu_ns().saturating_sub(self.cpu_ns)
    }

    /// The wall time since.
    pub(crate) fn wall_ns(&self) -> u64 {
        u64::try_from(self.wall.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The CPU time of this process so far, of all its threads.
fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, ns) = (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
    seconds.saturating_mul(1_000_000_000).saturating_add(ns)
}

/// The most memory that this process ever held, where the system tells.
pub(crate) fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
