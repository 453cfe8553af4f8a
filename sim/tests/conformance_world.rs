//! The conformance suites against the disk, network and clocks that a process in a simulated world has, and against broken
//! ones, which they must refuse.

use std::{collections::VecDeque, sync::Arc};

use chronon::{
    env::{Clock, DiskOperation, Network, VirtualDisk},
    frame::Frame,
    process::{Actions, Completion, Event, Now, Process, Token},
    types::{Instant, NodeId, Timestamp},
};
use chronon_sim::{
    clock::ClockSettings,
    conformance::{
        ClockRig, DISK_CAPACITY_MIN, DiskRig, NetworkRig, check_clock, check_disk, check_network, submit_unaligned,
    },
    disk::DiskSettings,
    network::LinkSettings,
    world::{NodeSettings, World, WorldSettings},
};

#[expect(clippy::disallowed_types, reason = "the suites reach into a process from outside, which no process does")]
type Shared<T> = Arc<std::sync::Mutex<T>>;

/// How often a puppet looks whether it is to do something.
const LOOK_NS: u64 = 20_000;

/// A process that does what the test tells it, and keeps what it is told for the test.
#[derive(Clone)]
struct Puppet {
    strings: Shared<Strings>,
    next: Instant,
}

#[derive(Default)]
struct Strings {
    operations: Vec<(Token, DiskOperation)>,
    completions: VecDeque<Completion>,
    outbox: Vec<(NodeId, Frame)>,
    inbox: VecDeque<(NodeId, Frame)>,
    now: Option<Now>,
}

impl Process for Puppet {
    fn step(&mut self, now: Now, event: Event<'_>, actions: &mut Actions) {
        let mut strings = self.strings.lock().expect("nothing panics while it pulls");
        match event {
            Event::Start { .. } => *strings = Strings::default(),
            Event::Message { from, frame } => strings.inbox.push_back((from, frame.clone())),
            Event::DiskCompletion(completion) => strings.completions.push_back(completion.clone()),
            Event::Deadline | Event::EffectOutcome(_) => {}
        }
        for (to, frame) in strings.outbox.drain(..) {
            actions.send(to, frame);
        }
        for (token, operation) in strings.operations.drain(..) {
            match operation {
                DiskOperation::Read { offset, length } => actions.read(token, offset, length),
                DiskOperation::Write { offset, data, durable } => actions.write(token, offset, data, durable),
                DiskOperation::Barrier => actions.barrier(token),
            }
        }
        strings.now = Some(now);
        self.next = now.monotonic.after(LOOK_NS);
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.next)
    }
}

/// What a puppet has, as the suites see it: whole, or broken in one way.
struct Port {
    strings: Shared<Strings>,
    flaw: Option<Flaw>,
    readings: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flaw {
    NamesTheWrongSender,
    CutsLongFrames,
    JoinsFrames,
    IsDeafToOne,
    Invents,
    ClockGoesBack,
    ClockStandsStill,
    ClockTellsMilliseconds,
}

impl Port {
    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Strings) -> T) -> T {
        act(&mut self.strings.lock().expect("nothing panics while it pulls"))
    }

    fn now(&self) -> Now {
        self.with(|strings| strings.now).expect("the puppet has started")
    }
}

impl Clock for Port {
    fn monotonic(&mut self) -> Instant {
        self.readings += 1;
        let reading = self.now().monotonic;
        match self.flaw {
            Some(Flaw::ClockGoesBack) if self.readings.is_multiple_of(100) => Instant(reading.0.saturating_sub(1)),
            Some(Flaw::ClockStandsStill) => Instant(1),
            _ => reading,
        }
    }

    fn realtime(&mut self) -> Timestamp {
        let reading = self.now().realtime;
        if self.is(Flaw::ClockTellsMilliseconds) { Timestamp(reading.0 / 1_000_000) } else { reading }
    }
}

impl Network for Port {
    fn send(&mut self, to: NodeId, frame: Frame) {
        self.with(|strings| strings.outbox.push((to, frame)));
    }

    fn receive(&mut self) -> Option<(NodeId, Frame)> {
        if self.is(Flaw::Invents) {
            return Some((NodeId(1), Frame::new(vec![1])));
        }
        let (mut from, mut frame) = self.with(|strings| strings.inbox.pop_front())?;
        if self.is(Flaw::IsDeafToOne) && from == NodeId(2) {
            return None;
        }
        if self.is(Flaw::NamesTheWrongSender) {
            from = NodeId((from.0 + 1) % 3);
        }
        if self.is(Flaw::CutsLongFrames) {
            frame = frame.slice(0, frame.len().min(65_535));
        }
        if self.is(Flaw::JoinsFrames)
            && let Some((_, next)) = self.with(|strings| strings.inbox.pop_front())
        {
            frame = Frame::new([&frame[..], &next[..]].concat());
        }
        Some((from, frame))
    }
}

impl VirtualDisk for Port {
    fn submit(&mut self, token: Token, operation: DiskOperation) {
        self.with(|strings| strings.operations.push((token, operation)));
    }

    fn poll(&mut self) -> Option<Completion> {
        self.with(|strings| strings.completions.pop_front())
    }
}

/// A world of three puppets.
struct Theatre {
    world: World,
    ports: Vec<Port>,
}

impl Theatre {
    fn new(seed: u64, link: LinkSettings, drift_ppb: i32, flaw: Option<Flaw>) -> Self {
        let node = NodeSettings {
            clock: ClockSettings { monotonic_ns: 1_000_000, drift_ppb, ..ClockSettings::default() },
            disk: DiskSettings { capacity: DISK_CAPACITY_MIN, ..DiskSettings::default() },
        };
        let mut world = World::with_settings(seed, WorldSettings { link, node, ..WorldSettings::default() });
        let ports = ["a", "b", "c"]
            .map(|name| {
                let strings = Shared::default();
                world.add_node(name, Puppet { strings: Arc::clone(&strings), next: Instant(0) });
                Port { strings, flaw, readings: 0 }
            })
            .into();
        world.run_for(LOOK_NS);
        Self { world, ports }
    }

    fn sound(seed: u64) -> Self {
        Self::new(seed, LinkSettings::default(), 0, None)
    }

    fn flawed(flaw: Flaw) -> Self {
        Self::new(1, LinkSettings::default(), 0, Some(flaw))
    }

    fn run(&mut self, duration_ns: u64) {
        self.world.run_for(duration_ns);
        assert_eq!(self.world.verdict(), None);
    }
}

impl ClockRig for Theatre {
    fn clock(&mut self) -> &mut dyn Clock {
        &mut self.ports[0]
    }

    fn pass(&mut self, duration_ns: u64) {
        self.run(duration_ns);
    }
}

impl NetworkRig for Theatre {
    fn nodes(&self) -> u32 {
        3
    }

    fn network(&mut self, node: NodeId) -> &mut dyn Network {
        &mut self.ports[node.0 as usize]
    }

    fn wait(&mut self) {
        self.run(5 * LOOK_NS);
    }
}

impl DiskRig for Theatre {
    fn disk(&mut self) -> &mut dyn VirtualDisk {
        &mut self.ports[0]
    }

    fn capacity(&self) -> u64 {
        DISK_CAPACITY_MIN
    }

    fn wait(&mut self) {
        self.run(2 * LOOK_NS);
    }

    fn reopen(&mut self) {
        // Operations that the puppet has not heard of yet die with it, as they would in a process that crashes.
        self.world.kill(NodeId(0));
        self.world.restart(NodeId(0));
        self.run(1);
    }
}

#[test]
fn the_disk_of_a_simulated_process_conforms() {
    for seed in 0..5 {
        check_disk(&mut Theatre::sound(seed));
    }
}

#[test]
#[should_panic(expected = "multiples of the sector")]
fn the_disk_of_a_simulated_process_refuses_what_is_not_aligned() {
    let mut theatre = Theatre::sound(1);
    submit_unaligned(&mut theatre);
    theatre.run(LOOK_NS);
}

#[test]
fn a_sound_simulated_network_conforms() {
    check_network(&mut Theatre::sound(1));
}

#[test]
fn a_lossy_reordering_duplicating_network_conforms() {
    let rough = LinkSettings {
        loss_ppm: 300_000,
        duplication_ppm: 100_000,
        reorder_ppm: 200_000,
        in_flight_max: 16,
        ..LinkSettings::default()
    };
    check_network(&mut Theatre::new(2, rough, 0, None));
}

#[test]
fn a_simulated_clock_conforms_however_it_drifts() {
    for drift_ppb in [0, 500_000_000, -500_000_000, 1, -900_000_000] {
        check_clock(&mut Theatre::new(3, LinkSettings::default(), drift_ppb, None));
    }
}

/// One test for each flaw: the suite refuses it in these words.
macro_rules! refused {
    ($($name:ident: $make:expr => $words:literal;)*) => {
        $(#[test]
        #[should_panic(expected = $words)]
        fn $name() {
            $make;
        })*
    };
}

refused! {
    a_network_that_corrupts_is_refused: check_network(&mut Theatre::new(
        1,
        LinkSettings { corruption_ppm: 500_000, ..LinkSettings::default() },
        0,
        None,
    )) => "received a frame";
    a_network_that_names_the_wrong_sender_is_refused:
        check_network(&mut Theatre::flawed(Flaw::NamesTheWrongSender)) => "received a frame of";
    a_network_that_joins_frames_is_refused:
        check_network(&mut Theatre::flawed(Flaw::JoinsFrames)) => "nobody sent";
    a_network_that_cuts_frames_is_refused:
        check_network(&mut Theatre::flawed(Flaw::CutsLongFrames)) => "nobody sent";
    a_network_that_is_deaf_to_one_is_refused:
        check_network(&mut Theatre::flawed(Flaw::IsDeafToOne)) => "never arrived";
    a_network_that_invents_frames_is_refused:
        check_network(&mut Theatre::flawed(Flaw::Invents)) => "although nobody sent";
    a_clock_that_goes_back_is_refused:
        check_clock(&mut Theatre::flawed(Flaw::ClockGoesBack)) => "went back";
    a_clock_that_stands_still_is_refused:
        check_clock(&mut Theatre::flawed(Flaw::ClockStandsStill)) => "stood still";
    a_clock_that_tells_milliseconds_is_refused:
        check_clock(&mut Theatre::flawed(Flaw::ClockTellsMilliseconds)) => "not nanoseconds";
}
