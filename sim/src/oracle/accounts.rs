//! What is known of every client: what it asked, and what the canonical log has done for it.
//!
//! The session table of the model, written from the promise and not from the kernel: a request is executed if its session
//! lives and it is the next one of it; one session more than there may be evicts the one that was used least recently, by
//! op, then by client. Unlike a replica's, this table forgets nobody.

use std::collections::BTreeMap;

use chronon::types::{ClientId, Op, RequestNumber, Session, Timestamp};

/// Everything known of one client.
#[derive(Clone, Default, Debug)]
pub(super) struct Account {
    /// The last request that it sent.
    pub(super) asked: Option<Asked>,
    /// Its session as it now is; the last one if it was evicted.
    pub(super) session: Session,
    pub(super) registered_at: Timestamp,
    pub(super) lives: bool,
    /// How often it was evicted.
    pub(super) evictions: u32,
    /// The number of the last request that was executed in the session.
    pub(super) request: RequestNumber,
    /// The op that last used the session.
    used: Op,
    /// The last request that was executed, in whichever session.
    pub(super) executed: Executed,
    /// A request that the client was told was refused for good.
    pub(super) refused: Option<RequestNumber>,
}

/// A request as its client sent it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Asked {
    pub(super) request: RequestNumber,
    /// A checksum of the payload, and how long that is.
    pub(super) payload: u64,
    pub(super) length: usize,
    /// The highest op of which any client had the answer when this was first sent: it may only be executed above.
    pub(super) above: Op,
    /// The last canonical op when this was first sent: no op up to it is what executes this request.
    pub(super) head: Op,
    /// Whether the life that asked is over. Whoever asks as this client from then on asks something new, under whatever number.
    pub(super) over: bool,
}

/// A request as it was executed.
#[derive(Clone, Default, Debug)]
pub(super) struct Executed {
    pub(super) session: Session,
    /// 0 if there was none yet.
    pub(super) request: RequestNumber,
    pub(super) op: Op,
    pub(super) timestamp: Timestamp,
    /// The body of the reply.
    pub(super) answer: Vec<u8>,
}

/// What the table says of an entry of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Judgement {
    /// A register of a client without a session.
    Register,
    /// The next request of a living session.
    Execute,
    /// Nothing is to be done.
    Skip,
}

/// All clients.
#[derive(Clone, Debug)]
pub(super) struct Accounts {
    clients_max: u32,
    living: u32,
    all: BTreeMap<ClientId, Account>,
}

impl Accounts {
    pub(super) fn new(clients_max: u32) -> Self {
        Self { clients_max, living: 0, all: BTreeMap::new() }
    }

    pub(super) fn get(&self, client: ClientId) -> Option<&Account> {
        self.all.get(&client)
    }

    /// The account of a client that has just sent something.
    pub(super) fn open(&mut self, client: ClientId) -> &mut Account {
        self.all.entry(client).or_default()
    }

    /// The life that asked as this client is over.
    pub(super) fn life_ends(&mut self, client: ClientId) {
        if let Some(asked) = self.all.get_mut(&client).and_then(|account| account.asked.as_mut()) {
            asked.over = true;
        }
    }

    /// How many sessions live.
    pub(super) fn living(&self) -> u32 {
        self.living
    }

    /// The clients whose sessions live, in the order of their ids.
    pub(super) fn iter_living(&self) -> impl Iterator<Item = (ClientId, &Account)> {
        self.all.iter().filter(|(_, account)| account.lives).map(|(client, account)| (*client, account))
    }

    pub(super) fn judge(&self, client: ClientId, session: Session, request: RequestNumber) -> Judgement {
        let account = self.all.get(&client);
        let lives = account.is_some_and(|account| account.lives);
        match account {
            _ if request.0 == 0 => {
                if lives {
                    Judgement::Skip
                } else {
                    Judgement::Register
                }
            }
            Some(account) if lives && account.session == session && request == account.request.next() => {
                Judgement::Execute
            }
            _ => Judgement::Skip,
        }
    }

    /// A client registers in `op`. Who is evicted for it.
    pub(super) fn register(&mut self, client: ClientId, op: Op, timestamp: Timestamp) -> Option<ClientId> {
        let evicted = if self.living >= self.clients_max { self.evict() } else { None };
        let account = self.all.entry(client).or_default();
        account.session = Session(op.0);
        account.registered_at = timestamp;
        account.lives = true;
        account.request = RequestNumber(0);
        account.used = op;
        self.living += 1;
        evicted
    }

    /// The next request of a client's session was executed in `op`.
    pub(super) fn record(&mut self, client: ClientId, op: Op, timestamp: Timestamp, answer: &[u8]) {
        let account = self.all.get_mut(&client).expect("a request was judged to be a living session's");
        account.request = account.request.next();
        account.used = op;
        let executed = &mut account.executed;
        (executed.session, executed.request) = (account.session, account.request);
        (executed.op, executed.timestamp) = (op, timestamp);
        executed.answer.clear();
        executed.answer.extend_from_slice(answer);
    }

    fn evict(&mut self) -> Option<ClientId> {
        let living = self.all.iter_mut().filter(|(_, account)| account.lives);
        let (client, account) = living.min_by_key(|(client, account)| (account.used, **client))?;
        account.lives = false;
        account.evictions += 1;
        self.living -= 1;
        Some(*client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ClientId = ClientId(1);
    const B: ClientId = ClientId(2);
    const C: ClientId = ClientId(3);

    fn judge(accounts: &Accounts, client: ClientId, session: u64, request: u64) -> Judgement {
        accounts.judge(client, Session(session), RequestNumber(request))
    }

    #[test]
    fn only_the_next_request_of_a_living_session_is_executed() {
        let mut accounts = Accounts::new(2);
        assert_eq!(judge(&accounts, A, 0, 0), Judgement::Register);
        assert_eq!(judge(&accounts, A, 4, 1), Judgement::Skip);
        assert_eq!(accounts.register(A, Op(4), Timestamp(1)), None);
        let table =
            [(4, 0, Judgement::Skip), (4, 1, Judgement::Execute), (4, 2, Judgement::Skip), (5, 1, Judgement::Skip)];
        for (session, request, judgement) in table {
            assert_eq!(judge(&accounts, A, session, request), judgement, "{session} {request}");
        }
        accounts.record(A, Op(6), Timestamp(2), b"yes");
        assert_eq!((judge(&accounts, A, 4, 1), judge(&accounts, A, 4, 2)), (Judgement::Skip, Judgement::Execute));
        let executed = &accounts.get(A).unwrap().executed;
        assert_eq!((executed.session, executed.request, executed.op), (Session(4), RequestNumber(1), Op(6)));
    }

    #[test]
    fn the_session_used_least_recently_is_evicted_and_what_it_did_is_remembered() {
        let mut accounts = Accounts::new(2);
        accounts.register(A, Op(1), Timestamp(1));
        accounts.register(B, Op(1), Timestamp(1));
        accounts.record(A, Op(2), Timestamp(2), b"one");
        assert_eq!(accounts.register(C, Op(3), Timestamp(3)), Some(B));
        assert_eq!(accounts.register(B, Op(4), Timestamp(4)), Some(A));
        assert_eq!((accounts.living(), accounts.get(A).unwrap().evictions), (2, 1));
        assert_eq!(accounts.get(A).unwrap().executed.answer, b"one");
        assert_eq!(judge(&accounts, A, 1, 2), Judgement::Skip);
        assert_eq!(judge(&accounts, A, 1, 0), Judgement::Register);
        assert!(accounts.iter_living().map(|(client, _)| client).eq([B, C]));
    }
}
