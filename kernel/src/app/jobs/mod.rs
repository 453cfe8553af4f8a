//! The job queue: jobs that wait, leases of them to workers, and tokens that fence off whoever's lease is over.
//!
//! Invariant: a job is leased to one worker at a time, and each lease has a token that is higher than every one before. A lease ends when
//! the log's time comes to its end, whatever its worker believes: from then on its token is refused, and another worker may have the
//! job. So a job is completed once, and never by a worker that was given up. One whose last attempt fails is dead, and stays to be
//! seen. Any bytes whatever may come as a request: they do what [`Request`] says, or are refused and change nothing.
//!
//! What this deliberately lacks: priorities, owners, and results. A worker that is slow may still be at work when another has begun: what
//! they work on must take the token with each change, and refuse one that is lower than the highest it has seen.

mod request;

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::ops::Bound;

pub use request::{Counts, Refusal, Request, Response, Stage, Standing};

use crate::{
    app::{
        application::{Application, ApplyContext, Event, Outcome, Rejection, RestoreError, SnapshotWriter},
        room::Full,
    },
    digest::{EntryHash, EntryHasher, SetDigest},
    types::Checksum,
};

// 1 was the same without the timers.
const RECORD_COUNTS: u8 = 3;
const RECORD_JOB: u8 = 2;

/// How far nothing is counted: a checkpoint that says so is refused, for what is counted next would have no number.
const COUNT_MAX: u64 = 1 << 63;

/// The job queue, as it is configured: the same on every replica, for ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Jobs {
    /// How often a job is tried.
    pub attempts_max: u32,
    /// The longest lease.
    pub lease_ns_max: u64,
    /// How many jobs there may be that have not ended.
    pub jobs_max: u64,
    /// Of how many that have ended it is still known how. More are forgotten, the oldest first.
    pub ended_max: u64,
    /// How many bytes may say what is to be done.
    pub what_max: u32,
}

impl Default for Jobs {
    /// Five attempts of up to a day; a million jobs of up to 1 KiB, and a hundred thousand that have ended.
    fn default() -> Self {
        Self {
            attempts_max: 5,
            lease_ns_max: 86_400_000_000_000,
            jobs_max: 1_000_000,
            ended_max: 100_000,
            what_max: 1024,
        }
    }
}

/// A job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Job {
    /// How it is.
    pub standing: Standing,
    /// What is to be done.
    pub what: Vec<u8>,
}

/// All jobs.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct State {
    jobs: BTreeMap<u64, Job>,
    counts: Counts,
    /// The number of the last job, and the token of the last lease.
    last_job: u64,
    last_token: u64,
    /// The log's time when the state last changed.
    changed_at: u64,
    /// When the timers fire that have not: the earliest not after the end of any lease.
    timers: BTreeSet<u64>,
    digest: SetDigest,
    // What follows is derived from the jobs.
    waiting: BTreeSet<u64>,
    /// When each lease ends.
    ends: BTreeSet<(u64, u64)>,
    ended: BTreeSet<u64>,
}

impl State {
    /// How many jobs there are, and how many have ended.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// How many jobs there ever were, and how many leases.
    pub const fn given(&self) -> (u64, u64) {
        (self.last_job, self.last_token)
    }

    /// The log's time when anything last changed here.
    pub const fn changed_at(&self) -> u64 {
        self.changed_at
    }

    /// The jobs by their numbers: those that have not ended, and those that ended last.
    pub fn jobs(&self) -> impl Iterator<Item = (u64, &Job)> {
        self.jobs.iter().map(|(number, job)| (*number, job))
    }

    /// The digest of all jobs: see [`crate::digest`].
    pub fn digest(&self) -> Checksum {
        self.set_digest().digest()
    }

    /// What [`State::digest`] is of: as good for a comparison, and costs next to nothing.
    pub fn set_digest(&self) -> SetDigest {
        let Counts { done, dead, .. } = self.counts;
        let numbers = [self.last_job, self.last_token, self.changed_at, done, dead];
        let mut digest = self.digest;
        let numbers = numbers.iter().chain(&self.timers);
        digest.insert(numbers.fold(EntryHasher::new(), |hasher, number| hasher.number(*number)).finish());
        digest
    }

    fn enqueue(&mut self, config: &Jobs, what: &[u8]) -> Result<Response, Refusal> {
        if what.len() > config.what_max as usize {
            return Err(Refusal::TooLong);
        }
        if self.counts.waiting + self.counts.leased >= config.jobs_max {
            return Err(Refusal::Full);
        }
        self.last_job += 1;
        let standing = Standing { stage: Stage::Waiting, attempts: 0, token: 0 };
        self.insert(self.last_job, Job { standing, what: what.to_vec() });
        Ok(Response::Enqueued { job: self.last_job })
    }

    /// Leases the oldest job that waits.
    fn lease(&mut self, duration_ns: u64, now: u64, outcome: &mut Outcome) -> Result<Response, Refusal> {
        let job = *self.waiting.first().ok_or(Refusal::Nothing)?;
        let (token, until) = (self.last_token + 1, now.saturating_add(duration_ns));
        self.look_by(until, now, outcome).map_err(|_| Refusal::Full)?;
        self.last_token = token;
        let mut what = Vec::new();
        self.change(job, |job| {
            let Standing { attempts, .. } = job.standing;
            job.standing = Standing { stage: Stage::Leased { until }, attempts: attempts + 1, token };
            what.extend_from_slice(&job.what);
        });
        Ok(Response::Leased { job, token, until, what })
    }

    /// Sees to it that a timer fires then or before. One that comes before all others leaves at most half of the time to the first of those:
    /// none is ever called back, and whoever takes leases that each end a little earlier would otherwise have one for each.
    fn look_by(&mut self, until: u64, now: u64, outcome: &mut Outcome) -> Result<(), Full> {
        let due = match self.timers.first() {
            Some(first) if *first <= until => return Ok(()),
            Some(first) => until.min(now + (*first - now) / 2),
            None => until,
        };
        outcome.schedule(due - now, [])?;
        self.timers.insert(due);
        Ok(())
    }

    /// The timer stays as it is, and looks again when the lease would have been over.
    fn extend(&mut self, job: u64, token: u64, duration_ns: u64, now: u64) -> Result<Response, Refusal> {
        let until = self.lease_of(job, token, now)?.max(now.saturating_add(duration_ns));
        self.change(job, |job| job.standing.stage = Stage::Leased { until });
        Ok(Response::Extended { until })
    }

    fn complete(&mut self, job: u64, token: u64, now: u64) -> Result<Response, Refusal> {
        self.lease_of(job, token, now)?;
        self.change(job, |job| job.standing.stage = Stage::Done { under: token });
        self.counts.done += 1;
        Ok(Response::Completed)
    }

    fn fail(&mut self, config: &Jobs, job: u64, token: u64, now: u64) -> Result<Response, Refusal> {
        self.lease_of(job, token, now)?;
        Ok(Response::Failed { dead: self.give_back(config, job) })
    }

    /// When the lease under this token ends, if it is the job's and lasts.
    fn lease_of(&self, job: u64, token: u64, now: u64) -> Result<u64, Refusal> {
        let standing = self.jobs.get(&job).ok_or(Refusal::NoJob)?.standing;
        match standing.stage {
            Stage::Leased { until } if standing.token == token && now < until => Ok(until),
            _ => Err(Refusal::StaleToken),
        }
    }

    /// A timer fires: ends the leases whose time is over. The next is looked at when its time comes.
    fn pass_time(&mut self, config: &Jobs, now: u64, outcome: &mut Outcome) {
        while let Some((until, job)) = self.ends.first().copied()
            && until <= now
        {
            self.give_back(config, job);
        }
        // Others that are due as well are told in events of their own, which find nothing more to do.
        self.timers.retain(|due| *due > now);
        if let Some((until, _)) = self.ends.first().copied() {
            // The timer that fired has made room for this one.
            let _ = self.look_by(until, now, outcome);
        }
    }

    /// A lease is over, and the job is not done: it waits again, or is dead, which is said.
    fn give_back(&mut self, config: &Jobs, job: u64) -> bool {
        let mut dead = false;
        self.change(job, |job| {
            dead = job.standing.attempts >= config.attempts_max;
            job.standing.stage = if dead { Stage::Dead } else { Stage::Waiting };
        });
        self.counts.dead += u64::from(dead);
        dead
    }

    /// Forgets the oldest that have ended, as long as there are too many of them.
    fn forget(&mut self, config: &Jobs) {
        while self.ended.len() as u64 > config.ended_max
            && let Some(oldest) = self.ended.first().copied()
        {
            self.remove(oldest);
        }
    }

    fn look_up(&self, request: &Request<'_>) -> Result<Response, Refusal> {
        match request {
            Request::Look { job } => Ok(Response::Standing(self.jobs.get(job).ok_or(Refusal::NoJob)?.standing)),
            Request::Count => Ok(Response::Counts(self.counts)),
            _ => Err(Refusal::Malformed),
        }
    }

    fn change(&mut self, number: u64, change: impl FnOnce(&mut Job)) {
        let mut job = self.remove(number);
        change(&mut job);
        self.insert(number, job);
    }

    fn insert(&mut self, number: u64, job: Job) {
        match job.standing.stage {
            Stage::Waiting => {
                self.counts.waiting += 1;
                self.waiting.insert(number);
            }
            Stage::Leased { until } => {
                self.counts.leased += 1;
                self.ends.insert((until, number));
            }
            Stage::Done { .. } | Stage::Dead => {
                self.ended.insert(number);
            }
        }
        self.digest.insert(hash(number, &job));
        self.jobs.insert(number, job);
    }

    fn remove(&mut self, number: u64) -> Job {
        let job = self.jobs.remove(&number).expect("what is changed is there");
        self.digest.remove(hash(number, &job));
        match job.standing.stage {
            Stage::Waiting => {
                self.counts.waiting -= 1;
                self.waiting.remove(&number);
            }
            Stage::Leased { until } => {
                self.counts.leased -= 1;
                self.ends.remove(&(until, number));
            }
            Stage::Done { .. } | Stage::Dead => {
                self.ended.remove(&number);
            }
        }
        job
    }
}

fn hash(number: u64, Job { standing, what }: &Job) -> EntryHash {
    let (stage, about) = standing.stage.numbers();
    let numbers = [number, u64::from(stage), about, u64::from(standing.attempts), standing.token];
    numbers.iter().fold(EntryHasher::new(), |hasher, number| hasher.number(*number)).bytes(what).finish()
}

impl Jobs {
    fn duration(&self, duration_ns: u64) -> Result<u64, Refusal> {
        if (1..=self.lease_ns_max).contains(&duration_ns) { Ok(duration_ns) } else { Err(Refusal::Duration) }
    }

    fn answer(
        &self,
        state: &mut State,
        request: &Request<'_>,
        now: u64,
        outcome: &mut Outcome,
    ) -> Result<Response, Refusal> {
        match *request {
            Request::Enqueue { what } => state.enqueue(self, what),
            Request::Lease { duration_ns } => state.lease(self.duration(duration_ns)?, now, outcome),
            Request::Extend { job, token, duration_ns } => state.extend(job, token, self.duration(duration_ns)?, now),
            Request::Complete { job, token } => state.complete(job, token, now),
            Request::Fail { job, token } => state.fail(self, job, token, now),
            Request::Look { .. } | Request::Count => state.look_up(request),
        }
    }
}

impl Application for Jobs {
    type State = State;

    fn name(&self) -> &'static str {
        "jobs"
    }

    fn apply(
        &self,
        state: &mut State,
        event: Event<'_>,
        context: &ApplyContext,
        outcome: &mut Outcome,
    ) -> Result<(), Rejection> {
        let now = context.timestamp.0;
        match event {
            Event::Request { payload } => {
                let request = Request::decode(payload)?;
                self.answer(state, &request, now, outcome)?.encode(&mut outcome.response);
            }
            Event::Fired { .. } => state.pass_time(self, now, outcome),
            // The queue asks for no effects.
            _ => return Ok(()),
        }
        state.forget(self);
        state.changed_at = now;
        Ok(())
    }

    fn query(&self, state: &State, request: &[u8], response: &mut Vec<u8>) -> Result<(), Rejection> {
        state.look_up(&Request::decode(request)?)?.encode(response);
        Ok(())
    }

    /// What is counted, with when the timers fire, and a record for each job, in their order.
    fn snapshot(&self, state: &State, writer: &mut SnapshotWriter) {
        let last = writer.resumed().and_then(<[u8]>::first_chunk).map(|last| u64::from_le_bytes(*last));
        let mut record = Vec::new();
        if last.is_none() {
            let Counts { done, dead, .. } = state.counts;
            record.push(RECORD_COUNTS);
            request::put(&mut record, &[state.last_job, state.last_token, state.changed_at, done, dead]);
            let timers: Vec<u64> = state.timers.iter().copied().collect();
            request::put(&mut record, &timers);
            writer.record(&record);
        }
        let first = last.map_or(Bound::Unbounded, Bound::Excluded);
        for (number, job) in state.jobs.range((first, Bound::Unbounded)) {
            record.clear();
            record.push(RECORD_JOB);
            request::put(&mut record, &[*number]);
            job.standing.encode(&mut record);
            record.extend_from_slice(&job.what);
            writer.record(&record);
            if writer.is_full() {
                return writer.pause(&number.to_le_bytes());
            }
        }
    }

    fn restore(&self, state: &mut State, record: &[u8]) -> Result<(), RestoreError> {
        let (kind, rest) = record.split_first().ok_or(RestoreError)?;
        match *kind {
            RECORD_COUNTS => {
                let ([last_job, last_token, changed_at, done, dead, timers @ ..], []) = rest.as_chunks::<8>() else {
                    return Err(RestoreError);
                };
                let number = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
                // It comes first.
                if *state != State::default()
                    || [last_job, last_token, done, dead].map(number).iter().any(|n| *n >= COUNT_MAX)
                {
                    return Err(RestoreError);
                }
                if !timers.is_sorted_by(|earlier, later| number(earlier) < number(later)) {
                    return Err(RestoreError);
                }
                (state.last_job, state.last_token) = (number(last_job), number(last_token));
                (state.changed_at, state.timers) = (number(changed_at), timers.iter().map(number).collect());
                (state.counts.done, state.counts.dead) = (number(done), number(dead));
            }
            RECORD_JOB => {
                let (number, rest) = rest.split_first_chunk().ok_or(RestoreError)?;
                let (standing, what) = rest.split_at_checked(Standing::SIZE).ok_or(RestoreError)?;
                let (number, standing) = (u64::from_le_bytes(*number), Standing::decode(standing).ok_or(RestoreError)?);
                let before = state.jobs.last_key_value().map_or(0, |(before, _)| *before);
                let is_known = number > before && number <= state.last_job && standing.token <= state.last_token;
                if !is_known || standing.attempts == u32::MAX || what.len() > self.what_max as usize {
                    return Err(RestoreError);
                }
                state.insert(number, Job { standing, what: what.to_vec() });
            }
            _ => return Err(RestoreError),
        }
        Ok(())
    }

    fn response_size_max(&self) -> u32 {
        Response::OVERHEAD_MAX + self.what_max
    }
}

#[cfg(test)]
mod tests;
