//! Promise: a client is told of its session what is so: evicted only when it was evicted, refused only what is never
//! executed.
//!
//! That a request is executed at most once is judged where it shows: the model executes it once (replies.rs), and every
//! replica's state and sessions equal the model's (state.rs).

use chronon::{
    types::{ClientId, ReplicaId, RequestNumber},
    wire::message::RejectReason,
};

use super::{Violation, model::Model, promise::broken, replies::name, speech::Speech};
use crate::workload::CallOutcome;

const PROMISE: &str = "sessions";

/// A replica refuses a request.
pub(super) fn refuses(model: &mut Model, replica: ReplicaId, speech: Speech<'_>) -> Result<(), Violation> {
    let (client, request) = (speech.client(), speech.request());
    match RejectReason::from_context(speech.context()) {
        Some(RejectReason::Evicted) => was_evicted(model, client, format_args!("{replica} tells")),
        Some(RejectReason::TooLarge) => is_too_large(model, client, request),
        _ => Ok(()),
    }
}

/// A client gave up its session: this is how it says that its call ended. `id` is who it was when it made it.
pub(super) fn gave_up(
    model: &mut Model,
    id: ClientId,
    request: Option<RequestNumber>,
    outcome: &CallOutcome,
) -> Result<(), Violation> {
    match (outcome, request) {
        (CallOutcome::Unknown, _) => was_evicted(model, id, format_args!("somebody told")),
        // What its own process refused was never sent.
        (CallOutcome::TooLarge, Some(request)) if request.0 > 0 => is_too_large(model, id, request),
        _ => Ok(()),
    }
}

fn was_evicted(model: &Model, client: ClientId, who: std::fmt::Arguments<'_>) -> Result<(), Violation> {
    if model.accounts.get(client).is_some_and(|account| account.evictions > 0) {
        return Ok(());
    }
    let sentence =
        format!("{who} {} that its session was evicted, and up to {} it was not", name(client), model.head());
    Err(broken(PROMISE, "told of an eviction that was none", sentence))
}

/// It is longer than what is taken, and is never executed: that holds for what was, and from now on for what will be (see replies.rs).
fn is_too_large(model: &mut Model, client: ClientId, request: RequestNumber) -> Result<(), Violation> {
    let most = model.payload_size_max as usize;
    let account = model.accounts.open(client);
    if let Some(asked) = account.asked.filter(|asked| asked.request == request && asked.length <= most) {
        let sentence = format!(
            "{request} of {} was refused for good, and its {} bytes are no more than the {most} that are taken",
            name(client),
            asked.length
        );
        return Err(broken(PROMISE, "refused what is not too large", sentence));
    }
    if account.executed.request < request {
        account.refused = Some(request);
        return Ok(());
    }
    let sentence =
        format!("{request} of {} was refused for good, and {} has executed it", name(client), account.executed.op);
    Err(broken(PROMISE, "refused what was executed", sentence))
}

#[cfg(test)]
mod tests {
    use chronon::{
        types::{Op, Timestamp},
        wire::header::Command,
    };

    use super::*;
    use crate::oracle::{
        accounts::Asked,
        script::{CLUSTER, R0, say},
    };

    const A: ClientId = ClientId(10);
    const B: ClientId = ClientId(11);

    /// A model with room for one session, which is A's.
    fn one() -> Model {
        let mut model = Model::new(CLUSTER, 1);
        model.accounts.register(A, Op(1), Timestamp(1));
        model
    }

    fn refuse(model: &mut Model, request: u64, reason: RejectReason) -> Result<(), String> {
        let frame = say(Command::Reject, R0, 1, |header| {
            (header.client, header.request.0, header.context) = (A, request, reason.context());
        });
        refuses(model, R0, Speech::of(&frame).unwrap()).map_err(|broken| broken.place)
    }

    #[test]
    fn an_eviction_is_told_after_it_happened_and_not_before() {
        let mut model = one();
        let untrue = Err("told of an eviction that was none".to_owned());
        assert_eq!(refuse(&mut model, 1, RejectReason::Evicted), untrue);
        let heard = gave_up(&mut model, A, Some(RequestNumber(1)), &CallOutcome::Unknown);
        assert_eq!(heard.map_err(|broken| broken.place), untrue);
        model.accounts.register(B, Op(2), Timestamp(2));
        assert_eq!(refuse(&mut model, 1, RejectReason::Evicted), Ok(()));
        gave_up(&mut model, A, Some(RequestNumber(1)), &CallOutcome::Unknown).unwrap();
        assert!(gave_up(&mut model, B, None, &CallOutcome::Unknown).is_err());
    }

    #[test]
    fn what_was_executed_cannot_be_refused_for_good() {
        let mut model = one();
        assert_eq!(refuse(&mut model, 1, RejectReason::Busy), Ok(()));
        model.accounts.record(A, Op(2), Timestamp(2), b"");
        assert_eq!(refuse(&mut model, 2, RejectReason::TooLarge), Ok(()));
        assert_eq!(model.accounts.get(A).unwrap().refused, Some(RequestNumber(2)));
        assert_eq!(refuse(&mut model, 1, RejectReason::TooLarge), Err("refused what was executed".to_owned()));
        assert!(gave_up(&mut model, A, Some(RequestNumber(1)), &CallOutcome::TooLarge).is_err());
        gave_up(&mut model, A, None, &CallOutcome::TooLarge).unwrap();
    }

    #[test]
    fn only_what_is_too_large_is_refused_because_of_its_size() {
        let mut model = one().with_requests(100);
        let ask = |model: &mut Model, request: u64, length: usize| {
            let (request, head) = (RequestNumber(request), model.head());
            model.accounts.open(A).asked =
                Some(Asked { request, payload: 0, length, above: Op::ROOT, head, over: false });
        };
        ask(&mut model, 1, 101);
        assert_eq!(refuse(&mut model, 1, RejectReason::TooLarge), Ok(()));
        ask(&mut model, 2, 100);
        assert_eq!(refuse(&mut model, 2, RejectReason::TooLarge), Err("refused what is not too large".to_owned()));
        assert!(gave_up(&mut model, A, Some(RequestNumber(2)), &CallOutcome::TooLarge).is_err());
    }
}
