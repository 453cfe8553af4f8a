//! Torn sectors: an arbitrary mix of an old content and a new one.

use chronon::frame::SECTOR_SIZE;

use crate::rng::Stream;

/// What a physical disk writes in one piece.
const PIECE: usize = 512;
const PIECES: u64 = (SECTOR_SIZE / PIECE) as u64;

/// Writes a part of `new` over `old`, both one sector: at a boundary of pieces or of bytes, from one end or scattered.
pub(super) fn tear(old: &mut [u8], new: &[u8], stream: &mut Stream) {
    match stream.below(4) {
        0 => {
            let cut = stream.range(1, PIECES - 1) as usize * PIECE;
            one_end(old, new, cut, stream);
        }
        1 => {
            let mask = stream.range(1, (1 << PIECES) - 2);
            for (place, (old, new)) in old.chunks_mut(PIECE).zip(new.chunks(PIECE)).enumerate() {
                if mask >> place & 1 == 1 {
                    old.copy_from_slice(new);
                }
            }
        }
        2 => {
            let cut = stream.range(1, SECTOR_SIZE as u64 - 1) as usize;
            one_end(old, new, cut, stream);
        }
        _ => {
            for (old, new) in old.chunks_mut(64).zip(new.chunks(64)) {
                let mask = stream.next_u64();
                for (place, (old, new)) in old.iter_mut().zip(new).enumerate() {
                    // All ones where the mask has a one: no branch to mispredict for every byte of a crash.
                    let chosen = 0u8.wrapping_sub((mask >> place & 1) as u8);
                    *old ^= (*old ^ new) & chosen;
                }
            }
        }
    }
}

/// Writes what lies before the cut, or what lies behind it.
fn one_end(old: &mut [u8], new: &[u8], cut: usize, stream: &mut Stream) {
    if stream.next_u64() & 1 == 0 {
        old[..cut].copy_from_slice(&new[..cut]);
    } else {
        old[cut..].copy_from_slice(&new[cut..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_sector_holds_some_of_both_and_nothing_else() {
        let mut stream = Stream::new(1, "tear", 0, 0);
        let mut front = [0u32; 2];
        for _ in 0..1000 {
            let mut sector = [1; SECTOR_SIZE];
            tear(&mut sector, &[2; SECTOR_SIZE], &mut stream);
            assert!(sector.contains(&1) && sector.contains(&2));
            assert!(sector.iter().all(|byte| (1..=2).contains(byte)));
            front[usize::from(sector[0]) - 1] += 1;
        }
        assert!(front.iter().all(|count| *count > 300), "either end may be the new one: {front:?}");
    }
}
