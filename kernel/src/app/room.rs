//! How much effects and timers may take: limits, what is left of them, and when to stop taking more.
//!
//! Invariant: limits are part of the replicated state, because what is refused for want of room follows from them.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::wire::stored::stored;

/// What an entry is counted as beside its payload, in bytes: what it takes in memory, in round figures.
pub const ENTRY_OVERHEAD: u64 = 256;

stored! { struct Limits { entries_max, bytes_max } }

/// How much there may be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// How many entries.
    pub entries_max: u32,
    /// How many bytes: of each entry its payload and [`ENTRY_OVERHEAD`].
    pub bytes_max: u64,
}

impl Limits {
    /// Ten thousand entries and 64 MiB.
    pub const DEFAULT: Self = Self { entries_max: 10_000, bytes_max: 64 << 20 };
}

/// Of how much there may be, how much there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    limits: Limits,
    entries: u64,
    bytes: u64,
}

/// There is no room for another entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no room for another effect or timer: refuse the request, and let it be sent again later")
    }
}

impl core::error::Error for Full {}

impl Room {
    /// All of it.
    pub const fn new(limits: Limits) -> Self {
        Self { limits, entries: 0, bytes: 0 }
    }

    /// The limits.
    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// How many entries there are.
    pub const fn entries(&self) -> u64 {
        self.entries
    }

    /// How many bytes they are counted as.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes room for an entry with a payload of so many bytes.
    ///
    /// # Errors
    /// If there is none; nothing is taken then.
    pub const fn take(&mut self, payload_length: usize) -> Result<(), Full> {
        let bytes = self.bytes.saturating_add(ENTRY_OVERHEAD).saturating_add(payload_length as u64);
        if self.entries >= self.limits.entries_max as u64 || bytes > self.limits.bytes_max {
            return Err(Full);
        }
        self.entries += 1;
        self.bytes = bytes;
        Ok(())
    }

    /// Gives back the room of an entry with a payload of so many bytes, which had been taken.
    pub(crate) const fn give_back(&mut self, payload_length: usize) {
        self.entries -= 1;
        self.bytes -= ENTRY_OVERHEAD + payload_length as u64;
    }

    /// Whether three quarters of either limit are taken. Requests of clients are refused from here on, before they are
    /// logged: the last quarter is for what those that are already logged will still ask for, and for what an application asks
    /// for when effects end and timers fire (design rule 19).
    pub const fn is_high(&self) -> bool {
        // Where there is nothing, there is nothing to wait for: an application that asks for no effects may say that it has no room.
        self.entries > 0
            && (self.entries >= three_quarters(self.limits.entries_max as u64)
                || self.bytes >= three_quarters(self.limits.bytes_max))
    }
}

const fn three_quarters(limit: u64) -> u64 {
    limit - limit / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_no_room_at_all_nobody_waits_for_any() {
        for limits in [Limits { entries_max: 0, bytes_max: 9 }, Limits { entries_max: 9, bytes_max: 0 }] {
            let mut none = Room::new(limits);
            assert_eq!((none.is_high(), none.take(0), none.is_high()), (false, Err(Full), false));
        }
    }

    #[test]
    fn either_limit_fills_it_and_what_is_refused_takes_nothing() {
        let mut few = Room::new(Limits { entries_max: 4, bytes_max: u64::MAX });
        let high: [bool; 4] = core::array::from_fn(|_| {
            few.take(9).expect("there is room");
            few.is_high()
        });
        assert_eq!((high, few.take(0)), ([false, false, true, true], Err(Full)));
        few.give_back(9);
        assert_eq!((few.entries(), few.bytes(), few.take(0)), (3, 3 * (ENTRY_OVERHEAD + 9), Ok(())));

        let mut small = Room::new(Limits { entries_max: 9, bytes_max: ENTRY_OVERHEAD + 8 });
        assert_eq!((small.take(9), small.take(usize::MAX), small.take(8)), (Err(Full), Err(Full), Ok(())));
        assert_eq!((small.entries(), small.bytes(), small.is_high()), (1, ENTRY_OVERHEAD + 8, true));
    }
}
