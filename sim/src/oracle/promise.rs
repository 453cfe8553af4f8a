//! How a promise says that it was broken.

use super::Violation;

/// A violation of the promise of this name. `place` has no seed, time or op; `sentence` has them all.
#[cold]
pub(super) fn broken(promise: &'static str, place: &str, sentence: String) -> Violation {
    Violation::safety(place, sentence).of(promise)
}
