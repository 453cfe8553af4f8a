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
mod undecided;
mod wipe;

use cluster::draw_cluster;
pub use room::fits;
use room::message_size_max;

use crate::{
    disk::{DiskSettings, ErrorRates, LatencyRange, OperationKind},
    network::{Distribution, LinkSettings},
    outside::ServicesPlan,
    rng::Stream,
    scenario::{FaultFamily, Kind, Scenario},
    schedule::{
        ClockPlan, ClusterPlan, DamagePlace, FORMAT, Fault, LeftBehind, Progress, Ring, Schedule, Step, Target,
    },
    workload::{KvWorkload, Workload},
    world::DiskMoment,
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

/// A write of the run that is lost or goes astray.
#[derive(Clone, Copy)]
struct Stray {
    ring: Ring,
    /// Whether it was drawn already.
    struck: bool,
}

/// The draw of a seed's steps.
struct Nemesis<'a> {
    random: Stream,
    replicas: u8,
    clients: u8,
    /// Whose disk is harmed, if one is.
    damaged: Option<u8>,
    /// Set if the harm is of that sort.
    stray: Option<Stray>,
    /// For whether a power cut waits for writes that completed out of order.
    disorder: Stream,
    families: &'a [FaultFamily],
}

impl Nemesis<'_> {
    fn steps(&mut self, steps: &mut Vec<Step>, expected_commits: &mut u64) {
        let striking: Vec<FaultFamily> = (self.families.iter().copied())
            .filter(|family| !matches!(family, FaultFamily::Loss | FaultFamily::BitFlip | FaultFamily::Wipe))
            .collect();
        if striking.is_empty() {
            return;
        }
        let count = self.random.range(4, 11);
        for number in 0..count {
            // The first step is a crash if any is: so that most seeds have one.
            let crashes = [FaultFamily::Kill, FaultFamily::KillMidway, FaultFamily::PowerCut];
            let crash = striking.iter().copied().find(|family| number == 0 && crashes.contains(family));
            let family = crash.unwrap_or_else(|| *self.random.pick(&striking));
            // What was said in one view tries the next one when that begins.
            let after = if family == FaultFamily::Reorder && self.random.chance(700_000) {
                Progress::Probe { name: "view_started".to_owned(), count: 1 }
            } else if family == FaultFamily::PowerCut && self.disorder.chance(400_000) {
                // With a hole below what is durable: nothing above a hole may have been acknowledged.
                Progress::Probe { name: "prepare_durable_before_its_predecessors".to_owned(), count: 1 }
            } else {
                self.progress(steps.last())
            };
            if let Progress::Commits { count } = after {
                *expected_commits += count;
            }
            let patience_ns = self.random.range(200 * MS, 1_200 * MS);
            if family == FaultFamily::Damage {
                self.harm(after, patience_ns, steps);
                continue;
            }
            let carousel = family == FaultFamily::Kill && self.random.chance(150_000);
            let fault = if carousel { self.kill_primary_briefly() } else { self.fault(family) };
            let deposed = matches!(fault, Fault::Isolate { target: Target::Primary, clients: false, .. });
            steps.push(Step { after, patience_ns, fault });
            if deposed {
                self.kill_successor(steps);
            }
            if carousel {
                self.kill_every_successor(steps);
            }
        }
    }

    /// Something lasting befalls the disk of the one replica whose disk may be harmed.
    fn harm(&mut self, after: Progress, patience_ns: u64, steps: &mut Vec<Step>) {
        let replica = self.damaged.unwrap_or_else(|| {
            let ring = if self.random.chance(500_000) { Ring::Prepares } else { Ring::Headers };
            self.stray = self.random.chance(300_000).then_some(Stray { ring, struck: false });
            self.random.below(u64::from(self.replicas)) as u8
        });
        self.damaged = Some(replica);
        let mut strike = |fault: Fault| steps.push(Step { after: after.clone(), patience_ns, fault });
        match self.stray {
            None if self.random.chance(120_000) => self.superblock_rots(replica, after, steps),
            None if self.random.chance(300_000) => self.damage_in_a_young_view(replica, after, steps),
            None => {
                let fault = self.damage(replica);
                strike(fault);
                self.discover_damage(steps);
            }
            Some(Stray { ring, struck: false }) => self.write_goes_astray(replica, ring, after, steps),
            Some(Stray { ring: Ring::Prepares, .. }) => {
                let (nth, unreadable) = (self.random.below(3) as u32, self.random.chance(500_000));
                strike(Fault::Damage { replica, place: DamagePlace::Headers, nth, unreadable });
                self.discover_damage(steps);
            }
            Some(Stray { .. }) => strike(Fault::FailRead { target: Target::Replica(replica) }),
        }
    }

    /// A copy of the superblock is bad when the replica starts.
    fn superblock_rots(&mut self, replica: u8, after: Progress, steps: &mut Vec<Step>) {
        let fault = Fault::Kill { target: Target::Replica(replica), down_ns: self.random.range(10 * MS, 300 * MS) };
        steps.push(Step { after, patience_ns: 500 * MS, fault });
        let (copy, unreadable) = (self.random.below(4) as u8, self.random.chance(500_000));
        let after = Progress::Time { ns: self.random.below(5 * MS) };
        steps.push(Step { after, patience_ns: 5 * MS, fault: Fault::DamageSuperblock { replica, copy, unreadable } });
    }

    /// Half of the time a bare majority is among itself when it happens, the replica dies when it has acknowledged, or nearly,
    /// what the write was for, and the primary with it: then its own word is asked for.
    fn write_goes_astray(&mut self, replica: u8, ring: Ring, after: Progress, steps: &mut Vec<Step>) {
        self.stray = Some(Stray { ring, struck: true });
        let nth = if self.random.chance(800_000) { self.random.below(3) } else { self.random.below(60) } as u32;
        let astray = if self.random.chance(700_000) {
            Fault::MisdirectWrite { replica, ring, nth }
        } else {
            Fault::LoseWrite { replica, ring }
        };
        if self.random.chance(500_000) {
            steps.push(Step { after, patience_ns: 1_200 * MS, fault: astray });
            let after = Progress::Commits { count: self.random.range(1, 4) };
            let fault = Fault::Kill { target: Target::Replica(replica), down_ns: self.random.range(MS, 40 * MS) };
            return steps.push(Step { after, patience_ns: 100 * MS, fault });
        }
        let mut side: Vec<u8> = (0..self.replicas).filter(|other| *other != replica).collect();
        self.random.shuffle(&mut side);
        side.truncate(usize::from((self.replicas - 1) / 2));
        side.sort_unstable();
        let fault = Fault::Partition { side, for_ns: self.random.range(700 * MS, 1_500 * MS) };
        steps.push(Step { after, patience_ns: 1_200 * MS, fault });
        let after = Progress::Commits { count: self.random.range(2, 8) };
        steps.push(Step { after, patience_ns: 1_200 * MS, fault: astray });
        let at_once = Progress::Time { ns: 0 };
        let fault = Fault::KillAtDisk {
            target: Target::Replica(replica),
            operation: OperationKind::DurableWrite,
            moment: *self.random.pick(&[DiskMoment::BeforeSubmission, DiskMoment::BeforeCompletion]),
            skip: self.random.range(1, 5) as u32,
            down_ns: self.random.range(MS, 30 * MS),
        };
        steps.push(Step { after: at_once, patience_ns: 0, fault });
        let fault = Fault::Kill { target: Target::Primary, down_ns: self.random.range(700 * MS, 1_800 * MS) };
        steps.push(Step { after: Progress::Commits { count: 1 }, patience_ns: 60 * MS, fault });
    }

    /// What is lost was acknowledged soon after its view began, with the start of the view still to be heard again.
    fn damage_in_a_young_view(&mut self, replica: u8, after: Progress, steps: &mut Vec<Step>) {
        let fault = self.kill_primary_briefly();
        steps.push(Step { after, patience_ns: 500 * MS, fault });
        // Little commits any more before the next view does.
        let after = Progress::Commits { count: self.random.range(3, 15) };
        let unreadable = self.random.chance(400_000);
        let fault = Fault::Damage { replica, place: DamagePlace::Both, nth: 0, unreadable };
        steps.push(Step { after, patience_ns: 1_200 * MS, fault });
        self.discover_damage(steps);
    }

    /// Damage shows when it is read: often the replica restarts at once, and often a new view must then do without the primary.
    fn discover_damage(&mut self, steps: &mut Vec<Step>) {
        let at_once = |ns: u64, target: Target, down_ns: u64| {
            let (after, fault) = (Progress::Time { ns }, Fault::Kill { target, down_ns });
            Step { after, patience_ns: ns, fault }
        };
        let Some(replica) = self.damaged.filter(|_| self.random.chance(700_000)) else { return };
        steps.push(at_once(0, Target::Replica(replica), self.random.range(MS, 40 * MS)));
        if self.families.contains(&FaultFamily::Reorder) {
            // It asks what its head is, and hears what was said before it knew less.
            let after = Progress::Probe { name: "recovery_uncertain_head".to_owned(), count: 1 };
            let fault = Fault::Echo { target: Target::Replica(replica) };
            steps.push(Step { after, patience_ns: 150 * MS, fault });
        }
        if self.random.chance(600_000) {
            let (ns, down_ns) = (self.random.range(0, 60 * MS), self.random.range(200 * MS, 900 * MS));
            steps.push(at_once(ns, Target::Primary, down_ns));
        }
    }

    /// Every primary dies as its view starts, until it is the first one's turn again, with the same ops uncommitted and what was
    /// said of them in its earlier view still under way.
    fn kill_every_successor(&mut self, steps: &mut Vec<Step>) {
        let mut at_start = |fault: Fault| {
            let after = Progress::Probe { name: "view_started".to_owned(), count: 1 };
            steps.push(Step { after, patience_ns: 1_500 * MS, fault });
        };
        for _ in 1..self.replicas {
            at_start(self.kill_primary_briefly());
        }
        if self.families.contains(&FaultFamily::Reorder) {
            at_start(Fault::Echo { target: Target::Primary });
        }
    }

    fn kill_primary_briefly(&mut self) -> Fault {
        Fault::Kill { target: Target::Primary, down_ns: self.random.range(MS, 30 * MS) }
    }

    /// A primary that is cut off from the others, and not from its clients, goes on for a while with what nobody else has. Often
    /// its successor dies soon: who then finds the log must tell the longer one from the later one.
    fn kill_successor(&mut self, steps: &mut Vec<Step>) {
        if self.random.chance(400_000) {
            return;
        }
        // Nothing commits any more before there is one.
        let after = Progress::Commits { count: self.random.range(1, 4) };
        let fault = Fault::Kill { target: Target::Primary, down_ns: self.random.range(300 * MS, 1_500 * MS) };
        steps.push(Step { after, patience_ns: 1_500 * MS, fault });
    }

    /// What a step waits for. After something that may change the view, often the midst of that.
    fn progress(&mut self, last: Option<&Step>) -> Progress {
        const PHASES: [&str; 6] =
            ["view_left", "view_started", "view_joined", "view_proposed", "log_adopted", "prepare_repaired"];
        let unsettled = last.is_some_and(|step| {
            !matches!(step.fault, Fault::StepClock { .. } | Fault::FailRead { .. } | Fault::SlowDisk { .. })
        });
        if unsettled && self.random.chance(350_000) {
            let name = (*self.random.pick(&PHASES)).to_owned();
            return Progress::Probe { name, count: self.random.range(1, 2) };
        }
        if self.random.chance(150_000) {
            return Progress::Time { ns: self.random.range(0, 80 * MS) };
        }
        Progress::Commits { count: self.random.range(3, 30) }
    }

    fn fault(&mut self, family: FaultFamily) -> Fault {
        match family {
            FaultFamily::Kill => Fault::Kill { target: self.target(), down_ns: self.down_ns() },
            FaultFamily::KillMidway => self.kill_midway(),
            FaultFamily::PowerCut => {
                Fault::KillAll { down_ns: (0..self.replicas).map(|_| self.random.range(MS, 300 * MS)).collect() }
            }
            FaultFamily::Pause => Fault::Pause { target: self.target(), for_ns: self.random.range(50 * MS, 900 * MS) },
            FaultFamily::Clock => {
                let bound = if self.random.chance(300_000) { 3_600_000 * MS } else { 200 * MS };
                let delta_ns = self.random.below(2 * bound + 1) as i64 - bound as i64;
                Fault::StepClock { target: self.target(), delta_ns }
            }
            FaultFamily::DiskLatency if self.random.chance(600_000) => {
                // Rarely for longer than a primary goes on with.
                let long = self.random.chance(200_000);
                let (least, most) = if long { (1_800 * MS, 3_000 * MS) } else { (20 * MS, 1_500 * MS) };
                let target = if long { Target::Primary } else { self.target() };
                Fault::StallDisk { target, for_ns: self.random.range(least, most) }
            }
            FaultFamily::DiskLatency => Fault::SlowDisk {
                target: self.target(),
                percent: self.random.range(300, 5_000) as u32,
                for_ns: self.random.range(100 * MS, 1_500 * MS),
            },
            FaultFamily::DiskError => self.disk_error(),
            FaultFamily::Client => self.client_fault(),
            FaultFamily::Damage | FaultFamily::Wipe => unreachable!("harm takes more than a step"),
            FaultFamily::Reorder => {
                let target = if self.random.chance(700_000) { Target::Primary } else { self.target() };
                Fault::Echo { target }
            }
            FaultFamily::Partition | FaultFamily::Loss | FaultFamily::BitFlip => self.partition(),
        }
    }

    fn kill_midway(&mut self) -> Fault {
        let (target, down_ns) = (self.target(), self.down_ns());
        if self.random.chance(300_000) {
            return Fault::KillInStep { target, actions: self.random.below(5) as u32, down_ns };
        }
        let operation = match self.random.weighted(&[30, 20, 40, 10]) {
            0 => OperationKind::Barrier,
            1 => OperationKind::Write,
            2 => OperationKind::DurableWrite,
            _ => OperationKind::Read,
        };
        let moment = *self.random.pick(&DiskMoment::ALL);
        Fault::KillAtDisk { target, operation, moment, skip: self.random.below(6) as u32, down_ns }
    }

    fn disk_error(&mut self) -> Fault {
        let target = self.target();
        match self.random.weighted(&[3, 3, 2, 2]) {
            0 => Fault::FailBarrier { target },
            1 => Fault::FailWrite { target },
            2 => Fault::FailRead { target },
            _ => Fault::NoSpace { target, for_ns: self.random.range(20 * MS, 500 * MS) },
        }
    }

    fn client_fault(&mut self) -> Fault {
        let client = self.random.below(u64::from(self.clients)) as u8;
        if self.random.chance(300_000) {
            return Fault::PauseClient { client, for_ns: self.random.range(50 * MS, 900 * MS) };
        }
        let (down_ns, clock_forgets) = (self.random.range(MS, 300 * MS), self.random.chance(500_000));
        Fault::KillClient { client, down_ns, clock_forgets }
    }

    fn partition(&mut self) -> Fault {
        let for_ns = self.random.range(30 * MS, 1_200 * MS);
        match self.random.weighted(&[4, 3, 3, 3, 2, 2]) {
            0 => Fault::Isolate { target: self.target(), clients: self.random.chance(400_000), for_ns },
            1 => Fault::CutOneWay { from: self.target(), to: self.target(), for_ns },
            2 => Fault::Deafen { target: self.target(), mute: self.random.chance(500_000), for_ns },
            3 => {
                let mut side: Vec<u8> = (0..self.replicas).collect();
                self.random.shuffle(&mut side);
                side.truncate(self.random.below(u64::from(self.replicas)) as usize);
                side.sort_unstable();
                Fault::Partition { side, for_ns }
            }
            4 => {
                let client = self.random.below(u64::from(self.clients)) as u8;
                Fault::CutClient { client, target: self.target(), for_ns }
            }
            _ => Fault::Clog { from: self.target(), to: self.target(), for_ns },
        }
    }

    fn target(&mut self) -> Target {
        match self.random.weighted(&[4, 2, 4]) {
            0 => Target::Primary,
            1 if self.replicas > 1 => Target::Backup(self.random.range(1, u64::from(self.replicas) - 1) as u8),
            _ => Target::Replica(self.random.below(u64::from(self.replicas)) as u8),
        }
    }

    fn down_ns(&mut self) -> u64 {
        match self.random.weighted(&[3, 6, 1]) {
            0 => self.random.range(MS, 50 * MS),
            1 => self.random.range(50 * MS, 900 * MS),
            _ => UNTIL_HEALED_NS,
        }
    }
}

#[cfg(test)]
mod tests;
