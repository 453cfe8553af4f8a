//! Promise: a replica's application state and session table are those of the commit order at the op where it stands.
//!
//! The state is compared with the model's, by digest, whenever a step has executed something. Of the sessions, the entries
//! that an op touched are compared with the model's table where the op is executed first, whole tables now and then and at
//! the end; replicas that stand at the same op are compared with each other by digest.

use chronon::{
    digest::SetDigest,
    types::{ClientId, Op, ReplicaId},
    vsr::sessions::{Reply, Sessions},
    wire::{
        batch::{Batch, Kind},
        header::{HEADER_SIZE, Header},
    },
};

use super::{Violation, accounts::Account, model::Model, promise::broken, replies::name};

const PROMISE: &str = "state";

/// How many ops lie between two comparisons of whole session tables.
const OPS_PER_TABLE: u64 = 64;

/// A replica stands at `op`, which is canonical.
pub(super) fn agrees(
    model: &mut Model,
    replica: ReplicaId,
    op: Op,
    state: SetDigest,
    sessions: &Sessions,
) -> Result<(), Violation> {
    let Some(known) = model.get(op) else {
        let sentence = format!("{replica} stands at {op}, which nobody executed");
        return Err(broken(PROMISE, "a state of no op", sentence));
    };
    let (first, expected) = (known.seen_on, known.state);
    if state != expected {
        return Err(other_state(replica, op, first));
    }
    let digest = sessions.set_digest();
    if let Some((other, expected)) = model.sessions_at(op, replica, digest).filter(|(_, expected)| *expected != digest)
    {
        let sentence = format!("after {op} the sessions are {expected:?} on {other} and {digest:?} on {replica}");
        return Err(broken(PROMISE, "another session table", sentence));
    }
    Ok(())
}

/// A replica has just executed the head, first of all: its table has what the model's has for the clients in it.
pub(super) fn recorded(
    model: &Model,
    replica: ReplicaId,
    header: &Header,
    frame: &[u8],
    sessions: &Sessions,
) -> Result<(), Violation> {
    if header.op.0.is_multiple_of(OPS_PER_TABLE) {
        return same_sessions(model, replica, sessions);
    }
    if sessions.len() as u64 != u64::from(model.accounts.living()) {
        return Err(other_length(model, replica, sessions));
    }
    let Ok(batch) = Batch::parse(&frame[HEADER_SIZE..]) else { return Ok(()) };
    for entry in batch.iter().filter(|entry| entry.kind != Kind::System) {
        let account = model.accounts.get(entry.client).filter(|account| account.lives);
        let recorded = sessions.lookup(entry.client);
        let same = match (account, recorded) {
            (Some(account), Some(reply)) => is_same(account, &reply),
            (None, None) => true,
            _ => false,
        };
        if !same {
            return Err(other_entry(replica, header.op, entry.client, recorded));
        }
    }
    Ok(())
}

/// A replica stands at the model's head: its state and its whole table are the model's.
pub(super) fn agrees_at_the_head(
    model: &Model,
    replica: ReplicaId,
    state: SetDigest,
    sessions: &Sessions,
) -> Result<(), Violation> {
    if state != model.last().state {
        return Err(other_state(replica, model.head(), model.last().seen_on));
    }
    same_sessions(model, replica, sessions)
}

/// A replica stands at the model's head: its whole table is the model's.
pub(super) fn same_sessions(model: &Model, replica: ReplicaId, sessions: &Sessions) -> Result<(), Violation> {
    if sessions.len() as u64 != u64::from(model.accounts.living()) {
        return Err(other_length(model, replica, sessions));
    }
    for ((client, account), (other, reply)) in model.accounts.iter_living().zip(sessions.iter()) {
        if client != other || !is_same(account, &reply) {
            return Err(other_entry(replica, model.head(), other, Some(reply)));
        }
    }
    Ok(())
}

fn is_same(account: &Account, reply: &Reply<'_>) -> bool {
    if reply.session != account.session || reply.request != account.request {
        return false;
    }
    if reply.request.0 == 0 {
        return (reply.op.0, reply.timestamp) == (account.session.0, account.registered_at) && reply.body.is_empty();
    }
    let executed = &account.executed;
    (reply.op, reply.timestamp, reply.body) == (executed.op, executed.timestamp, &executed.answer[..])
}

fn other_state(replica: ReplicaId, op: Op, first: ReplicaId) -> Violation {
    let sentence =
        format!("after {op}, first executed by {first}, the state on {replica} is not that of the commit order");
    broken(PROMISE, "another application state", sentence)
}

fn other_length(model: &Model, replica: ReplicaId, sessions: &Sessions) -> Violation {
    let (head, living) = (model.head(), model.accounts.living());
    let sentence =
        format!("after {head} {replica} has {} sessions, and the commit order leaves {living}", sessions.len());
    broken(PROMISE, "another session table", sentence)
}

fn other_entry(replica: ReplicaId, op: Op, client: ClientId, reply: Option<Reply<'_>>) -> Violation {
    let had = reply.map_or("no session".to_owned(), |reply| format!("{} of {}", reply.request, reply.session));
    let sentence = format!("after {op} {replica} has {had} for {}, which the commit order does not", name(client));
    broken(PROMISE, "another session table", sentence)
}

#[cfg(test)]
mod tests {
    use chronon::{
        digest::EntryHasher,
        types::{RequestNumber, Timestamp},
    };

    use super::*;
    use crate::oracle::script::{CLUSTER, Entry, R0, R1, chain, prepare_of};

    const A: ClientId = ClientId(10);
    /// The op at which everything happens.
    const AT: u64 = 8;
    const PUT: &[u8] = b"anything: it is answered in the same words by both";

    /// A model after one client registered and asked something, and a replica's tables after the same.
    fn same() -> (Model, Header, chronon::frame::Frame, SetDigest, Sessions) {
        let mut model = Model::new(CLUSTER, 4);
        let entries: &[Entry<'_>] = &[(A.0, 0, 0, b""), (A.0, AT, 1, PUT)];
        for header in chain(1, AT - 1) {
            model.append(&header, R0, header.view);
        }
        let (header, frame) = prepare_of(1, AT, model.last().checksum, entries);
        model.accounts.register(A, Op(AT), header.timestamp);
        model.accounts.record(A, Op(AT), header.timestamp, b"refused");
        model.append(&header, R0, header.view);
        let mut sessions = Sessions::new(4);
        sessions.register(A, Op(AT), header.timestamp);
        let answer = model.accounts.get(A).unwrap().executed.answer.clone();
        sessions.record(A, RequestNumber(1), Op(AT), header.timestamp, &answer);
        (model, header, frame, SetDigest::new(), sessions)
    }

    #[test]
    fn a_replica_with_the_same_state_and_sessions_agrees() {
        let (mut model, header, frame, state, sessions) = same();
        recorded(&model, R0, &header, &frame, &sessions).unwrap();
        agrees(&mut model, R0, Op(AT), state, &sessions).unwrap();
        agrees(&mut model, R1, Op(AT), state, &sessions).unwrap();
        agrees_at_the_head(&model, R1, state, &sessions).unwrap();
    }

    #[test]
    fn another_state_is_a_violation() {
        let (mut model, _, _, mut state, sessions) = same();
        state.insert(EntryHasher::new().bytes(b"another").finish());
        assert_eq!(agrees(&mut model, R1, Op(AT), state, &sessions).unwrap_err().place, "another application state");
        assert_eq!(agrees_at_the_head(&model, R1, state, &sessions).unwrap_err().place, "another application state");
        assert_eq!(agrees(&mut model, R1, Op(AT + 1), state, &sessions).unwrap_err().place, "a state of no op");
    }

    #[test]
    fn replicas_with_other_sessions_at_the_same_op_are_a_violation() {
        let (mut model, _, _, state, sessions) = same();
        agrees(&mut model, R0, Op(AT), state, &sessions).unwrap();
        let violation = agrees(&mut model, R1, Op(AT), state, &Sessions::new(4)).unwrap_err();
        assert_eq!(violation.place, "another session table");
    }

    #[test]
    fn a_table_that_is_not_the_model_s_is_a_violation() {
        let (model, header, frame, _, sessions) = same();
        let mut fewer = Sessions::new(4);
        let mut other = Sessions::new(4);
        other.register(A, Op(AT), header.timestamp);
        let mut late = sessions.clone();
        late.record(A, RequestNumber(2), Op(AT), Timestamp(5), b"again");
        let mut stranger = Sessions::new(4);
        stranger.register(ClientId(11), Op(AT), header.timestamp);
        for table in [&fewer, &other, &late, &stranger] {
            assert!(recorded(&model, R0, &header, &frame, table).is_err());
            assert!(same_sessions(&model, R0, table).is_err());
        }
        fewer.register(A, Op(AT), Timestamp(3));
        assert!(same_sessions(&model, R0, &fewer).is_err(), "registered at another time");
    }
}
