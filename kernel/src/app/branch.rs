//! A branch of the bank: the bank of [`bank`], which writes a letter about every transfer and pays interest.
//!
//! It is what an application with effects looks like, and what effects are tried with: a transfer emits a letter; a timer has the rate
//! of interest fetched, period after period, and what is fetched is paid to every account. Of each letter and each
//! rate it is told one end, once, and it counts what it is told beyond that.
//!
//! Invariant: the sum over all accounts is what was deposited and what was paid as interest. What has not ended is waited for.
//!
//! What this deliberately lacks: requests of its own. Clients ask what they ask of the bank, and are answered by it.

use alloc::{collections::BTreeSet, format, vec::Vec};

use crate::{
    app::{
        application::{Application, ApplyContext, Event, Outcome, Rejection, RestoreError, SnapshotWriter},
        bank::{self, Bank, Request},
        effect::{Channel, EffectId, Policy, Severity},
        room::Limits,
    },
    digest::{EntryHasher, SetDigest},
    map::Map,
    types::Timestamp,
    wire::codec,
};

/// What a record of a snapshot is, by its first byte.
const RECORD_REST: u8 = 1;
const RECORD_LETTER: u8 = 2;
const RECORD_RATE: u8 = 3;

/// How far nothing is counted: a checkpoint that says so is refused, for what is counted next would have no number.
const COUNT_MAX: u64 = 1 << 63;

/// A branch of the bank.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Branch {
    /// Through which channels letters are sent, and how: those about an account by the one of its number, counted round.
    pub letters: Vec<(Channel, Policy)>,
    /// How the rate of interest is fetched.
    pub rate: Policy,
    /// How many nanoseconds of the log's time lie between two payments of interest.
    pub period_ns: u64,
    /// How many periods interest is paid for, from the first account on.
    pub periods: u32,
    /// How many letters and rates may be on their way.
    pub room: Limits,
}

impl Default for Branch {
    /// Letters in one channel, and interest once an hour for ever.
    fn default() -> Self {
        Self {
            letters: [(Channel(0), Policy::EMIT)].to_vec(),
            rate: Policy::FETCH,
            period_ns: 3_600_000_000_000,
            periods: u32::MAX,
            room: Limits::DEFAULT,
        }
    }
}

/// The accounts, and what the branch waits for.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct State {
    bank: bank::State,
    letters: Map<EffectId, ()>,
    rates: Map<EffectId, ()>,
    /// The timer of the next payment, and before when it must not fire.
    timer: Option<(EffectId, Timestamp)>,
    periods: u32,
    paid: u128,
    counts: Counts,
}

/// What became of what was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Letters that were taken.
    pub acknowledged: u64,
    /// Letters and rates that were given up.
    pub failed: u64,
    /// Rates that came.
    pub fetched: u64,
    /// Letters and timers for which there was no room.
    pub omitted: u64,
    /// What was told though nobody waited for it, or too early. There is none.
    pub unexpected: u64,
}

impl State {
    /// The accounts.
    pub const fn bank(&self) -> &bank::State {
        &self.bank
    }

    /// What was paid as interest, in all.
    pub const fn paid(&self) -> u128 {
        self.paid
    }

    /// How often the rate was to be fetched.
    pub const fn periods(&self) -> u32 {
        self.periods
    }

    /// What became of what was asked for.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// The letters and rates that the branch was told no end of, in the order of their ids.
    pub fn waiting(&self) -> impl Iterator<Item = EffectId> + '_ {
        let both: BTreeSet<EffectId> = self.letters.iter().chain(&self.rates).map(|(id, ())| *id).collect();
        both.into_iter()
    }

    /// Of all of it, but of what is waited for only how much it is.
    pub fn set_digest(&self) -> SetDigest {
        let Counts { acknowledged, failed, fetched, omitted, unexpected } = self.counts;
        let timer = self.timer.map_or([0; 2], |(id, due)| [id.op.0, due.0]);
        let counts = [acknowledged, failed, fetched, omitted, unexpected, self.letters.len() as u64];
        let rest = [self.rates.len() as u64, self.periods.into(), self.paid as u64, (self.paid >> 64) as u64];
        let numbers = counts.iter().chain(&rest).chain(&timer);
        let mut digest = self.bank.set_digest();
        digest.insert(numbers.fold(EntryHasher::new(), |hasher, number| hasher.number(*number)).finish());
        digest
    }

    /// Takes what is neither an account nor waited for.
    fn restore_rest(&mut self, record: &[u8]) -> Result<(), RestoreError> {
        let (numbers, rest) = record.split_first_chunk::<64>().ok_or(RestoreError)?;
        let number = |index: usize| u64::from_le_bytes(numbers.as_chunks().0[index]);
        // Counts, and the upper half of what was paid: no log comes so far.
        if [0, 1, 2, 3, 4, 6].into_iter().any(|index| number(index) >= COUNT_MAX) {
            return Err(RestoreError);
        }
        self.counts = Counts {
            acknowledged: number(0),
            failed: number(1),
            fetched: number(2),
            omitted: number(3),
            unexpected: number(4),
        };
        self.paid = u128::from(number(5)) | u128::from(number(6)) << 64;
        self.periods = u32::try_from(number(7)).map_err(|_| RestoreError)?;
        if !rest.is_empty() {
            let (due, timer) = rest.split_first_chunk().ok_or(RestoreError)?;
            let timer = codec::decode(timer).map_err(|_| RestoreError)?;
            self.timer = Some((timer, Timestamp(u64::from_le_bytes(*due))));
        }
        Ok(())
    }

    /// Whether the branch waited for the end of this.
    fn ends(&mut self, id: EffectId) -> bool {
        let known = self.letters.remove(&id).or_else(|| self.rates.remove(&id)).is_some();
        self.counts.unexpected += u64::from(!known);
        known
    }
}

impl Branch {
    fn request(
        &self,
        state: &mut State,
        payload: &[u8],
        context: &ApplyContext,
        outcome: &mut Outcome,
    ) -> Result<(), Rejection> {
        let event = Event::Request { payload };
        Bank.apply(&mut state.bank, event, context, outcome)?;
        match Request::decode(payload) {
            Ok(Request::Transfer { from, to, amount }) => {
                let place = from % (self.letters.len() as u64).max(1);
                let Some((channel, policy)) = self.letters.get(place as usize) else { return Ok(()) };
                let letter = format!("{amount} went from {from} to {to}");
                match outcome.emit(*channel, letter, *policy) {
                    Ok(id) => drop(state.letters.insert(id, ())),
                    Err(_) => state.counts.omitted += 1,
                }
            }
            Ok(Request::Open { .. }) if state.timer.is_none() && state.periods == 0 => {
                self.wait_a_period(state, context, outcome);
            }
            _ => {}
        }
        Ok(())
    }

    fn wait_a_period(&self, state: &mut State, context: &ApplyContext, outcome: &mut Outcome) {
        state.timer = None;
        if state.periods >= self.periods {
            return;
        }
        match outcome.schedule(self.period_ns, Vec::new()) {
            Ok(id) => state.timer = Some((id, Timestamp(context.timestamp.0.saturating_add(self.period_ns)))),
            Err(_) => state.counts.omitted += 1,
        }
    }

    /// A period is over: what is to be paid for it is fetched, and the next one begins.
    fn period_ends(&self, state: &mut State, id: EffectId, context: &ApplyContext, outcome: &mut Outcome) {
        if state.timer.is_none_or(|(timer, due)| timer != id || context.timestamp < due) {
            state.counts.unexpected += 1;
            return;
        }
        state.periods += 1;
        match outcome.fetch(*b"rate", self.rate) {
            Ok(id) => drop(state.rates.insert(id, ())),
            Err(_) => state.counts.omitted += 1,
        }
        self.wait_a_period(state, context, outcome);
    }
}

impl Application for Branch {
    type State = State;

    fn name(&self) -> &'static str {
        "branch"
    }

    fn apply(
        &self,
        state: &mut State,
        event: Event<'_>,
        context: &ApplyContext,
        outcome: &mut Outcome,
    ) -> Result<(), Rejection> {
        match event {
            Event::Request { payload } => return self.request(state, payload, context, outcome),
            Event::Fired { id, .. } => self.period_ends(state, id, context, outcome),
            Event::Acknowledged { id } => state.counts.acknowledged += u64::from(state.ends(id)),
            Event::Fetched { id, response } => {
                if state.ends(id) {
                    state.counts.fetched += 1;
                    let rate = response.first().copied().unwrap_or_default();
                    state.paid += state.bank.credit_all(rate.into());
                }
            }
            Event::Failed { id, cause, .. } => {
                state.counts.failed += u64::from(state.ends(id));
                // The application is told nothing of it, and there need be no room.
                let _ = outcome.log(Severity::Warning, format!("{id} was given up: {cause:?}"));
            }
        }
        Ok(())
    }

    fn query(&self, state: &State, request: &[u8], response: &mut Vec<u8>) -> Result<(), Rejection> {
        Bank.query(&state.bank, request, response)
    }

    /// Of its own first, then the accounts as the bank writes them, which no other record is as long as.
    fn snapshot(&self, state: &State, writer: &mut SnapshotWriter) {
        if writer.resumed().is_none() {
            let Counts { acknowledged, failed, fetched, omitted, unexpected } = state.counts;
            let mut record = Vec::new();
            let counts = [acknowledged, failed, fetched, omitted, unexpected];
            let paid = [state.paid as u64, (state.paid >> 64) as u64];
            record.push(RECORD_REST);
            for number in counts.iter().chain(&paid).chain(&[state.periods.into()]) {
                record.extend_from_slice(&number.to_le_bytes());
            }
            if let Some((timer, due)) = state.timer {
                record.extend_from_slice(&due.0.to_le_bytes());
                codec::encode(&timer, &mut record);
            }
            writer.record(&record);
            for (kind, ids) in [(RECORD_LETTER, &state.letters), (RECORD_RATE, &state.rates)] {
                for (id, ()) in ids {
                    record.clear();
                    record.push(kind);
                    codec::encode(id, &mut record);
                    writer.record(&record);
                }
            }
        }
        Bank.snapshot(&state.bank, writer);
    }

    /// What is not an account comes before the first pause.
    fn is_unchanged(&self, before: &State, state: &State, from: &[u8], through: &[u8]) -> bool {
        Bank.is_unchanged(&before.bank, &state.bank, from, through)
    }

    fn release(&self, state: &mut State) -> bool {
        Bank.release(&mut state.bank)
    }

    fn restore(&self, state: &mut State, record: &[u8]) -> Result<(), RestoreError> {
        if record.len() == bank::RECORD_SIZE {
            return Bank.restore(&mut state.bank, record);
        }
        let (kind, rest) = record.split_first().ok_or(RestoreError)?;
        match *kind {
            RECORD_REST => state.restore_rest(rest),
            RECORD_LETTER | RECORD_RATE => {
                let id = codec::decode(rest).map_err(|_| RestoreError)?;
                let ids = if *kind == RECORD_LETTER { &mut state.letters } else { &mut state.rates };
                if ids.insert(id, ()).is_none() { Ok(()) } else { Err(RestoreError) }
            }
            _ => Err(RestoreError),
        }
    }

    fn response_size_max(&self) -> u32 {
        Bank.response_size_max()
    }

    fn effects_max(&self) -> Limits {
        self.room
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        app::{effect::Cause, outcome::Wish},
        types::{Checksum, Op},
    };

    /// Applies an event in op `at`, at the time `at`; says what was asked for.
    fn apply(state: &mut State, at: u64, event: Event<'_>) -> Vec<(EffectId, Wish)> {
        let branch = Branch { period_ns: 10, periods: 2, ..Branch::default() };
        let context = ApplyContext::new(Op(at), Timestamp(at), Checksum(0), 0);
        let mut outcome = Outcome::default();
        outcome.begin(crate::types::ClusterId(1), &context, outcome.effects(), outcome.timers());
        match branch.apply(state, event, &context, &mut outcome) {
            Ok(()) => outcome.wishes().to_vec(),
            Err(_) => Vec::new(),
        }
    }

    fn ask(state: &mut State, at: u64, request: Request) -> Vec<(EffectId, Wish)> {
        let mut payload = Vec::new();
        request.encode(&mut payload);
        apply(state, at, Event::Request { payload: &payload })
    }

    #[test]
    fn a_letter_about_each_transfer_and_none_about_a_refused_one_and_one_end_of_each() {
        let state = &mut State::default();
        for account in [1, 2] {
            ask(state, account, Request::Open { account, deposit: 5 });
        }
        assert!(ask(state, 3, Request::Transfer { from: 1, to: 2, amount: 9 }).is_empty());
        let [first, second] = [4, 5].map(|at| ask(state, at, Request::Transfer { from: 1, to: 2, amount: 2 })[0].0);
        assert!(state.waiting().eq([first, second]));
        apply(state, 6, Event::Acknowledged { id: first });
        let failed = Event::Failed { id: second, cause: Cause::Expired, code: 0, may_have_run: true };
        assert_eq!(apply(state, 7, failed).len(), 1, "a line of the log");
        assert_eq!((state.counts().acknowledged, state.counts().failed, state.counts().unexpected), (1, 1, 0));
        apply(state, 8, Event::Acknowledged { id: second });
        assert_eq!((state.counts().acknowledged, state.counts().unexpected), (1, 1));
    }

    #[test]
    fn a_snapshot_is_the_state_again() {
        let state = &mut State::default();
        let restored = |state: &State| crate::app::application::snapshot::restored(&Branch::default(), state).0;
        for account in 0..400 {
            ask(state, account + 1, Request::Open { account, deposit: u64::MAX - account });
        }
        assert_eq!(restored(state), *state, "a timer is under way");
        for at in 500..600 {
            ask(state, at, Request::Transfer { from: at % 400, to: 399, amount: 1 });
        }
        (state.paid, state.periods) = (u128::MAX / 2 - 7, 3);
        state.rates.extend(state.letters.iter().take(2).map(|(id, ())| (*id, ())));
        state.counts.failed = 9;
        assert_eq!(restored(state), *state);
        for record in [&[][..], &[1], &[2, 0], &[4; 17], &[&[1][..], &[0x80; 56], &[0; 8]].concat()] {
            assert_eq!(Branch::default().restore(&mut State::default(), record), Err(RestoreError), "{record:?}");
        }
    }

    #[test]
    fn interest_is_paid_for_each_period_by_the_rate_that_was_fetched() {
        let state = &mut State::default();
        let timer = ask(state, 1, Request::Open { account: 1, deposit: 5 })[0].0;
        assert!(ask(state, 2, Request::Open { account: 2, deposit: u64::MAX }).is_empty(), "one timer for all");
        assert!(apply(state, 10, Event::Fired { id: timer, payload: &[] }).is_empty(), "too early");
        assert_eq!(state.counts().unexpected, 1);
        let asked = apply(state, 11, Event::Fired { id: timer, payload: &[] });
        let [(rate, _), (next, _)] = asked[..] else { panic!("a rate and the next period: {asked:?}") };
        apply(state, 12, Event::Fetched { id: rate, response: &[3] });
        assert_eq!((state.bank().balance(1), state.bank().balance(2), state.paid()), (Some(8), Some(u64::MAX), 3));
        let asked = apply(state, 30, Event::Fired { id: next, payload: &[] });
        assert_eq!((asked.len(), state.periods()), (1, 2), "the last period");
        apply(state, 31, Event::Fired { id: next, payload: &[] });
        assert_eq!(state.counts().unexpected, 2);
        assert_eq!(state.bank().total(), 5 + u128::from(u64::MAX) + state.paid());
    }
}
