//! The bank's workload: accounts that are opened once, transfers between few of them, and audits; money must be conserved.
//!
//! Every account is opened with the same deposit, whoever opens it: so what must be there follows from how many there are, and
//! not from what the bank itself keeps count of. A branch writes a letter about every transfer, by channels of every kind of policy,
//! and pays interest for some periods by a rate that it fetches; of each it must be told one end. Transfers of too much, from nowhere, or from an account to itself are asked
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
}

impl Plan for BankPlan {
    fn calls(&self) -> u64 {
        self.calls
    }

    fn think_ns_max(&self) -> u64 {
        self.think_ns_max
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.accounts == 0 { Err("workload.each.accounts must be positive") } else { Ok(()) }
    }
}

impl Workload for BankWorkload {
    type Application = Branch;
    type Plan = BankPlan;
    type Memory = ();

    /// By channel as [`outside::manners`](crate::outside::manners) has it: whose service remembers; never run twice; asked about
    /// first; run again, tried a few times and given up.
    fn application(&self) -> Branch {
        const MS: u64 = 1_000_000;
        let policy = Policy::EMIT
            .with_attempts(10_000)
            .with_attempt_timeout(300 * MS)
            .with_total_timeout(u64::MAX)
            .with_backoff(5 * MS, 100 * MS);
        let again = policy.with_attempts(4).with_total_timeout(1_500 * MS).with_exhausted(OnExhausted::Fail);
        let never_twice = policy.with_unknown(OnUnknown::NeverTwice);
        let ask_first = policy.with_unknown(OnUnknown::AskFirst);
        let letters = (0..).map(Channel).zip([policy, never_twice, ask_first, again]).collect();
        Branch { letters, rate: again, period_ns: 150 * MS, periods: 24, ..Branch::default() }
    }

    fn plan(&self, random: &mut Stream, calls: u64) -> BankPlan {
        BankPlan {
            calls,
            think_ns_max: if random.chance(300_000) { random.range(1_000_000, 10_000_000) } else { 0 },
            accounts: random.range(2, 24),
            // Now and then so much that an account could overflow; and no more than a schedule can say in TOML.
            deposit: if random.chance(100_000) { i64::MAX as u64 } else { random.range(1, 1_000) },
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
    use chronon::app::{
        application::{Application, ApplyContext, Event, Outcome},
        bank::Refusal,
    };
    use chronon::types::{Checksum, Op, Timestamp};

    use super::*;

    #[test]
    fn every_request_and_refusal_comes_up_and_no_money_is_lost() {
        let plan = BankPlan { calls: 2_000, think_ns_max: 0, accounts: 6, deposit: 100 };
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

    #[test]
    fn a_deposit_that_is_not_the_plan_s_is_not_conserved() {
        let plan = BankPlan { calls: 1, think_ns_max: 0, accounts: 6, deposit: 100 };
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
