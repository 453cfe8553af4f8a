//! What a service is told, and what its answers and silences mean.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::TcpListener,
    sync::mpsc::{Receiver, channel},
};

use chronon::{
    effect::{Channel, EffectId, Errand, Fence, FencingToken},
    frame::Frame,
    types::{ClusterId, Epoch, Op, View},
};
use ureq::{
    http::Uri,
    unversioned::{
        resolver::{ResolvedSocketAddrs, Resolver},
        transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport},
    },
};

use super::*;

const SECOND_NS: u64 = 1_000_000_000;

fn order(destination: Destination, payload: &[u8]) -> EffectOrder {
    let id = EffectId { cluster: ClusterId(7), op: Op(12), position: 1, index: 0 };
    let token = FencingToken { fence: Fence { epoch: Epoch(1), view: View(3) }, attempt: Op(14) };
    let (errand, payload) = (Errand::Run, Frame::new(payload.to_vec()));
    EffectOrder { id, token, errand, destination, payload, timeout_ns: 30 * SECOND_NS }
}

/// A service that is told one request and answers these bytes, then closes; nothing, and the connection stays, if there are none. Returns
/// its address, and what it was told.
fn service(answer: Option<&'static str>) -> (String, Receiver<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/base/", listener.local_addr().unwrap());
    let (told, heard) = channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut lines = Vec::new();
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let line = line.trim_end().to_owned();
            if line.is_empty() {
                break;
            }
            if let Some(bytes) = line.to_lowercase().strip_prefix("content-length: ") {
                length = bytes.parse().unwrap();
            }
            lines.push(line.to_lowercase());
        }
        let mut body = vec![0; length];
        std::io::Read::read_exact(&mut reader, &mut body).unwrap();
        lines.push(String::from_utf8(body).unwrap());
        told.send(lines).unwrap();
        match answer {
            Some(answer) => stream.write_all(answer.as_bytes()).unwrap(),
            // Until the other end has enough.
            None => drop(reader.read_line(&mut String::new())),
        }
    });
    (url, heard)
}

fn sink(url: &str, adjust: impl FnOnce(&mut HttpOptions)) -> HttpSink {
    let mut options = HttpOptions::new(Some(url.to_owned()));
    adjust(&mut options);
    HttpSink::new(options).unwrap()
}

const EMIT: Destination = Destination::Emit(Channel(5));

#[test]
fn what_is_emitted_is_posted_once_under_its_id_and_token_and_channel() {
    let (url, heard) = service(Some("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"));
    let done = EffectResult::Done { response: vec![] };
    assert_eq!(sink(&url, |_| {}).run(&order(EMIT, b"a letter")), done);
    let lines = heard.recv().unwrap();
    assert_eq!((lines[0].as_str(), lines.last().unwrap().as_str()), ("post /base/ http/1.1", "a letter"));
    for header in [
        "idempotency-key: 0000000000000007-000000000000000c-00000001-00000000",
        "chronon-fencing-token: 00000001-0000000000000003-000000000000000e",
        "chronon-channel: 5",
        "content-type: application/octet-stream",
    ] {
        assert_eq!(lines.iter().filter(|line| *line == header).count(), 1, "{header}: {lines:?}");
    }
}

#[test]
fn what_is_fetched_comes_back_if_it_is_not_too_large() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nrate";
    for (limit, result) in [
        (4, EffectResult::Done { response: b"rate".to_vec() }),
        (3, EffectResult::Refused { code: RESPONSE_TOO_LARGE }),
    ] {
        let (url, heard) = service(Some(answer));
        let sink = sink(&url, |options| options.response_bytes_max = limit);
        assert_eq!(sink.run(&order(Destination::Fetch, b"/interest?of=3")), result);
        assert_eq!(heard.recv().unwrap()[0], "get /base/interest?of=3 http/1.1");
    }
    let (url, _heard) = service(Some("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nrate"));
    let cut = sink(&url, |_| {}).run(&order(Destination::Fetch, b"rate"));
    assert_eq!(cut, EffectResult::Unknown { code: code::NO_ANSWER }, "a response that is cut short is none");
}

#[test]
fn every_status_means_done_or_not_or_never_or_that_nobody_knows() {
    let kind = |status| match judged(status) {
        EffectResult::Done { .. } => 'd',
        EffectResult::Failed { .. } => 'f',
        EffectResult::Refused { .. } => 'r',
        EffectResult::Unknown { .. } => 'u',
        EffectResult::NotDone => panic!("nobody asked"),
    };
    let told: String = [200, 299, 408, 412, 423, 425, 429, 503].map(kind).into_iter().collect();
    assert_eq!(told, "ddffffff");
    let told: String =
        [301, 308, 400, 404, 422, 501, 505, 101, 409, 500, 502, 504, 599].map(kind).into_iter().collect();
    assert_eq!(told, "rrrrrrruuuuuu");
    assert!((100..600).all(|status| judged(status) != EffectResult::NotDone));
}

#[test]
fn a_redirect_is_not_followed() {
    let (elsewhere, heard) = service(Some("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
    for status in ["302 Found", "307 Temporary Redirect"] {
        let answer = format!("HTTP/1.1 {status}\r\nlocation: {elsewhere}\r\ncontent-length: 0\r\n\r\n");
        let (url, _heard) = service(Some(answer.leak()));
        let result = sink(&url, |_| {}).run(&order(EMIT, b"a letter"));
        let code = status.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(result, EffectResult::Refused { code }, "{status}");
    }
    assert!(heard.try_recv().is_err(), "nobody came");
}

#[test]
fn an_answer_that_does_not_come_is_unknown_and_a_service_that_is_not_there_did_nothing() {
    let unknown = EffectResult::Unknown { code: code::NO_ANSWER };
    let short = |options: &mut HttpOptions| options.start = Duration::from_millis(50);
    let (url, heard) = service(None);
    assert_eq!(sink(&url, short).run(&order(EMIT, b"a letter")), unknown, "its start");
    heard.recv().unwrap();
    let (url, _heard) = service(None);
    assert_eq!(
        sink(&url, |options| options.total = Duration::from_millis(50)).run(&order(EMIT, b"")),
        unknown,
        "all of it"
    );
    let (url, _heard) = service(None);
    let hasty = EffectOrder { timeout_ns: SECOND_NS / 20, ..order(EMIT, b"") };
    assert_eq!(sink(&url, |_| {}).run(&hasty), unknown, "what is left of the attempt");
    for answer in ["", "HTTP/1.1 2", "what?\r\n\r\n"] {
        let (url, _heard) = service(Some(answer));
        assert_eq!(sink(&url, |_| {}).run(&order(EMIT, b"a letter")), unknown, "{answer:?}");
    }
    // The port of a service that no machine runs, and below those that are handed out: whoever dials it is refused at once.
    let result = sink("http://127.0.0.1:1/", |_| {}).run(&order(EMIT, b"a letter"));
    assert_eq!(result, EffectResult::Failed { code: code::UNREACHABLE });
}

/// How far the way to a service goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Until {
    Nowhere,
    Address,
    Connection,
    Request,
}

/// A way to a service that goes no further than that: what comes next fails as the system says of a host that is not heard of.
#[derive(Debug)]
struct Fails(Until, LazyBuffers);

impl Fails {
    fn new(until: Until) -> Self {
        Self(until, LazyBuffers::new(1024, 1024))
    }

    fn goes_to<T>(&self, until: Until, then: T) -> Result<T, Error> {
        if self.0 as u8 >= until as u8 { Ok(then) } else { Err(Error::Io(io::ErrorKind::HostUnreachable.into())) }
    }
}

impl Resolver for Fails {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut addresses = self.empty();
        addresses.push(([127, 0, 0, 1], 1).into());
        self.goes_to(Until::Address, addresses)
    }
}

impl Connector for Fails {
    type Out = Self;

    fn connect(&self, _: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Self>, Error> {
        self.goes_to(Until::Connection, Some(Self::new(self.0)))
    }
}

impl Transport for Fails {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.1
    }

    fn transmit_output(&mut self, _: usize, _: NextTimeout) -> Result<(), Error> {
        self.goes_to(Until::Request, ())
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
        Err(Error::Io(io::ErrorKind::HostUnreachable.into()))
    }

    fn is_open(&mut self) -> bool {
        true
    }
}

/// The system says the same of a connection that is not to be had and of one that ends because nothing more is heard of the host.
#[test]
fn a_host_that_is_not_reached_did_nothing_and_of_one_that_is_lost_nobody_knows() {
    let (failed, unknown) =
        (EffectResult::Failed { code: code::UNREACHABLE }, EffectResult::Unknown { code: code::NO_ANSWER });
    for (until, result) in [
        (Until::Nowhere, &failed),
        (Until::Address, &failed),
        (Until::Connection, &unknown),
        (Until::Request, &unknown),
    ] {
        let options = HttpOptions::new(Some("http://service.example/".to_owned()));
        let agent = Agent::with_parts(config(&options), Way(Fails::new(until)), Way(Fails::new(until)));
        let sink = HttpSink { options, agent };
        assert_eq!(sink.run(&order(EMIT, b"a letter")), *result, "{until:?}");
    }
}

#[test]
fn a_service_that_can_be_asked_says_whether_it_was_done_and_any_other_cannot_tell() {
    for (status, result) in [
        ("204 No Content", EffectResult::Done { response: vec![] }),
        ("404 Not Found", EffectResult::NotDone),
        ("500 Internal Server Error", EffectResult::Failed { code: 500 }),
    ] {
        let (url, heard) = service(Some(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").leak()));
        let sink = sink(&url, |options| options.status_url = Some(format!("{url}{{id}}/status")));
        assert_eq!(sink.ask(&order(EMIT, b"a letter")), result, "{status}");
        let lines = heard.recv().unwrap();
        assert_eq!(lines[0], "get /base/0000000000000007-000000000000000c-00000001-00000000/status http/1.1");
        assert!(lines.contains(&"chronon-fencing-token: 00000001-0000000000000003-000000000000000e".to_owned()));
    }
    let mute = sink("http://127.0.0.1:1/", |_| {});
    assert_eq!(mute.ask(&order(EMIT, b"")), EffectResult::Refused { code: code::CANNOT_TELL });
    assert_eq!(mute.ask(&order(Destination::Fetch, b"")), EffectResult::NotDone);
}

#[test]
fn what_is_fetched_is_beneath_its_base_or_has_an_address_of_its_own() {
    let base = Some("http://a/b/");
    assert_eq!(address(base, b"c/d?e=..f").as_deref(), Some("http://a/b/c/d?e=..f"));
    assert_eq!(address(base, b"//c").as_deref(), Some("http://a/b/c"));
    for hostile in [&b"../c"[..], b"c/../../d", b"http://x/", b"c d", b"c\r\nHost: x", b"\xff"] {
        assert_eq!(address(base, hostile), None, "{hostile:?}");
    }
    assert_eq!(address(None, b"http://x/y").as_deref(), Some("http://x/y"));
    for wrong in [&b"y"[..], b"https://x", b"http://", b"http:///y", b"http://x y"] {
        assert_eq!(address(None, wrong), None, "{wrong:?}");
    }
}
