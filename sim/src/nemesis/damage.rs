//! What befalls a disk for good: sectors that rot, reads that find them bad, writes that are lost.

use super::Nemesis;
use crate::schedule::{DamagePlace, Fault, Ring};

impl Nemesis<'_> {
    pub(super) fn damage(&mut self, replica: u8) -> Fault {
        if self.random.chance(300_000) {
            return self.damage_in_the_grid(replica);
        }
        if self.random.chance(150_000) {
            let ring = if self.random.chance(700_000) { Ring::Prepares } else { Ring::Headers };
            return Fault::LatentError { replica, ring };
        }
        let place = match self.random.weighted(&[6, 2, 2]) {
            0 => DamagePlace::Prepare,
            1 => DamagePlace::Headers,
            _ => DamagePlace::Both,
        };
        let nth = if self.random.chance(700_000) { self.random.below(4) } else { self.random.below(60) };
        Fault::Damage { replica, place, nth: nth as u32, unreadable: self.random.chance(400_000) }
    }

    /// Of one replica: the others have the same chunks, or those of a later checkpoint.
    fn damage_in_the_grid(&mut self, replica: u8) -> Fault {
        match self.random.weighted(&[6, 2, 2]) {
            0 => {
                let (nth, unreadable) = (self.random.below(12) as u32, self.random.chance(300_000));
                Fault::Damage { replica, place: DamagePlace::Chunk, nth, unreadable }
            }
            1 => Fault::LatentError { replica, ring: Ring::Chunks },
            _ => Fault::LoseWrite { replica, ring: Ring::Chunks },
        }
    }
}
