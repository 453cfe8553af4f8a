//! The first byte of every record: its kind in the low five bits, and up to three flags whose meaning depends on the kind.

/// The bits of a tag that are its kind.
pub(super) const KIND: u8 = 0x1f;

/// On an event: the node's clocks do not stand to virtual time as they did at its last event; two numbers follow.
pub(super) const CLOCKS_MOVED: u8 = 0x20;
/// On a message or a send: its numbers are small, and stand in places of fixed width.
pub(super) const SMALL: u8 = 0x80;
/// On a message: bits were flipped on the way; what arrived follows.
pub(super) const CORRUPTED: u8 = 0x40;
/// On a send: the body follows as its checksum and not as its bytes.
pub(super) const CHECKSUM: u8 = 0x20;
/// On a write: its completion means that it is durable.
pub(super) const DURABLE: u8 = 0x20;
/// On a completion: the operation failed; the error follows.
pub(super) const FAILED: u8 = 0x40;

/// On a completion: it is that of an effect; the effect, the attempt and what it came to follow.
pub(super) const EFFECT: u8 = 0x80;

/// A process was started, or started again.
pub(super) const START: u8 = 1;
/// A process took a message.
pub(super) const MESSAGE: u8 = 2;
/// A process took a disk completion.
pub(super) const COMPLETION: u8 = 3;
/// A process's deadline passed.
pub(super) const DEADLINE: u8 = 4;
/// A process sent a frame.
pub(super) const SEND: u8 = 5;
/// A process asked its disk for a read.
pub(super) const READ: u8 = 6;
/// A process asked its disk for a write.
pub(super) const WRITE: u8 = 7;
/// A process asked its disk for a barrier.
pub(super) const BARRIER: u8 = 8;
/// A process took a rare path.
pub(super) const PROBE: u8 = 9;
/// A process stopped itself.
pub(super) const HALT: u8 = 10;
/// A table of probe names.
pub(super) const PROBES: u8 = 11;
/// A node was added to the world.
pub(super) const NODE: u8 = 12;
/// A process crashed.
pub(super) const CRASH: u8 = 13;
/// A crashed process was made anew; its start follows.
pub(super) const RESTART: u8 = 14;
/// A process was paused.
pub(super) const PAUSE: u8 = 15;
/// A paused process goes on.
pub(super) const RESUME: u8 = 16;
/// A link was cut.
pub(super) const CUT: u8 = 17;
/// One cut of a link was healed.
pub(super) const HEAL: u8 = 18;
/// A link was clogged.
pub(super) const CLOG: u8 = 19;
/// A clogged link was opened.
pub(super) const UNCLOG: u8 = 20;
/// A frame under way was dropped.
pub(super) const DROP: u8 = 21;
/// A node's clocks were set to another rate.
pub(super) const DRIFT: u8 = 22;
/// A node's realtime clock was stepped.
pub(super) const CLOCK_STEP: u8 = 23;
/// Links were given other settings.
pub(super) const LINK: u8 = 24;
/// A remark by whoever drives the world.
pub(super) const NOTE: u8 = 25;
/// What became of the frame sent last, where it was not simply passed on.
pub(super) const FATE: u8 = 26;
/// Where the streams of randomness stand.
pub(super) const CHECKPOINT: u8 = 29;
/// A link's last frames came again.
pub(super) const ECHO: u8 = 30;
/// A process asked for an effect to be done.
pub(super) const ORDER: u8 = 31;
/// An oracle or a cap stopped the world.
pub(super) const VERDICT: u8 = 27;
/// The end: nothing follows.
pub(super) const END: u8 = 28;
