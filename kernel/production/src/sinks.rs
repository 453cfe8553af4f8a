//! What a primary has done in the world outside: which sink does which effects, and the threads that they are done on.
//!
//! A [`Sink`] is told to do one effect, may take its time and may block: it is called on a thread of its channel's own, and so delays
//! nothing but that ([`Workers`]). Which sink does what is a table, [`Sinks`], which `chronon start` makes of its configuration and a
//! program of its own of whatever it likes:
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use chronon::effect::{Channel, EffectOrder, EffectResult};
//! use chronon_production::{
//!     serve::Options,
//!     sinks::{Sink, Sinks},
//! };
//!
//! /// Hands letters to a program of the machine, which knows ids it has seen.
//! #[derive(Debug)]
//! struct Sendmail;
//!
//! impl Sink for Sendmail {
//!     fn run(&self, order: &EffectOrder) -> EffectResult {
//!         let id = format!("Message-ID: <{}@branch.example>", order.id);
//!         match std::process::Command::new("queue-letter").arg(id).arg(&*String::from_utf8_lossy(&order.payload)).status() {
//!             Ok(status) if status.success() => EffectResult::Done { response: Vec::new() },
//!             // It ran, and what it did by then nobody knows.
//!             Ok(status) => EffectResult::Unknown { code: status.code().unwrap_or_default().unsigned_abs() },
//!             // It never began.
//!             Err(_) => EffectResult::Failed { code: 1 },
//!         }
//!     }
//! }
//!
//! # fn options() -> Options {
//! let mut options = Options::new("replica-0.chronon", Vec::new());
//! options.sinks = Sinks::default().channel(Channel(0), Arc::new(Sendmail));
//! # options
//! # }
//! ```
//!
//! **What is promised.** The log decides an effect once. A sink that honours the id ([`EffectOrder::id`]) executes it once; one that
//! refuses tokens lower than the highest that it has seen in the channel keeps superseded executions out, and so keeps the channel's
//! order; one that honours neither sees an effect at least once, and after a fail-over perhaps from two primaries. Say
//! [`EffectResult::Failed`] only of what certainly did nothing: of everything else nobody knows, and the effect's policy says what
//! that means.
//!
//! Deliberately absent: order among different channels, and any memory of what was done: that is the outbox's, in the log.

pub mod code;
mod file;
mod http;
mod log;
mod queue;
mod tally;
mod troubles;
mod workers;

use std::{collections::BTreeMap, fmt, io, sync::Arc};

use chronon::effect::{Channel, Destination, EffectOrder, EffectResult};

pub use self::{
    file::FileSink,
    http::{HttpOptions, HttpSink},
    log::LogSink,
    tally::{Counts, Group, Lane, Tally},
    troubles::Troubles,
    workers::Workers,
};

/// Does effects, one after another for each channel, on threads that it may block.
pub trait Sink: fmt::Debug + Send + Sync + 'static {
    /// Does it, under its id and token, within `order.timeout_ns`: when that is over the primary gives the attempt up as one of which
    /// nobody knows what it came to. What is returned later may still be of use.
    ///
    /// A panic is an outcome that nobody knows, and stops nothing.
    fn run(&self, order: &EffectOrder) -> EffectResult;

    /// Finds out whether it was done, and does nothing: [`EffectResult::Done`], or [`EffectResult::NotDone`] if it was not and cannot
    /// be any more under an older token than this. Unless said otherwise it cannot be told, and an effect that asks first
    /// is a dead letter when its outcome is unknown.
    fn ask(&self, order: &EffectOrder) -> EffectResult {
        let _ = order;
        EffectResult::Refused { code: code::CANNOT_TELL }
    }

    /// What a code of its own means, for the log and for operators, in a few words. Nothing unless said otherwise: then the number is
    /// shown, and [`code::FENCED`] as what it is. Asked on the thread that ran the effect.
    fn words(&self, code: u32) -> Option<String> {
        let _ = code;
        None
    }

    /// Called once, before the replica serves.
    ///
    /// # Errors
    /// If it is certain now that it could do nothing.
    fn prepare(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Which sink does which effects. What has none is refused with [`code::NO_SINK`], and is a dead letter or has failed; lines of the log
/// are logged.
#[derive(Clone, Default, Debug)]
pub struct Sinks {
    channels: BTreeMap<Channel, Arc<dyn Sink>>,
    others: Option<Arc<dyn Sink>>,
    fetches: Option<Arc<dyn Sink>>,
    lines: Option<Arc<dyn Sink>>,
}

impl Sinks {
    /// The same, with this sink for what is emitted in `channel`.
    #[must_use]
    pub fn channel(mut self, channel: Channel, sink: Arc<dyn Sink>) -> Self {
        self.channels.insert(channel, sink);
        self
    }

    /// The same, with this sink for what is emitted in channels that have none of their own.
    #[must_use]
    pub fn others(mut self, sink: Arc<dyn Sink>) -> Self {
        self.others = Some(sink);
        self
    }

    /// The same, with this sink for what is fetched.
    #[must_use]
    pub fn fetches(mut self, sink: Arc<dyn Sink>) -> Self {
        self.fetches = Some(sink);
        self
    }

    /// The same, with this sink for lines of the log.
    #[must_use]
    pub fn lines(mut self, sink: Arc<dyn Sink>) -> Self {
        self.lines = Some(sink);
        self
    }

    /// Who does what is sent there.
    pub fn of(&self, destination: Destination) -> Option<Arc<dyn Sink>> {
        match destination {
            Destination::Emit(channel) => self.channels.get(&channel).or(self.others.as_ref()).cloned(),
            Destination::Fetch => self.fetches.clone(),
            Destination::Log(_) => Some(self.lines.clone().unwrap_or_else(|| Arc::new(LogSink))),
        }
    }

    /// Calls [`Sink::prepare`] of each.
    ///
    /// # Errors
    /// The first that has one, with what it does.
    pub fn prepare(&self) -> Result<(), (String, io::Error)> {
        let named = self.channels.iter().map(|(channel, sink)| (format!("channel {}", channel.0), sink));
        let rest = [("other channels", &self.others), ("fetches", &self.fetches), ("lines of the log", &self.lines)];
        let rest = rest.into_iter().filter_map(|(name, sink)| Some((name.to_owned(), sink.as_ref()?)));
        named.chain(rest).try_for_each(|(name, sink)| sink.prepare().map_err(|error| (name, error)))
    }
}
