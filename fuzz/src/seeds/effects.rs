//! What is known of effects and timers, and what the log says of them.

use chronon::{
    app::{
        effect::{Channel, Destination, EffectId, EffectReport, EffectResult, Fence, FencingToken, OnUnknown, Policy},
        operator::{OperatorRequest, Page},
        outbox::Outbox,
        room::Limits,
        system::SystemEntry,
        timers::Timers,
    },
    frame::Frame,
    types::{Epoch, Op, Timestamp, View},
};

use super::Inputs;
use crate::wire::CLUSTER;

const LIMITS: Limits = Limits { entries_max: 16, bytes_max: 1 << 16 };

pub(super) fn effect(op: u64) -> EffectId {
    EffectId { cluster: CLUSTER, op: Op(op), position: 0, index: 0 }
}

/// An empty one; one of each policy, all ready, with one behind each; and the same after a little of everything.
pub(super) fn outboxes() -> Inputs {
    vec![("empty", encoded(&Outbox::new(LIMITS))), ("ready", encoded(&ready())), ("busy", encoded(&busy()))]
}

/// An outbox in which one effect is dead and another may be parked.
pub(crate) fn held_outbox() -> Outbox {
    let mut outbox = busy();
    outbox.claim(Fence { epoch: Epoch(0), view: View(3) }, Op(30)).expect("a later view");
    let tasks: Vec<_> = outbox.tasks().map(|task| (task.id, task.token)).collect();
    for (id, token) in tasks {
        let refused = EffectResult::Refused { code: 404 };
        outbox.outcome(id, token, refused, Op(31), Timestamp(10)).expect("the token of a task");
    }
    outbox
}

fn encoded(outbox: &Outbox) -> Vec<u8> {
    let mut bytes = Vec::new();
    outbox.encode(&mut bytes);
    bytes
}

pub(super) fn ready() -> Outbox {
    let mut ready = Outbox::new(LIMITS);
    for (channel, on_unknown) in [(0, OnUnknown::RunAgain), (1, OnUnknown::NeverTwice), (2, OnUnknown::AskFirst)] {
        for op in [2 * channel, 2 * channel + 1] {
            let (destination, policy) = (Destination::Emit(Channel(channel)), Policy::EMIT.with_unknown(on_unknown));
            ready.insert(effect(op.into()), destination, policy, Frame::new(vec![7; 3]), Timestamp(5));
        }
    }
    ready
}

fn busy() -> Outbox {
    let mut busy = ready();
    for view in 1..3 {
        busy.claim(Fence { epoch: Epoch(0), view: View(view) }, Op(10 * view)).expect("a later view");
        let tasks: Vec<_> = busy.tasks().map(|task| (task.id, task.token)).collect();
        for (id, token) in tasks {
            if busy.start(id, token, Op(10 * view + 1)).is_err() {
                let failed = EffectResult::Failed { code: 503 };
                busy.outcome(id, token, failed, Op(10 * view + 2), Timestamp(9)).expect("the token of a task");
            }
        }
    }
    busy
}

pub(super) fn timers() -> Inputs {
    let encoded = |count: u64| {
        let mut timers = Timers::new(LIMITS);
        for op in 0..count {
            timers.insert(effect(op), Timestamp(op), 100 / (op + 1), Frame::new(vec![1; op as usize]));
        }
        let mut bytes = Vec::new();
        timers.encode(&mut bytes);
        bytes
    };
    vec![("empty", encoded(0)), ("one", encoded(1)), ("several", encoded(5))]
}

pub(super) fn system() -> Inputs {
    let fence = Fence { epoch: Epoch(1), view: View(2) };
    let (id, token) = (effect(3), FencingToken { fence, attempt: Op(4) });
    let outcome = |result| SystemEntry::Outcome(EffectReport { id, token, result });
    let entries = [
        ("claim", SystemEntry::Claim(fence)),
        ("start", SystemEntry::Start { id, token }),
        ("done", outcome(EffectResult::Done { response: b"response".to_vec() })),
        ("failed", outcome(EffectResult::Failed { code: 503 })),
        ("not_done", outcome(EffectResult::NotDone)),
    ];
    let encoded = |(name, entry): (&'static str, SystemEntry)| {
        let mut bytes = Vec::new();
        entry.encode(&mut bytes);
        (name, bytes)
    };
    entries.into_iter().map(encoded).collect()
}

/// Every request, about effects that are held, that are not, and that never were.
pub(super) fn operator() -> Inputs {
    let outbox = held_outbox();
    let held = outbox.held(None).next().expect("there is one").0;
    let other = outbox.iter().map(|(id, _)| id).find(|id| outbox.held(None).all(|(held, _)| held != *id));
    let request = |request: &OperatorRequest| {
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        bytes
    };
    let mut page = Vec::new();
    Page::of(&outbox, None).encode(&mut page);
    vec![
        ("list", request(&OperatorRequest::List { after: None })),
        ("list_after", request(&OperatorRequest::List { after: Some(held) })),
        ("redrive", request(&OperatorRequest::Redrive { id: held })),
        ("resolve", request(&OperatorRequest::Resolve { id: held, response: b"response".to_vec() })),
        ("drop", request(&OperatorRequest::Drop { id: held })),
        ("drop_ready", request(&OperatorRequest::Drop { id: other.expect("there is one") })),
        ("drop_none", request(&OperatorRequest::Drop { id: effect(77) })),
        ("page", page),
    ]
}
