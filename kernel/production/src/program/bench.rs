//! `bench`: how fast a cluster is, and how fast it could be.

mod limits;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::{Duration, Instant},
};

use chronon::{
    app::kv::{self, Request},
    env::Clock,
};
use chronon_production::{
    SystemClock,
    client::{Freshness, Options, Sessions},
    status,
};
use serde::Serialize;

use self::limits::Limits;
use super::{
    number::{counted, grouped},
    output::{Status, Trouble, remark, say, say_json},
};

/// How long a replica may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a request may take: long enough for several view changes.
const REQUEST_PATIENCE_NS: u64 = 30_000_000_000;

/// How many requests come first and are not counted, as a share of all: sessions are registered, caches are warm.
const WARM_UP: u64 = 20;

/// Measure how many requests a second a cluster answers, and how fast
///
/// So many clients, each with one request in flight, put values under so many keys, over one connection to each replica, or read what
/// is there (`--reads`), by linearizable queries. Ends
/// with one JSON object on standard output. The CPU time is that of all replicas that run on machines of these addresses, and
/// not of the clients.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The replicas' addresses
    #[arg(long, value_name = "A,B,C", value_delimiter = ',', required = true)]
    addresses: Vec<SocketAddr>,

    /// Clients, each with a session and one request in flight
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

    /// How many of a hundred requests ask for a value instead of putting one, by a linearizable query
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=100))]
    reads: u64,

    /// Measure the limits of this machine, too: a durable write of 4 KiB, and a round trip over the loopback
    #[arg(long)]
    limits: bool,

    /// Where the durable write is measured: a folder on the disk that the replicas use
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    folder: PathBuf,

    /// Print the JSON object alone
    #[arg(long)]
    json: bool,
}

/// What was measured.
#[derive(Serialize)]
struct Measured {
    clients: u32,
    requests: u64,
    value_size: usize,
    requests_per_second: u64,
    p50_us: u64,
    p99_us: u64,
    /// Those that asked for a value, if any did.
    #[serde(skip_serializing_if = "Option::is_none")]
    reads: Option<Share>,
    /// Those that put one.
    #[serde(skip_serializing_if = "Option::is_none")]
    writes: Option<Share>,
    /// Nothing if some replica did not say.
    cpu_us_per_request: Option<u64>,
    /// How many ops the requests took: fewer, if they were batched.
    ops: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<Limits>,
}

/// Some of the requests.
#[derive(Serialize)]
struct Share {
    requests: u64,
    p50_us: u64,
    p99_us: u64,
}

impl Share {
    /// Of sorted latencies; nothing, if there are none.
    fn of(latencies_ns: &[u64]) -> Option<Self> {
        let at = |percent: usize| Some(latencies_ns.get(latencies_ns.len().checked_sub(1)? * percent / 100)? / 1_000);
        Some(Self { requests: latencies_ns.len() as u64, p50_us: at(50)?, p99_us: at(99)? })
    }
}

pub(crate) fn main(arguments: &Arguments) -> Result<Status, Trouble> {
    if arguments.value_size > kv::VALUE_SIZE_MAX {
        return Err(Trouble::usage(format!("a value has at most {} bytes: choose fewer", kv::VALUE_SIZE_MAX)));
    }
    let limits = if arguments.limits { Some(limits::measure(&arguments.folder)?) } else { None };
    let options = Options { sessions: arguments.clients, applications: &["kv"], ..Options::default() };
    let mut load = Load::new(Sessions::connect(&arguments.addresses, &options)?, arguments);
    load.check_room()?;
    load.run(arguments.requests / WARM_UP + u64::from(arguments.clients))?;
    let (before, began) = (Usage::ask(&arguments.addresses), Instant::now());
    load.latencies_ns.iter_mut().for_each(Vec::clear);
    load.run(arguments.requests)?;
    let took = began.elapsed();
    let after = Usage::ask(&arguments.addresses);
    let measured = load.measured(arguments, took, before.zip(after), limits);
    if !arguments.json {
        say(&measured.words())?;
    }
    say_json(&measured)?;
    Ok(Status::Done)
}

/// Clients that ask without a pause.
struct Load {
    sessions: Sessions<(Kind, Instant)>,
    value: Vec<u8>,
    /// How many of a hundred.
    reads: u64,
    keys: u64,
    clients: u64,
    /// How many were asked, ever.
    asked: u64,
    /// By kind.
    latencies_ns: [Vec<u64>; 2],
    payload: Vec<u8>,
}

/// What a request is for.
#[derive(Clone, Copy)]
enum Kind {
    Write,
    Read,
}

impl Load {
    fn new(sessions: Sessions<(Kind, Instant)>, arguments: &Arguments) -> Self {
        let Arguments { value_size, reads, keys, clients, .. } = *arguments;
        let clients = u64::from(clients);
        let value = vec![b'v'; value_size];
        Self {
            sessions,
            value,
            reads,
            keys,
            clients,
            asked: 0,
            latencies_ns: [Vec::new(), Vec::new()],
            payload: Vec::new(),
        }
    }

    /// More clients than the cluster has room for would evict each other's sessions, and end at the first that was.
    fn check_room(&self) -> Result<(), Trouble> {
        match self.sessions.clients_max() {
            Some(most) if self.clients > u64::from(most) => Err(Trouble::usage(format!(
                "--clients {}: the cluster has room for the sessions of {most}, as `format --clients-max` said: choose fewer",
                self.clients
            ))),
            _ => Ok(()),
        }
    }

    /// Asks so often, and waits for all answers.
    fn run(&mut self, requests: u64) -> Result<(), Trouble> {
        let mut told = Instant::now();
        let (mut left, mut answered) = (requests, 0);
        for _ in 0..self.clients.min(left) {
            self.ask();
            left -= 1;
        }
        while answered < requests {
            self.sessions.turn(Duration::from_millis(100)).map_err(Trouble::machine)?;
            while let Some(((kind, began), result)) = self.sessions.next() {
                let answer = result?;
                answer.result.map_err(|refusal| not_a_kv_store(refusal.code))?;
                answered += 1;
                self.latencies_ns[kind as usize].push(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
                if left > 0 {
                    self.ask();
                    left -= 1;
                }
            }
            if told.elapsed() > Duration::from_secs(5) {
                told = Instant::now();
                remark(&format!("{} of {}", grouped(answered), counted(requests, "request")));
            }
        }
        Ok(())
    }

    fn ask(&mut self) {
        // Spread over the keys, the same way each time.
        let key = format!("key{:012}", self.asked.wrapping_mul(0x9e37_79b9_7f4a_7c15) % self.keys);
        // The share is kept among any hundred in a row.
        let kind =
            if (self.asked + 1) * self.reads / 100 > self.asked * self.reads / 100 { Kind::Read } else { Kind::Write };
        self.asked += 1;
        let key = key.as_bytes();
        let expiry = SystemClock.monotonic().after(REQUEST_PATIENCE_NS);
        let tag = (kind, Instant::now());
        self.payload.clear();
        match kind {
            Kind::Write => {
                Request::Put { key, value: &self.value }.encode(&mut self.payload);
                self.sessions.submit(tag, &self.payload[..], expiry);
            }
            Kind::Read => {
                Request::Get { key }.encode(&mut self.payload);
                self.sessions.query(Freshness::Linearizable, tag, &self.payload[..], expiry);
            }
        }
    }

    fn measured(
        &mut self,
        arguments: &Arguments,
        took: Duration,
        usage: Option<(Usage, Usage)>,
        limits: Option<Limits>,
    ) -> Measured {
        let mut all_ns = self.latencies_ns.concat();
        all_ns.sort_unstable();
        let all = Share::of(&all_ns).expect("at least one request was answered");
        self.latencies_ns.iter_mut().for_each(|latencies_ns| latencies_ns.sort_unstable());
        let [writes, reads] = self.latencies_ns.each_ref().map(|latencies_ns| Share::of(latencies_ns));
        let Arguments { clients, requests, value_size, .. } = *arguments;
        let took_us = took.as_micros().max(1);
        Measured {
            clients,
            requests,
            value_size,
            requests_per_second: u64::try_from(u128::from(requests) * 1_000_000 / took_us).unwrap_or(u64::MAX),
            p50_us: all.p50_us,
            p99_us: all.p99_us,
            reads,
            writes,
            cpu_us_per_request: usage.as_ref().map(|(before, after)| after.cpu_us_since(before) / requests),
            ops: usage.map(|(before, after)| after.op.saturating_sub(before.op)),
            limits,
        }
    }
}

/// What the application said is not what a key-value store says.
fn not_a_kv_store(code: u32) -> Trouble {
    let why = kv::Refusal::from_code(code).map_or_else(|| format!("code {code}"), |refusal| refusal.to_string());
    Trouble::usage(format!("the cluster refused a request ({why}): does it run the key-value store?"))
}

/// What the replicas have used so far.
struct Usage {
    /// CPU time by machine and process: several replicas may be one process.
    cpu_us: BTreeMap<(IpAddr, u32), u64>,
    /// The furthest op.
    op: u64,
}

impl Usage {
    /// Nothing, if some replica does not say.
    fn ask(addresses: &[SocketAddr]) -> Option<Self> {
        let mut usage = Self { cpu_us: BTreeMap::new(), op: 0 };
        for address in addresses {
            let said = status::ask(*address, PATIENCE).ok()?;
            usage.cpu_us.insert((address.ip(), said.process), said.cpu_us);
            usage.op = usage.op.max(said.commit);
        }
        Some(usage)
    }

    fn cpu_us_since(&self, before: &Self) -> u64 {
        let since = |(process, cpu_us): (&(IpAddr, u32), &u64)| {
            cpu_us.saturating_sub(before.cpu_us.get(process).copied().unwrap_or_default())
        };
        self.cpu_us.iter().map(since).sum()
    }
}

impl Measured {
    fn words(&self) -> String {
        let mut text = format!(
            "{} a second by {}: half of them within {} us, 99 of 100 within {} us",
            counted(self.requests_per_second, "request"),
            counted(u64::from(self.clients), "client"),
            grouped(self.p50_us),
            grouped(self.p99_us)
        );
        if let (Some(reads), Some(writes)) = (&self.reads, &self.writes) {
            let half = |share: &Share| (grouped(share.requests), grouped(share.p50_us), grouped(share.p99_us));
            let ((read, read_p50, read_p99), (written, write_p50, write_p99)) = (half(reads), half(writes));
            text.push_str(&format!(
                "\n{read} read, within {read_p50} and {read_p99} us; {written} wrote, within {write_p50} and {write_p99} us"
            ));
        }
        match self.cpu_us_per_request {
            Some(cpu_us) => text.push_str(&format!("\n{} us of CPU a request, over all replicas", grouped(cpu_us))),
            None => text.push_str("\nsome replica did not say how much CPU it used"),
        }
        if let Some(limits) = &self.limits {
            text.push_str(&limits.words(self.p50_us));
        }
        text
    }
}
