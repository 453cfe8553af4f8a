//! Room for connections when more want it than there is: replicas and operators have theirs, whoever else connects.

#[path = "common/addresses.rs"]
mod addresses;

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use chronon::{
    storage::{layout::Layout, superblock::ApplicationName},
    types::{Checksum, ClusterId, NodeId, ReplicaId},
    vsr::Config,
};
use chronon_production::{
    DataFile, TcpNetwork,
    client::{KvClient, Options},
    status,
    tcp::{Limits, SocketChoice, Sockets, Speaker, TcpConfig},
};

use addresses::own_addresses;

const CLUSTER: ClusterId = ClusterId(7);
const TURN: Duration = Duration::from_millis(1);
/// No test waits so long for anything unless it fails.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of these, clients leave half to others.
const ROOM: usize = 8;

type Net = TcpNetwork<Sockets>;

const CLIENT: u8 = 0;
const REPLICA: u8 = 1;
const OPERATOR: u8 = 2;

/// What somebody of that kind opens with: if it is a replica, as replica 1.
fn hello(kind: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(b"CHRONON\x01");
    bytes[8] = 1;
    (bytes[10], bytes[11]) = (kind, u8::from(kind == REPLICA));
    bytes[16..24].copy_from_slice(&CLUSTER.0.to_le_bytes());
    let checksum = Checksum::of(&bytes[..24]).0 as u64;
    bytes[24..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Replica 0 of two, with room for a few, which gives nobody up for being silent.
fn replica(over: SocketChoice) -> (Net, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let limits = Limits { frame_size_max: 1000, queue_bytes_max: 10_000 };
    let (greeting_max, silence_max) = (10 * PATIENCE, 10 * PATIENCE);
    let usual = TcpConfig::new(CLUSTER, Speaker::Replica(ReplicaId(0)), vec![address; 2], limits);
    let config = TcpConfig { greeting_max, silence_max, connections_max: ROOM, ..usual };
    let (sockets, _) = Sockets::open(over, None).unwrap();
    (TcpNetwork::over(sockets, config, Some(listener)).unwrap(), address)
}

fn until(network: &mut Net, what: &str, mut reached: impl FnMut(&mut Net) -> bool) {
    let began = Instant::now();
    while !reached(network) {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}: {:?}", network.counts());
        network.wait(TURN).unwrap();
    }
}

fn comes(address: SocketAddr, words: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(words).unwrap();
    stream
}

fn over_both(test: impl Fn(SocketChoice)) {
    [SocketChoice::Readiness, SocketChoice::Uring].into_iter().for_each(test);
}

#[test]
fn whoever_has_not_said_who_it_is_gives_way_to_whoever_comes_later() {
    over_both(|over| {
        let (mut server, address) = replica(over);
        let mut silent: Vec<_> = (0..3 * ROOM).map(|_| comes(address, &hello(CLIENT)[..31])).collect();
        until(&mut server, "all were accepted", |server| server.counts().turned_away == 2 * ROOM as u64);
        let _replica = comes(address, &hello(REPLICA));
        until(&mut server, "a replica has room", |server| server.is_connected(NodeId(1)));
        let _operator = comes(address, &hello(OPERATOR));
        until(&mut server, "an operator has room", |server| server.asked().is_some());
        assert_eq!(server.counts().turned_away, 2 * ROOM as u64 + 2);
        assert_eq!((server.counts().greeted, server.counts().refused), (2, 0));
        // By a reset, if some of what it said was not read.
        let ended = silent[0].read_to_end(&mut Vec::new()).map_err(|error| error.kind());
        assert!(matches!(ended, Ok(_) | Err(ErrorKind::ConnectionReset)), "the earliest were closed: {ended:?}");
        silent[3 * ROOM - 1].write_all(&hello(CLIENT)[31..]).unwrap();
        until(&mut server, "the last is there yet", |server| server.counts().greeted == 3);
        let why = &server.refusals()[0].why;
        assert!(why.starts_with("it had not said who it is when there was no room"), "{why}");
    });
}

#[test]
fn clients_leave_room_to_replicas_and_operators() {
    over_both(|over| {
        let (mut server, address) = replica(over);
        let half = ROOM as u64 / 2;
        let mut clients = Vec::new();
        for number in 1..=2 * half {
            clients.push(comes(address, &hello(CLIENT)));
            until(&mut server, "it was heard", |server| {
                server.counts().greeted + server.counts().turned_away == number
            });
        }
        assert_eq!((server.counts().greeted, server.counts().refused), (half, 0));
        let why = &server.refusals()[0].why;
        assert!(why.starts_with("it is a client, and 4 are connected"), "{why}");
        let _replica = comes(address, &hello(REPLICA));
        until(&mut server, "a replica has room", |server| server.is_connected(NodeId(1)));
        let mut operators = Vec::new();
        for _ in 0..2 * ROOM {
            operators.push(comes(address, &hello(OPERATOR)));
            until(&mut server, "an operator has room", |server| server.asked().is_some());
        }
        assert!(server.is_connected(NodeId(1)), "and a replica is not in their way");
        operators.clear();
        clients.remove(0);
        until(&mut server, "a client leaves", |server| server.counts().ended == half + 2 * ROOM as u64 + 1);
        let _later = comes(address, &hello(CLIENT));
        until(&mut server, "there is room for another", |server| {
            server.counts().greeted == half + 1 + 2 * ROOM as u64 + 1
        });
    });
}

/// How long a client waits before it dials for the so-manieth time in a row, counted from 0 behind the first.
fn pause(dial: u32) -> Duration {
    Duration::from_millis(10 << dial).min(Duration::from_secs(1))
}

#[test]
fn a_client_for_which_there_is_no_room_dials_less_and_less_often() {
    over_both(|over| {
        let (mut server, address) = replica(over);
        let clients: Vec<_> = (0..ROOM / 2).map(|_| comes(address, &hello(CLIENT))).collect();
        until(&mut server, "as many as there may be", |server| server.counts().greeted == clients.len() as u64);
        let limits = Limits { frame_size_max: 1000, queue_bytes_max: 10_000 };
        let config = TcpConfig::new(CLUSTER, Speaker::Client, vec![address], limits);
        let mut client = TcpNetwork::new(config, None).unwrap();
        let began = Instant::now();
        let times = 9;
        until(&mut server, "it is turned away again and again", |server| {
            client.wait(TURN).unwrap();
            server.counts().turned_away >= times
        });
        let least: Duration = (0..times as u32 - 1).map(pause).sum();
        assert!(began.elapsed() >= least, "{times} times within {:?}", began.elapsed());
        drop(clients);
        until(&mut server, "there is room for it", |server| {
            client.wait(TURN).unwrap();
            server.counts().greeted > ROOM as u64 / 2 && client.is_connected(NodeId(0))
        });
    });
}

/// With few descriptors, and somebody who keeps all of them in use.
#[test]
fn a_replica_raises_its_limit_of_open_files_and_serves_while_somebody_uses_them_up() {
    let temporary = |name| PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let (path, log) = (temporary("room-limit"), temporary("room-limit-log"));
    let layout = Layout { slot_count: 64, message_size_max: 64 * 1024, block_count: 64, block_size: 16 * 1024 };
    let _ = std::fs::remove_file(&path);
    let application = ApplicationName::new("kv").unwrap();
    let blocks = Config { application, ..Config::new(CLUSTER, ReplicaId(0), 1, layout) }.format(1);
    DataFile::create(&path, layout.size(), &blocks).unwrap();
    let address = own_addresses(1)[0];
    let mut command = Command::new("sh");
    command.args(["-c", r#"ulimit -S -n 60; ulimit -H -n 300; exec "$0" "$@""#, env!("CARGO_BIN_EXE_chronon")]);
    command.args(["start", "--log-format", "text", "--addresses", &address.to_string(), "--data"]).arg(&path);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap());
    let mut child = command.spawn().unwrap();
    let began = Instant::now();
    while status::ask(address, PATIENCE).is_err() {
        assert!(began.elapsed() < PATIENCE, "it serves");
        std::thread::yield_now();
    }
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let open = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(open.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["300", "300"], "{open}");
    let silent: Vec<_> = (0..400).map(|_| TcpStream::connect(address).unwrap()).collect();
    let said = status::ask(address, PATIENCE).unwrap();
    assert!(said.network.turned_away > 0, "{:?}", said.network);
    let client = KvClient::connect(&[address], Options::default()).unwrap();
    client.put(b"key", b"value").unwrap();
    drop((client, silent));
    child.kill().unwrap();
    child.wait().unwrap();
    let said = std::fs::read_to_string(&log).unwrap();
    for (words, count) in [("raise the hard limit to 4224", 1), ("had not said who it is when there was no room", 1)] {
        assert_eq!(said.lines().filter(|line| line.contains("WARN") && line.contains(words)).count(), count, "{said}");
    }
    [path, log].into_iter().for_each(|file| std::fs::remove_file(file).unwrap());
}
