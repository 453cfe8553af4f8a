//! A branch of the bank on real disks, sockets and clocks: a timer fires, has the rate of interest fetched over HTTP, and what comes is paid
//! once for each period, though the service breaks off, and primaries are stopped; and its letters are sent, whatever is said of that.

mod common;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chronon::{
    app::{
        bank::{Request, Response},
        branch::Branch,
        effect::Policy,
    },
    effect::{EffectOrder, EffectResult},
};
use chronon_production::{
    client::{Client, Options},
    sinks::{HttpOptions, HttpSink, Sink, Sinks},
    status,
};
use common::{Cluster, within};

const ACCOUNTS: u64 = 3;
const DEPOSIT: u64 = 1_000;
const PERIODS: u32 = 8;

/// Tells a rate: the first key 1, the next one 2, and each the same whenever it comes again.
#[derive(Default)]
struct Rates {
    calls: u64,
    by_key: BTreeMap<String, u8>,
}

impl Rates {
    /// Listens until the test ends.
    fn serve() -> (SocketAddr, Arc<Mutex<Self>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, rates) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Self::default())));
        let known = Arc::clone(&rates);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // Who went away in the middle asked nothing.
                let _ = Self::answer(&known, stream);
            }
        });
        (address, rates)
    }

    /// Every third call breaks off, before the rate is told or in the middle of it.
    fn answer(rates: &Mutex<Self>, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let asked = lines.next().unwrap_or_else(|| Ok(String::new()))?;
        assert_eq!(asked, "GET /branch/rate HTTP/1.1");
        let mut key = None;
        for line in lines {
            let line = line?;
            let (name, value) = line.split_once(':').unwrap_or_default();
            if name.eq_ignore_ascii_case("idempotency-key") {
                key = Some(value.trim().to_owned());
            }
            if line.is_empty() {
                break;
            }
        }
        let mut rates = rates.lock().unwrap();
        let next = rates.by_key.len() as u8 + 1;
        let rate = *rates.by_key.entry(key.expect("each has its key")).or_insert(next);
        rates.calls += 1;
        match rates.calls % 6 {
            2 => Ok(()),
            5 => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"),
            _ => stream.write_all(&[&b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"[..], &[rate]].concat()),
        }
    }
}

/// A client, who has opened the accounts.
fn customer(cluster: &Cluster<Branch>) -> Client {
    let options = Options { patience: common::PATIENCE, ..Options::default() };
    let client = Client::connect(cluster.addresses(), options).unwrap();
    for account in 0..ACCOUNTS {
        assert_eq!(ask(&client, Request::Open { account, deposit: DEPOSIT }), Response::Opened);
    }
    client
}

fn ask(client: &Client, request: Request) -> Response {
    let mut payload = Vec::new();
    request.encode(&mut payload);
    Response::decode(&client.request(payload).unwrap().result.unwrap()).unwrap()
}

/// What each account was paid.
fn paid(client: &Client) -> Vec<u64> {
    let balance = |account| match ask(client, Request::Balance { account }) {
        Response::Balance(balance) => balance - DEPOSIT,
        other => panic!("a balance, and not {other:?}"),
    };
    (0..ACCOUNTS).map(balance).collect()
}

#[test]
fn interest_is_fetched_over_http_and_paid_once_a_period_whoever_is_stopped() {
    let (address, rates) = Rates::serve();
    let rate = Policy::FETCH.with_attempts(20);
    let branch = Branch { letters: Vec::new(), rate, period_ns: 300_000_000, periods: PERIODS, ..Branch::default() };
    let mut cluster = Cluster::start_with("interest", 3, branch, |_, options| {
        let http = HttpOptions::new(Some(format!("http://{address}/branch")));
        options.sinks = Sinks::default().fetches(Arc::new(HttpSink::new(http).unwrap()));
    });
    let client = customer(&cluster);
    let asked = || rates.lock().unwrap().by_key.len() as u32;
    for periods in [2, 5] {
        within("periods end", || (asked() >= periods).then_some(()));
        let primary = cluster.primary();
        cluster.stop(primary);
        within("they end without it", || (asked() > periods).then_some(()));
        cluster.start_replica(primary);
    }
    let all = (1..=u64::from(PERIODS)).sum::<u64>();
    within("every period is paid for", || (paid(&client)[0] >= all).then_some(()));
    assert_eq!(paid(&client), vec![all; ACCOUNTS as usize]);
    let rates = rates.lock().unwrap();
    assert_eq!(rates.by_key.len() as u32, PERIODS, "a key for each period");
    assert!(rates.calls > u64::from(PERIODS), "some were asked for again");
}

/// Does what it is told, and says more of it than any message holds.
#[derive(Default, Debug)]
struct Talkative(AtomicU64);

impl Sink for Talkative {
    fn run(&self, _: &EffectOrder) -> EffectResult {
        self.0.fetch_add(1, Ordering::Relaxed);
        EffectResult::Done { response: vec![7; 1 << 20] }
    }
}

#[test]
fn a_letter_is_sent_whatever_is_said_of_it() {
    const LETTERS: u64 = 5;
    let sink = Arc::new(Talkative::default());
    let branch = Branch { periods: 0, ..Branch::default() };
    let cluster = Cluster::start_with("talkative", 1, branch, |_, options| {
        options.sinks = Sinks::default().others(sink.clone());
    });
    let client = customer(&cluster);
    for amount in 1..=LETTERS {
        let moved = ask(&client, Request::Transfer { from: 0, to: 1, amount });
        assert!(matches!(moved, Response::Transferred { .. }), "{moved:?}");
    }
    within("all are sent", || {
        let effects = status::ask(cluster.addresses()[0], common::PATIENCE).unwrap().effects;
        assert_eq!((effects.parked, effects.dead), (0, 0));
        (effects.pending == 0).then_some(())
    });
    assert_eq!(sink.0.load(Ordering::Relaxed), LETTERS, "each once");
}
