//! The session table: who may ask, what was asked last, and what the answer was. Replicated state.
//!
//! Every replica changes its table only by committed entries of the log, in their order, so all tables agree at the same
//! op. From the table alone follow the two promises of a session: a request is executed once however often it arrives,
//! and a retry is given the answer of the first time, by any primary.
//!
//! A session is identified by the op that registered it. The table holds a bounded number; one more evicts the session
//! that was used least recently, which means by the oldest op, and of several in that op the one of the lowest client
//! id. A register that finds the client's session, and a retry, are no use of it: they change nothing at all.
//!
//! What this deliberately lacks: requests that are in the log but not committed. Whether one of those is a duplicate is
//! for the primary to find in its log; [`Sessions::check`] decides again when it is applied.

use alloc::{sync::Arc, vec::Vec};
use core::ops::Bound;

use crate::{
    digest::{EntryHash, EntryHasher, SetDigest},
    map::Map,
    storage::snapshot::{RestoreError, SnapshotWriter},
    types::{Checksum, ClientId, Op, RequestNumber, Session, Timestamp},
};

/// The request number that registers.
const REGISTER: RequestNumber = RequestNumber(0);

/// All sessions of a cluster.
#[derive(Clone, Debug)]
pub struct Sessions {
    clients_max: u32,
    entries: Map<ClientId, Entry>,
    digest: SetDigest,
}

/// One client's session.
#[derive(Clone, Debug)]
struct Entry {
    session: Session,
    registered_at: Timestamp,
    request: RequestNumber,
    op: Op,
    timestamp: Timestamp,
    body: Arc<[u8]>,
    /// Of all of the above and the client, as it went into the digest.
    hash: EntryHash,
}

/// What a client was told last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reply<'a> {
    /// The session.
    pub session: Session,
    /// The request that this answers; 0 for the register.
    pub request: RequestNumber,
    /// The op in which the request committed.
    pub op: Op,
    /// The time of that op.
    pub timestamp: Timestamp,
    /// The answer. Empty for the register.
    pub body: &'a [u8],
}

/// What a request is, seen from the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict<'a> {
    /// Never executed, and the next one of its session (or a register of a client without a session).
    New,
    /// Executed as the last one of its session: this was the answer.
    Retry(Reply<'a>),
    /// Executed earlier than the last one. The client has had the answer, or it could not have asked again.
    Stale,
    /// Beyond the next one of its session: no client that keeps to one request at a time sends this.
    Gap,
    /// There is no such session: it was evicted, or never registered as far as this table was brought.
    Evicted,
}

/// What a register came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Registration {
    /// The client's session, a new one or the one it had.
    pub session: Session,
    /// When it was registered.
    pub timestamp: Timestamp,
    /// Whether it is new.
    pub fresh: bool,
    /// Whose session had to go, and which.
    pub evicted: Option<(ClientId, Session)>,
}

impl Sessions {
    /// No sessions yet, and never more than `clients_max`.
    ///
    /// # Panics
    /// If `clients_max` is 0.
    pub fn new(clients_max: u32) -> Self {
        assert!(clients_max > 0, "a table without room for one session can serve nobody: allow at least one client");
        Self { clients_max, entries: Map::new(), digest: SetDigest::new() }
    }

    /// What `request` is, of `client` in `session`. For the register (request 0) the session is not looked at.
    pub fn check(&self, client: ClientId, session: Session, request: RequestNumber) -> Verdict<'_> {
        let entry = self.entries.get(&client);
        if request == REGISTER {
            return entry.map_or(Verdict::New, |entry| Verdict::Retry(entry.registration()));
        }
        let Some(entry) = entry.filter(|entry| entry.session == session) else { return Verdict::Evicted };
        if request < entry.request {
            Verdict::Stale
        } else if request == entry.request {
            Verdict::Retry(entry.reply())
        } else if request.0 - entry.request.0 == 1 {
            Verdict::New
        } else {
            Verdict::Gap
        }
    }

    /// A committed register of `client`, in `op`: the session that it has, or a new one.
    pub fn register(&mut self, client: ClientId, op: Op, timestamp: Timestamp) -> Registration {
        if let Some(entry) = self.entries.get(&client) {
            return Registration {
                session: entry.session,
                timestamp: entry.registered_at,
                fresh: false,
                evicted: None,
            };
        }
        let evicted = if self.entries.len() as u64 >= u64::from(self.clients_max) { Some(self.evict()) } else { None };
        let session = Session(op.0);
        let mut entry = Entry {
            session,
            registered_at: timestamp,
            request: REGISTER,
            op,
            timestamp,
            body: Arc::from([]),
            hash: EntryHasher::new().finish(),
        };
        entry.hash = entry.hashed(client);
        self.digest.insert(entry.hash);
        self.entries.insert(client, entry);
        Registration { session, timestamp, fresh: true, evicted }
    }

    /// A committed request of `client` was executed in `op`, with this answer.
    ///
    /// # Panics
    /// If [`Sessions::check`] would not have called the request new: it would be executed twice, or out of order.
    pub fn record(&mut self, client: ClientId, request: RequestNumber, op: Op, timestamp: Timestamp, body: &[u8]) {
        let entry = self.entries.get_mut(&client).expect("a request is executed only within a session");
        assert_eq!(request, entry.request.next(), "a session's requests are executed once and in order");
        assert!(op >= entry.op, "the log is applied in order");
        self.digest.remove(entry.hash);
        entry.request = request;
        entry.op = op;
        entry.timestamp = timestamp;
        match Arc::get_mut(&mut entry.body) {
            // No checkpoint keeps it, and its memory serves again.
            Some(before) if before.len() == body.len() => before.copy_from_slice(body),
            _ => entry.body = body.into(),
        }
        entry.hash = entry.hashed(client);
        self.digest.insert(entry.hash);
    }

    /// What `client` was told last, if it has a session.
    pub fn lookup(&self, client: ClientId) -> Option<Reply<'_>> {
        self.entries.get(&client).map(Entry::reply)
    }

    /// All sessions with what each was told last, in the order of the clients' ids.
    pub fn iter(&self) -> impl Iterator<Item = (ClientId, Reply<'_>)> {
        self.entries.iter().map(|(client, entry)| (*client, entry.reply()))
    }

    /// The number of sessions.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no session.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many sessions there may be.
    pub fn clients_max(&self) -> u32 {
        self.clients_max
    }

    /// The digest of all sessions with their replies: equal tables, and in practice only those, have equal digests.
    /// Costs the same for every table.
    pub fn digest(&self) -> Checksum {
        self.digest.digest()
    }

    /// What [`Sessions::digest`] is of: as good for a comparison, and costs nothing.
    pub const fn set_digest(&self) -> SetDigest {
        self.digest
    }

    /// Writes the sessions as records, from where the writer paused.
    pub fn snapshot(&self, writer: &mut SnapshotWriter) {
        let first = match writer.resumed().and_then(<[u8]>::first_chunk) {
            Some(last) => Bound::Excluded(ClientId(u128::from_le_bytes(*last))),
            None => Bound::Unbounded,
        };
        let mut record = Vec::new();
        for (client, entry) in self.entries.iter_from(first.as_ref()) {
            record.clear();
            record.extend_from_slice(&client.0.to_le_bytes());
            for number in [entry.session.0, entry.registered_at.0, entry.request.0, entry.op.0, entry.timestamp.0]
                .map(u64::to_le_bytes)
            {
                record.extend_from_slice(&number);
            }
            record.extend_from_slice(&entry.body);
            writer.record(&record);
            if writer.is_full() {
                return writer.pause(&client.0.to_le_bytes());
            }
        }
    }

    /// Takes a record that [`Sessions::snapshot`] wrote, in the order of writing.
    ///
    /// # Errors
    /// If it is none, or of more clients than there may be.
    pub fn restore(&mut self, record: &[u8]) -> Result<(), RestoreError> {
        let (client, rest) = record.split_first_chunk::<16>().ok_or(RestoreError)?;
        let (numbers, body) = rest.split_first_chunk::<40>().ok_or(RestoreError)?;
        let client = ClientId(u128::from_le_bytes(*client));
        let number = |index: usize| u64::from_le_bytes(numbers.as_chunks().0[index]);
        let full = self.entries.len() as u64 >= u64::from(self.clients_max);
        if full || self.entries.iter_from(Bound::Included(&client)).next().is_some() {
            return Err(RestoreError);
        }
        let mut entry = Entry {
            session: Session(number(0)),
            registered_at: Timestamp(number(1)),
            request: RequestNumber(number(2)),
            op: Op(number(3)),
            timestamp: Timestamp(number(4)),
            body: body.into(),
            hash: EntryHasher::new().finish(),
        };
        entry.hash = entry.hashed(client);
        self.digest.insert(entry.hash);
        self.entries.insert(client, entry);
        Ok(())
    }

    /// Removes the session used least recently. Looks at all of them: an eviction is rare, and an order kept up to date
    /// would be paid for by every request.
    fn evict(&mut self) -> (ClientId, Session) {
        let victim = self.entries.iter().min_by_key(|(client, entry)| (entry.op, **client));
        let client = *victim.expect("a full table has a session to evict").0;
        let entry = self.entries.remove(&client).expect("the victim was found in the table");
        self.digest.remove(entry.hash);
        (client, entry.session)
    }
}

impl Entry {
    fn reply(&self) -> Reply<'_> {
        let Self { session, request, op, timestamp, .. } = *self;
        Reply { session, request, op, timestamp, body: &self.body }
    }

    /// What the client was told when it registered, however much it asked since.
    fn registration(&self) -> Reply<'_> {
        let Self { session, registered_at, .. } = *self;
        Reply { session, request: REGISTER, op: Op(session.0), timestamp: registered_at, body: &[] }
    }

    fn hashed(&self, client: ClientId) -> EntryHash {
        EntryHasher::new()
            .number(client.0 as u64)
            .number((client.0 >> 64) as u64)
            .number(self.session.0)
            .number(self.registered_at.0)
            .number(self.request.0)
            .number(self.op.0)
            .number(self.timestamp.0)
            .bytes(&self.body)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::storage::{chunk::CHUNK_HEADER_SIZE, snapshot::SnapshotReader};

    const A: ClientId = ClientId(0xa);
    const B: ClientId = ClientId(0xb);
    const C: ClientId = ClientId(0xc);
    const D: ClientId = ClientId(0xd);

    fn register(sessions: &mut Sessions, client: ClientId, op: u64) -> Registration {
        sessions.register(client, Op(op), Timestamp(op * 1000))
    }

    fn record(sessions: &mut Sessions, client: ClientId, request: u64, op: u64, body: &[u8]) {
        sessions.record(client, RequestNumber(request), Op(op), Timestamp(op * 1000), body);
    }

    fn check(sessions: &Sessions, client: ClientId, session: u64, request: u64) -> Verdict<'_> {
        sessions.check(client, Session(session), RequestNumber(request))
    }

    fn clients(sessions: &Sessions) -> Vec<ClientId> {
        sessions.iter().map(|(client, _)| client).collect()
    }

    #[test]
    fn each_request_number_has_its_verdict() {
        let mut sessions = Sessions::new(4);
        assert_eq!(check(&sessions, A, 0, 0), Verdict::New, "a register");
        assert_eq!(check(&sessions, A, 1, 1), Verdict::Evicted, "nobody registered");
        register(&mut sessions, A, 1);
        assert_eq!(check(&sessions, A, 1, 1), Verdict::New);
        assert_eq!(check(&sessions, A, 1, 2), Verdict::Gap);
        record(&mut sessions, A, 1, 5, b"one");
        record(&mut sessions, A, 2, 6, b"two");
        let last = Reply {
            session: Session(1),
            request: RequestNumber(2),
            op: Op(6),
            timestamp: Timestamp(6000),
            body: b"two",
        };
        assert_eq!(check(&sessions, A, 1, 1), Verdict::Stale);
        assert_eq!(check(&sessions, A, 1, 2), Verdict::Retry(last));
        assert_eq!(check(&sessions, A, 1, 3), Verdict::New);
        assert_eq!(check(&sessions, A, 1, 4), Verdict::Gap);
        assert_eq!(check(&sessions, A, 1, u64::MAX), Verdict::Gap);
        assert_eq!(check(&sessions, A, 2, 3), Verdict::Evicted, "another session of the same client");
        assert_eq!(check(&sessions, A, 0, 3), Verdict::Evicted, "no session");
        assert_eq!(check(&sessions, B, 1, 3), Verdict::Evicted, "the session of another client");
        assert_eq!(sessions.lookup(A), Some(last));
        assert_eq!(sessions.lookup(B), None);
    }

    #[test]
    fn a_repeated_register_gets_the_same_session_and_the_same_reply_and_changes_nothing() {
        let mut sessions = Sessions::new(2);
        let first = register(&mut sessions, A, 3);
        assert_eq!(first, Registration { session: Session(3), timestamp: Timestamp(3000), fresh: true, evicted: None });
        register(&mut sessions, B, 4);
        record(&mut sessions, A, 1, 5, b"one");
        let before = sessions.digest();
        assert_eq!(register(&mut sessions, A, 9), Registration { fresh: false, ..first });
        assert_eq!(sessions.digest(), before);
        let reply =
            Reply { session: Session(3), request: RequestNumber(0), op: Op(3), timestamp: Timestamp(3000), body: b"" };
        assert_eq!(check(&sessions, A, 0, 0), Verdict::Retry(reply));
        // Nor was it a use of the session: B, used in op 4, goes before A, used in op 5, but not because of op 9.
        record(&mut sessions, B, 1, 6, b"");
        assert_eq!(register(&mut sessions, C, 10).evicted, Some((A, Session(3))));
    }

    #[test]
    fn the_session_used_least_recently_is_evicted_and_is_told_so() {
        let mut sessions = Sessions::new(3);
        for (client, op) in [(A, 1), (B, 2), (C, 3)] {
            register(&mut sessions, client, op);
        }
        record(&mut sessions, A, 1, 4, b"");
        assert_eq!(register(&mut sessions, D, 5).evicted, Some((B, Session(2))));
        assert_eq!(clients(&sessions), [A, C, D]);
        assert_eq!(check(&sessions, B, 2, 1), Verdict::Evicted);
        // B comes back, under a new session. The old one stays evicted.
        let again = register(&mut sessions, B, 6);
        assert_eq!((again.session, again.evicted), (Session(6), Some((C, Session(3)))));
        assert_eq!(check(&sessions, B, 2, 1), Verdict::Evicted);
        assert_eq!(check(&sessions, B, 6, 1), Verdict::New);
        assert_eq!(sessions.len(), 3);
    }

    #[test]
    fn of_sessions_used_in_one_op_the_lowest_client_id_is_evicted() {
        let mut sessions = Sessions::new(2);
        register(&mut sessions, C, 1);
        register(&mut sessions, B, 1);
        assert_eq!(register(&mut sessions, D, 1).evicted, Some((B, Session(1))));
        assert_eq!(register(&mut sessions, A, 1).evicted, Some((C, Session(1))));
    }

    #[test]
    fn a_session_registered_in_the_same_batch_may_be_evicted_in_it() {
        let mut sessions = Sessions::new(1);
        register(&mut sessions, A, 1);
        assert_eq!(register(&mut sessions, B, 1).evicted, Some((A, Session(1))));
        assert_eq!(check(&sessions, A, 1, 1), Verdict::Evicted);
    }

    #[test]
    #[should_panic(expected = "once and in order")]
    fn a_request_is_never_recorded_twice() {
        let mut sessions = Sessions::new(1);
        register(&mut sessions, A, 1);
        record(&mut sessions, A, 1, 2, b"");
        record(&mut sessions, A, 1, 3, b"");
    }

    #[test]
    fn a_restored_table_is_the_same_in_everything_that_follows_from_it() {
        let mut sessions = Sessions::new(40);
        for client in 1..=30 {
            register(&mut sessions, ClientId(client), client as u64);
        }
        record(&mut sessions, ClientId(7), 1, 40, b"an answer");
        record(&mut sessions, ClientId(9), 1, 41, &[1; 300]);
        let mut writer = SnapshotWriter::new(512, 1);
        let mut parts = 1;
        while !writer.write(1, |writer| sessions.snapshot(writer)) {
            parts += 1;
        }
        writer.finish();
        let (mut restored, mut reader) = (Sessions::new(40), SnapshotReader::default());
        while let Some(leaf) = writer.take() {
            reader.leaf(&leaf[CHUNK_HEADER_SIZE..], |_, record| restored.restore(record)).unwrap();
        }
        assert!(parts > 1 && reader.is_whole());
        assert_eq!(restored.digest(), sessions.digest());
        assert!(restored.iter().eq(sessions.iter()));
        assert_eq!(check(&restored, ClientId(7), 7, 0), check(&sessions, ClientId(7), 7, 0));
        for _ in 0..12 {
            let client = ClientId(1000 + restored.len() as u128);
            assert_eq!(register(&mut restored, client, 50), register(&mut sessions, client, 50));
        }
    }

    #[test]
    fn records_that_no_table_wrote_are_errors() {
        let mut sessions = Sessions::new(1);
        assert_eq!(sessions.restore(&[0; 55]), Err(RestoreError));
        assert_eq!(sessions.restore(&[1; 56]), Ok(()));
        assert_eq!(sessions.restore(&[2; 56]), Err(RestoreError), "more sessions than there may be");
        let mut sessions = Sessions::new(2);
        sessions.restore(&[1; 56]).unwrap();
        assert_eq!(sessions.restore(&[1; 56]), Err(RestoreError), "the same client again");
    }

    #[test]
    #[should_panic(expected = "at least one client")]
    fn a_table_without_room_is_refused() {
        Sessions::new(0);
    }

    #[test]
    fn tables_with_the_same_history_have_equal_digests_and_every_difference_shows() {
        let build = |body: &[u8], op: u64, second: bool| {
            let mut sessions = Sessions::new(2);
            register(&mut sessions, A, 1);
            register(&mut sessions, B, 1);
            record(&mut sessions, A, 1, op, body);
            if second {
                record(&mut sessions, A, 2, op, body);
            }
            sessions.digest()
        };
        let base = build(b"x", 2, false);
        assert_eq!(base, build(b"x", 2, false));
        assert_ne!(base, build(b"y", 2, false));
        assert_ne!(base, build(b"x", 3, false));
        assert_ne!(base, build(b"x", 2, true));
    }

    #[test]
    fn an_eviction_leaves_no_trace_in_the_digest() {
        let mut with = Sessions::new(1);
        register(&mut with, A, 1);
        record(&mut with, A, 1, 2, b"x");
        register(&mut with, B, 3);
        let mut without = Sessions::new(1);
        register(&mut without, B, 3);
        assert_eq!(with.digest(), without.digest());
        assert_ne!(with.digest(), Sessions::new(1).digest());
    }
}
