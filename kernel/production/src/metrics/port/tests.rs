//! Whoever scrapes is answered, whatever others do at the port meanwhile.

use super::*;
use crate::addresses::own_addresses;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn open() -> Port {
    Port::open(somewhere(), || "view 5\n".to_owned()).unwrap()
}

fn somewhere() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn connect(port: &Port) -> TcpStream {
    let stream = TcpStream::connect(port.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// What is said until the connection is closed.
fn ask(port: &Port, request: &str) -> String {
    let mut stream = connect(port);
    stream.write_all(request.as_bytes()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said
}

fn assert_scraped(port: &Port) {
    let said = ask(port, "GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n");
    assert!(said.starts_with("HTTP/1.1 200 OK\r\n") && said.ends_with("\r\n\r\nview 5\n"), "{said}");
}

#[test]
fn a_request_is_answered_by_its_path() {
    let port = open();
    assert_scraped(&port);
    let text = "Content-Type: text/plain; charset=UTF-8\r\n";
    for (request, status, kind, body) in [
        (
            "GET /metrics HTTP/1.0",
            "200 OK",
            "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n",
            "view 5\n",
        ),
        ("HEAD /metrics HTTP/1.1", "200 OK", "Content-Length: 7\r\n", ""),
        ("GET / HTTP/1.1", "404 Not Found", text, "metrics are at /metrics\n"),
        ("GET /metrics?all HTTP/1.1", "404 Not Found", text, "metrics are at /metrics\n"),
        ("GET /metrics", "400 Bad Request", text, "this is no request of HTTP/1\n"),
        ("", "400 Bad Request", text, "this is no request of HTTP/1\n"),
    ] {
        let said = ask(&port, &format!("{request}\r\n\r\n"));
        let (head, told) = said.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {said}");
        assert!(format!("{head}\r\n").contains(kind), "{request}: {said}");
        assert_eq!(told, body, "{request}");
    }
}

#[test]
fn whoever_is_silent_or_sends_byte_by_byte_is_closed_and_others_are_answered() {
    let port = open();
    let (mut silent, mut slow) = (connect(&port), connect(&port));
    slow.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let began = Instant::now();
    // A byte each time that nothing is heard. Whoever is closed while some are not read yet is reset.
    while slow.write_all(b"a").is_ok() && slow.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    {
        assert!(began.elapsed() < PATIENCE, "it is attended to for ever");
    }
    assert_eq!(silent.read(&mut [0]).unwrap(), 0, "closed without a word");
    assert_scraped(&port);
}

/// Each of whom would be attended to for an hour.
#[test]
fn whoever_is_silent_delays_nobody_as_long_as_there_is_room() {
    let hour = Duration::from_secs(3600);
    let port = Port::open_with(somewhere(), || "view 5\n".to_owned(), hour, TcpListener::accept).unwrap();
    let mut silent: Vec<TcpStream> = (1..CONNECTIONS_MAX).map(|_| connect(&port)).collect();
    assert_scraped(&port);
    // With one more there is no room, until one of them goes.
    silent.push(connect(&port));
    let mut late = connect(&port);
    late.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    drop(silent.pop());
    let mut said = String::new();
    late.read_to_string(&mut said).unwrap();
    assert!(said.ends_with("view 5\n"), "{said}");
}

#[test]
fn a_request_that_does_not_end_is_refused() {
    let port = open();
    let mut stream = connect(&port);
    stream.write_all(&[b'a'; REQUEST_MAX]).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 431 "), "{said}");
    assert_scraped(&port);
}

#[test]
fn whoever_sends_many_requests_and_reads_nothing_keeps_nobody_out() {
    // More than what the system holds of an answer.
    let port = Port::open(somewhere(), || "view 5\n".repeat(4 << 20)).unwrap();
    let mut deaf = connect(&port);
    deaf.write_all("GET /metrics HTTP/1.1\r\n\r\n".repeat(20).as_bytes()).unwrap();
    let said = ask(&port, "GET / HTTP/1.1\r\n\r\n");
    assert!(said.starts_with("HTTP/1.1 404 "), "{said}");
    drop(deaf);
}

#[test]
fn an_accept_that_fails_is_tried_again() {
    let mut failures = 1;
    let accept = move |listener: &TcpListener| {
        if failures > 0 {
            failures -= 1;
            // No descriptor is left.
            return Err(io::Error::from_raw_os_error(24));
        }
        listener.accept()
    };
    let port = Port::open_with(somewhere(), || "view 5\n".to_owned(), EXCHANGE_MAX, accept).unwrap();
    assert_scraped(&port);
}

#[test]
fn it_closes_with_its_handle() {
    // Nobody else is given that one when it is free.
    let address = own_addresses(1)[0];
    let port = Port::open(address, || "view 5\n".to_owned()).unwrap();
    let silent = connect(&port);
    drop(port);
    TcpListener::bind(address).expect("nobody listens there any more");
    drop(silent);
}
