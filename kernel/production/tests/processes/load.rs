//! Clients that append, each to keys of its own, and remember what they were told.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use chronon_production::client::{KvClient, KvError, Options};

use crate::cluster::{Cluster, until};

/// Clients.
const CLIENTS: u32 = 6;

/// How often each appends to one key before it takes the next: as much as a value holds.
const EACH_KEY: u64 = 1_000;

/// Work that goes on until it is ended.
pub(crate) struct Load {
    acknowledged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<History>>,
}

/// What one client appended, in order, and whether it was told that this had happened.
struct History {
    client: u32,
    appended: Vec<(u64, bool)>,
}

/// What all clients were told.
pub(crate) struct Promises(Vec<History>);

impl Load {
    pub(crate) fn begin(cluster: &Cluster) -> Self {
        let (acknowledged, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let options = Options { sessions: CLIENTS, patience: Duration::from_secs(60), ..Options::default() };
        let kv = until("a client connects", || KvClient::connect(cluster.addresses(), options.clone()).ok());
        let clients = (0..CLIENTS).map(|client| {
            let (kv, acknowledged, stop) = (kv.clone(), Arc::clone(&acknowledged), Arc::clone(&stop));
            std::thread::spawn(move || append(client, &kv, &acknowledged, &stop))
        });
        Self { clients: clients.collect(), acknowledged, stop }
    }

    /// Waits until so much more was acknowledged.
    pub(crate) fn wait_for(&self, more: u64) {
        let aim = self.acknowledged.load(Ordering::Relaxed) + more;
        until("work goes on", || (self.acknowledged.load(Ordering::Relaxed) >= aim).then_some(()));
    }

    pub(crate) fn end(self) -> Promises {
        self.stop.store(true, Ordering::Relaxed);
        Promises(self.clients.into_iter().map(|client| client.join().unwrap()).collect())
    }
}

fn key(client: u32, number: u64) -> Vec<u8> {
    format!("c{client}k{}", number / EACH_KEY).into_bytes()
}

fn token(client: u32, number: u64) -> String {
    format!("{client:02}:{number:08},")
}

fn append(client: u32, kv: &KvClient, acknowledged: &AtomicU64, stop: &AtomicBool) -> History {
    let mut appended = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let number = appended.len() as u64;
        match kv.append(&key(client, number), token(client, number).as_bytes()) {
            Ok(_) => {
                appended.push((number, true));
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Err(KvError::Request(error)) if error.is_outcome_unknown() => appended.push((number, false)),
            Err(error) => panic!("client {client}: {error}"),
        }
    }
    History { client, appended }
}

impl Promises {
    /// Reads everything back from the cluster: what was acknowledged is there once and in order, and of what was not, each at most
    /// once.
    pub(crate) fn judge(&self, addresses: &[SocketAddr]) {
        let options = Options { patience: Duration::from_secs(60), ..Options::default() };
        let kv = KvClient::connect(addresses, options).unwrap();
        for History { client, appended } in &self.0 {
            for part in appended.chunks(EACH_KEY as usize) {
                let key = key(*client, part[0].0);
                let value = String::from_utf8(kv.get(&key).unwrap().unwrap_or_default()).unwrap();
                let mut found = value.split_inclusive(',').peekable();
                for (number, acknowledged) in part {
                    let expected = token(*client, *number);
                    let there = found.next_if(|token| *token == expected).is_some();
                    assert!(
                        there || !acknowledged,
                        "{expected} was acknowledged and is not where it belongs in {value}"
                    );
                }
                assert_eq!(found.next(), None, "twice, or never asked for, in {value}");
            }
        }
    }
}
