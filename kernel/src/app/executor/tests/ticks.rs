//! An op that is about nothing but its time does what is due at it, and once. Whoever proposed it may have been wrong.

use super::*;

/// Begins an op of this time that has no entries, and returns all that it may have changed.
fn tick(executor: &mut Executor<Scribe>, op: u64, time: u64) -> (Vec<String>, Checksum, Option<Timestamp>) {
    executor.begin(&ApplyContext::new(Op(op), Timestamp(time), Checksum(0), 0));
    (executor.state().clone(), executor.effects_digest(), executor.due())
}

#[test]
fn a_tick_that_is_repeated_and_one_that_is_too_early_change_nothing() {
    let mut executor = Executor::new(Scribe, ClusterId(1));
    let nothing = tick(&mut executor, 1, 1);
    assert_eq!(tick(&mut executor, 2, 2), nothing, "nothing is ever due");
    system(&mut executor, 3, &SystemEntry::Claim(CLAIM)).unwrap();
    request(&mut executor, 4, b"mail");
    let task = executor.outbox().tasks().next().unwrap();
    let (id, token) = (task.id, task.token);
    let failed = EffectReport { id, token, result: EffectResult::Failed { code: 5 } };
    system(&mut executor, 5, &SystemEntry::Outcome(failed)).unwrap();
    let again_at = executor.due().expect("it is tried again").0;
    assert!(again_at > 20 && executor.outbox().tasks().next().is_none());
    request(&mut executor, 6, b"timer");
    let early = tick(&mut executor, 7, 15);
    assert_eq!((&early.0, early.2), (&nothing.0, Some(Timestamp(16))), "nothing is due yet");
    let fired = tick(&mut executor, 8, 16);
    assert_eq!((fired.0.len(), fired.2), (1, Some(Timestamp(again_at))));
    assert_eq!(tick(&mut executor, 9, 17), fired, "the timer has fired");
    let ready = tick(&mut executor, 10, again_at);
    assert_eq!(tick(&mut executor, 11, again_at + 1), ready, "there is one more attempt, and not two");
    let again = executor.outbox().tasks().next().unwrap();
    assert_eq!((again.id, again.token), (id, FencingToken { fence: CLAIM, attempt: Op(10) }));
    assert_eq!(executor.state().len(), 1);
}
