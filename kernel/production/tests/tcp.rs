//! What a network over TCP makes of those who do not keep to the rules: whoever breaks one loses a connection, and nobody else
//! loses anything.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use chronon::{
    env::Network,
    frame::Frame,
    types::{Checksum, ClusterId, NodeId, ReplicaId},
};
use chronon_production::{
    TcpNetwork,
    tcp::{Limits, SocketChoice, Sockets, Speaker, TcpConfig, TcpCounts},
};

const CLUSTER: ClusterId = ClusterId(7);
const LIMITS: Limits = Limits { frame_size_max: 1000, queue_bytes_max: 10_000 };
const TURN: Duration = Duration::from_millis(1);
/// No test waits so long for anything unless it fails.
const PATIENCE: Duration = Duration::from_secs(30);

type Net = TcpNetwork<Sockets>;

/// Each of them over either transport.
macro_rules! over_both {
    ($($test:ident,)+) => {
        mod on_a_ring {
            $(#[test] fn $test() { super::$test(super::SocketChoice::Uring); })+
        }
        mod by_readiness {
            $(#[test] fn $test() { super::$test(super::SocketChoice::Readiness); })+
        }
    };
}

over_both! {
    a_network_in_which_nothing_is_due_sleeps_as_long_as_it_may,
    who_is_to_be_given_up_or_dialled_is_when_it_is_time_however_long_one_waits,
    who_says_that_it_is_a_replica_that_does_not_dial_is_refused,
    of_two_connections_of_one_replica_the_later_counts_and_the_earlier_ends,
    an_operator_is_told_of_and_says_nothing_more,
    replicas_that_are_not_set_up_alike_do_not_speak,
    a_client_is_answered_at_the_address_that_it_was_given,
    whoever_is_none_of_ours_is_refused_and_the_others_do_not_notice,
    whoever_says_nothing_is_given_up,
    who_does_not_take_what_it_is_sent_costs_its_queue_and_no_more,
    who_says_more_than_is_received_waits_and_loses_nothing,
    many_who_speak_at_once_wait_within_the_limit_and_each_has_its_turn,
    what_a_replica_says_goes_first_however_much_clients_say,
    who_is_blamed_for_a_frame_loses_its_connection_and_dials_again,
    a_replica_that_comes_back_is_found_again_and_one_connection_is_left,
}

/// Ports for so many replicas.
fn listeners(count: usize) -> (Vec<TcpListener>, Vec<SocketAddr>) {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let addresses = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
    (listeners, addresses)
}

fn network(
    over: SocketChoice,
    cluster: ClusterId,
    speaker: Speaker,
    replicas: &[SocketAddr],
    listener: Option<TcpListener>,
) -> Net {
    let config = TcpConfig {
        greeting_max: Duration::from_millis(200),
        ..TcpConfig::new(cluster, speaker, replicas.to_vec(), LIMITS)
    };
    over_with(over, config, listener)
}

/// A network over this kind of transport, which has a ring of its own if it is on one.
fn over_with(over: SocketChoice, config: TcpConfig, listener: Option<TcpListener>) -> Net {
    let (sockets, why) = Sockets::open(over, None).unwrap();
    assert_eq!(why, None, "the transport that is tested is the one that was chosen");
    TcpNetwork::over(sockets, config, listener).unwrap()
}

fn replica(over: SocketChoice, number: u8, replicas: &[SocketAddr], listener: Option<TcpListener>) -> Net {
    network(over, CLUSTER, Speaker::Replica(ReplicaId(number)), replicas, listener)
}

/// A replica of two, alone so far, and how to reach it.
fn alone(over: SocketChoice) -> (Net, Vec<SocketAddr>) {
    let (mut listening, replicas) = listeners(2);
    (replica(over, 0, &replicas, Some(listening.remove(0))), replicas)
}

/// It wakes up for nothing: not for what it said itself, and not to look what the time is.
fn a_network_in_which_nothing_is_due_sleeps_as_long_as_it_may(over: SocketChoice) {
    let (mut listening, replicas) = listeners(2);
    // With more time for a greeting than the test takes: when that is over, a connection is looked at once.
    let patient =
        |speaker, listener| over_with(over, TcpConfig::new(CLUSTER, speaker, replicas[..1].to_vec(), LIMITS), listener);
    let mut server = patient(Speaker::Replica(ReplicaId(0)), Some(listening.remove(0)));
    let mut client = patient(Speaker::Client, None);
    until(&mut [&mut server, &mut client], "a frame arrives", |networks| {
        networks[1].send(NodeId(0), frame(9, 100));
        networks[0].receive().is_some()
    });
    while server.receive().is_some() {}
    let patience = Duration::from_millis(100);
    for network in [&mut server, &mut client] {
        // What was said before may still come.
        while network.wait(TURN).is_ok() && network.receive().is_some() {}
        network.wait(patience).unwrap();
        let began = Instant::now();
        network.wait(patience).unwrap();
        assert!(began.elapsed() >= patience, "it woke after {:?}", began.elapsed());
    }
    client.send(NodeId(0), frame(9, 100));
    let began = Instant::now();
    client.wait(patience).unwrap();
    assert!(began.elapsed() >= patience, "that something was sent does not wake who sent it");
}

fn who_is_to_be_given_up_or_dialled_is_when_it_is_time_however_long_one_waits(over: SocketChoice) {
    let began = Instant::now();
    let waits = |mut network: Net, ended: u64| {
        while network.counts().ended < ended {
            assert!(began.elapsed() < 2 * PATIENCE, "it slept over something");
            network.wait(PATIENCE).unwrap();
        }
    };
    let (mut listening, replicas) = listeners(2);
    let listener = listening.remove(0);
    std::thread::scope(|threads| {
        threads.spawn(|| waits(replica(over, 0, &replicas, Some(listener)), 2));
        let mut silent = TcpStream::connect(replicas[0]).unwrap();
        silent.set_read_timeout(Some(PATIENCE)).unwrap();
        silent.read_to_end(&mut Vec::new()).expect("it is given up");
        // Another one ends, which the server does notice.
        is_heard_of(TcpStream::connect(replicas[0]).unwrap(), b"no hello");
    });
    // Who hangs up is dialled again, and again.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::scope(|threads| {
        threads.spawn(|| waits(network(over, CLUSTER, Speaker::Client, &[address], None), 4));
        (0..4).for_each(|_| is_heard_of(listener.accept().unwrap().0, b"no hello"));
    });
    assert!(began.elapsed() < PATIENCE);
}

/// Says something, and waits until the other end hangs up.
fn is_heard_of(mut stream: TcpStream, words: &[u8]) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(words).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
}

fn who_says_that_it_is_a_replica_that_does_not_dial_is_refused(over: SocketChoice) {
    let (mut listening, replicas) = listeners(2);
    let address = replicas[1];
    let mut server = replica(over, 1, &replicas, Some(listening.remove(1)));
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(&hello(over, CLUSTER, Speaker::Replica(ReplicaId(1)))).unwrap();
    let refused = |networks: &mut [&mut Net]| {
        assert!(!networks[0].is_connected(NodeId(1)), "it speaks with itself");
        networks[0].counts().refused == 1
    };
    until(&mut [&mut server], "it is refused", refused);
}

fn of_two_connections_of_one_replica_the_later_counts_and_the_earlier_ends(over: SocketChoice) {
    let (mut server, replicas) = alone(over);
    let words = hello(over, CLUSTER, Speaker::Replica(ReplicaId(1)));
    let mut comes = |greeted: u64| {
        let mut stream = TcpStream::connect(replicas[0]).unwrap();
        stream.write_all(&words).unwrap();
        until(&mut [&mut server], "it is greeted", |networks| networks[0].counts().greeted == greeted);
        stream
    };
    let (mut earlier, _later) = (comes(1), comes(2));
    earlier.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut heard = Vec::new();
    earlier.read_to_end(&mut heard).expect("the earlier one ends");
    assert!(server.is_connected(NodeId(1)) && server.counts().ended == 1);
}

fn an_operator_is_told_of_and_says_nothing_more(over: SocketChoice) {
    let (mut server, replicas) = alone(over);
    let mut hello = hello(over, CLUSTER, Speaker::Client);
    // As an operator opens: the kind, no cluster, and the checksum over both.
    hello[10] = 2;
    hello[16..24].fill(0);
    let checksum = Checksum::of(&hello[..24]).0 as u64;
    hello[24..].copy_from_slice(&checksum.to_le_bytes());
    let mut stream = TcpStream::connect(replicas[0]).unwrap();
    stream.write_all(&hello).unwrap();
    let mut operator = None;
    until(&mut [&mut server], "it is told of", |networks| {
        operator = networks[0].asked();
        operator.is_some()
    });
    server.send(operator.unwrap(), frame(7, 10));
    server.flush().unwrap();
    let mut heard = [0; 32 + 4 + 10];
    stream.read_exact(&mut heard).unwrap();
    assert_eq!(heard[36..], [7; 10]);
    stream.write_all(&[1, 0, 0, 0, 9]).unwrap();
    until(&mut [&mut server], "it is refused", |networks| networks[0].counts().refused == 1);
    assert_eq!(server.receive(), None);
}

fn replicas_that_are_not_set_up_alike_do_not_speak(over: SocketChoice) {
    let (mut listening, replicas) = listeners(2);
    let with = |number: u8, terms: u32, listener: Option<TcpListener>| {
        let speaker = Speaker::Replica(ReplicaId(number));
        let config = TcpConfig { terms, ..TcpConfig::new(CLUSTER, speaker, replicas.clone(), LIMITS) };
        over_with(over, config, listener)
    };
    let mut first = with(0, 64, Some(listening.remove(0)));
    let mut other = with(1, 65, None);
    until(&mut [&mut first, &mut other], "it is refused", |networks| networks[0].counts().refused > 1);
    assert!(!first.is_connected(NodeId(1)) && !other.is_connected(NodeId(0)));
    drop(other);
    let mut alike = with(1, 64, None);
    until(&mut [&mut first, &mut alike], "they speak", |networks| {
        networks[0].is_connected(NodeId(1)) && networks[1].is_connected(NodeId(0))
    });
    // Of what it is for a client, nothing is asked.
    let mut client = network(over, CLUSTER, Speaker::Client, &replicas, None);
    until(&mut [&mut first, &mut client], "a client is greeted", |networks| networks[1].is_connected(NodeId(0)));
}

fn frame(fill: u8, length: usize) -> Frame {
    Frame::new(vec![fill; length])
}

/// Gives all of them turns until `reached` holds.
fn until(networks: &mut [&mut Net], what: &str, mut reached: impl FnMut(&mut [&mut Net]) -> bool) {
    let began = Instant::now();
    while !reached(networks) {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        networks.iter_mut().for_each(|network| network.wait(TURN).unwrap());
    }
}

/// Says `words` to a network and waits until it ends the connection for what they are.
fn is_refused(network: &mut Net, address: SocketAddr, words: &[u8]) {
    let before = network.counts();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(words).unwrap();
    until(&mut [network], "it is refused", |networks| networks[0].counts().refused > before.refused);
    assert_eq!(network.counts().ended, before.ended + 1, "one connection ended");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The hello may have come, and then the end; never a frame.
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard);
    assert!(heard.len() <= 32, "{} bytes were said to who is refused", heard.len());
    // What others had sent before may still come.
    while let Some((_, arrived)) = network.receive() {
        assert_eq!(arrived, frame(9, 100), "nothing was taken from who is refused");
    }
}

/// The hello that a network of this kind opens with, as it is heard by whoever it dials.
fn hello(over: SocketChoice, cluster: ClusterId, speaker: Speaker) -> [u8; 32] {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let replicas = vec![listener.local_addr().unwrap(); 3];
    let mut speaking = network(over, cluster, speaker, &replicas, None);
    listener.set_nonblocking(true).unwrap();
    let mut accepted = None;
    until(&mut [&mut speaking], "it dials", |_| {
        accepted = accepted.take().or_else(|| listener.accept().ok());
        accepted.is_some()
    });
    let (mut stream, _) = accepted.unwrap();
    stream.set_nonblocking(false).unwrap();
    speaking.wait(TURN).unwrap();
    let mut bytes = [0; 32];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

fn a_client_is_answered_at_the_address_that_it_was_given(over: SocketChoice) {
    let (mut server, replicas) = alone(over);
    let mut clients = [0, 1].map(|_| network(over, CLUSTER, Speaker::Client, &replicas[..1], None));
    let mut asked = Vec::new();
    let [one, other] = &mut clients;
    until(&mut [&mut server, one, other], "both ask", |networks| {
        for (number, client) in (1..).zip(&mut networks[1..]) {
            client.send(NodeId(0), frame(number, 10));
        }
        while let Some((from, frame)) = networks[0].receive() {
            if !asked.contains(&(from, frame[0])) {
                asked.push((from, frame[0]));
            }
        }
        asked.len() == 2
    });
    assert!(asked[0].0 != asked[1].0 && asked.iter().all(|(from, _)| from.0 >= 1 << 16), "{asked:?}");
    for (from, number) in &asked {
        server.send(*from, frame(100 + number, 10));
    }
    for (number, client) in (1..).zip(&mut clients) {
        let mut answer = None;
        until(&mut [&mut server, client], "it is answered", |networks| {
            answer = answer.take().or_else(|| networks[1].receive());
            answer.is_some()
        });
        assert_eq!(answer, Some((NodeId(0), frame(100 + number, 10))));
    }
}

fn whoever_is_none_of_ours_is_refused_and_the_others_do_not_notice(over: SocketChoice) {
    let (mut server, replicas) = alone(over);
    let mut client = network(over, CLUSTER, Speaker::Client, &replicas[..1], None);
    let both = |server: &mut Net, client: &mut Net| {
        until(&mut [server, client], "a frame arrives", |networks| {
            networks[1].send(NodeId(0), frame(9, 100));
            networks[0].receive().is_some()
        });
        while server.receive().is_some() {}
    };
    both(&mut server, &mut client);
    let before = client.counts();
    let greeting = hello(over, CLUSTER, Speaker::Client);
    let replica = |number| Speaker::Replica(ReplicaId(number));
    let mut words: Vec<Vec<u8>> = vec![
        b"GET / HTTP/1.1\r\nHost: here\r\n\r\n".to_vec(),
        vec![0; 4096],
        hello(over, ClusterId(8), Speaker::Client).to_vec(),
        // Itself, and one that is not of the cluster.
        hello(over, CLUSTER, replica(2)).to_vec(),
        [&greeting[..], &0_u32.to_le_bytes()].concat(),
        [&greeting[..], &1001_u32.to_le_bytes()].concat(),
        [&greeting[..], &u32::MAX.to_le_bytes()].concat(),
    ];
    let mut flipped = greeting.to_vec();
    flipped[17] ^= 4;
    words.push(flipped);
    for words in words {
        is_refused(&mut server, replicas[0], &words);
    }
    both(&mut server, &mut client);
    assert_eq!(client.counts(), TcpCounts { sent: client.counts().sent, ..before }, "its own connection is the same");
}

fn whoever_says_nothing_is_given_up(over: SocketChoice) {
    let (mut server, replicas) = alone(over);
    let mut silent = TcpStream::connect(replicas[0]).unwrap();
    let mut half = TcpStream::connect(replicas[0]).unwrap();
    half.write_all(&hello(over, CLUSTER, Speaker::Client)[..31]).unwrap();
    until(&mut [&mut server], "both are given up", |networks| networks[0].counts().ended == 2);
    assert_eq!((server.counts().greeted, server.counts().received), (0, 0));
    for stream in [&mut silent, &mut half] {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

fn who_does_not_take_what_it_is_sent_costs_its_queue_and_no_more(over: SocketChoice) {
    let (mut server, replicas) = alone(over);
    let mut deaf = TcpStream::connect(replicas[0]).unwrap();
    deaf.write_all(&[&hello(over, CLUSTER, Speaker::Client)[..], &3_u32.to_le_bytes(), b"hey"].concat()).unwrap();
    let mut visitor = None;
    until(&mut [&mut server], "it asks", |networks| {
        visitor = visitor.or_else(|| networks[0].receive().map(|(from, _)| from));
        visitor.is_some()
    });
    let visitor = visitor.unwrap();
    until(&mut [&mut server], "its queue is full", |networks| {
        (0..100).for_each(|_| networks[0].send(visitor, frame(1, 1000)));
        networks[0].counts().dropped > 1000
    });
    let counts = server.counts();
    assert_eq!((counts.ended, counts.refused), (0, 0));
    // What was taken arrives whole: never part of a frame.
    deaf.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut heard = Vec::new();
    until(&mut [&mut server], "all that was queued is read", |_| {
        let _ = deaf.read_to_end(&mut heard);
        heard.len() as u64 >= 32 + counts.sent * 1004
    });
    let frames = &heard[32..];
    assert_eq!(frames.len() as u64, counts.sent * 1004);
    assert!(
        frames.chunks(1004).all(|part| part[..4] == 1000_u32.to_le_bytes() && part[4..].iter().all(|byte| *byte == 1))
    );
}

fn who_says_more_than_is_received_waits_and_loses_nothing(over: SocketChoice) {
    let (mut server, replicas) = alone(over);
    let mut words = hello(over, CLUSTER, Speaker::Client).to_vec();
    // More than sockets hold.
    const FRAMES: u64 = 20_000;
    (0..FRAMES).for_each(|number| words.extend([&1000_u32.to_le_bytes()[..], &[number as u8; 1000]].concat()));
    let mut stream = TcpStream::connect(replicas[0]).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let speaks = std::thread::spawn(move || stream.write_all(&words).map(|()| stream));
    until(&mut [&mut server], "something comes", |networks| networks[0].counts().received > 0);
    for _ in 0..2000 {
        server.wait(TURN).unwrap();
    }
    assert!(server.counts().received <= 10, "{} frames wait to be received", server.counts().received);
    let mut received = 0;
    until(&mut [&mut server], "all of it is received", |networks| {
        while let Some((_, arrived)) = networks[0].receive() {
            assert_eq!(arrived, frame(received as u8, 1000));
            received += 1;
        }
        received == FRAMES
    });
    speaks.join().unwrap().unwrap();
}

/// Each has been lent a buffer by then, which takes far more than there is room for.
fn many_who_speak_at_once_wait_within_the_limit_and_each_has_its_turn(over: SocketChoice) {
    const CLIENTS: u64 = 50;
    const FRAMES: u64 = 30;
    let (mut server, replicas) = alone(over);
    let greeting = hello(over, CLUSTER, Speaker::Client);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| TcpStream::connect(replicas[0]).unwrap()).collect();
    clients.iter_mut().for_each(|stream| stream.write_all(&greeting).unwrap());
    until(&mut [&mut server], "all are greeted", |networks| networks[0].counts().greeted == CLIENTS);
    let words = numbered(FRAMES);
    for stream in &mut clients {
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&words).unwrap();
    }
    let within = |server: &mut Net| {
        server.wait(TURN).unwrap();
        let [_, (_, waits, limit), _] = server.queues();
        assert!(waits < limit + 1064, "{waits} bytes wait to be received");
    };
    (0..100).for_each(|_| within(&mut server));
    let (mut received, mut next, mut heard) = (0, BTreeMap::new(), BTreeMap::new());
    let began = Instant::now();
    while received < CLIENTS * FRAMES {
        assert!(began.elapsed() < PATIENCE, "{received} frames were received");
        within(&mut server);
        while let Some((from, arrived)) = server.receive() {
            let next = next.entry(from).or_insert(0);
            assert_eq!(arrived, frame(*next, 1000), "in the order in which it was sent");
            *next += 1;
            received += 1;
            heard.entry(from).or_insert(received);
        }
    }
    let latest = heard.into_values().max().unwrap();
    assert!(latest < received / 2, "somebody was not heard before {latest} of {received} frames were");
}

/// So many frames of a thousand bytes, each of its number.
fn numbered(frames: u64) -> Vec<u8> {
    (0..frames).flat_map(|number| [&1000_u32.to_le_bytes()[..], &[number as u8; 1000]].concat()).collect()
}

fn what_a_replica_says_goes_first_however_much_clients_say(over: SocketChoice) {
    const FRAMES: u64 = 30;
    let (mut server, replicas) = alone(over);
    let comes = |speaker, frames| {
        let mut stream = TcpStream::connect(replicas[0]).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&[&hello(over, CLUSTER, speaker)[..], &numbered(frames)].concat()).unwrap();
        stream
    };
    let _clients = [0, 1].map(|_| comes(Speaker::Client, FRAMES));
    until(&mut [&mut server], "there is no more room for clients", |networks| {
        let [_, (_, waits, limit), _] = networks[0].queues();
        networks[0].counts().greeted == 2 && waits >= limit
    });
    let mut replica = comes(Speaker::Replica(ReplicaId(1)), 1);
    let heard = |networks: &mut [&mut Net]| networks[0].queues()[0].1 > 0;
    until(&mut [&mut server], "a replica is heard", heard);
    assert_eq!(server.receive(), Some((NodeId(1), frame(0, 1000))));
    // Nor is there room without end for a replica, and it goes on when there is.
    replica.write_all(&numbered(FRAMES)).unwrap();
    until(&mut [&mut server], "there is no more room for it", |networks| {
        let [(_, waits, limit), ..] = networks[0].queues();
        waits >= limit
    });
    (0..100).for_each(|_| server.wait(TURN).unwrap());
    for (_, waits, limit) in server.queues() {
        assert!(waits < limit + 1064, "{waits} bytes wait to be received");
    }
    for number in 0..FRAMES {
        until(&mut [&mut server], "a replica is heard", heard);
        assert_eq!(server.receive(), Some((NodeId(1), frame(number as u8, 1000))));
    }
    let mut received = 0;
    until(&mut [&mut server], "clients are heard, too", |networks| {
        while let Some((from, _)) = networks[0].receive() {
            assert!(from != NodeId(1));
            received += 1;
        }
        received == 2 * FRAMES
    });
}

fn who_is_blamed_for_a_frame_loses_its_connection_and_dials_again(over: SocketChoice) {
    let (mut server, replicas) = alone(over);
    let mut client = network(over, CLUSTER, Speaker::Client, &replicas[..1], None);
    let mut from = None;
    let mut arrives = |server: &mut Net, client: &mut Net| {
        let mut arrived = None;
        until(&mut [server, client], "a frame arrives", |networks| {
            networks[1].send(NodeId(0), frame(9, 100));
            arrived = networks[0].receive().map(|(from, _)| from).filter(|node| Some(*node) != from);
            arrived.is_some()
        });
        from = arrived;
        arrived.unwrap()
    };
    let first = arrives(&mut server, &mut client);
    server.blame(first);
    assert!(!server.is_connected(first));
    let second = arrives(&mut server, &mut client);
    assert!(second != first && server.counts().refused == 1);
}

fn a_replica_that_comes_back_is_found_again_and_one_connection_is_left(over: SocketChoice) {
    let (listening, replicas) = listeners(2);
    let mut listening = listening.into_iter();
    let mut first = replica(over, 0, &replicas, listening.next());
    let mut second = replica(over, 1, &replicas, listening.next());
    for _ in 0..3 {
        until(&mut [&mut first, &mut second], "frames go both ways", |networks| {
            networks[0].send(NodeId(1), frame(1, 10));
            networks[1].send(NodeId(0), frame(2, 10));
            networks[0].receive() == Some((NodeId(1), frame(2, 10))) && networks[1].receive().is_some()
        });
        second = replica(over, 1, &replicas, None);
        while first.receive().is_some() {}
    }
    drop(first);
    // The dialled one comes back on its port.
    let again = TcpListener::bind(replicas[0]).unwrap();
    let mut first = replica(over, 0, &replicas, Some(again));
    until(&mut [&mut first, &mut second], "it is dialled again", |networks| {
        networks[1].send(NodeId(0), frame(2, 10));
        networks[0].receive() == Some((NodeId(1), frame(2, 10)))
    });
    assert!(first.is_connected(NodeId(1)) && second.is_connected(NodeId(0)));
}
