//! What `start` is told: a TOML file, and flags that override it.
//!
//! Invariant: a [`Config`] is within the ranges that the kernel asserts, and is refused in one sentence otherwise, before
//! anything is opened. What depends on the data file is checked by [`Server::open`](crate::serve::Server::open).
//!
//! Deliberately absent: names of hosts, which would have to be looked up; and anything that `format` fixed, which the data file
//! says itself.

mod error;
mod keys;
mod nearest;
mod sinks;

use std::{
    fs::File,
    io::{self, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
};

use chronon::{storage::superblock::REPLICAS_MAX, vsr::Timeouts};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

pub use self::error::{ConfigError, Place};
use self::{
    keys::{KEYS, Key, Value},
    nearest::{nearest, nearest_table},
    sinks::{KeyError, SinksDraft},
};
use crate::{serve::Options, sinks::Sinks};

/// No configuration is longer, in bytes.
const FILE_SIZE_MAX: u64 = 1 << 20;

/// A configuration with every key. But for the first three, each value is the default.
pub const EXAMPLE: &str = r#"# The data file, made by `chronon format`.
data = "r0.chronon"
# The replicas' addresses, in their order: the same list on each.
addresses = ["127.0.0.1:4000", "127.0.0.1:4001", "127.0.0.1:4002"]
# Where to listen, if that is not this replica's own address in the list.
listen = "0.0.0.0:4000"
# Where metrics are scraped from. Nowhere by default.
# metrics = "127.0.0.1:9100"
# `uring` (io_uring), `sync` (plain system calls), or whichever of the two there is.
disk = "auto"
# How io_uring makes one write durable: by a flag of the write, or by a sync that is linked to it.
durable = "data-sync"
# `uring` (on the disk's io_uring, or one of their own), `readiness` (epoll and plain system calls), or whichever of the two there is.
sockets = "auto"

[log]
# `error`, `warn`, `info`, `debug` or `trace`.
level = "info"
# `text`, `json`, or `auto`: text on a terminal, JSON elsewhere.
format = "auto"

[limits]
# Prepares in flight at once.
pipeline = 8
# How many requests wait, for each that is in flight, before they are logged beside it.
company = 3
# Requests that a primary has accepted and not answered; past it clients are told to come back.
requests_max = 4096
# Linearizable queries that a primary holds while it asks whether it still is one; past it the same.
queries_max = 4096
# What may wait to be sent on one connection; four of the largest messages in any case.
queue_bytes_max = "16MiB"
# Connections at once, as far as the limit of open files leaves room. Clients leave 64 of them to replicas and operators, or half.
connections_max = 4096

[timeouts]
heartbeat_ms = 50
election_ms = 250
view_change_ms = 300
resend_ms = 60
ping_ms = 200
repair_ms = 40
disk_stall_ms = 1500

# What effects are done by: a section for each channel by its number, `others` for channels that have none, `fetch` for what is
# fetched, and `log` for lines of the log, which are logged by default. What has no sink is refused.
# [sinks.0]
# An address, `file:` and the name of a file, or `log`. Of fetches an address that they are beneath, or `anywhere`.
# to = "http://127.0.0.1:8080/letters"
# Where to ask whether an effect was done, for those that ask first: 2xx for yes, 404 for no.
# status_url = "http://127.0.0.1:8080/letters/{id}"
# content_type = "application/octet-stream"
# For a connection, for the answer to begin, and for all of it.
# connect_ms = 1000
# start_ms = 10000
# total_ms = 30000
# The longest response that a fetch may bring.
# response_bytes_max = "64KiB"
"#;

/// How a replica is run.
#[derive(Clone, Debug)]
pub struct Config {
    /// How it serves.
    pub options: Options,
    /// What is logged, and how.
    pub log: LogConfig,
}

/// What is logged, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogConfig {
    /// The least important that is.
    pub level: tracing::Level,
    /// For whom.
    pub format: LogFormat,
}

/// For whom a log is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people on a terminal, for programs elsewhere.
    Auto,
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The flags of `start` that make its configuration.
#[derive(clap::Args, Clone, PartialEq, Eq, Default, Debug)]
pub struct Flags {
    /// A TOML file; the other flags override what it says
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The data file, made by `format`
    #[arg(long, value_name = "FILE")]
    pub data: Option<String>,

    /// The replicas' addresses, in their order, the same on each: IP:PORT,IP:PORT,...
    #[arg(long, value_name = "A,B,C")]
    pub addresses: Option<String>,

    /// Where to listen, if not at the replica's own address: IP:PORT
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,

    /// Where metrics are scraped from: IP:PORT
    #[arg(long, value_name = "ADDRESS")]
    pub metrics: Option<String>,

    /// `uring`, `sync`, or `auto`: io_uring if there is one
    #[arg(long, value_name = "KIND")]
    pub disk: Option<String>,

    /// How io_uring makes one write durable: `data-sync` or `linked-sync`
    #[arg(long, value_name = "MODE")]
    pub durable: Option<String>,

    /// `uring`, `readiness`, or `auto`: on the disk's io_uring if there is one
    #[arg(long, value_name = "KIND")]
    pub sockets: Option<String>,

    /// `error`, `warn`, `info`, `debug` or `trace`
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// `text`, `json`, or `auto`: text on a terminal
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,

    /// What the effects of a channel are done by, as in --sink 0=http://127.0.0.1:8080/letters, --sink others=file:letters.jsonl
    /// or --sink 1=log; may be repeated
    #[arg(long, value_name = "CHANNEL=SINK")]
    pub sink: Vec<String>,

    /// Any key of the file, as in --set limits.pipeline=8; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl Flags {
    /// What was given, as flag, key and value.
    fn given(&self) -> impl Iterator<Item = (&'static str, &'static str, &str)> {
        let flags = [
            ("--data", "data", &self.data),
            ("--addresses", "addresses", &self.addresses),
            ("--listen", "listen", &self.listen),
            ("--metrics", "metrics", &self.metrics),
            ("--disk", "disk", &self.disk),
            ("--durable", "durable", &self.durable),
            ("--sockets", "sockets", &self.sockets),
            ("--log-level", "log.level", &self.log_level),
            ("--log-format", "log.format", &self.log_format),
        ];
        flags.into_iter().filter_map(|(flag, key, value)| Some((flag, key, value.as_deref()?)))
    }
}

impl Config {
    /// What a TOML text says.
    ///
    /// # Errors
    /// If it is no configuration: in one sentence, with the line.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let mut draft = Draft::new();
        draft.take_toml(text, None)?;
        draft.finish()
    }

    /// What the flags say, and the file that they may name.
    ///
    /// # Errors
    /// If that is no configuration: in one sentence, with the line or the flag.
    pub fn load(flags: &Flags) -> Result<Self, ConfigError> {
        let mut draft = Draft::new();
        if let Some(path) = &flags.config {
            let text = read(path)?;
            draft.take_toml(&text, Some(path))?;
        }
        for (flag, key, value) in flags.given() {
            draft.set(key, &Value::Text(value), || Place::Flag(flag.to_owned()))?;
        }
        draft.take_sinks(&flags.sink)?;
        for text in &flags.set {
            let place = || Place::Flag(format!("--set {text}"));
            let Some((key, value)) = text.split_once('=') else {
                return Err(ConfigError::Syntax(
                    place(),
                    "a key and its value, as in --set limits.pipeline=8".to_owned(),
                ));
            };
            draft.set(key.trim(), &Value::Text(value.trim()), place)?;
        }
        draft.finish()
    }
}

/// The text of a configuration: never more than one has, whatever the file is.
fn read(path: &Path) -> Result<String, ConfigError> {
    let wrong = |error| ConfigError::Read(path.to_owned(), error);
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(FILE_SIZE_MAX + 1).read_to_end(&mut bytes)).map_err(wrong)?;
    if bytes.len() as u64 > FILE_SIZE_MAX {
        return Err(ConfigError::TooLarge(path.to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| wrong(io::Error::new(io::ErrorKind::InvalidData, error.utf8_error())))
}

/// What flags like `--sink 0=http://127.0.0.1:8080/letters` say by themselves.
///
/// # Errors
/// If one is none: in one sentence, with the flag.
pub fn sinks(flags: &[String]) -> Result<Sinks, ConfigError> {
    let mut draft = Draft::new();
    draft.take_sinks(flags)?;
    draft.sinks.finish().map_err(ConfigError::Together)
}

/// A configuration in the making.
struct Draft {
    data: Option<PathBuf>,
    addresses: Option<Vec<SocketAddr>>,
    /// The rest; each value is within its range.
    options: Options,
    log: LogConfig,
    sinks: SinksDraft,
}

impl Draft {
    fn new() -> Self {
        let log = LogConfig { level: tracing::Level::INFO, format: LogFormat::Auto };
        Self {
            data: None,
            addresses: None,
            options: Options::new(PathBuf::new(), Vec::new()),
            log,
            sinks: SinksDraft::default(),
        }
    }

    fn take_toml(&mut self, text: &str, file: Option<&Path>) -> Result<(), ConfigError> {
        let place = |at: usize| {
            let line = text.get(..at).map_or(1, |before| before.matches('\n').count() + 1);
            Place::Line(file.map(Path::to_owned), line)
        };
        let table = DeTable::parse(text).map_err(|error| {
            let why = error.message().trim_end().replace('\n', ", ");
            ConfigError::Syntax(place(error.span().map_or(0, |span| span.start)), why)
        })?;
        let mut given = Vec::new();
        collect("", table.get_ref(), &mut given);
        // The first mistake is told first.
        given.sort_by_key(|(at, ..)| *at);
        given.into_iter().try_for_each(|(at, key, value)| self.set(&key, &Value::Typed(value), || place(at)))
    }

    fn take_sinks(&mut self, flags: &[String]) -> Result<(), ConfigError> {
        for text in flags {
            let place = || Place::Flag(format!("--sink {text}"));
            let Some((channel, sink)) = text.split_once('=') else {
                let wanted = "a channel and its sink, as in --sink 0=http://127.0.0.1:8080/letters";
                return Err(ConfigError::Syntax(place(), wanted.to_owned()));
            };
            self.set(&format!("sinks.{}.to", channel.trim()), &Value::Text(sink.trim()), place)?;
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: &Value<'_>, place: impl Fn() -> Place) -> Result<(), ConfigError> {
        if let Some(field) = key.strip_prefix("sinks.").filter(|field| field.contains('.') || !is_section(key)) {
            return self.sinks.set(field, value).map_err(|error| match error {
                KeyError::Unknown(near) => ConfigError::Unknown(place(), key.to_owned(), near),
                KeyError::Value(wrong) => ConfigError::Value(place(), key.to_owned(), wrong),
            });
        }
        let Some(Key { name, set }) = KEYS.iter().find(|known| known.name == key) else {
            if is_section(key) {
                return Err(ConfigError::Syntax(place(), format!("`{key}` is a table: write [{key}] above its keys")));
            }
            let tables = sections().chain(["sinks"]);
            let near = match value {
                Value::Typed(DeValue::Table(_)) => nearest_table(key, tables),
                _ => nearest(key, KEYS.iter().map(|known| known.name).chain(tables)),
            };
            return Err(ConfigError::Unknown(place(), key.to_owned(), near.map(str::to_owned)));
        };
        set(self, value).map_err(|wrong| ConfigError::Value(place(), (*name).to_owned(), wrong))
    }

    /// What can only be said of all of it together.
    fn finish(self) -> Result<Config, ConfigError> {
        let data = self.data.ok_or(ConfigError::Missing("data", "--data"))?;
        let addresses = self.addresses.ok_or(ConfigError::Missing("addresses", "--addresses"))?;
        let together = |why: String| Err(ConfigError::Together(why));
        if !(1..=usize::from(REPLICAS_MAX)).contains(&addresses.len()) {
            return together(format!(
                "`addresses` has {}: a cluster has 1 to {REPLICAS_MAX} replicas",
                addresses.len()
            ));
        }
        if let Some(twice) = (1..addresses.len()).find(|at| addresses[..*at].contains(&addresses[*at])) {
            return together(format!("`addresses` names {} twice: each replica has its own", addresses[twice]));
        }
        let Timeouts { heartbeat_ns, election_ns, .. } = self.options.timeouts;
        if heartbeat_ns >= election_ns {
            let why = "a primary must be heard of before it is given up";
            return together(format!("`timeouts.heartbeat_ms` is not below `timeouts.election_ms`: {why}"));
        }
        let sinks = self.sinks.finish().map_err(ConfigError::Together)?;
        Ok(Config { options: Options { data, addresses, sinks, ..self.options }, log: self.log })
    }
}

/// Every value of a table and of the tables in it, with its place and its key.
fn collect<'a>(section: &str, table: &'a DeTable<'a>, given: &mut Vec<(usize, String, &'a DeValue<'a>)>) {
    for (name, value) in table {
        let key = if section.is_empty() { name.get_ref().to_string() } else { format!("{section}.{}", name.get_ref()) };
        match value.get_ref() {
            DeValue::Table(table) if is_section(&key) => collect(&key, table, given),
            value => given.push((start(name), key, value)),
        }
    }
}

fn start<T>(spanned: &Spanned<T>) -> usize {
    spanned.span().start
}

/// The names before the keys', once for each key.
fn sections() -> impl Iterator<Item = &'static str> + Clone {
    KEYS.iter().filter_map(|known| known.name.split_once('.').map(|(section, _)| section))
}

fn is_section(key: &str) -> bool {
    sections().any(|section| section == key) || sinks::is_section(key)
}

#[cfg(test)]
mod tests;
