//! Asking replicas how they are: any number at once, on the thread that wants to know.
//!
//! Invariant: nothing outlives who asks. An address where nobody answers, or somebody who says nothing, delays no answer of another, and is
//! let go of with the rest.

use std::{
    fmt,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{SocketFlags, connect, sockopt},
};

use super::Status;
use crate::tcp::{HELLO_SIZE, operator_hello, socket};

/// The longest answer that is read.
const ANSWER_SIZE_MAX: u32 = 1 << 20;

/// How much is read at once.
const CHUNK: usize = 16 * 1024;

/// Why a replica did not say how it is.
#[derive(Debug)]
pub enum AskError {
    /// It cannot be reached, or says nothing.
    Unreachable(SocketAddr, io::Error),
    /// Whoever listens there is no replica, or one of another version.
    Foreign(SocketAddr),
}

impl AskError {
    fn of(address: SocketAddr, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData => Self::Foreign(address),
            _ => Self::Unreachable(address, error),
        }
    }
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(address, error) => write!(f, "no replica answers at {address}: {error}"),
            Self::Foreign(address) => write!(f, "whoever listens at {address} is no replica of this version"),
        }
    }
}

impl std::error::Error for AskError {}

/// Asks the replica at `address` how it is.
///
/// # Errors
/// If it does not answer within `patience`, or if whoever answers is no replica.
pub fn ask(address: SocketAddr, patience: Duration) -> Result<Status, AskError> {
    let answer = Questions::ask(&[address]).next(patience);
    answer.map_or_else(|| Err(AskError::of(address, io::ErrorKind::TimedOut.into())), |(_, answer)| answer)
}

/// Questions that were asked and not answered.
pub(crate) struct Questions {
    open: Vec<Question>,
}

impl Questions {
    /// Asks all of them.
    pub(crate) fn ask(addresses: &[SocketAddr]) -> Self {
        let ask = |(place, address): (usize, &SocketAddr)| Question::ask(place, *address);
        Self { open: addresses.iter().enumerate().map(ask).collect() }
    }

    /// The next answer, and the place of the address that it is of. Of who has not answered within `patience` that is told. None if nobody
    /// is left.
    pub(crate) fn next(&mut self, patience: Duration) -> Option<(usize, Result<Status, AskError>)> {
        let began = Instant::now();
        loop {
            if let Some(come) = self.open.iter().position(|question| question.came.is_some()) {
                return Some(self.open.remove(come).told());
            }
            let first = self.open.first_mut()?;
            let left = patience.saturating_sub(began.elapsed());
            if left.is_zero() {
                first.came = Some(Err(io::ErrorKind::TimedOut.into()));
            } else if let Err(error) = self.wait(left) {
                self.open[0].came = Some(Err(error));
            }
        }
    }

    /// Waits until something happens, or for so long, and takes notice of it.
    fn wait(&mut self, patience: Duration) -> io::Result<()> {
        let wanted = |question: &Question| if question.is_asked() { PollFlags::IN } else { PollFlags::OUT };
        let mut awaited: Vec<PollFd<'_>> = (self.open.iter())
            .filter_map(|question| Some(PollFd::new(question.stream.as_ref()?, wanted(question))))
            .collect();
        let timeout = Timespec {
            tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: patience.subsec_nanos().into(),
        };
        match poll(&mut awaited, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        self.open.iter_mut().for_each(Question::go_on);
        Ok(())
    }
}

/// What one replica is asked.
struct Question {
    place: usize,
    address: SocketAddr,
    /// None if it is known what came of it.
    stream: Option<TcpStream>,
    is_connected: bool,
    /// How much of the question was sent.
    sent: usize,
    heard: Vec<u8>,
    came: Option<io::Result<Vec<u8>>>,
}

impl Question {
    fn ask(place: usize, address: SocketAddr) -> Self {
        let (heard, came) = (Vec::new(), None);
        let mut question = Self { place, address, stream: None, is_connected: false, sent: 0, heard, came };
        match dial(&address) {
            Ok(stream) => question.stream = Some(stream),
            Err(error) => question.came = Some(Err(error.into())),
        }
        question
    }

    const fn is_asked(&self) -> bool {
        self.sent == HELLO_SIZE
    }

    /// Takes every step that there is nothing to wait for.
    fn go_on(&mut self) {
        match self.step() {
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            came => (self.came, self.stream) = (came.transpose(), None),
        }
    }

    /// What came, if all of it has; an error if it has to be waited for.
    fn step(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(stream) = &mut self.stream else { return Ok(None) };
        if !self.is_connected {
            sockopt::socket_error(&*stream)??;
            // There is no error before it is decided, either.
            stream.peer_addr().map_err(|_| io::ErrorKind::WouldBlock)?;
            self.is_connected = true;
        }
        while self.sent < HELLO_SIZE {
            let rest = &operator_hello()[self.sent..];
            self.sent += again(|| stream.write(rest))?;
        }
        loop {
            let length = self.heard.len();
            self.heard.resize(length + CHUNK, 0);
            let count = again(|| stream.read(&mut self.heard[length..]));
            self.heard.truncate(length + *count.as_ref().unwrap_or(&0));
            if count? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(answer) = answer_in(&self.heard)? {
                return Ok(Some(answer.to_vec()));
            }
        }
    }

    /// Its place and what came of it.
    fn told(self) -> (usize, Result<Status, AskError>) {
        let Self { place, address, came, .. } = self;
        let came = came.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()));
        let answer = came.map_err(|error| AskError::of(address, error));
        (place, answer.and_then(|answer| serde_json::from_slice(&answer).map_err(|_| AskError::Foreign(address))))
    }
}

/// The answer in what was heard, if all of it was.
fn answer_in(heard: &[u8]) -> io::Result<Option<&[u8]>> {
    // Whoever speaks another version hangs up, and has said so.
    if heard.iter().zip(&operator_hello()[..10]).any(|(heard, ours)| heard != ours) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let Some((length, rest)) = heard.get(HELLO_SIZE..).and_then(<[u8]>::split_first_chunk) else { return Ok(None) };
    let length = u32::from_le_bytes(*length);
    if length > ANSWER_SIZE_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(rest.get(..length as usize))
}

/// A connection that is being established.
fn dial(address: &SocketAddr) -> Result<TcpStream, Errno> {
    let stream = socket(address, SocketFlags::NONBLOCK)?;
    match connect(&stream, address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(stream),
        Err(error) => Err(error),
    }
}

/// Calls again what a signal interrupted.
fn again(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
