//! A sink that writes effects into the log of the replica's process.
//!
//! A line says what there was to do and under which id, and is gone with the log. It honours neither ids nor tokens: after a
//! fail-over a line may be there twice.

use chronon::effect::{Destination, EffectOrder, EffectResult, Severity};

use super::Sink;

/// Writes effects into the log of the process.
#[derive(Clone, Copy, Default, Debug)]
pub struct LogSink;

impl Sink for LogSink {
    fn run(&self, order: &EffectOrder) -> EffectResult {
        let (id, text) = (order.id, String::from_utf8_lossy(&order.payload));
        match order.destination {
            Destination::Log(Severity::Debug) => tracing::debug!(%id, "{text}"),
            Destination::Log(Severity::Info) => tracing::info!(%id, "{text}"),
            Destination::Log(Severity::Warning) => tracing::warn!(%id, "{text}"),
            Destination::Log(Severity::Error) => tracing::error!(%id, "{text}"),
            Destination::Emit(channel) => tracing::info!(%id, channel = channel.0, "{text}"),
            Destination::Fetch => tracing::info!(%id, fetch = true, "{text}"),
        }
        EffectResult::Done { response: Vec::new() }
    }
}
