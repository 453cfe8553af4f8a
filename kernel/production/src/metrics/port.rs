//! The port that metrics are scraped from: as much of HTTP as a scraper needs.
//!
//! Invariant: whoever connects and whatever he sends, or does not send, costs one thread and one connection, for [`EXCHANGE_MAX`] and
//! [`REQUEST_MAX`] at most: descriptors and threads are the replica's. An accept that fails is told, and tried again.
//!
//! Deliberately absent: connections that are kept for a second request; bodies of requests; encryption.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::wake::Wake;

/// How long one who connects is attended to, from the first byte of the request to the last of the answer.
const EXCHANGE_MAX: Duration = Duration::from_secs(1);

/// No request that means to scrape has more bytes.
const REQUEST_MAX: usize = 8 * 1024;

/// How long an accept that failed is not tried again: what the system lacks does not come back at once.
const PAUSE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

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
        Self::open_with(address, text, TcpListener::accept)
    }

    fn open_with(
        address: SocketAddr,
        text: impl Fn() -> String + Send + 'static,
        mut accept: impl FnMut(&TcpListener) -> io::Result<(TcpStream, SocketAddr)> + Send + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        // Whoever connected may be gone again when it is accepted.
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let closed = Wake::new()?;
        let close = closed.clone();
        let serve = move || serve(&listener, &close, &mut accept, &text);
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

fn serve(
    listener: &TcpListener,
    closed: &Wake,
    accept: &mut impl FnMut(&TcpListener) -> io::Result<(TcpStream, SocketAddr)>,
    text: &impl Fn() -> String,
) {
    let mut is_told = false;
    loop {
        let mut waited = [PollFd::new(closed, PollFlags::IN), PollFd::new(listener, PollFlags::IN)];
        let came = poll(&mut waited, None).map_err(io::Error::from);
        if !waited[0].revents().is_empty() {
            return;
        }
        match came.and_then(|_| accept(listener)) {
            Ok((stream, _)) => {
                is_told = false;
                // Who went away, or is too slow, has no answer.
                let _ = exchange(&stream, text);
            }
            Err(error)
                if [ErrorKind::WouldBlock, ErrorKind::Interrupted, ErrorKind::ConnectionAborted]
                    .contains(&error.kind()) => {}
            Err(error) => {
                if !is_told {
                    tracing::warn!("who scrapes metrics is not let in: {error}; tried again each second");
                }
                is_told = true;
                let _ = poll(&mut [PollFd::new(closed, PollFlags::IN)], Some(&PAUSE));
            }
        }
    }
}

/// One request and its answer.
fn exchange(stream: &TcpStream, text: &impl Fn() -> String) -> io::Result<()> {
    let mut timed = Timed { stream, until: Instant::now() + EXCHANGE_MAX };
    let mut request = Vec::new();
    let mut more = [0; 1024];
    let answer = loop {
        if let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break answer(&String::from_utf8_lossy(&request[..end]), text);
        }
        if request.len() >= REQUEST_MAX {
            break response("431 Request Header Fields Too Large", TEXT, "a request for metrics is shorter\n", false);
        }
        match timed.read(&mut more)? {
            0 => return Ok(()),
            count => request.extend_from_slice(&more[..count]),
        }
    };
    timed.write_all(answer.as_bytes())
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

/// A connection that gives up at a time, however little it is each time that it waits.
struct Timed<'a> {
    stream: &'a TcpStream,
    until: Instant,
}

impl Timed<'_> {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(bytes)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests;
