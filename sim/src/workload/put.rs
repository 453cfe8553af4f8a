//! The load of a benchmark.

use chronon::{
    app::{executor::Answer, kv::Request},
    client::{Answered, Driver, Next, Outcome},
    process::Now,
};

/// A client that puts values of one size over a few keys of its own, as fast as it is answered, and keeps no history:
/// the load of a benchmark.
#[derive(Clone)]
pub struct PutWorkload {
    calls: u64,
    keys: u64,
    asked: u64,
    acknowledged: u64,
    client: u32,
    value: Vec<u8>,
}

impl PutWorkload {
    /// The load of the client numbered `client`: `calls` puts of `value_size` bytes over `keys` keys.
    ///
    /// # Panics
    /// If there are no keys.
    pub fn new(client: u32, calls: u64, keys: u64, value_size: u32) -> Self {
        assert!(keys > 0, "a put needs a key");
        Self { calls, keys, asked: 0, acknowledged: 0, client, value: vec![0x5a; value_size as usize] }
    }

    /// How many puts were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Whether all puts were made and have ended.
    pub fn is_finished(&self) -> bool {
        self.acknowledged == self.calls
    }
}

impl Driver for PutWorkload {
    fn next(&mut self, _now: Now, request: &mut Vec<u8>) -> Next {
        if self.asked == self.calls {
            return Next::Done;
        }
        let mut key = [0; 12];
        key[..4].copy_from_slice(&self.client.to_le_bytes());
        key[4..].copy_from_slice(&(self.asked % self.keys).to_le_bytes());
        if let Some(number) = self.value.first_chunk_mut() {
            *number = self.asked.to_le_bytes();
        }
        Request::Put { key: &key, value: &self.value }.encode(request);
        self.asked += 1;
        Next::Request
    }

    fn done(&mut self, _now: Now, outcome: Outcome<'_>) {
        let Outcome::Answered(Answered { answer: Answer::Applied(_), .. }) = outcome else {
            panic!("a benchmark's put was not executed: {outcome:?}");
        };
        self.acknowledged += 1;
    }
}
