//! Every key of a configuration: what it may be, and what it sets.
//!
//! A value from a file has a type; one from a flag is text, and is read as what its key wants.

use std::{net::SocketAddr, ops::RangeInclusive, path::PathBuf};

use chronon::vsr::config::PIPELINE_MAX;
use toml::de::DeValue;

use super::{Draft, LogFormat};
use crate::{disk::DiskChoice, size, tcp::SocketChoice, uring::DurableMode};

/// A value as it was given.
pub(super) enum Value<'a> {
    /// By a file.
    Typed(&'a DeValue<'a>),
    /// By a flag.
    Text(&'a str),
}

/// Why a value is none for its key. Goes on from "`key` is".
pub(super) type Wrong = String;

/// A key, and what sets it.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) set: fn(&mut Draft, &Value<'_>) -> Result<(), Wrong>,
}

const MS: u64 = 1_000_000;

/// The longest time-out, in milliseconds, but for the few that are kept shorter or may be longer.
const TIMEOUT_MS_MAX: u64 = 60_000;

/// All of them, in the order in which [`super::EXAMPLE`] shows them.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "data",
        set: |draft, value| set(&mut draft.data, Some(PathBuf::from(value.text("the name of a file")?))),
    },
    Key {
        name: "addresses",
        set: |draft, value| set(&mut draft.addresses, Some(value.list("a list of addresses", address)?)),
    },
    Key { name: "listen", set: |draft, value| set(&mut draft.options.listen, Some(value.read(ADDRESS, address)?)) },
    Key { name: "metrics", set: |draft, value| set(&mut draft.options.metrics, Some(value.read(ADDRESS, address)?)) },
    Key {
        name: "disk",
        set: |draft, value| {
            let choices = [("auto", DiskChoice::Auto), ("uring", DiskChoice::Uring), ("sync", DiskChoice::Sync)];
            set(&mut draft.options.disk, value.choice(&choices)?)
        },
    },
    Key {
        name: "durable",
        set: |draft, value| {
            let choices = [("data-sync", DurableMode::DataSync), ("linked-sync", DurableMode::LinkedSync)];
            set(&mut draft.options.durable, value.choice(&choices)?)
        },
    },
    Key {
        name: "sockets",
        set: |draft, value| {
            let choices =
                [("auto", SocketChoice::Auto), ("uring", SocketChoice::Uring), ("readiness", SocketChoice::Readiness)];
            set(&mut draft.options.sockets, value.choice(&choices)?)
        },
    },
    Key {
        name: "log.level",
        set: |draft, value| {
            use tracing::Level;
            let choices = [
                ("error", Level::ERROR),
                ("warn", Level::WARN),
                ("info", Level::INFO),
                ("debug", Level::DEBUG),
                ("trace", Level::TRACE),
            ];
            set(&mut draft.log.level, value.choice(&choices)?)
        },
    },
    Key {
        name: "log.format",
        set: |draft, value| {
            let choices = [("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];
            set(&mut draft.log.format, value.choice(&choices)?)
        },
    },
    Key {
        name: "limits.pipeline",
        set: |draft, value| set(&mut draft.options.pipeline, value.count(1..=PIPELINE_MAX)?),
    },
    Key { name: "limits.company", set: |draft, value| set(&mut draft.options.company, value.count(0..=1024)?) },
    Key {
        name: "limits.requests_max",
        set: |draft, value| set(&mut draft.options.requests_max, value.count(1..=65_536)?),
    },
    Key {
        name: "limits.queries_max",
        set: |draft, value| set(&mut draft.options.queries_max, value.count(1..=65_536)?),
    },
    Key {
        name: "limits.queue_bytes_max",
        set: |draft, value| set(&mut draft.options.queue_bytes_max, value.size(16 << 10..=1 << 30)? as usize),
    },
    Key {
        name: "limits.connections_max",
        set: |draft, value| set(&mut draft.options.connections_max, value.count(8..=65_536)? as usize),
    },
    Key {
        name: "timeouts.heartbeat_ms",
        set: |draft, value| set(&mut draft.options.timeouts.heartbeat_ns, value.ms(TIMEOUT_MS_MAX)?),
    },
    Key {
        name: "timeouts.election_ms",
        set: |draft, value| set(&mut draft.options.timeouts.election_ns, value.ms(TIMEOUT_MS_MAX)?),
    },
    Key {
        name: "timeouts.view_change_ms",
        set: |draft, value| set(&mut draft.options.timeouts.view_change_ns, value.ms(TIMEOUT_MS_MAX)?),
    },
    Key {
        name: "timeouts.resend_ms",
        set: |draft, value| set(&mut draft.options.timeouts.resend_ns, value.ms(TIMEOUT_MS_MAX)?),
    },
    // Pings are what tells a silent connection from a dead one: they come well within a connection's patience.
    Key { name: "timeouts.ping_ms", set: |draft, value| set(&mut draft.options.timeouts.ping_ns, value.ms(1_000)?) },
    Key {
        name: "timeouts.repair_ms",
        set: |draft, value| set(&mut draft.options.timeouts.repair_ns, value.ms(TIMEOUT_MS_MAX)?),
    },
    Key {
        name: "timeouts.disk_stall_ms",
        set: |draft, value| set(&mut draft.options.timeouts.disk_stall_ns, value.ms(10 * TIMEOUT_MS_MAX)?),
    },
];

const ADDRESS: &str = "an address";

fn set<T>(place: &mut T, value: T) -> Result<(), Wrong> {
    *place = value;
    Ok(())
}

fn address(text: &str) -> Result<SocketAddr, Wrong> {
    text.parse().map_err(|_| format!("an IP address with a port, as in 127.0.0.1:4000, and not `{text}`"))
}

impl Value<'_> {
    pub(super) fn text(&self, wanted: &str) -> Result<&str, Wrong> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Typed(DeValue::String(text)) => Ok(text),
            Self::Typed(other) => Err(format!("{wanted} in quotes, and not {}", article(other))),
        }
    }

    fn read<T>(&self, wanted: &str, parse: fn(&str) -> Result<T, Wrong>) -> Result<T, Wrong> {
        parse(self.text(wanted)?)
    }

    fn list<T>(&self, wanted: &str, parse: fn(&str) -> Result<T, Wrong>) -> Result<Vec<T>, Wrong> {
        match self {
            Self::Text(text) => text.split(',').map(|item| parse(item.trim())).collect(),
            Self::Typed(DeValue::Array(items)) => {
                items.iter().map(|item| Value::Typed(item.get_ref()).read(wanted, parse)).collect()
            }
            Self::Typed(other) => Err(format!("{wanted} in brackets, and not {}", article(other))),
        }
    }

    fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, Wrong> {
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("`{name}`")).collect();
        let wanted = format!("one of {}", names.join(", "));
        let text = self.text(&wanted)?;
        let chosen = choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice);
        chosen.ok_or_else(|| format!("{wanted}, and not `{text}`"))
    }

    pub(super) fn number(&self, range: RangeInclusive<u64>) -> Result<u64, Wrong> {
        let wanted = format!("a number from {} to {}", range.start(), range.end());
        let (number, given) = match self {
            Self::Text(text) => (text.replace('_', "").parse::<i128>().ok(), format!("`{text}`")),
            Self::Typed(DeValue::Integer(number)) => {
                (i128::from_str_radix(number.as_str(), number.radix()).ok(), number.to_string())
            }
            Self::Typed(other) => (None, article(other)),
        };
        within(number, range).ok_or_else(|| format!("{wanted}, and not {given}"))
    }

    fn count(&self, range: RangeInclusive<u32>) -> Result<u32, Wrong> {
        let number = self.number(u64::from(*range.start())..=u64::from(*range.end()))?;
        Ok(u32::try_from(number).expect("a number within a range of u32"))
    }

    /// Milliseconds as nanoseconds.
    fn ms(&self, max: u64) -> Result<u64, Wrong> {
        self.number(1..=max).map(|ms| ms * MS)
    }

    pub(super) fn size(&self, range: RangeInclusive<u64>) -> Result<u64, Wrong> {
        let text = match self {
            Self::Text(text) => text,
            Self::Typed(DeValue::String(text)) => text.as_ref(),
            Self::Typed(_) => return self.number(range),
        };
        let (least, most) = (size::words(*range.start()), size::words(*range.end()));
        let bytes =
            size::parse(text).map_err(|why| format!("a size from {least} to {most}, and not `{text}`: {why}"))?;
        within(Some(i128::from(bytes)), range).ok_or_else(|| format!("a size from {least} to {most}, and not `{text}`"))
    }
}

fn within(number: Option<i128>, range: RangeInclusive<u64>) -> Option<u64> {
    number.and_then(|number| u64::try_from(number).ok()).filter(|number| range.contains(number))
}

/// A value's type with its article.
fn article(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
    .to_owned()
}
