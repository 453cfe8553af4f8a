//! Promise: replies equal a sequential run of the commit order that respects real time, and no acknowledged write is lost.
//!
//! The canonical log is run through the application once. What replicas answer, and what clients take for their answer, must
//! be what that run answered, in the op in which it did; so an answer to what is not committed has nothing to equal. Each
//! request is executed as its client sent it, once, and above every op of which any client had the answer when the request
//! was first sent: with that, the commit order is an order that an outside observer could have seen. And whoever was answered
//! had asked before that was executed: a client that lives again makes calls of its own, whose answers are not those of the life
//! before.
//!
//! Deliberately absent: the times of the clients' own clocks. What was first is what the world saw first.

use std::fmt;

use chronon::{
    app::{application::ApplyContext, executor::Answer},
    client::Client,
    types::{ClientId, Op, ReplicaId, RequestNumber},
    wire::{
        batch::{Batch, Entry, Kind},
        header::{HEADER_SIZE, Header},
    },
};

use super::{
    Violation,
    accounts::{Account, Asked, Judgement},
    model::Model,
    promise::broken,
    sequence::Sequence,
    speech::Speech,
};
use crate::{
    fold,
    workload::{Call, CallOutcome, Told, Workload},
};

const PROMISE: &str = "replies";

/// What clients know.
#[derive(Clone, Default)]
pub(super) struct Replies {
    /// The highest op of which any client has the answer.
    answered: Op,
    /// How many requests were answered, registers apart.
    acknowledged: u64,
}

impl Replies {
    /// How many requests were answered, registers apart.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// A client sends a request, for the first time or again.
    pub(super) fn asks(&self, model: &mut Model, speech: Speech<'_>) {
        let (request, head) = (speech.request(), model.head());
        let account = model.accounts.open(speech.client());
        if account.asked.is_none_or(|asked| asked.over || request > asked.request) {
            let (payload, length) = (fold::checksum(speech.body()), speech.body().len());
            account.asked = Some(Asked { request, payload, length, above: self.answered, head, over: false });
        }
    }

    /// Runs the requests of the prepare that is about to become canonical.
    pub(super) fn run<W: Workload>(
        &self,
        sequence: &mut Sequence<W>,
        model: &mut Model,
        replica: ReplicaId,
        header: &Header,
        frame: &[u8],
    ) -> Result<(), Violation> {
        let Some(Ok(batch)) = frame.get(HEADER_SIZE..).map(Batch::parse) else {
            let sentence = format!("{replica} executed {}, whose batch cannot be parsed", header.op);
            return Err(broken(PROMISE, "executed what is no batch", sentence));
        };
        sequence.begin(&ApplyContext::new(header.op, header.timestamp, header.checksum, 0))?;
        for (position, entry) in (0..).zip(batch.iter()) {
            if entry.kind == Kind::System {
                let context = ApplyContext::new(header.op, header.timestamp, header.checksum, position);
                sequence.run_system(&context, entry.payload)?;
                continue;
            }
            if entry.kind == Kind::Members {
                // The protocol's own.
                continue;
            }
            let (client, request) = (entry.client, entry.request);
            let account = model.accounts.get(client);
            let Some((account, asked)) = account.and_then(|account| Some((account, account.asked?))) else {
                let sentence =
                    format!("{replica} executed {request} of {} in {}, who never asked", name(client), header.op);
                return Err(broken(PROMISE, "executed what nobody asked", sentence));
            };
            let judgement = model.accounts.judge(client, entry.session, request);
            if judgement == Judgement::Skip {
                continue;
            }
            // A register that was delayed until its session was evicted begins another one. Its client takes no notice.
            if judgement == Judgement::Execute || account.evictions == 0 {
                is_as_asked(account, &asked, &entry, header.op)?;
            }
            if judgement == Judgement::Register {
                model.accounts.register(client, header.op, header.timestamp);
            } else {
                let context = ApplyContext::new(header.op, header.timestamp, header.checksum, position);
                sequence.run(model, client, &context, &entry)?;
            }
        }
        model.state = sequence.digest();
        Ok(())
    }

    /// A replica answers a client.
    pub(super) fn answers(&self, model: &Model, replica: ReplicaId, speech: Speech<'_>) -> Result<(), Violation> {
        let (client, request, op) = (speech.client(), speech.request(), speech.op());
        let Some(account) = model.accounts.get(client) else {
            let sentence = format!("{replica} answers {request} of {}, who never asked", name(client));
            return Err(broken(PROMISE, "answered before it was committed", sentence));
        };
        let executed = &account.executed;
        let same = if request.0 == 0 {
            let registered = account.session.0 > 0 && account.session == speech.session();
            let as_registered = op.0 == account.session.0 && speech.timestamp() == account.registered_at;
            // Of an evicted session nothing is known but that there was one.
            account.evictions > 0 || registered && as_registered && speech.body().is_empty()
        } else if request < executed.request {
            return Ok(());
        } else {
            request == executed.request
                && speech.session() == executed.session
                && (op, speech.timestamp()) == (executed.op, executed.timestamp)
                && speech.body() == executed.answer
        };
        if same {
            return Ok(());
        }
        if request > executed.request || account.session.0 == 0 {
            let sentence = format!("{replica} answers {request} of {}, which is not committed", name(client));
            return Err(broken(PROMISE, "answered before it was committed", sentence));
        }
        let sentence = format!(
            "{replica} answers {request} of {} with op {}, {:02x?}, and the commit order with op {}, {:02x?}",
            name(client),
            op.0,
            abridged(speech.body()),
            executed.op.0,
            abridged(&executed.answer)
        );
        Err(broken(PROMISE, "another answer than the commit order's", sentence))
    }

    /// A client no longer waits for `request`, which it sent as `client`, and goes on in its session.
    pub(super) fn answered(&mut self, model: &Model, client: &Client, request: RequestNumber) -> Result<(), Violation> {
        let id = client.id();
        let account = model.accounts.get(id);
        let executed_in = account.and_then(|account| {
            if request.0 == 0 {
                let session = client.session()?;
                let current = account.session == session || account.evictions > 0;
                (session.0 > 0 && current).then_some(Op(session.0))
            } else {
                (account.executed.request == request).then_some(account.executed.op)
            }
        });
        let Some(op) = executed_in.filter(|op| *op <= model.head()) else {
            let sentence = format!("{} has an answer to {request}, which is not committed", name(id));
            return Err(broken(PROMISE, "answered before it was committed", sentence));
        };
        let asked = account.and_then(|account| account.asked).filter(|asked| request.0 > 0 && asked.request == request);
        if asked.is_some_and(|asked| op <= asked.head) {
            let sentence = format!("{} has an answer to {request}, which {op} executed before it was asked", name(id));
            return Err(broken(PROMISE, "answered with what was executed before it was asked", sentence));
        }
        self.answered = self.answered.max(op);
        self.acknowledged += u64::from(request.0 > 0);
        Ok(())
    }

    /// A client has written down how its call ended. `id` is who it was when it made it.
    pub(super) fn ended(model: &Model, id: ClientId, call: &Call) -> Result<(), Violation> {
        let Some(end) = &call.end else { return Ok(()) };
        let CallOutcome::Answered { client, session, request, op, timestamp, told } = &end.outcome else {
            return Ok(());
        };
        let account = model.accounts.get(*client).filter(|_| *client == id);
        let same = account.is_some_and(|account| {
            let executed = &account.executed;
            (session, request, op, timestamp)
                == (&executed.session, &executed.request, &executed.op, &executed.timestamp)
                && account.asked.is_some_and(|asked| asked.payload == fold::checksum(&call.request))
                && is_told(told, &executed.answer)
        });
        if same {
            return Ok(());
        }
        let sentence =
            format!("{} was told that {request} was {op}, which the commit order does not say", name(*client));
        Err(broken(PROMISE, "another answer than the commit order's", sentence))
    }
}

/// A request is executed for the first time, in `op`.
fn is_as_asked(account: &Account, asked: &Asked, entry: &Entry<'_>, op: Op) -> Result<(), Violation> {
    let (client, request) = (name(entry.client), entry.request);
    if request != asked.request || fold::checksum(entry.payload) != asked.payload {
        let sentence = format!("{op} executes {request} of {client}, which it did not ask: it asked {}", asked.request);
        return Err(broken(PROMISE, "executed what nobody asked", sentence));
    }
    if op <= asked.above {
        let above = asked.above;
        let sentence = format!("{op} executes {request} of {client}, asked after {above} was answered");
        return Err(broken(PROMISE, "executed before what was answered before it was asked", sentence));
    }
    if account.refused == Some(request) {
        let sentence = format!("{op} executes {request} of {client}, which was told that it never is");
        return Err(broken(PROMISE, "executed what was refused for good", sentence));
    }
    Ok(())
}

fn is_told(told: &Told, answer: &[u8]) -> bool {
    match (told, Answer::decode(answer)) {
        (Told::Applied(response), Ok(Answer::Applied(expected))) => **response == *expected,
        (Told::Rejected(code), Ok(Answer::Rejected { code: expected, .. })) => *code == expected,
        _ => false,
    }
}

/// A client's identity, short. Costs nothing until it is written.
pub(super) fn name(client: ClientId) -> impl fmt::Display + Copy {
    #[derive(Clone, Copy)]
    struct Name(ClientId);
    impl fmt::Display for Name {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "client {:08x}", self.0.0 >> 96)
        }
    }
    Name(client)
}

fn abridged(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(16)]
}

#[cfg(test)]
mod tests;
