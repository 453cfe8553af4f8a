//! What a checkpoint holds of effects and timers, and what the log says of them.

use chronon::{
    app::{
        application::ApplyContext,
        effect::{EffectReport, EffectResult, Fence},
        executor::{Answer, Executor},
        number::Number,
        operator::{OperatorRefusal, OperatorRequest, Page},
        outbox::Outbox,
        room::Limits,
        system::SystemEntry,
        timers::Timers,
    },
    types::{Checksum, Epoch, Op, Timestamp, View},
};

use crate::{seeds, wire::CLUSTER};

/// How many places an outbox gives to effects before its checkpoints are refused.
const PLACES: u64 = 1 << 63;

/// An outbox: an error, or a value that encodes to the same bytes and that no log can make panic.
pub fn outbox(bytes: &[u8]) {
    let Ok(mut outbox) = Outbox::decode(bytes) else { return };
    let mut again = Vec::new();
    outbox.encode(&mut again);
    assert_eq!(again, bytes, "an outbox encodes to the same bytes");
    let ids: Vec<_> = outbox.iter().map(|(id, _)| id).collect();
    assert!(outbox.room().entries() == ids.len() as u64 && ids.is_sorted());
    for view in [View(1), View(u64::MAX)] {
        let tokens: Vec<_> = outbox.tasks().map(|task| (task.id, task.token)).collect();
        for (id, token) in tokens {
            let _ = outbox.start(id, token, Op(1));
            let _ = outbox.outcome(id, token, EffectResult::Unknown { code: 1 }, Op(2), Timestamp(1));
        }
        let _ = outbox.claim(Fence { epoch: Epoch(u32::MAX), view }, Op(3));
        let now = outbox.due().unwrap_or_default();
        outbox.advance(Op(4), now, u32::MAX, &mut Vec::new());
        assert!(outbox.due().is_none_or(|due| due > now), "what is due is done");
    }
    for id in ids {
        let _ = outbox.redrive(id, Op(5), Timestamp(u64::MAX));
        let _ = outbox.resolve(id, Op(6), Vec::new());
        let _ = outbox.discard(id, Op(7));
    }
    if outbox.iter().any(|(_, entry)| entry.standing.place >= PLACES) {
        // More places were given than any log gives; what is left is refused.
        return;
    }
    let mut later = Vec::new();
    outbox.encode(&mut later);
    let restored = Outbox::decode(&later).expect("what was encoded decodes");
    assert_eq!(restored.digest(), outbox.digest());
    assert!(restored.tasks().eq(outbox.tasks()));
}

/// Timers: an error, or a value that encodes to the same bytes and whose timers fire once and in order.
pub fn timers(bytes: &[u8]) {
    let Ok(mut timers) = Timers::decode(bytes) else { return };
    let mut again = Vec::new();
    timers.encode(&mut again);
    assert_eq!(again, bytes, "timers encode to the same bytes");
    let (count, first) = (timers.len(), timers.due());
    let mut fired = Vec::new();
    while let Some(firing) = timers.fire(Timestamp(u64::MAX)) {
        fired.push((firing.due, firing.id));
    }
    assert!(fired.len() == count && fired.is_sorted() && fired.first().map(|(due, _)| *due) == first);
    assert!(timers.is_empty() && timers.room().bytes() == 0);
}

/// A system entry of the log: an error, or a value that encodes to the same bytes and that no outbox minds.
pub fn system(bytes: &[u8]) {
    let Ok(entry) = SystemEntry::decode(bytes) else { return };
    let mut again = Vec::new();
    entry.encode(&mut again);
    assert_eq!(again, bytes, "a system entry encodes to the same bytes");
    let mut outbox = Outbox::new(Limits { entries_max: 1, bytes_max: 1000 });
    match entry {
        SystemEntry::Claim(fence) => outbox.claim(fence, Op(1)).expect("the first claim"),
        SystemEntry::Start { id, token } => assert!(outbox.start(id, token, Op(1)).is_err()),
        SystemEntry::Outcome(EffectReport { id, token, result }) => {
            assert!(outbox.outcome(id, token, result, Op(1), Timestamp(1)).is_err());
        }
    }
}

/// An operator's request, and a page of an answer to one: each an error, or a value that encodes to the same bytes. The request, or
/// the entry of the system's that it is instead, is executed where effects are parked and dead: it is answered, and what is left
/// is an outbox.
pub fn operator(bytes: &[u8]) {
    if let Ok(request) = OperatorRequest::decode(bytes) {
        let mut again = Vec::new();
        request.encode(&mut again);
        assert_eq!(again, bytes, "a request encodes to the same bytes");
    }
    check_page(bytes);
    let mut executor = Executor::new(
        Number::new(|told, _, _, _| {
            *told += 1;
            Ok(())
        }),
        CLUSTER,
    );
    executor.restore_effects(seeds::held_outbox(), Timers::new(Limits::DEFAULT));
    let at = |op| ApplyContext::new(Op(op), Timestamp(op), Checksum(1), 0);
    let answer = executor.operate(bytes, &at(100)).to_vec();
    match Answer::decode(&answer).expect("it is an answer") {
        Answer::Applied(page) => {
            assert!(OperatorRequest::decode(bytes).is_ok());
            check_page(page);
        }
        Answer::Rejected { code, .. } => {
            let refusal = OperatorRefusal::from_code(code).expect("the code of a refusal");
            let is_malformed = refusal == OperatorRefusal::Malformed;
            assert_eq!(is_malformed, OperatorRequest::decode(bytes).is_err());
        }
    }
    let _ = executor.apply_system(bytes, &at(101));
    let mut left = Vec::new();
    executor.outbox().encode(&mut left);
    let again = Outbox::decode(&left).expect("what was encoded decodes");
    assert_eq!(again.digest(), executor.outbox().digest());
}

fn check_page(bytes: &[u8]) {
    let Ok(page) = Page::decode(bytes) else { return };
    let mut again = Vec::new();
    page.encode(&mut again);
    assert_eq!(again, bytes, "a page encodes to the same bytes");
}
