//! The bank: accounts, and transfers between them that conserve money.
//!
//! Invariant: the sum over all accounts is what was deposited when they were opened; a transfer moves, and makes and loses
//! nothing. Any bytes whatever may come as a request: they do what [`Request`] says, or are refused and change nothing.
//!
//! ```text
//! request                                             response
//!   1 open      account u64, deposit u64                1 opened
//!   2 transfer  from u64, to u64, amount u64            2 transferred  what is left u64
//!   3 balance   account u64                             3 balance      u64
//!   4 audit                                             4 audit        accounts u64, total u128
//! ```
//!
//! What this deliberately lacks: owners, currencies, and money that comes or goes after an account was opened.

use alloc::vec::Vec;
use core::{fmt, ops::Bound};

use crate::{
    app::{
        application::{Application, ApplyContext, Event, Outcome, Rejection, RestoreError, SnapshotWriter},
        kv::RELEASED_NODES,
    },
    digest::{EntryHash, EntryHasher, SetDigest},
    map::Map,
    types::Checksum,
};

/// The bytes of a record of a snapshot.
pub(super) const RECORD_SIZE: usize = 16;

/// The bank.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Bank;

/// What can be asked of the bank.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// Let there be an account.
    Open {
        /// Its number.
        account: u64,
        /// What is in it at first.
        deposit: u64,
    },
    /// Move money.
    Transfer {
        /// Out of this account.
        from: u64,
        /// Into that one.
        to: u64,
        /// So much.
        amount: u64,
    },
    /// How much is in an account?
    Balance {
        /// Its number.
        account: u64,
    },
    /// How many accounts are there, and how much is in all of them?
    Audit,
}

/// What a request came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Response {
    /// There is an account now.
    Opened,
    /// The money was moved.
    Transferred {
        /// What is left in the account that it came from.
        left: u64,
    },
    /// What is in the account.
    Balance(u64),
    /// What there is.
    Audit {
        /// How many accounts.
        accounts: u64,
        /// How much is in all of them.
        total: u128,
    },
}

/// Why the bank refuses a request: the code of its [`Rejection`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u32)]
pub enum Refusal {
    /// The bytes are no request.
    Malformed = 1,
    /// There is an account of that number.
    Exists = 2,
    /// There is no account of that number.
    NoAccount = 3,
    /// There is less in the account than that.
    Funds = 4,
    /// From an account to itself nothing is transferred.
    SameAccount = 5,
    /// The account would hold more than it can.
    Overflow = 6,
}

impl Refusal {
    /// The refusal with this code.
    pub const fn from_code(code: u32) -> Option<Self> {
        Some(match code {
            1 => Self::Malformed,
            2 => Self::Exists,
            3 => Self::NoAccount,
            4 => Self::Funds,
            5 => Self::SameAccount,
            6 => Self::Overflow,
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
            Self::Malformed => "not a request of the bank: is the client of another version?",
            Self::Exists => "there is an account of that number already: choose another",
            Self::NoAccount => "there is no such account: open it first",
            Self::Funds => "there is not so much in the account: transfer less",
            Self::SameAccount => "from an account to itself nothing is transferred: name two",
            Self::Overflow => "the account would hold more than it can: transfer less",
        })
    }
}

impl core::error::Error for Refusal {}

impl Request {
    /// Appends the encoding to `bytes`.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        let (kind, numbers): (u8, &[u64]) = match self {
            Self::Open { account, deposit } => (1, &[*account, *deposit]),
            Self::Transfer { from, to, amount } => (2, &[*from, *to, *amount]),
            Self::Balance { account } => (3, &[*account]),
            Self::Audit => (4, &[]),
        };
        bytes.push(kind);
        numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
    }

    /// The request that `bytes` are.
    ///
    /// # Errors
    /// If they are none.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let (kind, rest) = bytes.split_first().ok_or(Refusal::Malformed)?;
        let (numbers, odd) = rest.as_chunks::<8>();
        if !odd.is_empty() {
            return Err(Refusal::Malformed);
        }
        let number = |place: usize| u64::from_le_bytes(numbers[place]);
        match (kind, numbers.len()) {
            (1, 2) => Ok(Self::Open { account: number(0), deposit: number(1) }),
            (2, 3) => Ok(Self::Transfer { from: number(0), to: number(1), amount: number(2) }),
            (3, 1) => Ok(Self::Balance { account: number(0) }),
            (4, 0) => Ok(Self::Audit),
            _ => Err(Refusal::Malformed),
        }
    }
}

impl Response {
    const SIZE_MAX: u32 = 1 + 8 + 16;

    /// Appends the encoding to `bytes`.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Opened => bytes.push(1),
            Self::Transferred { left } => {
                bytes.push(2);
                bytes.extend_from_slice(&left.to_le_bytes());
            }
            Self::Balance(balance) => {
                bytes.push(3);
                bytes.extend_from_slice(&balance.to_le_bytes());
            }
            Self::Audit { accounts, total } => {
                bytes.push(4);
                bytes.extend_from_slice(&accounts.to_le_bytes());
                bytes.extend_from_slice(&total.to_le_bytes());
            }
        }
    }

    /// The response that `bytes` are, if they are one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let number = |bytes: &[u8]| Some(u64::from_le_bytes(bytes.try_into().ok()?));
        match kind {
            1 if rest.is_empty() => Some(Self::Opened),
            2 => Some(Self::Transferred { left: number(rest)? }),
            3 => Some(Self::Balance(number(rest)?)),
            4 => {
                let (accounts, total) = rest.split_at_checked(8)?;
                let total = u128::from_le_bytes(total.try_into().ok()?);
                Some(Self::Audit { accounts: number(accounts)?, total })
            }
            _ => None,
        }
    }
}

/// What is in which account.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct State {
    accounts: Map<u64, u64>,
    total: u128,
    digest: SetDigest,
}

impl State {
    /// What is in an account.
    pub fn balance(&self, account: u64) -> Option<u64> {
        self.accounts.get(&account).copied()
    }

    /// How many accounts there are.
    pub fn accounts(&self) -> u64 {
        self.accounts.len() as u64
    }

    /// What was deposited in all, and paid as interest: the sum of all balances.
    pub const fn total(&self) -> u128 {
        self.total
    }

    /// The digest of all balances: see [`crate::digest`].
    pub fn digest(&self) -> Checksum {
        self.digest.digest()
    }

    /// What [`State::digest`] is of: as good for a comparison, and costs nothing.
    pub const fn set_digest(&self) -> SetDigest {
        self.digest
    }

    /// What is in each account, by its number.
    pub fn balances(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.accounts.iter().map(|(account, balance)| (*account, *balance))
    }

    fn open(&mut self, account: u64, deposit: u64) -> Result<Response, Refusal> {
        if self.accounts.contains_key(&account) {
            return Err(Refusal::Exists);
        }
        self.total += u128::from(deposit);
        self.set(account, deposit);
        Ok(Response::Opened)
    }

    fn transfer(&mut self, from: u64, to: u64, amount: u64) -> Result<Response, Refusal> {
        if from == to {
            return Err(Refusal::SameAccount);
        }
        let before = self.balance(from).ok_or(Refusal::NoAccount)?;
        let there = self.balance(to).ok_or(Refusal::NoAccount)?;
        let left = before.checked_sub(amount).ok_or(Refusal::Funds)?;
        let sum = there.checked_add(amount).ok_or(Refusal::Overflow)?;
        self.set(from, left);
        self.set(to, sum);
        Ok(Response::Transferred { left })
    }

    /// Puts so much into every account that has room for it. How much that was in all.
    pub(super) fn credit_all(&mut self, amount: u64) -> u128 {
        let sums = self.accounts.iter().filter_map(|(account, balance)| Some((*account, balance.checked_add(amount)?)));
        let sums: Vec<(u64, u64)> = sums.collect();
        let credited = u128::from(amount) * sums.len() as u128;
        sums.into_iter().for_each(|(account, sum)| self.set(account, sum));
        self.total += credited;
        credited
    }

    fn set(&mut self, account: u64, balance: u64) {
        if let Some(before) = self.accounts.insert(account, balance) {
            self.digest.remove(hash(account, before));
        }
        self.digest.insert(hash(account, balance));
    }

    fn look_up(&self, request: Request) -> Result<Response, Refusal> {
        match request {
            Request::Balance { account } => self.balance(account).map(Response::Balance).ok_or(Refusal::NoAccount),
            Request::Audit => Ok(Response::Audit { accounts: self.accounts(), total: self.total }),
            Request::Open { .. } | Request::Transfer { .. } => Err(Refusal::Malformed),
        }
    }
}

fn hash(account: u64, balance: u64) -> EntryHash {
    EntryHasher::new().number(account).number(balance).finish()
}

impl Application for Bank {
    type State = State;

    fn name(&self) -> &'static str {
        "bank"
    }

    fn apply(
        &self,
        state: &mut State,
        event: Event<'_>,
        _context: &ApplyContext,
        outcome: &mut Outcome,
    ) -> Result<(), Rejection> {
        let Event::Request { payload } = event else { return Ok(()) };
        let response = match Request::decode(payload)? {
            Request::Open { account, deposit } => state.open(account, deposit),
            Request::Transfer { from, to, amount } => state.transfer(from, to, amount),
            question => state.look_up(question),
        };
        response?.encode(&mut outcome.response);
        Ok(())
    }

    fn query(&self, state: &State, request: &[u8], response: &mut Vec<u8>) -> Result<(), Rejection> {
        state.look_up(Request::decode(request)?)?.encode(response);
        Ok(())
    }

    /// A record for each account, in their order: its number and what is in it.
    fn snapshot(&self, state: &State, writer: &mut SnapshotWriter) {
        let last = writer.resumed().and_then(<[u8]>::first_chunk).map(|last| u64::from_le_bytes(*last));
        let first = last.map_or(Bound::Unbounded, Bound::Excluded);
        for (account, balance) in state.accounts.iter_from(first.as_ref()) {
            writer.record([account.to_le_bytes(), balance.to_le_bytes()].as_flattened());
            if writer.is_full() {
                return writer.pause(&account.to_le_bytes());
            }
        }
    }

    fn is_unchanged(&self, before: &State, state: &State, from: &[u8], through: &[u8]) -> bool {
        let account = |position: &[u8]| position.first_chunk().map(|account| u64::from_le_bytes(*account));
        let (Some(from), Some(through)) = (account(from), account(through)) else { return false };
        state.accounts.agrees(&before.accounts, Bound::Excluded(&from), Bound::Included(&through))
    }

    fn release(&self, state: &mut State) -> bool {
        state.accounts.release(RELEASED_NODES)
    }

    fn restore(&self, state: &mut State, record: &[u8]) -> Result<(), RestoreError> {
        let ([account, balance], []) = record.as_chunks() else { return Err(RestoreError) };
        let account = u64::from_le_bytes(*account);
        if state.accounts.iter_from(Bound::Included(&account)).next().is_some() {
            return Err(RestoreError);
        }
        state.open(account, u64::from_le_bytes(*balance)).map_err(|_| RestoreError)?;
        Ok(())
    }

    fn response_size_max(&self) -> u32 {
        Response::SIZE_MAX
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;
    use crate::app::application::snapshot;
    use crate::types::{Op, Timestamp};

    fn ask(state: &mut State, request: Request) -> Result<Response, Refusal> {
        let mut payload = Vec::new();
        request.encode(&mut payload);
        assert_eq!(Request::decode(&payload), Ok(request));
        let context = ApplyContext::new(Op(1), Timestamp(1), Checksum(0), 0);
        let mut outcome = Outcome::default();
        let before = state.clone();
        match Bank.apply(state, Event::Request { payload: &payload }, &context, &mut outcome) {
            Ok(()) => Ok(Response::decode(&outcome.response).expect("our own response decodes")),
            Err(rejection) => {
                assert_eq!(*state, before, "{request:?} was refused");
                Err(Refusal::from_code(rejection.code).expect("our own code"))
            }
        }
    }

    #[test]
    fn each_request_does_what_it_says_or_changes_nothing() {
        let state = &mut Bank.genesis();
        let transfer = |from, to, amount| Request::Transfer { from, to, amount };
        let script = [
            (Request::Balance { account: 1 }, Err(Refusal::NoAccount)),
            (Request::Open { account: 1, deposit: 10 }, Ok(Response::Opened)),
            (Request::Open { account: 1, deposit: 99 }, Err(Refusal::Exists)),
            (transfer(1, 2, 1), Err(Refusal::NoAccount)),
            (transfer(2, 1, 1), Err(Refusal::NoAccount)),
            (Request::Open { account: 2, deposit: u64::MAX }, Ok(Response::Opened)),
            (transfer(1, 1, 1), Err(Refusal::SameAccount)),
            (transfer(1, 2, 11), Err(Refusal::Funds)),
            (transfer(1, 2, 1), Err(Refusal::Overflow)),
            (transfer(2, 1, 5), Ok(Response::Transferred { left: u64::MAX - 5 })),
            (Request::Balance { account: 1 }, Ok(Response::Balance(15))),
            (Request::Audit, Ok(Response::Audit { accounts: 2, total: u128::from(u64::MAX) + 10 })),
        ];
        for (request, expected) in script {
            assert_eq!(ask(state, request), expected, "{request:?}");
            let sum: u128 = state.accounts.iter().map(|(_, balance)| u128::from(*balance)).sum();
            assert_eq!(state.total(), sum, "{request:?}");
            let mut digest = SetDigest::new();
            state.accounts.iter().for_each(|(account, balance)| digest.insert(hash(*account, *balance)));
            assert_eq!(state.digest(), digest.digest(), "{request:?}");
        }
    }

    #[test]
    fn a_question_changes_nothing_and_asks_nothing_else() {
        let mut state = Bank.genesis();
        ask(&mut state, Request::Open { account: 7, deposit: 3 }).unwrap();
        let query = |request: Request| {
            let (mut payload, mut response) = (Vec::new(), Vec::new());
            request.encode(&mut payload);
            Bank.query(&state, &payload, &mut response).map(|()| Response::decode(&response))
        };
        assert_eq!(query(Request::Balance { account: 7 }), Ok(Some(Response::Balance(3))));
        assert_eq!(query(Request::Open { account: 8, deposit: 3 }), Err(Refusal::Malformed.into()));
    }

    #[test]
    fn a_snapshot_is_the_state_again() {
        let mut state = Bank.genesis();
        for account in 0..900 {
            ask(&mut state, Request::Open { account: account * 7, deposit: u64::MAX - account }).unwrap();
        }
        let (restored, parts) = snapshot::restored(&Bank, &state);
        assert!(parts > 3, "{parts}");
        assert_eq!((restored.digest(), restored.total()), (state.digest(), state.total()));
        assert_eq!(Bank.restore(&mut Bank.genesis(), &[0; 15]), Err(RestoreError));
        assert_eq!(Bank.restore(&mut state, &[0; 16]), Err(RestoreError), "the same account again");
        assert_eq!(Bank.restore(&mut state, &[1; 16]), Ok(()));
        let early = [8_u64, 1].map(u64::to_le_bytes);
        assert_eq!(Bank.restore(&mut state, early.as_flattened()), Err(RestoreError), "not in their order");
    }

    #[test]
    fn what_is_no_request_or_response_is_told() {
        let mut open = Vec::new();
        Request::Open { account: 1, deposit: 2 }.encode(&mut open);
        for bytes in [&[][..], &[0], &[5], &[4, 0], &open[..16], &[&open[..], &[0]].concat(), &[1]] {
            assert_eq!(Request::decode(bytes), Err(Refusal::Malformed), "{bytes:?}");
        }
        for bytes in [&[][..], &[0], &[1, 0], &[2], &[3, 1], &[4; 24], &[4; 26], &[5]] {
            assert_eq!(Response::decode(bytes), None, "{bytes:?}");
        }
        let longest = Response::Audit { accounts: u64::MAX, total: u128::MAX };
        let mut bytes = vec![];
        longest.encode(&mut bytes);
        assert_eq!(bytes.len(), Response::SIZE_MAX as usize);
        assert_eq!(Response::decode(&bytes), Some(longest));
    }
}
