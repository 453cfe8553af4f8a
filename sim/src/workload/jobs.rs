//! The job queue's workload: clients ask for jobs and are workers too, who now and then give up without a word, come back too late, or claim
//! what is not theirs.
//!
//! What must hold is read off the jobs themselves: who holds one, under which token it was completed, how many there are of each kind; and
//! no lease outlives its end in the log's time.

use chronon::{
    app::jobs::{Counts, Jobs, Request, Response, Stage, State},
    digest::SetDigest,
};

use super::{Calls, Invariant, Turn, Workload};
use crate::rng::Stream;

const MS: u64 = 1_000_000;

/// The job queue under test.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct JobsWorkload;

/// What a worker remembers.
#[derive(Clone, Default, Debug)]
pub struct Worker {
    /// The job that it has, and its token.
    has: Option<(u64, u64)>,
    /// One that it had.
    had: Option<(u64, u64)>,
    /// The last job that it asked for.
    asked: u64,
}

impl Workload for JobsWorkload {
    type Application = Jobs;
    type Plan = Calls;
    type Memory = Worker;

    fn application(&self) -> Jobs {
        Jobs { attempts_max: 3, lease_ns_max: 100 * MS, jobs_max: 200, ended_max: 40, what_max: 64 }
    }

    fn plan(&self, random: &mut Stream, calls: u64) -> Calls {
        Calls::draw(random, calls)
    }

    fn state_size_max(&self, _: &Calls, clients: u8) -> Option<u64> {
        const JOB: u64 = 256;
        let Jobs { jobs_max, ended_max, .. } = self.application();
        Some((jobs_max + ended_max + 4 * u64::from(clients)) * JOB)
    }

    fn ask(&self, worker: &mut Worker, turn: Turn<'_, Calls>, request: &mut Vec<u8>) {
        let random = turn.random;
        let duration_ns = random.range(MS, 60 * MS);
        let what = [turn.client as u8; 65];
        let idle = worker.has.is_none();
        let (job, token) = worker.has.unwrap_or_default();
        let asked = match random.weighted(&[25, if idle { 40 } else { 0 }, if idle { 0 } else { 40 }, 12, 5, 3]) {
            // One in thirteen is too long.
            0 => Request::Enqueue { what: &what[..random.range(53, 65) as usize] },
            1 => Request::Lease { duration_ns },
            2 => match random.weighted(&[20, 50, 15, 15]) {
                0 => Request::Extend { job, token, duration_ns },
                1 => {
                    // Whatever the answer is: if it is no, the lease was over.
                    worker.had = worker.has.take();
                    Request::Complete { job, token }
                }
                2 => {
                    worker.had = worker.has.take();
                    Request::Fail { job, token }
                }
                _ => {
                    // It falls silent, and looks for something else.
                    worker.had = worker.has.take();
                    Request::Lease { duration_ns }
                }
            },
            3 => {
                // What it had, under the token that it had or one near it: somebody else's, by now.
                let (job, token) = worker.had.unwrap_or((worker.asked, 1));
                let token = if random.chance(700_000) { token } else { token.saturating_add(random.below(3)) };
                match random.below(3) {
                    0 => Request::Complete { job, token },
                    1 => Request::Fail { job, token },
                    _ => Request::Extend { job, token, duration_ns },
                }
            }
            4 => Request::Look { job: worker.asked },
            _ => {
                // No request of the queue: its kind is none.
                return request.push(0xff);
            }
        };
        asked.encode(request);
    }

    fn told(&self, worker: &mut Worker, _: &[u8], response: &[u8]) {
        match Response::decode(response) {
            Some(Response::Leased { job, token, .. }) => worker.has = Some((job, token)),
            Some(Response::Enqueued { job }) => worker.asked = job,
            _ => {}
        }
    }

    fn query(&self, _: &Calls, random: &mut Stream, query: &mut Vec<u8>) -> bool {
        let asked = if random.chance(500_000) { Request::Count } else { Request::Look { job: random.range(1, 50) } };
        asked.encode(query);
        true
    }

    fn digest(&self, state: &State) -> SetDigest {
        state.set_digest()
    }

    fn invariants(&self) -> Vec<Invariant<Self>> {
        vec![
            Invariant { name: "at most one worker has a job", holds: has_one_worker },
            Invariant { name: "each job ends once, and by its last worker", holds: ends_once },
            Invariant { name: "leases end in the log's time", holds: ends_in_time },
        ]
    }
}

/// No two leases ever had one token, and none is from the future.
fn has_one_worker(_: &Calls, state: &State) -> Result<(), String> {
    let (_, last) = state.given();
    let mut tokens = std::collections::BTreeMap::new();
    for (number, job) in state.jobs().filter(|(_, job)| job.standing.token > 0) {
        let token = job.standing.token;
        if let Some(other) = tokens.insert(token, number) {
            return Err(format!("jobs {other} and {number} were leased under token {token}"));
        }
        if token > last {
            return Err(format!("job {number} was leased under token {token}, and {last} is the last that was given"));
        }
    }
    Ok(())
}

fn ends_once(_: &Calls, state: &State) -> Result<(), String> {
    let mut there = Counts::default();
    for (number, job) in state.jobs() {
        let standing = job.standing;
        match standing.stage {
            Stage::Waiting => there.waiting += 1,
            Stage::Leased { .. } => there.leased += 1,
            Stage::Done { under } => {
                there.done += 1;
                if under != standing.token {
                    return Err(format!(
                        "job {number} was completed under token {under}, and its latest lease is under {}",
                        standing.token
                    ));
                }
            }
            Stage::Dead => there.dead += 1,
        }
        if standing.attempts > JobsWorkload.application().attempts_max {
            return Err(format!("job {number} was tried {} times", standing.attempts));
        }
    }
    let Counts { waiting, leased, done, dead } = state.counts();
    let (given, _) = state.given();
    if waiting + leased + done + dead != given {
        return Err(format!("of {given} jobs {waiting} wait, {leased} are leased, {done} are done and {dead} dead"));
    }
    if (there.waiting, there.leased) != (waiting, leased) || there.done > done || there.dead > dead {
        return Err(format!("{there:?} are there, and {:?} are counted", state.counts()));
    }
    Ok(())
}

fn ends_in_time(_: &Calls, state: &State) -> Result<(), String> {
    let now = state.changed_at();
    for (number, job) in state.jobs() {
        if let Stage::Leased { until } = job.standing.stage
            && until <= now
        {
            return Err(format!("job {number} is leased until {until} ns, and it is {now} ns"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use chronon::{
        app::{
            application::{Application, ApplyContext, Event},
            executor::{Answer, Executor},
            jobs::Refusal,
        },
        types::{Checksum, ClusterId, Op, Timestamp},
    };

    use super::*;

    #[test]
    fn every_request_and_refusal_comes_up_and_what_must_hold_does() {
        let mut executor = Executor::new(JobsWorkload.application(), ClusterId(1));
        let plan = Calls { calls: 1_000, think_ns_max: 0 };
        let mut workers: Vec<_> =
            (0..6).map(|client| (Worker::default(), Stream::new(1, "workload", client, 0))).collect();
        let (mut applied, mut refused, mut at) = ([0_u32; 8], [0_u32; 8], 1);
        let mut clock = Stream::new(1, "workload", 9, 0);
        for call in 0..plan.calls {
            for (client, (worker, random)) in (0..).zip(&mut workers) {
                let mut request = Vec::new();
                JobsWorkload.ask(worker, Turn { plan: &plan, client, call, random }, &mut request);
                at += clock.range(MS, 8 * MS);
                let context = ApplyContext::new(Op(at), Timestamp(at), Checksum(0), 0);
                executor.begin(&context);
                match Answer::decode(executor.apply(&request, &context)).unwrap() {
                    Answer::Applied(response) => {
                        applied[usize::from(response[0])] += 1;
                        JobsWorkload.told(worker, &request, response);
                    }
                    Answer::Rejected { code, .. } => refused[code as usize] += 1,
                }
                for Invariant { name, holds } in JobsWorkload.invariants() {
                    assert_eq!(holds(&plan, executor.state()), Ok(()), "{name}");
                }
            }
        }
        assert!(applied[1..=6].iter().all(|count| *count > 0), "{applied:?}");
        for refusal in [Refusal::Malformed, Refusal::NoJob, Refusal::Nothing, Refusal::StaleToken, Refusal::TooLong] {
            assert!(refused[refusal as usize] > 0, "{refusal:?} of {refused:?}");
        }
        let Counts { done, dead, .. } = executor.state().counts();
        assert!(done > 100 && dead > 10, "{done} are done and {dead} dead");
    }

    #[test]
    fn a_lease_that_outlives_its_end_is_seen() {
        let (mut state, plan) = (State::default(), Calls { calls: 1, think_ns_max: 0 });
        let mut ask = |at: u64, request: Request<'_>| {
            let (mut payload, mut outcome) = (Vec::new(), Default::default());
            request.encode(&mut payload);
            let context = ApplyContext::new(Op(at), Timestamp(at), Checksum(0), 0);
            let event = Event::Request { payload: &payload };
            JobsWorkload.application().apply(&mut state, event, &context, &mut outcome).unwrap();
            ends_in_time(&plan, &state)
        };
        ask(1, Request::Enqueue { what: b"a" }).unwrap();
        ask(2, Request::Lease { duration_ns: 10 }).unwrap();
        ask(11, Request::Count).unwrap();
        // Nobody fires the timer here.
        assert_eq!(ask(12, Request::Count), Err("job 1 is leased until 12 ns, and it is 12 ns".to_owned()));
    }
}
