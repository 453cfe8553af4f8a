//! What a large state costs: the bytes that its checkpoints write, what they add to the latency of commits, how fast it is fetched by a
//! replica that has none of it, and how fast it is read again after a restart.
//!
//! Three processes of the `chronon` program on this machine, with new files in one folder, durable as they come. The disk is measured in
//! the same run, sequentially and past the page cache. All of it ends as text, and as JSON where a file is named; nothing else should
//! run beside it.

mod cluster;
mod machine;

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use chronon::{
    app::{application::Application, kv::Kv},
    storage::layout::Layout,
    vsr::checkpoint,
};
use chronon_production::{size, status};
use clap::Parser;
use serde_json::{Value, json};

use self::{
    cluster::{Answered, Cluster, Load},
    machine::{Moved, disk_rates, rate},
};

/// The four figures of a large state
#[derive(Parser)]
struct Arguments {
    /// The program; the one that was built with this unless named
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,

    /// Where the data files lie: room for three times the grid and the journal
    #[arg(long, value_name = "FOLDER", default_value = "target/state-figures")]
    folder: PathBuf,

    /// How large the state is to be
    #[arg(long, value_name = "BYTES", default_value = "1GiB", value_parser = size::parse)]
    state: u64,

    /// The size of a value
    #[arg(long, value_name = "BYTES", default_value_t = 16_000)]
    value_size: usize,

    /// The keys that change are neighbours, and not anywhere
    #[arg(long)]
    together: bool,

    /// How many prepares each journal holds
    #[arg(long, value_name = "N", default_value_t = 16_384)]
    slots: u32,

    /// Room for checkpoints
    #[arg(long, value_name = "BYTES", default_value = "5GiB", value_parser = size::parse)]
    grid_size: u64,

    /// Clients, each with one request in flight, while latencies are measured
    #[arg(long, value_name = "N", default_value_t = 16)]
    clients: u32,

    /// For how many checkpoints latencies are measured
    #[arg(long, value_name = "N", default_value_t = 3)]
    checkpoints: u64,

    /// No more than how fast the state is fetched
    #[arg(long)]
    only_sync: bool,

    /// Write the figures there, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match figures(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("state_figures: {why}");
            ExitCode::FAILURE
        }
    }
}

/// What the measurements share.
struct Measuring<'a> {
    arguments: &'a Arguments,
    cluster: Cluster,
    load: Load,
    keys: u64,
    interval: u64,
}

fn figures(arguments: &Arguments) -> Result<(), String> {
    let beside = || Some(std::env::current_exe().ok()?.parent()?.parent()?.join("chronon"));
    let program = arguments.program.clone().or_else(beside).ok_or("name the program")?;
    std::fs::create_dir_all(&arguments.folder).map_err(|error| error.to_string())?;
    let mut said = Vec::new();
    let disk = disk_rates(&arguments.folder)?;
    say(
        &mut said,
        json!({ "figure": "disk", "write_bytes_per_second": disk.write, "read_bytes_per_second": disk.read }),
    );
    let mut cluster = Cluster::format(&program, &arguments.folder, arguments.slots, arguments.grid_size)?;
    cluster.start(0)?;
    cluster.start(1)?;
    cluster.until(0, "serve", |status| matches!(status.state, status::State::Primary | status::State::Backup))?;
    let keys = arguments.state / (arguments.value_size as u64 + 15);
    let load = Load::connect(&cluster, arguments.clients.max(32), arguments.value_size)?;
    let layout =
        Layout { slot_count: arguments.slots, message_size_max: 64 << 10, block_count: 8, block_size: 64 << 10 };
    let interval = checkpoint::interval(&layout);
    let mut measuring = Measuring { arguments, cluster, load, keys, interval };
    let began = Instant::now();
    measuring.load.run(32, (0..keys).map(Some))?;
    eprintln!("{keys} values of {} bytes are there after {} s", arguments.value_size, began.elapsed().as_secs());
    // Beyond the journal, so that the third replica has to fetch the state.
    measuring.pass(u64::from(arguments.slots) + interval, &[0, 1])?;
    say(&mut said, measuring.sync(disk.write)?);
    if !arguments.only_sync {
        say(&mut said, measuring.checkpoint_bytes()?);
        say(&mut said, measuring.latencies()?);
        say(&mut said, measuring.restart(disk.read)?);
    }
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&said).map_err(|error| error.to_string())?;
        std::fs::write(path, text + "\n").map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// Prints a figure with the load of the machine.
fn say(said: &mut Vec<Value>, mut figure: Value) {
    figure["load"] = machine::load().into();
    println!("{figure}");
    said.push(figure);
}

impl Measuring<'_> {
    /// One of a hundred keys, spread over all or side by side.
    fn changed(&self) -> impl Iterator<Item = u64> + Clone + use<> {
        let (count, keys, together) = ((self.keys / 100).max(1), self.keys, self.arguments.together);
        (0..count).map(move |number| if together { keys / 2 + number } else { number * 99_999_989 % keys })
    }

    /// Has so many ops pass that change nothing.
    fn pass(&mut self, ops: u64, replicas: &[u8]) -> Result<(), String> {
        let end = self.cluster.settle(&replicas[..1])? + ops;
        loop {
            let left = end.saturating_sub(self.cluster.until(0, "serve", |_| true)?.commit);
            match left {
                0 => break,
                // Several requests share an op.
                500.. => drop(self.load.run(32, (0..left).map(|_| None))?),
                _ => drop(self.load.run(1, (0..left).map(|_| None))?),
            }
        }
        self.cluster.settle(replicas).map(drop)
    }

    /// Has ops pass up to a few before the next checkpoint.
    fn approach(&mut self) -> Result<(), String> {
        let at = self.cluster.settle(&[0])?;
        let left = self.interval - at % self.interval;
        // So many requests at once may overshoot.
        if left > 600 {
            self.pass_about(left - 500)?
        }
        let left = self.interval - self.cluster.settle(&[0])? % self.interval;
        self.load.run(1, (0..left.saturating_sub(4)).map(|_| None))?;
        self.cluster.settle(&[0, 1, 2]).map(drop)
    }

    /// So many ops at the most.
    fn pass_about(&mut self, ops: u64) -> Result<(), String> {
        let end = self.cluster.until(0, "serve", |_| true)?.commit + ops;
        loop {
            let left = end.saturating_sub(self.cluster.until(0, "serve", |_| true)?.commit);
            if left < 40 {
                return Ok(());
            }
            self.load.run(32, (0..left).map(|_| None))?;
        }
    }

    /// How fast a replica fetches all of it.
    fn sync(&mut self, disk_write: u64) -> Result<Value, String> {
        self.cluster.start(2)?;
        self.cluster.until(2, "fetch the state", |status| status.is_syncing || status.checkpoint > 0)?;
        let began = Instant::now();
        self.cluster.until(2, "have the state", |status| status.checkpoint > 0)?;
        let (took, per_second) = (began.elapsed(), rate(self.arguments.state, began));
        self.cluster.settle(&[0, 1, 2])?;
        let ready = began.elapsed();
        Ok(json!({
            "figure": "state sync", "took_ms": millis(took), "bytes_per_second": per_second,
            "per_cent_of_disk_write": per_second * 100 / disk_write, "wanted_per_cent": 50, "executing_after_ms": millis(ready),
        }))
    }

    /// What a checkpoint writes when one of a hundred values has changed.
    fn checkpoint_bytes(&mut self) -> Result<Value, String> {
        // From here on the one before is known.
        self.pass(2 * self.interval, &[0, 1, 2])?;
        let changed: Vec<_> = self.changed().map(Some).collect();
        self.load.run(32, changed.into_iter())?;
        self.approach()?;
        let before = [0, 1, 2].map(|replica| Moved::of(self.cluster.process(replica)));
        let at = self.cluster.until(0, "serve", |_| true)?.checkpoint;
        self.load.run(1, (0..8).map(|_| None))?;
        for replica in 0..3 {
            self.cluster.until(replica, "have a checkpoint", |status| status.checkpoint > at)?;
        }
        self.cluster.settle(&[0, 1, 2])?;
        let mut written = 0;
        for (replica, before) in (0..3).zip(before) {
            written = written.max(Moved::of(self.cluster.process(replica))?.written - before?.written);
        }
        Ok(json!({
            "figure": "bytes of a checkpoint", "state": self.arguments.state, "changed_per_cent": 1, "together": self.arguments.together,
            "written": written, "per_mille_of_state": written * 1000 / self.arguments.state, "wanted_per_mille": 50,
        }))
    }

    /// How long commits take, while checkpoints are written and otherwise.
    fn latencies(&mut self) -> Result<Value, String> {
        let addresses = self.cluster.addresses.clone();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let watcher = std::thread::spawn(move || watch(&addresses, &stopped));
        let clients = u64::from(self.arguments.clients);
        let end = self.cluster.until(0, "serve", |_| true)?.commit + self.arguments.checkpoints * self.interval;
        let mut answered = Vec::new();
        while self.cluster.until(0, "serve", |_| true)?.commit < end {
            let keys: Vec<_> = self.changed().map(Some).collect();
            answered.extend(self.load.run(clients, keys.into_iter())?);
        }
        stop.store(true, Ordering::Relaxed);
        let looks = watcher.join().map_err(|_| "the watcher panicked")?;
        let is_during = |answer: &Answered| {
            let began = answer.at - answer.took;
            looks.windows(2).any(|pair| (pair[0].1 || pair[1].1) && pair[0].0 <= answer.at && began <= pair[1].0)
        };
        let (during, apart): (Vec<_>, Vec<_>) = answered.iter().partition(|answer| is_during(answer));
        let (with, without) = (Shares::of(&during), Shares::of(&apart));
        Ok(json!({
            "figure": "latency", "clients": clients, "value_size": self.arguments.value_size,
            "while_writing": with.json(), "otherwise": without.json(),
            "p99_per_cent": with.p99_us * 100 / without.p99_us.max(1), "wanted_per_cent": 200,
        }))
    }

    /// How long a replica takes from its start until it has executed everything.
    fn restart(&mut self, disk_read: u64) -> Result<Value, String> {
        self.approach()?;
        self.cluster.kill(2);
        let commit = self.cluster.settle(&[0, 1])?;
        let began = Instant::now();
        self.cluster.start(2)?;
        self.cluster.until(2, "follow", |status| status.state == status::State::Backup && status.applied >= commit)?;
        let took = began.elapsed();
        let read = Moved::of(self.cluster.process(2))?.read;
        let restore = restore_time(self.keys, self.arguments.value_size)?;
        let reading = Duration::from_micros(
            u64::try_from(u128::from(read) * 2_000_000 / u128::from(disk_read)).unwrap_or(u64::MAX),
        );
        Ok(json!({
            "figure": "restart", "took_ms": millis(took), "bytes_read": read, "restore_ms": millis(restore),
            "wanted_ms": millis(reading + restore),
        }))
    }
}

/// When some replica was writing a checkpoint: looks every few milliseconds.
fn watch(addresses: &[std::net::SocketAddr], stop: &AtomicBool) -> Vec<(Instant, bool)> {
    let mut looks = vec![(Instant::now(), false)];
    while !stop.load(Ordering::Relaxed) {
        let writing = addresses.iter().any(|address| {
            status::ask(*address, Duration::from_secs(2)).is_ok_and(|status| status.is_writing_checkpoint)
        });
        looks.push((Instant::now(), writing));
        std::thread::sleep(Duration::from_millis(10));
    }
    looks
}

struct Shares {
    requests: usize,
    p50_us: u64,
    p99_us: u64,
}

impl Shares {
    fn of(answered: &[&Answered]) -> Self {
        let mut took: Vec<u64> = answered.iter().map(|answer| answer.took.as_micros() as u64).collect();
        took.sort_unstable();
        let at = |per_cent: usize| took.get(took.len().saturating_sub(1) * per_cent / 100).copied().unwrap_or_default();
        Self { requests: took.len(), p50_us: at(50), p99_us: at(99) }
    }

    fn json(&self) -> Value {
        json!({ "requests": self.requests, "p50_us": self.p50_us, "p99_us": self.p99_us })
    }
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

/// How long the application alone takes to restore such a state.
fn restore_time(keys: u64, value_size: usize) -> Result<Duration, String> {
    let (mut state, mut record) = (Kv.genesis(), vec![0; 17 + value_size]);
    record[0] = 15;
    let began = Instant::now();
    for key in 0..keys {
        record[2..17].copy_from_slice(format!("key{key:012}").as_bytes());
        Kv.restore(&mut state, &record).map_err(|error| error.to_string())?;
    }
    Ok(began.elapsed())
}
