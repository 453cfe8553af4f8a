//! Randomness: independent streams of ChaCha8, one for each purpose and each node or link.
//!
//! Invariant: a draw depends on the seed, on the stream's name and on the draws made before it from the same stream, and on
//! nothing else. Turning one fault off, or adding a draw somewhere, reshuffles no other stream. All sampling is in integers
//! and is our own, pinned by golden vectors. Deliberately absent: floats, a global generator, entropy from outside.

use rand_chacha::{
    ChaCha8Core,
    rand_core::{SeedableRng, block::Generator},
};

/// The streams of one purpose: they share a key and differ by their two coordinates.
#[derive(Clone)]
pub struct Family {
    key: [u8; 32],
}

impl Family {
    /// The streams of `purpose` under `seed`.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let name = purpose.as_bytes();
        let mut bytes = [0; 64];
        bytes[..8].copy_from_slice(b"chronon1");
        bytes[8..16].copy_from_slice(&seed.to_le_bytes());
        assert!(name.len() <= 48, "a purpose's name and its seed fit one block");
        bytes[16..16 + name.len()].copy_from_slice(name);
        Self { key: *blake3::hash(&bytes[..16 + name.len()]).as_bytes() }
    }

    /// The stream at `(a, b)`: a node and nothing, or the two ends of a link.
    pub fn stream(&self, a: u32, b: u32) -> Stream {
        let mut key = self.key;
        for (byte, coordinate) in key[24..].iter_mut().zip((u64::from(a) << 32 | u64::from(b)).to_le_bytes()) {
            *byte ^= coordinate;
        }
        Stream { generator: ChaCha8Core::from_seed(key), words: [0; WORDS], next: WORDS, refills: 0 }
    }
}

/// How many words a generator gives at once.
const WORDS: usize = 64;

/// One stream of draws.
#[derive(Clone)]
pub struct Stream {
    generator: ChaCha8Core,
    words: [u32; WORDS],
    /// The next word to give.
    next: usize,
    /// How often the words were made anew.
    refills: u64,
}

impl Stream {
    /// The stream of `purpose` at `(a, b)` under `seed`. Many streams of one purpose come cheaper from a [`Family`].
    pub fn new(seed: u64, purpose: &'static str, a: u32, b: u32) -> Self {
        Family::new(seed, purpose).stream(a, b)
    }

    /// Sixty-four random bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        let Some([low, high]) = self.words.get(self.next..).and_then(<[u32]>::first_chunk) else {
            self.refill();
            return self.next_u64();
        };
        self.next += 2;
        u64::from(*low) | u64::from(*high) << 32
    }

    /// Thirty-two random bits.
    #[inline(always)]
    pub fn next_u32(&mut self) -> u32 {
        if self.next >= WORDS {
            self.refill();
        }
        let word = self.words[self.next];
        self.next += 1;
        word
    }

    /// A number below `bound`, each equally likely.
    ///
    /// # Panics
    /// If `bound` is 0.
    #[inline(always)]
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "nothing is below 0");
        if let Ok(bound) = u32::try_from(bound) {
            return u64::from(self.below_u32(bound));
        }
        // As in `below_u32`, with twice the bits.
        let mut product = u128::from(self.next_u64()) * u128::from(bound);
        if (product as u64) < bound {
            let favoured = bound.wrapping_neg() % bound;
            while (product as u64) < favoured {
                product = u128::from(self.next_u64()) * u128::from(bound);
            }
        }
        (product >> 64) as u64
    }

    /// A number below `bound`: multiply and take the high half; the few low halves that would favour some results are drawn
    /// again.
    #[inline(always)]
    pub(crate) fn below_u32(&mut self, bound: u32) -> u32 {
        let mut product = u64::from(self.next_u32()) * u64::from(bound);
        if (product as u32) < bound {
            product = self.unless_favoured(product, bound);
        }
        (product >> 32) as u32
    }

    #[cold]
    #[inline(never)]
    fn unless_favoured(&mut self, mut product: u64, bound: u32) -> u64 {
        let favoured = bound.wrapping_neg() % bound;
        while (product as u32) < favoured {
            product = u64::from(self.next_u32()) * u64::from(bound);
        }
        product
    }

    /// A number from `low` to `high`, both included, each equally likely.
    ///
    /// # Panics
    /// If `low` is above `high`.
    #[inline]
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "a range is not empty");
        match (high - low).checked_add(1) {
            Some(width) => low + self.below(width),
            None => self.next_u64(),
        }
    }

    /// True `ppm` times in a million. Draws whatever `ppm` is, so that an intensity reshuffles nothing.
    #[inline]
    pub fn chance(&mut self, ppm: u32) -> bool {
        self.below_u32(1_000_000) < ppm
    }

    /// Puts `items` into any order, each equally likely.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last as u64 + 1);
            items.swap(last, other as usize);
        }
    }

    /// One of `items`, each equally likely.
    ///
    /// # Panics
    /// If there are none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }

    /// An index into `weights`, each as likely as its weight.
    ///
    /// # Panics
    /// If the weights add up to 0.
    pub fn weighted(&mut self, weights: &[u32]) -> usize {
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let mut rest = self.below(total);
        for (index, weight) in weights.iter().enumerate() {
            match rest.checked_sub(u64::from(*weight)) {
                None => return index,
                Some(left) => rest = left,
            }
        }
        unreachable!("a number below the sum of the weights falls into one of them")
    }

    /// How many 32-bit words were drawn.
    pub fn word_position(&self) -> u64 {
        (self.refills * WORDS as u64 + self.next as u64).wrapping_sub(WORDS as u64)
    }

    #[cold]
    #[inline(never)]
    fn refill(&mut self) {
        self.generator.generate(&mut self.words);
        self.next = 0;
        self.refills += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(mut stream: Stream) -> [u64; 4] {
        [stream.next_u64(), stream.next_u64(), stream.below(1000), stream.range(10, 19)]
    }

    #[test]
    fn the_golden_vectors_hold() {
        let stream = Stream::new;
        assert_eq!(draws(stream(0, "test", 0, 0)), [1590591607694173785, 8083113856213865811, 849, 16]);
        assert_eq!(draws(stream(0, "test", 0, 1)), [7095877012746365266, 6462368373616693804, 662, 12]);
        assert_eq!(draws(stream(0, "test", 1, 0)), [13246183502315374794, 18317158512802890166, 274, 17]);
        assert_eq!(draws(stream(0, "other", 0, 0)), [4517581372301851497, 16908660401730959972, 643, 11]);
        assert_eq!(draws(stream(u64::MAX, "test", 7, 9)), [6540320299157701328, 4979650075699774806, 284, 19]);
    }

    #[test]
    fn the_golden_shuffle_holds() {
        let mut items: Vec<u32> = (0..10).collect();
        let mut stream = Stream::new(42, "shuffle", 0, 0);
        stream.shuffle(&mut items);
        assert_eq!(items, [3, 0, 6, 5, 1, 9, 7, 4, 8, 2]);
        let weighted: Vec<usize> = (0..8).map(|_| stream.weighted(&[1, 0, 5, 2])).collect();
        assert_eq!(weighted, [2, 3, 0, 0, 0, 2, 2, 2]);
        let picked: Vec<u32> = (0..8).map(|_| *stream.pick(&[3, 5, 7])).collect();
        assert_eq!(picked, [7, 3, 7, 5, 7, 7, 3, 3]);
        assert_eq!(stream.word_position(), 25);
    }

    #[test]
    fn a_bounded_draw_reaches_every_result_and_no_other() {
        let mut stream = Stream::new(1, "bounds", 0, 0);
        let mut seen = [0u32; 7];
        for _ in 0..7000 {
            seen[stream.below(7) as usize] += 1;
        }
        assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
        for _ in 0..1000 {
            assert!((5..=6).contains(&stream.range(5, 6)));
        }
        assert_eq!(stream.range(9, 9), 9);
        stream.range(0, u64::MAX);
    }

    #[test]
    fn a_bound_above_half_of_all_numbers_is_fair() {
        // With a bound of three quarters of the range a multiply without rejection would favour a third of the results.
        let bound = 3u64 << 62;
        let mut stream = Stream::new(2, "bounds", 0, 0);
        let mut thirds = [0u32; 3];
        for _ in 0..3000 {
            thirds[(stream.below(bound) >> 62) as usize] += 1;
        }
        assert!(thirds.iter().all(|count| (850..1150).contains(count)), "{thirds:?}");
    }

    #[test]
    fn a_chance_comes_as_often_as_it_says() {
        let mut stream = Stream::new(3, "chance", 0, 0);
        let hits = (0..100_000).filter(|_| stream.chance(20_000)).count();
        assert!((1800..2200).contains(&hits), "{hits}");
        assert!((0..1000).all(|_| !stream.chance(0)));
        assert!((0..1000).all(|_| stream.chance(1_000_000)));
    }

    #[test]
    fn streams_with_different_names_share_nothing() {
        let mut firsts: Vec<u64> = Vec::new();
        for purpose in ["latency", "loss"] {
            for a in 0..10 {
                for b in 0..10 {
                    firsts.push(Stream::new(5, purpose, a, b).next_u64());
                }
            }
        }
        firsts.sort_unstable();
        firsts.dedup();
        assert_eq!(firsts.len(), 200);
    }

    #[test]
    fn a_cloned_stream_goes_on_identically() {
        let mut stream = Stream::new(6, "clone", 0, 0);
        stream.next_u64();
        let mut copy = stream.clone();
        assert!((0..100).all(|_| stream.next_u64() == copy.next_u64()));
        assert_eq!(stream.word_position(), copy.word_position());
    }
}
