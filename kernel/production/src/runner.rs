//! One process on one thread: its node, driven by what the system's clocks, sockets and files have to say.
//!
//! A turn takes every event that is there, begins what came of them, and waits for the next one or for the process's deadline.
//! What is sent leaves before what is written begins: the others' disks work while this one's does. With sockets and disk on one
//! ring, one system call begins both and waits for whatever ends first.
//!
//! Deliberately absent: any knowledge of a protocol, but for one rare path by its name. Whoever takes it has been sent a frame
//! that made no sense, and the connection that brought it ends.

use std::{
    any::Any,
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    time::Duration,
};

use chronon::{
    env::{Clock, Network},
    frame::Frame,
    node::{Node, Polled},
    process::{Now, ProbeId, Process},
    types::NodeId,
};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::{
    clock::SystemClock,
    disk::HostDisk,
    sinks::{Sinks, Workers},
    tcp::{Readiness, TcpNetwork, Transport},
};

/// The most events that are taken before the sockets are looked at again.
const EVENTS_MAX: u32 = 512;

/// The most of them that are taken first though they could wait, as far as anything else is there: deadlines, and what effects came to.
const LATE_MAX: u32 = 16;

/// How often, and how long each time, a process that panicked waits for its last words to be sent.
const LAST_WAITS: u32 = 20;
const LAST_WAIT: Duration = Duration::from_millis(5);

/// The probe of a process that was sent what is no frame of its protocol.
const BAD_FRAME: &str = "bad_frame";

/// Why a process runs no longer.
#[derive(Debug)]
pub enum Stop {
    /// It asked to be stopped, in its own words: it cannot go on truthfully. Restarting it recovers.
    Halted(String),
    /// It panicked, and knows in what: it would again. Restarting it recovers once the program is mended.
    Panicked(String),
    /// The system cannot tell any more what happens on sockets or disk.
    System(io::Error),
}

impl Stop {
    /// The exit status that says so: 4 for a panic, which no restart mends, and 3 for anything else.
    pub const fn exit_status(&self) -> u8 {
        match self {
            Self::Panicked(_) => 4,
            Self::Halted(_) | Self::System(_) => 3,
        }
    }
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Halted(reason) | Self::Panicked(reason) => f.write_str(reason),
            Self::System(error) => write!(f, "the system gave up the sockets or the disk: {error}"),
        }
    }
}

impl std::error::Error for Stop {}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// Looks on after every step of the process.
pub trait Watch<P> {
    /// The process took an event at `now`, and these rare paths with it.
    fn stepped(&mut self, now: Now, process: &P, probes: &[ProbeId]);
}

/// Nobody looks on.
impl<P> Watch<P> for () {
    fn stepped(&mut self, _: Now, _: &P, _: &[ProbeId]) {}
}

/// A process and what it is bound to.
pub struct Runner<P, D, T = Readiness> {
    node: Node<P>,
    clock: SystemClock,
    network: TcpNetwork<T>,
    disk: D,
    /// Whether who waits for the network waits for the disk, too, and begins what it was asked for.
    one_ring: bool,
    workers: Workers,
    bad_frame: Option<ProbeId>,
}

/// Which event a process takes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Take {
    /// The first that there is.
    First,
    /// One that would come last.
    Late,
}

impl<P: Process, D: HostDisk, T: Transport> Runner<P, D, T> {
    /// A process that starts at the first turn, under a nonce from the system's random numbers. It has no sinks for its effects.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn new(process: P, network: TcpNetwork<T>, disk: D) -> io::Result<Self> {
        Self::with_sinks(process, network, disk, Sinks::default())
    }

    /// The same with these sinks.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn with_sinks(process: P, mut network: TcpNetwork<T>, disk: D, sinks: Sinks) -> io::Result<Self> {
        let workers = Workers::new(sinks)?;
        network.watch(workers.wake())?;
        let one_ring = disk.ring().is_some_and(|ring| network.is_on(&ring));
        if !one_ring {
            network.watch(disk.wake())?;
        }
        let bad_frame = process.probes().iter().position(|name| *name == BAD_FRAME);
        let bad_frame = bad_frame.map(|place| ProbeId(place as u16));
        Ok(Self {
            node: Node::new(process, random()?),
            clock: SystemClock,
            network,
            disk,
            one_ring,
            workers,
            bad_frame,
        })
    }

    /// Takes the events that there are, performs what comes of them, and waits for more: until there is one, until the process's
    /// deadline, or until `patience` is over.
    ///
    /// # Errors
    /// If the process runs no longer. It must not be given another turn then.
    pub fn turn(&mut self, watch: &mut impl Watch<P>, patience: Duration) -> Result<(), Stop> {
        self.disk.quiet();
        self.workers.quiet();
        // However much there is to receive, the process hears what time it is.
        for _ in 0..LATE_MAX {
            if !self.step(watch, Take::Late)? {
                break;
            }
        }
        let mut more = true;
        for _ in 0..EVENTS_MAX {
            more = self.step(watch, Take::First)?;
            if !more {
                break;
            }
        }
        if !self.one_ring {
            self.network.flush()?;
            self.disk.flush()?;
        }
        let patience = if more { Duration::ZERO } else { patience.min(self.patience()) };
        Ok(self.network.wait(patience)?)
    }

    /// Takes one event, if there is one.
    fn step(&mut self, watch: &mut impl Watch<P>, take: Take) -> Result<bool, Stop> {
        let mut listening = Listening { network: &mut self.network, from: None };
        let Self { node, clock, disk, workers, .. } = self;
        #[expect(
            clippy::disallowed_methods,
            reason = "the process says what it was about, and takes no event after that"
        )]
        let polled = catch_unwind(AssertUnwindSafe(|| match take {
            Take::First => node.poll(clock, &mut listening, disk, workers),
            Take::Late => node.poll_late(clock, &mut listening, disk, workers),
        }));
        let from = listening.from;
        let polled = polled.map_err(|panic| self.stop_panicked(panic))?;
        let (now, halted) = match polled {
            Polled::Idle => return Ok(false),
            Polled::Stepped(now) => (now, false),
            Polled::Halted(now) => (now, true),
        };
        watch.stepped(now, self.node.process(), self.node.probes());
        if let Some(from) = from
            && self.bad_frame.is_some_and(|bad| self.node.probes().contains(&bad))
        {
            self.network.blame(from);
        }
        if halted {
            let reason = self.node.halted().unwrap_or("it halted").to_owned();
            return Err(Stop::Halted(reason));
        }
        Ok(true)
    }

    /// The process panicked: it is told so, and what it says of it is sent. A panic that it knows nothing of goes on.
    #[cold]
    fn stop_panicked(&mut self, panic: Box<dyn Any + Send>) -> Stop {
        let message = message_of(&*panic);
        if !self.node.panicked(&message, &mut self.network, &mut self.disk, &mut self.workers) {
            resume_unwind(panic);
        }
        for _ in 0..LAST_WAITS {
            // It is a last word: whoever does not hear it is told by nobody.
            let Ok(()) = self.network.wait(LAST_WAIT) else { break };
        }
        Stop::Panicked(self.node.halted().unwrap_or("it panicked").to_owned())
    }

    fn patience(&mut self) -> Duration {
        let Some(deadline) = self.node.deadline() else { return Duration::MAX };
        Duration::from_nanos(deadline.0.saturating_sub(self.clock.monotonic().0))
    }

    /// The process.
    pub fn process(&self) -> &P {
        self.node.process()
    }

    /// Its network.
    pub const fn network(&mut self) -> &mut TcpNetwork<T> {
        &mut self.network
    }

    /// Who does its effects.
    pub const fn workers(&self) -> &Workers {
        &self.workers
    }

    /// Its disk.
    pub const fn disk(&mut self) -> &mut D {
        &mut self.disk
    }
}

/// What a panic said, in one line.
fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    let lines: Vec<&str> = text.unwrap_or("a panic without a message").lines().map(str::trim).collect();
    lines.join("; ")
}

/// Remembers from whom the frame came that a step was about.
struct Listening<'a, T> {
    network: &'a mut TcpNetwork<T>,
    from: Option<NodeId>,
}

impl<T: Transport> Network for Listening<'_, T> {
    fn send(&mut self, to: NodeId, frame: Frame) {
        self.network.send(to, frame);
    }

    fn receive(&mut self) -> Option<(NodeId, Frame)> {
        let received = self.network.receive();
        self.from = received.as_ref().map(|(from, _)| *from);
        received
    }
}

/// A number that nobody was given before.
///
/// # Errors
/// If the system has no random numbers.
pub fn random() -> io::Result<u128> {
    let mut bytes = [0; 16];
    let mut filled = 0;
    while filled < bytes.len() {
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(u128::from_le_bytes(bytes))
}
