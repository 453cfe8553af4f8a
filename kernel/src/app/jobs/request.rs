//! What can be asked of the job queue, what that comes to, and why it is refused: with the encodings.
//!
//! ```text
//! request                                                   response
//!   1 enqueue   what is to be done: bytes                     1 enqueued   job u64
//!   2 lease     duration u64                                  2 leased     job u64, token u64, until u64, bytes
//!   3 extend    job u64, token u64, duration u64              3 extended   until u64
//!   4 complete  job u64, token u64                            4 completed
//!   5 fail      job u64, token u64                            5 failed     dead u8
//!   6 look      job u64                                       6 standing   stage u8, attempts u32, token u64, until u64
//!   7 count                                                   7 counts     waiting, leased, done, dead: u64 each
//! ```

use alloc::vec::Vec;
use core::fmt;

use crate::app::application::Rejection;

/// What can be asked of the job queue. Durations and times are nanoseconds of the log's time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request<'a> {
    /// Have something done.
    Enqueue {
        /// What, in words between those who ask for it and those who do it.
        what: &'a [u8],
    },
    /// Give me something to do.
    Lease {
        /// For so long.
        duration_ns: u64,
    },
    /// I am still at it.
    Extend {
        /// At which job.
        job: u64,
        /// Under which token.
        token: u64,
        /// For so long from now.
        duration_ns: u64,
    },
    /// It is done.
    Complete {
        /// Which job.
        job: u64,
        /// Under which token.
        token: u64,
    },
    /// I cannot do it.
    Fail {
        /// Which job.
        job: u64,
        /// Under which token.
        token: u64,
    },
    /// How is a job?
    Look {
        /// Which.
        job: u64,
    },
    /// How many jobs are there?
    Count,
}

/// What a request came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Response {
    /// The job will be done.
    Enqueued {
        /// Its number.
        job: u64,
    },
    /// Do this.
    Leased {
        /// The job.
        job: u64,
        /// The fencing token: give it to whatever the work is done on, which refuses whoever comes with a lower one.
        token: u64,
        /// When the lease ends, in the log's time.
        until: u64,
        /// What is to be done.
        what: Vec<u8>,
    },
    /// The lease goes on.
    Extended {
        /// When it ends now.
        until: u64,
    },
    /// It counts as done.
    Completed,
    /// Somebody else may try.
    Failed {
        /// Nobody may: it was tried often enough.
        dead: bool,
    },
    /// How a job is.
    Standing(Standing),
    /// How many there are.
    Counts(Counts),
}

/// How a job is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Standing {
    /// Where it is in its life.
    pub stage: Stage,
    /// How often it was leased.
    pub attempts: u32,
    /// The token of its latest lease, 0 if there was none.
    pub token: u64,
}

/// Where a job is in its life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    /// For a worker.
    Waiting,
    /// A worker has it.
    Leased {
        /// Until then.
        until: u64,
    },
    /// It was completed.
    Done {
        /// Under this token.
        under: u64,
    },
    /// It was tried as often as jobs are.
    Dead,
}

/// How many jobs there are, and how many have ended since the beginning.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// For a worker.
    pub waiting: u64,
    /// With a worker.
    pub leased: u64,
    /// Completed.
    pub done: u64,
    /// Given up.
    pub dead: u64,
}

/// Why the queue refuses a request: the code of its [`Rejection`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u32)]
pub enum Refusal {
    /// The bytes are no request.
    Malformed = 1,
    /// There is no job of that number, or it ended long ago.
    NoJob = 2,
    /// Nothing waits to be done.
    Nothing = 3,
    /// The token is not that of a lease of this job that lasts.
    StaleToken = 4,
    /// No lease is so short or so long.
    Duration = 5,
    /// What is to be done is too long to say.
    TooLong = 6,
    /// There are as many jobs, or leases, as there may be.
    Full = 7,
}

impl Refusal {
    /// The refusal with this code.
    pub const fn from_code(code: u32) -> Option<Self> {
        Some(match code {
            1 => Self::Malformed,
            2 => Self::NoJob,
            3 => Self::Nothing,
            4 => Self::StaleToken,
            5 => Self::Duration,
            6 => Self::TooLong,
            7 => Self::Full,
            _ => return None,
        })
    }
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal as u32)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a request of the job queue: is the client of another version?",
            Self::NoJob => "there is no such job, or it ended long ago",
            Self::Nothing => "nothing waits to be done: come back later",
            Self::StaleToken => "this lease of the job is over: drop what you were doing, and lease again",
            Self::Duration => "no lease is so short or so long: ask for another duration",
            Self::TooLong => "what is to be done is too long to say: store it elsewhere, and say where",
            Self::Full => "there are as many jobs or leases as there may be: come back later",
        })
    }
}

impl core::error::Error for Refusal {}

impl<'a> Request<'a> {
    /// Appends the encoding to `bytes`.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        let (kind, numbers): (u8, &[u64]) = match self {
            Self::Enqueue { what } => {
                bytes.push(1);
                return bytes.extend_from_slice(what);
            }
            Self::Lease { duration_ns } => (2, &[*duration_ns]),
            Self::Extend { job, token, duration_ns } => (3, &[*job, *token, *duration_ns]),
            Self::Complete { job, token } => (4, &[*job, *token]),
            Self::Fail { job, token } => (5, &[*job, *token]),
            Self::Look { job } => (6, &[*job]),
            Self::Count => (7, &[]),
        };
        bytes.push(kind);
        put(bytes, numbers);
    }

    /// The request that `bytes` are.
    ///
    /// # Errors
    /// If they are none.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let (kind, rest) = bytes.split_first().ok_or(Refusal::Malformed)?;
        if *kind == 1 {
            return Ok(Self::Enqueue { what: rest });
        }
        let (numbers, odd) = rest.as_chunks::<8>();
        if !odd.is_empty() {
            return Err(Refusal::Malformed);
        }
        let number = |place: usize| u64::from_le_bytes(numbers[place]);
        match (kind, numbers.len()) {
            (2, 1) => Ok(Self::Lease { duration_ns: number(0) }),
            (3, 3) => Ok(Self::Extend { job: number(0), token: number(1), duration_ns: number(2) }),
            (4, 2) => Ok(Self::Complete { job: number(0), token: number(1) }),
            (5, 2) => Ok(Self::Fail { job: number(0), token: number(1) }),
            (6, 1) => Ok(Self::Look { job: number(0) }),
            (7, 0) => Ok(Self::Count),
            _ => Err(Refusal::Malformed),
        }
    }
}

impl Response {
    /// The bytes of the longest response but for what is to be done.
    pub(super) const OVERHEAD_MAX: u32 = 1 + 4 * 8;

    /// Appends the encoding to `bytes`.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Enqueued { job } => {
                bytes.push(1);
                put(bytes, &[*job]);
            }
            Self::Leased { job, token, until, what } => {
                bytes.push(2);
                put(bytes, &[*job, *token, *until]);
                bytes.extend_from_slice(what);
            }
            Self::Extended { until } => {
                bytes.push(3);
                put(bytes, &[*until]);
            }
            Self::Completed => bytes.push(4),
            Self::Failed { dead } => bytes.extend_from_slice(&[5, u8::from(*dead)]),
            Self::Standing(standing) => {
                bytes.push(6);
                standing.encode(bytes);
            }
            Self::Counts(Counts { waiting, leased, done, dead }) => {
                bytes.push(7);
                put(bytes, &[*waiting, *leased, *done, *dead]);
            }
        }
    }

    /// The response that `bytes` are, if they are one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let numbers =
            |bytes: &[u8]| bytes.as_chunks::<8>().0.iter().map(|n| u64::from_le_bytes(*n)).collect::<Vec<_>>();
        match (kind, rest.len()) {
            (1, 8) => Some(Self::Enqueued { job: numbers(rest)[0] }),
            (2, 24..) => {
                let (head, what) = rest.split_at(24);
                let [job, token, until] = numbers(head)[..] else { return None };
                Some(Self::Leased { job, token, until, what: what.to_vec() })
            }
            (3, 8) => Some(Self::Extended { until: numbers(rest)[0] }),
            (4, 0) => Some(Self::Completed),
            (5, 1) if rest[0] <= 1 => Some(Self::Failed { dead: rest[0] == 1 }),
            (6, Standing::SIZE) => Standing::decode(rest).map(Self::Standing),
            (7, 32) => {
                let [waiting, leased, done, dead] = numbers(rest)[..] else { return None };
                Some(Self::Counts(Counts { waiting, leased, done, dead }))
            }
            _ => None,
        }
    }
}

impl Standing {
    pub(super) const SIZE: usize = 1 + 4 + 8 + 8;

    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        let (stage, number) = self.stage.numbers();
        bytes.push(stage);
        bytes.extend_from_slice(&self.attempts.to_le_bytes());
        put(bytes, &[self.token, number]);
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (stage, rest) = bytes.split_first()?;
        let (attempts, rest) = rest.split_first_chunk::<4>()?;
        let ([token, number], []) = rest.as_chunks::<8>() else { return None };
        let number = u64::from_le_bytes(*number);
        let stage = match (stage, number) {
            (1, 0) => Stage::Waiting,
            (2, until) => Stage::Leased { until },
            (3, under) => Stage::Done { under },
            (4, 0) => Stage::Dead,
            _ => return None,
        };
        Some(Self { stage, attempts: u32::from_le_bytes(*attempts), token: u64::from_le_bytes(*token) })
    }
}

impl Stage {
    /// Which it is, and what there is to say of it.
    pub(super) const fn numbers(self) -> (u8, u64) {
        match self {
            Self::Waiting => (1, 0),
            Self::Leased { until } => (2, until),
            Self::Done { under } => (3, under),
            Self::Dead => (4, 0),
        }
    }
}

pub(super) fn put(bytes: &mut Vec<u8>, numbers: &[u64]) {
    numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    #[test]
    fn what_decodes_encodes_to_the_same_bytes_and_nothing_else_decodes() {
        let requests = [
            Request::Enqueue { what: b"dishes" },
            Request::Lease { duration_ns: 1 },
            Request::Extend { job: 2, token: 3, duration_ns: u64::MAX },
            Request::Complete { job: 4, token: 5 },
            Request::Fail { job: 6, token: 7 },
            Request::Look { job: 8 },
            Request::Count,
        ];
        for request in requests {
            let mut bytes = Vec::new();
            request.encode(&mut bytes);
            assert_eq!(Request::decode(&bytes), Ok(request));
            bytes.push(0);
            let longer = Request::decode(&bytes);
            assert_eq!(longer.is_ok(), matches!(request, Request::Enqueue { .. }), "{request:?}");
        }
        for bytes in [&[][..], &[0], &[8], &[2, 1], &[7, 0, 0, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(Request::decode(bytes), Err(Refusal::Malformed), "{bytes:?}");
        }
        let standing = |stage| Response::Standing(Standing { stage, attempts: 3, token: 4 });
        let responses = [
            Response::Enqueued { job: 1 },
            Response::Leased { job: 1, token: 2, until: 3, what: vec![] },
            Response::Leased { job: 1, token: 2, until: 3, what: vec![9; 30] },
            Response::Extended { until: 4 },
            Response::Completed,
            Response::Failed { dead: true },
            standing(Stage::Waiting),
            standing(Stage::Leased { until: 5 }),
            standing(Stage::Done { under: 6 }),
            standing(Stage::Dead),
            Response::Counts(Counts { waiting: 1, leased: 2, done: 3, dead: 4 }),
        ];
        for response in responses {
            let mut bytes = Vec::new();
            response.encode(&mut bytes);
            assert_eq!(Response::decode(&bytes), Some(response));
        }
        for bytes in [&[][..], &[0], &[1], &[5, 2], &[6; 22], &[4, 0]] {
            assert_eq!(Response::decode(bytes), None, "{bytes:?}");
        }
        for code in 1..8 {
            assert_eq!(Refusal::from_code(code).map(|refusal| refusal as u32), Some(code));
        }
        assert_eq!((Refusal::from_code(0), Refusal::from_code(8)), (None, None));
    }
}
