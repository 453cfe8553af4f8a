//! What a process may rely on in its clock: little. Monotonic readings never go back and do go on; realtime readings are
//! nanoseconds since the Unix epoch.

use chronon::env::Clock;

/// The first second of 2020: no clock that tells the Unix epoch's nanoseconds is before it.
const TWENTY_TWENTY_NS: u64 = 1_577_836_800_000_000_000;

/// A clock under test.
pub trait ClockRig {
    /// The clock.
    fn clock(&mut self) -> &mut dyn Clock;

    /// Lets about so many nanoseconds pass.
    fn pass(&mut self, duration_ns: u64);
}

/// Checks the contract of [`Clock`].
///
/// # Panics
/// If a promise is broken; the message says which.
pub fn check_clock(rig: &mut dyn ClockRig) {
    let mut last = rig.clock().monotonic();
    for _ in 0..1000 {
        let next = rig.clock().monotonic();
        assert!(next >= last, "the monotonic clock went back at once: from {last:?} to {next:?}");
        last = next;
    }
    let start = last;
    for round in 0..100 {
        rig.pass(round * 10_000);
        let next = rig.clock().monotonic();
        assert!(next >= last, "the monotonic clock went back over time: from {last:?} to {next:?}");
        last = next;
    }
    assert!(last > start, "the monotonic clock stood still for about 50 ms");
    let realtime = rig.clock().realtime();
    assert!(
        realtime.0 > TWENTY_TWENTY_NS,
        "the realtime clock says {realtime:?}: not nanoseconds since the Unix epoch"
    );
}
