//! The thread that drives sessions, and the gate through which other threads hand it what to ask.
//!
//! Invariants: the gate is locked for moments only, and never while anything is called that was given from outside; the thread
//! ends with the last [`Driver`], or before it if it cannot go on, and then every request is told so: what is to be called with
//! an outcome is called, or dropped.

use std::{
    fmt, io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::JoinHandle,
    time::Duration,
};

use chronon::{client::Freshness, env::Clock, types::Instant};
use rustix::event::{EventfdFlags, eventfd};

use super::{Answer, ConnectError, Options, RequestError, Sessions};
use crate::clock::SystemClock;

/// How long a turn may take in which nothing happens.
const TURN: Duration = Duration::from_secs(1);

/// What is called with what became of a request.
pub(super) type Then = Box<dyn FnOnce(Result<Answer, RequestError>) + Send>;

/// A request or a query on its way to the thread.
pub(super) struct Ask {
    query: Option<Freshness>,
    payload: Vec<u8>,
    expiry: Instant,
    then: Then,
}

/// The thread, as those know it who ask.
pub(super) struct Driver {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    patience: Duration,
    payload_size_max: usize,
}

struct Shared {
    gate: Mutex<Gate>,
    /// There is room in the gate, or there will be no more.
    room: Condvar,
    /// Wakes the thread.
    wake: OwnedFd,
}

struct Gate {
    asks: Vec<Ask>,
    /// How many may be in here and with the sessions.
    capacity: usize,
    /// How many the sessions have.
    inside: usize,
    /// How many wait for room.
    blocked: usize,
    /// Whether the thread must be woken before it looks here again.
    asleep: bool,
    closed: bool,
}

impl Driver {
    pub(super) fn connect(
        addresses: &[SocketAddr],
        options: &Options,
        is_operator: bool,
    ) -> Result<Self, ConnectError> {
        let mut sessions = Sessions::connect_as(addresses, options, is_operator)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(io::Error::from)?;
        sessions.watch(wake.as_fd())?;
        let gate = Gate {
            asks: Vec::new(),
            capacity: options.queue_max.saturating_add(options.sessions as usize),
            inside: 0,
            blocked: 0,
            asleep: false,
            closed: false,
        };
        let shared = Arc::new(Shared { gate: Mutex::new(gate), room: Condvar::new(), wake });
        let payload_size_max = sessions.payload_size_max();
        let end = End(Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("chronon-client".to_owned());
        let thread = thread.spawn(move || drive(sessions, &end.0))?;
        Ok(Self { shared, thread: Some(thread), patience: options.patience, payload_size_max })
    }

    pub(super) const fn payload_size_max(&self) -> usize {
        self.payload_size_max
    }

    /// A query of this freshness, or a request, that may take as long as the options say.
    pub(super) fn ask(&self, query: Option<Freshness>, payload: Vec<u8>, then: Then) -> Ask {
        let patience_ns = u64::try_from(self.patience.as_nanos()).unwrap_or(u64::MAX);
        Ask { query, payload, expiry: SystemClock.monotonic().after(patience_ns), then }
    }

    /// Hands over a request, or says at once why not.
    pub(super) fn submit(&self, ask: Ask) {
        let gate = self.shared.lock();
        let refused = gate.refusal();
        self.enter(gate, refused, ask);
    }

    /// Hands over a request as soon as there is room, if there is in time.
    pub(super) fn submit_when_there_is_room(&self, ask: Ask) {
        let mut gate = self.shared.lock();
        let mut refused = gate.refusal();
        while refused == Some(RequestError::QueueFull) {
            let left_ns = ask.expiry.since(SystemClock.monotonic());
            if left_ns == 0 {
                break;
            }
            gate.blocked += 1;
            let waited = self.shared.room.wait_timeout(gate, Duration::from_nanos(left_ns));
            gate = waited.expect(NOBODY_PANICS).0;
            gate.blocked -= 1;
            refused = gate.refusal();
        }
        self.enter(gate, refused, ask);
    }

    fn enter(&self, mut gate: MutexGuard<'_, Gate>, refused: Option<RequestError>, ask: Ask) {
        if let Some(error) = refused {
            drop(gate);
            return (ask.then)(Err(error));
        }
        gate.asks.push(ask);
        let asleep = std::mem::take(&mut gate.asleep);
        drop(gate);
        if asleep {
            self.shared.wake();
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("patience", &self.patience).finish_non_exhaustive()
    }
}

impl Drop for Driver {
    /// Waits for the thread's end, unless this is that thread: what it was given to call may hold the last client.
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            // If it panicked, it has said so.
            let _ = thread.join();
        }
    }
}

const NOBODY_PANICS: &str = "nobody panics while the gate is locked";

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().expect(NOBODY_PANICS)
    }

    fn wake(&self) {
        // It cannot be full: the thread reads it.
        let _ = rustix::io::write(&self.wake, &1_u64.to_le_bytes());
    }

    /// Takes what is to be asked into the empty `asks`. Whether the thread was woken since the last time, or none if it is to end.
    fn take(&self, asks: &mut Vec<Ask>) -> Option<bool> {
        let mut gate = self.lock();
        if gate.closed {
            return None;
        }
        std::mem::swap(&mut gate.asks, asks);
        gate.inside += asks.len();
        let woken = !gate.asleep;
        gate.asleep = true;
        Some(woken)
    }

    /// The sessions have so many requests by now.
    fn make_room(&self, inside: usize) {
        let mut gate = self.lock();
        gate.inside = inside;
        let welcome = gate.blocked.min(gate.capacity.saturating_sub(inside + gate.asks.len()));
        drop(gate);
        (0..welcome).for_each(|_| self.room.notify_one());
    }
}

impl Gate {
    fn refusal(&self) -> Option<RequestError> {
        if self.closed {
            Some(RequestError::Closed)
        } else if self.inside + self.asks.len() >= self.capacity {
            Some(RequestError::QueueFull)
        } else {
            None
        }
    }
}

/// However the thread ends, nobody waits for it any more.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        let mut gate = self.0.lock();
        gate.closed = true;
        let asks = std::mem::take(&mut gate.asks);
        drop(gate);
        self.0.room.notify_all();
        drop(asks);
    }
}

fn drive(mut sessions: Sessions<Then>, shared: &Shared) {
    let mut asks = Vec::new();
    // How often the thread was woken that it has not taken notice of.
    let mut wakes = 0_u64;
    // How many requests the gate knows the sessions to have.
    let mut inside = 0;
    while let Some(woken) = shared.take(&mut asks) {
        wakes += u64::from(woken);
        let mut count = [0; 8];
        if wakes > 0 && rustix::io::read(&shared.wake, &mut count).is_ok() {
            wakes = wakes.saturating_sub(u64::from_le_bytes(count));
        }
        inside += asks.len();
        for Ask { query, payload, expiry, then } in asks.drain(..) {
            sessions.submit_as(query, then, payload, expiry);
        }
        if let Err(error) = sessions.turn(TURN) {
            tracing::error!(%error, "a client ends: the system cannot tell what happens on its sockets");
            return;
        }
        if sessions.occupied() != inside {
            // First, so that whoever hears of an outcome and asks again finds room.
            inside = sessions.occupied();
            shared.make_room(inside);
        }
        while let Some((then, result)) = sessions.next() {
            then(result);
        }
    }
}
