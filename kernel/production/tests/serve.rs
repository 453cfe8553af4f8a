//! A replica that serves, and the data files, addresses and ports that it does not serve with.

#[path = "common/addresses.rs"]
mod addresses;
#[path = "../examples/counter/application.rs"]
mod counter;
#[path = "common/scrape.rs"]
mod scrape;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::FileExt,
    path::PathBuf,
    time::{Duration, Instant},
};

use chronon::{
    app::{
        application::{Application, ApplyContext, Event, Outcome, Rejection, RestoreError, SnapshotWriter},
        kv::Kv,
        number::Number,
    },
    storage::{layout::Layout, superblock::ApplicationName},
    types::{ClusterId, ReplicaId},
    vsr::Config,
};
use chronon_production::{
    DataFile, TcpNetwork, client,
    local::LocalCluster,
    serve::{CLIENTS_MAX, Options, ServeError, Server},
    status::{self, State, Status},
    tcp::{Limits, Speaker, TcpConfig},
};

use addresses::own_addresses;
use scrape::scraped;

const CLUSTER: ClusterId = ClusterId(0xC1);
const LAYOUT: Layout = Layout { slot_count: 64, message_size_max: 64 * 1024, block_count: 256, block_size: 16 * 1024 };
/// No test waits so long for anything unless it fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a test's file or folder is, which is its own and this process's.
fn place(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("serve-{name}-{}", std::process::id()))
}

/// A data file of its own for each test: replica 0 of `replica_count`.
fn data_file(name: &str, replica: u8, replica_count: u8) -> PathBuf {
    let path = place(&format!("{name}-{replica}"));
    let _ = std::fs::remove_file(&path);
    DataFile::create(&path, LAYOUT.size(), &of_store(replica, replica_count, LAYOUT).format(1)).unwrap();
    path
}

/// Of a replica of the key-value store.
fn of_store(replica: u8, replica_count: u8, layout: Layout) -> Config {
    let application = ApplicationName::new("kv").unwrap();
    Config { application, ..Config::new(CLUSTER, ReplicaId(replica), replica_count, layout) }
}

fn somewhere() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn refusal(options: &Options) -> ServeError {
    match Server::open(Kv, options) {
        Ok(_) => panic!("it serves"),
        Err(error) => error,
    }
}

/// Asks again until what is said is as it should be.
fn ask_until(address: SocketAddr, what: &str, reached: impl Fn(&Status) -> bool) -> Status {
    let began = Instant::now();
    loop {
        let said = status::ask(address, Duration::from_secs(5));
        match said {
            Ok(status) if reached(&status) => return status,
            _ => assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}: {said:?}"),
        }
        std::thread::yield_now();
    }
}

#[test]
fn three_replicas_find_each_other_and_say_how_they_are() {
    let folder = place("three");
    let _ = std::fs::remove_dir_all(&folder);
    let start = || LocalCluster::start(&Kv, &folder, 3, LAYOUT, |_| {}).unwrap();
    let cluster = start();
    all_in_one_view(&cluster);
    let number = cluster.cluster();
    drop(cluster);
    let again = start();
    assert_eq!(again.cluster(), number, "its files were there");
    all_in_one_view(&again);
    let twice = LocalCluster::start(&Kv, &folder, 3, LAYOUT, |_| {}).err().map(|error| error.to_string());
    assert!(twice.is_some_and(|error| error.contains("in use by process")));
    let larger = LocalCluster::start(&Kv, &folder, 4, LAYOUT, |_| {}).err().map(|error| error.to_string());
    assert!(larger.is_some_and(|error| error.contains("in use by process")));
    assert!(!folder.join("replica-3.chronon").exists(), "nothing is made beside files that are served from");
    assert!(again.wait(Duration::ZERO).is_none());
    drop(again);
    std::fs::remove_dir_all(folder).unwrap();
}

fn all_in_one_view(cluster: &LocalCluster) {
    for (replica, address) in cluster.addresses().iter().enumerate() {
        let status = ask_until(*address, "all in one view with an agreed clock", |status| {
            matches!(status.state, State::Primary | State::Backup) && status.clock_offset_ns.is_some()
        });
        let identity = (status.cluster, usize::from(status.replica), status.replicas);
        assert_eq!(identity, (cluster.cluster().0, replica, 3));
        assert_eq!(status.state == State::Primary, status.primary == status.replica);
        assert_eq!((status.journal_slots, status.message_size_max), (LAYOUT.slot_count, LAYOUT.message_size_max));
    }
}

#[test]
fn an_application_of_one_s_own_is_served() {
    let folder = place("counter");
    let _ = std::fs::remove_dir_all(&folder);
    let cluster = LocalCluster::start(&counter::Counters, &folder, 1, LAYOUT, |_| {}).unwrap();
    let client = client::Client::connect(cluster.addresses(), client::Options::default()).unwrap();
    let counted = |name: &str| client.request(name).unwrap().result;
    for (name, count) in [("apples", "1"), ("pears", "1"), ("apples", "2")] {
        assert_eq!(counted(name).unwrap()[..], *count.as_bytes(), "{name}");
    }
    assert_eq!(counted("").unwrap_err().code, 1, "no name");
    drop((client, cluster));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn an_application_whose_responses_do_not_fit_is_refused_and_told_what_would_do() {
    let path = data_file("misfit", 0, 1);
    let options = Options::new(&path, vec![somewhere()]);
    let refused = |response_size_max| {
        let application = Number::new(|_, _, _, _| Ok(())).with_responses(response_size_max);
        Server::open(application, &options).err().map(|error| error.to_string())
    };
    let said = refused(LAYOUT.message_size_max).expect("it does not serve");
    assert!(
        said.contains(": the application's longest response, of 65536 bytes") && said.contains("serve-misfit-0-"),
        "{said}"
    );
    assert!(said.contains("messages of 69632 bytes or more"), "{said}");
    let said = refused(u32::MAX).expect("it does not serve");
    assert!(said.contains("let Application::response_size_max return at most"), "{said}");
    assert_eq!(refused(LAYOUT.message_size_max - 4096), None, "and what fits is served");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn whoever_sends_what_is_no_frame_of_the_protocol_loses_its_connection() {
    let folder = place("blame");
    let _ = std::fs::remove_dir_all(&folder);
    let cluster = LocalCluster::start(&Kv, &folder, 1, LAYOUT, |_| {}).unwrap();
    let address = cluster.addresses()[0];
    let serves = |status: &Status| status.state == State::Primary;
    assert_eq!(ask_until(address, "it serves", serves).network.refused, 0);
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&client_hello(cluster.cluster())).unwrap();
    stream.write_all(&200_u32.to_le_bytes()).unwrap();
    stream.write_all(&[0xA5; 200]).unwrap();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).expect("its connection ends");
    assert_eq!(heard.len(), 32, "a hello and nothing more");
    assert_eq!(status::ask(address, PATIENCE).unwrap().network.refused, 1);
    drop(cluster);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn replicas_that_were_formatted_with_other_limits_do_not_make_a_cluster() {
    let other = |layout, clients_max| Config { clients_max, ..of_store(1, 2, layout) };
    must_refuse("sessions", &other(LAYOUT, CLIENTS_MAX + 1));
    must_refuse("slots", &other(Layout { slot_count: 96, ..LAYOUT }, CLIENTS_MAX));
    must_refuse("messages", &other(Layout { message_size_max: 32 * 1024, ..LAYOUT }, CLIENTS_MAX));
    let nameless = Config { application: ApplicationName::NONE, ..other(LAYOUT, CLIENTS_MAX) };
    must_refuse("application", &nameless);
}

#[test]
fn a_data_file_is_refused_to_another_application() {
    let path = place("application");
    let opened = |name| {
        let _ = std::fs::remove_file(&path);
        let application = ApplicationName::new(name).unwrap();
        let config = Config { application, ..Config::new(CLUSTER, ReplicaId(0), 1, LAYOUT) };
        DataFile::create(&path, LAYOUT.size(), &config.format(1)).unwrap();
        Server::open(Kv, &Options::new(&path, vec![somewhere()])).err().map(|error| error.to_string())
    };
    assert_eq!(opened("kv"), None);
    assert_eq!(opened(""), None, "who does not say is believed");
    let said = opened("bank").expect("it is not served");
    assert!(
        said.contains("is of the application `bank`, and this is `kv`: start the one that the file is of"),
        "{said}"
    );
    std::fs::remove_file(path).unwrap();
}

/// A replica with the usual limits, and one with these.
fn must_refuse(what: &str, config: &Config) {
    let folder = place(&format!("unlike-{what}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    DataFile::create(&folder.join("replica-1.chronon"), config.layout.size(), &config.format(1)).unwrap();
    let cluster = LocalCluster::start(&Kv, &folder, 2, LAYOUT, |_| {}).unwrap();
    assert_eq!(cluster.cluster(), CLUSTER);
    let status = ask_until(cluster.addresses()[0], "they refuse each other", |status| status.network.refused > 2);
    assert_eq!(status.commit, 0, "neither is a majority");
    drop(cluster);
    std::fs::remove_dir_all(folder).unwrap();
}

/// What a client of the cluster opens with.
fn client_hello(cluster: ClusterId) -> [u8; 32] {
    let listener = TcpListener::bind(somewhere()).unwrap();
    let limits = Limits { frame_size_max: 1000, queue_bytes_max: 2000 };
    let config = TcpConfig::new(cluster, Speaker::Client, vec![listener.local_addr().unwrap()], limits);
    let mut client = TcpNetwork::new(config, None).unwrap();
    client.wait(Duration::ZERO).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    client.wait(Duration::from_secs(1)).unwrap();
    let mut bytes = [0; 32];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn addresses_must_be_as_many_as_replicas() {
    let path = data_file("addresses", 0, 3);
    let error = refusal(&Options::new(&path, vec![somewhere(); 2]));
    assert_eq!(error.to_string(), "2 addresses for 3 replicas: give one for each, in their order");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_port_that_is_taken_is_named() {
    let path = data_file("port", 0, 1);
    let taken = TcpListener::bind(somewhere()).unwrap();
    let address = taken.local_addr().unwrap();
    let error = refusal(&Options::new(&path, vec![address])).to_string();
    assert!(error.starts_with(&format!("cannot listen on {address}: ")), "{error}");
    let options = Options { metrics: Some(address), ..Options::new(&path, vec![somewhere()]) };
    let error = refusal(&options).to_string();
    assert!(error.starts_with(&format!("cannot serve metrics on {address}: ")), "{error}");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn the_port_of_the_metrics_closes_with_the_server() {
    let path = data_file("metrics", 0, 1);
    let metrics = own_addresses(1)[0];
    let options = Options { metrics: Some(metrics), ..Options::new(&path, vec![somewhere()]) };
    let server = Server::open(Kv, &options).unwrap();
    assert_eq!(scraped(metrics, "chronon_view"), 0);
    assert!(TcpListener::bind(metrics).is_err(), "it is taken");
    drop(server);
    TcpListener::bind(metrics).expect("nobody listens there any more");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn queries_are_counted_and_their_rounds_are_timed() {
    let folder = place("queries");
    let _ = std::fs::remove_dir_all(&folder);
    let ports = own_addresses(3);
    let adjust = |options: &mut Options| {
        let replica = (0..3).find(|replica| options.data.ends_with(format!("replica-{replica}.chronon")));
        options.metrics = replica.map(|replica| ports[replica]);
    };
    let cluster = LocalCluster::start(&counter::Counters, &folder, 3, LAYOUT, adjust).unwrap();
    let client = client::Client::connect(cluster.addresses(), client::Options::default()).unwrap();
    (0..5).for_each(|_| assert_eq!(client.query("apples").unwrap().result.unwrap()[..], *b"0"));
    (0..3).for_each(|_| assert_eq!(client.query_stale("apples").unwrap().result.unwrap()[..], *b"0"));
    let began = Instant::now();
    // A query that was asked again is answered again. What is scraped from three places is of no one moment, until nothing is asked.
    let counted = |[linearizable, stale, rounds]: [u64; 3]| {
        linearizable >= 5 && stale >= 3 && rounds >= 1 && rounds <= linearizable
    };
    loop {
        let counts = [
            r#"_queries_total name="linearizable""#,
            r#"_queries_total name="stale""#,
            "_query_round_latency_seconds_count",
        ];
        let counts = counts.map(|what| ports.iter().map(|port| scraped(*port, what)).sum());
        if counted(counts) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{counts:?} are counted, and no round without a query");
        std::thread::yield_now();
    }
    drop((client, cluster));
    std::fs::remove_dir_all(folder).unwrap();
}

/// Panics where replica 1 is opened.
#[derive(Clone)]
struct Unwilling;

impl Application for Unwilling {
    type State = ();

    fn name(&self) -> &'static str {
        assert!(std::thread::current().name() != Some("replica 1"), "not here");
        "unwilling"
    }

    fn apply(&self, (): &mut (), _: Event<'_>, _: &ApplyContext, _: &mut Outcome) -> Result<(), Rejection> {
        Ok(())
    }

    fn query(&self, (): &(), _: &[u8], _: &mut Vec<u8>) -> Result<(), Rejection> {
        Ok(())
    }

    fn snapshot(&self, (): &(), _: &mut SnapshotWriter) {}

    fn restore(&self, (): &mut (), _: &[u8]) -> Result<(), RestoreError> {
        Ok(())
    }
}

#[test]
fn a_cluster_one_of_whose_replicas_panics_while_it_is_opened_does_not_start() {
    let folder = place("unwilling");
    let _ = std::fs::remove_dir_all(&folder);
    let (tell, told) = std::sync::mpsc::channel();
    let files = folder.clone();
    std::thread::spawn(move || {
        let refused = LocalCluster::start(&Unwilling, &files, 3, LAYOUT, |_| {}).err();
        tell.send(refused.map(|error| error.to_string())).unwrap();
    });
    let refused = told.recv_timeout(PATIENCE).expect("nobody waits for ever");
    assert!(refused.is_some_and(|error| error.contains("it panicked")));
    std::fs::remove_dir_all(folder).unwrap();
}

/// Panics over a question that it does not know.
#[derive(Clone)]
struct Touchy;

impl Application for Touchy {
    type State = ();

    fn apply(&self, (): &mut (), _: Event<'_>, _: &ApplyContext, _: &mut Outcome) -> Result<(), Rejection> {
        Ok(())
    }

    fn query(&self, (): &(), request: &[u8], _: &mut Vec<u8>) -> Result<(), Rejection> {
        assert!(request != b"why", "nobody\nknows why");
        Ok(())
    }

    fn snapshot(&self, (): &(), _: &mut SnapshotWriter) {}

    fn restore(&self, (): &mut (), _: &[u8]) -> Result<(), RestoreError> {
        Ok(())
    }
}

#[test]
fn a_replica_whose_application_panics_over_a_query_says_so() {
    let folder = place("touchy");
    let _ = std::fs::remove_dir_all(&folder);
    let cluster = LocalCluster::start(&Touchy, &folder, 1, LAYOUT, |_| {}).unwrap();
    let connect = |patience| {
        let options = client::Options { patience, ..client::Options::default() };
        client::Client::connect(cluster.addresses(), options).unwrap()
    };
    let [patient, client] = [PATIENCE, Duration::from_secs(3)].map(connect);
    patient.query("who").unwrap();
    client.query("why").expect_err("nobody is left to answer");
    let (replica, reason) = cluster.wait(PATIENCE).expect("it stops");
    assert_eq!((replica, reason.exit_status()), (0, 4), "{reason}");
    let reason = reason.to_string();
    assert!(
        reason.starts_with("the application panicked over a query: nobody; knows why; nothing was changed"),
        "{reason}"
    );
    drop((patient, client, cluster));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_data_file_that_is_served_from_is_served_from_once() {
    let path = data_file("twice", 0, 1);
    let options = Options::new(&path, vec![somewhere()]);
    let serving = Server::open(Kv, &options).unwrap();
    let error = refusal(&options);
    assert!(matches!(error, ServeError::DataFile(_)), "{error}");
    assert!(error.to_string().contains(&format!("in use by process {}", std::process::id())), "{error}");
    drop(serving);
    Server::open(Kv, &options).unwrap();
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_replica_that_forgot_what_it_promised_does_not_serve() {
    let path = data_file("forgot", 0, 1);
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let options = Options::new(&path, vec![somewhere()]);
    for copy in 0..2 {
        file.write_all_at(&[0x55; 100], copy * 8192 + 1000).unwrap();
    }
    // Two good copies of four agree.
    Server::open(Kv, &options).unwrap();
    file.write_all_at(&[0x55; 100], 2 * 8192 + 1000).unwrap();
    let error = refusal(&options);
    assert!(matches!(error, ServeError::Superblock(..)), "{error}");
    assert!(error.to_string().contains("no two copies of the superblock agree"), "{error}");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_data_file_that_was_cut_short_is_not_served_from() {
    let path = data_file("cut", 0, 1);
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len(LAYOUT.size() - 4096).unwrap();
    let error = refusal(&Options::new(&path, vec![somewhere()]));
    assert!(matches!(error, ServeError::Size { expected, .. } if expected == LAYOUT.size()), "{error}");
    std::fs::remove_file(path).unwrap();
}
