//! Three replicas of the key-value store, each a process of the `chronon` program, and clients that load them.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use chronon::{app::kv::Request, env::Clock};
use chronon_production::{
    SystemClock,
    client::{Options, Sessions},
    status::{self, State, Status},
};

/// Nothing takes so long unless it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// How often replicas are asked how they are.
const LOOK: Duration = Duration::from_millis(5);

pub(crate) struct Cluster {
    program: PathBuf,
    folder: PathBuf,
    pub(crate) addresses: Vec<SocketAddr>,
    processes: Vec<Option<Child>>,
}

impl Cluster {
    /// Makes the data files.
    pub(crate) fn format(program: &Path, folder: &Path, slots: u32, grid_size: u64) -> Result<Self, String> {
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let listeners: Result<Vec<_>, _> = (0..3).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect();
        let addresses = listeners.and_then(|all| all.iter().map(TcpListener::local_addr).collect());
        let addresses = addresses.map_err(|error| format!("no free port: {error}"))?;
        let processes = (0..3).map(|_| None).collect();
        let cluster = Self { program: program.to_owned(), folder: folder.to_owned(), addresses, processes };
        for replica in 0..3u8 {
            let _ = std::fs::remove_file(cluster.file(replica));
            let mut command = Command::new(program);
            command.args(["format", "--cluster", "1", "--replicas", "3", "--replica", &replica.to_string()]);
            command.args(["--slots", &slots.to_string(), "--grid-size", &grid_size.to_string(), "--data"]);
            let status = command.arg(cluster.file(replica)).stdout(Stdio::null()).stderr(Stdio::null()).status();
            if !status.is_ok_and(|status| status.success()) {
                return Err(format!(
                    "`{} format` failed: build it, and see to {} GiB that are free",
                    program.display(),
                    24
                ));
            }
        }
        Ok(cluster)
    }

    fn file(&self, replica: u8) -> PathBuf {
        self.folder.join(format!("state-figures-{replica}.chronon"))
    }

    pub(crate) fn start(&mut self, replica: u8) -> Result<(), String> {
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        let log = File::create(self.folder.join(format!("state-figures-{replica}.log")))
            .map_err(|error| error.to_string())?;
        let mut command = Command::new(&self.program);
        command.args(["start", "--addresses", &addresses.join(","), "--data"]).arg(self.file(replica));
        let child = command.stdout(Stdio::null()).stderr(log).spawn().map_err(|error| error.to_string())?;
        self.processes[usize::from(replica)] = Some(child);
        Ok(())
    }

    pub(crate) fn kill(&mut self, replica: u8) {
        if let Some(mut child) = self.processes[usize::from(replica)].take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(crate) fn process(&self, replica: u8) -> u32 {
        self.processes[usize::from(replica)].as_ref().map_or(0, Child::id)
    }

    pub(crate) fn status(&self, replica: u8) -> Option<Status> {
        status::ask(self.addresses[usize::from(replica)], Duration::from_secs(2)).ok()
    }

    /// Waits until a replica is as is wanted.
    pub(crate) fn until(&self, replica: u8, what: &str, wanted: impl Fn(&Status) -> bool) -> Result<Status, String> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            match self.status(replica) {
                Some(status) if wanted(&status) => return Ok(status),
                _ => std::thread::sleep(LOOK),
            }
        }
        Err(format!("replica {replica} did not come to {what}: see its log in {}", self.folder.display()))
    }

    /// Waits until each of them has executed everything, and the last checkpoint is durable.
    pub(crate) fn settle(&self, replicas: &[u8]) -> Result<u64, String> {
        let first = self.until(replicas[0], "rest", is_at_rest)?;
        for replica in replicas {
            let is_there = |status: &Status| is_at_rest(status) && status.applied >= first.commit;
            self.until(*replica, "where the others are", |status| {
                is_there(status) && status.checkpoint >= first.checkpoint
            })?;
        }
        Ok(first.commit)
    }
}

fn is_at_rest(status: &Status) -> bool {
    let is_normal = matches!(status.state, State::Primary | State::Backup);
    is_normal && !status.is_writing_checkpoint && !status.is_syncing && status.lag == 0
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for replica in 0..3 {
            self.kill(replica);
            let _ = std::fs::remove_file(self.file(replica));
        }
    }
}

/// An answer: when it came, and how long it took.
#[derive(Clone, Copy)]
pub(crate) struct Answered {
    pub(crate) at: Instant,
    pub(crate) took: Duration,
}

/// Clients that put values, or ask for what is not there, which is an op that changes nothing.
pub(crate) struct Load {
    sessions: Sessions<Instant>,
    clients: u64,
    value: Vec<u8>,
    puts: u64,
    payload: Vec<u8>,
}

impl Load {
    pub(crate) fn connect(cluster: &Cluster, clients: u32, value_size: usize) -> Result<Self, String> {
        let options = Options { sessions: clients, ..Options::default() };
        let sessions = Sessions::connect(&cluster.addresses, &options).map_err(|error| error.to_string())?;
        Ok(Self { sessions, clients: clients.into(), value: vec![b'v'; value_size], puts: 0, payload: Vec::new() })
    }

    /// Puts a new value under each key, or for none asks for what is not there; `at_once` of them in flight.
    pub(crate) fn run(
        &mut self,
        at_once: u64,
        keys: impl Iterator<Item = Option<u64>>,
    ) -> Result<Vec<Answered>, String> {
        let (mut keys, mut answered) = (keys.fuse(), Vec::new());
        let (mut in_flight, at_once) = (0, at_once.min(self.clients));
        loop {
            while in_flight < at_once
                && let Some(key) = keys.next()
            {
                self.ask(key);
                in_flight += 1;
            }
            if in_flight == 0 {
                return Ok(answered);
            }
            self.sessions.turn(Duration::from_secs(1)).map_err(|error| error.to_string())?;
            while let Some((began, answer)) = self.sessions.next() {
                answer.map_err(|error| format!("a request was not answered: {error}"))?;
                answered.push(Answered { at: Instant::now(), took: began.elapsed() });
                in_flight -= 1;
            }
        }
    }

    fn ask(&mut self, key: Option<u64>) {
        self.payload.clear();
        match key {
            Some(key) => {
                self.puts += 1;
                // Each value is another one.
                self.value[..8].copy_from_slice(&self.puts.to_le_bytes());
                let key = format!("key{key:012}");
                Request::Put { key: key.as_bytes(), value: &self.value }.encode(&mut self.payload);
            }
            None => Request::Get { key: b"not there" }.encode(&mut self.payload),
        }
        let expiry = SystemClock.monotonic().after(60_000_000_000);
        self.sessions.submit(Instant::now(), &self.payload[..], expiry);
    }
}
