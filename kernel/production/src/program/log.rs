//! The log: for people on a terminal, for programs elsewhere. On standard error. What cannot be written there is lost, and nothing else:
//! a replica does not stop because nobody reads its log any more.

use std::io::{IsTerminal, stderr};

use chronon_production::config::{LogConfig, LogFormat};
use tracing_subscriber::fmt;

/// From here on what is logged is written. Once in a program's life.
pub(crate) fn begin(config: &LogConfig) {
    let terminal = stderr().is_terminal();
    let json = match config.format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let builder = fmt().with_writer(stderr).with_max_level(config.level).with_ansi(terminal).with_target(false);
    // A line that cannot be written would be told of on standard error, which is what cannot be written: that panics.
    let builder = builder.log_internal_errors(false);
    if json { builder.json().flatten_event(true).init() } else { builder.init() }
}
