//! Sockets on a real ring, told by the tests what the system answers; the other ends are plain sockets.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Instant,
};

use super::*;
use rustix::net::{AddressFamily, SocketType};

use crate::{addresses::own_addresses, tcp::transport::Accepted};

/// No test waits so long for anything unless it fails.
const PATIENCE: Duration = Duration::from_secs(30);

fn transport() -> Completion {
    Completion::new(Ring::new().unwrap()).unwrap()
}

fn listening() -> (Completion, SocketAddr) {
    let (mut transport, address) = (transport(), own_addresses(1)[0]);
    transport.listen(TcpListener::bind(address).unwrap()).unwrap();
    (transport, address)
}

/// The next thing that happens.
fn next(transport: &mut Completion) -> (u64, Happened) {
    let began = Instant::now();
    loop {
        if let Some(happened) = transport.next() {
            return happened;
        }
        assert!(began.elapsed() < PATIENCE, "nothing happens");
        transport.wait(PATIENCE).unwrap();
    }
}

/// A connection under a number, and its other end.
fn accepted(transport: &mut Completion, address: SocketAddr, number: u64) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(matches!(next(transport), (_, Happened::Acceptable)));
    assert_eq!(transport.accept(Some(number)), Accepted::Taken(stream.local_addr().ok()));
    transport.await_accept().unwrap();
    stream
}

fn room() -> Vec<u8> {
    Vec::with_capacity(1000)
}

/// Answers with these errors to the next operations of that name, and then with the truth.
fn answer(transport: &mut Completion, operation: &'static str, errors: &[Errno]) {
    let mut errors: std::collections::VecDeque<Errno> = errors.iter().copied().collect();
    transport.sockets.answers = Some(Box::new(move |name, truth| {
        let error = if name == operation { errors.pop_front() } else { None };
        error.map_or(truth, |error| -error.raw_os_error())
    }));
}

const ERRORS: [Errno; 5] = [Errno::CANCELED, Errno::CONNRESET, Errno::IO, Errno::NOBUFS, Errno::PIPE];

#[test]
fn what_is_dialled_is_connected_by_either_kind_of_address_or_told_to_be_refused() {
    for host in ["127.0.0.1:0", "[::1]:0"] {
        let listener = match TcpListener::bind(host) {
            Err(error) if host.starts_with('[') => {
                eprintln!("NOT TESTED: {host} cannot be listened on here: {error}");
                continue;
            }
            listener => listener.unwrap(),
        };
        let address = listener.local_addr().unwrap();
        let mut transport = transport();
        assert!(transport.connect(1, address));
        assert!(matches!(next(&mut transport), (1, Happened::Connected(Ok(())))));
        let (mut other, from) = listener.accept().unwrap();
        assert_eq!(from.ip(), address.ip());
        other.write_all(b"hello").unwrap();
        transport.receive(1, room());
        assert!(matches!(next(&mut transport), (1, Happened::Received(bytes, Ok(5))) if bytes == b"hello"));
        // A port that is taken, so that nobody comes to listen there, and at which nobody does.
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let deaf = rustix::net::socket(family, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&deaf, &SocketAddr::new(address.ip(), 0)).unwrap();
        let address = rustix::net::getsockname(&deaf).unwrap().try_into().unwrap();
        assert!(transport.connect(2, address));
        assert!(matches!(next(&mut transport), (2, Happened::Connected(Err(Errno::CONNREFUSED)))));
    }
}

#[test]
fn what_the_system_takes_in_parts_is_sent_whole_and_in_order() {
    let (mut transport, address) = listening();
    let mut stream = accepted(&mut transport, address, 1);
    // More than sockets hold, so that no one operation takes it all.
    let bytes: Vec<u8> = (0..32_u32 << 20).map(|at| (at / 1000) as u8).collect();
    let expected = bytes.clone();
    let reader = std::thread::spawn(move || {
        let mut heard = vec![0; expected.len()];
        stream.read_exact(&mut heard).unwrap();
        assert!(heard == expected, "what arrives is what was sent");
    });
    let operations = std::rc::Rc::new(std::cell::Cell::new(0));
    let counted = std::rc::Rc::clone(&operations);
    transport.sockets.answers = Some(Box::new(move |name, truth| {
        counted.set(counted.get() + u32::from(name == "send"));
        truth
    }));
    transport.send(1, bytes);
    assert!(matches!(next(&mut transport), (1, Happened::Sent(_, Ok(())))));
    reader.join().unwrap();
    assert!(operations.get() > 1, "it was taken in parts");
}

#[test]
fn what_was_interrupted_is_asked_for_again() {
    for interruption in [Errno::INTR, Errno::AGAIN] {
        let (mut transport, address) = listening();
        let mut stream = accepted(&mut transport, address, 1);
        answer(&mut transport, "send", &[interruption; 2]);
        transport.send(1, b"x".to_vec());
        assert!(matches!(next(&mut transport), (1, Happened::Sent(_, Ok(())))));
        // The system had in truth sent it each time.
        let mut heard = [0; 3];
        stream.read_exact(&mut heard).unwrap();
        assert_eq!(heard, *b"xxx");
        answer(&mut transport, "receive", &[interruption]);
        transport.receive(1, room());
        stream.write_all(b"a").unwrap();
        // Told to be nothing, and asked for again: only what comes behind it is told of.
        transport.wait(PATIENCE).unwrap();
        assert!(transport.next().is_none());
        stream.write_all(b"b").unwrap();
        assert!(matches!(next(&mut transport), (1, Happened::Received(bytes, Ok(1))) if bytes.ends_with(b"b")));
        answer(&mut transport, "poll", &[interruption]);
        drop(accepted(&mut transport, address, 2));
    }
}

#[test]
fn what_fails_on_one_connection_costs_no_other() {
    let (mut transport, address) = listening();
    let mut healthy = accepted(&mut transport, address, 1);
    for (number, error) in (2..).zip(ERRORS) {
        let mut stream = accepted(&mut transport, address, 10 * number);
        answer(&mut transport, "receive", &[error]);
        transport.receive(10 * number, room());
        stream.write_all(b"x").unwrap();
        let (failed, happened) = next(&mut transport);
        assert!(matches!(happened, Happened::Received(_, Err(told)) if told == error), "{happened:?}");
        answer(&mut transport, "send", &[error]);
        transport.send(10 * number, b"x".to_vec());
        let (also, happened) = next(&mut transport);
        assert!(matches!(happened, Happened::Sent(_, Err(told)) if told == error), "{happened:?}");
        assert_eq!((failed, also), (10 * number, 10 * number));
        transport.close(10 * number);
        answer(&mut transport, "connect", &[error]);
        assert!(transport.connect(10 * number + 1, address));
        assert!(matches!(next(&mut transport), (_, Happened::Acceptable)));
        assert_eq!(transport.accept(None), Accepted::Closed);
        transport.await_accept().unwrap();
        let (dialled, happened) = next(&mut transport);
        assert!(matches!(happened, Happened::Connected(Err(told)) if told == error), "{happened:?}");
        transport.close(dialled);
        transport.receive(1, room());
        healthy.write_all(b"y").unwrap();
        assert!(matches!(next(&mut transport), (1, Happened::Received(bytes, Ok(1))) if bytes == b"y"));
    }
}

#[test]
fn a_listener_that_cannot_be_waited_for_is_told_and_not_passed_over() {
    let (mut transport, address) = listening();
    answer(&mut transport, "poll", &[Errno::IO]);
    let _stream = TcpStream::connect(address).unwrap();
    let began = Instant::now();
    while transport.wait(Duration::from_millis(10)).is_ok() {
        assert!(transport.next().is_none() && began.elapsed() < PATIENCE);
    }
}

#[test]
fn a_closed_connection_says_nothing_more_and_lends_nothing_for_long() {
    let (mut transport, address) = listening();
    let mut kept = accepted(&mut transport, address, 1);
    transport.receive(1, room());
    // Each is given the descriptor of the one before, and another number.
    for number in 2..200 {
        let mut stream = accepted(&mut transport, address, number);
        transport.receive(number, room());
        // More than it takes, for nobody reads.
        transport.send(number, vec![7; 8 << 20]);
        if number % 3 > 0 {
            transport.flush().unwrap();
        }
        if number % 2 > 0 {
            stream.write_all(b"late").unwrap();
        }
        transport.close(number);
    }
    kept.write_all(b"here").unwrap();
    let (number, happened) = next(&mut transport);
    assert!(number == 1 && matches!(happened, Happened::Received(bytes, Ok(4)) if bytes == b"here"));
    let began = Instant::now();
    while transport.sockets.count() > 2 {
        assert!(began.elapsed() < PATIENCE, "what was closed is gone");
        assert!(transport.next().is_none(), "and says nothing");
        transport.wait(Duration::from_millis(10)).unwrap();
    }
}

#[test]
fn whoever_is_closed_hears_of_it_when_that_is_begun() {
    let (mut transport, address) = listening();
    for number in 1..20 {
        let mut stream = accepted(&mut transport, address, number);
        transport.receive(number, room());
        transport.wait(Duration::ZERO).unwrap();
        transport.close(number);
        assert!(transport.flush().unwrap(), "an end does not wait for the next turn");
        assert!(transport.next().is_none());
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
}

#[test]
fn what_is_dropped_with_everything_in_flight_frees_its_port_and_is_heard_of_though_the_ring_stays() {
    for _ in 0..20 {
        let (mut transport, address) = listening();
        let streams: Vec<_> = (0..4).map(|number| accepted(&mut transport, address, number)).collect();
        for number in 0..4 {
            transport.receive(number, room());
            transport.send(number, vec![7; 8 << 20]);
        }
        // One that nobody answers.
        assert!(transport.connect(9, "192.0.2.1:1".parse().unwrap()));
        transport.flush().unwrap();
        let ring = transport.sockets.ring().clone();
        drop(transport);
        drop(TcpListener::bind(address).expect("the port is free"));
        for mut stream in streams {
            let end = stream.read_to_end(&mut Vec::new());
            assert!(!end.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "nothing is heard of it");
        }
        drop(ring);
    }
}

#[test]
fn what_is_watched_wakes_as_often_as_it_is_readable() {
    let mut transport = transport();
    let (reader, mut writer) = std::os::unix::net::UnixStream::pair().unwrap();
    transport.watch(std::os::fd::AsFd::as_fd(&reader)).unwrap();
    for _ in 0..3 {
        writer.write_all(b"x").unwrap();
        let began = Instant::now();
        transport.wait(PATIENCE).unwrap();
        assert!(began.elapsed() < PATIENCE && transport.next().is_none());
        (&reader).read_exact(&mut [0]).unwrap();
        // It may have been noticed once more before it was read.
        transport.wait(Duration::from_millis(1)).unwrap();
        assert!(transport.next().is_none());
    }
    let began = Instant::now();
    transport.wait(Duration::from_millis(50)).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(50), "what is not readable does not wake");
}
