//! Interruption: what Ctrl-C, a termination and a closed terminal do.
//!
//! The first asks: the seeds at hand are finished, and the report is written. A second does not wait: what the report file
//! then holds is whole too, and says that the campaign was still running.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

use crate::output::{Status, remark};

static IS_WANTED: AtomicBool = AtomicBool::new(false);

/// From here on the first interruption asks and the second ends the program.
pub(crate) fn heed() {
    static HANDLER: OnceLock<()> = OnceLock::new();
    HANDLER.get_or_init(|| {
        if let Err(error) = ctrlc::set_handler(interrupt) {
            remark(&format!("Ctrl-C will end this without a report: {error}"));
        }
    });
}

/// Whether somebody wants the program to end.
pub(crate) fn is_wanted() -> bool {
    IS_WANTED.load(Ordering::Relaxed)
}

#[expect(clippy::disallowed_methods, reason = "whoever interrupts twice does not want to wait for anything")]
fn interrupt() {
    if IS_WANTED.swap(true, Ordering::Relaxed) {
        remark("interrupted again: ended at once");
        std::process::exit(Status::Interrupted as i32);
    }
}
