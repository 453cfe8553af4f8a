//! The port that metrics are scraped from: as much of HTTP as a scraper needs.
//!
//! Invariant: those who connect, however many, and whatever they send, or do not send, cost one thread and [`CONNECTIONS_MAX`] connections,
//! each for [`EXCHANGE_MAX`] and [`REQUEST_MAX`] at most: descriptors and threads are the replica's. Nobody waits for another that is silent
//! as long as there is room. An accept that fails is told, and tried again.
//!
//! Deliberately absent: connections that are kept for a second request; bodies of requests; encryption.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use crate::wake::Wake;

/// How many are attended to at once. The others wait to be let in.
const CONNECTIONS_MAX: usize = 16;

/// How long one who connects is attended to, from the first byte of the request to the last of the answer.
const EXCHANGE_MAX: Duration = Duration::from_secs(1);

/// No request that means to scrape has more bytes.
const REQUEST_MAX: usize = 8 * 1024;

/// How long an accept that failed is not tried again: what the system lacks does not come back at once.
const PAUSE: Duration = Duration::from_secs(1);

const TEXT: &str = "text/plain; charset=UTF-8";
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The port, which closes with this.
pub(crate) struct Port {
    address: SocketAddr,
    /// Woken when it is to close.
    closed: Wake,
    thread: Option<JoinHandle<()>>,
}

impl Port {
    /// Listens, and answers with `text` whoever asks for metrics.
    ///
    /// # Errors
    /// If the address cannot be listened on, or if the system refuses.
    pub(crate) fn open(address: SocketAddr, text: impl Fn() -> String + Send + 'static) -> io::Result<Self> {
        Self::open_with(address, text, EXCHANGE_MAX, TcpListener::accept)
    }

    fn open_with(
        address: SocketAddr,
        text: impl Fn() -> String + Send + 'static,
        exchange_max: Duration,
        mut accept: impl FnMut(&TcpListener) -> io::Result<(TcpStream, SocketAddr)> + Send + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        // Whoever connected may be gone again when it is accepted.
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let closed = Wake::new()?;
        let close = closed.clone();
        let serve = move || {
            let (exchanges, paused_until) = (Vec::new(), None);
            let (listener, closed, text) = (&listener, &close, &text);
            Attended { listener, closed, text, exchange_max, exchanges, is_told: false, paused_until }
                .serve(&mut accept);
        };
        let thread = std::thread::Builder::new().name("metrics".to_owned()).spawn(serve)?;
        Ok(Self { address, closed, thread: Some(thread) })
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.closed.wake();
        if let Some(thread) = self.thread.take() {
            // A panic was printed when it happened.
            let _ = thread.join();
        }
    }
}

/// Who is attended to, and until when nobody else is let in.
struct Attended<'a, T> {
    listener: &'a TcpListener,
    closed: &'a Wake,
    text: &'a T,
    exchange_max: Duration,
    exchanges: Vec<Exchange>,
    /// Whether an accept failed, and nobody was let in since.
    is_told: bool,
    /// When an accept that failed is tried again.
    paused_until: Option<Instant>,
}

impl<T: Fn() -> String> Attended<'_, T> {
    fn serve(&mut self, accept: &mut impl FnMut(&TcpListener) -> io::Result<(TcpStream, SocketAddr)>) {
        loop {
            let is_open = self.exchanges.len() < CONNECTIONS_MAX && self.paused_until.is_none();
            let mut waited = vec![PollFd::new(self.closed, PollFlags::IN)];
            waited.extend(self.exchanges.iter().map(|exchange| PollFd::new(&exchange.stream, exchange.waits_for())));
            waited.extend(is_open.then(|| PollFd::new(self.listener, PollFlags::IN)));
            let next = self.exchanges.iter().map(|exchange| exchange.until).chain(self.paused_until).min();
            match poll(&mut waited, next.map(until).as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                // A want of memory, which does not go at once.
                Err(_) => std::thread::sleep(PAUSE),
            }
            if !waited[0].revents().is_empty() {
                return;
            }
            let came: Vec<bool> = waited[1..].iter().map(|waited| !waited.revents().is_empty()).collect();
            drop(waited);
            let now = Instant::now();
            let mut came = came.into_iter();
            let text = self.text;
            self.exchanges.retain_mut(|exchange| {
                let came = came.next().unwrap_or_default();
                exchange.until > now && (!came || exchange.goes_on(text))
            });
            self.paused_until = self.paused_until.filter(|until| *until > now);
            if came.next().unwrap_or_default() {
                self.let_in(accept(self.listener));
            }
        }
    }

    fn let_in(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        match accepted.and_then(|(stream, _)| Exchange::new(stream, self.exchange_max)) {
            Ok(exchange) => {
                self.is_told = false;
                self.exchanges.push(exchange);
            }
            Err(error)
                if [ErrorKind::WouldBlock, ErrorKind::Interrupted, ErrorKind::ConnectionAborted]
                    .contains(&error.kind()) => {}
            Err(error) => {
                if !self.is_told {
                    tracing::warn!("who scrapes metrics is not let in: {error}; tried again each second");
                }
                self.is_told = true;
                self.paused_until = Some(Instant::now() + PAUSE);
            }
        }
    }
}

/// What is left until then, and a little more: not a moment before it.
fn until(then: Instant) -> Timespec {
    let left = then.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
    Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() }
}

/// One request and its answer.
struct Exchange {
    stream: TcpStream,
    until: Instant,
    request: Vec<u8>,
    /// None until the request is whole.
    answer: Option<Vec<u8>>,
    /// How much of it was.
    written: usize,
}

impl Exchange {
    fn new(stream: TcpStream, longest: Duration) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, until: Instant::now() + longest, request: Vec::new(), answer: None, written: 0 })
    }

    const fn waits_for(&self) -> PollFlags {
        if self.answer.is_some() { PollFlags::OUT } else { PollFlags::IN }
    }

    /// Reads or writes as far as it can. Whether it is to be heard of again: who went away has no answer.
    fn goes_on(&mut self, text: &impl Fn() -> String) -> bool {
        match self.advance(text) {
            Ok(more) => more,
            Err(error) => [ErrorKind::WouldBlock, ErrorKind::Interrupted].contains(&error.kind()),
        }
    }

    fn advance(&mut self, text: &impl Fn() -> String) -> io::Result<bool> {
        let mut more = [0; 1024];
        while self.answer.is_none() {
            if let Some(end) = self.request.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                self.answer = Some(answer(&String::from_utf8_lossy(&self.request[..end]), text).into_bytes());
            } else if self.request.len() >= REQUEST_MAX {
                let why = "a request for metrics is shorter\n";
                self.answer = Some(response("431 Request Header Fields Too Large", TEXT, why, false).into_bytes());
            } else {
                match (&self.stream).read(&mut more)? {
                    0 => return Ok(false),
                    count => self.request.extend_from_slice(&more[..count]),
                }
            }
        }
        while let Some(rest) =
            self.answer.as_ref().and_then(|answer| answer.get(self.written..)).filter(|it| !it.is_empty())
        {
            match (&self.stream).write(rest)? {
                0 => break,
                written => self.written += written,
            }
        }
        Ok(false)
    }
}

fn answer(request: &str, text: &impl Fn() -> String) -> String {
    let first: Vec<&str> = request.lines().next().unwrap_or_default().split(' ').collect();
    match first[..] {
        [method, "/metrics", version] if is_http(version) => response("200 OK", METRICS, &text(), method == "HEAD"),
        [method, _, version] if is_http(version) => {
            response("404 Not Found", TEXT, "metrics are at /metrics\n", method == "HEAD")
        }
        _ => response("400 Bad Request", TEXT, "this is no request of HTTP/1\n", false),
    }
}

fn is_http(version: &str) -> bool {
    version.starts_with("HTTP/1.")
}

fn response(status: &str, kind: &str, body: &str, is_head: bool) -> String {
    let length = body.len();
    let body = if is_head { "" } else { body };
    format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

#[cfg(test)]
mod tests;
