//! A load on etcd, as `chronon bench` is one on Chronon: so many clients, each with one request in flight, put or get values
//! under so many keys, over at most 16 connections.
//!
//!     cargo run --release -p chronon-production --example etcd_load -- --endpoints 127.0.0.1:2379,127.0.0.1:2381
//!
//! All of it goes to the leader: a member that is not would pass it on, which costs etcd more. One thread does everything, as it
//! does in `chronon bench`; what it used itself is told, so that nobody takes the generator's limit for etcd's.
//!
//! `kernel/production/compare-etcd` runs it against the same cluster size, disk and load as Chronon.

mod grpc;
mod protobuf;
mod usage;

use std::{
    net::SocketAddr,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Parser;
use serde::Serialize;
use tokio::task::JoinSet;

use self::{grpc::Connection, usage::Usage};

const PUT: &str = "/etcdserverpb.KV/Put";
const RANGE: &str = "/etcdserverpb.KV/Range";
const STATUS: &str = "/etcdserverpb.Maintenance/Status";

/// More connections than that cost etcd more than they give it.
const CONNECTIONS_MAX: usize = 16;

/// As in `chronon bench`: how many requests come first and are not counted, as a share of all.
const WARM_UP: u64 = 20;

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Measure how many requests a second etcd answers, and how fast
///
/// Ends with one JSON object on standard output. The CPU time is that of the processes given with --pid.
#[derive(Parser)]
#[command(name = "etcd_load")]
struct Arguments {
    /// Where the members take clients: plain HTTP, no names
    #[arg(long, value_name = "A,B,C", value_delimiter = ',', required = true)]
    endpoints: Vec<SocketAddr>,

    /// Clients, each with one request in flight
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    clients: u32,

    /// Requests in all
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    requests: u64,

    /// The size of each value, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 256)]
    value_size: usize,

    /// Over how many keys
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    keys: u64,

    /// Ask for values instead of putting them: linearizable reads of one key each. Every key is put first
    #[arg(long)]
    reads: bool,

    /// etcd's processes on this machine, whose CPU time is measured
    #[arg(long, value_name = "PID,...", value_delimiter = ',')]
    pid: Vec<u32>,

    /// Print the JSON object alone
    #[arg(long)]
    json: bool,
}

/// What was measured, under the names that `chronon bench` uses.
#[derive(Serialize)]
struct Measured {
    clients: u32,
    connections: usize,
    requests: u64,
    value_size: usize,
    requests_per_second: u64,
    p50_us: u64,
    p99_us: u64,
    /// Nothing without --pid.
    cpu_us_per_request: Option<u64>,
    /// What this program used itself.
    generator_cpu_us_per_request: u64,
    /// The share of the time in which it was busy: near 100 it is the generator that was measured.
    generator_busy_percent: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let measured = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))
        .and_then(|runtime| runtime.block_on(measure(&arguments)));
    match measured {
        Ok(measured) => {
            if !arguments.json {
                println!("{}", measured.words());
            }
            println!("{}", serde_json::to_string_pretty(&measured).expect("it has no map"));
            ExitCode::SUCCESS
        }
        Err(sentence) => {
            eprintln!("etcd_load: {sentence}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(arguments: &Arguments) -> Result<Measured, String> {
    let Arguments { clients, requests, value_size, keys, reads, .. } = *arguments;
    let leader = leader(&arguments.endpoints).await?;
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS_MAX.min(clients as usize) {
        connections.push(Connection::open(leader).await?);
    }
    let load = |ask| Arc::new(Load { ask, keys, value: vec![b'v'; value_size], asked: AtomicU64::new(0) });
    if reads {
        load(Ask::Fill).run(&connections, clients.max(CONNECTIONS_MAX as u32), keys).await?;
    }
    let load = load(if reads { Ask::Get } else { Ask::Put });
    load.run(&connections, clients, requests / WARM_UP + u64::from(clients)).await?;
    let (before, own_before, began) = (Usage::of(&arguments.pid)?, Usage::own()?, Instant::now());
    let mut latencies_us = load.run(&connections, clients, requests).await?;
    let took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
    let own_us = Usage::own()?.us_since(&own_before);
    let used_us = Usage::of(&arguments.pid)?.us_since(&before);
    latencies_us.sort_unstable();
    let at = |percent: usize| latencies_us[(latencies_us.len() - 1) * percent / 100];
    Ok(Measured {
        clients,
        connections: connections.len(),
        requests,
        value_size,
        requests_per_second: u64::try_from(u128::from(requests) * 1_000_000 / u128::from(took_us)).unwrap_or(u64::MAX),
        p50_us: at(50),
        p99_us: at(99),
        cpu_us_per_request: (!arguments.pid.is_empty()).then_some(used_us / requests),
        generator_cpu_us_per_request: own_us / requests,
        generator_busy_percent: own_us.saturating_mul(100) / took_us,
    })
}

/// The member that leads, by what they say of themselves.
async fn leader(endpoints: &[SocketAddr]) -> Result<SocketAddr, String> {
    let mut said = Vec::new();
    for endpoint in endpoints {
        let answer = match Connection::open(*endpoint).await {
            Ok(mut connection) => within(connection.call(STATUS, &[])).await,
            Err(sentence) => Err(sentence),
        };
        match answer.and_then(|answer| protobuf::leads(&answer)) {
            Ok(true) => return Ok(*endpoint),
            Ok(false) => said.push(format!("{endpoint} does not lead")),
            Err(sentence) => said.push(sentence),
        }
    }
    Err(format!("none of the endpoints leads, name all members and see that they run: {}", said.join("; ")))
}

async fn within<T>(call: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    tokio::time::timeout(PATIENCE, call)
        .await
        .unwrap_or_else(|_| Err(format!("etcd did not answer within {} s", PATIENCE.as_secs())))
}

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// Each key is put in turn, so that none is missing.
    Fill,
    Put,
    Get,
}

/// Clients that ask without a pause.
struct Load {
    ask: Ask,
    keys: u64,
    value: Vec<u8>,
    /// How many were asked, ever.
    asked: AtomicU64,
}

impl Load {
    /// Asks so often, and waits for all answers. Gives how long each took, in microseconds.
    async fn run(
        self: &Arc<Self>,
        connections: &[Connection],
        clients: u32,
        requests: u64,
    ) -> Result<Vec<u64>, String> {
        let end = self.asked.load(Ordering::Relaxed) + requests;
        let mut running = JoinSet::new();
        for client in 0..clients as usize {
            let connection = connections[client % connections.len()].clone();
            running.spawn(Arc::clone(self).client(connection, end));
        }
        let mut latencies_us = Vec::new();
        while let Some(ended) = running.join_next().await {
            latencies_us.extend(ended.map_err(|error| format!("a client broke off: {error}"))??);
        }
        // Each client drew one number that was too high, and asked nothing for it.
        self.asked.store(end, Ordering::Relaxed);
        Ok(latencies_us)
    }

    async fn client(self: Arc<Self>, mut connection: Connection, end: u64) -> Result<Vec<u64>, String> {
        let mut latencies_us = Vec::new();
        loop {
            let number = self.asked.fetch_add(1, Ordering::Relaxed);
            if number >= end {
                return Ok(latencies_us);
            }
            let began = Instant::now();
            within(self.ask(&mut connection, number)).await?;
            latencies_us.push(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
        }
    }

    async fn ask(&self, connection: &mut Connection, number: u64) -> Result<(), String> {
        let key = self.key(number);
        if self.ask != Ask::Get {
            let put = [protobuf::bytes(1, key.as_bytes()), protobuf::bytes(2, &self.value)].concat();
            return connection.call(PUT, &put).await.map(drop);
        }
        let answer = connection.call(RANGE, &protobuf::bytes(1, key.as_bytes())).await?;
        if protobuf::has_value(&answer)? { Ok(()) } else { Err(format!("{key} was put and is not there")) }
    }

    /// Spread over the keys as `chronon bench` spreads them, the same way each time.
    fn key(&self, number: u64) -> String {
        let spread = if self.ask == Ask::Fill { number } else { number.wrapping_mul(0x9e37_79b9_7f4a_7c15) };
        format!("key{:012}", spread % self.keys)
    }
}

impl Measured {
    fn words(&self) -> String {
        let Self { requests_per_second, clients, p50_us, p99_us, .. } = self;
        let cpu = match self.cpu_us_per_request {
            Some(cpu_us) => format!("{cpu_us} us of CPU a request, over the given processes"),
            None => "name etcd's processes with --pid to measure their CPU time".to_owned(),
        };
        format!(
            "{requests_per_second} requests a second by {clients} clients: half of them within {p50_us} us, 99 of 100 within \
             {p99_us} us\n{cpu}\nthe generator itself used {} us a request: it was busy for {} % of the time",
            self.generator_cpu_us_per_request, self.generator_busy_percent
        )
    }
}
