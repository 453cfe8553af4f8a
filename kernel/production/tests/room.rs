//! Room for connections when more want it than there is: replicas and operators have theirs, whoever else connects.

#[path = "common/addresses.rs"]
mod addresses;

use std::{
    fs::File,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use chronon::{
    app::kv::Request,
    storage::{layout::Layout, superblock::ApplicationName},
    types::{Checksum, ClusterId, NodeId, ReplicaId},
    vsr::Config,
};
use chronon_production::{
    DataFile, TcpNetwork,
    client::{Answer, Client, KvClient, NextStep, Options, RequestError},
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

/// A replica of the key-value store, alone in its cluster, in a process of its own, which is killed and its files removed when it goes.
struct Served {
    path: PathBuf,
    address: SocketAddr,
    child: Child,
}

impl Served {
    /// Under these limits, as the shell sets them, and with these flags. Returns when it serves.
    fn start(name: &str, limits: &str, flags: &[&str]) -> Self {
        let file = format!("room-{name}-{}", std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(file);
        let layout = Layout { slot_count: 64, message_size_max: 64 * 1024, block_count: 64, block_size: 16 * 1024 };
        let _ = std::fs::remove_file(&path);
        let application = ApplicationName::new("kv").unwrap();
        let blocks = Config { application, ..Config::new(CLUSTER, ReplicaId(0), 1, layout) }.format(1);
        DataFile::create(&path, layout.size(), &blocks).unwrap();
        let address = own_addresses(1)[0];
        let mut command = Command::new("sh");
        command.args(["-c", &format!(r#"{limits} exec "$0" "$@""#), env!("CARGO_BIN_EXE_chronon")]);
        command.args(["start", "--log-format", "text", "--addresses", &address.to_string(), "--data"]).arg(&path);
        let log = File::create(path.with_extension("log")).unwrap();
        let child = command.args(flags).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let served = Self { path, address, child };
        let began = Instant::now();
        while status::ask(address, PATIENCE).is_err() {
            assert!(began.elapsed() < PATIENCE, "it serves: {}", served.log());
            std::thread::yield_now();
        }
        served
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path.with_extension("log")).unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for file in [&self.path, &self.path.with_extension("log")] {
            let _ = std::fs::remove_file(file);
        }
    }
}

/// With few descriptors, and somebody who keeps all of them in use.
#[test]
fn a_replica_raises_its_limit_of_open_files_and_serves_while_somebody_uses_them_up() {
    let mut served = Served::start("limit", "ulimit -S -n 60; ulimit -H -n 300;", &[]);
    let address = served.address;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", served.child.id())).unwrap();
    let open = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(open.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["300", "300"], "{open}");
    let silent: Vec<_> = (0..400).map(|_| TcpStream::connect(address).unwrap()).collect();
    let said = status::ask(address, PATIENCE).unwrap();
    assert!(said.network.turned_away > 0, "{:?}", said.network);
    let client = KvClient::connect(&[address], Options::default()).unwrap();
    client.put(b"key", b"value").unwrap();
    drop((client, silent));
    served.child.kill().unwrap();
    served.child.wait().unwrap();
    let said = served.log();
    for (words, count) in [("raise the hard limit to 4224", 1), ("had not said who it is when there was no room", 1)] {
        assert_eq!(said.lines().filter(|line| line.contains("WARN") && line.contains(words)).count(), count, "{said}");
    }
}

/// And within its patience it is served as soon as there is room.
#[test]
fn a_client_for_which_there_is_no_room_is_told_so_and_what_it_may_do() {
    let served = Served::start("crowd", "", &["--set", &format!("limits.connections_max={ROOM}")]);
    let address = served.address;
    let mut clients: Vec<_> = (0..ROOM / 2)
        .map(|_| {
            let client = KvClient::connect(&[address], Options { patience: PATIENCE, ..Options::default() }).unwrap();
            client.put(b"key", b"value").unwrap();
            client
        })
        .collect();
    let hasty = Options { patience: Duration::from_millis(500), ..Options::default() };
    let late = Client::connect(&[address], hasty).unwrap();
    let crowded = RequestError::Crowded { replica: ReplicaId(0), clients: ROOM as u64 / 2 };
    let mut payload = Vec::new();
    Request::Append { key: b"key", value: b" more" }.encode(&mut payload);
    // Whoever's time is up while it is about to be told does not know it yet.
    let told = |ask: &dyn Fn() -> Result<Answer, RequestError>, otherwise: RequestError| {
        let began = Instant::now();
        loop {
            match ask().unwrap_err() {
                error if error == crowded => return,
                error => assert!(error == otherwise && began.elapsed() < PATIENCE, "{error:?}"),
            }
        }
    };
    told(&|| late.request(&payload[..]), RequestError::TimedOut);
    told(&|| late.query(&payload[..]), RequestError::Unanswered);
    assert_eq!((crowded.next_step(), crowded.is_outcome_unknown()), (NextStep::Retry, false));
    let words = "replica 0 has 4 clients connected, which is as many as there may be: this was not executed; ask again later, and have \
                 clients share connections, end those that need none, or raise `limits.connections_max`";
    assert!(crowded.to_string().starts_with(words), "{crowded}");
    let why = &status::ask(address, PATIENCE).unwrap().refusals[0].why;
    assert!(
        why.starts_with("it is a client, and 4 are connected") && why.contains("`limits.connections_max`"),
        "{why}"
    );

    drop(late);
    let patient = KvClient::connect(&[address], Options { patience: PATIENCE, ..Options::default() }).unwrap();
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| patient.get(b"key"));
        clients.pop();
        assert_eq!(asked.join().unwrap(), Ok(Some(b"value".to_vec())));
    });
}

/// Who is told that there is no room and does not hang up costs as little as who does not say who it is.
#[test]
fn whoever_stays_though_there_is_no_room_gives_way_first_and_is_read_no_more_than_it_may_send() {
    over_both(|over| {
        let (mut server, address) = replica(over);
        let half = ROOM / 2;
        let _clients: Vec<_> = (0..half).map(|_| comes(address, &hello(CLIENT))).collect();
        until(&mut server, "as many as there may be", |server| server.counts().greeted == half as u64);
        let silent = comes(address, &hello(CLIENT)[..31]);
        let mut told = comes(address, &[&hello(CLIENT)[..], &[1, 0, 0, 0, 9].repeat(100)].concat());
        until(&mut server, "it is turned away", |server| server.counts().turned_away == 1);
        // A hello, and the farewell: no length, the reason, and how many clients there are.
        let mut heard = [0; 32 + 16];
        told.set_nonblocking(true).unwrap();
        until(&mut server, "it is told", |_| told.peek(&mut heard).is_ok_and(|count| count == heard.len()));
        told.set_nonblocking(false).unwrap();
        assert_eq!(heard[32..], [&[0, 0, 0, 0, 1, 0, 0, 0, half as u8][..], &[0; 7]].concat());
        let mut rest: Vec<_> = (0..half - 1).map(|_| comes(address, &hello(CLIENT)[..31])).collect();
        until(&mut server, "it gives way to whoever comes", |server| server.counts().ended == 1);
        assert!(server.counts().turned_away == 1, "{:?}: once", server.counts());
        assert_eq!(told.read_to_end(&mut Vec::new()).unwrap(), heard.len(), "and in words");

        rest.pop();
        until(&mut server, "one leaves", |server| server.counts().ended == 2);
        let mut busy = comes(address, &hello(CLIENT));
        until(&mut server, "another is turned away", |server| server.counts().turned_away == 2);
        busy.set_write_timeout(Some(PATIENCE)).unwrap();
        let flood = std::thread::spawn(move || while busy.write_all(&[1; 1000]).is_ok() {});
        until(&mut server, "it is hung up on", |server| server.counts().ended == 3);
        flood.join().unwrap();
        assert!(server.counts().refused == 0 && silent.peer_addr().is_ok());
    });
}
