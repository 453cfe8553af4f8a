//! The ring: what is asked of the system, and what it answers, whoever asked.
//!
//! A replica has one for its disk and its sockets: one system call begins all that was asked for and waits for the next answer.
//! What sockets ask begins before what the disk asks, so that the others' disks work while this one's does.
//!
//! Invariants: an answer reaches the side that asked and no other, for each carries its kind; no number is used twice for two
//! sockets, so that no answer reaches a later one; and once a disk is gone, nothing that it asked for is begun any more.
#![expect(unsafe_code, reason = "the system is given addresses, and the descriptor of a ring that is open is borrowed")]

use std::{
    cell::{RefCell, RefMut},
    collections::VecDeque,
    fmt, io,
    os::fd::{AsRawFd, BorrowedFd},
    rc::Rc,
    time::Duration,
};

use io_uring::{EnterFlags, IoUring, Probe, opcode, squeue, types};
use rustix::io::Errno;

use super::{Refusal, memory::Memory};

/// The most that the system is handed by one call; what is more takes another.
const PUSHED_MAX: u32 = 256;

/// Answers that there is room for. The system keeps those that are more, and gives them later.
const ANSWERS_MAX: u32 = 4096;

/// The bits of an answer's name that are a number; those above are its kind.
const NUMBER_BITS: u32 = 56;

/// The largest number that a name has room for.
pub(crate) const NUMBER_MAX: u64 = (1 << NUMBER_BITS) - 1;

/// What was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A part of an operation of the disk: even, unless it is the sync that is linked to the part before.
    Disk,
    Receive,
    Send,
    Connect,
    Poll,
    /// That another ends early. Its own answer says nothing: the other's does.
    Cancel,
}

const KINDS: [Kind; 6] = [Kind::Disk, Kind::Receive, Kind::Send, Kind::Connect, Kind::Poll, Kind::Cancel];

impl Kind {
    /// The name that an answer bears.
    ///
    /// # Panics
    /// If the number has no room in it.
    pub(super) fn name(self, number: u64) -> u64 {
        assert!(number <= NUMBER_MAX, "a number fits beside its kind");
        (self as u64) << NUMBER_BITS | number
    }

    fn of(name: u64) -> (Self, u64) {
        (KINDS[(name >> NUMBER_BITS) as usize], name & NUMBER_MAX)
    }

    const fn side(self) -> Side {
        match self {
            Self::Disk => Side::Disk,
            _ => Side::Sockets,
        }
    }
}

/// Who asks, in the order in which what they ask is begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    Sockets,
    Disk,
}

const SIDES: usize = 2;

/// What was asked for, and the system's answer: a count, or an error's number with a minus.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    pub(super) kind: Kind,
    pub(super) number: u64,
    pub(super) result: i32,
}

/// An io_uring that a disk and sockets share. It stays on the thread that made it.
#[derive(Clone)]
pub struct Ring(Rc<RefCell<Core>>);

struct Core {
    uring: IoUring,
    /// By side, what was asked for and not yet pushed.
    asked: [VecDeque<squeue::Entry>; SIDES],
    /// The names of what was pushed and not yet taken by the system, in order.
    pushed: VecDeque<u64>,
    /// By side, how much the system has taken and not answered.
    begun: [usize; SIDES],
    /// By side, what it has answered.
    answered: [VecDeque<Answer>; SIDES],
    /// Linked syncs of the disk that were taken apart from their writes.
    severed: Vec<u64>,
    /// Nothing is begun any more: see [`Ring::withdraw`].
    closed: bool,
    /// What sockets need and this system's rings lack.
    lacks: Option<&'static str>,
    /// Memory that the system was told of beforehand: freed when the ring is closed, and so declared behind it.
    registered: Vec<Memory>,
    /// How much the system takes at a time.
    #[cfg(test)]
    appetite: Option<usize>,
    #[cfg(test)]
    history: Vec<u64>,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let core = self.0.borrow();
        write!(f, "Ring({:?} begun for sockets and disk)", core.begun)
    }
}

/// The operations that a disk asks for, for the system's own answer whether it has them.
const OPERATIONS: [(u8, &str); 6] = [
    (opcode::Nop::CODE, "nop"),
    (opcode::Read::CODE, "read"),
    (opcode::Write::CODE, "write"),
    (opcode::ReadFixed::CODE, "read_fixed"),
    (opcode::WriteFixed::CODE, "write_fixed"),
    (opcode::Fsync::CODE, "fsync"),
];

/// Those that sockets ask for.
const SOCKET_OPERATIONS: [(u8, &str); 5] = [
    (opcode::Recv::CODE, "recv"),
    (opcode::Send::CODE, "send"),
    (opcode::Connect::CODE, "connect"),
    (opcode::PollAdd::CODE, "poll_add"),
    (opcode::AsyncCancel::CODE, "async_cancel"),
];

impl Ring {
    /// A ring for a disk, and for sockets if [`Ring::takes_sockets`].
    ///
    /// # Errors
    /// If the system gives none, takes nothing that is submitted to it, or lacks what a disk needs.
    pub fn new() -> Result<Self, Refusal> {
        let ring = |cooperative: bool| {
            let mut builder = IoUring::builder();
            builder.dontfork().setup_cqsize(ANSWERS_MAX);
            if cooperative {
                // Who waits here anyway need not be interrupted to be told that there is an answer.
                builder.setup_coop_taskrun();
            }
            builder.build(PUSHED_MAX)
        };
        // A system from before 5.19 knows no cooperation.
        let uring = ring(true).or_else(|_| ring(false)).map_err(Refusal::Ring)?;
        // To set one up may be allowed, and to use it not.
        uring.submit().map_err(Refusal::Ring)?;
        let mut probe = Probe::new();
        if uring.submitter().register_probe(&mut probe).is_err() {
            return Err(Refusal::Operation("probe"));
        }
        let missing = |operations: &[(u8, &'static str)]| {
            operations.iter().find(|(code, _)| !probe.is_supported(*code)).map(|(_, name)| *name)
        };
        if let Some(name) = missing(&OPERATIONS) {
            return Err(Refusal::Operation(name));
        }
        let parameters = uring.params();
        let lacks = missing(&SOCKET_OPERATIONS)
            .or((!parameters.is_feature_fast_poll()).then_some("IORING_FEAT_FAST_POLL"))
            .or((!parameters.is_feature_nodrop()).then_some("IORING_FEAT_NODROP"))
            .or((!parameters.is_feature_ext_arg()).then_some("IORING_FEAT_EXT_ARG"));
        Ok(Self(Rc::new(RefCell::new(Core {
            uring,
            asked: Default::default(),
            pushed: VecDeque::new(),
            begun: [0; SIDES],
            answered: Default::default(),
            severed: Vec::new(),
            closed: false,
            lacks,
            registered: Vec::new(),
            #[cfg(test)]
            appetite: None,
            #[cfg(test)]
            history: Vec::new(),
        }))))
    }

    /// Whether sockets can be on this ring.
    ///
    /// # Errors
    /// If the system is too old for that.
    pub fn takes_sockets(&self) -> Result<(), Refusal> {
        self.core().lacks.map_or(Ok(()), |name| Err(Refusal::Sockets(name)))
    }

    /// Whether this is that ring.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    fn core(&self) -> RefMut<'_, Core> {
        self.0.borrow_mut()
    }

    /// Readable when there are answers.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        let number = self.core().uring.as_raw_fd();
        // SAFETY: the descriptor is open as long as the ring is, which is not closed while this handle of it is borrowed.
        unsafe { BorrowedFd::borrow_raw(number) }
    }

    /// Tells the system of memory beforehand, which then is the operations' buffer 0. Whether it took notice: memory that may not
    /// be pinned is as good as any, and costs a little more at each operation.
    pub(super) fn register(&self, memory: &mut Memory) -> bool {
        let whole = 0..memory.length();
        // SAFETY: the disk that registers its memory has asked for nothing yet.
        let slices = [io::IoSliceMut::new(unsafe { memory.bytes(whole) })];
        // SAFETY: an `IoSliceMut` has the layout of the `iovec` that is asked for, as its documentation promises.
        let vectors = unsafe { std::slice::from_raw_parts(slices.as_ptr().cast(), slices.len()) };
        // SAFETY: the memory is freed after the ring is closed, for it is handed to `keep`, or not at all.
        unsafe { self.core().uring.submitter().register_buffers(vectors) }.is_ok()
    }

    /// Keeps memory that was registered until the ring is closed.
    pub(super) fn keep(&self, memory: Memory) {
        self.core().registered.push(memory);
    }

    /// Asks for something, which begins with the next [`Ring::begin`] or [`Ring::wait`].
    ///
    /// # Safety
    /// The memory that the entry names is valid until it was answered, nobody reads it meanwhile if the system writes it, and
    /// nobody writes it at all.
    ///
    /// # Panics
    /// If the number has no room beside its kind.
    pub(super) unsafe fn ask(&self, kind: Kind, number: u64, entry: squeue::Entry) {
        let entry = entry.user_data(kind.name(number));
        self.core().asked[kind.side() as usize].push_back(entry);
    }

    /// Begins what was asked for, with one system call as a rule and with none if that is nothing. What the system has no room for
    /// now is left for the next time.
    ///
    /// # Errors
    /// If the system refuses.
    pub(super) fn begin(&self) -> io::Result<()> {
        self.core().enter(None)
    }

    /// Begins what was asked for and waits until there is an answer, to whomever, or until `patience` is over.
    ///
    /// # Errors
    /// If the system refuses.
    pub(super) fn wait(&self, patience: Duration) -> io::Result<()> {
        let mut core = self.core();
        core.reap();
        let idle = core.answered.iter().all(VecDeque::is_empty) && !patience.is_zero();
        core.enter(idle.then_some(patience))
    }

    /// The next answer to this side, without a system call.
    pub(super) fn answer(&self, side: Side) -> Option<Answer> {
        let mut core = self.core();
        if core.answered[side as usize].is_empty() {
            core.reap();
        }
        core.answered[side as usize].pop_front()
    }

    /// The disk is going: what it asked for and the system was not handed never happens. What the system was handed and has not
    /// taken cannot be had back, and so it is handed nothing any more.
    pub(super) fn withdraw(&self) {
        let mut core = self.core();
        core.asked[Side::Disk as usize].clear();
        core.closed |= core.pushed.iter().any(|name| Kind::of(*name).0.side() == Side::Disk);
    }

    /// Waits for an answer, whoever it is for. False if the system cannot tell.
    pub(super) fn await_answer(&self) -> bool {
        let core = self.core();
        let waited = core.enter_once(0, true);
        matches!(waited, Ok(_) | Err(Errno::INTR | Errno::AGAIN | Errno::BUSY))
    }

    /// How much of what this side asked for the system has taken and not answered.
    pub(super) fn begun(&self, side: Side) -> usize {
        self.core().begun[side as usize]
    }

    /// As on a system that is too old for sockets.
    #[cfg(test)]
    pub(crate) fn lack(&self, name: &'static str) {
        self.core().lacks = Some(name);
    }

    /// Has the system take so much at a time.
    #[cfg(test)]
    pub(super) fn set_appetite(&self, appetite: Option<usize>) {
        self.core().appetite = appetite;
    }

    /// How much the system was handed and has not taken.
    #[cfg(test)]
    pub(super) fn pushed(&self) -> usize {
        self.core().pushed.len()
    }

    /// Everything that the system ever took, in order.
    #[cfg(test)]
    pub(super) fn history(&self) -> Vec<(Kind, u64)> {
        self.core().history.iter().map(|name| Kind::of(*name)).collect()
    }
}

impl Core {
    /// Hands over what was asked for, as much as there is room for: the sockets' first. Nothing comes between a write and the sync
    /// that is linked to it: the link would be to that instead.
    fn push(&mut self) {
        let mut queue = self.uring.submission();
        for asked in &mut self.asked {
            while let Some(first) = asked.front() {
                let follows = asked.get(1).is_some_and(|next| is_linked(first.get_user_data(), next.get_user_data()));
                if self.pushed.len() + usize::from(follows) >= PUSHED_MAX as usize {
                    break;
                }
                let Some(entry) = asked.pop_front() else { break };
                self.pushed.push_back(entry.get_user_data());
                // SAFETY: whoever asked has promised what an entry's memory needs until it is answered.
                let pushed = unsafe { queue.push(&entry) };
                pushed.expect("the queue has room for what it has not yet been handed");
            }
        }
    }

    /// Begins all that was asked for; then waits for an answer, if there is a patience.
    fn enter(&mut self, patience: Option<Duration>) -> io::Result<()> {
        if self.closed {
            return Err(io::Error::other("the ring was closed with its disk"));
        }
        loop {
            self.push();
            let all = self.asked.iter().all(VecDeque::is_empty);
            let patience = patience.filter(|_| all);
            let entered = match patience {
                None if self.pushed.is_empty() => return Ok(()),
                None => self.enter_once(self.pushed.len(), false),
                Some(patience) => self.enter_and_wait(patience),
            };
            match entered {
                Ok(count) => {
                    self.taken(count);
                    if count == 0 || (all && self.pushed.is_empty()) {
                        return Ok(());
                    }
                }
                Err(Errno::INTR) if patience.is_none() => {}
                // It is time; or there is no room for more now.
                Err(Errno::INTR | Errno::TIME | Errno::AGAIN | Errno::BUSY) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn enter_once(&self, submitted: usize, waits: bool) -> Result<usize, Errno> {
        #[cfg(test)]
        let submitted = self.appetite.map_or(submitted, |appetite| submitted.min(appetite));
        let flags = if waits { EnterFlags::GETEVENTS } else { EnterFlags::empty() };
        let submitter = self.uring.submitter();
        // SAFETY: there is no argument, and none of the flags asks for one. What is submitted was pushed, with its proof there.
        let entered = unsafe { submitter.enter::<()>(submitted as u32, u32::from(waits), flags.bits(), None) };
        entered.map_err(errno)
    }

    fn enter_and_wait(&self, patience: Duration) -> Result<usize, Errno> {
        let patience = types::Timespec::from(patience);
        let arguments = types::SubmitArgs::new().timespec(&patience);
        self.uring.submitter().submit_with_args(1, &arguments).map_err(errno)
    }

    /// The system took the first `count` of what was pushed.
    fn taken(&mut self, count: usize) {
        let mut last = None;
        for name in self.pushed.drain(..count) {
            self.begun[Kind::of(name).0.side() as usize] += 1;
            last = Some(name);
            #[cfg(test)]
            self.history.push(name);
        }
        // A link does not reach over the end of what is taken at once.
        if let (Some(last), Some(&next)) = (last, self.pushed.front())
            && is_linked(last, next)
        {
            self.severed.push(next);
        }
    }

    /// Sorts what the system has answered.
    fn reap(&mut self) {
        for entry in self.uring.completion() {
            let name = entry.user_data();
            let (kind, number) = Kind::of(name);
            let mut result = entry.result();
            self.begun[kind.side() as usize] -= 1;
            if let Some(at) = self.severed.iter().position(|severed| *severed == name) {
                self.severed.swap_remove(at);
                // A sync that may have begun before its write was done says nothing about it, unless it failed.
                result = if result >= 0 { -Errno::CANCELED.raw_os_error() } else { result };
            }
            if kind != Kind::Cancel {
                self.answered[kind.side() as usize].push_back(Answer { kind, number, result });
            }
        }
    }
}

/// Whether one name is that of the sync that is linked to the write of the other name.
fn is_linked(write: u64, sync: u64) -> bool {
    Kind::of(write).0 == Kind::Disk && write.is_multiple_of(2) && sync == write + 1
}

fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
