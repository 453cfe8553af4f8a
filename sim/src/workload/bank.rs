//! The bank's workload: accounts that are opened once, transfers between few of them, and audits; money must be conserved.
//!
//! Every account is opened with the same deposit, whoever opens it: so what must be there follows from how many there are, and
//! not from what the bank itself keeps count of. A branch writes a letter about every transfer, by channels of every kind of policy,
//! and pays interest for some periods by a rate that it fetches; of each it must be told one end. In some runs it has little patience with
//! letters that must arrive, so that they become dead ones. Transfers of too much, from nowhere, or from an account to itself are asked
//! for too, and must be refused without a trace.

use chronon::{
    app::{
        bank::Request,
        branch::{self, Branch},
        effect::{Channel, EffectId, OnExhausted, OnUnknown, Policy},
    },
    digest::{EntryHasher, SetDigest},
};
use serde::{Deserialize, Serialize};

use super::{Invariant, Plan, Turn, Workload};
use crate::rng::Stream;

const MS: u64 = 1_000_000;

/// The bank under test, a branch of it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct BankWorkload;

/// What clients of the bank do, as data.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BankPlan {
    /// How many calls each client makes.
    pub calls: u64,
    /// The longest pause before a call; 0 for none.
    pub think_ns_max: u64,
    /// How many accounts may be opened: the fewer, the more they contend.
    pub accounts: u64,
    /// What is in each when it is opened.
    pub deposit: u64,
    /// How often a letter is tried that becomes a dead one in the end; more often than anything fails if this is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// For how long one is tried, in nanoseconds of the log's time; for ever if this is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_ns: Option<u64>,
}

impl Plan for BankPlan {
    fn calls(&self) -> u64 {
        self.calls
    }

    fn think_ns_max(&self) -> u64 {
        self.think_ns_max
    }

    fn check(&self) -> Result<(), &'static str> {
        let rules = [
            (self.accounts > 0, "workload.each.accounts must be positive"),
            (self.attempts != Some(0), "workload.each.attempts must be positive"),
            (self.total_ns != Some(0), "workload.each.total_ns must be positive"),
        ];
        rules.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, rule)| Err(rule))
    }
}

impl Workload for BankWorkload {
    type Application = Branch;
    type Plan = BankPlan;
    type Memory = ();

    /// Patient: of its letters those that must arrive are tried again and again.
    fn application(&self) -> Branch {
        branch(None, None)
    }

    fn application_for(&self, plan: &BankPlan) -> Branch {
        branch(plan.attempts, plan.total_ns)
    }

    fn plan(&self, random: &mut Stream, calls: u64) -> BankPlan {
        BankPlan {
            calls,
            think_ns_max: if random.chance(300_000) { random.range(1_000_000, 10_000_000) } else { 0 },
            accounts: random.range(2, 24),
            // Now and then so much that an account could overflow; and no more than a schedule can say in TOML.
            deposit: if random.chance(100_000) { i64::MAX as u64 } else { random.range(1, 1_000) },
            // Last: what was drawn before there were these is drawn still.
            attempts: random.chance(350_000).then(|| random.range(1, 5) as u32),
            total_ns: random.chance(350_000).then(|| random.range(20 * MS, 2_000 * MS)),
        }
    }

    /// Letters that were given up stay until somebody decides of them: one for each call, at the most.
    fn state_size_max(&self, plan: &BankPlan, clients: u8) -> Option<u64> {
        const ACCOUNT: u64 = 64;
        const LETTER: u64 = 256;
        Some(plan.accounts * ACCOUNT + u64::from(clients) * (plan.calls + 8) * LETTER)
    }

    fn ask(&self, (): &mut (), turn: Turn<'_, BankPlan>, request: &mut Vec<u8>) {
        let BankPlan { accounts, deposit, .. } = *turn.plan;
        let random = turn.random;
        let account = random.below(accounts);
        let asked = match random.weighted(&[20, 60, 8, 8, 4]) {
            0 => Request::Open { account, deposit },
            1 => Request::Transfer { from: account, to: random.below(accounts), amount: random.below(deposit / 2 + 2) },
            2 => Request::Balance { account },
            3 => Request::Audit,
            _ => {
                // No request of the bank: its kind is none, and what follows is nobody's.
                request.push(0xff);
                return request.extend_from_slice(&turn.call.to_le_bytes());
            }
        };
        asked.encode(request);
    }

    fn query(&self, plan: &BankPlan, random: &mut Stream, query: &mut Vec<u8>) -> bool {
        let account = random.below(plan.accounts);
        let asked = if random.chance(700_000) { Request::Balance { account } } else { Request::Audit };
        asked.encode(query);
        true
    }

    fn digest(&self, state: &branch::State) -> SetDigest {
        let (mut digest, total) = (state.set_digest(), state.bank().total());
        digest.insert(EntryHasher::new().number(total as u64).number((total >> 64) as u64).finish());
        digest
    }

    fn invariants(&self) -> Vec<Invariant<Self>> {
        vec![
            Invariant { name: "money is conserved", holds: is_conserved },
            Invariant { name: "nothing is told twice or too early", holds: is_told_once },
        ]
    }

    fn waiting(&self, state: &branch::State) -> Option<Vec<EffectId>> {
        Some(state.waiting().collect())
    }
}

/// By channel as [`outside::manners`](crate::outside::manners) has it: whose service remembers; never run twice; asked about
/// first; run again, tried a few times and given up. The first three become dead letters after so many attempts, or so many nanoseconds.
fn branch(attempts: Option<u32>, total_ns: Option<u64>) -> Branch {
    let often = Policy::EMIT.with_attempt_timeout(300 * MS).with_backoff(5 * MS, 100 * MS);
    let policy = often.with_attempts(attempts.unwrap_or(10_000)).with_total_timeout(total_ns.unwrap_or(u64::MAX));
    let again = often.with_attempts(4).with_total_timeout(1_500 * MS).with_exhausted(OnExhausted::Fail);
    let never_twice = policy.with_unknown(OnUnknown::NeverTwice);
    let ask_first = policy.with_unknown(OnUnknown::AskFirst);
    let letters = (0..).map(Channel).zip([policy, never_twice, ask_first, again]).collect();
    Branch { letters, rate: again, period_ns: 150 * MS, periods: 24, ..Branch::default() }
}

fn is_conserved(plan: &BankPlan, state: &branch::State) -> Result<(), String> {
    let bank = state.bank();
    let given = u128::from(bank.accounts()) * u128::from(plan.deposit) + state.paid();
    let held: u128 = bank.balances().map(|(_, balance)| u128::from(balance)).sum();
    if held != given {
        return Err(format!("{given} was deposited and paid in {} accounts, and they hold {held}", bank.accounts()));
    }
    if bank.total() != given {
        return Err(format!("{given} was deposited and paid, and the bank counts {}", bank.total()));
    }
    Ok(())
}

fn is_told_once(_: &BankPlan, state: &branch::State) -> Result<(), String> {
    match state.counts().unexpected {
        0 => Ok(()),
        unexpected => {
            Err(format!("{unexpected} letters, rates or timers ended that nobody waited for any more, or yet"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chronon::{
        app::{
            application::{Application, ApplyContext, Event, Outcome},
            bank::Refusal,
            effect::{Cause, EffectResult},
            outbox::Stage,
        },
        replica::Replica,
        types::{Checksum, NodeId, Op, Timestamp},
    };

    use super::*;
    use crate::{
        nemesis::{Options, draw_for},
        oracle::{EventView, Oracle, StepView, Violation, WorldView},
        outside::response_size_max,
        scenario,
        simulation::Simulation,
        trace::TraceMode,
    };

    #[test]
    fn every_request_and_refusal_comes_up_and_no_money_is_lost() {
        let plan =
            BankPlan { calls: 2_000, think_ns_max: 0, accounts: 6, deposit: 100, attempts: None, total_ns: None };
        let (mut state, mut random) = (BankWorkload.application().genesis(), Stream::new(1, "workload", 0, 0));
        let (mut applied, mut refused) = ([0_u32; 4], [0_u32; 7]);
        for call in 0..plan.calls {
            let mut request = Vec::new();
            let turn = Turn { plan: &plan, client: 0, call, random: &mut random };
            BankWorkload.ask(&mut (), turn, &mut request);
            let context = ApplyContext::new(Op(call + 1), Timestamp(1), Checksum(0), 0);
            let event = Event::Request { payload: &request };
            match BankWorkload.application().apply(&mut state, event, &context, &mut Outcome::default()) {
                Ok(()) => applied[usize::from(request[0]) - 1] += 1,
                Err(rejection) => refused[rejection.code as usize] += 1,
            }
            is_conserved(&plan, &state).unwrap();
        }
        assert!(applied.iter().all(|count| *count > 0), "{applied:?}");
        for refusal in [Refusal::Malformed, Refusal::Exists, Refusal::NoAccount, Refusal::Funds, Refusal::SameAccount] {
            assert!(refused[refusal as usize] > 0, "{refusal:?}");
        }
    }

    /// Why letters were given up that wait for an operator.
    #[derive(Clone, Default)]
    struct Dead {
        causes: BTreeSet<Cause>,
        /// Answers that replicas heard and that no entry of the log has room for.
        too_large: u32,
    }

    impl Oracle for Dead {
        fn name(&self) -> &'static str {
            "dead letters"
        }

        fn after_step(&mut self, world: &WorldView<'_>, node: NodeId, step: &StepView<'_>) -> Result<(), Violation> {
            let Some(replica) = world.process::<Replica<Branch>>(node) else { return Ok(()) };
            for (_, entry) in replica.executor().outbox().held(None) {
                if let Stage::Dead(cause) = entry.standing.stage {
                    self.causes.insert(cause);
                }
            }
            if let EventView::Effect { report } = step.event
                && let EffectResult::Done { response } = &report.result
            {
                self.too_large += u32::from(response.len() > response_size_max(replica.vsr().config()));
            }
            Ok(())
        }
    }

    #[test]
    fn letters_die_of_too_many_attempts_and_of_too_much_time_and_answers_are_too_large() {
        let (mut causes, mut too_large) = (BTreeSet::new(), 0);
        let scenario = scenario::find("crashes").expect("there is such a scenario");
        for seed in 0..8 {
            let schedule = draw_for(&BankWorkload, seed, &Options::new(scenario));
            let mut simulation = Simulation::of(BankWorkload, &schedule, TraceMode::Digest, "");
            simulation.world_mut().add_oracle(Dead::default());
            simulation.run();
            assert_eq!(simulation.outcome().failure, None, "seed {seed}");
            let dead = simulation.world().oracle::<Dead>().expect("it was added");
            causes.extend(&dead.causes);
            too_large += dead.too_large;
        }
        assert!(causes.is_superset(&[Cause::Attempts, Cause::Expired].into()), "{causes:?}");
        assert!(too_large > 0);
    }

    #[test]
    fn in_some_runs_letters_are_tried_for_ever_and_in_some_not_often_or_not_for_long() {
        let plans = (0..200).map(|seed| BankWorkload.plan(&mut Stream::new(seed, "nemesis.workload", 0, 0), 10));
        let mut counts = [[0_u32; 2]; 2];
        for plan in plans {
            assert_eq!(plan.check(), Ok(()));
            counts[usize::from(plan.attempts.is_some())][usize::from(plan.total_ns.is_some())] += 1;
            let is_patient = BankWorkload.application_for(&plan) == BankWorkload.application();
            assert_eq!(is_patient, plan.attempts.is_none() && plan.total_ns.is_none());
        }
        assert!(counts.iter().flatten().all(|count| *count > 15), "{counts:?}");
    }

    #[test]
    fn a_deposit_that_is_not_the_plan_s_is_not_conserved() {
        let plan = BankPlan { calls: 1, think_ns_max: 0, accounts: 6, deposit: 100, attempts: None, total_ns: None };
        let (mut state, mut request) = (branch::State::default(), Vec::new());
        let empty = BankWorkload.digest(&state);
        Request::Open { account: 1, deposit: 101 }.encode(&mut request);
        let context = ApplyContext::new(Op(1), Timestamp(1), Checksum(0), 0);
        let event = Event::Request { payload: &request };
        BankWorkload.application().apply(&mut state, event, &context, &mut Outcome::default()).unwrap();
        let why = "100 was deposited and paid in 1 accounts, and they hold 101";
        assert_eq!(is_conserved(&plan, &state), Err(why.to_owned()));
        assert_ne!(BankWorkload.digest(&state), empty);
    }
}
