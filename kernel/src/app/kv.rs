//! The key-value application: get, put, delete, compare-and-swap and append over bytes.
//!
//! Any bytes whatever may come as a request: they change one entry as [`Request`] says, or are refused and change
//! nothing. The state's digest is kept up to date with every change, so that comparing two replicas costs the same for
//! ten entries and for ten million.
//!
//! A clone, of which each checkpoint makes one, shares all entries until they change ([`crate::map`]).
//!
//! What this deliberately lacks: a limit on the number of entries (the state is as large as clients make it), and scans.

mod codec;

use alloc::{sync::Arc, vec::Vec};
use core::{cmp::Ordering, ops::Bound};

pub use codec::{KEY_SIZE_MAX, Refusal, Request, Response, VALUE_SIZE_MAX};

use crate::{
    app::application::{Application, ApplyContext, Event, Outcome, Rejection, RestoreError, SnapshotWriter},
    digest::{EntryHash, EntryHasher, SetDigest},
    map::Map,
    types::Checksum,
};

/// How many of a map's nodes are freed at a time: as many as take a tenth of a millisecond or so.
pub(super) const RELEASED_NODES: u32 = 64;

/// The key-value application.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Kv;

/// What is under which key.
#[derive(Clone, Default, Debug)]
pub struct State {
    entries: Map<Key, Entry>,
    digest: SetDigest,
}

/// A key in the order of its bytes. A short one lies in the map itself, and so do the first bytes of a long one, which seldom
/// needs the others for a comparison: to fetch what lies elsewhere in memory is most of what a look-up among many keys costs.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Key {
    /// The first bytes, with zeros behind a shorter key.
    first: [u8; KEY_INLINE],
    /// Of the whole key.
    length: u32,
    /// The whole of a key that is longer than `first`.
    whole: Option<Arc<[u8]>>,
}

/// Keys of at most so many bytes need no memory of their own.
const KEY_INLINE: usize = 16;

impl Key {
    fn new(bytes: &[u8]) -> Self {
        let mut first = [0; KEY_INLINE];
        let inline = bytes.len().min(KEY_INLINE);
        first[..inline].copy_from_slice(&bytes[..inline]);
        let whole = (bytes.len() > KEY_INLINE).then(|| bytes.into());
        Self { first, length: bytes.len() as u32, whole }
    }

    fn bytes(&self) -> &[u8] {
        self.whole.as_deref().unwrap_or_else(|| &self.first[..self.length as usize])
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        // Big-endian numbers compare as their bytes do.
        let first = |key: &Self| u128::from_be_bytes(key.first);
        first(self).cmp(&first(other)).then_with(|| match (&self.whole, &other.whole) {
            (Some(whole), Some(others)) => whole.cmp(others),
            // With its zeros, the shorter one begins the longer one.
            _ => self.length.cmp(&other.length),
        })
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[derive(Clone, PartialEq, Debug)]
struct Entry {
    value: Arc<[u8]>,
    /// Of key and value, as it went into the digest.
    hash: EntryHash,
}

impl Application for Kv {
    type State = State;

    fn name(&self) -> &'static str {
        "kv"
    }

    fn apply(
        &self,
        state: &mut State,
        event: Event<'_>,
        _context: &ApplyContext,
        outcome: &mut Outcome,
    ) -> Result<(), Rejection> {
        let Event::Request { payload } = event else { return Ok(()) };
        apply(state, payload, &mut outcome.response)
    }

    /// Answers a [`Request::Get`].
    fn query(&self, state: &State, request: &[u8], response: &mut Vec<u8>) -> Result<(), Rejection> {
        let Request::Get { key } = Request::decode(request)? else { return Err(Refusal::Malformed.into()) };
        look_up(state, key).encode(response);
        Ok(())
    }

    /// A record for each key, in their order: the key's length in two bytes, the key, the value.
    fn snapshot(&self, state: &State, writer: &mut SnapshotWriter) {
        let first = writer.resumed().map_or(Bound::Unbounded, |last| Bound::Excluded(Key::new(last)));
        let mut record = Vec::new();
        for (key, entry) in state.entries.iter_from(first.as_ref()) {
            let key = key.bytes();
            record.clear();
            record.extend_from_slice(&(key.len() as u16).to_le_bytes());
            record.extend_from_slice(key);
            record.extend_from_slice(&entry.value);
            writer.record(&record);
            if writer.is_full() {
                return writer.pause(key);
            }
        }
    }

    fn is_unchanged(&self, before: &State, state: &State, from: &[u8], through: &[u8]) -> bool {
        let (from, through) = (Key::new(from), Key::new(through));
        state.entries.agrees(&before.entries, Bound::Excluded(&from), Bound::Included(&through))
    }

    fn release(&self, state: &mut State) -> bool {
        state.entries.release(RELEASED_NODES)
    }

    fn restore(&self, state: &mut State, record: &[u8]) -> Result<(), RestoreError> {
        let (length, rest) = record.split_first_chunk().ok_or(RestoreError)?;
        let (key, value) = rest.split_at_checked(u16::from_le_bytes(*length).into()).ok_or(RestoreError)?;
        let comes_late = |key| state.entries.iter_from(Bound::Included(&Key::new(key))).next().is_some();
        if key.len() > KEY_SIZE_MAX || value.len() > VALUE_SIZE_MAX || comes_late(key) {
            return Err(RestoreError);
        }
        state.put(key, value);
        Ok(())
    }

    fn response_size_max(&self) -> u32 {
        Response::SIZE_MAX as u32
    }
}

/// Applies one request to `state` and appends the encoded [`Response`] to `response`: the whole application as one
/// function, for those who hold a state of their own.
///
/// # Errors
/// A [`Refusal`] as a rejection; `state` and `response` are then as they were.
pub fn apply(state: &mut State, payload: &[u8], response: &mut Vec<u8>) -> Result<(), Rejection> {
    match Request::decode(payload)? {
        Request::Get { key } => look_up(state, key).encode(response),
        Request::Put { key, value } => {
            state.put(key, value);
            Response::Stored.encode(response);
        }
        Request::Delete { key } => {
            let answer = if state.delete(key) { Response::Deleted } else { Response::Missing };
            answer.encode(response);
        }
        Request::CompareAndSwap { key, expected, value } => {
            let found = state.get(key);
            if found == expected {
                state.put(key, value);
                Response::Swapped.encode(response);
            } else {
                Response::Mismatch(found).encode(response);
            }
        }
        Request::Append { key, value } => {
            let length = state.append(key, value)?;
            Response::Appended { length }.encode(response);
        }
    }
    Ok(())
}

impl State {
    /// What is under `key`.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.entries.get(&Key::new(key)).map(|entry| &*entry.value)
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All keys with their values, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries.iter().map(|(key, entry)| (key.bytes(), &*entry.value))
    }

    /// The digest of all entries: equal states, and in practice only those, have equal digests. Costs the same for every
    /// state. See [`crate::digest`] for what it does not withstand.
    pub fn digest(&self) -> Checksum {
        self.digest.digest()
    }

    /// What [`State::digest`] is of: as good for a comparison, and costs nothing.
    pub const fn set_digest(&self) -> SetDigest {
        self.digest
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        let (hash, key) = (hash(key, value), Key::new(key));
        if let Some(entry) = self.entries.get_mut(&key) {
            self.digest.remove(entry.hash);
            entry.hash = hash;
            match Arc::get_mut(&mut entry.value) {
                // Nobody keeps the value as it was, and its memory serves again.
                Some(before) if before.len() == value.len() => before.copy_from_slice(value),
                _ => entry.value = value.into(),
            }
        } else {
            self.entries.insert(key, Entry { value: value.into(), hash });
        }
        self.digest.insert(hash);
    }

    fn delete(&mut self, key: &[u8]) -> bool {
        let removed = self.entries.remove(&Key::new(key));
        if let Some(entry) = &removed {
            self.digest.remove(entry.hash);
        }
        removed.is_some()
    }

    /// Returns the length of the whole value. Hashes the whole value, too: an append costs what a put of it would.
    fn append(&mut self, key: &[u8], value: &[u8]) -> Result<u32, Refusal> {
        let Some(entry) = self.entries.get_mut(&Key::new(key)) else {
            self.put(key, value);
            return Ok(value.len() as u32);
        };
        let length = entry.value.len() + value.len();
        if length > VALUE_SIZE_MAX {
            return Err(Refusal::ValueSize);
        }
        self.digest.remove(entry.hash);
        entry.value = [&*entry.value, value].concat().into();
        entry.hash = hash(key, &entry.value);
        self.digest.insert(entry.hash);
        Ok(length as u32)
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for State {}

fn look_up<'a>(state: &'a State, key: &[u8]) -> Response<'a> {
    state.get(key).map_or(Response::Missing, Response::Found)
}

fn hash(key: &[u8], value: &[u8]) -> EntryHash {
    EntryHasher::new().bytes(key).bytes(value).finish()
}

#[cfg(test)]
mod tests {
    use std::{string::String, vec, vec::Vec};

    use super::*;
    use crate::app::application::snapshot;

    /// Applies the request; gives the response as it prints.
    fn ask(state: &mut State, request: Request<'_>) -> String {
        let mut payload = Vec::new();
        request.encode(&mut payload);
        let mut response = Vec::new();
        match apply(state, &payload, &mut response) {
            Ok(()) => std::format!("{:?}", Response::decode(&response).expect("our own response decodes")),
            Err(rejection) => std::format!("{:?}", Refusal::from_code(rejection.code).expect("our own code")),
        }
    }

    /// The digest that a state with these entries must have, however it came to be.
    fn digest_from_scratch(state: &State) -> Checksum {
        let mut digest = SetDigest::new();
        state.iter().for_each(|(key, value)| digest.insert(hash(key, value)));
        digest.digest()
    }

    #[test]
    fn each_operation_does_what_it_says() {
        let state = &mut Kv.genesis();
        let key = b"k";
        let script = [
            (Request::Get { key }, "Missing"),
            (Request::Delete { key }, "Missing"),
            (Request::CompareAndSwap { key, expected: Some(b""), value: b"a" }, "Mismatch(None)"),
            (Request::CompareAndSwap { key, expected: None, value: b"a" }, "Swapped"),
            (Request::CompareAndSwap { key, expected: None, value: b"b" }, "Mismatch(Some([97]))"),
            (Request::CompareAndSwap { key, expected: Some(b"b"), value: b"b" }, "Mismatch(Some([97]))"),
            (Request::CompareAndSwap { key, expected: Some(b"a"), value: b"b" }, "Swapped"),
            (Request::Get { key }, "Found([98])"),
            (Request::Append { key, value: b"cd" }, "Appended { length: 3 }"),
            (Request::Append { key, value: b"" }, "Appended { length: 3 }"),
            (Request::Get { key }, "Found([98, 99, 100])"),
            (Request::Put { key, value: b"" }, "Stored"),
            (Request::Get { key }, "Found([])"),
            (Request::Delete { key }, "Deleted"),
            (Request::Get { key }, "Missing"),
            (Request::Append { key, value: b"z" }, "Appended { length: 1 }"),
            (Request::Get { key: b"other" }, "Missing"),
        ];
        for (request, expected) in script {
            assert_eq!(ask(state, request), expected, "{request:?}");
            assert_eq!(state.digest(), digest_from_scratch(state), "{request:?}");
        }
        assert_eq!(state.len(), 1);
    }

    #[test]
    fn keys_are_in_the_order_of_their_bytes() {
        let long = [[7; 16], [0; 16]].concat();
        let mut keys: Vec<&[u8]> = vec![b"", b"\0", b"a", b"a\0", b"a\0\0b", b"ab", b"b", &[255; 16], &[255; 17]];
        keys.extend([15, 16, 17, 18, 32].map(|length| &long[..length]));
        keys.push(&[255; 300]);
        for left in &keys {
            assert_eq!(Key::new(left).bytes(), *left);
            for right in &keys {
                assert_eq!(Key::new(left).cmp(&Key::new(right)), left.cmp(right), "{left:?} {right:?}");
                assert_eq!(Key::new(left) == Key::new(right), left == right, "{left:?} {right:?}");
            }
        }
    }

    #[test]
    fn states_that_are_equal_have_equal_digests_and_others_have_not() {
        let mut one = Kv.genesis();
        let mut other = Kv.genesis();
        ask(&mut one, Request::Put { key: b"a", value: b"12" });
        ask(&mut one, Request::Put { key: b"b", value: b"3" });
        ask(&mut other, Request::Put { key: b"b", value: b"9" });
        ask(&mut other, Request::Put { key: b"c", value: b"9" });
        ask(&mut other, Request::Append { key: b"a", value: b"1" });
        assert_ne!(one.digest(), other.digest());
        ask(&mut other, Request::Append { key: b"a", value: b"2" });
        ask(&mut other, Request::Put { key: b"b", value: b"3" });
        assert_ne!(one.digest(), other.digest());
        assert_ne!(one, other);
        ask(&mut other, Request::Delete { key: b"c" });
        assert_eq!(one.digest(), other.digest());
        assert_eq!(one, other);
        assert_ne!(one.digest(), Kv.genesis().digest());
        let mut elsewhere = Kv.genesis();
        ask(&mut elsewhere, Request::Put { key: b"c", value: b"12" });
        ask(&mut elsewhere, Request::Put { key: b"b", value: b"3" });
        assert_ne!(one.digest(), elsewhere.digest(), "the same values under other keys");
    }

    #[test]
    fn a_refused_request_leaves_the_state_and_the_response_as_they_were() {
        let mut state = Kv.genesis();
        let full = [7; VALUE_SIZE_MAX];
        ask(&mut state, Request::Put { key: b"full", value: &full });
        let before = state.clone();
        let mut payloads = vec![Vec::new(), vec![0; 100], vec![255; 3]];
        for request in [
            Request::Append { key: b"full", value: b"1" },
            Request::Append { key: b"", value: b"1" },
            Request::Put { key: &[1; KEY_SIZE_MAX + 1], value: b"1" },
        ] {
            let mut payload = Vec::new();
            request.encode(&mut payload);
            payloads.push(payload);
        }
        for payload in payloads {
            let mut response = vec![42];
            apply(&mut state, &payload, &mut response).expect_err("refused");
            assert_eq!(response, [42]);
            assert_eq!(state, before);
            assert_eq!(state.digest(), before.digest());
        }
        assert_eq!(ask(&mut state, Request::Append { key: b"full", value: b"" }), "Appended { length: 16384 }");
    }

    #[test]
    fn a_snapshot_is_the_state_again_however_it_was_cut() {
        let mut state = Kv.genesis();
        for number in 0..200_u32 {
            ask(&mut state, Request::Put { key: &number.to_le_bytes(), value: &vec![7; number as usize * 3] });
        }
        ask(&mut state, Request::Put { key: b"", value: &[1; VALUE_SIZE_MAX] });
        let (restored, parts) = snapshot::restored(&Kv, &state);
        assert!(parts > 5, "{parts}");
        assert_eq!((restored.digest(), restored), (state.digest(), state));
        for record in [&[][..], &[0], &[1, 0], &[0, 0xff, 1]] {
            assert_eq!(Kv.restore(&mut Kv.genesis(), record), Err(RestoreError));
        }
        let mut twice = Kv.genesis();
        Kv.restore(&mut twice, &[1, 0, 9]).unwrap();
        assert_eq!(Kv.restore(&mut twice, &[1, 0, 9]), Err(RestoreError), "the same key again");
        assert_eq!(Kv.restore(&mut twice, &[1, 0, 8]), Err(RestoreError), "not in their order");
    }

    #[test]
    fn a_query_gets_and_does_nothing_else() {
        let mut state = Kv.genesis();
        ask(&mut state, Request::Put { key: b"k", value: b"v" });
        let mut request = Vec::new();
        Request::Get { key: b"k" }.encode(&mut request);
        let mut response = Vec::new();
        assert_eq!(Kv.query(&state, &request, &mut response), Ok(()));
        assert_eq!(Response::decode(&response), Ok(Response::Found(b"v")));
        request.clear();
        Request::Delete { key: b"k" }.encode(&mut request);
        assert_eq!(Kv.query(&state, &request, &mut response), Err(Refusal::Malformed.into()));
    }
}
