//! Interruption: what Ctrl-C, a termination and a closed terminal do.
//!
//! The first asks: the seeds at hand are finished, and the report is written. A second does not wait for them: whoever pays attention
//! writes what is known and ends the program. If nobody does, or at a third, it is ended at once: what the report file then
//! holds is whole too.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use crate::output::{Status, remark};

/// How often it was interrupted.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Whether somebody ends the program if it is urgent.
static IS_HEEDED: AtomicBool = AtomicBool::new(false);

/// While there is this, its owner looks several times a second whether it [is urgent](is_urgent), and ends the program if so.
pub(crate) struct Attention(());

impl Drop for Attention {
    fn drop(&mut self) {
        IS_HEEDED.store(false, Ordering::Relaxed);
    }
}

/// From here on an interruption asks, and another ends the program.
pub(crate) fn heed() -> Attention {
    static HANDLER: OnceLock<()> = OnceLock::new();
    HANDLER.get_or_init(|| {
        if let Err(error) = ctrlc::set_handler(interrupt) {
            remark(&format!("Ctrl-C will end this without a report: {error}"));
        }
    });
    IS_HEEDED.store(true, Ordering::Relaxed);
    Attention(())
}

/// Whether somebody wants the program to end.
pub(crate) fn is_wanted() -> bool {
    COUNT.load(Ordering::Relaxed) > 0
}

/// Whether somebody wants it to end without waiting for anything.
pub(crate) fn is_urgent() -> bool {
    COUNT.load(Ordering::Relaxed) > 1
}

#[expect(clippy::disallowed_methods, reason = "whoever interrupts again does not want to wait for anything")]
fn interrupt() {
    let before = COUNT.fetch_add(1, Ordering::Relaxed);
    if before > 1 || before == 1 && !IS_HEEDED.load(Ordering::Relaxed) {
        remark("interrupted again: ended at once");
        std::process::exit(Status::Interrupted as i32);
    }
}
