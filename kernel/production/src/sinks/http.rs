//! A sink that speaks HTTP/1.1: `POST` for what is emitted, `GET` for what is fetched.
//!
//! Each request bears `Idempotency-Key`, the effect's id (the same for every attempt, by any primary), `Chronon-Fencing-Token`, whose texts
//! sort as the tokens do, and `Chronon-Channel`. Tokens compare within one channel of one cluster, which is what the key begins with: a service
//! that several clusters call keeps the highest token of each. What the answer means:
//!
//! | status | means |
//! |---|---|
//! | 2xx | done |
//! | 408, 412, 423, 425, 429, 503 | certainly not done: tried again. 412 is how a service refuses a token as too old |
//! | 409, any other 5xx | unknown: the service may have done it before it failed, or is still at it |
//! | 501, 505, 3xx, any other 4xx | never to be done |
//!
//! No connection, no such host: not done. Anything that goes wrong once there is a connection, time-outs among it: unknown.
//!
//! Each request has a connection of its own: one that was kept may be closed from the other side just as it is used, and then nobody
//! would know. Redirects are not followed, for they would take the key to somebody else. Responses are bounded; of a `POST` only the
//! status is read.
//!
//! Deliberately absent: TLS, proxies and `Retry-After`. Where the way to a service is not to be trusted, let a proxy on this machine
//! speak TLS.

mod way;

use std::time::Duration;

use chronon::{
    app::effect::RESPONSE_TOO_LARGE,
    effect::{Destination, EffectOrder, EffectResult},
};
use ureq::{
    Agent, Body, Error, RequestBuilder,
    config::Config,
    http::Response,
    typestate::WithoutBody,
    unversioned::{resolver::DefaultResolver, transport::TcpConnector},
};

use self::way::Way;
use super::{Sink, code};

/// What stands for an effect's id in an address.
const ID: &str = "{id}";

/// How an [`HttpSink`] speaks with its service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpOptions {
    /// Where to. For fetches, what their relative addresses are beneath; nothing if they are whole.
    pub url: Option<String>,
    /// Where to ask whether an effect was done, with `{id}` for the effect's: 2xx says that it was, 404 that it was not and cannot be any
    /// more under a token older than the question's, which it bears. None if the service cannot be asked.
    pub status_url: Option<String>,
    /// What is said to be emitted.
    pub content_type: String,
    /// How long to wait for a connection.
    pub connect: Duration,
    /// How long to wait for the answer to begin, once the request is sent.
    pub start: Duration,
    /// How long all of it may take. What is left of the effect's own time-out, if that is less.
    pub total: Duration,
    /// The longest response that a fetch may bring, in bytes.
    pub response_bytes_max: u64,
}

impl HttpOptions {
    /// A service with the usual time-outs: a second, ten, and thirty in all.
    pub fn new(url: Option<String>) -> Self {
        Self {
            url,
            status_url: None,
            content_type: "application/octet-stream".to_owned(),
            connect: Duration::from_secs(1),
            start: Duration::from_secs(10),
            total: Duration::from_secs(30),
            response_bytes_max: 64 * 1024,
        }
    }
}

/// Has effects done by a service that speaks HTTP.
#[derive(Debug)]
pub struct HttpSink {
    options: HttpOptions,
    agent: Agent,
}

impl HttpSink {
    /// A sink for that service. Nothing is sent yet.
    ///
    /// # Errors
    /// If an address is none, in words.
    pub fn new(options: HttpOptions) -> Result<Self, String> {
        for url in options.url.iter().chain(&options.status_url) {
            is_address(url)?;
        }
        if let Some(url) = options.status_url.as_ref().filter(|url| !url.contains(ID)) {
            return Err(format!("an address with {ID} where the effect's id is to stand, and not `{url}`"));
        }
        let agent = Agent::with_parts(config(&options), Way(TcpConnector::default()), Way(DefaultResolver::default()));
        Ok(Self { options, agent })
    }

    fn emit(&self, order: &EffectOrder) -> EffectResult {
        // A sink for fetches has none, and is not given what is emitted.
        let Some(url) = &self.options.url else { return EffectResult::Refused { code: code::BAD_ADDRESS } };
        let request = named(self.agent.post(url), order).header("Content-Type", &self.options.content_type);
        let request = request.config().timeout_global(Some(self.total(order))).build();
        match request.send(&order.payload[..]) {
            Ok(response) => judged(response.status().as_u16()),
            Err(error) => failed(&error),
        }
    }

    fn fetch(&self, order: &EffectOrder) -> EffectResult {
        let Some(url) = address(self.options.url.as_deref(), &order.payload) else {
            return EffectResult::Refused { code: code::BAD_ADDRESS };
        };
        let mut response = match self.get(&url, order) {
            Ok(response) => response,
            Err(error) => return failed(&error),
        };
        match judged(response.status().as_u16()) {
            EffectResult::Done { .. } => {}
            other => return other,
        }
        match response.body_mut().with_config().limit(self.options.response_bytes_max).read_to_vec() {
            Ok(response) => EffectResult::Done { response },
            Err(Error::BodyExceedsLimit(_)) => EffectResult::Refused { code: RESPONSE_TOO_LARGE },
            Err(error) => failed(&error),
        }
    }

    fn get(&self, url: &str, order: &EffectOrder) -> Result<Response<Body>, Error> {
        let request: RequestBuilder<WithoutBody> = named(self.agent.get(url), order);
        request.config().timeout_global(Some(self.total(order))).build().call()
    }

    fn total(&self, order: &EffectOrder) -> Duration {
        self.options.total.min(Duration::from_nanos(order.timeout_ns))
    }
}

impl Sink for HttpSink {
    fn words(&self, code: u32) -> Option<String> {
        if code == code::FENCED { None } else { Some(format!("HTTP status {code}")) }
    }

    fn run(&self, order: &EffectOrder) -> EffectResult {
        if order.destination == Destination::Fetch { self.fetch(order) } else { self.emit(order) }
    }

    fn ask(&self, order: &EffectOrder) -> EffectResult {
        if order.destination == Destination::Fetch {
            // What only fetches something did nothing.
            return EffectResult::NotDone;
        }
        let Some(url) = &self.options.status_url else {
            return EffectResult::Refused { code: code::CANNOT_TELL };
        };
        let status = match self.get(&url.replace(ID, &order.id.to_string()), order) {
            Ok(response) => response.status().as_u16(),
            Err(error) => return failed(&error),
        };
        match status {
            200..=299 => EffectResult::Done { response: Vec::new() },
            404 => EffectResult::NotDone,
            // Of a question each of these says only that there was no answer.
            _ => EffectResult::Failed { code: status.into() },
        }
    }
}

fn config(options: &HttpOptions) -> Config {
    Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_connections(0)
        .max_idle_connections_per_host(0)
        .timeout_resolve(Some(options.connect))
        .timeout_connect(Some(options.connect))
        .timeout_recv_response(Some(options.start))
        .user_agent(concat!("chronon/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Under the effect's names.
fn named<B>(request: RequestBuilder<B>, order: &EffectOrder) -> RequestBuilder<B> {
    let request = request.header("Idempotency-Key", order.id.to_string());
    let request = request.header("Chronon-Fencing-Token", order.token.to_string());
    match order.destination {
        Destination::Emit(channel) => request.header("Chronon-Channel", channel.0.to_string()),
        Destination::Fetch | Destination::Log(_) => request,
    }
}

/// What a service says by its status.
fn judged(status: u16) -> EffectResult {
    let code = u32::from(status);
    match status {
        200..=299 => EffectResult::Done { response: Vec::new() },
        408 | 412 | 423 | 425 | 429 | 503 => EffectResult::Failed { code },
        501 | 505 => EffectResult::Refused { code },
        100..=199 | 409 | 500.. => EffectResult::Unknown { code },
        _ => EffectResult::Refused { code },
    }
}

/// What there being no whole answer says.
fn failed(error: &Error) -> EffectResult {
    match error {
        Error::HostNotFound | Error::ConnectionFailed => EffectResult::Failed { code: code::UNREACHABLE },
        Error::BadUri(_) | Error::Http(_) => EffectResult::Refused { code: code::BAD_ADDRESS },
        _ => EffectResult::Unknown { code: code::NO_ANSWER },
    }
}

fn is_address(url: &str) -> Result<(), String> {
    let Some(rest) = url.strip_prefix("http://") else {
        let mend = if url.starts_with("https://") { "; let a proxy on this machine speak TLS" } else { "" };
        return Err(format!("an address that begins with http://, and not `{url}`{mend}"));
    };
    let plain = !url.chars().any(|char| char.is_whitespace() || char.is_control());
    let host = rest.split('/').next().unwrap_or_default();
    if plain && !host.is_empty() { Ok(()) } else { Err(format!("an address, and not `{url}`")) }
}

/// Where what is to be fetched is: beneath `base`, and nowhere else, if there is one.
fn address(base: Option<&str>, wanted: &[u8]) -> Option<String> {
    let wanted = std::str::from_utf8(wanted).ok()?;
    let url = match base {
        None => wanted.to_owned(),
        Some(_) if wanted.contains("://") || wanted.split(['/', '?', '#']).any(|part| part == "..") => return None,
        Some(base) => format!("{}/{}", base.trim_end_matches('/'), wanted.trim_start_matches('/')),
    };
    is_address(&url).ok().map(|()| url)
}

#[cfg(test)]
mod tests;
