//! A fast 64-bit checksum by multiplying and folding, for traces.
//!
//! Invariant: a function of the bytes alone, the same on every machine. It tells contents apart that differ by accident; it
//! is no defence against an adversary, and nothing durable or sent rests on it.

/// Odd, with bits spread evenly: what each lane's words are mixed with.
const KEYS: [u64; 8] = [
    0x9e37_79b9_7f4a_7c15,
    0xbf58_476d_1ce4_e5b9,
    0x94d0_49bb_1331_11eb,
    0xd6e8_feb8_6659_fd93,
    0xa076_1d64_78bd_642f,
    0xe703_7ed1_a0b4_28db,
    0x8ebc_6af0_9c88_c6e3,
    0x5899_65cc_7537_4cc3,
];

/// The checksum of `bytes`.
pub fn checksum(bytes: &[u8]) -> u64 {
    // Four lanes, so that four multiplications are under way at once.
    let mut lanes = [KEYS[0], KEYS[1], KEYS[2], KEYS[3]];
    let (blocks, rest) = bytes.as_chunks::<64>();
    for block in blocks {
        lanes = absorb(lanes, block);
    }
    if !rest.is_empty() {
        let mut last = [0; 64];
        last[..rest.len()].copy_from_slice(rest);
        lanes = absorb(lanes, &last);
    }
    // The length tells trailing zeros apart from the padding of the last block.
    let left = fold(lanes[0] ^ bytes.len() as u64, lanes[1] ^ KEYS[4]);
    let right = fold(lanes[2] ^ KEYS[5], lanes[3] ^ KEYS[6]);
    fold(left ^ KEYS[7], right.rotate_left(32) ^ KEYS[0])
}

fn absorb(lanes: [u64; 4], block: &[u8; 64]) -> [u64; 4] {
    let (words, _) = block.as_chunks::<8>();
    let word = |index: usize| u64::from_le_bytes(words[index]);
    let lane = |index: usize| {
        // The word is added back: a factor of zero would otherwise erase its partner.
        let (a, b) = (word(2 * index), word(2 * index + 1));
        let mixed = fold(a ^ KEYS[4 + index], b ^ lanes[index]);
        mixed.wrapping_add(a).rotate_left(29) ^ lanes[index].wrapping_add(b)
    };
    [lane(0), lane(1), lane(2), lane(3)]
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_golden_vectors_hold() {
        let counting: Vec<u8> = (0..=255).collect();
        assert_eq!(checksum(b""), 0xd836_03f9_2579_f9ca);
        assert_eq!(checksum(b"chronon"), 0xa88f_1676_cc7c_018c);
        assert_eq!(checksum(&counting[..64]), 0x19cf_830c_2800_fcfb);
        assert_eq!(checksum(&counting), 0x1c77_88d8_3f3b_cf21);
        assert_eq!(checksum(&[0; 4096]), 0x2327_8f87_0da5_7984);
    }

    #[test]
    fn every_flipped_bit_changes_it() {
        let mut bytes = [0; 200];
        let mut seen = BTreeSet::from([checksum(&bytes)]);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(seen.insert(checksum(&bytes)), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn every_length_of_the_same_byte_differs() {
        for byte in [0, 1, 0xff] {
            let bytes = [byte; 300];
            let seen: BTreeSet<u64> = (0..=bytes.len()).map(|length| checksum(&bytes[..length])).collect();
            assert_eq!(seen.len(), bytes.len() + 1);
        }
    }

    #[test]
    fn words_that_cancel_a_key_do_not_hide_their_neighbours() {
        let mut seen = BTreeSet::new();
        for key in KEYS {
            for neighbour in 0..100u64 {
                let mut block = [0; 64];
                block[..8].copy_from_slice(&key.to_le_bytes());
                block[8..16].copy_from_slice(&neighbour.to_le_bytes());
                assert!(seen.insert(checksum(&block)));
            }
        }
    }

    #[test]
    fn blocks_in_another_order_differ() {
        let (a, b) = ([1; 64], [2; 64]);
        assert_ne!(checksum(&[a, b].concat()), checksum(&[b, a].concat()));
    }
}
