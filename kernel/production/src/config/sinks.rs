//! Which sink does which effects, as a configuration says it: a section for each channel, `[sinks.0]`, for all others,
//! `[sinks.others]`, for fetches, `[sinks.fetch]`, and for lines of the log, `[sinks.log]`.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use chronon::effect::Channel;

use super::{
    keys::{Value, Wrong},
    nearest::nearest,
};
use crate::sinks::{FileSink, HttpOptions, HttpSink, LogSink, Sink, Sinks};

/// What a section may say, in the order in which the example shows it.
const FIELDS: &[&str] =
    &["to", "status_url", "content_type", "connect_ms", "start_ms", "total_ms", "response_bytes_max"];

/// The sections that have no number.
const NAMED: [&str; 3] = ["others", "fetch", "log"];

/// The longest time-out, in milliseconds.
const TIMEOUT_MS_MAX: u64 = 600_000;

/// The sections so far.
#[derive(Default)]
pub(super) struct SinksDraft {
    sections: BTreeMap<Place, Section>,
}

/// What is sent there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Channel(Channel),
    Others,
    Fetches,
    Lines,
}

/// Where it goes, and how.
struct Section {
    name: String,
    to: Option<To>,
    http: HttpOptions,
    /// The first key that HTTP alone has, if one was given.
    http_key: Option<&'static str>,
}

#[derive(Clone)]
enum To {
    Http(String),
    /// HTTP to wherever what is fetched says.
    Anywhere,
    File(PathBuf),
    Log,
}

/// Why a key below `sinks.` is none.
pub(super) enum KeyError {
    /// There is none of that name; the nearest one.
    Unknown(Option<String>),
    /// Its value is none.
    Value(Wrong),
}

/// Whether a table of this name holds keys.
pub(super) fn is_section(key: &str) -> bool {
    key == "sinks" || key.strip_prefix("sinks.").is_some_and(|name| !name.contains('.'))
}

impl SinksDraft {
    /// Sets the key `sinks.KEY`.
    pub(super) fn set(&mut self, key: &str, value: &Value<'_>) -> Result<(), KeyError> {
        let (name, field) = key.split_once('.').unwrap_or((key, ""));
        let Some(place) = place(name) else {
            let near = nearest(name, NAMED.into_iter());
            return Err(KeyError::Unknown(near.map(|near| format!("sinks.{near}"))));
        };
        let Some(field) = FIELDS.iter().find(|known| **known == field) else {
            let near = nearest(field, FIELDS.iter().copied());
            return Err(KeyError::Unknown(near.map(|near| format!("sinks.{name}.{near}"))));
        };
        let section = self.sections.entry(place).or_insert_with(|| Section {
            name: name.to_owned(),
            to: None,
            http: HttpOptions::new(None),
            http_key: None,
        });
        section.set(place, field, value).map_err(KeyError::Value)
    }

    /// All of it, if each section makes sense.
    pub(super) fn finish(self) -> Result<Sinks, String> {
        self.sections.into_iter().try_fold(Sinks::default(), |sinks, (place, section)| {
            let sink = section.sink()?;
            Ok(match place {
                Place::Channel(channel) => sinks.channel(channel, sink),
                Place::Others => sinks.others(sink),
                Place::Fetches => sinks.fetches(sink),
                Place::Lines => sinks.lines(sink),
            })
        })
    }
}

fn place(name: &str) -> Option<Place> {
    match name {
        "others" => Some(Place::Others),
        "fetch" => Some(Place::Fetches),
        "log" => Some(Place::Lines),
        number => number.parse().ok().map(|number| Place::Channel(Channel(number))),
    }
}

impl Section {
    fn set(&mut self, place: Place, field: &'static str, value: &Value<'_>) -> Result<(), Wrong> {
        let ms = || value.number(1..=TIMEOUT_MS_MAX).map(Duration::from_millis);
        if field != "to" {
            self.http_key.get_or_insert(field);
        }
        match field {
            "to" => self.to = Some(to(value.text(WANTED)?, place)?),
            "status_url" => self.http.status_url = Some(value.text("an address")?.to_owned()),
            "content_type" => self.http.content_type = value.text("a content type")?.to_owned(),
            "connect_ms" => self.http.connect = ms()?,
            "start_ms" => self.http.start = ms()?,
            "total_ms" => self.http.total = ms()?,
            "response_bytes_max" => self.http.response_bytes_max = value.size(1..=16 << 20)?,
            _ => unreachable!("every field is one of FIELDS"),
        }
        Ok(())
    }

    fn sink(self) -> Result<Arc<dyn Sink>, String> {
        let Self { name, to, mut http, http_key } = self;
        let Some(to) = to else {
            return Err(format!("`sinks.{name}.to` is missing: {WANTED}"));
        };
        if let Some(key) = http_key.filter(|_| matches!(to, To::File(_) | To::Log)) {
            return Err(format!("`sinks.{name}.{key}` is for HTTP, and `sinks.{name}.to` is not"));
        }
        Ok(match to {
            To::File(path) => Arc::new(FileSink::new(path)),
            To::Log => Arc::new(LogSink),
            To::Http(url) => {
                http.url = Some(url);
                Arc::new(HttpSink::new(http).map_err(|why| format!("`sinks.{name}` needs {why}"))?)
            }
            To::Anywhere => Arc::new(HttpSink::new(http).map_err(|why| format!("`sinks.{name}` needs {why}"))?),
        })
    }
}

const WANTED: &str = "an address as in http://127.0.0.1:8080/letters, a file as in file:letters.jsonl, or `log`";

/// The least that makes an address of what fetches say.
const ANYWHERE: &str = "anywhere";

fn to(text: &str, place: Place) -> Result<To, Wrong> {
    let to = match text.strip_prefix("file:") {
        Some("") => return Err(format!("{WANTED}, and not `{text}`")),
        Some(path) => To::File(path.into()),
        None if text == "log" => To::Log,
        None if text == ANYWHERE && place == Place::Fetches => To::Anywhere,
        None if text.starts_with("http://") || text.starts_with("https://") => {
            // Its own words, with the line.
            HttpSink::new(HttpOptions::new(Some(text.to_owned())))?;
            To::Http(text.to_owned())
        }
        None => return Err(format!("{WANTED}, and not `{text}`")),
    };
    if place == Place::Fetches && matches!(to, To::File(_) | To::Log) {
        return Err(format!("an address, or `{ANYWHERE}` if what is fetched has whole ones, and not `{text}`"));
    }
    Ok(to)
}

#[cfg(test)]
pub(super) fn fields() -> impl Iterator<Item = String> {
    FIELDS.iter().map(|field| format!("sinks.0.{field}"))
}
