//! The nemesis: draws a seed's schedule. Each seed has its own cluster, workload, surroundings and mix of fault families (swarm
//! testing, Groce et al. 2012), so that what one fault hides another seed shows.
//!
//! Faults wait for work and phases, not for idle time. Lasting harm to storage stays within a budget that keeps the cluster
//! recoverable, so that not recovering is a bug: it befalls one replica of a run of three or more, and then no other replica is
//! left behind for good. A run's harm is of one sort. Either a replica's disk is lost whole, and again when it has recovered (see
//! nemesis/wipe.rs); or sectors rot, of the journal or of one copy of a superblock at rest;
//! or one write of the journal is lost or goes astray, which takes one durable copy from something acknowledged. What rots after
//! that is at most the entry over a prepare that was lost: a prepare that rots under a lost entry is, to its replica, a torn tail
//! that it never acknowledged, and no rule could tell the two apart.

mod clients;
mod cluster;
mod damage;
mod links;
mod room;
mod steps;
mod undecided;
mod wipe;

use cluster::draw_cluster;
pub use room::fits;
use room::message_size_max;
use steps::Nemesis;

use crate::{
    disk::{DiskSettings, ErrorRates, LatencyRange},
    network::{Distribution, LinkSettings},
    outside::ServicesPlan,
    rng::Stream,
    scenario::{FaultFamily, Kind, Scenario},
    schedule::{ClockPlan, ClusterPlan, FORMAT, LeftBehind, Schedule},
    workload::{KvWorkload, Workload},
};

const US: u64 = 1_000;
const MS: u64 = 1_000_000;

/// Longer than any run: down until the healing.
const UNTIL_HEALED_NS: u64 = 1_000_000 * MS;

/// What a campaign fixes of each seed's draw.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// What to draw for.
    pub scenario: &'static Scenario,
    /// The size of every cluster; drawn if none.
    pub replicas: Option<u8>,
    /// The fault families that may be drawn from; the scenario's own if none.
    pub faults: Option<Vec<FaultFamily>>,
}

impl Options {
    /// Everything as the scenario has it.
    pub const fn new(scenario: &'static Scenario) -> Self {
        Self { scenario, replicas: None, faults: None }
    }
}

/// The schedule of a seed for the key-value store. The same seed and options give the same schedule.
pub fn draw(seed: u64, options: &Options) -> Schedule {
    draw_for(&KvWorkload, seed, options)
}

/// The schedule of a seed for this application. What befalls the cluster is the same for all of them.
///
/// The messages of its cluster are as large as the longest response needs; see [`fits`].
pub fn draw_for<W: Workload>(workload: &W, seed: u64, options: &Options) -> Schedule<W::Plan> {
    let mut random = Stream::new(seed, "nemesis.families", 0, 0);
    let replicas = draw_replicas(&mut random, options);
    let families = draw_families(&mut random, options, replicas);
    let has = |family| families.contains(&family);
    let mut steps = Vec::new();
    let mut expected_commits = 0;
    let mut nemesis = Nemesis {
        random: Stream::new(seed, "nemesis.steps", 0, 0),
        replicas,
        clients: Stream::new(seed, "nemesis.clients", 0, 0).range(2, 8) as u8,
        damaged: None,
        stray: None,
        disorder: Stream::new(seed, "nemesis.disorder", 0, 0),
        families: &families,
    };
    nemesis.steps(&mut steps, &mut expected_commits);
    let (clients, stray, mut damaged) = (nemesis.clients, nemesis.stray, nemesis.damaged);
    let mut random = Stream::new(seed, "nemesis.undecided", 0, 0);
    if has(FaultFamily::Damage) && stray.is_none() && random.chance(220_000) {
        damaged = undecided::insert(&mut random, replicas, damaged, &mut steps, &mut expected_commits);
    }
    if has(FaultFamily::Wipe) {
        let mut random = Stream::new(seed, "nemesis.wipe", 0, 0);
        damaged = Some(wipe::insert(&mut random, replicas, &mut steps, &mut expected_commits));
    }
    let workload_plan =
        clients::draw(workload, &mut Stream::new(seed, "nemesis.workload", 0, 0), clients, expected_commits);
    let state_size_max = workload.state_size_max(&workload_plan.each, clients);
    let mut random = Stream::new(seed, "nemesis.cluster", 0, 0);
    let mut schedule = Schedule {
        format: FORMAT,
        scenario: options.scenario.name.to_owned(),
        seed,
        cluster: ClusterPlan {
            message_size_max: message_size_max(workload),
            ..draw_cluster(&mut random, replicas, clients, state_size_max)
        },
        workload: workload_plan,
        network: draw_network(&mut Stream::new(seed, "nemesis.network", 0, 0), &families),
        links: links::draw(&mut Stream::new(seed, "nemesis.links", 0, 0), options, replicas, clients),
        disk: draw_disk(&mut Stream::new(seed, "nemesis.disk", 0, 0), &families),
        clocks: Vec::new(),
        core: draw_core(&mut Stream::new(seed, "nemesis.core", 0, 0), replicas, damaged),
        left_behind: *Stream::new(seed, "nemesis.left_behind", 0, 0).pick(&[LeftBehind::Down, LeftBehind::Deaf]),
        downtime_ns: Stream::new(seed, "nemesis.downtime", 0, 0).range(10 * MS, 500 * MS),
        steps,
    };
    // A cluster that nothing befalls is healed from the start: what it does then is all that it does.
    if !schedule.steps.is_empty() {
        let mut random = Stream::new(seed, "nemesis.healed_calls", 0, 0);
        schedule.workload.healed_calls = clients::draw_healed_calls(&mut random);
    }
    let mut random = Stream::new(seed, "nemesis.readers", 0, 0);
    schedule.workload.readers = clients::draw_readers(workload, &mut random, &schedule.workload.each);
    if workload.has_effects() {
        schedule.workload.services = Some(ServicesPlan::draw(&mut Stream::new(seed, "nemesis.services", 0, 0)));
        schedule.workload.operator = clients::draw_operator(&mut Stream::new(seed, "nemesis.operator", 0, 0));
        // What ends and what is due takes ops of its own.
        schedule.cluster.slot_count *= 2;
    }
    if has(FaultFamily::Clock) {
        let mut random = Stream::new(seed, "nemesis.clocks", 0, 0);
        schedule.clocks = (0..replicas).map(|_| draw_clock(&mut random)).collect();
    }
    schedule
}

fn draw_replicas(random: &mut Stream, options: &Options) -> u8 {
    let drawn = 1 + random.weighted(&[3, 5, 44, 6, 36, 6]) as u8;
    match (options.replicas, options.scenario.kind) {
        (Some(replicas), _) => replicas,
        (None, Kind::Alone) => 1,
        (None, _) => drawn,
    }
}

fn draw_families(random: &mut Stream, options: &Options, replicas: u8) -> Vec<FaultFamily> {
    use FaultFamily as F;
    let of_scenario: &[F] = match options.scenario.kind {
        Kind::Swarm => &F::ALL,
        Kind::FaultFree => &[],
        Kind::Crashes => &[F::Kill, F::KillMidway, F::PowerCut],
        Kind::Network => &[F::Loss, F::Reorder, F::BitFlip, F::Partition, F::Pause],
        Kind::Disk => &[F::KillMidway, F::DiskLatency, F::DiskError, F::Damage, F::Wipe],
        Kind::Alone => &[F::Kill, F::KillMidway, F::PowerCut, F::DiskLatency, F::DiskError, F::Clock],
    };
    let possible = options.faults.as_deref().unwrap_or(of_scenario);
    let drawn = possible.iter().copied().filter(|family| *family != F::Wipe);
    let mut families: Vec<F> = drawn.filter(|_| random.chance(550_000)).collect();
    // A seed in which nothing dies shows little: most have a crash of one sort or another.
    let crashes = [F::Kill, F::KillMidway, F::PowerCut];
    let without = !families.iter().any(|family| crashes.contains(family));
    let crash = *random.pick(&crashes);
    if without && possible.contains(&crash) && random.chance(950_000) {
        families.push(crash);
    }
    // A replica whose head is uncertain does not vote: without it the others must be a majority.
    families.retain(|family| *family != F::Damage || replicas > 2);
    // Asked for by name, it is to be seen.
    let share = if options.faults.is_some() { 800_000 } else { 220_000 };
    if possible.contains(&F::Wipe) && replicas > 2 && random.chance(share) {
        // One replica's harm is what the others can make good.
        families.retain(|family| *family != F::Damage);
        families.push(F::Wipe);
    }
    families.sort_unstable();
    families
}

fn draw_network(random: &mut Stream, families: &[FaultFamily]) -> LinkSettings {
    let latency_min_ns = random.range(50 * US, 800 * US);
    let mut link = LinkSettings {
        latency_min_ns,
        latency_max_ns: latency_min_ns + random.range(50 * US, 4 * MS),
        ..LinkSettings::default()
    };
    if random.chance(300_000) {
        link.distribution = Distribution::HeavyTail { doublings: random.range(1, 5) as u8 };
    }
    let severe = if random.chance(150_000) { 5 } else { 1 };
    let (loss_ppm, duplication_ppm) = (random.range(500, 30_000) as u32, random.range(500, 30_000) as u32);
    let (reorder_ppm, corruption_ppm) = (random.range(1_000, 100_000) as u32, random.range(500, 8_000) as u32);
    if families.contains(&FaultFamily::Loss) {
        link.loss_ppm = loss_ppm * severe;
    }
    if families.contains(&FaultFamily::Reorder) {
        link.duplication_ppm = duplication_ppm * severe;
        if random.chance(400_000) {
            // Long enough for the second copy to come views later.
            link.duplicate_delay_max_ns = random.range(200 * MS, 5_000 * MS);
        }
        link.reorder_ppm = reorder_ppm;
        link.reorder_delay_max_ns = random.range(MS, 60 * MS);
    }
    if families.contains(&FaultFamily::BitFlip) {
        link.corruption_ppm = corruption_ppm;
        link.corruption_bits_max = random.range(1, 8) as u32;
    }
    link
}

fn draw_disk(random: &mut Stream, families: &[FaultFamily]) -> DiskSettings {
    let range = |random: &mut Stream, low: u64, high: u64| {
        let min_ns = random.range(low, 2 * low);
        LatencyRange::new(min_ns, min_ns + random.range(low, high))
    };
    let mut disk = DiskSettings {
        read: range(random, 20 * US, 200 * US),
        write: range(random, 20 * US, 400 * US),
        durable_write: range(random, 50 * US, 1_500 * US),
        barrier: range(random, 100 * US, 2 * MS),
        ..DiskSettings::default()
    };
    let (read_ppm, write_ppm, barrier_ppm) = (random.below(3_000), random.below(200), random.below(8_000));
    if families.contains(&FaultFamily::DiskError) {
        disk.errors = ErrorRates {
            read_ppm: read_ppm as u32,
            latent_ppm: 0,
            write_ppm: write_ppm as u32,
            barrier_ppm: barrier_ppm as u32,
        };
    }
    disk
}

fn draw_clock(random: &mut Stream) -> ClockPlan {
    let signed = |random: &mut Stream, most: u64| random.below(2 * most + 1) as i64 - most as i64;
    let bound = if random.chance(200_000) { 60_000 * MS } else { 50 * MS };
    ClockPlan { offset_ns: signed(random, bound), drift_ppb: signed(random, 300_000) as i32 }
}

/// Who is healed: everybody, or a bare majority. With a damaged replica everybody: what it lost may be what another, left behind,
/// holds.
fn draw_core(random: &mut Stream, replicas: u8, damaged: Option<u8>) -> Vec<u8> {
    let mut all: Vec<u8> = (0..replicas).collect();
    random.shuffle(&mut all);
    let everybody = random.chance(500_000) || damaged.is_some();
    if !everybody {
        all.truncate(usize::from(replicas / 2 + 1));
    }
    all.sort_unstable();
    all
}

#[cfg(test)]
mod tests;
