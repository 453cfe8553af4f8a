//! What the client library promises those who ask: an answer to each request, once, whatever happens to replicas meanwhile; or an
//! error that says what is known.

mod common;

use std::{
    collections::BTreeSet,
    io::Read,
    net::{SocketAddr, TcpListener},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use chronon::{
    app::kv::{KEY_SIZE_MAX, Kv, Refusal, Request, Response, VALUE_SIZE_MAX},
    env::{Clock, Network},
    frame::Frame,
    types::ReplicaId,
};
use chronon_production::{
    SystemClock, TcpNetwork,
    client::{self, Client, Freshness, KvClient, KvError, NextStep, Options, RequestError, Sessions, Swap},
    status,
    tcp::{Limits, Speaker, TcpConfig},
};

use common::{CLUSTER, Cluster, LAYOUT, PATIENCE, own_addresses, within};

/// What is known of the cluster where nobody is asked.
const KNOWN: client::Cluster = client::Cluster { id: CLUSTER, message_size_max: LAYOUT.message_size_max };

fn patient(sessions: u32) -> Options {
    Options { sessions, patience: PATIENCE, ..Options::default() }
}

/// In a hurry, and told what to know: for where nobody answers.
fn hurried(sessions: u32, queue_max: usize) -> Options {
    let patience = Duration::from_millis(300);
    Options { sessions, queue_max, patience, cluster: Some(KNOWN), ..Options::default() }
}

fn encoded(request: Request<'_>) -> Vec<u8> {
    let mut payload = Vec::new();
    request.encode(&mut payload);
    payload
}

fn put(key: &[u8], value: &[u8]) -> Vec<u8> {
    encoded(Request::Put { key, value })
}

/// What was appended, by whom, and where the answers said that it ended: a record of a fixed length each.
struct Records {
    told: Mutex<Vec<(usize, [u8; 8])>>,
}

impl Records {
    const fn new() -> Self {
        Self { told: Mutex::new(Vec::new()) }
    }

    fn record(writer: usize, number: usize) -> [u8; 8] {
        format!("{writer:02}-{number:04};").into_bytes().try_into().unwrap()
    }

    fn told(&self, length: u32, record: [u8; 8]) {
        self.told.lock().unwrap().push((length as usize, record));
    }

    fn count(&self) -> usize {
        self.told.lock().unwrap().len()
    }

    /// Each of so many was executed once, where its answer said, and nothing else was.
    fn check(self, count: usize, value: &[u8]) {
        let told = self.told.into_inner().unwrap();
        assert_eq!((told.len(), value.len()), (count, count * 8));
        for (end, record) in &told {
            assert_eq!(value[end - 8..*end], *record, "an answer says where its own record went");
        }
        let records: BTreeSet<_> = value.chunks(8).collect();
        assert_eq!(records.len(), count, "no record is there twice");
    }
}

/// Threads that append records to one key, as fast as they are answered, while something happens.
fn append_while(addresses: &[SocketAddr], writers: usize, each: usize, meanwhile: impl FnOnce(&Records)) {
    let client = KvClient::connect(addresses, patient(4)).unwrap();
    let records = Records::new();
    std::thread::scope(|scope| {
        for writer in 0..writers {
            let (client, records) = (client.clone(), &records);
            scope.spawn(move || {
                for number in 0..each {
                    let record = Records::record(writer, number);
                    records.told(client.append(b"log", &record).unwrap(), record);
                }
            });
        }
        meanwhile(&records);
    });
    let value = client.get(b"log").unwrap().unwrap();
    records.check(writers * each, &value);
}

#[test]
fn one_replica_executes_each_request_of_many_threads_once() {
    let cluster = Cluster::start("client-one", 1, Kv);
    append_while(cluster.addresses(), 10, 100, |_| {});
}

#[test]
fn three_replicas_execute_each_request_of_many_threads_once() {
    let cluster = Cluster::start("client-three", 3, Kv);
    append_while(cluster.addresses(), 10, 100, |_| {});
}

#[test]
fn a_primary_that_stops_costs_time_and_nothing_else() {
    let mut cluster = Cluster::start("client-stops", 3, Kv);
    let addresses = cluster.addresses().to_vec();
    let (writers, each) = (8, 100);
    append_while(&addresses, writers, each, |records| {
        // Two primaries in turn, each in the middle of the load.
        for part in 1..=2 {
            within("some are answered", || (records.count() > part * writers * each / 4).then_some(()));
            let primary = cluster.primary();
            cluster.stop(primary);
            cluster.start_replica(primary);
        }
    });
}

#[test]
fn one_thread_has_many_requests_in_flight_and_waiting() {
    let cluster = Cluster::start("client-pipeline", 1, Kv);
    let client = Client::connect(cluster.addresses(), patient(8)).unwrap();
    let pending: Vec<_> = (0..200_u32).map(|number| client.submit(put(&number.to_le_bytes(), b"value"))).collect();
    let answers: Vec<_> = pending.into_iter().map(|pending| pending.wait().unwrap()).collect();
    for answer in &answers {
        assert_eq!(Response::decode(answer.result.as_ref().unwrap()), Ok(Response::Stored));
        let timed = answers.iter().filter(|other| other.timestamp == answer.timestamp);
        assert!(timed.into_iter().all(|other| other.op == answer.op), "each op has a time of its own");
    }
    let ops: BTreeSet<_> = answers.iter().map(|answer| answer.op).collect();
    assert!(ops.len() < 200, "requests that are in flight together share a prepare");
}

#[test]
fn a_thousand_sessions_take_turns_on_one_thread() {
    let cluster = Cluster::start("client-thousand", 3, Kv);
    let (sessions, rounds) = (1000_u32, 4_u32);
    let mut many = Sessions::connect(cluster.addresses(), &patient(sessions)).unwrap();
    let expiry = SystemClock.monotonic().after(PATIENCE.as_nanos() as u64);
    let mut left = vec![rounds; sessions as usize];
    for tag in 0..sessions {
        many.submit(tag, put(&tag.to_le_bytes(), b"first"), expiry);
    }
    assert_eq!(many.occupied(), sessions as usize);
    while many.occupied() > 0 {
        many.turn(PATIENCE).unwrap();
        while let Some((tag, result)) = many.next() {
            result.unwrap();
            left[tag as usize] -= 1;
            if left[tag as usize] > 0 {
                many.submit(tag, &put(&tag.to_le_bytes(), b"again")[..], expiry);
            }
        }
    }
    assert!(left.iter().all(|left| *left == 0), "each was answered once a round");
}

#[test]
fn a_rejection_is_an_answer() {
    let cluster = Cluster::start("client-rejection", 1, Kv);
    let client = Client::connect(cluster.addresses(), patient(1)).unwrap();
    let answer = client.request(b"no request of the store").unwrap();
    assert_eq!(answer.result.map_err(|rejection| rejection.code), Err(Refusal::Malformed as u32));
    let next = client.request(put(b"k", b"v")).unwrap();
    assert!(next.op > answer.op && next.timestamp > answer.timestamp);
}

#[test]
fn where_nobody_is_a_request_times_out_and_what_waits_behind_it_was_not_sent() {
    for replicas in [1, 3] {
        let client = Client::connect(&own_addresses(replicas), hurried(1, 10)).unwrap();
        let (first, second) = (client.submit(b"first"), client.submit(b"second"));
        assert_eq!(first.wait(), Err(RequestError::TimedOut));
        assert_eq!(second.wait(), Err(RequestError::QueueFull));
        assert_eq!(client.request(b"third"), Err(RequestError::QueueFull), "the first may still be executed");
    }
}

#[test]
fn what_was_given_up_is_executed_once_when_the_cluster_is_back_and_its_session_serves_again() {
    let mut cluster = Cluster::start("client-back", 1, Kv);
    let client = KvClient::connect(cluster.addresses(), hurried(1, 0)).unwrap();
    within("it is answered", || client.append(b"log", b"before;").ok());
    let before = within("it is read", || client.get(b"log").ok()).unwrap();
    cluster.stop(0);
    assert_eq!(client.append(b"log", b"given up;"), Err(KvError::Request(RequestError::TimedOut)));
    assert_eq!(client.append(b"log", b"not sent;"), Err(KvError::Request(RequestError::QueueFull)));
    cluster.start_replica(0);
    let after = within("the session is free", || client.get(b"log").ok()).unwrap();
    assert_eq!(after, [&before[..], b"given up;"].concat());
}

#[test]
fn past_its_bound_the_queue_takes_no_more_and_says_so_at_once() {
    let options = Options { patience: PATIENCE, ..hurried(2, 3) };
    let client = Client::connect(&own_addresses(1), options).unwrap();
    let pending: Vec<_> = (0..5).map(|_| client.submit(b"waits")).collect();
    assert_eq!(client.submit(b"one more").wait(), Err(RequestError::QueueFull));
    assert!(pending.iter().all(|pending| !pending.is_settled()));
}

#[test]
fn threads_wait_for_room_where_there_is_no_queue() {
    let cluster = Cluster::start("client-room", 1, Kv);
    let client = KvClient::connect(cluster.addresses(), Options { queue_max: 0, ..patient(1) }).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..8_u8 {
            let client = client.clone();
            scope.spawn(move || (0..20).for_each(|_| client.put(&[writer], b"value").unwrap()));
        }
    });
}

#[test]
fn a_request_that_is_too_large_is_refused_with_the_limit() {
    let cluster = Cluster::start("client-large", 1, Kv);
    let client = Client::connect(cluster.addresses(), patient(1)).unwrap();
    let limit = client.payload_size_max();
    assert_eq!(client.request(vec![0; limit + 1]), Err(RequestError::TooLarge { limit }));
    assert!(client.request(vec![0; limit]).unwrap().result.is_err(), "the store is asked, and makes nothing of it");
    // One that was told more than is true hears it from the replica, and goes on.
    let told = client::Cluster { message_size_max: 2 * LAYOUT.message_size_max, ..KNOWN };
    let options = Options { cluster: Some(told), ..patient(1) };
    let client = Client::connect(cluster.addresses(), options).unwrap();
    for _ in 0..2 {
        assert_eq!(client.request(vec![0; limit + 1]), Err(RequestError::TooLarge { limit }));
        client.request(put(b"k", b"v")).unwrap().result.unwrap();
    }
}

#[test]
fn a_key_or_a_value_that_is_too_long_is_refused_as_the_store_would_however_long_it_is() {
    let client = KvClient::connect(&own_addresses(1), hurried(1, 1)).unwrap();
    for length in [KEY_SIZE_MAX + 1, 1 << 16, 1 << 20] {
        let key = vec![b'k'; length];
        assert_eq!(client.get(&key), Err(KvError::Refused(Refusal::KeySize)), "{length}");
        assert_eq!(client.get_stale(&key), Err(KvError::Refused(Refusal::KeySize)), "{length}");
        assert_eq!(client.compare_and_swap(&key, None, b"v"), Err(KvError::Refused(Refusal::KeySize)), "{length}");
    }
    assert_eq!(client.put(b"k", &vec![0; VALUE_SIZE_MAX + 1]), Err(KvError::Refused(Refusal::ValueSize)));
    assert_eq!(client.put(b"k", b"v"), Err(KvError::Request(RequestError::TimedOut)), "what fits is sent");
}

#[test]
fn whoever_is_evicted_is_told_and_goes_on_in_a_new_session() {
    let cluster = Cluster::start_with("client-evicted", 1, Kv, |config, _| config.clients_max = 1);
    let [one, other] = [1, 1].map(|sessions| KvClient::connect(cluster.addresses(), patient(sessions)).unwrap());
    assert_eq!(one.append(b"log", b"1").unwrap(), 1);
    assert_eq!(other.append(b"log", b"2").unwrap(), 2);
    assert_eq!(one.append(b"log", b"3"), Err(KvError::Request(RequestError::Evicted)));
    // What was evicted was not asked again behind anybody's back.
    assert_eq!(one.get(b"log").unwrap().unwrap(), b"12");
}

#[test]
fn the_last_handle_ends_the_client_and_its_connections() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::connect(&[listener.local_addr().unwrap()], hurried(1, 10)).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let (another, pending) = (client.clone(), client.submit(b"waits"));
    drop((client, another));
    assert_eq!(pending.wait(), Err(RequestError::TimedOut), "whoever waits keeps the client alive");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn what_is_called_with_an_outcome_may_hold_the_client_and_ask_again() {
    let cluster = Cluster::start("client-then", 1, Kv);
    let client = Client::connect(cluster.addresses(), patient(1)).unwrap();
    let (tell, told) = mpsc::channel();
    let again = client.clone();
    client.submit_then(put(b"k", b"1"), move |first| {
        let last = again.clone();
        again.submit_then(put(b"k", b"2"), move |second| {
            // With the last handle the client ends, on its own thread.
            drop(last);
            tell.send((first, second)).unwrap();
        });
    });
    drop(client);
    let (first, second) = told.recv_timeout(PATIENCE).unwrap();
    assert!(first.unwrap().op < second.unwrap().op);
}

#[test]
fn what_panics_when_it_is_called_ends_the_client_and_the_others_are_told() {
    let client = Client::connect(&own_addresses(1), Options { patience: PATIENCE, ..hurried(1, 2) }).unwrap();
    let waiting = client.submit(b"waits");
    client.submit_then(vec![0; client.payload_size_max() + 1], |_| panic!("as this test wants it"));
    assert_eq!(waiting.wait(), Err(RequestError::Closed));
    assert_eq!(client.request(b"another"), Err(RequestError::Closed));
}

#[test]
fn a_replica_that_makes_no_sense_loses_its_connection_and_is_dialled_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = vec![listener.local_addr().unwrap()];
    let limits = Limits { frame_size_max: 1 << 16, queue_bytes_max: 1 << 20 };
    let config = TcpConfig::new(CLUSTER, Speaker::Replica(ReplicaId(0)), addresses.clone(), limits);
    let mut replica = TcpNetwork::new(config, Some(listener)).unwrap();
    let client = Client::connect(&addresses, Options { patience: PATIENCE, ..hurried(1, 1) }).unwrap();
    let _pending = client.submit(b"waits");
    let asked = AtomicUsize::new(0);
    within("it was dialled again, twice", || {
        replica.wait(Duration::from_millis(1)).unwrap();
        while let Some((from, frame)) = replica.receive() {
            asked.fetch_add(1, Ordering::Relaxed);
            // Noise that begins as nothing, and what is its own with one bit turned over.
            replica.send(from, if replica.counts().ended == 0 { Frame::new(vec![7; 200]) } else { flipped(&frame) });
        }
        (replica.counts().ended >= 2 && replica.counts().greeted >= 3).then_some(())
    });
    assert!(asked.into_inner() >= 2, "the request was sent again");
}

fn flipped(frame: &Frame) -> Frame {
    let mut bytes = frame.to_vec();
    bytes[20] ^= 1;
    Frame::new(bytes)
}

#[test]
fn the_store_does_what_its_client_asks() {
    let cluster = Cluster::start("client-kv", 1, Kv);
    let client = KvClient::connect(cluster.addresses(), patient(1)).unwrap();
    assert_eq!(client.get(b"k"), Ok(None));
    assert_eq!(client.delete(b"k"), Ok(false));
    assert_eq!(client.compare_and_swap(b"k", Some(b"a"), b"b"), Ok(Swap::Mismatch(None)));
    assert_eq!(client.compare_and_swap(b"k", None, b"a"), Ok(Swap::Swapped));
    assert_eq!(client.compare_and_swap(b"k", None, b"b"), Ok(Swap::Mismatch(Some(b"a".to_vec()))));
    assert_eq!(client.append(b"k", b"bc"), Ok(3));
    assert_eq!(client.put(b"k", b""), Ok(()));
    assert_eq!(client.get(b"k"), Ok(Some(Vec::new())));
    assert_eq!(client.delete(b"k"), Ok(true));
    assert_eq!(client.put(b"", b"value"), Err(KvError::Refused(Refusal::KeySize)));
    assert_eq!(client.put(b"k", &[7; VALUE_SIZE_MAX + 1]), Err(KvError::Refused(Refusal::ValueSize)));
}

#[test]
fn a_query_sees_what_was_acknowledged_to_anybody_and_leaves_nothing_in_the_log() {
    let cluster = Cluster::start("client-query", 3, Kv);
    let [writer, reader] = [(); 2].map(|()| Client::connect(cluster.addresses(), patient(2)).unwrap());
    let mut last = None;
    for number in 0..50_u8 {
        let written = writer.request(put(b"k", &[number])).unwrap();
        let read = reader.query(encoded(Request::Get { key: b"k" })).unwrap();
        assert_eq!(Response::decode(&read.result.unwrap()), Ok(Response::Found(&[number])));
        assert_eq!((read.op, read.timestamp), (written.op, None), "nothing but the write is in the log");
        last = Some(written.op);
    }
    let sessions = |client: &Client| {
        let before = status_of(&cluster).sessions;
        client.request(put(b"other", b"")).unwrap();
        status_of(&cluster).sessions - before
    };
    assert_eq!((sessions(&writer), sessions(&reader)), (0, 1), "a query registers none");
    let refused = reader.query(put(b"k", b"v")).unwrap();
    assert_eq!(refused.result.map_err(|rejection| rejection.code), Err(Refusal::Malformed as u32));
    assert!(refused.op > last.unwrap());
    assert_eq!(KvClient::from(reader).get(b"k").unwrap().unwrap(), [49], "a query that would write is refused");
}

fn status_of(cluster: &Cluster<Kv>) -> status::Status {
    status::ask(cluster.addresses()[cluster.primary()], PATIENCE).unwrap()
}

#[test]
fn queries_and_requests_in_flight_share_the_sessions_and_each_hears_its_own_answer() {
    let cluster = Cluster::start("client-mixed", 3, Kv);
    let client = Client::connect(cluster.addresses(), patient(4)).unwrap();
    let before = (0..20_u8).map(|key| client.request(put(&[key], &[key; 3])).unwrap().op).max().unwrap();
    let asked: Vec<_> = (0..200_u8)
        .map(|number| {
            let key = number % 20;
            let freshness = if number % 3 == 0 { Freshness::Stale } else { Freshness::Linearizable };
            let written = (number % 2 == 0).then(|| client.submit(put(&[100 + key], &[key])));
            (key, freshness, client.submit_query(freshness, encoded(Request::Get { key: &[key] })), written)
        })
        .collect();
    for (key, freshness, read, written) in asked {
        let read = read.wait().unwrap();
        assert!(freshness == Freshness::Stale || read.op >= before);
        if read.op >= before {
            let found = read.result.unwrap();
            assert_eq!(Response::decode(&found), Ok(Response::Found(&[key; 3])), "{freshness:?}");
        }
        if let Some(written) = written {
            assert!(written.wait().unwrap().timestamp.is_some());
        }
    }
}

#[test]
fn where_nobody_is_a_query_ends_in_time_and_gives_its_place_to_the_next() {
    let client = Client::connect(&own_addresses(3), hurried(1, 10)).unwrap();
    for ask in [Client::query, Client::query_stale] {
        let error = ask(&client, b"anything".to_vec()).unwrap_err();
        assert_eq!((&error, error.next_step()), (&RequestError::Unanswered, NextStep::Retry));
        assert!(!error.is_outcome_unknown(), "a query has none");
    }
    // Had the queries kept the one session, this would not have been sent.
    assert_eq!(client.request(b"third"), Err(RequestError::TimedOut));
    assert_eq!(client.query(b"fourth"), Err(RequestError::QueueFull), "a request keeps it");
    let limit = client.payload_size_max();
    assert_eq!(client.query(vec![0; limit + 1]), Err(RequestError::TooLarge { limit }));
}

#[test]
fn a_stale_query_is_answered_where_no_majority_is_and_a_linearizable_one_is_not() {
    let mut cluster = Cluster::start("client-stale", 3, Kv);
    let options = Options { patience: Duration::from_secs(1), ..patient(1) };
    let [kv, hasty] = [patient(1), options].map(|options| KvClient::connect(cluster.addresses(), options).unwrap());
    kv.put(b"k", b"v").unwrap();
    let primary = cluster.primary();
    [1, 2].into_iter().for_each(|other| cluster.stop((primary + other) % 3));
    assert_eq!(hasty.get(b"k"), Err(KvError::Request(RequestError::Unanswered)));
    let (op, value) = kv.get_stale(b"k").unwrap();
    assert_eq!((op.0 > 0, value), (true, Some(b"v".to_vec())));
}

#[cfg(feature = "tokio")]
mod asynchronous {
    use chronon_production::client::asynchronous::{Client, KvClient};

    use super::*;

    /// A runtime with nothing enabled: neither time nor sockets.
    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn each_request_of_many_tasks_is_executed_once() {
        let cluster = Cluster::start("client-async", 3, Kv);
        run(async {
            let client = KvClient::connect(cluster.addresses(), patient(4)).await.unwrap();
            let tasks = (0..10).map(|writer| {
                let client = client.clone();
                tokio::spawn(async move {
                    let mut told = Vec::new();
                    for number in 0..50 {
                        let record = Records::record(writer, number);
                        told.push((client.append(b"log", &record).await.unwrap(), record));
                    }
                    told
                })
            });
            let records = Records::new();
            for task in tasks.collect::<Vec<_>>() {
                task.await.unwrap().into_iter().for_each(|(length, record)| records.told(length, record));
            }
            let value = client.get(b"log").await.unwrap().unwrap();
            records.check(500, &value);
            let (op, stale) = client.get_stale(b"log").await.unwrap();
            assert!(op.0 > 0 && value.starts_with(&stale.unwrap()));
        });
    }

    #[test]
    fn what_cannot_be_answered_is_told_as_it_is_to_threads() {
        run(async {
            let client = Client::connect(&own_addresses(1), hurried(1, 0)).await.unwrap();
            let limit = client.payload_size_max();
            assert_eq!(client.request(vec![0; limit + 1]).await, Err(RequestError::TooLarge { limit }));
            let first = tokio::spawn({
                let client = client.clone();
                async move { client.request(b"first").await }
            });
            tokio::task::yield_now().await;
            assert_eq!(client.request(b"no room").await, Err(RequestError::QueueFull));
            assert_eq!(first.await.unwrap(), Err(RequestError::TimedOut));
            let client = Client::connect(&own_addresses(1), hurried(1, 0)).await.unwrap();
            assert_eq!(client.query(b"who").await, Err(RequestError::Unanswered));
            assert_eq!(client.query_stale(b"who").await, Err(RequestError::Unanswered));
            let error = Client::connect(&own_addresses(1), patient(1)).await.unwrap_err();
            assert!(matches!(error, client::ConnectError::Unknown(_)));
        });
    }

    #[test]
    fn a_future_that_is_dropped_abandons_the_wait_and_not_the_request() {
        let cluster = Cluster::start("client-async-dropped", 1, Kv);
        run(async {
            let client = KvClient::connect(cluster.addresses(), patient(1)).await.unwrap();
            let abandoned = tokio::spawn({
                let client = client.clone();
                async move { client.put(b"k", b"abandoned").await }
            });
            tokio::task::yield_now().await;
            abandoned.abort();
            // Behind it in the queue of the one session.
            assert_eq!(client.get(b"k").await.unwrap().unwrap(), b"abandoned");
        });
    }
}
